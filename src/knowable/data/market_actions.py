"""`MarketActions`: the corporate actions of a market, as rows that a ledger can book."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.calendars import Nanos

__all__ = ["MarketActions"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_INTS = ("row", "asset", "successor", "last_row", "event_time", "known_time", "foreign")
_FLOATS = ("ratio", "amount")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MarketActions:
    """Read-only columns, one entry an action, ordered by row, then asset, then type.

    These are the actions as known in the end, whatever a decision could know: an account has them on the ex-date,
    heard of or not.

    Attributes:
        row: (n,) int64 bar of the market at whose start it takes effect: the first that ends after the ex-date began.
        asset: (n,) int64 column of the market.
        type: split, dividend, delisting, ticker_change, merger or spinoff.
        ratio: (n,) float64 new shares per old (of the successor, in a merger or spin-off); NaN: none given.
        amount: (n,) float64 cash per share held before it; what a share is paid at a delisting; NaN: none given.
        currency: of each amount, None where not given.
        successor: (n,) int64 column of the asset received, -1 where it is none of the market's.
        successor_id: its entity, None where there is none.
        last_row: (n,) int64 the asset's last bar with a final close, in the whole market; -1: it never has one.
        event_time: (n,) int64 ns UTC, the ex-date.
        known_time: (n,) int64 ns UTC, when this statement of it became known.
        foreign: (n,) int64 1 where the amount is in another currency than the prices, so that no account is paid it.
    """

    row: Ints
    asset: Ints
    type: tuple[str, ...]
    ratio: Floats
    amount: Floats
    currency: tuple[str | None, ...]
    successor: Ints
    successor_id: tuple[str | None, ...]
    last_row: Ints
    event_time: Nanos
    known_time: Nanos
    foreign: Ints

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]] = ()) -> Self:
        """Build the columns from one mapping an action, keyed by the attributes' names; sorted here."""
        ordered = sorted(rows, key=lambda item: (item["row"], item["asset"], item["event_time"], item["type"]))
        held = [{"foreign": 0, **item} for item in ordered]
        return cls(**{entry.name: _column(entry.name, [item[entry.name] for item in held]) for entry in fields(cls)})

    def __len__(self) -> int:
        return len(self.type)

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.type.count(name)} {name}" for name in dict.fromkeys(self.type))
        return f"MarketActions({len(self)}{': ' + counts if counts else ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.page())

    def until(self, n_bars: int) -> Self:
        """The actions that take effect on the first `n_bars` bars."""
        return self.of([item for item in self._items() if item["row"] < n_bars])

    def in_currencies(self, own: Sequence[str], *, rates: pd.DataFrame, base: str) -> Self:
        """The same with amounts in the currency of their asset's quotes, at the rates of the bar before.

        Args:
            own: currency of each column of the market.
            rates: a row a bar, a column a currency: units of `base` for one.
            base: currency of the account.

        An amount that names no currency is in that of its asset; where there is no rate it stays `foreign`.
        """
        known = {str(name): rates[name].ffill().to_numpy(dtype=np.float64) for name in rates.columns}
        known[base] = np.ones(len(rates))
        made = []
        for item in self._items():
            named, mine, at = item["currency"], own[item["asset"]], max(int(item["row"]) - 1, 0)
            if named is not None and named != mine:
                worth = known[named][at] / known[mine][at] if named in known and mine in known else math.nan
                found = not math.isnan(worth)
                item.update({"amount": item["amount"] * worth, "currency": mine} if found else {})
                item["foreign"] = int(not found)
            elif named is not None:
                item["foreign"] = 0
            made.append(item)
        return self.of(made)

    def frame(self) -> pd.DataFrame:
        """A DataFrame of the columns, times as UTC timestamps."""
        table = pd.DataFrame({name: list(value) for name, value in self._columns().items()})
        for name in ("event_time", "known_time"):
            table[name] = pd.DatetimeIndex(getattr(self, name).view("M8[ns]")).tz_localize("UTC")
        return table

    def page(self) -> dict[str, list[Any]]:
        """The columns as plain lists, for a JSON page; a missing number is None."""
        found = {name: value.tolist() if isinstance(value, np.ndarray) else list(value) for name, value in
                 self._columns().items()}  # fmt: skip
        for name in _FLOATS:
            found[name] = [None if math.isnan(value) else value for value in found[name]]
        return found

    @classmethod
    def from_page(cls, page: Mapping[str, Sequence[Any]]) -> Self:
        """Read what `page` gave. Raises: KeyError if a column is absent."""
        held = {"foreign": [0] * len(page["type"]), **page}  # pages of before have no such column
        return cls(**{entry.name: _column(entry.name, list(held[entry.name])) for entry in fields(cls)})

    @property
    def digest(self) -> bytes:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(self.page(), sort_keys=True).encode()).digest()

    def _columns(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def _items(self) -> list[dict[str, Any]]:
        columns = self._columns()
        return [{name: columns[name][k] for name in columns} for k in range(len(self))]


def _rebuild(kind: type[MarketActions], page: Mapping[str, Sequence[Any]]) -> MarketActions:
    return kind.from_page(page)


def _column(name: str, values: list[Any]) -> Any:
    if name in _INTS:
        array: npt.NDArray[Any] = np.array(values, dtype=np.int64)
    elif name in _FLOATS:
        array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    else:
        return tuple(values)
    array.flags.writeable = False
    return array
