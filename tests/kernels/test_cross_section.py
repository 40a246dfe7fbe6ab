"""Row-wise kernels against counting, exact fractions, pandas and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import cross_section as kernels
from knowable.testing.cross_oracle import CROSS

NAN, INF = np.nan, np.inf
TABLE = {
    "rank": lambda x, out: kernels.rank_kernel(x, False, out),
    "rank down": lambda x, out: kernels.rank_kernel(x, True, out),
    "pct_rank": lambda x, out: kernels.pct_rank_kernel(x, False, out),
    "pct_rank down": lambda x, out: kernels.pct_rank_kernel(x, True, out),
    "quantile": kernels.bucket_kernel,
    "top": lambda x, n, out: kernels.top_kernel(x, n, True, out),
    "bottom": lambda x, n, out: kernels.top_kernel(x, n, False, out),
    "zscore": lambda x, out: kernels.center_kernel(x, True, out),
    "demean": lambda x, out: kernels.center_kernel(x, False, out),
    "scale": lambda x, out: kernels.scale_kernel(x, 2.0, out),
    "winsorize": kernels.winsorize_kernel,
    "cross_sum": kernels.cross_sum_kernel,
    "cross_mean": kernels.cross_mean_kernel,
    "cross_count": kernels.cross_count_kernel,
}
# every kernel with a setting, for laws that hold whatever it is
EACH = [
    ("rank",), ("rank down",), ("pct_rank",), ("pct_rank down",), ("quantile", 3), ("top", 2), ("bottom", 2),
    ("zscore",), ("demean",), ("scale",), ("winsorize", 0.2), ("cross_sum",), ("cross_mean",), ("cross_count",),
]  # fmt: skip
IN_EVERY_COLUMN = ("cross_sum", "cross_mean", "cross_count")


def run(name, x, *chosen):
    x = np.ascontiguousarray(x)
    x.flags.writeable = False
    out = np.empty(x.shape)
    TABLE[name](x, *chosen, out)
    return out


@st.composite
def rows(draw, values, most=70):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, most)))
    return draw(arrays(np.float64, shape, elements=values, fill=values))


few_values = st.sampled_from([NAN, -INF, -1.0, -0.0, 0.0, 1.0, 2.0, INF])
many_values = st.floats(-1e6, 1e6, allow_subnormal=False)
few_finite = st.sampled_from([NAN, -1.0, -0.0, 0.0, 1.0, 2.0])


@pytest.mark.parametrize("name", ["rank", "rank down", "pct_rank", "pct_rank down"])
@given(x=st.one_of(rows(few_values), rows(many_values)))
def test_ranks_agree_with_counting(name, x):
    slow = CROSS[name.removesuffix(" down")]
    np.testing.assert_array_equal(run(name, x), slow(x, name.endswith("down")))


@pytest.mark.parametrize("name", ["quantile", "top", "bottom"])
@given(x=st.one_of(rows(few_values), rows(many_values)), n=st.integers(1, 12) | st.sampled_from([69, 1000, 10**6]))
def test_buckets_and_extremes_agree_with_counting(name, x, n):
    np.testing.assert_array_equal(run(name, x, n), CROSS[name](x, n))


@pytest.mark.parametrize("n_assets", [1, 15, 16, 17, 33, 64, 129, 500])
def test_rank_agrees_with_pandas_at_sizes_around_the_merge_steps(n_assets):
    rng = np.random.default_rng(n_assets)
    x = np.round(rng.normal(size=(40, n_assets)), 2)
    x[rng.random(x.shape) < 0.1] = NAN
    for name, ascending in (("rank", True), ("rank down", False)):
        frame = pd.DataFrame(x)
        expected = frame.rank(axis=1, method="average", ascending=ascending).to_numpy()
        np.testing.assert_array_equal(run(name, x), expected)
        shared = frame.rank(axis=1, pct=True, ascending=ascending).to_numpy()
        np.testing.assert_allclose(run(f"pct_{name}", x), shared, rtol=1e-15)


@pytest.mark.parametrize("case", EACH, ids=lambda case: case[0])
@settings(max_examples=40)
@given(x=st.one_of(rows(few_finite, most=20), rows(many_values, most=20)), seed=st.integers(0, 2**32 - 1))
def test_permuting_assets_permutes_results(case, x, seed):
    order = np.random.default_rng(seed).permutation(x.shape[1])
    scale = np.nanmax(np.abs(x), initial=1e-6)
    name, *chosen = case
    if name == "zscore":  # nearly equal values: their spread has fewer digits than they have
        x = np.round(x, 3)
    got, expected = run(name, x[:, order], *chosen), run(name, x, *chosen)[:, order]
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("case", EACH, ids=lambda case: case[0])
@settings(max_examples=40)
@given(x=st.one_of(rows(few_values), rows(many_values)), at=st.integers(0, 70))
def test_an_asset_without_values_changes_no_bit_of_the_others(case, x, at):
    name, *chosen = case
    at = min(at, x.shape[1])
    wider = run(name, np.insert(x, at, NAN, axis=1), *chosen)
    assert np.delete(wider, at, axis=1).tobytes() == run(name, x, *chosen).tobytes()
    assert name in IN_EVERY_COLUMN or np.isnan(wider[:, at]).all()


@pytest.mark.parametrize("case", EACH, ids=lambda case: case[0])
@settings(max_examples=40)
@given(x=rows(st.sampled_from([NAN, -NAN, -INF, INF, 0.0, 1.0, 1e308])))
def test_there_is_one_nan(case, x):
    name, *chosen = case
    made = run(name, x, *chosen)
    assert set(made[np.isnan(made)].view(np.int64)) <= {np.array(NAN).view(np.int64)[()]}


@pytest.mark.parametrize("case", EACH, ids=lambda case: case[0])
@settings(max_examples=40)
@given(x=st.one_of(rows(few_values), rows(many_values)))
def test_each_row_by_itself_gives_the_same_bits(case, x):
    name, *chosen = case
    whole = run(name, x, *chosen)
    assert whole.tobytes() == b"".join(run(name, x[t : t + 1], *chosen).tobytes() for t in range(len(x)))


@pytest.mark.parametrize("case", EACH, ids=lambda case: case[0])
@settings(max_examples=40)
@given(x=st.one_of(rows(few_values, most=20), rows(many_values, most=20)), power=st.integers(-30, 30))
def test_in_another_unit_only_what_has_a_unit_changes(case, x, power):
    name, *chosen = case
    x, unit = np.round(x, 6), 2.0**power  # below 1e-308 digits are lost
    scales = unit if name in {"demean", "winsorize", "cross_sum", "cross_mean"} else 1.0
    assert (run(name, x * unit, *chosen)).tobytes() == (run(name, x, *chosen) * scales).tobytes()


@given(x=st.one_of(rows(few_values), rows(many_values)), n=st.integers(1, 12), share=st.floats(0, 0.5))
def test_turning_the_sign_around_turns_the_rows_order_around(x, n, share):
    np.testing.assert_array_equal(run("rank", -x), run("rank down", x))
    np.testing.assert_array_equal(run("top", -x, n), run("bottom", x, n))
    np.testing.assert_array_equal(run("winsorize", -x, share), -run("winsorize", x, share))
    straight, around = run("quantile", x, n), run("quantile", -x, n)
    middle = straight + around == n + 2  # on the very middle cut there is no inner bucket
    assert n % 2 == 0 or not middle.any()
    np.testing.assert_array_equal(straight[middle], np.full(middle.sum(), n // 2 + 1.0))
    np.testing.assert_array_equal(np.where(middle, NAN, straight), np.where(middle, NAN, n + 1 - around))


@given(per_bucket=st.integers(1, 20), n=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_buckets_of_equal_size_are_those_of_pandas_qcut(per_bucket, n, seed):
    x = np.random.default_rng(seed).normal(size=(3, per_bucket * n))
    expected = [pd.qcut(row, n, labels=False) + 1 for row in x] if per_bucket * n > 1 else [[1]] * 3
    np.testing.assert_array_equal(run("quantile", x, n), expected)


@given(x=rows(many_values), n=st.integers(1, 40))
def test_top_holds_the_n_largest_of_pandas_with_all_ties(x, n):
    x = np.round(x, -5)
    for row, got, low in zip(x, run("top", x, n), run("bottom", x, n), strict=True):
        series = pd.Series(row)
        assert set(np.flatnonzero(got)) == set(series.nlargest(n, keep="all").index)
        assert set(np.flatnonzero(low)) == set(series.nsmallest(n, keep="all").index)


@pytest.mark.parametrize("name", ["zscore", "demean", "scale", "cross_sum", "cross_mean", "cross_count"])
@given(x=rows(st.one_of(many_values, st.just(NAN)), most=20))
def test_sums_agree_with_exact_fractions(name, x):
    scale = np.nanmax(np.abs(x), initial=1e-6)
    more = (2.0,) if name == "scale" else ()
    got, expected = run(name, x), CROSS[name](x, *more)
    if name == "zscore":  # nearly equal values: their spread has fewer digits than they have
        low = np.nanmin(x, axis=1, keepdims=True, initial=np.inf)
        spread = np.nanmax(x, axis=1, keepdims=True, initial=-np.inf) - low
        sure = np.broadcast_to((spread == 0) | (spread > 1e-6 * scale), x.shape)
        np.testing.assert_allclose(got[sure], expected[sure], rtol=1e-8, atol=1e-8)
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * scale)


@given(x=rows(st.one_of(many_values, st.just(NAN)), most=30), share=st.floats(0, 0.5))
def test_winsorize_agrees_with_quantiles_in_fractions(x, share):
    scale = np.nanmax(np.abs(x), initial=1e-6)
    np.testing.assert_allclose(run("winsorize", x, share), CROSS["winsorize"](x, share), rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("n_assets", [1, 2, 3, 21, 101, 400])
def test_winsorize_agrees_with_pandas_clipped_at_its_quantiles(n_assets, share):
    rng = np.random.default_rng(n_assets)
    x = rng.standard_t(3, size=(50, n_assets))
    x[rng.random(x.shape) < 0.1] = NAN
    frame = pd.DataFrame(x)
    low, high = frame.quantile(share, axis=1), frame.quantile(1 - share, axis=1)
    np.testing.assert_allclose(run("winsorize", x, share), frame.clip(low, high, axis=0), rtol=1e-9, atol=1e-12)


def test_winsorize_holds_beside_infinities_and_the_largest_numbers():
    x = np.array([[-INF, 0.0, 1.0, 2.0, INF], [-1.7e308, -1.0, 0.0, 1.0, 1.7e308], [-INF, -INF, 3.0, INF, INF]])
    pulled = run("winsorize", x, 0.125)  # half way between the outermost two
    np.testing.assert_array_equal(pulled[0], x[0])
    np.testing.assert_array_equal(pulled[1], [-0.85e308, -1.0, 0.0, 1.0, 0.85e308])
    np.testing.assert_array_equal(pulled[2], x[2])
    np.testing.assert_array_equal(run("winsorize", x, 0.25)[0], [0.0, 0.0, 1.0, 2.0, 2.0])


def test_agrees_with_pandas_along_the_columns():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(200, 30)) * 5 + 100
    x[rng.random(x.shape) < 0.2] = NAN
    frame = pd.DataFrame(x)
    demeaned = frame.sub(frame.mean(axis=1), axis=0)
    np.testing.assert_allclose(run("demean", x), demeaned, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run("zscore", x), demeaned.div(frame.std(axis=1), axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run("scale", x), 2 * frame.div(frame.abs().sum(axis=1), axis=0), rtol=1e-12)
    np.testing.assert_allclose(run("cross_sum", x)[:, 0], frame.sum(axis=1, min_count=1), rtol=1e-12)
    np.testing.assert_allclose(run("cross_mean", x)[:, 7], frame.mean(axis=1), rtol=1e-14)
    np.testing.assert_array_equal(run("cross_count", x)[:, 29], frame.count(axis=1))


def test_hand_table():
    x = np.array([[3.0, 1.0, NAN, 3.0], [NAN, NAN, NAN, NAN], [5.0, 5.0, 5.0, 5.0], [NAN, 7.0, NAN, NAN]])
    nans = [NAN] * 4
    np.testing.assert_array_equal(run("rank", x), [[2.5, 1, NAN, 2.5], nans, [2.5] * 4, [NAN, 1, NAN, NAN]])
    np.testing.assert_array_equal(run("rank down", x), [[1.5, 3, NAN, 1.5], nans, [2.5] * 4, [NAN, 1, NAN, NAN]])
    np.testing.assert_array_equal(run("cross_sum", x), [[7] * 4, nans, [20] * 4, [7] * 4])
    np.testing.assert_array_equal(run("cross_mean", x), [[7 / 3] * 4, nans, [5] * 4, [7] * 4])
    np.testing.assert_array_equal(run("cross_count", x), [[3] * 4, [0] * 4, [4] * 4, [1] * 4])
    np.testing.assert_allclose(run("demean", x), [[2 / 3, -4 / 3, NAN, 2 / 3], nans, [0] * 4, [NAN, 0, NAN, NAN]])
    s = (4 / 3) ** 0.5
    np.testing.assert_allclose(run("zscore", x), [[2 / 3 / s, -4 / 3 / s, NAN, 2 / 3 / s], nans, nans, nans])


def test_hand_table_of_shares_and_ties():
    x = np.array([[4.0, 2.0, NAN, 2.0, 1.0], [-1.0, 1.0, 0.0, NAN, 2.0], [0.0, 0.0, 0.0, 0.0, -0.0]])
    same = [0.6] * 5
    np.testing.assert_array_equal(run("pct_rank", x)[:2], [[1, 0.625, NAN, 0.625, 0.25], [0.25, 0.75, 0.5, NAN, 1]])
    np.testing.assert_array_equal(run("pct_rank", x)[2], same)
    np.testing.assert_array_equal(run("pct_rank down", x)[0], [0.25, 0.625, NAN, 0.625, 1])
    np.testing.assert_array_equal(
        run("scale", x), [[8 / 9, 4 / 9, NAN, 4 / 9, 2 / 9], [-0.5, 0.5, 0, NAN, 1], [NAN] * 5]
    )
    # two tie for the second place: both are in; the row of equal values is in as a whole
    np.testing.assert_array_equal(run("top", x, 2), [[1, 1, NAN, 1, 0], [0, 1, 0, NAN, 1], [1] * 5])
    np.testing.assert_array_equal(run("bottom", x, 1), [[0, 0, NAN, 0, 1], [1, 0, 0, NAN, 0], [1] * 5])
    np.testing.assert_array_equal(run("top", x, 9), [[1, 1, NAN, 1, 1], [1, 1, 1, NAN, 1], [1] * 5])
    # the tied pair sits on the middle cut: the upper bucket
    np.testing.assert_array_equal(run("quantile", x, 2), [[2, 2, NAN, 2, 1], [1, 2, 1, NAN, 2], [2] * 5])
    np.testing.assert_array_equal(run("quantile", x, 3), [[3, 2, NAN, 2, 1], [1, 2, 2, NAN, 3], [2] * 5])
    np.testing.assert_array_equal(run("quantile", x, 9), [[8, 5, NAN, 5, 2], [2, 6, 4, NAN, 8], [5] * 5])
    np.testing.assert_array_equal(run("winsorize", x, 0.25)[1], [-0.25, 1, 0, NAN, 1.25])


@pytest.mark.parametrize("unit", [2.0**-1060, 2.0**-600, 1.0, 2.0**500, 2.0**1015])
def test_a_zscore_neither_overflows_nor_vanishes(unit):
    x = np.array([[1.0, 2.0, 5.0, NAN, 100.0], [3.0, 3.0, 3.0, NAN, NAN]])
    np.testing.assert_allclose(run("zscore", x * unit), run("zscore", x), rtol=1e-12)


@given(value=st.floats(-1e300, 1e300), n_assets=st.integers(2, 30), share=st.floats(0, 0.5))
def test_equal_values_have_exactly_no_spread(value, n_assets, share):
    x = np.full((1, n_assets), value)
    assert (run("demean", x) == 0.0).all()
    assert (run("cross_mean", x) == value).all()
    assert (run("winsorize", x, share) == value).all()
    assert np.isnan(run("zscore", x)).all()
