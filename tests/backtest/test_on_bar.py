"""What `on_bar` sees, what it may ask for, and what it is told when it goes wrong."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.backtest import Reason
from knowable.errors import KnowableError

NAN = math.nan
DAYS = pd.bdate_range("2024-01-01", periods=5)


def market(**fields):
    """A market of a few bars; a list is one asset, A."""
    frames = {}
    for name, values in fields.items():
        columns = {"A": values} if isinstance(values, list) else values
        frames[name] = pd.DataFrame(columns, DAYS[: len(columns["A"])], dtype=float)
    return kn.Market.from_frames(**frames, missing="allow")


def strategy(on_bar, **attributes):
    return type("Made", (kn.Strategy,), {"on_bar": on_bar, **attributes})()


def told(make: Callable[[], object]) -> str:
    """The message of the error that `make` raises, with its notes."""
    with pytest.raises(KnowableError) as caught:
        make()
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert len(text.splitlines()) <= 12
    return text


@pytest.fixture
def two() -> kn.Market:
    rng = np.random.default_rng(4)
    index = pd.bdate_range("2020-01-01", periods=200)
    close = pd.DataFrame(50 * np.exp(np.cumsum(rng.normal(0, 0.02, (200, 2)), axis=0)), index, ["AAPL", "MSFT"])
    return kn.Market.from_frames(close=close, open=close.shift(1).fillna(50.0))


# --- orders by hand --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_orders_in_shares_worked_by_hand(compiled) -> None:
    """1,000 in cash, fee 1 %, whole shares; decided at the close, filled at the next open.

    bar 0  order 30. bar 1 opens at 10: 300 and 3 of fee; cash 697. Closes at 12: equity 697 + 360 = 1,057.
           Orders of -10 and -5 are one of -15. bar 2 opens at 11: 165 less 1.65; cash 860.35, 15 held.
    bar 2  closes at 11. To hold 40.9: 40, so buy 25. bar 3 opens at 12: 300 and 3; cash 557.35.
    bar 3  closes at 12: equity 557.35 + 480 = 1,037.35. Half of it is 43.2 shares: 43, so buy 3. bar 4 opens at 13:
           39 and 0.39; cash 517.96. Closes at 10: equity 947.96. Sell all: there is no next bar.
    """

    def on_bar(self, bar, account):
        if bar.row == 0:
            account.order(0, 30)
        elif bar.row == 1:
            account.order(0, -10)
            account.order(0, -5)
        elif bar.row == 2:
            account.target_shares(0, 40.9)
        elif bar.row == 3:
            account.target(0, 0.5)
        else:
            account.order(0, -account.positions[0])

    m = market(open=[10, 10, 11, 12, 13], close=[10, 12, 11, 12, 10])
    result = kn.backtest(strategy(on_bar, compiled=compiled), m, cash=1000, lot=1, costs=kn.Costs(fee_bps=100))
    np.testing.assert_allclose(result.equity, [1000, 1057, 1025.35, 1037.35, 947.96], rtol=1e-12)
    np.testing.assert_allclose(result.cash, [1000, 697, 860.35, 557.35, 517.96], rtol=1e-12)
    assert result.positions["A"].tolist() == [0, 30, 15, 40, 43]
    orders = result.orders
    assert orders["side"].tolist() == ["buy", "sell", "buy", "buy", "sell"]
    assert orders["wanted"].tolist() == [30, 15, 25, 3, 43]
    assert orders["price"].tolist()[:4] == [10, 11, 12, 13]
    assert orders["reason"].tolist() == [Reason.FILLED] * 4 + [Reason.LAST_BAR]
    assert orders["decision_time"].tolist() == DAYS.tolist()
    assert orders["fill_time"].tolist()[:4] == DAYS[1:].tolist()


def test_a_change_counts_from_the_order_that_still_waits_for_a_price() -> None:
    def on_bar(self, bar, account):
        if bar.row < 2:
            account.order("A", 10 if bar.row == 0 else 5)

    m = market(open=[10, NAN, 10, 10], close=[10, 10, 10, 10])
    result = kn.backtest(strategy(on_bar), m, cash=1000)
    assert result.orders[["reason", "wanted"]].to_numpy().tolist() == [[Reason.REPLACED, 10], [Reason.FILLED, 15]]
    assert result.positions["A"].tolist() == [0, 0, 15, 15]


def test_an_order_of_less_than_a_lot_is_listed_and_does_nothing() -> None:
    def on_bar(self, bar, account):
        if bar.row == 0:
            account.order("A", 0.9)
            account.order("B", 2.5)

    m = market(**{name: {"A": [10, 10, 10], "B": [10, 10, 10]} for name in ("open", "close")})
    result = kn.backtest(strategy(on_bar), m, cash=1000, lot=1)
    assert result.orders[["asset", "reason"]].to_numpy().tolist() == [["A", Reason.ROUNDED], ["B", Reason.FILLED]]
    assert result.positions.iloc[-1].tolist() == [0, 2]


def test_buys_that_cash_does_not_cover_are_cut_like_those_of_weights() -> None:
    m = market(open=[10, 20, 10], close=[10, 20, 10])
    result = kn.backtest(strategy(lambda self, bar, account: account.target_shares("A", 100)), m, cash=1000)
    assert result.orders["reason"].tolist() == [Reason.CUT, Reason.NO_CASH, Reason.LAST_BAR]
    assert result.positions["A"].iloc[1] == pytest.approx(50, rel=1e-9)
    assert result.cash.iloc[1] == pytest.approx(0, abs=1e-8)


def test_orders_in_shares_obey_the_leverage_rule() -> None:
    m = market(open=[10, 10, 10], close=[10, 10, 10])
    short = strategy(lambda self, bar, account: account.order("A", -150) if bar.row == 1 else None)
    text = told(lambda: kn.backtest(short, m, cash=1000))
    assert "on row 1 (2024-01-02 00:00:00) the sum is 1.5" in text
    scaled = kn.backtest(short, m, cash=1000, leverage_check="scale")
    assert scaled.positions["A"].tolist() == [0, 0, -100]


def test_what_a_position_in_shares_has_become_counts_and_never_stops_a_sale() -> None:
    """Long: 90 % in A, which halves. What is left in cash, 18 % of it all, may be spent on B.

    Short: -90 % in A, which rises to more than the account may hold. It may be reduced, but not added to.
    """

    def spend(self, bar, account):
        if bar.row == 0:
            account.order("A", 90)
        elif bar.row == 2:
            account.order("B", account.cash / bar.close[1])

    prices = {"A": [10, 10, 5, 5, 5], "B": [10.0] * 5}
    result = kn.backtest(strategy(spend), market(open=prices, close=prices), cash=1000)
    assert result.positions.iloc[-1].tolist() == [90, 10]

    def reduce(self, bar, account):
        if bar.row == 0:
            account.order("A", -90)
        elif bar.row == 2:
            account.order("A", self.change)

    prices = {"A": [10, 10, 16, 16, 16], "B": [10.0] * 5}
    rising = market(open=prices, close=prices)
    assert kn.backtest(strategy(reduce, change=10), rising, cash=1000).positions["A"].iloc[-1] == -80
    text = told(lambda: kn.backtest(strategy(reduce, change=-1), rising, cash=1000))
    assert "on row 2 (2024-01-03 00:00:00) the sum is 3.16522" in text  # 91 x 16 / (1,900 - 90 x 16)


def test_targets_of_a_row_may_come_as_an_array_a_mapping_or_a_series(two) -> None:
    forms = {
        "array": lambda row: row,
        "list": lambda row: row.tolist(),
        "mapping": lambda row: {"MSFT": row[1], "AAPL": row[0]},
        "series": lambda row: pd.Series(row, ["AAPL", "MSFT"]).sort_values(),
        "columns": pd.Series,
    }
    ends = {}
    for name, form in forms.items():

        def on_bar(self, bar, account, form=form):
            row = np.where(bar.close > bar.past("close", 9).mean(axis=0), 0.4, NAN if bar.row % 2 else 0.0)
            account.target(form(row))

        ends[name] = kn.backtest(strategy(on_bar), two).equity.to_numpy().tobytes()
    assert len(set(ends.values())) == 1


def test_a_row_asked_for_at_once_is_what_its_assets_ask_for_one_by_one() -> None:
    """Any calls in any order on a bar, also those that are refused."""
    rng, prices = np.random.default_rng(8), {name: [10, 11, 12, 11, 10] for name in "ABC"}
    m = market(open=prices, close=prices)
    outcomes = []
    for _ in range(80):
        calls = rng.choice(["target", "target_shares", "order"], int(rng.integers(1, 4)), p=[0.3, 0.2, 0.5])
        rows = [np.where(rng.random(3) < 0.5, NAN, rng.choice([0.0, 0.1, 0.3], 3)) for _ in calls]
        preset = {"preset": "backtesting", "leverage_check": "scale"} if rng.random() < 0.2 else {}
        found = []
        for at_once in (True, False):

            def on_bar(self, bar, account, at_once=at_once, calls=calls, rows=rows):
                for call, row in zip(calls, rows, strict=True):
                    ask, numbers = getattr(account, call), row if call == "target" else row * 100 * (1 + bar.row)
                    if at_once:
                        ask(numbers)
                    else:
                        for column in np.flatnonzero(~np.isnan(numbers)):
                            ask(int(column), numbers[column])

            try:
                record = kn.backtest(strategy(on_bar), m, cash=1e4, **preset).record
                found.append((record.equity.tobytes(), record.orders.tobytes()))
            except KnowableError as error:
                found.append(str(error))
        assert found[0] == found[1]
        outcomes.append(type(found[0]))
    assert min(outcomes.count(str), outcomes.count(tuple)) > 15


# --- what is seen ----------------------------------------------------------------------------------------------


def test_a_bar_shows_its_row_and_those_before_it_and_nothing_behind_its_views(two) -> None:
    close, kept = two.panel("close"), []

    def on_bar(self, bar, account):
        assert bar.close.tobytes() == close[bar.row].tobytes() == bar["close"].tobytes()
        for n in (1, 7, 500):
            past = bar.past("close", n)
            assert past.tobytes() == close[max(0, bar.row + 1 - n) : bar.row + 1].tobytes()
        for view in (bar.close, past, bar.quick, account.positions, account.weights):
            assert not view.flags.writeable
            behind = view
            while isinstance(behind, np.ndarray):
                numbers = behind[~np.isnan(behind)]
                assert not np.isin(numbers, close[bar.row + 1 :]).any()
                behind = behind.base
        kept.append((bar, past))

    features = {"features": lambda self, m: {"quick": m.close.mean(3)}}
    kn.backtest(strategy(on_bar, **features), two, start=two.index[20])
    assert [bar.row for bar, _ in kept] == list(range(20, 200))
    for bar, past in kept[::50]:  # a bar that was kept stays what it was
        assert bar.time == two.index[bar.row]
        assert bar.close.tobytes() == close[bar.row].tobytes()
        assert past.tobytes() == close[: bar.row + 1].tobytes()


def test_a_bar_shows_what_was_known_and_the_account_what_it_was_known_to_be_worth() -> None:
    times = DAYS.to_numpy().astype("datetime64[ns]").astype(np.int64)
    final = np.array([[10.0], [10.0], [12.0], [12.0], [12.0]])
    known = np.array([[10.0], [10.0], [11.0], [NAN], [12.0]])
    m = kn.Market.build(
        times=times, assets=("A",), panels={"close": known, "open": final}, final={"close": final, "open": final}
    )
    seen = []

    def on_bar(self, bar, account):
        seen.append((bar.close[0], account.equity, account.weights[0]))
        if bar.row == 0:
            account.order("A", 50)

    for size_at in ("decision", "fill"):
        seen.clear()
        kn.backtest(strategy(on_bar), m, cash=1000, size_at=size_at)
        want = [(10, 1000, 0), (10, 1000, 0.5), (11, 1050, 550 / 1050), (NAN, 1050, 550 / 1050), (12, 1100, 600 / 1100)]
        np.testing.assert_array_equal(seen, want)


def test_on_bar_is_called_when_the_schedule_says_and_never_after_a_ruin(two) -> None:
    def rows(m, **attributes):
        called = []
        kn.backtest(strategy(lambda self, bar, account: called.append(bar.row), **attributes), m)
        return called

    assert rows(two) == list(range(200))
    assert rows(two, rebalance=40) == [0, 40, 80, 120, 160]
    ends = pd.Series(range(200), two.index).groupby(two.index.to_period("M")).max().tolist()
    assert rows(two, rebalance="month_end") == ends[: len(rows(two, rebalance="month_end"))]
    called = []

    def on_bar(self, bar, account):
        called.append(bar.row)
        account.target("A", -1.0)

    kn.backtest(strategy(on_bar), market(open=[10, 10, 25, 26, 5], close=[10, 10, 25, 26, 5]), cash=1000)
    assert called == [0, 1, 2]


def test_each_run_begins_with_its_own_memory(two) -> None:
    def on_bar(self, bar, account):
        self.count[0] += 1
        self.seen.append(bar.row)
        self.last = bar.time
        account.target("MSFT", 0.001 * self.count[0] + 0.0001 * len(self.seen))

    made = strategy(on_bar, seen=[], memory=lambda self, m: {"count": np.zeros(m.n_assets)})
    ends = {kn.backtest(made, two).equity.to_numpy().tobytes() for _ in range(3)}
    assert len(ends) == 1
    assert made.seen == []
    assert vars(made) == {}


class Book:
    """What someone keeps beside a strategy."""

    def __init__(self) -> None:
        self.level = 0.1


def test_what_an_object_or_a_generator_of_the_class_keeps_is_seen_by_no_other_run(two) -> None:
    def on_bar(self, bar, account):
        self.book.level = min(self.book.level * 1.01, 0.4)
        self.space.n += 1
        account.target("AAPL", self.book.level * self.rng.random() * self.draws.random() / self.space.n)

    lock = threading.Lock()
    kept = {"book": Book(), "space": SimpleNamespace(n=0), "rng": np.random.default_rng(3), "draws": random.Random(4)}
    made = strategy(on_bar, lock=lock, __module__=__name__, **kept)
    ends = {kn.backtest(made, two).equity.to_numpy().tobytes() for _ in range(3)}
    assert len(ends) == 1
    assert (made.book.level, made.space.n, made.lock) == (0.1, 0, lock)
    assert made.rng.random() == np.random.default_rng(3).random()


def test_memory_is_shown_the_bars_up_to_the_first_and_no_more(two) -> None:
    shown = []

    def memory(self, m):
        shown.append(m.n_bars)
        return {"peak": m.panel("close")[-1].copy()}

    def on_bar(self, bar, account):
        assert (self.peak >= bar.close).all() or bar.row > 20

    kn.backtest(strategy(on_bar, memory=memory), two, start=two.index[20])
    assert shown == [21]


@pytest.mark.slow
def test_the_loops_without_their_compiler_give_the_same_bits() -> None:
    code = (
        "import numpy as np, pandas as pd, knowable as kn\n"
        "rng = np.random.default_rng(7)\n"
        "index = pd.bdate_range('2020-01-01', periods=120)\n"
        "close = pd.DataFrame(50 * np.exp(np.cumsum(rng.normal(0, .03, (120, 3)), 0)), index, list('ABC'))\n"
        "m = kn.Market.from_frames(close=close, open=close * 1.01)\n"
        "class S(kn.Strategy):\n"
        "    compiled = True\n"
        "    def features(self, m):\n"
        "        return {'calm': m.close.mean(5)}\n"
        "    def on_bar(self, bar, account):\n"
        "        for j in range(bar.n_assets):\n"
        "            if bar.close[j] > bar.calm[j]:\n"
        "                account.target(j, 0.3 * account.equity / 1e6)\n"
        "            elif account.positions[j] > 0.0:\n"
        "                account.order(j, -0.5 * account.positions[j])\n"
        "r = kn.backtest(S(), m, costs=kn.Costs(fee_bps=5, fee_min=1), leverage_check='scale').record\n"
        "print(r.equity.tobytes().hex(), r.orders.tobytes().hex(), r.n_fills > 50)\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **extra}, check=True, capture_output=True, text=True
        ).stdout
        for extra in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].endswith("True\n")


# --- what is told ----------------------------------------------------------------------------------------------


def test_an_exception_names_strategy_bar_and_line(two) -> None:
    def on_bar(self, bar, account):
        if bar.row == 7:
            raise KeyError("open")

    text = told(lambda: kn.backtest(strategy(on_bar, window=kn.Int(1, 9)), two))
    assert text.startswith(
        "Made(window=5).on_bar raised KeyError: 'open'\nRaised on bar 2020-01-10 00:00:00 at test_on_bar.py, line "
    )
    assert text.endswith('`raise KeyError("open")`.')


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda bar, account: account.target("APPL", 0.5), "Unknown asset 'APPL' in the market. Did you mean 'AAPL'?"),
        (lambda bar, account: account.target(2, 0.5), "An asset is a name or a column in [0, 1], but 2 came, a int."),
        (lambda bar, account: account.order("AAPL", NAN), "`shares` of 'AAPL' must be a finite number, but it is nan."),
        (lambda bar, account: account.target("AAPL", math.inf), "A division by zero is the usual cause."),
        (lambda bar, account: account.target([0.5, -math.inf]), "account.target of 'MSFT' is infinite"),
        (lambda bar, account: account.target("AAPL", "all"), "`weight` of 'AAPL' must be a number, but it is 'all'"),
        (lambda bar, account: account.target("AAPL", "0.5"), "must be a number, but it is '0.5', a str"),
        (lambda bar, account: account.target([0.1, 0.2, 0.3]), "takes an array (n_assets,) = (2,), but shape (3,)"),
        (lambda bar, account: account.target("AAPL"), "For one asset: account.target('AAPL', number)."),
        (lambda bar, account: account.buy("AAPL", 3), "Unknown attribute 'buy' in the account. Known: cash,"),
        (lambda bar, account: setattr(account, "cash", 3), "The account changes by its orders only, but account.c"),
        (lambda bar, account: setattr(bar, "close", 3), "A bar is read-only, but bar.close was set."),
        (lambda bar, account: bar.clsoe, "Unknown field or feature 'clsoe' in the bar. Did you mean 'close'?"),
        (lambda bar, account: bar.past("close", 0), "`n_bars >= 1` must hold in whole bars, but n_bars=0"),
        (lambda bar, account: bar.column("MSFTT"), "Unknown asset 'MSFTT' in the market. Did you mean 'MSFT'?"),
        (
            lambda bar, account: (account.target("AAPL", 0.5), account.order("AAPL", 1)),
            "account.order of 'AAPL' came after a target for it on the same bar",
        ),
        (
            lambda bar, account: (account.order("AAPL", 1), account.target_shares("AAPL", 1)),
            "account.target_shares of 'AAPL' came after an order for it on the same bar",
        ),
    ],
)  # fmt: skip
def test_a_wrong_word_is_told_with_its_bar(two, ask, says) -> None:
    text = told(lambda: kn.backtest(strategy(lambda self, bar, account: (ask(bar, account), None)[1]), two))
    assert says in text
    assert "In Made().on_bar on bar 2020-01-01 00:00:00 at test_on_bar.py, line" in text


def test_a_feature_is_no_number_of_a_bar(two) -> None:
    text = told(lambda: kn.backtest(strategy(lambda self, bar, account: account.target("AAPL", two.close)), two))
    assert "Name it in features(self, m), such as return {'fast': m.close.mean(10)}, and read bar.fast." in text


def test_an_asset_s_name_is_no_place_in_a_bar_s_array(two) -> None:
    text = told(lambda: kn.backtest(strategy(lambda self, bar, account: account.order("AAPL", bar.close["AAPL"])), two))
    assert 'bar.close[bar.column("AAPL")]' in text
    assert "Raised on bar 2020-01-01" in text


@pytest.mark.slow
def test_what_on_bar_returns_is_refused(two) -> None:
    text = told(lambda: kn.backtest(strategy(lambda self, bar, account: 0.5), two))
    assert text.startswith("Made().on_bar returned 0.5 on bar 2020-01-01 00:00:00; it returns nothing.")
    text = told(lambda: kn.backtest(strategy(lambda self, bar, account: bar.row, compiled=True), two))
    assert "Made().on_bar returned 0 on bar" in text


@pytest.mark.slow
def test_weights_above_what_the_account_may_hold_name_the_bar(two) -> None:
    greedy = strategy(lambda self, bar, account: account.target("AAPL" if bar.row < 5 else "MSFT", 0.7))
    text = told(lambda: kn.backtest(greedy, two))
    assert "on row 5 (2020-01-08 00:00:00) the sum is 1.4 (NaN keeps a position" in text
    compiled = strategy(lambda self, bar, account: account.target(0 if bar.row < 5 else 1, 0.7), compiled=True)
    assert told(lambda: kn.backtest(compiled, two)) == text


@pytest.mark.slow
def test_a_preset_takes_no_orders_in_shares(two) -> None:
    for compiled in (False, True):
        made = strategy(lambda self, bar, account: account.order(0, 1), compiled=compiled)
        text = told(lambda made=made: kn.backtest(made, two, preset="backtesting"))
        assert "preset='backtesting' sizes by weights, as that engine does; account.order counts shares." in text


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"features": lambda self, m: m.close}, "features returned a Feature; a mapping name -> feature is needed."),
        ({"features": lambda self, m: None}, "is a `return` missing?"),
        (
            {"features": lambda self, m: {"fast": 3}},
            "`features['fast']` is 3, a int; a feature, a DataFrame or an array",
        ),
        ({"features": lambda self, m: {"close": m.close}}, "the market has a field of that name; rename it."),
        ({"features": lambda self, m: {"past": m.close}}, "cannot name a feature 'past'"),
        ({"features": lambda self, m: {"a": np.zeros(3)}}, "`features['a']` has shape (3,); the market needs"),
        ({"features": lambda self, m: {"a": m.clsoe}}, "In Made().features at test_on_bar.py, line"),
        ({"features": lambda self, m: 1 / 0}, "Made().features raised ZeroDivisionError: division by zero"),
        (
            {"features": lambda self, m: {"a": kn.label(m.close.returns(5), ahead=5)}},
            "came in features['a'] of Made(), where it cannot go",
        ),
        ({"memory": lambda self, m: np.zeros(3)}, "memory returned a ndarray; a mapping name -> array is needed."),
        ({"memory": lambda self, m: {"a": 3.0}}, "For one number: np.zeros(1), read and written as self.name[0]."),
        ({"memory": lambda self, m: {"memory": np.zeros(1)}}, "cannot name an array 'memory'; the strategy has that"),
    ],
)
def test_wrong_features_and_memory_are_told(two, attributes, says) -> None:
    assert says in told(lambda: kn.backtest(strategy(lambda self, bar, account: None, **attributes), two))


def test_an_on_bar_of_other_arguments_is_told_when_it_is_defined() -> None:
    assert "must be a method that takes a bar and the account" in told(lambda: strategy(lambda self, bar: None))


def helper(x):
    return x / 10


class SetsSelf(kn.Strategy):
    compiled = True

    def on_bar(self, bar, account):
        self.entry = bar.close[0]


class ByName(kn.Strategy):
    compiled = True

    def on_bar(self, bar, account):
        account.target("AAPL", 0.5)


class CallsPlain(kn.Strategy):
    compiled = True

    def on_bar(self, bar, account):
        account.target(0, helper(1.0))


class ReadsTime(kn.Strategy):
    compiled = True

    def on_bar(self, bar, account):
        if bar.time.month == 1:
            account.target(0, 0.5)


class OwnMethod(kn.Strategy):
    compiled = True

    def size(self):
        return 0.1

    def on_bar(self, bar, account):
        account.target(0, self.size())


class OutOfBounds(kn.Strategy):
    compiled = True

    def on_bar(self, bar, account):
        account.target(0, 0.001 * bar.close[bar.n_assets])


@pytest.mark.parametrize(
    ("kind", "what", "line", "remedy"),
    [
        (
            SetsSelf,
            "self.entry cannot be set",
            "self.entry = bar.close[0]",
            "memory(self, m) returns {'entry': np.zeros",
        ),
        (ByName, "an asset by its name", 'account.target("AAPL", 0.5)', "account.target(0, 0.5)"),
        (CallsPlain, "helper is a plain Python function", "account.target(0, helper(1.0))", "@numba.njit"),
        (ReadsTime, "bar.time is no number", "if bar.time.month == 1:", "features(self, m)"),
        (OwnMethod, "self.size is a method", "account.target(0, self.size())", "@numba.njit, outside the class"),
    ],
)
def test_what_cannot_be_compiled_is_told_with_its_line_and_what_to_write(two, kind, what, line, remedy) -> None:
    for _ in range(2):  # the second time it is remembered, not tried
        text = told(lambda: kn.backtest(kind(), two))
        assert text.startswith(f"{kind.__name__}().on_bar cannot be compiled: {what}, at test_on_bar.py, line ")
        assert f"`{line}`." in text
        assert remedy in text
        assert text.endswith("Or leave out compiled = True: plain Python takes it as it is.")


@pytest.mark.slow
def test_reading_past_the_last_asset_is_no_way_to_the_next_bar(two) -> None:
    text = told(lambda: kn.backtest(OutOfBounds(), two))
    assert "OutOfBounds().on_bar raised IndexError" in text
    assert "Raised on bar 2020-01-01 00:00:00 at test_on_bar.py, line" in text


def test_features_come_as_features_frames_or_arrays(two) -> None:
    polars = pytest.importorskip("polars")
    forms = {
        "feature": lambda m: m.close.mean(5),
        "array": lambda m: m.close.mean(5).values().copy(),
        "pandas": lambda m: m.close.mean(5).frame()[["MSFT", "AAPL"]],
        "polars": lambda m: polars.from_pandas(m.close.mean(5).frame()),
    }
    ends = set()
    for form in forms.values():
        made = strategy(
            lambda self, bar, account: account.target(0.4 * (bar.close > bar.calm)),
            features=lambda self, m, form=form: {"calm": form(m)},
        )
        ends.add(kn.backtest(made, two).equity.to_numpy().tobytes())
    assert len(ends) == 1
    lazy = strategy(lambda self, bar, account: None, features=lambda self, m: {"calm": polars.LazyFrame()})
    assert "features['calm'] returned a polars LazyFrame.\nCall .collect() on it." in told(
        lambda: kn.backtest(lazy, two)
    )
