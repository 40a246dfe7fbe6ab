"""`Bar`: what an `on_bar` sees of the data, and nothing later."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.errors import InputError, UnknownAttributeError, shown, unknown_name

__all__ = ["Bar", "History"]

Panel = npt.NDArray[np.float64]

_FIRST_ROOM = 64


class History:
    """Panels as they become known, a row after another.

    What it hands out are views of memory that holds no later row: reaching through ``.base`` finds nothing to come.

    Args:
        panels: name -> (n_bars, n_assets) float64, read-only; fields as known at each row, and features.
        index: (n_bars,) labels.
        assets: names of the columns.
    """

    __slots__ = ("_grown", "_kind", "_panels", "assets", "columns", "index")

    def __init__(self, panels: Mapping[str, Panel], index: pd.DatetimeIndex, assets: tuple[str, ...]) -> None:
        self.index, self.assets = index, assets
        self._kind = type(
            "Bar", (Bar,), {"__slots__": (), **{name: _reader(name) for name in panels if not hasattr(Bar, name)}}
        )
        self.columns = {name: column for column, name in enumerate(assets)}
        self._panels = panels
        self._grown: dict[str, _Grown] = {}

    def until(self, name: str, row: int) -> Panel:
        """(>= row + 1, n_assets) read-only; its rows up to `row` are known. Raises: UnknownAttributeError."""
        grown = self._grown.get(name)
        if grown is None:
            if name not in self._panels:
                raise self.unknown(name)
            grown = self._grown[name] = _Grown(self._panels[name])
        if row >= grown.n_known:
            grown.extend(row + 1)
        return grown.seen

    def unknown(self, name: str, also: Iterable[str] = ()) -> UnknownAttributeError:
        """The error for what is no field or feature, nor one of the bar's own words."""
        return UnknownAttributeError(
            str(unknown_name("field or feature", name, [*self._panels, *also], where="the bar"))
        )

    def bar(self, row: int) -> Bar:
        """The bar of a row."""
        made: Bar = _new(self._kind)
        _put_history(made, self)
        _put_row(made, row)
        return made

    def column(self, asset: object) -> int:
        """The column of an asset, given by name or by number. Raises: UnknownNameError, InputError."""
        if type(asset) is str:
            column = self.columns.get(asset)
            if column is None:
                raise unknown_name("asset", asset, self.assets, where="the market")
            return column
        whole = type(asset) is int or (isinstance(asset, numbers.Integral) and not isinstance(asset, bool))
        if whole and 0 <= asset < len(self.assets):  # type: ignore[operator]  # a whole number
            return int(asset)  # type: ignore[call-overload, no-any-return]
        raise InputError(
            f"An asset is a name or a column in [0, {len(self.assets) - 1}], but {shown(asset)} came, "
            f"a {type(asset).__name__}."
        )


class _Grown:
    """A panel's rows so far, in memory that doubles as they come; rows to come are NaN."""

    __slots__ = ("memory", "n_known", "seen", "source")

    def __init__(self, source: Panel) -> None:
        self.source = source
        self.n_known = 0
        self._take(np.full((_FIRST_ROOM, source.shape[1]), np.nan))

    def extend(self, n_rows: int) -> None:
        known = self.n_known
        if n_rows > len(self.memory):
            wider = np.full((2 * n_rows, self.source.shape[1]), np.nan)
            wider[:known] = self.memory[:known]
            self._take(wider)
        if n_rows == known + 1:
            self.memory[known] = self.source[known]  # half the time of slices
        else:
            self.memory[known:n_rows] = self.source[known:n_rows]
        self.n_known = n_rows

    def _take(self, memory: Panel) -> None:
        self.memory, self.seen = memory, memory.view()
        self.seen.flags.writeable = False


class Bar:
    """One bar, and those before it, as known when it is decided on. Read-only.

    A field of the market or a feature reads as an attribute: ``bar.close`` is (n_assets,) float64, NaN where not known;
    ``bar["close"]`` is the same. Its values are those of the market's `panels`: what was known at this bar's decision.
    """

    # `History.bar` makes it, by way of its slots: three quarters of a microsecond less than __init__ with __setattr__
    # closed. A history's bars are of a class of their own, that has a property for each name: one less of __getattr__.

    __slots__ = ("_history", "_row")

    _history: History
    _row: int

    @property
    def row(self) -> int:
        """Its position in the market, from 0."""
        return self._row

    @property
    def time(self) -> pd.Timestamp:
        """Its label in the market's index."""
        return self._history.index[self._row]

    @property
    def assets(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self._history.assets

    @property
    def n_assets(self) -> int:
        """Number of columns."""
        return len(self._history.assets)

    def column(self, asset: str | int) -> int:
        """The column of an asset: ``bar.close[bar.column("A")]``. Raises: UnknownNameError, offering the nearest."""
        return self._history.column(asset)

    def past(self, name: str, n_bars: int) -> Panel:
        """The last `n_bars` rows of a field or feature, this bar's the last.

        Returns: (<= n_bars, n_assets) float64, read-only; fewer rows where the market has begun since.
        Raises: InputError unless n_bars is a whole number >= 1; UnknownAttributeError.
        """
        if not (isinstance(n_bars, numbers.Integral) and not isinstance(n_bars, bool) and n_bars >= 1):
            raise InputError(f"`n_bars >= 1` must hold in whole bars, but n_bars={shown(n_bars)}, in bar.past.")
        end = self._row + 1
        return self._history.until(name, self._row)[max(0, end - int(n_bars)) : end]

    def __getitem__(self, name: str) -> Panel:
        row: Panel = self._history.until(name, self._row)[self._row]
        return row

    def __getattr__(self, name: str) -> Panel:
        if name.startswith("_"):
            raise AttributeError(name)
        raise self._history.unknown(name, [each for each in dir(Bar) if not each.startswith("_")])

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise InputError(
            f"A bar is read-only, but bar.{name} was set. Keep what you compute on self: self.{name} = ..."
        )

    def __repr__(self) -> str:
        return f"Bar({self.time}, row {self._row}, {self.n_assets} assets)"


_new = object.__new__
_put_history, _put_row = (vars(Bar)[slot].__set__ for slot in ("_history", "_row"))


def _reader(name: str) -> property:
    def read(bar: Bar) -> Panel:
        row: Panel = bar._history.until(name, bar._row)[bar._row]  # noqa: SLF001 - the class's own
        return row

    return property(read, doc=f"(n_assets,) {name} of this bar.")
