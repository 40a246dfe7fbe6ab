"""A time limit on one trial that holds in Python, in compiled code, and in code that never gives the GIL back.

Two steps. SIGALRM raises in the thread that runs the trial, which ends Python code. Code that does not come back (a
compiled loop, a lock) is ended with its process by faulthandler's watchdog, a C thread that needs no GIL: a Python
timer thread starved under numba (a limit of 2 s fired after 27).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import signal
import threading
from types import FrameType, TracebackType
from typing import IO, Self

__all__ = ["TimeLimit", "TrialTimeoutError", "arm_worker"]

GRACE_SECONDS = 1.0
_GRACE_SHARE = 0.25


class TrialTimeoutError(BaseException):
    """Raised inside a trial; not an Exception, so that `except Exception` in a strategy does not swallow it."""


class _Target:
    """The thread to interrupt; one at most, for a worker has one thread."""

    thread: int | None = None


def arm_worker() -> None:
    """Install the alarm in a worker; call from the main thread of its process."""
    signal.signal(signal.SIGALRM, _interrupt)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    if _Target.thread == threading.get_ident():
        raise TrialTimeoutError
    if _Target.thread is not None:
        _raise_in(_Target.thread, TrialTimeoutError)


class TimeLimit:
    """Context manager: TrialTimeoutError inside the block after `seconds`; nothing if None.

    With `watchdog`, an open file, the process itself ends a little later, having written the stack there.
    In a process without SIGALRM, or off its main thread without `arm_worker`, only the watchdog holds.
    """

    def __init__(self, seconds: float | None, watchdog: IO[str] | None = None) -> None:
        self._seconds = seconds
        self._watchdog = watchdog
        self._previous: object = None

    def __enter__(self) -> Self:
        if self._seconds is None or not hasattr(signal, "SIGALRM"):
            return self
        if self._watchdog is not None:
            hard = self._seconds * (1 + _GRACE_SHARE) + GRACE_SECONDS
            faulthandler.dump_traceback_later(hard, exit=True, file=self._watchdog)
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGALRM, _interrupt)
        if signal.getsignal(signal.SIGALRM) is _interrupt:
            _Target.thread = threading.get_ident()
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._seconds is None or not hasattr(signal, "SIGALRM"):
            return
        if _Target.thread is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            thread, _Target.thread = _Target.thread, None
            _raise_in(thread, None)  # an alarm that came on the last line must not hit what follows
        if self._previous is not None:
            with contextlib.suppress(ValueError, TypeError):
                signal.signal(signal.SIGALRM, self._previous)  # type: ignore[arg-type]
        if self._watchdog is not None:
            faulthandler.cancel_dump_traceback_later()


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    argument = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)
