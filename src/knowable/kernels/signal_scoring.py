"""Score one trial of signals in one call: the ledger without records, then the statistics of its equity."""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import N_BAR_COLUMNS, N_EXPOSED, N_ORDER_COLUMNS, TRADED, new_state
from knowable.kernels.signals import signals_kernel
from knowable.kernels.statistics import statistics_kernel

__all__ = ["score_signals_kernel"]


@njit(cache=True, nogil=True)
def score_signals_kernel(
    flags, size, guards, bars, feed, marks, unfunded, rules, cash, bars_per_year, figures_out, moments_out, fault_out
):
    """Run and measure signals; no equity is kept.

    Args:
        flags: (n_bars, n_assets) uint8; the next five as in `signals_kernel`.
        size: see there.
        guards: see there.
        bars: see there.
        feed: see there.
        marks: (n_assets,) last closes before the first row; 0 where none.
        unfunded: (n_assets,) 1 for futures and perpetuals, else 0.
        rules: as in `signals_kernel`.
        cash: what the account starts with.
        bars_per_year: for annualising.
        figures_out: (N_FIGURES,), all NaN when handed in.
        moments_out: (N_BLOCKS, N_MOMENTS).
        fault_out: (2,) as `fault` there, -1 each when handed in; where there is a fault nothing is measured.
    """
    n_bars, n_assets = flags.shape
    equity = np.empty(n_bars)
    state = new_state(marks, unfunded, cash)
    no_bars, no_orders = np.empty((N_BAR_COLUMNS, 0)), np.empty((0, N_ORDER_COLUMNS))
    signals_kernel(
        flags, size, guards, bars, feed, rules, state, np.empty((1, n_assets)), fault_out, equity, no_bars, no_orders
    )
    if fault_out[0] >= 0:
        return
    activity = state.account[TRADED : N_EXPOSED + 1]
    statistics_kernel(equity, cash, bars_per_year, activity, np.empty(n_bars), figures_out, moments_out)
