"""The Gaussian process of the built-in optimizer: fit, posterior, believers.

One length scale a parameter, main effects beside a joint Matérn-5/2, zero mean (targets are warped to mean 0), maximum
a posteriori.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from knowable.kernels.gaussian_process import (
    append_kernel,
    covariance_kernel,
    factor_kernel,
    likelihood_kernel,
    posterior_kernel,
    weights_kernel,
)
from knowable.search.space import Floats

__all__ = ["Hyperparameters", "Posterior", "fit", "negative_log_posterior", "prior", "prior_sds"]

LENGTH_SD = 0.8
AMPLITUDE_SD = 0.7
SHARE_SD = 1.5
NOISE_SD = 1.5
MEDIAN_LOGIT_SHARE = -1.0
MEDIAN_LOG_NOISE = -4.0
SMALLEST_NOISE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """Logarithms of length scales (n_dims,), signal and noise variance; logit of the share of main effects."""

    log_lengths: Floats
    log_amplitude: float
    logit_share: float
    log_noise: float

    def as_vector(self) -> Floats:
        """(n_dims + 3,): lengths, amplitude, share, noise."""
        return np.append(self.log_lengths, [self.log_amplitude, self.logit_share, self.log_noise])

    @classmethod
    def from_vector(cls, vector: Floats) -> Hyperparameters:
        """The inverse of `as_vector`."""
        amplitude, share, noise = (float(number) for number in vector[-3:])
        return cls(log_lengths=vector[:-3].copy(), log_amplitude=amplitude, logit_share=share, log_noise=noise)


def prior(n_dims: int) -> Hyperparameters:
    """Medians of the log-normal priors; distances grow with the root of the dimension, so do length scales."""
    return Hyperparameters(
        log_lengths=np.full(n_dims, math.log(0.5 * math.sqrt(n_dims / 3))),
        log_amplitude=0.0,
        logit_share=MEDIAN_LOGIT_SHARE,
        log_noise=MEDIAN_LOG_NOISE,
    )


def prior_sds(n_dims: int) -> Floats:
    """(n_dims + 3,) standard deviations of the priors, in the order of `Hyperparameters.as_vector`."""
    return np.append(np.full(n_dims, LENGTH_SD), [AMPLITUDE_SD, SHARE_SD, NOISE_SD])


def negative_log_posterior(vector: Floats, x: Floats, y: Floats, is_choice: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Negative log posterior density of hyperparameters (up to a constant) and its gradient, (n_dims + 3,)."""
    gradient = np.empty(len(vector))
    value = likelihood_kernel(x, y, is_choice, vector[:-3], vector[-3], vector[-2], vector[-1], gradient)
    sds = prior_sds(x.shape[1])
    away = (vector - prior(x.shape[1]).as_vector()) / sds
    return float(value + 0.5 * np.sum(away**2)), gradient + away / sds


def fit(x: Floats, y: Floats, is_choice: NDArray[np.bool_], start: Hyperparameters | None = None) -> Hyperparameters:
    """Most probable hyperparameters, by L-BFGS from `start`.

    Args:
        x: (n, n_dims) points of the unit cube.
        y: (n,) warped values, finite.
        is_choice: (n_dims,) axes without order.
        start: an earlier fit to fewer points; None: the medians of the priors.
    """
    minimize, libraries = _scipy()
    centre, sds = prior(x.shape[1]).as_vector(), prior_sds(x.shape[1])
    low, high = centre - 3 * sds, centre + 3 * sds
    low[-1], high[-1] = math.log(SMALLEST_NOISE), 0.0
    with libraries.limit(limits=1, user_api="blas"):
        end = minimize(
            negative_log_posterior,
            centre if start is None else start.as_vector(),
            args=(x, y, is_choice),
            jac=True,
            method="L-BFGS-B",
            bounds=np.column_stack([low, high]),
            options={"maxiter": 25, "ftol": 1e-5},
        )
    return Hyperparameters.from_vector(end.x)


@functools.cache
def _scipy() -> tuple[Any, Any]:
    """The optimizer, dear to import, and the hold on its linear algebra.

    Its matrices are a few numbers wide; on two threads they cost 2.7 ms a step instead of microseconds, all spent in
    threads that wait for each other.
    """
    from scipy.optimize import minimize
    from threadpoolctl import ThreadpoolController

    return minimize, ThreadpoolController()


class Posterior:
    """What the process believes after its observations; pending points join one by one as believers.

    A believer is told its own posterior mean: the mean function stays, the uncertainty shrinks around it.

    Args:
        hyper: hyperparameters.
        x: (n, n_dims) observed points.
        y: (n,) warped values.
        is_choice: (n_dims,) axes without order.
        room: how many believers to reserve space for.
    """

    def __init__(
        self, hyper: Hyperparameters, x: Floats, y: Floats, is_choice: NDArray[np.bool_], room: int = 0
    ) -> None:
        n = len(x)
        self.n = n
        self.amplitude = math.exp(hyper.log_amplitude)
        self.noise = math.exp(hyper.log_noise)
        share = 1.0 / (1.0 + math.exp(-hyper.logit_share))
        self._shape = (is_choice, np.exp(-hyper.log_lengths), self.amplitude, share)
        self._points = np.empty((n + room, x.shape[1]))
        self._points[:n] = x
        self._factor = np.zeros((n + room, n + room))
        self._factor[:n, :n] = self._covariance(x, x)
        self._factor[np.arange(n), np.arange(n)] += self.noise
        factor_kernel(n, self._factor)
        self._weights = np.zeros(n + room)
        weights_kernel(self._factor, n, y, self._weights)

    def predict(self, candidates: Floats) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the noiseless surface, each (len(candidates),)."""
        mean, sd = np.empty(len(candidates)), np.empty(len(candidates))
        posterior_kernel(self._points, self.n, self._weights, self._factor, candidates, *self._shape, mean, sd)
        return mean, sd

    def likeness(self, a: Floats, b: Floats) -> Floats:
        """(len(a), len(b)) joint correlation of points, main effects aside: 1 at the same point, 0 far away."""
        out = np.empty((len(a), len(b)))
        covariance_kernel(a, b, *self._shape[:2], 1.0, 0.0, out)
        return out

    def believe(self, unit: Floats) -> None:
        """Take a pending point in, at its posterior mean. Its weight is 0, for its residual is."""
        n = self.n
        if n == len(self._points):
            self._grow()
        self._factor[:n, n] = self._covariance(self._points[:n], unit[None, :])[:, 0]
        append_kernel(n, self.amplitude + self.noise, self._factor)
        self._points[n] = unit
        self.n = n + 1

    def _covariance(self, a: Floats, b: Floats) -> Floats:
        out = np.empty((len(a), len(b)))
        covariance_kernel(a, b, *self._shape, out)
        return out

    def _grow(self) -> None:
        n, room = self.n, self.n + 64
        points, factor, weights = np.empty((room, self._points.shape[1])), np.zeros((room, room)), np.zeros(room)
        points[:n], factor[:n, :n], weights[:n] = self._points, self._factor, self._weights
        self._points, self._factor, self._weights = points, factor, weights
