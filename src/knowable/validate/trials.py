"""What many trials leave behind: their returns, or only the moments of their returns a block.

A returns matrix is ``(n_bars, n_trials)``, time down, one column a trial. Block moments are
``(n_trials, n_blocks, 3)``: count, sum and sum of squares of the returns in each of the even, consecutive blocks of
time. They are all that the probability of overfitting needs, and 384 bytes a trial instead of its whole history.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from knowable.errors import InputError, ShapeError

__all__ = [
    "MIN_OBSERVATIONS",
    "block_moments",
    "check_moments",
    "check_returns",
    "effective_trials",
    "effective_trials_from_moments",
    "sharpes_from_moments",
]

MIN_OBSERVATIONS = 30
"""Fewer returns than this say nothing about a Sharpe ratio."""

_FLAT = 1e-12  # share of the sum of squares below which the spread is only rounding


def check_returns(returns: Any, *, n_bars: int | None = None, where: str = "pbo") -> np.ndarray:
    """Returns of many trials as a C-ordered float64 matrix, or an error.

    Args:
        returns: DataFrame or array ``(n_bars, n_trials)``, time down, fractions a bar.
        n_bars: how many rows are bars, said aloud; needed only for an array with more trials than bars.
        where: the caller's name, for messages.

    Raises: ShapeError when not two-dimensional or probably transposed; InputError on non-finite values or fewer than
    `MIN_OBSERVATIONS` bars.
    """
    import pandas as pd

    timed = isinstance(returns, pd.DataFrame) and isinstance(returns.index, pd.DatetimeIndex)
    if isinstance(returns, pd.DataFrame) and isinstance(returns.columns, pd.DatetimeIndex) and not timed:
        raise ShapeError(
            f"`returns` has times as columns, in {where}: it is transposed.\nPass returns.T, (n_bars, n_trials)."
        )
    matrix = np.ascontiguousarray(returns, dtype=np.float64)
    if matrix.ndim != 2:
        raise ShapeError(f"`returns` must be (n_bars, n_trials), but its shape is {matrix.shape}, in {where}.")
    rows, columns = matrix.shape
    if n_bars is not None and rows != n_bars:
        raise ShapeError(f"`returns` must have n_bars={n_bars} rows, but its shape is {matrix.shape}, in {where}.")
    if n_bars is None and not timed and columns > rows:
        raise ShapeError(
            f"`returns` has shape {matrix.shape}, more trials than bars, in {where}: it may be transposed.\n"
            f"Pass (n_bars, n_trials); if rows really are bars, say so with n_bars={rows}."
        )
    _enough(rows, where)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        name = returns.columns[column] if isinstance(returns, pd.DataFrame) else int(column)
        label = returns.index[row] if isinstance(returns, pd.DataFrame) else int(row)
        raise InputError(
            f"`returns` must be finite, but trial {name!r} has {matrix[row, column]} at bar {label}, in {where}.\n"
            "Leave failed trials out (they still count in `n_trials` of the deflated Sharpe ratio)."
        )
    return matrix


def block_moments(returns: np.ndarray, blocks: int = 16) -> np.ndarray:
    """Count, sum and sum of squares of each trial's returns in even blocks of time.

    Args:
        returns: (n_bars, n_trials) finite float64.
        blocks: number of blocks; block `i` holds rows ``i * n_bars // blocks`` up to the start of the next.

    Returns: (n_trials, blocks, 3) float64.
    """
    n_bars, n_trials = returns.shape
    edges = [(i * n_bars) // blocks for i in range(blocks + 1)]
    moments = np.empty((n_trials, blocks, 3))
    for i in range(blocks):
        part = returns[edges[i] : edges[i + 1]]
        moments[:, i, 0] = len(part)
        moments[:, i, 1] = part.sum(axis=0)
        moments[:, i, 2] = (part * part).sum(axis=0)
    return moments


def check_moments(moments: Any, where: str = "pbo_from_moments") -> np.ndarray:
    """Block moments as C-ordered float64, or an error.

    Raises: ShapeError unless ``(n_trials, n_blocks, 3)``; InputError on non-finite values, impossible or unequal
    counts, or fewer than `MIN_OBSERVATIONS` bars.
    """
    array = np.ascontiguousarray(moments, dtype=np.float64)
    if array.ndim != 3 or array.shape[2] != 3 or array.shape[0] < 1:
        raise ShapeError(
            f"`moments` must be (n_trials, n_blocks, 3), count, sum and sum of squares, but its shape is "
            f"{array.shape}, in {where}."
        )
    if not np.isfinite(array).all():
        trial, block, _ = np.argwhere(~np.isfinite(array))[0]
        raise InputError(
            f"`moments` must be finite, but those of trial {trial}, block {block} are not, in {where}.\n"
            "Leave failed trials out (they still count in `n_trials` of the deflated Sharpe ratio)."
        )
    counts = array[:, :, 0]
    if (counts != counts[0]).any():
        trial, block = np.argwhere(counts != counts[0])[0]
        raise InputError(
            f"Every trial must cover the same bars, but in block {block} trial {trial} has count "
            f"{counts[trial, block]:g} and trial 0 has {counts[0, block]:g}, in {where}.\n"
            "Order the last axis as count, sum, sum of squares, and score all trials over the same rows."
        )
    if (counts[0] < 1).any() or (counts[0] != np.floor(counts[0])).any():
        raise InputError(f"Counts of `moments` must be whole and at least 1, but are {counts[0].tolist()}, in {where}.")
    _enough(int(counts[0].sum()), where)
    return array


def sharpes_from_moments(moments: Any) -> np.ndarray:
    """Sharpe ratio a bar of each trial over all its blocks.

    Args:
        moments: (n_trials, n_blocks, 3), see `block_moments`.

    Returns: (n_trials,) float64; NaN for a trial whose returns do not vary.
    """
    count, total, square = _totals(check_moments(moments, "sharpes_from_moments"))
    spread = square - total * total / count
    flat = spread <= _FLAT * square
    deviation = np.sqrt(np.where(flat, np.nan, spread) / (count - 1))
    return np.asarray(total / count / deviation)


def varying(moments: np.ndarray) -> np.ndarray:
    """Which trials' returns vary at all: (n_trials,) bool."""
    count, total, square = _totals(moments)
    return np.asarray(square - total * total / count > _FLAT * square)


