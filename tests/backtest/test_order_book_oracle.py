"""Orders that rest in the market, against a slow book of objects that walks each bar point by point.

Both book what happens to what is held in the same runs. All agrees to the bit: orders and why they ended, sizes,
prices, fees, what was booked, cash and equity. Both add up in the same order (see `ledger_oracle`), and halve as often
where they look for what cash pays for.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kernels.test_actions import extras, follow_actions, parted
from tests.kernels.test_ledger import Extra, rows_of

import knowable as kn
from knowable.backtest.events.run import EventRun, event_tape
from knowable.backtest.reasons import REASONS, Reason
from knowable.backtest.record import LedgerRecord
from knowable.backtest.settings import Settings
from knowable.backtest.tape import read_only
from knowable.backtest.traded import carry_forward
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.kernels import account as codes
from knowable.kernels.account import LedgerState
from knowable.testing.book_oracle import Call, SlowBook

FEW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = ("open", "high", "low", "close")


class Follows(kn.Strategy):
    """Asks for what a plan says."""

    plan: tuple = ()
    rebalance = None

    def on_bar(self, bar, account):
        for call in self.plan[bar.row]:
            obey(call, account)


def obey(call: Call, account) -> None:
    if call.what == "rest":
        account.order(call.asset, call.number, **call.levels, day=call.day)
    elif call.what == "cancel":
        account.cancel(int(call.number))
    elif call.what == "cancel_all":
        account.cancel_all(None if call.asset < 0 else call.asset)
    else:
        getattr(account, call.what)(call.asset, call.number)


def levels_of(rng, price: float, shares: float) -> dict[str, float]:
    """Levels near a price that an order may have; none that could be taken for fractions after splits."""
    if price < 2.5:
        return {"trail": 0.05}
    side, near = np.sign(shares), lambda low, high: float(price * (1.0 + side * rng.uniform(low, high)))
    kind = rng.choice(["limit", "stop", "both", "trail", "market"])
    made: dict[str, float] = {}
    if kind in ("limit", "both"):
        made["limit"] = near(-0.08, 0.03)
    if kind in ("stop", "both"):
        made["stop"] = near(-0.02, 0.08)
    if kind == "trail":
        made["trail"] = float(rng.choice([0.01, 0.05]))
    entry = made.get("limit", made.get("stop", price))
    if kind == "market" or rng.random() < 0.5:
        which = rng.choice(3)
        if which != 1:
            made["stop_loss"] = float(entry * (1.0 - side * rng.uniform(0.005, 0.08)))
        if which != 2:
            made["take_profit"] = float(entry * (1.0 + side * rng.uniform(0.005, 0.08)))
    return made


@st.composite
def cases(draw):
    """Bars with gaps, a plan of orders of all kinds, an account, actions, and closes that were known otherwise."""
    n_bars, n_assets = draw(st.integers(2, 30)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.01, 0.04, 0.3]))
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, spread, (n_bars, n_assets)), axis=0))
    open_ = close * np.exp(rng.normal(0.0, spread, close.shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, spread, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, spread, close.shape)))
    bars = dict(zip(NAMES, (open_, high, low, close), strict=True))
    if draw(st.booleans()):
        missing = rng.random(close.shape) < 0.15
        missing[0] = False
        for panel in bars.values():
            panel[missing] = np.nan
    volume = rng.choice([0.0, 5.0, 20.0, 200.0], close.shape)
    amount = st.sampled_from
    fields = {name: rng.uniform(0.0, 30.0, close.shape) for name in ("fee_bps", "half_spread_bps", "borrow_bps_year")}
    fields |= {"fee_min": rng.uniform(0.0, 5.0, close.shape), "impact": rng.uniform(0.0, 0.2, close.shape)}
    fields = {name: fields[name] for name in sorted(draw(st.sets(amount(sorted(fields)), max_size=3)))}
    costs = {
        "fee_bps": draw(amount([0, 10])), "fee_per_share": draw(amount([0, 0.02])), "fee_min": draw(amount([0, 3.0])),
        "half_spread_bps": draw(amount([0, 4])), "slippage_bps": draw(amount([0, 7])),
        "borrow_bps_year": draw(amount([0, 300])), "impact": draw(amount([0, 0.1])),
        "cash_rate": draw(amount([0.0, 0.05, -0.01])), "margin_rate": draw(amount([0.0, 0.1])),
    } | dict(zip(fields, fields, strict=True))  # fmt: skip
    account = Settings(
        cash=1000.0,
        fill=draw(amount(["next_open", "next_open", "next_close", "next_vwap", "close"])),
        size_at=draw(amount(["decision", "fill"])), costs=kn.Costs(**costs),
        lot=draw(amount([None, 1.0, 5.0])), max_leverage=draw(amount([1.0, 2.0])),
        leverage_check=draw(amount(["scale", "scale", "scale", "strict"])),
        intrabar=draw(amount(["pessimistic", "pessimistic", "ohlc", "olhc"])), exit_on_entry_bar=draw(st.booleans()),
        volume_limit=draw(amount([None, None, 0.25])), maintenance_margin=draw(amount([0.0, 0.3])),
    )  # fmt: skip
    extra = draw(extras(*close.shape)) if draw(st.booleans()) else Extra()
    follow_actions(bars, extra)
    extra = replace(
        extra, panels=fields, on_change=draw(st.booleans()),
        members=rng.random(close.shape) < 0.8 if draw(amount([False, False, True])) else None,
        decide=rng.random(n_bars) < 0.5 if draw(amount([False, False, True])) else None,
    )  # fmt: skip
    price = np.where(np.isnan(close), 50.0, close)
    known = known_of(rng, bars["close"]) if draw(st.booleans()) else None
    return bars, volume, plan_of(rng, price, draw(amount([0.3, 0.8])), extra.decide), account, extra, known


def known_of(rng, close):
    """Closes as known at each decision: some were revised later, some came late."""
    known = np.where(rng.random(close.shape) < 0.3, close * np.exp(rng.normal(0.0, 0.1, close.shape)), close)
    known[rng.random(close.shape) < 0.2] = np.nan
    return known


def plan_of(rng, price, busy, decide=None) -> list[list[Call]]:
    """What each bar asks for; nothing on a row that is not decided on, so that numbers are those of orders placed."""
    plan: list[list[Call]] = []
    n_numbers = 0
    for t in range(len(price)):
        calls: list[Call] = []
        if decide is not None and not decide[t]:
            plan.append(calls)
            continue
        for j in range(price.shape[1]):
            if rng.random() < 0.15:
                calls.append(Call(what="target", asset=j, number=float(rng.choice([0.0, 0.2, 0.4, -0.2]))))
            elif rng.random() < 0.2:
                what = str(rng.choice(["order", "target_shares"]))
                calls.append(Call(what=what, asset=j, number=float(rng.choice([-4.0, 0.0, 3.0, 6.5, 30.0]))))
            for _ in range(int(rng.random() < busy) + int(rng.random() < 0.2)):
                shares = float(rng.choice([-30.0, -6.0, -2.5, 2.5, 6.0, 12.0, 40.0, 0.4]))
                levels = levels_of(rng, price[t, j], shares)
                calls.append(Call(what="rest", asset=j, number=shares, levels=levels, day=bool(rng.random() < 0.3)))
                n_numbers += 1 + ("stop_loss" in levels) + ("take_profit" in levels)
        if n_numbers and rng.random() < 0.2:
            calls.append(Call(what="cancel", number=float(rng.integers(n_numbers))))
        if rng.random() < 0.05:
            calls.append(Call(what="cancel_all", asset=int(rng.integers(-1, price.shape[1]))))
        plan.append(calls)
    return plan


def market_of(bars, volume, extra=None) -> Market:
    more = {} if extra is None else {**extra.panels}
    if extra is not None and extra.members is not None:
        more["universe"] = extra.members
    index = pd.date_range("2024-01-01 08:00", periods=len(volume), freq="8h", tz="UTC")
    columns = [f"A{j}" for j in range(volume.shape[1])]
    frames = {name: pd.DataFrame(panel, index=index, columns=columns) for name, panel in (bars | more).items()}
    return kn.Market.from_frames(**frames, volume=pd.DataFrame(volume, index=index, columns=columns), missing="allow")


def follower(case) -> Follows:
    strategy = Follows()
    strategy.plan = tuple(map(tuple, case[2]))
    strategy.rebalance = None if case[4].on_change else "bar"
    return strategy


def rows_to_decide_on(case) -> np.ndarray:
    return np.ones(len(case[2]), np.bool_) if case[4].decide is None else case[4].decide


def run_of(case, market) -> EventRun:
    """A run on the market's prices, with the case's actions and futures in its tape."""
    n_bars, extra = len(case[2]), case[4]
    tape = event_tape(market, case[3], 0, n_bars)
    feed = tape.feed._replace(actions=read_only(rows_of(extra.actions)))
    if case[5] is not None:
        feed = feed._replace(known=read_only(carry_forward(case[5])))
    unfunded = read_only(extra.unfunded_of(len(market.assets)))
    return EventRun(market, case[3], 0, n_bars, tape=replace(tape, feed=feed, unfunded=unfunded))


def fast(case, market) -> LedgerRecord:
    n_bars, run = len(case[2]), run_of(case, market)
    run.trade(follower(case), {}, rows_to_decide_on(case), 0, n_bars)
    return run.record()


def slow(case, market) -> SlowBook:
    bars, volume, plan, account, extra, known = case
    price = {
        "next_open": bars["open"], "next_vwap": (bars["high"] + bars["low"] + bars["close"]) / 3.0,
        "next_close": bars["close"], "close": bars["close"],
    }[account.fill]  # fmt: skip
    sessions = market.days
    days = [0.0, *np.diff(sessions.astype(np.int64)).astype(float)]
    by_volume = account.volume_limit is not None or account.costs.impact
    ledger = SlowBook(
        settings=account, on_change=extra.on_change, n_assets=volume.shape[1],
        volume=volume.tolist() if by_volume else None, unfunded=extra.unfunded, actions=extra.actions,
        panels={name: panel.tolist() for name, panel in extra.panels.items()},
    )  # fmt: skip
    panels = {name: panel.tolist() for name, panel in bars.items()}
    seen = None if known is None else known.tolist()
    ledger.run_book(
        plan, panels, price.tolist(), days, sessions.tolist(), seen, decide=rows_to_decide_on(case).tolist(),
        members=None if extra.members is None else extra.members.tolist(),
    )  # fmt: skip
    return ledger


def check(case) -> None:
    market = market_of(case[0], case[1], case[4])
    want = slow(case, market)
    if want.refused_at is not None:
        with pytest.raises(InputError, match=f"row {want.refused_at} "):
            fast(case, market)
        return
    got = fast(case, market)
    seen, told = lists(got, want)
    assert seen == told
    assert got.bars[:, codes.BAR_CASH].tolist() == want.cash_path
    assert got.equity.tolist() == want.equity
    booked = [
        (int(row[codes.ORDER_FILLED]), int(row[codes.ORDER_ASSET]), REASONS[int(row[codes.ORDER_REASON])],
         row[codes.ORDER_SIZE], row[codes.ORDER_WANTED])
        for row in parted(got)[1]
    ]  # fmt: skip
    assert booked == [(f.row, f.asset, f.kind, f.shares, f.cash) for f in want.flows]


def lists(got, want) -> tuple[list[tuple], list[tuple]]:
    """Both lists of orders, in one order: asset, decided, filled, reason, size, price, fee."""
    seen = [
        (int(row[codes.ORDER_ASSET]), int(row[codes.ORDER_DECIDED]), int(row[codes.ORDER_FILLED]),
         str(REASONS[int(row[codes.ORDER_REASON])]), row[codes.ORDER_SIZE],
         0.0 if math.isnan(row[codes.ORDER_PRICE]) else row[codes.ORDER_PRICE], row[codes.ORDER_FEE])
        for row in parted(got)[0]
    ]  # fmt: skip
    told = [
        (o.asset, o.decided_at, -1 if o.filled_at is None else o.filled_at, str(o.reason), o.size,
         0.0 if math.isnan(o.price) else o.price, o.fee)
        for o in want.orders
    ]  # fmt: skip
    return sorted(seen), sorted(told)


@given(cases())
@FEW
def test_orders_that_rest_agree_with_the_slow_book(case):
    check(case)


@given(cases(), st.integers(0, 30))
@settings(FEW, max_examples=30)
def test_stretches_with_a_saved_state_give_the_same_bits(case, cut):
    case = (*case[:3], replace(case[3], leverage_check="scale"), *case[4:])
    market, strategy, n_bars = market_of(case[0], case[1], case[4]), follower(case), len(case[2])
    cut, decide = min(cut, n_bars), rows_to_decide_on(case)
    whole, parts = run_of(case, market), run_of(case, market)
    whole.trade(strategy, {}, decide, 0, n_bars)
    if cut:
        parts.trade(strategy, {}, decide, 0, cut)
    parts.state = LedgerState(*(np.frombuffer(bytearray(a.tobytes())).reshape(a.shape) for a in parts.state))
    if cut < n_bars:
        parts.trade(strategy, {}, decide, cut, n_bars)
    assert whole.equity.tobytes() == parts.equity.tobytes()
    assert whole.record().orders.tobytes() == parts.record().orders.tobytes()


@pytest.mark.slow
@given(cases())
@settings(FEW, max_examples=5000)
def test_thousands_of_plans_agree_with_the_slow_book(case):
    check(case)


def test_the_plans_fill_cancel_and_end_orders_of_every_kind():
    """What the random plans reach: without it the agreement would say little."""
    reached: set[str] = set()

    @given(cases())
    @settings(FEW, database=None, derandomize=True)
    def walk(case):
        case = (*case[:3], replace(case[3], leverage_check="scale"), *case[4:])
        record = fast(case, market_of(case[0], case[1], case[4]))
        reached.update(str(REASONS[int(code)]) for code in record.orders[:, codes.ORDER_REASON])

    walk()
    named = (
        "LIMIT_ORDER", "STOP_ORDER", "AT_OPEN", "TRAILED", "STOPPED", "TARGET_REACHED", "EXPIRED", "WITHDRAWN",
        "PAIRED", "NO_LEVERAGE", "NO_MEMBER", "NOT_REACHED", "CUT", "LIMITED", "NO_CASH", "CANCELLED", "ROUNDED",
        "SPLIT", "DIVIDEND", "MERGED", "DELISTED", "SPUN_OFF", "ROLLED", "PAID_FUNDING",
    )  # fmt: skip
    assert {str(Reason[name]) for name in named} <= reached
