"""A live tail: 1,000 micro-batches of minute bars; what an append, a look and a read of the newest rows cost.

Synthetic bars of 20 names, a batch a minute. Each figure is the best of some tries when 10 and when 1,000 batches are
there, then after a compaction; the peer of each case is the same thing with 10 batches, so `ratio` = then / now, and a
ratio above 0.5 says that it grew by less than 2. A reader that opens the store anew pays for the log as a new process
does; one that stays open looks at what is new only. Run as ``python -m benchmarks tail``.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.timing import best, table_row
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table import delta

N_NAMES, N_BATCHES, FEW = 20, 1_000, 10
START = pd.Timestamp("2016-01-04T14:31", tz="UTC")
NAMES = [f"E{k:02d}" for k in range(N_NAMES)]


def bars(minute: int, rng: np.random.Generator) -> pd.DataFrame:
    """One minute of all names."""
    moment = START + pd.Timedelta(minutes=minute)
    close = rng.uniform(9, 11, N_NAMES)
    return pd.DataFrame(
        {"entity": NAMES, "event_time": moment, "known_time": moment + pd.Timedelta("1s"), "close": close}
    )


def looks(store: Store, batch: int) -> dict[str, float]:
    """What readers pay now, in milliseconds."""
    newest = START + pd.Timedelta(minutes=batch - 1)
    brought = [item.version for item in store.versions("bars") if item.rows]
    before, version = brought[-3], brought[-1]

    def anew() -> None:
        delta.forget()
        assert Store(store.folder).read("bars", start=newest).num_rows == N_NAMES

    def again() -> None:  # the log is known to the process, but no row is in memory
        assert Store(store.folder).read("bars", start=newest).num_rows == N_NAMES

    def follow() -> float:
        feed = store.follow("bars", before, until=version)
        next(feed)
        started = time.perf_counter()
        assert next(feed).rows.num_rows == N_NAMES
        return 1e3 * (time.perf_counter() - started)

    return {
        "read of the newest minute, first of a process": 1e3 * best(anew, 7),
        "read of the newest minute, not the first": 1e3 * best(again, 7),
        "follow: the next commit of one who follows": min(follow() for _ in range(7)),
    }


def run() -> list[dict[str, Any]]:
    """Each case: with 1,000 batches and with 10, in milliseconds."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        store.create("bars", Schema.bars(currency="USD"))
        taken: list[float] = []
        for minute in range(N_BATCHES):
            frame = bars(minute, rng)
            started = time.perf_counter()
            store.append("bars", frame)
            taken.append(1e3 * (time.perf_counter() - started))
            if minute + 1 == FEW:
                first = looks(store, FEW)
        last = looks(store, N_BATCHES)
        tail = store.tail("bars", fields=["close"])
        step = _tail_step(store, tail, rng)
        started = time.perf_counter()
        store.compact("bars")
        compacting = 1e3 * (time.perf_counter() - started)
        after = looks(store, N_BATCHES + 20)
    rows = [table_row(case, last[case], first[case], "the same with 10 batches", "ms") for case in first]
    rows += [table_row(f"{case}, compacted", after[case], first[case], "with 10 batches", "ms") for case in first]
    early, late = statistics.median(taken[FEW : FEW + 50]), statistics.median(taken[-50:])
    rows.append(table_row("append of a minute, the last 50", late, early, "the first 50", "ms"))
    rows.append(table_row("tail: take in a minute, give a row", step, None, "-", "ms"))
    rows.append(table_row("compaction of 1,020 files", compacting, None, "-", "ms"))
    return rows


def _tail_step(store: Store, tail: Any, rng: np.random.Generator) -> float:
    taken = []
    for minute in range(N_BATCHES, N_BATCHES + 20):
        store.append("bars", bars(minute, rng))
        started = time.perf_counter()
        tail.update()
        tail.panel([START + pd.Timedelta(minutes=minute, seconds=1)])
        taken.append(1e3 * (time.perf_counter() - started))
    return min(taken)
