"""Sessions and bar clocks, over `exchange_calendars`: early closes, holidays and daylight saving come from there.

Three kinds of clock: an exchange (``"XNYS"``), round the clock (``"24/7"``), and none (``None``: the rows
themselves are the clock, and a label means the moment it names).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from knowable.errors import DataError, InputError, shown, unknown_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PERIODS",
    "STARTS",
    "Calendar",
    "Days",
    "Nanos",
    "Rule",
    "calendar",
    "index_bars_per_year",
    "numbering",
    "period_ends",
    "rule_of",
]

Days = npt.NDArray[np.datetime64]
Nanos = npt.NDArray[np.int64]
Rule = str | int | None

_DAY_NS = 86_400_000_000_000
_YEAR_NS = 365.25 * _DAY_NS
_NEVER = np.iinfo(np.int64).min  # what NaT is in nanoseconds
_MOST_BARS = 200_000_000
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DATES = re.compile(r"\s*\d{4}-\d\d-\d\d([\s,]+\d{4}-\d\d-\d\d)*[\s,]*")


def _weeks(first: int) -> Callable[[Days], npt.NDArray[np.int64]]:
    """Weeks that begin on a day, counted from Monday, 0."""
    return lambda days: (days.astype("datetime64[D]").astype(np.int64) + 3 - first) // 7


# the number of the period that each day lies in
PERIODS: dict[str, Callable[[Days], npt.NDArray[np.int64]]] = {
    "day_end": lambda days: days.astype("datetime64[D]").astype(np.int64),
    "week_end": _weeks(0),
    "month_end": lambda days: days.astype("datetime64[M]").astype(np.int64),
    "quarter_end": lambda days: days.astype("datetime64[M]").astype(np.int64) // 3,
    "year_end": lambda days: days.astype("datetime64[Y]").astype(np.int64),
    **{day: _weeks(k + 1) for k, day in enumerate(_WEEKDAYS)},  # weeks that end on that day
}
# rows that begin a period of that name
STARTS = {f"{name}_start": f"{name}_end" for name in ("day", "week", "month", "quarter", "year")}


@dataclass(frozen=True, slots=True)
class Calendar:
    """The sessions of one market.

    Args:
        name: an exchange_calendars code such as ``"XNYS"``, or ``"24/7"``.
    """

    name: str

    def sessions(self, start: object, end: object) -> Days:
        """The session dates from `start` to `end`, both included, as datetime64[D]."""
        first, last = np.datetime64(start, "D"), np.datetime64(end, "D")  # type: ignore[call-overload]
        days = _table(self.name, _year(first), _year(last)).days
        found: Days = days[(days >= first) & (days <= last)]
        return found

    def closes(self, dates: Days) -> Nanos:
        """When the session of each date ends, in nanoseconds since 1970 UTC.

        Args:
            dates: (n,) datetime64[D].

        Raises: DataError naming the first date that is no session, and the session before it.
        """
        table, at = self._rows(dates)
        return table.closes[at]

    def opens(self, dates: Days) -> Nanos:
        """When the session of each date begins, in nanoseconds since 1970 UTC. Raises as `closes`."""
        table, at = self._rows(dates)
        return table.opens[at]

    def session_dates(self, times: Nanos) -> Days:
        """The session each bar end belongs to: the first that closes at or after it.

        Args:
            times: (n,) int64 ns UTC bar ends, sorted.
        """
        if times.size == 0:
            return np.empty(0, "datetime64[D]")
        first, last = times[[0, -1]].astype("datetime64[ns]")
        table = _table(self.name, _year(first), _year(last))
        at = np.searchsorted(table.closes, times, side="left")
        return table.days[np.minimum(at, len(table.days) - 1)]

    def sessions_around(self, times: Nanos) -> tuple[Days, Days, npt.NDArray[np.bool_]]:
        """The session of each bar, the session after it, and whether the bar ends when its session does.

        Args:
            times: (n,) int64 ns UTC bar ends, sorted.
        """
        if times.size == 0:
            none = np.empty(0, "datetime64[D]")
            return none, none, np.empty(0, np.bool_)
        first, last = times[[0, -1]].astype("datetime64[ns]")
        table = _table(self.name, _year(first), _year(last))
        most = len(table.days) - 1
        at = np.minimum(np.searchsorted(table.closes, times, side="left"), most)
        return table.days[at], table.days[np.minimum(at + 1, most)], table.closes[at] == times

    def bars(self, step: str, start: object, end: object) -> Nanos:
        """The ends of all bars from `start` to `end`, in nanoseconds since 1970 UTC, ascending.

        Bars are counted from the opening, and again from the end of a lunch break; the last one before a break, a
        close or an early close ends there, shorter than the others if need be. Opening and closing follow the
        exchange's own time, so daylight saving moves them in UTC.

        Args:
            step: length of a bar, such as ``"1min"``, ``"5min"``, ``"1h"``; or ``"session"``: one a session.
            start: first session date; or a moment with a zone: the first bar then ends at or after it.
            end: last session date, included; or a moment with a zone, included.

        Raises: InputError if `step` is no span of more than nothing and at most a day, or a moment has no zone.
        """
        (first, since), (last, until) = _bound(start, "start"), _bound(end, "end")
        days = self.sessions(first - 1 if since is not None else first, last + 1 if until is not None else last)
        if step == "session":
            ends = self.closes(days)
        else:
            table, at = self._rows(days)
            ends = _cut(*table.trading(at), _step_ns(step))
        inside = np.ones(len(ends), np.bool_)
        inside &= ends >= (since if since is not None else ends)
        inside &= ends <= (until if until is not None else ends)
        return np.ascontiguousarray(ends[inside])

    def bars_per_year(self, times: Nanos) -> float:
        """How many bars of this clock a year has: whole sessions a year (252 for XNYS, 365 for 24/7) times the
        usual number of bars a session.

        Args:
            times: (n_bars,) int64 ns UTC bar ends.
        """
        days = self.session_dates(times)
        if days.size == 0:
            return 1.0
        first, last = _year(days[0]), _year(days[-1])
        sessions = _table(self.name, first, last).days
        # of these years alone: how wide the table is hangs on what else this process asked for
        begin, end = np.searchsorted(sessions, np.array([f"{first - 1}-01-01", f"{last + 2}-01-01"], "datetime64[D]"))
        sessions = sessions[begin:end]
        years = (sessions[-1] - sessions[0]).astype(int) / 365.25
        distinct, counts = np.unique(days, return_counts=True)
        if len(distinct) < 0.5 * np.count_nonzero((sessions >= days[0]) & (sessions <= days[-1])):
            return index_bars_per_year(times)  # weekly or monthly bars: most sessions have none
        return float(round((len(sessions) - 1) / years) * max(1, round(float(np.median(counts)))))

    def _rows(self, dates: Days) -> tuple[_Table, npt.NDArray[np.intp]]:
        days = np.asarray(dates, dtype="datetime64[D]")
        if days.size == 0:
            return _table(self.name, 2000, 2000), np.empty(0, np.intp)
        table = _table(self.name, _year(days.min()), _year(days.max()))
        at = np.searchsorted(table.days, days)
        wrong = table.days[np.minimum(at, len(table.days) - 1)] != days
        if wrong.any():
            day = days[int(np.argmax(wrong))]
            before = table.days[max(int(np.searchsorted(table.days, day)) - 1, 0)]
            raise DataError(
                f"{day} is a {day.astype(object):%A}, no session of {self.name}; the previous session is {before}.\n"
                "Drop such rows, name the right calendar, or use calendar='24/7' or calendar=None."
            )
        return table, at


def calendar(name: str) -> Calendar:
    """Look a calendar up by its code.

    Raises: UnknownNameError, offering the nearest code.
    """
    known = _names()
    if not isinstance(name, str) or name not in known:
        raise unknown_name("calendar", name, known)
    return Calendar(name)


def rule_of(rule: Any, name: str = "rebalance") -> Rule:
    """A rule in the one form it has: a word, a whole number, None, or dates as one text, in order.

    Args:
        rule: see `period_ends`; dates also as a list, an index or a series of them.
        name: of the argument, for errors.

    Raises: InputError; UnknownNameError, offering the nearest word.
    """
    if rule is None or (isinstance(rule, int | np.integer) and not isinstance(rule, bool)):
        return None if rule is None else int(rule)
    if isinstance(rule, str) and not _DATES.fullmatch(rule):
        if rule not in ("bar", *PERIODS, *STARTS):
            raise unknown_name(
                f"{name} rule",
                rule,
                ["bar", *PERIODS, *STARTS],
                where=f"{name}; a whole number of bars also serves, and dates",
            )
        return rule
    given = rule.replace(",", " ").split() if isinstance(rule, str) else rule
    if isinstance(given, bool | float | bytes) or not isinstance(given, Iterable):
        raise InputError(
            f"`{name}` must be a word such as 'month_end', a whole number of bars, or dates, but it is {shown(rule)}."
        )
    dates = set()
    for each in given:
        date, moment = _bound(each, name)
        if moment is not None:
            raise InputError(f"`{name}` takes dates of sessions, without a time and a zone, but got {shown(each)}.")
        dates.add(str(date))
    if not dates:
        raise InputError(f"`{name}` has no dates: {shown(rule)}.")
    return " ".join(sorted(dates))


def numbering(rule: str) -> Callable[[Days], npt.NDArray[np.int64]]:
    """The number of the period that each day lies in, of a rule in its one form; days up to a date are one period."""
    if rule in PERIODS or rule in STARTS:
        return PERIODS[STARTS.get(rule, rule)]
    dates = _dates(rule)
    return lambda days: np.searchsorted(dates, days.astype("datetime64[D]")).astype(np.int64)


@functools.lru_cache(maxsize=64)
def _dates(rule: str) -> Days:
    return np.array(rule.split(), "datetime64[D]")


def period_ends(times: Nanos, days: Days, rule: Any, clock: str | None) -> npt.NDArray[np.bool_]:
    """Rows at which a period ends, known ahead because calendars are published ahead; or, if asked for, begins.

    Args:
        times: (n_bars,) int64 ns UTC bar ends.
        days: (n_bars,) datetime64[D], the session date of each bar.
        rule: ``"bar"`` or None (every row), ``"day_end"``, ``"week_end"``, ``"month_end"``, ``"quarter_end"``,
            ``"year_end"``; ``"monday"`` to ``"sunday"``: weeks that end on that day, so the last row of it, or of the
            last day before it that has any; ``"day_start"`` to ``"year_start"``: the first row of each, that of the
            market included; a whole number n: every n-th row, the first included; or dates, as a list or as one text:
            the last row of each, or of the last day before it, but none twice.
        clock: calendar name, asked only about the last row: whether it ends its session, and which session is next.
            None takes the next weekday, and no end where rows share a day: more of them may come.

    Returns: (n_bars,) bool. Uses the labels of later rows, never their values.
    """
    n, rule = len(times), rule_of(rule)
    if rule is None or rule == "bar":
        return np.ones(n, dtype=bool)
    if isinstance(rule, int):
        if rule < 1:
            raise InputError(f"`rebalance >= 1` bars must hold, but rebalance={rule}.")
        every: npt.NDArray[np.bool_] = np.arange(n) % rule == 0
        return every
    if n == 0:
        return np.zeros(0, dtype=bool)
    period = numbering(rule)
    if rule in STARTS:
        return np.append(True, period(days[1:]) != period(days[:-1]))
    following = np.append(days[1:], _day_after(times, days, clock))
    ends: npt.NDArray[np.bool_] = period(days) != period(following)
    return ends


def index_bars_per_year(times: Nanos) -> float:
    """Bars a year where the rows are the clock: measured from the labels, rounded to whole bars.

    Args:
        times: (n_bars,) int64 ns UTC bar ends.
    """
    if len(times) < 2:
        return 1.0
    return max(1.0, float(round((len(times) - 1) * _YEAR_NS / float(times[-1] - times[0]))))


def _year(moment: np.datetime64) -> int:
    return int(moment.astype("datetime64[Y]").astype(int)) + 1970


def _day_after(times: Nanos, days: Days, clock: str | None) -> np.datetime64:
    """The day of the row after the last: the same day where it is not over."""
    if clock is not None:
        _, following, ended = calendar(clock).sessions_around(times[-1:])
        next_day: np.datetime64 = following[0] if ended[0] else days[-1]
    elif (days[1:] == days[:-1]).any():
        next_day = days[-1]
    else:
        next_day = np.busday_offset(days[-1], 1, roll="backward")
    return next_day


def _bound(value: object, name: str) -> tuple[np.datetime64, int | None]:
    """A date, and the moment in ns UTC where a moment was given."""
    import pandas as pd

    try:
        moment = pd.Timestamp(value)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise InputError(f"`{name}` must be a date or a moment, but it is {shown(value)}.") from error
    if pd.isna(moment):
        raise InputError(f"`{name}` must be a date or a moment, but it is {shown(value)}.")
    if moment.tz is None:
        if moment != moment.normalize():
            raise InputError(
                f"`{name}` is {shown(value)}, which has no time zone. Give a date, or say which moment is meant, such "
                f"as '{moment:%Y-%m-%dT%H:%M}Z' for UTC."
            )
        return moment.to_datetime64().astype("datetime64[D]"), None
    plain = moment.tz_convert("UTC").tz_localize(None).as_unit("ns")
    return plain.to_datetime64().astype("datetime64[D]"), int(plain.value)


def _step_ns(step: object) -> int:
    import pandas as pd

    try:
        span = pd.Timedelta(step) if isinstance(step, str) else pd.Timedelta("NaT")
    except ValueError:
        span = pd.Timedelta("NaT")
    if pd.isna(span) or not 0 < span.as_unit("ns").value <= _DAY_NS:
        raise InputError(f"{shown(step)} is no length of a bar: '1min', '5min' or '1h' are, up to a day; or 'session'.")
    return int(span.as_unit("ns").value)


def _cut(begins: Nanos, ends: Nanos, step: int) -> Nanos:
    """The ends of bars of `step` in each stretch of trading, the last of each at its end."""
    counts = -((begins - ends) // step)
    if counts.sum() > _MOST_BARS:
        raise InputError(f"{counts.sum():,} bars are more than a clock holds ({_MOST_BARS:,}). Take a shorter span.")
    which = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    cut: Nanos = np.minimum(begins[which] + number * step, ends[which])
    return cut


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    days: Days
    opens: Nanos
    closes: Nanos
    breaks: npt.NDArray[np.int64]  # (n, 2) begin and end of each session's break; NaT's number where it has none

    def trading(self, at: npt.NDArray[np.intp]) -> tuple[Nanos, Nanos]:
        """Begin and end of each stretch of trading in some sessions, ascending."""
        begins = np.column_stack([self.opens[at], self.breaks[at, 1]])
        ends = np.column_stack([self.breaks[at, 0], self.closes[at]])
        whole = self.breaks[at, 0] == _NEVER
        ends[whole, 0] = self.closes[at][whole]
        begins[whole, 1] = ends[whole, 1]  # an empty stretch
        return begins.ravel(), ends.ravel()


@functools.cache
def _names() -> frozenset[str]:
    import exchange_calendars

    return frozenset(exchange_calendars.get_calendar_names(include_aliases=True))


_tables: dict[str, tuple[int, int, _Table]] = {}


def _table(name: str, first_year: int, last_year: int) -> _Table:
    """Sessions of at least these years and one more on each side; the widest table built so far is kept."""
    first, last = first_year - 1, last_year + 1
    if name in _tables:
        kept_first, kept_last, table = _tables[name]
        if kept_first <= first and last <= kept_last:
            return table
        first, last = min(first, kept_first), max(last, kept_last)
    table = _build(name, first, last)
    _tables[name] = (first, last, table)
    return table


def _build(name: str, first_year: int, last_year: int) -> _Table:
    import warnings

    with warnings.catch_warnings():  # exchange_calendars' quarrels with newer pandas are no news to a user of ours
        warnings.simplefilter("ignore")
        return _built(name, first_year, last_year)


def _built(name: str, first_year: int, last_year: int) -> _Table:
    import exchange_calendars
    import pandas as pd

    start, end = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
    try:
        found = exchange_calendars.get_calendar(name, start=start, end=end)
    except ValueError:  # outside the years the exchange's rules are known for
        kind = type(exchange_calendars.get_calendar(name))
        low, high = kind.bound_min() or start, kind.bound_max() or end
        if high < start or end < low:
            raise DataError(
                f"Calendar {name} is known from {low:%Y-%m-%d} to {high:%Y-%m-%d}, but the data are from "
                f"{first_year + 1} to {last_year - 1}. Use calendar=None for such data."
            ) from None
        found = exchange_calendars.get_calendar(name, start=max(start, low), end=min(end, high))
    return _Table(
        days=found.sessions.to_numpy().astype("datetime64[D]"),
        opens=_nanos(pd.DatetimeIndex(found.opens)),
        closes=_nanos(pd.DatetimeIndex(found.closes)),
        breaks=np.column_stack(
            [_nanos(pd.DatetimeIndex(found.break_starts)), _nanos(pd.DatetimeIndex(found.break_ends))]
        ),
    )


def _nanos(index: pd.DatetimeIndex) -> Nanos:
    return index.as_unit("ns").asi8.copy()
