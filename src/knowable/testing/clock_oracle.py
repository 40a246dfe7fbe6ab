"""Slower clocks the slow way: at each row the whole past is looked at again, and nothing after it."""

from __future__ import annotations

import bisect
import datetime as dt
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.testing.exact import Panel, to_float, total_of

__all__ = ["SlowClock", "gated", "slow_days_since", "slow_resample"]

_PERIOD: dict[str, Callable[[dt.date], object]] = {
    "day_end": lambda day: day,
    "week_end": lambda day: day.isocalendar()[:2],
    "month_end": lambda day: (day.year, day.month),
    "quarter_end": lambda day: (day.year, (day.month - 1) // 3),
    "year_end": lambda day: day.year,
}
_DAY = dt.timedelta(days=1)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _period(every: str, day: dt.date) -> object:
    """What days of one period have in common."""
    if every in _PERIOD:
        return _PERIOD[every](day)
    if every in _WEEKDAYS:
        return day + _DAY * ((_WEEKDAYS.index(every) - day.weekday()) % 7)  # the day on which the week ends
    return next((date for date in every.split() if day.isoformat() <= date), None)


class SlowClock:
    """The clock of a market, straight from its labels and `exchange_calendars`.

    Args:
        market: its times, index and calendar are read.
    """

    def __init__(self, market: Market) -> None:
        self.moments = [pd.Timestamp(int(time), tz="UTC") for time in market.times]
        self._sessions: list[dt.date] = []
        self._closes: list[pd.Timestamp] = []
        if market.calendar is None:
            self.days = [label.date() for label in market.index]
        else:
            self._sessions, self._closes = _sessions(market.calendar, self.moments)
            self.days = [self._sessions[bisect.bisect_left(self._closes, each)] for each in self.moments]

    def shown(self, every: str | int) -> list[list[int]]:
        """For each row, the rows of which it shows, and none before it did, that they ended a period."""
        if isinstance(every, int):
            return [[t] if t % every == 0 else [] for t in range(len(self.days))]
        if every.endswith("_start"):
            periods = [_period(every.replace("_start", "_end"), day) for day in self.days]
            return [[t] if t == 0 or periods[t] != periods[t - 1] else [] for t in range(len(periods))]
        foreseen = [self._foreseen(t, every) for t in range(len(self.days))]
        known: list[list[int]] = [[]]
        known += [self._ended(t + 1, foreseen, every) for t in range(len(self.days))]
        return [[row for row in after if row not in before] for before, after in itertools.pairwise(known)]

    def _ended(self, n_rows: int, foreseen: Sequence[bool], every: str) -> list[int]:
        """The row that ended each period that is over, as the first `n_rows` show."""
        ends = []
        periods: dict[object, list[int]] = {}
        for t in range(n_rows):
            periods.setdefault(_period(every, self.days[t]), []).append(t)
        for k, rows in enumerate(periods.values()):
            told = [t for t in rows if foreseen[t]]
            if told or k < len(periods) - 1:
                ends.append(told[0] if told else rows[-1])
        return ends

    def _foreseen(self, t: int, every: str) -> bool:
        """Whether it can be said at row t that no more of its period will come."""
        following = self._following(t)
        return following is not None and _period(every, following) != _period(every, self.days[t])

    def _following(self, t: int) -> dt.date | None:
        """The day of the next row as expected at row t: its own if more may come, None if nobody can tell."""
        day = self.days[t]
        if self._sessions:
            place = self._sessions.index(day)
            return self._sessions[place + 1] if self._closes[place] == self.moments[t] else day
        seen = self.days[: t + 1]
        if len(set(seen)) < 3 or len(set(seen)) < len(seen):
            return None
        if any(each.weekday() >= 5 for each in seen):
            return day + _DAY
        weeks = [each.isocalendar()[:2] for each in seen]
        return day + (3 * _DAY if day.weekday() == 4 and len(set(weeks)) > 1 else _DAY)


def gated(clock: SlowClock, every: str | int, panels: Sequence[Panel], compute: Callable[..., Panel]) -> Panel:
    """`compute` over the rows that end periods, its rows spread over the bars that know of them."""
    shown = clock.shown(every)
    rows = [row for at_once in shown for row in at_once]
    values = compute(*[panel[rows] for panel in panels])
    out = np.full(panels[0].shape, math.nan)
    n_known = 0
    for t, at_once in enumerate(shown):
        n_known += len(at_once)
        if n_known:
            out[t] = values[n_known - 1]
    return out


def slow_resample(clock: SlowClock, every: str | int, x: Panel, how: str) -> Panel:
    """One value of each finished period, missing ones left out."""
    ends = [row for at_once in clock.shown(every) for row in at_once]
    whole = np.full(x.shape, math.nan)  # at the row of each end
    for start, end in zip([0, *(row + 1 for row in ends)], ends, strict=False):
        for j in range(x.shape[1]):
            values = [value for value in x[start : end + 1, j].tolist() if not math.isnan(value)]
            if values:
                whole[end, j] = _WAYS[how](values)
    return gated(clock, every, [whole], lambda each: each)


def slow_days_since(clock: SlowClock, condition: Panel) -> Panel:
    """Days from the last row on which the condition was true."""
    out = np.full(condition.shape, math.nan)
    for t, j in np.ndindex(condition.shape):
        true = [u for u in range(t + 1) if condition[u, j] and not math.isnan(condition[u, j])]
        if true:
            out[t, j] = (clock.days[t] - clock.days[true[-1]]).days
    return out


def _sum(values: list[float]) -> float:
    return to_float(total_of(values)) if all(map(math.isfinite, values)) else sum(values)


_WAYS: dict[str, Callable[[list[float]], float]] = {
    "last": lambda values: values[-1],
    "first": lambda values: values[0],
    "min": min,
    "max": max,
    "sum": _sum,
    "mean": lambda values: _sum(values) / len(values),
}


@functools.cache
def _exchange(name: str, first: int, last: int) -> tuple[list[dt.date], list[pd.Timestamp]]:
    import exchange_calendars

    with warnings.catch_warnings():  # its quarrels with newer pandas are none of ours
        warnings.simplefilter("ignore")
        found = exchange_calendars.get_calendar(name, start=f"{first}-01-01", end=f"{last}-12-31")
    return [each.date() for each in found.sessions], list(found.closes)


def _sessions(name: str, moments: Sequence[pd.Timestamp]) -> tuple[list[dt.date], list[pd.Timestamp]]:
    return _exchange(name, moments[0].year - 1, moments[-1].year + 1) if moments else ([], [])
