"""Kernels of slower clocks, against tables made by hand."""

from itertools import pairwise

import numpy as np
import pytest

from knowable.kernels import clock

NAN = np.nan
PERIOD = np.array([4, 4, 4, 5, 5, 6, 8, 8])
KNOWN = np.array([0, 1, 1, 0, 0, 1, 0, 0], bool)  # the third row comes after period 4 was said to be over
CODES = [0.0, 1, 0, 0, 0, 3, 0, 0]


def table(rows):
    """Read-only, as the drivers give them."""
    made = np.array(rows, dtype=float)
    made.flags.writeable = False
    return made


X = table([[1.0, NAN], [2, NAN], [8, NAN], [NAN, 5], [4, -5], [6, 1], [7, np.inf], [9, 0]])
ENDS = table([[code] for code in CODES])
PIECES = [[], [1], [3, 5], [5, 6], [0, 8], [1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize("cuts", PIECES)
def test_hand_table_of_ends(cuts):
    state, out = clock.ends_state(), np.empty(8)
    for a, b in pairwise([0, *cuts, 8]):
        clock.ends_kernel(PERIOD[a:b], KNOWN[a:b], state, out[a:b])
    assert out.tolist() == CODES


def test_hand_table_of_rows_that_end_periods():
    rows = np.empty(16, np.int64)
    n_ends = clock.end_rows_kernel(ENDS, rows)
    assert rows[:n_ends].tolist() == [1, 4, 5]
    assert clock.end_rows_kernel(table([[3], [2]]), rows) == 3
    assert rows[:3].tolist() == [-1, 0, 0]


@pytest.mark.parametrize("cuts", PIECES)
@pytest.mark.parametrize(
    ("how", "value"), [("last", 2), ("first", 1), ("min", 1), ("max", 2), ("sum", 3), ("mean", 1.5)]
)
def test_hand_table_of_periods(how, value, cuts):
    """Rows 0 and 1 are a period without a value of the second asset; the fifth row tells of its own alone."""
    state, out = clock.period_state(2), np.empty(X.shape)
    for a, b in pairwise([0, *cuts, 8]):
        clock.period_kernel(X[a:b], ENDS[a:b], clock.WAYS.index(how), state, out[a:b])
    np.testing.assert_array_equal(out[:, 0], [NAN] + [value] * 4 + [6] * 3)
    np.testing.assert_array_equal(out[:, 1], [NAN] * 5 + [1] * 3)


def test_hand_table_of_a_period_that_is_told_of_late():
    """Rows 2 to 4 of the table, where the fifth row ends nothing itself."""
    ends = table([[2.0 if t == 5 else code] for t, code in enumerate(CODES)])
    ways = {"last": [4, -5], "first": [8, 5], "min": [4, -5], "max": [8, 5], "sum": [12, 0], "mean": [6, 0]}
    for how, expected in ways.items():
        state, out = clock.period_state(2), np.empty(X.shape)
        clock.period_kernel(X, ends, clock.WAYS.index(how), state, out)
        assert out[5:].tolist() == [expected] * 3


@pytest.mark.parametrize("cuts", PIECES)
def test_hand_table_of_held_values(cuts):
    held, out = np.full(1, NAN), np.empty((8, 1))
    values, used = np.array([[10.0], [20.0], [30.0]]), 0
    for a, b in pairwise([0, *cuts, 8]):
        n_ends = clock.end_rows_kernel(ENDS[a:b], np.empty(16, np.int64))
        clock.hold_kernel(ENDS[a:b], values[used : used + n_ends], held, out[a:b])
        used += n_ends
    np.testing.assert_array_equal(out[:, 0], [NAN, 10, 10, 10, 10, 30, 30, 30])


def test_hand_table_of_days():
    condition = table([[0.0, NAN], [1, 0], [NAN, 0], [0, -2], [0, 0]])
    day, state, out = table([[10], [10], [13], [14], [20]]), clock.days_since_state(2), np.empty((5, 2))
    for a, b in ((0, 2), (2, 5)):
        clock.days_since_kernel(condition[a:b], day[a:b], state, out[a:b])
    np.testing.assert_array_equal(out, [[NAN, NAN], [0, NAN], [3, NAN], [4, 0], [10, 6]])
