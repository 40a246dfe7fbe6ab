"""A store in an object store: the same answers as in a folder, races that lose nothing, credentials that show nowhere.

The server is moto's, started here on loopback in a process of its own; it speaks S3, conditional puts included.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import boto3
import deltalake
import numpy as np
import pandas as pd
import polars as pl
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table import delta
from knowable.data.table.location import Location
from knowable.errors import ConflictError, InputError, StoreError, UnknownNameError

KEY, SECRET = "AKIAKNOWABLETEST", "a-secret-that-must-not-show"
BUCKET = "research-data"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of an S3 server with one empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "moto's server ended"
                time.sleep(0.1)
        client(url).create_bucket(Bucket=BUCKET)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def client(url: str):  # type: ignore[no-untyped-def]
    """boto3's client of the server."""
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )


def options(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


@pytest.fixture
def store(server: str, tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    """A store under a prefix of its own."""
    prefix = f"s3://{BUCKET}/{zlib.crc32(request.node.nodeid.encode()):x}/desk"
    return Store(prefix, storage_options=options(server), cache=tmp_path / "cache")


def eps(*rows: tuple[str, str, str, float | None]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["entity", "event_time", "known_time", "eps"])
    for name in ("event_time", "known_time"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def bars(n: int = 25) -> pd.DataFrame:
    days = pd.bdate_range("2016-03-14", periods=n)
    close = 10 + np.arange(n) / 10
    return pd.DataFrame(
        {
            "entity": "AAA",
            "event_time": days.strftime("%Y-%m-%d"),
            "known_time": (days + pd.Timedelta("20h")).tz_localize("UTC"),
            "open": close,
            "high": close + 1,
            "low": close - 1,
            "close": close,
            "volume": 100.0,
        }
    )


def fill(store: Store) -> None:
    """The same history in whatever store: an original, a restatement, a newer period, a refused row, bars."""
    store.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    store.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    store.append("facts", eps(("A", "2016-03-31", "2016-04-20", 1.0), ("B", "2016-03-31", "2016-04-21", 5.0)))
    store.append("facts", eps(("A", "2016-06-30", "2016-07-20", 2.0), ("B", "2016-06-30", "2016-01-01", 1.0)))
    store.append("facts", eps(("A", "2016-03-31", "2016-08-01", 1.5)))
    store.append("bars", bars())


def test_a_store_at_a_url_answers_as_one_in_a_folder(store: Store, tmp_path: Path) -> None:
    local = Store(tmp_path / "local")
    for each in (store, local):
        fill(each)
    fresh = pickle.loads(pickle.dumps(store))
    delta.forget()
    for ours in (store, fresh):
        assert ours.datasets() == ("bars", "facts")
        for as_of in (None, "2016-04-20T12:00Z", "2016-07-21T00:00Z"):
            assert ours.read("facts", as_of=as_of).equals(local.read("facts", as_of=as_of))
        assert ours.read("facts", version=1).equals(local.read("facts", version=1))
        drop = ["batch", "id"]
        refused = [each.quarantine("facts") for each in (ours, local)]
        refused = [rows.drop_columns([name for name in drop if name in rows.column_names]) for rows in refused]
        assert refused[0].num_rows == 1
        assert refused[0].equals(refused[1])
        clock = pd.date_range("2016-04-01", "2016-09-01", freq="10D", tz="UTC")
        panel = ours.panel("facts", "eps", clock=clock)
        assert panel.tobytes() == local.panel("facts", "eps", clock=clock).tobytes()
        np.testing.assert_array_equal(ours.market("bars").panel("close"), local.market("bars").panel("close"))
        assert [v.rows for v in ours.versions("facts")] == [v.rows for v in local.versions("facts")] == [0, 2, 1, 1]
    again = store.append("facts", eps(("A", "2016-03-31", "2016-08-01", 1.5)))
    assert again.already_stored
    assert again.version == 3


def test_the_panel_cache_of_a_url_is_a_local_folder_of_the_user(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Store(f"s3://{BUCKET}/cached", storage_options=options(server))
    fill(store)
    store.panel("facts", "eps", clock=pd.date_range("2016-04-01", periods=3, tz="UTC"))
    (panel,) = tmp_path.glob("knowable/*/panels/**/*.npy")
    assert SECRET.encode() not in panel.read_bytes()
    listed = client(server).list_objects_v2(Bucket=BUCKET, Prefix="cached/")["Contents"]
    assert not [item["Key"] for item in listed if "panel" in item["Key"] or ".cache" in item["Key"]]


def test_unknown_datasets_and_versions_are_named(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="There are none yet"):
        store.read("facts")
    fill(store)
    with pytest.raises(UnknownNameError, match="Did you mean 'facts'"):
        store.read("fact")
    with pytest.raises(StoreError, match="no version 9; it has 0 to 3"):
        store.read("facts", version=9)
    with pytest.raises(StoreError, match="another schema"):
        store.create("facts", Schema.facts(fields={"x": "1"}))
    store.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    assert store.read("facts").num_rows == 3


def test_other_engines_read_the_table_at_the_url(store: Store, server: str) -> None:
    fill(store)
    url = str(store.table_path("facts"))
    assert url.startswith("s3://")
    rows = pl.read_delta(url, storage_options=options(server))
    assert sorted(rows["eps"].to_list()) == [1.0, 1.5, 2.0, 5.0]
    assert len(deltalake.DeltaTable(url, storage_options=options(server)).file_uris()) == 3


WRITER = textwrap.dedent(
    """
    import json, sys
    import pandas as pd
    from knowable.data.store import Store
    url, options, first, last = json.loads(sys.argv[1])
    store = Store(url, storage_options=options)
    print("ready", flush=True)
    sys.stdin.readline()
    for batch in range(first, last):
        known = pd.Timestamp("2016-01-01", tz="UTC") + pd.Timedelta(days=batch)
        rows = {"entity": [f"E{k}" for k in range(20)], "event_time": known, "known_time": known, "x": float(batch)}
        store.append("facts", pd.DataFrame(rows))
        week = known.floor("7D")
        shared = {"entity": ["S"], "event_time": week, "known_time": week, "x": [float(batch)]}
        store.append("facts", pd.DataFrame(shared))
    """
)


def race(store: Store, server: str, *spans: tuple[int, int]) -> None:
    """Append batches from several processes that start at once."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, json.dumps([store.location.uri, options(server), *span])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for span in spans
    ]
    for process in writers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in writers:
        process.communicate(timeout=120)
        assert process.returncode == 0


def test_two_processes_that_write_to_one_table_lose_no_update_and_settle_against_one_another(
    store: Store, server: str
) -> None:
    """There is no lock to wait for here: the put of a log entry that exists is refused, and the loser looks again."""
    store.create("facts", Schema.facts(fields={"x": "1"}))
    race(store, server, (0, 4), (4, 8))
    rows = store.read("facts").to_pandas()
    own = rows[rows["entity"] != "S"]
    assert sorted(own["x"].unique()) == list(range(8))
    assert (own.groupby("x").size() == 20).all()
    shared = rows[rows["entity"] == "S"]
    assert len(shared) == shared["event_time"].nunique(), "one value a key: the second that came is a conflict"
    refused = store.quarantine("facts").to_pandas()
    assert set(refused["rule"]) == {"conflicting_duplicate"}
    assert len(shared) + len(refused) == 8
    versions = store.versions("facts")
    assert [v.version for v in versions] == list(range(8 + len(shared) + 1))
    assert sum(v.rows for v in versions) == 8 * 20 + len(shared)


def test_a_commit_that_lost_the_race_is_refused_and_the_winner_stands(store: Store) -> None:
    store.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    dataset = store._dataset("facts")
    stale = dataset.open()
    store.append("facts", eps(("A", "2016-03-31", "2016-04-20", 1.0)))
    delta.forget()
    with pytest.raises(ConflictError, match="Another writer changed"):
        delta.commit(stale, [], batch="late", note={})
    assert store.read("facts")["eps"].to_pylist() == [1.0]


def test_creating_twice_at_once_makes_one_table(store: Store) -> None:
    schema = Schema.facts(fields={"eps": "USD/share"})
    where = store.location.child("raced", "observations")
    store.create("raced", schema)
    born = delta.open_table(where).id
    with pytest.raises(ConflictError, match="already"):
        delta.create_table(where, store._dataset("raced").open().schema)
    store.create("raced", schema)
    assert delta.open_table(where).id == born


def test_a_changed_byte_in_an_object_is_an_error_that_names_it(store: Store, server: str) -> None:
    fill(store)
    bucket, _, prefix = store.location.uri.removeprefix("s3://").partition("/")
    s3 = client(server)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/facts/observations/part-")["Contents"]
    key = listed[0]["Key"]
    data = bytearray(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    data[len(data) // 3] ^= 1
    s3.put_object(Bucket=bucket, Key=key, Body=bytes(data))
    with pytest.raises(StoreError, match=key.rpartition("/")[2][:30]):
        Store(store.location).read("facts")
    s3.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(StoreError, match=key.rpartition("/")[2][:30]):
        Store(store.location).read("facts")


def test_no_credential_shows_in_a_repr_an_error_or_a_pin(store: Store, server: str) -> None:
    fill(store)
    seen = [repr(store), repr(store.location), str(store.location), repr(store._dataset("facts"))]
    seen += [repr(store._dataset("facts").open()), repr(store.versions("facts")), repr(store.market("bars"))]
    seen += [json.dumps(store.market("bars").pins, default=str)]
    wrong = Store(store.location.uri, storage_options={**options(server), "AWS_SECRET_ACCESS_KEY": SECRET[::-1]})
    gone = Store(
        f"s3://{BUCKET}-that-is-not/x", storage_options={**options(server), "max_retries": "0", "timeout": "5s"}
    )
    silent = Store(
        f"s3://{BUCKET}/x",
        storage_options={
            **options(server), "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "max_retries": "0", "timeout": "2s",
            "retry_timeout": "1s",
        },
    )  # fmt: skip
    seen += [repr(wrong), repr(silent)]
    assert repr(silent) == f"Store('s3://{BUCKET}/x': not within reach)"
    for broken in (gone, silent):
        for ask in (lambda s: s.read("facts"), lambda s: s.create("facts", Schema.facts(fields={"x": "1"}))):
            with pytest.raises((StoreError, UnknownNameError)) as refusal:
                ask(broken)
            seen += [str(refusal.value), *(repr(cause) for cause in causes(refusal.value))]
    listed = client(server).list_objects_v2(Bucket=BUCKET)["Contents"]
    for item in listed:
        body = client(server).get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
        assert SECRET.encode() not in body
        assert KEY.encode() not in body
    for text in seen:
        assert SECRET not in text
        assert SECRET[::-1] not in text
        assert KEY not in text


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("ftp://host/x", "not supported"),
        ("s3://", "needs a bucket"),
        ("s3://bucket/../other", "plain prefix"),
        ("s3://bucket//x", "plain prefix"),
        ("s3://key:secret@bucket/x", "storage_options="),
        ("", "a folder or at a URL"),
        (7, "a folder or at a URL"),
    ],
)
def test_an_odd_place_is_refused(where: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        Location.of(where)
    assert "secret@" not in str(refusal.value)


def test_options_belong_to_urls_and_are_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder takes none"):
        Store(tmp_path, storage_options={"AWS_REGION": "x"})
    with pytest.raises(InputError, match="maps names to text"):
        Store("s3://bucket/x", storage_options={"AWS_ALLOW_HTTP": True})  # type: ignore[dict-item]
    assert Location.of(f"file://{tmp_path}").path == tmp_path
    assert os.fspath(Store(tmp_path).folder) == str(tmp_path)


def test_a_location_reads_writes_lists_and_deletes_alike_in_a_folder_and_a_bucket(store: Store, tmp_path: Path) -> None:
    for place in (store.location.child("pages"), Location.of(tmp_path / "pages")):
        assert place.names() == ()
        assert not place.exists("a.json")
        place.write("a.json", b"0123456789")
        place.write("b/c.json", b"")
        assert place.names() == ("a.json", "b")
        assert place.read("a.json") == b"0123456789"
        assert place.read("a.json", 2, 3) == b"234"
        assert place.read("a.json", 8, 9) == b"89"
        assert place.read("b/c.json") == b""
        assert place.size("a.json") == 10
        with pytest.raises(ConflictError, match=r"a\.json exists already"):
            place.write("a.json", b"other", new=True)
        place.write("a.json", b"other")
        assert place.read("a.json") == b"other"
        place.write("new.json", b"x", new=True)
        place.delete("a.json")
        place.delete("a.json")
        assert place.names() == ("b", "new.json")
        for ask in (place.read, place.size):
            with pytest.raises(StoreError, match=r"pages/a\.json cannot be read"):
                ask("a.json")
        for name in ("../a", "/etc/passwd", "a//b", "x/../../y", "s3://other/x", "a\0b"):
            with pytest.raises(StoreError, match="no name within"):
                place.read(name)


def test_snapshots_compaction_retention_and_followers_work_there_too(store: Store) -> None:
    store.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    for n in range(1, 5):
        store.append("facts", eps(("A", f"2016-0{n}-28", f"2016-0{n}-29", float(n))))
    store.snapshot("early", note="four quarters")
    store.pin("facts", 2, by="a run")
    before = {version: store.read("facts", version=version).to_pydict() for version in range(5)}
    assert store.compact("facts").files_before == 4
    store.append("facts", eps(("A", "2016-05-28", "2016-05-29", 5.0)))
    found = [(update.version, update.rows["eps"].to_pylist()) for update in store.follow("facts", timeout="0s")]
    assert found == [(1, [1.0]), (2, [2.0]), (3, [3.0]), (4, [4.0]), (6, [5.0])]
    store.drop_snapshot("early")
    plan = store.retain("facts", keep=1, dry_run=True)
    done = store.retain("facts", keep=1)
    assert (done.kept, done.dropped, done.files) == ((2, 6), (3, 4), plan.files)
    assert done.freed_bytes > 0
    elsewhere = Store(store.location)
    for version in (1, 2):
        assert elsewhere.read("facts", version=version).to_pydict() == before[version]
    with pytest.raises(StoreError, match="dropped by retention"):
        elsewhere.read("facts", version=4)
    assert elsewhere.read("facts")["eps"].to_pylist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert elsewhere.snapshots() == ()
    with pytest.raises(UnknownNameError, match="Unknown snapshot"):
        elsewhere.read("facts", version="early")
