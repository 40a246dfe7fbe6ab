"""The clock a dataset should have kept: the label of every bar or session between its first and its last."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from knowable.calendars import Nanos
from knowable.calendars import calendar as calendar_of
from knowable.data.quality.arrivals import Arrivals, make_arrivals
from knowable.data.schema import Schema, lag_ns
from knowable.errors import InputError

__all__ = ["expected_labels", "usual_spacing"]

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
_SAMPLE = 4096  # first statements that the usual spacing is taken from
_MOST = 50_000_000


def expected_labels(arrivals: Arrivals, every: str | None = None, spacing_ns: int | None = None) -> Nanos | None:
    """Labels of all bars that should be there between the first and the last event.

    Args:
        arrivals: what was stated.
        every: spacing of the bars, such as ``"1min"``; None: as usual in the dataset.
        spacing_ns: the usual spacing; measured on these arrivals when None.

    Returns: (n_slots,) int64 ns UTC, ascending; None where nothing says what to expect: no calendar and no `every`,
        or data that keep neither sessions nor a part of them (weeks, months, quarters).

    Raises: InputError for a clock of more than 50 million labels.
    """
    if arrivals.n_rows == 0:
        return None
    schema, step = arrivals.schema, lag_ns(every) if every is not None else None
    if step is None:
        step = usual_spacing(arrivals.table, schema) if spacing_ns is None else spacing_ns
        if schema.calendar is None or step is None:
            return None
        if step > 20 * _HOUR_NS:
            return _sessions(arrivals, schema) if step <= 4 * _DAY_NS else None
    first, last = int(arrivals.event.min()), int(arrivals.event.max())
    if (last - first) // step > _MOST:
        raise InputError(
            f"A bar every {pd.Timedelta(step, 'ns')} from {pd.Timestamp(first)} to {pd.Timestamp(last)} makes more "
            f"than {_MOST:,} labels; give a wider `every`."
        )
    if schema.calendar is None:
        return np.arange(first // step * step, last + step, step, dtype=np.int64)
    return calendar_of(schema.calendar).bars(every or f"{step}ns", *_days(arrivals))


def usual_spacing(rows: pa.Table, schema: Schema) -> int | None:
    """The most common distance in ns of neighbouring events of a series; None where no series has two.

    It is taken from the statements known first, so that rows known later do not change what was a gap.

    Args:
        rows: of the whole dataset, in any order: entity, event_time, known_time, revision, op, known_basis, and keys.
        schema: of the dataset.
    """
    known = rows["known_time"].cast(pa.int64()).to_numpy()
    if len(known) > _SAMPLE:
        rows = rows.filter(pa.array(known <= np.partition(known, _SAMPLE - 1)[_SAMPLE - 1]))
    arrivals = make_arrivals(rows, schema)
    first = np.sort(np.argsort(arrivals.known, kind="stable")[:_SAMPLE])
    frame = pd.DataFrame({"series": arrivals.series[first], "event": arrivals.event[first]})
    frame = frame.drop_duplicates().sort_values(["series", "event"])
    steps = frame["event"].diff()[frame["series"].diff() == 0]
    return int(steps.mode().iloc[0]) if len(steps) else None


def _sessions(arrivals: Arrivals, schema: Schema) -> Nanos:
    calendar = calendar_of(str(schema.calendar))
    days = _days(arrivals)
    held = calendar.sessions(days[0], days[1])
    labels = calendar.opens(held) if schema.labels_open else calendar.closes(held)
    return labels[np.searchsorted(labels, arrivals.event.min(), side="left") :]


def _days(arrivals: Arrivals) -> tuple[np.datetime64, np.datetime64]:
    """A day more on either side, for sessions that are not those of the UTC day."""
    first, last = (np.datetime64(int(t), "ns").astype("datetime64[D]") for t in _ends(arrivals))
    return first - 1, last + 1


def _ends(arrivals: Arrivals) -> tuple[int, int]:
    return int(arrivals.event.min()), int(arrivals.event.max())
