"""A curve against a benchmark of the same bars."""

from __future__ import annotations

import math

import numpy as np

from knowable.errors import ShapeError
from knowable.metrics.curve import Array, Curve

__all__ = ["relative_figures"]

_MOST = 700.0  # exp of a little more is infinite


def relative_figures(curve: Curve, benchmark: Curve) -> dict[str, float]:
    """Figures of `curve` against `benchmark`; names and definitions in `knowable.metrics.catalogue`.

    Raises: ShapeError if they do not have the same number of bars.
    """
    if benchmark.n_bars != curve.n_bars:
        raise ShapeError(f"The benchmark has {benchmark.n_bars} bars, the curve {curve.n_bars}; they must be the same.")
    own, other, year = curve.excess, benchmark.excess, curve.bars_per_year
    beta, correlation = _slope(own, other)
    mean, mean_other = float(own.mean()), float(other.mean())
    apart = curve.returns - benchmark.returns
    tracking = float(np.std(apart, ddof=1)) if len(apart) > 1 else math.nan
    up = _capture(curve, benchmark, benchmark.returns > 0.0)
    down = _capture(curve, benchmark, benchmark.returns < 0.0)
    return {
        "alpha": (mean - beta * mean_other) * year,
        "beta": beta,
        "correlation": correlation,
        "r_squared": correlation * correlation,
        "treynor": mean * year / beta if beta != 0.0 else math.nan,
        "tracking_error": tracking * math.sqrt(year),
        "information_ratio": float(apart.mean()) / tracking * math.sqrt(year) if tracking > 1e-14 else math.nan,
        "up_capture": up,
        "down_capture": down,
        "capture_ratio": up / down if down != 0.0 else math.nan,
        "batting_average": float(np.mean(curve.returns > benchmark.returns)),
        "beta_fragility": _fragility(curve.returns, benchmark.returns),
    }


def _slope(own: Array, other: Array) -> tuple[float, float]:
    """Slope of own on other, and their correlation."""
    x, y = other - other.mean(), own - own.mean()
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    tiny = 1e-28 * len(x)
    slope = xy / xx if xx > tiny else math.nan
    return slope, (xy / math.sqrt(xx * yy) if xx > tiny and yy > tiny else math.nan)


def _capture(curve: Curve, benchmark: Curve, rows: np.ndarray) -> float:
    """Annual growth over the chosen bars, against the benchmark's over the same."""
    n = int(rows.sum())
    if n == 0:
        return math.nan
    own, other = (float(np.log1p(each.returns[rows]).sum()) * curve.bars_per_year / n for each in (curve, benchmark))
    # minutes that only rise may grow by more in a year than a number can say
    return math.expm1(own) / math.expm1(other) if max(own, other) < _MOST else math.nan


def _fragility(own: Array, other: Array) -> float:
    """How far the chord over the benchmark's worst and best bar lies above the curve's return on its middle bar."""
    if len(own) < 3:
        return math.nan
    order = np.argsort(other, kind="stable")
    worst, middle, best = order[0], order[len(own) // 2], order[-1]
    span = float(other[best] - other[worst])
    share = float(other[middle] - other[worst]) / span if span > 0.0 else 0.5
    return float((1.0 - share) * own[worst] + share * own[best] - own[middle])
