"""The Gaussian process of the built-in optimizer: fit, posterior, believers.

Matérn-5/2 with one length scale a parameter, zero mean (targets are warped to mean 0), maximum a posteriori.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from knowable.kernels.gaussian_process import (
    append_kernel,
    factor_kernel,
    likelihood_kernel,
    matern_kernel,
    posterior_kernel,
    weights_kernel,
)
from knowable.search.space import Floats

__all__ = ["Hyperparameters", "Posterior", "fit", "negative_log_posterior", "prior"]

LENGTH_SD = 0.8
AMPLITUDE_SD = 0.7
NOISE_SD = 1.5
MEDIAN_LOG_NOISE = -6.0
SMALLEST_NOISE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """Logarithms of length scales (n_dims,), signal variance and noise variance."""

    log_lengths: Floats
    log_amplitude: float
    log_noise: float

    def as_vector(self) -> Floats:
        """(n_dims + 2,): lengths, amplitude, noise."""
        return np.append(self.log_lengths, [self.log_amplitude, self.log_noise])

    @classmethod
    def from_vector(cls, vector: Floats) -> Hyperparameters:
        """The inverse of `as_vector`."""
        return cls(log_lengths=vector[:-2].copy(), log_amplitude=float(vector[-2]), log_noise=float(vector[-1]))


def prior(n_dims: int) -> Hyperparameters:
    """Medians of the log-normal priors; distances grow with the root of the dimension, so do length scales."""
    return Hyperparameters(
        log_lengths=np.full(n_dims, math.log(0.5 * math.sqrt(n_dims / 3))),
        log_amplitude=0.0,
        log_noise=MEDIAN_LOG_NOISE,
    )


def negative_log_posterior(vector: Floats, x: Floats, y: Floats, is_choice: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Negative log posterior density of hyperparameters (up to a constant) and its gradient, (n_dims + 2,)."""
    gradient = np.empty(len(vector))
    value = likelihood_kernel(x, y, is_choice, vector[:-2], vector[-2], vector[-1], gradient)
    sds = np.append(np.full(len(vector) - 2, LENGTH_SD), [AMPLITUDE_SD, NOISE_SD])
    away = (vector - prior(len(vector) - 2).as_vector()) / sds
    return float(value + 0.5 * np.sum(away**2)), gradient + away / sds


def fit(x: Floats, y: Floats, is_choice: NDArray[np.bool_], start: Hyperparameters | None = None) -> Hyperparameters:
    """Most probable hyperparameters, from the prior's median and from `start`, whichever ends better.

    Args:
        x: (n, n_dims) points of the unit cube.
        y: (n,) warped values, finite.
        is_choice: (n_dims,) axes without order.
        start: an earlier fit to fewer points.
    """
    centre = prior(x.shape[1]).as_vector()
    reach = np.append(np.full(x.shape[1], 3 * LENGTH_SD), [3 * AMPLITUDE_SD, 0.0])
    low, high = centre - reach, centre + reach
    low[-1], high[-1] = math.log(SMALLEST_NOISE), 0.0
    starts = [centre] if start is None else [start.as_vector(), centre]
    ends = [
        minimize(
            negative_log_posterior,
            first,
            args=(x, y, is_choice),
            jac=True,
            method="L-BFGS-B",
            bounds=np.column_stack([low, high]),
            options={"maxiter": 25, "ftol": 1e-5},
        )
        for first in starts
    ]
    best = min(ends, key=lambda end: float(end.fun))
    return Hyperparameters.from_vector(best.x)


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
        self.amplitude = math.exp(hyper.log_amplitude)
        self.noise = math.exp(hyper.log_noise)
        self.inverse_lengths = np.exp(-hyper.log_lengths)
        self.is_choice = is_choice
        self.n = n
        self._points = np.empty((n + room, x.shape[1]))
        self._points[:n] = x
        self._factor = np.zeros((n + room, n + room))
        matern_kernel(x, x, is_choice, self.inverse_lengths, self.amplitude, self._factor[:n, :n])
        self._factor[np.arange(n), np.arange(n)] += self.noise
        factor_kernel(n, self._factor)
        self._weights = np.zeros(n + room)
        weights_kernel(self._factor, n, y, self._weights)

    @property
    def points(self) -> Floats:
        """(n, n_dims) observed points and believers."""
        return self._points[: self.n]

    def predict(self, candidates: Floats) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the noiseless surface, each (len(candidates),)."""
        mean, sd = np.empty(len(candidates)), np.empty(len(candidates))
        posterior_kernel(
            self._points, self.n, self._weights, self._factor, candidates, self.is_choice,
            self.inverse_lengths, self.amplitude, mean, sd,
        )  # fmt: skip
        return mean, sd

    def covariance(self, a: Floats, b: Floats) -> Floats:
        """Prior covariance of each row of `a` with each row of `b`."""
        out = np.empty((len(a), len(b)))
        matern_kernel(a, b, self.is_choice, self.inverse_lengths, self.amplitude, out)
        return out

    def believe(self, unit: Floats) -> None:
        """Take a pending point in, at its posterior mean. Its weight is 0, for its residual is."""
        n = self.n
        if n == len(self._points):
            self._grow()
        matern_kernel(
            self._points[:n], unit[None, :], self.is_choice, self.inverse_lengths, self.amplitude,
            self._factor[:n, n : n + 1],
        )  # fmt: skip
        append_kernel(n, self.amplitude + self.noise, self._factor)
        self._points[n] = unit
        self.n = n + 1

    def _grow(self) -> None:
        n, room = self.n, self.n + 64
        points, factor, weights = np.empty((room, self._points.shape[1])), np.zeros((room, room)), np.zeros(room)
        points[:n], factor[:n, :n], weights[:n] = self._points, self._factor, self._weights
        self._points, self._factor, self._weights = points, factor, weights
