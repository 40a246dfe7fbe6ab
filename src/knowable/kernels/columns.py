"""`rolling`'s sum and deviation where there is one asset: the same arithmetic in the same order, to the bit.

Over many assets the processor does several at once, row by row. With one, each row waits for the row before, and
through memory; here what a row hands to the next stays in registers (half the time).
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["deviation_column", "sum_column"]


@njit(nogil=True, error_model="numpy")
def sum_column(x, divisor, high, low, head, place, out):
    """As `rolling.sum_kernel` for x of (n_bars, 1); the rest is its state."""
    n_rows, window = x.shape[0], high.shape[0] - 1
    slot, complete = place[0], place[1]
    total, carried = head[0, 0], head[1, 0]
    t = np.int64(0)
    while t < n_rows:
        if slot == 0:
            total, carried = 0.0, 0.0
        until = min(n_rows, t + window - slot)
        for u in range(t, until):
            value = x[u, 0]
            grown = total + value
            part = grown - total
            carried += (total - (grown - part)) + (value - part)
            total = grown
            high[slot, 0] = value
            slot += 1
            older = high[slot, 0]
            whole = grown + older
            part = whole - grown
            lost = carried + (low[slot, 0] + ((grown - (whole - part)) + (older - part)))
            made = (whole + (lost if lost == lost else 0.0)) / divisor  # lost is NaN beside an infinity
            out[u, 0] = made if made == made else np.nan
        if complete == 0:
            for u in range(t, until if slot < window else until - 1):
                out[u, 0] = np.nan
        t = until
        if slot == window:
            slot, complete = 0, 1
            older, behind = high[window, 0], low[window, 0]
            for i in range(window - 1, -1, -1):
                value = high[i, 0]
                grown = older + value
                part = grown - older
                behind += (older - (grown - part)) + (value - part)
                older = grown
                low[i, 0] = behind
                high[i, 0] = grown
    head[0, 0], head[1, 0] = total, carried
    place[0], place[1] = slot, complete


@njit(nogil=True, error_model="numpy")
def deviation_column(x, mean, squares, head, anchor, place, out):
    """As `rolling.deviation_kernel` for x of (n_bars, 1); the rest is its state."""
    n_rows, window = x.shape[0], mean.shape[0]
    slot, complete = place[0], place[1]
    freedom = window - 1.0 if window > 1 else np.nan  # one value has no deviation
    own, spread, first, last = head[0, 0], head[1, 0], anchor[0, 0], anchor[1, 0]
    for t in range(n_rows):
        count, older = slot + 1.0, window - slot - 1.0
        if slot == 0:
            first, own, spread = x[t, 0], 0.0, 0.0
        value = x[t, 0] - first
        gap = value - own
        own += gap * (1.0 / count)
        spread += gap * (value - own)
        mean[slot, 0] = x[t, 0]
        slot += 1
        if slot == window:
            total = spread / freedom
        elif complete == 0:
            total = np.nan
        else:
            gap = (first - last) + (own - mean[slot, 0])
            total = (spread + squares[slot, 0] + gap * gap * (count * older / window)) / freedom
        out[t, 0] = np.sqrt(total) if total == total else np.nan
        if slot == window:
            slot, complete = 0, 1
            last = mean[window - 1, 0]
            mean[window - 1, 0] = after = mean[window - 1, 0] - last
            squares[window - 1, 0] = beyond = 0.0
            for i in range(window - 2, -1, -1):
                value = mean[i, 0] - last
                gap = value - after
                after += gap * (1.0 / (window - i))
                beyond += gap * (value - after)
                mean[i, 0] = after
                squares[i, 0] = beyond
    head[0, 0], head[1, 0], anchor[0, 0], anchor[1, 0] = own, spread, first, last
    place[0], place[1] = slot, complete
