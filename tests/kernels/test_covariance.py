"""Covariance of a window: beside numpy and scikit-learn, and the second shrinkage straight from its paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from knowable.kernels.covariance import (
    ESTIMATORS,
    advance_kernel,
    covariance_kernel,
    gather_kernel,
    ring_state,
    usable_kernel,
)

IDENTITY, CONSTANT, SAMPLE = (ESTIMATORS.index(name) for name in ("ledoit_wolf", "constant_correlation", "sample"))


def returns(seed, n_rows, n_assets):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n_rows, 1))
    return 0.01 * (common + rng.normal(size=(n_rows, n_assets))) * rng.uniform(0.3, 3.0, n_assets)


def estimate(x, how):
    out = np.empty((x.shape[1], x.shape[1]))
    share = covariance_kernel(x.copy(), how, out)
    return out, share


shapes = pytest.mark.parametrize("shape", [(60, 8), (10, 25), (250, 3), (5, 4)])


@shapes
def test_the_sample_agrees_with_numpy(shape):
    x = returns(1, *shape)
    np.testing.assert_allclose(estimate(x, SAMPLE)[0], np.cov(x.T), rtol=1e-11, atol=1e-18)


@shapes
def test_shrinkage_towards_equal_variances_agrees_with_scikit_learn(shape):
    x = returns(2, *shape)
    theirs = LedoitWolf().fit(x)
    made, share = estimate(x, IDENTITY)
    assert share == pytest.approx(theirs.shrinkage_, rel=1e-9)
    np.testing.assert_allclose(made, theirs.covariance_, rtol=1e-9, atol=1e-17)


def slow_constant_correlation(x):
    """Appendix B of "Honey, I shrunk the sample covariance matrix", sum by sum."""
    n, k = x.shape
    y = x - x.mean(axis=0)
    s = y.T @ y / n
    spread = np.sqrt(np.diag(s))
    mean = (s / np.outer(spread, spread))[np.triu_indices(k, 1)].mean()
    target = mean * np.outer(spread, spread)
    np.fill_diagonal(target, np.diag(s))
    pi = np.array([[np.mean((y[:, i] * y[:, j] - s[i, j]) ** 2) for j in range(k)] for i in range(k)])
    rho = np.trace(pi)
    for i in range(k):
        for j in range(k):
            if i != j:
                products = y[:, i] * y[:, j] - s[i, j]
                of_i = np.mean((y[:, i] ** 2 - s[i, i]) * products)
                of_j = np.mean((y[:, j] ** 2 - s[j, j]) * products)
                rho += mean / 2 * (spread[j] / spread[i] * of_i + spread[i] / spread[j] * of_j)
    share = max(0.0, min(1.0, (pi.sum() - rho) / ((target - s) ** 2).sum() / n))
    return share * target + (1 - share) * s, share


@shapes
def test_shrinkage_towards_equal_correlations_agrees_with_its_paper(shape):
    x = returns(3, *shape)
    expected, share = slow_constant_correlation(x)
    made, got = estimate(x, CONSTANT)
    assert got == pytest.approx(share, rel=1e-8, abs=1e-12)
    np.testing.assert_allclose(made, expected, rtol=1e-8, atol=1e-16)


@pytest.mark.parametrize("how", [IDENTITY, CONSTANT, SAMPLE])
def test_an_estimate_is_symmetric_and_shrinks_within_bounds(how):
    for seed in range(5):
        made, share = estimate(returns(seed, 30, 40), how)
        assert 0.0 <= share <= 1.0
        assert (made == made.T).all()
    assert estimate(returns(0, 30, 1), how)[1] == 0.0


@pytest.mark.parametrize("how", [IDENTITY, CONSTANT, SAMPLE])
@given(order=st.permutations(range(6)))
def test_permuting_assets_permutes_an_estimate(how, order):
    x = returns(4, 40, 6)
    whole, share = estimate(x, how)
    turned, again = estimate(np.ascontiguousarray(x[:, order]), how)
    assert again == pytest.approx(share, rel=1e-9)
    np.testing.assert_allclose(turned, whole[np.ix_(order, order)], rtol=1e-9, atol=1e-18)


@given(cuts=st.lists(st.integers(0, 30), max_size=6), window=st.integers(2, 12))
def test_a_ring_holds_the_last_rows_in_order_however_they_came(cuts, window):
    x = np.arange(60.0).reshape(30, 2)
    ring = ring_state(window, 2)
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 30], strict=True):
        advance_kernel(x, begin, end, *ring)
    out = np.empty((window, 2))
    gather_kernel(*ring, np.array([1, 0]), out)
    assert out.tolist() == x[30 - window :, ::-1].tolist()
    assert ring.place[1] == 30


def test_an_asset_is_usable_with_a_full_window_of_finite_returns_that_are_not_all_the_same():
    x = np.array([[1.0, np.nan, 1.0, 2.0, 5.0], [2.0, 1.0, np.inf, 2.0, 6.0], [3.0, 2.0, 1.0, 2.0, 6.0]])
    ring, usable = ring_state(3, 5), np.empty(5, np.bool_)
    advance_kernel(x, 0, 2, *ring)
    assert usable_kernel(*ring, usable) == 0
    advance_kernel(x, 2, 3, *ring)
    assert usable_kernel(*ring, usable) == 2
    assert usable.tolist() == [True, False, False, False, True]
