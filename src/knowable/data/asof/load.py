"""From a table to facts: small tables are held whole, of large ones only what a call asks for is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.asof.facts import Facts, make_facts
from knowable.data.asof.memory import Memory
from knowable.data.schema import Schema
from knowable.data.table import delta
from knowable.errors import InputError, shown, unknown_name

__all__ = ["Wanted", "entities_of", "groups", "is_small", "load", "only_keys", "whole"]

WHOLE_BYTES = 96 * 2**20  # a table this small is read once and answers every later call from memory
GROUP_ROWS = 12_000_000  # rows in memory at a time where a panel is built; about 1 GB
_MANY_FILES = 32
_SWEEP = ("entity", "event_time", "known_time", "revision", "op")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a call needs of a table; None means all.

    Attributes:
        columns: beside those that every sweep needs.
        numbers: fields wanted as arrays alone; not in `columns`.
        entities: rows of these.
        start: first event_time, int64 ns UTC, included. Only where periods are answered apart from each other.
        end: last event_time.
        known_until: last known_time. What became known later never changes an answer before.
        keys: (key field, value) pairs that rows must have.
    """

    columns: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    entities: tuple[str, ...] | None = None
    start: int | None = None
    end: int | None = None
    known_until: int | None = None
    keys: tuple[tuple[str, str], ...] = ()


def load(memory: Memory, table: Any, schema: Schema, wanted: Wanted) -> Facts:
    """Facts that hold what is wanted, and maybe more: whoever asks picks entities, span and moment again."""
    if not wanted.keys and is_small(table, schema) and not _spares_files(table, wanted):
        return memory.get((table.id, table.version), lambda: whole(table, schema))
    if wanted.known_until is not None and delta.all_known(table, wanted.known_until):
        wanted = replace(wanted, known_until=None)  # the same facts answer every later moment
    return memory.get((table.id, table.version, wanted), lambda: _part(table, schema, wanted))


def is_small(table: Any, schema: Schema) -> bool:
    """Whether a table is held whole."""
    return int(table.n_rows) * 8 * (len(schema.fields) + 6) <= WHOLE_BYTES


def whole(table: Any, schema: Schema) -> Facts:
    """All facts of a table with all their columns."""
    return make_facts(delta.scan(table, coded=True), keys=schema.keys)


def entities_of(table: Any) -> tuple[str, ...]:
    """Names of all entities of a table, sorted."""
    return tuple(sorted(delta.scan(table, columns=["entity"], coded=True)["entity"].unique().to_pylist()))


def groups(table: Any, names: Sequence[str], n_entities: int, rows: int | None = None) -> Iterator[list[str]]:
    """Cut names into groups whose rows fit into memory, taking entities to be of one size.

    Args:
        table: the version.
        names: of entities.
        n_entities: of the table.
        rows: of a group, about; what a sweep may hold when None.
    """
    each = max(1, (GROUP_ROWS if rows is None else rows) * max(n_entities, 1) // max(table.n_rows, 1))
    for k in range(0, len(names), each):
        yield list(names[k : k + each])


def only_keys(schema: Schema, keys: Mapping[str, str] | None, name: str) -> tuple[tuple[str, str], ...]:
    """Check a choice of keys, such as ``{"form": "10-K"}``. Raises: InputError, UnknownNameError."""
    if keys is None:
        return ()
    if not isinstance(keys, Mapping):
        raise InputError(f"`keys` maps key fields to values, such as {{'form': '10-K'}}, but it is {shown(keys)}.")
    for key, value in keys.items():
        if key not in schema.keys:
            raise unknown_name("key", key, schema.keys, where=f"dataset {name!r}")
        if not isinstance(value, str):
            raise InputError(f"Key {key!r} must be text, but keys[{key!r}]={shown(value)}.")
    return tuple(sorted(keys.items()))


def _spares_files(table: Any, wanted: Wanted) -> bool:
    """Whether a span of event time needs few of many files, as the newest bars of a live tail do."""
    if table.files.num_rows < _MANY_FILES or (wanted.start is None and wanted.end is None):
        return False
    first, last = (table.files[name].cast(pa.int64()) for name in ("min_event_time", "max_event_time"))
    after = True if wanted.start is None else pc.greater_equal(last, wanted.start // 1000)
    before = True if wanted.end is None else pc.less_equal(first, wanted.end // 1000)
    needed = pc.sum(pc.fill_null(pc.and_(after, before), True)).as_py()
    return bool(4 * needed <= table.files.num_rows)


def _part(table: Any, schema: Schema, wanted: Wanted) -> Facts:
    names = dict.fromkeys((*_SWEEP, *schema.keys, *wanted.numbers, *wanted.columns))
    rows: pa.Table = delta.scan(
        table,
        columns=list(names),
        entities=wanted.entities,
        start=wanted.start,
        end=wanted.end,
        known_until=wanted.known_until,
        coded=True,
    )
    for key, value in wanted.keys:
        rows = rows.filter(pc.equal(rows[key], value))
    return make_facts(rows, keys=schema.keys, numbers=wanted.numbers, columns=wanted.columns)
