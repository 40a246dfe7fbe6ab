"""Limits, stops and brackets of `on_bar` against backtesting.py on real prices.

Left out is what that engine does otherwise by its own words: a bracket of an entry within a bar waits there for the
next bar, and a stop-limit whose limit is met before its stop does not fill.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import knowable as kn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports use what its dependencies have deprecated
    import backtesting

KEEP = 7  # bars until a position is closed; orders are cancelled as late


def plan_of(close, seed):
    """Bar -> signed units and levels; brackets for market orders only."""
    rng, plan = np.random.default_rng(seed), {}
    for t in range(len(close)):
        side = int(rng.choice([-1, 1]))

        def near(low, high, price=float(close[t]), side=side):
            return price * (1.0 + side * rng.uniform(low, high))

        kind = rng.choice(["limit", "stop", "bracket", "loss", "profit"])
        levels = {"limit": {"limit": near(-0.01, 0.002)}, "stop": {"stop": near(-0.002, 0.01)}}.get(kind, {})
        if kind in ("bracket", "loss"):
            levels["stop_loss"] = near(-0.02, -0.004)
        if kind in ("bracket", "profit"):
            levels["take_profit"] = near(0.004, 0.02)
        plan[t] = (side * int(rng.integers(1, 60)), levels)
    return plan


class Theirs(backtesting.Strategy):
    plan: dict | None = None
    since = 0

    def init(self):
        """Nothing to prepare."""

    def next(self):
        t = len(self.data) - 1
        if self.position and t - self.since >= KEEP:
            self.position.close()
            self.since = t
        elif not self.position and self.orders and t - self.since >= KEEP:
            for order in self.orders:
                order.cancel()
        elif not self.position and not self.orders:
            units, levels = self.plan[t]
            names = {"stop_loss": "sl", "take_profit": "tp"}
            (self.buy if units > 0 else self.sell)(
                size=abs(units), **{names.get(name, name): level for name, level in levels.items()}
            )
            self.since = t


class Ours(kn.Strategy):
    plan: dict = {}  # noqa: RUF012 - each run has its own copy
    since = 0

    def on_bar(self, bar, account):
        held, t = account.positions[0], bar.row
        if t == 0:
            return  # that engine decides from its second bar on
        if held and t - self.since >= KEEP:
            account.target_shares(0, 0)
            self.since = t
        elif not held and account.n_open(0) and t - self.since >= KEEP:
            account.cancel_all()
        elif not held and not account.n_open(0):
            units, levels = self.plan[t]
            account.order(0, units, **levels)
            self.since = t


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore")
def test_trades_of_resting_orders_are_those_of_backtesting(sp500, seed, monkeypatch):
    monkeypatch.setattr(backtesting.backtesting, "_tqdm", lambda rows, **_: rows)
    prices = sp500.iloc[-2500:]
    plan = plan_of(prices["close"].to_numpy(), seed)
    want = backtesting.Backtest(prices.rename(columns=str.title), Theirs, cash=1e7).run(plan=plan)

    market = kn.Market.from_frames(**{name: prices[[name]].set_axis(["GSPC"], axis=1) for name in prices.columns})
    strategy = Ours()
    strategy.plan = plan
    got = kn.backtest(strategy, market, cash=1e7)

    ours, theirs = got.trades, want["_trades"]
    assert {"limit order", "stop order", "stop", "target", "filled", "cancelled by strategy"} <= set(
        got.orders["reason"]
    )
    assert len(theirs) > 200
    assert len(ours) == len(theirs)
    for name, their_name in (("entry_time", "EntryTime"), ("exit_time", "ExitTime"), ("size", "Size")):
        assert ours[name].tolist() == theirs[their_name].tolist()
    for name, their_name in (("entry_price", "EntryPrice"), ("exit_price", "ExitPrice"), ("pnl", "PnL")):
        np.testing.assert_allclose(ours[name], theirs[their_name], rtol=1e-9, atol=1e-9)
