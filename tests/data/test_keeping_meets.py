"""What looks after versions while others write, pin and forget: nothing pinned is lost, and nobody is told off."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from knowable.data import keeping
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table.location import Location
from knowable.errors import InputError, StoreError

DAYS = pd.date_range("2016-01-04", periods=12, tz="UTC")


def day(n: int) -> pd.DataFrame:
    return pd.DataFrame({"entity": ["A"], "event_time": DAYS[n], "known_time": DAYS[n], "x": float(n)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("facts", Schema.facts(fields={"x": "1"}, known_basis="vendor"))
    for n in range(5):
        made.append("facts", day(n))
    return made


def test_a_version_that_came_and_was_named_during_a_retention_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at the log and its look at the names, others append, compact and take a snapshot."""
    store.compact("facts", everything=True)
    listed, busy = keeping.snapshots, [True]

    def late(root: Location) -> object:
        if busy and busy.pop():
            other = Store(store.folder)
            other.append("facts", day(5))
            other.compact("facts", everything=True)
            other.snapshot("late")
        return listed(root)

    monkeypatch.setattr(keeping, "snapshots", late)
    done = store.retain("facts", keep=1)
    assert done.kept == (6,)
    assert done.files
    assert store.read("facts", version="late")["x"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert store.read("facts", version=6).num_rows == 5


@pytest.mark.parametrize("kind", ["snapshot", "pin"])
def test_what_is_forgotten_while_it_is_listed_is_not_there(
    store: Store, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in (1, 2):
        store.pin("facts", n, by="run") if kind == "pin" else store.snapshot(f"s{n}")
    names = Location.names

    def late(self: Location) -> tuple[str, ...]:
        found = names(self)
        if found and self.uri.endswith((".snapshots", ".pins/facts")):
            self.delete(found[0])
        return found

    monkeypatch.setattr(Location, "names", late)
    left = store.pins("facts") if kind == "pin" else store.snapshots()
    assert len(left) == 1


def test_a_snapshot_of_nothing_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would name nothing"):
        Store(tmp_path / "empty").snapshot("first")
    with pytest.raises(InputError, match="would name nothing"):
        store.snapshot("first", datasets=[])
    with pytest.raises(InputError, match="`note` must be a sentence for people, but it is 5"):
        store.snapshot("first", note=5)  # type: ignore[arg-type]
    assert store.snapshots() == ()


def test_whoever_pins_has_a_name(store: Store) -> None:
    for by in (5, "", "x" * 501):
        for verb in (store.pin, store.unpin):
            with pytest.raises(InputError, match="`by` says who relies on the version"):
                verb("facts", 1, by=by)  # type: ignore[arg-type]


def test_a_store_cannot_live_where_no_folder_can(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lives in a folder or at a URL"):
        Store(f"{tmp_path}/a\0b")
    with pytest.raises(StoreError, match="A store cannot live in") as told:
        Store(tmp_path / ("x" * 5000))
    assert len(str(told.value)) < 400
