"""Levels in other currencies: orders that rest and guards of signals, in one random market at a time, against the slow
book and the slow signals, which trade on quotes.

Quotes are whole 64ths, ratios and multipliers powers of two, so that a close may be moved by any number of splits and
rolls without rounding; levels are often whole 64ths too, so that bars end just there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.backtest import test_order_book_oracle as resting
from tests.kernels import test_signals as guarded
from tests.kernels.test_actions import parted
from tests.kernels.test_ledger import Extra

from knowable.backtest.by_signals import SignalScorer, simulate_signals
from knowable.backtest.events.run import EventRun
from knowable.backtest.reasons import REASONS, Reason
from knowable.backtest.record import LedgerRecord
from knowable.backtest.settings import Settings
from knowable.backtest.signals import SignalPanels
from knowable.backtest.tape import read_only
from knowable.data.market import Market
from knowable.data.market_actions import MarketActions
from knowable.errors import InputError
from knowable.kernels import account as codes
from knowable.kernels.account import LedgerState
from knowable.kernels.exits import Guards
from knowable.metrics.definitions import METRICS
from knowable.testing.abroad_oracle import SlowRates
from knowable.testing.book_oracle import SlowBook
from knowable.testing.ledger_actions_oracle import SlowAction
from knowable.testing.signals_oracle import SlowSignals

nan = math.nan
NAMES = ("open", "high", "low", "close")
FEW = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
WORDS = {
    Reason.SPLIT: "split",
    Reason.DIVIDEND: "dividend",
    Reason.SPUN_OFF: "spinoff",
    Reason.MERGED: "merger",
    Reason.DELISTED: "delisting",
}
ORDER = (
    Reason.ROLLED, Reason.PAID_FUNDING, Reason.DIVIDEND, Reason.SPUN_OFF, Reason.SPLIT, Reason.MERGED, Reason.DELISTED,
)  # fmt: skip


@dataclass(kw_only=True)
class World:
    """Quotes of assets in several currencies, and what happens to them; amounts are quotes."""

    bars: dict[str, np.ndarray]
    volume: np.ndarray
    rates: np.ndarray
    multiplier: np.ndarray
    unfunded: frozenset[int]
    deeds: list[SlowAction] = field(default_factory=list)
    known: np.ndarray | None = None
    extra: Extra = field(default_factory=Extra)

    def market(self) -> Market:
        """The same as a market."""
        shape = self.rates.shape
        final = {
            **self.bars, "volume": self.volume, "fx": self.rates,
            "multiplier": np.tile(self.multiplier, (shape[0], 1)),
            "funded": np.tile([float(j not in self.unfunded) for j in range(shape[1])], (shape[0], 1)),
        }  # fmt: skip
        for name, kind in (("roll", Reason.ROLLED), ("funding", Reason.PAID_FUNDING)):
            panel = np.full(shape, nan)
            for a in self.deeds:
                if a.kind is kind:
                    panel[a.row, a.asset] = a.amount if kind is Reason.ROLLED else a.ratio
            final[name] = panel
        final |= self.extra.panels
        if self.extra.members is not None:
            final["universe"] = self.extra.members.astype(float)
        there = ~np.isnan(self.bars["close"])
        rows = [
            {
                "row": a.row, "asset": a.asset, "type": WORDS[a.kind], "ratio": a.ratio, "amount": a.amount,
                "currency": None, "successor": a.other, "successor_id": None, "known_time": 0, "event_time": k,
                "last_row": int(np.flatnonzero(there[:, a.asset])[-1]),
            }
            for k, a in enumerate(self.deeds)
            if a.kind in WORDS
        ]  # fmt: skip
        index = pd.date_range("2024-01-01 08:00", periods=shape[0], freq="8h")
        return Market.build(
            times=index.as_unit("ns").asi8, assets=tuple(f"A{j}" for j in range(shape[1])),
            panels=final if self.known is None else {**final, "close": self.known}, final=final,
            actions=MarketActions.of(rows),
        )  # fmt: skip

    def own(self, panel: np.ndarray) -> list[list[float]]:
        """Quotes for one contract."""
        return (panel * self.multiplier).tolist()

    def slow_rates(self, account: Settings) -> SlowRates:
        """For a slow ledger."""
        ends = carried(self.rates)
        fills = np.concatenate([ends[:1], ends[:-1]]) if account.fill == "next_open" else ends
        return SlowRates(fills=fills.tolist(), ends=ends.tolist())

    def events(self) -> list[SlowAction]:
        """For a slow ledger, in money and in the order in which they are booked."""
        rate, found = carried(self.rates), []
        for a in self.deeds:
            own = a.amount * self.multiplier[a.asset]
            rolled = {"ratio": own} if a.kind is Reason.ROLLED else {}
            found.append(replace(a, amount=own * rate[max(a.row - 1, 0), a.asset], **rolled))
        found = [replace(a, ratio=1.0) if a.kind is Reason.MERGED and a.other < 0 else a for a in found]
        found = [replace(a, ratio=1.0) if a.kind is Reason.DELISTED else a for a in found]
        return sorted(found, key=lambda a: (a.row, ORDER.index(a.kind), a.asset))

    def marks(self, account: Settings) -> list[list[float]]:
        """Closes in money."""
        rates, made = self.slow_rates(account), []
        for t, row in enumerate(self.own(self.bars["close"])):
            for action in self.events():
                if action.row == t:
                    rates.follow(action)
            made.append(rates.marks(t, row))
        return made

    def fills(self, account: Settings) -> tuple[list[list[float]], list[list[float]]]:
        """The quotes at which orders fill, and the same in money."""
        rate = carried(self.rates)
        if account.fill == "next_open":
            rate = np.concatenate([rate[:1], rate[:-1]])
        own = {name: np.array(self.own(panel)) for name, panel in self.bars.items()}
        if account.fill == "next_vwap":
            quotes = (own["high"] + own["low"] + own["close"]) / 3.0
            return quotes.tolist(), ((own["high"] * rate + own["low"] * rate + own["close"] * rate) / 3.0).tolist()
        quotes = own["open" if account.fill == "next_open" else "close"]
        return quotes.tolist(), (quotes * rate).tolist()

    def days(self, market: Market) -> list[float]:
        """Between the bars."""
        return [0.0, *np.diff(market.days.astype(np.int64)).astype(float)]


def carried(panel):
    """The last value stands."""
    return pd.DataFrame(panel).ffill().to_numpy()


def whole(x):
    """In 64ths, above 0."""
    return np.maximum(np.round(np.asarray(x) * 64.0), 4.0) / 64.0


@st.composite
def worlds(draw, bars, volume):
    """Other currencies, contracts and actions for the bars."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = volume.shape
    n_assets = shape[1]
    bars = {name: np.where(np.isnan(panel), nan, whole(panel)) for name, panel in bars.items()}
    missing = np.any([np.isnan(panel) for panel in bars.values()], axis=0)
    for name in ("open", "high", "low", "close"):
        bars[name][missing] = nan
    if draw(st.booleans()):
        bars["close"][rng.random(shape) < 0.1] = nan
    rates = np.exp(np.cumsum(rng.normal(0.0, draw(st.sampled_from([0.01, 0.3])), shape), axis=0))
    rates[:, rng.random(n_assets) < 0.3] = 1.0
    multiplier = rng.choice([1.0, 4.0, 0.5], n_assets) if draw(st.booleans()) else np.ones(n_assets)
    unfunded = frozenset(np.flatnonzero(rng.random(n_assets) < 0.5).tolist()) if draw(st.booleans()) else frozenset()
    world = World(bars=bars, volume=volume, rates=rates, multiplier=multiplier, unfunded=unfunded)
    if draw(st.booleans()):
        add_actions(rng, world)
    nothing = np.isnan(np.array(list(bars.values()))).all(axis=0)
    if draw(st.booleans()):  # a rate is known when there is a price, and not before
        rates[np.cumsum(~nothing, axis=0) == 0] = nan
        rates[nothing & (rng.random(shape) < 0.5)] = nan
    assume((~np.isnan(bars["close"])).any(axis=0).all())
    return world


