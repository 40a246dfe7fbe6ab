"""Laws that every expression obeys, over random expressions and random panels with gaps."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable import features as f
from knowable.data.market import Market
from knowable.features.node import CLOCKS as CLOCK_NODES
from knowable.features.node import topological
from knowable.kernels.clock import WAYS
from knowable.testing.clock_oracle import SlowClock
from knowable.testing.expression_oracle import slow_step, slow_values

NAN = np.nan
values = st.one_of(st.floats(-1e3, 1e3, allow_subnormal=False), st.sampled_from([NAN, 0.0, 1.0, 1.0, -2.0]))


def market_of(a, b, universe=None):
    n_bars, n_assets = a.shape
    return Market.build(
        times=np.arange(1, n_bars + 1) * 86_400_000_000_000,
        assets=tuple(f"A{j}" for j in range(n_assets)),
        panels={"a": a, "b": b} if universe is None else {"a": a, "b": b, "universe": universe},
    )


@st.composite
def markets(draw, most_bars=25):
    """Half of them have a universe, in which assets come and go."""
    shape = draw(st.tuples(st.integers(1, most_bars), st.integers(1, 4)))
    panel = arrays(np.float64, shape, elements=values, fill=values)
    members = arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, 1.0]))
    return market_of(draw(panel), draw(panel), draw(st.none() | members))


UNARY = [
    lambda x: -x, abs, f.sqrt, f.sign, f.exp, f.log, f.log1p, f.isnan, lambda x: ~x, lambda x: x**2, lambda x: x + 1,
    lambda x: 2 - x, lambda x: 1 / x, lambda x: x > 0.5, lambda x: x <= 3, lambda x: f.clip(x, -1, 1),
    lambda x: x.rank(), lambda x: x.rank(descending=True), lambda x: x.zscore(), lambda x: x.demean(),
    lambda x: x.cross_sum(), lambda x: 2**x, lambda x: f.where(x, 1, x), lambda x: f.maximum(0, x), f.days_since,
    f.bars_since, f.ffill, lambda x: x.fill(0.5), lambda x: x.signed_power(0.5), lambda x: x.returns(),
    lambda x: x.pct_rank(), lambda x: x.pct_rank(descending=True), lambda x: x.quantile(3), lambda x: x.quantile(2),
    lambda x: x.top(2), lambda x: x.bottom(1), lambda x: x.scale(), lambda x: x.winsorize(0.2), lambda x: x.winsorize(),
    lambda x: x.cross_mean(), lambda x: x.cross_count(),
    f.expanding_sum, f.expanding_mean, f.expanding_std, f.expanding_min, f.expanding_max, f.expanding_count,
    lambda x: x.rsi(3), lambda x: x.macd(2, 4, 3).histogram, lambda x: x.bollinger(3).upper,
]  # fmt: skip
# + 0.37 swallows rounding where the exact answer is 0, or its sign would be asked for
BINARY = [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x < y,
    lambda x, y: x == y, lambda x, y: x != y, lambda x, y: x & y, lambda x, y: x | y, f.minimum, f.maximum,
    lambda x, y: f.where(x > y, x, 0), lambda x, y: f.where(x, y, x), lambda x, y: abs(x) ** y, f.fill, f.signed_power,
    f.mask,
    lambda x, y: x.neutralize(y) + 0.37, lambda x, y: x.neutralize(y, y * x) + 0.37, lambda x, y: x.group_rank(y > 0.5),
    lambda x, y: f.mask(1, y).group_count(x > 0.5), lambda x, y: x.group_rank(f.isnan(y), True),
    lambda x, y: x.group_zscore(y > 0.5), lambda x, y: x.group_neutralize(f.mask(y > 0.5, y)),
    lambda x, y: x.group_sum(y > 0.5), lambda x, y: x.group_mean(f.isnan(y)), lambda x, y: x.group_count(y > 0.5),
]  # fmt: skip
CLOCKS = ["week_end", "month_end", 2, 4]
MOVING = [
    f.sum, f.mean, f.std, f.min, f.max, f.lag, f.delta, f.ewm, f.argmin, f.argmax, f.ts_rank, f.median, f.decay_linear,
    f.product, f.count, f.ffill, f.returns, partial(f.ts_quantile, q=0.3), f.var, f.skew, f.ts_zscore, f.ewm_std,
]  # fmt: skip
PAIRS = [f.cov, f.corr, f.beta, f.resid, f.r2]


def expressions(market):
    leaves = st.sampled_from([market.a, market.b])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda op, x: op(x), st.sampled_from(UNARY), inner),
            st.builds(lambda op, x, y: op(x, y), st.sampled_from(BINARY), inner, inner),
            st.builds(lambda op, x, n: op(x, n), st.sampled_from(MOVING), inner, st.integers(1, 9)),
            st.builds(lambda op, x, y, n: op(x, y, n), st.sampled_from(PAIRS), inner, inner, st.integers(2, 9)),
            st.builds(
                lambda op, x, n, every: op(x, n, every=every),
                st.sampled_from(MOVING),
                inner,
                st.integers(1, 3),
                st.sampled_from(CLOCKS),
            ),
            st.builds(
                lambda x, every, how: x.resample(every, how), inner, st.sampled_from(CLOCKS), st.sampled_from(WAYS)
            ),
        ),
        max_leaves=6,
    )


@st.composite
def cases(draw):
    market = draw(markets())
    return market, draw(expressions(market))


def feed_in_pieces(stepper, market, cuts):
    edges = [0, *sorted(min(cut, market.n_bars) for cut in cuts), market.n_bars]
    pieces = []
    for first, last in pairwise(edges):
        panels = {name: panel[first:last] for name, panel in market.panels.items()}
        pieces.append(stepper.feed(panels, market.times[first:last]))
    return np.concatenate(pieces)


@given(case=cases(), cuts=st.lists(st.integers(0, 25), max_size=5))
@settings(max_examples=2 * settings().max_examples)
def test_any_chunking_of_any_expression_gives_the_bits_of_the_batch(case, cuts):
    market, feature = case
    batch = feature.values()
    assert feed_in_pieces(feature.stepper(), market, cuts).tobytes() == batch.tobytes()


@given(case=cases(), stop=st.integers(0, 25))
def test_bar_by_bar_with_a_restart_in_between_gives_the_bits_of_the_batch(case, stop):
    market, feature = case
    stepper = feature.stepper()
    rows = []
    for t in range(market.n_bars):
        if t == stop:
            fresh = feature.stepper()
            fresh.restore(stepper.state())
            stepper = fresh
        bar = {name: panel[t] for name, panel in market.panels.items()}
        rows.append(stepper.step(bar | {"time": market.times[t]}))
    assert np.array(rows).tobytes() == feature.values().tobytes()


@given(case=cases(), cut=st.integers(1, 25), seed=st.integers(0, 2**32 - 1))
def test_future_rows_never_change_past_bits(case, cut, seed):
    market, feature = case
    cut = min(cut, market.n_bars)
    future = np.random.default_rng(seed).normal(size=market.shape) * 100
    later = {name: np.sign(future) == 1 if name == "universe" else future for name in market.panels}
    changed = market_of(*[np.vstack([panel[:cut], later[name][cut:]]) for name, panel in market.panels.items()])
    whole = feature.values()[:cut].tobytes()
    assert f.evaluate(feature, market.until(cut)).tobytes() == whole
    assert f.evaluate(feature, changed)[:cut].tobytes() == whole


def shaken_values(root, panels, clock):
    """The oracle's values where each operator rounds by up to one part in 1e10, and the largest on the way."""
    values, largest, rng = {}, 0.0, np.random.default_rng(1)
    for each in topological(root):
        if each.op in CLOCK_NODES:
            continue
        exact = slow_step(each, [values[below] for below in each.inputs if below.op not in CLOCK_NODES], panels, clock)
        largest = max(largest, np.max(np.abs(exact), where=np.isfinite(exact), initial=0.0))
        relative, absolute = 1e-10 * rng.uniform(-1, 1, (2, *exact.shape))
        values[each] = exact if each.op == "number" else exact * (1 + relative) + absolute
    return values[root], largest


