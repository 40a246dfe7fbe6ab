"""Rows in any order become facts in the order of the sweep: by entity, then as they became known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.errors import DataError
from knowable.kernels.asof import AsofFacts, orderly_kernel

__all__ = ["Ordered", "lock", "ordered", "pieces_in_order"]

Codes = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """What `ordered` found.

    Attributes:
        entities: sorted names.
        index: the arrays of the sweep.
        order: (n_facts,) row of each fact; empty where the rows were in sweep order.
    """

    entities: tuple[str, ...]
    index: AsofFacts
    order: npt.NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class _Columns:
    """The columns that decide the order; each is replaced when the rows are."""

    code: Codes
    known: Nanos
    revision: Nanos
    retracts: Flags
    event: Nanos
    key: Codes

    def take(self, order: npt.NDArray[np.int64]) -> None:
        for name in self.__slots__:
            setattr(self, name, lock(getattr(self, name)[order]))

    def part(self, begin: int, end: int, names: Sequence[str]) -> tuple[npt.NDArray[Any], ...]:
        return tuple(getattr(self, name)[begin:end] for name in names)


def ordered(table: pa.Table, keys: tuple[str, ...]) -> Ordered:
    """Sort rows by (entity, known_time, revision, asserts before retractions, period) and number the periods.

    Stored files are sorted by entity and event time, so that most of the rows are in order already; only entities
    that are not get sorted.

    Raises: DataError if there are more rows than a sweep holds.
    """
    n = table.num_rows
    if n > np.iinfo(np.int32).max:
        raise DataError(f"{n:,} rows are more than one sweep holds (2,147,483,647). Read fewer entities at a time.")
    code, entities = _ranked(table["entity"])
    columns = _Columns(
        code=lock(code),
        known=_nanos(table["known_time"]),
        revision=_whole(table["revision"]),
        retracts=_equal(table["op"], "retract"),
        event=_nanos(table["event_time"]),
        key=lock(_key_codes(table, keys)),
    )
    order = np.empty(0, np.int64)
    if (np.diff(code) < 0).any():
        narrow = code.astype(np.uint16) if len(entities) <= 65_536 else code  # 16 bits sort by radix, in no time
        order = np.argsort(narrow, kind="stable")
        columns.take(order)
    start = lock(np.searchsorted(columns.code, np.arange(len(entities) + 1, dtype=np.int32)).astype(np.int64))
    known_fine, events_fine = np.ones(len(entities), np.bool_), np.ones(len(entities), np.bool_)
    _check(columns, known_fine, events_fine)
    if not known_fine.all():
        moves = _sorted_within(columns, start, ~known_fine, ("key", "event", "retracts", "revision", "known"))
        order = moves if len(order) == 0 else order[moves]
        columns.take(moves)
        events_fine[:] = True
        _check(columns, known_fine, events_fine)
    return Ordered(entities=entities, index=_number(columns, start, events_fine, bool(keys)), order=order)


def pieces_in_order(table: pa.Table) -> pa.Table:
    """The same rows with the pieces they came in (row groups of files) ordered by entity, without a copy.

    Where files hold entities of their own, all rows are in the order of the sweep after that, and no row is moved.
    """
    pieces = [piece for piece in table.to_batches() if piece.num_rows]
    if len(pieces) < 2:
        return table
    ends = [(str(piece["entity"][0]), str(piece["entity"][-1])) for piece in pieces]
    order = sorted(range(len(pieces)), key=ends.__getitem__)
    if order == list(range(len(pieces))):
        return table
    return pa.Table.from_batches([pieces[k] for k in order], schema=table.schema)


def lock(array: _Array) -> _Array:
    """The same array, read-only: numba compiles its kernels for such inputs once."""
    array.flags.writeable = False
    return array


def _check(columns: _Columns, known_fine: Flags, events_fine: Flags) -> None:
    orderly_kernel(
        columns.code,
        columns.known,
        columns.revision,
        columns.retracts,
        columns.event,
        columns.key,
        known_fine,
        events_fine,
    )


def _sorted_within(columns: _Columns, start: Nanos, which: Flags, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """The order that sorts the rows of some entities by these columns (the last rules) and leaves the others."""
    order = np.arange(len(columns.code))
    for e in np.flatnonzero(which):
        begin, end = int(start[e]), int(start[e + 1])
        order[begin:end] = begin + np.lexsort(columns.part(begin, end, names))
    return order


def _number(columns: _Columns, start: Nanos, events_fine: Flags, keyed: bool) -> AsofFacts:
    """Number each (entity, event_time, keys) so that an entity's periods follow one another."""
    code, event, key = columns.code, columns.event, columns.key
    by_event = None
    if not events_fine.all():
        by_event = _sorted_within(columns, start, ~events_fine, ("key", "event"))
        code, event, key = code[by_event], event[by_event], key[by_event]
    new_event = np.ones(len(code), np.bool_)
    new_event[1:] = (event[1:] != event[:-1]) | (code[1:] != code[:-1])
    new = new_event
    if keyed:
        new = new_event.copy()
        new[1:] |= key[1:] != key[:-1]
    number = np.cumsum(new, dtype=np.int32)
    number -= 1
    period = number
    if by_event is not None:
        period = np.empty_like(number)
        period[by_event] = number
    n_periods = int(number[-1]) + 1 if len(number) else 0
    group = np.empty(0, np.int32)
    if keyed:
        lowest = np.where(new_event[new], np.arange(n_periods, dtype=np.int32), 0)
        group = np.maximum.accumulate(lowest).astype(np.int32) if n_periods else group
    return AsofFacts(
        start=start,
        known=columns.known,
        period=lock(period),
        retracts=columns.retracts,
        first=lock(np.append(number[start[:-1]], np.int32(n_periods)).astype(np.int32)),
        event=lock(np.ascontiguousarray(event[new])),
        owner=lock(np.ascontiguousarray(code[new])),
        group=lock(group),
    )


