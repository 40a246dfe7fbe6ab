"""Data that reach a strategy by a way of their own: found by name, and altered after a cut as the market is."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from knowable.backtest.polars_frames import is_polars
from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.validate.futures import is_whole, poisoned
from knowable.validate.reach import Place, Reach, library_made, slots_of

__all__ = ["Outside", "altered"]

_DEEPEST = 3
_POISON = 0.25
_FEWEST = 8  # items of a list that may have one a bar
_DAY = re.compile(r"\d{4}-?\d\d-?\d\d")
_PLAIN = (bool, int, float, str, np.bool_, np.number, np.str_, type(None))
_READERS = frozenset(
    {
        "Store", "Ticker", "connect", "fromfile", "genfromtxt", "load", "loadtxt", "memmap", "open_dataset",
        "read_bytes", "read_csv", "read_database", "read_delta", "read_excel", "read_feather", "read_hdf", "read_ipc",
        "read_json", "read_parquet", "read_pickle", "read_sql", "read_sql_query", "read_table", "read_text",
        "scan_csv", "scan_delta", "scan_ipc", "scan_parquet", "urlopen",
    }
)  # fmt: skip
"""Words that fetch data. Names of files and services are endless; these are the usual ones."""


class Outside:
    """The places from which a strategy's code could read rows that its market does not hand it.

    Frames and series with a time index, dictionaries by date, arrays and lists with a row or a column a bar, markets
    and features of other markets count, also in dictionaries, lists and objects. Others are taken for constants.

    Args:
        reach: of the strategy. market: what it is checked on. only: names of places to consider; all when None.
    """

    def __init__(self, reach: Reach, market: Market, only: Collection[str] | None = None) -> None:
        self._market = market
        middle = max(1, market.n_bars // 2)
        wanted = [place for place in reach.places if only is None or place.name in only]
        self._places = [place for place in wanted if self._altered(place, middle, 0) is not place.read()]
        own = {function.__name__ for function in reach.functions}
        self.readers = sorted(((reach.called & _READERS) - own) | ({"open"} & reach.opened))
        self.frozen = [name for name in self.names if name in reach.frozen]

    @property
    def names(self) -> list[str]:
        """What the places are called."""
        return [place.name for place in self._places]

    def content(self) -> dict[str, set[bytes]]:
        """Digests of the tables in each place, by its name: what was loaded is the same for any market."""
        return {place.name: set(_digests(place.read(), _DEEPEST)) for place in self._places}

    @contextlib.contextmanager
    def altered(self, cut: int, seed: int) -> Iterator[Callable[[Strategy], None]]:
        """While it is open, rows after the `cut`-th bar are others in every such place.

        Yields: what does the same to attributes of an instance.
        """
        changed = [(place, place.read(), self._altered(place, cut, seed)) for place in self._places]

        def on_instance(strategy: Strategy) -> None:
            for place, _, other in changed:
                if place.of_instance:
                    object.__setattr__(strategy, place.attribute, other)

        try:
            for place, _, other in changed:
                place.write(other)
            yield on_instance
        finally:
            for place, value, _ in changed:
                place.write(value)

    def _altered(self, place: Place, cut: int, seed: int) -> Any:
        # the same seed for all, so that what stands in two places stays the same in both
        return altered(place.read(), self._market, cut, np.random.default_rng([seed, cut, 1]))


def altered(value: Any, market: Market, cut: int, rng: np.random.Generator, depth: int = _DEEPEST) -> Any:
    """`value` with other rows after the market's first `cut` bars; the very object where it has no such rows.

    Args:
        value: anything. market: says which rows are later. cut: bars that stay. rng: of the other rows.
        depth: how far to look into containers and objects.
    """
    if isinstance(value, Market):
        rows = int(np.searchsorted(value.times, market.times[cut - 1], side="right"))
        return poisoned(value, rows, rng) if 0 < rows < value.n_bars else value
    if isinstance(value, pd.DataFrame | pd.Series):
        later = _later(value, market, cut)
        return value if later is None else _frame_with(value, later, rng)
    if isinstance(value, np.ndarray):
        return _array_with(value, market, cut, rng)
    if is_polars(value):
        return _polars_with(value, market, cut, rng)
    if (type(value).__module__, type(value).__name__) == ("knowable.features.feature", "Feature"):
        other = altered(value.market, market, cut, rng)
        return value if other is value.market else type(value)(value.node, other)
    if depth == 0 or isinstance(value, type):
        return value
    if isinstance(value, list | tuple | dict):
        items = _rows_of(value, market)
        if items is not None:
            return _refilled(value, altered(items, market, cut, rng))
    return _inside(value, lambda each: altered(each, market, cut, rng, depth - 1))


def _digests(value: Any, depth: int) -> Iterator[bytes]:
    if isinstance(value, Market):
        yield value.fingerprint.encode()
    elif isinstance(value, pd.DataFrame | pd.Series):
        with contextlib.suppress(TypeError):  # it holds lists or the like
            yield hashlib.sha256(pd.util.hash_pandas_object(value).to_numpy().tobytes()).digest()
    elif isinstance(value, np.ndarray):
        yield hashlib.sha256(value.tobytes()).digest()
    elif is_polars(value) and hasattr(value, "hash_rows"):
        yield hashlib.sha256(value.hash_rows().to_numpy().tobytes()).digest()
    elif depth:
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        if len(inside) >= _FEWEST and all(isinstance(each, _PLAIN) for each in inside):
            yield hashlib.sha256(repr(value).encode("utf-8", "replace")).digest()
            return
        space = (
            {} if isinstance(value, type) or library_made(type(value).__module__) else getattr(value, "__dict__", {})
        )
        for each in [*inside, *space.values()]:
            yield from _digests(each, depth - 1)


def _rows_of(value: Any, market: Market) -> pd.Series | np.ndarray | None:
    """What a list with an item a bar holds, or a dictionary by date or with an item a bar; None for any other."""
    items = list(value.values()) if isinstance(value, dict) else list(value)
    if len(items) < _FEWEST or not isinstance(items[0], _PLAIN):
        return None
    if isinstance(value, dict) and all(isinstance(key, dt.date | np.datetime64) for key in value):
        with contextlib.suppress(ValueError, TypeError):  # keys with and without a time zone
            return pd.Series(items, pd.DatetimeIndex(list(value)))
    if len(items) != market.n_bars or not all(isinstance(each, _PLAIN) for each in items):
        return None
    if isinstance(value, dict) and not all(isinstance(key, int) or _DAY.match(str(key)) for key in value):
        return None  # by name
    return np.asarray(items)


def _refilled(value: Any, rows: pd.Series | np.ndarray) -> Any:
    """A container of the same kind with other items; the very object where they are the same."""
    items = rows.tolist()
    if items == list(value.values() if isinstance(value, dict) else value):
        return value
    if not isinstance(value, dict):
        return type(value)(items) if type(value) in (list, tuple) else value
    other = copy.copy(value)
    other.update(zip(value, items, strict=True))
    return other


def _inside(value: Any, change: Callable[[Any], Any]) -> Any:
    if type(value) in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        items = [change(each) for each in value]
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        made = {key: change(each) for key, each in value.items()}
        if all(made[key] is each for key, each in value.items()):
            return value
        other = copy.copy(value)
        other.update(made)
        return other
    if callable(value) or library_made(type(value).__module__):
        return value
    space = getattr(value, "__dict__", {})
    held = {**space, **{name: getattr(value, name) for name in slots_of(value) if hasattr(value, name)}}
    made = {name: change(each) for name, each in held.items()}
    if all(made[name] is each for name, each in held.items()):
        return value
    other = copy.copy(value)
    for name, each in made.items():
        object.__setattr__(other, name, each)
    return other


def _later(value: pd.DataFrame | pd.Series, market: Market, cut: int) -> np.ndarray | None:
    """(len(value),) which rows lie after the last bar shown; None where the rows are no times or none are later."""
    return _after(_times(value), len(value), market, cut)


def _after(times: pd.DatetimeIndex | None, n_rows: int, market: Market, cut: int) -> np.ndarray | None:
    if times is not None:
        last = market.index[cut - 1]
        if times.tz is not None and last.tz is None:
            times = times.tz_localize(None)
        elif times.tz is None and last.tz is not None:
            last = last.tz_localize(None)
        later = np.asarray(times > last)
    elif n_rows == market.n_bars:
        later = np.arange(n_rows) >= cut
    else:
        return None
    return later if later.any() and not later.all() else None


def _times(value: pd.DataFrame | pd.Series) -> pd.DatetimeIndex | None:
    """The first axis of times: the index, a level of it, or a column."""
    index = value.index
    if isinstance(index, pd.DatetimeIndex):
        return index
    levels: list[pd.Index] = []
    if isinstance(index, pd.MultiIndex):
        levels = [index.get_level_values(k) for k in range(index.nlevels)]
    elif isinstance(value, pd.DataFrame):
        levels = [pd.Index(value.iloc[:, k]) for k in range(value.shape[1]) if value.dtypes.iloc[k].kind == "M"]
    return next((level for level in levels if isinstance(level, pd.DatetimeIndex)), None)


def _polars_with(value: Any, market: Market, cut: int, rng: np.random.Generator) -> Any:
    """As `_frame_with`, for a polars frame."""
    import polars as pl

    if not isinstance(value, pl.DataFrame):
        return value
    moments = [name for name, kind in value.schema.items() if kind in (pl.Date, pl.Datetime)]
    times = pd.DatetimeIndex(value[moments[0]].to_numpy()) if moments else None
    later = _after(times, value.height, market, cut)
    if later is None:
        return value
    rows = np.arange(value.height)
    rows[later] = rng.integers(0, value.height, int(later.sum()))
    factor = np.ones(value.height)
    factor[later] = np.exp(rng.normal(0.0, _POISON, int(later.sum())))
    other = value[rows.tolist()].with_columns([value[name] for name in moments])
    floats = [name for name, kind in value.schema.items() if kind.is_float()]
    return other.with_columns([other[name] * pl.Series(factor) for name in floats])


def _frame_with(value: Any, later: np.ndarray, rng: np.random.Generator) -> Any:
    """Rows where `later` is True taken from anywhere in the frame, numbers among them scaled."""
    rows = np.arange(len(value))
    rows[later] = rng.integers(0, len(value), int(later.sum()))
    factor = np.exp(rng.normal(0.0, _POISON, int(later.sum())))
    other = value.iloc[rows].set_axis(value.index)
    if isinstance(other, pd.Series):
        return _scaled(other, later, factor)
    for k, name in enumerate(other.columns):
        column = other.iloc[:, k]
        if column.dtype.kind == "M":
            other.isetitem(k, value.iloc[:, k].array)  # times stay in their order
        elif column.dtype.kind == "f":
            other.isetitem(k, _scaled(column.rename(name), later, factor).array)
    return other


def _scaled(column: pd.Series, later: np.ndarray, factor: np.ndarray) -> pd.Series:
    if column.dtype.kind != "f" or is_whole(column.to_numpy(dtype=np.float64, na_value=np.nan)):
        return column
    numbers = column.to_numpy(copy=True)
    numbers[later] = numbers[later] * factor
    return pd.Series(numbers, index=column.index, name=column.name)


def _array_with(value: np.ndarray, market: Market, cut: int, rng: np.random.Generator) -> np.ndarray:
    """An array counts if its first axis has a row a bar, or else its last."""
    n_bars = market.n_bars
    axis = next((axis for axis in (0, value.ndim - 1) if value.ndim and value.shape[axis] == n_bars), None)
    if axis is None or value.dtype.kind not in "fiubU" or cut >= n_bars:
        return value
    n_later = n_bars - cut
    other = value.copy(order="K")
    rows = np.moveaxis(other, axis, 0)
    later = rows[rng.integers(0, n_bars, n_later)]
    if value.dtype.kind == "f" and not is_whole(np.moveaxis(value, axis, 0).astype(np.float64)):
        factor = np.exp(rng.normal(0.0, _POISON, n_later))
        later = later * factor.reshape(-1, *[1] * (value.ndim - 1))
    if np.array_equal(rows[cut:], later):
        return value
    rows[cut:] = later
    other.setflags(write=value.flags.writeable)
    return other
