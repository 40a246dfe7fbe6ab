"""Panels on disk, entity by entity: any columns of them are gathered from a mapped file.

A file holds the series of its entities one behind the other, then a page with their names and checksums. A series is
held against its checksum when it is first used in a process, so a flipped bit costs a rebuild and never a wrong number.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import threading
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

__all__ = ["Wide", "WideWriter", "identity", "open_wide", "touch"]

Panel = npt.NDArray[np.float64]
_MAGIC = b"KNWIDE01"
_END = struct.Struct("<QI8s")  # length of the page, its CRC-32, magic
_KEPT = 256  # files held open in a process
_PAGE_LIMIT = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wide:
    """One mapped file.

    Attributes:
        path: of it.
        rows: entity -> row of `data`.
        data: (n_entities, n_times) read-only float64.
        sums: (n_entities,) CRC-32 of each row.
    """

    path: Path
    rows: Mapping[str, int]
    data: Panel
    sums: tuple[int, ...]
    _checked: set[int] = field(default_factory=set)

    def sound(self, row: int) -> bool:
        """Whether the bytes of a row are those that were written; looked at once in a process."""
        if row not in self._checked:
            if zlib.crc32(self.data[row].view(np.uint8).data) != self.sums[row]:
                return False
            self._checked.add(row)
        return True


_open: OrderedDict[Path, tuple[tuple[int, int, int], Wide]] = OrderedDict()
_lock = threading.Lock()


def open_wide(path: Path, n_times: int) -> Wide | None:
    """Map a file; None where it is absent, damaged or of another clock."""
    try:
        now = identity(path)
        with _lock:
            held = _open.get(path)
            if held is not None and held[0] == now:
                _open.move_to_end(path)
                return held[1]
        found = _mapped(path, now[2], n_times)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
    if found is not None:
        with _lock:
            _open[path] = (now, found)
            while len(_open) > _KEPT:
                _open.popitem(last=False)
    return found


def identity(path: Path) -> tuple[int, int, int]:
    """What tells a file from another one of that name: inode, time of change, size."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def touch(path: Path) -> None:
    """Note that a file was used now, without changing the time it was written."""
    with contextlib.suppress(OSError):
        found = path.stat()
        os.utime(path, ns=(max(found.st_atime_ns, _now_ns()), found.st_mtime_ns))


class WideWriter:
    """Writes a file piece by piece; it appears whole, under a name of its content, or not at all."""

    def __init__(self, home: Path, n_times: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._n_times = n_times
        self._names: list[str] = []
        self._sums: list[int] = []
        self._part = home / f".wide.{os.getpid()}.{uuid.uuid4().hex[:12]}"
        self._file = self._part.open("wb")

    @property
    def n_series(self) -> int:
        """Written so far."""
        return len(self._names)

    def add(self, names: Sequence[str], block: Panel) -> None:
        """Write the series of some entities, (n_names, n_times). Raises: OSError."""
        self._names.extend(names)
        self._sums.extend(zlib.crc32(row.view(np.uint8).data) for row in block)
        self._file.write(np.ascontiguousarray(block).view(np.uint8).data)

    def close(self) -> Path:
        """Finish the file. Raises: OSError."""
        text = json.dumps({"entities": self._names, "n_times": self._n_times, "sums": self._sums})
        page = zlib.compress(text.encode())
        self._file.write(page + _END.pack(len(page), zlib.crc32(page), _MAGIC))
        self._file.close()
        path = self._home / f"{hashlib.sha256(page).hexdigest()[:32]}.wide"
        self._part.rename(path)
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


def _mapped(path: Path, size: int, n_times: int) -> Wide | None:
    with path.open("rb") as file:
        file.seek(-_END.size, os.SEEK_END)
        length, crc, magic = _END.unpack(file.read(_END.size))
        if magic != _MAGIC or length > min(size, _PAGE_LIMIT):
            return None
        file.seek(-_END.size - length, os.SEEK_END)
        page = file.read(length)
    if zlib.crc32(page) != crc:
        return None
    held: dict[str, Any] = json.loads(zlib.decompress(page))
    names, sums = held["entities"], held["sums"]
    if held["n_times"] != n_times or size != 8 * len(names) * n_times + length + _END.size:
        return None
    data: Panel = np.asarray(np.memmap(path, dtype=np.float64, mode="r", shape=(len(names), n_times)))
    return Wide(path=path, rows={name: k for k, name in enumerate(names)}, data=data, sums=tuple(sums))


def _now_ns() -> int:
    import time

    return time.time_ns()
