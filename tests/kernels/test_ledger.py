"""The compiled ledger against a slow one, and the laws it must keep."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowable.backtest.costs import Costs
from knowable.backtest.reasons import REASONS
from knowable.backtest.record import record_of, run_ledger
from knowable.backtest.settings import Settings
from knowable.backtest.tape import Tape, read_only, rest_of, rules_of
from knowable.backtest.traded import carry_forward
from knowable.kernels import account as codes
from knowable.kernels.account import Feed
from knowable.kernels.decision import (
    ASKED_CHANGE,
    ASKED_GOAL,
    ASKED_KIND,
    ASKED_SHARES,
    ASKED_WEIGHTS,
    N_ASKED_ROWS,
)
from knowable.kernels.ledger import ledger_kernel
from knowable.kernels.turns import close_row_kernel, open_row_kernel, turn_kernel
from knowable.testing.ledger_actions_oracle import SlowAction
from knowable.testing.ledger_oracle import FLOWS, SlowLedger

WEIGHTS = [0.0, 0.0, 0.2, 0.25, -0.2, 0.3, -0.1, math.nan]
SHARES = [0.0, 1.0, 3.0, -2.0, 7.5, -12.0, 40.0, 0.4]
COMMON = settings(max_examples=2 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def cases(draw, fixed_costs=True, with_gaps=True, **switches):
    """Prices with gaps and crashes, weights, rows to decide on, and an account."""
    n_bars, n_assets = draw(st.integers(1, 24)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    move = rng.normal(0.0, draw(st.sampled_from([0.01, 0.3, 0.8])), (n_bars, n_assets))
    close = draw(st.sampled_from([1.0, 50.0])) * np.exp(np.cumsum(move, axis=0))
    price = close * np.exp(rng.normal(0.0, 0.05, close.shape))
    if with_gaps and draw(st.booleans()):
        price[rng.random(close.shape) < 0.2] = np.nan
        close[rng.random(close.shape) < 0.2] = np.nan
        not_listed_yet = np.arange(n_bars)[:, None] < rng.integers(0, 12, n_assets)
        close[not_listed_yet & (rng.random(n_assets) < 0.5)] = np.nan
    weights = rng.choice(WEIGHTS, (n_bars, n_assets))
    if draw(st.booleans()):  # full of one thing: borrowing and cuts
        full = draw(st.sampled_from([1.0, 1.0, 2.0, -1.0, -2.0])) / n_assets
        weights = np.where(rng.random(weights.shape) < 0.3, weights, full)
    decide = rng.random(n_bars) < draw(st.sampled_from([0.2, 1.0]))
    days = rng.integers(0, 4, n_bars).astype(float)
    amount = st.sampled_from
    costs = Costs(
        fee_bps=draw(amount([0, 10])),
        fee_per_share=draw(amount([0, 0.01])) if fixed_costs else 0.0,
        fee_min=draw(amount([0, 3.0, 60.0])) if fixed_costs else 0.0,
        half_spread_bps=draw(amount([0, 4])),
        slippage_bps=draw(amount([0, 7])),
        borrow_bps_year=draw(amount([0, 300])),
    )
    account = Settings(
        cash=1000.0,
        fill=draw(amount(["next_open", "close"])),
        size_at=draw(amount(["decision", "fill"])),
        costs=costs,
        lot=draw(amount([None, 1.0, 5.0])) if fixed_costs else None,
        max_leverage=draw(amount([1.0, 2.0])),
        leverage_check="scale",
        **switches,
    )
    if account.fill == "close":
        price = close.copy()
    return weights, decide, price, close, days, account, draw(st.booleans())


def beside(case, seed):
    """Closes as known, some other than the final ones or not known at all, and closes from before the first bar."""
    close, rng = case[3], np.random.default_rng(seed)
    known = np.where(rng.random(close.shape) < 0.3, close * np.exp(rng.normal(0.0, 0.3, close.shape)), close)
    known[rng.random(close.shape) < 0.3] = np.nan
    marks = np.where(rng.random(close.shape[1]) < 0.5, 0.0, rng.uniform(1.0, 60.0, close.shape[1]))
    return known, marks


def tape_of(price, close, days, account, known=None, marks=None, extra=None):
    n_bars, n_assets = close.shape
    extra = extra or Extra()
    none = read_only(np.empty((0, n_assets)))
    return Tape(
        start=0,
        stop=len(days),
        feed=Feed(
            price=read_only(price),
            close=read_only(close),
            known=none if known is None else read_only(carry_forward(known)),
            days=read_only(days),
            volume=none if extra.volume is None else read_only(extra.volume),
            terms=read_only(terms(account.costs, extra.panels, n_bars, n_assets)),
            actions=read_only(rows_of(extra.actions)),
        ),
        marks=read_only(np.zeros(n_assets) if marks is None else marks),
        unfunded=read_only(extra.unfunded_of(n_assets)),
    )


@dataclass(frozen=True)
class Extra:
    """What else a market may bring."""

    volume: np.ndarray | None = None
    panels: dict[str, np.ndarray] = field(default_factory=dict)
    unfunded: frozenset[int] = frozenset()
    actions: tuple[SlowAction, ...] = ()
    members: np.ndarray | None = None  # bool, who may be held; None: everybody
    decide: np.ndarray | None = None  # rows to decide on; None: all
    on_change: bool = True

    def unfunded_of(self, n_assets):
        return np.array([float(j in self.unfunded) for j in range(n_assets)])


def rows_of(actions):
    code = {reason: float(k) for k, reason in enumerate(REASONS)}
    rows = [(a.row, a.asset, code[a.kind], a.ratio, a.amount, a.other) for a in actions]
    return np.array(rows, dtype=np.float64).reshape(-1, codes.N_ACTION_COLUMNS)


def terms(costs, panels, n_bars, n_assets):
    """By hand: the kernel's numbers, one for all or one for each bar and asset."""
    units = {
        "fee_bps": 1e-4, "fee_per_share": 1.0, "fee_min": 1.0, "half_spread_bps": 1e-4, "slippage_bps": 1e-4,
        "impact": 1.0, "borrow_bps_year": 1e-4 / 365.0, "cash_rate": 1 / 365.0, "margin_rate": 1 / 365.0,
    }  # fmt: skip
    shape = (n_bars, n_assets) if panels else (1, 1)
    made = np.empty((shape[0], codes.N_TERMS, shape[1]))
    for place, (name, unit) in enumerate(units.items()):
        amount = getattr(costs, name)
        made[:, place] = (panels[amount] if isinstance(amount, str) else amount) * unit
    return made


