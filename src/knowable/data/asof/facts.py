"""`Facts`: the rows of one dataset version in memory, in the order the sweep needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.errors import DataError
from knowable.kernels.asof import AsofState, asof_kernel, bars_kernel, gather_kernel, standing_kernel

__all__ = ["Facts", "make_facts"]

Panel = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """Facts sorted by (known_time, revision, asserts before retractions).

    Attributes:
        table: the rows as stored, unsorted.
        order: (n_facts,) row of `table` of each fact in sweep order.
        entities: sorted names; an entity's code is its place here.
        known: (n_facts,) int64 ns UTC.
        event: (n_facts,) int64 ns UTC.
        period: (n_facts,) int32 number of its (entity, event_time).
        owner: (n_periods,) int32 entity of each period.
        first: (n_entities,) int32 lowest period of each entity.
        retracts: (n_facts,) bool.
    """

    table: pa.Table
    order: npt.NDArray[np.int64]
    entities: tuple[str, ...]
    known: Nanos
    event: Nanos
    period: Codes
    owner: Codes
    first: Codes
    retracts: npt.NDArray[np.bool_]
    _values: dict[str, Panel] = field(default_factory=dict)

    @property
    def n_facts(self) -> int:
        """Rows, retractions included."""
        return len(self.known)

    def values(self, name: str) -> Panel:
        """(n_facts,) a field in sweep order, NaN where null."""
        if name not in self._values:
            column = pc.fill_null(self.table[name].cast(pa.float64()), np.nan).to_numpy()
            self._values[name] = _lock(column[self.order])
        return self._values[name]

    def columns_of(self, names: Sequence[str]) -> Codes:
        """(n_entities,) place of each entity among `names`, -1 where it is not asked for."""
        place = {name: j for j, name in enumerate(names)}
        if tuple(names) == self.entities:
            return _lock(np.arange(len(names), dtype=np.int32))
        return _lock(np.array([place.get(name, -1) for name in self.entities], dtype=np.int32))

    def start(self, n_columns: int) -> AsofState:
        """The state before the first fact."""
        stacked = bool(self.retracts.any())  # without retractions the sweep needs no stacks, and is a third quicker
        return AsofState(
            top=np.full(len(self.owner) if stacked else 0, -1, np.int32),
            below=np.empty(self.n_facts if stacked else 0, np.int32),
            current=np.full(len(self.entities), -1, np.int32),
            row=np.full(n_columns, np.nan),
            cursor=np.zeros(1, np.int64),
        )

    def panel(self, name: str, clock: Nanos, names: Sequence[str]) -> Panel:
        """(n_times, n_names) the value of each entity current at each time; NaN where none is known.

        Known at: row t uses facts with known_time <= clock[t].
        """
        out = np.empty((len(clock), len(names)))
        asof_kernel(
            _lock(np.ascontiguousarray(clock)),
            self.known,
            self.period,
            self.owner,
            self.first,
            self.retracts,
            self.values(name),
            self.columns_of(names),
            self.start(len(names)),
            out,
        )
        return _lock(out)

    def standing_rows(self, as_of: int) -> npt.NDArray[np.int64]:
        """Rows of `table` that stand at `as_of`, one a period, ordered by entity and event_time."""
        top = np.full(len(self.owner), -1, np.int32)
        standing_kernel(self.known, self.period, self.retracts, as_of, np.empty(self.n_facts, np.int32), top)
        return self.order[top[top >= 0]]

    def bars(
        self, fields: Sequence[str], times: Nanos, decision: Nanos, names: Sequence[str]
    ) -> tuple[dict[str, Panel], dict[str, Panel], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Bars as known at their own decision time, and in the end.

        Returns: (panels as known, final panels, seen, final): the last two (n_bars, n_names) int32 facts shown, -1
        where none.
        """
        at = np.searchsorted(times, self.event)
        inside = times[np.minimum(at, len(times) - 1)] == self.event
        row = _lock(np.where(inside, at, -1).astype(np.int32))
        column = _lock(self.columns_of(names)[self.owner[self.period]])
        seen = np.full((len(times), len(names)), -1, np.int32)
        final = np.full((len(times), len(names)), -1, np.int32)
        below = np.empty(self.n_facts, np.int32)
        bars_kernel(self.known, row, column, self.retracts, _lock(np.ascontiguousarray(decision)), below, seen, final)
        return self._gather(fields, seen), self._gather(fields, final), seen, final

    def _gather(self, fields: Sequence[str], index: npt.NDArray[np.int32]) -> dict[str, Panel]:
        panels = {}
        for name in fields:
            out = np.empty(index.shape)
            gather_kernel(_lock(index), self.values(name), out)
            panels[name] = _lock(out)
        return panels


def make_facts(table: pa.Table) -> Facts:
    """Sort and number the rows of a dataset for the sweep.

    Args:
        table: columns entity, event_time, known_time, revision, op and fields, in any order of rows.
    """
    if table.num_rows > np.iinfo(np.int32).max:
        raise DataError(f"{table.num_rows:,} rows are more than one sweep holds (2,147,483,647).")
    known = _nanos(table["known_time"])
    event = _nanos(table["event_time"])
    revision = table["revision"].to_numpy()
    retracts = pc.equal(table["op"], "retract").to_numpy().astype(bool)
    order = np.lexsort((retracts, revision, known))  # files are written by known time, so most of it is in order
    codes, entities = _codes(table["entity"])
    event, codes = event[order], codes[order]
    period, owner, first = _periods(codes, event, len(entities))
    return Facts(
        table=table,
        order=order,
        entities=entities,
        known=_lock(known[order]),
        event=_lock(event),
        period=_lock(period),
        owner=_lock(owner),
        first=_lock(first),
        retracts=_lock(retracts[order]),
    )


def _codes(column: pa.ChunkedArray) -> tuple[Codes, tuple[str, ...]]:
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    names = coded.dictionary.to_pylist()
    by_name = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), dtype=np.int32)
    rank[by_name] = np.arange(len(names), dtype=np.int32)
    return rank[coded.indices.to_numpy()], tuple(names[k] for k in by_name)


def _periods(codes: Codes, event: Nanos, n_entities: int) -> tuple[Codes, Codes, Codes]:
    """Number each (entity, event_time) so that an entity's periods follow one another by event_time."""
    places, events = pd.factorize(event, sort=True)
    key = codes.astype(np.int64) * len(events) + places
    n_cells = n_entities * len(events)
    if n_cells <= 4 * len(event) + 1_000_000:  # a dense grid costs less than finding the cells in use
        owner = np.repeat(np.arange(n_entities, dtype=np.int32), len(events))
        first = np.arange(n_entities, dtype=np.int64) * len(events)
        return key.astype(np.int32), owner, first.astype(np.int32)
    used, period = np.unique(key, return_inverse=True)
    owners = (used // len(events)).astype(np.int32)
    lowest = np.searchsorted(owners, np.arange(n_entities))
    return period.astype(np.int32), owners, lowest.astype(np.int32)


def _nanos(column: pa.ChunkedArray) -> Nanos:
    ns: Nanos = column.cast(pa.int64()).to_numpy() * 1000
    return ns


def _lock(array: _Array) -> _Array:
    array.flags.writeable = False
    return array
