"""Maximises an acquisition over the unit cube without derivatives, so that whole numbers and choices come for free."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from knowable.search.history import History
from knowable.search.space import Floats

__all__ = ["Box", "climb"]

N_UNIFORM = 96
N_MUTATED = 96
N_ROUND = 48
N_PARENTS = 8
REACHES = (0.12, 0.05, 0.02, 0.008, 0.003)

Box = tuple[Floats, Floats]


def climb(
    score: Callable[[Floats], Floats], history: History, seeds: Floats, rng: np.random.Generator, box: Box | None = None
) -> Floats:
    """The best point found that was not suggested before.

    Uniform draws and mutations of `seeds` first; then rounds of mutations of the best so far, ever shorter ones.

    Args:
        score: value of each row of (m, n_dims) candidates, higher is better.
        history: for the space and what was suggested.
        seeds: (k, n_dims) promising points, k >= 1, such as the best trials.
        rng: of the suggestion.
        box: lowest and highest coordinate a candidate may have, each (n_dims,); None: the whole cube.
    """
    space = history.space
    low, high = box if box is not None else (np.zeros(space.n_dims), np.ones(space.n_dims))
    uniform = low + (high - low) * rng.random((N_UNIFORM, space.n_dims))
    reach = np.exp(rng.uniform(np.log(0.005), np.log(0.3), (N_MUTATED, 1)))
    first = np.concatenate([uniform, _mutate(seeds, N_MUTATED, reach, space.is_choice, rng)])
    pool = space.snap(np.clip(first, low, high))
    worth = score(pool)
    for reach_now in REACHES:
        best = np.argsort(-worth, kind="stable")[:N_PARENTS]
        children = _mutate(pool[best], N_ROUND, np.full((N_ROUND, 1), reach_now), space.is_choice, rng)
        children = space.snap(np.clip(children, low, high))
        pool = np.concatenate([pool[best], children])
        worth = np.concatenate([worth[best], score(children)])
    order = np.argsort(-worth, kind="stable")
    for pick in order:
        if not history.is_seen(space.to_unit(space.from_unit(pool[pick]))):
            return np.asarray(pool[pick])
    return np.asarray(pool[order[0]])


def _mutate(parents: Floats, n: int, reach: Floats, is_choice: np.ndarray, rng: np.random.Generator) -> Floats:
    """(n, n_dims) children: each moves a third of its axes, at least one; some inherit axes from a second parent."""
    d = parents.shape[1]
    mother = parents[rng.integers(0, len(parents), n)]
    father = parents[rng.integers(0, len(parents), n)]
    crossed = (rng.random((n, 1)) < 0.3) & (rng.random((n, d)) < 0.5)
    child = np.where(crossed, father, mother)
    moved = rng.random((n, d)) < max(0.35, 1.5 / d)
    moved[np.arange(n), rng.integers(0, d, n)] = True
    flipped = moved & (rng.random((n, d)) < 0.3)
    steps = child + reach * rng.standard_normal((n, d))
    return np.where(is_choice, np.where(flipped, rng.random((n, d)), child), np.where(moved, steps, child))
