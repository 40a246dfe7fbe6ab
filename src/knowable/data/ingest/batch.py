"""`Batch`: a source in the store's own columns, before any row is judged."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.calendars import calendar as calendar_of
from knowable.data.ingest.cells import Numbers, Texts, parse_bools, parse_numbers, parse_texts, parse_whole
from knowable.data.ingest.source import Source
from knowable.data.schema import Schema
from knowable.data.times import DAY_NS, NO_TIME, TimeColumn, parse_times
from knowable.errors import DataError, InputError, shown, unknown_name

__all__ = ["Batch", "Known", "make_batch"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """How the rows of a batch came to be known: by a column, or by a declared instant or lag."""

    basis: str
    lag_ns: int | None = None
    instant_ns: int | None = None
    from_schema: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Columns of one source, aligned by row.

    Attributes:
        source: where the rows came from.
        vendor: our name of a column -> the vendor's.
        entity: (n_rows,) text, null where missing.
        event: event times as parsed.
        known: known times as parsed; `known.ns` is what is stored.
        revision: (n_rows,) int64.
        bad_revision: (n_rows,) the cell is no whole number.
        retract: (n_rows,) whether the row withdraws.
        bad_op: (n_rows,) the cell is neither assert nor retract.
        fields: numeric field -> its cells; a bool is 1.0 or 0.0.
        texts: string field -> its cells.
        moments: timestamp field -> its cells, in whole microseconds or marked by the rules.
        ignored: columns that are no field of the schema.
        basis: how the rows came to be known.
        how: the arguments of the append as JSON, so that a refused row can be read again the same way.
    """

    source: Source
    vendor: Mapping[str, str]
    entity: pa.Array
    event: TimeColumn
    known: TimeColumn
    revision: npt.NDArray[np.int64]
    bad_revision: Mask
    retract: Mask
    bad_op: Mask
    fields: Mapping[str, Numbers]
    texts: Mapping[str, Texts]
    moments: Mapping[str, TimeColumn]
    ignored: tuple[str, ...]
    basis: str
    how: str

    @property
    def n_rows(self) -> int:
        """Rows of the source."""
        return len(self.entity)


def make_batch(
    source: Source, schema: Schema, *, columns: Mapping[str, str] | None, tz: str | None, known: Known
) -> Batch:
    """Bring a source into the store's columns.

    Raises: DataError if a needed column is absent, a name is nearly right, or times have no zone.
    """
    where = f" of {source.file}" if source.file else ""
    theirs = _renamed(source.table, columns, where)
    table = source.table.rename_columns(theirs)
    ignored = _check_columns(table.column_names, schema, known, where)
    session = calendar_of(schema.calendar) if schema.calendar is not None else None
    event = parse_times(
        table["event_time"], name="event_time", tz=tz, sessions=session, opens=schema.labels_open, where=where
    )
    if table.num_rows and (event.unreadable | event.missing).all():
        raise DataError(
            f"`event_time` is no time in any row{where}; row 0 is {shown(table['event_time'][0].as_py())}.\n"
            "Use ISO 8601 (2016-03-01 or 2016-03-01T21:00:00Z), or convert first with pd.to_datetime."
        )
    revision, bad_revision = _revisions(table)
    retract, bad_op = _ops(table)
    fields, texts, moments = _fields(table, schema, tz, where)
    return Batch(
        source=source,
        vendor=dict(zip(theirs, source.table.column_names, strict=True)),
        entity=_entities(table["entity"], where),
        event=event,
        known=_known(table, event, known, tz, where),
        revision=revision,
        bad_revision=bad_revision,
        retract=retract,
        bad_op=bad_op,
        fields=fields,
        texts=texts,
        moments=moments,
        ignored=ignored,
        basis=known.basis,
        how=_how(columns, tz, known),
    )


def _how(columns: Mapping[str, str] | None, tz: str | None, known: Known) -> str:
    page: dict[str, object] = {"columns": columns and dict(columns), "tz": tz, "known_basis": known.basis}
    if known.lag_ns is not None:
        page["known_lag"] = f"{known.lag_ns}ns"
    if known.instant_ns is not None:
        page["known_time"] = known.instant_ns
    return json.dumps(page, ensure_ascii=False)


def _renamed(table: pa.Table, columns: Mapping[str, str] | None, where: str) -> list[str]:
    mapping = dict(columns or {})
    for vendor in mapping:
        if vendor not in table.column_names:
            raise unknown_name("column", vendor, table.column_names, where=f"`columns`{where}")
    taken = set(mapping.values())
    if len(taken) < len(mapping):
        twice = next(name for name in taken if list(mapping.values()).count(name) > 1)
        raise InputError(f"`columns` maps two columns to {twice!r}; each name once.")
    # a column of our name that the mapping fills from elsewhere steps aside
    return [mapping.get(name, f"{name} (unmapped)" if name in taken else name) for name in table.column_names]


