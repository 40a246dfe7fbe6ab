"""The store: create, append, read, panel, versions; what a second append of the same changes (nothing)."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import deltalake
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import DataError, InputError, StoreError, UnknownNameError


def bars(entity: str = "AAA", start: str = "2016-03-01", n: int = 5, price: float = 10.0) -> pd.DataFrame:
    days = pd.bdate_range(start, periods=n)
    return pd.DataFrame(
        {
            "entity": entity,
            "event_time": days.strftime("%Y-%m-%d"),
            "known_time": (days + pd.Timedelta("22h")).tz_localize("UTC"),
            "open": price,
            "high": price + 1,
            "low": price - 1,
            "close": price + np.arange(n) / 10,
            "volume": 100.0,
        }
    )


def eps(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["entity", "event_time", "known_time", "eps"])
    for name in ("event_time", "known_time"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    made.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    return made


def test_a_daily_date_is_labelled_by_the_close_of_its_session(store: Store) -> None:
    frame = bars(start="2016-11-24", n=3).iloc[1:]  # Friday after Thanksgiving closes at 13:00 in New York
    store.append("bars", frame)
    times = store.read("bars")["event_time"].to_pylist()
    assert [str(t) for t in times] == ["2016-11-25 18:00:00+00:00", "2016-11-28 21:00:00+00:00"]


def test_read_gives_the_latest_state_known_at_the_moment(store: Store) -> None:
    store.append(
        "facts", eps(("A", "2016-03-31", "2016-04-20T12:00", 1.0), ("A", "2016-06-30", "2016-07-20T12:00", 2.0))
    )
    store.append("facts", eps(("A", "2016-03-31", "2016-08-01T12:00", 1.5)))
    assert store.read("facts", as_of="2016-04-20T11:59Z").num_rows == 0
    assert store.read("facts", as_of="2016-04-20T12:00Z")["eps"].to_pylist() == [1.0]
    assert store.read("facts", as_of="2016-07-31T00:00Z")["eps"].to_pylist() == [1.0, 2.0]
    assert store.read("facts")["eps"].to_pylist() == [1.5, 2.0]
    assert store.read("facts", start="2016-04-01")["eps"].to_pylist() == [2.0]
    assert store.read("facts", end="2016-03-31", fields=[]).column_names == [
        "entity", "event_time", "known_time", "revision", "known_basis",
    ]  # fmt: skip


def test_panel_follows_the_newest_period_and_ignores_late_restatements_of_older_ones(store: Store) -> None:
    store.append(
        "facts",
        eps(
            ("A", "2016-03-31", "2016-04-20", 1.0),
            ("A", "2016-06-30", "2016-07-20", 2.0),
            ("A", "2016-03-31", "2016-08-01", 1.5),
            ("B", "2016-06-30", "2016-07-01", 7.0),
        ),
    )
    clock = pd.to_datetime(["2016-04-01", "2016-05-01", "2016-07-20", "2016-09-01"], utc=True)
    panel = store.panel("facts", "eps", clock=clock, entities=["B", "A", "Z"])
    nan = np.nan
    np.testing.assert_array_equal(panel, [[nan, nan, nan], [nan, 1, nan], [7, 2, nan], [7, 2, nan]])
    assert not panel.flags.writeable
    np.testing.assert_array_equal(store.panel("facts", "eps", clock=clock), panel[:, [1, 0]])


def test_a_retraction_is_stored_and_honoured(store: Store) -> None:
    frame = eps(("A", "2016-03-31", "2016-04-20", 1.0), ("A", "2016-06-30", "2016-07-20", 2.0))
    store.append("facts", frame)
    gone = eps(("A", "2016-06-30", "2016-08-01", np.nan)).assign(op="retract")
    assert store.append("facts", gone).accepted == 1
    clock = pd.to_datetime(["2016-07-31", "2016-08-01"], utc=True)
    np.testing.assert_array_equal(store.panel("facts", "eps", clock=clock)[:, 0], [2.0, 1.0])
    assert store.read("facts")["eps"].to_pylist() == [1.0]


def test_revision_orders_rows_of_one_known_time(store: Store) -> None:
    frame = eps(("A", "2016-03-31", "2016-04-20", 2.0), ("A", "2016-03-31", "2016-04-20", 1.0)).assign(revision=[1, 0])
    assert store.append("facts", frame).accepted == 2
    assert store.read("facts")["eps"].to_pylist() == [2.0]


def test_a_null_field_of_the_current_row_is_nan(store: Store) -> None:
    store.append("facts", eps(("A", "2016-03-31", "2016-04-20", 1.0), ("A", "2016-06-30", "2016-07-20", np.nan)))
    clock = pd.to_datetime(["2016-05-01", "2016-08-01"], utc=True)
    np.testing.assert_array_equal(store.panel("facts", "eps", clock=clock)[:, 0], [1.0, np.nan])


def test_the_same_frame_twice_changes_nothing_and_says_so(store: Store) -> None:
    first = store.append("bars", bars())
    again = store.append("bars", bars())
    assert (first.accepted, first.version, first.already_stored) == (5, 1, False)
    assert (again.accepted, again.version, again.already_stored, again.duplicates) == (0, 1, True, 5)
    assert "nothing changed" in repr(again)
    assert store.read("bars").num_rows == 5


def test_the_same_file_twice_changes_nothing_and_the_same_rows_from_elsewhere_are_duplicates(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "bars.csv"
    bars().to_csv(path, index=False)
    assert store.append("bars", path).accepted == 5
    assert store.append("bars", str(path)).already_stored
    as_frame = store.append("bars", bars())
    assert (as_frame.accepted, as_frame.duplicates, as_frame.version) == (0, 5, 1)
    overlap = store.append("bars", bars(n=7))
    assert (overlap.accepted, overlap.duplicates, overlap.version) == (2, 5, 2)


def test_a_version_pins_every_later_answer_byte_by_byte(store: Store) -> None:
    store.append("facts", eps(("A", "2016-03-31", "2016-04-20", 1.0)))
    clock = pd.date_range("2016-04-01", periods=90, tz="UTC")
    before = store.panel("facts", "eps", clock=clock, version=1).tobytes()
    read = store.read("facts", version=1)
    store.append("facts", eps(("A", "2016-03-31", "2016-04-10", 9.0)), known_basis="vendor")  # a declared backfill
    assert Store(store.folder).panel("facts", "eps", clock=clock, version=1).tobytes() == before
    assert store.read("facts", version=1).equals(read)
    assert store.panel("facts", "eps", clock=clock).tobytes() != before
    assert [v.rows for v in store.versions("facts")] == [0, 1, 1]
    assert store.versions("facts")[2].known_basis == "vendor"


def test_an_observed_row_known_earlier_than_a_stored_one_is_quarantined(store: Store) -> None:
    store.append("facts", eps(("A", "2016-03-31", "2016-04-20", 1.0)))
    report = store.append("facts", eps(("A", "2016-03-31", "2016-04-10", 9.0), ("A", "2016-06-30", "2016-07-10", 2.0)))
    assert (report.accepted, dict(report.rules)) == (1, {"earlier_than_stored": 1})
    assert "known_basis='vendor'" in repr(report)
    assert store.read("facts")["known_basis"].to_pylist() == ["observed", "observed"]


def test_a_conflict_with_a_stored_row_is_quarantined_and_the_stored_one_stays(store: Store) -> None:
    store.append("facts", eps(("A", "2016-03-31", "2016-04-20", 1.0)))
    report = store.append("facts", eps(("A", "2016-03-31", "2016-04-20", 2.0)))
    assert dict(report.rules) == {"conflicting_duplicate": 1}
    assert store.read("facts")["eps"].to_pylist() == [1.0]


def test_declared_lags_and_instants_are_recorded_as_assumed(store: Store) -> None:
    frame = bars().drop(columns="known_time")
    with pytest.raises(DataError, match="known_lag='1d'"):
        store.append("bars", frame)
    assert store.append("bars", frame, known_lag="90min").known_basis == "assumed_lag"
    table = store.read("bars")
    assert set(table["known_basis"].to_pylist()) == {"assumed_lag"}
    lag = pd.Series(table["known_time"].to_pylist()) - pd.Series(table["event_time"].to_pylist())
    assert (lag == pd.Timedelta("90min")).all()
    other = bars("BBB").drop(columns="known_time")
    store.append("bars", other, known_time="2020-01-01T00:00Z", known_basis="vendor")
    assert store.read("bars", entities=["BBB"], as_of="2019-12-31T23:59Z").num_rows == 0
    assert store.read("bars", entities=["BBB"])["known_basis"][0].as_py() == "vendor"


def test_a_schema_may_declare_the_lag_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("bars", Schema.bars(calendar="XNYS", known_lag="1d"))
    assert store.append("bars", bars().drop(columns="known_time")).known_basis == "assumed_lag"
    store.append("bars", bars("BBB"))  # these rows do state their known time
    assert store.read("bars", entities=["BBB"])["known_basis"][0].as_py() == "observed"


def test_creating_again_is_fine_with_the_same_schema_or_while_nothing_is_stored(store: Store) -> None:
    store.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    store.create("bars", Schema.bars(calendar="XNYS", currency="EUR"))  # a corrected first try
    assert store.schema("bars").currency == "EUR"
    store.append("bars", pd.DataFrame({"entity": ["A"], "event_time": ["2016-03-01"], "close": [1.0]}), known_lag="0s")
    with pytest.raises(StoreError, match="another schema"):
        store.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    assert store.datasets() == ("bars", "facts")


def test_rows_refused_under_a_first_try_of_a_schema_wait_for_the_second(store: Store) -> None:
    store.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    odd = pd.DataFrame({"entity": ["A"], "event_time": ["2016-03-01"], "close": [-1.0]})
    assert store.append("bars", odd, known_lag="0s").quarantined == 1
    store.create("bars", Schema.bars(calendar="XNYS", currency="EUR"))
    assert store.schema("bars").currency == "EUR"
    assert len(store.quarantined_rows("bars")) == 1


@pytest.mark.parametrize(
    "name", ["../evil", "/etc", "a/b", "a\\b", "a\0b", "%2e%2e", ".hidden", "", "x" * 10_000, "abc\u202etxt", "-rf", 7]
)
def test_a_dataset_name_outside_the_allow_list_is_refused(store: Store, name: object) -> None:
    with pytest.raises(InputError, match="dataset name"):
        store.create(name, Schema.bars())  # type: ignore[arg-type]
    assert sorted(p.name for p in store.folder.iterdir() if not p.name.startswith(".")) == ["bars", "facts"]


def test_a_linked_dataset_is_not_followed(store: Store, tmp_path: Path) -> None:
    (store.folder / "linked").symlink_to(store.folder / "bars")
    assert "linked" not in store.datasets()
    with pytest.raises(UnknownNameError):
        store.read("linked")


def test_unknown_names_offer_the_nearest(store: Store) -> None:
    store.append("bars", bars("AAPL"))
    with pytest.raises(UnknownNameError, match="Did you mean 'bars'"):
        store.read("bar")
    with pytest.raises(UnknownNameError, match="Did you mean 'close'"):
        store.read("bars", fields=["clsoe"])
    with pytest.raises(UnknownNameError, match="Did you mean 'AAPL'"):
        store.read("bars", entities=["AAPLL"])
    with pytest.raises(UnknownNameError, match="Did you mean 'AAPL'"):
        store.panel("bars", "close", clock=["2016-03-02T00:00Z"], entities=["AAPLL"])


@pytest.mark.parametrize("version", [2, -1, True, 1.5])
def test_an_unknown_version_names_those_there_are(store: Store, version: object) -> None:
    store.append("bars", bars())
    with pytest.raises(StoreError, match="it has 0 to 1"):
        store.read("bars", version=version)  # type: ignore[arg-type]


def test_moments_need_a_zone(store: Store) -> None:
    with pytest.raises(InputError, match="no time zone"):
        store.read("bars", as_of="2016-03-01")
    with pytest.raises(InputError, match="no time zone"):
        store.panel("bars", "close", clock=pd.date_range("2016-03-01", periods=3))
    with pytest.raises(InputError, match="must ascend"):
        store.panel("bars", "close", clock=np.array([2, 1], dtype=np.int64))


def rewrite(store: Store, name: str, **properties: str) -> None:
    """Set properties of a table as another engine would."""
    alter = deltalake.DeltaTable(store.table_path(name)).alter
    alter.set_table_properties({f"knowable.{key}": text for key, text in properties.items()}, raise_if_not_exists=False)


def test_a_schema_or_a_table_of_a_newer_release_is_refused(store: Store) -> None:
    page = json.loads(store.schema("bars").to_json())
    rewrite(store, "bars", schema=json.dumps(page | {"format": page["format"] + 1}))
    with pytest.raises(StoreError, match="Update knowable"):
        store.read("bars")
    rewrite(store, "facts", table="2")
    with pytest.raises(StoreError, match="table format 2; this release reads 1. Update knowable"):
        store.read("facts")
    assert store.read("facts", version=0).num_rows == 0, "what is whole is read"


def test_pinned_versions_outlive_the_clean_up_that_a_checkpoint_starts(store: Store) -> None:
    """Delta forgets log entries after 30 days unless told otherwise, and pins would die with them."""
    configuration = __import__("deltalake").DeltaTable(store.table_path("bars")).metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert configuration["delta.logRetentionDuration"] == "interval 36500 days"


def test_a_store_travels_to_workers(store: Store) -> None:
    store.append("bars", bars())
    assert pickle.loads(pickle.dumps(store)).read("bars").equals(store.read("bars"))


def test_tables_and_parquet_files_are_taken_like_frames(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    bars("PPP").to_parquet(path)
    assert store.append("bars", path).accepted == 5
    assert store.append("bars", pa.Table.from_pandas(bars("TTT"), preserve_index=False)).accepted == 5
    assert store.append("bars", bars("III").set_index(["entity", "event_time"])).accepted == 5
    assert set(store.read("bars")["entity"].to_pylist()) == {"PPP", "TTT", "III"}


def test_the_repr_says_what_is_there(store: Store) -> None:
    assert "bars, facts" in repr(store)
    assert "5 rows accepted into 'bars', version 1 (known times: observed)" in repr(store.append("bars", bars()))
