"""What a reader asks for, checked: clocks, number fields, spans of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from knowable.calendars import Nanos
from knowable.calendars import calendar as calendar_of
from knowable.data.schema import Schema, lag_ns
from knowable.data.times import instant, instants
from knowable.errors import InputError, shown, unknown_name

__all__ = ["check_number", "check_room", "clock_of", "moment_of", "span_ns"]

_MOST_BYTES = 64 << 30  # of an answer; more is a mistake


def clock_of(schema: Schema, clock: Any, start: object, end: object, name: str) -> Nanos:
    """The times of a panel's rows, (n_times,) int64 ns UTC.

    Args:
        schema: whose calendar a clock in words follows.
        clock: ascending moments; or ``"session"``, ``"5min"`` and their like: the ends of the bars from `start` to
            `end`, see `Calendar.bars`.
        start: first session or moment, for a clock in words.
        end: last session or moment, included.
        name: of the dataset.

    Raises: InputError.
    """
    if not isinstance(clock, str):
        if start is not None or end is not None:
            raise InputError("`start` and `end` go with a clock in words, such as clock='5min'; cut the times instead.")
        return instants(clock, "clock")
    if schema.calendar is None:
        raise InputError(
            f"clock={clock!r} needs a calendar, but dataset {name!r} has none. Give the times instead, such as\n"
            f"knowable.calendars.calendar('XNYS').bars({clock!r}, start, end)."
        )
    if start is None or end is None:
        raise InputError(f"clock={clock!r} needs start= and end=, such as start='2019-01-02', end='2019-12-31'.")
    return calendar_of(schema.calendar).bars(clock, start, end)


def check_number(schema: Schema, field: str, name: str) -> str:
    """A field that can be a panel. Raises: UnknownNameError, offering the nearest; InputError for text and times."""
    if field not in schema.fields:
        raise unknown_name("field", field, schema.fields, where=f"dataset {name!r}")
    if field not in schema.numeric:
        numbers = ", ".join(schema.numeric) or "none"
        raise InputError(
            f"Field {field!r} of dataset {name!r} holds {schema.fields[field].dtype} values, and a panel holds numbers "
            f"(here: {numbers}). Use store.read or store.join for it."
        )
    return field


def check_room(n_times: int, n_names: int, k: int) -> None:
    """Raises: InputError if windows of k periods, unreduced, would take more than any machine for research has."""
    n_bytes = 8 * n_times * n_names * k
    if n_bytes > _MOST_BYTES:
        raise InputError(
            f"{k:,} periods of {n_names:,} entities at {n_times:,} times take {n_bytes >> 30:,} GiB; "
            "ask for fewer, or for one number of each window, such as reduce='sum'."
        )


def span_ns(value: object, name: str) -> int | None:
    """A span such as ``"400d"`` in nanoseconds; None stays. Raises: InputError."""
    if value is None:
        return None
    try:
        return lag_ns(value)
    except InputError:
        message = f"`{name}` must be a span of time such as '400d' or '16h', but it is {shown(value)}."
        raise InputError(message) from None


def moment_of(schema: Schema, value: Any, name: str) -> int:
    """An event_time in ns UTC: a moment, or a date where the schema has a calendar.

    Raises: InputError; DataError if the date is no session.
    """
    if schema.calendar is not None and not isinstance(value, (int, np.integer)):
        try:
            moment = pd.Timestamp(value)
        except (ValueError, TypeError):
            return instant(value, name)
        if not pd.isna(moment) and moment.tz is None and moment == moment.normalize():
            days = np.array([moment.to_datetime64()], dtype="datetime64[D]")
            exchange = calendar_of(schema.calendar)
            ends = exchange.opens(days) if schema.labels_open else exchange.closes(days)
            return int(ends[0])
    return instant(value, name)
