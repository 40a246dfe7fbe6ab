"""Structure: one node an expression, readable text, and graphs of any depth."""

import copy
import gc
import pickle

import numpy as np
import pandas as pd
import pytest

from knowable import features as f
from knowable.data.market import Market
from knowable.features import node as nodes
from knowable.params import Int


@pytest.fixture
def m():
    index = pd.date_range("2020-01-01", periods=30, freq="D")
    close = pd.DataFrame(np.arange(1.0, 61.0).reshape(30, 2), index=index, columns=["A", "B"])
    return Market.from_frames(close=close, volume=close)


def test_the_same_expression_is_the_same_node(m):
    one = (m.close / m.close.lag(5) - 1).rank(descending=True) <= 3
    two = (m.close / m.close.lag(5) - 1).rank(descending=True) <= 3.0
    assert one.node is two.node
    assert one.node is not ((m.close / m.close.lag(6) - 1).rank(descending=True) <= 3).node
    assert (m.close + 0.0).node is not (m.close + -0.0).node
    assert m.close.rank().node is not m.close.rank(descending=True).node
    assert m.close.mean(np.int64(5)).node is m.close.mean(5).node


def test_nodes_hold_no_market_and_are_let_go(m):
    before = len(nodes._nodes)
    feature = m.close.mean(17).std(19)
    assert len(nodes._nodes) > before
    del feature
    gc.collect()
    assert len(nodes._nodes) <= before


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda c, n: (c / c.lag(126) - 1).rank(), "rank(close / lag(close, 126) - 1)"),
        (lambda c, n: (c - 1).rank(descending=True) <= 2.5, "rank(close - 1, descending=True) <= 2.5"),
        (lambda c, n: c - (c - 1) - 2, "close - (close - 1) - 2"),
        (lambda c, n: c / (c * 2), "close / (close * 2)"),
        (lambda c, n: (c + 1) * 2, "(close + 1) * 2"),
        (lambda c, n: 1 - c, "1 - close"),
        (lambda c, n: -(c**2), "-close ** 2"),
        (lambda c, n: (-c) ** 2, "(-close) ** 2"),
        (lambda c, n: c * -1.5, "close * -1.5"),
        (lambda c, n: c ** (c**2), "close ** close ** 2"),
        (lambda c, n: (c**c) ** 2, "(close ** close) ** 2"),
        (lambda c, n: (c > 1) & (c < 3) | (c == 2), "(close > 1) & (close < 3) | (close == 2)"),
        (lambda c, n: f.where(c > 1, c.mean(5), 0), "where(close > 1, mean(close, 5), 0)"),
        (lambda c, n: c.mean(2 * n + 1), "mean(close, 2 * n + 1)"),
        (lambda c, n: c.ewm(2.5), "ewm(close, 2.5)"),
        (lambda c, n: abs(c).delta(3), "abs(close) - lag(abs(close), 3)"),
        (lambda c, n: c + 1e-9 + 1e300 + float("inf"), "close + 1e-09 + 1e+300 + inf"),
    ],
)
def test_text_reads_as_it_was_written(m, build, text):
    feature = build(m.close, f.symbol("n", Int(1, 9)))
    assert repr(feature) == text


def test_shared_parts_do_not_make_endless_text(m):
    x = m.close
    for _ in range(200):
        x = x + x
    assert len(repr(x)) < 3_000
    assert f.Program.of(x).evaluate(m)[0, 0] == 2.0**200


def test_depth_is_not_limited(m):
    x = m.close
    for _ in range(20_000):
        x = x + 1
    assert f.evaluate(x)[0, 0] == 20_001.0
    assert f.Program.of(x).evaluate(m, memo=f.Memo(10**6))[0, 0] == 20_001.0
    assert len(repr(x)) < 3_000
    assert len(nodes.digest(x.node)) == 64


def test_a_pickled_node_is_the_same_node_again(m):
    node = (m.close.mean(f.symbol("n", Int(1, 9))) > 2).node
    assert pickle.loads(pickle.dumps(node)) is node
    assert copy.deepcopy(node) is node


def test_a_digest_tells_structures_apart_and_does_not_depend_on_the_process(m):
    c = m.close
    expressions = [c, m.volume, c + 1, c + 1.5, 1 - c, c - 1, c.mean(2), c.std(2)]
    assert len({nodes.digest(each.node) for each in expressions}) == len(expressions)
    known = "62506fe5b87bcd80f3a1bff5adc64fad6029499979f7d3910f30c5750b35b2a3"
    assert nodes.digest(m.close.mean(2).node) == known
