"""`Tail`: the as-of sweep of one dataset kept between calls, so that the rows of new times cost what is new.

Each entity has its facts in arrays with room behind them, and the state of its sweep. Facts that come in order are put
behind the others, and the sweep goes on from where it stood. Facts that come late, or about a period older than the
newest, have their entity sorted and swept again; the others are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.asof.order import lock
from knowable.data.table.feed import Update
from knowable.data.times import instants
from knowable.errors import InputError
from knowable.kernels.asof import AsofFacts, AsofState, asof_rows_kernel

__all__ = ["Tail"]

Panel = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[Any]]
_BEFORE = np.iinfo(np.int64).min
_ROOM = 16  # facts an entity has room for at least


class Tail:
    """The newest state of a dataset, and the panel rows of new times. Made by `Store.tail`.

    Args:
        fields: number fields to give.
        entities: columns.
        keys: fields that tell periods of one event time apart.
        version: of the first rows.
        rows: stored by then: entity, event_time, known_time, revision, op, the keys and the fields.
        feed: gives the updates that came since it was asked last.

    Attributes:
        version: of the newest rows taken in.
        fields: given by `panel`.
        entities: columns of a panel.
        late: rows that came after a time they should have been seen at; they count from then on.
        now: the last time asked for, int64 ns UTC.
    """

    def __init__(
        self,
        *,
        fields: Sequence[str],
        entities: Sequence[str],
        keys: Sequence[str],
        version: int,
        rows: pa.Table,
        feed: Callable[[], Iterable[Update]],
    ) -> None:
        self.version, self.fields, self.entities = version, tuple(fields), tuple(entities)
        self.late, self.now = 0, int(_BEFORE)
        self._feed, self._keys = feed, tuple(keys)
        self._one = {name: _Entity(self.fields) for name in self.entities}
        self._take(rows)

    def __repr__(self) -> str:
        names = ", ".join(self.fields[:8]) + (", ..." if len(self.fields) > 8 else "")
        since = "" if self.now == _BEFORE else f", asked up to {pd.Timestamp(self.now):%Y-%m-%d %H:%M}Z"
        late = f", {self.late:,} rows late" if self.late else ""
        return f"Tail({len(self.entities):,} entities of {names}; version {self.version}{since}{late})"

    def update(self) -> int:
        """Take in what was committed since. Returns: how many rows that were."""
        taken = 0
        for update in self._feed():
            taken += self._take(update.rows)
            self.version = update.version
        return taken

    def panel(self, clock: Iterable[Any]) -> Mapping[str, Panel]:
        """Field -> (n_times, n_entities) as known at each time, of the rows taken in so far. NaN: not known, or null.

        Args:
            clock: (n_times,) ascending moments, none before the last one asked for.

        Known at: row t uses rows with known_time <= clock[t]. Raises: InputError.
        """
        times = lock(instants(clock, "clock"))
        if len(times) and times[0] < self.now:
            raise InputError(
                f"`clock` goes back to {pd.Timestamp(int(times[0]))}Z, but this tail was asked for "
                f"{pd.Timestamp(self.now)}Z and only goes on.\nFor earlier times use store.panel, or another tail."
            )
        panels = {name: np.empty((len(times), len(self.entities))) for name in self.fields}
        for j, name in enumerate(self.entities):
            one = self._one[name]
            shown = one.sweep(times)
            for field, panel in panels.items():
                panel[:, j] = np.where(shown < 0, np.nan, one.columns[field][shown])
        if len(times):
            self.now = int(times[-1])
        return {name: lock(panel) for name, panel in panels.items()}

    def _take(self, rows: pa.Table) -> int:
        rows = rows.filter(pc.is_in(rows["entity"], pa.array(self.entities, pa.string())))
        if rows.num_rows == 0:
            return 0
        columns = _columns(rows, self._keys, self.fields)
        self.late += int((columns["known"] <= self.now).sum())
        coded = rows["entity"].combine_chunks().dictionary_encode()
        codes = coded.indices.to_numpy()
        order = np.lexsort((columns["retracts"], columns["revision"], columns["known"], codes))
        ends = np.cumsum(np.bincount(codes))
        for name, part in zip(coded.dictionary.to_pylist(), np.split(order, ends[:-1]), strict=True):
            self._one[name].put({key: column[part] for key, column in columns.items()}, self.now)
        return int(rows.num_rows)


class _Entity:
    """The facts of one entity in sweep order, with room behind them, and its sweep."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.size = 0
        kinds: dict[str, Any] = {"known": np.int64, "revision": np.int64, "retracts": np.bool_, "event": np.int64}
        self.columns: Columns = {name: np.zeros(_ROOM, kind) for name, kind in kinds.items()}
        self.columns |= {name: np.zeros(_ROOM) for name in fields}
        self._keys: npt.NDArray[Any] | None = None
        self._events, self._n_periods = np.empty(0, np.int64), 0  # of the periods, ascending
        self._period, self._group = np.empty(0, np.int32), np.empty(0, np.int32)
        self._state = _begin(0, 0)

    def put(self, new: Columns, now: int) -> None:
        """Take in facts that are sorted among themselves; `now` is how far the sweep has gone."""
        begin, self.size = self.size, self.size + len(new["known"])
        for name, column in new.items():
            held = self.columns.setdefault(name, np.empty(0, column.dtype))
            if len(held) < self.size:
                held = np.concatenate([held[:begin], np.zeros(max(self.size, _ROOM), held.dtype)])
                self.columns[name] = held
            held[begin : self.size] = column
        if begin and "key" not in new and self._in_order(begin):
            self._number_on(begin)
        else:
            self._settle(now)

    def sweep(self, times: Nanos) -> npt.NDArray[np.int32]:
        """(n_times,) the fact current at each time, -1 where none is; the sweep goes on from its last time."""
        n, p = self.size, self._n_periods
        index = AsofFacts(
            start=lock(np.array([0, n])),
            known=lock(self.columns["known"][:n]),
            period=lock(self._period[:n]),
            retracts=lock(self.columns["retracts"][:n]),
            first=lock(np.array([0, p], np.int32)),
            event=lock(self._events[:p]),
            group=lock(self._group),
            owner=lock(np.zeros(p, np.int32)),
        )
        out = np.empty(len(times), np.int32)
        asof_rows_kernel(lock(np.zeros(len(times), np.int32)), times, index, -1, self._state, out)
        return out

    def _in_order(self, begin: int) -> bool:
        """Whether the facts from `begin` on come after the others, and concern known periods or newer ones."""
        known, revision, retracts, event = (
            self.columns[name][begin - 1 : self.size] for name in ("known", "revision", "retracts", "event")
        )
        if (known[0], revision[0], retracts[0]) > (known[1], revision[1], retracts[1]):
            return False
        held = self._events[: self._n_periods]
        newest = np.maximum.accumulate(np.concatenate([held[-1:], event[1:]]))[:-1]
        at = np.minimum(np.searchsorted(held, event[1:]), len(held) - 1)
        return bool(((held[at] == event[1:]) | (event[1:] >= newest)).all())

    def _number_on(self, begin: int) -> None:
        """Number the periods of facts that come in order, behind those there are."""
        event = self.columns["event"][begin : self.size]
        fresh = np.unique(event[event > self._events[self._n_periods - 1]])
        p, self._n_periods = self._n_periods, self._n_periods + len(fresh)
        state = self._state
        self._events = _longer(self._events, p, fresh)
        self._period = _longer(self._period, begin, np.searchsorted(self._events[: self._n_periods], event))
        top = _longer(state.top, p, np.full(len(fresh), -1))
        below = _longer(state.below, begin, np.full(len(event), -1))
        self._state = state._replace(top=top, below=below)

    def _settle(self, now: int) -> None:
        """Sort all facts, number their periods anew, and sweep again up to `now`."""
        held = {name: column[: self.size] for name, column in self.columns.items()}
        events, period, group = _numbered(held["event"], held.get("key"))
        order = np.lexsort((period, held["retracts"], held["revision"], held["known"]))
        for name, column in held.items():
            self.columns[name][: self.size] = column[order]
        self._events, self._n_periods, self._period, self._group = events, len(events), period[order], group
        self._state = _begin(len(events), self.size)
        self.sweep(lock(np.array([now])))


