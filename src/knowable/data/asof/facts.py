"""`Facts`: the rows of one dataset version in memory, entity by entity, in the order they became known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.asof.order import Ordered, lock, ordered, pieces_in_order
from knowable.kernels.asof import (
    AsofFacts,
    AsofState,
    asof_kernel,
    asof_rows_kernel,
    asof_sparse_kernel,
    asof_wide_kernel,
    bars_kernel,
    gather_kernel,
    standing_kernel,
    window_kernel,
)

__all__ = ["REDUCTIONS", "Facts", "make_facts"]

Panel = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
REDUCTIONS: Mapping[str | None, int] = {None: 0, "sum": 1, "mean": 2, "min": 3, "max": 4, "first": 5, "last": 6}
INDEX = ("entity", "event_time", "known_time", "op")  # held as arrays, or implied by them
_TIME = pa.timestamp("us", "UTC")
_DENSE = 4  # cells a fact below which a panel is filled entity by entity
_NO_BOUND = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """Facts sorted by (entity, known_time, revision, asserts before retractions, period).

    Attributes:
        entities: sorted names; an entity's code is its place here.
        index: the arrays of the sweep, see `AsofFacts`.
        order: (n_facts,) row of `rows` of each fact; empty where the rows lie in sweep order.
        rows: the columns of the table that are not in the index, unsorted.
    """

    entities: tuple[str, ...]
    index: AsofFacts
    order: npt.NDArray[np.int64]
    rows: pa.Table
    _values: dict[str, Panel] = field(default_factory=dict)
    _in_time: list[Codes] = field(default_factory=list)

    @property
    def n_facts(self) -> int:
        """Rows, retractions included."""
        return len(self.known)

    @property
    def n_bytes(self) -> int:
        """Memory held, about."""
        held = [*self.index, self.order, *self._values.values(), *self._in_time]
        return int(self.rows.nbytes) + sum(int(array.nbytes) for array in held)

    @property
    def known(self) -> Nanos:
        """(n_facts,) int64 ns UTC."""
        return self.index.known

    @property
    def event(self) -> Nanos:
        """(n_facts,) int64 ns UTC."""
        return lock(self.index.event[self.index.period])

    @property
    def period(self) -> Codes:
        """(n_facts,) int32 number of its (entity, event_time, keys)."""
        return self.index.period

    @property
    def retracts(self) -> npt.NDArray[np.bool_]:
        """(n_facts,) bool."""
        return self.index.retracts

    @property
    def owner(self) -> Codes:
        """(n_periods,) int32 entity of each period."""
        return self.index.owner

    def values(self, name: str) -> Panel:
        """(n_facts,) a number field in sweep order, NaN where null; a bool counts as 1.0 and 0.0."""
        if name not in self._values:
            self._values[name] = _numbers(self.rows[name], self.order)
        return self._values[name]

    @property
    def in_time(self) -> Codes:
        """(n_facts,) int32 facts ordered by known time."""
        if not self._in_time:
            self._in_time.append(lock(np.argsort(self.known, kind="stable").astype(np.int32)))
        return self._in_time[0]

    def codes_of(self, names: Sequence[str]) -> Codes:
        """(n_names,) int32 code of each name, -1 where it has no facts."""
        code = {name: k for k, name in enumerate(self.entities)}
        return lock(np.array([code.get(name, -1) for name in names], dtype=np.int32))

    def columns_of(self, names: Sequence[str]) -> Codes:
        """(n_entities,) int32 place of each entity among `names`, -1 where it is not asked for."""
        place = {name: j for j, name in enumerate(names)}
        return lock(np.array([place.get(name, -1) for name in self.entities], dtype=np.int32))

    def begin(self, *, standing: bool = False) -> AsofState:
        """The state before the first fact.

        Args:
            standing: whether every period's standing assertion will be asked for. Without that, and without
                retractions, the sweep needs no stacks and is a third quicker.
        """
        stacked = bool(self.retracts.any())
        return AsofState(
            top=np.full(len(self.index.event) if stacked or standing else 0, -1, np.int32),
            below=np.empty(self.n_facts if stacked else 0, np.int32),
            current=np.full(len(self.entities), -1, np.int32),
            shown=np.full(len(self.entities), -1, np.int32),
            cursor=self.index.start[:-1].copy(),
        )

    def panel(self, name: str, clock: Nanos, names: Sequence[str], tolerance: int | None = None) -> Panel:
        """(n_times, n_names) the value of each entity current at each time; NaN where none is known.

        Args:
            name: of a number field.
            clock: (n_times,) int64 ns UTC, ascending.
            names: of entities, none twice.
            tolerance: in ns; a value whose event_time is older than that at a time is no value there.

        Known at: row t uses facts with known_time <= clock[t].
        """
        out = np.empty((len(clock), len(names)))
        clock, index, value, codes, span, state = self._inputs(name, clock, names, tolerance)
        if out.size < _DENSE * self.n_facts:
            asof_kernel(clock, index, value, codes, span, state, out)
        else:
            state = state._replace(cursor=np.zeros(1, np.int64))
            columns = self.columns_of(names)
            asof_sparse_kernel(clock, index, value, self.in_time, columns, codes, span, state, out)
        return lock(out)

    def wide(self, name: str, clock: Nanos, names: Sequence[str], tolerance: int | None = None) -> Panel:
        """The panel entity by entity: (n_names, n_times)."""
        out = np.empty((len(names), len(clock)))
        clock, index, value, codes, span, state = self._inputs(name, clock, names, tolerance)
        asof_wide_kernel(clock, index, value, codes, span, state, out)
        return lock(out)

    def window(
        self, name: str, k: int, clock: Nanos, names: Sequence[str], *, reduce: str | None, within: int | None
    ) -> Panel:
        """The last k periods as known at each time, (n_times, n_names, k) oldest first, or reduced (n_times, n_names).

        Args:
            name: of a number field.
            k: >= 1.
            clock: (n_times,) int64 ns UTC, ascending.
            names: of entities, none twice.
            reduce: one of `REDUCTIONS`.
            within: in ns; a window whose first and last event_time lie further apart is NaN.

        Known at: row t uses facts with known_time <= clock[t].
        """
        out = np.empty((len(clock), len(names), k if reduce is None else 1))
        window_kernel(
            lock(np.ascontiguousarray(clock)),
            self.index,
            self.values(name),
            self.codes_of(names),
            k,
            _NO_BOUND if within is None else within,
            REDUCTIONS[reduce],
            self.begin(standing=True),
            out,
        )
        return lock(out if reduce is None else out[:, :, 0])

    def current(
        self, names: Sequence[str | None], moments: Nanos, tolerance: int | None = None
    ) -> npt.NDArray[np.intp]:
        """(n_rows,) the fact current for names[i] as known at moments[i], -1 where none is. Rows in any order."""
        code = {name: k for k, name in enumerate(self.entities)}
        wanted = np.array([-1 if name is None else code.get(name, -1) for name in names], dtype=np.int32)
        order = np.lexsort((moments, wanted))
        found = np.empty(len(wanted), np.int32)
        span = -1 if tolerance is None else tolerance
        asof_rows_kernel(lock(wanted[order]), lock(moments[order]), self.index, span, self.begin(), found)
        out = np.empty(len(wanted), np.intp)
        out[order] = found
        return out

    def standing(self, as_of: int) -> npt.NDArray[np.intp]:
        """Facts that stand at `as_of`, at most one a period, ordered by entity, event_time and keys."""
        top = np.full(len(self.index.event), -1, np.int32)
        standing_kernel(self.known, self.period, self.retracts, as_of, np.empty(self.n_facts, np.int32), top)
        return top[top >= 0].astype(np.intp)

    def take(self, facts: npt.NDArray[np.intp], columns: Sequence[str]) -> pa.Table:
        """Columns of some facts, in the order asked for; a row of nulls where the fact is -1."""
        if self.n_facts == 0:
            return pa.table({name: pa.nulls(len(facts), self._type(name)) for name in columns})
        absent = facts < 0
        any_absent = bool(absent.any())
        at = np.where(absent, 0, facts) if any_absent else facts
        rows = at if len(self.order) == 0 else self.order[at]
        place = pa.array(rows, mask=absent if any_absent else None)
        held: dict[str, pa.ChunkedArray | pa.Array] = {}
        for name in columns:
            if name == "entity":
                codes = np.searchsorted(self.index.start, at, side="right") - 1
                held[name] = pa.array(self.entities, pa.string()).take(_masked(codes, absent, any_absent))
            elif name in ("event_time", "known_time"):
                ns = self.index.known[at] if name == "known_time" else self.index.event[self.index.period[at]]
                held[name] = _masked(ns // 1000, absent, any_absent).cast(_TIME)
            elif name == "op":
                held[name] = pa.array(["assert", "retract"]).take(
                    _masked(self.retracts[at].astype(np.int8), absent, any_absent)
                )
            else:
                held[name] = _plain(self.rows[name].take(place))
        return pa.table(held)

    def _type(self, name: str) -> pa.DataType:
        if name in ("event_time", "known_time"):
            return _TIME
        kind = pa.string() if name in INDEX else self.rows.schema.field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def bars(
        self, fields: Sequence[str], times: Nanos, decision: Nanos, names: Sequence[str]
    ) -> tuple[dict[str, Panel], dict[str, Panel], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Bars as known at their own decision time, and in the end.

        Returns: (panels as known, final panels, seen, final): the last two (n_bars, n_names) int32 facts shown, -1
        where none.
        """
        event = self.index.event
        at = np.searchsorted(times, event)
        inside = times[np.minimum(at, len(times) - 1)] == event
        row = lock(np.where(inside, at, -1).astype(np.int32)[self.period])
        column = lock(self.columns_of(names)[self.owner][self.period])
        seen = np.full((len(times), len(names)), -1, np.int32)
        final = np.full((len(times), len(names)), -1, np.int32)
        below = np.empty(self.n_facts, np.int32)
        bars_kernel(self.known, row, column, self.retracts, lock(np.ascontiguousarray(decision)), below, seen, final)
        known = self._gather(fields, seen)
        return known, known if np.array_equal(seen, final) else self._gather(fields, final), seen, final

    def _gather(self, fields: Sequence[str], index: npt.NDArray[np.int32]) -> dict[str, Panel]:
        panels = {}
        for name in fields:
            out = np.empty(index.shape)
            gather_kernel(lock(index), self.values(name), out)
            panels[name] = lock(out)
        return panels

    def _inputs(self, name: str, clock: Nanos, names: Sequence[str], tolerance: int | None) -> tuple[Any, ...]:
        return (
            lock(np.ascontiguousarray(clock)),
            self.index,
            self.values(name),
            self.codes_of(names),
            -1 if tolerance is None else tolerance,
            self.begin(),
        )


