"""Opening Delta tables: a version as a value, verified; behind it one handle a table that a process keeps up to date.

Opening a table again costs a look at the entry of the log that was read last and one for the next, whatever the length
of the log. Entries of our own that came since are read alone, and believed because they prove the state they lead to.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from knowable.data.table.location import Location
from knowable.data.table.state import STATE, changes, commit_note, files_of, files_sum, state_of, without
from knowable.errors import StoreError, UnknownVersionError

__all__ = [
    "FORMAT",
    "LOG",
    "Table",
    "current",
    "entry_name",
    "forget",
    "hold",
    "open_table",
    "said",
    "state_after",
    "successor",
    "table_id",
]

LOG = "_delta_log"
FORMAT = ("knowable.table", "1")
_KEPT = 64  # tables, and versions of them, held open by a process


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One version of a Delta table.

    Attributes:
        location: of the table.
        name: for messages.
        version: its number.
        id: tells it from a table made later in the same place.
        properties: of the table at this version.
        schema: its columns.
        files: the active files: path, size, rows, and the least and greatest event_time, known_time and entity, null
            where unknown.
        foreign: whether another engine made this version, so that nothing vouches for the log.
        handle: deltalake's table; use it under `lock` only. It may have moved on to a newer version.
        lock: of the handle.
    """

    location: Location
    name: str
    version: int
    id: str
    properties: Mapping[str, str] = field(repr=False)
    schema: pa.Schema = field(repr=False)
    files: pa.Table = field(repr=False)
    foreign: bool
    handle: Any = field(repr=False)
    lock: threading.RLock = field(repr=False)
    files_sum: int = field(repr=False)

    @property
    def n_rows(self) -> int:
        """Rows stored, if every file states its own."""
        return sum(n or 0 for n in self.files["rows"].to_pylist())


@dataclass(slots=True, kw_only=True)
class _Held:
    """A table this process has open, and what tells that its log entry is still the one that was read."""

    table: Table
    entry: object


_HELD: OrderedDict[tuple[Any, ...], _Held] = OrderedDict()
_GUARD = threading.RLock()


def open_table(location: Location, version: int | None = None, name: str = "") -> Table:
    """The table at a version, or at its newest. A pinned version is opened without a look at newer ones.

    Raises: StoreError if the version does not exist, the log is damaged, or a newer release wrote the table.
    """
    name = name or location.uri
    if version is None:
        return _newest(location, name)
    if isinstance(version, int) and not isinstance(version, bool) and version >= 0:
        try:
            return _pinned(location, version, name)
        except StoreError:
            if version <= _newest(location, name).version:
                raise
    newest = _newest(location, name).version
    raise UnknownVersionError(
        f"Dataset {name!r} has no version {version!r}; it has 0 to {newest}. See store.versions({name!r})."
    )


def table_id(table: Table) -> str:
    """The id that tells a table from another one created later under the same name."""
    return table.id


def forget() -> None:
    """Close the tables this process holds open; the next opening reads the whole log again."""
    with _GUARD:
        _HELD.clear()


def _newest(location: Location, name: str) -> Table:
    with _GUARD:
        held = _HELD.get(_key(location, None))
    if held is None or not _unchanged(held):
        return hold(_described(location, _opened(location, None, name), threading.RLock(), name))
    table = held.table
    while location.exists(entry_name(table.version + 1)):
        after = _followed(table)
        if after is None:  # not a commit of ours, or damaged: all of it is read, and that tells what is wrong
            return hold(_described(location, _opened(location, None, name), threading.RLock(), name))
        table = after
    return replace(table if table is held.table else hold(table), name=name)


def successor(table: Table, added: pa.Table, gone: Collection[str]) -> Table | None:
    """The next version, with some files more and others less; None if one of those is not there.

    Args:
        table: the version before.
        added: rows of `FILES`.
        gone: paths.
    """
    stay, leave = without(table.files, gone)
    if leave.num_rows != len(set(gone)):
        return None
    return replace(
        table,
        version=table.version + 1,
        files=pa.concat_tables([stay, added]).sort_by("path"),
        foreign=False,
        files_sum=table.files_sum + files_sum(added) - files_sum(leave),
    )


