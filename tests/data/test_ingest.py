"""What ingest refuses, under which rule, and where it says the row stands."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from knowable.data.ingest.pieces import survey
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import DataError, InputError, UnknownNameError

HEAD = "entity,event_time,known_time,open,high,low,close,volume"
GOOD = "AAA,2016-03-01,2016-03-01T22:00Z,10,11,9,10.5,100"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    made.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    made.create("loose", Schema.bars(calendar="XNYS", partial=True))
    return made


def row(**changes: Any) -> dict[str, Any]:
    base = {
        "entity": "AAA", "event_time": "2016-03-02", "known_time": pd.Timestamp("2016-03-02T22:00Z"),
        "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0,
    }  # fmt: skip
    return {**base, **changes}


BAD_ROWS = {
    "price_not_positive": {"close": 0.0, "low": 0.0},
    "high_below_low": {"high": 8.0},
    "open_outside_range": {"open": 12.0},
    "close_outside_range": {"close": 8.9},
    "negative_volume": {"volume": -1.0},
    "not_finite": {"high": np.inf},
    "missing_value": {"open": np.nan},
    "denormal": {"low": 5e-324},
    "bad_entity": {"entity": "../etc"},
    "no_session": {"event_time": "2016-03-05"},
    "bad_known_time": {"known_time": pd.NaT},
    "known_before_event": {"known_time": pd.Timestamp("2016-03-02T20:59Z")},
    "bad_event_time": {"event_time": "soon"},
    "header_row": {"entity": "entity", "event_time": "event_time"},
}


@pytest.mark.parametrize("rule", BAD_ROWS)
def test_a_bad_row_is_quarantined_under_its_rule_and_the_rest_lands(store: Store, rule: str) -> None:
    frame = pd.DataFrame([row(event_time="2016-03-01"), row(**BAD_ROWS[rule]), row(event_time="2016-03-03",
                          known_time=pd.Timestamp("2016-03-03T22:00Z"))])  # fmt: skip
    report = store.append("bars", frame)
    assert (report.accepted, dict(report.rules)) == (2, {rule: 1})
    kept = store.quarantine("bars").to_pylist()
    assert [(item["rule"], item["row"]) for item in kept] == [(rule, 1)]
    assert rule in repr(report)
    assert store.read("bars").num_rows == 2


@pytest.mark.parametrize(
    "entity", ["a/b", "x" * 65, "abc\u202etxt", "a\0b", "..", "", " AAA", "AAA ", "a\nb", "<b>", "%2e%2e/x"]
)
def test_an_entity_name_outside_the_allow_list_is_quarantined(store: Store, entity: str) -> None:
    assert dict(store.append("bars", pd.DataFrame([row(entity=entity)])).rules) == {"bad_entity": 1}


@pytest.mark.parametrize("entity", ["BRK.B", "^GSPC", "EURUSD=X", "BF-B", "Société Générale", "10107", "^N225", "ES=F"])
def test_ordinary_entity_names_pass(store: Store, entity: str) -> None:
    assert store.append("bars", pd.DataFrame([row(entity=entity)])).accepted == 1


def test_numbers_may_name_entities(store: Store) -> None:
    store.append("bars", pd.DataFrame([row(entity=10107)]))
    assert store.read("bars", entities=["10107"]).num_rows == 1


def test_minus_zero_is_no_volume(store: Store) -> None:
    assert dict(store.append("bars", pd.DataFrame([row(volume=-0.0)])).rules) == {"negative_volume": 1}


def test_exact_duplicates_collapse_and_conflicting_ones_are_all_quarantined(store: Store) -> None:
    twice = [row(), row()]
    conflict = [row(entity="BBB"), row(entity="BBB", volume=7.0), row(entity="BBB")]
    report = store.append("bars", pd.DataFrame([*twice, *conflict]))
    assert (report.accepted, report.duplicates, dict(report.rules)) == (1, 2, {"conflicting_duplicate": 2})
    assert store.read("bars")["entity"].to_pylist() == ["AAA"]


def test_an_assertion_and_a_retraction_of_one_key_are_a_conflict(store: Store) -> None:
    report = store.append("bars", pd.DataFrame([row(op="assert"), row(op="retract")]))
    assert dict(report.rules) == {"conflicting_duplicate": 2}
    ordered = store.append("bars", pd.DataFrame([row(op="assert", revision=0), row(op="retract", revision=1)]))
    assert ordered.accepted == 2
    assert store.read("bars").num_rows == 0


@pytest.mark.parametrize(("column", "value", "rule"), [("op", "delete", "bad_op"), ("revision", 1.5, "bad_revision")])
def test_odd_ops_and_revisions_are_quarantined(store: Store, column: str, value: object, rule: str) -> None:
    assert dict(store.append("bars", pd.DataFrame([row(**{column: value})])).rules) == {rule: 1}


def test_a_bar_may_have_a_close_only(store: Store) -> None:
    frame = pd.DataFrame([row()])[["entity", "event_time", "known_time", "close"]]
    assert store.append("bars", frame).accepted == 1
    assert store.read("bars")["open"].to_pylist() == [None]


def test_single_cells_may_be_missing_only_where_the_schema_says_so(store: Store) -> None:
    frame = pd.DataFrame([row(open=np.nan), row(entity="BBB"), row(entity="CCC", close=np.nan)])
    assert store.append("bars", frame).accepted == 1
    report = store.append("loose", frame)
    assert (report.accepted, dict(report.rules)) == (2, {"missing_value": 1})


def test_facts_may_be_null_but_not_infinite(store: Store) -> None:
    frame = pd.DataFrame({"entity": list("ABC"), "event_time": pd.Timestamp("2016-03-31", tz="UTC"),
                          "known_time": pd.Timestamp("2016-04-20", tz="UTC"),
                          "eps": [np.nan, np.inf, -1.0]})  # fmt: skip
    report = store.append("facts", frame)
    assert (report.accepted, dict(report.rules)) == (2, {"not_finite": 1})


def test_announcements_may_precede_their_event_only_if_the_schema_says_so(store: Store) -> None:
    frame = pd.DataFrame({"entity": ["A"], "event_time": [pd.Timestamp("2016-06-01", tz="UTC")],
                          "known_time": [pd.Timestamp("2016-05-01", tz="UTC")], "eps": [0.5]})  # fmt: skip
    assert dict(store.append("facts", frame).rules) == {"known_before_event": 1}
    store.create("dividends", Schema.facts(fields={"eps": "USD/share"}, announced_ahead=True))
    assert store.append("dividends", frame).accepted == 1


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


def test_a_csv_row_is_named_by_file_and_line(store: Store, tmp_path: Path) -> None:
    path = write(
        tmp_path / "vendor.csv",
        HEAD,
        GOOD,
        "",
        HEAD,  # a header among the data
        "BBB,2016-03-01,2016-03-01T22:00Z,10,11,9,ten,100",
        "CCC,2016-03-01,2016-03-01T22:00Z,10,11",  # cut
        "DDD,2016-03-01,2016-03-01T22:00Z,10,11,9,10.5,100,7",
        "EEE,2016-03-01,2016-03-01T22:00Z,10,11,9,NaN,100",
        "FFF,2016-03-01,,10,11,9,10.5,100",
    )
    report = store.append("bars", path)
    assert report.accepted == 1
    found = {item["rule"]: (item["line"], item["file"]) for item in store.quarantine("bars").to_pylist()}
    lines = {rule: line for rule, (line, _) in found.items()}
    assert lines == {
        "header_row": 4,
        "not_a_number": 5,
        "wrong_number_of_columns": 7,
        "not_finite": 8,
        "bad_known_time": 9,
    }
    assert {file for _, file in found.values()} == {str(path)}
    assert dict(report.rules)["wrong_number_of_columns"] == 2
    assert f"line 5 of {path}" in repr(report)


def test_a_quoted_csv_keeps_its_line_numbers(store: Store, tmp_path: Path) -> None:
    path = write(
        tmp_path / "quoted.csv",
        HEAD + ",note",
        GOOD + ',"two\nlines, and a comma"',
        "BBB,2016-03-01,2016-03-01T22:00Z,10,11,9,0,100,x",
        "CCC,2016-03-01,2016-03-01T22:00Z,10,11,9,10,100",
    )
    report = store.append("bars", path)
    assert report.accepted == 1
    assert "columns not used: note" in repr(report)
    found = {item["rule"]: item["line"] for item in store.quarantine("bars").to_pylist()}
    assert found == {"price_not_positive": 4, "wrong_number_of_columns": 5}


def test_a_line_that_is_no_utf8_is_quarantined_and_the_rest_lands(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    bad = "Société,2016-03-01,2016-03-01T22:00Z,10,11,9,10.5,100".encode("latin-1")
    path.write_bytes(b"\n".join([HEAD.encode(), GOOD.encode(), bad, b""]))
    assert dict(store.append("bars", path).rules) == {"bad_encoding": 1}
    assert store.quarantine("bars")["line"].to_pylist() == [3]


@pytest.mark.parametrize("cut", [1, 2, 5, 9, 17, 30, 44, 52, 54, 60])
def test_a_file_cut_in_mid_row_never_gives_a_wrong_number(tmp_path: Path, cut: int) -> None:
    second = "BBB,2016-03-01,2016-03-01T22:00Z,20,21,19,20.5,123456\n"
    path = tmp_path / "cut.csv"
    path.write_text((HEAD + "\n" + GOOD + "\n" + second)[:-cut])
    store = Store(tmp_path / "store")
    store.create("bars", Schema.bars(calendar="XNYS"))
    if cut < len(second):
        assert store.append("bars", path).quarantined == 1
    else:
        store.append("bars", path)
    assert [volume for volume in store.read("bars")["volume"].to_pylist() if volume not in (100.0, 123456.0)] == []


def test_line_ends_of_windows_and_a_byte_order_mark_are_no_matter(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEAD}\r\n{GOOD}\r\n".encode())
    assert store.append("bars", path).accepted == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEAD.encode() + b"\n", "no rows"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-8"),
        (b"Report of March\n" + HEAD.encode() + b"\n" + GOOD.encode() + b"\n", "Column `entity` of .* is missing"),
        (b"\x1f\x8b\x08\x00cut", "gzip"),
        (gzip.compress((HEAD + "\n" + GOOD * 50 + "\n").encode())[:-9], "cut or damaged gzip"),
        ((HEAD + ",close\n" + GOOD + ",1\n").encode(), "'close' comes 2 times"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(store: Store, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        store.append("bars", path)
    assert "odd.csv" in str(caught.value)
    assert store.versions("bars")[-1].version == 0


def test_one_unreadable_file_does_not_hold_up_the_others(store: Store, tmp_path: Path) -> None:
    good = write(tmp_path / "good.csv", HEAD, GOOD)
    report = store.append("bars", [good, tmp_path / "absent.csv"])
    assert (report.accepted, dict(report.rules)) == (1, {"unreadable_file": 1})
    with pytest.raises(DataError, match=r"absent\.csv"):
        store.append("bars", tmp_path / "absent.csv")


def test_a_conflict_between_two_files_names_each(store: Store, tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", HEAD, GOOD)
    two = write(tmp_path / "two.csv", HEAD, "BBB" + GOOD[3:], GOOD.replace("10.5", "10.6"))
    assert store.append("bars", [one, two]).accepted == 1
    found = {(Path(item["file"]).name, item["line"]) for item in store.quarantine("bars").to_pylist()}
    assert found == {("one.csv", 2), ("two.csv", 3)}


def test_a_damaged_parquet_file_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    pd.DataFrame([row()]).to_parquet(path)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"bars\.parquet is no whole Parquet file"):
        store.append("bars", path)


def test_a_gzip_bomb_is_refused(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knowable.data.ingest.source._MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"0" * (40 << 20)))
    with pytest.raises(DataError, match="unpacks to more than"):
        store.append("bars", path)


@pytest.mark.parametrize("column", ["entity", "event_time", "unknown"])
def test_a_parquet_file_whose_one_text_stands_for_terabytes_is_refused(
    store: Store, tmp_path: Path, column: str
) -> None:
    """A dictionary holds a megabyte once; unpacked it is 100 GB."""
    n = 100_000
    bomb = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["A" * 1_000_000]))
    plain = {"entity": ["A"] * n, "event_time": ["2016-03-01"] * n, "known_time": ["2016-03-02T00:00Z"] * n}
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({**plain, "eps": np.ones(n), column: bomb}), path, store_schema=False)
    assert path.stat().st_size < 1 << 20
    told = f"unpacks to more than 2,048 MiB of text in column '{column}'"
    with pytest.raises(DataError, match=told):
        store.append("facts", path)
    assert told in str(survey(str(path)).problem)  # as an append in pieces finds it


def test_many_rows_of_few_texts_are_no_bomb(store: Store, tmp_path: Path) -> None:
    n = 300_000
    times = pd.date_range("2016-01-01", periods=n, freq="s", tz="UTC")
    names = pd.Categorical.from_codes(np.arange(n) % 500, [f"E{k:060d}" for k in range(500)])
    frame = pd.DataFrame({"entity": names, "event_time": times, "known_time": times, "eps": 1.0})
    frame.to_parquet(tmp_path / "many.parquet")
    assert store.append("facts", tmp_path / "many.parquet").accepted == n


def test_a_polars_frame_is_taken_as_it_is(store: Store) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"entity": ["A"], "event_time": ["2016-03-01"], "known_time": ["2016-03-02"], "eps": [1.5]}
    )
    assert store.append("facts", frame, tz="UTC").accepted == 1
    assert store.append("facts", frame.to_arrow(), tz="UTC").duplicates == 1
    with pytest.raises(InputError, match="`data` must be a table of rows"):
        store.append("facts", frame["eps"])


def test_times_of_a_zone_that_is_none_are_refused_and_offsets_are_zones(store: Store) -> None:
    def rows(zone: str) -> pa.Table:
        times = pa.array([1_456_876_800], pa.int64()).cast(pa.timestamp("s", zone))
        return pa.table({"entity": ["A"], "event_time": times, "known_time": times, "eps": [1.5]})

    with pytest.raises(DataError, match="Column 'event_time' has times of no time zone: 'Mars/Olympus'"):
        store.append("facts", rows("Mars/Olympus"))
    assert store.append("facts", rows("+05:30")).accepted == 1
    assert store.append("facts", rows("Asia/Kolkata")).duplicates == 1


def test_a_column_that_is_missing_is_named_with_its_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ticker,event_time\nA,2016-03-01\n")
    with pytest.raises(DataError, match=r"Column `entity` of .*a\.csv is missing; columns are \['ticker'"):
        store.append("bars", tmp_path / "a.csv")


OTHERS = {
    "zip": (b"PK\x03\x04\x14\x00\x06\x00\n", "is a zip archive or an Excel workbook, and no CSV. Unpack it"),
    "parquet": (b"PAR1\x15\x04\x15\x14\n", "is a Parquet file, and no CSV. Give it the ending"),
    "semicolons": (b"symbol;date;close\nA;2016-03-01;1,5\n", "separates its columns by ';'.*sep=';', decimal=','"),
    "tabs": (b"symbol\tdate\tclose\nA\t2016-03-01\t1.5\n", r"separates its columns by '\\t', not by commas"),
    "old mac": (b"entity,event_time\rA,2016-03-01\r", "ends its lines by CR alone"),
    "one line": (b"\0" * 200_000, "has no end of a line in its first 200,000 bytes"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_file_that_is_no_csv_is_told_what_it_is(store: Store, tmp_path: Path, case: str) -> None:
    (tmp_path / "a.csv").write_bytes(OTHERS[case][0])
    with pytest.raises(DataError, match=f"(?s){OTHERS[case][1]}"):
        store.append("bars", tmp_path / "a.csv")


def test_a_parquet_file_that_claims_too_much_is_refused_before_it_is_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowable.data.ingest.source._MAX_BYTES", 1 << 20)
    path = tmp_path / "wide.parquet"
    pd.DataFrame({"close": np.zeros(200_000)}).to_parquet(path)
    with pytest.raises(DataError, match="claims 200,000 rows"):
        store.append("bars", path)


def test_a_nearly_right_column_is_an_error_that_offers_the_right_one(store: Store) -> None:
    with pytest.raises(DataError, match="Did you mean 'close'"):
        store.append("bars", pd.DataFrame([row()]).rename(columns={"close": "clsoe"}))
    with pytest.raises(UnknownNameError, match="Did you mean 'entity'"):
        store.append("bars", pd.DataFrame([row()]), columns={"entitty": "entity"})


def test_wrong_types_are_refused_with_a_remedy(store: Store) -> None:
    with pytest.raises(DataError, match=r"`event_time` must hold times.*\n.*to_datetime"):
        store.append("bars", pd.DataFrame([row(event_time=20160302)]))
    with pytest.raises(InputError, match="must be a DataFrame"):
        store.append("bars", {"entity": ["AAA"]})
    with pytest.raises(DataError, match="no time in any row"):
        store.append("bars", pd.DataFrame([row(event_time="3/2/2016")]))


def test_mixed_naive_and_aware_times_name_the_first_row_that_differs(store: Store) -> None:
    frame = pd.DataFrame([row(known_time="2016-03-02T22:00Z"), row(entity="BBB", known_time="2016-03-02T22:00")])
    with pytest.raises(DataError, match="mixes times with and without a time zone: row 0 is .* row 1 is"):
        store.append("bars", frame)
    moments = [pd.Timestamp("2016-03-02T22:00Z"), pd.Timestamp("2016-03-02T22:00")]
    with pytest.raises(DataError, match="mixes times"):
        store.append("bars", pd.DataFrame([row(known_time=moments[0]), row(entity="BBB", known_time=moments[1])]))


def test_naive_times_need_a_zone_and_are_read_in_it(store: Store) -> None:
    frame = pd.DataFrame([row(known_time=pd.Timestamp("2016-03-02T16:30"))])
    with pytest.raises(DataError, match="`known_time` has no time zone"):
        store.append("bars", frame)
    store.append("bars", frame, tz="America/New_York")
    assert str(store.read("bars")["known_time"][0]) == "2016-03-02 21:30:00+00:00"
    with pytest.raises(InputError, match="must name a time zone"):
        store.append("bars", frame, tz="Mars/Olympus")


@pytest.mark.parametrize("moment", ["2016-03-13T02:30", "2016-11-06T01:30"])
def test_an_hour_that_the_clock_change_skips_or_repeats_is_an_error(store: Store, moment: str) -> None:
    facts = pd.DataFrame({"entity": ["A", "B"], "event_time": pd.Timestamp("2016-01-01", tz="UTC"),
                          "known_time": ["2016-12-01T00:00", moment], "eps": 1.0})  # fmt: skip
    with pytest.raises(DataError, match="row 1 .* skips or has twice"):
        store.append("facts", facts, tz="America/New_York")
    aware = facts.assign(known_time=["2016-12-01T00:00-05:00", moment + "-05:00"])
    assert store.append("facts", aware).accepted == 2


def test_a_known_time_of_dates_counts_from_the_end_of_the_day(store: Store) -> None:
    frame = pd.DataFrame({"entity": ["A"], "event_time": ["2016-03-31"], "known_time": ["2016-06-01"], "eps": [1.0]})
    report = store.append("facts", frame, tz="America/Sao_Paulo")
    assert "end of its day" in repr(report)
    assert str(store.read("facts")["known_time"][0]) == "2016-06-02 03:00:00+00:00"


def test_dates_may_come_as_dates_text_or_midnights(store: Store) -> None:
    for entity, value in {"A": "2016-03-02", "B": dt.date(2016, 3, 2), "C": pd.Timestamp(2016, 3, 2)}.items():
        store.append("bars", pd.DataFrame([row(entity=entity, event_time=value)]))
    assert {str(t) for t in store.read("bars")["event_time"].to_pylist()} == {"2016-03-02 21:00:00+00:00"}


def test_an_assumed_lag_on_midnight_labels_cannot_make_a_bar_known_before_its_close(store: Store) -> None:
    frame = pd.DataFrame([row(event_time=pd.Timestamp("2016-03-02", tz="UTC"))]).drop(columns="known_time")
    assert dict(store.append("bars", frame, known_lag="0s").rules) == {"before_the_close": 1}
    assert store.append("bars", frame, known_lag="1d").accepted == 1


def test_a_known_time_finer_than_microseconds_is_rounded_up_never_down(store: Store) -> None:
    moment = pd.Timestamp("2016-03-02T22:00:00.000000001Z")
    store.append("bars", pd.DataFrame([row(known_time=moment)]))
    assert store.read("bars", as_of=moment).num_rows == 0
    assert store.read("bars")["known_time"].cast(pa.int64())[0].as_py() * 1000 == moment.value + 999
    fine = pd.DataFrame([row(event_time=pd.Timestamp("2016-03-02T20:00:00.000000001Z"))])
    assert dict(store.append("bars", fine).rules) == {"sub_microsecond": 1}


def test_a_vendor_mapping_may_rename_everything(store: Store) -> None:
    frame = pd.DataFrame([row(known_time="2016-03-03T12:00")]).rename(
        columns={"entity": "symbol", "event_time": "date", "known_time": "captured"}
    )
    report = store.append(
        "bars", frame, columns={"symbol": "entity", "date": "event_time", "captured": "known_time"}, tz="UTC"
    )
    assert report.accepted == 1


def not_utf8(*cells: bytes) -> pa.Array:
    """Text as an engine writes it that does not look."""
    return pa.Array.from_buffers(pa.string(), len(cells), pa.array(cells, pa.binary()).buffers())


@pytest.mark.parametrize("column", ["entity", "note"])
def test_text_in_a_table_that_is_no_utf8_is_refused_by_column_and_row(
    store: Store, tmp_path: Path, column: str
) -> None:
    table = pa.Table.from_pandas(pd.DataFrame([row(note="a"), row(entity="BBB", note="b")]))
    table = table.set_column(table.column_names.index(column), column, not_utf8(b"AAA", b"Soci\xe9t\xe9"))
    with pytest.raises(DataError, match=f"Column '{column}' has text that is no UTF-8: row 1"):
        store.append("bars", table)
    path = tmp_path / "latin.parquet"
    __import__("pyarrow.parquet").parquet.write_table(table, path)
    with pytest.raises(DataError, match=r"of .*latin\.parquet has text that is no UTF-8: row 1"):
        store.append("bars", path)
    good = write(tmp_path / "good.csv", HEAD, GOOD)
    assert dict(store.append("bars", [good, path]).rules) == {"unreadable_file": 1}


def test_halves_of_characters_are_refused(store: Store) -> None:
    frame = pd.DataFrame([row()]).assign(entity=pd.Series(["A\ud800"], dtype=object))
    with pytest.raises(DataError, match="text that is no Unicode"):
        store.append("bars", frame)


@pytest.mark.parametrize("name", ["event_time", "known_time"])
def test_a_time_beyond_the_range_of_a_table_is_quarantined(store: Store, name: str) -> None:
    frame = pd.DataFrame([row(known_time="2016-03-02T22:00Z"), row(entity="BBB", known_time="2016-03-02T22:00Z")])
    frame["event_time"] = "2016-03-02T21:00Z"
    frame.loc[1, name] = "9999-12-31T00:00Z"
    assert dict(store.append("bars", frame).rules) == {f"bad_{name}": 1}


def test_a_number_of_another_spelling_is_quarantined_not_guessed(store: Store) -> None:
    spellings = ["1,000", "10.5 USD", "$10", "0x10", "1_0", "10,5", "(10)", "10%"]
    frame = pd.DataFrame([row(entity=f"E{k}", volume=text) for k, text in enumerate(spellings)])
    assert dict(store.append("bars", frame).rules) == {"not_a_number": len(spellings)}
    assert next(item["detail"] for item in store.quarantine("bars").to_pylist()).endswith("volume='1,000'")
