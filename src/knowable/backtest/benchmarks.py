"""What to compare with, in every form it may be given in, on the bars of a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.traded import carry_forward
from knowable.errors import InputError, ShapeError, shown, unknown_name

__all__ = ["BUY_AND_HOLD", "Bars", "benchmark_values"]

Panel: TypeAlias = npt.NDArray[np.float64]

BUY_AND_HOLD = "buy_and_hold"
_DAY_NS = 86_400_000_000_000
_SLACK = 1.2  # months end on working days, so that one is up to 33 days long


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bars:
    """The bars of a result.

    Attributes:
        index: (n_bars,) labels.
        times: (n_bars,) int64 ns UTC, the end of each bar.
        days: (n_bars,) datetime64[D], the session each bar belongs to.
        assets: names.
        close: (n_bars, n_assets) of total return, in the account's currency: a holder has the distributions too.
        before: (n_assets,) last close before the first bar of assets that have none on it; else 0.
    """

    index: pd.DatetimeIndex
    times: npt.NDArray[np.int64]
    days: npt.NDArray[np.datetime64]
    assets: tuple[str, ...]
    close: Panel
    before: Panel


def benchmark_values(given: object, bars: Bars) -> Panel:
    """(n_bars,) value of a benchmark at the end of each bar, above 0; the first is the start.

    Args:
        given: ``"buy_and_hold"``: the assets that have a price by the first bar, bought in equal parts at its close
            and held; the name of an asset: its closes; or a Series of prices or values. A Series on the bars' own index
            is taken as it is. Any other is aligned: dates without a time are sessions, times without a zone UTC, and
            each bar has the last value at or before it, which must be of the same day, or since the bar before, or of
            the series' own period where that is longer than a bar.
        bars: what to align with.

    Raises:
        InputError: another type, values that are not finite or not above 0, or two for one time.
        UnknownNameError: a text that names no asset.
        ShapeError: a bar without a value.
    """
    if isinstance(given, str):
        values = _of_market(given, bars)
    elif isinstance(given, pd.Series) and isinstance(given.index, pd.DatetimeIndex):
        values = _aligned(given, bars)
    else:
        without = " without one" if isinstance(given, pd.Series) else ""
        without += "; take a column of it" if isinstance(given, pd.DataFrame) else ""
        raise InputError(
            f"`benchmark` must be a Series of prices with a DatetimeIndex, but it is a {type(given).__name__}{without}."
            f"\nOr give another result, the name of an asset, or {BUY_AND_HOLD!r}."
        )
    bad = ~(np.isfinite(values) & (values > 0.0))
    if bad.any():
        bar = int(np.argmax(bad))
        raise InputError(f"Values of a benchmark must be finite and above 0, but {bars.index[bar]} is {values[bar]}.")
    return values


def _of_market(name: str, bars: Bars) -> Panel:
    if name == BUY_AND_HOLD:
        prices = _prices(bars)
        held = prices[:, ~np.isnan(prices[0])]
        return np.asarray((held / held[0]).mean(axis=1)) if held.shape[1] else np.ones(len(prices))
    if name not in bars.assets:
        raise unknown_name("benchmark", name, [BUY_AND_HOLD, *bars.assets], where="the assets of the market")
    values = _prices(bars)[:, bars.assets.index(name)]
    if np.isnan(values[0]):
        raise ShapeError(
            f"The benchmark {name!r} has no price by {bars.index[0]}, the first bar.\n"
            "Give another, or begin the backtest later: start=..."
        )
    return values


def _prices(bars: Bars) -> Panel:
    """Closes, the last known one where a bar has none."""
    close = bars.close
    if not np.isnan(close).any():
        return close
    first = np.where(np.isnan(close[0]) & (bars.before > 0.0), bars.before, close[0])
    return carry_forward(np.concatenate([first[None], close[1:]]))


def _aligned(given: pd.Series, bars: Bars) -> Panel:
    if not pd.api.types.is_numeric_dtype(given.dtype) or given.dropna().empty:
        raise InputError(
            f"`benchmark` must hold prices above 0, but its dtype is {given.dtype}: {shown(given.iloc[:3])}."
        )
    if given.index.has_duplicates:
        raise InputError(f"`benchmark` has two values for {given.index[given.index.duplicated()][0]}; one is needed.")
    if given.index.equals(bars.index):
        return given.to_numpy(dtype=np.float64, na_value=np.nan)
    series = given.dropna().sort_index()
    keys = pd.DatetimeIndex(series.index).as_unit("ns").asi8  # in UTC, or as written
    ends, day_ns = bars.times, bars.times - bars.times % _DAY_NS
    if pd.DatetimeIndex(series.index).tz is None and bool((keys % _DAY_NS == 0).all()):
        ends = day_ns = bars.days.astype("datetime64[ns]").astype(np.int64)
        if (np.diff(ends) == 0).any():
            raise ShapeError(
                "The benchmark has one value a day, but the result has several bars a day, and a day's value is not "
                "known before its end.\nGive it on the bars of result.index."
            )
    elif bars.index.tz is None and bool((bars.times % _DAY_NS == 0).all()) and _labels_are(bars):
        ends = bars.times + (_DAY_NS - 1)  # dates without a calendar: a bar ends some time on its day
    at = np.searchsorted(keys, ends, side="right") - 1
    since = np.append(ends[0] - (ends[1] - ends[0]) if len(ends) > 1 else ends[0], ends[:-1])
    found = keys[np.maximum(at, 0)]
    absent = (at < 0) | ((found <= since) & (found < day_ns) & (ends - found > _period(keys, ends)))
    if absent.any():
        raise _explain(absent, series, bars, at)
    return np.asarray(series.to_numpy(dtype=np.float64)[at])


def _labels_are(bars: Bars) -> bool:
    """Whether bars end where their labels say, since no calendar tells it."""
    return bool(np.array_equal(bars.index.as_unit("ns").asi8, bars.times))


def _period(keys: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> float:
    """How old a value may be where the series is slower than the bars, as months are than days; else 0."""
    if len(keys) < 3 or len(ends) < 3:
        return 0.0
    own, bar = float(np.median(np.diff(keys))), float(np.median(np.diff(ends)))
    return _SLACK * own if own > 1.5 * bar else 0.0


def _explain(absent: npt.NDArray[np.bool_], series: pd.Series, bars: Bars, at: npt.NDArray[np.int64]) -> ShapeError:
    """The sentence for a benchmark that has not a value for each bar."""
    first, n_absent = int(np.argmax(absent)), int(absent.sum())
    begins, ends = series.index[0], series.index[-1]
    if at[-1] >= 0 and absent[first:].all():
        return ShapeError(
            f"`benchmark` ends {ends:%Y-%m-%d}, but the last bar is {bars.index[-1]:%Y-%m-%d}; give all of it."
        )
    if at[0] < 0:
        return ShapeError(
            f"`benchmark` has no value by {bars.index[0]}, the first bar; the series begins {begins}.\n"
            "Give all of it, or begin later: start=..."
        )
    return ShapeError(
        f"The benchmark has {len(series)} rows on another index, and none of the day of {bars.index[first]}, since "
        f"the bar before it or of its period; {n_absent} of {len(bars.index)} bars have none.\n"
        "Let older values stand if that is meant: benchmark.resample('D').ffill()."
    )
