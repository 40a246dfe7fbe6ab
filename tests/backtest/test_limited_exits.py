"""Stops and targets of signals where the bar's volume does not allow all of it: tables worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn

BARS = pd.date_range("2024-01-01", periods=8, freq="D")
CLOSE = np.array([100.0, 100, 100, 80, 80, 80, 80, 80])
OPEN = np.array([100.0, 100, 100, 100, 80, 80, 80, 80])


def market(volume):
    prices = {"open": OPEN, "high": np.maximum(OPEN, CLOSE), "low": np.minimum(OPEN, CLOSE), "close": CLOSE}
    return kn.Market.from_frames(**{k: pd.DataFrame({"A": v}, BARS) for k, v in {**prices, "volume": volume}.items()})


class Long(kn.Strategy):
    """Half in on the first bar, out ten per cent below."""

    def signals(self, m):
        """Once."""
        return kn.Signals(
            entry=np.arange(m.n_bars)[:, None] == 0, exit=np.zeros((m.n_bars, 1), bool), stop=0.1, size=0.5
        )


class Short(kn.Strategy):
    """Half short on the first bar, bought back ten per cent below."""

    def signals(self, m):
        """Once."""
        flags = {"short_entry": np.arange(m.n_bars)[:, None] == 0, "short_exit": np.zeros((m.n_bars, 1), bool)}
        return kn.Signals(**flags, target=0.1, size=0.5)


def fills(result):
    orders = result.orders
    return [tuple(row) for row in orders[["size", "price"]].to_numpy() if row[0] > 0.0], list(orders["reason"])


def test_a_stop_sells_what_the_volume_allows_and_the_rest_at_the_next_opens():
    sold, reasons = fills(
        kn.backtest(Long(), market(np.array([0, 1e6, 1e6, 2e3, 2e3, 4e3, 9e3, 9e3])), volume_limit=0.5)
    )
    assert sold == [(5000, 100), (1000, 90), (1000, 80), (2000, 80), (1000, 80)]
    assert reasons == ["filled", "stop", "volume limit", "volume limit", "filled late"]


def test_a_target_stays_in_the_market_with_what_the_volume_did_not_allow():
    sold, reasons = fills(
        kn.backtest(Short(), market(np.array([0, 1e6, 1e6, 2e3, 2e3, 4e3, 9e3, 9e3])), volume_limit=0.5)
    )
    assert sold == [(5000, 100), (1000, 90), (1000, 80), (2000, 80), (1000, 80)]
    assert reasons == ["filled", *["target"] * 4]


def test_what_an_entry_still_waits_for_is_dropped_when_its_stop_is_hit():
    result = kn.backtest(Long(), market(np.full(8, 1e3)), volume_limit=1.0)
    sold, reasons = fills(result)
    assert sold == [(1000, 100)] * 3 + [(1000, 80)] * 3  # the third purchase uses up the volume of the stop's bar
    assert reasons == [*["volume limit"] * 3, "replaced", "volume limit", "volume limit", "filled late"]
    assert result.equity.iloc[-1] == 1_000_000 - 3000 * 20


@pytest.mark.parametrize("none", [0.0, np.nan])
@pytest.mark.parametrize("account", [{"costs": kn.Costs(impact=0.1)}, {"volume_limit": 0.5}])
@pytest.mark.parametrize("strategy", [Long, Short])
def test_a_level_reached_on_a_bar_without_volume_waits_for_one_that_has_some(strategy, account, none):
    volume = np.full(8, 1e6)
    volume[3] = none
    result = kn.backtest(strategy(), market(volume), **account)
    assert np.isfinite(result.equity).all()
    left = result.orders.iloc[-1]
    assert left["fill_time"].date() == BARS[4].date()
    worse = 0.1 * np.sqrt(5000 / 1e6) if "costs" in account and strategy is Long else 0.0  # a target is a limit
    assert left["price"] == pytest.approx(80 * (1 - worse))


@pytest.mark.parametrize("strategy", [Long, Short])
def test_a_sweep_scores_limited_exits_as_a_backtest_does(strategy):
    class Sized(strategy):
        """With a parameter."""

        unused = kn.Int(1, 2)

    made, account = market(np.full(8, 1e3)), {"volume_limit": 0.7, "costs": kn.Costs(impact=0.1)}
    table = kn.sweep(Sized, made, grid={"unused": [1, 2]}, **account)
    alone = kn.backtest(Sized(unused=1), made, **account)
    assert table["total_return"].tolist() == [alone.metrics["total_return"]] * 2


class Again(kn.Strategy):
    """In on the first bar, with a stop, and again on a later one."""

    again = 3

    def signals(self, m):
        """Twice."""
        row = np.arange(m.n_bars)[:, None]
        return kn.Signals(entry=(row == 0) | (row == self.again), stop=0.1, size=0.5)


def again(low, close, volume):
    """Bars that open at 100 and close as said; (bar, shares, price, reason) of each fill."""
    prices = {"open": np.full(8, 100.0), "high": np.full(8, 100.0), "low": low, "close": close, "volume": volume}
    made = kn.Market.from_frames(**{k: pd.DataFrame({"A": v}, BARS) for k, v in prices.items()})
    orders = kn.backtest(Again(), made, volume_limit=0.5, lot=1.0).orders
    row = {time: t for t, time in enumerate(made.index)}
    return [
        (row[o.fill_time], o.size if o.side == "buy" else -o.size, o.price, o.reason)
        for o in orders.itertuples()
        if o.size > 0.0
    ]


def test_what_a_stop_could_not_sell_is_guarded_again_once_it_is_entered_again():
    """Nothing trades on the bar of the stop. The entry that follows asks for the very shares that are left."""
    low, volume = np.array([100.0, 100, 100, 85, 100, 100, 85, 100]), np.full(8, 1e6)
    volume[3] = 0.0
    assert again(low, np.full(8, 100.0), volume) == [(1, 5000, 100, "filled"), (6, -5000, 90, "stop")]


def test_an_entry_that_adds_to_what_a_stop_could_not_sell_is_guarded_from_its_average_price():
    """2,000 are sold at 90, 3,000 left at 100; the entry wants 49 % of 980,000 at 98, 5,000, and adds 2,000 at 100."""
    low, close, volume = np.full(8, 100.0), np.full(8, 100.0), np.full(8, 1e6)
    low[3], close[3], volume[3], low[6] = 85.0, 98.0, 4e3, 85.0
    got = again(low, close, volume)
    wanted = 0.5 * (1e6 - 2000 * 10 - 3000 * 2) // 98
    assert got == [
        (1, 5000, 100, "filled"), (3, -2000, 90, "stop"), (4, wanted - 3000, 100, "filled"), (6, -wanted, 90, "stop"),
    ]  # fmt: skip


def test_a_trailing_stop_follows_a_bar_on_which_the_volume_left_a_part_of_the_target():
    """The best of the bar of the target, 120, guards the rest: 10 % below it, 108."""

    class Trails(kn.Strategy):
        def signals(self, m):
            return kn.Signals(entry=np.arange(m.n_bars)[:, None] == 0, trail=0.1, target=0.15, size=0.5)

    open_ = np.array([100.0, 100, 100, 100, 112, 112, 112, 112])
    low, high = (
        np.array([100.0, 100, 100, 100, 107, 112, 112, 112]),
        np.array([100.0, 100, 100, 120, 112, 112, 112, 112]),
    )
    close, volume = np.array([100.0, 100, 100, 112, 112, 112, 112, 112]), np.array([1e6, 1e6, 1e6, 4e3, *[1e6] * 4])
    prices = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    made = kn.Market.from_frames(**{k: pd.DataFrame({"A": v}, BARS) for k, v in prices.items()})
    orders = kn.backtest(Trails(), made, volume_limit=0.5).orders
    assert [(o.size, o.reason) for o in orders.itertuples()] == [
        (5000, "filled"), (2000, "target"), (3000, "trailing stop"),
    ]  # fmt: skip
    assert orders["price"].tolist() == pytest.approx([100.0, 115.0, 108.0])
