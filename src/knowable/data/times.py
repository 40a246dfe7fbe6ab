"""Times in: text, dates and timestamps of any unit become int64 nanoseconds UTC, or are refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Calendar, Nanos
from knowable.data.arrays import one_array
from knowable.errors import DataError, InputError, shown

__all__ = ["NO_TIME", "Habit", "TimeColumn", "common_habit", "instant", "instants", "parse_times", "span_bound"]

NO_TIME = np.iinfo(np.int64).min
DAY_NS = 86_400_000_000_000
_LEAST_NS = 10**16  # smaller numbers are years, dates, or seconds to microseconds since 1970, written as a moment
_FULL = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$|^\d{8}$"
_ZONED = r"\d{2}:\d{2}.*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)$"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """How a column writes its times: what only all its rows tell, so that stretches of one file must be told it.

    Attributes:
        zoned: whether times have a zone; None where no cell is a time.
        midnights: whether all naive times are midnights, and so dates in disguise.
        timed: whether some have a time of day.
        first: row and cell of the first time, as text, for messages.
    """

    zoned: bool | None
    midnights: bool = True
    timed: bool = False
    first: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeColumn:
    """A parsed column of times.

    Attributes:
        ns: (n_rows,) int64 ns UTC, NO_TIME where there is none.
        missing: (n_rows,) the cell is null.
        unreadable: (n_rows,) the cell is no time.
        no_session: (n_rows,) the cell is a date that is no session of the calendar.
        dates: whether the column held dates without a time of day, if only in some rows.
        times: whether it held times of day, if only in some rows.
        habit: what these rows alone tell of how their column writes times.
        micros: the same as Arrow timestamps, where the column came in microseconds and none is missing.
    """

    ns: Nanos
    missing: Mask
    unreadable: Mask
    no_session: Mask
    dates: bool
    times: bool = False
    habit: Habit = Habit(zoned=None)
    micros: pa.Array | None = None


def parse_times(
    column: pa.ChunkedArray,
    *,
    name: str,
    tz: str | None,
    sessions: Calendar | None,
    where: str,
    opens: bool = False,
    time_of_day: int = 0,
    habit: Habit | None = None,
    first_row: int = 0,
) -> TimeColumn:
    """Parse one column.

    Args:
        column: text, dates or timestamps.
        name: of the column, for messages.
        tz: zone of naive times.
        sessions: calendar by whose closes naive dates are labelled; None leaves that to `tz`.
        where: a place for messages.
        opens: whether `sessions` labels dates by the open of their session, not its close.
        time_of_day: wall-clock ns after midnight that a date without a time means; a whole day is the end of it.
        habit: of the whole column, where these rows are a stretch of it.
        first_row: place of the first row in the whole column, for messages.

    Raises: DataError if naive and aware times are mixed, naive ones have no zone, or the type is no time.
    """
    naive_ns, zoned, missing, unreadable, dated = _read(column, name, where)
    readable = ~(missing | unreadable)

    def place(row: int) -> str:
        return f"row {first_row + row} is {shown(_cell(column, row))}"

    no_session = np.zeros(len(naive_ns), dtype=bool)
    if not readable.any():
        return TimeColumn(ns=naive_ns, missing=missing, unreadable=unreadable, no_session=no_session, dates=False)
    first = int(np.argmax(readable))
    found = Habit(zoned=bool(zoned[first]), timed=bool(zoned[first]), first=place(first))
    whole = found if habit is None or habit.zoned is None else habit
    mixed = readable & (zoned != whole.zoned)
    if mixed.any():
        other = place(int(np.argmax(mixed)))
        raise DataError(
            f"`{name}` mixes times with and without a time zone{where}: {whole.first}, {other}.\n"
            "Give all rows a zone, or all none and say tz=."
        )
    if whole.zoned:
        return TimeColumn(
            ns=naive_ns,
            missing=missing,
            unreadable=unreadable,
            no_session=no_session,
            dates=False,
            times=True,
            habit=found,
            micros=_micros(column) if readable.all() else None,
        )
    found = replace(found, midnights=bool((naive_ns[readable] % DAY_NS == 0).all()))
    midnights = found.midnights if habit is None else habit.midnights
    dated = readable if midnights else dated & readable  # times of which all are midnights are dates in disguise
    found = replace(found, timed=bool((readable & ~dated).any()))
    timed = readable & ~dated if sessions is not None else readable
    if timed.any() and tz is None:
        raise DataError(
            f"`{name}` has no time zone{where}: {place(int(np.argmax(timed)))}.\n"
            "Say it once, such as tz='UTC' or tz='America/New_York'"
            + (", or declare the lag instead: known_lag='1d'." if name == "known_time" else ".")
            + (" A schema with a calendar labels dates by its sessions." if midnights else "")
        )
    ns = np.full(len(naive_ns), NO_TIME)
    if timed.any() and tz is not None:
        ns = _localize(naive_ns + np.where(dated, time_of_day, 0), timed, tz, name, (where, first_row))
    if sessions is not None and dated.any():
        labels, no_session = _labels(naive_ns, dated, sessions, opens=opens)
        ns = np.where(dated, labels, ns)
    return TimeColumn(
        ns=ns,
        missing=missing,
        unreadable=unreadable,
        no_session=no_session,
        dates=bool(dated.any()),
        times=found.timed or (habit is not None and habit.timed),
        habit=found,
    )


def common_habit(habits: Iterable[Habit]) -> Habit:
    """The habit of a column from those of its stretches, in order. Where they clash over zones the first one rules, and
    the others are refused when they are read by it.
    """
    told = [habit for habit in habits if habit.zoned is not None]
    if not told:
        return Habit(zoned=None)
    return replace(told[0], midnights=all(habit.midnights for habit in told), timed=any(habit.timed for habit in told))


def instant(value: object, name: str) -> int:
    """One moment in int64 ns UTC, from text, a Timestamp, a datetime or ns.

    Raises: InputError if it is no moment or has no zone.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if 0 < abs(int(value)) < _LEAST_NS:
            raise InputError(
                f"`{name}` is the number {value}, which counts nanoseconds since 1970 and would be "
                f"{pd.Timestamp(int(value)):%Y-%m-%d}. Write a moment as text, such as '2016-03-01T21:00Z'."
            )
        return int(value)
    try:
        moment = pd.Timestamp(value)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise InputError(f"`{name}` must be a moment such as '2016-03-01T21:00Z', but it is {shown(value)}.") from error
    if pd.isna(moment):
        raise InputError(f"`{name}` must be a moment such as '2016-03-01T21:00Z', but it is {shown(value)}.")
    if moment.tz is None:
        if isinstance(value, np.datetime64):  # numpy has no zones; its times are UTC by convention
            return _ns(moment, name)
        raise InputError(
            f"`{name}` is {shown(value)}, which has no time zone. Say which moment is meant, such as "
            f"'{moment:%Y-%m-%dT%H:%M}Z' for UTC."
        )
    return _ns(moment.tz_convert("UTC"), name)


