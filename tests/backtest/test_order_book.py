"""Orders that rest in the market: each rule by hand, the words when something is wrong, and one result by all ways."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.backtest.reasons import REASONS
from knowable.errors import InputError, StrategyError
from knowable.testing.book_oracle import Call

CALM = (100.0, 101.0, 99.0, 100.0)
NAMES = ("open", "high", "low", "close")


def market_of(bars, volume=None, per_day=1):
    """Bars of one asset, or of several side by side, as (open, high, low, close)."""
    table = np.asarray(bars, dtype=float)
    table = table[:, None, :] if table.ndim == 2 else table
    index = pd.date_range("2024-01-01", periods=len(table), freq=pd.Timedelta(days=1) / per_day, tz="UTC")
    columns = [f"A{j}" for j in range(table.shape[1])]
    frames = {name: pd.DataFrame(table[:, :, k], index=index, columns=columns) for k, name in enumerate(NAMES)}
    if volume is not None:
        frames["volume"] = pd.DataFrame(np.reshape(volume, (len(table), -1)), index=index, columns=columns)
    return kn.Market.from_frames(**frames, missing="allow")


class Follows(kn.Strategy):
    plan: dict = {}  # noqa: RUF012 - each run has its own copy

    def on_bar(self, bar, account):
        for shares, levels in self.plan.get(bar.row, ()):
            if isinstance(shares, str):
                getattr(account, shares)(*levels)
            else:
                account.order(0, shares, **levels)


def run(bars, plan, volume=None, per_day=1, **options):
    """(bar, shares, price, reason) of each order; bar None where it was not filled."""
    market, strategy = market_of(bars, volume, per_day), Follows()
    strategy.plan = plan
    result = kn.backtest(strategy, market, **{"cash": 100_000.0, **options})
    row = {time: t for t, time in enumerate(market.index)}
    return [
        (
            row.get(o.fill_time),
            o.size if o.side == "buy" else -o.size,
            None if math.isnan(o.price) else o.price,
            o.reason,
        )
        for o in result.orders.itertuples()
    ]


def one(bar, levels, shares=10.0, held=0.0, **options):
    """What becomes of an order on the bar after it was placed; `held` shares are bought at 100 before."""
    plan = {0: [(held, {})] if held else [], 1: [(shares, levels)]}
    return run([CALM, CALM, bar], plan, **options)[1 if held else 0 :]


LIMITS = [  # (open, high, low, close), shares, levels, price, reason
    ((100, 103, 96, 101), 10, {"limit": 98.0}, 98.0, "limit order"),
    ((95, 103, 94, 101), 10, {"limit": 98.0}, 95.0, "limit order"),
    ((100, 103, 99, 101), 10, {"limit": 98.0}, None, "still resting"),
    ((100, 103, 98, 101), 10, {"limit": 98.0}, 98.0, "limit order"),
    ((100, 103, 99, 101), -10, {"limit": 102.0}, 102.0, "limit order"),
    ((104, 105, 99, 101), -10, {"limit": 102.0}, 104.0, "limit order"),
    ((100, 103, 99, 101), 10, {"stop": 102.0}, 102.0, "stop order"),
    ((104, 105, 99, 101), 10, {"stop": 102.0}, 104.0, "stop order"),
    ((100, 101, 99, 101), 10, {"stop": 102.0}, None, "still resting"),
    ((100, 103, 96, 101), -10, {"stop": 98.0}, 98.0, "stop order"),
    ((95, 103, 94, 101), -10, {"stop": 98.0}, 95.0, "stop order"),
    ((100, 105, 99, 104), 10, {"stop": 102.0, "limit": 103.0}, 102.0, "limit order"),
    ((104, 105, 102.5, 104), 10, {"stop": 102.0, "limit": 103.0}, 103.0, "limit order"),
    ((104, 105, 103.5, 104), 10, {"stop": 102.0, "limit": 103.0}, None, "still resting"),
    # low first, for it closes higher: the stop comes after the low, the limit below it is not met any more
    ((100, 105, 95, 104), 10, {"stop": 102.0, "limit": 98.0}, None, "still resting"),
    # high first, for it closes lower: after the stop the low brings the limit
    ((100, 105, 95, 96), 10, {"stop": 102.0, "limit": 98.0}, 98.0, "limit order"),
    # a trailing stop: the best price is the close at which it was placed, 100
    ((100, 103, 99, 101), -10, {"trail": 0.02}, None, "still resting"),
    ((100, 103, 97, 101), -10, {"trail": 0.02}, 98.0, "trailing stop"),
    ((96, 103, 95, 101), -10, {"trail": 0.02}, 96.0, "trailing stop"),
    ((100, 103, 97, 101), 10, {"trail": 0.02}, 102.0, "trailing stop"),
]


@pytest.mark.parametrize(("bar", "shares", "levels", "price", "reason"), LIMITS)
def test_each_kind_fills_where_the_bar_meets_it(bar, shares, levels, price, reason):
    size = 0.0 if price is None else float(shares)
    (got,) = one(bar, levels, float(shares))
    assert got == (None if price is None else 2, pytest.approx(size), price, reason)


BRACKETS = [  # (open, high, low, close), parent's levels, switches, fills of bar 2 as (price, reason)
    # at the open; then long, so the low first: the stop
    ((100, 110, 90, 105), {}, {}, [(100, "at the open"), (95, "stop")]),
    ((100, 110, 96, 105), {}, {}, [(100, "at the open"), (105, "target")]),
    ((100, 110, 90, 105), {}, {"intrabar": "ohlc"}, [(100, "at the open"), (105, "target")]),
    ((100, 110, 90, 105), {}, {"intrabar": "olhc"}, [(100, "at the open"), (95, "stop")]),
    ((100, 110, 90, 105), {}, {"exit_on_entry_bar": False}, [(100, "at the open")]),
    # the open is past the stop already: in and out
    ((94, 110, 90, 105), {}, {}, [(94, "at the open"), (94, "stop")]),
    # entered on the way down; the way on brings the stop
    ((100, 110, 90, 105), {"limit": 98.0}, {}, [(98, "limit order"), (95, "stop")]),
    ((100, 110, 96, 105), {"limit": 98.0}, {}, [(98, "limit order"), (105, "target")]),
    # entered on the way up, after the low: pessimistic takes the low as if it came after
    ((100, 110, 90, 105), {"stop": 102.0}, {}, [(102, "stop order"), (95, "stop")]),
    ((100, 110, 90, 105), {"stop": 102.0}, {"intrabar": "olhc"}, [(102, "stop order"), (105, "target")]),
    ((100, 110, 90, 97), {"stop": 102.0}, {"intrabar": "ohlc"}, [(102, "stop order"), (105, "target")]),
    # entered after the high: the target lies behind, and the close does not reach it
    ((100, 110, 96, 99), {"limit": 98.0}, {}, [(98, "limit order")]),
]


@pytest.mark.parametrize(("bar", "levels", "switches", "fills"), BRACKETS)
def test_a_bracket_lives_from_the_point_at_which_it_was_entered(bar, levels, switches, fills):
    got = one(bar, {**levels, "stop_loss": 95.0, "take_profit": 105.0}, **switches)
    assert [(price, reason) for row, _, price, reason in got if row == 2] == fills
    others = [reason for row, _, _, reason in got if row is None]
    assert others == (["one cancels other"] if len(fills) == 2 else ["still resting"] * 2)


def test_of_two_levels_of_a_position_the_path_says_which():
    levels = {"stop_loss": 95.0, "take_profit": 105.0}
    for intrabar, price in (("pessimistic", 95.0), ("ohlc", 105.0), ("olhc", 95.0)):
        plan = {0: [(10.0, levels)]}
        got = run([CALM, CALM, (100, 110, 90, 100)], plan, intrabar=intrabar)
        assert [each[2] for each in got if each[0] == 2] == [price]
    for intrabar, price in (("pessimistic", 105.0), ("ohlc", 105.0), ("olhc", 95.0)):
        plan = {0: [(-10.0, {"stop_loss": 105.0, "take_profit": 95.0})]}
        got = run([CALM, CALM, (100, 110, 90, 100)], plan, intrabar=intrabar)
        assert [each[2] for each in got if each[0] == 2] == [price]


def test_at_the_open_sells_come_before_buys_and_bring_the_cash():
    plan = {0: [(10.0, {})], 1: [(12.0, {"limit": 98.0}), (-10.0, {"stop": 99.0})]}
    got = run([CALM, CALM, (95, 96, 94, 95)], plan, cash=1200.0)
    assert got[1:] == [(2, -10.0, 95.0, "stop order"), (2, pytest.approx(12.0), 95.0, "limit order")]


def test_a_trailing_stop_follows_from_bar_to_bar_and_within_one_only_on_a_named_path():
    rising = [CALM, (100, 110, 100, 109), (109, 110, 107.5, 108)]
    assert run(rising, {0: [(-10.0, {"trail": 0.02})]}) == [(2, -10.0, pytest.approx(107.8), "trailing stop")]
    assert run([CALM, (100, 110, 99, 105)], {0: [(-10.0, {"trail": 0.02})]}) == [(None, -0.0, None, "still resting")]
    named = run([CALM, (100, 110, 99, 105)], {0: [(-10.0, {"trail": 0.02})]}, intrabar="ohlc")
    assert named == [(1, -10.0, pytest.approx(107.8), "trailing stop")]


def test_a_limit_pays_fees_only_and_a_stop_is_made_worse():
    costs = kn.Costs(fee_bps=10, half_spread_bps=20, slippage_bps=30)
    assert one((100, 103, 96, 101), {"limit": 98.0}, costs=costs)[0][2] == 98.0
    assert one((100, 103, 96, 101), {"stop": 102.0}, costs=costs)[0][2] == pytest.approx(102.0 * 1.005)


def test_volume_fills_a_part_and_the_rest_stays():
    bars, volume = [CALM, (100, 101, 97, 100), (100, 101, 97, 100), CALM], [100, 40, 40, 100]
    got = run(bars, {0: [(12.0, {"limit": 98.0, "stop_loss": 90.0})]}, volume, volume_limit=0.2)
    assert got == [
        (1, 8.0, 98.0, "volume limit"), (2, 4.0, 98.0, "limit order"), (None, -0.0, None, "still resting"),
    ]  # fmt: skip


def test_a_buy_is_cut_to_cash_and_a_short_to_the_leverage():
    assert one((100, 101, 97, 100), {"limit": 98.0}, 20.0, cash=980.0, lot=1.0)[0] == (2, 10.0, 98.0, "cut to cash")
    up = (100, 103, 97, 100)
    assert one(up, {"limit": 102.0}, -20.0, cash=1020.0, lot=1.0)[0] == (2, -10.0, 102.0, "cut to cash")
    assert one(up, {"limit": 102.0}, -20.0, cash=50.0, lot=1.0)[0] == (None, -0.0, None, "no leverage")


def test_an_order_of_the_day_is_over_with_the_session_of_its_first_bar():
    bars = [CALM] * 6 + [(100, 101, 97, 100)]
    plan = {0: [(1.0, {"limit": 98.0, "day": True}), (2.0, {"limit": 98.0})], 4: [(3.0, {"limit": 98.0, "day": True})]}
    # three bars a session: bars 0-2, 3-5, 6; the third order begins and ends with bar 5
    got = run(bars, plan, per_day=3)
    assert [(row, reason) for row, _, _, reason in got] == [(None, "expired"), (None, "expired"), (6, "limit order")]


def test_children_end_with_the_position_they_guard():
    plan = {0: [(10.0, {"stop_loss": 90.0, "take_profit": 120.0})], 2: [("target", (0, 0.0))]}
    got = run([CALM, CALM, CALM, CALM, CALM], plan)
    assert [each[3] for each in got] == ["at the open", "filled", "one cancels other", "one cancels other"]


def test_children_reduce_only_what_is_held():
    plan = {0: [(10.0, {"stop_loss": 95.0})], 2: [(-6.0, {})]}
    got = run([CALM, CALM, CALM, CALM, (100, 101, 90, 96)], plan)
    assert got[1:] == [(3, -6.0, 100.0, "filled"), (4, -4.0, 95.0, "stop")]


def test_what_is_cancelled_is_in_the_list():
    plan = {0: [(1.0, {"limit": 90.0}), (2.0, {"limit": 91.0})], 1: [("cancel", (0,))], 2: [("cancel_all", (0,))]}
    got = run([CALM] * 5, plan)
    assert got == [(None, 0.0, None, "cancelled by strategy")] * 2


def test_a_market_order_waiting_for_the_close_counts_on_from_what_rested():
    plan = {0: [(10.0, {}), (5.0, {"limit": 99.5})]}
    market, strategy = market_of([CALM, CALM, CALM]), Follows()
    strategy.plan = plan
    assert kn.backtest(strategy, market, fill="next_close").positions.iloc[-1, 0] == 15.0


def test_a_position_from_the_book_counts_no_more_as_the_weight_stated_before():
    plan = {0: [("target", (0, 0.5))], 1: [(-1000.0, {"stop": 99.5})], 3: [("target", (0, 0.5))]}
    got = run([CALM, CALM, CALM, CALM, CALM], plan, cash=1000.0, max_leverage=1.0)
    assert got[0] == (1, 5.0, 100.0, "filled")
    assert got[1] == (2, pytest.approx(-15.0, rel=0.01), 99.5, "cut to cash")
    assert got[2][0] == 4
    assert got[2][1] > 15.0


def test_a_split_moves_levels_and_sizes():
    frames = market_of([CALM, CALM, (50, 50.5, 49.5, 50), (50, 50.5, 47, 50)])
    assert frames.n_bars == 4
    from knowable.backtest.settings import Settings
    from knowable.backtest.tape import rules_of
    from knowable.kernels import account as codes
    from knowable.kernels.book import adjust_book, place

    state = codes.new_state(np.zeros(1), np.zeros(1), 1000.0)
    state = state._replace(book=np.zeros((8, codes.N_BOOK_COLUMNS)))
    none = math.nan
    place(0, 10.0, 98.0, none, none, 0.0, 90.0, none, state.account, state.book)
    adjust_book(0, 2.0, rules_of(Settings(lot=1.0), on_change=True), state.account, state.book)
    assert state.book[0, [codes.B_SHARES, codes.B_LIMIT]].tolist() == [20.0, 49.0]
    assert state.book[1, [codes.B_SHARES, codes.B_STOP]].tolist() == [-20.0, 45.0]


class Reads(kn.Strategy):
    def on_bar(self, bar, account):
        if bar.row == 0:
            assert account.order("A0", 10, limit=95.0, stop_loss=90.0, take_profit=110.0, day=True) == 0
            assert account.order("A0", -5, trail=0.1) == 3
            first, second = account.open_orders
            assert (first.number, first.asset, first.shares, first.limit, first.day) == (0, "A0", 10.0, 95.0, True)
            assert (second.number, second.trail, second.stop, second.parent) == (3, 0.1, None, None)
            assert account.n_open("A0") == 2
            assert account.cancel(3)
            assert not account.cancel(3)
            assert account.n_open(0) == 1
            assert account.order("A0", 1) is None
        if bar.row == 1:
            assert [each.number for each in account.open_orders] == [0]
            account.cancel_all()
            assert account.open_orders == ()


def test_an_account_tells_what_rests():
    kn.backtest(Reads(), market_of([CALM, CALM, CALM]))


WRONG = [
    ({"limit": -1.0}, "`limit > 0` must hold"),
    ({"limit": math.nan}, "must be a finite number"),
    ({"trail": 1.5}, "`0 < trail < 1` must hold"),
    ({"trail": 0.1, "stop": 90.0}, "neither limit nor stop"),
    ({"limit": 99.0, "stop_loss": 100.0}, "stop_loss must lie below the entry"),
    ({"stop_loss": 110.0, "take_profit": 105.0}, "stop_loss must lie below take_profit"),
    ({"limit": 99.0, "day": 1}, "`day` must be True or False"),
    ({"day": True}, "day=True says nothing"),
]


@pytest.mark.parametrize(("levels", "words"), WRONG)
def test_levels_that_cannot_be_are_told(levels, words):
    with pytest.raises((InputError, StrategyError), match=words):
        run([CALM, CALM], {0: [(10.0, levels)]})


class Misspells(kn.Strategy):
    def on_bar(self, bar, account):
        account.order(0, 10.0, limit=95.0, stop_los=90.0)


class MisspellsLater(kn.Strategy):
    compiled = True

    def on_bar(self, bar, account):
        if bar.row > 1000:
            account.order(0, 10.0, limit=95.0, stop_los=90.0)


class MisspellsCompiled(Misspells):
    compiled = True


@pytest.mark.parametrize(
    "strategy", [Misspells, pytest.param(MisspellsCompiled, marks=pytest.mark.slow), MisspellsLater]
)
def test_a_misspelt_argument_is_told_with_the_nearest_one_and_its_line(strategy):
    words = r"(?s)Unknown argument 'stop_los' in account.order. Did you mean 'stop_loss'\?"
    with pytest.raises(StrategyError, match=words) as caught:
        kn.backtest(strategy(), market_of([CALM, CALM]))
    assert "`account.order(0, 10.0, limit=95.0, stop_los=90.0)`" in str(caught.value)
    assert "leave out compiled" not in str(caught.value)


def test_a_level_by_position_is_told_with_all_arguments():
    class Places(kn.Strategy):
        def on_bar(self, bar, account):
            account.order(0, 10.0, 95.0)

    with pytest.raises(StrategyError, match=r"account.order\(asset, shares, limit=..., stop=..., trail=..., day"):
        kn.backtest(Places(), market_of([CALM, CALM]))


def test_orders_that_rest_need_the_prices_within_bars_and_no_preset():
    close = market_of([CALM, CALM]).close.frame()
    strategy = Follows()
    strategy.plan = {0: [(10.0, {"limit": 99.0})]}
    with pytest.raises((InputError, StrategyError), match="needs the open, high and low"):
        kn.backtest(strategy, kn.Market.from_frames(close=close), fill="next_close")
    with pytest.raises((InputError, StrategyError), match="preset='vectorbt'"):
        kn.backtest(strategy, market_of([CALM, CALM]), preset="vectorbt")
    strategy.plan = {0: [("cancel", (0,))]}
    with pytest.raises((InputError, StrategyError), match="none is given so far"):
        kn.backtest(strategy, market_of([CALM, CALM]))


class Ladder(kn.Strategy):
    """Many orders a bar, more than the first book holds."""

    def on_bar(self, bar, account):
        for k in range(300):
            account.order(0, 1.0, limit=99.0 - 0.1 * k)
        if bar.row % 7 == 6:
            account.cancel_all(0)


def test_the_book_grows_and_the_list_has_every_order():
    result = kn.backtest(Ladder(), market_of([(100, 101, 98, 100)] * 30))
    assert len(result.orders) == 300 * 30
    said = {"limit order", "cancelled by strategy", "still resting", "no cash", "cut to cash"}
    assert set(result.orders["reason"]) <= said


def test_too_many_orders_on_one_bar_are_told():
    class Floods(kn.Strategy):
        def on_bar(self, bar, account):
            for _ in range(5000):
                account.order(0, 1.0, limit=50.0)

    with pytest.raises((InputError, StrategyError), match="can be placed"):
        kn.backtest(Floods(), market_of([CALM, CALM]))


class Plain(kn.Strategy):
    """All kinds of orders, in words that numba knows."""

    width = kn.Float(0.001, 0.1, default=0.01)

    def memory(self, m):
        return {"last": np.full(m.n_assets, -1)}

    def on_bar(self, bar, account):
        for j in range(bar.n_assets):
            price = bar.close[j]
            if not price > 0.0:
                continue
            if account.positions[j] == 0.0 and account.n_open(j) == 0:
                self.last[j] = account.order(
                    j, 0.2 * account.equity // price, limit=price * (1 - self.width), stop_loss=price * 0.97,
                    take_profit=price * 1.03,
                )  # fmt: skip
            elif account.positions[j] == 0.0 and price > 50.0 * (1 + self.width):
                account.cancel(self.last[j])
            elif account.positions[j] > 0.0 and bar.row % 5 == 0:
                account.order(j, -2.0, trail=0.02, day=True)
            if bar.row % 11 == 3:
                account.order(j, -3.0, stop=price * 0.99, limit=price * 0.985)
                account.order(j, 2.0, stop=price * 1.01)
            if bar.row % 17 == 5:
                account.order(j, 1.0)
            if bar.row % 40 == 39:
                account.cancel_all(j)


class Compiled(Plain):
    compiled = True


def walk_market(seed=0, n_bars=250, n_assets=3):
    rng = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (n_bars, n_assets)), axis=0))
    open_ = close * np.exp(rng.normal(0.0, 0.01, close.shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.01, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.01, close.shape)))
    return market_of(np.stack([open_, high, low, close], axis=2), rng.integers(0, 200, close.shape), per_day=3)


ACCOUNT = {"cash": 10_000.0, "costs": kn.Costs(fee_bps=5, slippage_bps=3, impact=0.1), "volume_limit": 0.2}


@pytest.mark.parametrize("intrabar", ["pessimistic", "ohlc"])
def test_compiled_and_plain_have_the_same_bits(intrabar):
    market = walk_market()
    plain = kn.backtest(Plain(), market, intrabar=intrabar, **ACCOUNT)
    fast = kn.backtest(Compiled(), market, intrabar=intrabar, **ACCOUNT)
    assert plain.equity.to_numpy().tobytes() == fast.equity.to_numpy().tobytes()
    assert plain.orders.equals(fast.orders)
    assert len({*plain.orders["reason"]}) > 8


def test_a_sweep_has_the_figures_of_one_backtest():
    market = walk_market(1)
    table = kn.sweep(Compiled, market, grid={"width": [0.005, 0.02]}, **ACCOUNT)
    assert table["error"].isna().all()
    one = kn.backtest(Plain(width=0.02), market, **ACCOUNT)
    assert table["sharpe"].iloc[1] == one.metrics["sharpe"]


def test_the_future_never_changes_what_has_been():
    market = walk_market(2)
    whole = kn.backtest(Compiled(), market, **ACCOUNT)
    for stop in (40, 133, 249):
        part = kn.backtest(Compiled(), market.until(stop), **ACCOUNT)
        n = part.equity.shape[0]
        assert part.equity.to_numpy().tobytes() == whole.equity.to_numpy()[:n].tobytes()


class Peeks(Plain):
    """Rests a limit at what tomorrow's low will be."""

    def features(self, m):
        return {"ahead": m.low.frame().shift(-1)}

    def on_bar(self, bar, account):
        account.cancel_all()
        for j in range(bar.n_assets):
            if bar.ahead[j] > 0.0:
                account.order(j, 1.0, limit=bar.ahead[j] * 1.0001)


def test_the_check_sees_orders_that_rest():
    market = walk_market(3, n_bars=160, n_assets=2)
    assert kn.check(Plain(), market, cuts=3).ok
    report = kn.check(Peeks(), market, cuts=3)
    assert not report.ok


def test_every_reason_has_its_code():
    assert len(REASONS) == len(set(REASONS))
    assert Call(what="rest").levels == {}
