"""Residuals of a row against numpy's least squares, exact fractions and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels.cross_regression import neutralize_kernel
from knowable.testing.cross_oracle import CROSS

NAN, INF = np.nan, np.inf
slow = CROSS["neutralize"]


def run(x, *by):
    x = np.ascontiguousarray(x)
    x.flags.writeable = False
    out = np.empty(x.shape)
    neutralize_kernel(x, np.ascontiguousarray(np.stack(by)), out)  # another layout would be compiled for itself
    return out


def by_lstsq(x, *by):
    """Row by row with numpy's SVD."""
    out = np.full(x.shape, NAN)
    for t in range(len(x)):
        here = np.isfinite(np.stack([x[t], *(each[t] for each in by)])).all(axis=0)
        columns = np.stack([np.ones(here.sum()), *(each[t, here] for each in by)], axis=1)
        if here.sum() > np.linalg.matrix_rank(columns):
            out[t, here] = x[t, here] - columns @ np.linalg.lstsq(columns, x[t, here])[0]
    return out


small = st.integers(-3, 3).map(float)  # their combinations are exact, or far from it


values = st.one_of(small, small, small, st.sampled_from([NAN, INF]))


@st.composite
def cases(draw):
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 8)))
    panel = arrays(np.float64, shape, elements=values, fill=values)
    return [draw(panel) for _ in range(1 + draw(st.integers(1, 3)))]


@given(panels=cases())
@settings(max_examples=3 * settings().max_examples)
def test_agrees_with_exact_gram_schmidt(panels):
    np.testing.assert_allclose(run(*panels), slow(*panels), rtol=1e-9, atol=1e-12)


