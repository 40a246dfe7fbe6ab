"""Order in moving windows against sorted windows, pandas, numpy, hand tables and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import order
from knowable.testing import order_oracle as slow
from knowable.testing.pieces import in_pieces

NAN, INF = np.nan, np.inf


def run(name, x, window, cuts=(), q=0.5):
    """One kernel over x, in the pieces that `cuts` make."""
    state, call = {
        "argmin": (order.arg_state, lambda x, s, out: order.arg_kernel(x, 1.0, s, out)),
        "argmax": (order.arg_state, lambda x, s, out: order.arg_kernel(x, -1.0, s, out)),
        "rank": (order.rank_state, lambda x, s, out: order.rank_kernel(x, window, s, out)),
        "quantile": (order.quantile_state, lambda x, s, out: order.quantile_kernel(x, window, q, s, out)),
    }[name]
    return in_pieces(call, x, state=state(window, x.shape[1]), cuts=cuts)


ORACLES = {
    "argmin": slow.moving_argmin,
    "argmax": slow.moving_argmax,
    "rank": slow.moving_rank,
    "quantile": slow.moving_median,
}
every_kernel = pytest.mark.parametrize("name", ORACLES)

few = st.sampled_from([NAN, 0.0, -0.0, 1.0, 1.0, 2.0, -1.0])  # many ties
nasty = st.one_of(st.floats(-1e6, 1e6), few, st.sampled_from([NAN, INF, -INF, 1e300, -1e300, 1.7e308, 5e-324, -5e-324]))


@st.composite
def panels(draw, values=nasty):
    shape = draw(st.tuples(st.integers(1, 50), st.integers(1, 3)))
    return draw(arrays(np.float64, shape, elements=values, fill=values))


any_panel = st.one_of(panels(), panels(few))
windows = st.integers(1, 18)  # rings are filled up to 16 and 32
cuts = st.lists(st.integers(0, 50), max_size=8)
shares = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.floats(0, 1))


@every_kernel
@given(x=any_panel, window=windows, cuts=cuts, q=shares)
def test_any_chunking_gives_the_same_bits(name, x, window, cuts, q):
    got = run(name, x, window, q=q)
    assert set(got[np.isnan(got)].view(np.int64)) <= {np.array(NAN).view(np.int64)[()]}  # there is one NaN
    whole = got.tobytes()
    assert whole == run(name, x, window, cuts, q=q).tobytes()
    assert whole == run(name, x, window, range(len(x)), q=q).tobytes()


@pytest.mark.parametrize("name", ["argmin", "argmax", "rank"])
@given(x=any_panel, window=windows)
@settings(max_examples=2 * settings().max_examples)
def test_places_and_ranks_agree_exactly_with_each_window_searched_by_itself(name, x, window):
    np.testing.assert_array_equal(run(name, x, window), ORACLES[name](x, window))


@given(x=any_panel, window=windows, q=shares)
@settings(max_examples=3 * settings().max_examples)
def test_quantiles_agree_with_each_window_sorted_by_itself(x, window, q):
    got, expected = run("quantile", x, window, q=q), slow.moving_quantile(x, window, q)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-290)
    if (q * (window - 1)).is_integer():
        np.testing.assert_array_equal(got, expected)


@given(x=any_panel, window=windows, q=shares, cut=st.integers(0, 50), later=st.floats(allow_nan=True))
def test_what_is_in_the_window_alone_decides_to_the_bit(x, window, q, cut, later):
    """What came before is forgotten, a NaN, an infinity and 1e300 included; what comes later is not seen."""
    for name in ORACLES:
        whole = run(name, x, window, q=q)
        changed = x.copy()
        changed[cut:] = later
        assert run(name, changed, window, q=q)[:cut].tobytes() == whole[:cut].tobytes()
        start = min(cut, len(x))
        alone = run(name, x[start:], window, q=q)[window - 1 :]
        assert alone.tobytes() == whole[start:][window - 1 :].tobytes()


@given(x=any_panel, window=windows, q=shares)
def test_assets_stand_alone_and_permuting_them_permutes_the_results(x, window, q):
    for name in ORACLES:
        whole = run(name, x, window, q=q)
        assert np.ascontiguousarray(whole[:, ::-1]).tobytes() == run(name, x[:, ::-1], window, q=q).tobytes()
        alone = [run(name, x[:, [j]], window, q=q) for j in range(x.shape[1])]
        assert np.hstack(alone).tobytes() == whole.tobytes()


def test_columns_of_several_blocks_are_as_each_by_itself():
    """Windows so long that the rings of all columns do not fit the block that is worked on at a time."""
    x = np.random.default_rng(1).normal(size=(700, 200)).round(2)
    x[::97, 50] = NAN
    for name in ("rank", "quantile"):
        whole = run(name, x, 600, cuts=(13, 650))
        for j in (0, 50, 108, 109, 110, 199):
            assert run(name, x[:, [j]], 600).tobytes() == np.ascontiguousarray(whole[:, [j]]).tobytes()


@given(x=panels(st.floats(-1e6, 1e6)), window=windows)
def test_ranks_of_a_thing_and_its_opposite_add_up_to_one_more_than_the_window(x, window):
    total = (run("rank", x, window) + run("rank", -x, window))[window - 1 :]
    assert (total == window + 1).all()


@given(x=panels(st.floats(-1e6, 1e6)), window=windows, low=shares, high=shares)
def test_quantiles_grow_with_the_share_and_end_at_the_extremes(x, window, low, high):
    low, high = sorted((low, high))
    smallest, lower, higher, largest = (run("quantile", x, window, q=q)[window - 1 :] for q in (0.0, low, high, 1.0))
    slack = 1e-9 * np.abs(x).max()
    assert (smallest <= lower + slack).all()
    assert (lower <= higher + slack).all()
    assert (higher <= largest + slack).all()
    places = run("argmax", x, window)[window - 1 :].astype(int) + np.arange(max(len(x) - window + 1, 0))[:, None]
    assert (largest == np.take_along_axis(x, places, axis=0)).all()


@pytest.fixture
def gappy():
    rng = np.random.default_rng(11)
    x = (100 * np.exp(rng.normal(scale=0.02, size=(900, 7)).cumsum(axis=0))).round(1)  # prices in ticks have ties
    x[rng.random(x.shape) < 0.005] = NAN
    x[:90, 2] = NAN
    x[400:, 3] = NAN
    x[:, 5] = NAN
    x[:, 6] = 42.0
    return x


@pytest.mark.parametrize("window", [1, 2, 5, 16, 63, 250])
def test_agrees_with_pandas_rolling_on_prices_with_gaps_and_ties(gappy, window):
    rolling = pd.DataFrame(gappy).rolling(window)
    np.testing.assert_array_equal(run("rank", gappy, window), rolling.rank())
    np.testing.assert_array_equal(run("quantile", gappy, window), rolling.median())
    for q in (0.0, 0.1, 0.75, 1.0):
        np.testing.assert_allclose(run("quantile", gappy, window, q=q), rolling.quantile(q), rtol=1e-14)


@pytest.mark.parametrize("window", [1, 2, 5, 63])
def test_agrees_with_numpy_on_each_window(gappy, window):
    views = np.lib.stride_tricks.sliding_window_view(gappy, window, axis=0)
    missing = np.isnan(views).any(axis=-1)
    for name in ("argmin", "argmax"):
        expected = np.where(missing, NAN, getattr(views, name)(axis=-1))
        np.testing.assert_array_equal(run(name, gappy, window)[window - 1 :], expected)
    expected = np.quantile(views, 0.3, axis=-1)
    np.testing.assert_allclose(run("quantile", gappy, window, q=0.3)[window - 1 :], expected, rtol=1e-14)


def test_hand_table():
    x = np.array([[3.0], [1.0], [1.0], [4.0], [NAN], [2.0], [2.0], [-INF], [INF]])
    expected = {
        "argmin": [NAN, NAN, 1, 0, NAN, NAN, NAN, 2, 1],
        "argmax": [NAN, NAN, 0, 2, NAN, NAN, NAN, 0, 2],
        "rank": [NAN, NAN, 1.5, 3, NAN, NAN, NAN, 1, 3],
        "quantile": [NAN, NAN, 1, 1, NAN, NAN, NAN, 2, 2],
    }
    for name, column in expected.items():
        np.testing.assert_array_equal(run(name, x, 3)[:, 0], column, err_msg=name)
    halves = run("quantile", x, 2)[:, 0]
    np.testing.assert_array_equal(halves, [NAN, 2, 1, 2.5, NAN, NAN, 2, -INF, NAN])
    np.testing.assert_array_equal(run("quantile", x, 3, q=0.75)[:, 0], [NAN, NAN, 2, 2.5, NAN, NAN, NAN, 2, INF])


def test_inputs_may_be_read_only_and_are_not_changed(gappy):
    before = gappy.tobytes()
    for name in ORACLES:
        run(name, gappy, 5)
    assert gappy.tobytes() == before


@every_kernel
def test_a_window_longer_than_the_data_gives_nan(name):
    assert np.isnan(run(name, np.ones((5, 2)), 6)).all()


@pytest.mark.parametrize("shape", ["rising", "falling", "valley", "saw", "constant"])
def test_paths_that_defeat_simple_selection_are_right_too(shape):
    t = np.arange(400.0)
    x = {"rising": t, "falling": -t, "valley": np.abs(t - 200), "saw": t % 7, "constant": 0 * t}[shape][:, None].copy()
    x[[150, 260]] = NAN  # a full window is selected from afresh after a gap
    expected = pd.DataFrame(x).rolling(64).quantile(0.37)
    np.testing.assert_allclose(run("quantile", x, 64, q=0.37), expected, rtol=1e-14)
