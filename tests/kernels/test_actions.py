"""Actions in the compiled ledger: a table worked by hand, a slow ledger, and the laws they must keep."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernels.test_ledger import COMMON, Extra, beside, cases, check_against, fast, rules_with, slow, tape_of

from knowable.backtest.costs import Costs
from knowable.backtest.reasons import REASONS, Reason
from knowable.backtest.settings import Settings
from knowable.backtest.tape import read_only, rest_of
from knowable.kernels import account as codes
from knowable.kernels.ledger import ledger_kernel
from knowable.testing.ledger_actions_oracle import SlowAction

KINDS = (
    Reason.SPLIT,
    Reason.DIVIDEND,
    Reason.PAID_FUNDING,
    Reason.SPUN_OFF,
    Reason.ROLLED,
    Reason.MERGED,
    Reason.DELISTED,
)
BOOKED = frozenset(KINDS) - {Reason.DELISTED}
nan = math.nan


@st.composite
def with_actions(draw, kinds=KINDS, **switches):
    """A case, and actions on its rows; what is delisted or merged has no prices from there on."""
    case = draw(cases(**switches))
    _, _, price, close, _, _, _ = case
    extra = draw(extras(*close.shape, kinds=kinds))
    for action in extra.actions:
        if action.kind in (Reason.MERGED, Reason.DELISTED):
            price[action.row :, action.asset] = close[action.row :, action.asset] = np.nan
    return case, extra


@st.composite
def extras(draw, n_bars, n_assets, kinds=KINDS):
    """Futures among the assets, and actions on the rows; nothing happens to an asset after its end."""
    unfunded = frozenset(draw(st.sets(st.integers(0, n_assets - 1), max_size=2)) if draw(st.booleans()) else ())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found, over = [], {}
    for row in sorted(rng.integers(0, n_bars, rng.integers(0, 9)).tolist()):
        j, kind = int(rng.integers(n_assets)), KINDS[rng.integers(len(KINDS))]
        if kind not in kinds or over.get(j, n_bars) <= row:
            continue
        others = [k for k in range(n_assets) if k != j and over.get(k, n_bars) > row and k not in unfunded]
        ratio, amount, other = float(rng.choice([2.0, 1.5, 0.1, 3.0])), nan, -1
        if kind is Reason.DIVIDEND:
            amount = float(rng.choice([0.5, 2.0]))
        elif kind is Reason.PAID_FUNDING:
            ratio = float(rng.choice([0.001, -0.01]))
        elif kind is Reason.ROLLED:
            ratio, amount = nan, float(rng.choice([-0.01, 0.3]))
        elif kind is Reason.DELISTED:
            ratio, amount = float(rng.choice([1.0, 0.7])), float(rng.choice([nan, 3.0]))
        elif kind is Reason.MERGED:
            amount = float(rng.choice([nan, 2.0]))
            other = int(rng.choice(others)) if others and rng.random() < 0.7 else -1
        elif kind is Reason.SPUN_OFF:
            if not others or j in unfunded:
                continue
            other = int(rng.choice(others))
        if kind in (Reason.MERGED, Reason.DELISTED):
            if kind is Reason.MERGED and j in unfunded:
                continue
            over[j] = row
        found.append(SlowAction(row=row, asset=j, kind=kind, ratio=ratio, amount=amount, other=other))
    return Extra(unfunded=unfunded, actions=tuple(found))


def follow_actions(bars, extra) -> None:
    """Prices fall with a split and move with a roll, as quotes do; what has ended has none."""
    for action in extra.actions:
        for panel in bars.values():
            after = panel[action.row :, action.asset]
            if action.kind is Reason.SPLIT:
                after /= action.ratio
            elif action.kind is Reason.ROLLED:
                after += action.amount
            elif action.kind in (Reason.MERGED, Reason.DELISTED):
                panel[max(action.row, 1) :, action.asset] = np.nan


def parted(record):
    """The record with orders alone, and what was booked beside them."""
    reasons = [REASONS[int(code)] for code in record.orders[:, codes.ORDER_REASON]]
    flows = np.array(
        [r in BOOKED and row[codes.ORDER_FILLED] >= 0.0 for r, row in zip(reasons, record.orders, strict=True)], bool
    )
    return record.orders[~flows], record.orders[flows]


class Orders:
    """A record whose list has orders only."""

    def __init__(self, record):
        self.equity, self.bars, self.liquidated_at = record.equity, record.bars, record.liquidated_at
        self.orders = parted(record)[0]


@given(with_actions(), st.one_of(st.none(), st.integers(0, 2**32 - 1)))
@COMMON
def test_agrees_with_the_slow_ledger(made, seed):
    case, extra = made
    known, marks = (None, None) if seed is None else beside(case, seed)
    if known is not None:
        known[np.isnan(case[3])] = np.nan
    got, want = fast(case, known=known, marks=marks, extra=extra), slow(case, known, marks, extra)
    check_against(Orders(got), want)
    flows = [(int(r[2]), int(r[0]), REASONS[int(r[8])]) for r in parted(got)[1]]
    assert flows == [(f.row, f.asset, f.kind) for f in want.flows]
    numbers = parted(got)[1][:, [codes.ORDER_SIZE, codes.ORDER_WANTED]]
    assert numbers.tolist() == [[f.shares, f.cash] for f in want.flows]


@given(with_actions(), st.data())
@COMMON
def test_any_chunking_gives_the_same_bits(made, data):
    case, extra = made
    weights, decide, price, close, days, account, on_change = case
    n_bars = len(weights)
    cuts = sorted({0, n_bars, *data.draw(st.lists(st.integers(0, n_bars), max_size=5))})
    whole, tape = fast(case, extra=extra), tape_of(price, close, days, account, extra=extra)
    state, rules = tape.new_state(account.cash), rules_with(account, on_change, extra)
    equity, bars = np.empty(n_bars), np.zeros((codes.N_BAR_COLUMNS, n_bars))
    orders = np.empty((8 * weights.shape[1] * (n_bars + 1) + 32, codes.N_ORDER_COLUMNS))
    for a, b in itertools.pairwise(cuts):
        part = [read_only(x[a:b]) for x in (weights, decide)]
        assert ledger_kernel(*part, rest_of(tape.feed, a), rules, state, equity[a:b], bars, orders) == b - a
    n_orders = int(state.account[codes.N_ORDERS])
    assert equity.tobytes() == whole.equity.tobytes()
    assert bars.T.tobytes() == whole.bars.tobytes()
    assert orders[:n_orders].tobytes() == whole.orders[:n_orders].tobytes()


@given(with_actions(with_gaps=False))
@COMMON
def test_equity_is_cash_plus_positions_and_every_change_of_it_is_explained(made):
    """Positions are what the recorded sizes sum to, to the ledger's own bits; futures are settled, so they count 0."""
    case, extra = made
    close, account = case[3], case[5]
    got = fast(case, extra=extra)
    n_assets = close.shape[1]
    mark, held, before = [0.0] * n_assets, [0.0] * n_assets, account.cash
    for t in range(len(close)):
        gain, things = 0.0, abs(before) + 1.0
        for row in got.orders[got.orders[:, codes.ORDER_FILLED] == t]:
            j, size, reason = int(row[codes.ORDER_ASSET]), row[codes.ORDER_SIZE], REASONS[int(row[codes.ORDER_REASON])]
            cash, amount = row[codes.ORDER_WANTED], row[codes.ORDER_REFERENCE]
            things += (abs(held[j]) + abs(size)) * mark[j]
            if reason is Reason.SPLIT:
                gain += cash + (held[j] + size) * mark[j] / amount - held[j] * mark[j]
                mark[j] /= amount
            elif reason is Reason.ROLLED:
                mark[j] += amount  # and as much is paid: no gain
            elif reason in (Reason.MERGED, Reason.SPUN_OFF):
                gain += cash + size * mark[j]
            elif reason is Reason.DELISTED:
                gain += held[j] * (row[codes.ORDER_PRICE] - mark[j])
            elif size != 0.0:
                gain += held[j] * (amount - mark[j])
                mark[j] = amount
            held[j] += size
        now = [m if np.isnan(c) else c for c, m in zip(close[t].tolist(), mark, strict=True)]
        gain += sum(h * (n - m) for h, n, m in zip(held, now, mark, strict=True))
        things += sum(abs(h) * (n + abs(m)) for h, n, m in zip(held, now, mark, strict=True))
        mark = now
        worth = sum(held[j] * mark[j] for j in range(n_assets) if j not in extra.unfunded)
        costs, flows = np.split(got.bars[t, codes.BAR_FEES :], [codes.BAR_INTEREST - codes.BAR_FEES])
        assert abs(got.equity[t] - got.bars[t, codes.BAR_CASH] - worth) < 1e-9 * things
        assert abs(got.equity[t] - before - gain + costs.sum() - flows.sum()) < 1e-9 * things
        before = got.equity[t]