def rules_with(account, on_change, extra=None):
    futures = extra is not None and bool(extra.unfunded)
    return rules_of(account, on_change=on_change)._replace(futures=futures)


def fast(case, room=1024, known=None, marks=None, extra=None):
    weights, decide, price, close, days, account, on_change = case
    return run_ledger(
        read_only(weights),
        read_only(decide),
        tape_of(price, close, days, account, known, marks, extra),
        rules_with(account, on_change, extra),
        cash=account.cash,
        room=room,
    )


def slow(case, known=None, marks=None, extra=None):
    weights, decide, price, close, days, account, on_change = case
    extra = extra or Extra()
    ledger = SlowLedger(
        settings=account,
        on_change=on_change,
        n_assets=weights.shape[1],
        panels={name: panel.tolist() for name, panel in extra.panels.items()},
        volume=None if extra.volume is None else extra.volume.tolist(),
        unfunded=extra.unfunded,
        actions=extra.actions,
    )
    ledger.run(
        weights.tolist(),
        decide.tolist(),
        price.tolist(),
        close.tolist(),
        days.tolist(),
        known=None if known is None else known.tolist(),
        marks=None if marks is None else marks.tolist(),
    )
    return ledger


@given(cases())
@COMMON
def test_agrees_with_the_slow_ledger(case):
    check_against(fast(case), slow(case))


