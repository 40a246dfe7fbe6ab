"""All rows so far against exact fractions, pandas, a hand table and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import expanding
from knowable.testing import moments_oracle as slow
from knowable.testing.pieces import in_pieces

NAN = np.nan
KERNELS = {
    "sum": (expanding.total_state, expanding.sum_so_far_kernel),
    "mean": (expanding.total_state, expanding.mean_so_far_kernel),
    "std": (expanding.spread_so_far_state, expanding.spread_so_far_kernel),
    "min": (expanding.extreme_so_far_state, lambda x, s, out: expanding.extreme_so_far_kernel(x, 1.0, s, out)),
    "max": (expanding.extreme_so_far_state, lambda x, s, out: expanding.extreme_so_far_kernel(x, -1.0, s, out)),
    "count": (expanding.count_state, expanding.count_kernel),
}
ORACLES = {name: getattr(slow, f"expanding_{name}") for name in KERNELS}


def run(name, x, cuts=()):
    """One kernel over x, in the pieces that `cuts` make."""
    state, call = KERNELS[name]
    return in_pieces(call, x, state=state(x.shape[1]), cuts=cuts)


ordinary = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))  # squares of what is smaller may be lost
special = [NAN, np.inf, -np.inf, 1e17, -1e17, 1e60, 0.0, -0.0, 0.1, 1e-9, 1e9 + 1e-3, 1e9]
nasty = st.one_of(ordinary, st.sampled_from(special))


@st.composite
def panels(draw, values=nasty):
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 3)))
    return draw(arrays(np.float64, shape, elements=values, fill=values))


@pytest.mark.parametrize("name", KERNELS)
@given(x=panels(st.one_of(nasty, st.sampled_from([1e300, -1e300]))), cuts=st.lists(st.integers(0, 40), max_size=8))
@settings(max_examples=50)
def test_any_chunking_gives_the_same_bits(name, x, cuts):
    whole = run(name, x)
    assert whole.tobytes() == run(name, x, cuts).tobytes()
    assert whole.tobytes() == run(name, x, range(len(x))).tobytes()


@pytest.mark.parametrize("name", ["min", "max", "count"])
@given(x=panels(st.one_of(nasty, st.sampled_from([1e300, -1e300]))))
@settings(max_examples=50)
def test_selection_and_count_agree_exactly_with_their_definition(name, x):
    np.testing.assert_array_equal(run(name, x), ORACLES[name](x))


@pytest.mark.parametrize("name", ["sum", "mean"])
@given(x=panels())
@settings(max_examples=50)
def test_sums_agree_exactly_with_fractions_though_they_cancel(name, x):
    sizes = slow.expanding_sum(np.abs(x))
    got, expected = run(name, x), ORACLES[name](x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    known = ~np.isnan(expected)
    assert (np.abs(got - expected) <= 1e-15 * np.abs(expected) + 1e-28 * sizes)[known].all()


@given(x=panels())
def test_deviation_agrees_with_exact_fractions_on_adversarial_data(x):
    np.testing.assert_allclose(run("std", x), ORACLES["std"](x), rtol=1e-9, atol=1e-150)


@pytest.mark.parametrize("name", KERNELS)
@given(x=panels())
@settings(max_examples=50)
def test_the_last_answer_stands_while_values_are_missing(name, x):
    got = run(name, x)
    for t in range(1, len(x)):
        gone = ~np.isfinite(x[t])
        assert got[t, gone].tobytes() == got[t - 1, gone].tobytes()


@given(value=st.floats(-1e150, 1e150))
def test_a_constant_has_exactly_no_deviation_and_is_its_own_mean(value):
    x = np.full((100, 1), value)
    assert (run("std", x)[1:] == 0.0).all()
    np.testing.assert_allclose(run("mean", x), value, rtol=3e-16)


@pytest.mark.parametrize("level", [0.0, 1e8, 1e12])
def test_deviation_keeps_its_digits_at_any_level(level):
    noise = np.random.default_rng(3).integers(-8, 9, size=(400, 2)) / 8.0
    np.testing.assert_allclose(run("std", level + noise), run("std", noise), rtol=1e-11)
    np.testing.assert_allclose(run("std", level + noise)[:60], ORACLES["std"](level + noise[:60]), rtol=1e-11)


def test_a_million_bars_do_not_drift():
    x = np.full((1_000_000, 1), 0.1)
    assert run("sum", x)[-1, 0] == 1_000_000 * 0.1
    assert run("mean", x)[-1, 0] == 0.1
    x = 1e6 + np.random.default_rng(5).normal(size=(1_000_000, 1))
    off = x[:, 0] - 1e6
    np.testing.assert_allclose(run("std", x)[-1, 0], np.sqrt(np.square(off - off.mean()).sum() / 999_999), rtol=1e-12)


def test_agrees_with_pandas_expanding_on_prices_with_gaps():
    rng = np.random.default_rng(11)
    x = 100 * np.exp(rng.normal(scale=0.02, size=(700, 6)).cumsum(axis=0))
    x[rng.random(x.shape) < 0.05] = NAN
    x[:90, 2] = NAN
    x[:, 5] = NAN
    frame = pd.DataFrame(x)
    for name in KERNELS:
        expected = getattr(frame.expanding(), name)().to_numpy()
        np.testing.assert_allclose(run(name, x), expected, rtol=1e-9, err_msg=name)


def only_nan(values):
    return set(values[np.isnan(values)].view(np.uint64).tolist()) <= {np.array(NAN).view(np.uint64).item()}


def test_hand_table():
    x = np.array([[NAN], [2.0], [NAN], [4.0], [np.inf], [-3.0]])
    expected = {
        "sum": [NAN, 2, 2, 6, 6, 3],
        "mean": [NAN, 2, 2, 3, 3, 1],
        "std": [NAN, NAN, NAN, 2**0.5, 2**0.5, 13**0.5],
        "min": [NAN, 2, 2, 2, 2, -3],
        "max": [NAN, 2, 2, 4, 4, 4],
        "count": [0, 1, 1, 2, 2, 3],
    }
    for name, column in expected.items():
        np.testing.assert_allclose(run(name, x)[:, 0], column, rtol=1e-15, err_msg=name)


@pytest.mark.parametrize("name", KERNELS)
def test_the_bits_of_an_asset_do_not_depend_on_how_many_stand_beside_it(name):
    x = np.random.default_rng(1).normal(size=(120, 37))
    x[x > 2], x[x < -2], x[:5, ::3] = NAN, np.inf, -NAN
    together = run(name, x)
    assert only_nan(together)
    for j in (0, 1, 17, 35, 36):
        assert run(name, np.ascontiguousarray(x[:, [j]])).tobytes() == together[:, [j]].tobytes()
