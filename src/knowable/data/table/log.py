"""What each commit of a Delta table did, read from its own entry of the log: which files came, which went.

An entry is named by its version and never changes, so it can be read alone: a follower pays for what is new, not for
what is there. Opening a table and writing to it are left to the Delta library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from knowable.data.table.files import NewFile
from knowable.data.table.location import Location
from knowable.data.table.opening import entry_name
from knowable.data.table.state import STATE, commit_note
from knowable.errors import StoreError

__all__ = ["Commit", "Life", "has_commit", "lives", "read_commit"]

_ACTIONS = frozenset({"add", "remove", "metaData", "protocol", "txn", "commitInfo", "cdc", "domainMetadata"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One entry of the log.

    Attributes:
        version: that it made.
        added: files that came, in the order of the entry.
        new: whether their rows are new, and not those of files that went, as a compaction brings them.
        removed: paths of files that went.
        shapes: whether it set the table's columns or properties.
        state: what the table is after it, as its writer stated it; None of another engine's.
        at: milliseconds since 1970 UTC, by the writer's clock.
    """

    version: int
    added: tuple[NewFile, ...]
    new: bool
    removed: tuple[str, ...]
    shapes: bool
    state: str | None
    at: int


@dataclass(slots=True, kw_only=True)
class Life:
    """The versions that need a file: from `born`, and before `gone` where it was removed."""

    born: int
    gone: int | None
    size: int


def has_commit(table: Location, version: int) -> bool:
    """Whether the table has this version; one look, whatever the length of the log."""
    return table.exists(entry_name(version))


def read_commit(table: Location, version: int, name: str) -> Commit:
    """Read the entry of a version.

    Raises: StoreError if it is absent, damaged, or says what this release does not know.
    """
    where = f"The log of dataset {name!r}: {table.uri}/{entry_name(version)}"
    data = table.read(entry_name(version))
    note = commit_note(data, where)
    actions = _actions(data, where)
    try:
        adds = [body for kind, body in actions if kind == "add"]
        return Commit(
            version=version,
            added=tuple(_file(add) for add in adds),
            new=any(add["dataChange"] is True for add in adds),
            removed=tuple(unquote(body["path"]) for kind, body in actions if kind == "remove"),
            shapes=any(kind in ("metaData", "protocol") for kind, _ in actions),
            state=note.get(STATE),
            at=int(note.get("at", note.get("timestamp", 0))),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{where} is damaged: {error!r}. Restore it from a copy.") from error


def lives(commits: Mapping[int, Commit]) -> dict[str, Life]:
    """From when to when each file belonged to the table. Args: commits: from version 0 on, none left out."""
    found: dict[str, Life] = {}
    for version in sorted(commits):
        commit = commits[version]
        for path in commit.removed:
            if path in found:
                found[path].gone = version
        for file in commit.added:
            found[file.path] = Life(born=version, gone=None, size=file.size)
    return found


def _actions(data: bytes, where: str) -> list[tuple[str, Any]]:
    found = []
    try:
        for line in data.decode("utf-8").splitlines():
            if line.strip():
                ((kind, body),) = json.loads(line).items()
                found.append((kind, body))
    except (ValueError, AttributeError, UnicodeDecodeError) as error:
        raise StoreError(f"{where} is damaged: {error}. Restore it from a copy.") from error
    for kind, _ in found:
        if kind not in _ACTIONS:
            raise StoreError(f"{where} holds {kind!r}, which this release does not know, or it is damaged.")
    return found


def _file(add: Mapping[str, Any]) -> NewFile:
    stats = add.get("stats") or "{}"
    rows = int(json.loads(stats).get("numRecords", 0))
    return NewFile(path=unquote(add["path"]), size=int(add["size"]), rows=rows, stats=stats)
