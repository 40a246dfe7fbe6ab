"""Moves a proposal that was suggested before to a new point near it."""

from __future__ import annotations

import numpy as np

from knowable.search.history import History
from knowable.search.space import Floats

__all__ = ["nearest_unseen"]

REACHES = (0.02, 0.05, 0.1, 0.2, 0.4, 1.0)
TRIES = 8
LARGEST_WALK = 1e9


def nearest_unseen(history: History, unit: Floats, rng: np.random.Generator) -> Floats | None:
    """A point standing for a parameter set never suggested: `unit` itself if it can be, or else close to it.

    Args:
        history: all earlier suggestions.
        unit: (n_dims,) wanted point.
        rng: of the suggestion.

    Returns: (n_dims,) exactly as `Space.to_unit` gives it, or None when there is none left.
    """
    space = history.space
    first = _exact(history, unit)
    if first is not None:
        return first
    if history.exhausted:
        return None
    for reach in REACHES:
        steps = rng.normal(0.0, reach, (TRIES, space.n_dims))
        jump = rng.random((TRIES, space.n_dims)) < reach
        tries = np.where(space.is_choice, np.where(jump, rng.random((TRIES, space.n_dims)), unit), unit + steps)
        for candidate in np.clip(tries, 0.0, 1.0):
            exact = _exact(history, candidate)
            if exact is not None:
                return exact
    return _any_unseen(history, rng)


def _exact(history: History, unit: Floats) -> Floats | None:
    exact = history.space.to_unit(history.space.from_unit(unit))
    return None if history.is_seen(exact) else exact


def _any_unseen(history: History, rng: np.random.Generator) -> Floats | None:
    space = history.space
    for candidate in rng.random((64, space.n_dims)):
        exact = _exact(history, candidate)
        if exact is not None:
            return exact
    if space.n_values < LARGEST_WALK:  # at most n_asked + 1 steps: only that many are seen
        for candidate in space.points_from(int(rng.integers(int(space.n_values)))):
            exact = _exact(history, candidate)
            if exact is not None:
                return exact
    return None
