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