@given(cases(), st.integers(0, 2**32 - 1))
@COMMON
def test_agrees_with_the_slow_ledger_where_closes_were_revised_or_late(case, seed):
    known, marks = beside(case, seed)
    check_against(fast(case, known=known, marks=marks), slow(case, known, marks))


def check_against(got, want):
    """To the last bit: every number is equal, none close."""
    assert got.equity.tolist() == want.equity
    assert got.bars[:, codes.BAR_CASH].tolist() == want.cash_path
    assert got.bars[:, codes.BAR_FEES :].tolist() == [[row[name] for name in FLOWS] for row in want.paid]
    assert got.liquidated_at == (-1 if want.liquidated_at is None else want.liquidated_at)
    seen = [(int(row[0]), int(row[1]), int(row[2]), REASONS[int(row[codes.ORDER_REASON])]) for row in got.orders]
    assert sorted(seen) == sorted(
        (o.asset, o.decided_at, -1 if o.filled_at is None else o.filled_at, o.reason) for o in want.orders
    )
    fills = [(int(r[2]), int(r[0]), r[4], r[6], r[7]) for r in got.orders if r[codes.ORDER_SIZE] != 0.0]
    other = [(o.filled_at, o.asset, o.size, o.price, o.fee) for o in want.orders if o.filled_at is not None]
    assert sorted(fills) == sorted(other)


@given(cases(), st.data(), st.one_of(st.none(), st.integers(0, 2**32 - 1)))
@COMMON
def test_any_chunking_gives_the_same_bits(case, data, seed):
    weights, decide, price, close, days, account, on_change = case
    n_bars, n_assets = weights.shape
    cuts = sorted({0, n_bars, *data.draw(st.lists(st.integers(0, n_bars), max_size=5))})
    known, marks = (None, None) if seed is None else beside(case, seed)
    whole = fast(case, known=known, marks=marks)
    tape = tape_of(price, close, days, account, known, marks)
    state = tape.new_state(account.cash)
    equity, bars = np.empty(n_bars), np.zeros((codes.N_BAR_COLUMNS, n_bars))
    orders = np.empty((5 * n_assets * (n_bars + 1), codes.N_ORDER_COLUMNS))
    arrays, rules = [read_only(a) for a in (weights, decide)], rules_of(account, on_change=on_change)
    for a, b in itertools.pairwise(cuts):
        part = [x[a:b] for x in arrays]
        done = ledger_kernel(*part, rest_of(tape.feed, a), rules, state, equity[a:b], bars, orders)
        assert done == b - a
    n_orders = int(state.account[codes.N_ORDERS])
    assert equity.tobytes() == whole.equity.tobytes()
    assert bars.T.tobytes() == whole.bars.tobytes()
    assert orders[:n_orders].tobytes() == whole.orders[:n_orders].tobytes()


def turned(case, shares, room, known=None, marks=None):
    """The same ledger, a row at a time, with orders in shares beside the weights."""
    weights, decide, price, close, days, account, on_change = case
    n_bars, n_assets = weights.shape
    tape, rules = tape_of(price, close, days, account, known, marks), rules_of(account, on_change=on_change)
    state, members = tape.new_state(account.cash), read_only(np.empty((0, n_assets), bool))
    equity, bars = np.empty(n_bars), np.zeros((codes.N_BAR_COLUMNS, n_bars))
    orders = np.empty((codes.ORDERS_PER_ASSET * n_assets + room, codes.N_ORDER_COLUMNS))
    nothing = np.empty((0, n_assets))
    feed = tape.feed
    assert open_row_kernel(0, feed, rules, state, orders)
    for t in range(n_bars):
        asked = nothing
        if decide[t] and state.account[codes.LIQUIDATION] < 0.0:
            asked = np.zeros((N_ASKED_ROWS, n_assets))
            asked[ASKED_WEIGHTS] = weights[t]
            for j, (goal, number) in shares[t].items():
                asked[ASKED_SHARES, j], asked[ASKED_KIND, j] = number, ASKED_GOAL if goal else ASKED_CHANGE
        if t + 1 == n_bars:
            orders = np.concatenate([orders, np.empty((5 * n_assets, codes.N_ORDER_COLUMNS))])
            close_row_kernel(t, asked, members, feed, rules, state, equity, bars, orders)
            break
        rest = (members, feed, rules, state, equity, bars)
        while turn_kernel(t, asked, *rest, orders) < 0.0:
            orders = np.concatenate([orders, np.empty_like(orders)])
    return record_of(state, rules, equity, bars, orders)


