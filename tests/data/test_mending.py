"""Refused rows come back in their vendor's columns, are corrected, and settle what they mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table import delta
from knowable.errors import InputError, StoreError, UnknownNameError

COLUMNS = {"symbol": "entity", "day": "event_time", "captured": "known_time", "px": "close"}
CSV = """symbol,day,captured,open,high,low,px,volume
AAA,2016-03-01,2016-03-02 12:00,10,11,9,10.5,100
BBB,2016-03-01,2016-03-02 12:00,10,8,9,10.5,100
CCC,2016-03-01,2016-03-02 12:00,10,11,9,ten,100
DDD,2016-03-01,2016-03-02 12:00,10,11,9
symbol,day,captured,open,high,low,px,volume
EEE,2016-03-01,2016-03-02 12:00,10,11,9,10.5,-5
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(calendar="XNYS"))
    path = tmp_path / "vendor.csv"
    path.write_text(CSV)
    report = made.append("bars", path, columns=COLUMNS, tz="UTC")
    assert (report.accepted, report.quarantined) == (1, 5)
    assert "store.quarantined_rows('bars')" in repr(report)
    return made


def waiting(store: Store) -> dict[str, int]:
    rules = store.quarantine("bars")["rule"].to_pylist()
    return {rule: rules.count(rule) for rule in rules}


def test_rows_are_handed_out_as_their_vendor_wrote_them(store: Store) -> None:
    rows = store.quarantined_rows("bars", rule="high_below_low")
    assert list(rows.columns) == [
        "quarantine_id", "quarantine_rule", "quarantine_detail",
        "symbol", "day", "captured", "open", "high", "low", "px", "volume",
    ]  # fmt: skip
    assert rows.loc[0, "symbol":].tolist() == ["BBB", "2016-03-01", "2016-03-02 12:00", "10", "8", "9", "10.5", "100"]
    assert rows.loc[0, "quarantine_detail"] == "high is below low: high='8'"


def test_corrected_rows_are_stored_and_settle_their_refusals(store: Store) -> None:
    before = store.versions("bars")[-1].version
    rows = store.quarantined_rows("bars")
    rows.loc[rows["symbol"] == "BBB", "high"] = 12.5
    rows.loc[rows["symbol"] == "CCC", "px"] = 10
    report = store.mend("bars", rows[rows["symbol"].isin(["BBB", "CCC"])])
    assert (report.accepted, report.quarantined, report.version) == (2, 0, before + 1)
    assert store.read("bars")["entity"].to_pylist() == ["AAA", "BBB", "CCC"]
    assert store.read("bars", entities=["BBB"])["high"].to_pylist() == [12.5]
    assert str(store.read("bars")["known_time"][1]) == "2016-03-02 12:00:00+00:00"  # zone and names as they were read
    assert waiting(store) == {"wrong_number_of_columns": 1, "header_row": 1, "negative_volume": 1}
    done = store.quarantine("bars", resolved=True).to_pylist()
    assert {(row["rule"], row["resolved_by"], row["resolved_version"]) for row in done} == {
        ("high_below_low", "mended", before + 1),
        ("not_a_number", "mended", before + 1),
    }
    assert store.quarantine("bars", resolved=None).num_rows == 5


def test_the_rows_of_one_append_can_be_told_apart(store: Store) -> None:
    frame = pd.DataFrame([{"symbol": "X", "day": "2016-03-03", "captured": "2016-03-04 12:00", "px": 0.0}])
    report = store.append("bars", frame, columns=COLUMNS, tz="UTC")
    assert store.quarantine("bars", batch=report.batch)["rule"].to_pylist() == ["price_not_positive"]
    assert store.quarantined_rows("bars", batch=report.batch)["symbol"].tolist() == ["X"]
    assert store.quarantine("bars", batch="none").num_rows == 0


