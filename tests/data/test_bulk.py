"""Bulk ingest against the append in memory: the same rows, the same refusals, the same report, however it is cut."""

from __future__ import annotations

import contextlib
import gzip
import multiprocessing
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowable.cluster.pool import worker_pool
from knowable.data.ingest.work import Work
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table.delta import scan
from knowable.errors import DataError, InputError, RunError, UnknownNameError

HEAD = "symbol,event_time,known_time,open,high,low,close,volume,revision,note"
COLUMNS = {"symbol": "entity"}


def everything(store: Store, name: str = "bars") -> tuple[pa.Table, pa.Table]:
    """All rows ever stored and refused, in an order of their own."""
    dataset = store._dataset(name)
    rows = scan(dataset.open())
    keys = ["entity", "event_time", *dataset.schema.keys, "known_time", "revision", "op"]
    return rows.sort_by([(key, "ascending") for key in keys]), scan(dataset.refused()).sort_by(
        [(key, "ascending") for key in ("file", "rule", "line", "row", "id")]
    )


def assert_same(one: Store, other: Store, name: str = "bars") -> None:
    for ours, theirs in zip(everything(one, name), everything(other, name), strict=True):
        assert ours.schema.equals(theirs.schema)
        pd.testing.assert_frame_equal(ours.to_pandas(), theirs.to_pandas())


def stores(tmp_path: Path, schema: Schema | None = None) -> tuple[Store, Store]:
    made = []
    for name in ("small", "bulk"):
        store = Store(tmp_path / name)
        store.create("bars", schema or Schema.bars(calendar="XNYS", currency="USD"))
        made.append(store)
    return made[0], made[1]


def messy_lines(seed: int, n_rows: int, *, quotes: bool = False) -> list[str]:
    """Bars of a vendor with every kind of dirt, duplicates, conflicts and revisions. Made up, and no market's."""
    rng = random.Random(seed)
    days = ["2016-03-01", "2016-03-02", "2016-03-03", "2016-03-04", "2016-03-05"]
    lines = []
    for _ in range(n_rows):
        day = rng.choice(days)
        low, high = 9, 11
        cells = [rng.choice("ABCD"), day, f"{day}T2{rng.randint(1, 3)}:30Z", "10", str(high), str(low),
                 rng.choice(["10", "10.5"]), str(rng.choice([100, 200])), str(rng.choice([0, 0, 1])), "x"]  # fmt: skip
        if rng.random() < 0.15:
            cells[rng.randrange(10)] = rng.choice(["", "ten", "NaN", "inf", "-5", "0", "../etc", "1e-320", "soon"])
        line = ",".join(cells)
        if rng.random() < 0.04:
            line = rng.choice(
                [HEAD, "", "  ", "cut,off", line + ",1,2", line.replace("x", "é"), line.replace("10", '"10')]
            )
        if quotes and rng.random() < 0.3:
            line = line.replace(",x", rng.choice([',"a, b"', ',"two\nlines"', ',"say ""so"""', ',"open']))
        lines.append(line)
    return lines


def write_csv(path: Path, lines: list[str], *, end: str = "\n", packed: bool = False) -> Path:
    data = ("\n".join([HEAD, *lines]) + end).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def small_and_bulk(tmp_path: Path, appends: list[list[Path]], work: dict[str, Any], **how: Any) -> tuple[Any, Any]:
    small, large = stores(tmp_path)
    reports: list[list[Any]] = [[], []]
    for paths in appends:
        for store, kept, extra in ((small, reports[0], {"bulk": False}), (large, reports[1], {"bulk": True})):
            kept.append(append(store, paths, work if extra["bulk"] else None, **how))
    assert_same(small, large)
    for ours, theirs in zip(*reports, strict=True):
        assert ours == theirs
    return small, large


