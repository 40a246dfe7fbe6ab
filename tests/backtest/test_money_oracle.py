"""Everything that moves money, in one random market at a time, against a slow ledger that trades on quotes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kernels.test_actions import Orders, parted
from tests.kernels.test_ledger import check_against

from knowable.backtest.costs import Costs
from knowable.backtest.reasons import REASONS, Reason
from knowable.backtest.settings import Settings
from knowable.backtest.simulate import score, simulate
from knowable.backtest.tape import read_only, read_tape, rest_of, rules_of
from knowable.data.market import Market
from knowable.data.market_actions import MarketActions
from knowable.kernels import account as codes
from knowable.kernels.account import LedgerState
from knowable.kernels.ledger import ledger_kernel
from knowable.metrics.definitions import METRICS
from knowable.testing.ledger_actions_oracle import SlowAction
from knowable.testing.money_oracle import SlowMarket

nan = math.nan
COMMON = settings(max_examples=2 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = {
    Reason.SPLIT: "split",
    Reason.DIVIDEND: "dividend",
    Reason.SPUN_OFF: "spinoff",
    Reason.MERGED: "merger",
    Reason.DELISTED: "delisting",
}
HIGH = {"fee_bps": 40.0, "fee_per_share": 0.02, "fee_min": 5.0, "half_spread_bps": 30.0, "slippage_bps": 9.0,
        "impact": 0.2, "borrow_bps_year": 900.0}  # fmt: skip


@st.composite
def cases(draw):
    """A slow market, the same as a `Market`, target weights, rows to decide on, an account, and `on_change`."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_bars, n_assets = draw(st.sampled_from([3, 12, 24])), int(rng.integers(1, 7))
    shape = (n_bars, n_assets)
    move = rng.normal(0.0, draw(st.sampled_from([0.01, 0.1, 0.5])), shape)
    close = draw(st.sampled_from([1.0, 50.0])) * np.exp(np.cumsum(move, axis=0))
    price = close * np.exp(rng.normal(0.0, 0.03, shape))
    if draw(st.booleans()):
        price[rng.random(shape) < 0.15] = nan
        close[rng.random(shape) < 0.15] = nan
        close[(np.arange(n_bars)[:, None] < rng.integers(0, 9, n_assets)) & (rng.random(n_assets) < 0.4)] = nan
    weights = rng.choice([0.0, 0.2, 0.25, -0.2, 0.3, -0.1, nan], shape)
    if draw(st.booleans()):  # full of one thing: borrowing and cuts
        full = draw(st.sampled_from([1.0, 2.0, -1.0])) / n_assets
        weights = np.where(rng.random(shape) < 0.3, weights, full)
    decide = rng.random(n_bars) < draw(st.sampled_from([0.3, 1.0]))
    slow = SlowMarket(price=[], close=[], days=[])
    if draw(st.booleans()):
        slow.rates = {name: np.exp(np.cumsum(rng.normal(0.0, 0.1, n_bars))).tolist() for name in ("EUR", "JPY")}
        slow.currency = rng.choice(np.array([None, "EUR", "JPY"]), n_assets).tolist()
    if draw(st.booleans()):
        slow.multiplier = rng.choice([1.0, 5.0, 0.1], n_assets).tolist()
    if draw(st.booleans()):
        slow.unfunded = frozenset(np.flatnonzero(rng.random(n_assets) < 0.5).tolist())
        slow.funding = np.where(rng.random(shape) < 0.1, rng.normal(0.0, 0.003, shape), nan).tolist()
        contracts = np.isin(np.arange(n_assets), list(slow.unfunded)) & ~(close < 0.5).any(axis=0)
        # steps of 1/64: a sum of them is exact in whichever order
        slow.roll = np.where((rng.random(shape) < 0.1) & contracts, rng.integers(0, 20, shape) / 64.0, nan).tolist()
    slow.actions = actions(rng, slow, price, close) if draw(st.booleans()) else ()
    names = [f"A{j}" for j in range(n_assets)]
    costs, slow.panels = priced(draw, rng, shape, names)
    limit = draw(st.sampled_from([None, None, 0.1, 0.5]))
    account = Settings(
        cash=1000.0,
        fill=draw(st.sampled_from(["next_open", "next_close", "close"])),
        size_at=draw(st.sampled_from(["decision", "fill"])),
        costs=costs,
        lot=draw(st.sampled_from([None, 1.0, 0.1])),
        max_leverage=draw(st.sampled_from([1.0, 2.0])),
        leverage_check="scale",
        volume_limit=limit,
        maintenance_margin=draw(st.sampled_from([0.0, 0.0, 0.3])),
        delisting_return=draw(st.sampled_from([0.0, -0.3])),
    )
    volume = rng.uniform(1.0, 300.0, shape)
    volume[rng.random(shape) < 0.1] = draw(st.sampled_from([0.0, nan]))
    slow.volume = volume.tolist() if limit is not None or costs.impact else None
    if account.fill != "next_open":
        price = close
    slow.price, slow.close = price.tolist(), close.tolist()
    hours = np.cumsum(rng.choice([1, 24, 72], n_bars))
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(hours, unit="h")
    slow.days = [0.0, *np.diff(days.normalize().to_numpy().astype("M8[D]").astype(int)).astype(float)]
    market = market_of(slow, days, names, volume)
    slow.actions = [ends(a, account) for a in slow.actions]
    return slow, market, weights, decide, account, draw(st.booleans())


