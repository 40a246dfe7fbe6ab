"""Signals with stops and targets: by hand, and against the slow ledger that walks each bar's path."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.test_actions import extras, follow_actions, parted
from tests.kernels.test_ledger import Extra, rows_of, rules_with

from knowable.backtest.costs import Costs
from knowable.backtest.reasons import REASONS
from knowable.backtest.settings import Settings
from knowable.backtest.tape import read_only, rest_of
from knowable.kernels import account as codes
from knowable.kernels.account import Feed
from knowable.kernels.exits import Bars, Guards
from knowable.kernels.signals import say_kernel, signals_kernel
from knowable.testing.signals_oracle import SlowSignals

WORDS = {"enter long": 1, "leave long": 2, "enter short": 4, "leave short": 8}
NONE = math.nan


def run(
    account: Settings, flags, size, guards, bars, volume=None, extra=None, cuts=(), *, records=True
) -> dict[str, Any]:
    """The kernel over rows given in pieces."""
    n_bars, n_assets = flags.shape
    bars = Bars(*(np.ascontiguousarray(bars[name]) for name in ("open", "high", "low", "close")))
    price = {
        "next_open": bars.open, "next_close": bars.close, "close": bars.close,
        "next_vwap": (bars.high + bars.low + bars.close) / 3.0,
    }[account.fill]  # fmt: skip
    flags, size, price = read_only(flags), read_only(size), read_only(price)
    bars, guards = Bars(*map(read_only, bars)), Guards(*map(read_only, guards))
    extra = extra or Extra()
    state = codes.new_state(np.zeros(n_assets), extra.unfunded_of(n_assets), account.cash)
    rules = rules_with(account, False, extra)
    equity, rows = np.full(n_bars, np.nan), np.zeros((codes.N_BAR_COLUMNS, n_bars))
    orders = np.zeros((n_bars * n_assets * 8 + 96, codes.N_ORDER_COLUMNS) if records else (0, codes.N_ORDER_COLUMNS))
    none = read_only(np.empty((0, n_assets)))
    feed = Feed(
        price=price, close=bars.close, known=none, days=read_only(np.ones(n_bars)),
        volume=none if volume is None else read_only(volume),
        terms=terms(account.costs), actions=read_only(rows_of(extra.actions)),
    )  # fmt: skip
    for a, b in zip([0, *cuts], [*cuts, n_bars], strict=True):
        done = signals_kernel(
            flags[a:b], size[a:b], Guards(*(guard[a:b] for guard in guards)), Bars(*(each[a:b] for each in bars)),
            rest_of(feed, a), rules, state,
            np.empty((1, n_assets)), np.full(2, -1.0), equity[a:b], rows if records else rows[:, :0], orders,
        )  # fmt: skip
        assert done == b - a
    settled = orders[: int(state.account[codes.N_ORDERS])] if records else orders
    return {"equity": equity, "cash": rows[codes.BAR_CASH], "orders": settled, "state": state}


def terms(costs: Costs) -> np.ndarray:
    """By hand: the kernel's numbers."""
    bps, year = 1e-4, 365.0
    made = [costs.fee_bps * bps, costs.fee_per_share, costs.fee_min, costs.half_spread_bps * bps,
            costs.slippage_bps * bps, costs.impact, costs.borrow_bps_year * bps / year, 0.0, 0.0]  # fmt: skip
    return read_only(np.array(made).reshape(1, -1, 1))


def told(orders) -> list[tuple]:
    return [
        (int(o[codes.ORDER_ASSET]), int(o[codes.ORDER_FILLED]), o[codes.ORDER_SIZE], o[codes.ORDER_PRICE],
         str(REASONS[int(o[codes.ORDER_REASON])]))
        for o in orders
    ]  # fmt: skip


