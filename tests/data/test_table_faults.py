"""Each kind of file of a table with flipped bits and cut tails, full disks: an error that names it, or the truth."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import deltalake
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table import delta
from knowable.errors import StoreError

N_BATCHES = 43  # two checkpoints, and entries of the log after the second


def frame(batch: int, n_rows: int = 4) -> pd.DataFrame:
    """Rows that all say which batch they belong to."""
    known = pd.Timestamp("2016-01-01", tz="UTC") + pd.Timedelta(days=batch)
    return pd.DataFrame(
        {"entity": [f"E{k}" for k in range(n_rows)], "event_time": known, "known_time": known, "x": float(batch)}
    )


def log_of(store: Store) -> Path:
    return store.folder / "facts" / "observations" / "_delta_log"


def data_files(store: Store) -> list[Path]:
    return sorted((store.folder / "facts" / "observations").glob("part-*.parquet"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("faults") / "store")
    store.create("facts", Schema.facts(fields={"x": "1"}))
    for batch in range(N_BATCHES):
        store.append("facts", frame(batch))
    return store


@pytest.fixture
def store(made: Store, tmp_path: Path) -> Store:
    """A copy of its own, so that tests may break it."""
    shutil.copytree(made.folder, tmp_path / "store")
    return Store(tmp_path / "store")


def answers(store: Store) -> list[object]:
    """All that a reader may ask of the dataset, by a process that never saw it."""
    delta.forget()
    fresh = Store(store.folder)
    versions = [(v.version, v.rows, v.committed_at, v.known_basis) for v in fresh.versions("facts")]
    return [fresh.read("facts"), fresh.read("facts", version=5), versions, fresh.schema("facts")]


class Flipper:
    """Flips bits one at a time and holds every answer against the truth."""

    def __init__(self, store: Store) -> None:
        self.store, self.truth = store, answers(store)
        self.outcomes: Counter[str] = Counter()

    def try_(self, path: Path, place: int, bit: int, named: Callable[[str], bool]) -> None:
        data = path.read_bytes()
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :])
        where = f"{path.name}, byte {place} of {len(data)}, bit {bit}"
        refusal, found = None, self.truth
        try:
            found = answers(self.store)
        except StoreError as error:
            refusal = str(error)
        finally:
            path.write_bytes(data)
        for got, true in zip(found, self.truth, strict=True):
            assert got.equals(true) if isinstance(got, pa.Table) else got == true, f"{where} gave a wrong answer"
        if refusal is not None:
            assert named(refusal), f"{where}: {refusal}"
            assert len(refusal.splitlines()) <= 12
        self.outcomes["right" if refusal is None else "error"] += 1


def names_log(text: str) -> bool:
    return "og of dataset 'facts'" in text or "og entry" in text or "schema of dataset 'facts'" in text


def places_of(path: Path) -> dict[str, list[int]]:
    """Bytes of a data file by what they are."""
    size, metadata = path.stat().st_size, pq.read_metadata(path)
    length = int.from_bytes(path.read_bytes()[-8:-4], "little")
    heads, pages = [], []
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            starts = [chunk.data_page_offset]
            if chunk.dictionary_page_offset is not None:
                starts.append(chunk.dictionary_page_offset)
            for start in starts:
                heads += range(start, start + 12)
            pages += range(min(starts) + 12, min(starts) + chunk.total_compressed_size)
    return {
        "magic at the start": list(range(4)),
        "page header": heads,
        "page data": pages,
        "footer": list(range(size - 8 - length, size - 8)),
        "length of the footer": list(range(size - 8, size - 4)),
        "magic at the end": list(range(size - 4, size)),
    }


@pytest.mark.parametrize("n_flips", [6, pytest.param(120, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "what",
    ["magic at the start", "page header", "page data", "footer", "length of the footer", "magic at the end"],
)
def test_a_flipped_bit_in_a_data_file_is_never_a_wrong_number(store: Store, what: str, n_flips: int) -> None:
    rng, flipper = random.Random(f"{what}{n_flips}"), Flipper(store)
    for _ in range(n_flips):
        path = rng.choice(data_files(store))
        flipper.try_(path, rng.choice(places_of(path)[what]), rng.randrange(8), lambda text, p=path: p.name in text)
    if what == "magic at the start":  # no reader needs it: the end of the file says what the file is
        assert flipper.outcomes["right"] == n_flips
    else:
        assert flipper.outcomes["error"] == n_flips


@pytest.mark.parametrize("n_flips", [20, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["entry", "checkpoint", "_last_checkpoint"])
def test_a_flipped_bit_in_the_log_is_never_a_wrong_answer(store: Store, what: str, n_flips: int) -> None:
    log = log_of(store)
    kinds = {
        "entry": sorted(log.glob("*.json")),
        "checkpoint": sorted(log.glob("*.checkpoint.parquet")),
        "_last_checkpoint": [log / "_last_checkpoint"],
    }
    assert all(kinds.values())
    rng, flipper = random.Random(f"{what}{n_flips}"), Flipper(store)
    for _ in range(n_flips):
        path = rng.choice(kinds[what])
        flipper.try_(path, rng.randrange(path.stat().st_size), rng.randrange(8), names_log)
    assert sum(flipper.outcomes.values()) == n_flips
    if what == "_last_checkpoint":
        assert flipper.outcomes["right"] >= n_flips * 0.7, "it only says where to begin"


@pytest.mark.slow
def test_every_bit_of_one_entry_of_the_log(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.create("facts", Schema.facts(fields={"x": "1"}))
    for batch in range(6):
        store.append("facts", frame(batch, 1))
    path, flipper = log_of(store) / f"{6:020d}.json", Flipper(store)
    for place in range(path.stat().st_size):
        for bit in range(8):
            flipper.try_(path, place, bit, names_log)
    assert flipper.outcomes["error"] > flipper.outcomes["right"]


def test_a_log_that_points_to_another_file_is_found_out_though_each_of_its_lines_is_sound(store: Store) -> None:
    """A bit in a path, a size, a statistic or a property leaves good JSON; the state the commit stated does not fit."""
    entry = log_of(store) / f"{N_BATCHES - 1:020d}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    other = log_of(store) / f"{N_BATCHES - 3:020d}.json"
    donor = next(json.loads(line)["add"] for line in other.read_text().splitlines() if "add" in json.loads(line))
    for line in lines:
        if "add" in line:
            line["add"] = donor  # a real file of the same size, of rows that are there already
    entry.write_text("\n".join(json.dumps(line) for line in lines))
    delta.forget()
    with pytest.raises(StoreError, match="The log of dataset 'facts'.* is damaged: version 43 lists other files"):
        Store(store.folder).read("facts")
    assert Store(store.folder).read("facts", version=N_BATCHES - 2).num_rows == 4 * (N_BATCHES - 2)


@pytest.mark.parametrize("keep", [0, 1, 40, 300])
def test_a_log_cut_at_its_tail_is_an_error_and_what_is_whole_is_read(store: Store, keep: int) -> None:
    newest = max(log_of(store).glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:keep])
    delta.forget()
    fresh = Store(store.folder)
    with pytest.raises(StoreError, match="log of dataset 'facts'"):
        fresh.read("facts")
    assert fresh.read("facts", version=N_BATCHES - 1).num_rows == 4 * (N_BATCHES - 1)


def test_a_lost_tail_of_the_log_is_told_by_the_pin_that_misses_it(store: Store) -> None:
    max(log_of(store).glob("*.json")).unlink()
    delta.forget()
    fresh = Store(store.folder)
    assert fresh.read("facts").num_rows == 4 * (N_BATCHES - 1)
    with pytest.raises(StoreError, match=f"no version {N_BATCHES}; it has 0 to {N_BATCHES - 1}"):
        fresh.read("facts", version=N_BATCHES)


def test_a_gap_in_the_log_is_an_error(store: Store) -> None:
    (log_of(store) / f"{N_BATCHES - 1:020d}.json").unlink()
    delta.forget()
    with pytest.raises(StoreError, match="log of dataset 'facts'"):
        Store(store.folder).read("facts")


def test_a_reader_that_has_the_table_open_sees_damage_to_its_newest_entry(store: Store) -> None:
    fresh = Store(store.folder)
    assert fresh.read("facts").num_rows == 4 * N_BATCHES
    newest = max(log_of(store).glob("*.json"))
    newest.write_bytes(newest.read_bytes().replace(b"E0", b"E1", 1))
    with pytest.raises(StoreError, match="log of dataset 'facts'"):
        fresh.read("facts")


def test_a_damaged_entry_that_follows_is_an_error_for_a_reader_that_has_the_table_open(store: Store) -> None:
    fresh, writer = Store(store.folder), Store(store.folder)
    assert fresh.read("facts").num_rows == 4 * N_BATCHES
    writer.append("facts", frame(N_BATCHES))
    newest = max(log_of(store).glob("*.json"))
    whole = newest.read_bytes()
    newest.write_bytes(whole.replace(b'"size":', b'"sjze":'))
    delta.forget()
    with pytest.raises(StoreError, match="log of dataset 'facts'"):
        fresh.read("facts")
    newest.write_bytes(whole)
    assert fresh.read("facts").num_rows == 4 * (N_BATCHES + 1)


def test_a_path_that_leaves_the_table_is_refused(store: Store, tmp_path: Path) -> None:
    """Whoever can write to a store must not make a reader open files elsewhere."""
    secret = tmp_path / "secret.parquet"
    shutil.copy(data_files(store)[0], secret)
    for path in ("../../../secret.parquet", str(secret), f"file://{secret}", "a/../../../../secret.parquet"):
        handle = deltalake.DeltaTable(store.folder / "facts" / "observations")
        add = deltalake.transaction.AddAction(path, secret.stat().st_size, {}, 1, data_change=True, stats="{}")
        handle.create_write_transaction([add], "append", handle.schema())
        with pytest.raises(StoreError, match="no name within"):
            Store(store.folder).read("facts")
        max(log_of(store).glob("*.json")).unlink()
        delta.forget()


def test_only_what_is_asked_for_is_read_and_checked(store: Store) -> None:
    """A query that needs neither the column nor the file is not stopped by the damage there."""
    table = store._dataset("facts").open()
    path = data_files(store)[0]
    metadata = pq.read_metadata(path)
    at = metadata.row_group(0).column(metadata.schema.names.index("x")).data_page_offset + 15
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)
    assert delta.scan(table, columns=["entity", "known_time"]).num_rows == 4 * N_BATCHES
    with pytest.raises(StoreError, match="column 'x' of row group 0"):
        delta.scan(table, columns=["x"])
    (batch,) = set(pq.read_table(path.with_name(data_files(store)[1].name))["x"].to_pylist())
    day = pd.Timestamp("2016-01-01", tz="UTC") + pd.Timedelta(days=batch)
    assert delta.scan(table, start=day.value, end=day.value)["x"].to_pylist() == [batch] * 4


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount the small disk that this test fills")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        delta.forget()
        subprocess.run(["umount", "-l", place], check=True)


def leave(disk: Path, free: int) -> Path:
    """Fill the disk but for some bytes."""
    filler = disk / "filler"
    there = os.statvfs(disk)
    with filler.open("wb") as file:
        file.write(b"\0" * max(there.f_bavail * there.f_frsize - free, 0))
    return filler


def rows_of(store: Store) -> list[float]:
    delta.forget()
    return sorted(Store(store.folder).read("facts")["x"].to_pylist())


def appended(store: Store, rows: pd.DataFrame) -> str:
    """Append, and say how it was refused; empty if it was not."""
    try:
        store.append("facts", rows)
    except StoreError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_at_any_step_of_an_append_leaves_the_last_version(disk: Path, step: int) -> None:
    """From no page free to enough: the quarantine, its log, the data, the log and the checkpoint fail one by one."""
    model = Store(disk / "model")
    model.create("facts", Schema.facts(fields={"x": "1"}))
    for batch in range(19):  # the commit of version 20 writes a checkpoint
        model.append("facts", frame(batch))
    refused: list[str] = []
    for n_pages in range(0, 36, step):
        store = Store(shutil.copytree(model.folder, disk / f"store{n_pages}"))
        store.append("facts", frame(99)) if n_pages % 2 else None
        rows, before = frame(20, 60), rows_of(store)
        rows.loc[0, "known_time"] -= pd.Timedelta(days=400)  # known before it happened: for the quarantine
        filler = leave(disk, n_pages * 4096)
        refused.append(appended(store, rows))
        if refused[-1]:
            assert "last version stays readable" in refused[-1] or "cannot be written" in refused[-1]
            assert rows_of(store) == before
        filler.unlink()
        assert not list(store.folder.rglob(".part-*"))
        again = Store(store.folder).append("facts", rows)  # repeating completes it, once
        assert again.already_stored == (not refused[-1])
        assert rows_of(store) == sorted(before + [20.0] * 59)
        assert Store(store.folder).quarantine("facts")["rule"].to_pylist() == ["known_before_event"]
        shutil.rmtree(store.folder)
    assert refused[0]
    assert not refused[-1]
    if step == 1:
        places = {text for text in refused if text}
        assert any("quarantine" in text for text in places)
        assert any("observations" in text for text in places)


def test_a_disk_that_is_full_does_not_stop_reading(disk: Path) -> None:
    store = Store(disk / "store")
    store.create("facts", Schema.facts(fields={"x": "1"}))
    store.append("facts", frame(1))
    leave(disk, 0)
    clock = pd.date_range("2016-01-01", periods=5, tz="UTC")
    assert rows_of(store) == [1.0] * 4
    assert np.nansum(store.panel("facts", "x", clock=clock)) == 16.0, "the panel is made, and not kept"
    assert not list(store.folder.rglob("*.npy"))
    with pytest.raises(StoreError):
        store.create("more", Schema.facts(fields={"x": "1"}))
    (disk / "filler").unlink()
    store.create("more", Schema.facts(fields={"x": "1"}))
    assert store.datasets() == ("facts", "more")
