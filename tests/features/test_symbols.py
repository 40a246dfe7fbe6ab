"""Symbols: what is safe gives the very graph that values give; everything else asks for the value, out loud."""

import copy
import math
import numbers
import operator
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from knowable import features as f
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.features.node import digest
from knowable.params import Choice, Float, Int


def small_market():
    index = pd.date_range("2020-01-01", periods=60, freq="D")
    close = pd.DataFrame(np.random.default_rng(0).random((60, 3)) + 1, index=index, columns=list("ABC"))
    return Market.from_frames(close=close, volume=close * 10)


MARKET = small_market()


@pytest.fixture
def n():
    return f.symbol("n", Int(2, 50))


def f_string(x):
    return f"{x}"


def percent(x):
    return "%d" % x  # noqa: UP031 - one of the ways


def branch(x):
    return 1 if x else 2


def matched(x):
    match x:
        case 5:
            return 1
        case _:
            return 2


def matched_by_type(x):
    match x:
        case int():
            return 1
        case _:
            return 2


ASKS = {
    "bool": bool, "int": int, "float": float, "complex": complex, "index": operator.index, "hash": hash, "str": str,
    "repr": repr, "f-string": f_string, "format": "{:d}".format, "percent": percent, "if": branch,
    "or": lambda x: x or 20, "not": lambda x: not x, "range": range, "list index": [1, 2, 3].__getitem__,
    "slice": lambda x: [1, 2, 3][:x], "dict": {5: 1}.get, "set": lambda x: {x},
    "in tuple": lambda x: x in (5, 10), "in set": lambda x: x in {5, 10}, "equals": lambda x: x == 5,
    "differs": lambda x: x != 5, "less": lambda x: x < 5, "reflected": lambda x: 5 < x,  # noqa: SIM300
    "none": lambda x: x == None,  # noqa: E711
    "max": lambda x: max(x, 5), "min": lambda x: min(5, x), "sorted": lambda x: sorted([x, 1]), "round": round,
    "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc, "sqrt": math.sqrt, "len": len, "iter": iter,
    "list": list, "unpack": lambda x: [*x], "divmod": lambda x: divmod(x, 2), "shift": lambda x: 1 << x,
    "and": lambda x: x & 1, "invert": operator.invert, "multiply text": lambda x: "ab" * x,
    "attribute": lambda x: x.real,
    "method": lambda x: x.bit_length(), "hasattr": lambda x: hasattr(x, "real"),
    "isinstance": lambda x: isinstance(x, int),
    "isinstance of many": lambda x: isinstance(x, (float, str)),
    "isinstance of abc": lambda x: isinstance(x, numbers.Real),
    "class": lambda x: x.__class__, "match": matched, "match type": matched_by_type, "numpy array": np.asarray,
    "numpy zeros": np.zeros, "numpy function": np.sqrt,
    "arange": np.arange, "numpy index": lambda x: np.arange(9)[x],
    "numpy equality": lambda x: np.float64(3) == x,
    "pickle": pickle.dumps, "copy": copy.copy, "deepcopy": copy.deepcopy,
    "assign": lambda x: setattr(x, "y", 1), "call": lambda x: x(), "any": lambda x: any([x]), "dir": dir,
    "getitem": lambda x: x[0], "pow mod": lambda x: pow(2, x, 7), "date": lambda x: pd.Timedelta(days=x),
    "multiply list": lambda x: [0] * x, "add text": lambda x: "a" + x, "add none": lambda x: x + None,
    "times array": lambda x: np.ones(3) * x, "array times": lambda x: x * np.ones(3),
}  # fmt: skip


@pytest.mark.parametrize("way", ASKS)
@pytest.mark.parametrize("derived", [False, True])
def test_whatever_needs_the_value_says_so_and_leaves_a_mark(n, way, derived):
    value = 2 * n + 1 if derived else n
    raised = None
    try:
        ASKS[way](value)
    except f.NeedsValue as error:
        raised = error
    except TypeError:
        # numpy and pow refuse the object before they look at it; the caller falls back on any exception
        assert way in ("numpy function", "pow mod", "date", "add text"), way
        return
    assert raised is not None, f"{way} went unnoticed"
    assert f.asked(n)


def test_a_switch_needs_its_value(n):
    with pytest.raises(f.NeedsValue):
        MARKET.close.rank(descending=n)


