"""The table layer by itself: what is read is what was written, whatever is left out; commits that lose say so."""

from __future__ import annotations

import datetime as dt
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import deltalake
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.table import delta
from knowable.data.table.files import Bounds, NewFile, read_file, write_file, write_files
from knowable.data.table.location import Location
from knowable.data.table.order import sort_rows
from knowable.errors import ConflictError, StoreError

TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("entity", pa.string()),
        ("event_time", TIME),
        ("known_time", TIME),
        ("revision", pa.int64()),
        ("op", pa.string()),
        ("known_basis", pa.string()),
        ("x", pa.float64()),
        ("note", pa.string()),
        ("good", pa.bool_()),
        ("due", TIME),
    ]
)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def rows_of(items: list[tuple[str, int, int, float | None]]) -> pa.Table:
    """Rows from (entity, event and known time in microseconds, value)."""
    return pa.Table.from_pylist(
        [
            {
                "entity": entity,
                "event_time": EPOCH + dt.timedelta(microseconds=event),
                "known_time": EPOCH + dt.timedelta(microseconds=known),
                "revision": k,
                "op": "retract" if k % 5 == 4 else "assert",
                "known_basis": "observed",
                "x": x,
                "note": None if x is None else f"n{k}",
                "good": k % 2 == 0,
                "due": None,
            }
            for k, (entity, event, known, x) in enumerate(items)
        ],
        schema=SCHEMA,
    )


def key(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(str(row[name]) for name in SCHEMA.names)


@pytest.fixture
def where(tmp_path: Path) -> Location:
    made = Location.of(tmp_path / "table")
    delta.create_table(made, SCHEMA, description="a test", properties={"knowable.schema": "{}"})
    return made


def put(where: Location, rows: pa.Table, batch: str) -> int:
    table = delta.open_table(where)
    return delta.commit(table, write_files(where, rows), batch=batch, note={"rows": str(rows.num_rows)})


items = st.lists(
    st.tuples(
        st.sampled_from(["A", "AA", "B", "Ĉ", "z"]),
        st.integers(-5, 5).map(lambda k: k * 1_000_003),
        st.integers(-3, 9).map(lambda k: k * 999_999),
        st.none() | st.floats(allow_nan=False),
    ),
    max_size=25,
)
moment = st.none() | st.integers(-6_000_000_000, 9_500_000_000)


@given(
    batches=st.lists(items, min_size=1, max_size=4),
    entities=st.none() | st.lists(st.sampled_from(["A", "B", "Ĉ", "q"]), unique=True),
    bounds=st.tuples(moment, moment, moment, moment),
    columns=st.none() | st.lists(st.sampled_from(SCHEMA.names), min_size=1, unique=True),
    coded=st.booleans(),
)
def test_a_scan_gives_the_rows_that_plain_python_picks(
    tmp_path_factory: pytest.TempPathFactory, batches, entities, bounds, columns, coded
) -> None:
    where = Location.of(tmp_path_factory.mktemp("scan"))
    delta.create_table(where, SCHEMA)
    stored: list[dict[str, object]] = []
    for k, batch in enumerate(batches):
        if batch:
            put(where, rows_of(batch), f"b{k}")
            stored += rows_of(batch).to_pylist()
    start, end, known_from, known_until = bounds

    def ns(row: dict[str, object], name: str) -> int:
        return (row[name] - EPOCH) // dt.timedelta(microseconds=1) * 1000  # type: ignore[operator]

    expected = [
        row
        for row in stored
        if (entities is None or row["entity"] in entities)
        and (start is None or ns(row, "event_time") >= start)
        and (end is None or ns(row, "event_time") <= end)
        and (known_from is None or ns(row, "known_time") >= known_from)
        and (known_until is None or ns(row, "known_time") <= known_until)
    ]
    asked = {"entities": entities, "start": start, "end": end, "known_from": known_from, "known_until": known_until}
    table = delta.open_table(where)
    assert table.n_rows == len(stored)
    found = delta.scan(table, columns=columns, coded=coded, **asked)
    names = SCHEMA.names if columns is None else columns
    assert found.column_names == names
    plain = [{name: row[name] for name in names} for row in expected]
    assert sorted(map(str, found.to_pylist())) == sorted(map(str, plain))
    if not coded:
        assert found.schema.equals(pa.schema([SCHEMA.field(name) for name in names]))
    pieces = list(delta.scan_batches(table, columns=columns, **asked))
    assert sum(piece.num_rows for piece in pieces) == len(expected)


def big(n_entities: int, n_times: int) -> pa.Table:
    n = n_entities * n_times
    times = pa.array(np.tile(np.arange(n_times) * 60_000_000, n_entities)).cast(TIME)
    return pa.table(
        {
            "entity": np.repeat([f"E{k:03d}" for k in range(n_entities)], n_times),
            "event_time": times,
            "known_time": times,
            "revision": np.zeros(n, np.int64),
            "op": pa.repeat("assert", n),
            "known_basis": pa.repeat("observed", n),
            "x": np.arange(n) / 7,
            "note": pa.nulls(n, pa.string()),
            "good": pa.nulls(n, pa.bool_()),
            "due": pa.nulls(n, TIME),
        },
        schema=SCHEMA,
    )


def test_row_groups_that_are_not_needed_are_not_read(tmp_path: Path) -> None:
    """Damage in one row group stops only the queries that need it: the proof that the others do not touch it."""
    where = Location.of(tmp_path)
    rows = big(40, 10_000)
    (file,) = write_files(where, rows)
    path = tmp_path / file.path
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups == 4
    chunk = metadata.row_group(2).column(SCHEMA.names.index("x"))
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + 1000] ^= 1
    path.write_bytes(data)

    def read(bounds: Bounds, *names: str) -> int:
        wanted = pa.schema([SCHEMA.field(name) for name in names])
        return sum(part.num_rows for part in read_file(where, file.path, file.size, wanted, bounds))

    assert read(Bounds(entities=("E001", "E020")), "x") == 20_000
    assert read(Bounds(), "entity", "event_time") == 400_000
    with pytest.raises(StoreError, match="column 'x' of row group 2"):
        read(Bounds(entities=("E030",)), "x")
    with pytest.raises(StoreError, match="column 'x' of row group 2"):
        read(Bounds(start=0, end=0), "x")


