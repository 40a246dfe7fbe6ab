"""Our tables are ordinary Delta tables: engines that know nothing of us read the same rows."""

from __future__ import annotations

from pathlib import Path

import deltalake
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table import delta
from knowable.data.table.files import write_file
from knowable.data.table.order import sort_rows


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


def test_engines_read_the_table_after_files_were_exchanged_for_one(store: Store) -> None:
    """A commit that takes files away and adds others: what a compaction does."""
    table = store._dataset("facts").open()
    rows = sort_rows(delta.scan(table))
    new = write_file(table.location, rows)
    delta.commit(table, [new], batch="compact", note={}, remove=table.files["path"].to_pylist())
    path = str(store.table_path("facts"))
    assert deltalake.DeltaTable(path).file_uris() == [f"{path}/{new.path}"]
    assert pl.read_delta(path).height == 6
    assert sorted(pl.scan_delta(path).filter(pl.col("entity") == "A").collect()["eps"].to_list()) == [0.5, 1.5, 2.5]
    assert pl.read_delta(path, version=2).height == 4, "the files of older versions are still there"
    count = duckdb.read_parquet(deltalake.DeltaTable(path).file_uris()).aggregate("count(*), sum(eps)").fetchall()
    assert count == [(6, 4.5)]


def test_engines_filter_by_every_column_as_we_do(store: Store) -> None:
    """Encodings, statistics and dictionaries of the files are such that each engine finds the same rows."""
    files = deltalake.DeltaTable(store.table_path("facts")).file_uris()
    ours = store.read("facts", as_of="2016-04-02T00:00Z")
    sql = """
        select entity, event_time, known_time, eps from read_parquet(?)
        where known_time <= '2016-04-02 00:00:00+00' and op = 'assert'
        qualify row_number() over (partition by entity, event_time order by known_time desc, revision desc) = 1
        order by entity
    """
    found = duckdb.execute(sql, [files]).fetchall()
    assert [(row[0], row[3]) for row in found] == [("A", 1.5), ("B", None)]
    assert [row[0] for row in found] == ours["entity"].to_pylist()
    lazy = pl.scan_parquet(files).filter(
        (pl.col("op") == "assert") & (pl.col("entity") == "B") & pl.col("eps").is_null() & (pl.col("revision") == 0)
    )
    assert lazy.collect().height == 3


def test_engines_see_a_field_that_was_added_and_null_before_it(store: Store) -> None:
    table = store._dataset("facts").open()
    delta.evolve(table, [pa.field("sales", pa.float64())], {})
    frame = pl.read_delta(str(store.table_path("facts")))
    assert frame["sales"].null_count() == 6
    files = deltalake.DeltaTable(store.table_path("facts")).to_pyarrow_table()  # noqa: F841 - DuckDB finds it by its name
    assert duckdb.sql("select count(*), count(sales) from files").fetchall() == [(6, 0)]


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
