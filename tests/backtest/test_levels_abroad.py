"""Levels of assets in other currencies: tables worked by hand, and the laws of rates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.backtest.test_order_book import walk_market

import knowable as kn
from knowable.data.market import Market
from knowable.errors import InputError

DAYS = pd.bdate_range("2021-01-04", periods=7)
RATES = [1.0, 1.1, 1.2, 1.25, 1.3, 1.2, 1.1]  # dollars for a euro, at each bar's end
NAMES = ("open", "high", "low", "close")


def euro(*bars) -> Market:
    """One share in euro; bars as (open, high, low, close)."""
    table = np.array(bars, dtype=float)
    frames = {name: pd.DataFrame({"SAP": table[:, k]}, index=DAYS[: len(bars)]) for k, name in enumerate(NAMES)}
    rates = pd.DataFrame({"EUR": RATES[: len(bars)]}, index=DAYS[: len(bars)])
    return kn.Market.from_frames(**frames).with_currencies({"SAP": "EUR"}, rates=rates, base="USD")


WEEK = euro(
    (100, 101, 98, 98), (100, 101, 97, 98), (98, 99, 94, 98), (98, 104, 97, 103), (103, 111, 102, 110),
    (112, 113, 105, 107), (108, 109, 88, 101),
)  # fmt: skip


class Table(kn.Strategy):
    """A limit of 95, a trail of 5 %, then a short by a stop of 90."""

    def on_bar(self, bar, account):
        if bar.row == 0:
            account.order(0, 10, limit=95.0)
        if bar.row == 2:
            account.order(0, -10, trail=0.05)
        if bar.row == 4:
            account.order(0, -4, stop=90.0)


class CompiledTable(Table):
    compiled = True


@pytest.mark.parametrize("strategy", [Table, CompiledTable])
def test_a_limit_a_trail_and_a_stop_in_euro_while_the_rate_moves(strategy):
    """Bought at 95 at 1.10; the best is 111 euro on the fifth bar, so 105.45 on the sixth, at 1.30; 90 at 1.20."""
    result = kn.backtest(strategy(), WEEK, cash=2000.0, costs=kn.Costs(fee_bps=10))
    orders = result.orders
    assert orders["fill_time"].dt.tz_localize(None).dt.normalize().tolist() == [DAYS[2], DAYS[5], DAYS[6]]
    assert orders["price"].tolist() == pytest.approx([95.0, 105.45, 90.0], rel=1e-15)
    assert orders["reason"].tolist() == ["limit order", "trailing stop", "stop order"]
    bought, sold, short = 10 * 95 * 1.1, 10 * 105.45 * 1.3, 4 * 90 * 1.2
    fees = [0.001 * each for each in (bought, sold, short)]
    assert orders["fee"].tolist() == pytest.approx(fees)
    cash = np.cumsum([2000.0, 0, -bought - fees[0], 0, 0, sold - fees[1], short - fees[2]])
    assert result.cash.tolist() == pytest.approx(cash)
    assert result.equity.tolist() == pytest.approx(
        cash + np.array([0, 0, 10 * 98 * 1.2, 10 * 103 * 1.25, 10 * 110 * 1.3, 0, -4 * 101 * 1.1])
    )
    trade = result.trades.iloc[0]
    assert trade["pnl"] == pytest.approx(sold - bought - fees[0] - fees[1])
    assert (trade["mae"], trade["mfe"]) == pytest.approx((94 / 95 - 1, 111 / 95 - 1))


def test_with_fills_at_the_close_a_level_has_the_rate_of_its_own_bar():
    """As a market order of the same bar has."""

    class Both(kn.Strategy):
        def on_bar(self, bar, account):
            if bar.row == 1:
                account.order("SAP", 10, limit=95.0)
                account.order("SAP", 1)

    result = kn.backtest(Both(), WEEK, cash=2000.0, fill="next_close")
    assert result.orders["price"].tolist() == pytest.approx([95.0, 98.0])
    assert result.cash.iloc[2] == pytest.approx(2000.0 - (10 * 95 + 98) * 1.2)


def test_what_is_met_at_the_open_has_the_bits_of_a_market_order():
    class Met(kn.Strategy):
        first, then = None, None

        def on_bar(self, bar, account):
            if bar.row == 1:
                account.order("SAP", 10.0, stop=self.first)
            if bar.row == 3:
                account.order("SAP", -10.0, stop=self.then)

    class Rests(Met):
        first, then = 97.0, 104.0

    costs = kn.Costs(fee_bps=7, slippage_bps=3)
    market, level = (kn.backtest(each(), WEEK, cash=2000.0, costs=costs) for each in (Met, Rests))
    assert level.orders["reason"].tolist() == ["stop order"] * 2
    assert level.equity.to_numpy().tobytes() == market.equity.to_numpy().tobytes()


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_level_is_no_fraction_where_a_unit_of_the_account_is_a_small_one(compiled):
    """A share of 98 euro is worth 15,680 yen: 95 is near it, 1.9 is less than 2 % of it."""
    yen = WEEK.with_panels({**WEEK.panels, "fx": np.full(WEEK.shape, 160.0)})

    class Rests(kn.Strategy):
        level = kn.Float(0.0, 100.0, default=95.0)

        def on_bar(self, bar, account):
            if bar.row == 0:
                account.order(0, 10, limit=self.level)

    Rests.compiled = compiled
    assert kn.backtest(Rests(), yen, cash=1e6).orders["price"].tolist() == pytest.approx([95.0])
    with pytest.raises(InputError, match="last close of 'SAP', 98"):
        kn.backtest(Rests(level=1.9), yen, cash=1e6)


@pytest.mark.parametrize("rate", [0.7, 1.1, 1.3])
def test_a_stop_of_signals_is_met_by_the_quote_alone(rate):
    """Ten per cent below 100 is 90, and the bar ends just there; the euro that falls by half is no stop."""
    table = [(100, 100, 100, 100)] * 4 + [(100, 100, 90, 95)] * 3
    market = euro(*table)
    market = market.with_panels({**market.panels, "fx": np.array([[rate, rate, rate / 2] + [rate / 3] * 4]).T})

    class Guarded(kn.Strategy):
        def signals(self, m):
            return kn.Signals(entry=np.arange(m.n_bars)[:, None] == 0, stop=0.1, size=0.5)

    orders = kn.backtest(Guarded(), market, cash=1000.0).orders
    assert orders["fill_time"].tolist() == [market.index[1], market.index[4]]
    assert orders["price"].tolist() == pytest.approx([100.0, 90.0])
    higher = market.with_panels({**market.panels, "low": np.maximum(market.panel("low"), np.nextafter(90.0, 91.0))})
    assert kn.backtest(Guarded(), higher, cash=1000.0).orders["reason"].tolist() == ["filled"]


def test_a_trail_of_signals_follows_the_quote_not_the_currency():
    """The euro falls from 1.30 to 1.10 while the share stands; then the share falls to 5 % below its best, 111."""

    class Trails(kn.Strategy):
        def signals(self, m):
            return kn.Signals(entry=np.arange(m.n_bars)[:, None] == 2, trail=0.05, size=0.5)

    orders = kn.backtest(Trails(), WEEK, cash=2000.0).orders
    assert orders["reason"].tolist() == ["filled", "trailing stop"]
    assert orders["price"].tolist() == pytest.approx([98.0, 0.95 * 111])


class Everything(kn.Strategy):
    """Orders of all kinds, in numbers that fees of an account of any size leave room for."""

    share = kn.Float(0.01, 0.2, default=0.05)

    def on_bar(self, bar, account):
        for j in range(bar.n_assets):
            price = bar.close[j]
            if price > 0.0 and account.n_open(j) == 0:
                shares = 1.0 + bar.row % 3 + self.share
                account.order(j, shares, limit=0.99 * price, stop_loss=0.97 * price, take_profit=1.02 * price)
                account.order(j, -shares, stop=0.98 * price, limit=0.975 * price)
                account.order(j, -shares, trail=0.02, day=True)
                account.order(j, shares, trail=0.03)


class CompiledEverything(Everything):
    compiled = True


class Guards(kn.Strategy):
    """In and out, both sides, with all guards."""

    share = kn.Float(0.01, 0.3, default=0.2)

    def signals(self, m):
        rising = m.close > m.close.lag(3)
        return kn.Signals(
            entry=rising, exit=m.close < m.close.lag(5), short_entry=m.close < 0.98 * m.close.lag(3),
            short_exit=rising, size=self.share, stop=0.02, target=0.03, trail=0.025,
        )  # fmt: skip


ACCOUNT = {
    "cash": 10_000.0, "volume_limit": 0.2,
    "costs": kn.Costs(fee_bps=5, fee_min=0.5, slippage_bps=3, impact=0.1, borrow_bps_year=50, margin_rate=0.05),
}  # fmt: skip


def abroad(market, rates, **more) -> Market:
    return market.with_panels({**market.panels, "fx": np.broadcast_to(rates, market.shape).copy(), **more})


def moving(seed, shape):
    return np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.01, shape), axis=0))


def same(left, right) -> None:
    assert left.equity.to_numpy().tobytes() == right.equity.to_numpy().tobytes()
    assert left.orders.equals(right.orders)
    assert left.trades.equals(right.trades)


@pytest.mark.parametrize("strategy", [Everything, CompiledEverything, Guards])
@pytest.mark.parametrize("fill", ["next_open", "next_vwap"])
def test_rates_of_1_change_no_bit(strategy, fill):
    market = walk_market(4)
    market = market.with_panels({**market.panels, "multiplier": np.tile([1.0, 3.7, 0.3], (market.n_bars, 1))})
    plain, other = (kn.backtest(strategy(), each, fill=fill, **ACCOUNT) for each in (market, abroad(market, 1.0)))
    assert len(plain.fills) > 100
    same(other, plain)


@pytest.mark.parametrize("preset", ["vectorbt", "backtesting"])
def test_rates_of_1_change_no_bit_under_a_preset(preset):
    market = walk_market(5, n_assets=1)
    account = {"preset": preset, "cash": 1e5, "costs": kn.Costs(fee_bps=5)}
    plain, other = (kn.backtest(Guards(), each, **account) for each in (market, abroad(market, 1.0)))
    assert len(plain.fills) > 20
    same(other, plain)


@pytest.mark.parametrize("strategy", [Everything, Guards])
def test_rates_and_money_of_twice_the_size_are_the_same_run_in_half_dollars(strategy):
    market = walk_market(6)
    rates = moving(1, market.shape)
    once = kn.backtest(strategy(), abroad(market, rates), **ACCOUNT)
    costs = kn.Costs(fee_bps=5, fee_min=1.0, slippage_bps=3, impact=0.1, borrow_bps_year=50, margin_rate=0.05)
    twice = kn.backtest(strategy(), abroad(market, 2 * rates), **{**ACCOUNT, "cash": 20_000.0, "costs": costs})
    assert (2.0 * once.equity).to_numpy().tobytes() == twice.equity.to_numpy().tobytes()
    assert once.orders.drop(columns="fee").equals(twice.orders.drop(columns="fee"))
    assert len(once.fills) > 100


def test_compiled_and_plain_have_the_same_bits_and_sweeps_the_same_figures():
    market = walk_market(7)
    market = abroad(market, moving(2, market.shape))
    plain, compiled = (kn.backtest(each(), market, **ACCOUNT) for each in (Everything, CompiledEverything))
    same(compiled, plain)
    assert {"limit order", "stop", "target", "trailing stop", "one cancels other"} <= {*plain.orders["reason"]}
    for strategy in (Everything, CompiledEverything, Guards):
        table = kn.sweep(strategy, market, grid={"share": [0.05, 0.1]}, **ACCOUNT)
        alone = kn.backtest(strategy(share=0.1), market, **ACCOUNT)
        assert table["total_return"].iloc[1] == alone.metrics["total_return"]


@pytest.mark.parametrize("strategy", [Everything, Guards])
def test_costs_and_gains_explain_every_change_of_equity_and_checks_find_nothing(strategy):
    market = walk_market(8, n_bars=60)
    market = abroad(market, moving(3, market.shape))
    result = kn.backtest(strategy(), market, **ACCOUNT)
    change = np.diff(result.equity, prepend=ACCOUNT["cash"])
    np.testing.assert_allclose(result.attribution.sum(axis=1), change, atol=1e-8)
    assert kn.check(strategy(), market, cuts=2).ok
