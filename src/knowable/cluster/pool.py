"""Worker processes for calls that may be made again, such as the pieces of a bulk ingest."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import distributed
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker

from knowable.cluster.local import connect
from knowable.cluster.processes import warm_up
from knowable.errors import RunError

__all__ = ["WorkerPool", "worker_pool"]

TRIES = 3
_Result = TypeVar("_Result")


@contextlib.contextmanager
def worker_pool(workers: int, *, preload: tuple[str, ...] = ()) -> Iterator[WorkerPool]:
    """Start quiet worker processes of one thread each on this machine, loopback only, and end them afterwards.

    Args:
        workers: processes, >= 1.
        preload: modules they should have imported before the first call.

    Raises: RunError if they do not start; InputError if the number makes no sense.
    """
    warm_up(preload)
    with connect(None, workers) as (client, _, _):
        client.register_plugin(_KeepOn(), name="knowable-pool")
        pool = WorkerPool(client)
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class WorkerPool(concurrent.futures.Executor):
    """Calls on the workers of a Dask client. A call whose worker died is made again, three times at most, so only
    calls that can be repeated belong here.

    Args:
        client: a `distributed.Client`.
    """

    def __init__(self, client: distributed.Client) -> None:
        self._client: Any = client
        self._lock = threading.Lock()
        self._running: dict[concurrent.futures.Future[Any], Any] = {}
        self._closed = False

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[_Result]:
        """Make a call on whichever worker is free."""
        if self._closed:
            raise RuntimeError("The pool is shut down.")
        promise: concurrent.futures.Future[_Result] = concurrent.futures.Future()
        promise.set_running_or_notify_cancel()
        self._send(promise, partial(fn, *args, **kwargs), 1)
        return promise

    def _send(self, promise: concurrent.futures.Future[Any], call: Callable[[], Any], tries: int) -> None:
        future = self._client.submit(call, pure=False, retries=0)
        with self._lock:
            self._running[promise] = future
        future.add_done_callback(partial(self._on_done, promise, call, tries))

    def _on_done(self, promise: concurrent.futures.Future[Any], call: Callable[[], Any], tries: int, done: Any) -> None:
        try:
            self._settle(promise, call, tries, done)
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            if not promise.done():
                promise.set_exception(error)
        finally:
            done.release()

    def _settle(self, promise: concurrent.futures.Future[Any], call: Callable[[], Any], tries: int, done: Any) -> None:
        error: BaseException | None = None
        if done.status == "finished":
            try:
                result = done.result(timeout=60)
            except (KilledWorker, TimeoutError, OSError) as lost:  # the worker died with the result in its hands
                error = lost
            else:
                self._forget(promise)
                promise.set_result(result)
                return
        elif done.status == "cancelled":
            error = RunError("The Dask scheduler went away, or dropped the call.")
        else:
            error = done.exception(timeout=60)
        if isinstance(error, KilledWorker | TimeoutError | OSError) and tries < TRIES and not self._closed:
            self._send(promise, call, tries + 1)
            return
        self._forget(promise)
        if isinstance(error, KilledWorker):
            error = RunError(f"A worker process died {tries} times at the same work: killed, or out of memory.")
        promise.set_exception(error or RunError("The call was lost."))

    def _forget(self, promise: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._running.pop(promise, None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; wait for those under way, or drop them."""
        self._closed = True
        with self._lock:
            running = dict(self._running)
        if cancel_futures:
            with contextlib.suppress(Exception):
                self._client.cancel(list(running.values()))
        elif wait:
            concurrent.futures.wait(list(running))


class _KeepOn(WorkerPlugin):
    """Ctrl-C in a terminal reaches workers too; it is for the driver, which ends them."""

    name = "knowable-pool"

    def setup(self, worker: Any) -> None:
        del worker
        with contextlib.suppress(ValueError):  # not the main thread: a cluster without processes
            signal.signal(signal.SIGINT, signal.SIG_IGN)