def test_an_exception_handler_of_the_user_does_not_swallow_it(n):
    def careless():
        try:
            return 1 if n > 5 else 2
        except Exception:  # noqa: BLE001 - what careless code does
            return 3

    with pytest.raises(f.NeedsValue):
        careless()


def test_even_a_bare_handler_leaves_the_mark(n):
    assert not f.asked(n)
    try:  # noqa: SIM105 - what careless code does
        bool(n + 1)
    except:  # noqa: E722, S110
        pass
    assert f.asked(n)


def test_arithmetic_leaves_no_mark(n):
    assert repr(MARKET.close.mean(2 * n + 1) / n > MARKET.close.lag(n // 2) ** n)
    assert not f.asked(n)


@pytest.mark.parametrize("param", [Choice(["a", "b"]), Choice([None, 3]), Choice([True, False])])
def test_only_numbers_can_be_symbols(param):
    with pytest.raises(f.NeedsValue):
        f.symbol("x", param)


WAYS = [
    lambda c, n, x: c.mean(n),
    lambda c, n, x: c / c.lag(n) - 1,
    lambda c, n, x: (c.rank(descending=True) <= n) * x,
    lambda c, n, x: c.mean(2 * n + 1) - c.mean(n // 2 + 1),
    lambda c, n, x: f.where(c > x, n, -n),
    lambda c, n, x: f.where(n, c, x),
    lambda c, n, x: f.clip(c, -x, x + n),
    lambda c, n, x: f.maximum(n, c) + f.minimum(x, c),
    lambda c, n, x: n < c,
    lambda c, n, x: (x * 2 == c) | (n != c),
    lambda c, n, x: c.ewm(1 + abs(x)) * (n % 7),
    lambda c, n, x: np.float64(3) * n * c + np.int64(2) * x,
    lambda c, n, x: c.delta(n) ** 2 / x**2,
    lambda c, n, x: c.std(np.int64(1) + n) / (n - 1),
    lambda c, n, x: x - c + (1 - x) + (+n),
    lambda c, n, x: (x & c) | (n & c),
]


@pytest.mark.parametrize("way", WAYS)
@given(n=st.integers(2, 50), x=st.floats(-3, 3).filter(bool))
def test_a_graph_with_symbols_binds_to_the_very_graph_that_values_build(way, n, x):
    assume(not (x < 0 and way is WAYS[6]))
    symbolic = way(MARKET.close, f.symbol("n", Int(2, 50)), f.symbol("x", Float(-3, 3)))
    concrete = way(MARKET.close, n, x)
    assert f.bind(symbolic.node, {"n": n, "x": x}) is concrete.node
    got = f.Program.of(symbolic).evaluate(MARKET, {"n": n, "x": x, "unused": "text"})
    assert got.tobytes() == concrete.values().tobytes()


@given(values=st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_one_program_and_one_memo_serve_all_parameter_sets(values):
    program = f.Program.of(MARKET.close.mean(f.symbol("n", Int(1, 50))) > MARKET.close)
    memo = f.Memo(10**6)
    for n in values:
        expected = (MARKET.close.mean(n) > MARKET.close).values()
        assert program.evaluate(MARKET, {"n": n}, memo).tobytes() == expected.tobytes()
    assert memo.n_computed == 2 * len(set(values))


OWN = {
    "a comparison, a sum and a quotient": lambda m, n, k: (
        (m.close.lag(3).rank() <= k) / (m.close.rank() <= k).cross_sum()
    ),
    "two inputs shared": lambda m, n, k: (m.close * n - k) / (m.close * n + k) + f.where(m.close > k, m.close * n, 2.0),
    "memory in between": lambda m, n, k: ((m.close * k).mean(n) > k).zscore() * k,
    "numbers alone beside": lambda m, n, k: k / (m.volume.mean(n) * k - n * k).rank(),
    "a clock": lambda m, n, k: f.where(f.days_since(m.close * n > 60) > k, m.close * n, k) / (n + k),
    "the field itself": lambda m, n, k: m.close,
}


@pytest.mark.parametrize("way", OWN)
@given(values=st.tuples(st.integers(2, 50), st.integers(1, 3)), rows=st.sampled_from([1, 2, 7, 59, 60, 61]))
def test_steps_of_one_parameter_set_run_in_blocks_of_rows_to_the_same_bits(way, values, rows):
    close = np.where(np.random.default_rng(3).random((60, 3)) < 0.1, np.nan, MARKET.panel("close"))
    market = MARKET.with_panels({**MARKET.panels, "close": close})
    n, k = f.symbol("n", Int(2, 50)), f.symbol("k", Int(1, 3))
    program, params = f.Program.of(OWN[way](market, n, k)), dict(zip("nk", values, strict=True))
    expected = program.evaluate(market, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("knowable.features.program._BLOCK_BYTES", 8 * 3 * rows)
        memo, out = f.Memo(1 << 20), np.full((60, 3), 7.0)
        for given_out in (None, out):
            got = program.evaluate(market, params, memo, keep_result=False, out=given_out)
            assert got.tobytes() == expected.tobytes()
            assert not got.flags.writeable


def test_a_window_out_of_range_is_told_when_it_is_bound(n):
    program = f.Program.of(MARKET.close.mean(n - 2))
    for memo in (None, f.Memo(10**6)):
        with pytest.raises(InputError, match=r"`window >= 1` must hold, but window=0, in mean\(close, n - 2\)\."):
            program.evaluate(MARKET, {"n": 2}, memo)
        with pytest.raises(InputError, match=r"`n >= 0` must hold, but n=-3, in lag\(close, -n\)"):
            f.Program.of(MARKET.close.lag(-n)).evaluate(MARKET, {"n": 3}, memo)
        with pytest.raises(InputError, match="`window` must be a whole number"):
            program.evaluate(MARKET, {"n": 4.5}, memo)


def test_a_symbolic_lag_of_zero_is_the_feature_itself(n):
    program = f.Program.of(MARKET.close.lag(n - 2))
    assert program.evaluate(MARKET, {"n": 2}).tobytes() == MARKET.close.values().tobytes()
    assert program.evaluate(MARKET, {"n": 2}, f.Memo(10**6)).tobytes() == MARKET.close.values().tobytes()


def test_a_missing_or_wrong_value_is_named(n):
    program = f.Program.of(MARKET.close.mean(n))
    assert program.symbols == {"n"}
    with pytest.raises(InputError, match="needs a value for 'n'; given: m"):
        program.evaluate(MARKET, {"m": 3})
    with pytest.raises(InputError, match="`n` must be a number here, but n='ten'"):
        program.evaluate(MARKET, {"n": "ten"})
    with pytest.raises(InputError, match="cannot be computed with n=3"):
        f.Program.of(MARKET.close * (1 / (n - 3))).evaluate(MARKET, {"n": 3})


def test_equal_numbers_of_other_kinds_are_not_taken_for_each_other():
    x = f.symbol("x", Float(-1, 1))
    program, memo = f.Program.of(1 / (MARKET.close * x)), f.Memo(10**6)
    assert (program.evaluate(MARKET, {"x": 0.0}, memo) == np.inf).all()
    assert (program.evaluate(MARKET, {"x": -0.0}, memo) == -np.inf).all()
    assert (program.evaluate(MARKET, {"x": 0}, memo) == np.inf).all()


def test_a_stepper_refuses_symbols(n):
    with pytest.raises(InputError, match="has n without a value"):
        MARKET.close.mean(n).stepper(MARKET)


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (lambda x, n: x.ewm(n), 4),
        (lambda x, n: x.rsi(n), 14),
        (lambda x, n: x.scale(n), 2),
        (lambda x, n: x.ts_quantile(5, n - 2), 3),
    ],
)
def test_text_and_digest_do_not_tell_whether_a_symbol_or_a_value_came_first(n, way, value):
    """A state stored by a process that has searched is restored by one that has not."""
    x = MARKET.close.delta(1)
    bound = f.bind(way(x, n).node, {"n": value})
    first = f.Feature(bound, MARKET).text(), digest(bound)
    del bound
    built = way(x, value)
    assert (built.text(), digest(built.node)) == first


def test_what_is_out_of_range_is_told_when_it_is_bound(n):
    with pytest.raises(InputError, match=r"`window >= 1` must hold, but window=0, in mean\(close, n - 2\)\."):
        f.bind(MARKET.close.mean(n - 2).node, {"n": 2})
