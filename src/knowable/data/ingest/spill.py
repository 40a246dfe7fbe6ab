"""Rows set down on disk between the two passes of a bulk ingest, sorted by event time, and the folder they lie in."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knowable.errors import StoreError

__all__ = ["Spill", "read_spill", "staging", "write_spill"]

_BATCH = 4096
_SKETCH = 512  # a batch is a whole number of them
_LOCK = "lock"
_FORGOTTEN_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spill:
    """A file of rows in ascending event_time.

    Attributes:
        path: of the file.
        n_rows: it holds.
        sketch: int64 microseconds, as bytes: the event_time of every 512th row, and of the last.
        known_from: the first known_time, in microseconds.
    """

    path: str
    n_rows: int
    sketch: bytes
    known_from: int

    @property
    def step(self) -> int:
        """Rows from one moment of the sketch to the next."""
        return _SKETCH

    @property
    def events(self) -> npt.NDArray[np.int64]:
        """(n,) the sketch as numbers."""
        return np.frombuffer(self.sketch, np.int64)


def write_spill(path: Path, rows: pa.Table) -> Spill:
    """Sort rows by event_time, those of one time as they come, and set them down.

    Raises: OSError where the disk refuses.
    """
    event = rows["event_time"].cast(pa.int64()).to_numpy()
    if (np.diff(event) < 0).any():
        order = np.argsort(event, kind="stable")
        rows, event = rows.take(pa.array(order)), event[order]
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema, options=options) as writer:
        writer.write_table(rows.unify_dictionaries().combine_chunks(), max_chunksize=_BATCH)
    known = rows["known_time"].cast(pa.int64()).to_numpy()
    return Spill(
        path=str(path),
        n_rows=rows.num_rows,
        sketch=np.append(event[::_SKETCH], event[-1:]).tobytes(),
        known_from=int(known.min()) if len(known) else 0,
    )


def read_spill(spill: Spill, start: int, end: int) -> pa.Table | None:
    """The rows with start <= event_time < end, in microseconds; None where there are none."""
    firsts = spill.events[:-1][:: _BATCH // _SKETCH]
    first = max(int(np.searchsorted(firsts, start, side="left")) - 1, 0)
    last = int(np.searchsorted(firsts, end, side="left"))
    if first >= last or spill.events[-1] < start:
        return None
    with pa.OSFile(spill.path) as source, pa.ipc.open_file(source) as reader:
        rows = pa.Table.from_batches([reader.get_batch(k) for k in range(first, last)])
    event = rows["event_time"].cast(pa.int64()).to_numpy()
    low, high = np.searchsorted(event, [start, end], side="left")
    # copied, or the few rows of many batches would hold all of their memory
    return rows.take(pa.array(np.arange(low, high))) if high > low else None


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """A hidden folder under `root` for the spills of one ingest, removed at the end; those of dead processes go too.

    Raises: StoreError where the disk refuses.
    """
    new = root / f".new-{uuid.uuid4().hex}"
    folder = root / f"{time.time_ns():x}-{os.getpid()}-{new.name[-8:]}"
    try:
        new.mkdir(parents=True)
        with (new / _LOCK).open("ab") as handle:
            _try_lock(handle)
            new.rename(folder)
            _sweep(root)
            yield folder
    except OSError as error:
        raise StoreError(
            f"Nothing was appended: the rows could not be set down under {root}: {error}.\n"
            "A bulk ingest needs room for about as much as its files take; free some, and repeat it."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            root.rmdir()


def _sweep(root: Path) -> None:
    """Remove folders whose process is gone: the system let go of their lock."""
    for path in root.iterdir():
        with contextlib.suppress(OSError):
            if path.name.startswith(".new-") and time.time() - path.stat().st_mtime < _FORGOTTEN_SECONDS:
                continue  # its process is about to lock it
            with (path / _LOCK).open("ab") as handle:
                if not _try_lock(handle):
                    continue
                shutil.rmtree(path, ignore_errors=True)


def _try_lock(handle: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # pragma: no cover - not on POSIX
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