@given(cases(), st.integers(0, 2**32 - 1), st.sampled_from([0, 1000]))
@COMMON
def test_a_row_at_a_time_gives_the_same_bits(case, seed, room):
    known, marks = beside(case, seed)
    whole, parts = fast(case, known=known, marks=marks), turned(case, [{}] * len(case[0]), room, known, marks)
    assert parts.equity.tobytes() == whole.equity.tobytes()
    assert parts.bars.tobytes() == whole.bars.tobytes()
    assert parts.orders.tobytes() == whole.orders.tobytes()
    assert parts.activity.tobytes() == whole.activity.tobytes()


@given(cases(), st.integers(0, 2**32 - 1), st.booleans())
@COMMON
def test_orders_in_shares_agree_with_the_slow_ledger(case, seed, revised):
    weights, rng = case[0].copy(), np.random.default_rng(seed)
    known, marks = beside(case, seed) if revised else (None, None)
    shares = []
    for row in weights:
        asked = {
            j: (bool(rng.random() < 0.5), float(rng.choice(SHARES))) for j in np.flatnonzero(rng.random(len(row)) < 0.4)
        }
        row[list(asked)] = np.nan
        shares.append(asked)
    case = (weights, *case[1:])
    ledger = SlowLedger(settings=case[5], on_change=case[6], n_assets=weights.shape[1])
    lists = [part.tolist() for part in case[:5]]
    ledger.run(
        *lists,
        known=None if known is None else known.tolist(),
        marks=None if marks is None else marks.tolist(),
        shares=shares,
    )
    check_against(turned(case, shares, 1000, known, marks), ledger)


@given(cases())
@COMMON
def test_a_small_order_buffer_gives_the_same_bits(case):
    assert fast(case, room=0).orders.tobytes() == fast(case).orders.tobytes()


@given(cases(), st.integers(0, 24), st.integers(0, 2**32 - 1))
@COMMON
def test_future_rows_never_change_past_bits(case, cut, seed):
    weights, decide, price, close, days, account, on_change = case
    cut = min(cut, len(days))
    rng = np.random.default_rng(seed)
    other = [a.copy() for a in (weights, decide, price, close, days)]
    other[0][cut:] = rng.uniform(-0.1, 0.1, other[0][cut:].shape)
    other[1][cut:] = rng.random(len(days) - cut) < 0.5
    other[2][cut:] = rng.uniform(1.0, 99.0, other[2][cut:].shape)
    other[3][cut:] = rng.uniform(1.0, 99.0, other[3][cut:].shape)
    known, marks = beside(case, seed)
    later = known.copy()
    later[cut:] = rng.uniform(1.0, 99.0, later[cut:].shape)
    past = fast(case, known=known, marks=marks)
    changed = fast((*other, account, on_change), known=later, marks=marks)
    assert past.equity[:cut].tobytes() == changed.equity[:cut].tobytes()
    assert past.bars[:cut].tobytes() == changed.bars[:cut].tobytes()