def one(bars: list[tuple[float, float, float, float]], says: dict[int, int], guard=(NONE, NONE, NONE), **options):
    """One asset; bars as (open, high, low, close); returns the orders."""
    table = np.array(bars, dtype=float)
    flags = np.zeros((len(bars), 1), np.uint8)
    for row, flag in says.items():
        flags[row, 0] = flag
    panel = {name: table[:, k : k + 1] for k, name in enumerate(("open", "high", "low", "close"))}
    guards = [np.full((len(bars), 1), part) for part in guard]
    orders = told(run(Settings(cash=1000.0, **options), flags, np.ones((len(bars), 1)), guards, panel)["orders"])
    return [
        (asset, bar, round(float(size), 9), round(float(price), 9), reason)
        for asset, bar, size, price, reason in orders
    ]


CALM = (100.0, 101.0, 99.0, 100.0)


def test_a_stop_within_the_bar_fills_at_its_level_and_past_it_at_the_open():
    within = one([CALM, CALM, (100, 100, 80, 90)], {0: 1}, (0.1, NONE, NONE))
    assert within == [(0, 1, 10.0, 100.0, "filled"), (0, 2, -10.0, 90.0, "stop")]
    gap = one([CALM, CALM, (85, 88, 80, 86)], {0: 1}, (0.1, NONE, NONE))
    assert gap[1] == (0, 2, -10.0, 85.0, "stop")


def test_a_target_fills_at_its_level_or_better():
    assert one([CALM, CALM, (100, 125, 99, 120)], {0: 1}, (NONE, 0.2, NONE))[1] == (0, 2, -10.0, 120.0, "target")
    assert one([CALM, CALM, (130, 135, 99, 120)], {0: 1}, (NONE, 0.2, NONE))[1] == (0, 2, -10.0, 130.0, "target")


@pytest.mark.parametrize(
    ("intrabar", "long", "short"),
    [
        ("pessimistic", (90.0, "stop"), (110.0, "stop")),
        ("ohlc", (110.0, "target"), (110.0, "stop")),
        ("olhc", (90.0, "stop"), (90.0, "target")),
    ],
)
def test_where_both_lie_in_a_bar_the_path_decides(intrabar, long, short):
    wide = [CALM, CALM, (100, 115, 85, 100)]
    assert one(wide, {0: 1}, (0.1, 0.1, NONE), intrabar=intrabar)[1][3:] == long
    assert one(wide, {0: 4}, (0.1, 0.1, NONE), intrabar=intrabar)[1][3:] == short


def test_a_trailing_stop_follows_the_best_price_and_is_tested_before_it_moves():
    rising = [CALM, (100, 100, 100, 100), (110, 120, 105, 115), (115, 118, 110, 112), (112, 113, 100, 101)]
    # anchors at each bar's test: 100, 100, 120, 120: levels 90, 90, 108, 108
    assert one(rising, {0: 1}, (NONE, NONE, 0.1))[1] == (0, 4, -10.0, 108.0, "trailing stop")
    # open, low, high, close: within bar 2 the level rises to 108, and its close is above it
    assert one(rising, {0: 1}, (NONE, NONE, 0.1), intrabar="olhc")[1][:2] == (0, 4)
    # open, high, low, close: the high of 120 comes first, and the low of 105 is below 108
    assert one(rising, {0: 1}, (NONE, NONE, 0.1), intrabar="ohlc")[1] == (0, 2, -10.0, 108.0, "trailing stop")


def test_the_bar_of_entry_counts_unless_told_otherwise():
    falls = [CALM, (100, 101, 80, 85), (85, 86, 84, 85)]
    assert one(falls, {0: 1}, (0.1, NONE, NONE))[1] == (0, 1, -10.0, 90.0, "stop")
    assert one(falls, {0: 1}, (0.1, NONE, NONE), exit_on_entry_bar=False)[1] == (0, 2, -10.0, 85.0, "stop")
    # filled at its close, the bar of entry is over
    assert one(falls, {1: 1}, (0.1, NONE, NONE), fill="close") == [(0, 1, round(1000 / 85, 9), 85.0, "filled")]


def test_signals_turn_a_position_and_contradictions_say_nothing():
    turned = one([CALM] * 4, {0: 1, 1: 4})
    assert turned == [(0, 1, 10.0, 100.0, "filled"), (0, 2, -20.0, 100.0, "filled")]
    assert one([CALM] * 4, {0: 3}) == []
    assert one([CALM] * 4, {0: 5}) == []
    assert one([CALM] * 4, {0: 1, 1: 3}) == [(0, 1, 10.0, 100.0, "filled")]
    assert len(one([CALM] * 4, {0: 1, 1: 1, 2: 1})) == 1, "a position is not added to"
    assert one([CALM] * 4, {1: 2}) == [], "there is nothing to leave"


