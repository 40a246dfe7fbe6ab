"""Calls on worker processes: any of them may be killed, and the call is made again."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from pathlib import Path

import pytest

from knowable.cluster.pool import worker_pool
from knowable.errors import InputError, RunError


def square(x: int) -> int:
    return x * x


def fail(x: int) -> int:
    raise InputError(f"{x} is no good.")


def die(folder: str, times: int) -> str:
    """Die so many times, then answer."""
    for k in range(times):
        mark = Path(folder) / str(k)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def test_calls_give_what_they_give_here() -> None:
    with worker_pool(2) as pool:
        assert list(pool.map(square, range(40))) == [x * x for x in range(40)]
        with pytest.raises(InputError, match="3 is no good"):
            pool.submit(fail, 3).result(timeout=60)
        assert pool.submit(os.getpid).result(timeout=60) != os.getpid()
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(square, 1)


def test_a_call_whose_worker_is_killed_is_made_again_but_not_for_ever(tmp_path: Path) -> None:
    (tmp_path / "twice").mkdir()
    (tmp_path / "always").mkdir()
    with worker_pool(2) as pool:
        lucky = pool.submit(die, str(tmp_path / "twice"), 2)
        doomed = pool.submit(die, str(tmp_path / "always"), 9)
        others = [pool.submit(square, x) for x in range(20)]
        assert lucky.result(timeout=120) == "alive"
        with pytest.raises(RunError, match="died 4 times"):
            doomed.result(timeout=120)
        assert [item.result(timeout=60) for item in others] == [x * x for x in range(20)]


def test_the_end_of_a_pool_does_not_wait_for_calls_under_way() -> None:
    began = time.monotonic()
    with worker_pool(1) as pool:
        futures = [pool.submit(time.sleep, 60) for _ in range(3)]
        concurrent.futures.wait(futures, timeout=0.5)
    assert time.monotonic() - began < 30


def test_a_pool_without_workers_is_refused() -> None:
    with pytest.raises(InputError, match="workers >= 1"), worker_pool(0):
        pass
