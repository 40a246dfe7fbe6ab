"""Following a dataset that others write: each row once, in order; micro-batches give what a bulk load gives."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table import delta
from knowable.errors import InputError, StoreError, UnknownNameError

DAYS = pd.date_range("2016-01-04", periods=12, tz="UTC")
NAMES = ["A", "B", "C"]


def day(n: int, names: Sequence[str] = NAMES) -> pd.DataFrame:
    x = [n + k / 10 for k in range(len(names))]
    return pd.DataFrame({"entity": list(names), "event_time": DAYS[n], "known_time": DAYS[n], "x": x})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("facts", Schema.facts(fields={"x": "1"}))
    return made


def drained(store: Store, version: int = 0, **how: object) -> list[tuple[int, list[float]]]:
    found = store.follow("facts", version, timeout="0s", **how)  # type: ignore[arg-type]
    return [(update.version, update.rows["x"].to_pylist()) for update in found]


# Following ------------------------------------------------------------------------------------------------------------


def test_a_follower_gets_each_commit_once_and_in_order(store: Store) -> None:
    for n in range(4):
        store.append("facts", day(n))
    assert drained(store) == [(n + 1, [n + 0.0, n + 0.1, n + 0.2]) for n in range(4)]
    assert drained(store, 3) == [(4, [3.0, 3.1, 3.2])]
    assert drained(store, 4) == []
    assert drained(store, until=2) == drained(store)[:2]
    update = next(store.follow("facts"))
    assert update.rows.column_names == ["entity", "event_time", "known_time", "revision", "op", "known_basis", "x"]
    assert abs(pd.Timestamp.now("UTC") - update.committed_at) < pd.Timedelta("1h")


def test_compactions_bring_nothing_and_added_fields_appear(store: Store) -> None:
    store.append("facts", day(0))
    store.compact("facts", everything=True)
    store.append("facts", day(1))
    store.compact("facts")
    version = store.evolve("facts", add={"y": "USD"})
    store.append("facts", day(2).assign(y=7.0))
    found = list(store.follow("facts", timeout="0s"))
    assert [update.rows["x"][0].as_py() for update in found] == [0.0, 1.0, 2.0]
    assert ["y" in update.rows.column_names for update in found] == [False, False, True]
    assert found[-1].version == version + 1
    asked = list(store.follow("facts", timeout="0s", fields=["y"]))
    assert [update.rows["y"].to_pylist() for update in asked] == [[None] * 3, [None] * 3, [7.0] * 3]


def test_a_follower_of_some_entities_hears_of_those_only(store: Store) -> None:
    store.append("facts", day(0))
    store.append("facts", day(1, ["B", "C"]))
    store.append("facts", day(2, ["A"]))
    assert drained(store, entities=["A"]) == [(1, [0.0]), (3, [2.0])]


def test_the_order_in_which_entities_are_asked_for_loses_no_row(store: Store) -> None:
    """A file whose names lie between two of those asked for holds one of them all the same."""
    store.append("facts", day(0))
    tail = store.tail("facts", entities=["C", "A"])
    store.append("facts", day(1, ["A"]))
    assert drained(store, 1, entities=["C", "A"]) == [(2, [1.0])]
    assert tail.update() == 1
    assert tail.panel(DAYS[1:2])["x"].tolist() == [[0.2, 1.0]]


def test_rows_of_a_commit_come_as_they_became_known(store: Store) -> None:
    store.append("facts", pd.concat([day(3), day(0), day(2)]))
    (update,) = store.follow("facts", timeout="0s")
    known = update.rows["known_time"].to_pylist()
    assert known == sorted(known)


def test_a_follower_waits_for_what_comes_and_stops_when_told(store: Store) -> None:
    found: list[int] = []
    stop = threading.Event()

    def listen() -> None:
        found.extend(update.version for update in Store(store.folder).follow("facts", poll="5ms", stop=stop))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        for n in range(5):
            store.append("facts", day(n))
            if n == 2:
                store.compact("facts")
        deadline = time.monotonic() + 30
        while len(found) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()
    assert found == [1, 2, 3, 5, 6]


def test_a_closed_follower_is_gone(store: Store) -> None:
    store.append("facts", day(0))
    feed = store.follow("facts", poll="1h")
    next(feed)
    feed.close()  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        next(feed)


def test_following_refuses_odd_wishes_before_it_begins(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'facts'"):
        store.follow("fcts")
    with pytest.raises(UnknownNameError, match="Unknown field 'z'"):
        store.follow("facts", fields=["z"])
    with pytest.raises(StoreError, match="has no version 9"):
        store.follow("facts", 9)
    with pytest.raises(InputError, match="not a lag"):
        store.follow("facts", poll="soon")
    with pytest.raises(InputError, match="`until` is a version"):
        store.follow("facts", until="tomorrow")  # type: ignore[arg-type]


def test_rows_that_retention_removed_are_an_error_that_says_so(store: Store) -> None:
    for n in range(3):
        store.append("facts", day(n))
    store.compact("facts")
    store.append("facts", day(3))
    store.retain("facts", keep=1)
    with pytest.raises(StoreError, match="removed by retention"):
        drained(store)
    assert drained(store, 4) == [(5, [3.0, 3.1, 3.2])]


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_in_the_log_or_a_file_is_never_a_wrong_row(store: Store, place: float) -> None:
    for n in range(3):
        store.append("facts", day(n))
    expected = drained(store)
    pages = [
        *sorted((store.table_path("facts") / "_delta_log").glob("*.json"))[1:],
        *store.table_path("facts").glob("*.parquet"),
    ]
    for page in pages:
        whole = page.read_bytes()
        data = bytearray(whole)
        data[int(place * len(data))] ^= 4
        page.write_bytes(data)
        found: list[tuple[int, list[float]]] = []
        try:
            for update in Store(store.folder).follow("facts", timeout="0s"):
                found.append((update.version, update.rows["x"].to_pylist()))  # noqa: PERF401 - what came before counts
        except StoreError:
            pass
        else:
            assert page.suffix == ".json", "no damage to a data file passes"
        assert found == expected[: len(found)]
        page.write_bytes(whole)
    assert drained(store) == expected


def test_a_log_entry_cut_at_a_line_is_noticed(store: Store) -> None:
    store.append("facts", day(0))
    (page,) = (store.table_path("facts") / "_delta_log").glob("*1.json")
    lines = page.read_bytes().splitlines(keepends=True)
    page.write_bytes(b"".join(line for line in lines if b'"add"' not in line))
    with pytest.raises(StoreError, match="is damaged"):
        drained(store)


# Tail -----------------------------------------------------------------------------------------------------------------


def test_a_tail_goes_on_as_bars_land_and_agrees_with_the_panel(store: Store) -> None:
    store.append("facts", day(0))
    tail = store.tail("facts")
    assert (tail.version, tail.entities, tail.fields) == (1, ("A", "B", "C"), ("x",))
    rows = [tail.panel([DAYS[0]])["x"]]
    for n in range(1, 8):
        store.append("facts", day(n))
        assert tail.update() == 3
        if n == 4:
            store.compact("facts")
        rows.append(tail.panel([DAYS[n]])["x"])
    assert tail.update() == 0
    np.testing.assert_array_equal(np.vstack(rows), store.panel("facts", "x", clock=DAYS[:8]))
    assert tail.late == 0


def test_a_tail_of_typed_fields_and_keys_gives_its_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.create("actions", Schema.actions(calendar="XNYS"))
    tail = store.tail("actions", entities=["A"])
    assert "ratio" in tail.fields
    assert "type" not in tail.fields
    frame = pd.DataFrame(
        {
            "entity": "A",
            "event_time": ["2016-03-01", "2016-03-01"],
            "known_time": pd.to_datetime(["2016-02-01", "2016-02-02"], utc=True),
            "type": ["split", "dividend"],
            "ratio": [2.0, None],
            "amount": [None, 0.5],
            "currency": [None, "USD"],
        }
    )
    store.append("actions", frame)
    tail.update()
    clock = pd.to_datetime(["2016-02-01", "2016-02-02"], utc=True)
    for name, panel in tail.panel(clock).items():
        np.testing.assert_array_equal(panel, store.panel("actions", name, clock=clock, entities=["A"]))
    with pytest.raises(InputError, match="no number"):
        store.tail("actions", fields=["type"])


# Micro-batches --------------------------------------------------------------------------------------------------------

one_row = st.tuples(
    st.sampled_from(NAMES),
    st.integers(0, 3),  # event
    st.integers(0, 7),  # known, in hours after the event
    st.integers(0, 1),  # revision
    st.sampled_from(["assert", "assert", "assert", "retract"]),
    st.sampled_from([1.0, 2.0, 3.0]),
)


def as_frame(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["entity", "event", "lag", "revision", "op", "x"])
    frame["event_time"] = DAYS[0] + pd.to_timedelta(frame.pop("event"), unit="h")
    frame["known_time"] = frame["event_time"] + pd.to_timedelta(frame.pop("lag"), unit="h")
    return frame


def state(store: Store, entities: Sequence[str] = NAMES) -> tuple[object, ...]:
    """All that a reader can ask of the newest version."""
    clock = pd.date_range(DAYS[0], periods=13, freq="h")
    tables = [store.read("facts", as_of=moment).to_pydict() for moment in (None, clock[3], clock[6])]
    present = set(store.read("facts")["entity"].to_pylist())
    panel = store.panel("facts", "x", clock=clock, entities=entities).tobytes() if present else b""
    return *map(repr, tables), panel


def built(folder: Path, frames: Sequence[pd.DataFrame], basis: str) -> Store:
    store = Store(folder)
    store.create("facts", Schema.facts(fields={"x": "1"}, known_basis=basis))
    for frame in frames:
        store.append("facts", frame)
    return store


@settings(max_examples=8, deadline=None)
@given(
    st.lists(one_row, min_size=1, max_size=12),
    st.sets(st.integers(1, 11), max_size=3),
    st.sampled_from(["observed", "vendor"]),
)
def test_any_cut_in_the_order_of_capture_gives_the_store_of_one_bulk_load(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], cuts: set[int], basis: str
) -> None:
    """Rows that share a known time travel together, as captures do; then duplicates, conflicts and withdrawals fall
    out alike.
    """
    frame = as_frame(rows).sort_values("known_time", kind="stable", ignore_index=True)
    edges = [0, *sorted(cut for cut in cuts if cut < len(frame)), len(frame)]
    known = frame["known_time"]
    edges = [edge for edge in edges if edge in (0, len(frame)) or known[edge] != known[edge - 1]]
    parts = [frame.iloc[first:stop] for first, stop in itertools.pairwise(edges)]
    folder = tmp_path_factory.mktemp("stores")
    bulk, live = built(folder / "bulk", [frame], basis), built(folder / "live", parts, basis)
    assert state(live) == state(bulk)
    assert sorted(live.quarantine("facts")["rule"].to_pylist()) == sorted(bulk.quarantine("facts")["rule"].to_pylist())


@settings(max_examples=8, deadline=None)
@given(st.lists(one_row, min_size=1, max_size=10, unique_by=lambda row: row[:4]), st.randoms(use_true_random=False))
def test_backfills_may_come_in_any_order_and_any_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], chance: object
) -> None:
    """Where no two rows conflict, and the basis allows backfills, order and cuts say nothing."""
    folder = tmp_path_factory.mktemp("stores")
    bulk = built(folder / "bulk", [as_frame(rows)], "vendor")
    chance.shuffle(rows)  # type: ignore[attr-defined]
    cut = chance.randint(0, len(rows))  # type: ignore[attr-defined]
    parts = [as_frame(part) for part in (rows[:cut], rows[cut:]) if part]
    assert state(built(folder / "live", parts, "vendor")) == state(bulk)


def test_a_conflict_with_a_stored_row_is_where_a_cut_does_matter(tmp_path: Path) -> None:
    """Two rows that say different things at one known time: within a batch neither is believed. Across batches the
    first is stored by the time the second comes, and readers have seen it: it stands, the second is refused.
    """
    first, second = as_frame([("A", 0, 1, 0, "assert", 1.0)]), as_frame([("A", 0, 1, 0, "assert", 2.0)])
    bulk = built(tmp_path / "bulk", [pd.concat([first, second])], "vendor")
    live = built(tmp_path / "live", [first, second], "vendor")
    assert bulk.read("facts").num_rows == 0
    assert bulk.quarantine("facts")["rule"].to_pylist() == ["conflicting_duplicate"] * 2
    assert live.read("facts")["x"].to_pylist() == [1.0]
    assert live.quarantine("facts")["rule"].to_pylist() == ["conflicting_duplicate"]
    again = built(tmp_path / "again", [pd.concat([first, second]), first], "vendor")
    assert again.read("facts")["x"].to_pylist() == [1.0], "a row refused for a conflict may be stated again, alone"


def test_micro_batches_of_bars_give_the_market_of_one_bulk_load(tmp_path: Path) -> None:
    times = pd.date_range("2016-01-04T21:00Z", periods=9)
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "entity": np.tile(["A", "B"], len(times)),
            "event_time": np.repeat(times, 2),
            "known_time": np.repeat(times + pd.Timedelta("10min"), 2),
            "close": rng.uniform(9, 11, 2 * len(times)),
        }
    )
    revised = frame.iloc[6:8].assign(known_time=times[5], close=10.5)
    frame = pd.concat([frame, revised]).sort_values("known_time", kind="stable", ignore_index=True)
    stores = []
    for name, size in (("bulk", 100), ("live", 3)):
        store = Store(tmp_path / name)
        store.create("bars", Schema.bars(currency="USD"))
        for first in range(0, len(frame), size):
            store.append("bars", frame.iloc[first : first + size])
        stores.append(store)
    bulk, live = (store.market("bars", decide="1h") for store in stores)
    assert live.fingerprint == bulk.fingerprint
    stores[1].compact("bars")
    assert stores[1].market("bars", decide="1h").fingerprint == bulk.fingerprint


def test_a_span_of_many_small_files_is_read_from_few_of_them_and_is_right(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = pd.date_range(DAYS[0], periods=36, freq="h")
    for n, moment in enumerate(hours):
        store.append(
            "facts", pd.DataFrame({"entity": ["A"], "event_time": moment, "known_time": moment, "x": float(n)})
        )
    later = ((1, 99.0, "assert"), (2, 98.0, "assert"), (3, np.nan, "retract"))  # of an old hour, in the newest files
    for minutes, x, op in later:
        known = hours[-1] + pd.Timedelta(minutes=minutes)
        frame = pd.DataFrame({"entity": ["A"], "event_time": hours[3], "known_time": known, "x": x, "op": op})
        store.append("facts", frame)
    read: list[str] = []
    whole = delta.read_file

    def counted(where: object, path: str, *rest: object, **how: object) -> object:
        read.append(path)
        return whole(where, path, *rest, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(delta, "read_file", counted)
    assert Store(store.folder).read("facts", start=hours[-1])["x"].to_pylist() == [35.0]
    assert len(set(read)) == 1
    corrected = Store(store.folder).read("facts", start=hours[3], end=hours[3])
    assert len(set(read)) == 1 + 4
    everything = Store(store.folder).read("facts")
    assert len(set(read)) == 39
    assert corrected["x"].to_pylist() == [99.0] == everything["x"].to_pylist()[3:4]


def test_the_rows_a_follower_got_are_the_dataset(store: Store) -> None:
    for n in range(6):
        store.append("facts", day(n))
    mirror = Store(store.folder.parent / "mirror")
    mirror.create("facts", Schema.facts(fields={"x": "1"}))
    for update in store.follow("facts", timeout="0s"):
        mirror.append("facts", update.rows.drop_columns("known_basis"))
    assert state(mirror) == state(store)
    assert pa.types.is_float64(mirror.read("facts").schema.field("x").type)