def instants(values: Iterable[Any], name: str) -> Nanos:
    """A clock: (n_times,) int64 ns UTC, ascending.

    Raises: InputError if a moment has no zone or the clock is not sorted.
    """
    if isinstance(values, pd.DatetimeIndex) or (isinstance(values, pd.Series) and values.dtype.kind == "M"):
        index = pd.DatetimeIndex(values)
        if index.tz is None:
            raise InputError(
                f"`{name}` has no time zone (first: {shown(index[0]) if len(index) else 'none'}); use "
                f"{name}.tz_localize('UTC')."
            )
        ns = index.tz_convert("UTC").as_unit("ns").asi8.copy()
    elif isinstance(values, np.ndarray) and values.dtype.kind in "Mi":
        ns = values.astype("datetime64[ns]").astype(np.int64) if values.dtype.kind == "M" else values.astype(np.int64)
    elif isinstance(values, Iterable):
        ns = np.array([instant(value, name) for value in values], dtype=np.int64)
    else:
        raise InputError(f"`{name}` must be a list of moments, but it is {shown(values)}.")
    if ns.ndim != 1:
        raise InputError(f"`{name}` must have one dimension, but its shape is {ns.shape}.")
    if (ns == NO_TIME).any():
        raise InputError(f"`{name}` has no time in row {int(np.argmax(ns == NO_TIME))}.")
    backward = ns[1:] < ns[:-1]  # a difference may not fit into 64 bits
    if backward.any():
        at = int(np.argmax(backward)) + 1
        raise InputError(f"`{name}` must ascend, but row {at} is earlier than row {at - 1}. Sort it first.")
    return ns


