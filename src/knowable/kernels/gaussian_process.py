"""Gaussian process: covariance, factor, likelihood with gradient, posterior.

The covariance of two points is ``amplitude * ((1 - share) * M + share * A)``: a Matérn-5/2 function M of their scaled
distance, and the mean A over the axes of ``(1 + gap^2 / 4)^-2`` (a rational quadratic, which needs no exponential). A
holds main effects, which few trials can tell; M holds what remains.

Plain loops on one thread, and no BLAS: its sums depend on the number of threads and on the processor, and a study must
suggest the same trials for any number of threads. The factor is upper, ``K = U' U``, made row by row from those
above: inner loops run along rows without a reduction, which the compiler may vectorise without changing a bit, and take
four rows at a time. On 128 points that took 0.12 ms; a lower factor by dot products 0.17; subtracting each finished
row from all below it 0.30.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = [
    "append_kernel",
    "covariance_kernel",
    "factor_kernel",
    "forward_kernel",
    "inverse_kernel",
    "likelihood_kernel",
    "posterior_kernel",
    "row_kernel",
    "squared_gap",
    "weights_kernel",
]

ROOT5 = math.sqrt(5.0)
SMALLEST_PIVOT = 1e-12
BLOCK = 64


@njit(cache=True, nogil=True)
def squared_gap(a, b, is_choice, inverse_length):
    """Scaled squared gap on one axis; two different options of a choice are 1 apart."""
    gap = (1.0 if is_choice and a != b else a - b) * inverse_length
    return gap * gap


@njit(cache=True, nogil=True)
def row_kernel(point, columns, is_choice, inverse_lengths, amplitude, share, distance, mains, out):
    """Covariance of one point (d,) with each column of (d, m) `columns`; `distance`, `mains` (m,) are scratch."""
    d, m = columns.shape
    distance[:m] = 0.0
    mains[:m] = 0.0
    for k in range(d):
        for c in range(m):
            gap = squared_gap(point[k], columns[k, c], is_choice[k], inverse_lengths[k])
            near = 1.0 / (1.0 + 0.25 * gap)
            distance[c] += gap
            mains[c] += near * near
    for c in range(m):
        r = ROOT5 * math.sqrt(distance[c])
        joint = (1.0 + r + r * r / 3.0) * math.exp(-r)
        out[c] = amplitude * ((1.0 - share) * joint + share / d * mains[c])


@njit(cache=True, nogil=True)
def covariance_kernel(a, b, is_choice, inverse_lengths, amplitude, share, out):
    """Covariance of each row of `a` (n, d) with each row of `b` (m, d), to (n, m) `out`."""
    columns = np.ascontiguousarray(b.T)
    distance, mains = np.empty(b.shape[0]), np.empty(b.shape[0])
    for i in range(a.shape[0]):
        row_kernel(a[i], columns, is_choice, inverse_lengths, amplitude, share, distance, mains, out[i])


@njit(cache=True, nogil=True)
def factor_kernel(n, matrix_out):
    """Overwrite the upper triangle of the leading n x n block by its Cholesky factor U, ``K = U' U``."""
    for i in range(n):
        j = 0
        while j + 4 <= i:
            f0, f1, f2, f3 = matrix_out[j, i], matrix_out[j + 1, i], matrix_out[j + 2, i], matrix_out[j + 3, i]
            for c in range(i, n):
                matrix_out[i, c] -= (f0 * matrix_out[j, c] + f1 * matrix_out[j + 1, c]) + (
                    f2 * matrix_out[j + 2, c] + f3 * matrix_out[j + 3, c]
                )
            j += 4
        while j < i:
            f0 = matrix_out[j, i]
            for c in range(i, n):
                matrix_out[i, c] -= f0 * matrix_out[j, c]
            j += 1
        root = math.sqrt(max(matrix_out[i, i], SMALLEST_PIVOT))
        matrix_out[i, i] = root
        for c in range(i + 1, n):
            matrix_out[i, c] /= root


@njit(cache=True, nogil=True)
def forward_kernel(factor, n, columns_out):
    """Overwrite (n, m) `columns_out` by ``U'^-1 columns``; zeros above the first entry of a column stay zeros."""
    m = columns_out.shape[1]
    for i in range(n):
        j = 0
        while j + 4 <= i:  # four rows at a time: 1.5 times as fast as one
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
def posterior_kernel(
    points, n, weights, factor, candidates, is_choice, inverse_lengths, amplitude, share, mean_out, sd_out
):
    """Posterior mean and standard deviation (without noise) at each candidate, 64 candidates at a time.

    `points` (>= n, d), `weights` (>= n,) and the leading block of `factor` describe n observations.
    """
    columns = np.ascontiguousarray(candidates.T)
    distance, mains = np.empty(BLOCK), np.empty(BLOCK)
    cross = np.empty((n, BLOCK))
    for start in range(0, candidates.shape[0], BLOCK):
        m = min(BLOCK, candidates.shape[0] - start)
        block, mean, sd = cross[:, :m], mean_out[start : start + m], sd_out[start : start + m]
        mean[:] = 0.0
        sd[:] = amplitude
        for i in range(n):
            row_kernel(
                points[i],
                columns[:, start : start + m],
                is_choice,
                inverse_lengths,
                amplitude,
                share,
                distance,
                mains,
                block[i],
            )
            for c in range(m):
                mean[c] += weights[i] * block[i, c]
        forward_kernel(factor, n, block)
        for i in range(n):
            for c in range(m):
                sd[c] -= block[i, c] * block[i, c]
        for c in range(m):
            sd[c] = math.sqrt(max(sd[c], 1e-12 * amplitude))


