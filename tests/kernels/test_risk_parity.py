"""Risk parity: closed forms, the law that contributions are as the budget says, and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from knowable.kernels.risk_parity import risk_parity_kernel


def parity(covariance, budget=None):
    out = np.empty(len(covariance))
    sweeps = risk_parity_kernel(covariance, np.ones(len(covariance)) if budget is None else budget, out)
    return out, sweeps


def covariance_of(seed, k, rows=None):
    x = np.random.default_rng(seed).normal(size=(rows or 3 * k, k))
    x += np.random.default_rng(seed + 1).normal(size=(len(x), 1))
    return np.cov((x * np.random.default_rng(seed + 2).uniform(0.005, 0.05, k)).T).reshape(k, k)


@given(one=st.floats(0.01, 2), other=st.floats(0.01, 2), level=st.floats(-0.99, 0.99))
def test_of_two_assets_the_correlation_does_not_matter(one, other, level):
    made, _ = parity(np.array([[one * one, level * one * other], [level * one * other, other * other]]))
    assert made == pytest.approx([other / (one + other), one / (one + other)], rel=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.4, 0.95])
def test_with_equal_correlations_it_is_inverse_volatility(level):
    spread = np.array([0.1, 0.2, 0.05, 0.4])
    correlation = np.full((4, 4), level) + (1 - level) * np.eye(4)
    made, _ = parity(correlation * np.outer(spread, spread))
    np.testing.assert_allclose(made, 1 / spread / (1 / spread).sum(), rtol=1e-10)


def test_of_one_asset_it_is_all():
    assert parity(np.array([[0.04]]))[0].tolist() == [1.0]


@given(seed=st.integers(0, 10_000), k=st.integers(2, 40))
def test_every_asset_contributes_what_the_budget_says(seed, k):
    covariance, budget = covariance_of(seed, k), np.random.default_rng(seed).uniform(0.1, 3.0, k)
    made, sweeps = parity(covariance, budget)
    assert sweeps > 0
    assert (made > 0).all()
    assert made.sum() == pytest.approx(1.0, rel=1e-12)
    parts = made * (covariance @ made)
    np.testing.assert_allclose(parts / parts.sum(), budget / budget.sum(), rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_scipy_on_the_convex_problem(seed):
    k = 8
    covariance = covariance_of(seed, k) * 1e3
    found = minimize(
        lambda y: 0.5 * y @ covariance @ y - np.log(y).sum() / k,
        np.full(k, 1.0),
        jac=lambda y: covariance @ y - 1 / (k * y),
        bounds=[(1e-9, None)] * k,
        method="L-BFGS-B",
        options={"ftol": 1e-16, "gtol": 1e-12, "maxiter": 10_000},
    )
    np.testing.assert_allclose(parity(covariance)[0], found.x / found.x.sum(), rtol=1e-5)


@given(scale=st.floats(1e-8, 1e8), order=st.permutations(range(7)))
def test_scaling_and_permuting(scale, order):
    covariance = covariance_of(3, 7)
    whole, _ = parity(covariance)
    np.testing.assert_allclose(parity(covariance * scale)[0], whole, rtol=1e-9)
    turned = np.ascontiguousarray(covariance[np.ix_(order, order)])
    np.testing.assert_allclose(parity(turned)[0], whole[list(order)], rtol=1e-9)


def test_five_hundred_highly_correlated_assets_settle():
    made, sweeps = parity(covariance_of(5, 500, rows=800))
    assert 0 < sweeps < 200
    assert made.min() > 0


def test_assets_that_are_each_others_opposite_have_no_answer_and_say_so():
    assert parity(np.array([[1.0, -1.0], [-1.0, 1.0]]))[1] == -1
