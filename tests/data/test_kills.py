"""SIGKILL at random moments of append, compaction, retention and cache build; writers and readers at once.

After each kill the store must open, hold every append that was answered, none in part and none twice, and serve no
wrong number.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import StoreError
from knowable.testing.killing import Nursery

HERE = Path(__file__).parent
N_GOOD = 54  # of 60 rows
SECONDS = {"append": 0.5, "compact": 0.35, "retain": 0.25, "build": 0.3}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(HERE / "store_jobs.py") as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("facts", Schema.facts(fields={"x": "1"}))
    made.append("facts", jobs().frame(0))
    return made


def jobs() -> object:
    import importlib.util

    spec = importlib.util.spec_from_file_location("store_jobs", HERE / "store_jobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batches(store: Store, version: int | None = None) -> list[int]:
    """The batches that are stored: each as a whole, and once."""
    read = store.read("facts", version=version)
    counts = Counter(read["x"].to_pylist())
    assert set(counts.values()) <= {N_GOOD}
    assert all(refused["rule"] for refused in store.quarantine("facts").to_pylist()[:1])
    return sorted(int(x) for x in counts)


def stored_rows(store: Store) -> Counter[tuple[str, float]]:
    """Every row as it is stored, whichever file holds it."""
    rows: Counter[tuple[str, float]] = Counter()
    for update in store.follow("facts", timeout="0s"):
        rows.update(zip(update.rows["entity"].to_pylist(), update.rows["x"].to_pylist(), strict=True))
    return rows


@pytest.mark.parametrize("n_kills", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_a_process_killed_at_any_moment_leaves_a_whole_store(store: Store, nursery: Nursery, n_kills: int) -> None:
    chance = random.Random(n_kills)
    answered, last, dropped_some = {0}, 1, False
    panels: dict[tuple[int, int], str] = {}
    store.pin("facts", 1, by="the panels of this test")
    for kill in range(n_kills):
        job = ["append", "compact", "build", "append", "compact", "build", "retain"][kill % 7]
        arguments: dict[str, object] = {"folder": str(store.folder)}
        if job == "append":
            arguments |= {"first": last, "last": last + 60}
        elif job == "compact":
            arguments |= {"target_rows": chance.choice([300, 5_000]), "times": 20}
        elif job == "build":
            arguments |= {"seed": kill, "times": 500}
        reported = nursery.start(job, **arguments).kill_after(chance.uniform(0.0, SECONDS[job]))
        fresh = Store(store.folder)
        if job == "append":
            answered |= {batch for batch, _ in reported}
        there = batches(fresh)
        assert answered <= set(there), "what was answered is stored"
        assert set(there) <= set(range(last + 60)), "nothing else is"
        answered, last = set(there), max(there) + 1
        if job == "build":
            for start, n, digest in reported:
                assert panels.setdefault((start, n), digest) == digest
        dropped_some |= any(item.dropped_at is not None for item in fresh.versions("facts"))
    assert_panels_are_right(store, panels)
    before, newest = batches(store), store.versions("facts")[-1].version
    for batch in range(max(before) + 2):  # repeating all appends stores what is missing, and changes nothing else
        store.append("facts", jobs().frame(batch))  # type: ignore[attr-defined]
    after = batches(Store(store.folder))
    assert after == list(range(max(before) + 2))
    assert store.versions("facts")[-1].version == newest + len(after) - len(before)
    refused = Counter(row["batch"] for row in store.quarantine("facts").to_pylist())
    assert set(refused.values()) == {6}, "refused rows are whole and once, too"
    assert len(refused) == len(after)
    for item in store.versions("facts"):
        if item.dropped_at is None:
            assert set(batches(store, item.version)) <= set(after)
        else:
            with pytest.raises(StoreError, match="dropped by retention"):
                store.read("facts", version=item.version)


def assert_panels_are_right(store: Store, panels: dict[tuple[int, int], str]) -> None:
    """Each served panel is what a store without a cache makes of the same version."""
    import hashlib
    import shutil

    clean = store.folder.parent / "no-cache"
    shutil.copytree(store.folder, clean, ignore=shutil.ignore_patterns(".cache"))
    clock = jobs().CLOCK  # type: ignore[attr-defined]
    for (start, n), served in panels.items():
        names = [f"E{k}" for k in range(n)]
        panel = Store(clean).panel("facts", "x", clock=clock[start:], entities=names, version=1)
        assert hashlib.sha256(np.ascontiguousarray(panel).tobytes()).hexdigest() == served
        again = Store(store.folder).panel("facts", "x", clock=clock[start:], entities=names, version=1)
        np.testing.assert_array_equal(again, panel)


@pytest.mark.parametrize("n_batches", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_two_writers_and_a_compaction_at_once_lose_nothing(store: Store, nursery: Nursery, n_batches: int) -> None:
    with Nursery(HERE / "store_jobs.py") as second, Nursery(HERE / "store_jobs.py") as third:
        forks = [
            nursery.start("append", folder=str(store.folder), first=1, last=1 + n_batches),
            second.start("append", folder=str(store.folder), first=1 + n_batches, last=1 + 2 * n_batches),
            third.start("compact", folder=str(store.folder), target_rows=5_000, times=n_batches),
        ]
        reports = [fork.wait() for fork in forks]
    assert [batch for batch, _ in reports[0]] == list(range(1, 1 + n_batches))
    versions = [version for report in reports[:2] for _, version in report]
    assert len(set(versions)) == len(versions), "each append made a version of its own"
    assert batches(Store(store.folder)) == list(range(1 + 2 * n_batches))
    assert set(stored_rows(store).values()) == {1}, "a follower sees each row once, whatever was compacted"


def test_a_reader_during_compaction_sees_the_same_rows_all_the_time(store: Store, nursery: Nursery) -> None:
    for batch in range(1, 8):
        store.append("facts", jobs().frame(batch))  # type: ignore[attr-defined]
    fork = nursery.start("compact", folder=str(store.folder), target_rows=400, times=12)
    old, until = Store(store.folder), time.monotonic() + 0.6
    first = old.read("facts", version=8).to_pydict()
    while time.monotonic() < until:
        assert batches(Store(store.folder)) == list(range(8))
        assert Store(store.folder).read("facts", version=8).to_pydict() == first
    assert len(fork.wait()) == 12
    assert Store(store.folder).read("facts").to_pydict() == first


@pytest.mark.parametrize(
    ("work", "n_batches", "room"), [("compact", 5, 700), ("compact", 24, 5_000), ("snapshot", 5, 20), ("retain", 5, 20)]
)
def test_a_full_disk_leaves_versions_as_they_were(
    store: Store, nursery: Nursery, work: str, n_batches: int, room: int
) -> None:
    """The data file does not fit, or it does and the log's entry does not, or the page."""
    for batch in range(1, n_batches):
        store.append("facts", jobs().frame(batch))  # type: ignore[attr-defined]
    if work == "retain":
        store.compact("facts")
    before, newest = store.read("facts").to_pydict(), store.versions("facts")[-1].version
    (said,) = nursery.start("without_room", folder=str(store.folder), work=work, room=room).wait()
    assert "cannot be written" in said or "Nothing was appended" in said
    fresh = Store(store.folder)
    assert fresh.read("facts").to_pydict() == before
    assert fresh.versions("facts")[-1].version == newest
    assert fresh.snapshots() == ()
    assert all(item.dropped_at is None for item in fresh.versions("facts"))
    assert batches(fresh, 3) == [0, 1, 2]
    assert not list(store.folder.rglob(".part-*"))
    store.append("facts", jobs().frame(n_batches))  # type: ignore[attr-defined]
    done = fresh.compact("facts")
    assert done.version == newest + 2, "with room it works"
    if room == 5_000:
        log = fresh.table_path("facts") / "_delta_log"  # type: ignore[operator]
        assert done.bytes_after < room < (log / f"{done.version:020d}.json").stat().st_size
