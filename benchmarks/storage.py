"""The store beside plain Parquet, DuckDB, a mapped matrix and a copy of memory; and how much memory a bulk load takes.

The bars are synthetic and say so: a random walk in cents a minute, 390 minutes a session, known two seconds after each
minute's end. Ratios are figures of the peer over ours, measured in one run, the best of a few. Run as
``python -m benchmarks.storage``; ``--gb 10`` loads ten gigabytes of CSV files, ``--only bulk`` nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from benchmarks.asof import DAY_US, N_DAYS, N_QUARTERS, synthetic_facts
from benchmarks.timing import best, table_row
from knowable.data.asof.facts import make_facts
from knowable.data.schema import Schema
from knowable.data.store import Store

N_ASSETS = 200
MINUTES = 390
MINUTE_US = 60_000_000
CASES = ("files", "panel", "asof", "bulk")


def sessions(n: int) -> np.ndarray:
    """(n,) int64 microseconds: midnights of weekdays from 2015 on."""
    days = np.busday_offset("2015-01-02", np.arange(n), roll="forward").astype("datetime64[us]")
    return days.astype(np.int64)


def minute_bars(n_rows: int, n_assets: int = N_ASSETS, seed: int = 0) -> pa.Table:
    """Synthetic minute bars sorted by entity and event_time: entity, event_time, known_time, open to close, volume."""
    rng = np.random.default_rng(seed)
    each = n_rows // n_assets
    ends = (sessions(each // MINUTES + 1)[:, None] + (871 + np.arange(MINUTES)) * MINUTE_US).ravel()[:each]
    walk = np.cumsum(rng.normal(0, 4e-4, (n_assets, each)), axis=1)
    close = np.maximum(np.round(50 * np.exp(walk), 2), 0.02).ravel()
    start = np.maximum(np.round(close * (1 + rng.normal(0, 2e-4, close.size)), 2), 0.02)
    high = np.round(np.maximum(start, close) + rng.exponential(0.01, close.size), 2)
    low = np.maximum(np.round(np.minimum(start, close) - rng.exponential(0.01, close.size), 2), 0.01)
    event = np.tile(ends, n_assets)
    names = pa.array([f"A{k:03d}" for k in range(n_assets)])
    return pa.table(
        {
            "entity": names.take(pa.array(np.repeat(np.arange(n_assets), each))),
            "event_time": pa.array(event).cast(pa.timestamp("us", "UTC")),
            "known_time": pa.array(event + 2_000_000).cast(pa.timestamp("us", "UTC")),
            "open": start,
            "high": high,
            "low": low,
            "close": close,
            "volume": rng.integers(1, 5_000, close.size) * 100.0,
        }
    )


def files(folder: Path, n_rows: int, repeats: int) -> list[dict[str, Any]]:
    """Write and read all rows, beside one call of pyarrow for the same columns and compression."""
    table = minute_bars(n_rows)
    total = table.num_rows
    plain = folder / "plain.parquet"
    made = iter(range(1_000))

    def append() -> None:
        where = folder / f"store-{next(made)}"
        store = Store(where)
        store.create("bars", Schema.bars(calendar="24/7", currency="USD"))
        assert store.append("bars", table).accepted == table.num_rows
        (folder / "store").unlink(missing_ok=True)
        (folder / "store").symlink_to(where)

    def once() -> float:
        os.sync()
        return best(append, 1)

    peer = best(lambda: pq.write_table(table, plain, compression="zstd"), repeats)
    ours = min(once() for _ in range(repeats))
    where = (folder / "store").resolve()
    size = sum(path.stat().st_size for path in (where / "bars" / "observations").glob("*.parquet"))
    note = f"judged, checksummed, synced; {size >> 20} MB beside {plain.stat().st_size >> 20}"
    found = [table_row(f"write {n_rows:,} minute bars", ours, peer, "pyarrow, one plain file", "s", note)]
    assert Store(where).read("bars").num_rows == total
    peer, name = best(lambda: pq.read_table(plain), repeats), "bars"
    ours = best(lambda: Store(where).read(name), repeats)
    return [
        *found,
        table_row(f"read {n_rows:,} minute bars", ours, peer, "pyarrow, one plain file", "s", "bytes verified"),
    ]


def panel(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """One field of 50 of 200 assets over a year of minutes, once the panel cache is warm."""
    year = 252 * MINUTES
    table = minute_bars(year * N_ASSETS)
    store = Store(folder / "panels")
    store.create("bars", Schema.bars(calendar="24/7", currency="USD"))
    store.append("bars", table)
    clock = table["known_time"].slice(0, year).cast(pa.int64()).to_numpy() * 1000
    names = [f"A{k:03d}" for k in range(0, N_ASSETS, 4)]
    everyone = [f"A{k:03d}" for k in range(N_ASSETS)]
    store.panel("bars", "close", clock=clock, entities=everyone)

    def ours() -> np.ndarray:
        # a cached panel may be mapped; the sum makes sure that every value was there
        found = Store(folder / "panels").panel("bars", "close", clock=clock, entities=names)
        found.sum()
        return found

    expected = table["close"].to_numpy().reshape(N_ASSETS, year)[::4].T
    np.testing.assert_array_equal(ours(), expected)
    matrix = folder / "matrix.npy"
    np.save(matrix, np.ascontiguousarray(table["close"].to_numpy().reshape(N_ASSETS, year).T))
    query = (
        f"SELECT entity, event_time, close FROM read_parquet('{folder}/panels/bars/observations/*.parquet') "
        f"WHERE entity IN ({', '.join(repr(name) for name in names)}) ORDER BY event_time, entity"
    )

    def duck() -> np.ndarray:
        with duckdb.connect() as connection:
            return connection.execute(query).fetchnumpy()["close"].reshape(year, len(names))

    np.testing.assert_array_equal(np.asarray(duck()), expected)

    def by_hand() -> float:
        return float(np.load(matrix, mmap_mode="r")[:, ::4].sum())

    mapped = best(by_hand, repeats)
    case = "a field x 50 of 200 assets x 1 year of minutes"
    spent = best(ours, repeats)
    return [
        table_row(case, 1e3 * spent, 1e3 * best(duck, 3), "DuckDB on the same files", "ms", "panel cache warm"),
        table_row(case, 1e3 * spent, 1e3 * mapped, "mapped matrix, by hand", "ms", "the limit"),
    ]


def asof(repeats: int) -> list[dict[str, Any]]:
    """The as-of panel of revised facts in memory, beside a copy of its result."""
    clock = (np.arange(N_DAYS, dtype=np.int64) * N_QUARTERS * 91 // N_DAYS + 60) * DAY_US * 1000
    facts = make_facts(synthetic_facts())
    names = facts.entities
    held = facts.panel("x", clock, names)
    spent = best(lambda: facts.panel("x", clock, names), 3 * repeats)
    return [
        table_row(
            f"as-of panel, {held.shape[0]:,} times x {held.shape[1]} names",
            1e3 * spent,
            1e3 * best(held.copy, 3 * repeats),
            "copy of the panel",
            "ms",
            "facts in memory",
        )
    ]


class Peak(threading.Thread):
    """Looks every 50 ms at the resident memory of this process and all it started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        """Look until `close`."""
        me = psutil.Process()
        while not self._over.wait(0.05):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.most = max(self.most, total)

    def close(self) -> float:
        """Stop, and the most seen, in GB."""
        self._over.set()
        self.join()
        return self.most / 1e9


