"""Returns by calendar month and year: one table for results and for reports."""

from __future__ import annotations

import numpy as np
import pandas as pd

from knowable.metrics.curve import Array, Days, period_starts

__all__ = ["monthly_returns"]


def monthly_returns(values: Array, days: Days, initial: float | None = None) -> pd.DataFrame:
    """Return of each calendar month, and of each year.

    Args:
        values: (n_bars,) account value or price; NaN: not known, and passed over.
        days: (n_bars,) datetime64[D], the day whose month each value belongs to, never falling.
        initial: value before the first bar; None: the first known value is the start.

    Returns: (n_years, 13), a row a year, columns 1 to 12 and ``"year"``, fractions (0.01 is 1 %). NaN: a month without
        a known value; one that starts at or below 0, and its year, since nothing compounds through that.
    """
    columns = pd.Index([*range(1, 13), "year"], name="month")
    known = ~np.isnan(values)
    if not known.any():
        return pd.DataFrame(columns=columns, dtype="float64", index=pd.RangeIndex(0, name="year"))
    wealth = values[known]
    months = days[known].astype("datetime64[M]").astype(np.int64)
    start = float(wealth[0]) if initial is None else initial
    first = int(months[0] // 12)
    table = np.full((int(months[-1] // 12) - first + 1, 13), np.nan)
    begins = period_starts(months)
    at, grown = months[begins], _growth(wealth, start, begins)
    table[at // 12 - first, at % 12] = grown
    begins = period_starts(months // 12)
    table[months[begins] // 12 - first, 12] = _growth(wealth, start, begins)
    table[at[np.isnan(grown)] // 12 - first, 12] = np.nan
    years = pd.RangeIndex(1970 + first, 1970 + first + len(table), name="year")
    return pd.DataFrame(table, index=years, columns=columns)


def _growth(values: Array, start: float, begins: np.ndarray) -> Array:
    """Growth over periods that begin at these rows; NaN where there was nothing to grow."""
    before = np.concatenate([[start], values])[begins]
    after = values[np.append(begins[1:], len(values)) - 1]
    there = before > 0.0
    return np.where(there, after / np.where(there, before, 1.0) - 1.0, np.nan)
