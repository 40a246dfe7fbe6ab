"""The panel cache: files that are mapped, checked and bounded, and built again whenever anything is wrong with them.

A *subject* is all that decides a panel but its entities: dataset, version, field, clock, tolerance, keys. Its folder
holds whole panels, each one mapped as it is, and series entity by entity (`knowable.data.asof.wide`) from which any
other choice of entities is gathered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.data.asof.order import lock
from knowable.data.asof.wide import Wide, WideWriter, identity, open_wide, touch
from knowable.kernels.asof import columns_kernel

__all__ = ["CACHE_BYTES", "PanelCache", "cache_key", "trim"]

Panel = npt.NDArray[np.float64]
Blocks = Iterator[tuple[Sequence[str], Panel]]

CACHE_BYTES = 20 * 2**30
_ABANDONED_S = 3600.0  # a part file of a process that died
_PARTS = 24  # files of series in one subject before they are joined into one

_checked: dict[Path, tuple[int, int, int]] = {}
_checked_lock = threading.Lock()


def cache_key(parts: Mapping[str, Any]) -> str:
    """A name for what a panel holds; arrays count by their bytes."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        value = parts[name]
        plain = value.tobytes() if isinstance(value, np.ndarray) else json.dumps(value, default=str).encode()
        digest.update(f"{name}:{len(plain)}:".encode())
        digest.update(plain)
    return digest.hexdigest()[:40]


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelCache:
    """Panels kept in a folder.

    Attributes:
        folder: of the cache.
        limit: bytes it may hold; the least recently used files go first.
    """

    folder: Path
    limit: int = CACHE_BYTES

    def panel(
        self, subject: str, names: Sequence[str], n_times: int, build: Callable[[Sequence[str]], Blocks]
    ) -> Panel:
        """Map a panel, or gather it from the series that are there and build the others.

        Where the disk refuses, the panel is returned without being kept: a cache is never the reason for a failure.

        Args:
            subject: key of all that decides the panel but the entities.
            names: of the columns.
            n_times: of the rows.
            build: names -> pairs of names and their series (n_names, n_times); names without facts are left out.

        Returns: (n_times, n_names) read-only C-order float64, NaN in columns that `build` leaves out.
        """
        home = self.folder / "panels" / subject[:2] / subject
        stem = hashlib.sha256("\0".join(names).encode()).hexdigest()[:32]
        found, damaged = _exact(home, stem, (n_times, len(names)))
        if found is not None:
            return found
        out = np.empty((n_times, len(names)))
        wides = _wides(home, n_times)
        missing = _gather(wides, names, out)
        if missing:
            _add(home, wides if len(wides) >= _PARTS - 1 else [], missing, names, build=build, out=out)
        if missing or damaged:
            with contextlib.suppress(OSError):
                _write_exact(home, stem, out)
            trim(self.folder, self.limit)
        return lock(out)

    def names(self, subject: str, build: Callable[[], Sequence[str]]) -> tuple[str, ...]:
        """Names kept in the cache, or found and kept."""
        home = self.folder / "panels" / subject[:2] / subject
        for path in sorted(home.glob("*.names")):
            with contextlib.suppress(OSError, ValueError, UnicodeDecodeError):
                page = path.read_bytes()
                if path.stem == f"{zlib.crc32(page):08x}":
                    touch(path)
                    return tuple(json.loads(page))
            _drop(path)
        found = tuple(build())
        page = json.dumps(list(found)).encode()
        with contextlib.suppress(OSError), _part(home) as part:
            part.write_bytes(page)
            part.rename(home / f"{zlib.crc32(page):08x}.names")
        return found


def trim(folder: Path, limit: int) -> None:
    """Delete what was used least recently until the cache is within its bound, and what dead processes left behind.

    A file that is mapped somewhere stays readable there until it is let go.
    """
    now = time.time()
    held: list[tuple[float, int, Path]] = []
    for path in (*folder.glob("panels/*/*/*"), *folder.glob("markets/*")):
        with contextlib.suppress(OSError):
            found = path.stat()
            if path.name.startswith("."):
                if now - found.st_mtime > _ABANDONED_S:
                    _drop(path)
                continue
            files = [item.stat() for item in path.iterdir()] if path.is_dir() else [found]
            used = max([found.st_mtime, *(max(item.st_atime, item.st_mtime) for item in files)])
            held.append((used, sum(item.st_size for item in files), path))
    total = sum(size for _, size, _ in held)
    for _, size, path in sorted(held):
        if total <= limit:
            return
        _drop(path)
        total -= size


