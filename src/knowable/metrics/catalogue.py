"""Every figure that is printed of a curve: its family, its unit, its definition and source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from knowable.metrics.definitions import DEFINITIONS

__all__ = ["FAMILIES", "FIGURES", "Figure"]

Unit = Literal["share", "ratio", "count", "days"]

FAMILIES = (
    "Return", "Lately", "Risk", "Reward for risk", "Drawdown", "Tails", "Bars", "Trades", "Against the benchmark",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        family: the heading it stands under.
        unit: share: a fraction, shown per cent; ratio; count; days: calendar days.
        definition: what it is, NaN where, and the source.
    """

    family: str
    unit: Unit
    definition: str


def _lately(what: str) -> str:
    return f"Return over the last {what} up to the last bar's day. NaN where the curve is shorter."


def _of(name: str, family: str, unit: Unit) -> Figure:
    """A figure that the ledger's kernel measures."""
    return Figure(family, unit, DEFINITIONS[name])


FIGURES: Mapping[str, Figure] = MappingProxyType({
    "total_return": _of("total_return", "Return", "share"),
    "annual_return": _of("annual_return", "Return", "share"),
    "mean_bar": Figure("Return", "share", "Geometric mean of bar returns."),
    "mean_month": Figure("Return", "share", "Geometric mean of calendar months' returns, the first and last in part."),
    "mean_year": Figure("Return", "share", "Geometric mean of calendar years' returns, the first and last in part."),
    "best_bar": Figure("Return", "share", "Highest bar return."),
    "worst_bar": Figure("Return", "share", "Lowest bar return."),
    "best_month": Figure("Return", "share", "Highest return of a calendar month."),
    "worst_month": Figure("Return", "share", "Lowest return of a calendar month."),
    "best_year": Figure("Return", "share", "Highest return of a calendar year."),
    "worst_year": Figure("Return", "share", "Lowest return of a calendar year."),
    "mean_up_month": Figure("Return", "share", "Arithmetic mean of calendar months above 0. NaN without one."),
    "mean_down_month": Figure("Return", "share", "Arithmetic mean of calendar months below 0. NaN without one."),
    "stability": Figure(
        "Return", "ratio", "R squared of the line through the logarithm of wealth; 1: growth at one pace. NaN if flat."
    ),
    "return_mtd": Figure("Lately", "share", "Return since the last bar's month began."),
    "return_3m": Figure("Lately", "share", _lately("three months")),
    "return_6m": Figure("Lately", "share", _lately("six months")),
    "return_ytd": Figure("Lately", "share", "Return since the last bar's year began."),
    "return_1y": Figure("Lately", "share", _lately("year")),
    "annual_return_3y": Figure("Lately", "share", "A year's growth: " + _lately("three years")),
    "annual_return_5y": Figure("Lately", "share", "A year's growth: " + _lately("five years")),
    "annual_return_10y": Figure("Lately", "share", "A year's growth: " + _lately("ten years")),
    "annual_volatility": _of("annual_volatility", "Risk", "share"),
    "downside_deviation": Figure(
        "Risk", "share",
        "Root of the mean, over all bars, of squared excess returns below 0, times sqrt(bars_per_year).",
    ),
    "skewness": _of("skewness", "Risk", "ratio"),
    "kurtosis": _of("kurtosis", "Risk", "ratio"),
    "exposure": _of("exposure", "Risk", "share"),
    "turnover": _of("turnover", "Risk", "ratio"),
    "sharpe": Figure(
        "Reward for risk", "ratio",
        "Mean of bar returns less the riskless rate of a bar, over their standard deviation (n - 1), times "
        "sqrt(bars_per_year). NaN where they are constant. Source: Sharpe (1994), The Sharpe Ratio.",
    ),
    "smart_sharpe": Figure(
        "Reward for risk", "ratio",
        "sharpe over sqrt(1 + 2 sum over k < n of (1 - k / n) |rho| ** k), rho the correlation of neighbouring bars: "
        "smooth returns look safer than they are. Source: after Lo (2002), The Statistics of Sharpe Ratios.",
    ),
    "probabilistic_sharpe": Figure(
        "Reward for risk", "share",
        "Chance that the true Sharpe ratio is above 0, from the number of bars, skewness and kurtosis. "
        "Source: Bailey and Lopez de Prado (2012), The Sharpe Ratio Efficient Frontier.",
    ),
    "sortino": Figure(
        "Reward for risk", "ratio",
        "Mean of bar returns less the riskless rate of a bar, over their downside deviation, times "
        "sqrt(bars_per_year). NaN without one below 0. Source: Sortino and Price (1994).",
    ),
    "smart_sortino": Figure("Reward for risk", "ratio", "sortino, made smaller as smart_sharpe is."),
    "adjusted_sortino": Figure(
        "Reward for risk", "ratio",
        "sortino over sqrt(2): equal to the Sharpe ratio where returns are symmetric about 0. "
        "Source: after Schwager.",
    ),
    "risk_return_ratio": Figure("Reward for risk", "ratio", "The Sharpe ratio of one bar: not annualised."),
    "omega": Figure(
        "Reward for risk", "ratio",
        "Sum of excess returns above 0 over the size of the sum below 0. NaN without any below. "
        "Source: Keating and Shadwick (2002), A Universal Performance Measure.",
    ),
    "gain_to_pain": Figure(
        "Reward for risk", "ratio", "Sum of bar returns over the size of the sum of those below 0. NaN without any."
    ),
    "gain_to_pain_month": Figure(
        "Reward for risk", "ratio",
        "Sum of calendar months' returns over the size of the sum of those below 0. "
        "Source: Schwager (2012), Hedge Fund Market Wizards.",
    ),
    "risk_adjusted_return": Figure(
        "Reward for risk", "share", "annual_return over exposure: a year's growth for the time in the market."
    ),
    "calmar": _of("calmar", "Reward for risk", "ratio"),
    "martin_ratio": Figure(
        "Reward for risk", "ratio",
        "annual_return less the riskless rate, over ulcer_index. Source: Martin and McCann (1989).",
    ),
    "serenity_ratio": Figure(
        "Reward for risk", "ratio",
        "annual_return less the riskless rate, over ulcer_index times pitfall; pitfall: mean of the worst twentieth of "
        "all bars' drawdowns, over annual_volatility. Source: KeyQuant, Introducing the Serenity Ratio.",
    ),
    "recovery_factor": Figure("Reward for risk", "ratio", "total_return over the size of max_drawdown."),
    "max_drawdown": _of("max_drawdown", "Drawdown", "share"),
    "mean_drawdown": Figure("Drawdown", "share", "Mean of the depths of all drawdowns, the open one included."),
    "n_drawdowns": Figure("Drawdown", "count", "Times that equity fell below its highest value so far."),
    "longest_drawdown_days": Figure(
        "Drawdown", "days", "Most calendar days from a high to the bar that was as high again, or to the last bar."
    ),
    "mean_drawdown_days": Figure("Drawdown", "days", "Mean of these days over all drawdowns."),
    "ulcer_index": Figure(
        "Drawdown", "share", "Root of the mean square, over all bars, of the fall below the highest value so far. "
        "Source: Martin and McCann (1989), The Investor's Guide to Fidelity Funds.",
    ),
    "value_at_risk": Figure("Tails", "share", "The bar return that one in twenty is below, linear between two bars."),
    "expected_shortfall": Figure("Tails", "share", "Mean of the bar returns at or below value_at_risk."),
    "normal_value_at_risk": Figure(
        "Tails", "share", "The return that one bar in twenty is below if returns are normal: mean - 1.645 deviations."
    ),
    "normal_expected_shortfall": Figure("Tails", "share", "Mean of the returns below that, if returns are normal."),
    "tail_ratio": Figure("Tails", "ratio", "Size of the 95th percentile of bar returns over that of the 5th."),
    "outlier_win_ratio": Figure("Tails", "ratio", "99th percentile of bar returns over mean_win."),
    "outlier_loss_ratio": Figure("Tails", "ratio", "1st percentile of bar returns over mean_loss."),
    "win_bars": Figure("Bars", "share", "Bars above 0, of those that are not 0."),
    "win_months": Figure("Bars", "share", "Calendar months above 0, of those that are not 0."),
    "win_quarters": Figure("Bars", "share", "Calendar quarters above 0, of those that are not 0."),
    "win_years": Figure("Bars", "share", "Calendar years above 0, of those that are not 0."),
    "mean_move": Figure("Bars", "share", "Mean of the bar returns that are not 0."),
    "mean_win": Figure("Bars", "share", "Mean of the bar returns above 0."),
    "mean_loss": Figure("Bars", "share", "Mean of the bar returns below 0."),
    "payoff_ratio": Figure("Bars", "ratio", "mean_win over the size of mean_loss."),
    "profit_factor": Figure("Bars", "ratio", "Sum of bar returns above 0 over the size of the sum below 0."),
    "profit_ratio": Figure("Bars", "ratio", "mean_win a winning bar over mean_loss a losing bar: each over its count."),
    "common_sense_ratio": Figure("Bars", "ratio", "profit_factor times tail_ratio."),
    "cpc_index": Figure("Bars", "ratio", "profit_factor times win_bars times payoff_ratio."),
    "kelly": Figure(
        "Bars", "share", "win_bars - (1 - win_bars) / payoff_ratio. Source: Kelly (1956), for a bet of two outcomes."
    ),
    "risk_of_ruin": Figure("Bars", "share", "((1 - win_bars) / (1 + win_bars)) ** n_bars."),
    "most_wins_in_a_row": Figure("Bars", "count", "Longest run of bars above 0."),
    "most_losses_in_a_row": Figure("Bars", "count", "Longest run of bars below 0."),
    "n_trades": _of("n_trades", "Trades", "count"),
    "win_rate": _of("win_rate", "Trades", "share"),
    "alpha": Figure(
        "Against the benchmark", "share",
        "A year's mean excess return less beta times the benchmark's. Source: Jensen (1968).",
    ),
    "beta": Figure("Against the benchmark", "ratio", "Slope of excess returns on the benchmark's. NaN if it is flat."),
    "correlation": Figure("Against the benchmark", "ratio", "Correlation of bar returns with the benchmark's."),
    "r_squared": Figure("Against the benchmark", "ratio", "correlation squared."),
    "treynor": Figure(
        "Against the benchmark", "ratio", "A year's mean excess return over beta. Source: Treynor (1965)."
    ),
    "tracking_error": Figure(
        "Against the benchmark", "share",
        "Standard deviation (n - 1) of bar returns less the benchmark's, times sqrt(bars_per_year).",
    ),
    "information_ratio": Figure(
        "Against the benchmark", "ratio",
        "Mean of bar returns less the benchmark's over their standard deviation, times sqrt(bars_per_year). "
        "Source: Grinold and Kahn (1999), Active Portfolio Management.",
    ),
    "up_capture": Figure(
        "Against the benchmark", "ratio",
        "A year's growth over the bars on which the benchmark rose, over the benchmark's own.",
    ),
    "down_capture": Figure("Against the benchmark", "ratio", "The same over the bars on which it fell."),
    "capture_ratio": Figure("Against the benchmark", "ratio", "up_capture over down_capture."),
    "batting_average": Figure("Against the benchmark", "share", "Bars on which the return was above the benchmark's."),
    "beta_fragility": Figure(
        "Against the benchmark", "ratio",
        "How far the chord over the benchmark's worst and best bar lies above the return on its middle bar; negative: "
        "extremes hurt. Source: Taleb et al. (2012), IMF WP 12/216.",
    ),
})  # fmt: skip
