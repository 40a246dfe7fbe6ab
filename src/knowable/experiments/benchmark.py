"""What the same cash would have made elsewhere, on the same bars."""

from __future__ import annotations

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.errors import DataError, InputError, shown
from knowable.experiments.spec import RunSpec

__all__ = ["benchmark_path", "check_benchmark"]

_DAY_NS = 86_400_000_000_000


def benchmark_path(market: Market, index: pd.DatetimeIndex, cash: float, given: pd.Series | None) -> pd.Series:
    """Account value of buying at the close of the first bar and holding.

    Args:
        market: the whole market.
        index: labels of the bars to cover, a stretch of the market's own.
        cash: money at the start.
        given: prices or account values by time; None for the market's assets in equal parts. Dates without a time
            are sessions; times without a zone are UTC. Each bar has the last value at or before it.

    Raises: DataError if nothing is known by the first bar; InputError if the series has no times.
    """
    first = int(market.index.searchsorted(index[0]))
    rows = slice(first, first + len(index))
    if given is not None:
        values = _last_known(given, market, rows, index)
        return pd.Series(cash * values / values[0], index=index, name="benchmark")
    prices = pd.DataFrame(market.final_panel("close")[: rows.stop]).ffill().iloc[rows]
    held = prices.loc[:, prices.iloc[0].notna()]
    path = cash * (held / held.iloc[0]).mean(axis=1).to_numpy() if held.shape[1] else np.full(len(index), cash)
    return pd.Series(path, index=index, name="benchmark")


def check_benchmark(given: object, market: Market, spec: RunSpec) -> None:
    """Refuse, before any work, what cannot be compared with. Raises: InputError, DataError."""
    if not isinstance(given, pd.Series) or not isinstance(given.index, pd.DatetimeIndex):
        raise InputError(
            f"`benchmark` must be a Series of prices with a DatetimeIndex, but it is a {type(given).__name__}"
            f"{' without one' if isinstance(given, pd.Series) else ''}."
        )
    if not pd.api.types.is_numeric_dtype(given.dtype) or given.dropna().empty or (given.dropna() <= 0).any():
        raise InputError(
            f"`benchmark` must hold prices above 0, but its dtype is {given.dtype}: {shown(given.iloc[:3])}."
        )
    if given.index.has_duplicates:
        raise InputError(f"`benchmark` has two values for {given.index[given.index.duplicated()][0]}; one is needed.")
    judged = [fold.test if spec.kind == "walk_forward" else fold.train for fold in spec.folds]
    rows = slice(judged[0][0], judged[-1][1])
    _last_known(given, market, rows, market.index[rows])
    end = given.dropna().index.max().tz_localize(None)
    last = market.index[rows][-1].tz_localize(None)
    if end < last - pd.Timedelta(14, "D"):
        raise DataError(f"`benchmark` ends {end:%Y-%m-%d}, but the last bar judged is {last:%Y-%m-%d}; give all of it.")


def _last_known(given: pd.Series, market: Market, rows: slice, index: pd.DatetimeIndex) -> np.ndarray:
    series = given.dropna().sort_index()
    if not isinstance(series.index, pd.DatetimeIndex) or series.empty:
        raise InputError("`benchmark` must be a Series of numbers with a DatetimeIndex, and not empty.")
    keys = series.index.as_unit("ns").asi8  # in UTC, or as written
    bars = market.times[rows]
    if series.index.tz is None and bool((keys % _DAY_NS == 0).all()):
        bars = market.days[rows].astype("datetime64[ns]").astype(np.int64)
    at = np.searchsorted(keys, bars, side="right") - 1
    if at[0] < 0:
        raise DataError(
            f"`benchmark` has no value by {index[0]}, the first bar judged; the series begins {series.index[0]}."
        )
    return np.asarray(series.to_numpy(dtype=np.float64)[at])
