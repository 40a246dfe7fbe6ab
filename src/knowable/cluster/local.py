"""A quiet Dask cluster on this machine, or whatever cluster the configuration names."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import dask
import distributed.utils
import psutil  # type: ignore[import-untyped]
from distributed import Client, LocalCluster, Nanny
from tornado.ioloop import PeriodicCallback

from knowable.cluster.marks import Exit
from knowable.cluster.processes import (
    ONE_THREAD,
    START_METHOD,
    exit_codes_read_once,
    restored_environment,
    without_main,
)
from knowable.errors import InputError, RunError, shown

__all__ = ["QUIET", "WatchingNanny", "connect"]

QUIET: Mapping[str, object] = {
    # Dask gives a task up at the first death: the driver knows better who is guilty, and tries again itself
    "distributed.scheduler.allowed-failures": 0,
    # a trial may hold the GIL for many minutes without a heartbeat; death is seen by the closed connection
    "distributed.scheduler.worker-ttl": None,
    # 6.4 % of a core idle, 0.6 % with these
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.tick.limit": "1h",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.diagnostics.nvml": False,
    "distributed.diagnostics.computations.max-history": 0,
    "distributed.admin.log-length": 100,
    "distributed.admin.low-level-log-length": 100,
    "distributed.scheduler.events-cleanup-delay": "1m",
    "distributed.client.heartbeat": "10s",
    "distributed.client.scheduler-info-interval": "10s",
    # results are small and released on receipt: nothing to spill, and market data are mapped, not ours to count
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.monitor-interval": "200ms",
    # no pages
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}

_new_client: Any = Client  # untyped
CONNECT_SECONDS = 10.0
_MEMORY_FRACTION = 0.95
_WORKER_PROCESS = "Dask Worker process (from Nanny)"


class WatchingNanny(Nanny):
    """A nanny that remembers how its worker processes ended, and counts only their private memory.

    Dask's own count includes mapped files, so a worker that maps a large market would be killed for pages it shares.
    """

    exits: ClassVar[dict[int, Exit]]  # by pid; set on a subclass made for one cluster

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "memory_monitor" in self.periodic_callbacks:
            interval = 1000 * (self.memory_manager.memory_monitor_interval or 0.2)
            self.periodic_callbacks["memory_monitor"] = PeriodicCallback(self._watch_memory, interval)

    @property
    def process(self) -> Any:
        """What starts the worker process, again after each death."""
        return self._starter

    @process.setter
    def process(self, starter: Any) -> None:
        """Listen to its exits at once: a worker may die before Dask says that it started, or who it was."""
        self._starter = starter
        if starter is not None:
            go_on = starter._on_exit  # noqa: SLF001 - the one place that has both the process and its exit code

            def on_exit(process: Any) -> None:
                self.exits.setdefault(process.pid, Exit(code=process.exitcode))
                go_on(process)

            starter._on_exit = on_exit  # noqa: SLF001

    def _watch_memory(self) -> None:
        pid, limit = self.pid, self.memory_manager.memory_limit
        if pid is None or limit is None:
            return
        try:
            used = psutil.Process(pid).memory_info()
        except psutil.Error:
            return
        if used.rss - getattr(used, "shared", 0) > _MEMORY_FRACTION * limit:
            self.exits[pid] = Exit(code=-9, out_of_memory=True)
            with contextlib.suppress(psutil.Error):
                psutil.Process(pid).kill()


@contextlib.contextmanager
def connect(cluster: str | Mapping[str, Any] | None, workers: int) -> Iterator[tuple[Any, dict[int, Exit], str | None]]:
    """A client of a running cluster, the exits of its workers as they happen, and a folder for marks.

    Args:
        cluster: None for this machine; the address of a scheduler; or ``{"class": dotted name, "kwargs": {...}}``.
        workers: how many worker processes to start, each with one thread.
    Raises: RunError if it does not start; InputError if the configuration makes no sense.
    """
    exits: dict[int, Exit] = {}
    folder = tempfile.mkdtemp(prefix="knowable-")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(dask.config.set(QUIET))
            stack.enter_context(_quiet_logs())
            if isinstance(cluster, str):
                target: Any = cluster
                marks = None
            else:
                stack.enter_context(_cheap_processes())
                target = stack.enter_context(_started(cluster, workers, exits, folder))
                marks = folder if isinstance(target, LocalCluster) else None
            client = stack.enter_context(_client(target))
            yield client, exits, marks
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _client(target: Any) -> Iterator[Any]:
    try:
        client: Any = _new_client(
            target, set_as_default=False, timeout=CONNECT_SECONDS, direct_to_workers=isinstance(target, LocalCluster)
        )
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"No Dask scheduler answers at {shown(target)}: {error}.\nStart it, or leave `cluster` out to use this "
            "machine."
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=5)


@contextlib.contextmanager
def _started(cluster: Mapping[str, Any] | None, workers: int, exits: dict[int, Exit], folder: str) -> Iterator[Any]:
    kind, kwargs, scale = _configured(cluster)
    name = kind.__name__
    if workers == 0 and scale is None and "n_workers" not in kwargs:
        raise InputError(f"`workers >= 1` must hold where `cluster` is to be started, but workers=0, cluster={name}.")
    if kind is LocalCluster:
        kwargs = _local_kwargs(workers, exits, folder) | kwargs
    try:
        running = kind(**kwargs)
        if scale is not None or kind is not LocalCluster:
            running.scale(scale if scale is not None else workers)
    except Exception as error:
        raise RunError(
            f"The cluster {name} with {workers} workers did not start: {type(error).__name__}: {error}."
        ) from error
    try:
        yield running
    finally:
        running.close(timeout=10)


def _configured(cluster: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any], int | None]:
    settings: dict[str, Any] = {"class": "dask.distributed.LocalCluster"} if cluster is None else dict(cluster)
    unknown = set(settings) - {"class", "kwargs", "scale"}
    name = settings.get("class")
    if unknown or not isinstance(name, str) or "." not in name:
        raise InputError(
            f'`cluster` must be an address or {{"class": "package.Class", "kwargs": {{...}}}}, but cluster='
            f"{shown(cluster, 200)}."
        )
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"`cluster` names the class {name!r}, which cannot be imported: {error}.") from error
    return kind, dict(settings.get("kwargs") or {}), settings.get("scale")


def _local_kwargs(workers: int, exits: dict[int, Exit], folder: str) -> dict[str, Any]:
    return {
        "n_workers": workers,
        "threads_per_worker": 1,  # a death then takes one trial with it, and SIGALRM knows whom to interrupt
        "processes": True,
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "scheduler_kwargs": {"dashboard": False},
        "silence_logs": logging.CRITICAL,
        "worker_class": type("WatchingNanny", (WatchingNanny,), {"exits": exits}),
        "local_directory": folder,
        "env": dict(ONE_THREAD),
    }


@contextlib.contextmanager
def _cheap_processes() -> Iterator[None]:
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": START_METHOD}),
        restored_environment(),
        without_main(_WORKER_PROCESS),
        exit_codes_read_once(),
    ):
        if START_METHOD == "forkserver":
            distributed.utils._forkserver_preload_set = True  # noqa: SLF001 - else Dask preloads all it knows
        else:
            os.environ.update(ONE_THREAD)  # must be there before a spawned worker imports numpy
        yield


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Dask logs each death at length, under several loggers with levels of their own; the driver says it shorter."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
