"""The executor for `workers=0`: this process, one batch at a time, through the same code as a worker."""

from __future__ import annotations

import time

from knowable.cluster.base import Done, Event
from knowable.cluster.dispatch import Batch
from knowable.cluster.marks import MarkWriter
from knowable.cluster.task import BatchResult, Evaluate, Guards, run_batch

__all__ = ["InProcess"]


class InProcess:
    """Runs a batch inside `wait`. A segfault ends this process; the journal has what came before."""

    startup_seconds = 0.0
    threads = 1
    window = 1

    def __init__(self, evaluate: Evaluate, *, time_limit: float | None) -> None:
        self._evaluate = evaluate
        self._time_limit = time_limit
        self._next: Batch | None = None
        self._cold = True

    def submit(self, batches: list[Batch]) -> None:
        """Keep the one batch that the window allows for the next `wait`."""
        (self._next,) = batches

    def wait(self, timeout: float) -> list[Event]:  # noqa: ARG002 - nothing to wait for
        """Run the batch and return it."""
        batch, self._next = self._next, None
        if batch is None:
            return []
        started = time.perf_counter()
        with MarkWriter(None, batch.batch_id) as mark:
            outcomes = run_batch(
                self._evaluate,
                batch.segments,
                Guards(mark=mark, time_limit=self._time_limit),
                careful=batch.careful,
                worker="in-process",
            )
        cold, self._cold = self._cold, False
        result = BatchResult(outcomes=outcomes, seconds=time.perf_counter() - started, cold=cold)
        return [Done(batch_id=batch.batch_id, result=result)]

    def close(self) -> None:
        """Nothing to give back."""
