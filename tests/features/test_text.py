"""Expressions as text: what is written reads back as the very same node, and reads as Python reads it."""

from __future__ import annotations

import inspect
import math
import struct
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from knowable import features as f
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.features.node import topological
from knowable.features.operators import OPERATORS
from knowable.features.text.grammar import LEVELS
from knowable.features.text.vocabulary import vocabulary
from knowable.params import Int
from knowable.testing.random_expressions import (
    any_number,
    check_rules,
    random_application,
    random_feature,
    seeded,
)


def market_of(*names: str, universe: bool = False) -> Market:
    rng = np.random.default_rng(3)
    panels = {name: rng.lognormal(size=(40, 3)) for name in names or ("close", "volume")}
    if universe:
        panels["universe"] = (rng.random((40, 3)) < 0.8).astype(float)
    return Market.build(times=np.arange(1, 41) * 86_400_000_000_000, assets=("A", "B", "C"), panels=panels)


M = market_of()
WITHIN = market_of(universe=True)
C, V = M.close, M.volume


def same(feature: f.Feature) -> str:
    """Read back what is written, and give the text."""
    text = feature.text()
    assert feature.market.expression(text).node is feature.node, text
    return text


@st.composite
def expressions(draw: st.DrawFn) -> f.Feature:
    market = draw(st.sampled_from([M, WITHIN]))
    return random_feature(lambda n: draw(st.integers(0, n - 1)), market, number=any_number)


@given(expressions())
@settings(max_examples=2 * settings().max_examples)
def test_a_written_expression_reads_back_as_the_very_same_node(feature: f.Feature) -> None:
    same(feature)


@pytest.mark.parametrize("market", [M, WITHIN])
def test_many_more_that_a_seed_draws_read_back(market: Market) -> None:
    check_rules()
    for seed in range(500):
        same(random_feature(seeded(seed), market, number=any_number))


@pytest.mark.parametrize("op", [name for name, row in OPERATORS.items() if not row.coded])
def test_each_operator_of_the_table_reads_back(op: str) -> None:
    """Also one that joined the table today; its function must take inputs and settings as the table names them."""
    named = op in vocabulary() or op in LEVELS
    assert named, f"{op} is in the table, but knowable.features has no function {op}, so no text can call it"
    for seed in range(20):
        for market in (M, WITHIN):
            same(random_application(seeded(seed), op, market))


@pytest.mark.parametrize("name", vocabulary())
def test_switches_are_off_unless_said_so_that_a_text_may_leave_them_out(name: str) -> None:
    for each in inspect.signature(vocabulary()[name]).parameters.values():
        assert each.default is not True, (
            f"{name}({each.name}=True): turn its meaning round, so that it is off by default"
        )


@given(st.floats())
@example(-0.0)
@example(5e-324)
@example(1e15)
@example(123456789012345680.0)
@example(-math.inf)
@example(math.nan)
def test_floats_are_exact_to_the_bit(value: float) -> None:
    again = M.expression((C + value).text()).node.inputs[1].settings[0]
    assert struct.pack("<d", again) == struct.pack("<d", math.nan if math.isnan(value) else value)
    if math.isfinite(value) and value >= 1:
        assert same(C.ewm(value)) == f"ewm(close, {value!r})"