def make_facts(
    table: pa.Table, *, keys: Sequence[str] = (), numbers: Sequence[str] = (), columns: Sequence[str] | None = None
) -> Facts:
    """Sort and number the rows of a dataset for the sweep.

    Args:
        table: columns entity, event_time, known_time, revision, op, the keys and fields, in any order of rows.
        keys: columns that tell periods of one event time apart.
        numbers: number fields to hold as arrays alone, for tables that are large.
        columns: further columns to hold; all when None.

    Raises: DataError if there are more rows than a sweep holds.
    """
    table = pieces_in_order(table)
    found: Ordered = ordered(table, tuple(keys))
    held = table.column_names if columns is None else columns
    rows = table.select([name for name in held if name not in INDEX and name not in numbers])
    return Facts(
        entities=found.entities,
        index=found.index,
        order=found.order,
        rows=rows,
        _values={name: _numbers(table[name], found.order) for name in numbers},
    )


def _numbers(column: pa.ChunkedArray, order: npt.NDArray[np.int64]) -> Panel:
    plain = column if pa.types.is_float64(column.type) else column.cast(pa.float64())
    if plain.null_count:
        plain = pc.fill_null(plain, np.nan)
    values: Panel = plain.to_numpy()
    return lock(np.ascontiguousarray(values if len(order) == 0 else values[order]))


def _masked(values: npt.NDArray[np.integer], absent: npt.NDArray[np.bool_], any_absent: bool) -> pa.Array:
    return pa.array(values, mask=absent if any_absent else None)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without a dictionary: what a table of the dataset's schema holds."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