@given(with_actions(kinds=(Reason.SPLIT,), with_gaps=False))
@COMMON
def test_a_split_alone_changes_no_equity(made):
    """The same account in shares that never split: prices times what each has become."""
    case, extra = made
    weights, decide, price, close, days, account, on_change = case
    account = Settings(
        costs=Costs(fee_bps=5.0, slippage_bps=2.0, borrow_bps_year=100.0),
        cash=1000.0,
        fill=account.fill,
        size_at=account.size_at,
        leverage_check="scale",
        max_leverage=2.0,
    )
    factor = np.ones_like(close)
    for action in extra.actions:
        factor[action.row :, action.asset] *= action.ratio
    as_quoted = (weights, decide, price / factor, close / factor, days, account, on_change)
    got = fast(as_quoted, extra=extra)
    want = fast((weights, decide, price, close, days, account, on_change), extra=Extra(unfunded=extra.unfunded))
    np.testing.assert_allclose(got.equity, want.equity, rtol=1e-9, atol=1e-7)


# A table worked by hand. Each row is a bar: close (fills are at it), the weight that is decided, cash and shares after.
def hold(closes, weights, actions, unfunded=(), **account):
    close = np.array(closes, dtype=float).reshape(len(closes), -1)
    asked = np.full(close.shape, nan)
    for (row, j), w in weights.items():
        asked[row, j] = w
    account = Settings(cash=1000.0, fill="next_close", leverage_check="scale", **account)
    case = (asked, ~np.isnan(asked).all(axis=1), close.copy(), close, np.ones(len(close)), account, False)
    return fast(case, extra=Extra(unfunded=frozenset(unfunded), actions=tuple(actions)))


