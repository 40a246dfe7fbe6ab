"""Small markets whose rows are days, hours or bars of an exchange, some of them left out: what a clock has to bear."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.calendars import calendar
from knowable.data.market import Market

__all__ = ["EVERY", "KINDS", "clocked_market"]

EVERY = (
    *("day_end", "week_end", "month_end", "quarter_end", "year_end", 2, 7),
    *("monday", "wednesday", "friday", "sunday", "day_start", "week_start", "month_start", "year_start"),
    *("2020-02-28", "2016-11-24 2019-12-25 2020-02-29 2020-03-02 2021-04-02"),
)
"""Clocks slower than the market's."""

_DAYS = {  # without a calendar: first row, step
    "days": ("2020-02-10", "D"),
    "weekdays": ("2019-12-09", "B"),
    "hours": ("2020-02-20T05", "8h"),
}
_BARS = {  # of a calendar: clock, first and last day; each holds an end of what it may: a year, summer time, lunch
    "sessions": ("XNYS", "session", "2019-12-09", "2020-03-10"),
    "bars of an exchange": ("XNYS", "130min", "2016-10-28", "2016-11-29"),
    "bars with a lunch break": ("XHKG", "2h", "2021-03-25", "2021-04-15"),
    "bars round the clock": ("24/7", "8h", "2020-02-20", "2020-03-10"),
}
KINDS = (*_DAYS, *_BARS)
"""What rows may be; days, weekdays and hours have no calendar."""


@functools.cache
def _times(kind: str) -> npt.NDArray[np.int64]:
    if kind in _DAYS:
        start, step = _DAYS[kind]
        return pd.DatetimeIndex(pd.date_range(start, periods=60, freq=step)).as_unit("ns").asi8
    name, clock, first, last = _BARS[kind]
    return calendar(name).bars(clock, first, last)


def clocked_market(kind: str, *, start: int, n_rows: int, n_kept: int, missing: float, seed: int) -> Market:
    """Two assets with one field, ``x``, of tenths.

    Args:
        kind: one of `KINDS`.
        start: of its rows the first that may be there, 0 to 40.
        n_rows: how many may be there.
        n_kept: how many of them are, all if there are no more.
        missing: share of values that are NaN.
        seed: chooses rows and values.
    """
    rng = np.random.default_rng(seed)
    times = _times(kind)[start : start + n_rows]
    times = times[np.sort(rng.choice(len(times), min(n_kept, len(times)), replace=False))]
    x = rng.normal(size=(len(times), 2)).round(1)
    x[rng.random(x.shape) < missing] = np.nan
    name = _BARS[kind][0] if kind in _BARS else None
    return Market.build(times=times, assets=("A", "B"), panels={"x": x}, calendar=name)
