"""Processes that are killed: jobs run in forks of one warm process, so that hundreds of kills take minutes, not hours.

The file that holds the jobs is imported once by a process of its own; each job is then a fork of it, which is as real
a process as any: it dies by SIGKILL with its memory, its open files and its locks. A job is a function of that file;
its first argument reports: what it reported before it died is what a caller had been answered.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from knowable.errors import RunError

__all__ = ["Fork", "Nursery", "main"]

_LINE = 4096  # a shorter line is written to a pipe as a whole


class Fork:
    """A job that runs in a process of its own."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self.pid = nursery, pid

    def kill(self) -> list[Any]:
        """End it with SIGKILL, if it still runs, and return what it had reported."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def kill_after(self, seconds: float) -> list[Any]:
        """Let it run for a while, then `kill`."""
        time.sleep(seconds)
        return self.kill()

    def wait(self) -> list[Any]:
        """Let it end and return what it reported. Raises: RunError with the traceback if it raised."""
        return self._nursery.reap(self.pid)


class Nursery:
    """A warm process whose forks do the jobs of one file.

    Args:
        jobs: the file whose functions are the jobs; each takes ``report`` and keyword arguments of plain values.
    """

    def __init__(self, jobs: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "knowable.testing.killing", str(jobs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        to, back = self._process.stdin, self._process.stdout
        if to is None or back is None:
            raise RunError("A process without pipes cannot be asked for jobs.")
        self._to, self._back = to, back
        self._early: list[list[Any]] = []
        if self._read() != ["ready"]:
            raise RunError(f"{jobs} could not be imported as jobs.")

    def start(self, job: str, **arguments: object) -> Fork:
        """Begin a job; it has been forked and is about to work when this returns."""
        self._write({"job": job, "arguments": arguments})
        while (message := self._read())[0] not in ("begin", "ended"):
            self._early.append(message)  # a quick job reports before the news of its birth is out
        if message[0] == "ended":
            raise RunError(f"Job {job!r} did not begin: {message[1]}")
        return Fork(self, int(message[1]))

    def reap(self, pid: int) -> list[Any]:
        """Wait for the fork and collect its reports."""
        self._write({"reap": pid})
        messages, self._early = self._early, []
        while not messages or messages[-1][0] not in ("end", "ended"):
            messages.append(self._read())
        for kind, value in messages:
            if kind == "raised":
                raise RunError(str(value))
        return [value for kind, value in messages if kind == "report"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._to.close()  # the process ends at the end of its input
        self._back.close()
        self._process.wait(timeout=60)

    def _write(self, message: dict[str, Any]) -> None:
        self._to.write(json.dumps(message) + "\n")
        self._to.flush()

    def _read(self) -> list[Any]:
        line = self._back.readline()
        return list(json.loads(line)) if line else ["ended", "the process of jobs is gone"]


def main() -> None:
    """The warm process: import the jobs, then fork one for each line that asks for it."""
    jobs = runpy.run_path(sys.argv[1])
    _say("ready")
    for line in sys.stdin:
        message = json.loads(line)
        if "reap" in message:  # not before: until then the process id is taken and can be killed safely
            _, status = os.waitpid(message["reap"], 0)
            _say("end", status)
            continue
        pid = os.fork()
        if pid == 0:
            _work(jobs[message["job"]], message["arguments"])
        _say("begin", pid)


def _work(job: Callable[..., None], arguments: dict[str, Any]) -> None:
    code = 1
    with contextlib.suppress(BrokenPipeError):
        try:
            job(lambda value: _say("report", value), **arguments)
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
            _say("raised", traceback.format_exc()[-2000:])
    os._exit(code)


def _say(*message: object) -> None:
    line = (json.dumps(message) + "\n").encode()
    if len(line) > _LINE:
        raise RunError(f"A report has {len(line)} bytes; {_LINE} fit into one write.")
    os.write(1, line)


if __name__ == "__main__":
    main()