def shares(record, j=0):
    mine = record.orders[(record.orders[:, codes.ORDER_ASSET] == j) & (record.orders[:, codes.ORDER_SIZE] != 0.0)]
    return float(sum(mine[:, codes.ORDER_SIZE]))


def act(row, kind, asset=0, **numbers):
    return SlowAction(row=row, asset=asset, kind=kind, **numbers)


def test_two_for_one_while_long_doubles_the_shares_at_half_the_price():
    got = hold([10, 10, 10, 5, 6], {(0, 0): 0.5}, [act(3, Reason.SPLIT, ratio=2.0)])
    assert shares(got) == 100.0
    assert got.equity.tolist() == [1000.0, 1000.0, 1000.0, 1000.0, 1100.0]
    assert got.bars[:, codes.BAR_CASH].tolist() == [1000.0, 500.0, 500.0, 500.0, 500.0]


def test_two_for_one_while_an_order_is_pending_doubles_what_it_asks_for():
    """Decided at 10 for 50 shares; they are 100 at the fill."""
    got = hold([10, 5, 6], {(0, 0): 0.5}, [act(1, Reason.SPLIT, ratio=2.0)])
    assert shares(got) == 100.0
    assert got.equity.tolist() == [1000.0, 1000.0, 1100.0]


def test_three_for_two_in_whole_shares_pays_half_a_share_in_cash():
    """51 shares bought at 9.8; 76.5 after it; half a share at the last close, 12 / 1.5 = 8, is 4 in cash."""
    got = hold([9.8, 9.8, 12, 8, 8], {(0, 0): 0.5}, [act(3, Reason.SPLIT, ratio=1.5)], lot=1.0)
    assert shares(got) == 76.0
    assert got.bars[3, codes.BAR_CASH] == pytest.approx(1000.0 - 51 * 9.8 + 4.0, abs=1e-12)
    assert got.equity[3] == pytest.approx(got.equity[2], abs=1e-9) == pytest.approx(1000 + 51 * 2.2)


def test_ten_into_one_of_less_than_a_share_is_all_paid_in_cash_and_closes_the_trade():
    got = hold([100, 100, 110, 1100, 1100], {(0, 0): 0.5}, [act(3, Reason.SPLIT, ratio=0.1)], lot=1.0)
    assert shares(got) == 0.0
    assert got.bars[-1, codes.BAR_CASH] == pytest.approx(1050.0)
    assert got.activity[1:3].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("weight", "cash"), [(0.5, 525.0), (-0.5, 1475.0)])
def test_a_dividend_is_paid_to_longs_and_owed_by_shorts(weight, cash):
    """50 shares, 0.5 each."""
    got = hold([10, 10, 9.5], {(0, 0): weight}, [act(2, Reason.DIVIDEND, amount=0.5)])
    assert got.bars[2, codes.BAR_CASH] == cash
    assert got.bars[:, codes.BAR_DIVIDENDS].tolist() == [0.0, 0.0, math.copysign(25.0, weight)]
    assert got.equity.tolist() == [1000.0, 1000.0, 1000.0]