def _ranked(column: pa.ChunkedArray) -> tuple[Codes, tuple[str, ...]]:
    """(n,) int32 place of each text among the distinct ones, sorted; and those."""
    coded = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if coded.num_chunks == 0:
        return np.empty(0, np.int32), ()
    names = coded.chunk(0).dictionary.to_pylist()
    parts = [chunk.indices.to_numpy(zero_copy_only=False) for chunk in coded.chunks]
    codes = np.concatenate(parts).astype(np.int32, copy=False)
    used = np.zeros(len(names), np.bool_)  # a dictionary may hold names that no row has
    used[codes] = True
    by_name = sorted(np.flatnonzero(used).tolist(), key=names.__getitem__)
    rank = np.full(len(names), -1, dtype=np.int32)
    rank[by_name] = np.arange(len(by_name), dtype=np.int32)
    return rank[codes], tuple(names[k] for k in by_name)


def _key_codes(table: pa.Table, keys: tuple[str, ...]) -> Codes:
    """(n,) int32 rank of each row's keys; zeros where there are none."""
    combined = np.zeros(table.num_rows, np.int64)
    for name in keys:
        codes, names = _ranked(pc.fill_null(table[name].cast(pa.string()), ""))
        combined = combined * max(len(names), 1) + codes
        combined = np.unique(combined, return_inverse=True)[1].astype(np.int64)
    return combined.astype(np.int32)


def _equal(column: pa.ChunkedArray, text: str) -> Flags:
    if not pa.types.is_dictionary(column.type):
        return lock(np.ascontiguousarray(pc.equal(column, text).to_numpy().astype(np.bool_)))
    parts = [np.empty(0, np.bool_)]
    for chunk in column.chunks:
        same = np.array([name == text for name in chunk.dictionary.to_pylist()] or [False])
        parts.append(same[chunk.indices.to_numpy(zero_copy_only=False)])
    return lock(np.concatenate(parts))


def _nanos(column: pa.ChunkedArray) -> Nanos:
    us = column.cast(pa.int64()).to_numpy()
    return lock(np.multiply(us, 1000, out=us if us.flags.writeable else None))


def _whole(column: pa.ChunkedArray) -> Nanos:
    return lock(np.ascontiguousarray(column.to_numpy(), dtype=np.int64))