@njit(cache=True, nogil=True)
def append_kernel(n, diagonal, factor_out):
    """Extend the factor of n points by one whose covariances stand in column n; `diagonal` includes the noise."""
    forward_kernel(factor_out, n, factor_out[:n, n : n + 1])
    rest = diagonal
    for i in range(n):
        rest -= factor_out[i, n] * factor_out[i, n]
    factor_out[n, n] = math.sqrt(max(rest, SMALLEST_PIVOT))


@njit(cache=True, nogil=True)
def inverse_kernel(factor, n, out):
    """Lower triangle of ``K^-1`` from the factor."""
    half = np.zeros((n, n))  # the inverse of U', lower triangular
    for i in range(n):
        half[i, i] = 1.0
        j = 0
        while j + 4 <= i:  # rows j and below end at their own column; zeros follow
            f0, f1, f2, f3 = factor[j, i], factor[j + 1, i], factor[j + 2, i], factor[j + 3, i]
            for c in range(j + 4):
                half[i, c] -= (f0 * half[j, c] + f1 * half[j + 1, c]) + (f2 * half[j + 2, c] + f3 * half[j + 3, c])
            j += 4
        while j < i:
            f0 = factor[j, i]
            for c in range(j + 1):
                half[i, c] -= f0 * half[j, c]
            j += 1
        inverse = 1.0 / factor[i, i]
        for c in range(i + 1):
            half[i, c] *= inverse
    out[:] = 0.0
    for a in range(n):
        i = a
        while i + 4 <= n:
            f0, f1, f2, f3 = half[i, a], half[i + 1, a], half[i + 2, a], half[i + 3, a]
            for b in range(a + 1):
                out[a, b] += (f0 * half[i, b] + f1 * half[i + 1, b]) + (f2 * half[i + 2, b] + f3 * half[i + 3, b])
            i += 4
        while i < n:
            f0 = half[i, a]
            for b in range(a + 1):
                out[a, b] += f0 * half[i, b]
            i += 1


@njit(cache=True, nogil=True)
def likelihood_kernel(x, y, is_choice, log_lengths, log_amplitude, logit_share, log_noise, gradient_out):
    """Negative log marginal likelihood of `y`; its gradient goes to `gradient_out` (d + 3,).

    The gradient is by the logarithms of the lengths, then log amplitude, logit of the share, log noise.
    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 5.8 and 5.9.
    """
    n, d = x.shape
    amplitude, noise = math.exp(log_amplitude), math.exp(log_noise)
    share = 1.0 / (1.0 + math.exp(-logit_share))
    inverse_lengths = np.exp(-log_lengths)
    covariance = np.empty((n, n))
    covariance_kernel(x, x, is_choice, inverse_lengths, amplitude, share, covariance)
    factor = covariance.copy()
    for i in range(n):
        factor[i, i] += noise
    factor_kernel(n, factor)
    inverse, weights = np.empty((n, n)), np.empty(n)
    inverse_kernel(factor, n, inverse)
    weights_kernel(factor, n, y, weights)

    value = 0.5 * n * math.log(2.0 * math.pi)
    gradient_out[:] = 0.0
    gaps = np.empty(d)
    for a in range(n):
        value += 0.5 * y[a] * weights[a] + math.log(factor[a, a])
        own = 0.5 * (inverse[a, a] - weights[a] * weights[a])
        gradient_out[d] += own * amplitude
        gradient_out[d + 2] += own * noise
        for b in range(a):
            pull = inverse[a, b] - weights[a] * weights[b]
            distance = 0.0
            for k in range(d):
                gaps[k] = squared_gap(x[a, k], x[b, k], is_choice[k], inverse_lengths[k])
                distance += gaps[k]
            r = ROOT5 * math.sqrt(distance)
            fall = math.exp(-r)
            steep = pull * amplitude * (1.0 - share) * (5.0 / 3.0) * (1.0 + r) * fall
            flat = pull * amplitude * share / d
            mains = 0.0
            for k in range(d):
                near = 1.0 / (1.0 + 0.25 * gaps[k])
                mains += near * near
                gradient_out[k] += (steep + flat * near * near * near) * gaps[k]
            gradient_out[d] += pull * covariance[a, b]
            joint = (1.0 + r + r * r / 3.0) * fall
            gradient_out[d + 1] += pull * amplitude * share * (1.0 - share) * (mains / d - joint)
    return value
