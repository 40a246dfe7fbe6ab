"""Every change of equity and of cash is explained, bar by bar and asset by asset."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

import knowable as kn

from .results_made import by_weights, results

COSTS = ["fees", "spread", "slippage", "impact", "borrow", "margin_interest"]


def check(result: kn.Result) -> None:
    """The identities, to 1e-9 of the account."""
    size = 1e-9 * max(float(result.equity.abs().max()), result.settings.cash)
    start = pd.Series(result.settings.cash, result.index[:1])
    for table, whole in ((result.attribution, result.equity), (result.cash_flows, result.cash)):
        change = whole - pd.concat([start, whole.iloc[:-1]]).to_numpy()
        np.testing.assert_allclose(table.sum(axis=1), change, rtol=0, atol=size)
    parts = result.attribution
    np.testing.assert_array_equal(-parts[COSTS].to_numpy(), result.costs.to_numpy())
    each, sums = result.contributions, parts.sum()
    received = sums[["gain", "dividends", "funding"]].sum()
    np.testing.assert_allclose(each["gain"].sum(), received, rtol=0, atol=size)
    np.testing.assert_allclose(each["costs"].sum(), sums[COSTS[:5]].sum(), rtol=0, atol=size)
    np.testing.assert_allclose(
        each["net"].sum() + sums[["interest", "margin_interest"]].sum(),
        result.equity.iloc[-1] - result.settings.cash,
        rtol=0,
        atol=size,
    )


@given(results())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # kernels compile
def test_the_parts_of_each_bar_sum_to_the_change_of_equity_and_of_cash(result):
    check(result)


@given(results())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_turnover_of_bars_weighted_by_equity_comes_to_the_metric(result):
    turnover, value = result.turnover, result.equity
    fills = result.fills[result.fills["reason"] != "delisted"]
    traded = (fills["size"] * fills["reference_price"]).groupby(fills["fill_time"]).sum()
    if (value > 0.0).all():
        np.testing.assert_allclose((turnover * value)[traded.index], traded, rtol=1e-9)
        whole = (turnover * value).sum() / value.sum() * result.bars_per_year
        assert whole == pytest.approx(result.metrics["turnover"], rel=1e-9, abs=1e-12)


def test_the_parts_of_a_real_account_sum_up(large_caps):
    rng = np.random.default_rng(5)
    wanted = np.where(rng.random(large_caps.shape) < 0.05, rng.normal(0, 0.1, large_caps.shape), np.nan)
    market = kn.Market.from_frames(close=large_caps)
    costs = kn.Costs(
        fee_bps=5, half_spread_bps=3, slippage_bps=4, borrow_bps_year=200, cash_rate=0.02, margin_rate=0.06
    )
    result = kn.backtest(
        by_weights(wanted), market, fill="next_close", costs=costs, max_leverage=2, leverage_check="scale"
    )
    assert len(result.orders) > 1000
    assert (result.attribution.drop(columns=["impact", "dividends", "funding"]).abs().sum() > 0).all()
    check(result)


DAYS = pd.bdate_range("2024-01-01", periods=4)


def worked(**account) -> kn.Result:
    """Two assets; decided on bar 0, traded at the open of bar 1, out at the open of bar 3."""
    frames = {
        "open": pd.DataFrame({"A": [100, 100, 110, 120], "B": [50, 50, 55, 60]}, DAYS, dtype=float),
        "close": pd.DataFrame({"A": [100, 105, 115, 130], "B": [50, 52, 58, 40]}, DAYS, dtype=float),
    }
    wanted = np.array([[0.5, -0.2], [np.nan, np.nan], [0.0, 0.0], [np.nan, np.nan]])
    return kn.backtest(by_weights(wanted), kn.Market.from_frames(**frames), cash=10_000, **account)


def test_gains_and_costs_by_hand():
    """5,000 of A at 100: 50 shares; -2,000 of B at 50: -40 shares. Fee 1 %, borrowing 36.5 % a year: 0.1 % a night.

    bar 1  gain 50 x 5 - 40 x 2 = 170; fees 70
    bar 2  gain 50 x 10 - 40 x 6 = 260; borrow 40 x 52 x 0.001 = 2.08
    bar 3  to the open: 50 x 5 - 40 x 2 = 170; fees 60 + 24; borrow 40 x 58 x 0.001 = 2.32
    """
    result = worked(costs=kn.Costs(fee_bps=100, borrow_bps_year=3650))
    table = result.attribution
    np.testing.assert_allclose(table["gain"], [0, 170, 260, 170], atol=1e-9)
    np.testing.assert_allclose(table["fees"], [0, -70, 0, -84], atol=1e-9)
    np.testing.assert_allclose(table["borrow"], [0, 0, -2.08, -2.32], atol=1e-9)
    np.testing.assert_allclose(result.cash_flows["trades"], [0, -5000 + 2000, 0, 6000 - 2400], atol=1e-9)
    each = result.contributions
    np.testing.assert_allclose(each["gain"], [1000, -400], atol=1e-9)
    np.testing.assert_allclose(each["costs"], [-50 - 60, -20 - 24 - 4.40], atol=1e-9)
    np.testing.assert_allclose(each["net"], [890, -448.4], atol=1e-9)
    np.testing.assert_allclose(each["share"], [890 / 441.6, -448.4 / 441.6], atol=1e-12)


def test_spread_slippage_and_impact_are_parts_of_what_assets_cost():
    result = worked(costs=kn.Costs(half_spread_bps=10, slippage_bps=20))
    np.testing.assert_allclose(result.contributions["costs"], [-0.003 * (5000 + 6000), -0.003 * (2000 + 2400)])
    np.testing.assert_allclose(result.attribution["spread"], [0, -7, 0, -8.4], atol=1e-9)
    np.testing.assert_allclose(result.attribution["slippage"], [0, -14, 0, -16.8], atol=1e-9)


def test_nothing_traded_gives_tables_of_nothing():
    market = kn.Market.from_frames(close=pd.DataFrame({"A": [1.0, 2.0]}, DAYS[:2]))
    result = kn.backtest(by_weights(np.zeros((2, 1))), market, fill="next_close")
    assert not result.attribution.to_numpy().any()
    assert not result.cash_flows.to_numpy().any()
    assert result.contributions["share"].isna().all()


def test_a_position_bought_before_its_first_close_counts_at_what_was_paid():
    """An asset opens on bar 1 and closes on bar 2 for the first time; its weight waits for a close to be sized with,
    but an order in shares does not."""
    nan = np.nan
    frames = {
        "open": pd.DataFrame({"A": [nan, 10.0, 12.0]}, DAYS[:3]),
        "close": pd.DataFrame({"A": [nan, nan, 15.0]}, DAYS[:3]),
    }

    class Early(kn.Strategy):
        def on_bar(self, bar, account):
            if bar.row == 0:
                account.order(0, 100)

    result = kn.backtest(Early(), kn.Market.from_frames(**frames, missing="allow"), cash=10_000)
    assert result.equity.tolist() == [10_000, 10_000, 10_500]
    assert result.attribution["gain"].tolist() == [0, 0, 500]
    assert result.exposure["long"].tolist() == pytest.approx([0, 0.1, 1500 / 10_500])
    check(result)