@pytest.mark.parametrize(("numbers", "cash"), [({"amount": 4.0, "ratio": 0.7}, 700.0), ({"ratio": 0.7}, 780.0)])
def test_a_delisting_pays_its_value_or_the_last_close_less_a_share_of_it(numbers, cash):
    """50 shares held; the last close is 8: 8 x 0.7 = 5.6 each. What is asked for later comes to nothing."""
    got = hold([10, 10, 8, nan, nan], {(0, 0): 0.5, (2, 0): 0.3, (3, 0): 0.2}, [act(3, Reason.DELISTED, **numbers)])
    assert got.bars[-1, codes.BAR_CASH] == cash == got.equity[-1]
    told = [(REASONS[int(r[codes.ORDER_REASON])], r[codes.ORDER_SIZE]) for r in got.orders]
    assert told == [("filled", 50.0), ("delisted", 0.0), ("delisted", -50.0), ("delisted", 0.0)]
    assert got.activity[1] == 1.0


def test_a_merger_for_shares_and_cash():
    """20 shares at 25 become 10 of the buyer's, at 40, and 3 in cash each: 25 become 23."""
    closes = [[25, 40], [25, 40], [25, 40], [nan, 44]]
    got = hold(closes, {(0, 0): 0.5}, [act(3, Reason.MERGED, ratio=0.5, amount=3.0, other=1)])
    assert (shares(got), shares(got, 1)) == (0.0, 10.0)
    assert got.bars[-1, codes.BAR_CASH] == 560.0
    assert got.equity[-1] == 560.0 + 440.0
    assert got.activity[1:3].tolist() == [1.0, 0.0]  # closed at 23, bought at 25


def test_a_spin_off_leaves_the_shares_and_adds_others():
    """20 shares at 25; 5 of the new one, first traded at 20: a fifth of what was paid is theirs."""
    closes = [[25, nan], [25, nan], [25, nan], [20, 20], [20, 20], [20, 20]]
    got = hold(closes, {(0, 0): 0.5, (4, 0): 0.0}, [act(3, Reason.SPUN_OFF, ratio=0.25, other=1)])
    assert (shares(got), shares(got, 1)) == (0.0, 5.0)
    assert got.equity.tolist() == [1000.0] * 6
    assert got.activity[1:3].tolist() == [1.0, 0.0]  # bought at 25 less 5, sold at 20


@pytest.mark.parametrize(("ratio", "given", "prices"), [(0.27, 5.0, (19.6, 20.0)), (0.04, 0.0, (24.2, nan))])
def test_cash_for_a_fraction_of_a_spin_off_lowers_what_was_paid(ratio, given, prices):
    """20 shares at 25, the new one at 20. 5.4 of it are 0.216 of the 500 paid: 108, of which 8 come back in cash. 0.8
    of it are 16 in cash, and the 484 left were paid for the 20."""
    closes = [[25, nan], [25, nan], [25, nan], [20, 20]]
    got = hold(closes, {(0, 0): 0.5}, [act(3, Reason.SPUN_OFF, ratio=ratio, other=1)], lot=1.0)
    parent, child = got.orders[got.orders[:, codes.ORDER_REASON] == codes.SPUN_OFF]
    assert child[codes.ORDER_SIZE] == given
    assert 25.0 * parent[codes.ORDER_PRICE] == pytest.approx(prices[0])
    assert child[codes.ORDER_PRICE] == pytest.approx(prices[1], nan_ok=True)


def test_a_future_of_50_a_point_that_is_rolled_gains_what_its_contracts_did():
    """10 contracts' points: bought at 100, rolled at 104 into one that is 3 dearer, ends at 110: 4 + 3 points.

    A point is 50: prices here are in money. Half a spread of 1 % on each leg, and a fee of 2 a contract.
    """
    costs = Costs(half_spread_bps=100.0, fee_per_share=2.0)
    closes = [[5000.0], [5000.0], [5200.0], [5500.0]]
    actions = [act(3, Reason.ROLLED, amount=150.0)]
    got = hold(closes, {(0, 0): 5.0}, actions, unfunded=[0], max_leverage=5.0, costs=costs)
    entry, roll = 50.0 + 2.0, 52.0 + 53.5 + 4.0
    assert got.equity.tolist() == pytest.approx([1000.0, 1000 - entry, 1200 - entry, 1200 + 150 - entry - roll])
    assert got.bars[:, codes.BAR_CASH].tolist() == got.equity.tolist()  # settled each day


