"""The lease of a journal: one driver at a time, and a late one cannot harm.

Each driver that takes the lease gets the next *epoch*. A write checks, in its own transaction, that its epoch is still
the newest; so a driver that was suspended, and whose lease went to another, is refused when it wakes up.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from knowable.errors import ConflictError

__all__ = ["EXPIRY_SECONDS", "HEARTBEAT_SECONDS", "Holder", "me"]

HEARTBEAT_SECONDS = 5.0
EXPIRY_SECONDS = 60.0  # twelve missed beats: a process that is swapped out or stopped, not one that is busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds, or held, the lease.

    Args:
        epoch: 1 for the first driver of the run, then 2, ...
        pid: process id on `host`.
        host: host name, boot and process namespace, so that equal pids of two machines differ.
        process_started: start time of the process in clock ticks after boot, against reused pids; 0 if unknown.
        started: seconds since 1970 when it took the lease.
        heartbeat: seconds since 1970 when it was last known to live.
        released: whether it gave the lease back.
    """

    epoch: int
    pid: int
    host: str
    process_started: int
    started: float
    heartbeat: float
    released: bool

    def alive(self, now: float) -> bool:
        """Whether the lease still binds: not released, heartbeat fresh, and the process not known to be dead."""
        if self.released or now - self.heartbeat > EXPIRY_SECONDS:
            return False
        if self.host != this_host() or sys.platform == "win32":  # there signal 0 would be Ctrl-C
            return True
        return _process_lives(self.pid, self.process_started)


def me(now: float) -> Holder:
    """This process as a holder, epoch still to be given."""
    pid = os.getpid()
    return Holder(
        epoch=0,
        pid=pid,
        host=this_host(),
        process_started=_start_ticks(pid) or 0,
        started=now,
        heartbeat=now,
        released=False,
    )


def newest(connection: sqlite3.Connection) -> Holder | None:
    """The last driver that took the lease, if any did."""
    row = connection.execute(
        "SELECT epoch, pid, host, process_started, started, heartbeat, released FROM sessions"
        " ORDER BY epoch DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    epoch, pid, host, process_started, started, heartbeat, released = row
    return Holder(
        epoch=epoch,
        pid=pid,
        host=host,
        process_started=process_started,
        started=started,
        heartbeat=heartbeat,
        released=bool(released),
    )


def take(connection: sqlite3.Connection, candidate: Holder, path: Path) -> int:
    """Take the lease inside the caller's transaction and return the new epoch, or raise ConflictError."""
    holder = newest(connection)
    if holder is not None and holder.alive(candidate.heartbeat):
        age = candidate.heartbeat - holder.heartbeat
        raise ConflictError(
            f"The run '{path.parent.name}' is being driven by process {holder.pid} on host "
            f"{holder.host.split('/')[0]} (heartbeat {max(age, 0.0):.0f} s ago).\n"
            f"Wait for it, or stop that process; then resume. A silent driver loses the run after "
            f"{EXPIRY_SECONDS:.0f} s."
        )
    epoch = 1 if holder is None else holder.epoch + 1
    connection.execute(
        "INSERT INTO sessions(epoch, pid, host, process_started, started, heartbeat, released)"
        " VALUES (?, ?, ?, ?, ?, ?, 0)",
        (
            epoch,
            candidate.pid,
            candidate.host,
            candidate.process_started,
            candidate.started,
            candidate.heartbeat,
        ),
    )
    return epoch


def check(connection: sqlite3.Connection, epoch: int, path: Path) -> None:
    """Raise ConflictError unless `epoch` is the newest; called inside every writing transaction."""
    holder = newest(connection)
    if holder is None or holder.epoch == epoch:
        return
    raise ConflictError(
        f"This driver lost the run '{path.parent.name}' (it holds lease epoch {epoch}): process {holder.pid} on host "
        f"{holder.host.split('/')[0]} took it over with epoch {holder.epoch}.\n"
        "Nothing was written. Let the other driver go on; all trials recorded before are in the journal."
    )


class Heartbeat:
    """A daemon thread that renews the heartbeat of one epoch until it is stopped or the epoch is no longer newest."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], epoch: int, clock: Callable[[], float]) -> None:
        self._connect, self._epoch, self._clock = connect, epoch, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="knowable journal heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            # A missed beat is harmless (the next one comes), so a busy or full disk is left to the driver's own writes
            with contextlib.suppress(sqlite3.Error), contextlib.closing(self._connect()) as connection:
                connection.execute(
                    "UPDATE sessions SET heartbeat = ? WHERE epoch = ? AND released = 0", (self._clock(), self._epoch)
                )


def this_host() -> str:
    """Host name, boot and process namespace: within it a pid means one process."""
    boot, namespace = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _process_lives(pid: int, process_started: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    ticks = _start_ticks(pid)
    if ticks is None:
        return not Path("/proc/self/stat").exists()  # a zombie, where /proc tells; elsewhere it lives
    return process_started in (0, ticks)


def _start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks after boot; None for a zombie or where /proc does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