def test_mending_again_changes_nothing(store: Store) -> None:
    rows = store.quarantined_rows("bars", rule="high_below_low").assign(high=12.5)
    first = store.mend("bars", rows)
    log = delta.open_table(store._dataset("bars").quarantine, None, "q").version
    again = store.mend("bars", rows)
    assert (again.accepted, again.duplicates, again.quarantined, again.version) == (0, 1, 0, first.version)
    assert delta.open_table(store._dataset("bars").quarantine, None, "q").version == log
    assert store.quarantine("bars", resolved=True)["resolved_version"].to_pylist() == [first.version]


def test_a_mended_row_that_is_still_bad_stays_as_it_was(store: Store) -> None:
    rows = store.quarantined_rows("bars")
    ids = set(rows["quarantine_id"])
    rows = rows[rows["symbol"].isin(["BBB", "EEE"])]
    rows.loc[rows["symbol"] == "BBB", "high"] = 12
    report = store.mend("bars", rows)
    assert (report.accepted, dict(report.rules)) == (1, {"negative_volume": 1})
    assert "stay in the quarantine" in repr(report)
    left = store.quarantined_rows("bars")
    assert set(left["quarantine_id"]) < ids  # no row joined
    assert "EEE" in set(left["symbol"])


def test_a_line_that_was_no_row_can_be_given_its_cells(store: Store) -> None:
    rows = store.quarantined_rows("bars")
    line = rows["quarantine_rule"] == "wrong_number_of_columns"
    assert "DDD,2016-03-01" in rows.loc[line, "quarantine_detail"].item()
    assert rows.loc[line, "symbol"].isna().all()
    fixed = rows[line].assign(symbol="DDD", day="2016-03-01", captured="2016-03-02 12:00",
                              open=10, high=11, low=9, px=10.5, volume=100)  # fmt: skip
    assert store.mend("bars", fixed).accepted == 1
    assert "wrong_number_of_columns" not in waiting(store)


def test_a_file_that_could_not_be_read_is_no_row_to_mend_but_may_be_dismissed(store: Store, tmp_path: Path) -> None:
    good = tmp_path / "good.csv"
    good.write_text(CSV.splitlines()[0] + "\nFFF,2016-03-01,2016-03-02 12:00,10,11,9,10.5,100\n")
    store.append("bars", [good, tmp_path / "absent.csv"], columns=COLUMNS, tz="UTC")
    assert store.dismiss("bars", store.quarantined_rows("bars", rule="unreadable_file"), "fetched since") == 1
    assert "unreadable_file" not in waiting(store)


def test_rows_nobody_will_mend_are_dismissed_with_a_reason(store: Store) -> None:
    rows = store.quarantined_rows("bars", rule="header_row")
    assert store.dismiss("bars", rows, "headers of the vendor's parts") == 1
    assert store.dismiss("bars", list(rows["quarantine_id"]), "headers of the vendor's parts") == 0
    assert "header_row" not in waiting(store)
    (row,) = store.quarantine("bars", resolved=True).to_pylist()
    assert (row["resolved_by"], row["resolved_version"]) == ("dismissed", None)
    with pytest.raises(InputError, match="`note` must say why"):
        store.dismiss("bars", rows, " ")
    with pytest.raises(InputError, match="rows of store.quarantined_rows"):
        store.dismiss("bars", "abc", "no list")


def test_another_reading_may_be_asked_for(store: Store) -> None:
    rows = store.quarantined_rows("bars", rule="high_below_low").assign(high=12)
    store.mend("bars", rows, tz="America/New_York", known_basis="vendor")
    (row,) = store.read("bars", entities=["BBB"]).to_pylist()
    assert (str(row["known_time"]), row["known_basis"]) == ("2016-03-02 17:00:00+00:00", "vendor")


def test_a_row_that_was_read_by_a_lag_may_state_when_it_was_known(store: Store) -> None:
    frame = pd.DataFrame({"entity": ["AAA", "BBB"], "event_time": "2016-03-03", "close": [0.0, -1.0]})
    assert store.append("bars", frame, known_lag="1d").quarantined == 2
    rows = store.quarantined_rows("bars", rule="price_not_positive").assign(close=10.0)
    store.mend("bars", rows[:1])
    store.mend("bars", rows[1:].assign(known_time=pd.Timestamp("2016-03-09T00:00Z")))
    found = store.read("bars", start="2016-03-03").to_pylist()
    assert [(str(row["known_time"]), row["known_basis"]) for row in found] == [
        ("2016-03-04 21:00:00+00:00", "assumed_lag"),
        ("2016-03-09 00:00:00+00:00", "observed"),
    ]