def test_funding_of_a_perpetual_is_paid_on_the_last_close():
    got = hold([100, 100, 110, 110, 110], {(0, 0): 1.0}, [
        act(3, Reason.PAID_FUNDING, ratio=0.001), act(4, Reason.PAID_FUNDING, ratio=-0.002)], unfunded=[0])  # fmt: skip
    assert got.bars[:, codes.BAR_FUNDING].tolist() == pytest.approx([0, 0, 0, -1.1, 2.2])
    assert got.equity[-1] == pytest.approx(1100.0 + 1.1)


_RUNNER = """
import os, signal, sys
import numpy as np
from knowable.kernels.ledger import ledger_kernel
from tests.kernels.test_actions import killed_case
kernel_arguments, state, out = killed_case()
first, folder = int(sys.argv[1]), sys.argv[2]
if first:
    state.assets[...] = np.frombuffer(open(f"{folder}/assets", "rb").read()).reshape(state.assets.shape)
    state.account[...] = np.frombuffer(open(f"{folder}/account", "rb").read())
last = int(sys.argv[3])
weights, decide, feed, rules = kernel_arguments(first, last)
orders = out[2] if first == 0 else np.empty_like(out[2])
already = int(state.account[{n_orders}])
done = ledger_kernel(weights, decide, feed, rules, state, out[0][first:last], out[1], orders)
assert done == last - first
for name, array in (("assets", state.assets), ("account", state.account)):
    open(f"{folder}/{name}", "wb").write(array.tobytes())
open(f"{folder}/part{first}", "wb").write(
    out[0][first:last].tobytes() + out[1][:, first:last].T.tobytes()
    + orders[already:int(state.account[{n_orders}])].tobytes())
if not first:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_case(n_bars=40):
    """A run with actions, and the arrays it writes to."""
    rng = np.random.default_rng(5)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.05, (n_bars, 4)), axis=0))
    close[30:, 3] = np.nan
    weights = read_only(rng.choice([0.0, 0.2, -0.2, nan], close.shape))
    actions = (
        act(5, Reason.SPLIT, ratio=1.5), act(15, Reason.DIVIDEND, asset=1, amount=0.5),
        act(20, Reason.SPLIT, asset=2, ratio=0.5), act(25, Reason.SPUN_OFF, ratio=0.1, other=1),
        act(30, Reason.MERGED, asset=3, ratio=0.3, amount=1.0, other=2),
    )  # fmt: skip
    account = Settings(
        costs=Costs(fee_bps=5.0, borrow_bps_year=100.0), lot=1.0, fill="next_close", leverage_check="scale"
    )
    extra = Extra(actions=actions)
    tape = tape_of(close.copy(), close, np.ones(n_bars), account, extra=extra)
    decide = read_only(np.ones(n_bars, bool))

    def arguments(first, last):
        return weights[first:last], decide[first:last], rest_of(tape.feed, first), rules_with(account, False, extra)

    out = np.empty(n_bars), np.zeros((codes.N_BAR_COLUMNS, n_bars)), np.empty((2000, codes.N_ORDER_COLUMNS))
    return arguments, tape.new_state(account.cash), out


@pytest.mark.parametrize("row", [16, 30])
def test_a_process_killed_and_another_that_goes_on_leave_the_same_bits(tmp_path, row):
    arguments, state, (equity, bars, orders) = killed_case()
    n_bars = len(equity)
    assert ledger_kernel(*arguments(0, n_bars), state, equity, bars, orders) == n_bars
    code = _RUNNER.replace("{n_orders}", str(codes.N_ORDERS))
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *sys.path])
    ends = [
        subprocess.run(
            [sys.executable, "-c", code, str(first), str(tmp_path), str(last)],
            env={**os.environ, "PYTHONPATH": path}, check=False, timeout=120,
        ).returncode
        for first, last in ((0, row), (row, n_bars))
    ]  # fmt: skip
    assert ends == [-signal.SIGKILL, 0]
    assert (tmp_path / "assets").read_bytes() == state.assets.tobytes()
    assert (tmp_path / "account").read_bytes() == state.account.tobytes()
    parts = [(tmp_path / f"part{first}").read_bytes() for first in (0, row)]
    n_orders, width = int(state.account[codes.N_ORDERS]), bars.shape[0]
    equity_bytes = parts[0][: 8 * row] + parts[1][: 8 * (n_bars - row)]
    bar_bytes = (
        parts[0][8 * row : 8 * row * (1 + width)] + parts[1][8 * (n_bars - row) : 8 * (n_bars - row) * (1 + width)]
    )
    assert equity_bytes == equity.tobytes()
    assert bar_bytes == bars.T.tobytes()
    order_bytes = parts[0][8 * row * (1 + width) :] + parts[1][8 * (n_bars - row) * (1 + width) :]
    assert order_bytes == orders[:n_orders].tobytes()
