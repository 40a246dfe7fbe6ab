"""Kernels within groups against the same function of each group alone, pandas and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import cross_section
from knowable.kernels import groups as kernels
from knowable.testing.cross_oracle import GROUPED

NAN, INF = np.nan, np.inf
TABLE = {
    "group_rank": lambda x, g, out: kernels.group_rank_kernel(x, g, False, out),
    "group_rank down": lambda x, g, out: kernels.group_rank_kernel(x, g, True, out),
    "group_zscore": lambda x, g, out: kernels.group_center_kernel(x, g, True, out),
    "group_neutralize": lambda x, g, out: kernels.group_center_kernel(x, g, False, out),
    "group_sum": lambda x, g, out: kernels.group_total_kernel(x, g, 0, out),
    "group_mean": lambda x, g, out: kernels.group_total_kernel(x, g, 1, out),
    "group_count": lambda x, g, out: kernels.group_total_kernel(x, g, 2, out),
}
EACH = list(TABLE)
FOR_EACH_OF_THE_GROUP = ("group_sum", "group_mean", "group_count")


def run(name, x, groups):
    x, groups = np.ascontiguousarray(x), np.ascontiguousarray(groups)
    x.flags.writeable = groups.flags.writeable = False
    out = np.empty(x.shape)
    TABLE[name](x, groups, out)
    return out


values = st.one_of(st.sampled_from([NAN, -1.0, -0.0, 0.0, 1.0, 2.0]), st.integers(-(10**6), 10**6).map(float))
few_codes = st.sampled_from([NAN, 0.0, -0.0, 1.0, 1.0, -1.0, 0.1, 1e300, INF])
many_codes = st.floats(allow_nan=False)


@st.composite
def cases(draw, most=40):
    """Values and codes; the codes of a row are often those of the row before."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, most)))
    x = draw(arrays(np.float64, shape, elements=values, fill=values))
    codes = draw(st.sampled_from([few_codes, many_codes, few_codes | many_codes]))
    groups = draw(arrays(np.float64, shape, elements=codes, fill=codes))
    for t in range(1, shape[0]):
        if draw(st.booleans()):
            groups[t] = groups[t - 1]
    return x, groups


