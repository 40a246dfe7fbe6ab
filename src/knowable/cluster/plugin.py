"""What a Dask worker holds: the user's `evaluate`, sent once to each, and the guards around it."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import IO, Any

from cloudpickle import loads
from distributed.diagnostics.plugin import WorkerPlugin

from knowable.cluster.limits import arm_worker
from knowable.cluster.marks import MarkWriter, trace_path
from knowable.cluster.task import BatchResult, Evaluate, Guards, Segments, run_batch

__all__ = ["EvaluatePlugin", "Order", "run_on_worker"]


@dataclass(slots=True)
class _Loaded:
    """What this worker process has of one drive."""

    evaluate: Evaluate | None
    problem: str | None
    marks: str | None
    name: str
    watchdog: IO[str] | None
    n_batches: int = 0
    last_end: float = field(default_factory=time.time)


_loaded: dict[str, _Loaded] = {}


class EvaluatePlugin(WorkerPlugin):
    """Brings the pickled `evaluate` to every worker, those included that start later or again.

    Pickled by value once and sent once a worker: a task then names it by its hash, in 32 bytes.
    """

    def __init__(self, digest: str, pickled: bytes, marks: str | None) -> None:
        self.name = f"knowable-{digest}"
        self._digest, self._pickled, self._marks = digest, pickled, marks

    def setup(self, worker: Any) -> None:
        """Load `evaluate`; runs on the worker's main thread before its first task."""
        for name in ("distributed", "distributed.worker", "distributed.nanny", "distributed.core"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # the driver reports deaths in its own words
        watchdog = None
        if threading.current_thread() is threading.main_thread() and worker.nanny is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which closes its workers
            with contextlib.suppress(AttributeError):
                arm_worker()
            watchdog = self._open_watchdog()
        evaluate, problem = None, None
        try:
            evaluate = loads(self._pickled)
        except Exception as error:  # noqa: BLE001 - told to the driver by the first task
            problem = f"{type(error).__name__}: {error}"
        _loaded[self._digest] = _Loaded(evaluate, problem, self._marks, str(worker.name), watchdog)
        if "numba" in sys.modules:
            with contextlib.suppress(Exception):
                sys.modules["numba"].set_num_threads(1)

    def _open_watchdog(self) -> IO[str] | None:
        if self._marks is None:
            return None
        try:
            file = trace_path(self._marks, os.getpid()).open("w")
        except OSError:
            return None
        faulthandler.enable(file=file, all_threads=False)
        return file

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - Dask's signature
        """Forget `evaluate`; a worker of somebody's cluster lives on."""
        state = _loaded.pop(self._digest, None)
        if state is not None and state.watchdog is not None:
            faulthandler.disable()
            state.watchdog.close()


@dataclass(frozen=True, slots=True)
class Order:
    """One batch as it travels; `digest` names the `evaluate` that the plugin brought."""

    digest: str
    batch_id: int
    segments: Segments
    careful: bool
    time_limit: float | None
    submitted: float


def run_on_worker(order: Order) -> BatchResult:
    """Run one batch with the `evaluate` that the plugin brought."""
    state = _loaded.get(order.digest)
    if state is None or state.evaluate is None:
        problem = "it was never brought there" if state is None else state.problem
        return BatchResult(broken=f"a worker could not load `evaluate`: {problem}")
    began = time.time()
    cold = state.n_batches == 0
    idle = 0.0 if cold else max(began - max(state.last_end, order.submitted), 0.0)
    started = time.perf_counter()
    with MarkWriter(state.marks, order.batch_id) as mark:
        outcomes = run_batch(
            state.evaluate,
            order.segments,
            Guards(mark=mark, time_limit=order.time_limit, watchdog=state.watchdog),
            careful=order.careful,
            worker=state.name,
        )
    seconds = time.perf_counter() - started
    state.n_batches += 1
    state.last_end = time.time()
    return BatchResult(outcomes=outcomes, seconds=seconds, idle_seconds=idle, cold=cold)