@given(cases(fixed_costs=False), st.sampled_from([0.5, 4.0, 1024.0]))
@COMMON
def test_scaling_all_cash_scales_all_cash(case, factor):
    """Without fixed costs and lots; a power of two, so to the bit."""
    *arrays, account, on_change = case
    richer = Settings(
        **{name: getattr(account, name) for name in account.__slots__ if name != "cash"}, cash=1000.0 * factor
    )
    one, many = fast(case), fast((*arrays, richer, on_change))
    assert (one.equity * factor).tobytes() == many.equity.tobytes()
    assert one.orders[:, codes.ORDER_REASON].tolist() == many.orders[:, codes.ORDER_REASON].tolist()


@given(cases(), st.randoms())
@COMMON
def test_permuting_assets_permutes_positions(case, random):
    """To rounding: sums over assets are taken in another order."""
    weights, decide, price, close, days, account, on_change = case
    order = list(range(weights.shape[1]))
    random.shuffle(order)
    shuffled = (weights[:, order].copy(), decide, price[:, order].copy(), close[:, order].copy(), days)
    one, other = fast(case), fast((*shuffled, account, on_change))
    if account.lot is not None:
        return  # a share count at the edge of a lot may fall either way
    if (one.orders[:, codes.ORDER_REASON] == codes.TOO_DEAR).any():
        return  # of sales that cost the same, to rounding, the first column's is paid for while there is cash
    np.testing.assert_allclose(one.equity, other.equity, rtol=1e-8, atol=1e-6)


def test_a_standing_order_of_the_same_weight_stays_however_the_row_is_added_up():
    """Rows of 1.7 are scaled to 1, and 1.7 is not the same to the last bit in each order of its parts."""
    price = np.ones((3, 5))
    price[:2, 3] = np.nan
    account = Settings(fill="close", size_at="fill", leverage_check="scale", max_leverage=1.0)
    rows = np.array([[-0.1, 0.4, 0.4, 0.4, 0.4], [0.3, 0.4, 0.2, 0.4, 0.4], [np.nan] * 5])
    for order in itertools.permutations(range(5)):
        panels = (rows[:, order].copy(), np.ones(3, bool), price[:, order].copy(), np.ones((3, 5)), np.ones(3))
        made = fast((*panels, account, False))
        decided = made.orders[made.orders[:, codes.ORDER_ASSET] == order.index(3), codes.ORDER_DECIDED]
        assert decided.tolist() == [0.0]


@given(cases(with_gaps=False), st.sampled_from(["fee_bps", "half_spread_bps", "slippage_bps", "borrow_bps_year"]))
@COMMON
def test_with_the_same_fills_a_higher_cost_never_raises_equity(case, cost):
    """The law holds where the positions are the same: share counts fixed before any cost, never cut by cash, never
    liquidated. Otherwise a dearer account holds less of what may fall, or is out of it earlier, and can end higher."""
    weights, decide, price, close, days, account, on_change = case
    base = {name: getattr(account, name) for name in account.__slots__ if name not in ("costs", "cash", "lot")}
    first = np.full_like(weights, np.nan)
    first[0] = np.nan_to_num(weights[0]) / (4.0 * weights.shape[1])
    costs = {name: getattr(account.costs, name) for name in Costs.__slots__}
    dearer = {**costs, cost: costs[cost] + 5.0}
    ends = []
    for values in (costs, dearer):
        chosen = Settings(**{**base, "size_at": "decision", "costs": Costs(**values)}, cash=1e6)
        got = fast((first, np.ones_like(decide), price, close, days, chosen, on_change))
        ends.append(got.equity)
        if got.liquidated_at >= 0:
            return
    assert np.all(ends[1] <= ends[0] + 1e-6)


@given(cases())
@COMMON
def test_a_long_only_account_without_leverage_never_borrows(case):
    weights, decide, price, close, days, account, on_change = case
    weights = np.abs(weights)
    base = {name: getattr(account, name) for name in account.__slots__ if name != "max_leverage"}
    got = fast((weights, decide, price, close, days, Settings(**base, max_leverage=1.0), on_change))
    lots_may_round = 1e-8 if account.lot is not None else 0.0
    assert (got.bars[:, codes.BAR_CASH] >= -lots_may_round).all()


