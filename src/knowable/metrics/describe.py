"""Measure an equity curve."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from knowable.errors import InputError, ShapeError
from knowable.kernels.statistics import N_BLOCKS, N_FIGURES, N_MOMENTS, statistics_kernel
from knowable.metrics.definitions import METRICS

__all__ = ["describe", "measure"]

Array = npt.NDArray[np.float64]


def describe(
    equity: npt.ArrayLike,
    bars_per_year: float,
    *,
    initial: float | None = None,
    traded: float = math.nan,
    n_trades: float = math.nan,
    n_wins: float = math.nan,
    n_exposed: float = math.nan,
) -> dict[str, float]:
    """All figures of one equity curve, by name in the order of `METRICS`.

    Args:
        equity: (n_bars,) account value at each bar end, currency; finite, the first above 0.
        bars_per_year: for annualising; above 0.
        initial: value before the first bar. None: the first bar is the start, and has no return.
        traded: value bought plus value sold, currency.
        n_trades: closed trades.
        n_wins: of these, with a profit.
        n_exposed: bars with a position.

    Returns: name -> figure; NaN where it is not defined, or where what it needs was not given.

    Raises:
        ShapeError: `equity` is not one row of at least one value.
        InputError: a value that is not finite, a start or `bars_per_year` that is not above 0.
    """
    values = np.ascontiguousarray(equity, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ShapeError(f"`equity` must have shape (n_bars,) with n_bars >= 1, but its shape is {values.shape}.")
    if not np.isfinite(values).all():
        bar = int(np.argmin(np.isfinite(values)))
        raise InputError(f"`equity` must be finite, but bar {bar} of {values.size} is {values[bar]}.")
    start = values[0] if initial is None else float(initial)
    if not (math.isfinite(start) and start > 0.0):
        raise InputError(f"`initial > 0` must hold (the first equity, where not given), but it is {start}.")
    if not bars_per_year > 0.0:
        raise InputError(f"`bars_per_year > 0` must hold, but bars_per_year={bars_per_year!r}.")
    activity = np.array([traded, n_trades, n_wins, n_exposed], dtype=np.float64)
    figures, _, _ = measure(values, math.nan if initial is None else start, bars_per_year, activity)
    return dict(zip(METRICS, figures.tolist(), strict=True))


def measure(equity: Array, initial: float, bars_per_year: float, activity: Array) -> tuple[Array, Array, Array]:
    """Figures (n_metrics,), bar returns (n_bars,) and block moments (n_blocks, 3) of checked values.

    Args:
        equity: (n_bars,) float64.
        initial: value before the first bar; NaN: the first bar is the start.
        bars_per_year: for annualising.
        activity: (4,) traded value, closed trades, of these won, bars with a position.
    """
    figures, returns, moments = np.full(N_FIGURES, np.nan), np.empty(len(equity)), np.empty((N_BLOCKS, N_MOMENTS))
    statistics_kernel(equity, initial, float(bars_per_year), activity, returns, figures, moments)
    return figures, returns, moments
