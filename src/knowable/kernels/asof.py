"""What was known when: sweeps over facts sorted by (known_time, revision, asserts before retractions).

A *period* is one (entity, event_time). Periods are numbered so that those of an entity follow one another by
event_time; a higher number is then a newer period. Each period keeps a stack of its standing assertions as a linked
list: `top` is the latest, `below[i]` the one that assertion i hides. A retraction pops the stack.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["AsofState", "asof_kernel", "bars_kernel", "gather_kernel", "standing_kernel"]


class AsofState(NamedTuple):
    """What the sweep carries from one clock row to the next."""

    top: np.ndarray  # (n_periods,) int32 latest standing assertion, -1 where none; empty where nothing is retracted
    below: np.ndarray  # (n_facts,) int32 the assertion that each one hides, -1 where none; empty likewise
    current: np.ndarray  # (n_entities,) int32 newest period with a standing assertion, -1 where none
    row: np.ndarray  # (n_columns,) float64 values current now
    cursor: np.ndarray  # (1,) int64 first fact not yet known


@njit(cache=True, nogil=True)
def asof_kernel(clock, known, period, owner, first, retracts, value, column, state, out):
    """Fill out[t, j] with the value of column j's entity that is current at clock[t].

    clock (n_times,) int64 ascending; known, period, retracts, value (n_facts,) in sweep order; owner (n_periods,) the
    entity of a period; first (n_entities,) its lowest period; column (n_entities,) its place in `out`, -1 to skip.
    """
    top, below, current, row = state.top, state.below, state.current, state.row
    stacked = below.shape[0] > 0
    i = state.cursor[0]
    for t in range(clock.shape[0]):
        now = clock[t]
        while i < known.shape[0] and known[i] <= now:
            p = period[i]
            entity = owner[p]
            j = column[entity]
            if j >= 0:
                if not retracts[i]:
                    if stacked:
                        below[i] = top[p]
                        top[p] = i
                    if p >= current[entity]:  # a late restatement of an older period never replaces a newer one
                        current[entity] = p
                        row[j] = value[i]
                elif top[p] >= 0:
                    top[p] = below[top[p]]
                    if p == current[entity]:
                        while p >= first[entity] and top[p] < 0:
                            p -= 1
                        if p >= first[entity]:
                            current[entity] = p
                            row[j] = value[top[p]]
                        else:
                            current[entity] = -1
                            row[j] = np.nan
            i += 1
        for j in range(row.shape[0]):
            out[t, j] = row[j]
    state.cursor[0] = i


@njit(cache=True, nogil=True)
def standing_kernel(known, period, retracts, as_of, below, top_out):
    """Fill top_out[p] with the assertion of each period that stands at `as_of`; it starts at -1, and -1 is none."""
    for i in range(known.shape[0]):
        if known[i] > as_of:
            break
        p = period[i]
        if not retracts[i]:
            below[i] = top_out[p]
            top_out[p] = i
        elif top_out[p] >= 0:
            top_out[p] = below[top_out[p]]


@njit(cache=True, nogil=True)
def bars_kernel(known, row, column, retracts, decision, below, seen_out, final_out):
    """Fill the facts each bar shows: seen_out[t, j] at its own decision time, final_out[t, j] in the end.

    row, column (n_facts,) the cell of each fact, -1 to skip; decision (n_bars,) int64. Both outs are int32 and start
    at -1, which is none.
    """
    for i in range(known.shape[0]):
        t, j = row[i], column[i]
        if t < 0 or j < 0:
            continue
        standing = final_out[t, j]
        if not retracts[i]:
            below[i] = standing
            final_out[t, j] = i
        elif standing >= 0:
            final_out[t, j] = below[standing]
        if known[i] <= decision[t]:
            seen_out[t, j] = final_out[t, j]


@njit(cache=True, nogil=True)
def gather_kernel(index, value, out):
    """Fill out[t, j] with value[index[t, j]], NaN where the index is -1."""
    for t in range(index.shape[0]):
        for j in range(index.shape[1]):
            i = index[t, j]
            out[t, j] = value[i] if i >= 0 else np.nan
