"""What a version of a Delta table consists of, as one number: each commit says it, each opening checks it.

Delta's log is plain JSON and its checkpoints are Parquet without checksums, so a flipped bit in either could hide a
file or point to another one. Each of our commits therefore carries, in its commit information, a hash of all that the
table is after it: the active files with their sizes and statistics, the columns, the properties. The hash over files is
a sum, so that a commit pays for the files it changes and not for those that are there.
"""

from __future__ import annotations

import hashlib
import json
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.table.files import NewFile
from knowable.errors import StoreError

__all__ = [
    "FILES",
    "NOTE_SUM",
    "STATE",
    "changes",
    "commit_note",
    "file_rows",
    "files_of",
    "files_sum",
    "note_sum",
    "sealed",
    "state_of",
    "without",
]

_TIME = pa.timestamp("us", "UTC")
FILES = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("rows", pa.int64()),
        ("min_event_time", _TIME),
        ("max_event_time", _TIME),
        ("min_known_time", _TIME),
        ("max_known_time", _TIME),
        ("min_entity", pa.string()),
        ("max_entity", pa.string()),
    ]
)
STATE = "state"
NOTE_SUM = "note_sum"
_OTHERS = frozenset(
    {"timestamp", "operation", "operationParameters", "engineInfo", "clientVersion", "version", STATE, NOTE_SUM}
)
_ACTIONS = frozenset({"add", "remove", "metaData", "protocol", "txn", "commitInfo", "cdc", "domainMetadata"})
_WRAP = 1 << 256


def files_of(actions: pa.Table) -> pa.Table:
    """The active files as `FILES`, from what deltalake lists; statistics that a file lacks are null."""
    columns = []
    for field in FILES:
        there = {"path": "path", "size": "size_bytes", "rows": "num_records"}.get(
            field.name, field.name.replace("_", ".", 1)
        )
        found = actions[there] if there in actions.column_names else pa.nulls(actions.num_rows, field.type)
        columns.append(found.cast(field.type))
    return pa.table(columns, schema=FILES).sort_by("path")


def file_rows(files: Sequence[NewFile]) -> pa.Table:
    """The rows of `FILES` that new files will be."""
    found = []
    for file in files:
        stats = json.loads(file.stats)
        row = {"path": file.path, "size": file.size, "rows": stats["numRecords"]}
        for end in ("min", "max"):
            held = stats[f"{end}Values"]
            row |= {f"{end}_{name}": _moment(held.get(name)) for name in ("event_time", "known_time")}
            row[f"{end}_entity"] = held.get("entity")
        found.append(row)
    return pa.Table.from_pylist(found, schema=FILES)


def files_sum(files: pa.Table) -> int:
    """Sum of the hashes of files, one each; the order does not count, and parts may be added and taken away."""
    plain = [column.cast(pa.int64()) if column.type == _TIME else column for column in files.columns]
    total = 0
    for row in zip(*(column.to_pylist() for column in plain), strict=True):
        total += int.from_bytes(hashlib.sha256(json.dumps(row).encode()).digest())
    return total % _WRAP


def state_of(total: int, n_files: int, schema: pa.Schema, properties: Mapping[str, str]) -> str:
    """The hash of a version."""
    columns = [[field.name, str(field.type), field.nullable] for field in schema]
    page = json.dumps([f"{total % _WRAP:064x}", n_files, columns, sorted(properties.items())])
    return hashlib.sha256(page.encode()).hexdigest()


def sealed(note: Mapping[str, str], state: str, at: int) -> dict[str, str]:
    """A commit's note with the state after it, a mark of its own and a checksum of it all.

    The mark tells a commit from another writer's of the very same files. Args: at: milliseconds since 1970.
    """
    whole = {**note, "at": str(at), "mark": uuid.uuid4().hex, STATE: state}
    return {**whole, NOTE_SUM: note_sum(whole)}


def note_sum(note: Mapping[str, Any]) -> str:
    """Checksum of what a writer said about a commit; what the engine adds by itself is left out."""
    said = {key: value for key, value in note.items() if key not in _OTHERS or key == STATE}
    return f"{zlib.crc32(json.dumps(said, sort_keys=True).encode()):08x}"


def commit_note(data: bytes, where: str) -> dict[str, Any]:
    """What one entry of the log says about its commit; empty if its writer said nothing.

    Raises: StoreError if it is damaged.
    """
    try:
        lines = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
        found: dict[str, Any] = next((line["commitInfo"] for line in lines if "commitInfo" in line), {})
        whole = NOTE_SUM not in found or note_sum(found) == found[NOTE_SUM]
        odd = sorted({kind for line in lines for kind in line} - _ACTIONS)
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"{where} is damaged: {error}. Restore it from a copy.") from error
    if not lines:
        raise StoreError(f"{where} is damaged: it is empty. Restore it from a copy.")
    if odd:
        raise StoreError(f"{where} holds {odd[0]!r}, which this release does not know, or it is damaged.")
    if not whole:
        raise StoreError(f"{where} is damaged: its note does not match its checksum. Restore it from a copy.")
    return found


def changes(entry: bytes) -> tuple[pa.Table, list[str], str | None]:
    """What one entry of the log changes: files added (as `FILES`), paths removed, and the state it states.

    Raises: ValueError, KeyError, TypeError or AttributeError if it says more than that, or is damaged.
    """
    added, gone, stated = [], [], None
    for line in entry.decode().splitlines():
        ((kind, body),) = json.loads(line).items()
        if kind == "add":
            added.append(NewFile(path=body["path"], size=body["size"], rows=0, stats=body["stats"]))
        elif kind == "remove":
            gone.append(body["path"])
        elif kind == "commitInfo":
            stated = body[STATE]
        elif kind != "txn":
            raise ValueError(kind)
    return file_rows(added), gone, stated


def without(files: pa.Table, paths: Iterable[str]) -> tuple[pa.Table, pa.Table]:
    """Files that stay, and files that go."""
    goes = pc.is_in(files["path"], pa.array(list(paths), pa.string()))
    return files.filter(pc.invert(goes)), files.filter(goes)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
