"""What was earned, over the whole, by period and lately; and how deep and long it fell."""

from __future__ import annotations

import math

import numpy as np

from knowable.metrics.curve import Array, Curve

__all__ = ["drawdown_figures", "growth_figures"]

_LATELY = {"return_3m": 3, "return_6m": 6, "return_1y": 12}
_LONG = {"annual_return_3y": 36, "annual_return_5y": 60, "annual_return_10y": 120}
_WORST_SHARE = 0.05


def growth_figures(curve: Curve) -> dict[str, float]:
    """Figures of what was earned; names and definitions in `knowable.metrics.catalogue`."""
    months, quarters, years = curve.months, curve.quarters, curve.calendar_years
    ups, downs = months[months > 0.0], months[months < 0.0]
    made = {
        "mean_bar": _geometric(curve.returns),
        "mean_month": _geometric(months),
        "mean_year": _geometric(years),
        "best_bar": float(curve.returns.max()),
        "worst_bar": float(curve.returns.min()),
        "best_month": float(months.max()),
        "worst_month": float(months.min()),
        "best_year": float(years.max()),
        "worst_year": float(years.min()),
        "win_months": _won(months),
        "win_quarters": _won(quarters),
        "win_years": _won(years),
        "mean_up_month": float(ups.mean()) if len(ups) else math.nan,
        "mean_down_month": float(downs.mean()) if len(downs) else math.nan,
        "stability": _stability(curve),
    }
    last = curve.days[-1]
    month, year = last.astype("datetime64[M]"), last.astype("datetime64[Y]")
    day = np.timedelta64(1, "D")
    made["return_mtd"] = _compound(curve.since(month.astype("datetime64[D]") - day))
    made["return_ytd"] = _compound(curve.since(year.astype("datetime64[D]") - day))
    for name, n_months in (_LATELY | _LONG).items():
        since = _months_before(last, n_months)
        lately = curve.since(since) if curve.days[0] <= since else np.empty(0)
        total = _compound(lately)
        made[name] = total if name in _LATELY else (1.0 + total) ** (12.0 / n_months) - 1.0
    return made


def drawdown_figures(curve: Curve, annual_return: float) -> dict[str, float]:
    """Figures of the falls; those that set them against what was earned take the annual return."""
    falls, each = curve.falls, curve.drawdowns
    deepest = float(falls.min())
    ulcer = math.sqrt(float(np.mean(falls * falls)))
    volatility = float(np.std(curve.returns, ddof=1)) * math.sqrt(curve.bars_per_year) if curve.n_bars > 1 else math.nan
    worst = -float(np.sort(falls)[: max(1, math.ceil(_WORST_SHARE * len(falls)))].mean())
    earned = annual_return - curve.risk_free
    pitfall = worst / volatility if volatility > 0.0 else math.nan
    any_fall = deepest < 0.0
    return {
        "mean_drawdown": float(each.depth.mean()) if any_fall else 0.0,
        "longest_drawdown_days": float(each.days.max()) if any_fall else 0.0,
        "mean_drawdown_days": float(each.days.mean()) if any_fall else 0.0,
        "n_drawdowns": float(len(each.depth)),
        "recovery_factor": (float(curve.wealth[-1]) - 1.0) / -deepest if any_fall else math.nan,
        "ulcer_index": ulcer,
        "martin_ratio": earned / ulcer if any_fall else math.nan,
        "serenity_ratio": earned / (ulcer * pitfall) if any_fall and ulcer * pitfall > 0.0 else math.nan,
    }


def _geometric(returns: Array) -> float:
    return math.expm1(float(np.log1p(returns).mean()))


def _compound(returns: Array) -> float:
    return float(np.prod(1.0 + returns)) - 1.0 if len(returns) else math.nan


def _won(returns: Array) -> float:
    moved = np.count_nonzero(returns)
    return np.count_nonzero(returns > 0.0) / moved if moved else math.nan


def _months_before(day: np.datetime64, n_months: int) -> np.datetime64:
    """The same day of an earlier month, or that month's last day where it has none such."""
    month = day.astype("datetime64[M]")
    into = day - month.astype("datetime64[D]")
    first = (month - n_months).astype("datetime64[D]")
    last = (month - n_months + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    return min(first + into, last)


def _stability(curve: Curve) -> float:
    """R squared of the line through the logarithm of wealth."""
    if curve.n_bars < 3:
        return math.nan
    y = np.log(curve.wealth[1:])
    x = np.arange(len(y), dtype=np.float64)
    x -= x.mean()
    y -= y.mean()
    spread = float(y @ y)
    return float(x @ y) ** 2 / (float(x @ x) * spread) if spread > 0.0 else math.nan