@pytest.mark.parametrize("name", EACH)
@given(case=cases())
def test_agrees_with_each_group_computed_as_if_alone(name, case):
    x, groups = case
    more = (name.endswith("down"),) if "rank" in name else ()
    expected = GROUPED[name.removesuffix(" down")](x, groups, *more)
    np.testing.assert_allclose(run(name, x, groups), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_groups", [1, 11, 400])
def test_agrees_with_pandas_groupby(n_groups):
    rng = np.random.default_rng(n_groups)
    x = np.round(rng.normal(size=(20, 400)), 2)
    groups = rng.integers(0, n_groups, x.shape) * 0.37
    x[rng.random(x.shape) < 0.1] = NAN
    groups[rng.random(x.shape) < 0.05] = NAN
    for t in range(len(x)):
        row = pd.Series(x[t])
        grouped = row.groupby(groups[t])
        mean = grouped.transform("mean")
        expected = {
            "group_rank": grouped.rank(),
            "group_rank down": grouped.rank(ascending=False),
            "group_mean": mean,
            "group_sum": grouped.transform("sum", min_count=1),
            "group_count": grouped.transform("count"),
            "group_neutralize": row - mean,
            "group_zscore": ((row - mean) / grouped.transform("std")).replace([INF, -INF], NAN),
        }
        for name in EACH:
            got = run(name, x[t : t + 1], groups[t : t + 1])[0]
            np.testing.assert_allclose(got, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_hand_table():
    x = np.array([[4.0, 2.0, NAN, 1.0, 2.0, 9.0, 5.0]])
    groups = np.array([[7.0, 7.0, 7.0, -3.5, 7.0, NAN, -3.5]])
    expected = {
        "group_rank": [3, 1.5, NAN, 1, 1.5, NAN, 2],
        "group_rank down": [1, 2.5, NAN, 2, 2.5, NAN, 1],
        "group_sum": [8, 8, 8, 6, 8, NAN, 6],
        "group_mean": [8 / 3, 8 / 3, 8 / 3, 3, 8 / 3, NAN, 3],
        "group_count": [3, 3, 3, 2, 3, NAN, 2],
        "group_neutralize": [4 / 3, -2 / 3, NAN, -2, -2 / 3, NAN, 2],
        "group_zscore": [2 / 3**0.5, -1 / 3**0.5, NAN, -(0.5**0.5), -1 / 3**0.5, NAN, 0.5**0.5],
    }
    for name in EACH:
        np.testing.assert_allclose(run(name, x, groups)[0], expected[name], rtol=1e-15, err_msg=name)


def test_a_group_without_values_counts_none_and_sums_to_nothing_known():
    x, groups = np.array([[NAN, NAN, 3.0]]), np.array([[1.0, 1.0, 2.0]])
    np.testing.assert_array_equal(run("group_count", x, groups), [[0, 0, 1]])
    np.testing.assert_array_equal(run("group_sum", x, groups), [[NAN, NAN, 3]])
    np.testing.assert_array_equal(run("group_mean", x, groups), [[NAN, NAN, 3]])


def test_minus_zero_and_zero_are_one_group():
    x, groups = np.array([[1.0, 2.0, 4.0]]), np.array([[0.0, -0.0, 0.0]])
    np.testing.assert_array_equal(run("group_sum", x, groups), [[7, 7, 7]])


@pytest.mark.parametrize("name", EACH)
@settings(max_examples=40)
@given(case=cases())
def test_one_group_of_all_gives_the_bits_of_the_function_across_assets(name, case):
    x, _ = case
    out = np.empty_like(x)
    {
        "group_rank": lambda: cross_section.rank_kernel(x, False, out),
        "group_rank down": lambda: cross_section.rank_kernel(x, True, out),
        "group_zscore": lambda: cross_section.center_kernel(x, True, out),
        "group_neutralize": lambda: cross_section.center_kernel(x, False, out),
        "group_sum": lambda: cross_section.cross_sum_kernel(x, out),
        "group_mean": lambda: cross_section.cross_mean_kernel(x, out),
        "group_count": lambda: cross_section.cross_count_kernel(x, out),
    }[name]()
    np.testing.assert_array_equal(run(name, x, np.full(x.shape, 3.0)), out)


@pytest.mark.parametrize("name", EACH)
@settings(max_examples=40)
@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_there_is_one_nan(name, case, seed):
    x, groups = case
    wild = np.random.default_rng(seed).choice([NAN, -NAN, -INF, INF, 0.0, 1.0, 1e308], x.shape)
    made = run(name, wild, groups)
    assert set(made[np.isnan(made)].view(np.int64)) <= {np.array(NAN).view(np.int64)[()]}


@pytest.mark.parametrize("name", EACH)
@settings(max_examples=40)
@given(case=cases())
def test_each_row_by_itself_gives_the_same_bits(name, case):
    x, groups = case
    whole = run(name, x, groups)
    assert whole.tobytes() == b"".join(run(name, x[[t]], groups[[t]]).tobytes() for t in range(len(x)))


@pytest.mark.parametrize("name", EACH)
@settings(max_examples=40)
@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_permuting_assets_permutes_results(name, case, seed):
    x, groups = case
    order = np.random.default_rng(seed).permutation(x.shape[1])
    turned = run(name, x[:, order], groups[:, order])
    np.testing.assert_allclose(turned, run(name, x, groups)[:, order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", EACH)
@settings(max_examples=40)
@given(case=cases(), at=st.integers(0, 40), code=few_codes)
def test_an_asset_without_values_changes_no_bit_of_the_others(name, case, at, code):
    x, groups = case
    at = min(at, x.shape[1])
    wider = run(name, np.insert(x, at, NAN, axis=1), np.insert(groups, at, code, axis=1))
    assert np.delete(wider, at, axis=1).tobytes() == run(name, x, groups).tobytes()
    assert name in FOR_EACH_OF_THE_GROUP or np.isnan(wider[:, at]).all()


@pytest.mark.parametrize("name", EACH)
@settings(max_examples=40)
@given(case=cases())
def test_what_the_codes_are_makes_no_difference(name, case):
    x, groups = case
    codes = {code: float(k) for k, code in enumerate(np.unique(groups[groups == groups] + 0.0))}
    named = np.array([[codes.get(code, NAN) for code in row] for row in (groups + 0.0).tolist()])
    assert run(name, x, named).tobytes() == run(name, x, groups).tobytes()


@pytest.mark.parametrize("unit", [2.0**-1060, 2.0**-600, 1.0, 2.0**500, 2.0**1015])
def test_a_zscore_neither_overflows_nor_vanishes(unit):
    """Beside groups of usual size, of one value and of equal values."""
    x = np.array([[1.0, 2.0, 5.0, NAN, 100.0, 7.0, 9.0, 3.0, 3.0, 1.0]])
    groups = np.array([[1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0]])
    sized = np.where(groups == 1.0, x * unit, x)
    np.testing.assert_allclose(run("group_zscore", sized, groups), run("group_zscore", x, groups), rtol=1e-12)
    np.testing.assert_allclose(run("group_zscore", x * unit, groups), run("group_zscore", x, groups), rtol=1e-12)


def test_codes_that_all_fall_into_one_slot_are_kept_apart():
    """Slots are the top bits of bits times a constant; these codes are what its inverse makes of 0, 1, 2, ..."""
    inverse = pow(0x9E3779B97F4A7C15, -1, 2**64)
    codes = np.array([k * inverse % 2**64 for k in range(200)], dtype=np.uint64).view(np.float64)
    codes = codes[codes == codes]
    assert len(codes) > 150
    groups = np.concatenate([codes, codes])[None, :]
    x = np.random.default_rng(3).normal(size=groups.shape)
    half = len(codes)
    np.testing.assert_allclose(run("group_sum", x, groups)[0], np.tile(x[0, :half] + x[0, half:], 2), rtol=1e-14)
    np.testing.assert_array_equal(run("group_count", x, groups), np.full(x.shape, 2.0))
