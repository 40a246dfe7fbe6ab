"""What the market's actions do to orders that rest, and to their account: tables worked by hand."""

from __future__ import annotations

import math

import numpy as np
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
    record = fast((panels, volume, calls, settings, extra), market_of(panels, volume))
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