def span_bound(value: object, name: str, sessions: Calendar | None, *, end: bool, opens: bool = False) -> int | None:
    """The first (or last) event_time that `start` (or `end`) admits, in ns UTC.

    A date without a time means that whole session, or that whole UTC day where there is no calendar. A session begins
    after its opening where rows are labelled by ends, and with it where `opens` says they are labelled by openings.

    Raises: InputError.
    """
    if value is None:
        return None
    try:
        moment = pd.Timestamp(value)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise InputError(f"`{name}` must be a date or a moment, but it is {shown(value)}.") from error
    if pd.isna(moment):
        raise InputError(f"`{name}` must be a date or a moment, but it is {shown(value)}.")
    if moment.tz is not None or moment != moment.normalize():
        return instant(value, name)
    day = moment.to_datetime64().astype("datetime64[D]")
    if sessions is None:
        return _ns(moment, name) + (DAY_NS - 1 if end else 0)
    near = sessions.sessions(day - 31, day) if end else sessions.sessions(day, day + 31)
    if near.size == 0:
        return _ns(moment, name)
    # a bar ends after its session opens, so the opening itself belongs to what came before
    return int(sessions.closes(near[-1:])[0]) if end else int(sessions.opens(near[:1])[0]) + (0 if opens else 1)


def _ns(moment: pd.Timestamp, name: str) -> int:
    try:
        return int(moment.as_unit("ns").value)
    except ValueError as error:
        raise InputError(f"`{name}` is {moment}; times run from 1678 to 2261.") from error


def _read(column: pa.ChunkedArray, name: str, where: str) -> tuple[Nanos, Mask, Mask, Mask, Mask]:
    """(ns, zoned, missing, unreadable, no time of day); naive times are read as if they were UTC."""
    kind = column.type
    none = np.zeros(len(column), dtype=bool)
    missing = column.is_null().to_numpy(zero_copy_only=False).astype(bool) if column.null_count else none
    if pa.types.is_null(kind):
        return np.full(len(column), NO_TIME), none, missing, none, none
    if pa.types.is_dictionary(kind):
        return _read(column.cast(kind.value_type), name, where)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _read_text(column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = pa.types.is_timestamp(kind) and kind.tz is not None
        unit = pa.timestamp("s" if pa.types.is_date(kind) else kind.unit)
        plain = (
            column.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.int64()) if zone else column.cast(unit).cast(pa.int64())
        )
        plain = pc.fill_null(plain, 0) if plain.null_count else plain
        ns, wild = _to_ns(plain.to_numpy(), unit.unit)
        ns[missing] = NO_TIME
        return ns, np.full(len(ns), zone), missing, wild & ~missing, np.full(len(ns), pa.types.is_date(kind))
    raise DataError(
        f"`{name}` must hold times, but its type is {kind}{where} (row 0: {shown(_cell(column, 0))}).\n"
        "Convert it first, such as pd.to_datetime(values, utc=True)."
    )


def _micros(column: pa.ChunkedArray) -> pa.Array | None:
    """A column that holds what a table keeps, taken over as it is."""
    if not pa.types.is_timestamp(column.type) or column.type.unit != "us":
        return None
    return one_array(column.cast(pa.timestamp("us", "UTC")))


