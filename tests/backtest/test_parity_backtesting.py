"""`preset="backtesting"` against backtesting.py itself on real prices; see docs/decisions/parity.md."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from knowable.backtest import Costs, Settings, simulate
from knowable.data.market import Market

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports use what its dependencies have deprecated
    import backtesting

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
