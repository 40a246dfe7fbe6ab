"""`Batch`: a source in the store's own columns, before any row is judged."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Calendar, Nanos
from knowable.calendars import calendar as calendar_of
from knowable.data.arrays import one_array
from knowable.data.corporate.identity import Names
from knowable.data.feeds import check_zone, time_of_day
from knowable.data.ingest.cells import Numbers, Texts, parse_bools, parse_numbers, parse_texts, parse_whole
from knowable.data.ingest.source import Source
from knowable.data.schema import PRICES, Schema
from knowable.data.times import DAY_NS, NO_TIME, Habit, TimeColumn, common_habit, parse_times
from knowable.errors import DataError, InputError, UnknownNameError, shown, unknown_name

__all__ = ["Batch", "Habits", "Known", "common_habits", "known_of", "make_batch", "no_times", "read_how"]

Mask = npt.NDArray[np.bool_]
_ZEROS = np.zeros(1 << 18, np.int64)
_ZEROS.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """How the rows of a batch came to be known.

    Attributes:
        basis: one of `BASES`.
        lag_ns: declared lag after event_time, where no column says when.
        instant_ns: declared moment of all rows, where no column says when.
        at: wall-clock ns after midnight, and zone, that the dates of the known_time column mean.
        from_schema: whether the lag is the schema's, which gives way to a column.
        given: whether the append itself says the basis.
    """

    basis: str
    lag_ns: int | None = None
    instant_ns: int | None = None
    at: tuple[int, str] | None = None
    from_schema: bool = False
    given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What only all rows of a file tell; its stretches are judged alike where they are told it.

    Attributes:
        times: column of times -> how it writes them.
        held: fields of bars that have a value somewhere, so that a bar without one lacks it.
    """

    times: Mapping[str, Habit]
    held: frozenset[str]

    def fits(self, stretch: Habits) -> bool:
        """Whether a stretch that was judged by its own habits is judged right."""
        return (
            stretch.held == self.held
            and stretch.times.keys() == self.times.keys()
            and all(
                found.midnights == held.midnights
                and (found.zoned is None or (found.zoned, found.timed) == (held.zoned, held.timed))
                for found, held in ((found, self.times[name]) for name, found in stretch.times.items())
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Columns of one source, aligned by row.

    Attributes:
        source: where the rows came from.
        vendor: our name of a column -> the vendor's.
        entity: (n_rows,) text as codes of a dictionary, null where missing.
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
        habits: what these rows alone tell of their file.
        how: the arguments of the append as JSON, so that a refused row can be read again the same way.
        lost: rule -> (n_rows,) rows whose entity is a name that is nobody's, or several entities'.
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
    habits: Habits
    lost: Mapping[str, Mask] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows of the source."""
        return len(self.entity)


def make_batch(
    source: Source,
    schema: Schema,
    *,
    columns: Mapping[str, str] | None,
    tz: str | None,
    known: Known,
    stretch: bool = False,
    habits: Habits | None = None,
    names: Names | None = None,
) -> Batch:
    """Bring a source into the store's columns.

    Args:
        source: rows as they came.
        schema: of the dataset.
        columns: the vendor's column -> ours.
        tz: zone of times that name none.
        known: how the rows came to be known.
        stretch: whether it is a part of a file; what is wrong with all its rows may be right of the file.
        habits: of the file, where they are known.
        names: who bore which name when, where the rows name their entities by those; an entity is then who bore the
            name at the row's event time.

    Raises: DataError if a needed column is absent, a name is nearly right, or times have no zone.
    """
    where = f" of {source.file}" if source.file else ""
    theirs = _renamed(source.table, columns, schema, where)
    table = source.table.rename_columns(theirs)
    ignored = _check_columns(table.column_names, schema, known, where)
    if source.lines is None:  # lines of text were decoded when they were cut
        _check_texts(source, where)
    session = calendar_of(schema.calendar) if schema.calendar is not None else None
    told = {} if habits is None else habits.times

    def times(
        name: str, sessions: Calendar | None, *, opens: bool = False, at: tuple[int, str | None] = (0, tz)
    ) -> TimeColumn:
        return parse_times(
            table[name],
            name=name,
            tz=at[1],
            sessions=sessions,
            where=where,
            opens=opens,
            time_of_day=at[0],
            habit=told.get(name),
            first_row=source.first_row,
        )

    event = times("event_time", session, opens=schema.labels_open)
    if table.num_rows and not stretch and (event.unreadable | event.missing).all():
        raise no_times(source.file, table["event_time"][0].as_py())
    revision, bad_revision = _revisions(table)
    retract, bad_op = _ops(table)
    fields, texts, moments = _fields(table, schema, where, None if habits is None else habits.held, times)
    known_times, basis = _known(table, event, known, schema, tz=tz, times=times, where=where)
    columns_of_times = {"event_time": event, "known_time": known_times, **moments}
    own = Habits(
        times={name: column.habit for name, column in columns_of_times.items()},
        held=frozenset(name for name in fields if _counts(name, schema) and table[name].null_count < table.num_rows),
    )
    entity, lost = _entities(table["entity"], where), {}
    if names is not None:
        mapped = names.mapped(entity, event.ns)
        entity, lost = mapped.entity, {"unknown_identifier": mapped.unknown, "ambiguous_identifier": mapped.ambiguous}
    return Batch(
        source=source,
        vendor=dict(zip(theirs, source.table.column_names, strict=True)),
        entity=entity,
        event=event,
        known=known_times,
        revision=revision,
        bad_revision=bad_revision,
        retract=retract,
        bad_op=bad_op,
        fields=fields,
        texts=texts,
        moments=moments,
        ignored=ignored,
        basis=basis,
        how=_how(columns, tz, known, own if habits is None else habits, names),
        habits=own,
        lost=lost,
    )


def no_times(file: str | None, cell: object) -> DataError:
    """The error for a source none of whose event times can be read; `cell` is the first."""
    where = f" of {file}" if file else ""
    return DataError(
        f"`event_time` is no time in any row{where}; row 0 is {shown(cell)}.\n"
        "Use ISO 8601 (2016-03-01 or 2016-03-01T21:00:00Z), or convert first with pd.to_datetime."
    )


def known_of(source: Source, schema: Schema, columns: Mapping[str, str] | None, known: Known) -> Known:
    """How the rows of one source came to be known: the schema's lag is for those that state no time."""
    stated = {*source.table.column_names, *(columns or {}).values()}
    if "known_time" in stated and known.lag_ns is not None and known.from_schema:
        return replace(known, lag_ns=None, basis=known.basis if known.given else schema.known_basis)
    return known


def common_habits(stretches: Sequence[Habits]) -> Habits:
    """The habits of a file from those of its stretches, in order."""
    names = dict.fromkeys(name for item in stretches for name in item.times)
    return Habits(
        times={name: common_habit(item.times[name] for item in stretches if name in item.times) for name in names},
        held=frozenset(name for item in stretches for name in item.held),
    )


def _counts(name: str, schema: Schema) -> bool:
    """Whether it matters that a field is absent from a whole file."""
    return schema.kind == "bars" and (name == "close" or (name in (*PRICES, "volume") and not schema.partial))


def _how(columns: Mapping[str, str] | None, tz: str | None, known: Known, habits: Habits, names: Names | None) -> str:
    """All that reading one of the rows again the same way needs, as JSON."""
    page: dict[str, object] = {"columns": dict(columns or {}), "tz": tz, "known": asdict(known)}
    page["midnights"] = {name: habit.midnights for name, habit in sorted(habits.times.items())}
    page["held"] = sorted(habits.held)
    if names is not None:
        page["identifiers"] = names.dataset
    return json.dumps(page, ensure_ascii=False)


def read_how(page: str | None) -> tuple[dict[str, str], str | None, Known | None, Habits]:
    """(columns, tz, known, habits) from the `how` of a refused row; a row without one is in our own columns."""
    held = json.loads(page or "{}")
    known = held.get("known")
    if known is not None:
        known = Known(**{**known, "at": tuple(known["at"]) if known["at"] else None})
    # whether times have a zone may change in mending; whether midnights are dates is told by all rows of the file
    times = {name: Habit(zoned=None, midnights=dates) for name, dates in held.get("midnights", {}).items()}
    return held.get("columns", {}), held.get("tz"), known, Habits(times=times, held=frozenset(held.get("held", ())))


def _renamed(table: pa.Table, columns: Mapping[str, str] | None, schema: Schema, where: str) -> list[str]:
    mapping = dict(columns or {})
    for vendor in mapping:
        if vendor not in table.column_names:
            error = unknown_name("column", vendor, table.column_names, where=f"`columns`{where}")
            if mapping != schema.columns:
                raise error
            raise UnknownNameError(
                f"{error}\nThe schema declares `columns`; where the columns bear our own names, say columns={{}}."
            )
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
                f"Column `{name}`{where} is missing; columns are {shown(names, 160)}.\n"
                f"Map the vendor's name to it: columns={{'...': '{name}'}}."
            )
    if "known_time" not in names and not declared:
        raise DataError(
            f"Column `known_time`{where} is missing, so nothing says when these values could first be known.\n"
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


def _check_texts(source: Source, where: str) -> None:
    """Raises: DataError naming the first text that is no UTF-8, or zone that is none; other engines write what they are
    given.
    """
    for name, column in zip(source.table.column_names, source.table.columns, strict=True):
        if pa.types.is_timestamp(column.type) and column.type.tz is not None:
            try:
                check_zone(column.type.tz, name)
            except InputError as error:
                raise DataError(f"Column {name!r}{where} has times of no time zone: {column.type.tz!r}.") from error
        row = source.first_row
        for chunk in column.chunks:
            try:
                chunk.validate(full=True)
            except pa.ArrowInvalid as error:
                bad = next(k for k in range(len(chunk)) if not _decodes(chunk[k]))
                raise DataError(
                    f"Column {name!r}{where} has text that is no UTF-8: row {row + bad}.\n"
                    "Write it again from the source as UTF-8; which characters are meant cannot be told from here."
                ) from error
            row += len(chunk)


def _decodes(cell: pa.Scalar) -> bool:
    try:
        cell.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _entities(column: pa.ChunkedArray, where: str) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        whole = all(chunk.dictionary.null_count == 0 for chunk in column.chunks)
        column = column.cast(pa.dictionary(pa.int32(), kind) if whole else kind)
    if not (pa.types.is_integer(kind) or "string" in str(kind) or pa.types.is_null(kind)):
        raise DataError(f"`entity` must hold names, but its type is {kind}{where}.")
    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(kind):
        column = column.cast(pa.string()).dictionary_encode()
    return one_array(column)


def _known(
    table: pa.Table,
    event: TimeColumn,
    known: Known,
    schema: Schema,
    *,
    tz: str | None,
    times: Callable[..., TimeColumn],
    where: str,
) -> tuple[TimeColumn, str]:
    """When each row could first be known, as its column says or as was declared; and how that came about."""
    if "known_time" in table.column_names:
        if known.at is None:
            return _up_to_microseconds(times("known_time", None, at=(DAY_NS, tz))), known.basis
        found = times("known_time", None, at=known.at)
        if not found.times:
            by_date = "vendor" if known.basis == "observed" and not known.given else known.basis
            return replace(_up_to_microseconds(found), dates=False), by_date  # what they mean was said: no remark
        if schema.known_at is None or time_of_day(schema.known_at) != known.at:
            raise InputError(
                f"known_at= gives dates of publication a time of day, but `known_time`{where} has times of its own."
            )
        # what the schema says of dates is no matter where times are stated
        return _up_to_microseconds(times("known_time", None, at=(DAY_NS, tz))), known.basis
    none = np.zeros(len(event.ns), dtype=bool)
    if known.instant_ns is not None:
        ns = np.full(len(event.ns), known.instant_ns)
    else:
        ns = np.where(event.ns == NO_TIME, NO_TIME, event.ns + (known.lag_ns or 0))
    lagged = TimeColumn(ns=ns, missing=none, unreadable=none, no_session=none, dates=False)
    return _up_to_microseconds(lagged), known.basis


def _up_to_microseconds(column: TimeColumn) -> TimeColumn:
    """The table keeps microseconds; a known time is rounded up, never down, so nothing is known early."""
    if column.micros is not None:
        return column
    ns: Nanos = -(-column.ns // 1000) * 1000
    ns[column.ns == NO_TIME] = NO_TIME
    return replace(column, ns=ns)


def _fields(
    table: pa.Table, schema: Schema, where: str, told: frozenset[str] | None, times: Callable[..., TimeColumn]
) -> tuple[dict[str, Numbers], dict[str, Texts], dict[str, TimeColumn]]:
    """The columns of the schema that hold anything, each parsed by its type; keys always."""
    fields: dict[str, Numbers] = {}
    texts: dict[str, Texts] = {}
    moments: dict[str, TimeColumn] = {}
    for name, held in schema.fields.items():
        if name not in table.column_names:
            continue
        if table[name].null_count == table.num_rows and name not in schema.keys and name not in (told or ()):
            continue
        column = table[name]
        if held.dtype == "string":
            texts[name] = parse_texts(column, name, where)
        elif held.dtype == "timestamp":
            days = schema.calendar if name == "end" and schema.kind == "intervals" else None
            sessions = calendar_of(days) if days is not None else None
            moments[name] = times(name, sessions, opens=True)
        else:
            parse = {"int64": parse_whole, "bool": parse_bools}.get(held.dtype, parse_numbers)
            fields[name] = parse(column, name, where)
    return fields, texts, moments


def _revisions(table: pa.Table) -> tuple[npt.NDArray[np.int64], Mask]:
    if "revision" not in table.column_names:
        return _zeros(table.num_rows), np.zeros(table.num_rows, dtype=bool)
    found = parse_whole(table["revision"], "revision", "")
    bad = found.unreadable | found.not_finite | (False if found.not_whole is None else found.not_whole)
    return np.where(bad | np.isnan(found.cells), 0.0, found.cells).astype(np.int64), bad


def _zeros(n_rows: int) -> npt.NDArray[np.int64]:
    """Read-only; columns share their memory."""
    return _ZEROS[:n_rows] if n_rows <= len(_ZEROS) else np.zeros(n_rows, np.int64)


def _ops(table: pa.Table) -> tuple[Mask, Mask]:
    if "op" not in table.column_names:
        none = np.zeros(table.num_rows, dtype=bool)
        return none, none
    texts = pc.fill_null(table["op"].cast(pa.string()), "assert")
    retract = pc.equal(texts, "retract").to_numpy(zero_copy_only=False).astype(bool)
    known = pc.is_in(texts, pa.array(["assert", "retract"])).to_numpy(zero_copy_only=False).astype(bool)
    return retract, ~known
