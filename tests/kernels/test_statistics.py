"""Figures of an equity row against NumPy, pandas, and numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.kernels.statistics import FLAT, N_BLOCKS
from knowable.metrics import METRICS, describe
from knowable.metrics.describe import measure

ACTIVITY = np.array([500.0, 4.0, 3.0, 6.0])


def figures_of(equity, initial=math.nan, bars_per_year=252.0, activity=ACTIVITY):
    figures, returns, moments = measure(np.asarray(equity, float), initial, bars_per_year, activity)
    return dict(zip(METRICS, figures.tolist(), strict=True)), returns, moments


def test_four_bars_worked_by_hand():
    # 100 -> 110 -> 99 -> 99 -> 118.8: returns +10 %, -10 %, 0, +20 %; 2 bars a year, so the span is 2 years
    got, returns, _ = figures_of([110.0, 99.0, 99.0, 118.8], initial=100.0, bars_per_year=2.0)
    np.testing.assert_allclose(returns, [0.1, -0.1, 0.0, 0.2], atol=1e-15)
    deviation = math.sqrt((0.05**2 + 0.15**2 + 0.05**2 + 0.15**2) / 3.0)
    variance = 0.0125
    want = {
        "total_return": 0.188,
        "annual_return": math.sqrt(1.188) - 1.0,
        "annual_volatility": deviation * math.sqrt(2.0),
        "sharpe": 0.05 / deviation * math.sqrt(2.0),
        "sortino": 0.05 / math.sqrt(0.01 / 4.0) * math.sqrt(2.0),
        "max_drawdown": -0.1,
        "calmar": (math.sqrt(1.188) - 1.0) / 0.1,
        "turnover": 500.0 / ((110.0 + 99.0 + 99.0 + 118.8) / 4.0) / 2.0,
        "n_trades": 4.0,
        "skewness": 0.0,
        "kurtosis": (2 * 0.05**4 + 2 * 0.15**4) / 4.0 / variance**2,
        "exposure": 6.0 / 4.0,
        "win_rate": 0.75,
    }
    assert list(got) == list(METRICS) == list(want)
    np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=1e-12, atol=1e-12)


@given(st.lists(st.floats(-0.2, 0.25), min_size=3, max_size=400), st.booleans())
def test_agrees_with_pandas(moves, starts_at_the_first_bar):
    equity = pd.Series(1e6 * np.cumprod(1.0 + np.array(moves)))
    initial = None if starts_at_the_first_bar else 1e6
    path = equity if initial is None else pd.concat([pd.Series([1e6]), equity], ignore_index=True)
    returns = path.pct_change().dropna()
    got = describe(equity.to_numpy(), 252.0, initial=initial)
    assert got["total_return"] == pytest.approx(path.iloc[-1] / path.iloc[0] - 1.0, rel=1e-9, abs=1e-12)
    assert got["max_drawdown"] == pytest.approx((path / path.cummax() - 1.0).min(), rel=1e-9, abs=1e-12)
    assert got["annual_volatility"] == pytest.approx(returns.std() * math.sqrt(252.0), rel=1e-8, abs=1e-9)
    if returns.std() > 1e-6:
        assert got["sharpe"] == pytest.approx(returns.mean() / returns.std() * math.sqrt(252.0), rel=1e-8, abs=1e-9)
        central = returns - returns.mean()
        assert got["skewness"] == pytest.approx((central**3).mean() / (central**2).mean() ** 1.5, rel=1e-6, abs=1e-9)
        assert got["kurtosis"] == pytest.approx((central**4).mean() / (central**2).mean() ** 2, rel=1e-6)
        downside = math.sqrt((returns.clip(upper=0.0) ** 2).mean())
        if downside > 1e-9 * returns.std():  # else it is rounding, which is no downside
            assert got["sortino"] == pytest.approx(returns.mean() / downside * math.sqrt(252.0), rel=1e-6, abs=1e-6)
    years = len(returns) / 252.0
    assert got["annual_return"] == pytest.approx((path.iloc[-1] / path.iloc[0]) ** (1 / years) - 1.0, rel=1e-7)


@given(st.lists(st.floats(-0.2, 0.25), min_size=1, max_size=100))
@settings(max_examples=50, deadline=None)
def test_block_moments_add_up_to_the_whole_row(moves):
    _, returns, moments = figures_of(np.cumprod(1.0 + np.array(moves)), initial=1.0)
    assert moments.shape == (N_BLOCKS, 3)
    assert moments[:, 0].sum() == len(moves)
    assert moments[:, 0].max() - moments[:, 0].min() <= 1
    np.testing.assert_allclose(moments[:, 1].sum(), returns.sum(), atol=1e-12)
    np.testing.assert_allclose(moments[:, 2].sum(), (returns**2).sum(), atol=1e-12)
    at = 0
    for count, total, squares in moments:
        block = returns[at : at + int(count)]
        np.testing.assert_allclose([total, squares], [block.sum(), (block**2).sum()], atol=1e-12)
        at += int(count)


@pytest.mark.parametrize("equity", [np.full(50, 7.0), 1.01 ** np.arange(50.0), 0.99 ** np.arange(50.0)])
def test_constant_returns_have_no_sharpe(equity):
    got, _, _ = figures_of(equity)
    assert all(math.isnan(got[name]) for name in ("sharpe", "sortino", "skewness", "kurtosis"))
    assert got["annual_volatility"] < FLAT * 100


def test_a_small_deviation_beside_a_large_mean_keeps_its_digits():
    noise = np.random.default_rng(0).normal(0.0, 1e-9, 1000)
    growth = np.cumprod(1.0 + 0.001 + noise)
    got, returns, _ = figures_of(growth, initial=1.0)
    assert got["annual_volatility"] == pytest.approx(np.std(returns, ddof=1) * math.sqrt(252.0), rel=1e-9)


def test_an_account_that_comes_to_nothing_stands_still():
    got, returns, _ = figures_of([50.0, -10.0, -10.0], initial=100.0)
    np.testing.assert_allclose(returns, [-0.5, -1.2, 0.0], atol=1e-15)
    assert got["annual_return"] == -1.0
    assert got["max_drawdown"] == pytest.approx(-1.1)
    assert got["total_return"] == pytest.approx(-1.1)


RATIOS = ("annual_volatility", "sharpe", "sortino", "calmar", "turnover", "skewness", "kurtosis")


@pytest.mark.parametrize("path", [[300.0, 900.0, -10.0, -10.0], [300.0, 900.0, 0.0, 0.0], [300.0, 900.0, -1.0, 400.0]])
def test_ruin_leaves_no_ratio_that_could_win(path):
    """Tripled twice, then nothing: the mean of its bar returns is above 0, and so its Sharpe ratio would be."""
    got, returns, _ = figures_of(path, initial=100.0)
    assert returns.mean() > 0.0
    assert all(math.isnan(got[name]) for name in RATIOS)
    assert got["total_return"] == pytest.approx(path[-1] / 100.0 - 1.0)
    assert got["max_drawdown"] == pytest.approx(path[2] / 900.0 - 1.0)
    assert got["annual_return"] == -1.0 if path[-1] <= 0.0 else math.isnan(got["annual_return"])


def test_rounding_is_no_fall():
    step = np.nextafter(1.0, 0.0)  # 1.1e-16 below 1
    got, returns, _ = figures_of([1.0, step, 1.1, 1.1 * step, 1.3], initial=1.0)
    assert (returns < 0.0).any()
    assert got["max_drawdown"] == 0.0
    assert math.isnan(got["calmar"])
    assert math.isnan(got["sortino"])
    assert got["sharpe"] > 0.0
    got, _, _ = figures_of([1.0, 1.0 - 1e-9, 1.1, 1.3], initial=1.0)
    assert got["max_drawdown"] == pytest.approx(-1e-9, rel=1e-6)
    assert math.isfinite(got["calmar"])
    assert math.isfinite(got["sortino"])


@pytest.mark.parametrize("n_bars", [1, 2])
def test_what_a_short_row_cannot_say_is_nan(n_bars):
    got, _, _ = figures_of(np.arange(1.0, n_bars + 1.0))
    assert math.isnan(got["sharpe"])
    assert math.isnan(got["annual_return"]) == (n_bars == 1)
