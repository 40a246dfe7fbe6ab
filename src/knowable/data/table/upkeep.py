"""Compaction: many small files become few large ones, in one transaction that changes no answer."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.table import delta
from knowable.data.table.delta import Table
from knowable.data.table.files import NewFile, write_file
from knowable.data.table.location import Location
from knowable.data.table.order import sort_rows
from knowable.errors import ConflictError, InputError

__all__ = ["Compaction", "compact_table"]

_TRIES = 50
_PAUSE = 0.02
_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """What a compaction did.

    Attributes:
        dataset: name.
        version: of the dataset after it; the one before it if there was nothing to do.
        files_before: files that were read; 0 if there was nothing to do.
        files_after: files that took their place.
        rows: in them; the same before and after.
        bytes_before: size of the files read. They stay until retention removes them.
        bytes_after: size of the files written.
    """

    dataset: str
    version: int
    files_before: int = 0
    files_after: int = 0
    rows: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def __repr__(self) -> str:
        if not self.files_before:
            return f"Compaction: {self.dataset!r} has no small files to join; version {self.version} stays."
        return (
            f"Compaction: {self.rows:,} rows of {self.dataset!r} moved from {self.files_before:,} files "
            f"({self.bytes_before / 1e6:,.1f} MB) to {self.files_after:,} ({self.bytes_after / 1e6:,.1f} MB), "
            f"version {self.version}."
        )


def compact_table(
    where: Location, lock: Location, name: str, *, keys: Sequence[str], target_rows: int, everything: bool
) -> Compaction:
    """Rewrite small files, sorted for pruning; one transaction, and none where there is nothing to gain.

    Args:
        where: the table.
        lock: folder of the writers' lock.
        name: of the dataset.
        keys: fields that belong to the key, for the order of rows.
        target_rows: of a file afterwards, at most, unless one minute of event time has more.
        everything: rewrite all files, not only those of at most half of `target_rows`.

    Raises: ConflictError if other writers came first again and again; StoreError.
    """
    if isinstance(target_rows, bool) or not isinstance(target_rows, int) or target_rows < 1:
        raise InputError(f"`target_rows >= 1` must hold, but target_rows={target_rows!r}.")
    for _ in range(_TRIES):
        table = delta.open_table(where, None, name)
        chosen = _chosen(table, target_rows, everything=everything)
        if chosen.num_rows < 2:
            return Compaction(dataset=name, version=table.version)
        mark = uuid.uuid4().hex
        written = [
            write_file(where, sort_rows(rows, keys), mark=mark)
            for rows in _slices(replace(table, files=chosen), target_rows)
            if rows.num_rows
        ]
        done = _exchange(table, lock, name, chosen, written)
        if done is not None:
            return done
    raise ConflictError(
        f"Dataset {name!r} was compacted by others {_TRIES} times while this compaction tried to. Nothing is lost."
    )


def _chosen(table: Table, target_rows: int, *, everything: bool) -> pa.Table:
    if everything:
        return table.files
    return table.files.filter(pc.less_equal(table.files["rows"], target_rows // 2))


def _exchange(table: Table, lock: Location, name: str, chosen: pa.Table, written: list[NewFile]) -> Compaction | None:
    """Commit the exchange. An append in between is no obstacle: it is tried again on top of it. None if another
    compaction took some of the files: then the work begins anew.
    """
    gone = chosen["path"].to_pylist()
    batch = f"knowable-compact-{uuid.uuid4().hex}"
    note = {"purpose": "compaction", "rows": "0"}
    for _ in range(_TRIES):
        try:
            with delta.locked(lock):
                version = delta.commit(table, written, batch=batch, note=note, remove=gone)
        except ConflictError:
            time.sleep(_PAUSE)
            table = delta.open_table(table.location, None, name)
            if not set(gone) <= set(table.files["path"].to_pylist()):
                return None
            continue
        return Compaction(
            dataset=name,
            version=version,
            files_before=len(gone),
            files_after=len(written),
            rows=sum(file.rows for file in written),
            bytes_before=pc.sum(chosen["size"]).as_py(),
            bytes_after=sum(file.size for file in written),
        )
    raise ConflictError(f"Dataset {name!r} is written to without a pause; the compaction found no gap. Repeat it.")


def _slices(table: Table, target_rows: int) -> Iterator[pa.Table]:
    """The rows in stretches of event time of at most `target_rows`, so that one stretch is in memory at a time."""
    if pc.sum(table.files["rows"]).as_py() <= target_rows:
        yield delta.scan(table)
        return
    minutes, counts = _histogram(table)
    cuts, held = [0], 0
    for k, count in enumerate(counts.tolist()):
        if held and held + count > target_rows:
            cuts.append(k)
            held = 0
        held += count
    cuts.append(len(minutes))
    for first, stop in itertools.pairwise(cuts):
        start = int(minutes[first]) * _MINUTE_US * 1000
        end = (int(minutes[stop - 1]) + 1) * _MINUTE_US * 1000 - 1
        yield delta.scan(table, start=start, end=end)


def _histogram(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Minutes of event time that occur, ascending, and their rows."""
    found: dict[int, int] = {}
    for rows in delta.scan_batches(table, columns=["event_time"]):
        minutes = rows["event_time"].cast(pa.int64()).to_numpy() // _MINUTE_US
        for minute, count in zip(*(part.tolist() for part in np.unique(minutes, return_counts=True)), strict=True):
            found[minute] = found.get(minute, 0) + count
    minutes = np.array(sorted(found), dtype=np.int64)
    return minutes, np.array([found[minute] for minute in minutes.tolist()], dtype=np.int64)