@given(panels=cases())
def test_agrees_with_numpy_where_features_depend_on_one_another(panels):
    np.testing.assert_allclose(run(*panels), by_lstsq(*panels), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_features", [1, 2, 5, 12])
@pytest.mark.parametrize("n_assets", [3, 14, 50, 500])
def test_agrees_with_numpy_on_features_of_very_different_sizes(n_features, n_assets):
    rng = np.random.default_rng(n_assets)
    x = rng.normal(size=(20, n_assets)) + 100
    by = [rng.normal(size=x.shape) + 3 for _ in range(n_features)]
    for each in (x, *by):
        each[rng.random(x.shape) < 0.03] = NAN
    units = 10.0 ** rng.integers(-9, 13, n_features)
    sized = [unit * each for unit, each in zip(units, by, strict=True)]
    # numpy is given them in one unit: it loses six digits on columns as unlike as these
    np.testing.assert_allclose(run(x, *sized), by_lstsq(x, *by), rtol=1e-9, atol=1e-11)


def test_hand_table():
    x = np.array([[1.0, 2.0, 6.0, NAN, 5.0]])
    size = np.array([[0.0, 1.0, 2.0, 3.0, NAN]])
    # the first three by 0.5 + 2.5 * size: what is left is 0.5, -1, 0.5
    np.testing.assert_allclose(run(x, size), [[0.5, -1.0, 0.5, NAN, NAN]], rtol=1e-14)
    # two features and the intercept fit three assets exactly: nothing to be said
    assert np.isnan(run(x, size, size**2)).all()
    # but not if one of them adds nothing
    np.testing.assert_allclose(run(x, size, 7 - 2 * size), run(x, size), rtol=1e-14)
    np.testing.assert_allclose(run(x, size * 0 + 0.1), [[-2.0, -1.0, 3.0, NAN, NAN]], rtol=1e-14)


def test_an_infinity_is_left_out_like_a_gap():
    x = np.array([[1.0, 2.0, 6.0, INF, 5.0, -3.0]])
    size = np.array([[0.0, 1.0, 2.0, 3.0, -INF, NAN]])
    np.testing.assert_allclose(run(x, size), [[0.5, -1.0, 0.5, NAN, NAN, NAN]], rtol=1e-14)


def test_nothing_is_said_about_too_few_assets():
    rng = np.random.default_rng(1)
    for n_features in (1, 2, 5):
        for n_assets in range(1, 9):
            x, *by = rng.normal(size=(1 + n_features, 4, n_assets))
            assert np.isfinite(run(x, *by)).all() == (n_assets > n_features + 1)
            assert np.isnan(run(x, *by)).all() == (n_assets <= n_features + 1)


@given(panels=cases(), seed=st.integers(0, 2**32 - 1))
def test_permuting_assets_permutes_results(panels, seed):
    order = np.random.default_rng(seed).permutation(panels[0].shape[1])
    turned = run(*(each[:, order] for each in panels))
    np.testing.assert_allclose(turned, run(*panels)[:, order], rtol=1e-9, atol=1e-12)


@given(panels=cases(), at=st.integers(0, 8), which=st.integers(0, 3))
def test_an_asset_without_a_value_changes_no_bit_of_the_others(panels, at, which):
    at, which = min(at, panels[0].shape[1]), which % len(panels)
    wider = [np.insert(each, at, NAN if k == which else 1.0, axis=1) for k, each in enumerate(panels)]
    got = run(*wider)
    assert np.isnan(got[:, at]).all()
    assert np.delete(got, at, axis=1).tobytes() == run(*panels).tobytes()


@given(panels=cases())
def test_each_row_by_itself_gives_the_same_bits(panels):
    rows = [run(*(each[t : t + 1] for each in panels)) for t in range(len(panels[0]))]
    assert b"".join(each.tobytes() for each in rows) == run(*panels).tobytes()


@given(panels=cases(), data=st.data())
def test_the_order_unit_and_level_of_features_makes_no_difference(panels, data):
    x, *by = panels
    whole = run(x, *by)
    turned = data.draw(st.permutations(by))
    np.testing.assert_allclose(run(x, *turned), whole, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(run(x, *(1e5 * each - 7 for each in by)), whole, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(run(x + by[0], *by), whole, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(run(whole, *by), whole, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("unit", [2.0**-1050, 2.0**-600, 1.0, 2.0**600, 2.0**1020])
def test_the_largest_and_smallest_numbers_neither_overflow_nor_vanish(unit):
    x, size = np.array([[1.0, 2.0, 6.0, 3.0]]), np.array([[0.0, 1.0, 2.0, -1.5]])
    np.testing.assert_allclose(run(x * unit, size), run(x, size) * unit, rtol=1e-12)
    np.testing.assert_allclose(run(x, size * unit), run(x, size), rtol=1e-12)


@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-8])
def test_a_feature_that_nearly_repeats_another_is_told_apart_by_what_is_its_own(distance):
    """Residuals are orthogonal to what the two differ in, though that is 1e-8 of them."""
    rng = np.random.default_rng(5)
    x, one, own = rng.normal(size=(3, 10, 60))
    left = run(x, one, one + distance * own)
    np.testing.assert_allclose(left, by_lstsq(x, one, own), rtol=1e-6, atol=2e-15 / distance)
    # and to the first to the last digits, which one pass of Gram-Schmidt would lose as the two draw together
    slant = np.abs((left * (one - one.mean(axis=1, keepdims=True))).sum(axis=1))
    assert (slant < 1e-13 * np.linalg.norm(one, axis=1) * np.linalg.norm(left, axis=1)).all()


def test_a_feature_that_repeats_another_but_for_rounding_adds_nothing():
    rng = np.random.default_rng(6)
    x, one, two = rng.normal(size=(3, 50, 8))
    np.testing.assert_array_equal(run(x, one, two, (one * 0.1 + two * 0.7) / 3 + 5), run(x, one, two))
    np.testing.assert_array_equal(run(x, one, np.full_like(one, 0.1)), run(x, one))
    np.testing.assert_array_equal(run(x, one, one * 1e200), run(x, one))


def test_a_row_that_the_features_explain_leaves_zero_and_not_its_rounding():
    """Else a z-score of it would be noise of the size of anything else."""
    rng = np.random.default_rng(8)
    one, two = rng.normal(size=(2, 50, 9))
    for x in (one, 0.1 * one + 0.7 * two + 1e3, np.full_like(one, 0.1), one * 1e-200):
        np.testing.assert_array_equal(run(x, one, two), np.zeros_like(one))
    assert (run(one + 1e-8 * rng.normal(size=one.shape), one, two) != 0).all()


def test_an_asset_that_a_feature_singles_out_is_left_with_zero():
    rng = np.random.default_rng(9)
    x, one = rng.normal(size=(2, 50, 9)) + 100
    alone = np.zeros_like(x)
    alone[:, 4] = 0.3
    left = run(x, one, alone)
    np.testing.assert_array_equal(left[:, 4], 0.0)
    others = np.delete(np.arange(9), 4)
    np.testing.assert_allclose(left[:, others], run(x[:, others], one[:, others]), rtol=1e-9, atol=1e-11)


def test_inputs_stay_as_they_are():
    rng = np.random.default_rng(7)
    x, by = rng.normal(size=(5, 9)), rng.normal(size=(2, 5, 9))
    before = x.tobytes() + by.tobytes()
    x.flags.writeable = False
    neutralize_kernel(x, by, np.empty_like(x))
    assert x.tobytes() + by.tobytes() == before