def _exact(home: Path, stem: str, shape: tuple[int, int]) -> tuple[Panel | None, bool]:
    """The panel kept whole, and whether a damaged one was found and deleted."""
    damaged = False
    for path in home.glob(f"{stem}-*.npy"):
        found = _read(path, shape)
        if found is not None:
            touch(path)
            return found, False
        _drop(path)
        damaged = True
    return None, damaged


def _read(path: Path, shape: tuple[int, int]) -> Panel | None:
    try:
        now = identity(path)
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # noqa: BLE001 - a damaged header is Python text, and its parser raises many kinds
        return None
    panel: Panel = np.asarray(mapped)
    if panel.dtype != np.float64 or panel.shape != shape or not panel.flags.c_contiguous:
        return None
    with _checked_lock:
        if _checked.get(path) == now:
            return panel
    if path.stem.rpartition("-")[2] != _sum(panel):
        return None
    with _checked_lock:
        if len(_checked) > 10_000:
            _checked.clear()
        _checked[path] = now
    return panel


def _write_exact(home: Path, stem: str, panel: Panel) -> None:
    with _part(home) as part:
        with part.open("wb") as file:
            np.save(file, panel, allow_pickle=False)
        part.rename(home / f"{stem}-{_sum(panel)}.npy")


def _wides(home: Path, n_times: int) -> list[Wide]:
    found = []
    for path in sorted(home.glob("*.wide")):
        wide = open_wide(path, n_times)
        if wide is None:
            _drop(path)
        else:
            found.append(wide)
    return found


def _gather(wides: Sequence[Wide], names: Sequence[str], out: Panel) -> list[str]:
    """Fill the columns whose series are in some file. Returns: the names of the others."""
    left = dict(zip(names, range(len(names)), strict=True))
    for wide in wides:
        rows = {name: wide.rows[name] for name in left if name in wide.rows}
        if not rows:
            continue
        if not all(wide.sound(row) for row in rows.values()):
            _drop(wide.path)
            continue
        row = np.full(len(names), -1, np.int32)
        for name, k in rows.items():
            row[left.pop(name)] = k
        columns_kernel(wide.data, lock(row), out)
        touch(wide.path)
    return list(left)


def _add(
    home: Path,
    old: Sequence[Wide],
    missing: Sequence[str],
    names: Sequence[str],
    *,
    build: Callable[[Sequence[str]], Blocks],
    out: Panel,
) -> None:
    """Build the columns that no file holds, and keep their series in a new file that takes in those of old ones."""
    place = {name: j for j, name in enumerate(names)}
    out[:, [place[name] for name in missing]] = np.nan
    with contextlib.ExitStack() as stack:
        writer: WideWriter | None = None
        try:
            writer = stack.enter_context(WideWriter(home, len(out)))
            _copy(old, writer)
        except OSError:
            writer = None
        for block_names, block in build(missing):
            row = np.full(len(names), -1, np.int32)
            row[[place[name] for name in block_names]] = np.arange(len(block_names))
            columns_kernel(lock(block), lock(row), out)
            try:
                if writer is not None:
                    writer.add(block_names, block)
            except OSError:
                writer = None
        if writer is not None and writer.n_series:
            with contextlib.suppress(OSError):
                kept = writer.close()
                for wide in old:
                    if wide.path != kept:
                        _drop(wide.path)


def _copy(old: Sequence[Wide], writer: WideWriter) -> None:
    seen: set[str] = set()
    for wide in old:
        for name, row in wide.rows.items():
            if name not in seen and wide.sound(row):
                seen.add(name)
                writer.add([name], wide.data[row : row + 1])


@contextlib.contextmanager
def _part(home: Path) -> Iterator[Path]:
    """A name for a file in the making, which is gone afterwards. Raises: OSError."""
    home.mkdir(parents=True, exist_ok=True)
    part = home / f".part.{os.getpid()}.{uuid.uuid4().hex[:12]}"
    try:
        yield part
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _drop(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def _sum(panel: Panel) -> str:
    """CRC-32 of the bytes: 2 GB/s here, and no single flipped bit escapes it. Not a defence against forgery."""
    return f"{zlib.crc32(np.ascontiguousarray(panel).view(np.uint8).data):08x}" if panel.size else "00000000"
