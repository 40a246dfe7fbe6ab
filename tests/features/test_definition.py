"""Expressions as stored text: the same node comes back, and nothing else can come in."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable import features as f
from knowable.data.market import Market
from knowable.errors import InputError, StoreError, UnknownNameError
from knowable.features.definition import dump, load
from knowable.features.symbols import symbol
from knowable.params import Int


def market_of() -> Market:
    rng = np.random.default_rng(3)
    return Market.build(
        times=np.arange(1, 41) * 86_400_000_000_000,
        assets=("A", "B", "C"),
        panels={name: rng.lognormal(size=(40, 3)) for name in ("close", "volume")},
    )


MARKET = market_of()
LEAVES = st.sampled_from([MARKET.close, MARKET.volume])
UNARY = [
    lambda x: -x, abs, f.sqrt, f.log, f.isnan, lambda x: ~x, lambda x: x**2, lambda x: 0.1 + x, lambda x: x > -0.0,
    lambda x: x.rank(), lambda x: x.rank(descending=True), lambda x: x.zscore(), lambda x: f.where(x, 1, x),
]  # fmt: skip
BINARY = [lambda x, y: x + y, lambda x, y: x / y, lambda x, y: x == y, lambda x, y: x & y, f.maximum]
MOVING = [f.sum, f.mean, f.std, f.min, f.lag, f.delta, f.ewm]
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda op, x: op(x), st.sampled_from(UNARY), inner),
        st.builds(lambda op, x, y: op(x, y), st.sampled_from(BINARY), inner, inner),
        st.builds(lambda op, x, n: op(x, n), st.sampled_from(MOVING), inner, st.integers(1, 300)),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
@settings(max_examples=200, deadline=None)
def test_what_was_dumped_loads_as_the_very_same_node(feature: f.Feature) -> None:
    assert load(feature.definition()) is feature.node


def test_a_loaded_definition_computes_the_same_bits_on_another_market() -> None:
    strength = (MARKET.close / MARKET.close.lag(5) - 1).rank(descending=True) <= 2
    again = market_of().expression(strength.definition())
    assert again.values().tobytes() == strength.values().tobytes()


def test_a_definition_needs_the_fields_of_its_market() -> None:
    text = MARKET.volume.mean(3).definition()
    bare = Market.build(times=np.arange(1, 4), assets=("A",), panels={"close": np.ones((3, 1))})
    with pytest.raises(UnknownNameError, match="volume"):
        bare.expression(text)


def test_an_open_parameter_cannot_be_stored() -> None:
    window = symbol("lookback", Int(2, 9))
    with pytest.raises(InputError, match="lookback"):
        dump(MARKET.close.mean(window).node)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [["field", [], ["close"]], ["__import__", [0], []]],
        [["field", [], ["os.system"]]],
        [["field", [], ["close"]], ["lag", [0], [-1]]],
        [["field", [], ["close"]], ["mean", [0], ["0x1p3"]]],
        [["field", [], ["close"]], ["mean", [1], [3]]],
        [["field", [], ["close"]], ["mean", [-1], [3]]],
        [["field", [], ["close"]], ["where", [0], []]],
        [["field", [], ["close"]], ["mean", [0], []]],
        [["number", [], ["nan"]]],
        [["number", [], [True]]],
        [["number", [], [1]], ["number", [], [2]], ["+", [0, 1], []]],
        [["field", [], ["close"], "more"]],
        "text",
        [["field", [], ["close"]]] * 10_001,
    ],
)
def test_damaged_or_hostile_definitions_are_refused(rows: object) -> None:
    with pytest.raises(StoreError):
        load(json.dumps({"format": 1, "nodes": rows}))


def test_a_newer_format_says_so() -> None:
    with pytest.raises(StoreError, match="format 2"):
        load('{"format": 2, "nodes": []}')


def test_no_random_damage_raises_anything_but_our_error() -> None:
    text = ((MARKET.close / MARKET.close.lag(126) - 1).rank() * 0.5).definition()
    rng = random.Random(5)
    survived = 0
    for _ in range(2_000):
        at = rng.randrange(len(text))
        hurt = text[:at] + rng.choice('0123456789"[]{},:.-xpaz') + text[at + 1 :]
        try:
            load(hurt)
            survived += 1
        except StoreError:
            pass
    assert 0 < survived < 1_000  # a changed number may still be a valid one