def _check_columns(names: list[str], schema: Schema, known: Known, where: str) -> tuple[str, ...]:
    needed = ["entity", "event_time", *schema.keys, *(["close"] if schema.kind == "bars" else [])]
    declared = known.lag_ns is not None or known.instant_ns is not None
    ours = {"entity", "event_time", "known_time", "revision", "op", *schema.fields}
    extra = [name for name in names if name not in ours]
    absent = [name for name in [*needed, "known_time", *schema.fields] if name not in names]
    for name in extra:
        near = difflib.get_close_matches(name.lower(), absent, n=1, cutoff=0.8)
        if near:
            raise DataError(
                f"Unknown column {name!r}{where}. Did you mean {near[0]!r}? Map it: columns={{{name!r}: {near[0]!r}}}."
            )
    for name in needed:
        if name not in names:
            raise DataError(
                f"Column `{name}` is missing{where}; columns are {shown(names, 160)}.\n"
                f"Map the vendor's name to it: columns={{'...': '{name}'}}."
            )
    if "known_time" not in names and not declared:
        raise DataError(
            f"Column `known_time` is missing{where}, so nothing says when these values could first be known.\n"
            "Map the vendor's column to it, or declare an assumed lag: known_lag='1d'."
        )
    if "known_time" in names and declared:
        raise InputError(
            f"There is a `known_time` column{where} and a declared known_lag= or known_time= as well; give one of them."
        )
    values = [name for name in schema.fields if name not in schema.keys]
    if schema.kind in ("bars", "facts") and not any(name in names for name in values):
        raise DataError(f"No column{where} is a field of the schema ({', '.join(values)}).")
    return tuple(extra)


def _entities(column: pa.ChunkedArray, where: str) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if not (pa.types.is_integer(kind) or "string" in str(kind) or pa.types.is_null(kind)):
        raise DataError(f"`entity` must hold names, but its type is {kind}{where}.")
    return pa.chunked_array(column.cast(pa.string()).chunks, pa.string()).combine_chunks()


def _known(table: pa.Table, event: TimeColumn, known: Known, tz: str | None, where: str) -> TimeColumn:
    if "known_time" in table.column_names:
        found = parse_times(
            table["known_time"], name="known_time", tz=tz, sessions=None, time_of_day=DAY_NS, where=where
        )
        return _up_to_microseconds(found)
    none = np.zeros(len(event.ns), dtype=bool)
    if known.instant_ns is not None:
        ns = np.full(len(event.ns), known.instant_ns)
    else:
        ns = np.where(event.ns == NO_TIME, NO_TIME, event.ns + (known.lag_ns or 0))
    return _up_to_microseconds(TimeColumn(ns=ns, missing=none, unreadable=none, no_session=none, dates=False))


def _up_to_microseconds(column: TimeColumn) -> TimeColumn:
    """The table keeps microseconds; a known time is rounded up, never down, so nothing is known early."""
    ns: Nanos = np.where(column.ns == NO_TIME, NO_TIME, -(-column.ns // 1000) * 1000)
    return TimeColumn(
        ns=ns, missing=column.missing, unreadable=column.unreadable, no_session=column.no_session, dates=column.dates
    )


def _fields(
    table: pa.Table, schema: Schema, tz: str | None, where: str
) -> tuple[dict[str, Numbers], dict[str, Texts], dict[str, TimeColumn]]:
    """The columns of the schema that hold anything, each parsed by its type; keys always."""
    fields: dict[str, Numbers] = {}
    texts: dict[str, Texts] = {}
    moments: dict[str, TimeColumn] = {}
    for name, held in schema.fields.items():
        if name not in table.column_names or (table[name].null_count == table.num_rows and name not in schema.keys):
            continue
        column = table[name]
        if held.dtype == "string":
            texts[name] = parse_texts(column, name, where)
        elif held.dtype == "timestamp":
            days = schema.calendar if name == "end" and schema.kind == "intervals" else None
            sessions = calendar_of(days) if days is not None else None
            moments[name] = parse_times(column, name=name, tz=tz, sessions=sessions, opens=True, where=where)
        else:
            parse = {"int64": parse_whole, "bool": parse_bools}.get(held.dtype, parse_numbers)
            fields[name] = parse(column, name, where)
    return fields, texts, moments


def _revisions(table: pa.Table) -> tuple[npt.NDArray[np.int64], Mask]:
    if "revision" not in table.column_names:
        return np.zeros(table.num_rows, np.int64), np.zeros(table.num_rows, dtype=bool)
    found = parse_whole(table["revision"], "revision", "")
    bad = found.unreadable | found.not_finite | (False if found.not_whole is None else found.not_whole)
    return np.where(bad | np.isnan(found.cells), 0.0, found.cells).astype(np.int64), bad


def _ops(table: pa.Table) -> tuple[Mask, Mask]:
    if "op" not in table.column_names:
        none = np.zeros(table.num_rows, dtype=bool)
        return none, none
    texts = pc.fill_null(table["op"].cast(pa.string()), "assert")
    retract = pc.equal(texts, "retract").to_numpy(zero_copy_only=False).astype(bool)
    known = pc.is_in(texts, pa.array(["assert", "retract"])).to_numpy(zero_copy_only=False).astype(bool)
    return retract, ~known
