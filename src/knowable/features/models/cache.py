"""Predictions kept by what they were made of: an estimator's content, the rows it was fitted to, the rows it saw.

What is kept are numbers, never estimators: a fit that is wanted for rows it has not seen is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["KEPT", "PredictionCache", "read_predictions", "user_folder", "write_predictions"]

Panel = npt.NDArray[np.float64]

_MEMORY_BYTES = 256 << 20
_DISK_BYTES = 2 << 30
_ENTRY_BYTES = 150  # what a bar costs beside its numbers


class PredictionCache:
    """Predictions of the fits used last, bar by bar, up to `max_bytes`; the least recently used fit leaves first."""

    def __init__(self, max_bytes: int = _MEMORY_BYTES) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._fits: OrderedDict[bytes, dict[bytes, Panel]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, fit: bytes, bars: Sequence[bytes]) -> list[Panel | None]:
        """The predictions of a fit for each of some bars, None where there are none."""
        with self._lock:
            held = self._fits.get(fit)
            if held is None:
                return [None] * len(bars)
            self._fits.move_to_end(fit)
            return [held.get(bar) for bar in bars]

    def keep(self, fit: bytes, found: Mapping[bytes, Panel]) -> None:
        """Remember predictions of a fit."""
        with self._lock:
            held = self._fits.setdefault(fit, {})
            for bar, values in found.items():
                if bar not in held:
                    held[bar] = values
                    self.n_bytes += values.nbytes + _ENTRY_BYTES
            self._fits.move_to_end(fit)
            while self.n_bytes > self.max_bytes and self._fits:
                _, gone = self._fits.popitem(last=False)
                self.n_bytes -= sum(values.nbytes + _ENTRY_BYTES for values in gone.values())

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._fits.clear()
            self.n_bytes = 0


KEPT = PredictionCache()
"""The one of this process."""


def user_folder() -> Path:
    """Where predictions are kept for this user of this machine."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(home) if home else Path.home() / ".cache") / "knowable" / "models"


def read_predictions(folder: Path, fit: bytes, bars: Sequence[bytes], sizes: Sequence[int]) -> list[Panel] | None:
    """The predictions of a fit for just these bars, one array a bar of the sizes given; None where there are none.

    A damaged file counts as none, and is removed.
    """
    stem = _stem(fit, bars)
    for path in (folder / stem[:2]).glob(f"{stem}-*.npy"):
        with contextlib.suppress(Exception):  # a damaged header is Python text, and its parser raises many kinds
            flat = np.load(path, allow_pickle=False)
            if flat.dtype == np.float64 and flat.shape == (sum(sizes),) and path.stem.endswith(f"-{_sum(flat)}"):
                path.touch()
                return np.split(flat, np.cumsum(sizes)[:-1])
        with contextlib.suppress(OSError):
            path.unlink()
    return None


def write_predictions(folder: Path, fit: bytes, bars: Sequence[bytes], found: Sequence[Panel]) -> None:
    """Keep the predictions of a fit for these bars; where the disk refuses, nothing is kept and nothing raised."""
    flat, stem = np.concatenate(found), _stem(fit, bars)
    home = folder / stem[:2]
    part = home / f".part.{os.getpid()}.{uuid.uuid4().hex[:12]}"
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                np.save(file, flat, allow_pickle=False)
            part.rename(home / f"{stem}-{_sum(flat)}.npy")
        finally:
            part.unlink(missing_ok=True)
        _trim(folder)


def _stem(fit: bytes, bars: Sequence[bytes]) -> str:
    return hashlib.blake2b(b"".join([fit, *bars]), digest_size=20).hexdigest()


def _sum(flat: Panel) -> str:
    return f"{zlib.crc32(flat.data) if flat.size else 0:08x}"


def _trim(folder: Path, limit: int = _DISK_BYTES) -> None:
    """Delete what was used least recently until the folder is within its bound."""
    held = []
    for path in folder.glob("*/*.npy"):
        with contextlib.suppress(OSError):
            found = path.stat()
            held.append((found.st_mtime, found.st_size, path))
    total = sum(size for _, size, _ in held)
    for _, size, path in sorted(held):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