def test_there_is_one_nan_whatever_bits_came() -> None:
    negative = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000001))[0]
    assert (C + negative).node is (C + math.nan).node
    assert struct.pack("<d", (C + negative).node.inputs[1].settings[0]) == struct.pack("<d", math.nan)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rank(close / lag(close, 126) - 1)", lambda: f.rank(C / C.lag(126) - 1)),
        ("rank(close, descending=True)", lambda: C.rank(descending=True)),
        ("rank(x=close)", lambda: f.rank(C)),
        ("ret = close - lag(close, 1)\nzscore(ret) * (ret > 0)", lambda: C.delta(1).zscore() * (C.delta(1) > 0)),
        ("n = 20\nmean(close, n) / mean(close, 2 * n)", lambda: C.mean(20) / C.mean(40)),
        ("\n# one\nclose # two\n\n  # three", lambda: C),
        ("(\n  close # high\n  / volume\n)", lambda: C / V),
        ("where(\n  close > 1,\n  volume,\n  0,\n)", lambda: f.where(C > 1, V, 0)),
        ("x = (close\n + 1)\n\nx * x", lambda: (C + 1) * (C + 1)),
        ("close ** 1 / 2", lambda: C**1 / 2),
        ("1 / 3 * close", lambda: 1 / 3 * C),
        ("2 ** 0.5 * close", lambda: 2**0.5 * C),
        ("+close - -volume", lambda: C - -V),
        ("~(close > 1) | (volume <= 1_000.5e-1)", lambda: ~(C > 1) | (V <= 100.05)),
        ("2 > close", lambda: C < 2),
        ("mean(`close`, 5)", lambda: C.mean(5)),
        ("close - nan", lambda: C - math.nan),
        ("lag(close, 0)", lambda: C),
        ("delta(close, 3)", lambda: C.delta(3)),
        ("rsi(close, 14) > 70", lambda: f.rsi(C, 14) > 70),
        ("bollinger(close, 20, width=1.5).upper - close", lambda: f.bollinger(C, 20, width=1.5).upper - C),
        ("line = macd(close).line\nline / macd(close, 5, 8).signal", lambda: f.macd(C).line / f.macd(C, 5, 8).signal),
        ("neutralize(close, volume, lag(close, 1))", lambda: f.neutralize(C, V, C.lag(1))),
        ("clip(close, 0, high=inf)", lambda: f.clip(C, 0, math.inf)),
        ("999999999999999999999 * close", lambda: 999999999999999999999 * C),
    ],
)  # fmt: skip
def test_what_people_write_is_what_python_would_build(text: str, wanted) -> None:
    assert M.expression(text).node is wanted().node


@st.composite
def python_texts(draw: st.DrawFn) -> str:
    """Operators and parentheses in any order; comparisons stand in parentheses, because ours do not chain."""
    operands = st.sampled_from(["close", "volume", "2", "0.5", "mean(close, 3)", "abs(-volume)", "1e-3"])
    signs = st.sampled_from(["+", "-", "*", "/", "**", "&", "|", "+", "*"])

    def term(deep: int) -> str:
        kind = draw(st.integers(0, 6 if deep else 2))
        if kind <= 2:
            return draw(operands)
        if kind == 3:
            return draw(st.sampled_from(["-", "~", "+", "- -", "~-"])) + term(deep - 1)
        if kind == 4:
            compare = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
            return f"({chain(deep - 1)} {compare} {chain(deep - 1)})"
        return f"({chain(deep - 1)})"

    def chain(deep: int) -> str:
        parts = [term(deep)]
        for _ in range(draw(st.integers(0, 3))):
            parts += [draw(signs), term(deep)]
        return " ".join(parts)

    return f"close {draw(signs)} {chain(3)} {draw(st.sampled_from(['', '> volume', '== close * 2']))}"


@given(python_texts())
@settings(max_examples=3 * settings().max_examples)
def test_precedence_is_that_of_python_itself(text: str) -> None:
    names = {"close": C, "volume": V, "mean": f.mean, "abs": abs}
    try:
        wanted = eval(text, {"__builtins__": {}}, names)  # noqa: S307 - Python is the oracle of its own precedence
    except (TypeError, ArithmeticError, InputError):  # ~2.0, 2 ** (a complex number), comparisons of numbers alone
        return
    try:
        found = M.expression(text)
    except InputError as error:
        if "plain numbers only" in str(error) or "is no real number" in str(error) or "needs fields or" in str(error):
            return  # Python computes 2 & 3 and 2 < 3, which mean nothing in an expression
        raise
    assert found.node is wanted.node


def test_only_what_is_shared_and_long_gets_a_name() -> None:
    ret = C / C.lag(126) - 1
    assert same(ret.rank() * (ret > 0)) == ("rank(close / lag(close, 126) - 1) * (close / lag(close, 126) - 1 > 0)")
    assert same(ret.rank() * (ret > 0) + ret.zscore()) == (
        "x1 = close / lag(close, 126) - 1\nrank(x1) * (x1 > 0) + zscore(x1)"
    )
    assert same((C - C.mean(5)) / C.std(5)) == "(close - mean(close, 5)) / std(close, 5)"


def test_names_of_parts_are_no_names_of_fields() -> None:
    m = market_of("x1", "x3")
    ret = m.x1 / m.x1.lag(126) - m.x3
    size = ret.zscore() * ret.std(5) + ret.mean(20) / ret.max(50)
    text = same(ret.rank() * (ret > 0) + size.rank() * size.lag(250))
    assert [line.split(" = ")[0] for line in text.splitlines()[:-1]] == ["x2", "x4"]


@pytest.mark.parametrize("name", ["nan", "inf", "True", "None", "my field", "größe", "1st", "a-b", "#", "x y = 1", '"'])
def test_any_field_can_be_named(name: str) -> None:
    m = market_of(name, "close")
    feature = getattr(m, name)
    assert same(feature / m.close + feature.lag(2)) == (
        "größe / close + lag(größe, 2)" if name == "größe" else f"`{name}` / close + lag(`{name}`, 2)"
    )