def test_conflicting_rows_are_mended_by_handing_back_the_right_one(store: Store) -> None:
    row = {"symbol": "ZZZ", "day": "2016-03-03", "captured": "2016-03-04 12:00", "px": 5.0}
    frame = pd.DataFrame([row, {**row, "px": 6.0}])
    report = store.append("bars", frame, columns=COLUMNS, tz="UTC")
    assert dict(report.rules) == {"conflicting_duplicate": 2}
    rows = store.quarantined_rows("bars", rule="conflicting_duplicate")
    assert rows["px"].tolist() == [5.0, 6.0]  # in the vendor's own columns, too
    assert store.mend("bars", rows).quarantined == 2  # both again: they conflict as before
    assert store.mend("bars", rows[rows["px"] == 6.0]).accepted == 1
    assert store.read("bars", entities=["ZZZ"])["close"].to_pylist() == [6.0]
    assert waiting(store)["conflicting_duplicate"] == 1


def test_a_row_that_comes_too_late_needs_a_declared_backfill(store: Store) -> None:
    late = pd.DataFrame([{"symbol": "BBB", "day": "2016-03-01", "captured": "2016-03-09 12:00", "px": 7.0}])
    store.append("bars", late, columns=COLUMNS, tz="UTC")
    version = store.versions("bars")[-1].version
    rows = store.quarantined_rows("bars", rule="high_below_low").assign(high=12)
    assert dict(store.mend("bars", rows).rules) == {"earlier_than_stored": 1}
    assert store.mend("bars", rows, known_basis="vendor").accepted == 1
    assert store.read("bars", entities=["BBB"], version=version)["close"].to_pylist() == [7.0]
    assert store.read("bars", entities=["BBB"])["close"].to_pylist() == [7.0]
    assert store.read("bars", entities=["BBB"], as_of="2016-03-03T00:00Z")["close"].to_pylist() == [10.5]


def test_a_cell_still_missing_is_still_missing(store: Store) -> None:
    """The whole file had opens; that a handful of its rows has none at all does not excuse them."""
    rows = pd.DataFrame([{"symbol": s, "day": "2016-03-03", "captured": "2016-03-04 12:00", "px": 5.0, "open": o}
                         for s, o in (("X", 5.0), ("Y", None))])  # fmt: skip
    assert dict(store.append("bars", rows, columns=COLUMNS, tz="UTC").rules) == {"missing_value": 1}
    again = store.quarantined_rows("bars", rule="missing_value")
    assert dict(store.mend("bars", again).rules) == {"missing_value": 1}
    assert store.mend("bars", again.assign(open=4.0, high=6.0, low=3.0, volume=1.0)).accepted == 1


def test_a_name_that_was_nobodys_is_mended_by_its_interval_alone(store: Store) -> None:
    store.create("tickers", Schema.intervals(keys=["ticker"], calendar="XNYS"))
    bearer = {
        "entity": "id-1",
        "event_time": "2016-03-01",
        "ticker": "OLD",
        "known_time": pd.Timestamp("2016-01-01T00:00Z"),
    }
    store.append("tickers", pd.DataFrame([bearer]))
    rows = pd.DataFrame([{"symbol": name, "day": "2016-03-03", "captured": "2016-03-04 12:00", "px": 5.0}
                         for name in ("OLD", "NEW")])  # fmt: skip
    report = store.append("bars", rows, columns=COLUMNS, tz="UTC", identifiers="tickers")
    assert dict(report.rules) == {"unknown_identifier": 1}
    waiting_rows = store.quarantined_rows("bars", rule="unknown_identifier")
    assert waiting_rows["symbol"].tolist() == ["NEW"]
    assert store.mend("bars", waiting_rows).quarantined == 1
    store.append("tickers", pd.DataFrame([{**bearer, "entity": "id-2", "ticker": "NEW"}]))
    assert store.mend("bars", waiting_rows).accepted == 1
    assert store.read("bars", start="2016-03-03")["entity"].to_pylist() == ["id-1", "id-2"]


