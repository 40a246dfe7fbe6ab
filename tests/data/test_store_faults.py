"""Flipped bits, torn files, killed writers, full disks, two writers: the old or the new version, no wrong number."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import StoreError

N_ROWS = 400


def frame(batch: int, n_rows: int = N_ROWS) -> pd.DataFrame:
    """Rows that all say which batch they belong to."""
    known = pd.Timestamp("2016-01-01", tz="UTC") + pd.Timedelta(days=batch)
    return pd.DataFrame(
        {"entity": [f"E{k}" for k in range(n_rows)], "event_time": known, "known_time": known, "x": float(batch)}
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("facts", Schema.facts(fields={"x": "1"}))
    return made


def data_file(store: Store) -> Path:
    (path,) = store.table_path("facts").glob("part-*.parquet")
    return path


@pytest.mark.parametrize("place", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_in_a_data_file_is_an_error_that_names_the_file(store: Store, place: float) -> None:
    store.append("facts", frame(1))
    path = data_file(store)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)
    with pytest.raises(StoreError, match=path.name[:20]):
        Store(store.folder).read("facts")
    assert Store(store.folder).read("facts", version=0).num_rows == 0


def test_a_cut_or_absent_data_file_is_an_error_that_names_it(store: Store) -> None:
    store.append("facts", frame(1))
    path = data_file(store)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StoreError, match="is damaged"):
        Store(store.folder).read("facts")
    path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        Store(store.folder).read("facts")


def test_a_damaged_log_is_an_error_that_names_the_dataset(store: Store) -> None:
    store.append("facts", frame(1))
    newest = max((store.table_path("facts") / "_delta_log").glob("*.json"))
    newest.write_text(newest.read_text()[:-40])
    with pytest.raises(StoreError, match="The log of dataset 'facts'"):
        Store(store.folder).read("facts")
    assert Store(store.folder).read("facts", version=0).num_rows == 0, "what is whole is read"


def cached(store: Store) -> Path:
    (path,) = (store.folder / ".cache" / "panels").rglob("*.npy")
    return path


@pytest.mark.parametrize("place", [0.0, 0.02, 0.3, 0.6, 0.999])
def test_a_flipped_bit_in_a_cached_panel_is_rebuilt_never_a_wrong_number(store: Store, place: float) -> None:
    store.append("facts", frame(1))
    clock = pd.date_range("2016-01-01", periods=5, tz="UTC")
    good = store.panel("facts", "x", clock=clock, entities=["E1", "E2"]).tobytes()
    path = cached(store)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    assert Store(store.folder).panel("facts", "x", clock=clock, entities=["E1", "E2"]).tobytes() == good
    assert len(cached(store).read_bytes()) == len(data)


def test_a_torn_or_unwritable_cache_costs_time_only(store: Store) -> None:
    store.append("facts", frame(1))
    clock = pd.date_range("2016-01-01", periods=5, tz="UTC")
    good = store.panel("facts", "x", clock=clock, entities=["E1"]).tobytes()
    path = cached(store)
    path.write_bytes(path.read_bytes()[:-9])
    assert Store(store.folder).panel("facts", "x", clock=clock, entities=["E1"]).tobytes() == good
    shutil.rmtree(path.parent)
    path.parent.write_text("a file where the folder should be")
    assert Store(store.folder).panel("facts", "x", clock=clock, entities=["E1"]).tobytes() == good


def test_a_cached_panel_is_read_back_the_same(store: Store) -> None:
    store.append("facts", frame(1))
    clock = pd.date_range("2016-01-01", periods=50, tz="UTC")
    first = store.panel("facts", "x", clock=clock, entities=["E1", "E7"])
    again = Store(store.folder).panel("facts", "x", clock=clock, entities=["E1", "E7"])
    np.testing.assert_array_equal(first, again)
    assert not again.flags.writeable
    other = Store(store.folder).panel("facts", "x", clock=clock, entities=["E7", "E1"])
    np.testing.assert_array_equal(other, first[:, ::-1])


def test_a_dataset_made_anew_does_not_read_the_cache_of_the_old_one(store: Store) -> None:
    clock = pd.date_range("2016-01-01", periods=5, tz="UTC")
    store.append("facts", frame(1))
    store.panel("facts", "x", clock=clock, entities=["E1"])
    shutil.rmtree(store.folder / "facts")
    store.create("facts", Schema.facts(fields={"x": "1"}))
    store.append("facts", frame(1).assign(x=7.0))
    assert store.panel("facts", "x", clock=clock, entities=["E1"])[-1, 0] == 7.0


WRITER = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[4])
    from test_store_faults import frame
    from knowable.data.store import Store
    store = Store(sys.argv[1])
    print("ready", flush=True)
    for batch in range(int(sys.argv[2]), int(sys.argv[3])):
        store.append("facts", frame(batch))
        print(batch, flush=True)
    """
)


