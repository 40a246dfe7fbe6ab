"""The panel cache: one mapped file a panel, named by what it holds and by the checksum of its bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["cache_key", "cached_panel"]

Panel = npt.NDArray[np.float64]


def cache_key(parts: Mapping[str, Any]) -> str:
    """A name for what a panel holds; arrays count by their bytes."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        value = parts[name]
        plain = value.tobytes() if isinstance(value, np.ndarray) else json.dumps(value, default=str).encode()
        digest.update(f"{name}:{len(plain)}:".encode())
        digest.update(plain)
    return digest.hexdigest()[:40]


def cached_panel(folder: Path, key: str, shape: tuple[int, int], build: Callable[[], Panel]) -> Panel:
    """Map a panel from the cache, or build it and keep it.

    A file whose bytes do not match the checksum in its name is deleted and built again. Where the disk refuses, the
    panel is returned without being kept: a cache is never the reason for a failure.

    Returns: read-only C-order float64 of `shape`.
    """
    home = folder / key[:2]
    for path in home.glob(f"{key}-*.npy"):
        found = _read(path, shape)
        if found is not None:
            return found
        with contextlib.suppress(OSError):
            path.unlink()
    panel = build()
    with contextlib.suppress(OSError):
        _write(home, key, panel)
    return panel


def _read(path: Path, shape: tuple[int, int]) -> Panel | None:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    panel: Panel = np.asarray(mapped)
    if panel.dtype != np.float64 or panel.shape != shape or not panel.flags.c_contiguous:
        return None
    return panel if path.stem.rpartition("-")[2] == _sum(panel) else None


def _write(home: Path, key: str, panel: Panel) -> None:
    home.mkdir(parents=True, exist_ok=True)
    part = home / f".{key}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    try:
        with part.open("wb") as file:
            np.save(file, panel, allow_pickle=False)
        part.rename(home / f"{key}-{_sum(panel)}.npy")
    finally:
        part.unlink(missing_ok=True)


def _sum(panel: Panel) -> str:
    """CRC-32 of the bytes: 2 GB/s here, and no single flipped bit escapes it. Not a defence against forgery."""
    return f"{zlib.crc32(np.ascontiguousarray(panel).view(np.uint8).data):08x}" if panel.size else "00000000"
