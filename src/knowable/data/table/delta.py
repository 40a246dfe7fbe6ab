"""Changing and reading one Delta table: one transaction a commit, verified reads. The commit protocol is Delta's."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.table import opening
from knowable.data.table.files import Bounds, NewFile, read_file
from knowable.data.table.location import Location, sync_folder
from knowable.data.table.opening import FORMAT, LOG, current, entry_name, hold, said, state_after, successor
from knowable.data.table.state import NOTE_SUM, file_rows, sealed, state_of
from knowable.errors import ConflictError, StoreError

__all__ = [
    "Table",
    "all_known",
    "commit",
    "committed",
    "create_table",
    "evolve",
    "forget",
    "history",
    "is_table",
    "locked",
    "open_table",
    "scan",
    "scan_batches",
    "table_id",
]

# opening is a room of its own; who uses a table finds all of it here
Table = opening.Table
open_table = opening.open_table
table_id = opening.table_id
forget = opening.forget

_PROPERTIES = {
    # pinned versions must stay readable: Delta's default forgets log entries after 30 days
    "delta.appendOnly": "true",
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    # an opening and a commit read each entry since the last checkpoint: at 100, the default, they took twice as long
    "delta.checkpointInterval": "20",
    FORMAT[0]: FORMAT[1],
}
_ALL = 1 << 30
_REQUESTS = 8
_ALONE_BYTES = 8 << 20  # less is read before threads have started
_THREADS = min(4, os.cpu_count() or 1)
_IN_ORDER = [(name, "ascending") for name in ("min_entity", "max_entity", "min_event_time", "path")]
_SLACK_US = 999  # Delta lets writers cut the times in statistics to milliseconds


def create_table(
    location: Location, schema: pa.Schema, *, description: str = "", properties: Mapping[str, str] | None = None
) -> None:
    """Create an empty table, version 0; another process that does so at the same moment wins or loses as a whole.

    Raises: ConflictError if there is one; StoreError if the disk refuses.
    """
    import deltalake

    configuration = {**_PROPERTIES, **(properties or {})}
    columns = pa.schema(deltalake.Schema.from_arrow(schema).to_arrow())
    state = state_of(0, 0, columns, configuration)
    if is_table(location):
        raise ConflictError(f"There is a table in {location} already.")
    try:
        if location.path is not None:
            location.path.mkdir(parents=True, exist_ok=True)
        deltalake.DeltaTable.create(
            location.uri,
            schema,
            description=description,
            configuration=configuration,
            storage_options=location.options,
            raise_if_key_not_exists=False,
            commit_properties=deltalake.CommitProperties(
                custom_metadata=sealed({}, state, _now()), max_commit_retries=0
            ),
        )
        _sync(location, 0)
    except Exception as error:  # noqa: BLE001 - deltalake raises many kinds, some of them private
        if is_table(location):
            raise ConflictError(f"Another writer created a table in {location} at the same moment.") from None
        raise StoreError(f"No table could be created in {location}: {location.clean(error)}.") from None


def is_table(location: Location) -> bool:
    """Whether there is a Delta table."""
    return location.exists(f"{LOG}/{0:020d}.json")


def committed(table: Table, batch: str) -> bool:
    """Whether a commit with this batch id is in the table (or in a newer version of it)."""
    with table.lock:
        return current(table).transaction_version(batch) is not None


def commit(
    table: Table,
    new_files: Sequence[NewFile],
    *,
    batch: str,
    note: Mapping[str, str],
    remove: Sequence[str] = (),
) -> int:
    """Add files to a version, and take others away, in one transaction: the next version is there as a whole or not.

    Args:
        table: the newest version.
        new_files: written already.
        batch: id by which `committed` knows the commit.
        note: what `history` tells of it.
        remove: paths of files whose rows the new ones hold as well. Without them the new rows are data; with them they
            are a rearrangement, which other engines do not take for new data.

    Returns: the new version.

    Raises: ConflictError if the table has moved on: open it again, look at what is new, and repeat; StoreError if the
        disk refuses.
    """
    from deltalake import Transaction
    from deltalake.transaction import AddAction, RemoveAction

    after = successor(table, file_rows(new_files), remove)
    if after is None:
        raise ConflictError(f"A file to be removed is not in version {table.version} of {table.location}.")
    sizes = dict(zip(table.files["path"].to_pylist(), table.files["size"].to_pylist(), strict=True)) if remove else {}
    now = _now()
    fresh = not remove
    actions: list[Any] = [AddAction(file.path, file.size, {}, now, fresh, file.stats) for file in new_files]
    actions += [
        RemoveAction(path=path, deletion_timestamp=now, data_change=False, partition_values={}, size=sizes[path])
        for path in remove
    ]
    whole_note = sealed(note, state_after(after), now)
    said_with_it = _unrepeated(whole_note, [Transaction(batch, 1)])
    with table.lock:
        handle = _moved(table)
        with _landing(after, whole_note):
            handle.create_write_transaction(actions, "append", table.schema, commit_properties=said_with_it)
        _sync(after.location, after.version)
        hold(after)
    return after.version


def evolve(table: Table, add_columns: Sequence[pa.Field], properties: Mapping[str, str]) -> int:
    """Add columns, null in the rows that are there, and set properties; no row is rewritten.

    The columns come first, each step whole: if the process dies in between, the columns stay unmentioned, and
    repeating the call completes it.

    Returns: the new version. Raises: ConflictError, StoreError as `commit`.
    """
    import deltalake

    with table.lock:
        missing = [column for column in add_columns if column.name not in table.schema.names]
        if missing:
            new = pa.schema([column.with_nullable(True) for column in missing])
            whole = pa.schema([*table.schema, *pa.schema(deltalake.Schema.from_arrow(new).to_arrow())])
            fields = list(deltalake.Schema.from_arrow(new).fields)
            table = _altered(
                replace(table, version=table.version + 1, schema=whole, foreign=False),
                lambda alter, said: alter.add_columns(fields, commit_properties=said),
            )
        changed = {key: value for key, value in properties.items() if table.properties.get(key) != value}
        if changed:
            held = MappingProxyType({**table.properties, **changed})
            table = _altered(
                replace(table, version=table.version + 1, properties=held, foreign=False),
                lambda alter, said: alter.set_table_properties(
                    changed, raise_if_not_exists=False, commit_properties=said
                ),
            )
    return table.version


def history(table: Table) -> list[dict[str, Any]]:
    """What each commit said, newest first, from this version down: version, at (milliseconds), and its note.

    Raises: StoreError naming the entry of the log that is damaged.
    """
    found = []
    for version in range(table.version, -1, -1):
        note = said(table.location, version, table.name)
        found.append({**note, "version": version, "at": int(note.get("at", note.get("timestamp", 0)))})
    return found


def scan(
    table: Table,
    *,
    columns: Sequence[str] | None = None,
    entities: Sequence[str] | None = None,
    start: int | None = None,
    end: int | None = None,
    known_from: int | None = None,
    known_until: int | None = None,
    coded: bool = False,
) -> pa.Table:
    """Read the rows of a version; files, row groups and columns that are not needed are not read.

    Args:
        table: the version.
        columns: to read; all when None.
        entities: rows of these only.
        start: first event_time, int64 ns since 1970 UTC, as all bounds; both ends are included.
        end: last event_time.
        known_from: first known_time.
        known_until: last known_time.
        coded: give entity, op and known_basis as dictionaries, which is quicker and smaller.

    Returns: rows by file, files by entity; within a file sorted by entity, event_time, known_time and revision.

    Raises: StoreError naming a file that is absent or damaged.
    """
    target = _target(table, columns)
    bounds = _bounds(entities, start, end, known_from, known_until)
    chosen = list(_chosen(table, bounds))

    def read(file: tuple[str, int]) -> list[pa.Table]:
        return list(read_file(table.location, *file, target, bounds, coded=coded, groups=_ALL))

    if sum(size for _, size in chosen) > _ALONE_BYTES or (table.location.path is None and len(chosen) > 1):
        # an object store answers slowly, but many at once; of a local file one thread checks what another decodes
        with ThreadPoolExecutor(_REQUESTS if table.location.path is None else _THREADS) as pool:
            found = list(pool.map(read, chosen))
    else:
        found = [read(file) for file in chosen]
    parts = [part for some in found for part in some]
    if not parts:
        return _coded(target).empty_table() if coded else target.empty_table()
    whole = pa.concat_tables(parts)
    return whole.unify_dictionaries() if coded else whole


def scan_batches(
    table: Table,
    *,
    columns: Sequence[str] | None = None,
    entities: Sequence[str] | None = None,
    start: int | None = None,
    end: int | None = None,
    known_from: int | None = None,
    known_until: int | None = None,
) -> Iterator[pa.Table]:
    """`scan` in pieces of at most a row group (131,072 rows), so that memory does not grow with the table."""
    target = _target(table, columns)
    bounds = _bounds(entities, start, end, known_from, known_until)
    for path, size in _chosen(table, bounds):
        yield from read_file(table.location, path, size, target, bounds)


def all_known(table: Table, until: int) -> bool:
    """Whether every row was known by a moment, as the files state it; False where one does not.

    Args: table: the version; until: int64 ns since 1970 UTC.
    """
    newest = table.files["max_known_time"].cast(pa.int64())
    return not newest.null_count and bool(pc.all(pc.less_equal(newest, until // 1000 - _SLACK_US), min_count=0).as_py())


@contextlib.contextmanager
def locked(location: Location) -> Iterator[None]:
    """Hold the writers' lock of a local folder; the system frees it when its process dies.

    A courtesy: writers that wait for one another need not repeat their work. Without it (object stores, other systems,
    some network disks) commits that meet are found out all the same.
    """
    try:
        import fcntl
    except ImportError:  # pragma: no cover - not on POSIX
        yield
        return
    if location.path is None:
        yield
        return
    try:
        handle = (location.path / ".writers").open("ab")
    except OSError as error:
        raise StoreError(f"{location} cannot be written to: {error.strerror}.") from error
    with handle:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _moved(table: Table) -> Any:
    """The handle, at the table's version. Raises: ConflictError if it has moved on."""
    handle = current(table)
    if handle.version() != table.version:
        raise _lost(table.location)
    return handle


