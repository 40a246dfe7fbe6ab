"""What processes do that are killed in `test_kills`: append, compact, retain, build a cache."""

from __future__ import annotations

import hashlib
import resource
import signal
from collections.abc import Callable

import deltalake  # noqa: F401 - imported once, before the forks
import numpy as np
import pandas as pd

from knowable.data.asof import facts  # noqa: F401
from knowable.data.store import Store
from knowable.errors import StoreError

N_ROWS = 60
FIRST = pd.Timestamp("2016-01-01", tz="UTC")
CLOCK = pd.date_range(FIRST, periods=40, tz="UTC", freq="6h")


def frame(batch: int, n_rows: int = N_ROWS) -> pd.DataFrame:
    """Rows that all say which batch they belong to, one row in ten refused."""
    known = FIRST + pd.Timedelta(hours=batch)
    names = [f"E{k}" for k in range(n_rows)]
    x = np.where(np.arange(n_rows) % 10 == 9, np.inf, float(batch))
    return pd.DataFrame({"entity": names, "event_time": known, "known_time": known, "x": x})


def append(report: Callable[[object], None], *, folder: str, first: int, last: int) -> None:
    """Append batches one by one; report each that was answered."""
    store = Store(folder)
    for batch in range(first, last):
        done = store.append("facts", frame(batch))
        report([batch, done.version])


def compact(report: Callable[[object], None], *, folder: str, target_rows: int, times: int) -> None:
    """Compact again and again; the targets differ so that there is something to do each time."""
    store = Store(folder)
    for k in range(times):
        report(store.compact("facts", target_rows=target_rows + k, everything=True).version)


def retain(report: Callable[[object], None], *, folder: str) -> None:
    """Compact, and drop all but the newest version."""
    store = Store(folder)
    report(store.compact("facts", everything=True).version)
    report(list(store.retain("facts", keep=1).dropped))


def build(report: Callable[[object], None], *, folder: str, seed: int, times: int) -> None:
    """Ask for panels that are not in the cache yet; report what was served."""
    rng = np.random.default_rng(seed)
    store = Store(folder)
    for _ in range(times):
        start, n = int(rng.integers(0, 30)), int(rng.integers(1, 40))
        report([start, n, digest(store, start, n)])


def digest(store: Store, start: int, n: int) -> str:
    """A panel as its hash."""
    panel = store.panel("facts", "x", clock=CLOCK[start:], entities=[f"E{k}" for k in range(n)], version=1)
    return hashlib.sha256(np.ascontiguousarray(panel).tobytes()).hexdigest()


def without_room(report: Callable[[object], None], *, folder: str, work: str, room: int) -> None:
    """Try something where no file may grow beyond so many bytes, as on a disk that is full."""
    store, scratch = Store(folder), Store(f"{folder}-scratch")
    scratch.create("facts", store.schema("facts"))
    for batch in range(2):  # what is compiled is compiled while there is room
        scratch.append("facts", frame(batch))
    scratch.compact("facts")
    store.read("facts")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        if work == "compact":
            store.compact("facts", everything=True)
        elif work == "snapshot":
            store.snapshot("s")
        else:
            store.retain("facts", keep=1)
    except StoreError as error:
        report(str(error)[:300])
