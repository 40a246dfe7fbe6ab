"""One Delta table: content-named files, one transaction an append, verified reads. The commit protocol is Delta's.

A data file is named by the SHA-256 of its bytes, so a flipped bit is found when the file is read, and the table
stays an ordinary Delta table that any engine reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knowable.errors import ConflictError, StoreError

__all__ = ["commit", "committed", "create_table", "load", "locked", "open_table", "table_id"]

# Pinned versions must stay readable: Delta's default forgets log entries after 30 days.
_FOREVER = {
    "delta.appendOnly": "true",
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


def create_table(folder: Path, schema: pa.Schema, description: str) -> None:
    """Create an empty table, version 0."""
    import deltalake

    deltalake.DeltaTable.create(folder, schema, description=description, configuration=_FOREVER)


def open_table(folder: Path, version: int | None, name: str) -> Any:
    """The table at a version, or at its newest.

    Raises: StoreError if the version does not exist or the log is damaged.
    """
    table = _opened(folder, None, name) if version is None else _opened_at(folder, version, name)
    if table.protocol().min_reader_version > 1:
        raise StoreError(f"Dataset {name!r} was changed by another engine in a way this release does not read.")
    return table


def _opened_at(folder: Path, version: int, name: str) -> Any:
    """A pinned version is opened without looking at newer ones, so that damage to those does not matter."""
    if isinstance(version, int) and not isinstance(version, bool) and version >= 0:
        try:
            return _opened(folder, version, name)
        except StoreError:
            if version <= _opened(folder, None, name).version():
                raise
    newest = _opened(folder, None, name).version()
    raise StoreError(
        f"Dataset {name!r} has no version {version!r}; it has 0 to {newest}. See store.versions({name!r})."
    )


def _opened(folder: Path, version: int | None, name: str) -> Any:
    import deltalake

    try:
        return deltalake.DeltaTable(folder, version=version)
    except Exception as error:  # deltalake raises many kinds, some of them private
        raise StoreError(
            f"The log of dataset {name!r} in {folder} cannot be read: {str(error)[:300]}\n"
            "An older version may still open: pass version=."
        ) from error


def table_id(table: Any) -> str:
    """The id that tells a table from another one created later under the same name."""
    return str(table.metadata().id)


def committed(table: Any, batch: str) -> bool:
    """Whether an append with this batch id is in the table."""
    return table.transaction_version(batch) is not None


def commit(folder: Path, table: Any, rows: pa.Table, batch: str, note: Mapping[str, str]) -> int:
    """Append rows in one transaction; the old version or the new one is there, never a part.

    Returns: the new version.

    Raises: ConflictError if another writer landed the same batch first; StoreError if the disk refuses.
    """
    import deltalake
    from deltalake.exceptions import CommitFailedError
    from deltalake.transaction import AddAction

    try:
        file, size = _write_file(folder, rows)
        add = AddAction(file, size, {}, int(time.time() * 1000), True, _stats(rows))
        properties = deltalake.CommitProperties(
            app_transactions=[deltalake.Transaction(batch, 1)], custom_metadata=dict(note), max_commit_retries=50
        )
        table.create_write_transaction([add], "append", rows.schema, commit_properties=properties)
        fresh = deltalake.DeltaTable(folder)
        _sync(folder / "_delta_log")
    except CommitFailedError as error:
        raise ConflictError(
            f"Another writer changed {folder} at the same moment: {error} Nothing of this append is stored; repeat it."
        ) from error
    except (OSError, pa.ArrowException, deltalake.exceptions.DeltaError) as error:
        raise StoreError(
            f"Nothing was appended to {folder}: {error}. The last version stays readable; repeat the append when the "
            "cause is mended (space, permissions)."
        ) from error
    return int(fresh.version())


def load(folder: Path, table: Any, *, columns: list[str] | None = None, known_from: int | None = None) -> pa.Table:
    """Read the rows of a version, each file held against its name.

    Args:
        folder: of the table.
        table: the opened version.
        columns: to read; all when None.
        known_from: skip files whose rows were all known before this, in microseconds since 1970 UTC.

    Raises: StoreError naming a file that is absent or damaged.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    schema = pa.schema(table.schema().to_arrow())
    wanted = schema.names if columns is None else columns
    if known_from is not None and "max.known_time" in actions.column_names:
        newest = pc.cast(actions["max.known_time"], pa.timestamp("us", "UTC")).cast(pa.int64())
        actions = actions.filter(pc.fill_null(pc.greater_equal(newest, known_from), True))
    target = pa.schema([schema.field(name) for name in wanted])
    parts = [_read_file(folder / unquote(path), wanted, target) for path in sorted(actions["path"].to_pylist())]
    return pa.concat_tables(parts) if parts else target.empty_table()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the writers' lock of a dataset; the system frees it when its process dies.

    It lets an append check its rows against the stored ones without a race. Without it (other systems, some network
    disks) Delta's own conflict detection still loses no update.
    """
    try:
        import fcntl
    except ImportError:  # pragma: no cover - not on POSIX
        yield
        return
    with (folder / ".writers").open("ab") as handle:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write_file(folder: Path, rows: pa.Table) -> tuple[str, int]:
    part = folder / f".part-{os.getpid()}-{uuid.uuid4().hex}"
    try:
        with part.open("wb") as file:
            pq.write_table(rows, file, compression="zstd", write_page_checksum=True, row_group_size=262_144)
            file.flush()
            os.fsync(file.fileno())
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = part.stat().st_size
        part.rename(folder / f"part-{digest}.parquet")
    finally:
        part.unlink(missing_ok=True)
    _sync(folder)
    return f"part-{digest}.parquet", size


def _read_file(path: Path, columns: list[str], target: pa.Schema) -> pa.Table:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"Data file {path} cannot be read: {error}. Restore it from a copy.") from error
    stem = path.name.removeprefix("part-").removesuffix(".parquet")
    ours = len(stem) == 64
    if ours and hashlib.sha256(data).hexdigest() != stem:
        raise StoreError(
            f"Data file {path} is damaged: its bytes do not match the hash in its name. Restore it from a copy; "
            "versions that do not use it stay readable."
        )
    try:
        return pq.read_table(pa.BufferReader(data), columns=columns).select(columns).cast(target)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"Data file {path} is damaged: {error}. Restore it from a copy.") from error


def _stats(rows: pa.Table) -> str:
    """File statistics as Delta defines them, so that engines can skip files."""
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in ("event_time", "known_time"):
        if name in rows.column_names and rows.num_rows:
            span = pc.min_max(rows[name])
            if span["min"].is_valid:
                low[name], high[name] = _iso(span["min"]), _iso(span["max"])
    nulls = {name: rows[name].null_count for name in rows.column_names}
    return json.dumps({"numRecords": rows.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls})


def _iso(moment: Any) -> str:
    return str(moment.as_py().strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def _sync(folder: Path) -> None:
    """Make the newest names of a folder survive a power cut, the newest log entry included."""
    newest = max(folder.glob("*.json"), default=None)
    for path in (newest, folder):
        if path is not None:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
