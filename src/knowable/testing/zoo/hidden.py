"""Leaks out of odd places: what code keeps where nobody looks, and tables of the future in other shapes than tables."""

from __future__ import annotations

import json
import os
import threading
from array import array
from collections import UserDict
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Specimen, frame

__all__ = ["HIDDEN"]

_BOTH = ("state", "look-ahead")


class _Told(NamedTuple):
    name: str
    rows: Any


_OF_THREAD = threading.local()
_DICTIONARY: UserDict[str, Any] = UserDict()
_MEANS = pd.Series(dtype=float)
_TABLE = pd.DataFrame(index=["mean"])
_NUMBERS = array("d", [0.0] * 4)
_IN_CONTEXT: ContextVar[Any] = ContextVar("_IN_CONTEXT", default=None)
_AHEAD: dict[str, Any] = {}
_FROZEN = np.zeros((260, 4))


def _against(mean: Any, m: Market) -> Any:
    return (np.asarray(mean) / frame(m) - 1).clip(-0.2, 0.2)


class KeptByThread(Strategy):
    """Keeps the mean of the first market it met in a variable of its thread."""

    def weights(self, m: Market) -> Any:
        """A later run finds the mean of a longer market."""
        if not hasattr(_OF_THREAD, "mean"):
            _OF_THREAD.mean = frame(m).mean()
        return _against(_OF_THREAD.mean, m)


class KeptByUserDict(Strategy):
    """Keeps it in what behaves as a dictionary and is none."""

    def weights(self, m: Market) -> Any:
        """A later run finds the mean of a longer market."""
        if "mean" not in _DICTIONARY:
            _DICTIONARY["mean"] = frame(m).mean()
        return _against(_DICTIONARY["mean"], m)


class KeptBySeries(Strategy):
    """Adds the mean of each asset to a Series of its module."""

    def weights(self, m: Market) -> Any:
        """A later run finds the means of a longer market."""
        for name in m.assets:
            if name not in _MEANS.index:
                _MEANS[name] = frame(m)[name].mean()
        return _against(_MEANS[list(m.assets)], m)


class KeptByColumns(Strategy):
    """Adds the mean of each asset as a column to a DataFrame of its module."""

    def weights(self, m: Market) -> Any:
        """A later run finds the means of a longer market."""
        for name in m.assets:
            if name not in _TABLE:
                _TABLE[name] = frame(m)[name].mean()
        return _against(_TABLE.loc["mean"], m)


class KeptByBytes(Strategy):
    """Keeps the means in an array of Python's own."""

    def weights(self, m: Market) -> Any:
        """A later run finds the means of a longer market."""
        if _NUMBERS[0] == 0.0:
            _NUMBERS[:] = array("d", frame(m).mean().tolist())
        return _against(_NUMBERS, m)


class KeptByEnvironment(Strategy):
    """Hands the means on as a variable of the environment."""

    def weights(self, m: Market) -> Any:
        """A later run finds the means of a longer market."""
        os.environ.setdefault("ZOO_MEANS", json.dumps(frame(m).mean().tolist()))
        return _against(json.loads(os.environ["ZOO_MEANS"]), m)


class KeptByLibrary(Strategy):
    """Hangs its mean on a module of a library."""

    def weights(self, m: Market) -> Any:
        """A later run finds the mean of a longer market."""
        if not hasattr(np, "zoo_mean"):
            np.zoo_mean = frame(m).mean()  # type: ignore[attr-defined]  # that is its fault
        return _against(np.zoo_mean, m)  # type: ignore[attr-defined]


class KeptByContext(Strategy):
    """Keeps its mean in a variable of the context, which every run has of its own."""

    def weights(self, m: Market) -> Any:
        """The mean of all rows."""
        if _IN_CONTEXT.get() is None:
            _IN_CONTEXT.set(frame(m).mean())
        return _against(_IN_CONTEXT.get(), m)


