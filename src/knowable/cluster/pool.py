"""Worker processes for calls that may be made again, such as the pieces of a bulk ingest."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import distributed
from distributed.comm.core import CommClosedError
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker

from knowable.cluster.local import connect
from knowable.cluster.processes import warm_up
from knowable.errors import InputError, RunError

__all__ = ["WorkerPool", "in_worker", "worker_pool"]

TRIES = 4
_Result = TypeVar("_Result")


@contextlib.contextmanager
def worker_pool(workers: int, *, preload: tuple[str, ...] = ()) -> Iterator[WorkerPool]:
    """Start quiet worker processes of one thread each on this machine, loopback only, and end them afterwards.

    Args:
        workers: processes, >= 1.
        preload: modules they should have imported before the first call.

    Raises: RunError if they do not start; InputError if the number makes no sense.
    """
    if workers < 1:
        raise InputError(f"`workers >= 1` must hold, but workers={workers}.")
    warm_up(preload)
    with connect(None, workers) as (client, _, _):
        client.register_plugin(_KeepOn(), name="knowable-pool")
        pool = WorkerPool(client, workers)
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def in_worker() -> bool:
    """Whether this code runs on a worker, which must not start workers of its own."""
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


@dataclass(slots=True, eq=False)
class _Call:
    promise: concurrent.futures.Future[Any]
    work: Callable[[], Any]
    tries: int = 0
    future: Any = None


class WorkerPool(concurrent.futures.Executor):
    """Calls on the workers of a Dask client. A call whose worker died is made again, a few times at most, so only calls
    that can be repeated belong here. It is made again by itself: two calls may wait on one worker, and only a call that
    is alone is to blame for a death.

    Args:
        client: a `distributed.Client`.
        workers: calls at a time.
    """

    def __init__(self, client: distributed.Client, workers: int) -> None:
        self._client: Any = client
        self._room = workers
        self._lock = threading.RLock()
        self._waiting: deque[_Call] = deque()
        self._running: set[_Call] = set()
        self._closed = False

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[_Result]:
        """Make a call on whichever worker is free."""
        if self._closed:
            raise RuntimeError("The pool is shut down.")
        promise: concurrent.futures.Future[_Result] = concurrent.futures.Future()
        with self._lock:
            self._waiting.append(_Call(promise, partial(fn, *args, **kwargs)))
        self._send()
        return promise

    def _send(self) -> None:
        """Hand calls to the workers while there is room."""
        while True:
            with self._lock:
                if self._closed or not self._waiting or not self._has_room(self._waiting[0]):
                    return
                call = self._waiting.popleft()
                if not call.tries and not call.promise.set_running_or_notify_cancel():
                    continue
                call.tries += 1
                self._running.add(call)
            call.future = self._client.submit(call.work, pure=False, retries=0)
            call.future.add_done_callback(partial(self._on_done, call))

    def _has_room(self, call: _Call) -> bool:
        if call.tries or any(other.tries > 1 for other in self._running):
            return not self._running
        return len(self._running) < self._room

    def _on_done(self, call: _Call, done: Any) -> None:
        try:
            result, error = done.result(timeout=60), None
        except BaseException as raised:  # noqa: BLE001 - whoever waits must hear of it
            result, error = None, raised
        done.release()
        lost = isinstance(error, KilledWorker | TimeoutError | CommClosedError | concurrent.futures.CancelledError)
        with self._lock:
            self._running.discard(call)
            again = lost and call.tries < TRIES and not self._closed
            if again:
                self._waiting.append(call)
        if error is None:
            call.promise.set_result(result)
        elif not again:
            call.promise.set_exception(self._told(error, call.tries) if lost else error)
        self._send()

    def _told(self, error: BaseException, tries: int) -> BaseException:
        if isinstance(error, KilledWorker):
            return RunError(f"A worker process died {tries} times at the same work: killed, or out of memory.")
        return RunError(f"The workers went away: {error or type(error).__name__}.")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; wait for those under way, or drop them."""
        if wait and not cancel_futures:
            with self._lock:
                calls = [*self._running, *self._waiting]
            concurrent.futures.wait([call.promise for call in calls])
        with self._lock:
            self._closed = True
            dropped, running = list(self._waiting), list(self._running)
            self._waiting.clear()
        for call in dropped:
            call.promise.cancel()
        with contextlib.suppress(Exception):
            self._client.cancel([call.future for call in running if call.future is not None])


class _KeepOn(WorkerPlugin):
    """Ctrl-C in a terminal reaches workers too; it is for the driver, which ends them."""

    name = "knowable-pool"

    def setup(self, worker: Any) -> None:
        del worker
        with contextlib.suppress(ValueError):  # not the main thread: a cluster without processes
            signal.signal(signal.SIGINT, signal.SIG_IGN)