@given(cases())
@settings(max_examples=10, deadline=None)
def test_inputs_are_not_mutated(case):
    before = [a.tobytes() for a in case[:5]]
    fast(case)
    assert [a.tobytes() for a in case[:5]] == before


def test_the_plain_python_of_the_kernel_gives_the_same_bits():
    """The kernel without its compiler: bounds are checked, and nothing depends on compiled arithmetic."""
    code = (
        "import numpy as np, pandas as pd\n"
        "from knowable import Market\n"
        "from knowable.backtest.settings import Settings\n"
        "from knowable.backtest.costs import Costs\n"
        "from knowable.backtest.tape import read_only, read_tape, rules_of\n"
        "from knowable.backtest.record import run_ledger\n"
        "rng = np.random.default_rng(7)\n"
        "close = 50 * np.exp(np.cumsum(rng.normal(0, .05, (80, 5)), 0))\n"
        "price = close * np.exp(rng.normal(0, .02, close.shape))\n"
        "price[rng.random(close.shape) < .1] = np.nan\n"
        "w = rng.choice([0., .3, -.2, np.nan, .5], close.shape)\n"
        "c = Costs(fee_bps=5, fee_min=1, slippage_bps=3, borrow_bps_year=100)\n"
        "s = Settings(costs=c, lot=1, leverage_check='scale')\n"
        "m = Market.from_frames(close=pd.DataFrame(close, pd.bdate_range('2020', periods=80)), missing='allow',\n"
        "    open=pd.DataFrame(price, pd.bdate_range('2020', periods=80)))\n"
        "tape = read_tape(m, s)\n"
        "r = run_ledger(read_only(w), read_only(np.ones(80, bool)), tape, rules_of(s, on_change=False), cash=1e5)\n"
        "print(r.equity.tobytes().hex(), r.orders.tobytes().hex())\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **extra},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for extra in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    "name", ["FILLED", "LATE", "CUT", "NO_CASH", "NO_PRICE", "LAST_BAR", "REPLACED", "ROUNDED", "TOO_DEAR"]
)
def test_reasons_stand_in_the_order_of_the_kernels_codes(name):
    assert REASONS[int(getattr(codes, name))].name == name


@st.composite
def wider_cases(draw):
    """The same with costs by bar and asset, impact, interest, volumes, a maintenance margin and futures."""
    weights, decide, price, close, days, account, on_change = draw(cases())
    rng, shape = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), close.shape
    amount = st.sampled_from
    high = {"fee_bps": 40.0, "fee_min": 5.0, "half_spread_bps": 30.0, "impact": 0.2, "borrow_bps_year": 900.0}
    by_bar = draw(st.sets(amount(sorted(high))))
    panels = {name: rng.uniform(0.0, high[name], shape) for name in sorted(by_bar)}
    base = {name: getattr(account.costs, name) for name in Costs.__slots__}
    interest = {"cash_rate": draw(amount([0.0, 0.05, -0.01])), "margin_rate": draw(amount([0.0, 0.1]))}
    impact = draw(amount([0.0, 0.05, 1.0]))
    costs = Costs(**{**base, **interest, "impact": impact, **{name: name for name in panels}})
    limit = draw(amount([None, 0.1, 0.5]))
    other = {name: getattr(account, name) for name in account.__slots__}
    other |= {"costs": costs, "volume_limit": limit, "maintenance_margin": draw(amount([0.0, 0.0, 0.3]))}
    volume = None
    if limit is not None or costs.impact:
        volume = rng.uniform(1.0, 200.0, shape)
        volume[rng.random(shape) < 0.1] = draw(amount([0.0, math.nan]))
    unfunded = frozenset(np.flatnonzero(rng.random(shape[1]) < draw(amount([0.0, 0.4]))).tolist())
    extra = Extra(volume=volume, panels=panels, unfunded=unfunded)
    return (weights, decide, price, close, days, Settings(**other), on_change), extra


