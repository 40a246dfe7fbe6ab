"""What was known when: sweeps over the facts of each entity, in the order they became known.

A *period* is one (entity, event_time, keys). Periods are numbered so that those of an entity follow one another by
event_time, then keys; a higher number is then a newer period. Periods of one event_time that differ by their keys are
one *group*; its value is that of the fact known last. Each period keeps a stack of its standing assertions as a
linked list: `top` is the latest, `below[i]` the one that assertion i hides. A retraction pops the stack.

The facts of an entity lie side by side, so an entity costs nothing where it is not asked for. Where facts are few
beside the cells to fill, the sweep goes through all of them by time and copies its row (0.9 ms where entity by entity
takes 6); where they are many, entity by entity in tiles that stay in the processor's cache, eight columns (a line of
it) at a time. The few lines that take in an assertion stand in each kernel: a function of their own would count
references to its arrays at each call, which made the sweeps six times slower.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "AsofFacts",
    "AsofState",
    "asof_kernel",
    "asof_rows_kernel",
    "asof_sparse_kernel",
    "asof_wide_kernel",
    "bars_kernel",
    "columns_kernel",
    "gather_kernel",
    "orderly_kernel",
    "standing_kernel",
    "window_kernel",
]

_LANES = 8  # columns of one cache line
_ROWS = 256  # rows of a tile that is copied
_SWEPT = 2048  # rows of a tile that is swept: starting on a tile costs a microsecond an entity
_EIGHT = np.arange(_LANES, dtype=np.int32)
_FOREVER = np.iinfo(np.int64).max


class AsofFacts(NamedTuple):
    """The facts, sorted by (entity, known_time, revision, asserts before retractions, period)."""

    start: np.ndarray  # (n_entities + 1,) int64 first fact of each entity
    known: np.ndarray  # (n_facts,) int64
    period: np.ndarray  # (n_facts,) int32
    retracts: np.ndarray  # (n_facts,) bool
    first: np.ndarray  # (n_entities + 1,) int32 lowest period of each entity
    event: np.ndarray  # (n_periods,) int64
    owner: np.ndarray  # (n_periods,) int32 entity of each period
    group: np.ndarray  # (n_periods,) int32 lowest period of the same event_time; empty where there are no keys


class AsofState(NamedTuple):
    """What the sweep carries from one clock row to the next."""

    top: np.ndarray  # (n_periods,) int32 latest standing assertion, -1: none; may be empty where nothing is retracted
    below: np.ndarray  # (n_facts,) int32 the assertion that each one hides, -1: none; empty where nothing is retracted
    current: np.ndarray  # (n_entities,) int32 newest period with a standing assertion, -1: none
    shown: np.ndarray  # (n_entities,) int32 the fact whose value is current, -1: none
    cursor: np.ndarray  # (n_entities,) int64 first fact not yet known


@njit(cache=True, nogil=True)
def asof_kernel(clock, facts, value, entity, tolerance, state, out):
    """Fill out[t, j] with the value of column j's entity that is current at clock[t], NaN where none is.

    clock (n_times,) int64 ascending; value (n_facts,); entity (n_columns,) int32, -1 where a column has no facts, none
    twice; tolerance in ns: an event_time further back than that is no value, -1 for none.
    """
    lanes = np.empty((_LANES, _SWEPT + _LANES))
    for t0 in range(0, clock.shape[0], _SWEPT):
        t1 = min(t0 + _SWEPT, clock.shape[0])
        for j0 in range(0, entity.shape[0], _LANES):
            j1 = min(j0 + _LANES, entity.shape[0])
            for j in range(j0, j1):
                _fill_column(clock, facts, value, entity[j], tolerance, state, t0, t1, lanes[j - j0])
            for u0 in range(t0, t1, _ROWS):
                _turn(lanes[:, u0 - t0 :], _EIGHT, 0, min(_ROWS, t1 - u0), j0, j1, out[u0:t1])


@njit(cache=True, nogil=True)
def asof_sparse_kernel(clock, facts, value, in_time, column, entity, tolerance, state, out):
    """As `asof_kernel`, but over all facts by time; the quicker one where they are few beside the cells.

    in_time (n_facts,) int32 facts ordered by known time; column (n_entities,) int32 place of each in `out`, -1 to
    skip; entity (n_columns,) the other way round. state.cursor (1,) counts in `in_time`.
    """
    known, period, retracts, group, first = facts.known, facts.period, facts.retracts, facts.group, facts.first
    event, top, below, current, shown = facts.event, state.top, state.below, state.current, state.shown
    stands, hides, keyed, ages = top.shape[0] > 0, below.shape[0] > 0, group.shape[0] > 0, tolerance >= 0
    row = np.full(entity.shape[0], np.nan)
    fresh = np.full(entity.shape[0], _FOREVER)
    for j in range(entity.shape[0]):
        if entity[j] >= 0 and shown[entity[j]] >= 0:
            i = shown[entity[j]]
            row[j], fresh[j] = value[i], _fresh_until(event[period[i]], tolerance)
    n = state.cursor[0]
    for t in range(clock.shape[0]):
        now = clock[t]
        while n < in_time.shape[0] and known[in_time[n]] <= now:
            i = in_time[n]
            n += 1
            p = period[i]
            e = facts.owner[p]
            j = column[e]
            if j < 0:
                continue
            if retracts[i]:
                current[e], shown[e] = _retracted(i, e, period, group, first, top, below, current[e], shown[e])
            else:
                if stands:
                    if hides:
                        below[i] = top[p]
                    top[p] = i
                # a late restatement of an older period never replaces a newer one
                if p < current[e] and not (keyed and group[p] == group[current[e]]):
                    continue
                current[e], shown[e] = p, i
            row[j], fresh[j] = np.nan, _FOREVER
            if shown[e] >= 0:
                row[j], fresh[j] = value[shown[e]], _fresh_until(event[current[e]], tolerance)
        if ages:
            for j in range(row.shape[0]):
                out[t, j] = row[j] if now <= fresh[j] else np.nan
        else:
            for j in range(row.shape[0]):
                out[t, j] = row[j]
    state.cursor[0] = n


@njit(cache=True, nogil=True)
def asof_wide_kernel(clock, facts, value, entity, tolerance, state, out):
    """As `asof_kernel`, but entity by entity: fill out[j, t]."""
    for j in range(entity.shape[0]):
        _fill_column(clock, facts, value, entity[j], tolerance, state, 0, clock.shape[0], out[j])


@njit(cache=True, nogil=True)
def asof_rows_kernel(entity, moment, facts, tolerance, state, out):
    """Fill out[i] with the fact current for entity[i] at moment[i], -1 where none is.

    entity (n_rows,) int32, -1 to skip; moment (n_rows,) int64, ascending for each entity.
    """
    period, retracts, group, first = facts.period, facts.retracts, facts.group, facts.first
    top, below = state.top, state.below
    stands, hides, keyed = top.shape[0] > 0, below.shape[0] > 0, group.shape[0] > 0
    for i in range(entity.shape[0]):
        e = entity[i]
        if e < 0:
            out[i] = -1
            continue
        at, end = state.cursor[e], facts.start[e + 1]
        current, shown = state.current[e], state.shown[e]
        while at < end and facts.known[at] <= moment[i]:
            p = period[at]
            if retracts[at]:
                current, shown = _retracted(at, e, period, group, first, top, below, current, shown)
            else:
                if stands:
                    if hides:
                        below[at] = top[p]
                    top[p] = at
                if p >= current or (keyed and group[p] == group[current]):
                    current, shown = p, np.int32(at)
            at += 1
        state.cursor[e], state.current[e], state.shown[e] = at, current, shown
        fresh = shown >= 0 and moment[i] <= _fresh_until(facts.event[current], tolerance)
        out[i] = shown if fresh else -1


@njit(cache=True, nogil=True)
def window_kernel(clock, facts, value, entity, k, within, reduction, state, out):
    """Fill out[t, j] with the last k periods of column j's entity as known at clock[t], oldest first, or with their
    reduction; NaN where fewer than k stand, or they span more than `within` ns.

    state.top must not be empty. reduction: 0 none, 1 sum, 2 mean, 3 least, 4 greatest, 5 oldest, 6 newest. out
    (n_times, n_columns, k), or (n_times, n_columns, 1) where reduced. Periods of one event_time count as one.
    """
    known, period, retracts, group, first = facts.known, facts.period, facts.retracts, facts.group, facts.first
    top, below = state.top, state.below
    hides, keyed = below.shape[0] > 0, group.shape[0] > 0
    window = np.empty(k)
    for t0 in range(0, clock.shape[0], _ROWS):
        t1 = min(t0 + _ROWS, clock.shape[0])
        for j in range(entity.shape[0]):
            e = entity[j]
            if e < 0:
                out[t0:t1, j, :] = np.nan
                continue
            i, end = state.cursor[e], facts.start[e + 1]
            current, shown = state.current[e], state.shown[e]
            changed, reduced = True, np.nan
            for t in range(t0, t1):
                while i < end and known[i] <= clock[t]:
                    p = period[i]
                    if retracts[i]:
                        current, shown = _retracted(i, e, period, group, first, top, below, current, shown)
                    else:
                        if hides:
                            below[i] = top[p]
                        top[p] = i
                        if p >= current or (keyed and group[p] == group[current]):
                            current, shown = p, np.int32(i)
                    changed = True
                    i += 1
                if changed:
                    _last_periods(e, facts.event, group, first, top, current, value, within, window)
                    reduced = _reduced(window, reduction)
                    changed = False
                if reduction == 0:
                    for n in range(k):
                        out[t, j, n] = window[n]
                else:
                    out[t, j, 0] = reduced
            state.cursor[e], state.current[e], state.shown[e] = i, current, shown


@njit(cache=True, nogil=True)
def standing_kernel(known, period, retracts, as_of, below, top_out):
    """Fill top_out[p] with the assertion of each period that stands at `as_of`; it starts at -1, and -1 is none."""
    for i in range(known.shape[0]):
        if known[i] > as_of:
            continue
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


@njit(cache=True, nogil=True)
def columns_kernel(wide, row, out):
    """Fill out[t, j] with wide[row[j], t]; a column whose row is -1 is left as it is."""
    n_times, n_columns = out.shape
    for t0 in range(0, n_times, _ROWS):
        for j0 in range(0, n_columns, _LANES):
            _turn(wide, row[j0:], t0, min(t0 + _ROWS, n_times), j0, min(j0 + _LANES, n_columns), out)


@njit(cache=True, nogil=True)
def orderly_kernel(code, known, revision, retracts, event, key, known_out, event_out):
    """Whether the facts of each entity are in the order of the sweep, and whether their periods ascend in it.

    code (n_facts,) int32 ascending; the rest (n_facts,). Outs (n_entities,) bool start as True.
    """
    for i in range(1, code.shape[0]):
        e = code[i]
        if code[i - 1] != e:
            continue
        ahead = event[i] > event[i - 1] or (event[i] == event[i - 1] and key[i] >= key[i - 1])
        if not ahead:
            event_out[e] = False
        if known[i] != known[i - 1]:
            right = known[i] > known[i - 1]
        elif revision[i] != revision[i - 1]:
            right = revision[i] > revision[i - 1]
        elif retracts[i] != retracts[i - 1]:
            right = retracts[i]
        else:
            right = ahead
        if not right:
            known_out[e] = False


@njit(cache=True, nogil=True)
def _turn(wide, row, t0, t1, j0, j1, out):
    """Fill out[t, j] with wide[row[j - j0], t] for t0 <= t < t1 and j0 <= j < j1, at most eight columns."""
    if j1 - j0 == _LANES and row[:_LANES].min() >= 0:  # written out: a loop over the eight takes four times as long
        a, b, c, d = wide[row[0]], wide[row[1]], wide[row[2]], wide[row[3]]
        e, f, g, h = wide[row[4]], wide[row[5]], wide[row[6]], wide[row[7]]
        for t in range(t0, t1):
            line = out[t]
            line[j0], line[j0 + 1], line[j0 + 2], line[j0 + 3] = a[t], b[t], c[t], d[t]
            line[j0 + 4], line[j0 + 5], line[j0 + 6], line[j0 + 7] = e[t], f[t], g[t], h[t]
        return
    for j in range(j0, j1):
        if row[j - j0] >= 0:
            source = wide[row[j - j0]]
            for t in range(t0, t1):
                out[t, j] = source[t]


@njit(cache=True, nogil=True)
def _fill_column(clock, facts, value, e, tolerance, state, t0, t1, out):
    """Fill out[t - t0] for the clock rows t0 to t1 of one entity."""
    if e < 0:
        for t in range(t1 - t0):
            out[t] = np.nan
        return
    known, event, period, end = facts.known, facts.event, facts.period, facts.start[e + 1]
    retracts, group, first = facts.retracts, facts.group, facts.first
    top, below = state.top, state.below
    stands, hides, keyed, ages = top.shape[0] > 0, below.shape[0] > 0, group.shape[0] > 0, tolerance >= 0
    i, current, shown = state.cursor[e], state.current[e], state.shown[e]
    t = t0
    while t < t1:
        while i < end and known[i] <= clock[t]:
            p = period[i]
            if retracts[i]:
                current, shown = _retracted(i, e, period, group, first, top, below, current, shown)
            else:
                if stands:
                    if hides:
                        below[i] = top[p]
                    top[p] = i
                if p >= current or (keyed and group[p] == group[current]):
                    current, shown = p, np.int32(i)
            i += 1
        x, fresh = np.nan, _FOREVER
        if shown >= 0:
            x = value[shown]
            if ages:
                fresh = _fresh_until(event[current], tolerance)
        following = known[i] if i < end else _FOREVER
        if following > clock[t1 - 1] and fresh >= clock[t1 - 1]:
            for u in range(t, t1):  # one value to the end of the tile: stored several at a time
                out[u - t0] = x
            break
        out[t - t0] = x if clock[t] <= fresh else np.nan
        t += 1
        while t < t1 and clock[t] < following:
            out[t - t0] = x if clock[t] <= fresh else np.nan
            t += 1
    state.cursor[e], state.current[e], state.shown[e] = i, current, shown


@njit(cache=True, nogil=True)
def _fresh_until(event, tolerance):
    """The last moment at which a value of this event_time is fresh enough."""
    return event + tolerance if 0 <= tolerance <= _FOREVER - max(event, 0) else _FOREVER


@njit(cache=True, nogil=True)
def _retracted(i, e, period, group, first, top, below, current, shown):
    """Take in retraction i of entity e. Returns: its newest period with a standing assertion, and the fact shown."""
    p = period[i]
    if top[p] >= 0:
        top[p] = below[top[p]]
        if p == current:
            return _fall_back(e, group, first, top, p)
    return current, shown


@njit(cache=True, nogil=True)
def _fall_back(e, group, first, top, p):
    """The newest period, of p's group or an older one, in which an assertion stands, and that assertion."""
    q = _group_end(e, group, first, p)
    while q >= first[e]:
        lowest = group[q] if group.shape[0] > 0 else q
        best, found = np.int32(-1), np.int32(-1)
        while q >= lowest:
            if top[q] > best:
                best, found = top[q], np.int32(q)
            q -= 1
        if best >= 0:
            return found, best
    return np.int32(-1), np.int32(-1)