def _begin(n_periods: int, n_facts: int) -> AsofState:
    """The state before the first fact."""
    return AsofState(
        top=np.full(n_periods, -1, np.int32),
        below=np.full(n_facts, -1, np.int32),
        current=np.full(1, -1, np.int32),
        shown=np.full(1, -1, np.int32),
        cursor=np.zeros(1, np.int64),
    )


def _numbered(event: Nanos, key: npt.NDArray[Any] | None) -> tuple[Nanos, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The event time of each period, the period of each fact, and the groups of periods, as `AsofFacts` has them."""
    if key is None:
        events, period = np.unique(event, return_inverse=True)
        return events, period.astype(np.int32), np.empty(0, np.int32)
    pairs = list(zip(event.tolist(), key.tolist(), strict=True))
    ordered = sorted(set(pairs))
    number = {pair: k for k, pair in enumerate(ordered)}
    events = np.array([moment for moment, _ in ordered], np.int64)
    return events, np.array([number[p] for p in pairs], np.int32), np.searchsorted(events, events).astype(np.int32)


def _columns(rows: pa.Table, keys: Sequence[str], fields: Sequence[str]) -> Columns:
    found: Columns = {
        "known": rows["known_time"].cast(pa.int64()).to_numpy() * 1000,
        "event": rows["event_time"].cast(pa.int64()).to_numpy() * 1000,
        "revision": rows["revision"].to_numpy(),
        "retracts": pc.equal(rows["op"], "retract").to_numpy().astype(np.bool_),
    }
    if keys:
        texts = [pc.fill_null(rows[name].cast(pa.string()), "").to_pylist() for name in keys]
        found["key"] = np.array(["\0".join(parts) for parts in zip(*texts, strict=True)], dtype=object)
    for name in fields:
        found[name] = pc.fill_null(rows[name].cast(pa.float64()), np.nan).to_numpy()
    return found


def _longer(array: npt.NDArray[Any], size: int, more: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The first `size` values and `more` behind them, with room behind those."""
    total = size + len(more)
    if len(array) < total:
        array = np.concatenate([array[:size], np.full(max(total, _ROOM), -1, array.dtype)])
    array[size:total] = more
    return array