def actions(rng, slow, price, close):
    """Some on random rows, in quotes; what is over has no prices from there on. Ratios are powers of two, for the slow
    market divides a close that stands by each in turn and the market by all of them at once."""
    n_bars, n_assets = close.shape
    found, over = [], {}
    for row in sorted(rng.integers(1, n_bars, rng.integers(0, 9)).tolist()):
        j, kind = int(rng.integers(n_assets)), list(WORDS)[rng.integers(len(WORDS))]
        others = [k for k in range(n_assets) if k != j and over.get(k, n_bars) > row and k not in slow.unfunded]
        if over.get(j, n_bars) <= row or np.isnan(close[:row, j]).all():
            continue
        if j in slow.unfunded and kind not in (Reason.DIVIDEND, Reason.DELISTED):
            continue
        numbers = {"ratio": float(rng.choice([2.0, 0.5, 4.0]))}
        if kind is Reason.DIVIDEND:
            numbers = {"amount": float(rng.choice([0.5, 2.0]))}
        elif kind is Reason.DELISTED:
            numbers = {"amount": float(rng.choice([nan, 3.0]))}
        elif kind is Reason.MERGED:
            numbers["amount"] = float(rng.choice([nan, 2.0]))
            numbers |= {"other": int(rng.choice(others))} if others and rng.random() < 0.7 else {"ratio": nan}
        elif kind is Reason.SPUN_OFF:
            if not others:
                continue
            numbers["other"] = int(rng.choice(others))
        if kind in (Reason.MERGED, Reason.DELISTED):
            over[j] = row
            price[row:, j] = close[row:, j] = nan
        found.append(SlowAction(row=row, asset=j, kind=kind, **numbers))
    return found


def ends(action, account):
    """A delisting, or a takeover for cash, with what it is worth of the last close where nobody knows its value."""
    if action.kind is Reason.DELISTED:
        return replace(action, ratio=1.0 + account.delisting_return)
    return replace(action, ratio=1.0) if action.kind is Reason.MERGED and action.other < 0 else action


def priced(draw, rng, shape, names):
    """Costs, each a number, one by asset, or a field of the market; and these fields."""
    made, panels = {}, {}
    for name, high in HIGH.items():
        how = draw(st.sampled_from(["none", "none", "number", "asset", "field"]))
        if how == "number":
            made[name] = float(rng.uniform(0.0, high))
        elif how == "asset":
            made[name] = dict(zip(names, rng.uniform(0.0, high, shape[1]).tolist(), strict=True))
        elif how == "field":
            panels[name] = rng.uniform(0.0, high, shape).tolist()
            made[name] = name
    made["cash_rate"] = draw(st.sampled_from([0.0, 0.05, -0.01]))
    made["margin_rate"] = draw(st.sampled_from([0.0, 0.1]))
    return Costs(**made), panels


def market_of(slow, days, names, volume):
    shape = np.shape(slow.close)
    panels = {"close": slow.close, "open": slow.price, "volume": volume, **slow.panels}
    if slow.currency:
        rate = [[1.0 if name is None else slow.rates[name][t] for name in slow.currency] for t in range(shape[0])]
        panels["fx"] = rate
    if slow.multiplier:
        panels["multiplier"] = np.tile(slow.multiplier, (shape[0], 1))
    if slow.unfunded:
        panels["funded"] = np.tile([float(j not in slow.unfunded) for j in range(shape[1])], (shape[0], 1))
    panels |= {name: getattr(slow, name) for name in ("funding", "roll") if getattr(slow, name)}
    there = ~np.isnan(np.array(slow.close))
    rows = [
        {
            "row": a.row, "asset": a.asset, "type": WORDS[a.kind], "ratio": a.ratio, "amount": a.amount,
            "currency": None, "successor": a.other, "successor_id": None, "known_time": 0, "event_time": k,
            "last_row": int(np.flatnonzero(there[:, a.asset])[-1]),
        }
        for k, a in enumerate(slow.actions)
    ]  # fmt: skip
    return Market.build(
        times=days.as_unit("ns").asi8,
        assets=tuple(names),
        panels={name: np.array(values, dtype=float) for name, values in panels.items()},
        actions=MarketActions.of(rows),
    )


def slowly(case):
    """The slow ledger's account; costs by asset are panels to it."""
    slow, _, weights, decide, account, on_change = case
    costs = {name: getattr(account.costs, name) for name in Costs.__slots__}
    by_asset = {name: value for name, value in costs.items() if isinstance(value, dict)}
    rows = {name: [list(value.values())] * len(slow.close) for name, value in by_asset.items()}
    slow = replace(slow, panels={**slow.panels, **rows})
    named = replace(account, costs=Costs(**{**costs, **{name: name for name in by_asset}}))
    return slow.run(weights.tolist(), decide.tolist(), named, on_change=on_change)