def effective_trials(returns: Any, *, n_bars: int | None = None) -> float:
    """How many independent trials scatter as much as these do, from 1 to the number of trials.

    Each trial is scaled to unit volatility and the mean over trials is taken out of every bar, because what all trials
    share moves no trial past another and is already outside the variance between trials that the deflated Sharpe ratio
    uses. Of the covariance C of what is left, ``1 + (tr C)^2 / tr(C^2)`` counts the directions in which trials differ:
    k clusters of copies give k, independent trials give their number. Both traces are corrected for the bars seen.

    Show it beside the number of trials, never instead: on smooth families of trials the expected maximum lies between
    those that the effective and the full number give.

    Args:
        returns: (n_bars, n_trials), as for `pbo`. Trials that do not vary are left out.
        n_bars: see `check_returns`.

    Source: participation ratio, Bretherton et al., Journal of Climate 12 (1999); unbiased traces, Bai and Saranadasa,
    Statistica Sinica 6 (1996).
    """
    matrix = check_returns(returns, n_bars=n_bars, where="effective_trials")
    centred = matrix - matrix.mean(axis=0)
    deviation = np.sqrt((centred * centred).mean(axis=0))
    alive = deviation > np.sqrt(_FLAT) * np.sqrt((matrix * matrix).mean(axis=0))
    return _participation(centred[:, alive] / deviation[alive])


def effective_trials_from_moments(moments: Any) -> float:
    """`effective_trials` seen through block sums only: coarser, since 16 blocks are 15 degrees of freedom.

    Args:
        moments: (n_trials, n_blocks, 3), see `block_moments`; at least 8 blocks.

    Raises: InputError for fewer than 8 blocks, as for `check_moments` otherwise.
    """
    array = check_moments(moments, "effective_trials_from_moments")
    if array.shape[1] < 8:
        raise InputError(f"`n_blocks >= 8` must hold to see how trials move together, but n_blocks={array.shape[1]}.")
    array = array[varying(array)]
    count, total, square = _totals(array)
    deviation = np.sqrt((square - total * total / count) / count)
    means = (array[:, :, 1] / array[:, :, 0] - (total / count)[:, None]) / deviation[:, None]
    scaled = (means * np.sqrt(array[:, :, 0])).T
    return _participation(scaled - scaled.mean(axis=0))


def _participation(scaled: np.ndarray) -> float:
    """Effective number from (n, n_trials) columns of mean zero and comparable scale."""
    n, n_trials = scaled.shape
    if n_trials < 2:
        return float(n_trials)
    residual = scaled - scaled.mean(axis=1, keepdims=True)
    # The smaller of the two Gram matrices has the same trace and the same sum of squares.
    gram = residual @ residual.T if n <= n_trials else residual.T @ residual
    nu = n - 1.0
    trace = float(np.trace(gram)) / nu
    squares = float((gram * gram).sum()) / nu**2
    if trace <= 1e-9 * n_trials:
        return 1.0
    # Expected values: squares = p (1 + 1/nu) + q/nu and trace^2 = q + 2 p/nu, with p = tr(C^2), q = (tr C)^2.
    p = (squares - trace**2 / nu) / (1 + 1 / nu - 2 / nu**2)
    q = trace**2 - 2 * p / nu
    if p <= q / (n_trials - 1):
        return float(n_trials)
    return float(min(1.0 + max(q, p) / p, n_trials))


def _totals(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count, total, square = np.moveaxis(moments.sum(axis=1), -1, 0)
    return count, total, square


def _enough(n_bars: int, where: str) -> None:
    if n_bars < MIN_OBSERVATIONS:
        raise InputError(
            f"At least {MIN_OBSERVATIONS} bars of returns are needed, but there are {n_bars}, in {where}.\n"
            "Give a longer history; if rows are trials and columns are bars, pass the transpose."
        )
