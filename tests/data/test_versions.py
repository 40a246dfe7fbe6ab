"""Snapshots, pins, differences, compaction and retention: what is named stays, and no answer changes."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table.location import Location
from knowable.data.table.opening import forget
from knowable.errors import ConflictError, InputError, StoreError, UnknownNameError

DAYS = pd.date_range("2016-01-04", periods=12, tz="UTC")
NAMES = ["A", "B", "C"]


def day(n: int, value: float | None = None, names: list[str] = NAMES) -> pd.DataFrame:
    """One fact an entity, of day n, known on day n."""
    x = [value if value is not None else n + k / 10 for k in range(len(names))]
    return pd.DataFrame({"entity": names, "event_time": DAYS[n], "known_time": DAYS[n], "x": x})


def row(entity: str, event: int, known: int, x: float, op: str = "assert") -> pd.DataFrame:
    return pd.DataFrame(
        {"entity": [entity], "event_time": [DAYS[event]], "known_time": [DAYS[known]], "x": [x], "op": [op]}
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("facts", Schema.facts(fields={"x": "1"}, known_basis="vendor"))
    return made


@pytest.fixture(scope="module")
def six_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Store(tmp_path_factory.mktemp("six") / "store")
    made.create("facts", Schema.facts(fields={"x": "1"}, known_basis="vendor"))
    for n in range(6):
        made.append("facts", day(n))
    return made.folder


@pytest.fixture
def grown(six_days: Path, tmp_path: Path) -> Store:
    """Six days, a version each."""
    return Store(shutil.copytree(six_days, tmp_path / "grown"))


def answers(store: Store, version: int | None = None) -> list[bytes]:
    """What the store says, as bytes: tables as of three moments, and a panel."""
    fresh, moments = Store(store.folder), [None, DAYS[2], DAYS[4]]
    tables = [fresh.read("facts", version=version, as_of=moment) for moment in moments]
    said = [repr(table.to_pydict()).encode() for table in tables]
    if tables[0].num_rows:
        said.append(fresh.panel("facts", "x", clock=DAYS, entities=NAMES, version=version).tobytes())
    return said


def n_files(store: Store) -> int:
    return len(list(store.table_path("facts").glob("*.parquet")))


# Snapshots ------------------------------------------------------------------------------------------------------------


def test_a_snapshot_names_the_versions_of_its_moment_wherever_a_version_is_taken(grown: Store) -> None:
    before = answers(grown, 6)
    made = grown.snapshot("2016-q1", note="end of the quarter")
    grown.append("facts", day(7))
    assert made.versions == {"facts": 6}
    assert answers(grown, "2016-q1") == before  # type: ignore[arg-type]
    assert grown.read("facts").num_rows == 21
    assert [(item.name, item.note) for item in Store(grown.folder).snapshots()] == [("2016-q1", "end of the quarter")]


def test_a_snapshot_of_some_datasets_reads_those_only(grown: Store) -> None:
    grown.create("others", Schema.facts(fields={"y": "1"}))
    grown.snapshot("some", datasets=["facts"])
    with pytest.raises(UnknownNameError, match="Unknown dataset 'others' in snapshot 'some'"):
        grown.read("others", version="some")
    assert grown.snapshot("all").versions == {"facts": 6, "others": 0}


def test_a_market_is_read_at_a_snapshot(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.create("bars", Schema.bars(currency="USD", known_basis="vendor"))
    store.create("facts", Schema.facts(fields={"x": "1"}))
    times = pd.date_range("2016-01-04T21:00Z", periods=5)
    store.append(
        "bars", pd.DataFrame({"entity": "A", "event_time": times, "known_time": times, "close": np.arange(5) + 1.0})
    )
    store.append("facts", row("A", 0, 0, 1.0).drop(columns="op"))
    store.snapshot("then")
    first = store.market("bars", also=["facts"], version="then")
    store.append(
        "bars",
        pd.DataFrame({"entity": "A", "event_time": times, "known_time": times[-1] + pd.Timedelta("1h"), "close": 9.0}),
    )
    assert store.market("bars", also=["facts"]).fingerprint != first.fingerprint
    again = Store(store.folder).market("bars", also=["facts"], version="then")
    assert again.fingerprint == first.fingerprint
    assert {pin["dataset"]: pin["version"] for pin in again.pins} == {"bars": "1", "facts": "1"}


def test_a_snapshot_does_not_change_and_may_be_dropped(grown: Store) -> None:
    first = grown.snapshot("s")
    assert grown.snapshot("s") == first, "taken again while nothing has changed"
    grown.append("facts", day(7))
    with pytest.raises(StoreError, match="a snapshot does not change"):
        grown.snapshot("s")
    grown.drop_snapshot("s")
    with pytest.raises(UnknownNameError, match="Unknown snapshot 's'"):
        grown.read("facts", version="s")
    assert grown.snapshot("s").versions == {"facts": 7}
    with pytest.raises(UnknownNameError, match="Did you mean 's'"):
        grown.drop_snapshot("ss")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-rf", "a..b", "é", "x" * 65, None, "20160104T210000Z"])
def test_a_snapshot_has_a_plain_name(grown: Store, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a snapshot"):
        grown.snapshot(name)
    assert grown.snapshots() == ()


def test_a_flipped_bit_in_a_snapshot_or_a_pin_is_an_error_and_nothing_is_removed(grown: Store) -> None:
    grown.compact("facts", everything=True)
    grown.snapshot("s")
    grown.pin("facts", 3, by="a test")
    for page in grown.folder.glob(".*/**/*.json"):
        whole = page.read_bytes()
        for place in range(0, len(whole) - 1, 7):
            data = bytearray(whole)
            data[place] ^= 2
            page.write_bytes(data)
            if bytes(data).split() == whole.split():
                continue  # only space between words may change unseen
            with pytest.raises(StoreError, match=page.name):
                grown.retain("facts", keep=1, dry_run=True)
        page.write_bytes(whole)
    assert grown.retain("facts", keep=1, dry_run=True).kept == (3, 7)


def test_a_snapshot_of_a_dataset_that_was_made_anew_is_refused(grown: Store) -> None:
    grown.snapshot("s")
    shutil.rmtree(grown.folder / "facts")
    grown.create("facts", Schema.facts(fields={"x": "1"}))
    for n in range(6):
        grown.append("facts", day(n, 9.0))
    with pytest.raises(StoreError, match="another dataset of that name"):
        Store(grown.folder).read("facts", version="s")


def test_threads_that_take_one_snapshot_agree_on_it(grown: Store) -> None:
    made = []
    threads = [threading.Thread(target=lambda: made.append(Store(grown.folder).snapshot("s"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len({item.created_at for item in made}) == 1


# Differences ----------------------------------------------------------------------------------------------------------


def test_diff_says_what_was_added_changed_and_withdrawn(store: Store) -> None:
    store.append("facts", pd.concat([row("A", 0, 0, 1.0), row("B", 0, 0, 2.0), row("C", 0, 0, 3.0)]))
    store.snapshot("then")
    store.append(
        "facts",
        pd.concat([row("A", 0, 3, 1.5), row("B", 0, 4, np.nan, "retract"), row("D", 1, 2, 4.0), row("C", 0, 5, 3.0)]),
    )
    expected = [
        ("A", DAYS[0], "changed", "x", 1.0, 1.5, DAYS[3]),
        ("B", DAYS[0], "withdrawn", "x", 2.0, None, DAYS[4]),
        ("D", DAYS[1], "added", "x", None, 4.0, DAYS[2]),
    ]  # C was said again, and is what it was

    def plain(table: pa.Table) -> list[tuple[object, ...]]:
        return [tuple(item.values()) for item in table.to_pylist()]

    assert store.diff("facts", 1).column_names == [
        "entity",
        "event_time",
        "change",
        "field",
        "before",
        "after",
        "known_time",
    ]
    for before in (1, "then", {"version": 1}, DAYS[0], "2016-01-05T12:00Z"):
        assert plain(store.diff("facts", before)) == expected
        assert plain(store.diff("facts", before, 2)) == expected
    assert plain(store.diff("facts", 1, {"version": 2, "as_of": DAYS[2]})) == [expected[2]]
    assert plain(store.diff("facts", 1, entities=["B"])) == [expected[1]]
    assert store.diff("facts", 2, "2016-01-31T00:00Z").num_rows == 0
    back = plain(store.diff("facts", 2, 1))
    assert [item[2] for item in back] == ["changed", "added", "withdrawn"]
    assert back[2][-1] is None, "the older version never knew that period"
    for wrong in ("then?", True, {"as_of": "2016"}, {"versoin": 1}):
        with pytest.raises((InputError, UnknownNameError)):
            store.diff("facts", wrong)


# Compaction -----------------------------------------------------------------------------------------------------------


def test_compaction_changes_no_answer_at_any_version(grown: Store) -> None:
    grown.append("facts", pd.concat([row("A", 2, 7, 77.0), row("B", 5, 8, np.nan, "retract")]))
    before = {version: answers(grown, version) for version in range(8)}
    reader = Store(grown.folder)
    reader.read("facts", version=3)
    done = grown.compact("facts")
    assert (done.version, done.files_before, done.files_after, done.rows) == (8, 7, 1, 20)
    assert {version: answers(grown, version) for version in range(8)} == before
    assert answers(grown) == before[7]
    assert answers(reader, 7) == before[7], "the old files are there for who opened them"
    assert "20 rows of 'facts' moved from 7 files" in repr(done)
    assert grown.versions("facts")[-1].rows == 0


def test_a_second_compaction_finds_nothing_to_do(grown: Store) -> None:
    grown.compact("facts")
    again = grown.compact("facts")
    assert (again.version, again.files_before) == (7, 0)
    assert "no small files" in repr(again)


def test_compaction_cuts_by_event_time_and_leaves_large_files_alone(grown: Store) -> None:
    done = grown.compact("facts", target_rows=6)
    assert (done.files_after, done.rows) == (3, 18)
    assert answers(grown) == answers(grown, 6)
    grown.append("facts", day(8))
    grown.append("facts", day(9, names=["A"]))
    small = grown.compact("facts", target_rows=9)
    assert (small.files_before, small.rows) == (2, 4), "files of 6 rows are no small ones where 9 is the target"


def test_compaction_after_a_field_was_added_gives_null_to_older_rows(grown: Store) -> None:
    before = answers(grown)
    grown.evolve("facts", add={"y": "USD"})
    grown.append("facts", day(7).assign(y=1.0))
    whole = grown.read("facts").to_pydict()
    grown.compact("facts", everything=True)
    assert Store(grown.folder).read("facts").to_pydict() == whole
    assert whole["y"] == [1.0 if moment == DAYS[7] else None for moment in whole["event_time"]]
    assert answers(grown, 6) == before


def test_compaction_keeps_every_type_and_key(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.create("actions", Schema.actions(calendar="XNYS"))
    for known, kind, ratio, note in (("2016-02-01", "split", 2.0, "two for one"), ("2016-02-02", "dividend", None, "")):
        frame = {"entity": ["A"], "event_time": ["2016-03-01"], "known_time": pd.to_datetime([known], utc=True)}
        frame |= {"type": [kind], "ratio": [ratio], "amount": [None if ratio else 0.5], "note": [note or None]}
        store.append("actions", pd.DataFrame(frame | {"currency": [None if ratio else "USD"]}))
    before = store.read("actions")
    assert store.compact("actions").rows == 2
    assert Store(store.folder).read("actions").equals(before)
    assert before["type"].to_pylist() == ["dividend", "split"]


def test_an_append_between_the_reading_and_the_commit_of_a_compaction_is_kept(
    grown: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race made certain: an append lands just before the compaction commits."""
    from knowable.data.table import upkeep

    commit, pending = upkeep.delta.locked, iter([day(7), day(8)])

    @contextlib.contextmanager
    def late(where: Location) -> Iterator[None]:
        monkeypatch.setattr(upkeep.delta, "locked", commit)
        for frame in itertools.islice(pending, 1):
            Store(grown.folder).append("facts", frame)
        monkeypatch.setattr(upkeep.delta, "locked", late)
        with commit(where):
            yield

    monkeypatch.setattr(upkeep.delta, "locked", late)
    done = grown.compact("facts")
    assert done.version == 9
    assert Store(grown.folder).read("facts")["x"].to_pylist().count(7.0) == 1
    assert Store(grown.folder).read("facts").num_rows == 24