def _lost(location: Location) -> ConflictError:
    return ConflictError(
        f"Another writer changed {location} at the same moment. Nothing of this one is stored; repeat it."
    )


@contextlib.contextmanager
def _landing(after: Table, note: Mapping[str, str]) -> Iterator[None]:
    """Find out what became of a commit that raised: it may have landed (the checkpoint failed, an answer got lost)."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            raise
        location = after.location
        if location.exists(entry_name(after.version)):
            with contextlib.suppress(StoreError):
                if said(location, after.version, after.name).get(NOTE_SUM) == note[NOTE_SUM]:
                    return
            raise _lost(location) from None
        raise StoreError(
            f"Nothing was appended to {location}: {location.clean(error)}. The last version stays readable; repeat the "
            "append when the cause is mended (space, permissions)."
        ) from None


def _unrepeated(note: dict[str, str], transactions: Any = None) -> Any:
    """Properties of a commit that is not tried again by itself: whoever lost a race must look at the new rows first."""
    from deltalake import CommitProperties

    return CommitProperties(custom_metadata=note, max_commit_retries=0, app_transactions=transactions)


def _altered(after: Table, change: Any) -> Table:
    note = sealed({}, state_after(after), _now())
    handle = _moved(replace(after, version=after.version - 1))
    with _landing(after, note):
        change(handle.alter, _unrepeated(note))
    _sync(after.location, after.version)
    return hold(after)


def _sync(location: Location, version: int) -> None:
    """Make a commit survive a power cut; a checkpoint that came with it, too."""
    if location.path is None:
        return
    log = location.path / LOG
    beside = [f"{k:020d}.checkpoint.parquet" for k in (version, version - 1) if k >= 0]
    for path in (location.path / entry_name(version), *(log / name for name in (*beside, "_last_checkpoint"))):
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    sync_folder(log)


def _now() -> int:
    return int(time.time() * 1000)


def _target(table: Table, columns: Sequence[str] | None) -> pa.Schema:
    names = table.schema.names if columns is None else columns
    return pa.schema([table.schema.field(name) for name in names])


def _coded(target: pa.Schema) -> pa.Schema:
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([f.with_type(kind) if f.name in ("entity", "op", "known_basis") else f for f in target])


def _bounds(
    entities: Sequence[str] | None, start: int | None, end: int | None, known_from: int | None, known_until: int | None
) -> Bounds:
    """Bounds in the microseconds of the table: a first moment is rounded up, a last one down."""
    return Bounds(
        entities=None if entities is None else tuple(sorted(entities)),
        start=None if start is None else -(-start // 1000),
        end=None if end is None else end // 1000,
        known_from=None if known_from is None else -(-known_from // 1000),
        known_until=None if known_until is None else known_until // 1000,
    )


def _chosen(table: Table, bounds: Bounds) -> Iterator[tuple[str, int]]:
    """Files that may hold wanted rows; one that does not state its values is read."""
    files = table.files
    keep = pa.chunked_array([pa.repeat(True, files.num_rows)])
    for name, first, last in bounds.times():
        if first is not None:
            late = pc.greater_equal(files[f"max_{name}"].cast(pa.int64()), first - _SLACK_US)
            keep = pc.and_(keep, pc.fill_null(late, True))
        if last is not None:
            early = pc.less_equal(files[f"min_{name}"].cast(pa.int64()), last)
            keep = pc.and_(keep, pc.fill_null(early, True))
    files = files.filter(keep).sort_by(_IN_ORDER)
    low, high = (files[name].to_pylist() for name in ("min_entity", "max_entity"))
    for path, size, least, most in zip(files["path"].to_pylist(), files["size"].to_pylist(), low, high, strict=True):
        if bounds.may_hold({"entity": least}, {"entity": most}):
            yield unquote(path), size
