"""How worker processes of this machine are started: quickly, one thread each, and without the user's script.

Imports no Dask, so that the parent of the workers can start on its imports while this process imports Dask.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing import spawn
from typing import Any

__all__ = ["ONE_THREAD", "START_METHOD", "exit_codes_read_once", "restored_environment", "warm_up", "without_main"]

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)
"""One worker is one thread: kernels and BLAS must not start more beside it."""

START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"

_PRELOAD = ("distributed", "numpy", "numba", "pandas", "knowable.cluster.plugin")
_WRITTEN_BY_DASK = ("PYTHONHASHSEED", "MALLOC_TRIM_THRESHOLD_", "__DASK_PARENT_PID")


def warm_up(preload: tuple[str, ...]) -> None:
    """Start the parent that workers are forked from, if it does not run yet; returns at once.

    It imports `preload` (our modules and libraries; never the user's, which may change between runs) and has one
    thread, so a fork holds no lock. Measured on two cores: two workers up in 0.2 s where spawning takes 0.8-1.2 s,
    and again after each death.
    """
    if START_METHOD != "forkserver":
        return
    from multiprocessing import forkserver

    with restored_environment():
        os.environ.update(ONE_THREAD)
        multiprocessing.get_context("forkserver").set_forkserver_preload([*_PRELOAD, *preload])
        forkserver.ensure_running()


@contextlib.contextmanager
def restored_environment() -> Iterator[None]:
    """Undo what is written into our environment for the sake of workers; Dask's nannies write there too."""
    before = {name: os.environ.get(name) for name in (*ONE_THREAD, *_WRITTEN_BY_DASK)}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def without_main(process_name: str) -> Iterator[None]:
    """Keep processes of this name from running the user's script again.

    By default a new process imports the main module, so a script without ``if __name__ == "__main__"`` would start
    clusters for ever. Workers need nothing of it: what is defined there travels by value.
    """
    original = spawn.get_preparation_data

    def prepare(name: str) -> dict[str, Any]:
        data: dict[str, Any] = original(name)
        if name == process_name:
            data.pop("init_main_from_path", None)
            data.pop("init_main_from_name", None)
        return data

    spawn.get_preparation_data = prepare
    try:
        yield
    finally:
        spawn.get_preparation_data = original


@contextlib.contextmanager
def exit_codes_read_once() -> Iterator[None]:
    """Keep the exit code of a worker from being lost where two threads ask for it.

    It comes once through a pipe. One thread waits for the end of each worker, and the start of another worker looks
    at all that run; without this, whoever comes second reads an empty pipe and writes 255 over the code.
    """
    if START_METHOD != "forkserver":
        yield
        return
    from multiprocessing import connection, popen_forkserver

    original, one_reads = popen_forkserver.Popen.poll, threading.Lock()

    def poll(self: Any, flag: int = os.WNOHANG) -> int | None:
        if self.returncode is None and not connection.wait([self.sentinel], 0 if flag == os.WNOHANG else None):
            return None
        with one_reads:
            code: int | None = original(self, flag)
            return code

    popen_forkserver.Popen.poll = poll  # type: ignore[method-assign]
    try:
        yield
    finally:
        popen_forkserver.Popen.poll = original  # type: ignore[method-assign]