def test_ids_are_checked(store: Store) -> None:
    rows = store.quarantined_rows("bars")
    with pytest.raises(UnknownNameError, match="Unknown quarantine_id 'nonsense'"):
        store.mend("bars", rows.assign(quarantine_id="nonsense"))
    with pytest.raises(InputError, match=r"no column 'quarantine_id'.*\n.*quarantined_rows\('bars'\)"):
        store.mend("bars", rows.drop(columns="quarantine_id"))
    with pytest.raises(InputError, match="must be what store.quarantined_rows"):
        store.mend("bars", rows.to_dict())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no rows"):
        store.mend("bars", rows[:0])
    with pytest.raises(UnknownNameError, match="Did you mean 'header_row'"):
        store.quarantine("bars", rule="header_rows")


def test_a_mend_that_died_between_its_two_commits_is_completed_by_repeating_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = store.quarantined_rows("bars", rule="high_below_low").assign(high=12)
    with monkeypatch.context() as patch:
        patch.setattr("knowable.data.table.dataset.Dataset.refuse", refuse_to_refuse)
        with pytest.raises(StoreError, match="disk full"):
            store.mend("bars", rows)
    assert store.read("bars", entities=["BBB"]).num_rows == 1  # the rows landed, the record did not
    assert waiting(store)["high_below_low"] == 1
    report = store.mend("bars", rows)
    assert (report.accepted, report.duplicates) == (0, 1)
    assert "high_below_low" not in waiting(store)


def refuse_to_refuse(*_: Any) -> None:
    raise StoreError("disk full")


GOOD = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0}
SPOILT = st.sampled_from(
    [{"high": 8.0}, {"open": None}, {"close": "ten"}, {"volume": -1.0}, {"low": float("inf")}, {"entity": "../x"},
     {"event_time": "2016-03-05"}, {"known_time": None}, {"close": 0.0}, {"op": "delete"}]
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spoilt=st.lists(st.none() | SPOILT, min_size=1, max_size=8), data=st.data())
def test_dirty_rows_and_their_mend_make_the_dataset_that_clean_rows_make(
    spoilt: list[Any], data: st.DataObject, tmp_path_factory: Any
) -> None:
    spoilt = [None, *spoilt]  # one row is whole, for a column that is absent from all rows is no fault
    known = {"known_time": "2016-03-15T12:00Z", "op": "assert"}

    def values(k: int) -> dict[str, float]:
        return {name: value + k for name, value in GOOD.items()}

    clean = [
        {"entity": f"E{k % 3}", "event_time": f"2016-03-0{1 + k // 3}", **known, **values(k)}
        for k in range(len(spoilt))
    ]
    dirty = pd.DataFrame([{**row, **(bad or {})} for row, bad in zip(clean, spoilt, strict=True)]).astype(object)
    store = Store(tmp_path_factory.mktemp("mended"))
    for name, frame in (("clean", pd.DataFrame(clean)), ("dirty", dirty)):
        store.create(name, Schema.bars(calendar="XNYS"))
        store.append(name, frame)
    n_bad = sum(bad is not None for bad in spoilt)
    places = store.quarantine("dirty")["row"].to_pylist()
    assert len(places) == n_bad
    rows = store.quarantined_rows("dirty")
    truth = pd.DataFrame([clean[place] for place in places])
    for name in truth.columns:
        rows[name] = truth[name].to_numpy()
    at = data.draw(st.integers(0, n_bad))
    for part in (rows[:at], rows[at:]):
        if len(part):
            store.mend("dirty", part)
    assert store.read("dirty").equals(store.read("clean"))
    assert store.quarantine("dirty").num_rows == 0
