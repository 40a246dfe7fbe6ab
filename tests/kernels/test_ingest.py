"""Passes over incoming rows against slow readable Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowable.calendars import calendar
from knowable.kernels.ingest import (
    INFINITE,
    MINUS,
    MISSING,
    TINY,
    ZERO_OR_LESS,
    ascends_kernel,
    outside_kernel,
    values_kernel,
)

TINIEST = float(np.finfo(np.float64).tiny)


def lock(values: list[int] | np.ndarray, kind: type = np.int64) -> np.ndarray:
    array = np.array(values, kind)
    array.flags.writeable = False
    return array


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=8), st.integers(0, 8))
def test_rows_ascend_if_every_pair_does_and_in_any_chunks(rows: list[tuple[int, int]], cut: int) -> None:
    rank = lock([2, 0, 3, 1])
    keys = [(int(rank[code]), event) for code, event in rows]
    expected = all(before < after for before, after in itertools.pairwise(keys))
    last = np.full(2, np.iinfo(np.int64).min)
    found = all(
        ascends_kernel(rank, lock([c for c, _ in part], np.int32), lock([e for _, e in part]), last)
        for part in (rows[:cut], rows[cut:])
    )
    assert found == expected


odd = st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, -5e-324, TINIEST, -TINIEST, -1.0, 1.0])


@given(st.lists(odd | st.floats(), max_size=6))
def test_what_there_is_in_a_column_is_told(values: list[float]) -> None:
    expected = 0
    for x in values:
        if math.isnan(x):
            expected |= MISSING
            continue
        expected |= INFINITE if math.isinf(x) else 0
        expected |= TINY if x != 0 and abs(x) < TINIEST else 0
        expected |= ZERO_OR_LESS if x <= 0 else 0
        expected |= MINUS if math.copysign(1.0, x) < 0 else 0
    assert values_kernel(lock(np.array(values, np.float64), np.float64), TINIEST) == expected


@pytest.mark.parametrize("name", ["XNYS", "CMES", "XHKG"])
def test_bars_outside_sessions_are_found_as_by_looking_through_all_of_them(name: str) -> None:
    clock = calendar(name)
    days = clock.sessions("2016-02-20", "2016-03-20")
    opens, closes = clock.opens(days), clock.closes(days)
    rng = np.random.default_rng(1)
    near = np.concatenate([opens, closes])
    ends = np.concatenate([near, near + 1, near - 1, rng.integers(opens[0], closes[-1], 400)])
    for order in (np.arange(len(ends)), np.argsort(ends), rng.permutation(len(ends))):
        found = np.zeros(len(ends), dtype=bool)
        n_outside = outside_kernel(lock(ends[order]), lock(opens), lock(closes), found)
        expected = [not any(o < end <= c for o, c in zip(opens, closes, strict=True)) for end in ends[order]]
        assert found.tolist() == expected
        assert n_outside == sum(expected)


def test_without_sessions_every_bar_is_outside() -> None:
    found = np.zeros(2, dtype=bool)
    assert outside_kernel(lock([1, 2]), lock([]), lock([]), found) == 2
    assert found.all()