class ReadsAList(Strategy):
    """Has prices in a list of numbers, and takes from it the bar after each of the market's."""

    def weights(self, m: Market) -> Any:
        """The next item of the list."""
        return _rising(np.asarray(_AHEAD["list"])[:, None], m)


class ReadsByDate(Strategy):
    """Has prices in a dictionary by date."""

    def weights(self, m: Market) -> Any:
        """The next item of the dictionary."""
        return _rising(np.array(list(_AHEAD["by date"].values()))[:, None], m)


class ReadsColumns(Strategy):
    """Has prices the other way round, a row an asset."""

    def weights(self, m: Market) -> Any:
        """The next column."""
        return _rising(_AHEAD["columns"].T, m)


class ReadsOneColumn(Strategy):
    """Has the prices of an index in a table of one column."""

    def weights(self, m: Market) -> Any:
        """The next row."""
        return _rising(_AHEAD["one column"], m)


class ReadsACube(Strategy):
    """Has bars, assets and fields in one array, in a named tuple."""

    def weights(self, m: Market) -> Any:
        """The next row of its first field."""
        return _rising(_AHEAD["cube"].rows[..., 0], m)


class CompiledFromOutside(Strategy):
    """Decides in compiled code that has the whole history as a constant."""

    compiled = True

    def on_bar(self, bar: Any, account: Any) -> None:
        """Reads the next bar of a market it was not handed."""
        later = min(bar.row + 1, _FROZEN.shape[0] - 1)
        for j in range(bar.n_assets):
            account.target(j, 0.2 if _FROZEN[later, j] > bar.close[j] else 0.0)


def _rising(rows: Any, m: Market) -> Any:
    up = np.zeros(rows.shape, bool)
    up[:-1] = rows[1:] > rows[:-1]
    return 0.2 * up[: m.n_bars] * np.ones(m.shape)


def _with(strategy: type[Strategy], name: str, make: Callable[[Market], Any]) -> Specimen:
    def on(market: Market) -> Strategy:
        _AHEAD.clear()
        _AHEAD[name] = make(market)
        return strategy()

    return Specimen(strategy=strategy, ahead=1, make=on, says="hand those data")


def _frozen(market: Market) -> Strategy:
    _FROZEN[...] = market.panel("close")
    return CompiledFromOutside()


HIDDEN: tuple[Specimen, ...] = (
    Specimen(strategy=KeptByThread, kinds=_BOTH, first_row=0, says="keeps the global `_OF_THREAD`"),
    Specimen(strategy=KeptByUserDict, kinds=_BOTH, first_row=0, says="keeps the global `_DICTIONARY`"),
    Specimen(strategy=KeptBySeries, kinds=_BOTH, first_row=0, says="keeps the global `_MEANS`"),
    Specimen(strategy=KeptByColumns, kinds=_BOTH, first_row=0, says="keeps the global `_TABLE`"),
    Specimen(strategy=KeptByBytes, kinds=_BOTH, first_row=0, says="keeps the global `_NUMBERS`"),
    Specimen(strategy=KeptByEnvironment, kinds=_BOTH, first_row=0, says="keeps `os.environ`"),
    Specimen(strategy=KeptByLibrary, kinds=_BOTH, first_row=0, says="keeps `np.zoo_mean`"),
    Specimen(strategy=KeptByContext, first_row=0, ahead="all"),
    _with(ReadsAList, "list", lambda m: m.panel("close")[:, 0].tolist()),
    _with(ReadsByDate, "by date", lambda m: dict(zip(m.index, m.panel("close")[:, 0].tolist(), strict=True))),
    _with(ReadsColumns, "columns", lambda m: np.ascontiguousarray(m.panel("close").T)),
    _with(ReadsOneColumn, "one column", lambda m: m.panel("close")[:, :1].copy()),
    _with(ReadsACube, "cube", lambda m: _Told("bars", np.stack([m.panel("close"), m.panel("open")], axis=-1))),
    Specimen(strategy=CompiledFromOutside, ahead=1, make=_frozen, says="hand those data"),
)
"""Leaks by way of state that is not in a container, and by data that are not in a table."""