def append(store: Store, paths: list[Path], work: dict[str, Any] | None, **how: Any) -> Any:
    how = {"columns": COLUMNS, "tz": None, "known_lag": None, "known_time": None, "known_basis": None, **how}
    dataset = store._dataset("bars")
    return dataset.append(paths, **how, work=None if work is None else Work(**work))


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    piece_bytes=st.integers(60, 3000),
    span_rows=st.integers(1, 80),
    threads=st.booleans(),
    quotes=st.booleans(),
)
def test_any_cut_of_messy_files_gives_the_rows_and_refusals_of_an_append_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    sizes: list[int],
    piece_bytes: int,
    span_rows: int,
    threads: bool,
    quotes: bool,
) -> None:
    folder = tmp_path_factory.mktemp("bulk")
    rng = random.Random(seed)
    paths = []
    for k, n_rows in enumerate(sizes):
        packed = rng.random() < 0.3
        lines = messy_lines(seed + k, n_rows, quotes=quotes)
        path = folder / f"{k}.csv{'.gz' if packed else ''}"
        paths.append(write_csv(path, lines, end=rng.choice(["\n", "", "\r\n"]), packed=packed))
    early = [write_csv(folder / "early.csv", messy_lines(seed + 99, 40))]
    with ThreadPoolExecutor(3) as pool:
        work = {"piece_bytes": piece_bytes, "span_rows": span_rows, "executor": pool if threads else None}
        try:
            small_and_bulk(folder, [early, paths, paths], work)
        except (DataError, UnknownNameError, InputError) as error:
            with pytest.raises(type(error)):
                append(Store(folder / "small"), paths, None)
            with pytest.raises(type(error)):
                append(Store(folder / "bulk"), paths, work)


def good_lines(n_rows: int, entity: str = "AAA") -> list[str]:
    """A bar a minute, all of them fit. Made up."""
    moments = pd.date_range("2016-03-01T14:31Z", periods=n_rows, freq="min")
    return [f"{entity},{m:%Y-%m-%dT%H:%MZ},{m:%Y-%m-%dT%H:%MZ},10,11,9,10,{k},0,x" for k, m in enumerate(moments)]


@pytest.mark.slow
def test_parquet_in_row_groups_gives_what_the_file_gives_as_a_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    n = 4_000
    close = np.where(rng.random(n) < 0.02, rng.choice([0.0, np.nan, -3.0, np.inf, 1e-320], n), 10.0)
    frame = pd.DataFrame(
        {
            "symbol": rng.choice(["A", "B", "C d", "../x", None], n, p=[0.5, 0.3, 0.1, 0.05, 0.05]),
            "event_time": pd.Timestamp("2016-03-01T15:00Z") + pd.to_timedelta(rng.integers(0, 500, n), "min"),
            "known_time": pd.Timestamp("2016-03-03T15:00Z") + pd.to_timedelta(rng.integers(0, 3, n), "h"),
            "open": 10.0, "high": 11.0, "low": 9.0, "close": close, "volume": rng.integers(0, 4, n).astype(float),
        }
    )  # fmt: skip
    paths = []
    for k, (compression, rows) in enumerate([("zstd", 100), ("snappy", 4_000), (None, 777)]):
        part = frame.iloc[k * 1_500 : (k + 1) * 1_500]
        pq.write_table(pa.Table.from_pandas(part, preserve_index=False), tmp_path / f"{k}.parquet",
                       row_group_size=rows, compression=compression)  # fmt: skip
        paths.append(tmp_path / f"{k}.parquet")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        small, _ = small_and_bulk(
            tmp_path, [paths[:1], paths], {"piece_bytes": 9_000, "span_rows": 300, "executor": pool}
        )
    assert {"conflicting_duplicate", "bad_entity", "not_finite"} <= set(small.quarantine("bars")["rule"].to_pylist())


