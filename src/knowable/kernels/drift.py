"""What weights become as prices move, and rules that look at it: bands, limits on turnover, the risk of what is held.

Held weights are those last asked for, moved by the prices since: a rule cannot see the account, whose fills and costs
come later, so it keeps this estimate of its own. Every kernel is a resumable scan.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "DriftState",
    "EarningState",
    "band_kernel",
    "drift_kernel",
    "drift_state",
    "earning_deviation_kernel",
    "earning_state",
    "turnover_kernel",
]


class DriftState(NamedTuple):
    """State of `band_kernel` and `turnover_kernel`."""

    price: np.ndarray  # (n_assets,) last known; NaN before the first
    held: np.ndarray  # (n_assets,) weights as they have drifted


class EarningState(NamedTuple):
    """State of `earning_deviation_kernel`."""

    recent: np.ndarray  # (window, n_assets) the last returns, the next goes to the slot
    place: np.ndarray  # (2,) int64: slot, rows seen


def drift_state(n_assets: int) -> DriftState:
    """State before the first row."""
    return DriftState(np.full(n_assets, np.nan), np.zeros(n_assets))


def earning_state(window: int, n_assets: int) -> EarningState:
    """State before the first row."""
    return EarningState(np.full((window, n_assets), np.nan), np.zeros(2, np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def drift_kernel(returns, begin, end, held):
    """Move held weights by rows [begin, end) of returns: h (1 + r) over what the account has become.

    A return that is missing or infinite is none. A row that would leave the account with nothing moves nothing.
    """
    for t in range(begin, end):
        _drift(returns[t], held)


@njit(cache=True, nogil=True, error_model="numpy")
def _drift(change, held):
    grown = 1.0
    for j in range(held.shape[0]):
        if held[j] != 0.0 and change[j] - change[j] == 0.0:
            grown += held[j] * change[j]
    if not (grown > 0.0 and grown < np.inf):
        return
    for j in range(held.shape[0]):
        if held[j] != 0.0:
            moved = held[j] * (1.0 + change[j]) if change[j] - change[j] == 0.0 else held[j]
            held[j] = moved / grown


@njit(cache=True, nogil=True, error_model="numpy")
def _is_member(members, t, j):
    """Of a panel, or of a number's (1, 1)."""
    row = members[t if members.shape[0] > 1 else 0]
    return row[j if row.shape[0] > 1 else 0] > 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _move(t, prices, members, price, held, change):
    """Drift by the change from the last known price; a missing one is made up for when it comes.

    Who is no member is sold then, whatever a rule says, since no account may hold it.
    """
    for j in range(held.shape[0]):
        now = prices[t, j]
        change[j] = now / price[j] - 1.0
        if now - now == 0.0:
            price[j] = now
    _drift(change, held)
    for j in range(held.shape[0]):
        if not _is_member(members, t, j):
            held[j] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def band_kernel(weights, prices, members, ends, band, state, out):
    """The target where the held weight is further than `band` from it, or a target of 0 is still held; NaN elsewhere.

    Args: weights, prices: (n, n_assets). members: the same or (1, 1), above 0 for who may be held; for others the
        answer is 0 on every row. ends: (n, 1), above 0 where the rule looks. A NaN or infinite target passes.
    """
    price, held = state.price, state.held
    change = np.empty(held.shape[0])
    for t in range(out.shape[0]):
        _move(t, prices, members, price, held, change)
        for j in range(held.shape[0]):
            target = weights[t, j]
            out[t, j] = np.nan if _is_member(members, t, j) else 0.0
            if ends[t, 0] > 0.0 and target == target and _is_member(members, t, j):
                if target - target != 0.0:
                    out[t, j] = target  # for whoever takes weights to refuse
                elif abs(target - held[j]) > band or (target == 0.0 and held[j] != 0.0):
                    out[t, j] = target
                    held[j] = target


@njit(cache=True, nogil=True, error_model="numpy")
def turnover_kernel(weights, prices, members, ends, most, state, out):
    """The targets, or as far towards them as `most`, the sum of all changes, lets go; NaN where there is no target.

    Args: as `band_kernel`. All changes shrink by the same factor; the sale of who is no member is none of them.
    """
    price, held = state.price, state.held
    change = np.empty(held.shape[0])
    for t in range(out.shape[0]):
        _move(t, prices, members, price, held, change)
        total = 0.0
        for j in range(held.shape[0]):
            gap = weights[t, j] - held[j]
            if gap - gap == 0.0 and _is_member(members, t, j):
                total += abs(gap)
        share = most / total
        for j in range(held.shape[0]):
            target = weights[t, j]
            out[t, j] = np.nan if _is_member(members, t, j) else 0.0
            if ends[t, 0] > 0.0 and target == target and _is_member(members, t, j):
                if target - target == 0.0:
                    target = held[j] + share * (target - held[j]) if share < 1.0 else target
                    held[j] = target
                out[t, j] = target


@njit(cache=True, nogil=True, error_model="numpy")
def earning_deviation_kernel(weights, returns, state, out):
    """Sample deviation of what the row's weights would have earned on each of the last `window` rows.

    The same in each column; NaN until the window is full, and where an asset with a weight lacks one of its returns.
    A weight that is missing counts as 0. Args: weights, returns: (n, n_assets).
    """
    recent, place = state.recent, state.place
    window, n_assets = recent.shape
    earned = np.empty(window)
    for t in range(out.shape[0]):
        for j in range(n_assets):
            recent[place[0], j] = returns[t, j]
        place[0] = (place[0] + 1) % window
        place[1] += 1
        mean = 0.0
        for i in range(window):
            slot, total = (place[0] + i) % window, 0.0
            for j in range(n_assets):
                if weights[t, j] == weights[t, j] and weights[t, j] != 0.0:
                    total += weights[t, j] * recent[slot, j]
            earned[i] = total
            mean += total / window
        squares = 0.0
        for i in range(window):
            squares += (earned[i] - mean) * (earned[i] - mean)
        made = np.sqrt(squares / (window - 1.0)) if window > 1 and place[1] >= window else np.nan
        for j in range(n_assets):
            out[t, j] = made if made == made else np.nan
