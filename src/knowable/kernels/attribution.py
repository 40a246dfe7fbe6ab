"""What positions gained: bar by bar and asset by asset, from share counts and prices alone."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["attribution_kernel"]


@njit(cache=True, nogil=True, error_model="numpy")
def attribution_kernel(marks, bars, assets, sizes, paid, borrow, rates, gain_out, assets_out):
    """Add up what was held times how its price moved, and what was bought since at the price paid.

    Never looks at cash or equity, so that these can be held against it.

    Args:
        marks: (n_bars, n_assets) price each position is valued at; 0 where there is none yet.
        bars: (n_fills,) int64 the bar of each fill, never falling.
        assets: (n_fills,) int64.
        sizes: (n_fills,) signed shares.
        paid: (n_fills,) reference price; 0 for shares that came without money.
        borrow: (n_bars,) what shorts cost on each bar, shared out by the value they were held at times their rate.
        rates: (n_bars or 1, n_assets or 1) of borrowing.
        gain_out: (n_bars,).
        assets_out: (2, n_assets) zeros: each asset's gain, and its part of borrow.
    """
    n_bars, n_assets = marks.shape
    held = np.zeros(n_assets)
    k = 0
    for t in range(n_bars):
        gain = 0.0
        if t > 0:
            if borrow[t] != 0.0:
                _share_out(borrow[t], held, marks[t - 1], rates[t if rates.shape[0] > 1 else 0], assets_out[1])
            for j in range(n_assets):
                part = held[j] * (marks[t, j] - marks[t - 1, j])
                gain += part
                assets_out[0, j] += part
        while k < len(bars) and bars[k] == t:
            j = assets[k]
            part = sizes[k] * (marks[t, j] - paid[k])
            gain += part
            assets_out[0, j] += part
            held[j] += sizes[k]
            k += 1
        gain_out[t] = gain


@njit(nogil=True, error_model="numpy")
def _share_out(amount, held, mark, rate, out):
    whole = 0.0
    for j in range(len(held)):
        if held[j] < 0.0:
            whole -= held[j] * mark[j] * rate[j if len(rate) > 1 else 0]
    if whole > 0.0:
        for j in range(len(held)):
            if held[j] < 0.0:
                out[j] -= amount * (held[j] * mark[j] * rate[j if len(rate) > 1 else 0] / whole)