def writer(store: Store, first: int, last: int) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.folder), str(first), str(last), here],
        stdout=subprocess.PIPE,
        text=True,
    )


def whole_batches(store: Store) -> list[int]:
    """The batches that are stored; each must be there as a whole, in every version."""
    for version in store.versions("facts"):
        counts = pd.Series(store.read("facts", version=version.version)["x"].to_pylist(), dtype=float).value_counts()
        assert set(counts.tolist()) <= {N_ROWS}
        assert len(counts) == version.version
    return sorted(int(x) for x in counts.index)


@pytest.mark.parametrize("n_kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new_version(store: Store, n_kills: int) -> None:
    pause = random.Random(5)
    done = 0
    for _ in range(n_kills):
        process = writer(store, 0, 40)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(pause.uniform(0.02, 0.35))
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        stored = whole_batches(store)
        assert set(reported) <= set(stored), "what was reported is stored"
        assert len(stored) >= done
        done = len(stored)
    for batch in range(done + 2):  # repeating the appends completes them and doubles nothing
        store.append("facts", frame(batch))
    assert whole_batches(store) == list(range(done + 2))
    assert not any(path.name.endswith(".lock") for path in store.folder.rglob("*"))


def test_two_processes_that_write_at_once_lose_no_update(store: Store) -> None:
    writers = [writer(store, 0, 6), writer(store, 6, 12)]
    for process in writers:
        assert process.wait(timeout=120) == 0
        assert process.stdout is not None
        process.stdout.close()
    assert whole_batches(store) == list(range(12))


def test_threads_that_append_the_same_batch_store_it_once(store: Store) -> None:
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(Store(store.folder).append("facts", frame(1)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.accepted for report in reports) == [0, 0, 0, N_ROWS]
    assert whole_batches(store) == [1]


@pytest.mark.slow
def test_a_hundred_appends_and_the_checkpoint_they_cause_keep_every_version(store: Store) -> None:
    for batch in range(105):
        store.append("facts", frame(batch, 3))
    assert list((store.table_path("facts") / "_delta_log").glob("*.checkpoint.parquet"))
    fresh = Store(store.folder)
    assert fresh.read("facts", version=1).num_rows == 3
    assert fresh.read("facts").num_rows == 315
    assert fresh.append("facts", frame(0, 3)).already_stored, "a batch from before the checkpoint is still known"


def test_a_full_disk_is_an_error_and_the_last_version_stays(store: Store) -> None:
    store.append("facts", frame(1))
    code = textwrap.dedent(
        """
        import resource, signal, sys
        sys.path.insert(0, sys.argv[2])
        from test_store_faults import frame
        from knowable.data.store import Store
        from knowable.errors import StoreError
        store = Store(sys.argv[1])
        store.versions("facts")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # the write stops short, as on a full disk
        try:
            store.append("facts", frame(2, 20_000).assign(x=range(20_000)))
        except StoreError as error:
            print("refused:", error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.folder), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Nothing was appended" in done.stdout
    assert whole_batches(store) == [1]
    assert not list(store.table_path("facts").glob(".part-*"))
    assert os.listdir(store.table_path("facts"))  # noqa: PTH208