def test_a_limit_pays_no_slippage_and_a_stop_does():
    costs = Costs(slippage_bps=100, fee_bps=0)
    target = one([CALM, CALM, (100, 125, 99, 120)], {0: 1}, (NONE, 0.2, NONE), costs=costs, size_at="fill")
    assert target[0][3] == 101.0
    assert target[1][3] == pytest.approx(101 * 1.2)
    stop = one([CALM, CALM, (100, 100, 80, 90)], {0: 1}, (0.1, NONE, NONE), costs=costs, size_at="fill")
    assert stop[1][3] == pytest.approx(101 * 0.9 * 0.99)


@st.composite
def scenarios(draw):
    n_bars, n_assets = draw(st.integers(2, 25)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    close = 100 * np.exp(rng.normal(0, 0.03, (n_bars, n_assets)).cumsum(0))
    open_ = close * np.exp(rng.normal(0, 0.02, close.shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.02, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.02, close.shape)))
    gone = rng.random(close.shape) < draw(st.sampled_from([0.0, 0.1]))
    bars = {"open": open_, "high": high, "low": low, "close": close}
    for panel in bars.values():
        panel[gone] = np.nan
    flags = np.zeros(close.shape, np.uint8)
    for bit in (1, 2, 4, 8):
        flags += np.uint8(bit) * (rng.random(close.shape) < draw(st.sampled_from([0.0, 0.15, 0.4])))
    size = np.full(close.shape, draw(st.sampled_from([0.3, 0.9, 1.0])) / n_assets)
    guards = [
        np.where(rng.random(close.shape) < draw(st.sampled_from([0.0, 0.5, 1.0])), rng.uniform(0.005, 0.1, close.shape),
                 np.nan)
        for _ in range(3)
    ]  # fmt: skip
    account = Settings(
        cash=1e5,
        fill=draw(st.sampled_from(["next_open", "next_close", "next_vwap", "close"])),
        size_at=draw(st.sampled_from(["decision", "fill"])),
        lot=draw(st.sampled_from([None, 1.0])),
        intrabar=draw(st.sampled_from(["pessimistic", "ohlc", "olhc"])),
        exit_on_entry_bar=draw(st.booleans()),
        leverage_check="scale",
        costs=draw(
            st.sampled_from(
                [
                    Costs(),
                    Costs(fee_bps=10, slippage_bps=20, half_spread_bps=5, borrow_bps_year=300),
                    Costs(fee_min=30),
                    Costs(impact=0.1),
                ]
            )
        ),
        volume_limit=draw(st.sampled_from([None, None, 0.25, 1.0])),
    )
    by_volume = account.volume_limit is not None or account.costs.impact
    volume = rng.choice([0.0, 40.0, 200.0, 1000.0, 5000.0], close.shape) if by_volume else None
    extra = draw(extras(*close.shape)) if draw(st.booleans()) else Extra()
    follow_actions(bars, extra)
    return account, flags, size, guards, bars, volume, extra


def slow(account, flags, size, guards, bars, volume, extra) -> SlowSignals:
    ledger = SlowSignals(
        settings=account,
        on_change=False,
        n_assets=flags.shape[1],
        volume=None if volume is None else volume.tolist(),
        unfunded=extra.unfunded,
        actions=extra.actions,
    )
    says = [[frozenset(word for word, bit in WORDS.items() if flag & bit) for flag in row] for row in flags]
    price = {
        "next_open": bars["open"], "next_close": bars["close"], "close": bars["close"],
        "next_vwap": (bars["high"] + bars["low"] + bars["close"]) / 3.0,
    }[account.fill]  # fmt: skip
    rest = [[tuple(float(guard[t, j]) for guard in guards) for j in range(flags.shape[1])] for t in range(len(flags))]
    ledger.run_signals(
        says, size.tolist(), rest, {name: panel.tolist() for name, panel in bars.items()}, price.tolist(),
        [1.0] * len(flags),
    )  # fmt: skip
    return ledger