def _to_ns(counts: npt.NDArray[np.int64], unit: str) -> tuple[Nanos, Mask]:
    """(ns, NO_TIME where they would not fit; where that is), from counts of a unit since 1970."""
    step = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    most = int(9.2e18) // step
    wild = (counts > most) | (counts < -most)
    ns: Nanos = counts * step
    ns[wild] = NO_TIME
    return ns, wild


def _read_text(column: pa.ChunkedArray) -> tuple[Nanos, Mask, Mask, Mask, Mask]:
    coded = one_array(column).dictionary_encode()
    texts = coded.dictionary.cast(pa.string())
    full = pc.match_substring_regex(texts, _FULL).to_numpy(zero_copy_only=False).astype(bool)
    zoned = pc.match_substring_regex(texts, _ZONED).to_numpy(zero_copy_only=False).astype(bool)
    dated = pc.less_equal(pc.utf8_length(texts), len("2016-03-01")).to_numpy(zero_copy_only=False).astype(bool)
    parsed = pd.to_datetime(pd.Series(texts.to_pylist(), dtype=object), format="ISO8601", errors="coerce", utc=True)
    index = pd.DatetimeIndex(parsed)
    unique, _ = _to_ns(index.asi8, index.unit)
    unique[~full] = NO_TIME
    codes = coded.indices.to_numpy(zero_copy_only=False)
    missing = np.isnan(codes) if codes.dtype.kind == "f" else np.zeros(len(codes), dtype=bool)
    if unique.size == 0:
        return np.full(len(codes), NO_TIME), missing & False, missing, missing & False, missing & False
    at = np.where(missing, 0, codes).astype(np.int64)
    ns = np.where(missing, NO_TIME, unique[at])
    return ns, zoned[at] & ~missing, missing, (ns == NO_TIME) & ~missing, dated[at]


def _labels(naive_ns: Nanos, dated: Mask, sessions: Calendar, *, opens: bool) -> tuple[Nanos, Mask]:
    """(closes or opens of the sessions of the dates, dates that are no sessions)."""
    days = naive_ns.astype("datetime64[ns]").astype("datetime64[D]")
    wanted, at = np.unique(days[dated], return_inverse=True)
    held = np.isin(wanted, sessions.sessions(wanted[0], wanted[-1]))
    labels = np.full(len(wanted), NO_TIME)
    labels[held] = sessions.opens(wanted[held]) if opens else sessions.closes(wanted[held])
    ns = np.full(len(naive_ns), NO_TIME)
    ns[dated] = labels[at]
    return ns, dated & (ns == NO_TIME)


def _localize(naive_ns: Nanos, readable: Mask, tz: str, name: str, place: tuple[str, int]) -> Nanos:
    unique, at = np.unique(naive_ns[readable], return_inverse=True)
    try:
        zoned = pd.DatetimeIndex(unique.astype("datetime64[ns]")).tz_localize(tz, ambiguous="NaT", nonexistent="NaT")
    except (LookupError, ValueError, TypeError) as error:
        raise InputError(f"`tz` must name a time zone, such as 'America/New_York', but tz={shown(tz)}.") from error
    if zoned.hasnans:
        lost = np.asarray(zoned.isna())[at]
        row = int(np.flatnonzero(readable)[int(np.argmax(lost))])
        where, first_row = place
        raise DataError(
            f"`{name}` in row {first_row + row} is {pd.Timestamp(naive_ns[row])}{where}, an hour that {tz} skips "
            "or has twice when its clocks change.\nGive such rows their offset, such as 2016-11-06T01:30:00-04:00."
        )
    ns = np.full(len(naive_ns), NO_TIME)
    ns[readable] = zoned.tz_convert("UTC").as_unit("ns").asi8[at]
    return ns


def _cell(column: pa.ChunkedArray, row: int) -> Any:
    return column[row].as_py() if len(column) > row else None