def add_actions(rng, world) -> None:
    """What happens on random rows; quotes follow splits and rolls, and what is over has none."""
    n_bars, n_assets = world.volume.shape
    over: dict[int, int] = {}
    for row in sorted(rng.integers(1, n_bars, rng.integers(0, 9)).tolist()):
        j, kind = int(rng.integers(n_assets)), ORDER[rng.integers(len(ORDER))]
        others = [k for k in range(n_assets) if k != j and over.get(k, n_bars) > row and k not in world.unfunded]
        future = j in world.unfunded
        if over.get(j, n_bars) <= row or np.isnan(world.bars["close"][:row, j]).all():
            continue
        if any((a.row, a.asset, a.kind) == (row, j, kind) for a in world.deeds):
            continue
        if kind in ((Reason.SPUN_OFF, Reason.MERGED, Reason.SPLIT) if future else (Reason.ROLLED,)):
            continue
        numbers = {"ratio": float(rng.choice([2.0, 0.5, 4.0]))}
        if kind is Reason.DIVIDEND:
            numbers = {"amount": float(rng.choice([0.5, 2.0]))}
        elif kind is Reason.PAID_FUNDING:
            numbers = {"ratio": float(rng.choice([0.001, -0.01]))}
        elif kind is Reason.ROLLED:
            numbers = {"amount": float(rng.integers(1, 60)) / 64.0}
        elif kind is Reason.DELISTED:
            numbers = {"amount": float(rng.choice([nan, 3.0]))}
        elif kind is Reason.MERGED:
            numbers["amount"] = float(rng.choice([nan, 2.0]))
            numbers |= {"other": int(rng.choice(others))} if others and rng.random() < 0.7 else {"ratio": nan}
        elif kind is Reason.SPUN_OFF:
            if not others:
                continue
            numbers["other"] = int(rng.choice(others))
        for panel in world.bars.values():
            if kind is Reason.SPLIT:
                panel[row:, j] = panel[row:, j] / numbers["ratio"]
            elif kind is Reason.ROLLED:
                panel[row:, j] += numbers["amount"]
            elif kind in (Reason.MERGED, Reason.DELISTED):
                over[j] = row
                panel[row:, j] = nan
        world.deeds.append(SlowAction(row=row, asset=j, kind=kind, **numbers))