def _followed(table: Table) -> Table | None:
    """The next version by its entry of the log alone, if that says no more than files and proves to be understood."""
    try:
        entry = table.location.read(entry_name(table.version + 1))
        added, gone, stated = changes(entry)
    except (StoreError, ValueError, KeyError, TypeError, AttributeError):
        return None
    after = successor(table, added, gone)
    return after if after is not None and stated == state_after(after) else None


def _pinned(location: Location, version: int, name: str) -> Table:
    for key in (_key(location, None), _key(location, version)):
        with _GUARD:
            held = _HELD.get(key)
        if held is not None and held.table.version == version and _unchanged(held):
            return replace(held.table, name=name)
    table = _described(location, _opened(location, version, name), threading.RLock(), name)
    return hold(table, pinned=True)


def hold(table: Table, *, pinned: bool = False) -> Table:
    """Keep a table open, as the newest of its place or as one version. Returns: the table."""
    key = _key(table.location, table.version if pinned else None)
    with _GUARD:
        _HELD[key] = _Held(table=table, entry=_entry(table.location, table.version))
        _HELD.move_to_end(key)
        while len(_HELD) > _KEPT:
            _HELD.popitem(last=False)
    return table


def _key(location: Location, version: int | None) -> tuple[Any, ...]:
    return (os.getpid(), location, version)  # a handle does not survive a fork


def _unchanged(held: _Held) -> bool:
    return held.entry is not None and _entry(held.table.location, held.table.version) == held.entry


def _entry(location: Location, version: int) -> object:
    """What tells that an entry of the log is still the same; None if it is absent."""
    try:
        if location.path is None:
            return location.read(entry_name(version))
        found = (location.path / entry_name(version)).stat()
    except (OSError, StoreError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _opened(location: Location, version: int | None, name: str) -> Any:
    import deltalake

    with _refused(location, name):
        return deltalake.DeltaTable(location.uri, version=version, storage_options=location.options)


def _updated(handle: Any, location: Location) -> None:
    with _refused(location, location.uri):
        handle.update_incremental()


@contextlib.contextmanager
def _refused(location: Location, name: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:  # deltalake raises many kinds, some of them private, some no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)):
            raise
        raise StoreError(
            f"The log of dataset {name!r} in {location} cannot be read: {location.clean(error)}\n"
            "An older version may still open: pass version=."
        ) from None


def _described(location: Location, handle: Any, lock: threading.RLock, name: str) -> Table:
    """The handle's version as a value, held against the state its commit stated."""
    with lock, _refused(location, name):
        protocol, metadata, version = handle.protocol(), handle.metadata(), int(handle.version())
        schema = pa.schema(handle.schema().to_arrow())
        files = files_of(pa.table(handle.get_add_actions(flatten=True)))
    properties = MappingProxyType(dict(metadata.configuration))
    if protocol.min_reader_version > 1:
        raise StoreError(f"Dataset {name!r} was changed by another engine in a way this release does not read.")
    found = properties.get(FORMAT[0], FORMAT[1])
    if found != FORMAT[1]:
        raise StoreError(
            f"Dataset {name!r} in {location} has table format {found}; this release reads {FORMAT[1]}. Update knowable."
        )
    stated = said(location, version, name).get(STATE)
    table = Table(
        location=location,
        name=name,
        version=version,
        id=str(metadata.id),
        properties=properties,
        schema=schema,
        files=files,
        foreign=stated is None,
        handle=handle,
        lock=lock,
        files_sum=files_sum(files),
    )
    if stated is not None and stated != state_after(table):
        raise StoreError(
            f"The log of dataset {name!r} in {location}/{LOG} is damaged: version {version} lists other files, columns "
            "or properties than its commit did.\nRestore the log from a copy; the data files are untouched."
        )
    return table


def said(location: Location, version: int, name: str) -> dict[str, Any]:
    """What the commit of a version said about itself. Raises: StoreError naming the entry if it is damaged."""
    where = f"The log of dataset {name!r}, {location}/{entry_name(version)},"
    return commit_note(location.read(entry_name(version)), where)


def state_after(table: Table) -> str:
    """The hash of all that a version is."""
    return state_of(table.files_sum, table.files.num_rows, table.schema, table.properties)


def current(table: Table) -> Any:
    """The handle, at the table's version at least; hold its lock."""
    if table.handle.version() < table.version:
        _updated(table.handle, table.location)
    return table.handle


def entry_name(version: int) -> str:
    """The log's entry of a version."""
    return f"{LOG}/{version:020d}.json"