@given(wider_cases())
@COMMON
def test_agrees_with_the_slow_ledger_on_all_kinds_of_costs_and_limits(case):
    case, extra = case
    check_against(fast(case, extra=extra), slow(case, extra=extra))


@given(wider_cases(), st.data())
@COMMON
def test_any_chunking_gives_the_same_bits_with_all_kinds_of_costs_and_limits(case, data):
    (weights, decide, price, close, days, account, on_change), extra = case
    whole = fast(case[0], extra=extra)
    n_bars, n_assets = weights.shape
    cuts = sorted({0, n_bars, *data.draw(st.lists(st.integers(0, n_bars), max_size=5))})
    tape, rules = tape_of(price, close, days, account, extra=extra), rules_with(account, on_change, extra)
    state = tape.new_state(account.cash)
    equity, bars = np.empty(n_bars), np.zeros((codes.N_BAR_COLUMNS, n_bars))
    orders = np.empty((7 * n_assets * (n_bars + 1), codes.N_ORDER_COLUMNS))
    for a, b in itertools.pairwise(cuts):
        rows = read_only(weights[a:b]), read_only(decide[a:b]), rest_of(tape.feed, a)
        ledger_kernel(*rows, rules, state, equity[a:b], bars, orders)
    assert equity.tobytes() == whole.equity.tobytes()
    assert bars.T.tobytes() == whole.bars.tobytes()
    n_orders = int(state.account[codes.N_ORDERS])
    assert orders[:n_orders].tobytes() == whole.orders[:n_orders].tobytes()


def by_hand(weights, price, account, extra=None):
    """Fills at the given prices, which are the closes too; decided on the first row and on each that differs."""
    price = np.array(price, dtype=float)
    weights = np.array([*weights, *[[np.nan] * price.shape[1]] * (len(price) - len(weights))])
    return fast((weights, np.ones(len(price), bool), price, price, np.ones(len(price)), account, True), extra=extra)


def test_a_future_is_not_paid_for_and_its_gains_are_cash():
    """Half in a share, half in a future, both sized at 100 and 50; at the fill the share costs twice as much."""
    account, extra = Settings(cash=1000.0), Extra(unfunded=frozenset({1}))
    got = by_hand([[0.5, 0.5]], [[100, 50], [200, 50], [200, 60], [200, 55]], account, extra)
    assert got.orders[:, codes.ORDER_SIZE].tolist() == [5.0, 10.0]
    assert got.bars[:, codes.BAR_CASH].tolist() == [1000.0, 0.0, 100.0, 50.0]
    assert got.equity.tolist() == [1000.0, 1000.0, 1100.0, 1050.0]


def test_where_cash_is_short_a_future_shrinks_with_the_rest_but_takes_none():
    account, extra = Settings(cash=1000.0), Extra(unfunded=frozenset({1}))
    got = by_hand([[0.5, 0.5]], [[100, 50], [250, 50]], account, extra)
    np.testing.assert_allclose(got.orders[:, codes.ORDER_SIZE], [4.0, 8.0])  # 1000 of the 1250 that the shares cost


def test_a_short_is_closed_at_the_maintenance_margin():
    """10 short at 100 leave 2000 of cash; at 155 equity is 450, and 0.3 of 1550 is 465."""
    account = Settings(cash=1000.0, maintenance_margin=0.3)
    got = by_hand([[-1.0]], [[100], [100], [153], [155], [150], [90]], account)
    assert got.liquidated_at == 3
    assert got.orders[:, codes.ORDER_SIZE].tolist() == [-10.0, 10.0]
    assert got.equity.tolist() == [1000.0, 1000.0, 470.0, 450.0, 500.0, 500.0]


