"""`Memo`: results by structure, shared by programs, parameter sets and threads."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from knowable.errors import InputError, shown

if TYPE_CHECKING:
    from knowable.data.market import Market

__all__ = ["Memo"]

_MOST_KEYS = 2_000_000  # about 0.4 GB of keys; then it starts afresh


class _Work:
    """A result that some thread is computing."""

    __slots__ = ("busy", "value")

    def __init__(self) -> None:
        self.busy = threading.Lock()  # held while at work; an Event costs ten times as much
        self.busy.acquire()
        self.value: npt.NDArray[np.float64] | None = None


class Memo:
    """Keeps up to `max_bytes` of results on one market, the least recently used leave first. Thread-safe.

    The same subexpression is computed once, also by two threads that want it at the same time: the second waits.

    Args:
        max_bytes: what the kept arrays may take; a larger one is passed on and not kept.

    Raises: InputError if max_bytes < 0.
    """

    def __init__(self, max_bytes: int) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:
            raise InputError(f"`max_bytes >= 0` must hold for a whole number, but max_bytes={shown(max_bytes)}.")
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self.n_computed = 0
        self._market: Market | None = None
        self._ids: dict[Hashable, int] = {}
        self._next_id = itertools.count()
        self._kept: OrderedDict[int, npt.NDArray[np.float64]] = OrderedDict()  # least recently used first
        self._works: dict[int, _Work] = {}
        self._lock = threading.Lock()

    def bind(self, market: Market) -> None:
        """Make it the memo of `market`. Raises: InputError if it serves another one."""
        if self._market is not market:
            with self._lock:
                if self._market is None:
                    self._market = market
            if self._market is not market:
                raise InputError(
                    f"A memo serves one market, here {self._market!r}, but {market!r} came; make another Memo."
                )

    @property
    def ids(self) -> dict[Hashable, int]:
        """The current table of structures; `intern` fills it. A new object each time it starts afresh."""
        return self._ids

    def intern(self, key: Hashable) -> int:
        """The number of a structure. Numbers are never used twice."""
        ids = self._ids
        found = ids.get(key)
        if found is None:
            if len(ids) >= _MOST_KEYS:
                self.clear()
                ids = self._ids
            found = ids.setdefault(key, next(self._next_id))
        return found

    def find(self, key_id: int) -> npt.NDArray[np.float64] | None:
        """The result of that number if it is kept."""
        value = self._kept.get(key_id)
        if value is not None:
            try:  # noqa: SIM105 - suppress() costs more than all of this
                self._kept.move_to_end(key_id)
            except KeyError:  # another thread has dropped it since; the value is as good
                pass
        return value

    def obtain(self, key_id: int, compute: Callable[[], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """The result of that number, computed unless it is kept or another thread is at it.

        A thread holds one piece of work at a time and waits for none meanwhile, so they cannot wait in a circle.
        """
        while True:
            with self._lock:
                found = self.find(key_id)
                if found is not None:
                    return found
                work = self._works.get(key_id)
                if work is None:
                    mine = self._works[key_id] = _Work()
                    break
            with work.busy:
                pass
            if work.value is not None:
                return work.value
        try:
            mine.value = compute()
        finally:
            with self._lock:
                del self._works[key_id]
                if mine.value is not None:
                    self._keep(key_id, mine.value)
            mine.busy.release()
        return mine.value

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._ids = {}
            self._kept = OrderedDict()
            self.n_bytes = 0

    def _keep(self, key_id: int, value: npt.NDArray[np.float64]) -> None:
        self.n_computed += 1
        if value.nbytes > self.max_bytes:
            return
        self._kept[key_id] = value
        self.n_bytes += value.nbytes
        # one out for one in: its memory is used again at once, where a batch of them would go back to the system
        while self.n_bytes > self.max_bytes:
            self.n_bytes -= self._kept.popitem(last=False)[1].nbytes
