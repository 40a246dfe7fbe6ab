"""Who does the work of an ingest, in pieces of which size, and who hears how far it is."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowable.data.ingest.pieces import PIECE_BYTES
from knowable.data.ingest.source import as_paths, is_parquet
from knowable.errors import InputError, shown

__all__ = ["SMALL_BYTES", "SPAN_ROWS", "Work", "is_bulk", "work_for"]

SMALL_BYTES = 64 << 20  # of text; judging it in memory takes about ten times as much
SPAN_ROWS = 800_000  # of one span; a worker then holds a few hundred megabytes while it settles
_WAITING = 64  # calls handed to an executor at a time


@dataclass(slots=True, kw_only=True)
class Work:
    """Who does the calls, and who hears how far they are.

    Attributes:
        executor: any of `concurrent.futures`; None for this process.
        told: called with work done and planned, in megabytes of files.
        piece_bytes, span_rows: see `pieces` and `SPAN_ROWS`.
    """

    executor: Executor | None = None
    told: Callable[[float, float], None] | None = None
    piece_bytes: int = PIECE_BYTES
    span_rows: int = SPAN_ROWS
    _done: float = 0.0
    _planned: float = 0.0

    def plan(self, megabytes: float) -> None:
        """Set how much work there is."""
        self._planned = megabytes
        self.step(0.0)

    @property
    def left(self) -> float:
        """Megabytes of work still to do."""
        return max(self._planned - self._done, 0.0)

    def step(self, megabytes: float) -> None:
        """Some more is done."""
        self._done += megabytes
        if self.told is not None:
            self.told(min(self._done, self._planned), self._planned)

    def calls(self, call: Callable[..., Any], rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        """Make a call for each row of arguments; (place, result) as they come."""
        if self.executor is None:
            for k, arguments in enumerate(rows):
                yield k, call(*arguments)
            return
        waiting: dict[Future[Any], int] = {}
        rest = iter(enumerate(rows))
        try:
            while True:
                for k, arguments in rest:
                    waiting[self.executor.submit(call, *arguments)] = k
                    if len(waiting) >= _WAITING:
                        break
                if not waiting:
                    return
                done, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
        finally:
            for future in waiting:
                future.cancel()


@contextlib.contextmanager
def work_for(
    name: str, data: object, *, workers: int, executor: Executor | None, progress: bool | None
) -> Iterator[Work | None]:
    """Who is to do an append; None where it is done in memory.

    Raises: InputError where the arguments contradict one another; RunError if workers do not start.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise InputError(f"`workers` must be a whole number, 0 or more, but it is {shown(workers)}.")
    if workers and executor is not None:
        raise InputError(f"Give workers= or executor=, not both; workers={workers}.")
    paths = as_paths(data)
    if paths is None:
        if workers or executor is not None:
            raise InputError("`workers` and `executor` share the work on files; a frame is taken by this process.")
        yield None
    elif not workers and executor is None and not is_bulk(paths):
        yield None
    else:
        with _bar(name, progress) as told, _pool(workers) as pool:
            yield Work(executor=pool or executor, told=told)


def is_bulk(paths: Sequence[Path]) -> bool:
    """Whether files are too large together to be judged in memory."""
    return sum(_unpacked(path) for path in paths) > SMALL_BYTES


def _unpacked(path: Path) -> int:
    """About how many bytes of text a file holds; one that is not there has none."""
    try:
        packed = 8 if path.suffix.lower() == ".gz" or is_parquet(path) else 1
        return packed * path.stat().st_size
    except OSError:
        return 0


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    """Worker processes on this machine, ended afterwards; None for none. Raises: RunError if they do not start."""
    if not workers:
        yield None
        return
    from knowable.cluster.pool import worker_pool

    with worker_pool(workers, preload=("knowable.data.ingest.passes",)) as pool:
        yield pool


@contextlib.contextmanager
def _bar(name: str, shown: bool | None) -> Iterator[Callable[[float, float], None]]:
    """A progress bar in megabytes of work, with the time left; by default on a terminal and in a notebook only."""
    from knowable.cluster.progress import ProgressBar
    from knowable.cluster.report import Progress

    began = time.monotonic()
    with ProgressBar(f"{name}, MB", shown=shown) as bar:

        def told(done: float, planned: float) -> None:
            left = (time.monotonic() - began) * (planned - done) / done if done else None
            bar(Progress(done=round(done), planned=round(planned), failed=0, eta_seconds=left))

        yield told