@given(items=items)
@settings(max_examples=40, deadline=None)
def test_rows_are_sorted_by_entity_event_time_keys_known_time_and_revision(items) -> None:
    rows = rows_of(items)
    expected = sorted(rows.to_pylist(), key=lambda r: (r["entity"], r["event_time"], r["known_time"], r["revision"]))
    assert sort_rows(rows).to_pylist() == expected
    keyed = sort_rows(rows, ["note"]).to_pylist()
    given_notes = [row for row in keyed if row["note"] is not None]
    assert given_notes == sorted(
        given_notes, key=lambda r: (r["entity"], r["event_time"], r["note"], r["known_time"], r["revision"])
    )


def test_rows_beyond_the_size_of_a_file_go_to_the_next_in_order(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("knowable.data.table.files.ROWS_PER_FILE", 1_000)
    where = Location.of(tmp_path)
    rows = big(5, 500).take(pa.array(np.random.default_rng(3).permutation(2_500)))
    files = write_files(where, rows)
    assert [file.rows for file in files] == [1_000, 1_000, 500]
    back = [pq.read_table(tmp_path / file.path) for file in files]
    assert pa.concat_tables(back).equals(big(5, 500))
    assert write_files(where, rows.slice(0, 0)) == []


def test_the_same_rows_make_the_same_file(tmp_path: Path) -> None:
    rows = rows_of([("A", 1, 2, 3.0)])
    first, again = (write_file(Location.of(tmp_path), rows) for _ in range(2))
    assert first == again
    assert [path.name for path in tmp_path.iterdir()] == [first.path]


def test_a_stale_commit_is_a_conflict_even_where_delta_itself_would_append(where: Location) -> None:
    """Two appends never conflict for Delta; for us they may, since the later one has not seen the rows of the other."""
    stale = delta.open_table(where)
    put(where, rows_of([("A", 1, 1, 1.0)]), "one")
    late = write_files(where, rows_of([("A", 1, 1, 2.0)]))
    with pytest.raises(ConflictError, match="Another writer changed"):
        delta.commit(stale, late, batch="two", note={})
    delta.forget()
    with pytest.raises(ConflictError, match="Another writer changed"):
        delta.commit(stale, late, batch="two", note={})
    table = delta.open_table(where)
    assert table.version == 1
    assert delta.committed(table, "one")
    assert not delta.committed(table, "two")
    assert delta.commit(table, late, batch="two", note={}) == 2
    assert sorted(delta.scan(delta.open_table(where))["x"].to_pylist()) == [1.0, 2.0]


def test_threads_that_commit_at_once_each_land_once_or_lose(where: Location) -> None:
    table = delta.open_table(where)
    files = [write_files(where, rows_of([("A", k, k, float(k))])) for k in range(6)]
    landed: list[int] = []
    lost: list[int] = []

    def commit(k: int) -> None:
        try:
            delta.commit(table, files[k], batch=f"b{k}", note={})
            landed.append(k)
        except ConflictError:
            lost.append(k)

    threads = [threading.Thread(target=commit, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(landed) == 1
    assert len(lost) == 5
    assert delta.scan(delta.open_table(where))["x"].to_pylist() == [float(landed[0])]


def test_an_exchange_of_files_changes_no_row_and_old_versions_stay(where: Location) -> None:
    for k in range(4):
        put(where, rows_of([("A", k, k, float(k)), ("B", k, k, None)]), f"b{k}")
    before = delta.open_table(where)
    whole = sort_rows(delta.scan(before))
    new = write_file(where, whole)
    paths = before.files["path"].to_pylist()
    version = delta.commit(before, [new], batch="compact", note={"purpose": "compaction"}, remove=paths[:4])
    after = delta.open_table(where)
    assert after.version == version == 5
    assert after.files["path"].to_pylist() == [new.path]
    assert sort_rows(delta.scan(after)).equals(whole)
    delta.forget()
    assert sort_rows(delta.scan(delta.open_table(where))).equals(whole)
    assert delta.open_table(where, 4).files.num_rows == 4
    with pytest.raises(ConflictError, match="to be removed"):
        delta.commit(after, [new], batch="again", note={}, remove=paths[:1])


def test_a_column_that_is_added_is_null_in_the_rows_before_and_absent_in_versions_before(where: Location) -> None:
    put(where, rows_of([("A", 1, 1, 1.0)]), "one")
    table = delta.open_table(where)
    version = delta.evolve(table, [pa.field("y", pa.float64())], {"knowable.schema": '{"y": 1}'})
    assert version == 3
    assert delta.evolve(delta.open_table(where), [pa.field("y", pa.float64())], {"knowable.schema": '{"y": 1}'}) == 3
    with pytest.raises(ConflictError):
        delta.evolve(table, [pa.field("z", pa.float64())], {})
    for _ in range(2):
        newest = delta.open_table(where)
        assert newest.schema.names == [*SCHEMA.names, "y"]
        assert newest.properties["knowable.schema"] == '{"y": 1}'
        assert delta.scan(newest)["y"].to_pylist() == [None]
        old = delta.open_table(where, 1)
        assert old.schema.names == SCHEMA.names
        assert old.properties["knowable.schema"] == "{}"
        assert delta.scan(old).column_names == SCHEMA.names
        delta.forget()
    rows = rows_of([("A", 2, 2, 2.0)]).append_column("y", pa.array([5.0]))
    put(where, rows, "two")
    assert sorted(delta.scan(delta.open_table(where), columns=["y"])["y"].to_pylist(), key=str) == [5.0, None]


def test_history_tells_what_each_commit_said_and_when(where: Location) -> None:
    put(where, rows_of([("A", 1, 1, 1.0)]), "one")
    put(where, rows_of([("A", 1, 2, 1.0), ("B", 1, 2, 1.0)]), "two")
    told = delta.history(delta.open_table(where))
    assert [(item["version"], item.get("rows")) for item in told] == [(2, "2"), (1, "1"), (0, None)]
    assert told[0]["at"] >= told[1]["at"] >= told[2]["at"] > 1_600_000_000_000
    assert [item["version"] for item in delta.history(delta.open_table(where, 1))] == [1, 0]


def test_a_version_another_engine_made_is_read_and_said_to_be_foreign(where: Location) -> None:
    put(where, rows_of([("A", 1, 1, 1.0)]), "one")
    theirs = rows_of([("Z", 7, 8, 9.0), ("Y", 5, 5, 4.0)])
    deltalake.write_deltalake(str(where.path), theirs, mode="append")
    for _ in range(2):
        table = delta.open_table(where)
        assert table.foreign
        assert table.version == 2
        assert delta.scan(table, entities=["Z"])["x"].to_pylist() == [9.0]
        assert delta.scan(table, start=6_000, columns=["x"])["x"].to_pylist() == [9.0]
        delta.forget()
    assert put(where, rows_of([("A", 2, 2, 2.0)]), "two") == 3
    delta.forget()
    again = delta.open_table(where)
    assert not again.foreign, "our commit vouches for all that is there"
    assert again.n_rows == 4
    deltalake.DeltaTable(str(where.path)).optimize.compact()
    assert sorted(delta.scan(delta.open_table(where))["x"].to_pylist()) == [1.0, 2.0, 4.0, 9.0]


def test_a_file_that_does_not_state_its_times_may_hold_anything(where: Location) -> None:
    put(where, rows_of([("A", 1, 2_000_000, 1.0)]), "one")
    table = delta.open_table(where)
    assert delta.all_known(table, 2_000_999_000)
    assert not delta.all_known(table, 2_000_998_999), "statistics may have been cut to milliseconds"
    silent = table.files.set_column(6, "max_known_time", pa.nulls(1, TIME))
    assert table.files.column_names[6] == "max_known_time"
    mixed = pa.concat_tables([table.files, silent])
    assert not delta.all_known(replace(table, files=mixed), 2_000_999_000)
    assert delta.all_known(replace(table, files=table.files.slice(1)), 0), "no row was known later"


def test_a_table_made_anew_in_the_same_place_is_noticed_at_once(where: Location, tmp_path: Path) -> None:
    put(where, rows_of([("A", 1, 1, 1.0)]), "one")
    old = delta.open_table(where)
    shutil.rmtree(tmp_path / "table")
    delta.create_table(where, SCHEMA)
    put(where, rows_of([("B", 1, 1, 2.0)]), "one")
    new = delta.open_table(where)
    assert new.id != old.id
    assert delta.scan(new)["entity"].to_pylist() == ["B"]
    with pytest.raises(ConflictError, match="already"):
        delta.create_table(where, SCHEMA)


def test_a_table_of_a_newer_format_or_protocol_is_refused(where: Location) -> None:
    alter = deltalake.DeltaTable(str(where.path)).alter
    alter.set_table_properties({"knowable.table": "2"}, raise_if_not_exists=False)
    with pytest.raises(StoreError, match="table format 2; this release reads 1. Update knowable"):
        delta.open_table(where, name="facts")
    assert delta.open_table(where, 0).version == 0


def test_a_file_without_statistics_is_read_whatever_is_asked(where: Location) -> None:
    new = write_file(where, rows_of([("A", 1, 1, 1.0), ("B", 2, 2, 2.0)]))
    bare = NewFile(path=new.path, size=new.size, rows=2, stats='{"numRecords": 2, "minValues": {}, "maxValues": {}}')
    delta.commit(delta.open_table(where), [bare], batch="bare", note={})
    delta.forget()
    table = delta.open_table(where)
    assert table.files["min_entity"].to_pylist() == [None]
    assert delta.scan(table, entities=["B"], start=1_000, end=5_000)["x"].to_pylist() == [2.0]


@pytest.mark.slow
def test_a_thousand_commits_open_and_append_as_ten_do(where: Location) -> None:
    """Each twentieth commit writes a checkpoint, so that an opening reads at most that many entries besides."""
    for k in range(1_000):
        put(where, rows_of([("A", k, k, float(k))]), f"b{k}")
    table = delta.open_table(where)
    assert table.files.num_rows == 1_000
    delta.forget()
    fresh = delta.open_table(where)
    assert fresh.n_rows == 1_000
    assert sorted(delta.scan(fresh, start=998_000)["x"].to_pylist()) == [998.0, 999.0]
    assert delta.committed(fresh, "b3")
    checkpoints = list((where.path / "_delta_log").glob("*.checkpoint.parquet"))  # type: ignore[operator]
    assert len(checkpoints) == 50


def test_times_before_1970_and_at_the_edges_of_a_bound_are_kept(where: Location) -> None:
    put(where, rows_of([("A", -1, 0, 1.0), ("A", 0, 0, 2.0), ("A", 1, 1, 3.0)]), "one")
    table = delta.open_table(where)

    def asked(**bounds: int) -> list[float]:
        return delta.scan(table, **bounds)["x"].to_pylist()

    assert asked(start=-1_000) == [1.0, 2.0, 3.0]
    assert asked(start=-999) == [2.0, 3.0], "a first moment within a microsecond is rounded up"
    assert asked(end=-1) == [1.0], "a last one down"
    assert asked(start=1, end=1_000) == [3.0]
    assert asked(known_from=1) == [3.0]
    assert asked(known_until=999) == [1.0, 2.0]


def test_what_pandas_reads_from_the_files_is_what_was_written(where: Location) -> None:
    rows = rows_of([("A", 1, 1, 0.1), ("B", 2, 3, None)])
    put(where, rows, "one")
    (path,) = where.path.glob("part-*.parquet")  # type: ignore[union-attr]
    pd.testing.assert_frame_equal(pd.read_parquet(path), rows.to_pandas())
    assert pc.sum(pq.read_table(path)["x"]).as_py() == 0.1
