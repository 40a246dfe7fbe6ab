"""`Members`: intervals of membership in memory, and who was known to be a member at each moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.asof.facts import Facts
from knowable.data.schema import Schema
from knowable.errors import InputError, shown, unknown_name
from knowable.kernels.universe import IntervalState, intervals_kernel

__all__ = ["Flags", "Members", "key_names", "make_members"]

Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])
OPEN = np.iinfo(np.int64).max  # the end of an interval that has none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Members:
    """Intervals sorted by (known_time, revision, asserts before retractions).

    Attributes:
        entities: sorted names of the dataset.
        names: those with an interval of this key, sorted.
        owner: (n_periods,) int32 entity of each period, a period being one (entity, start, keys).
        known: (n_facts,) int64 ns UTC.
        period: (n_facts,) int32.
        retracts: (n_facts,) bool.
        start: (n_facts,) int64 ns UTC.
        end: (n_facts,) int64 ns UTC, excluded; the largest int64 while open.
    """

    entities: tuple[str, ...]
    names: tuple[str, ...]
    owner: Codes
    known: Nanos
    period: Codes
    retracts: Flags
    start: Nanos
    end: Nanos

    def begin(self, n_columns: int) -> IntervalState:
        """The state before the first moment."""
        return IntervalState(
            top=np.full(len(self.owner), -1, np.int32),
            below=np.full(len(self.known), -1, np.int32),
            holds=np.zeros(len(self.owner), np.bool_),
            held=np.zeros(n_columns, np.int32),
            cursor=np.zeros(2, np.int64),
        )

    def edges(self) -> tuple[Nanos, Codes]:
        """Starts and ends of every interval ever asserted, by time, and the fact of each."""
        asserts = np.flatnonzero(~self.retracts).astype(np.int32)
        times = np.concatenate([self.start[asserts], self.end[asserts]])
        facts = np.concatenate([asserts, asserts])
        order = np.argsort(times, kind="stable")
        order = order[times[order] < OPEN]
        return _lock(times[order]), _lock(facts[order])

    def panel(self, clock: Nanos, names: Sequence[str]) -> Flags:
        """(n_times, n_names) bool, read-only: whether each is a member at each time, as known then.

        Args:
            clock: (n_times,) int64 ns UTC, ascending.
            names: columns; a name without intervals is never a member.
        """
        place = {name: j for j, name in enumerate(names)}
        column = np.array([place.get(name, -1) for name in self.entities], dtype=np.int32)[self.owner]
        out = np.empty((len(clock), len(names)), np.bool_)
        intervals_kernel(
            _lock(np.array(clock, dtype=np.int64)),
            self.known,
            self.period,
            self.retracts,
            self.start,
            self.end,
            _lock(column),
            *self.edges(),
            self.begin(len(names)),
            out,
        )
        return _lock(out)


def make_members(facts: Facts, schema: Schema, key: object, name: str) -> Members:
    """The intervals of one dataset version, of one key.

    Args:
        facts: the dataset in memory.
        schema: of kind intervals.
        key: see `check_key`.
        name: of the dataset, for messages.

    Raises: InputError if the dataset holds something else, or a key is needed; UnknownNameError for a key it lacks.
    """
    if schema.kind != "intervals":
        raise InputError(
            f"Members are read from a dataset of intervals, but {name!r} holds {schema.kind}.\n"
            "Make one: store.create(name, Schema.intervals(keys=('index',)))."
        )
    rows = facts.take(np.arange(facts.n_facts), ["end", *schema.keys])
    chosen = _of_key(rows, schema.keys, key, name)
    known, period = facts.known[chosen], facts.period[chosen]
    order = np.argsort(known, kind="stable")  # an entity's facts are in the order of the sweep already
    ends = pc.fill_null(rows["end"].cast(pa.int64()), OPEN // 1000).to_numpy()[chosen]
    return Members(
        entities=facts.entities,
        names=tuple(facts.entities[k] for k in np.unique(facts.owner[period])),
        owner=facts.owner,
        known=_lock(known[order]),
        period=_lock(period[order]),
        retracts=_lock(facts.retracts[chosen][order]),
        start=_lock(facts.event[chosen][order]),
        end=_lock(np.where(ends < OPEN // 1000, ends * 1000, OPEN)[order]),
    )


def key_names(key: object, keys: tuple[str, ...], name: str) -> dict[str, str]:
    """What a user's `key` says: a text for a dataset with one key, or a mapping key field -> text.

    Raises: InputError, UnknownNameError.
    """
    if key is None:
        return {}
    if isinstance(key, str):
        if len(keys) != 1:
            held = f"the keys {', '.join(keys)}" if keys else "no keys"
            raise InputError(
                f"`key` is the text {shown(key)}, but dataset {name!r} has {held}"
                + ("; write key={" + f"{keys[0]!r}: {key!r}" + "}." if keys else "; leave it out.")
            )
        return {keys[0]: key}
    if not isinstance(key, Mapping) or not all(isinstance(value, str) for value in key.values()):
        raise InputError(f"`key` must be a text, or map key fields to texts, but it is {shown(key)}.")
    for field in key:
        if field not in keys:
            raise unknown_name("key", field, keys, where=f"dataset {name!r}")
    return dict(key)


def _of_key(rows: pa.Table, keys: tuple[str, ...], key: object, name: str) -> npt.NDArray[np.intp]:
    """Rows of one value of each key."""
    wanted = key_names(key, keys, name)
    chosen = np.ones(rows.num_rows, np.bool_)
    for field in keys:
        held = rows[field].unique().to_pylist()
        if field not in wanted:
            if len(held) > 1:
                one = min(map(str, held))
                raise InputError(
                    f"Dataset {name!r} holds {len(held)} values of {field!r}: {shown(sorted(map(str, held)), 100)}.\n"
                    f"Say which is meant: key={repr(one) if len(keys) == 1 else {field: one}}."
                )
            continue
        if wanted[field] not in held:
            raise unknown_name(field, wanted[field], held, where=f"dataset {name!r}")
        chosen &= pc.equal(rows[field], wanted[field]).to_numpy().astype(np.bool_)
    return np.flatnonzero(chosen)


def _lock(array: _Array) -> _Array:
    array.flags.writeable = False
    return array
