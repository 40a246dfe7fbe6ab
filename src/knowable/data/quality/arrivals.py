"""`Arrivals`: what the sources of a dataset stated, in the order in which each series learned of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.schema import Schema
from knowable.kernels.quality import arrival_state, stood_kernel

__all__ = ["CLEANED", "Arrivals", "Codes", "Floats", "Mask", "make_arrivals"]

CLEANED = "repaired"
"""known_basis of every row that cleaning wrote. Rules never see such rows: they judge what the sources said."""

Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrivals:
    """Statements sorted by (series, known_time, event_time, revision, asserts before retractions).

    A series is one entity and its further keys; a period is one event time of it.

    Attributes:
        schema: of the dataset.
        table: the statements in the order of the table.
        order: (n_rows,) row of `table` of each statement.
        names: entity of each series.
        keys: further keys of each series, () where the schema has none.
        series: (n_rows,) int32.
        period: (n_rows,) int32.
        owner: (n_periods,) int32 series of each period.
        event: (n_rows,) int64 ns UTC.
        known: (n_rows,) int64 ns UTC.
        revision: (n_rows,) int64.
        retracts: (n_rows,) bool.
    """

    schema: Schema
    table: pa.Table
    order: npt.NDArray[np.int64]
    names: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    series: Codes
    period: Codes
    owner: Codes
    event: Nanos
    known: Nanos
    revision: npt.NDArray[np.int64]
    retracts: Mask
    _made: dict[str, Any] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Statements, retractions included."""
        return len(self.known)

    def values(self, name: str) -> Floats:
        """(n_rows,) a field, NaN where null; texts and moments by a number each, equal where they are equal."""
        if name not in self._made:
            column = self.table[name]
            if self.schema.fields[name].numeric:
                numbers = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
            else:
                codes = column.combine_chunks().dictionary_encode()
                codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
                numbers = pc.fill_null(codes.indices.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
            self._made[name] = lock(numbers[self.order])
        found: Floats = self._made[name]
        return found

    def stood(self) -> tuple[Codes, Codes]:
        """(n_rows,) the statement each one replaces, and the one that stood in the period before; -1 where none."""
        before, previous, _ = self._replayed()
        return before, previous

    def standing(self) -> Codes:
        """(n_standing,) the statement that stands in the end in each period that has one, by series and event time."""
        _, _, top = self._replayed()
        return top[top >= 0]

    def _replayed(self) -> tuple[Codes, Codes, Codes]:
        if "" not in self._made:
            before, previous = np.full((2, self.n_rows), -1, np.int32)
            state = arrival_state(len(self.names), len(self.owner), self.n_rows)
            stood_kernel(self.n_rows, self.period, self.owner, self.retracts, state, before, previous)
            self._made[""] = (before, previous, state.top)
        found: tuple[Codes, Codes, Codes] = self._made[""]
        return found


def make_arrivals(table: pa.Table, schema: Schema, *, cleaned: bool = False) -> Arrivals:
    """Arrange the rows of a dataset.

    Args:
        table: rows as stored, in any order.
        schema: of the dataset.
        cleaned: keep the rows that cleaning wrote, which are left out else.
    """
    table = (table if cleaned else table.filter(pc.not_equal(table["known_basis"], CLEANED))).combine_chunks()
    names, keys, series = _series(table, schema.keys)
    event, known = _nanos(table["event_time"]), _nanos(table["known_time"])
    revision = np.ascontiguousarray(table["revision"].to_numpy())
    retracts = pc.equal(table["op"], "retract").to_numpy().astype(bool)
    order = np.lexsort((retracts, revision, event, known, series))
    series, event = series[order], event[order]
    period, owner = _periods(series, event)
    return Arrivals(
        schema=schema,
        table=table,
        order=order,
        names=names,
        keys=keys,
        series=lock(series),
        period=lock(period),
        owner=lock(owner),
        event=lock(event),
        known=lock(known[order]),
        revision=lock(revision[order]),
        retracts=lock(retracts[order]),
    )


def lock(array: _Array) -> _Array:
    """The array, read-only and C-contiguous, as kernels take it."""
    array = np.ascontiguousarray(array)  # type: ignore[assignment]
    array.flags.writeable = False
    return array


def _series(table: pa.Table, keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], Codes]:
    """Entity and keys of each series, sorted, and the series of each row."""
    codes, places = _ranked(table["entity"])
    labels: list[tuple[str, ...]] = [(name,) for name in places]
    for name in keys:
        more, values = _ranked(table[name])
        pairs, used = pd.factorize(codes.astype(np.int64) * max(len(values), 1) + more, sort=True)
        labels = [(*labels[int(n) // len(values)], values[int(n) % len(values)]) for n in used]
        codes = pairs.astype(np.int32)
    return tuple(label[0] for label in labels), tuple(label[1:] for label in labels), codes


def _ranked(column: pa.ChunkedArray) -> tuple[Codes, list[str]]:
    """The rank of each text among those of the column, and the sorted texts."""
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    texts = [str(text) for text in coded.dictionary.to_pylist()]
    by_text = sorted(range(len(texts)), key=texts.__getitem__)
    rank = np.empty(len(texts), np.int32)
    rank[by_text] = np.arange(len(texts), dtype=np.int32)
    return rank[coded.indices.to_numpy(zero_copy_only=False)], [texts[k] for k in by_text]


def _periods(series: Codes, event: Nanos) -> tuple[Codes, Codes]:
    """Number each (series, event_time) so that a series' periods follow one another by event time."""
    order = np.lexsort((event, series))
    moved = (np.diff(series[order]) != 0) | (np.diff(event[order]) != 0)
    number = np.concatenate(([0], np.cumsum(moved))) if len(order) else np.empty(0, np.int64)
    period = np.empty(len(order), np.int32)
    period[order] = number
    owner = series[order][np.concatenate(([True], moved))] if len(order) else series
    return period, owner.astype(np.int32)


def _nanos(column: pa.ChunkedArray) -> Nanos:
    ns: Nanos = column.cast(pa.int64()).to_numpy() * 1000
    return ns