@st.composite
def plans(draw):
    """A world, a plan of orders of all kinds, an account."""
    bars, volume, plan, account, extra, _ = draw(resting.cases())
    world = draw(worlds(bars, volume))
    world.extra = extra
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        world.known = resting.known_of(rng, world.bars["close"])
    if draw(st.booleans()):  # levels on the bars' own grid
        plan = [[replace(call, levels=on_grid(call.levels)) for call in calls] for calls in plan]
    return world, plan, account


def on_grid(levels):
    """All but a trail, unless two of them would be one."""
    made = {name: level if name == "trail" else float(whole(level)) for name, level in levels.items()}
    return made if len(set(made.values())) == len(made) else levels


def run_of(case, market) -> EventRun:
    _, plan, account = case
    return EventRun(market, account, 0, len(plan))


def follower(case):
    """The strategy that asks for what the plan says, and the rows on which it is asked."""
    world, plan, account = case
    told = (None, None, plan, account, world.extra, None)
    return resting.follower(told), resting.rows_to_decide_on(told)


def fast(case, market) -> LedgerRecord:
    run, (strategy, decide) = run_of(case, market), follower(case)
    run.trade(strategy, {}, decide, 0, len(decide))
    return run.record()


def by_multiplier(call, world):
    """Levels of a contract; a trail is a fraction."""
    return {k: v if k == "trail" else v * world.multiplier[call.asset] for k, v in call.levels.items()}


def slow(case, market) -> SlowBook:
    world, plan, account = case
    by_volume = account.volume_limit is not None or account.costs.impact
    ledger = SlowBook(
        settings=account, on_change=world.extra.on_change, n_assets=market.n_assets, unfunded=world.unfunded,
        actions=world.events(), panels={name: panel.tolist() for name, panel in world.extra.panels.items()},
        volume=world.volume.tolist() if by_volume else None, abroad=world.slow_rates(account),
    )  # fmt: skip
    own = [[replace(call, levels=by_multiplier(call, world)) for call in calls] for calls in plan]
    bars = {name: world.own(panel) for name, panel in world.bars.items()}
    known = None if world.known is None else world.own(world.known)
    ledger.run_book(
        own,
        bars,
        world.fills(account)[1],
        world.days(market),
        market.days.tolist(),
        known,
        decide=follower(case)[1].tolist(),
        members=None if world.extra.members is None else world.extra.members.tolist(),
    )
    return ledger


def agree(got, want) -> None:
    seen, told = resting.lists(got, want)
    assert seen == told
    assert got.bars[:, codes.BAR_CASH].tolist() == want.cash_path
    assert got.equity.tolist() == want.equity
    booked = [
        (int(row[codes.ORDER_FILLED]), int(row[codes.ORDER_ASSET]), REASONS[int(row[codes.ORDER_REASON])],
         row[codes.ORDER_SIZE], row[codes.ORDER_WANTED])
        for row in parted(got)[1]
    ]  # fmt: skip
    assert booked == [(f.row, f.asset, f.kind, f.shares, f.cash) for f in want.flows]


def check(case) -> None:
    market = case[0].market()
    want = slow(case, market)
    if want.refused_at is None:
        agree(fast(case, market), want)
        return
    with pytest.raises(InputError, match=f"row {want.refused_at} "):
        fast(case, market)


@given(plans())
@FEW
def test_orders_that_rest_in_other_currencies_agree_with_the_slow_book(case):
    check(case)


@pytest.mark.slow
@given(plans())
@settings(FEW, max_examples=500)
def test_hundreds_of_plans_in_other_currencies_agree_with_the_slow_book(case):
    check(case)


