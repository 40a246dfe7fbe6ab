"""Combinatorially symmetric cross-validation over block moments, one pass a pair of halves."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["cscv_kernel"]


@njit(cache=True, nogil=True)
def half_sharpes_kernel(counts, sums, squares, blocks, total, square, out):
    """Sharpe ratio of each trial over some blocks; a trial whose returns do not vary there scores 0."""
    n_trials = sums.shape[1]
    count = 0.0
    total[:] = 0.0
    square[:] = 0.0
    # The same additions in the same order for every trial: equal trials tie to the bit. A product with a 0/1 matrix
    # was rejected for this: BLAS rounds edge columns differently from inner ones.
    for b in blocks:
        count += counts[b]
        for j in range(n_trials):
            total[j] += sums[b, j]
            square[j] += squares[b, j]
    for j in range(n_trials):
        spread = square[j] - total[j] * total[j] / count
        if spread > 1e-12 * square[j]:
            out[j] = total[j] / count / math.sqrt(spread / (count - 1.0))
        else:
            out[j] = 0.0


@njit(cache=True, nogil=True)
def judge_kernel(inside, outside, out):
    """Judge the best trial inside by its rank outside; several best ones count an equal share each."""
    n_trials = inside.shape[0]
    best = inside[0]
    n_best = 0
    for j in range(n_trials):
        if inside[j] > best:
            best = inside[j]
            n_best = 1
        elif inside[j] == best:
            n_best += 1
    ordered = np.sort(outside) if n_best > 1 else outside
    overfit = logit = score = 0.0
    for j in range(n_trials):
        if inside[j] != best:
            continue
        own = outside[j]
        if n_best > 1:
            below = np.searchsorted(ordered, own)
            equal = np.searchsorted(ordered, own, "right") - below
        else:
            below = 0
            equal = 0
            for i in range(n_trials):
                if outside[i] < own:
                    below += 1
                elif outside[i] == own:
                    equal += 1
        rank = below + 0.5 * (equal + 1)
        if 2.0 * rank <= n_trials + 1:
            overfit += 1.0
        logit += math.log(rank / (n_trials + 1.0 - rank))
        score += own
    out[0] = overfit / n_best
    out[1] = logit / n_best
    out[2] = best
    out[3] = score / n_best


@njit(cache=True, nogil=True)
def cscv_kernel(counts, sums, squares, halves, out):
    """Judge both directions of each pair of halves.

    Args:
        counts: (n_blocks,) rows a block. sums, squares: (n_blocks, n_trials) of the returns.
        halves: (n_pairs, n_blocks // 2) int64, the blocks of the first half; the second is the rest.
        out: (2 * n_pairs, 4) overfit share, logit, best score inside, its score outside.
    """
    n_blocks, n_trials = sums.shape
    total = np.empty(n_trials)
    square = np.empty(n_trials)
    first = np.empty(n_trials)
    second = np.empty(n_trials)
    rest = np.empty(n_blocks - halves.shape[1], np.int64)
    for p in range(halves.shape[0]):
        k = 0
        m = 0
        for b in range(n_blocks):
            if m < halves.shape[1] and halves[p, m] == b:
                m += 1
            else:
                rest[k] = b
                k += 1
        half_sharpes_kernel(counts, sums, squares, halves[p], total, square, first)
        half_sharpes_kernel(counts, sums, squares, rest, total, square, second)
        judge_kernel(first, second, out[2 * p])
        judge_kernel(second, first, out[2 * p + 1])
