"""Bulk ingest against the append in memory: the same rows, the same refusals, the same report, however it is cut."""

from __future__ import annotations

import gzip
import random
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowable.data.ingest import bulk
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table.delta import scan
from knowable.errors import DataError, InputError, UnknownNameError

settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")

HEAD = "symbol,event_time,known_time,open,high,low,close,volume,revision,note"
COLUMNS = {"symbol": "entity"}


def everything(store: Store, name: str = "bars") -> tuple[pa.Table, pa.Table]:
    """All rows ever stored and refused, in an order of their own."""
    dataset = store._dataset(name)
    rows = scan(dataset.open())
    keys = ["entity", "event_time", *dataset.schema.keys, "known_time", "revision", "op"]
    return rows.sort_by([(key, "ascending") for key in keys]), scan(dataset.refused()).sort_by(
        [("file", "ascending"), ("rule", "ascending"), ("line", "ascending"), ("row", "ascending")]
    )


def assert_same(one: Store, other: Store, name: str = "bars") -> None:
    for ours, theirs in zip(everything(one, name), everything(other, name), strict=True):
        assert ours.schema.equals(theirs.schema)
        pd.testing.assert_frame_equal(ours.to_pandas(), theirs.to_pandas())


def stores(tmp_path: Path, schema: Schema | None = None) -> tuple[Store, Store]:
    made = []
    for name in ("small", "bulk"):
        store = Store(tmp_path / name)
        store.create("bars", schema or Schema.bars(calendar="XNYS", currency="USD"))
        made.append(store)
    return made[0], made[1]


def messy_lines(seed: int, n_rows: int, *, quotes: bool = False) -> list[str]:
    """Bars of a vendor with every kind of dirt, duplicates, conflicts and revisions. Made up, and no market's."""
    rng = random.Random(seed)
    days = ["2016-03-01", "2016-03-02", "2016-03-03", "2016-03-04", "2016-03-05"]
    lines = []
    for _ in range(n_rows):
        day = rng.choice(days)
        low, high = 9, 11
        cells = [rng.choice("ABCD"), day, f"{day}T2{rng.randint(1, 3)}:30Z", "10", str(high), str(low),
                 rng.choice(["10", "10.5"]), str(rng.choice([100, 200])), str(rng.choice([0, 0, 1])), "x"]  # fmt: skip
        if rng.random() < 0.15:
            cells[rng.randrange(10)] = rng.choice(["", "ten", "NaN", "inf", "-5", "0", "../etc", "1e-320", "soon"])
        line = ",".join(cells)
        if rng.random() < 0.04:
            line = rng.choice([HEAD, "", "  ", "cut,off", line + ",1,2", line.replace("x", "é"), line.replace("10", '"10')])
        if quotes and rng.random() < 0.3:
            line = line.replace(",x", rng.choice([',"a, b"', ',"two\nlines"', ',"say ""so"""', ',"open']))
        lines.append(line)
    return lines


def write_csv(path: Path, lines: list[str], *, end: str = "\n", packed: bool = False) -> Path:
    data = ("\n".join([HEAD, *lines]) + end).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def small_and_bulk(tmp_path: Path, appends: list[list[Path]], work: dict[str, Any], **how: Any) -> tuple[Any, Any]:
    small, large = stores(tmp_path)
    reports: list[list[Any]] = [[], []]
    for paths in appends:
        for store, kept, extra in ((small, reports[0], {"bulk": False}), (large, reports[1], {"bulk": True})):
            kept.append(append(store, paths, work if extra["bulk"] else None, **how))
    assert_same(small, large)
    for ours, theirs in zip(*reports, strict=True):
        assert ours == theirs
    return small, large


def append(store: Store, paths: list[Path], work: dict[str, Any] | None, **how: Any) -> Any:
    how = {"columns": COLUMNS, "tz": None, "known_lag": None, "known_time": None, "known_basis": None, **how}
    dataset = store._dataset("bars")
    return dataset.append(paths, **how, work=None if work is None else bulk.Work(**work))


@pytest.fixture(scope="module")
def two() -> Any:
    with ProcessPoolExecutor(2) as pool:
        yield pool


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    piece_bytes=st.integers(60, 3000),
    span_rows=st.integers(1, 80),
    threads=st.booleans(),
    quotes=st.booleans(),
)
def test_any_cut_of_messy_files_gives_the_rows_and_refusals_of_an_append_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    sizes: list[int],
    piece_bytes: int,
    span_rows: int,
    threads: bool,
    quotes: bool,
) -> None:
    folder = tmp_path_factory.mktemp("bulk")
    rng = random.Random(seed)
    paths = []
    for k, n_rows in enumerate(sizes):
        packed = rng.random() < 0.3
        lines = messy_lines(seed + k, n_rows, quotes=quotes)
        path = folder / f"{k}.csv{'.gz' if packed else ''}"
        paths.append(write_csv(path, lines, end=rng.choice(["\n", "", "\r\n"]), packed=packed))
    early = [write_csv(folder / "early.csv", messy_lines(seed + 99, 40))]
    with ThreadPoolExecutor(3) as pool:
        work = {"piece_bytes": piece_bytes, "span_rows": span_rows, "executor": pool if threads else None}
        try:
            small_and_bulk(folder, [early, paths, paths], work)
        except (DataError, UnknownNameError, InputError) as error:
            with pytest.raises(type(error)):
                append(Store(folder / "small"), paths, None)
            with pytest.raises(type(error)):
                append(Store(folder / "bulk"), paths, work)