@given(plans(), st.integers(0, 30))
@settings(FEW, max_examples=15)
def test_stretches_with_a_saved_state_give_the_same_bits(case, cut):
    case = (*case[:2], replace(case[2], leverage_check="scale"))
    market, n_bars = case[0].market(), len(case[1])
    (strategy, decide), cut = follower(case), min(cut, n_bars)
    at_once, parts = run_of(case, market), run_of(case, market)
    at_once.trade(strategy, {}, decide, 0, n_bars)
    if cut:
        parts.trade(strategy, {}, decide, 0, cut)
    parts.state = LedgerState(*(np.frombuffer(bytearray(a.tobytes())).reshape(a.shape) for a in parts.state))
    if cut < n_bars:
        parts.trade(strategy, {}, decide, cut, n_bars)
    assert at_once.equity.tobytes() == parts.equity.tobytes()
    assert at_once.record().orders.tobytes() == parts.record().orders.tobytes()


@st.composite
def guards(draw):
    """A world, panels of signals, an account."""
    account, flags, size, levels, bars, volume, _ = draw(guarded.scenarios())
    world = draw(worlds(bars, np.full(flags.shape, 1e9) if volume is None else volume))
    if draw(st.booleans()):  # eighths, which meet the bars' own grid
        levels = [np.where(np.isnan(each), nan, np.ceil(each * 40.0) / 32.0) for each in levels]
    return world, (flags, size, levels), account


def signal_panels(case) -> SignalPanels:
    flags, size, levels = case[1]
    made = Guards(*(read_only(np.ascontiguousarray(each)) for each in levels))
    return SignalPanels(flags=read_only(flags), size=read_only(size), guards=made)


def simulated(case, market):
    return simulate_signals(signal_panels(case), market, case[2], name="", params={})


def slow_signals(case, market) -> SlowSignals:
    world, (flags, size, levels), account = case
    by_volume = account.volume_limit is not None or account.costs.impact
    ledger = SlowSignals(
        settings=account, on_change=False, n_assets=market.n_assets, unfunded=world.unfunded, actions=world.events(),
        volume=world.volume.tolist() if by_volume else None, worth=world.slow_rates(account).fills,
        quotes=world.fills(account)[0],
    )  # fmt: skip
    says = [[frozenset(word for word, bit in guarded.WORDS.items() if flag & bit) for flag in row] for row in flags]
    rest = [[tuple(float(x[t, j]) for x in levels) for j in range(market.n_assets)] for t in range(len(flags))]
    bars = {name: world.own(panel) for name, panel in world.bars.items()}
    ledger.run_signals(
        says,
        size.tolist(),
        rest,
        bars,
        world.fills(account)[1],
        world.days(market),
        close=world.marks(account),
    )
    return ledger


def check_signals(case) -> None:
    market = case[0].market()
    result = simulated(case, market)
    agree(result.record, slow_signals(case, market))
    figures, _ = SignalScorer(market, case[2], start=0, stop=market.n_bars).score(signal_panels(case))
    assert figures.tobytes() == np.array([result.metrics[name] for name in METRICS]).tobytes()


@given(guards())
@FEW
def test_guards_of_signals_in_other_currencies_agree_with_the_slow_ledger(case):
    check_signals(case)


@pytest.mark.slow
@given(guards())
@settings(FEW, max_examples=500)
def test_hundreds_of_signals_in_other_currencies_agree_with_the_slow_ledger(case):
    check_signals(case)


@pytest.mark.slow
def test_the_random_markets_reach_every_way_in_which_orders_end():
    """Without it the agreement would say little."""
    reached: tuple[set[str], set[str]] = set(), set()

    @given(plans())
    @settings(FEW, max_examples=150, database=None, derandomize=True)
    def walk(case):
        record = fast((*case[:2], replace(case[2], leverage_check="scale")), case[0].market())
        reached[0].update(str(REASONS[int(code)]) for code in record.orders[:, codes.ORDER_REASON])

    @given(guards())
    @settings(FEW, max_examples=400, database=None, derandomize=True)
    def signal(case):
        record = simulated(case, case[0].market()).record
        reached[1].update(str(REASONS[int(code)]) for code in record.orders[:, codes.ORDER_REASON])

    walk()
    signal()
    booked = (
        "SPLIT",
        "DIVIDEND",
        "MERGED",
        "DELISTED",
        "SPUN_OFF",
        "ROLLED",
        "PAID_FUNDING",
        "STOPPED",
        "TARGET_REACHED",
    )
    of_book = ("LIMIT_ORDER", "STOP_ORDER", "AT_OPEN", "TRAILED", "EXPIRED", "PAIRED", "NO_LEVERAGE", "CUT", "LIMITED")
    assert {str(Reason[name]) for name in (*booked, *of_book)} <= reached[0]
    assert {str(Reason[name]) for name in (*booked, "TRAILED", "LIMITED", "REPLACED")} <= reached[1]
