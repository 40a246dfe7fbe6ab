"""What the market's actions do to orders that rest, and to their account: tables worked by hand."""

from __future__ import annotations

import math

import numpy as np
from tests.backtest.test_order_book import walk_market
from tests.backtest.test_order_book_oracle import fast, market_of
from tests.kernels.test_ledger import Extra

import knowable as kn
from knowable.backtest.reasons import REASONS, Reason
from knowable.backtest.settings import Settings
from knowable.kernels import account as codes
from knowable.testing.book_oracle import Call
from knowable.testing.ledger_actions_oracle import SlowAction

NAMES = ("open", "high", "low", "close")
NONE = (math.nan,) * 4


def told(bars, plan, actions=(), unfunded=(), **account):
    """(asset, bar, shares, price, reason) of each order; bar and price None where it was not filled."""
    table = np.asarray(bars, dtype=float)
    table = table[:, None, :] if table.ndim == 2 else table
    panels = {name: np.ascontiguousarray(table[:, :, k]) for k, name in enumerate(NAMES)}
    calls = [plan.get(t, []) for t in range(len(table))]
    extra = Extra(actions=tuple(actions), unfunded=frozenset(unfunded))
    settings = Settings(**{"cash": 10_000.0, "max_leverage": 2.0, **account})
    volume = np.full(table.shape[:2], 1e6)
    record = fast((panels, volume, calls, settings, extra, None), market_of(panels, volume))
    return [
        (int(o[codes.ORDER_ASSET]), None if o[codes.ORDER_FILLED] < 0 else int(o[codes.ORDER_FILLED]),
         float(o[codes.ORDER_SIZE]), None if math.isnan(o[codes.ORDER_PRICE]) else float(o[codes.ORDER_PRICE]),
         str(REASONS[int(o[codes.ORDER_REASON])]))
        for o in record.orders
        if REASONS[int(o[codes.ORDER_REASON])] is not Reason.SPLIT
    ]  # fmt: skip


def calm(price):
    return (price, price * 1.01, price * 0.99, price)


def rest(shares, asset=0, **levels):
    return Call(what="rest", asset=asset, number=shares, levels=levels)


def order(shares, asset=0):
    return Call(what="order", asset=asset, number=shares)


def act(row, kind, asset=0, **numbers):
    return SlowAction(row=row, asset=asset, kind=kind, **numbers)


def test_a_split_halves_a_limit_and_doubles_its_shares():
    bars = [calm(100), calm(100), calm(50), (50, 50.5, 48, 50)]
    got = told(bars, {0: [rest(10.0, limit=98.0)]}, [act(2, Reason.SPLIT, ratio=2.0)])
    assert got == [(0, 3, 20.0, 49.0, "limit order")]


def test_a_split_moves_the_best_price_that_a_trailing_stop_follows():
    bars = [calm(100), (100, 110, 100, 109), (55, 55, 54, 54.5), (54.5, 54.5, 53, 53)]
    got = told(bars, {0: [order(10.0)], 1: [rest(-10.0, trail=0.02)]}, [act(2, Reason.SPLIT, ratio=2.0)])
    assert got[1] == (0, 3, -20.0, 55 * 0.98, "trailing stop")  # placed at a close of 109; the best is 55 after it


def test_a_stop_guards_what_a_reverse_split_leaves_of_its_lots():
    """Ten shares in lots of five become one, and so does its stop, at ten times the price."""
    bars = [calm(100), calm(100), calm(1000), (1000, 1000, 850, 860)]
    plan = {0: [rest(10.0, stop_loss=90.0, take_profit=120.0)]}
    got = told(bars, plan, [act(2, Reason.SPLIT, ratio=0.1)], lot=5.0)
    assert got == [
        (0, 1, 10.0, 100.0, "at the open"), (0, 3, -1.0, 900.0, "stop"), (0, None, 0.0, None, "one cancels other"),
    ]  # fmt: skip


def test_an_order_of_which_a_split_leaves_no_lot_is_told():
    """At rest, and waiting for a price; neither just disappears."""
    bars = [calm(100), NONE, calm(1000), calm(1000)]
    split = [act(1, Reason.SPLIT, ratio=0.1)]
    for plan in ({0: [rest(5.0, limit=98.0)]}, {0: [order(5.0)]}):
        assert told(bars, plan, split, lot=5.0) == [(0, None, 0.0, None, "rounded to zero")]


