"""The executor on Dask: submits batches, receives results, and tells deaths from answers."""

from __future__ import annotations

import contextlib
import hashlib
import math
import queue
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from distributed.scheduler import KilledWorker

from knowable.cluster.base import Died, Done, Event
from knowable.cluster.dispatch import Batch
from knowable.cluster.local import connect
from knowable.cluster.marks import cause_of_death, read_mark
from knowable.cluster.plugin import EvaluatePlugin, Order, run_on_worker
from knowable.cluster.shipping import pickled_by_value
from knowable.cluster.task import Evaluate
from knowable.errors import RunError

__all__ = ["DaskExecutor"]

BATCHES_A_THREAD = 2
NO_WORKERS_SECONDS = 120.0


class DaskExecutor:
    """Batches as Dask tasks. Dask is told to retry nothing; a lost batch becomes a `Died` event.

    Args:
        evaluate: sent to each worker once.
        workers: processes to start, unless `cluster` says otherwise.
        cluster: see `connect`.
        time_limit: seconds one trial may take, or None.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        workers: int,
        cluster: str | Mapping[str, Any] | None,
        time_limit: float | None,
    ) -> None:
        began = time.perf_counter()
        pickled = pickled_by_value(evaluate, far=cluster is not None)
        self._digest = hashlib.blake2b(pickled, digest_size=16).hexdigest()
        self._time_limit = time_limit
        self._arrived: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._futures: dict[int, Any] = {}
        self._stack = contextlib.ExitStack()
        try:
            self._client, self._exits, self._marks = self._stack.enter_context(connect(cluster, workers))
            self._plugin = EvaluatePlugin(self._digest, pickled, self._marks)
            self._client.register_plugin(self._plugin, name=self._plugin.name)
            if cluster is not None:
                _check_versions(self._client)
        except BaseException:
            self._stack.close()
            raise
        self._threads = 0
        self._counted = -math.inf
        self._alone_since: float | None = None
        self.startup_seconds = time.perf_counter() - began

    @property
    def threads(self) -> int:
        """Threads of all workers there are now; after `close`, there were last."""
        now = time.monotonic()
        if now - self._counted > 2.0:
            with contextlib.suppress(OSError, TimeoutError, RuntimeError):  # gone or going: `wait` will say so
                self._threads = sum(self._client.nthreads().values())
            self._counted = now
        return self._threads

    @property
    def window(self) -> int:
        """Two batches a thread: one runs while the next is on its way."""
        return BATCHES_A_THREAD * max(self.threads, 1)

    def submit(self, batches: list[Batch]) -> None:
        """Send batches, in one message: Dask's client holds a second message back for 10 ms."""
        self._check_alive()
        now = time.time()
        orders = [
            Order(self._digest, batch.batch_id, batch.segments, batch.careful, self._time_limit, now)
            for batch in batches
        ]
        futures = self._client.map(
            run_on_worker,
            orders,
            key=[f"trials-{self._digest[:8]}-{batch.batch_id}" for batch in batches],
            pure=False,
            retries=0,
        )
        for batch, future in zip(batches, futures, strict=True):
            self._futures[batch.batch_id] = future
            future.add_done_callback(partial(self._on_done, batch.batch_id))

    def _on_done(self, batch_id: int, future: Any) -> None:
        self._arrived.put((batch_id, future))

    def wait(self, timeout: float) -> list[Event]:
        """Everything that arrived; each future is let go on receipt, or Dask would rerun it when a worker dies."""
        arrived = []
        with contextlib.suppress(queue.Empty):
            arrived.append(self._arrived.get(timeout=timeout))
            while True:
                arrived.append(self._arrived.get_nowait())
        if not arrived:
            self._check_alive()
        results = self._gathered([future for _, future in arrived if future.status == "finished"])
        events: list[Event] = []
        for batch_id, future in arrived:
            result = results.get(future.key)
            events.append(self._event(batch_id, future) if result is None else Done(batch_id=batch_id, result=result))
            future.release()
            self._futures.pop(batch_id, None)
        return events

    def _gathered(self, futures: list[Any]) -> dict[str, Any]:
        """All results in one round trip; none if a worker died with some of them, they are then asked for singly."""
        if len(futures) < 2:
            return {}
        try:
            return {f.key: result for f, result in zip(futures, self._client.gather(futures), strict=True)}
        except (KilledWorker, TimeoutError, OSError, RuntimeError):
            return {}

    def _event(self, batch_id: int, future: Any) -> Event:
        if future.status == "finished":
            try:
                return Done(batch_id=batch_id, result=future.result(timeout=60))
            except (KilledWorker, TimeoutError, OSError):
                return self._death(batch_id)
        if future.status == "cancelled":
            self._check_alive()
            return Died(batch_id=batch_id, started=False, position=None, cause="the scheduler dropped it")
        error = future.exception()
        if isinstance(error, KilledWorker):
            return self._death(batch_id)
        return Died(
            batch_id=batch_id,
            started=None,
            position=None,
            cause=f"the worker failed: {type(error).__name__}: {error}",
        )

    def _death(self, batch_id: int) -> Died:
        if self._marks is None:
            cause, _ = cause_of_death(None, -1, None, self._time_limit)
            return Died(batch_id=batch_id, started=None, position=None, cause=cause)
        mark = read_mark(self._marks, batch_id)
        if mark is None:
            return Died(batch_id=batch_id, started=False, position=None, cause="")
        deadline = time.monotonic() + 2.0
        while mark.pid not in self._exits and time.monotonic() < deadline:
            time.sleep(0.005)  # the closed connection is seen before the nanny has the exit code
        cause, final = cause_of_death(self._marks, mark.pid, self._exits.get(mark.pid), self._time_limit)
        return Died(batch_id=batch_id, started=True, position=mark.position, cause=cause, final=final)

    def _check_alive(self) -> None:
        if self._client.status not in ("running", "connecting"):
            raise RunError(
                "The Dask scheduler went away. All trials that came back are in the journal; resume the run."
            )
        if self.threads or not self._futures:
            self._alone_since = None
            return
        now = time.monotonic()
        self._alone_since = now if self._alone_since is None else self._alone_since
        if now - self._alone_since > NO_WORKERS_SECONDS:
            raise RunError(
                f"The cluster has had no worker for {NO_WORKERS_SECONDS:.0f} s. All trials that came back are in the "
                "journal; see why its workers do not start, then resume the run."
            )

    def close(self) -> None:
        """Drop the queue, take `evaluate` off the workers, end what was started here."""
        self._counted = math.inf
        with contextlib.suppress(Exception):
            for future in self._futures.values():
                future.release()
            self._futures.clear()
        if self._marks is None:
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(name=self._plugin.name)
        self._stack.close()


def _check_versions(client: Any) -> None:
    """Refuse workers that would compute something else: other Python, numpy, numba or knowable."""
    mine = _versions()
    for address, theirs in client.run(_versions).items():
        if theirs != mine:
            differ = [
                f"{name} {theirs.get(name)} there, {mine[name]} here" for name in mine if theirs.get(name) != mine[name]
            ]
            raise RunError(
                f"The worker at {address} has another environment: {'; '.join(differ)}.\n"
                "Install the same versions there, so that results do not depend on the worker."
            )


def _versions() -> dict[str, str]:
    import importlib.metadata
    import platform

    names = ("knowable", "numpy", "numba", "pandas", "cloudpickle")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
