"""Figures of real prices against empyrical and quantstats, where these are right; each difference has its reason."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.metrics.curve import Curve
from knowable.metrics.describe import describe
from knowable.metrics.figures import figures_of

empyrical = pytest.importorskip("empyrical")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    qs = pytest.importorskip("quantstats").stats

SAMPLE = Path(__file__).parents[2] / "data-samples" / "us-large-caps.csv.gz"
YEAR = 252


@pytest.fixture(scope="module")
def both() -> pd.DataFrame:
    """Daily returns of one stock and of the mean of all, real prices."""
    table = pd.read_csv(SAMPLE, parse_dates=["event_time"])
    close = table.pivot(index="event_time", columns="entity", values="close")
    gains = close.pct_change().iloc[1:].dropna(axis=1)
    gains.index = gains.index.tz_localize(None).normalize()
    return pd.DataFrame({"own": gains.iloc[:, 0], "other": gains.mean(axis=1)})


def curve(gains: pd.Series, risk_free: float = 0.0) -> Curve:
    return Curve(
        returns=gains.to_numpy(),
        days=gains.index.to_numpy().astype("datetime64[D]"),
        bars_per_year=YEAR,
        risk_free=risk_free,
    )


def figures(gains: pd.Series, other: pd.Series | None = None, risk_free: float = 0.0) -> dict[str, float]:
    measured = describe((1.0 + gains).cumprod().to_numpy(), YEAR, initial=1.0)
    return figures_of(curve(gains, risk_free), measured, None if other is None else curve(other, risk_free))


def test_figures_are_those_of_empyrical(both: pd.DataFrame) -> None:
    own, other = both["own"], both["other"]
    got = figures(own, other)
    same = {
        "total_return": empyrical.cum_returns_final(own),
        "annual_return": empyrical.annual_return(own),
        "annual_volatility": empyrical.annual_volatility(own),
        "downside_deviation": empyrical.downside_risk(own),
        "sharpe": empyrical.sharpe_ratio(own),
        "sortino": empyrical.sortino_ratio(own),
        "max_drawdown": empyrical.max_drawdown(own),
        "calmar": empyrical.calmar_ratio(own),
        "stability": empyrical.stability_of_timeseries(own),
        "omega": empyrical.omega_ratio(own),
        "tail_ratio": empyrical.tail_ratio(own),
        "value_at_risk": empyrical.value_at_risk(own),
        "expected_shortfall": empyrical.conditional_value_at_risk(own),
        "beta": empyrical.beta(own, other),
        "up_capture": empyrical.up_capture(own, other),
        "down_capture": empyrical.down_capture(own, other),
        "capture_ratio": empyrical.up_down_capture(own, other),
        "batting_average": empyrical.batting_average(own, other)["batting average"],
        "beta_fragility": empyrical.beta_fragility_heuristic(own, other),
        # the excess Sharpe ratio is the information ratio of one bar
        "information_ratio": empyrical.excess_sharpe(own, other) * math.sqrt(YEAR),
        # its alpha grows for a year, Jensen's is a year of bars
        "alpha": math.expm1(math.log1p(empyrical.alpha(own, other)) / YEAR) * YEAR,
    }
    for name, theirs in same.items():
        assert got[name] == pytest.approx(theirs, rel=1e-9), name


def test_figures_are_those_of_quantstats(both: pd.DataFrame) -> None:
    own, other = both["own"], both["other"]
    got = figures(own, other)
    options = {"prepare_returns": False}
    greeks = qs.greeks(own, other, periods=YEAR, prepare_returns=False)
    n = len(own)
    falls = qs.to_drawdown_series(own)
    falls = falls.where(falls < -1e-12, 0.0)  # back at the high but for rounding is back
    same = {
        "total_return": qs.comp(own),
        "annual_return": qs.cagr(own, periods=YEAR),
        "annual_volatility": qs.volatility(own, periods=YEAR),
        "sharpe": qs.sharpe(own, periods=YEAR),
        "smart_sharpe": qs.smart_sharpe(own, periods=YEAR),
        "sortino": qs.sortino(own, periods=YEAR),
        "smart_sortino": qs.smart_sortino(own, periods=YEAR),
        "adjusted_sortino": qs.adjusted_sortino(own, periods=YEAR),
        "omega": qs.omega(own, periods=YEAR),
        "max_drawdown": qs.max_drawdown(own),
        "calmar": qs.calmar(own, periods=YEAR),
        "risk_return_ratio": qs.risk_return_ratio(own),
        # theirs divides by n - 1
        "ulcer_index": qs.ulcer_index(own) * math.sqrt((n - 1) / n),
        "mean_move": qs.avg_return(own, **options),
        "mean_win": qs.avg_win(own, **options),
        "mean_loss": qs.avg_loss(own, **options),
        "win_bars": qs.win_rate(own, **options),
        "payoff_ratio": qs.payoff_ratio(own, **options),
        "profit_factor": qs.profit_factor(own, **options),
        "common_sense_ratio": qs.common_sense_ratio(own, **options),
        "cpc_index": qs.cpc_index(own, **options),
        "kelly": qs.kelly_criterion(own, **options),
        "risk_of_ruin": qs.risk_of_ruin(own, **options),
        "gain_to_pain": qs.gain_to_pain_ratio(own),
        "tail_ratio": qs.tail_ratio(own, **options),
        "outlier_loss_ratio": qs.outlier_loss_ratio(own, **options),
        "normal_value_at_risk": qs.value_at_risk(own, **options),
        "normal_expected_shortfall": qs.cvar(own, **options),
        "expected_shortfall": qs.cvar(own, method="historical", **options),
        "mean_bar": qs.expected_return(own, **options),
        "mean_month": qs.expected_return(own, aggregate="ME", **options),
        "mean_year": qs.expected_return(own, aggregate="YE", **options),
        "best_bar": qs.best(own, **options),
        "worst_month": qs.worst(own, aggregate="ME", **options),
        "best_year": qs.best(own, aggregate="YE", **options),
        "win_months": qs.win_rate(own, aggregate="ME", **options),
        "win_quarters": qs.win_rate(own, aggregate="QE", **options),
        "most_wins_in_a_row": qs.consecutive_wins(own, **options),
        "most_losses_in_a_row": qs.consecutive_losses(own, **options),
        "beta": greeks["beta"],
        "alpha": greeks["alpha"],
        "r_squared": qs.r_squared(own, other, **options),
        "information_ratio": qs.information_ratio(own, other, **options) * math.sqrt(YEAR),
        "mean_drawdown": qs.drawdown_details(falls)["max drawdown"].mean() / 100,
        "n_drawdowns": len(qs.drawdown_details(falls)),
    }
    for name, theirs in same.items():
        assert got[name] == pytest.approx(float(theirs), rel=1e-9), name


def test_a_riskless_rate_is_taken_off_as_quantstats_takes_it(both: pd.DataFrame) -> None:
    got = figures(both["own"], risk_free=0.04)
    assert got["sharpe"] == pytest.approx(qs.sharpe(both["own"], rf=0.04, periods=YEAR), rel=1e-9)
    assert got["sortino"] == pytest.approx(qs.sortino(both["own"], rf=0.04, periods=YEAR), rel=1e-9)
    assert got["omega"] == pytest.approx(qs.omega(both["own"], rf=0.04, periods=YEAR), rel=1e-9)
    assert got["sharpe"] < figures(both["own"])["sharpe"]
    assert np.isfinite(got["probabilistic_sharpe"])