def test_a_field_called_like_a_function_is_a_field_where_nothing_is_called() -> None:
    m = market_of("rank", "mean")
    assert same(m.rank.rank() + m.mean.mean(3)) == "rank(rank) + mean(mean, 3)"


def test_a_text_read_where_the_market_has_more_fields_means_the_same() -> None:
    ret = C / C.lag(126) - 1
    feature = ret.rank() * (ret > 0) + ret.zscore()
    assert market_of("close", "x1", "rank").expression(feature.text()).node is feature.node


def test_shared_parts_do_not_make_endless_text() -> None:
    x = C
    for _ in range(200):
        x = x + x
    assert len(same(x)) < 5_000
    both = C
    for _ in range(60):
        both = f.where(both > 1, both.lag(1), both.rank())
    assert len(same(both)) < 10_000


@pytest.mark.parametrize(
    "grow",
    [
        lambda x: x + 1,
        lambda x: 1 - x,
        abs,
        lambda x: -x,
        lambda x: 2**x,
        lambda x: (x**2) ** x,
        lambda x: f.where(1, 0, x),
        lambda x: (x < C) == 1,
        lambda x: C & (V | (C + V * (C - x))),
    ],
)
def test_depth_does_not_keep_an_expression_from_reading_back(grow) -> None:
    x = C
    for _ in range(700):
        x = grow(x)
    same(x)
    assert len(topological(x.node)) > 700


def test_reading_takes_little_of_the_stack() -> None:
    """What is nested as deep as it may be leaves most of Python's thousand calls to whoever reads it."""
    text, before = "abs(" * 63 + "close" + ")" * 63, len(inspect.stack(0))
    used = []
    original = f.Feature.__init__

    def watched(self: f.Feature, node: f.Node, market: Market) -> None:
        used.append(len(inspect.stack(0)) - before)
        original(self, node, market)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f.Feature, "__init__", watched)
        M.expression(text)
    assert 63 < max(used) < 400


def test_the_largest_expression_is_written_and_read_quickly() -> None:
    x = C
    for k in range(4_990):
        x = x * (1 + k)
    begin = time.perf_counter()
    same(x)
    assert time.perf_counter() - begin < 20  # a second on an idle machine


def test_an_expression_with_too_many_nodes_is_refused_before_anything_is_written() -> None:
    x = C
    for _ in range(10_000):
        x = x + 1
    with pytest.raises(InputError, match="has 10,002 nodes; at most 10,000"):
        x.text()


def test_repr_is_short_and_text_is_whole() -> None:
    x = C
    for k in range(500):
        x = x + k
    assert len(repr(x)) <= 300
    assert " ... " in repr(x)
    assert repr(x).startswith("close + 0 + 1")
    assert repr(x).endswith("+ 498 + 499")
    assert len(same(x)) > 2_000
    assert str(C + 1) == repr(C + 1) == (C + 1).text()


def test_an_open_parameter_has_no_text() -> None:
    with pytest.raises(InputError, match=r"`mean\(close, lookback\)` has no value for lookback"):
        C.mean(f.symbol("lookback", Int(2, 9))).text()


def test_a_text_of_a_plain_market_means_members_where_there_is_a_universe() -> None:
    wanted = lambda market: (market.close.delta(1).rank() + market.close.zscore()).cross_sum()  # noqa: E731
    assert WITHIN.expression(wanted(M).text()).node is wanted(WITHIN).node
    assert WITHIN.expression(wanted(WITHIN).text()).node is wanted(WITHIN).node
    outside = WITHIN.expression("rank(members(close, volume))")  # not the members of the universe
    assert outside.text() == "rank(members(members(close, volume), universe))"


def test_a_read_expression_computes_the_same_bits_on_another_market() -> None:
    strength = (C / C.lag(5) - 1).rank(descending=True) <= 2
    assert market_of().expression(strength.text()).values().tobytes() == strength.values().tobytes()


@pytest.mark.parametrize(
    ("text", "window"), [("2**3", 8), ("10 - 2 * 3", 4), ("(-2)**2", 4), ("7**0", 1), ("2**2**2", 16), ("- -5", 5)]
)
def test_a_whole_number_may_be_computed_as_python_computes_it(text: str, window: int) -> None:
    market = market_of("close")
    assert market.expression(f"mean(close, {text})").node is market.close.mean(window).node