def test_a_limit_of_volume_fills_over_several_bars_and_impact_is_the_root_of_participation():
    """10 shares wanted, at most a quarter of 16 and of 4, then the rest; 0.1 of the price at a participation of 1."""
    account = Settings(cash=1000.0, volume_limit=0.25, costs=Costs(impact=0.1))
    volume = np.array([[100.0], [16.0], [4.0], [np.nan], [400.0]])
    got = by_hand([[1.0]], [[100]] * 5, account, Extra(volume=volume))
    said = [REASONS[int(code)].name for code in got.orders[:, codes.ORDER_REASON]]
    assert said == ["LIMITED", "LIMITED", "CUT"]
    assert got.orders[:2, codes.ORDER_SIZE].tolist() == [4.0, 1.0]
    np.testing.assert_allclose(got.orders[:2, codes.ORDER_PRICE], [105.0, 105.0])
    left = 1000.0 - 5 * 105.0
    size = got.orders[2, codes.ORDER_SIZE]
    np.testing.assert_allclose(size * 100 * (1 + 0.1 * math.sqrt(size / 400.0)), left, rtol=1e-9)
    np.testing.assert_allclose(got.bars[:, codes.BAR_IMPACT].sum() + got.equity[-1], 1000.0)


def test_cash_earns_and_debt_costs_by_the_calendar_day():
    """2 x 1000 in a share with 1000: a debt of 1000 pays 10 % of a year a day of 3.65 %, and 365 / 365 of 36.5 %."""
    account = Settings(cash=1000.0, max_leverage=2.0, costs=Costs(cash_rate=0.365, margin_rate=0.73))
    got = by_hand([[0.0], [2.0]], [[100]] * 4, account)
    np.testing.assert_allclose(got.bars[:, codes.BAR_INTEREST], [1.0, 1.001, 1.002001, 0.0])
    owed = -got.bars[2, codes.BAR_CASH]
    np.testing.assert_allclose(got.bars[:, codes.BAR_MARGIN_INTEREST], [0.0, 0.0, 0.0, owed * 0.002])


@given(wider_cases())
@COMMON
def test_equity_is_cash_plus_marked_positions_and_every_change_of_it_is_explained(case):
    case, extra = case
    weights, _, _, close, _, account, _ = case
    got = fast(case, extra=extra)
    paid_for = 1.0 - extra.unfunded_of(weights.shape[1])  # what is not paid for has its worth in cash
    n_bars, n_assets = weights.shape
    mark, held = np.zeros(n_assets), np.zeros(n_assets)
    before = account.cash
    fills = got.orders[got.orders[:, codes.ORDER_SIZE] != 0.0]
    for t in range(n_bars):
        gain, size_of_things = 0.0, abs(before) + 1.0
        here = dict.fromkeys(range(n_assets))
        for row in fills[fills[:, codes.ORDER_FILLED] == t]:
            here[int(row[codes.ORDER_ASSET])] = row
        for j, row in here.items():
            if row is not None and mark[j] == 0.0:  # no close so far: marked at what was paid
                mark[j] = row[codes.ORDER_REFERENCE]
        now = np.where(np.isnan(close[t]), mark, close[t])
        for j, row in here.items():
            if row is None:
                gain += held[j] * (now[j] - mark[j])
            else:
                at = row[codes.ORDER_REFERENCE]
                gain += held[j] * (at - mark[j])
                held[j] += row[codes.ORDER_SIZE]
                gain += held[j] * (now[j] - at)
            size_of_things += abs(held[j]) * now[j]
        mark = now
        flows = got.bars[t, codes.BAR_FEES :]
        costs = flows[: codes.BAR_INTEREST - codes.BAR_FEES].sum() - flows[codes.BAR_INTEREST - codes.BAR_FEES :].sum()
        assert abs(got.equity[t] - before - gain + costs) < 1e-9 * size_of_things
        assert abs(got.equity[t] - got.bars[t, codes.BAR_CASH] - (held * paid_for) @ mark) < 1e-9 * size_of_things
        before = got.equity[t]
