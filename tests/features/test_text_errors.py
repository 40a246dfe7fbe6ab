"""What an expression's text cannot be: every mistake is named with its place, and no text can do any harm."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowable.data.market import Market
from knowable.errors import InputError, KnowableError, UnknownNameError
from knowable.features.operators.weights import WEIGHTS
from knowable.features.text.vocabulary import vocabulary

M = Market.build(
    times=np.arange(1, 6) * 86_400_000_000_000,
    assets=("A", "B"),
    panels={"close": np.ones((5, 2)), "volume": np.ones((5, 2))},
)


def refused(text: str, kind: type[KnowableError] = InputError) -> str:
    with pytest.raises(kind) as caught:
        M.expression(text)
    message = str(caught.value)
    assert len(message.splitlines()) <= 12
    return message


def test_an_error_shows_line_column_and_carets() -> None:
    assert refused("x = close / volume  # all right\n  ranc(x, descending=True)", UnknownNameError) == (
        "Unknown function 'ranc'. Did you mean 'rank'?\n"
        "In the expression's text, line 2, column 3:\n"
        "    ranc(x, descending=True)\n"
        "    ^^^^"
    )


def test_a_long_line_is_shown_around_the_mistake() -> None:
    message = refused("close + " * 200 + "clsoe" + " + close" * 200, UnknownNameError)
    _, place, line, carets = message.splitlines()
    assert place.endswith("line 1, column 1601:")
    assert len(line) <= 90
    assert line[carets.index("^") : carets.rindex("^") + 1] == "clsoe"
    assert line.strip().startswith("... ")
    assert line.endswith(" ...")


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("", "The text has no expression", 1),
        ("# nothing", "The text has no expression", 10),
        ("x = close", "The last line has only named a part", 10),
        ("rank(close", r"This '\(' is never closed", 5),
        ("rank(close]", "']' is no part of an expression", 11),
        ("rank(close))", "Expected an operator or the end of the line, but '\\)' came", 12),
        ("close +", "Expected a number, a field, a function or '\\(', but the end of the text came", 8),
        ("close +\nclose", "but the end of the line came", 8),
        ("close volume", "Expected an operator or the end of the line, but 'volume' came", 7),
        ("mean(close 5)", r"Expected an operator, ',' or '\)', but '5' came", 12),
        ("close and volume", "`and` is written &", 7),
        ("close or volume", "`or` is written |", 7),
        ("not close", "`not x` is written ~x", 1),
        ("close if close > 1 else 0", r"written where\(c, a, b\)", 7),
        ("close ^ 2", r"A power is written \*\*", 7),
        ("close % 2", "no remainder", 7),
        ("close[1]", r"written lag\(x, n\)", 6),
        ("close; volume", "a line of its own", 6),
        ("close.mean(5)", r"Methods are written as functions, mean\(x, 5\)", 6),
        ("rank('close')", "double quotes", 6),
        ('rank("close)', 'no closing "', 6),
        ("rank(`close)", "no closing `", 6),
        ("close = close + 1\nclose", "`close` is used as a field", 1),
        ("nan = close\nnan", "`nan` is a value and cannot name a part", 1),
        ("close = 1 = 2", "but '=' came. Equality is written ==", 11),
        ("close < volume < 3", "Comparisons do not chain", 16),
        ("close <= 3 & 1 == volume", "those stand in parentheses", 12),
        ("1 + 2", "An expression uses fields of the market, but this is 3 alone", 1),
        ("True", "this is True alone", 1),
        ('"close"', "this is 'close' alone", 1),
        ("1 / 0 * close", "1 / 0 is no number: a division by zero", 3),
        ("0.0 ** -1 * close", "0.0 \\*\\* -1 is no number: a division by zero", 5),
        ("10.0 ** 400 * close", "10.0 \\*\\* 400 is no number: it is too large", 6),
        ("(-8) ** 0.5 * close", "is no real number", 6),
        ("-True * close", "`-` needs fields or numbers, but True came", 1),
        ('close + "a"', "combines with features and numbers, but got 'a' of type str", 7),
        ("close + None", "but got None", 7),
        ("rank", r"'rank' is a function: rank\(x, descending=False\)", 1),
        ("rank()", r"rank\(x, descending=False\) does not take this: missing a required argument: 'x'", 1),
        ("mean(close)", r"mean\(x, window, every=None\) does not take this: missing a required argument: 'window'", 1),
        ("zscore(close, 5, 6)", "too many positional arguments", 1),
        ("mean(close, window=5, 5)", "An argument without a name cannot follow one with a name", 23),
        ("mean(close, 5, x=close)", "multiple values for argument 'x'", 1),
        ("mean(close, window=5, window=6)", "`window` is given twice", 23),
        ("mean(close, 1.5)", "`window` must be a whole number of bars, but window=1.5", 1),
        ("mean(close, 1e6)", "`window` must be a whole number of bars", 1),
        ("mean(close, close)", "`window` must be a whole number of bars", 1),
        ('mean(close, "5")', "`window` must be a whole number of bars, but window='5'", 1),
        ("mean(close, 0)", "`window >= 1` must hold", 1),
        ("close + lag(close, -1)", "A feature cannot look ahead", 9),
        ("rank(close, descending=1)", "`descending` must be True or False", 1),
        ("rank(close, descending=true)", "It is written True", 24),
        ("clip(close, 2, 1)", "`low <= high` must hold", 1),
        ("sqrt(4)", "needs at least one feature", 1),
        ("mean(3, 4)", "needs at least one feature", 1),
        ("lag(3, 4)", "`lag` needs a feature", 1),
        ("macd(close)", r"macd gives line, signal, histogram: write macd\(...\).line", 1),
        ("macd(close) + 1", "macd gives line, signal, histogram", 1),
        ("macd(close).__class__", "Unknown result '__class__' in macd", 13),
        ("macd(close).line.signal", "but '.' came", 17),
        ("close + ²", "'²' is no part of an expression", 9),
        ("close \\\n+ 1", "inside parentheses", 7),
        ("close\x00", "no part of an expression", 6),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, message: str, column: int) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message) as caught:
        M.expression(text)
    assert f"line {text.count(chr(10), 0, column - 1) + 1}, column {column}:" in str(caught.value)


def test_a_part_is_named_once_and_only_the_last_line_is_the_expression() -> None:
    assert "line 2, column 1" in refused("x = close\nx = volume\nx")
    assert "Only the last line is the expression" in refused("close\nvolume")
    assert "line 1, column 1" in refused("close / 2\n\nx = volume\nx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clsoe", "Unknown field 'clsoe' in the market. Did you mean 'close'?"),
        ("retrn = close\nreturn * 2", "Unknown field 'return' in the market. Did you mean 'retrn'?"),
        ("ranc(close)", "Unknown function 'ranc'. Did you mean 'rank'?"),
        ("mean(close, windw=5)", "Unknown setting 'windw' in mean(x, window, every=None). Did you mean 'window'?"),
        ("rank(close, ascending=True)", "Did you mean 'descending'?"),
        ("`my close`", "Unknown field 'my close' in the market."),
    ],
)
def test_near_names_are_offered(text: str, message: str) -> None:
    assert message in refused(text, UnknownNameError)


@pytest.mark.parametrize(
    "text",
    [
        '__import__("os")', "eval(close)", "exec(close)", "open(close)", "evaluate(close)", "bind(close, 1)",
        "symbol(1)", "neg(close)", "Feature(close, 1)", "getattr(close, 1)", "node(1)", "apply(close)", "print(close)",
        "type(close)",
    ],
)  # fmt: skip
def test_a_text_calls_functions_of_the_language_and_nothing_else(text: str) -> None:
    assert "Unknown function" in refused(text, UnknownNameError)


@pytest.mark.parametrize(
    "text", ["close.node", "close.__class__", "rank(close).market", "rank.__globals__", "(close).x"]
)
def test_a_text_reaches_nothing_behind_a_dot(text: str) -> None:
    refused(text)


def test_what_may_be_called_are_the_functions_of_the_features_room() -> None:
    by_row = {"members", *(op.name for op in WEIGHTS)}  # those that kn.portfolio composes
    for name, function in vocabulary().items():
        assert name in by_row or function.__module__.startswith("knowable.features.functions."), name


@pytest.mark.parametrize("text", [5, None, b"close", ["close"], M])
def test_what_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(InputError, match="is read from text, but got"):
        M.expression(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [60_000, pytest.param(400_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda n: "(" * n, "nested more than 64 deep"),
        (lambda n: "-" * n + "close", "more than 10,000 operations"),
        (lambda n: "1 + " * (n // 4) + "close", "more than 10,000 operations"),
        (lambda n: "close + `" + "a" * n, "no closing `"),
        (lambda n: 'rank("' + "a" * n, 'no closing "'),
        (lambda n: "\n" * n, "The text has no expression"),
        (lambda n: "close" + " " * n + "close", "but 'close' came"),
        (lambda n: "a" * n, "Unknown field"),
        (lambda n: "rank(" + "close, " * (n // 7) + ")", "too many positional arguments"),
        (lambda n: "mean(close, " + "9" * n + ")", "whole number"),
        (lambda n: "mean(close, 999999999999999999)" + "\n" * n + "x", "Only the last line"),
    ],
)
def test_a_long_hostile_text_is_refused_quickly(text: Callable[[int], str], message: str, n: int) -> None:
    assert_refused_within(text(n), message, seconds=1 + n / 40_000)  # a tenth of it on an idle machine


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("close + " * 62_500 + "1", "has 500,001 characters; an expression has at most 500,000"),
        ("(" * 65 + "close" + ")" * 65, "nested more than 64 deep"),
        ("abs(" * 65 + "close" + ")" * 65, "nested more than 64 deep"),
        ("2 ** " * 65 + "close", "nested more than 64 deep"),
        ("close" + " + close" * 10_001, "more than 10,000 operations"),
        ("x1 = close\n" + "".join(f"x{k + 1} = x{k} + {k}\n" for k in range(1, 10_003)) + "x1", "more than 10,000"),
    ],
)
def test_a_text_just_beyond_a_limit_is_refused_quickly(text: str, message: str) -> None:
    assert_refused_within(text, message, seconds=10)


def assert_refused_within(text: str, message: str, *, seconds: float) -> None:
    begin = time.perf_counter()
    with pytest.raises((InputError, UnknownNameError), match=message) as caught:
        M.expression(text)
    assert time.perf_counter() - begin < seconds
    assert len(str(caught.value)) < 500


def test_a_number_of_any_length_is_the_nearest_double() -> None:
    digits = "123456789" * 20_000
    assert M.expression(f"close + 0.{digits}").node.inputs[1].settings == (0.12345678912345678,)
    assert M.expression(f"close + {digits}").node.inputs[1].settings == (float("inf"),)


def test_a_composition_within_the_limit_of_operations_but_beyond_that_of_nodes_is_refused() -> None:
    parts = "".join(f"x{k + 1} = clip(x{k}, {k}, {k + 0.5})\n" for k in range(1, 4_001))
    with pytest.raises(InputError, match="nodes; at most 10,000 can be read"):
        M.expression(f"x1 = close\n{parts}x4001")


@given(st.text(st.sampled_from("abcx1 2.()+-*/<>=&|~,\n#`\"'eE_[]!\\nif"), max_size=40))
def test_no_text_raises_anything_but_our_errors(text: str) -> None:
    with contextlib.suppress(KnowableError):
        M.expression(text)


def test_no_random_damage_raises_anything_but_our_errors() -> None:
    whole = "x1 = close / lag(close, 126) - 1\nwhere(rank(x1, descending=True) <= 2.5e0, mean(x1, 20), -volume ** 2)"
    rng = random.Random(5)
    survived = 0
    for _ in range(3_000):
        at, cut = rng.randrange(len(whole)), rng.randrange(3)
        hurt = whole[:at] + rng.choice('0123456789"`(),=.-+*/<> \nxcn~&|#') * rng.randrange(3) + whole[at + cut :]
        try:
            M.expression(hurt)
            survived += 1
        except KnowableError:
            pass
    assert 100 < survived < 2_000  # a changed number may still be a valid one


def test_wrong_arguments_of_any_function_raise_only_our_errors() -> None:
    values = ["close", "0", "-1", "2.5", "nan", "-inf", "1e300", "True", "None", '"a"', "close > 1", "5"]
    rng = random.Random(7)
    for name in vocabulary():
        for _ in range(60):
            text = f"{name}({', '.join(rng.choices(values, k=rng.randrange(5)))}) + close"
            with contextlib.suppress(KnowableError):
                M.expression(text)
