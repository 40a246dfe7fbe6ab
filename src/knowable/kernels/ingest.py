"""Passes over rows on their way into the store: lines of a text file, order, values, sessions."""

import numpy as np
from numba import njit

__all__ = [
    "INFINITE",
    "MINUS",
    "MISSING",
    "ODD_BYTE",
    "TINY",
    "ZERO_OR_LESS",
    "ascends_kernel",
    "lines_kernel",
    "outside_kernel",
    "records_kernel",
    "values_kernel",
]

NEWLINE, COMMA, RETURN, QUOTE = 10, 44, 13, 34
STRAY = 1 << 40  # what a carriage return within a line adds to its commas
WRONG_COUNT, LOOSE_QUOTE = 1, 4  # what may be found in a line
ODD_BYTE = 2  # likewise
CELL_START, IN_CELL, QUOTED, QUOTE_SEEN, LOOSE = 0, 1, 2, 3, 4  # where in a record a byte stands
MISSING = 1  # what `values_kernel` finds in a column, this and the next four
INFINITE = 2
TINY = 4
ZERO_OR_LESS = 8
MINUS = 16


@njit(cache=True, nogil=True)
def lines_kernel(data, n_commas, start_out, finding_out):
    """Fill start_out[k], the first byte of line k, and finding_out[k], 0 for a line of n_commas + 1 plain cells.

    data (n_bytes,) uint8 without quotes; the outs have a place for each line, start_out one more for the end. A line
    end is LF; a CR before it belongs to it, and any other CR spoils the line. NUL and bytes above 127 are odd. What
    follows the last line end is left out. Returns the number of lines that are not plain.
    """
    n_odd = 0
    line, begin, commas, odd = 0, 0, 0, False
    for i in range(data.shape[0]):
        byte = data[i]
        if byte == NEWLINE:
            last = i - 1 if i > begin and data[i - 1] == RETURN else i
            finding = WRONG_COUNT if commas != n_commas or last == begin else 0
            if odd:
                finding |= ODD_BYTE
            start_out[line], finding_out[line] = begin, finding
            n_odd += finding != 0
            line, begin, commas, odd = line + 1, i + 1, 0, False
        elif byte == COMMA:
            commas += 1
        elif byte >= 128 or byte == 0:
            odd = True
        elif byte == RETURN and i + 1 < data.shape[0] and data[i + 1] != NEWLINE:
            commas += STRAY
    start_out[line] = begin
    return n_odd


@njit(cache=True, nogil=True)
def records_kernel(data, n_commas, longest, final, start_out, line_out, finding_out):
    """The same where cells may be quoted: start_out, line_out (lines before it) and finding_out of each record.

    A quote opens a cell only as its first byte, two inside it are one, and after the closing one only a comma or a
    line end may follow; else the rest of the line is LOOSE_QUOTE. A quote that does not close within `longest` bytes
    (or, where `final`, before the end) costs its line and no more: what follows is read afresh. Returns the number of
    records; start_out and line_out have one more place, for where the first unfinished record begins.
    """
    n = data.shape[0]
    record, line, begin, i = 0, 0, 0, 0
    commas, odd, state = 0, False, CELL_START
    lines_within, first_end, opened = 0, -1, 0
    while i < n or (final and state == QUOTED and first_end >= 0):
        if state == QUOTED and first_end >= 0 and (i == n or i - opened > longest):
            i, lines_within, state = first_end, 0, LOOSE  # back to the end of the record's first line
        byte = data[i]
        if state == QUOTED:
            if byte == QUOTE:
                state = QUOTE_SEEN
            elif byte == NEWLINE:
                lines_within += 1
                first_end = i if first_end < 0 else first_end
            elif byte >= 128 or byte == 0:
                odd = True
        elif byte == NEWLINE:
            last = i - 1 if i > begin and data[i - 1] == RETURN else i
            finding = WRONG_COUNT if commas != n_commas or last == begin else 0
            finding |= (ODD_BYTE if odd else 0) | (LOOSE_QUOTE if state == LOOSE else 0)
            start_out[record], line_out[record], finding_out[record] = begin, line, finding
            record, line, begin = record + 1, line + lines_within + 1, i + 1
            commas, odd, state, lines_within, first_end = 0, False, CELL_START, 0, -1
        elif byte == QUOTE and state == QUOTE_SEEN:
            state = QUOTED
        elif byte == QUOTE and state == CELL_START:
            state, opened = QUOTED, i
        elif byte == COMMA and state != LOOSE:
            commas, state = commas + 1, CELL_START
        else:
            ends = byte == RETURN and i + 1 < n and data[i + 1] == NEWLINE
            odd |= byte >= 128 or byte == 0
            commas += STRAY if byte == RETURN and not ends else 0
            if not ends:
                state = IN_CELL if state == CELL_START or state == IN_CELL else LOOSE
        i += 1
    start_out[record], line_out[record] = begin, line
    return record


@njit(cache=True, nogil=True)
def ascends_kernel(rank, code, event, last):
    """Whether (entity, event) goes on ascending strictly, so that no two rows share it.

    rank (n_names,) int64 the place of each name in order; code (n_rows,) int32 names; event (n_rows,) int64; last (2,)
    int64 rank and event of the row before, which is brought forward.
    """
    owner, moment = last[0], last[1]
    for i in range(code.shape[0]):
        mine = rank[code[i]]
        if mine < owner or (mine == owner and event[i] <= moment):
            return False
        owner, moment = mine, event[i]
    last[0], last[1] = owner, moment
    return True


@njit(cache=True, nogil=True)
def values_kernel(values, tiny):
    """What there is in a column of (n_rows,) float64, as a sum of MISSING, INFINITE, TINY, ZERO_OR_LESS and MINUS.

    `tiny` is the least normal number. NaN is MISSING; MINUS is a set sign, that of -0.0 included.
    """
    found = 0
    for i in range(values.shape[0]):
        x = values[i]
        if x > tiny and x < np.inf:
            continue
        if np.isnan(x):
            found |= MISSING
            continue
        if np.isinf(x):
            found |= INFINITE
        elif x != 0.0 and abs(x) < tiny:
            found |= TINY
        if x <= 0.0:
            found |= ZERO_OR_LESS
            if x < 0.0 or np.copysign(1.0, x) < 0.0:
                found |= MINUS
    return found


@njit(cache=True, nogil=True)
def outside_kernel(ends, opens, closes, outside_out):
    """Fill outside_out[i]: whether bar end i lies in no (open, close] of a session. Returns how many do.

    ends (n_rows,) int64; opens, closes (n_sessions,) int64 ascending. Rows near one another are cheap.
    """
    n_outside, n = 0, closes.shape[0]
    low, high, inside = 1, 0, False  # the stretch that the last bar end was in, and whether it is a session
    for i in range(ends.shape[0]):
        end = ends[i]
        if end < low or end > high:
            at = np.searchsorted(closes, end)
            if at == n:
                low, high, inside = (closes[n - 1] + 1 if n else end), end, False
            elif end > opens[at]:
                low, high, inside = opens[at] + 1, closes[at], True
            else:
                low, high, inside = (closes[at - 1] + 1 if at else end), opens[at], False
        outside_out[i] = not inside
        n_outside += not inside
    return n_outside
