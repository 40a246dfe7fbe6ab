"""`Memory`: facts kept between calls, bounded by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from knowable.data.asof.facts import Facts

__all__ = ["MEMORY_BYTES", "Memory"]

MEMORY_BYTES = 2**30


class Memory:
    """The facts that were used last, up to a number of bytes; what alone is larger is not kept.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self._limit = limit
        self._held: OrderedDict[Hashable, tuple[Facts, int]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """Held now, about."""
        with self._lock:
            return sum(size for _, size in self._held.values())

    def get(self, key: Hashable, build: Callable[[], Facts]) -> Facts:
        """The facts of a key, built if they are not here. Two threads may build the same; one of them is kept."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        facts = build()
        size = 2 * facts.n_bytes  # what is derived from them on demand takes as much again
        if size <= self._limit:
            with self._lock:
                self._held[key] = (facts, size)
                while sum(held for _, held in self._held.values()) > self._limit:
                    self._held.popitem(last=False)
        return facts