def test_orders_of_what_is_delisted_or_taken_over_end_with_it():
    bars = [calm(100), calm(100), NONE, NONE]
    plan = {0: [rest(5.0, stop_loss=90.0), rest(3.0, limit=80.0)]}
    for kind, numbers in ((Reason.DELISTED, {"ratio": 1.0}), (Reason.MERGED, {"amount": 90.0})):
        got = told(bars, plan, [act(2, kind, **numbers)])
        assert got[0] == (0, 1, 5.0, 100.0, "at the open")
        assert [each[-1] for each in got].count(str(kind)) == 3  # the stop, the limit, the position itself
    late = told(bars, {2: [rest(3.0, limit=80.0)]}, [act(2, Reason.DELISTED, ratio=1.0)])
    assert late == [(0, None, 0.0, None, "delisted")]


def test_a_short_future_is_bought_back_without_cash_as_it_takes_none():
    """900 of 1,000 are in a stock, and the future's loss of 200 is owed: its stop fills all the same."""
    bars = np.array([[calm(100), calm(100)]] * 2 + [[calm(120), calm(100)], [(120, 130, 119, 125), calm(100)]])
    plan = {0: [order(-10.0), order(9.0, asset=1)], 2: [rest(10.0, stop=125.0)]}
    got = told(bars, plan, unfunded=[0], cash=1000.0)
    assert got[-1] == (0, 3, 10.0, 125.0, "stop order")


def test_a_future_s_least_fee_is_not_borrowed():
    """A fee of 3 and cash of 2: nothing else would have to be paid."""
    bars = np.array([[calm(100), calm(100)]] * 3)
    plan = {0: [order(9.95, asset=1)], 1: [order(1.0)]}
    got = told(bars, plan, unfunded=[0], cash=1000.0, max_leverage=1.0, costs=kn.Costs(fee_min=3.0))
    assert got == [(1, 1, 9.95, 100.0, "filled"), (0, None, 0.0, None, "no cash")]


class Points(kn.Strategy):
    """Orders of all kinds at levels in quotes."""

    scale = 1.0

    def on_bar(self, bar, account):
        for j in range(bar.n_assets):
            price = self.scale * bar.close[j]
            if price > 0.0 and account.n_open(j) == 0:
                account.order(j, 2.0, limit=0.99 * price, stop_loss=0.97 * price, take_profit=1.02 * price)
                account.order(j, -1.0, stop=0.98 * price, limit=0.975 * price)
                account.order(j, -1.0, trail=0.02, day=True)


class CompiledPoints(Points):
    compiled = True


def test_levels_of_a_contract_are_quotes():
    """64 units of the price in one: the bits are those of prices that are 64 times as large."""
    market = walk_market(4)
    quotes = {name: market.panel(name) for name in (*NAMES, "volume")}
    large = market.with_panels({name: panel * (1.0 if name == "volume" else 64.0) for name, panel in quotes.items()})
    many = market.with_panels({**quotes, "multiplier": np.full(market.shape, 64.0)})
    account = {"cash": 1e5, "costs": kn.Costs(fee_bps=5, slippage_bps=3), "intrabar": "ohlc"}
    want = kn.backtest(Points(), large, **account)
    assert len(want.orders) > 100
    for strategy in (Points(), CompiledPoints()):
        got = kn.backtest(strategy, many, **account)
        assert got.equity.to_numpy().tobytes() == want.equity.to_numpy().tobytes()
        assert (64.0 * got.orders["price"]).equals(want.orders["price"])


def test_a_stop_of_a_future_rolls_with_its_contract_and_is_shown_as_a_quote():
    """Bought at 100 with a stop at 95; the next contract is 3 dearer; at 98 it is sold, 50 for a point."""

    class Long(kn.Strategy):
        def on_bar(self, bar, account):
            if bar.row == 0:
                account.order(0, 1.0, stop_loss=95.0)
            if bar.row in (1, 2):
                stops.append(account.open_orders[0].stop)

    stops: list[float] = []
    bars = np.array([calm(100), calm(100), (103.5, 104, 103, 103.5), (103, 103, 97, 98)])
    market = market_of({name: bars[:, k : k + 1] for k, name in enumerate(NAMES)}, np.full((4, 1), 1e6))
    fields = {"multiplier": np.full((4, 1), 50.0), "funded": np.zeros((4, 1)), "roll": np.array([[0.0], [0], [3], [0]])}
    result = kn.backtest(Long(), market.with_panels({**market.panels, **fields}), cash=10_000.0)
    assert stops == [95.0, 98.0]
    assert result.orders["price"].tolist() == [100.0, 98.0]
    assert result.equity.iloc[-1] == 10_000.0 + 50.0 * (98.0 - 3.0 - 100.0)