@settings(max_examples=3 * settings().max_examples)
@given(scenarios())
def test_the_kernel_trades_as_the_slow_ledger(scenario):
    """To the bit: orders and why they ended, sizes, prices, fees, what was booked, cash and equity."""
    fast, ledger = run(*scenario), slow(*scenario)
    assert fast["equity"].tolist() == ledger.equity
    assert fast["cash"].tolist() == ledger.cash_path
    settled, (rows, flows) = settled_of(ledger), parted(SimpleNamespace(orders=fast["orders"]))
    assert [
        (int(o[codes.ORDER_ASSET]), int(o[codes.ORDER_DECIDED]), int(o[codes.ORDER_FILLED]), o[codes.ORDER_SIZE],
         o[codes.ORDER_FEE], REASONS[int(o[codes.ORDER_REASON])])
        for o in rows
    ] == [
        (o.asset, o.decided_at, -1 if o.filled_at is None else o.filled_at, o.size, o.fee, o.reason) for o in settled
    ]  # fmt: skip
    np.testing.assert_array_equal(rows[:, codes.ORDER_PRICE], [o.price for o in settled])
    assert [
        (int(o[codes.ORDER_FILLED]), int(o[codes.ORDER_ASSET]), REASONS[int(o[codes.ORDER_REASON])],
         o[codes.ORDER_SIZE], o[codes.ORDER_WANTED])
        for o in flows
    ] == [(f.row, f.asset, f.kind, f.shares, f.cash) for f in ledger.flows]  # fmt: skip


def settled_of(ledger):
    """Without those that wait at the end, which the kernel's list has not yet."""
    return ledger.orders[: len(ledger.orders) - len(ledger.wishes)]


@given(scenarios(), st.data())
def test_pieces_of_any_size_and_a_run_without_records_give_the_same_bits(scenario, data):
    whole = run(*scenario)
    n_bars = len(whole["equity"])
    cuts = sorted(data.draw(st.sets(st.integers(1, n_bars - 1), max_size=6)))
    pieces, bare = run(*scenario, cuts=cuts), run(*scenario, records=False)
    for other in (pieces, bare):
        assert other["equity"].tobytes() == whole["equity"].tobytes()
        assert other["state"].assets.tobytes() == whole["state"].assets.tobytes()
    assert pieces["orders"].tobytes() == whole["orders"].tobytes()
    assert pieces["state"].account.tobytes() == whole["state"].account.tobytes()


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4))
def test_flags_say_what_each_cell_of_the_panels_says(seed, n_bars, n_assets):
    rng = np.random.default_rng(seed)
    values = [0.0, -0.0, 1.0, -3.0, math.nan, math.inf]
    panels = {bit: rng.choice(values, (n_bars, n_assets)) for bit in (1, 2, 4, 8) if rng.random() < 0.7}
    for bit in list(panels)[:2]:
        panels[bit] = rng.random((n_bars, n_assets)) < 0.5 if rng.random() < 0.5 else panels[bit]
    made = np.zeros((n_bars, n_assets), np.uint8)
    for bit, panel in panels.items():
        say_kernel(bit, read_only(panel), made)
    for t in range(n_bars):
        for j in range(n_assets):
            said = sum(bit for bit, panel in panels.items() if panel[t, j] != 0.0 and panel[t, j] == panel[t, j])
            assert made[t, j] == said


def test_the_scenarios_reach_every_way_in_which_a_position_ends():
    """Without it their agreement would say little."""
    reached: set[str] = set()

    @settings(max_examples=300, database=None, derandomize=True, deadline=None)
    @given(scenarios())
    def walk(scenario):
        for order in run(*scenario)["orders"]:
            reached.add(str(REASONS[int(order[codes.ORDER_REASON])]))

    walk()
    named = (
        "stop", "target", "trailing stop", "volume limit", "replaced", "cut to cash", "filled late",
        "split", "dividend", "delisted", "merger", "spin-off", "roll", "funding",
    )  # fmt: skip
    assert set(named) <= reached
