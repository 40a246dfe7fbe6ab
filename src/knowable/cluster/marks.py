"""Marks on disk: which trial a worker was at, so that its death is blamed on the right one.

Dask knows only that a worker died with some tasks. So each worker writes, before it starts a trial, where it is; the
driver reads that after the death. A mark is a few bytes in a folder both see; without one the driver halves batches.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Mark", "MarkWriter", "cause_of_death", "read_mark", "trace_path"]

WHOLE = -1
_WIDTH = 32
_TASK_FILE = str(Path(__file__).with_name("task.py"))
_STDLIB = str(Path(os.__file__).parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Process `pid` had begun the batch; `position` is its trial, or None if it ran the batch as a whole."""

    pid: int
    position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a worker process ended: its exit code (negative: the signal), and whether its memory limit did it."""

    code: int
    out_of_memory: bool = False


class MarkWriter:
    """Writes the mark of one batch; removed when the batch is through. A folder of None writes nothing."""

    def __init__(self, folder: str | None, batch_id: int) -> None:
        self._path = None if folder is None else _mark_path(folder, batch_id)
        self._file: int | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            with contextlib.suppress(OSError):  # a full disk must not fail a trial: the driver then halves
                self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        return self

    def at(self, position: int) -> None:
        """The trial that starts now, or `WHOLE`."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, f"{os.getpid()} {position}".ljust(_WIDTH).encode(), 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and self._path is not None:
            os.close(self._file)
            with contextlib.suppress(OSError):
                self._path.unlink()


def read_mark(folder: str, batch_id: int) -> Mark | None:
    """The mark a dead worker left of this batch, which is then removed; None if it had not begun it."""
    path = _mark_path(folder, batch_id)
    try:
        fields = path.read_text().split()
        path.unlink()
        pid, position = int(fields[0]), int(fields[1])
    except (OSError, ValueError, IndexError):
        return None
    return Mark(pid=pid, position=None if position == WHOLE else position)


def _mark_path(folder: str, batch_id: int) -> Path:
    return Path(folder) / f"{batch_id}.mark"


def trace_path(folder: str, pid: int) -> Path:
    """Where a worker's fault handler writes the stack it died with."""
    return Path(folder) / f"{pid}.trace"


def cause_of_death(folder: str | None, pid: int, exit_: Exit | None, time_limit: float | None) -> tuple[str, bool]:
    """Why worker process `pid` died, as a sentence, and whether its time limit ended it for certain."""
    trace = ""
    if folder is not None:
        with contextlib.suppress(OSError):
            trace = trace_path(folder, pid).read_text(errors="replace")
    place = _innermost(trace)
    if "Timeout (" in trace:
        limit = "" if time_limit is None else f" of {time_limit:g} s"
        return f"the trial passed its time limit{limit} and did not come back{place}", True
    if exit_ is not None and exit_.out_of_memory:
        return "out of memory: the trial grew the worker beyond its memory limit", False
    if "Segmentation fault" in trace or (exit_ is not None and exit_.code == -11):
        return f"a segmentation fault killed the worker{place}", False
    if "Fatal Python error" in trace:
        return f"{trace.splitlines()[0][:100]}{place}", False
    return _from_exit_code(exit_), False


def _from_exit_code(exit_: Exit | None) -> str:
    if exit_ is None or exit_.code == 255:
        return "the worker process died; the system kills so when memory runs out"
    if exit_.code == -signal.SIGKILL:
        return "the worker process was killed (signal 9); the system does so when memory runs out"
    if exit_.code < 0:
        with contextlib.suppress(ValueError):
            return f"the worker process was killed by {signal.Signals(-exit_.code).name}"
        return f"the worker process was killed by signal {-exit_.code}"
    return f"the trial ended the worker process with exit code {exit_.code}"


def _innermost(trace: str) -> str:
    """Where the trial was, as `` (File "a.py", line 3 in f)``: the innermost line of code that is not installed."""
    for stack in trace.split("(most recent call first):")[1:]:
        lines = [line.strip() for line in stack.splitlines() if line.strip().startswith("File ")]
        ours = [i for i, line in enumerate(lines) if _TASK_FILE in line]
        if ours:
            lines = lines[: ours[0]] or lines
            own = [line for line in lines if "site-packages" not in line and _STDLIB not in line]
            return f" ({(own or lines)[0]})"
    return ""
