"""Moving windows over two inputs: covariance, correlation, and the regression of one on the other.

Windows are two stacks, as `rolling` explains, here of means, squares and products. A row at which either input is
missing or infinite is missing for both, and so is every window that holds it.

All is measured from the block before's last row, which lies in every window of this block but the last; the last is the
whole block, and is read from the suffixes folded from it, which are measured from its own last row. So the error does
not grow with the level, a constant has a sum of squares of exactly 0, and a squared deviation is never a difference of
large sums. Exchanging the inputs changes no bit of a correlation. Source: merging after Chan, Golub, LeVeque (1983),
Am. Stat. 37; for products Bennett et al. (2009), IEEE Cluster, "Numerically stable, single-pass, parallel statistics".

Rejected: raw sums of squares and products about that same row (no faster: the passes over memory are what costs; and a
last row that is an outlier loses as many times the last bit as the window has rows). Taking 64, 128 or 256 assets at a
time through all rows, to keep long windows in the cache (3, 1.7, 1.2 times slower: before each row of a tile the
compiled code checks which arrays overlap).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.arithmetic import ENTRY, HELPER, measured, one_nan

__all__ = [
    "PairState",
    "beta_kernel",
    "correlation_kernel",
    "covariance_kernel",
    "determination_kernel",
    "pair_state",
    "residual_kernel",
]


_ROUNDING = 1e-28  # squared: what is left of y where all of it is explained
_WHOLE = 1.0 - 4e-15  # a correlation beyond it is 1 but for rounding, and is 1


class PairState(NamedTuple):
    """State of every kernel here; the last row of each suffix stays 0."""

    mean_x: np.ndarray  # (window + 1, n_assets) suffix means less `origin`; raw values up to the slot
    mean_y: np.ndarray  # (window + 1, n_assets) likewise
    squares_x: np.ndarray  # (window + 1, n_assets) suffix sums of squared deviations
    squares_y: np.ndarray  # (window + 1, n_assets) likewise
    products: np.ndarray  # (window + 1, n_assets) suffix sums of products of deviations
    head: np.ndarray  # (5, n_assets) of this block: means less `origin`, squares, products
    origin: np.ndarray  # (2, n_assets) last x and y of the block before
    place: np.ndarray  # (2,) int64: slot of the next row in its block, 1 once the first block is complete


def pair_state(window: int, n_assets: int) -> PairState:
    """State before the first row."""
    return PairState(
        np.zeros((window + 1, n_assets)),
        np.zeros((window + 1, n_assets)),
        np.zeros((window + 1, n_assets)),
        np.zeros((window + 1, n_assets)),
        np.zeros((window + 1, n_assets)),
        np.zeros((5, n_assets)),
        np.zeros((2, n_assets)),
        np.zeros(2, np.int64),
    )


@njit(**ENTRY)
def covariance_kernel(x, y, state, out):
    """Sample covariance (n - 1) of the last `window` rows. NaN until the window is full, and for a window of 1."""
    window = state.mean_x.shape[0] - 1
    freedom = window - 1.0 if window > 1 else np.nan
    for t in range(x.shape[0]):
        slot = state.place[0]
        for j in range(x.shape[1]):
            out[t, j] = one_nan(_enter(x, y, t, j, slot, state)[4] / freedom)
        if _block_ends(state, out, t):
            for j in range(x.shape[1]):
                out[t, j] = one_nan(_block(state, j)[4] / freedom)


@njit(**ENTRY)
def correlation_kernel(x, y, state, out):
    """Pearson correlation of the last `window` rows, within [-1, 1]. NaN until full, and where either is constant.

    What is 1 or -1 but for rounding (4e-15) is 1 or -1.
    """
    for t in range(x.shape[0]):
        slot = state.place[0]
        for j in range(x.shape[1]):
            _, _, squares_x, squares_y, products = _enter(x, y, t, j, slot, state)
            out[t, j] = _correlation(squares_x, squares_y, products)
        if _block_ends(state, out, t):
            for j in range(x.shape[1]):
                _, _, squares_x, squares_y, products = _block(state, j)
                out[t, j] = _correlation(squares_x, squares_y, products)


@njit(**ENTRY)
def beta_kernel(y, x, state, out):
    """Slope of the least-squares line of y on x, with intercept. NaN until full, and where x is constant."""
    for t in range(x.shape[0]):
        slot = state.place[0]
        for j in range(x.shape[1]):
            _, _, squares_x, _, products = _enter(x, y, t, j, slot, state)
            out[t, j] = one_nan(products / measured(squares_x))
        if _block_ends(state, out, t):
            for j in range(x.shape[1]):
                _, _, squares_x, _, products = _block(state, j)
                out[t, j] = one_nan(products / measured(squares_x))


@njit(**ENTRY)
def residual_kernel(y, x, state, out):
    """How far the window's last y lies above its least-squares line. NaN until full, and where x is constant.

    What is only rounding is 0: less than 1e-14 of the root of y's sum of squares.
    """
    for t in range(x.shape[0]):
        slot = state.place[0]
        for j in range(x.shape[1]):
            off_x, off_y, squares_x, squares_y, products = _enter(x, y, t, j, slot, state)
            left = off_y - products / measured(squares_x) * off_x
            out[t, j] = one_nan(0.0 if left * left <= _ROUNDING * squares_y < np.inf else left)
        if _block_ends(state, out, t):
            for j in range(x.shape[1]):
                off_x, off_y, squares_x, squares_y, products = _block(state, j)
                left = off_y - products / measured(squares_x) * off_x
                out[t, j] = one_nan(0.0 if left * left <= _ROUNDING * squares_y < np.inf else left)


@njit(**ENTRY)
def determination_kernel(y, x, state, out):
    """R squared of that line, within [0, 1]. NaN until the window is full, and where either is constant.

    What is 1 but for rounding (4e-15) is 1.
    """
    for t in range(x.shape[0]):
        slot = state.place[0]
        for j in range(x.shape[1]):
            _, _, squares_x, squares_y, products = _enter(x, y, t, j, slot, state)
            share = products / measured(squares_x) * (products / measured(squares_y))
            out[t, j] = one_nan(1.0 if share > _WHOLE else share)
        if _block_ends(state, out, t):
            for j in range(x.shape[1]):
                _, _, squares_x, squares_y, products = _block(state, j)
                share = products / measured(squares_x) * (products / measured(squares_y))
                out[t, j] = one_nan(1.0 if share > _WHOLE else share)


@njit(**HELPER)
def _correlation(squares_x, squares_y, products):
    # one root, of the product, would take a twentieth less time, but the product may leave the range of a double
    score = products / (np.sqrt(measured(squares_x)) * np.sqrt(measured(squares_y)))
    score = 1.0 if score > _WHOLE else score
    return one_nan(-1.0 if score < -_WHOLE else score)


@njit(**HELPER)
def _enter(x, y, t, j, slot, state):
    """Take a cell into the head of its block, keep it for the suffixes, and merge its window.

    Returns: the cell less the window's means, squares of x and y, products. Meaningless in the last slot.
    """
    head, origin = state.head, state.origin
    window, after = state.mean_x.shape[0] - 1, slot + 1
    missing = (x[t, j] - x[t, j]) + (y[t, j] - y[t, j])  # 0, or NaN
    raw_x, raw_y = x[t, j] + missing, y[t, j] + missing
    u, v = raw_x - origin[0, j], raw_y - origin[1, j]
    share, pull = 1.0 / after, slot * (1.0 / after)
    gap_x, gap_y = u - head[0, j], v - head[1, j]
    mean_x, mean_y = head[0, j] + gap_x * share, head[1, j] + gap_y * share
    squares_x = head[2, j] + gap_x * gap_x * pull
    squares_y = head[3, j] + gap_y * gap_y * pull
    products = head[4, j] + gap_x * gap_y * pull
    state.mean_x[slot, j] = raw_x
    state.mean_y[slot, j] = raw_y
    head[0, j] = mean_x
    head[1, j] = mean_y
    head[2, j] = squares_x
    head[3, j] = squares_y
    head[4, j] = products
    share = (window - after) / window
    pull = after * share
    gap_x, gap_y = mean_x - state.mean_x[after, j], mean_y - state.mean_y[after, j]
    return (
        u - (mean_x - gap_x * share),
        v - (mean_y - gap_y * share),
        squares_x + state.squares_x[after, j] + gap_x * gap_x * pull,
        squares_y + state.squares_y[after, j] + gap_y * gap_y * pull,
        products + state.products[after, j] + gap_x * gap_y * pull,
    )


@njit(**HELPER)
def _block(state, j):
    """What `_enter` returns, for the last slot of a block that has been folded: its last row is the origin."""
    return -state.mean_x[0, j], -state.mean_y[0, j], state.squares_x[0, j], state.squares_y[0, j], state.products[0, j]


@njit(**HELPER)
def _block_ends(state, out, t):
    """Go to the next slot. True where the block is complete; it is then folded into suffixes, in place."""
    head, origin, place, window = state.head, state.origin, state.place, state.mean_x.shape[0] - 1
    place[0] += 1
    if place[0] < window:
        if place[1] == 0:
            out[t] = np.nan
        return False
    for j in range(head.shape[1]):
        origin[0, j] = state.mean_x[window - 1, j]
        origin[1, j] = state.mean_y[window - 1, j]
        for k in range(5):
            head[k, j] = 0.0
    # Counting down in `place` and not in a loop variable is worth a third of the fold: of a loop that runs down LLVM
    # checks once, before it, whether its arrays overlap, takes it that they do, and never enters the vector code.
    while place[0] > 0:
        place[0] -= 1
        _fold(state, place[0], 1.0 / (window - place[0]))
    place[1] = 1
    return True


@njit(**HELPER)
def _fold(state, i, share):
    """Row i of the suffixes: the raw row there, put before the suffix after it."""
    mean_x, mean_y, origin, rest = state.mean_x, state.mean_y, state.origin, 1.0 - share
    for j in range(mean_x.shape[1]):
        gap_x = mean_x[i, j] - origin[0, j] - mean_x[i + 1, j]
        gap_y = mean_y[i, j] - origin[1, j] - mean_y[i + 1, j]
        mean_x[i, j] = mean_x[i + 1, j] + gap_x * share
        mean_y[i, j] = mean_y[i + 1, j] + gap_y * share
        state.squares_x[i, j] = state.squares_x[i + 1, j] + gap_x * gap_x * rest
        state.squares_y[i, j] = state.squares_y[i + 1, j] + gap_y * gap_y * rest
        state.products[i, j] = state.products[i + 1, j] + gap_x * gap_y * rest