def test_two_compactions_at_once_do_the_work_once(grown: Store) -> None:
    before = answers(grown)
    done = []
    threads = [threading.Thread(target=lambda: done.append(Store(grown.folder).compact("facts"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item.files_before for item in done) == [0, 0, 0, 6]
    assert answers(grown) == before


@pytest.mark.parametrize("target", [0, -1, True, 1.5])
def test_compaction_refuses_an_odd_target(grown: Store, target: int) -> None:
    with pytest.raises(InputError, match="target_rows >= 1"):
        grown.compact("facts", target_rows=target)


# Retention ------------------------------------------------------------------------------------------------------------


def test_retention_removes_only_files_that_no_kept_version_needs(grown: Store) -> None:
    before = {version: answers(grown, version) for version in range(7)}
    grown.compact("facts")
    grown.append("facts", day(7))
    grown.pin("facts", 2, by="a run")
    grown.snapshot("s")
    grown.append("facts", day(8))
    size = {path.name: path.stat().st_size for path in grown.table_path("facts").glob("*.parquet")}
    plan = grown.retain("facts", keep=1, dry_run=True)
    assert n_files(grown) == 9, "a dry run removes nothing"
    assert (plan.kept, plan.dropped) == ((2, 8, 9), (3, 4, 5, 6))
    done = grown.retain("facts", keep=1)
    assert (done.files, done.freed_bytes, done.dropped) == (plan.files, plan.freed_bytes, plan.dropped)
    assert done.freed_bytes == sum(size[name] for name in done.files)
    assert len(done.files) == 4
    assert n_files(grown) == 5
    for version in (0, 1, 2, 7, 8, 9):
        answers(grown, version)
    for version in (0, 1, 2):
        assert answers(grown, version) == before[version]
    for version in (3, 4, 5, 6):
        with pytest.raises(StoreError, match=f"Version {version} of dataset 'facts' was dropped by retention at 20"):
            answers(grown, version)
    assert [item.version for item in grown.versions("facts") if item.dropped_at is not None] == [3, 4, 5, 6]
    again = grown.retain("facts", keep=1)
    assert (again.files, again.dropped, again.freed_bytes) == ((), (), 0)
    assert "nothing to remove" in repr(again)
    assert "Versions that can no longer be read: 3-6." in repr(done)


def test_what_killed_writers_left_goes_after_a_week_and_nothing_younger(grown: Store) -> None:
    folder = grown.table_path("facts")
    held = {path.name for path in folder.glob("*.parquet")}
    week = 7 * 86_400
    for name, age in (("part-old.parquet", week + 60), (".part-1-a", week + 60), ("part-young.parquet", week - 60)):
        (folder / name).write_bytes(b"x" * 10)
        os.utime(folder / name, (time.time() - age,) * 2)
    for name in held:
        os.utime(folder / name, (time.time() - 10 * week,) * 2)
    (folder / "notes.txt").write_text("someone else's")
    os.utime(folder / "notes.txt", (0, 0))
    plan = grown.retain("facts", dry_run=True)
    assert (folder / "part-old.parquet").exists(), "a dry run removes nothing"
    done = grown.retain("facts")
    assert plan.orphans == done.orphans == (".part-1-a", "part-old.parquet")
    assert (done.freed_bytes, done.files, done.dropped) == (20, (), ())
    assert "2 of them left by writers that were killed" in repr(done)
    there = {path.name for path in folder.iterdir() if path.is_file()}
    assert there >= held | {"part-young.parquet", "notes.txt"}
    assert not there & set(done.orphans)
    answers(grown, 6)


def test_a_version_that_is_gone_is_not_said_to_be_kept_by_a_later_retention(grown: Store) -> None:
    grown.compact("facts")
    gone = grown.retain("facts", keep=1).dropped
    later = grown.retain("facts", keep=len(gone) + 1)
    assert gone
    assert later.dropped == ()
    assert not set(later.kept) & set(gone)


def test_retention_by_age_counts_from_when_a_newer_version_came(grown: Store) -> None:
    grown.compact("facts")
    assert grown.retain("facts", keep="1h").files == ()
    assert grown.retain("facts").kept == tuple(range(8)), "thirty days by default"
    assert len(grown.retain("facts", keep="0s").files) == 6


def test_what_is_unpinned_goes_with_the_next_retention(grown: Store) -> None:
    grown.pin("facts", 4, by="run a")
    grown.pin("facts", 4, by="run b")
    grown.pin("facts", 4, by="run b")
    assert [(pin.version, pin.by) for pin in grown.pins("facts")] == [(4, "run a"), (4, "run b")]
    grown.compact("facts")
    assert len(grown.retain("facts", keep=1).files) == 2
    grown.unpin("facts", 4, by="run a")
    assert grown.retain("facts", keep=1).files == ()
    grown.unpin("facts", 4, by="run b")
    assert len(grown.retain("facts", keep=1).files) == 4
    with pytest.raises(UnknownNameError, match="Unknown pin"):
        grown.unpin("facts", 4, by="run b")
    with pytest.raises(StoreError, match="dropped by retention"):
        grown.pin("facts", 4, by="run c")
    with pytest.raises(StoreError, match="has no version 40"):
        grown.pin("facts", 40, by="run c")
    assert grown.pins("facts") == ()


@pytest.mark.parametrize("kind", ["pin", "snapshot"])
def test_a_damaged_table_id_never_costs_a_pinned_version(grown: Store, kind: str) -> None:
    grown.pin("facts", 2, by="run 1") if kind == "pin" else grown.snapshot("held")
    grown.compact("facts", everything=True)
    entry = grown.folder / "facts/observations/_delta_log/00000000000000000000.json"
    whole, table = entry.read_text(), grown._dataset("facts").open().id
    entry.write_text(whole.replace(table, table[:-1] + ("1" if table[-1] != "1" else "2")))
    forget()
    for dry_run in (True, False):
        with pytest.raises(StoreError, match="by a table id that its log does not bear"):
            Store(grown.folder).retain("facts", keep=1, dry_run=dry_run)
    entry.write_text(whole)
    forget()
    assert grown.retain("facts", keep=1).kept == ((2, 7) if kind == "pin" else (6, 7))


def test_what_a_dataset_of_the_same_name_pinned_before_holds_nothing(grown: Store) -> None:
    grown.pin("facts", 2, by="run 1")
    grown.snapshot("held")
    shutil.rmtree(grown.folder / "facts")
    grown.create("facts", Schema.facts(fields={"x": "1"}, known_basis="vendor"))
    for n in range(4):
        grown.append("facts", day(n))
    grown.compact("facts", everything=True)
    assert grown.retain("facts", keep=1).kept == (5,)


def test_a_pin_that_meets_a_retention_is_kept_and_the_retention_gives_way(
    grown: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race made certain: the pin is written after retention looked at the pins, before it removes a file."""
    from knowable.data.table import retention

    grown.compact("facts")
    seal = retention.seal

    def late(page: dict[str, object]) -> bytes:
        monkeypatch.setattr(retention, "seal", seal)
        grown.pin("facts", 3, by="a run")
        return seal(page)

    monkeypatch.setattr(retention, "seal", late)
    with pytest.raises(ConflictError, match=r"Version 3 of 'facts' was pinned \(a run\)"):
        grown.retain("facts", keep=1)
    assert n_files(grown) == 7
    assert grown.retain("facts", keep=1).kept == (3, 7)
    answers(grown, 3)


def test_retention_after_the_note_but_before_the_files_is_completed_by_the_next(
    grown: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown.compact("facts")
    delete, gone = Location.delete, itertools.count()

    def dies(self: Location, name: str) -> None:
        if next(gone) == 2:
            raise KeyboardInterrupt
        delete(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Location, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            grown.retain("facts", keep=1)
    assert n_files(grown) == 5
    for version in range(1, 7):
        with pytest.raises(StoreError, match="dropped by retention"):
            answers(grown, version)
    done = grown.retain("facts", keep=1)
    assert (len(done.files), done.dropped) == (4, ())
    assert answers(grown)


@pytest.mark.parametrize("keep", [0, -1, True, "a while", None, 1.5])
def test_retention_refuses_an_odd_wish(grown: Store, keep: int) -> None:
    with pytest.raises(InputError):
        grown.retain("facts", keep=keep)


@settings(max_examples=5, deadline=None)
@given(st.data())
def test_what_is_kept_is_readable_and_right_whatever_was_compacted_between(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    store.create("facts", Schema.facts(fields={"x": "1"}))
    truth = {0: answers(store, 0)}
    for n in range(data.draw(st.integers(1, 7))):
        store.append("facts", day(n))
        truth[len(truth)] = answers(store)
        if data.draw(st.booleans()):
            version = store.compact("facts", target_rows=data.draw(st.sampled_from([6, 100]))).version
            truth[version] = truth[len(truth) - 1]
    pinned = data.draw(st.sets(st.sampled_from(sorted(truth))))
    for version in pinned:
        store.pin("facts", version, by="test")
    keep = data.draw(st.integers(1, 4))
    done = store.retain("facts", keep=keep)
    assert set(done.kept) == pinned | set(sorted(truth)[-keep:])
    for version, answered in truth.items():
        if version in done.dropped:
            with pytest.raises(StoreError, match="dropped by retention"):
                store.read("facts", version=version)
        else:
            assert answers(store, version) == answered


@pytest.fixture(autouse=True)
def _no_leftovers(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob(".part-*"))