@njit(cache=True, nogil=True)
def _group_end(e, group, first, p):
    """The highest period of p's event_time."""
    q = np.int64(p)
    if group.shape[0] > 0:
        while q + 1 < first[e + 1] and group[q + 1] == group[p]:
            q += 1
    return q


@njit(cache=True, nogil=True)
def _last_periods(e, event, group, first, top, newest, value, within, window):
    """Fill `window` with the values of the newest groups in which an assertion stands, oldest first, or with NaN."""
    missing = window.shape[0]
    q = _group_end(e, group, first, newest) if newest >= 0 else np.int64(-1)
    while missing > 0 and q >= first[e]:
        lowest = group[q] if group.shape[0] > 0 else q
        best = np.int32(-1)
        while q >= lowest:
            best = max(best, top[q])
            q -= 1
        if best < 0:
            continue
        span = event[newest] - event[lowest]
        if span > within or (span < 0 and within < _FOREVER):  # more than 292 years do not fit
            break
        missing -= 1
        window[missing] = value[best]
    if missing > 0:
        window[:] = np.nan


@njit(cache=True, nogil=True)
def _reduced(window, reduction):
    """One number for a window; NaN where any of its values is NaN (oldest and newest: where that one is)."""
    if reduction == 5:
        return window[0]
    if reduction == 6:
        return window[-1]
    total = window[0]
    for n in range(1, window.shape[0]):
        x = window[n]
        if reduction <= 2:
            total += x
        elif np.isnan(x) or (reduction == 3 and x < total) or (reduction == 4 and x > total):
            total = x
    if reduction == 2:
        total /= window.shape[0]
    return total