@pytest.mark.parametrize("column", ["event_time", "known_time"])
@pytest.mark.parametrize("late", [["2016-03-02T15:00"], ["2016-03-02"], ["2016-03-02T15:00Z"], ["", "soon"]])
def test_what_only_the_whole_file_tells_of_its_times_is_told_to_each_piece(
    tmp_path: Path, column: str, late: list[str]
) -> None:
    """Midnights are dates in disguise only if all of a column are; zones may not be mixed; a column may be empty."""
    lines = []
    for day in ["2016-03-01 00:00"] * 6 + late:
        times = {"event_time": "2016-03-01T15:00", "known_time": "2016-03-03T15:00", column: day}
        lines.append(f"AAA,{times['event_time']},{times['known_time']},,11,9,10,{len(lines)},{len(lines)},x")
    path = write_csv(tmp_path / "f.csv", lines)
    work = {"piece_bytes": 120, "span_rows": 5}
    small, large = stores(tmp_path, Schema.bars(calendar="XNYS", partial=False))
    found: list[Any] = []
    for store, how in ((small, None), (large, work)):
        try:
            found.append(append(store, [path], how, tz="UTC"))
        except DataError as error:
            found.append(str(error))
    assert found[0] == found[1]
    assert_same(small, large)


def test_a_field_that_a_whole_file_lacks_may_be_absent_though_a_piece_of_another_lacks_it_too(tmp_path: Path) -> None:
    with_open = [line if k % 20 else line.replace(",10,11", ",,11", 1) for k, line in enumerate(good_lines(40))]
    with_open[:10] = [line.replace(",10,11", ",,11", 1) for line in with_open[:10]]
    without = [line.replace(",10,11", ",,11", 1) for line in good_lines(40, "BBB")]
    paths = [write_csv(tmp_path / "with.csv", with_open), write_csv(tmp_path / "without.csv", without)]
    _, large = small_and_bulk(tmp_path, [paths], {"piece_bytes": 300, "span_rows": 9})
    rows, refused = everything(large)
    assert (rows.num_rows, set(refused["rule"].to_pylist())) == (69, {"missing_value"})


BAD_FILES = {
    "absent.csv": None,
    "empty.csv": b"",
    "header.csv": HEAD.encode() + b"\n",
    "other.csv": b"ticker,price\nA,1\n",
    "utf16.csv": HEAD.encode("utf-16"),
    "cut.csv.gz": gzip.compress((HEAD + "\n" + good_lines(1)[0] + "\n").encode() * 400)[:-9],
    "cut.parquet": b"PAR1 and nothing more",
    "times.csv": (HEAD + "\n" + good_lines(1)[0].replace("2016-03-01T14:31Z", "1/3/2016") + "\n").encode(),
    "naive.csv": (HEAD + "\n" + good_lines(1)[0].replace("14:31Z", "14:31") + "\n").encode(),
}


def test_bad_files_among_many_are_refused_with_their_reasons_and_the_rest_lands(tmp_path: Path) -> None:
    paths = [write_csv(tmp_path / "good.csv", good_lines(30))]
    for name, data in BAD_FILES.items():
        paths.append(tmp_path / name)
        if data is not None:
            paths[-1].write_bytes(data)
    small, large = small_and_bulk(tmp_path, [paths], {"piece_bytes": 500, "span_rows": 9})
    refused = small.quarantine("bars")
    assert set(refused["rule"].to_pylist()) == {"unreadable_file"}
    assert {Path(item).name for item in refused["file"].to_pylist()} == set(BAD_FILES)
    assert large.read("bars").num_rows == 30
    with pytest.raises(DataError, match="None of 9 files could be read"):
        append(large, paths[1:], {})
    with pytest.raises(DataError, match="is empty"):
        append(large, paths[2:3], {})


