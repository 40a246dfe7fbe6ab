"""Everything that moves money, in one random market at a time, against a slow ledger that trades on quotes."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backtest.random_markets import cases, preset_accounts, under
from tests.kernels.test_actions import Orders, parted
from tests.kernels.test_ledger import SHARES, check_against

import knowable as kn
from knowable.backtest.events.run import EventRun
from knowable.backtest.reasons import REASONS
from knowable.backtest.simulate import score, simulate
from knowable.backtest.tape import read_only, read_tape, rest_of, rules_of
from knowable.backtest.weights import members_only
from knowable.errors import InputError
from knowable.kernels import account as codes
from knowable.kernels.account import LedgerState
from knowable.kernels.ledger import ledger_kernel
from knowable.metrics.definitions import METRICS

COMMON = settings(max_examples=2 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def slowly(case):
    slow, account = case.slow_account()
    return slow.run(case.weights.tolist(), case.decide.tolist(), account, on_change=case.on_change, **case.span)


def simulated(case):
    return simulate(allowed(case), case.decide, case.market, case.account, on_change=case.on_change, **case.span)


def allowed(case):
    return members_only(case.weights, case.market)


def check(case):
    compare(simulated(case).record, slowly(case))


def compare(got, want):
    check_against(Orders(got), want)
    booked = parted(got)[1]
    assert [(int(r[2]), int(r[0]), REASONS[int(r[8])], r[codes.ORDER_SIZE], r[codes.ORDER_WANTED]) for r in booked] == [
        (f.row, f.asset, f.kind, f.shares, f.cash) for f in want.flows
    ]


@given(cases())
@COMMON
def test_all_that_moves_money_agrees_with_the_slow_ledger_to_the_last_bit(case):
    check(case)


@given(cases(), preset_accounts())
@settings(COMMON, max_examples=settings().max_examples // 2)
def test_weights_under_the_presets_of_other_engines_agree_with_the_slow_ledger(case, account):
    check(under(case, account))


@pytest.mark.slow
@given(cases())
@settings(COMMON, max_examples=500)
def test_hundreds_of_markets_agree_with_the_slow_ledger_to_the_last_bit(case):
    check(case)


PERIODS = {
    "day": lambda day: day,
    "week": lambda day: day.isocalendar()[:2],
    "month": lambda day: (day.year, day.month),
    "wednesday": lambda day: (day - dt.timedelta(days=3)).isocalendar()[:2],  # weeks that end on it
}


def rows_of_rule(rule, market):
    """Rows on which a rule lets weights act, each looked at by itself."""
    days, n = market.days.tolist(), market.n_bars
    if rule in (None, "bar") or isinstance(rule, int):
        return np.array([not isinstance(rule, int) or t % rule == 0 for t in range(n)])
    period = PERIODS[rule.split("_")[0]]
    if rule.endswith("_start"):
        return np.array([t == 0 or period(days[t]) != period(days[t - 1]) for t in range(n)])
    following = days[-1] + dt.timedelta(days=1)
    while market.calendar != "24/7" and (following.weekday() > 4 or following == dt.date(2021, 2, 15)):
        following += dt.timedelta(days=1)
    over = len(set(days)) == n if market.calendar is None else market.index[-1].hour in (0, 21)
    days.append(following if over else days[-1])
    return np.array([period(days[t]) != period(days[t + 1]) for t in range(n)])


@given(cases(), st.sampled_from([None, "bar", 3, "day_end", "week_end", "wednesday", "month_end", "week_start"]))
@settings(COMMON, max_examples=settings().max_examples // 2)
def test_a_strategy_with_a_rule_of_rebalancing_between_two_dates_agrees_with_the_slow_ledger(case, rule):
    class Written(kn.Strategy):
        rebalance = rule

        def weights(self, m):
            return case.weights[: m.n_bars]

    account = {each.name: getattr(case.account, each.name) for each in fields(case.account)}
    first, last = case.market.index[[case.start, case.stop - 1]]
    got = kn.backtest(Written(), case.market, start=first, end=last, **account).record
    compare(got, slowly(replace(case, decide=rows_of_rule(rule, case.market), on_change=rule is None)))


@given(cases(), st.integers(0, 2**32 - 1))
@settings(COMMON, max_examples=settings().max_examples // 2)
def test_orders_in_shares_beside_targets_agree_with_the_slow_ledger_to_the_last_bit(case, seed):
    check_orders(case, seed)


def check_orders(case, seed):
    rng = np.random.default_rng(seed)
    asked = rng.random(case.weights.shape) < 0.4
    plan = [{j: (bool(rng.random() < 0.5), float(rng.choice(SHARES))) for j in np.flatnonzero(row)} for row in asked]
    case = replace(case, weights=np.where(asked, np.nan, case.weights))

    class Asks(kn.Strategy):
        rebalance = None if case.on_change else "bar"

        def on_bar(self, bar, account):
            account.target(case.weights[bar.row])
            for j, (is_goal, number) in plan[bar.row].items():
                (account.target_shares if is_goal else account.order)(int(j), number)

    run = EventRun(case.market, case.account, case.start, case.stop)
    run.trade(Asks(), {}, case.decide, case.start, case.stop)
    slow, account = case.slow_account()
    given = case.weights.tolist(), case.decide.tolist(), account
    compare(run.record(), slow.run(*given, on_change=case.on_change, shares=plan, **case.span))


@given(cases(), st.sampled_from([0.3, 0.6, 1.0]))
@settings(COMMON, max_examples=settings().max_examples // 2)
def test_a_strict_limit_refuses_the_first_row_that_breaks_it_and_else_changes_nothing(case, share):
    case = replace(case, weights=case.weights * share)
    strict = replace(case, account=replace(case.account, leverage_check="strict"))
    limit, cut = case.account.max_leverage, slice(case.start, case.stop)
    row = case.slow.too_much(case.weights.tolist(), case.decide.tolist(), limit, cut)
    if row is None:
        assert simulated(strict).record.equity.tobytes() == simulated(case).record.equity.tobytes()
    else:
        with pytest.raises(InputError, match=f"row {case.start + row} "):
            simulated(strict)


@given(cases())
@COMMON
def test_equity_is_cash_and_positions_at_price_times_multiplier_times_rate_and_tables_explain_its_changes(case):
    slow, account, span = case.slow, case.account, slice(case.start, case.stop)
    result = simulated(case)
    held, marks = result.positions.to_numpy(), np.array(slow.marks())[span]
    paid_for = np.array([float(j not in slow.unfunded) for j in range(slow.n_assets)])
    worth = held * result._marks()
    closed = ~np.isnan(marks)
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
    n_bars, whole = case.stop - case.start, simulated(case).record
    equity, bars, orders, _ = in_parts(case, data.draw(st.lists(st.integers(0, n_bars), max_size=5)))
    assert equity.tobytes() == whole.equity.tobytes()
    assert bars.T.tobytes() == whole.bars.tobytes()
    assert orders.tobytes() == whole.orders[: len(orders)].tobytes()


def in_parts(case, cuts):
    """The ledger in several calls, its state going through bytes before each; what it leaves behind."""
    n_bars, n_assets, account = case.stop - case.start, case.slow.n_assets, case.account
    weights, decide = (each[case.start : case.stop] for each in (allowed(case), case.decide))
    tape = read_tape(case.market, account, **case.span)
    rules, state = rules_of(account, on_change=case.on_change, futures=tape.futures), tape.new_state(account.cash)
    equity, bars = np.empty(n_bars), np.zeros((codes.N_BAR_COLUMNS, n_bars))
    orders = np.empty((8 * n_assets * (n_bars + 1) + 4 * len(tape.feed.actions), codes.N_ORDER_COLUMNS))
    for a, b in itertools.pairwise(sorted({0, n_bars, *cuts})):
        saved = state.assets.tobytes(), state.account.tobytes()
        shape = state.assets.shape
        state = LedgerState(np.frombuffer(saved[0]).reshape(shape).copy(), np.frombuffer(saved[1]).copy(), None)
        rows = [read_only(x[a:b]) for x in (weights, decide)]
        assert ledger_kernel(*rows, rest_of(tape.feed, a), rules, state, equity[a:b], bars, orders) == b - a
    return equity, bars, orders[: int(state.account[codes.N_ORDERS])], state


@given(cases())
@COMMON
def test_closed_trades_and_open_positions_add_up_to_what_was_earned_and_scoring_agrees(case):
    account = case.account
    result, (*_, state) = simulated(case), in_parts(case, [])
    held, mark, paid, fees = state.assets[[codes.HELD, codes.MARK, codes.ENTRY_PRICE, codes.ENTRY_FEES]]
    still_open = np.where(held != 0.0, held * (mark - paid) - fees, 0.0).sum()
    flows = result.attribution[["borrow", "margin_interest", "interest", "dividends", "funding"]].sum().sum()
    earned = result.trades["pnl"].sum() + still_open + flows
    traded, n_trades = result.record.activity[:2]
    size = account.cash + np.abs(result.equity).max() + traded + result.trades["pnl"].abs().sum()
    assert abs(earned - (result.equity.iloc[-1] - account.cash)) < 1e-9 * size
    assert len(result.trades) == n_trades
    scored = score([allowed(case)], case.decide, case.market, account, on_change=case.on_change, **case.span).metrics[0]
    assert scored.tobytes() == np.array([result.metrics[name] for name in METRICS]).tobytes()
