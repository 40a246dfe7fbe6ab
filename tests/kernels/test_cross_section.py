"""Row-wise kernels against counting, exact fractions, pandas and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import cross_section
from knowable.testing import rolling_oracle as slow

NAN = np.nan


def run(name, x):
    x = np.ascontiguousarray(x)
    x.flags.writeable = False
    out = np.empty(x.shape)
    {
        "rank": lambda: cross_section.rank_kernel(x, False, out),
        "rank down": lambda: cross_section.rank_kernel(x, True, out),
        "zscore": lambda: cross_section.center_kernel(x, True, out),
        "demean": lambda: cross_section.center_kernel(x, False, out),
        "cross_sum": lambda: cross_section.cross_sum_kernel(x, out),
    }[name]()
    return out


@st.composite
def rows(draw, values, most=70):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, most)))
    return draw(arrays(np.float64, shape, elements=values, fill=values))


few_values = st.sampled_from([NAN, -np.inf, -1.0, -0.0, 0.0, 1.0, 2.0, np.inf])
many_values = st.floats(-1e6, 1e6, allow_subnormal=False)


@pytest.mark.parametrize("descending", [False, True])
@given(x=st.one_of(rows(few_values), rows(many_values)))
def test_rank_agrees_with_counting(x, descending):
    np.testing.assert_array_equal(run("rank down" if descending else "rank", x), slow.rank(x, descending))


@pytest.mark.parametrize("n_assets", [1, 15, 16, 17, 33, 64, 129, 500])
def test_rank_agrees_with_pandas_at_sizes_around_the_merge_steps(n_assets):
    rng = np.random.default_rng(n_assets)
    x = np.round(rng.normal(size=(40, n_assets)), 2)
    x[rng.random(x.shape) < 0.1] = NAN
    for name, ascending in (("rank", True), ("rank down", False)):
        expected = pd.DataFrame(x).rank(axis=1, method="average", ascending=ascending).to_numpy()
        np.testing.assert_array_equal(run(name, x), expected)


@given(x=rows(few_values), seed=st.integers(0, 2**32 - 1))
def test_permuting_assets_permutes_ranks(x, seed):
    order = np.random.default_rng(seed).permutation(x.shape[1])
    np.testing.assert_array_equal(run("rank", x)[:, order], run("rank", x[:, order]))


@pytest.mark.parametrize("name", ["rank", "rank down", "zscore", "demean", "cross_sum"])
@given(x=st.one_of(rows(few_values), rows(many_values)))
def test_each_row_by_itself_gives_the_same_bits(name, x):
    whole = run(name, x)
    assert whole.tobytes() == b"".join(run(name, x[t : t + 1]).tobytes() for t in range(len(x)))


@pytest.mark.parametrize("name", ["zscore", "demean", "cross_sum"])
@given(x=rows(st.one_of(many_values, st.just(NAN)), most=20))
def test_sums_agree_with_exact_fractions(name, x):
    scale = np.nanmax(np.abs(x), initial=1e-6)
    got, expected = run(name, x), getattr(slow, name)(x)
    if name == "zscore":  # nearly equal values: their spread has fewer digits than they have
        low = np.nanmin(x, axis=1, keepdims=True, initial=np.inf)
        spread = np.nanmax(x, axis=1, keepdims=True, initial=-np.inf) - low
        sure = np.broadcast_to((spread == 0) | (spread > 1e-6 * scale), x.shape)
        np.testing.assert_allclose(got[sure], expected[sure], rtol=1e-8, atol=1e-8)
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * scale)


def test_agrees_with_pandas_along_the_columns():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 30)) * 5 + 100
    x[rng.random(x.shape) < 0.2] = NAN
    frame = pd.DataFrame(x)
    demeaned = frame.sub(frame.mean(axis=1), axis=0)
    np.testing.assert_allclose(run("demean", x), demeaned, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run("zscore", x), demeaned.div(frame.std(axis=1), axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run("cross_sum", x)[:, 0], frame.sum(axis=1, min_count=1), rtol=1e-12)


def test_hand_table():
    x = np.array([[3.0, 1.0, NAN, 3.0], [NAN, NAN, NAN, NAN], [5.0, 5.0, 5.0, 5.0], [NAN, 7.0, NAN, NAN]])
    nans = [NAN] * 4
    np.testing.assert_array_equal(run("rank", x), [[2.5, 1, NAN, 2.5], nans, [2.5] * 4, [NAN, 1, NAN, NAN]])
    np.testing.assert_array_equal(run("rank down", x), [[1.5, 3, NAN, 1.5], nans, [2.5] * 4, [NAN, 1, NAN, NAN]])
    np.testing.assert_array_equal(run("cross_sum", x), [[7] * 4, nans, [20] * 4, [7] * 4])
    np.testing.assert_allclose(run("demean", x), [[2 / 3, -4 / 3, NAN, 2 / 3], nans, [0] * 4, [NAN, 0, NAN, NAN]])
    s = (4 / 3) ** 0.5
    np.testing.assert_allclose(run("zscore", x), [[2 / 3 / s, -4 / 3 / s, NAN, 2 / 3 / s], nans, nans, nans])


@given(value=st.floats(-1e300, 1e300), n_assets=st.integers(2, 30))
def test_equal_values_have_exactly_no_spread(value, n_assets):
    x = np.full((1, n_assets), value)
    assert (run("demean", x) == 0.0).all()
    assert np.isnan(run("zscore", x)).all()
