"""A year of real captures lands day by day in a live tail, and the table is that of one bulk load."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("KNOWABLE_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data" / "us-equities-2015-2017"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared data are not at {DATA}; set KNOWABLE_SHARED")

COLUMNS = {"symbol": "entity", "date": "event_time", "captured_at": "known_time"}
SCHEMA = Schema.bars(calendar="XNYS", currency="USD", fields={"adj_close": "USD/share"})


def captured(until: str | None, every: int) -> pa.Table:
    """Rows as they were captured, in the order of capture; some of the symbols, and the header that came as a row."""
    rows = pd.read_parquet(DATA / "prices.parquet")
    names = sorted(set(rows["symbol"].dropna()))[::every]
    rows = rows[rows["symbol"].isin([*names, "symbol"])]
    if until is not None:
        rows = rows[rows["captured_at"] < until]
    return pa.Table.from_pandas(rows.sort_values("captured_at", kind="stable"), preserve_index=False)


@pytest.mark.parametrize(
    ("until", "every"),
    [("2015-04-28", 40), pytest.param(None, 1, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)])],
)
def test_a_replay_day_by_day_gives_the_table_of_a_bulk_load(tmp_path: Path, until: str | None, every: int) -> None:
    rows = captured(until, every)
    days = pc.floor_temporal(rows["captured_at"], unit="day")
    bulk, live = Store(tmp_path / "bulk"), Store(tmp_path / "live")
    for store in (bulk, live):
        store.create("bars", SCHEMA)
    bulk.append("bars", rows, columns=COLUMNS, tz="UTC")
    tail = live.tail("bars", fields=["close"], entities=bulk.read("bars", fields=[])["entity"].unique().to_pylist())
    clock, panels = [], []
    for n, day in enumerate(pc.unique(days).to_pylist()):
        live.append("bars", rows.filter(pc.equal(days, day)), columns=COLUMNS, tz="UTC")
        tail.update()
        clock.append(pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1))
        panels.append(tail.panel(clock[-1:])["close"])
        if n % 40 == 39:
            live.compact("bars")
    assert tail.late == 0
    assert_same(bulk, live)
    expected = bulk.panel("bars", "close", clock=clock, entities=tail.entities)
    np.testing.assert_array_equal(np.vstack(panels), expected)
    live.compact("bars", everything=True)
    assert_same(bulk, Store(live.folder))


def assert_same(bulk: Store, live: Store) -> None:
    """Every row that stands at some moments, every refused row, and the market."""
    for moment in (None, "2015-04-15T12:00:00Z", "2016-11-10T12:30:00Z"):
        assert live.read("bars", as_of=moment).equals(bulk.read("bars", as_of=moment))
    refused = [
        sorted(zip(*(store.quarantine("bars")[name].to_pylist() for name in ("rule", "raw")), strict=True))
        for store in (bulk, live)
    ]
    assert refused[0] == refused[1]
    how = {"start": "2015-04-01", "decide": "before_next_open"}
    assert live.market("bars", **how).fingerprint == bulk.market("bars", **how).fingerprint
