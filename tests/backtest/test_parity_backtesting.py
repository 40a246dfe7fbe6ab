"""`preset="backtesting"` against backtesting.py itself on real prices; see docs/decisions/parity.md."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.backtest import Costs, Settings, simulate
from knowable.data.market import Market

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports use what its dependencies have deprecated
    import backtesting
    from backtesting.lib import FractionalBacktest

SLOW = 60


class Crossover(backtesting.Strategy):
    short_side = False

    def init(self):
        close = pd.Series(self.data.Close)
        self.fast = self.I(lambda: close.rolling(15).mean().to_numpy())
        self.slow = self.I(lambda: close.rolling(SLOW).mean().to_numpy())

    def next(self):
        if self.fast[-1] > self.slow[-1]:
            if not self.position.is_long:
                self.position.close()
                self.buy()
        elif self.short_side:
            if not self.position.is_short:
                self.position.close()
                self.sell()
        elif self.position:
            self.position.close()


@pytest.mark.parametrize("short_side", [False, True])
@pytest.mark.parametrize(("fee_bps", "half_spread_bps"), [(0, 0), (10, 0), (10, 5)])
@pytest.mark.filterwarnings("ignore")
def test_crossover_agrees_bar_for_bar(sp500, short_side, fee_bps, half_spread_bps, monkeypatch):
    monkeypatch.setattr(backtesting.backtesting, "_tqdm", lambda rows, **_: rows)
    prices = sp500.iloc[-1500:]
    want = backtesting.Backtest(
        prices.rename(columns=str.title), Crossover, cash=1e6, commission=fee_bps / 1e4, spread=half_spread_bps / 1e4
    ).run(short_side=short_side)

    close = prices["close"]
    fast, slow = close.rolling(15).mean(), close.rolling(SLOW).mean()
    weights = np.where(fast > slow, 1.0, -1.0 if short_side else 0.0)
    weights[:SLOW] = np.nan  # it first decides one bar after its longest indicator has a value
    market = Market.from_frames(**_named(prices))
    account = Settings(preset="backtesting", costs=Costs(fee_bps=fee_bps, half_spread_bps=half_spread_bps))
    got = simulate(weights[:, None], np.ones(len(close), bool), market, account, on_change=True)

    np.testing.assert_allclose(got.equity.to_numpy(), want["_equity_curve"]["Equity"].to_numpy(), rtol=1e-9)
    ours, theirs = got.trades, want["_trades"]
    assert len(ours) == len(theirs) > 15
    assert ours["size"].tolist() == theirs["Size"].tolist()
    assert ours["entry_time"].tolist() == theirs["EntryTime"].tolist()
    assert ours["exit_time"].tolist() == theirs["ExitTime"].tolist()
    for name, their_name in (("entry_price", "EntryPrice"), ("exit_price", "ExitPrice"), ("pnl", "PnL")):
        np.testing.assert_allclose(ours[name], theirs[their_name], rtol=1e-9)


def _named(prices):
    return {name: prices[[name]].set_axis(["GSPC"], axis=1) for name in prices.columns}


class Told(backtesting.Strategy):
    """Follows given signals; sets its levels once it knows what the entry cost: that bar is over then."""

    says: ClassVar[dict[str, np.ndarray]] = {}
    guard: ClassVar[dict[str, float]] = {}

    def init(self):
        self.long_side = 0

    def next(self):
        row = len(self.data) - 1
        for trade in self.trades:
            way = 1 if trade.is_long else -1
            if "stop" in self.guard and trade.sl is None:
                trade.sl = trade.entry_price * (1 - way * self.guard["stop"])
            if "target" in self.guard and trade.tp is None:
                trade.tp = trade.entry_price * (1 + way * self.guard["target"])
        entry, leave, short_entry, short_leave = (flags[row] for flags in self.says.values())
        entry, leave = entry and not leave, leave and not entry
        short_entry, short_leave = short_entry and not short_leave, short_leave and not short_entry
        if entry and short_entry:
            entry = short_entry = False
        if self.position.is_long:
            if short_entry or leave:
                self.position.close()
            if short_entry:
                self.sell()
        elif self.position.is_short:
            if entry or short_leave:
                self.position.close()
            if entry:
                self.buy()
        elif entry:
            self.buy()
        elif short_entry:
            self.sell()


def signals_agree(sp500: pd.DataFrame, seed: int) -> int:
    """Random signals and levels on a stretch of real bars; how many trades both engines gave."""
    rng = np.random.default_rng(seed)
    n_bars, at = 250, int(rng.integers(0, len(sp500) - 250))
    prices = sp500.iloc[at : at + n_bars]
    shorts = seed % 2 == 1
    chances = {"entry": 0.08, "exit": 0.05, "short_entry": 0.06 * shorts, "short_exit": 0.05 * shorts}
    says = {name: rng.random(n_bars) < chance for name, chance in chances.items()}
    says["entry"][:2] = says["short_entry"][:2] = False  # it first decides on its second bar
    guard = [{}, {"stop": 0.02}, {"stop": 0.01}][seed % 3] | [{}, {"target": 0.03}, {"target": 0.01}][seed // 3 % 3]
    fee, spread = [0, 10][seed // 2 % 2], [0, 5][seed // 4 % 2]
    want = backtesting.Backtest(
        prices.rename(columns=str.title), type("Now", (Told,), {"says": says, "guard": guard}),
        cash=1e6, commission=fee / 1e4, spread=spread / 1e4,
    ).run()  # fmt: skip

    class Ours(kn.Strategy):
        def signals(self, m):
            return kn.Signals(**{name: flags[:, None] for name, flags in says.items()}, size=1.0, **guard)

    market = Market.from_frames(**_named(prices))
    costs = Costs(fee_bps=fee, half_spread_bps=spread)
    got = kn.backtest(Ours(), market, preset="backtesting", cash=1e6, costs=costs, exit_on_entry_bar=False)
    theirs = want["_trades"].sort_values(["ExitBar"])
    closed = got.trades
    assert closed["exit_time"].tolist() == prices.index[theirs["ExitBar"]].tolist(), seed
    np.testing.assert_allclose(closed["size"], theirs["Size"], rtol=0)
    np.testing.assert_allclose(closed["entry_price"], theirs["EntryPrice"], rtol=1e-12)
    np.testing.assert_allclose(closed["exit_price"], theirs["ExitPrice"], rtol=1e-12)
    np.testing.assert_allclose(got.equity.to_numpy(), want["_equity_curve"]["Equity"].to_numpy(), rtol=1e-9)
    return len(closed)


@pytest.mark.filterwarnings("ignore")
def test_random_signals_with_stops_and_targets_agree(sp500, monkeypatch):
    monkeypatch.setattr(backtesting.backtesting, "_tqdm", lambda rows, **_: rows)
    assert sum(signals_agree(sp500, seed) for seed in range(24)) > 150


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_three_hundred_random_signals_agree(sp500, monkeypatch):
    monkeypatch.setattr(backtesting.backtesting, "_tqdm", lambda rows, **_: rows)
    assert sum(signals_agree(sp500, seed) for seed in range(24, 324)) > 2000


class Weighted(backtesting.Strategy):
    """Holds given weights: turns and first entries as shares of equity, changes on one side in whole units.

    Such a change is sized at the open it fills at, as the preset does; here that open is looked up.
    """

    weights: ClassVar[np.ndarray] = np.empty(0)
    opens: ClassVar[np.ndarray] = np.empty(0)
    held: ClassVar[list[float]] = []

    def init(self):
        self.held.clear()

    def next(self):
        row, position = len(self.data) - 1, self.position
        self.held += [0.0] * (row - len(self.held)) + [position.size]
        weight = self.weights[row]
        if np.isnan(weight) or row + 1 == len(self.opens):
            return
        if position.size * weight > 0.0:
            price = self.opens[row + 1]
            value = self._broker._cash + sum(t.size * (price - t.entry_price) for t in self.trades)
            change = int(weight * value / price) - position.size
            if change:
                (self.buy if change > 0 else self.sell)(size=abs(change))
            return
        if position:
            position.close()
        if weight:
            (self.buy if weight > 0.0 else self.sell)(size=abs(weight))


def weights_agree(sp500: pd.DataFrame, seed: int) -> int:
    """Random weights on a stretch of real bars, in lots of several sizes; how many bars changed the position."""
    rng = np.random.default_rng(seed)
    n_bars, at = 200, int(rng.integers(0, len(sp500) - 200))
    prices = sp500.iloc[at : at + n_bars]
    low = [0.0, -0.9][seed % 2]
    weights = np.where(rng.random(n_bars) < 0.25, 0.0, rng.uniform(low, 0.9, n_bars))
    weights[rng.random(n_bars) >= [1.0, 0.4, 0.1][seed % 3]] = np.nan
    weights[0] = np.nan  # it first decides on its second bar
    lot, fee, spread = [1.0, 0.25, 0.01][seed // 3 % 3], [0, 10, 30][seed // 2 % 3], [0, 5][seed // 4 % 2]
    told = type("Now", (Weighted,), {"weights": weights, "opens": prices["open"].to_numpy() * lot})
    want = FractionalBacktest(
        prices.rename(columns=str.title), told, fractional_unit=lot, cash=1e6, commission=fee / 1e4, spread=spread / 1e4
    ).run()  # fmt: skip
    account = Settings(preset="backtesting", lot=lot, costs=Costs(fee_bps=fee, half_spread_bps=spread))
    market = Market.from_frames(**_named(prices))
    got = simulate(weights[:, None], np.ones(n_bars, bool), market, account)
    held = got.positions["GSPC"].to_numpy()
    np.testing.assert_allclose(held, np.array(Weighted.held) * lot, rtol=1e-12, err_msg=str(seed))
    np.testing.assert_allclose(got.equity.to_numpy(), want["_equity_curve"]["Equity"].to_numpy(), rtol=1e-9)
    return int(np.count_nonzero(np.diff(held)))


@pytest.mark.filterwarnings("ignore")
def test_random_weights_in_lots_hold_the_same_units(sp500, monkeypatch):
    monkeypatch.setattr(backtesting.backtesting, "_tqdm", lambda rows, **_: rows)
    assert sum(weights_agree(sp500, seed) for seed in range(30)) > 1000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_three_hundred_random_weights_agree(sp500, monkeypatch):
    monkeypatch.setattr(backtesting.backtesting, "_tqdm", lambda rows, **_: rows)
    assert sum(weights_agree(sp500, seed) for seed in range(30, 330)) > 10_000