def test_a_mistake_of_the_caller_is_raised_whoever_does_the_work(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", good_lines(3))
    _, large = stores(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        for executor in (None, pool):
            with pytest.raises(InputError, match="give one of them"):
                append(large, [path], {"executor": executor}, known_lag="1d")
    assert not (large.folder / ".staging").exists()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", good_lines(300))
    other = write_csv(tmp_path / "g.csv", good_lines(30, "BBB"))
    _, large = stores(tmp_path)

    class Meddler(ThreadPoolExecutor):
        def submit(self, call: Any, /, *arguments: Any, **more: Any) -> Any:
            if call.__name__ == "judge_piece":
                path.write_text(path.read_text() + "x")
            return super().submit(call, *arguments, **more)

    with Meddler(1) as pool:
        report = append(large, [path, other], {"executor": pool})
    assert (report.accepted, dict(report.rules)) == (30, {"unreadable_file": 1})
    assert "was changed while it was read" in str(large.quarantine("bars")["raw"][0])


def test_nothing_stays_in_the_staging_folder_and_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", good_lines(3))
    _, large = stores(tmp_path)
    dead = large.folder / ".staging" / "1-2-dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    (dead / "x.arrow").write_bytes(b"left behind")
    append(large, [path], {})
    assert not (large.folder / ".staging").exists()
    assert large.datasets() == ("bars",)


def test_a_writer_that_lands_meanwhile_is_settled_with(tmp_path: Path) -> None:
    """Rows stored between the passes and the commit count as stored, and only their spans are settled again."""
    path = write_csv(tmp_path / "f.csv", good_lines(60))
    clash = write_csv(tmp_path / "g.csv", [line.replace(",9,10,", ",9,10.5,") for line in good_lines(60)[20:23]])
    _, large = stores(tmp_path)
    calls: list[str] = []

    class Racer(ThreadPoolExecutor):
        def submit(self, call: Any, /, *arguments: Any, **more: Any) -> Any:
            calls.append(call.__name__)
            if calls.count("settle_span") == 3 and call.__name__ == "settle_span":
                append(Store(large.folder), [clash], None)
            return super().submit(call, *arguments, **more)

    with Racer(1) as pool:
        report = append(large, [path], {"executor": pool, "span_rows": 10})
    assert (report.accepted, dict(report.rules)) == (57, {"conflicting_duplicate": 3})
    assert calls.count("settle_span") < 12
    assert large.read("bars").num_rows == 60


def pool_processes() -> list[psutil.Process]:
    """Worker processes of this process: children of the parent they are forked from."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if process.children() == [] and "forkserver" in " ".join(process.cmdline())]


def test_workers_that_are_killed_half_way_change_nothing(tmp_path: Path) -> None:
    rng = random.Random(3)
    paths = [write_csv(tmp_path / f"{k}.csv", messy_lines(k, 1_000), packed=k == 2) for k in range(4)]
    small, large = stores(tmp_path)
    expected = append(small, paths, None)
    over = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not over.wait(rng.uniform(0.1, 0.6)) and len(killed) < 4:
            for process in rng.sample(pool_processes(), k=min(1, len(pool_processes()))):
                with contextlib.suppress(psutil.Error):
                    process.kill()
                    killed.append(process.pid)

    with worker_pool(2) as pool:
        killer = threading.Thread(target=kill)
        pool.submit(abs, 1).result(timeout=60)
        killer.start()
        try:
            report = append(large, paths, {"executor": pool, "piece_bytes": 6_000, "span_rows": 200})
        except RunError:  # the same call lost its worker again and again: nothing is stored, and repeating it works
            over.set()
            killer.join()
            assert large.versions("bars")[-1].version == 0
            report = append(large, paths, {"executor": pool, "piece_bytes": 6_000, "span_rows": 200})
        over.set()
        killer.join()
    assert killed
    assert report == expected
    assert_same(small, large)
    assert not (large.folder / ".staging").exists()


def test_an_append_with_workers_is_the_append_without(tmp_path: Path) -> None:
    folder = tmp_path / "vendor"
    folder.mkdir()
    for k in range(3):
        write_csv(folder / f"{k}.csv{'.gz' if k else ''}", messy_lines(k, 80), packed=bool(k))
    (folder / "readme.txt").write_text("not data")
    small, large = stores(tmp_path)
    reports = [
        small.append("bars", sorted(folder.glob("*.csv*")), columns=COLUMNS),
        large.append("bars", folder, columns=COLUMNS, workers=2),
        large.append("bars", str(folder / "*.csv*"), columns=COLUMNS),
    ]
    assert reports[0] == reports[1]
    assert reports[2].already_stored
    assert reports[2].duplicates == reports[0].accepted + reports[0].duplicates + reports[0].quarantined - broken(small)
    assert_same(small, large)


def broken(store: Store) -> int:
    """Refused lines that were no rows of their file."""
    return sum(row is None for row in store.quarantine("bars")["row"].to_pylist())


def test_paths_that_match_nothing_are_refused_kindly(tmp_path: Path) -> None:
    _, store = stores(tmp_path)
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="is empty"):
        store.append("bars", tmp_path / "void")
    (tmp_path / "void" / "bars.xlsx").touch()
    with pytest.raises(DataError, match=r"no file that ends in \.csv, .* it has \['bars.xlsx'\]"):
        store.append("bars", str(tmp_path / "void"))
    with pytest.raises(DataError, match=r"No file matches '.*\*\.csv'"):
        store.append("bars", str(tmp_path / "*.csv"))
    with pytest.raises(DataError, match=r"nothing\.csv cannot be read"):
        store.append("bars", str(tmp_path / "nothing.csv"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"workers": -1}, "`workers` must be a whole number"),
        ({"workers": True}, "`workers` must be a whole number"),
        ({"workers": 1, "executor": ThreadPoolExecutor(1)}, "not both"),
    ],
)
def test_workers_that_make_no_sense_are_refused(tmp_path: Path, how: dict[str, Any], message: str) -> None:
    _, store = stores(tmp_path)
    path = write_csv(tmp_path / "f.csv", good_lines(2))
    with pytest.raises(InputError, match=message):
        store.append("bars", path, columns=COLUMNS, **how)
    with pytest.raises(InputError, match="a frame is taken by this process"):
        store.append("bars", pd.DataFrame({"close": [1.0]}), executor=ThreadPoolExecutor(1))


def test_large_files_are_taken_in_pieces_and_a_bar_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("knowable.data.ingest.work.SMALL_BYTES", 1_000)
    path = write_csv(tmp_path / "f.csv", good_lines(300))
    small, large = stores(tmp_path)
    append(small, [path], None)
    assert large.append("bars", path, columns=COLUMNS, progress=True).accepted == 300
    assert "bars, MB" in capsys.readouterr().err
    assert_same(small, large)
    assert small.append("bars", path, columns=COLUMNS).already_stored
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_stops_an_ingest_cleanly(tmp_path: Path, workers: int) -> None:
    for k in range(4):
        write_csv(tmp_path / f"{k}.csv", good_lines(60_000, f"E{k}"))
    code = (
        "import signal, sys\n"
        "from knowable.data.ingest import work\n"
        "work.SMALL_BYTES = 0\n"
        "from knowable.cli import main\n"
        "print('ready', flush=True)\n"
        f"sys.exit(main(['ingest', 'bars', {str(tmp_path / '*.csv')!r}, '--store', {str(tmp_path / 's')!r},"
        f" '--kind', 'bars', '--column', 'symbol=entity', '--workers', '{workers}']))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    staging = tmp_path / "s" / ".staging"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):  # a folder may be renamed while it is listed
            if list(staging.glob("*/*.arrow")):
                break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Stopped." in err
    assert "Traceback" not in err
    assert not staging.exists()
    assert Store(tmp_path / "s").versions("bars")[-1].version == 0


@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_a_batch_in_memory_are_judged_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    path = write_csv(tmp_path / "f.csv", messy_lines(seed, 150, quotes=seed % 2 == 1))
    frame = pd.read_csv(path, dtype=object, on_bad_lines="skip", quoting=3)
    whole, blocks = stores(tmp_path)
    for data in (path, frame):
        expected = whole.append("bars", data, columns=COLUMNS)
        with monkeypatch.context() as patch:
            patch.setattr("knowable.data.ingest.whole.BLOCK_ROWS", 7)
            assert blocks.append("bars", data, columns=COLUMNS) == expected
    assert_same(whole, blocks)
    monkeypatch.setattr("knowable.data.ingest.whole.BLOCK_ROWS", 7)
    with pytest.raises(DataError, match="is no time in any row; row 0 is 'soon'"):
        blocks.append("bars", frame.assign(event_time="soon"), columns=COLUMNS)
