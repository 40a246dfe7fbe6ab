"""Numba kernels: plain loops over arrays, nothing of ours imported.

Compiled code is kept on disk. Numba looks at the file of the kernel that was called, not at those of its helpers, and
an upgraded package may give a changed file the same time stamp. So the hash of all kernel sources is kept beside the
compiled code, and what was compiled from other sources is dropped here, before any kernel loads.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from numba.core.caching import FunctionCache

__all__: list[str] = []


def _drop_stale() -> None:
    digest = hashlib.blake2b(digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    folder = Path(FunctionCache(_drop_stale).cache_path)
    stamp = folder / f"sources-{digest.hexdigest()}.stamp"
    if stamp.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.nbi"), *folder.glob("*.nbc"), *folder.glob("sources-*.stamp")):
        old.unlink(missing_ok=True)
    stamp.touch()


with contextlib.suppress(OSError, RuntimeError):  # no folder can be written: numba compiles in memory, nothing is stale
    _drop_stale()
