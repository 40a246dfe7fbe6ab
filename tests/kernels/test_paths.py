"""Paths against exact fractions, pandas, numpy, hand tables and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import paths
from knowable.testing import path_oracle as slow
from knowable.testing.pieces import in_pieces
from knowable.testing.rolling_oracle import moving_sum

NAN, INF = np.nan, np.inf


def run(name, x, window, cuts=()):
    """One kernel over x, in the pieces that `cuts` make; `window` is the limit of ffill, and nothing to bars_since."""
    state, call = {
        "decay_linear": (paths.decay_state, paths.decay_kernel),
        "product": (paths.product_state, paths.product_kernel),
        "count": (paths.count_state, paths.count_kernel),
        "bars_since": (lambda _, n: paths.since_state(n), paths.since_kernel),
        "ffill": (lambda _, n: paths.fill_state(n), lambda x, s, out: paths.fill_kernel(x, window, s, out)),
    }[name]
    return in_pieces(call, x, state=state(window, x.shape[1]), cuts=cuts)


ORACLES = {
    "decay_linear": slow.decay_linear,
    "product": slow.moving_product,
    "count": slow.moving_count,
    "bars_since": lambda x, _: slow.bars_since(x),
    "ffill": slow.ffill,
}
every_kernel = pytest.mark.parametrize("name", ORACLES)

ordinary = st.floats(-1e6, 1e6, allow_subnormal=False)
huge = st.sampled_from([1e300, -1e300, 1e-300, 1e17, -1e17, 1.7e308, 2.3e-308, 5e-324, 0.1, 1e9 + 1e-3])
nasty = st.one_of(ordinary, huge, st.sampled_from([NAN, INF, -INF, 0.0, -0.0]))


@st.composite
def panels(draw, values=nasty):
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 3)))
    return draw(arrays(np.float64, shape, elements=values, fill=values))


windows = st.integers(1, 12)
cuts = st.lists(st.integers(0, 40), max_size=8)


@every_kernel
@given(x=panels(), window=windows, cuts=cuts)
def test_any_chunking_gives_the_same_bits(name, x, window, cuts):
    got = run(name, x, window)
    assert set(got[np.isnan(got)].view(np.int64)) <= {np.array(NAN).view(np.int64)[()]}  # there is one NaN
    whole = got.tobytes()
    assert whole == run(name, x, window, cuts).tobytes()
    assert whole == run(name, x, window, range(len(x))).tobytes()


@every_kernel
@given(x=panels(), window=windows, cut=st.integers(0, 40), later=st.floats(allow_nan=True))
def test_later_rows_change_no_bit_and_assets_stand_alone(name, x, window, cut, later):
    whole = run(name, x, window)
    changed = x.copy()
    changed[cut:] = later
    assert run(name, changed, window)[:cut].tobytes() == whole[:cut].tobytes()
    assert np.ascontiguousarray(whole[:, ::-1]).tobytes() == run(name, x[:, ::-1], window).tobytes()


@pytest.mark.parametrize("name", ["count", "bars_since", "ffill"])
@given(x=panels(), window=st.integers(1, 12))
def test_counts_ages_and_what_is_held_agree_exactly_with_a_look_at_the_whole_past(name, x, window):
    np.testing.assert_array_equal(run(name, x, window), ORACLES[name](x, window))


@given(x=panels(nasty.filter(lambda value: not 1e305 < abs(value) < INF)), window=windows)
@settings(max_examples=2 * settings().max_examples)
def test_faded_sums_agree_with_exact_fractions_while_nan_infinity_and_1e300_come_and_go(x, window):
    got, expected = run("decay_linear", x, window), slow.decay_linear(x, window)
    sizes = moving_sum(np.abs(x), window)
    # beside 1e300, whose halves do not fit, one double is carried and not two
    rest = np.where(sizes > 1e299, 1e-14, 1e-27) * sizes
    with np.errstate(invalid="ignore"):
        close = np.abs(got - expected) <= 1e-14 * np.abs(expected) + rest + 1e-300
    assert ((got == expected) | (np.isnan(got) & np.isnan(expected)) | close).all()


@given(x=panels(), window=windows)
@settings(max_examples=2 * settings().max_examples)
def test_products_agree_with_exact_fractions_wherever_a_double_can_hold_them(x, window):
    """Also where a part of the window overflows or vanishes and the whole does not."""
    got, expected = run("product", x, window), slow.moving_product(x, window)
    np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-323)


def test_a_product_is_right_wherever_its_window_is_cut():
    x = np.tile([1e200, 1e200, 1e-200, 1e-200, 1e-160, 1e160, 3.0], 20)[:, None]
    for window in (7, 14, 49):
        np.testing.assert_allclose(run("product", x, window)[window - 1 :], 3.0 ** (window // 7), rtol=1e-13)
    assert (run("product", np.full((9, 1), 1e300), 3)[2:] == INF).all()
    assert (run("product", np.full((9, 1), 1e-300), 3)[2:] == 0.0).all()
    assert (run("product", np.array([[INF], [1e-300], [1e-300], [1e-300]]), 4)[3:] == INF).all()


@pytest.mark.parametrize("level", [0.1, 1.0, 1e8, 1e12])
def test_a_faded_mean_of_a_constant_is_the_constant_at_any_level(level):
    for window in (1, 2, 10, 37):
        got = run("decay_linear", np.full((120, 1), level), window)[window - 1 :]
        np.testing.assert_allclose(got, level, rtol=2.3e-16)


def test_a_million_bars_do_not_drift():
    x = np.random.default_rng(5).normal(size=(1_000_000, 1)) * 1e3 + 0.1
    weights = np.arange(1.0, 51.0) / (50 * 51 / 2)
    np.testing.assert_allclose(run("decay_linear", x, 50)[-1, 0], weights @ x[-50:, 0], rtol=1e-12)
    growth = 1 + x / 1e5
    np.testing.assert_allclose(run("product", growth, 50)[-1, 0], growth[-50:, 0].prod(), rtol=1e-13)


@given(x=panels(ordinary), window=windows, factor=st.floats(-8, 8))
def test_a_faded_mean_is_linear_and_lies_within_its_window(x, window, factor):
    got = run("decay_linear", x, window)[window - 1 :]
    slack = 1e-12 * np.abs(x).max() * max(abs(factor), 1)
    np.testing.assert_allclose(run("decay_linear", factor * x, window)[window - 1 :], factor * got, rtol=0, atol=slack)
    assert (got <= x.max(axis=0) + slack).all()
    assert (got >= x.min(axis=0) - slack).all()


@pytest.mark.parametrize("window", [1, 2, 5, 63])
def test_agrees_with_pandas_and_numpy_on_prices_with_gaps(gappy, window):
    frame = pd.DataFrame(gappy)
    np.testing.assert_array_equal(run("count", gappy, window), frame.rolling(window, min_periods=0).count())
    np.testing.assert_array_equal(run("ffill", gappy, window), frame.ffill(limit=window))
    weights = np.arange(1.0, window + 1)
    expected = frame.rolling(window).apply(lambda values: np.average(values, weights=weights), raw=True)
    np.testing.assert_allclose(run("decay_linear", gappy, window), expected, rtol=1e-12)
    growth = gappy / 100
    np.testing.assert_allclose(
        run("product", growth, window), pd.DataFrame(growth).rolling(window).apply(np.prod, raw=True), rtol=1e-12
    )


def test_bars_since_agrees_with_a_count_by_pandas(gappy):
    condition = pd.DataFrame(gappy).diff() > 2
    row = pd.DataFrame(np.arange(len(gappy))[:, None] * np.ones(6))
    expected = row - row.where(condition).ffill()
    np.testing.assert_array_equal(run("bars_since", condition.to_numpy(dtype=float), 1), expected)


def test_hand_table():
    x = np.array([[1.0], [2.0], [NAN], [4.0], [0.0], [-3.0], [NAN], [NAN], [NAN]])
    expected = {
        "decay_linear": [NAN, 5 / 3, NAN, NAN, 4 / 3, -2, NAN, NAN, NAN],
        "product": [NAN, 2, NAN, NAN, 0, 0, NAN, NAN, NAN],
        "count": [1, 2, 1, 1, 2, 2, 1, 0, 0],
        "bars_since": [0, 0, 1, 0, 1, 0, 1, 2, 3],
        "ffill": [1, 2, 2, 4, 0, -3, -3, -3, NAN],
    }
    for name, column in expected.items():
        np.testing.assert_allclose(run(name, x, 2)[:, 0], column, rtol=3e-16, err_msg=name)
    held = np.array([[0.0], [NAN], [INF], [0.0], [NAN]])
    np.testing.assert_array_equal(run("bars_since", held, 1)[:, 0], [NAN, NAN, 0, 1, 2])
    np.testing.assert_array_equal(run("ffill", x, 0), x)
    np.testing.assert_array_equal(
        run("decay_linear", np.array([[1.0], [INF], [2.0], [3.0]]), 2)[:, 0], [NAN, INF, INF, 8 / 3]
    )


def test_inputs_may_be_read_only_and_are_not_changed(gappy):
    before = gappy.tobytes()
    for name in ORACLES:
        run(name, gappy, 5)
    assert gappy.tobytes() == before


@pytest.mark.parametrize("name", ["decay_linear", "product"])
def test_a_window_longer_than_the_data_gives_nan(name):
    assert np.isnan(run(name, np.ones((5, 2)), 6)).all()


def test_a_count_over_more_bars_than_there_are_counts_those():
    assert run("count", np.array([[1.0], [NAN], [2.0]]), 100)[:, 0].tolist() == [1, 1, 2]