@given(case=cases())
@settings(max_examples=2 * settings().max_examples, suppress_health_check=[HealthCheck.too_slow])
def test_any_expression_agrees_with_the_slow_evaluation_of_its_definition(case):
    market, feature = case
    # what is 1e-60 of its neighbours is rounded away in any sum of them, and its sign with it
    panels = {name: np.round(panel, 6) for name, panel in market.panels.items()}
    got = f.evaluate(feature, market_of(**panels))
    try:
        expected = slow_values(feature.node, panels, SlowClock(market))
    except (OverflowError, ValueError):  # exact fractions do not hold infinities inside a cross-section
        assume(False)
    assume(np.nanmax(np.abs(expected), initial=0) < 1e12)
    alike = np.isclose(got, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    # a comparison or rank of values that differ by rounding may fall either way: perturb, by one measure and cell by
    # cell, and leave out what then changes
    noise = np.random.default_rng(0).uniform(-1e-9, 1e-9, size=(2, *market.shape))
    for relative, absolute in ((1e-9, 1e-9), noise):
        if alike.all():
            break
        nudged = panels | {name: panels[name] * (1 + relative) + absolute for name in "ab"}
        try:
            again = slow_values(feature.node, nudged, SlowClock(market))
        except (OverflowError, ValueError):
            assume(False)
        alike |= ~np.isclose(expected, again, rtol=1e-3, atol=1e-3, equal_nan=True)
    if not alike.all():  # what is constant but for its own rounding correlates by chance, and squares may overflow
        again, largest = shaken_values(feature.node, panels, SlowClock(market))
        assume(largest < 1e100)
        alike |= ~np.isclose(expected, again, rtol=1e-3, atol=1e-3, equal_nan=True)
    assert alike.all(), (got[~alike], expected[~alike])


@given(case=cases())
def test_inputs_are_neither_changed_nor_copied(case):
    market, feature = case
    before = market.a.values().tobytes() + market.b.values().tobytes()
    assert not feature.values().flags.writeable
    assert before == market.a.values().tobytes() + market.b.values().tobytes()
    assert market.a.values() is market.panels["a"]


@given(case=cases())
def test_with_and_without_a_memo_the_bits_are_the_same(case):
    market, feature = case
    program, memo = f.Program.of(feature), f.Memo(10**6)
    alone = program.evaluate(market).tobytes()
    assert program.evaluate(market, memo=memo).tobytes() == alone
    assert program.evaluate(market, memo=memo).tobytes() == alone
    assert program.evaluate(market, memo=f.Memo(0)).tobytes() == alone


@pytest.mark.parametrize("pair", PAIRS)
@given(market=markets())
def test_pairs_treat_each_asset_alone(pair, market):
    together = pair(market.a, market.b, 3).values()
    for j in range(market.n_assets):
        alone = market_of(market.panels["a"][:, [j]], market.panels["b"][:, [j]])
        assert f.evaluate(pair(alone.a, alone.b, 3)).tobytes() == np.ascontiguousarray(together[:, [j]]).tobytes()


@pytest.mark.parametrize("moving", MOVING)
@given(market=markets())
def test_moving_features_treat_each_asset_alone(moving, market):
    together = moving(market.a, 3).values()
    for j in range(market.n_assets):
        alone = market_of(market.panels["a"][:, [j]], market.panels["b"][:, [j]])
        assert f.evaluate(moving(alone.a, 3)).tobytes() == np.ascontiguousarray(together[:, [j]]).tobytes()
