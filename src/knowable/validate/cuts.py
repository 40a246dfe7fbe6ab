"""Where to cut a history: spread at random, at its ends, and where a rare leak would show."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Sequence

import numpy as np

from knowable.data.market import Market
from knowable.errors import InputError, shown

__all__ = ["chosen_cuts", "fitting_cuts", "rare_changes", "telling_cuts"]

_MOVES = 2
_RARE = 3
_SELDOM = 0.25
_STRETCH = 42  # bars, two months: a fit every month, or oftener, falls into it


def chosen_cuts(n_bars: int, cuts: int | Sequence[int], rng: np.random.Generator) -> list[int]:
    """The cuts wished for: as many random ones, one in each even part, with an early and the latest; or those given.

    Raises: InputError if there are too few bars, or a cut lies outside them.
    """
    if n_bars < 3:
        raise InputError(f"`n_bars >= 3` must hold to look for look-ahead, but the market has n_bars={n_bars}.")
    if not isinstance(cuts, Sequence):
        n_cuts = int(cuts) if isinstance(cuts, numbers.Integral) and not isinstance(cuts, bool) else 0
        if n_cuts < 1:
            raise InputError(f"`cuts >= 1` must hold in whole cuts, but cuts={shown(cuts)}.")
        edges = np.linspace(1, n_bars, n_cuts + 1).astype(np.int64)
        spread = [int(rng.integers(a, max(b, a + 1))) for a, b in itertools.pairwise(edges)]
        return sorted({min(2, n_bars - 1), *spread, n_bars - 1})
    for cut in cuts:
        if not isinstance(cut, numbers.Integral) or not 0 < int(cut) < n_bars:
            raise InputError(f"`0 < cut < n_bars` must hold for each cut, but one is {shown(cut)}, n_bars={n_bars}.")
    if len(cuts) == 0:
        raise InputError("`cuts` must name at least one cut, but it is empty.")
    return sorted({int(cut) for cut in cuts})


def telling_cuts(market: Market, weights: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Cuts that random ones would seldom hit: before the largest moves, which who looks ahead evades, and, where the
    weights seldom change, just after they did.

    Args:
        market: what was traded. weights: (n_bars, n_assets) what the strategy returned for it. rng: of the choice.
    """
    found = set(_before_moves(market))
    rows = rare_changes(weights)
    if len(rows):
        found.update((1 + rng.choice(rows, min(_RARE, len(rows)), replace=False)).tolist())
    return sorted(cut for cut in found if 0 < cut < market.n_bars)


def rare_changes(weights: np.ndarray) -> np.ndarray:
    """Rows on which weights that seldom change do so; none where they change often.

    Args:
        weights: (n_bars, n_assets); rows that have no opinion on anything do not count.
    """
    changed = ~((weights[1:] == weights[:-1]) | (np.isnan(weights[1:]) & np.isnan(weights[:-1])))
    rows: np.ndarray = 1 + np.flatnonzero(changed.any(axis=1) & ~np.isnan(weights[1:]).all(axis=1))
    return rows if len(rows) <= _SELDOM * len(weights) else rows[:0]


def fitting_cuts(market: Market) -> list[int]:
    """Cuts for what refits now and then: every bar of a late stretch, and around the latest ends of quarters and years.

    Args:
        market: its labels tell where quarters and years end.
    """
    found = set(range(market.n_bars - _STRETCH, market.n_bars))
    months = market.index.year.to_numpy() * 12 + market.index.month.to_numpy() - 1
    for length in (3, 12):
        starts = 1 + np.flatnonzero(np.diff(months // length))
        for start in starts[-2:].tolist():
            found.update((start, start + 1))
    return sorted(cut for cut in found if 0 < cut < market.n_bars)


def _before_moves(market: Market) -> list[int]:
    close = market.panels.get("close")
    if close is None:
        return []
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = np.abs(close[1:] / close[:-1] - 1.0)
    moves[~np.isfinite(moves)] = 0.0
    largest = np.argsort(-moves.max(axis=1), kind="stable")[:_MOVES]
    return [int(row) + 1 for row in largest]
