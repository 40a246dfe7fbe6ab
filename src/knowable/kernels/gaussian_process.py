"""Matérn-5/2 Gaussian process: covariance, factor, likelihood with gradient, posterior.

Plain loops on one thread, and no BLAS: its sums depend on the number of threads and on the processor, and a study must
suggest the same trials everywhere. The factor is upper, ``K = U' U``: every inner loop then runs along a row without a
reduction, which the compiler may vectorise without changing a bit. Lower factors by dot products cost 3 times as much.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = [
    "append_kernel",
    "factor_kernel",
    "forward_kernel",
    "likelihood_kernel",
    "matern_kernel",
    "posterior_kernel",
    "squared_distance",
    "weights_kernel",
]

ROOT5 = math.sqrt(5.0)
SMALLEST_PIVOT = 1e-12
BLOCK = 64


@njit(cache=True, nogil=True)
def squared_distance(a, b, is_choice, inverse_lengths):
    """Scaled squared distance of two points; two different options of a choice are 1 apart."""
    total = 0.0
    for k in range(a.shape[0]):
        gap = a[k] - b[k]
        if is_choice[k] and gap != 0.0:
            gap = 1.0
        gap *= inverse_lengths[k]
        total += gap * gap
    return total


@njit(cache=True, nogil=True)
def matern_kernel(a, b, is_choice, inverse_lengths, amplitude, out):
    """Covariance of each row of `a` with each row of `b`, (len(a), len(b))."""
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            r = ROOT5 * math.sqrt(squared_distance(a[i], b[j], is_choice, inverse_lengths))
            out[i, j] = amplitude * (1.0 + r + r * r / 3.0) * math.exp(-r)


@njit(cache=True, nogil=True)
def factor_kernel(n, matrix_out):
    """Overwrite the upper triangle of the leading n x n block by its Cholesky factor U, ``K = U' U``."""
    for k in range(n):
        root = math.sqrt(max(matrix_out[k, k], SMALLEST_PIVOT))
        matrix_out[k, k] = root
        for j in range(k + 1, n):
            matrix_out[k, j] /= root
        for i in range(k + 1, n):
            scale = matrix_out[k, i]
            for j in range(i, n):
                matrix_out[i, j] -= scale * matrix_out[k, j]


@njit(cache=True, nogil=True)
def forward_kernel(factor, n, columns_out):
    """Overwrite (n, m) `columns_out` by ``U'^-1 columns``; zeros above the first entry of a column stay zeros."""
    m = columns_out.shape[1]
    for i in range(n):
        j = 0
        while j + 4 <= i:  # four rows at a time: 1.8 times as fast as one
            f0, f1, f2, f3 = factor[j, i], factor[j + 1, i], factor[j + 2, i], factor[j + 3, i]
            for c in range(m):
                columns_out[i, c] -= (f0 * columns_out[j, c] + f1 * columns_out[j + 1, c]) + (
                    f2 * columns_out[j + 2, c] + f3 * columns_out[j + 3, c]
                )
            j += 4
        while j < i:
            f0 = factor[j, i]
            for c in range(m):
                columns_out[i, c] -= f0 * columns_out[j, c]
            j += 1
        inverse = 1.0 / factor[i, i]
        for c in range(m):
            columns_out[i, c] *= inverse


@njit(cache=True, nogil=True)
def weights_kernel(factor, n, y, out):
    """Solve ``K out = y`` by the factor, forward then backward."""
    for i in range(n):
        out[i] = y[i]
    for i in range(n):
        out[i] /= factor[i, i]
        for j in range(i + 1, n):
            out[j] -= factor[i, j] * out[i]
    for i in range(n - 1, -1, -1):
        total = out[i]
        for j in range(i + 1, n):
            total -= factor[i, j] * out[j]
        out[i] = total / factor[i, i]


