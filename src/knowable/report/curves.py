"""Numbers behind the curves: what to draw of a long series, and drawdown."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["DRAWN_POINTS", "drawdown", "same_start", "thin"]

Floats = npt.NDArray[np.float64]

DRAWN_POINTS = 5_000
"""Longer curves are thinned: more points than any screen has columns only make the file heavy."""


def thin(values: Floats, limit: int = DRAWN_POINTS) -> npt.NDArray[np.int64]:
    """Rows to draw so that no peak or trough goes missing.

    The rows are cut into even buckets; of each, every column's lowest and highest row stay, and so do the first and
    the last row of all. Averaging or plain striding was rejected: both hide the worst day.

    Args:
        values: (n_rows, n_columns) float64, any unit. NaN is skipped; a bucket all NaN keeps its first row, so that
            the gap stays a gap.
        limit: most rows to keep, at least 4 a column.

    Returns:
        (n_kept,) int64 row numbers, strictly increasing; all rows where they are not more than `limit`.
    """
    n_rows, n_columns = values.shape
    if n_rows <= limit:
        return np.arange(n_rows, dtype=np.int64)
    n_buckets = max(1, (limit - 2) // (2 * n_columns))
    edges = np.linspace(0, n_rows, n_buckets + 1).astype(np.int64)[:-1]
    kept = [np.array([0, n_rows - 1], dtype=np.int64)]
    lengths = np.diff(np.append(edges, n_rows))
    bucket = np.repeat(np.arange(n_buckets), lengths)
    for column in values.T:
        for sign in (1.0, -1.0):
            signed = np.where(np.isnan(column), np.inf, sign * column)
            lowest = np.minimum.reduceat(signed, edges)
            hit = np.flatnonzero(signed == lowest[bucket])
            _, first = np.unique(bucket[hit], return_index=True)
            kept.append(hit[first].astype(np.int64))
    return np.unique(np.concatenate(kept))


def drawdown(equity: Floats) -> Floats:
    """Fraction below the highest value so far.

    Args:
        equity: (n_bars,) float64, currency.

    Returns:
        (n_bars,) float64, 0 or less. NaN: where equity is NaN, and until a first value above zero.
        Known at: row t uses rows <= t.
    """
    peak = np.fmax.accumulate(equity)
    out = np.full(equity.shape, np.nan)
    np.divide(equity, peak, out=out, where=peak > 0)
    return out - 1.0


def same_start(benchmark: Floats, equity: Floats) -> Floats:
    """The benchmark scaled so that it has the equity's value on the first row where both are known and not zero."""
    both = np.flatnonzero(np.isfinite(benchmark) & np.isfinite(equity) & (benchmark != 0.0))
    if both.size == 0:
        return benchmark
    return np.asarray(benchmark * (equity[both[0]] / benchmark[both[0]]), dtype=np.float64)
