"""Figures by hand: short tables that can be checked on paper."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import knowable as kn
from knowable.errors import InputError, ShapeError
from knowable.metrics import METRICS
from knowable.metrics.catalogue import FAMILIES, FIGURES
from knowable.metrics.curve import Curve
from knowable.metrics.describe import describe
from knowable.metrics.figures import Figures, figures_of

# wealth: 1, 1.1, 0.99, 1.1, 0.88, 1.32, 1.188
RETURNS = np.array([0.1, -0.1, 0.11 / 0.99, -0.2, 0.5, -0.1])
DAYS = np.array(
    ["2024-11-29", "2024-12-02", "2024-12-30", "2024-12-31", "2025-01-02", "2025-03-03"], dtype="datetime64[D]"
)


def curve(returns=RETURNS, days=DAYS, **options) -> Curve:
    return Curve(returns=returns, days=days, bars_per_year=options.pop("bars_per_year", 12.0), **options)


def all_figures(own: Curve, other: Curve | None = None) -> dict[str, float]:
    return figures_of(own, describe(own.wealth[1:], own.bars_per_year, initial=1.0), other)


def test_falls_are_listed_one_by_one() -> None:
    each = curve().drawdowns
    # bars 1 and 2: from the high at bar 0, back at bar 2; bar 3: from bar 2, passed at bar 4; bar 5: open
    assert each.start.tolist() == [0, 2, 4]
    assert each.valley.tolist() == [1, 3, 5]
    assert each.end.tolist() == [2, 4, 6]
    assert each.depth == pytest.approx([-0.1, -0.2, -0.1])
    assert each.days.tolist() == [31, 3, 60]
    got = all_figures(curve())
    assert got["n_drawdowns"] == 3
    assert got["mean_drawdown"] == pytest.approx(-0.4 / 3)
    assert got["longest_drawdown_days"] == 60
    assert got["mean_drawdown_days"] == pytest.approx(94 / 3)
    assert got["recovery_factor"] == pytest.approx(0.188 / 0.2)
    assert got["ulcer_index"] == pytest.approx(math.sqrt((0.01 + 0.04 + 0.01) / 6))


def test_a_curve_that_falls_from_its_start_falls_from_the_day_before() -> None:
    each = curve(np.array([-0.5, 0.5]), DAYS[:2]).drawdowns
    assert (each.start.tolist(), each.end.tolist(), each.days.tolist()) == ([-1], [2], [4])


def test_months_quarters_and_years_compound_their_bars() -> None:
    made = curve()
    assert made.months == pytest.approx([0.1, 0.88 / 1.1 - 1, 0.5, -0.1])
    assert made.quarters == pytest.approx([-0.12, 1.188 / 0.88 - 1])
    assert made.calendar_years == pytest.approx([-0.12, 0.35])
    got = all_figures(made)
    assert got["best_month"] == pytest.approx(0.5)
    assert got["worst_year"] == pytest.approx(-0.12)
    assert got["win_months"] == 0.5
    assert got["win_years"] == 0.5
    assert got["mean_up_month"] == pytest.approx(0.3)
    assert got["mean_down_month"] == pytest.approx(-0.15)
    assert got["mean_year"] == pytest.approx(math.sqrt(1.188) - 1)
    assert got["gain_to_pain_month"] == pytest.approx((0.1 - 0.2 + 0.5 - 0.1) / 0.3)


def test_lately_counts_back_from_the_last_day() -> None:
    got = all_figures(curve())
    assert got["return_mtd"] == pytest.approx(-0.1)
    assert got["return_ytd"] == pytest.approx(0.35)
    assert got["return_3m"] == pytest.approx(1.188 / 0.99 / (1 + 0.11 / 0.99) * (1 + 0.11 / 0.99) - 1)
    assert math.isnan(got["return_6m"]), "the curve is shorter"
    longer = curve(np.full(48, 0.01), np.arange("2020-01", "2024-01", dtype="datetime64[M]").astype("datetime64[D]"))
    got = all_figures(longer)
    assert got["return_1y"] == pytest.approx(1.01**12 - 1)
    assert got["annual_return_3y"] == pytest.approx(1.01**12 - 1)
    assert math.isnan(got["annual_return_5y"])


def test_a_month_without_that_day_counts_from_its_last() -> None:
    days = np.array(["2023-02-27", "2023-02-28", "2023-03-01", "2023-05-31"], dtype="datetime64[D]")
    got = all_figures(curve(np.array([0.5, 0.5, 0.1, 0.1]), days))
    assert got["return_3m"] == pytest.approx(0.21)


def test_powers_of_returns_are_those_of_fractions() -> None:
    exact = [Fraction(1, 10), Fraction(-1, 10), Fraction(1, 20), Fraction(-1, 5), Fraction(1, 2)]
    n, mean = len(exact), sum(exact) / len(exact)
    squares, cubes, fourths = (sum((x - mean) ** k for x in exact) for k in (2, 3, 4))
    kurtosis = float(fourths / n / (squares / n) ** 2)
    skewness = float(cubes / n) / float(squares / n) ** 1.5
    free = 1.04 ** (1 / 12) - 1
    deviation = math.sqrt(squares / (n - 1))
    sharpe = (float(mean) - free) / deviation
    got = all_figures(curve(np.array([float(x) for x in exact]), DAYS[:5], risk_free=0.04))
    assert got["kurtosis"] == pytest.approx(kurtosis), "a normal law has 3, and nothing is taken off twice"
    assert got["skewness"] == pytest.approx(skewness)
    assert got["risk_return_ratio"] == pytest.approx(sharpe)
    assert got["sharpe"] == pytest.approx(sharpe * math.sqrt(12)), "the riskless rate is a year's, taken off each bar"
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    chance = 0.5 * (1 + math.erf(sharpe * math.sqrt((n - 1) / spread) / math.sqrt(2)))
    assert got["probabilistic_sharpe"] == pytest.approx(chance)


def test_runs_and_shares_of_bars() -> None:
    got = all_figures(curve(np.array([0.1, 0.2, 0.0, 0.1, -0.1, -0.2]), DAYS))
    assert got["most_wins_in_a_row"] == 2
    assert got["most_losses_in_a_row"] == 2
    assert got["win_bars"] == 0.6
    assert got["payoff_ratio"] == pytest.approx((0.4 / 3) / 0.15)
    assert got["profit_factor"] == pytest.approx(0.4 / 0.3)
    assert got["profit_ratio"] == pytest.approx((0.4 / 9) / (0.15 / 2))
    assert got["kelly"] == pytest.approx(0.6 - 0.4 * 0.15 / (0.4 / 3))


def test_against_a_benchmark_that_is_half_of_it() -> None:
    gains = np.array([0.02, -0.04, 0.06, 0.0])
    got = all_figures(curve(gains, DAYS[:4]), curve(gains / 2, DAYS[:4]))
    assert got["beta"] == pytest.approx(2.0)
    assert got["alpha"] == pytest.approx(0.0, abs=1e-15)
    assert got["correlation"] == pytest.approx(1.0)
    assert got["batting_average"] == 0.5
    assert got["treynor"] == pytest.approx(0.01 * 12 / 2)
    assert got["tracking_error"] == pytest.approx(np.std(gains / 2, ddof=1) * math.sqrt(12))
    assert got["beta_fragility"] == pytest.approx(0.0, abs=1e-15), "a straight line bends nowhere"


def test_nothing_moves_and_nothing_is_defined() -> None:
    got = all_figures(curve(np.zeros(6)), curve(np.zeros(6)))
    for name in ("sharpe", "sortino", "omega", "kelly", "beta", "correlation", "martin_ratio", "stability", "win_bars"):
        assert math.isnan(got[name]), name
    assert (got["n_drawdowns"], got["mean_drawdown"], got["ulcer_index"]) == (0, 0, 0)
    one = all_figures(curve(np.array([0.1]), DAYS[:1]))
    assert one["total_return"] == pytest.approx(0.1)
    assert math.isnan(one["sharpe"])


@given(st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=60), st.integers(1, 400))
def test_laws_of_figures(gains: list[float], step: int) -> None:
    days = np.datetime64("2020-01-30") + np.arange(len(gains)) * step
    got = all_figures(curve(np.array(gains), days))
    ordered = [
        ("worst_bar", "expected_shortfall", "value_at_risk", "best_bar"),
        ("max_drawdown", "mean_drawdown"),
        ("mean_drawdown_days", "longest_drawdown_days"),
    ]
    for names in ordered:
        values = np.array([got[name] for name in names])
        assert (np.diff(values) >= -1e-12).all(), names
    for name in ("win_bars", "win_months", "probabilistic_sharpe", "stability"):
        assert math.isnan(got[name]) or -1e-12 <= got[name] <= 1 + 1e-12, name
    for years in (curve(np.array(gains), days).calendar_years, curve(np.array(gains), days).months):
        assert np.prod(1 + years) - 1 == pytest.approx(got["total_return"], abs=1e-9)


def test_growth_that_no_number_can_say_is_not_defined() -> None:
    minutes = np.full(300, 0.01)
    rising = Curve(returns=minutes, days=np.full(300, "2024-01-02", "M8[D]"), bars_per_year=525_600.0)
    measured = describe(np.cumprod(1.0 + minutes), rising.bars_per_year, initial=1.0)
    assert measured["total_return"] == pytest.approx(1.01**300 - 1)
    figures = figures_of(rising, measured, rising)
    assert not [name for name, value in figures.items() if math.isinf(value)]
    assert math.isnan(figures["annual_return"])
    assert math.isnan(figures["up_capture"])


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"returns": np.array([0.1, math.nan])}, InputError, "bar 1 of 2 is nan"),
        ({"returns": np.array([0.1, -1.0])}, InputError, "above -1, but bar 1 of 2 is -1"),
        ({"returns": np.zeros(3)}, ShapeError, r"\(3,\) and \(2,\)"),
        ({"returns": np.zeros(0), "days": DAYS[:0]}, ShapeError, "n_bars >= 1"),
        ({"days": DAYS[1::-1]}, InputError, "must not fall"),
        ({"bars_per_year": 0.0}, InputError, "bars_per_year > 0"),
        ({"risk_free": -1.0}, InputError, "a rate a year as a fraction"),
        ({"risk_free": 3}, InputError, "(?s)risk_free=3.*Three per cent are 0.03"),
        ({"risk_free": "3%"}, InputError, "risk_free='3%'"),
    ],
)
def test_curves_that_are_none_are_refused(options, error, says) -> None:
    with pytest.raises(error, match=says):
        curve(**({"returns": np.zeros(2), "days": DAYS[:2]} | options))


def test_every_figure_has_a_family_and_a_definition_and_is_made() -> None:
    assert {figure.family for figure in FIGURES.values()} == set(FAMILIES)
    assert all(figure.definition.endswith(".") for figure in FIGURES.values())
    assert set(METRICS) <= set(FIGURES)
    assert set(all_figures(curve(), curve())) == set(FIGURES)


class Held(kn.Strategy):
    """All in one asset, half in the other."""

    def weights(self, m):
        return np.tile([0.5, 0.25], (m.n_bars, 1))


def market() -> kn.Market:
    index = pd.bdate_range("2020-01-01", periods=300)
    rng = np.random.default_rng(0)
    close = pd.DataFrame(100 * np.exp(rng.normal(0, 0.01, (300, 2)).cumsum(0)), index=index, columns=["A", "B"])
    return kn.Market.from_frames(close=close)


def test_a_result_shows_its_figures_beside_a_benchmark() -> None:
    prices = market()
    result = kn.backtest(Held(), prices, fill="close")
    plain = result.stats()
    assert isinstance(plain, Figures)
    assert {name: plain[name] for name in METRICS} == dict(result.metrics), "to the bit"
    assert "beta" not in plain
    with pytest.raises(KeyError, match=r"'beta' is a figure against a benchmark: result.stats\('buy_and_hold'\)"):
        plain["beta"]
    with pytest.raises(KeyError, match="Unknown figure 'shrpe'. Did you mean 'sharpe'"):
        plain["shrpe"]
    assert plain.get("shrpe") is None
    assert repr(pickle.loads(pickle.dumps(plain))) == repr(plain)
    other = kn.backtest(Held(), prices, fill="close", costs=kn.Costs(fee_bps=10))
    beside = result.stats(other, risk_free=0.02)
    assert beside.benchmark["total_return"] == other.metrics["total_return"]
    assert beside["sharpe"] < plain["sharpe"]
    assert beside["beta"] == pytest.approx(1.0, rel=0.05)
    assert "benchmark" in repr(beside).splitlines()[1]
    assert "title='Slope of excess returns" in beside._repr_html_()
    frame = beside.frame()
    assert list(frame.columns) == ["family", "result", "benchmark", "unit", "definition"]
    assert frame.loc["beta", "result"] == beside["beta"]
    series = prices.close.frame()["A"]
    assert result.stats(series).benchmark["total_return"] == pytest.approx(series.iloc[-1] / series.iloc[0] - 1)
    with pytest.raises(ShapeError, match="ends 2021-02-22, but the last bar"):
        result.stats(series.iloc[:-1])
    with pytest.raises(InputError, match="finite and above 0"):
        result.stats(series * 0)


def test_drawdowns_and_months_of_a_result() -> None:
    result = kn.backtest(Held(), market(), fill="close")
    table = result.drawdowns
    assert table["depth"].iloc[0] == pytest.approx(result.metrics["max_drawdown"])
    assert table["depth"].is_monotonic_increasing
    equity = result.equity
    worst = table.iloc[0]
    assert equity[worst["valley"]] / equity[worst["start"]] - 1 == pytest.approx(worst["depth"])
    months = result.monthly
    assert months.shape == (2, 13)
    assert (1 + months["year"]).prod() - 1 == pytest.approx(result.metrics["total_return"])
    ends = equity.resample("ME").last()
    assert months.loc[2020, 3] == pytest.approx(ends.iloc[2] / ends.iloc[1] - 1)
