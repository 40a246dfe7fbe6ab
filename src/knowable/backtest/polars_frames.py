"""Weights and features in a polars DataFrame: a column an asset, a row a bar in the market's order, perhaps the times.

Polars is never imported here: a value of its kind says so itself, and then it is there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.errors import ShapeError, StrategyError
from knowable.strategy import Strategy

__all__ = ["from_polars", "is_polars"]

_HOW = "Return a polars DataFrame with a column for each asset and a row for each bar, in the market's order."


def is_polars(value: object) -> bool:
    """Whether it is one of polars' own values."""
    return type(value).__module__.partition(".")[0] == "polars"


def from_polars(frame: Any, strategy: Strategy, market: Market, what: str = "weights") -> npt.NDArray[np.float64]:
    """The values of a polars DataFrame in the market's order of assets; null becomes NaN.

    A column of dates or times is held against the market's labels, row by row; without one the rows count as the
    market's bars. `what` it is, is said in messages.

    Raises: StrategyError for a lazy frame, a series, or columns that hold no numbers; ShapeError for other columns,
    another number of rows or other times.
    """
    kind = type(frame).__name__
    if kind != "DataFrame":
        remedy = "Call .collect() on it." if kind == "LazyFrame" else _HOW
        raise StrategyError(f"{strategy!r}.{what} returned a polars {kind}.\n{remedy}")
    times = [name for name, dtype in frame.schema.items() if dtype.is_temporal() and name not in market.assets]
    names = [name for name in frame.columns if name not in times]
    if len(times) > 1 or sorted(names) != sorted(market.assets):
        odd = sorted(set(names).symmetric_difference(market.assets)) or times[1:]
        raise ShapeError(
            f"`{what}` returned columns that differ from the market's assets, first {odd[:1]}, in {strategy!r}.\n"
            f"{_HOW} One column of dates or times may stand beside them."
        )
    if frame.height != market.n_bars:
        raise ShapeError(
            f"`{what}` returned {frame.height} rows; the market has {market.n_bars} bars, in {strategy!r}.\n{_HOW}"
        )
    for name in times:
        _check_times(frame[name], strategy, market, what)
    out = np.empty(market.shape)
    for j, name in enumerate(market.assets):
        column = frame[name]
        if not (column.dtype.is_numeric() or str(column.dtype) in ("Boolean", "Null")):
            raise StrategyError(f"`{what}` of {name!r} has dtype {column.dtype}; numbers are needed, in {strategy!r}.")
        out[:, j] = column.cast(float).to_numpy()
    return out


def _check_times(column: Any, strategy: Strategy, market: Market, what: str) -> None:
    """Raises: ShapeError, naming the first row that is not the market's."""
    given = pd.DatetimeIndex(column.to_list())
    labels = market.index
    if str(column.dtype) == "Date":
        same = given == labels.tz_localize(None).normalize()
    elif (given.tz is None) != (labels.tz is None):
        raise ShapeError(
            f"The times in `{what}` are {'without' if given.tz is None else 'with'} a time zone; the market's labels "
            f"are {'without' if labels.tz is None else f'in {labels.tz}'}, in {strategy!r}."
        )
    else:
        same = given == labels
    if not same.all():
        row = int(np.argmin(same))
        raise ShapeError(
            f"`{what}` returned other times than the market's: row {row} is {given[row]}, the market has "
            f"{labels[row]}, in {strategy!r}.\nSort by time and keep every bar, or leave the column of times out."
        )
