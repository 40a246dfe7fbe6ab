"""Our tables are ordinary Delta tables: engines that know nothing of us read the same rows."""

from __future__ import annotations

from pathlib import Path

import deltalake
import duckdb
import pandas as pd
import polars as pl
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    for batch in range(3):
        known = pd.Timestamp("2016-04-01", tz="UTC") + pd.Timedelta(days=batch)
        made.append(
            "facts",
            pd.DataFrame({"entity": ["A", "B"], "event_time": pd.Timestamp("2016-03-31", tz="UTC"), "known_time": known,
                          "eps": [batch + 0.5, None]}),
        )  # fmt: skip
    return made


def test_polars_reads_and_filters_the_table(store: Store) -> None:
    path = str(store.table_path("facts"))
    frame = pl.read_delta(path)
    assert frame.height == 6
    late = pl.scan_delta(path).filter(pl.col("known_time") >= pl.datetime(2016, 4, 2, time_zone="UTC")).collect()
    assert sorted(late.drop_nulls("eps")["eps"].to_list()) == [1.5, 2.5]
    assert pl.read_delta(path, version=1).height == 2


def test_duckdb_reads_the_table_through_deltalake(store: Store) -> None:
    facts = deltalake.DeltaTable(store.table_path("facts")).to_pyarrow_table()  # noqa: F841 - DuckDB finds it by its name
    found = duckdb.sql(
        "select op, count(*), sum(eps) from facts where known_time < '2016-04-03 00:00:00+00' group by op"
    )
    assert found.fetchall() == [("assert", 4, 2.0)]


def test_duckdb_reads_the_files_themselves(store: Store) -> None:
    files = deltalake.DeltaTable(store.table_path("facts")).file_uris()
    count = duckdb.read_parquet(files).aggregate("count(*), max(eps)").fetchall()
    assert count == [(6, 2.5)]


def test_the_files_statistics_let_engines_skip_files(store: Store) -> None:
    actions = pl.DataFrame(deltalake.DeltaTable(store.table_path("facts")).get_add_actions(flatten=True))
    assert sorted(actions["num_records"].to_list()) == [2, 2, 2]
    assert actions["min.known_time"].min() == actions["max.known_time"].min()


def test_rows_another_engine_appended_are_read(store: Store) -> None:
    rows = store.read("facts", entities=["A"])
    path = store.table_path("facts")
    table = deltalake.DeltaTable(path).to_pyarrow_table().slice(0, 1)
    changed = table.set_column(table.column_names.index("entity"), "entity", [["Z"]])
    deltalake.write_deltalake(path, changed, mode="append")
    assert store.read("facts", entities=["Z"]).num_rows == 1
    assert store.read("facts", entities=["A"]).equals(rows)