@njit(cache=True, nogil=True)
def posterior_kernel(points, n, weights, factor, candidates, is_choice, inverse_lengths, amplitude, mean_out, sd_out):
    """Posterior mean and standard deviation (without noise) at each candidate, 64 candidates at a time.

    `points` (>= n, d), `weights` (>= n,) and the leading block of `factor` describe n observations.
    """
    cross = np.empty((n, BLOCK))
    for start in range(0, candidates.shape[0], BLOCK):
        m = min(BLOCK, candidates.shape[0] - start)
        block = cross[:, :m]
        matern_kernel(points[:n], candidates[start : start + m], is_choice, inverse_lengths, amplitude, block)
        for c in range(m):
            mean_out[start + c] = 0.0
            sd_out[start + c] = amplitude
        for i in range(n):
            for c in range(m):
                mean_out[start + c] += weights[i] * block[i, c]
        forward_kernel(factor, n, block)
        for i in range(n):
            for c in range(m):
                sd_out[start + c] -= block[i, c] * block[i, c]
        for c in range(m):
            sd_out[start + c] = math.sqrt(max(sd_out[start + c], 1e-12 * amplitude))


@njit(cache=True, nogil=True)
def append_kernel(n, diagonal, factor_out):
    """Extend the factor of n points by one whose covariances stand in column n; `diagonal` includes the noise."""
    forward_kernel(factor_out, n, factor_out[:n, n : n + 1])
    rest = diagonal
    for i in range(n):
        rest -= factor_out[i, n] * factor_out[i, n]
    factor_out[n, n] = math.sqrt(max(rest, SMALLEST_PIVOT))


@njit(cache=True, nogil=True)
def likelihood_kernel(x, y, is_choice, log_lengths, log_amplitude, log_noise, gradient_out):
    """Negative log marginal likelihood of `y`; its gradient by the logarithms goes to (d + 2,) `gradient_out`.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 5.8 and 5.9.
    """
    n, d = x.shape
    amplitude, noise = math.exp(log_amplitude), math.exp(log_noise)
    inverse_lengths = np.exp(-log_lengths)
    covariance = np.empty((n, n))
    matern_kernel(x, x, is_choice, inverse_lengths, amplitude, covariance)
    factor = covariance.copy()
    for i in range(n):
        factor[i, i] += noise
    factor_kernel(n, factor)

    half = np.zeros((n, n))  # the inverse of U', lower triangular
    for i in range(n):
        half[i, i] = 1.0
        for j in range(i):
            scale = factor[j, i]
            for c in range(j + 1):
                half[i, c] -= scale * half[j, c]
        scale = 1.0 / factor[i, i]
        for c in range(i + 1):
            half[i, c] *= scale
    inverse = np.zeros((n, n))  # its lower triangle
    for i in range(n):
        for a in range(i + 1):
            scale = half[i, a]
            for b in range(a + 1):
                inverse[a, b] += scale * half[i, b]
    weights = np.empty(n)
    weights_kernel(factor, n, y, weights)

    value = 0.5 * n * math.log(2.0 * math.pi)
    for i in range(n):
        value += 0.5 * y[i] * weights[i] + math.log(factor[i, i])
    gradient_out[:] = 0.0
    for a in range(n):
        own = inverse[a, a] - weights[a] * weights[a]
        gradient_out[d] += 0.5 * own * amplitude
        gradient_out[d + 1] += 0.5 * own * noise
        for b in range(a):
            pull = inverse[a, b] - weights[a] * weights[b]
            gradient_out[d] += pull * covariance[a, b]
            r = ROOT5 * math.sqrt(squared_distance(x[a], x[b], is_choice, inverse_lengths))
            slope = pull * amplitude * (5.0 / 3.0) * (1.0 + r) * math.exp(-r)
            for k in range(d):
                gap = x[a, k] - x[b, k]
                if is_choice[k] and gap != 0.0:
                    gap = 1.0
                gap *= inverse_lengths[k]
                gradient_out[k] += slope * gap * gap
    return value
