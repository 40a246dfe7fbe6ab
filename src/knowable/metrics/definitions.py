"""The figures, their order and their definitions. The same table is shown in reports and held by tests."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["DEFINITIONS", "METRICS"]

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "total_return": "Last equity over starting cash, less 1.",
        "annual_return": (
            "Growth over a year: (1 + total_return) ** (bars_per_year / n_returns) - 1; -1 if nothing is left, "
            "NaN if equity was at or below 0 before, or if it is more than a number can say. "
            "Source: the compound annual growth rate."
        ),
        "annual_volatility": (
            "Standard deviation of bar returns (n - 1 in the denominator) times sqrt(bars_per_year). A bar's return is "
            "its equity over the one before, less 1; the first bar's is against the starting cash. NaN, as all "
            "figures that rest on the returns or on mean equity, once equity was at or below 0: see total_return then."
        ),
        "sharpe": (
            "Arithmetic mean of bar returns over their standard deviation (n - 1), times sqrt(bars_per_year); the "
            "risk-free rate is taken as 0. NaN where returns are constant. Source: Sharpe (1994), The Sharpe Ratio."
        ),
        "sortino": (
            "Mean of bar returns over the downside deviation, times sqrt(bars_per_year). Downside deviation: root of "
            "the mean, over all bars, of squared returns below 0. NaN without any but rounding. "
            "Source: Sortino and Price (1994)."
        ),
        "max_drawdown": (
            "Deepest fall of equity below its highest value so far, starting cash included, as a fraction: -0.2 is a "
            "fall by a fifth. A fall below 1e-12 is rounding, and 0. "
            "Source: Magdon-Ismail and Atiya (2004), Maximum Drawdown."
        ),
        "calmar": "annual_return over the size of max_drawdown, whole span. NaN without one. Source: Young (1991).",
        "turnover": "Value bought plus value sold at reference prices, over mean equity, a year.",
        "n_trades": "Closed trades: each fill that reduces a position closes one of that size. An open one is none.",
        "skewness": "Third central moment of bar returns over the 1.5th power of the second (n in the denominators).",
        "kurtosis": "Fourth central moment of bar returns over the square of the second; a normal law has 3.",
        "exposure": "Share of bars at whose close any position is held.",
        "win_rate": "Share of closed trades with a profit after fees. NaN without trades.",
    }
)

METRICS: tuple[str, ...] = tuple(DEFINITIONS)
