"""Which trials go to a worker together, and what follows when one dies: a pure machine without clock or cluster.

Events in (`add`, `done`, `died`), instructions out (`take`, the trials given up). The driver and the simulation of a
thousand workers in the tests run this very code.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Batch", "Dispatcher", "Work"]

TARGET_SECONDS = 0.7
"""A task aims at this: overhead of milliseconds stays below a percent, and a cancel or a death costs little."""

LEAST_SECONDS = 0.05
"""No task is made shorter than this only to feed an idle worker: its round trip would cost more than it gains."""

MAX_TRIES = 3
MAX_BATCH = 10_000
GROWTH = 8
RECENT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One trial to run."""

    study: str
    number: int
    key: str
    params: Mapping[str, object]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Trials that one task runs, in this order; `careful` asks to run and mark them one by one."""

    batch_id: int
    works: tuple[Work, ...]
    careful: bool = False

    @property
    def segments(self) -> list[tuple[str, list[dict[str, object]]]]:
        """The trials as (study, parameters of its trials), neighbours of one study joined."""
        joined: list[tuple[str, list[dict[str, object]]]] = []
        for work in self.works:
            if not joined or joined[-1][0] != work.study:
                joined.append((work.study, []))
            joined[-1][1].append(dict(work.params))
        return joined


class Dispatcher:
    """Forms batches from waiting trials.

    Args:
        window: how many tasks may be under way at once; the driver may change it as workers come and go.
        max_tries: how many workers a trial may take with it before it counts as failed.
    """

    def __init__(self, window: int, *, max_tries: int = MAX_TRIES) -> None:
        self.window = window
        self.max_tries = max_tries
        self.under_way: dict[int, Batch] = {}
        self._waiting: deque[Work] = deque()
        self._suspects: deque[tuple[Work, ...]] = deque()
        self._blamed: deque[Work] = deque()  # run last and alone: they may take what else is on the worker with them
        self._blame: dict[str, int] = {}
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._last_size = 1
        self._n_batches = 0

    @property
    def n_waiting(self) -> int:
        """Trials that no task holds."""
        return len(self._waiting) + len(self._blamed) + sum(map(len, self._suspects))

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not (self._waiting or self._suspects or self._blamed or self.under_way)

    def add(self, works: Iterable[Work]) -> None:
        """Trials that are to run."""
        self._waiting.extend(works)

    def take(self) -> Batch | None:
        """The next batch to submit, or None if nothing waits or the window is full."""
        if len(self.under_way) >= self.window:
            return None
        if self._suspects:
            return self._started(self._suspects.popleft(), careful=True)
        if not self._waiting:
            return self._started((self._blamed.popleft(),), careful=True) if self._blamed else None
        works = [self._waiting.popleft() for _ in range(self._size())]
        works.sort(key=lambda work: work.study)  # stable: order within a study stays
        return self._started(tuple(works), careful=False)

    def _started(self, works: tuple[Work, ...], *, careful: bool) -> Batch:
        batch = Batch(batch_id=self._n_batches, works=works, careful=careful)
        self._n_batches += 1
        self.under_way[batch.batch_id] = batch
        return batch

    def _size(self) -> int:
        n_waiting = len(self._waiting)
        total = sum(n for _, n in self._recent)
        if not total:
            return 1
        seconds = max(sum(s for s, _ in self._recent) / total, 1e-9)
        share = math.ceil(n_waiting / self.window)
        least = math.ceil(LEAST_SECONDS / seconds)
        size = min(TARGET_SECONDS / seconds, max(share, least), self._last_size * GROWTH, MAX_BATCH, n_waiting)
        self._last_size = max(self._last_size, int(size), 1)
        return max(int(size), 1)

    def done(self, batch_id: int, seconds: float, *, cold: bool = False) -> Batch:
        """A batch came back after `seconds` of work; `cold` if it was its worker's first, which says little."""
        batch = self.under_way.pop(batch_id)
        if not cold and not batch.careful:
            self._recent.append((seconds, len(batch.works)))
        return batch

    def died(
        self, batch_id: int, *, started: bool | None, position: int | None = None, final: bool = False
    ) -> list[Work]:
        """A batch was lost with its worker; returns the trials given up, the others run again.

        Args:
            batch_id: the batch.
            started: whether the worker had begun it; None if the worker left no mark to tell.
            position: the trial it was at; None if it ran the batch as a whole, or nobody knows.
            final: the trial at `position` is guilty for certain (its time limit), so it is not tried again.
        """
        batch = self.under_way.pop(batch_id)
        if started is False:  # it only waited in the queue of a worker that another trial killed
            self._again(batch.works, careful=batch.careful)
            return []
        if position is None and len(batch.works) == 1:
            position = 0
        if position is None:
            self._halve(batch, marks=started is True)
            return []
        guilty = batch.works[position]
        self._again(batch.works[position + 1 :], careful=True)
        self._again(batch.works[:position], careful=False)
        self._blame[guilty.key] = self._blame.get(guilty.key, 0) + 1
        if final or self._blame[guilty.key] >= self.max_tries:
            return [guilty]
        self._blamed.append(guilty)
        return []

    def _halve(self, batch: Batch, *, marks: bool) -> None:
        """Nobody knows which trial it was: with marks one careful pass will tell, without them halves will."""
        if marks and not batch.careful:
            self._again(batch.works, careful=True)
            return
        middle = len(batch.works) // 2
        self._again(batch.works[middle:], careful=True)
        self._again(batch.works[:middle], careful=True)

    def _again(self, works: tuple[Work, ...], *, careful: bool) -> None:
        if not works:
            return
        if careful:
            self._suspects.appendleft(works)
        else:
            self._waiting.extendleft(reversed(works))
