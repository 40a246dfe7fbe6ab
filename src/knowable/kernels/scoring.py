"""Score many trials in one call: the ledger without records, then the statistics of its equity."""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import N_BAR_COLUMNS, N_EXPOSED, N_ORDER_COLUMNS, TRADED, new_state
from knowable.kernels.ledger import NO_LIMIT, check_kernel, ledger_kernel
from knowable.kernels.statistics import statistics_kernel

__all__ = ["score_kernel"]


@njit(cache=True, nogil=True)
def score_kernel(
    weights,
    decide,
    feed,
    marks,
    unfunded,
    rules,
    cash,
    bars_per_year,
    figures_out,
    moments_out,
    faults_out,
):
    """Run and measure k trials that differ in their weights only; no equity is kept.

    Args:
        weights: (k, n_bars, n_assets); the rest as in `ledger_kernel`.
        decide: (n_bars,).
        feed: `Feed`.
        marks: (n_assets,) last closes before the first row; 0 where none.
        unfunded: (n_assets,) 1 for futures and perpetuals, else 0.
        rules: `Rules`.
        cash: what each trial starts with.
        bars_per_year: for annualising.
        figures_out: (k, N_FIGURES), all NaN when handed in.
        moments_out: (k, N_BLOCKS, N_MOMENTS), all NaN when handed in.
        faults_out: (k, 2) first row whose sum of |w| is too large, and that sum; -1 where none. Such a trial is
            not run and its figures are NaN.
    """
    n_trials, n_bars, n_assets = weights.shape
    equity = np.empty(n_bars)
    returns = np.empty(n_bars)
    stated = np.empty(n_assets)
    no_bars = np.empty((N_BAR_COLUMNS, 0))
    no_orders = np.empty((0, N_ORDER_COLUMNS))
    for i in range(n_trials):
        stated[:] = 0.0
        row, gross = check_kernel(weights[i], decide, NO_LIMIT if rules.scale else rules.max_leverage, stated)
        faults_out[i, 0] = row
        faults_out[i, 1] = gross
        if row >= 0:
            continue
        state = new_state(marks, unfunded, cash)
        ledger_kernel(weights[i], decide, feed, rules, state, equity, no_bars, no_orders)
        statistics_kernel(
            equity, cash, bars_per_year, state.account[TRADED : N_EXPOSED + 1], returns, figures_out[i], moments_out[i]
        )
