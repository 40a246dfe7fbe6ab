"""The Gaussian process against a dense oracle, finite differences and its own laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtri

from knowable.search.acquisition import log_expected_improvement
from knowable.search.regression import Hyperparameters, Posterior, fit, negative_log_posterior, prior, prior_sds
from knowable.search.warp import half_rank
from knowable.testing import gaussian_process_oracle as oracle

IS_CHOICE = np.array([False, True, False])
IS_CHOICE.setflags(write=False)
HYPER = Hyperparameters(
    log_lengths=np.log([0.4, 1.3, 0.9]),
    log_amplitude=math.log(1.7),
    logit_share=math.log(0.3 / 0.7),
    log_noise=math.log(0.02),
)
PLAIN = {"is_choice": [False, True, False], "lengths": [0.4, 1.3, 0.9], "amplitude": 1.7, "share": 0.3}


def points(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.random((n, 3))
    x[:, 1] = (rng.integers(0, 3, n) + 0.5) / 3
    return x


def targets(x: np.ndarray) -> np.ndarray:
    y = np.sin(5 * x[:, 0]) + (x[:, 1] > 0.5) + x[:, 2] ** 2
    return (y - y.mean()) / y.std()


@pytest.mark.parametrize("n", [1, 2, 5, 64, 90])
def test_posterior_agrees_with_the_dense_formula(n):
    x, at = points(n, 0), points(150, 1)
    y = targets(x) if n > 1 else np.array([0.7])
    mean, sd = Posterior(HYPER, x, y, IS_CHOICE).predict(at)
    expected_mean, expected_sd = oracle.posterior(x, y, at, noise=0.02, **PLAIN)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-9)
    np.testing.assert_allclose(sd, expected_sd, atol=1e-7)


def test_a_believer_is_a_result_equal_to_the_posterior_mean_there():
    x, new, at = points(20, 0), points(90, 2), points(60, 1)
    posterior = Posterior(HYPER, x, targets(x), IS_CHOICE, room=4)
    believed = posterior.predict(new)[0]
    before = posterior.predict(at)[0]
    for unit in new:
        posterior.believe(unit)
    mean, sd = posterior.predict(at)
    expected_mean, expected_sd = oracle.posterior(
        np.concatenate([x, new]), np.concatenate([targets(x), believed]), at, noise=0.02, **PLAIN
    )
    np.testing.assert_allclose(mean, expected_mean, atol=1e-8)
    np.testing.assert_allclose(mean, before, atol=1e-12)
    np.testing.assert_allclose(sd, expected_sd, atol=1e-7)


def test_prediction_of_a_point_does_not_depend_on_the_other_candidates():
    x, at = points(30, 0), points(150, 1)
    posterior = Posterior(HYPER, x, targets(x), IS_CHOICE)
    mean, sd = posterior.predict(at)
    for k in (0, 63, 64, 149):
        alone = posterior.predict(at[k : k + 1])
        assert (alone[0][0], alone[1][0]) == (mean[k], sd[k])


@given(st.lists(st.floats(-2, 2), min_size=6, max_size=6), st.integers(2, 25))
@settings(max_examples=30, deadline=None)
def test_gradient_of_the_log_posterior_agrees_with_finite_differences(vector, n):
    theta = prior(3).as_vector() + np.array(vector)
    x = points(n, n)
    _, gradient = negative_log_posterior(theta, x, targets(x), IS_CHOICE)
    for k in range(6):
        step = np.zeros(6)
        step[k] = 1e-5
        up, down = (negative_log_posterior(theta + s, x, targets(x), IS_CHOICE)[0] for s in (step, -step))
        assert gradient[k] == pytest.approx((up - down) / 2e-5, rel=2e-4, abs=2e-4)


def test_log_posterior_differs_from_the_dense_likelihood_by_the_prior_alone():
    x = points(40, 3)
    y = targets(x)
    away = (HYPER.as_vector() - prior(3).as_vector()) / prior_sds(3)
    expected = oracle.negative_log_likelihood(x, y, noise=0.02, **PLAIN) + 0.5 * np.sum(away**2)
    value, _ = negative_log_posterior(HYPER.as_vector(), x, y, IS_CHOICE)
    assert value == pytest.approx(expected, rel=1e-10)


def test_a_fit_gives_an_idle_parameter_a_longer_scale_than_a_busy_one():
    x = np.random.default_rng(0).random((60, 2))
    y = np.sin(9 * x[:, 0])
    hyper = fit(x, (y - y.mean()) / y.std(), np.array([False, False]))
    assert hyper.log_lengths[1] > hyper.log_lengths[0] + 1


def test_a_fit_to_nothing_but_zeros_or_to_one_point_is_finite():
    for x in (points(1, 0), points(30, 0)):
        assert np.isfinite(fit(x, np.zeros(len(x)), IS_CHOICE).as_vector()).all()


def test_points_a_hair_apart_do_not_break_the_factor():
    x = np.repeat(points(4, 0), 10, axis=0) + 1e-14 * np.arange(40)[:, None]
    bare = Hyperparameters(log_lengths=np.zeros(3), log_amplitude=0.0, logit_share=0.0, log_noise=math.log(1e-6))
    mean, sd = Posterior(bare, x, np.arange(40.0), IS_CHOICE).predict(points(10, 1))
    assert np.isfinite(mean).all()
    assert np.isfinite(sd).all()


@pytest.mark.parametrize("z", [-6.0, -1.001, -1.0, -0.999, 0.0, 2.5])
def test_expected_improvement_agrees_with_the_integral(z):
    def improvement(y: float) -> float:
        return (z - y) * math.exp(-0.5 * y * y) / math.sqrt(2 * math.pi)

    expected, _ = quad(improvement, -40, z, epsabs=0, epsrel=1e-10, points=[z - 1, z - 5], limit=200)
    got = log_expected_improvement(np.array([0.0]), np.array([1.0]), z)[0]
    assert got == pytest.approx(math.log(expected), abs=1e-6)


def test_expected_improvement_keeps_its_slope_far_away():
    distances = np.geomspace(1, 1e6, 400)
    worth = log_expected_improvement(distances, np.ones(400), 0.0)
    assert np.isfinite(worth).all()
    assert (np.diff(worth) < 0).all()


def test_half_rank_by_hand():
    # median 3; good half 1, 2, 3 at distances -2, -1, 0 with root mean square sqrt(2.5); ranks 4, 5 at 0.7, 0.9
    raw = np.array([3.0, 1.0, 100.0, 2.0, 4.0])
    before = np.array([0, -2 / math.sqrt(2.5), ndtri(0.9), -1 / math.sqrt(2.5), ndtri(0.7)])
    np.testing.assert_allclose(half_rank(raw), (before - before.mean()) / before.std(), atol=1e-12)


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_half_rank_keeps_order_and_ties_and_puts_failures_last(raw):
    values = np.array([math.nan if v is None else v for v in raw], dtype=float)
    warped = half_rank(values)
    assert np.isfinite(warped).all()
    valid = np.isfinite(values)
    order = np.argsort(values[valid])
    assert (np.diff(warped[valid][order]) >= -1e-12).all()
    if valid.any() and not valid.all():
        assert (warped[~valid] == warped.max()).all()


def test_half_rank_does_not_care_how_bad_the_bad_half_is():
    assert np.array_equal(half_rank(np.array([1.0, 2, 3, 4, 5])), half_rank(np.array([1.0, 2, 3, 40, 5000])))