def simulated(case):
    _, market, weights, decide, account, on_change = case
    return simulate(weights, decide, market, account, on_change=on_change)


@given(cases())
@COMMON
def test_all_that_moves_money_agrees_with_the_slow_ledger_to_the_last_bit(case):
    got, want = simulated(case).record, slowly(case)
    check_against(Orders(got), want)
    booked = parted(got)[1]
    assert [(int(r[2]), int(r[0]), REASONS[int(r[8])], r[codes.ORDER_SIZE], r[codes.ORDER_WANTED]) for r in booked] == [
        (f.row, f.asset, f.kind, f.shares, f.cash) for f in want.flows
    ]


@given(cases())
@COMMON
def test_equity_is_cash_and_positions_at_price_times_multiplier_times_rate_and_tables_explain_its_changes(case):
    slow, account = case[0], case[4]
    result = simulated(case)
    held, marks = result.positions.to_numpy(), np.array(slow.marks())
    paid_for = np.array([float(j not in slow.unfunded) for j in range(slow.n_assets)])
    worth = held * result._marks()
    closed = ~np.isnan(marks) if slow.currency else ~np.isnan(np.array(slow.close))
    np.testing.assert_allclose(result._marks()[closed], marks[closed], rtol=1e-12)
    flows = result.record.bars[:, codes.BAR_FEES :].cumsum(axis=0)
    size = 1e-9 * (np.abs(worth).sum(axis=1) + np.abs(result.equity) + np.abs(result.cash) + np.abs(flows).sum(axis=1))
    size = np.maximum.accumulate(size + 1e-9 * account.cash)
    assert (np.abs(result.equity - result.cash - worth @ paid_for) < size).all()
    for table, whole in ((result.attribution, result.equity), (result.cash_flows, result.cash)):
        change = np.diff(whole.to_numpy(), prepend=account.cash)
        assert (np.abs(table.sum(axis=1) - change) < size).all()
    interest = result.attribution["interest"].sum() + result.attribution["margin_interest"].sum()
    net = result.contributions["net"].sum() + interest
    assert abs(net - (result.equity.iloc[-1] - account.cash)) < len(size) * size.iloc[-1]


@given(cases(), st.data())
@COMMON
def test_any_chunking_through_bytes_gives_the_same_bits(case, data):
    n_bars, whole = len(case[2]), simulated(case).record
    equity, bars, orders, _ = in_parts(case, data.draw(st.lists(st.integers(0, n_bars), max_size=5)))
    assert equity.tobytes() == whole.equity.tobytes()
    assert bars.tobytes() == whole.bars.tobytes()
    assert orders.tobytes() == whole.orders[: len(orders)].tobytes()


def in_parts(case, cuts):
    """The ledger in several calls, its state going through bytes before each; what it leaves behind."""
    _, market, weights, decide, account, on_change = case
    n_bars, n_assets = weights.shape
    tape = read_tape(market, account)
    rules, state = rules_of(account, on_change=on_change, futures=tape.futures), tape.new_state(account.cash)
    equity, bars = np.empty(n_bars), np.zeros((n_bars, codes.N_BAR_COLUMNS))
    orders = np.empty((8 * n_assets * (n_bars + 1) + 4 * len(tape.feed.actions), codes.N_ORDER_COLUMNS))
    for a, b in itertools.pairwise(sorted({0, n_bars, *cuts})):
        saved = state.assets.tobytes(), state.account.tobytes()
        shape = state.assets.shape
        state = LedgerState(np.frombuffer(saved[0]).reshape(shape).copy(), np.frombuffer(saved[1]).copy(), None)
        rows = [read_only(x[a:b]) for x in (weights, decide)]
        assert ledger_kernel(*rows, rest_of(tape.feed, a), rules, state, equity[a:b], bars[a:b], orders) == b - a
    return equity, bars, orders[: int(state.account[codes.N_ORDERS])], state


@given(cases())
@COMMON
def test_closed_trades_and_open_positions_add_up_to_what_was_earned_and_scoring_agrees(case):
    _, market, weights, decide, account, on_change = case
    result, (*_, state) = simulated(case), in_parts(case, [])
    held, mark, paid, fees = state.assets[[codes.HELD, codes.MARK, codes.ENTRY_PRICE, codes.ENTRY_FEES]]
    still_open = np.where(held != 0.0, held * (mark - paid) - fees, 0.0).sum()
    flows = result.attribution[["borrow", "margin_interest", "interest", "dividends", "funding"]].sum().sum()
    earned = result.trades["pnl"].sum() + still_open + flows
    traded, n_trades = result.record.activity[:2]
    size = account.cash + np.abs(result.equity).max() + traded + result.trades["pnl"].abs().sum()
    assert abs(earned - (result.equity.iloc[-1] - account.cash)) < 1e-9 * size
    assert len(result.trades) == n_trades
    scored = score([weights], decide, market, account, on_change=on_change).metrics[0]
    assert scored.tobytes() == np.array([result.metrics[name] for name in METRICS]).tobytes()
