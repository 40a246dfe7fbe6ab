"""`Clock`: what the times of a market's bars say by themselves: their days, and where weeks, months and the like end.

Whether a bar ends a period is said from that bar and those before it alone, never from what follows.

With a calendar it is known ahead: sessions are published, so the bar that ends at the close of a month's last session
ends the month. Without one nothing tells which bars will come, and only habit helps: where rows have been a day apart
twice (a first day may have a single bar of many), one is expected the day after, or on Monday after Friday once a
weekend was skipped and as long as no bar ever fell on one. Where rows share a day nothing is known ahead.

An end that was not known ahead (no bar at the close, a holiday without a calendar) shows on the first bar of the next
period, and is told there as an end of the bar before.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.calendars import STARTS, Days, Nanos, calendar, numbering
from knowable.errors import InputError, shown
from knowable.kernels.clock import EndsState, ends_kernel, ends_state

__all__ = ["Clock", "ClockState", "days_of"]

_Numbers = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]
_FRIDAY, _SATURDAY = 4, 5
_HABIT = 2  # times that rows were a day apart
_DAY_NS = 86_400_000_000_000


class ClockState(NamedTuple):
    """What `Clock.ends` carries from one stretch of bars to the next."""

    n_rows: npt.NDArray[np.int64]  # (1,) bars seen
    period: npt.NDArray[np.int64]  # (1,) the period of the last one
    ended: npt.NDArray[np.int64]  # (1,) 1 once that was said to have ended
    day: npt.NDArray[np.int64]  # (1,) the day of the last one
    habits: npt.NDArray[np.int64]  # (4,) how often days followed days, bars shared one, weekends had bars, had none


@dataclass(frozen=True, slots=True)
class Clock:
    """How a market's bar times are read.

    Args:
        calendar: exchange code, ``"24/7"``, or None where the rows are the clock.
        zone: of the market's labels; None where they have none.
        dated: labels are dates of sessions, each the close of its own.
    """

    calendar: str | None
    zone: dt.tzinfo | None
    dated: bool

    @staticmethod
    def start() -> ClockState:
        """The state of `ends` before the first bar."""
        return ClockState(*ends_state(), np.zeros(1, np.int64), np.zeros(4, np.int64))

    def moments(self, labels: Any) -> Nanos:
        """Bar ends in ns UTC, from the same kinds of label that a market takes.

        Args:
            labels: (n,) int64 ns UTC; or dates, timestamps or texts. Without a zone they are read in the market's.

        Raises: InputError if one is no time, or has no zone where one is needed; DataError if a date is no session.
        """
        array = labels if isinstance(labels, pd.DatetimeIndex) else np.asarray(labels)
        if array.dtype.kind in "iu":
            return np.ascontiguousarray(array, np.int64)
        try:
            index = pd.DatetimeIndex(array)
        except (ValueError, TypeError) as error:
            raise InputError(f"The time of a bar must be a date or a moment, but it is {shown(labels)}.") from error
        if index.hasnans:
            raise InputError(f"The time of a bar must be a date or a moment, but one of {shown(labels)} is none.")
        naive = index.tz_localize(None).as_unit("ns").asi8
        if self.calendar is not None and self.dated and bool((naive % _DAY_NS == 0).all()):
            return calendar(self.calendar).closes(naive.view("datetime64[ns]").astype("datetime64[D]"))
        if index.tz is None and self.zone is not None:
            index = index.tz_localize(self.zone)
        if index.tz is None and self.calendar is not None:
            raise InputError(
                f"Bars within the day of {self.calendar} need times with a zone, but {shown(index[0])} has none; "
                f"say which moment is meant, such as '{index[0]:%Y-%m-%dT%H:%M}Z' for UTC."
            )
        return index.as_unit("ns").asi8.copy()

    def days(self, times: Nanos) -> Days:
        """(n,) datetime64[D], the session of each bar, or the date of its label. times: (n,) int64 ns UTC, sorted."""
        if self.calendar is not None:
            return calendar(self.calendar).session_dates(times)
        if self.zone is None:
            return times.view("datetime64[ns]").astype("datetime64[D]")
        local = pd.DatetimeIndex(times.view("datetime64[ns]")).tz_localize("UTC").tz_convert(self.zone)
        return local.tz_localize(None).to_numpy().astype("datetime64[D]")

    def day_numbers(self, times: Nanos) -> npt.NDArray[np.float64]:
        """(n, 1) days since 1970-01-01 of each bar, read-only."""
        return _column(self.days(times).astype(np.int64))

    def ends(self, times: Nanos, every: str | int, state: ClockState) -> npt.NDArray[np.float64]:
        """What each bar knows about ends of periods, from it and the bars before it alone.

        Args:
            times: (n,) int64 ns UTC bar ends, in order, after those before.
            every: a rule in its one form (`calendars.rule_of`), as `Strategy.rebalance` counts: a period's end or
                start, a week day, dates, or a whole number n: every n-th bar, the first included.
            state: of the bars before; it is moved on.

        Returns: (n, 1) read-only: 0.0 nothing; 1.0 this bar ends its period; 2.0 the bar before ended one, and only
            this bar shows it; 3.0 both.
        """
        if isinstance(every, int):
            number = state.n_rows[0] + np.arange(len(times))
            state.n_rows[0] += len(times)
            return _column(number % every == 0)
        if not len(times):
            return _column(times)
        number_of = numbering(every)
        if every in STARTS:
            return _column(_begun(number_of(self.days(times)), state))
        if self.calendar is not None:
            days, following, ended = calendar(self.calendar).sessions_around(times)
            known = ended & (number_of(following) != number_of(days))
        else:
            days = self.days(times)
            following, usual = _by_habit(days.astype(np.int64), state)
            known = usual & (number_of(following) != number_of(days))
        out = np.empty(len(times))
        ends_kernel(number_of(days), known, EndsState(*state[:3]), out)
        return _column(out)


def _begun(period: _Numbers, state: ClockState) -> _Flags:
    """Bars that begin a period, the first of all included: known from themselves and the bar before."""
    before = np.concatenate([state.period, period[:-1]])
    begun: _Flags = period != before
    begun[0] |= state.n_rows[0] == 0
    state.period[0] = period[-1]
    state.n_rows[0] += len(period)
    return begun


def _by_habit(days: _Numbers, state: ClockState) -> tuple[Days, _Flags]:
    """The day on which the next bar is expected, and whether anything is: both from the bars so far."""
    before = np.concatenate([state.day, days[:-1]])
    paired = np.ones(len(days), np.bool_)
    paired[0] = state.n_rows[0] > 0
    weekday = (days + 3) % 7  # 0 is Monday
    skipped = ((before + 3) // 7 != (days + 3) // 7) & ((before + 3) % 7 < _SATURDAY) & (weekday < _SATURDAY)
    signs = np.stack([paired & (days > before), paired & (days == before), weekday >= _SATURDAY, paired & skipped])
    counts = signs.cumsum(axis=1) + state.habits[:, None]
    apart, (shared, weekends, skips) = counts[0] >= _HABIT, counts[1:] > 0
    state.habits[:] = counts[:, -1]
    state.day[0] = days[-1]
    following = days + np.where((weekday == _FRIDAY) & skips & ~weekends, 3, 1)
    return following.view("datetime64[D]"), apart & ~shared


def _column(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    made = values.astype(np.float64)[:, None]
    made.flags.writeable = False
    return made


def days_of(name: str | None, index: pd.DatetimeIndex, times: Nanos) -> Days:
    """(n_bars,) the session each bar belongs to.

    Args:
        name: of the calendar; None where the rows are the clock: each bar belongs to the day of its label.
        index: (n_bars,) labels.
        times: (n_bars,) int64 ns UTC, the end of each bar.
    """
    if name is not None:
        return calendar(name).session_dates(times)
    return index.tz_localize(None).to_numpy().astype("datetime64[D]")