def write_csv(folder: Path, gigabytes: float) -> tuple[int, float]:
    """Synthetic CSV files of 20 assets each, about 150 MB a file; (rows, GB)."""
    n_rows = n_files = size = 0
    block = minute_bars(20 * 252 * MINUTES, 20)
    times = {name: block[name].cast(pa.string()) for name in ("event_time", "known_time")}
    while size < gigabytes * 1e9:
        names = pa.array([f"F{n_files:03d}{k:02d}" for k in range(20)])
        entity = names.take(pa.array(np.repeat(np.arange(20), 252 * MINUTES)))
        part = block.set_column(0, "entity", entity)
        for name, texts in times.items():
            part = part.set_column(part.column_names.index(name), name, texts)
        path = folder / f"{n_files:03d}.csv"
        pacsv.write_csv(part, path, pacsv.WriteOptions(quoting_style="none"))
        n_rows, n_files, size = n_rows + part.num_rows, n_files + 1, size + path.stat().st_size
    return n_rows, size / 1e9


def bulk(folder: Path, gigabytes: float, workers: int) -> list[dict[str, Any]]:
    """Load CSV files with workers, and the most memory that all processes took together."""
    source = folder / "csv"
    source.mkdir()
    n_rows, size = write_csv(source, gigabytes)
    pa.default_memory_pool().release_unused()
    store = Store(folder / "bulk")
    store.create("bars", Schema.bars(calendar="24/7", currency="USD"))
    peak = Peak()
    started = time.perf_counter()
    report = store.append("bars", source, workers=workers, progress=False)
    spent = time.perf_counter() - started
    most = peak.close()
    assert report.accepted == n_rows, report
    note = f"{workers} workers, {spent:.0f} s, {n_rows / spent:,.0f} rows/s; peak of all processes, resident"
    return [table_row(f"load {size:.1f} GB of CSV, {n_rows:,} rows", most, size, "size of the files", "GB", note)]


def run(
    n_rows: int = 20_000_000, gigabytes: float = 0.6, repeats: int = 3, only: tuple[str, ...] = CASES
) -> list[dict[str, Any]]:
    """Each case with its peer; ratio = peer / ours."""
    found: list[dict[str, Any]] = []
    folder = Path(tempfile.mkdtemp(prefix="knowable-storage-"))
    try:
        if "bulk" in only:  # first, while the process is small
            found += bulk(folder, gigabytes, workers=2)
            shutil.rmtree(folder / "csv")
            shutil.rmtree(folder / "bulk")
        if "files" in only:
            found += files(folder, n_rows, repeats)
        if "panel" in only:
            found += panel(folder, 2 * repeats)
        if "asof" in only:
            found += asof(repeats)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def main() -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--gb", type=float, default=0.6, help="of CSV files for the bulk load")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = run(arguments.rows, arguments.gb, arguments.repeats, tuple(arguments.only or CASES))
    for item in rows:
        print(
            f"{item['case']:52s} ours {item['ours']:9.3f} {item['unit']:3s} {item['peer_name']:26s} {item['peer']:9.3f}"
            f"  ratio {item['ratio']:6.2f}  {item['note']}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
