"""Typed fields at ingest: bounds, whole numbers, truths, texts, times, keys, intervals and corporate actions."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from knowable.data.ingest.judge import IngestReport
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import DataError, InputError

KNOWN = pd.Timestamp("2016-03-01T12:00Z")
EVENT = pd.Timestamp("2016-03-01T00:00Z")


TYPED = {
    "score": Schema.field("1", low=0, high=1),
    "count": Schema.field("filings", dtype="int64", low=0),
    "big": Schema.field("1", dtype="int64"),
    "final": Schema.field("1", dtype="bool"),
    "headline": Schema.field("text", dtype="string"),
    "announced": Schema.field("time", dtype="timestamp"),
}
SCHEMAS = {
    "facts": Schema.facts(fields=TYPED),
    "members": Schema.intervals(fields={"weight": Schema.field("1", low=0, high=1)}, keys=["index"]),
    "sessions": Schema.intervals(calendar="XNYS"),
    "actions": Schema.actions(calendar="XNYS"),
    "filings": Schema.events(keys=["form"]),
}


class Lazy(Store):
    """Makes a dataset when rows first come: most tests need one of five."""

    def append(self, name: str, data: object, **options: Any) -> IngestReport:
        if name not in self.datasets():
            self.create(name, SCHEMAS[name])
        return super().append(name, data, **options)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Lazy(tmp_path / "store")


def put(store: Store, name: str, **cells: Any) -> Any:
    """Append one row, of lists several."""
    n_rows = max((len(value) for value in cells.values() if isinstance(value, list)), default=1)
    base = {"entity": "AAA", "event_time": EVENT, "known_time": KNOWN}
    return store.append(name, pd.DataFrame({**base, **cells}, index=range(n_rows)))


def rules(store: Store, name: str, **cells: Any) -> dict[str, int]:
    return dict(put(store, name, **cells).rules)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_value_at_its_bound_passes_and_beyond_it_is_quarantined(store: Store) -> None:
    assert put(store, "facts", entity=["A", "B", "C"], score=[0.0, 0.5, 1.0]).accepted == 3
    found = rules(store, "facts", entity=["D", "E"], score=[-1e-9, 1.0000001])
    assert found == {"below_bound": 1, "above_bound": 1}


def test_the_quarantine_names_field_value_and_bound(store: Store) -> None:
    put(store, "facts", score=1.5)
    (row,) = store.quarantine("facts").to_pylist()
    assert row["detail"] == "score must be at most 1: score=1.5"
    put(store, "facts", score=-3)
    assert "score must be at least 0: score=-3" in store.quarantine("facts")["detail"].to_pylist()


def test_a_null_is_outside_no_bound_and_a_retraction_needs_no_values(store: Store) -> None:
    assert put(store, "facts", entity=["A", "B"], score=[None, 0.5]).accepted == 2
    assert put(store, "facts", entity="B", score=7.0, op="retract", revision=1).accepted == 1


# --- whole numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "good"),
    [
        (3, True),
        (3.0, True),
        ("3", True),
        ("3.0", True),
        ("1e3", True),
        (Decimal(7), True),
        (2**53, True),
        (-(2**53), True),
        (str(2**53), True),
        (2**53 + 1, False),  # a double cannot hold it: it would be stored as 2**53
        (str(2**53 + 1), False),
        (-(2**53) - 1, False),
        (Decimal(2**53 + 1), False),
        (2**60, False),
        (3.5, False),
        ("3.5", False),
        (Decimal("0.1"), False),
    ],
)
def test_a_whole_number_is_stored_exactly_or_not_at_all(store: Store, cell: Any, good: bool) -> None:
    report = put(store, "facts", big=[cell])
    assert dict(report.rules) == ({} if good else {"not_whole": 1})
    if good:
        assert int(store.read("facts")["big"][0].as_py()) == int(Decimal(str(cell)))


def test_a_text_that_is_no_number_is_no_whole_number_either(store: Store) -> None:
    assert rules(store, "facts", count=["three"]) == {"not_a_number": 1}
    assert rules(store, "facts", count=["nan"]) == {"not_finite": 1}
    assert rules(store, "facts", count=[-1]) == {"below_bound": 1}


# --- truths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([True, False, None], [True, False, None]),
        ([1, 0, 1], [True, False, True]),
        ([1.0, 0.0, None], [True, False, None]),
        (["true", "FALSE", " Yes "], [True, False, True]),
        (["1", "0", None], [True, False, None]),
    ],
)
def test_truths_come_in_many_spellings(store: Store, cells: list[Any], expected: list[Any]) -> None:
    assert put(store, "facts", entity=["A", "B", "C"], final=cells).accepted == 3
    assert store.read("facts").schema.field("final").type == pa.bool_()
    assert store.read("facts")["final"].to_pylist() == expected


@pytest.mark.parametrize("cell", ["maybe", "2", 2, 0.5, "nan", "", "truee"])
def test_what_is_neither_true_nor_false_is_quarantined(store: Store, cell: Any) -> None:
    assert rules(store, "facts", entity=["A", "B"], final=[cell, cell]) == {"not_a_bool": 2}


def test_a_truth_is_a_number_in_a_panel(store: Store) -> None:
    put(store, "facts", entity=["A", "B", "C"], final=[True, False, None], count=[4, 5, 6])
    panel = store.panel("facts", "final", clock=[KNOWN], entities=["A", "B", "C"])
    assert panel[0, :2].tolist() == [1.0, 0.0]
    assert panel[0, 2] != panel[0, 2]
    assert store.panel("facts", "count", clock=[KNOWN]).tolist() == [[4.0, 5.0, 6.0]]


# --- texts ------------------------------------------------------------------------------------------------------------


def test_texts_are_kept_as_they_came(store: Store) -> None:
    words = ["Société Générale: résultats", "=HYPERLINK(1)", "<script>", "نتائج", " spaces ", "x" * 4096]
    put(store, "facts", entity=[f"E{k}" for k in range(6)], headline=words)
    assert store.read("facts")["headline"].to_pylist() == words


def test_the_length_of_a_text_is_counted_in_bytes(store: Store) -> None:
    assert rules(store, "facts", headline=["x" * 4097]) == {"text_too_long": 1}
    assert rules(store, "facts", headline=["é" * 2049]) == {"text_too_long": 1}
    assert rules(store, "facts", headline=["é" * 2048]) == {}


@pytest.mark.parametrize("mark", ["\0", "\x1b[2J", "\n", "\r", "\t", "\x7f", "\x85", "\u202e", "\u2066", "\u2028"])
def test_control_characters_and_marks_that_turn_text_are_refused(store: Store, mark: str) -> None:
    assert rules(store, "facts", headline=[f"good{mark}news"]) == {"control_characters": 1}


def test_numbers_may_serve_as_text_only_where_they_are_whole(store: Store) -> None:
    put(store, "facts", headline=[10107])
    assert store.read("facts")["headline"].to_pylist() == ["10107"]
    for cell in (1.5, True, EVENT):
        with pytest.raises(DataError, match="`headline` must hold text, but its type is"):
            put(store, "facts", headline=[cell])


# --- times in fields --------------------------------------------------------------------------------------------------


def test_a_time_field_is_read_with_the_care_of_the_other_times(store: Store) -> None:
    put(store, "facts", entity="A", announced=[pd.Timestamp("2016-02-01T09:30", tz="America/New_York")])
    assert store.read("facts")["announced"].to_pylist() == [dt.datetime(2016, 2, 1, 14, 30, tzinfo=dt.UTC)]
    with pytest.raises(DataError, match="`announced` has no time zone"):
        put(store, "facts", announced=["2016-02-01T09:30"])
    with pytest.raises(DataError, match="`announced` mixes times with and without a time zone"):
        put(store, "facts", entity=["A", "B"], announced=["2016-02-01T09:30", "2016-02-01T09:30Z"])
    with pytest.raises(DataError, match="`announced` must hold times, but its type is int64"):
        put(store, "facts", announced=[5])
    frame = pd.DataFrame({"entity": ["A"], "event_time": [EVENT], "known_time": [KNOWN]})
    for hour in ("2016-03-13T02:30", "2016-11-06T01:30"):
        with pytest.raises(DataError, match="skips or has twice"):
            store.append("facts", frame.assign(announced=[hour]), tz="America/New_York")


def test_a_cell_that_is_no_time_is_quarantined_and_the_rest_lands(store: Store) -> None:
    times = ["2016-02-01T09:30Z", "soon", "9999-12-31T00:00Z", "2016-02-01T09:30:00.000000001Z", None]
    report = put(store, "facts", entity=list("ABCDE"), announced=times)
    assert (report.accepted, dict(report.rules)) == (2, {"not_a_time": 2, "sub_microsecond": 1})


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "", " SP500", "SP500 ", "x" * 65])
def test_a_row_without_a_proper_key_is_quarantined(store: Store, key: str | None) -> None:
    report = put(store, "members", entity=["A", "B"], index=["SP500", key])
    assert (report.accepted, dict(report.rules)) == (1, {"bad_key": 1})
    assert rules(store, "members", entity="C", index=[key], op="retract") == {"bad_key": 1}


def test_a_column_of_keys_must_be_there(store: Store) -> None:
    with pytest.raises(DataError, match="Column `index` is missing"):
        put(store, "members")
    assert rules(store, "members", index=[None]) == {"bad_key": 1}


def test_rows_that_differ_in_a_key_are_neither_duplicates_nor_conflicts(store: Store) -> None:
    report = put(store, "members", index=["SP500", "R1000", "R1000"], weight=[0.1, 0.2, 0.2])
    assert (report.accepted, report.duplicates) == (2, 1)
    assert rules(store, "members", entity="B", index=["SP500"] * 2, weight=[0.1, 0.3]) == {"conflicting_duplicate": 2}


def test_earlier_than_stored_is_judged_key_by_key(store: Store) -> None:
    put(store, "members", index=["SP500"], known_time=pd.Timestamp("2016-03-05T00:00Z"))
    early = pd.Timestamp("2016-03-03T00:00Z")
    assert rules(store, "members", index=["R1000"], known_time=early) == {}
    assert rules(store, "members", index=["SP500"], known_time=early) == {"earlier_than_stored": 1}


def test_a_stored_row_and_a_new_one_of_one_key_that_disagree_are_a_conflict(store: Store) -> None:
    put(store, "members", index=["SP500"], weight=[0.1])
    assert put(store, "members", index=["SP500"], weight=[0.1], revision=0).duplicates == 1
    assert rules(store, "members", index=["SP500"], weight=[0.2]) == {"conflicting_duplicate": 1}
    assert rules(store, "members", index=["R1000"], weight=[0.2]) == {}


# --- intervals and events ---------------------------------------------------------------------------------------------


def test_an_interval_ends_after_it_starts_or_is_open(store: Store) -> None:
    ends = [None, EVENT + pd.Timedelta("1us"), EVENT, EVENT - pd.Timedelta("1D")]
    report = put(store, "members", entity=list("ABCD"), index="SP500", end=ends)
    assert (report.accepted, dict(report.rules)) == (2, {"end_before_start": 2})


def test_the_end_of_time_of_a_vendor_is_no_time_and_the_message_says_what_to_write(store: Store) -> None:
    put(store, "members", index="SP500", end=["9999-12-31T00:00Z"])
    assert "what is still open has an empty cell" in store.quarantine("members")["detail"][0].as_py()


def test_dates_of_intervals_are_the_opens_of_their_sessions(store: Store) -> None:
    frame = pd.DataFrame({"entity": list("ABC"), "event_time": ["2016-03-01", "2016-03-05", "2016-03-01"],
                          "end": ["2016-07-05", None, "2016-07-04"], "known_time": KNOWN})  # fmt: skip
    report = store.append("sessions", frame)  # 5 March 2016 is a Saturday, 4 July a holiday
    assert (report.accepted, dict(report.rules)) == (1, {"no_session": 2})
    (row,) = store.read("sessions").to_pylist()
    assert row["event_time"] == dt.datetime(2016, 3, 1, 14, 30, tzinfo=dt.UTC)
    assert row["end"] == dt.datetime(2016, 7, 5, 13, 30, tzinfo=dt.UTC)


def test_an_interval_may_be_known_before_it_begins(store: Store) -> None:
    assert put(store, "members", index="SP500", known_time=EVENT - pd.Timedelta("30D")).accepted == 1


def test_an_event_needs_no_field_beside_its_key(store: Store) -> None:
    assert put(store, "filings", form=["10-K", "8-K"]).accepted == 2
    assert store.read("filings").column_names[-1] == "form"


# --- corporate actions ------------------------------------------------------------------------------------------------

GOOD_ACTIONS: dict[str, dict[str, Any]] = {
    "split": {"type": "split", "ratio": 2.0},
    "reverse split": {"type": "split", "ratio": 0.1},
    "dividend": {"type": "dividend", "amount": 0.52, "currency": "USD"},
    "delisting": {"type": "delisting"},
    "worthless delisting": {"type": "delisting", "amount": 0.0},
    "ticker_change": {"type": "ticker_change", "successor": "META"},
    "cash merger": {"type": "merger", "amount": 30.0},
    "share merger": {"type": "merger", "ratio": 0.7, "successor": "T"},
    "merger for both": {"type": "merger", "amount": 5.0, "ratio": 0.7, "successor": "T"},
    "spinoff": {"type": "spinoff", "ratio": 0.25, "successor": "WAB"},
    "retraction": {"type": "split", "op": "retract"},
}
BAD_ACTIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no ratio": ("incomplete_action", "a split needs ratio", {"type": "split"}),
    "zero ratio": ("impossible_action", "ratio=0", {"type": "split", "ratio": 0.0}),
    "negative ratio": ("impossible_action", "ratio=-2", {"type": "split", "ratio": -2.0}),
    "no amount": ("incomplete_action", "a dividend needs amount", {"type": "dividend", "ratio": 1.0}),
    "nothing paid": ("incomplete_action", "amount=0", {"type": "dividend", "amount": 0.0}),
    "negative amount": ("impossible_action", "amount=-1", {"type": "delisting", "amount": -1.0}),
    "no name": ("incomplete_action", "needs successor", {"type": "ticker_change"}),
    "bad name": ("bad_entity", "successor", {"type": "ticker_change", "successor": "../x"}),
    "merger for nothing": ("incomplete_action", "a merger needs", {"type": "merger", "ratio": 0.5}),
    "spinoff of nothing": ("incomplete_action", "a spinoff needs", {"type": "spinoff", "successor": "X"}),
    "unknown": ("unknown_action", "did you mean 'split'?", {"type": "splitt", "ratio": 2.0}),
    "other case": ("unknown_action", "did you mean 'dividend'?", {"type": "Dividend", "amount": 1.0}),
    "odd": ("unknown_action", "must be one of split, dividend", {"type": "xyzzy"}),
    "unknown retraction": ("unknown_action", "must be one of", {"type": "xyzzy", "op": "retract"}),
    "no type": ("bad_key", "a key of the schema is missing", {"type": None, "ratio": 2.0}),
}


def action(**cells: Any) -> pd.DataFrame:
    return pd.DataFrame({"entity": "AAA", "event_time": "2016-03-01", "known_time": KNOWN, **cells}, index=[0])


@pytest.mark.parametrize("name", GOOD_ACTIONS)
def test_an_action_with_what_its_type_needs_is_stored(store: Store, name: str) -> None:
    assert store.append("actions", action(**GOOD_ACTIONS[name])).accepted == 1


@pytest.mark.parametrize("name", BAD_ACTIONS)
def test_an_action_that_lacks_something_says_what(store: Store, name: str) -> None:
    rule, words, cells = BAD_ACTIONS[name]
    assert dict(store.append("actions", action(**cells)).rules) == {rule: 1}
    assert words in store.quarantine("actions")["detail"][0].as_py()


def test_an_ex_date_is_the_open_of_its_session(store: Store) -> None:
    frame = pd.concat([action(type="split", ratio=2.0), action(type="dividend", amount=1.0, event_time="2016-03-05")])
    report = store.append("actions", frame)
    assert dict(report.rules) == {"no_session": 1}
    assert store.read("actions")["event_time"].to_pylist() == [dt.datetime(2016, 3, 1, 14, 30, tzinfo=dt.UTC)]


def test_a_split_and_a_dividend_of_one_day_are_two_periods(store: Store) -> None:
    both = pd.concat([action(type="split", ratio=2.0), action(type="dividend", amount=1.0)])
    assert store.append("actions", both).accepted == 2
    assert rules_of(store, pd.concat([both, action(type="split", ratio=3.0)])) == {"conflicting_duplicate": 1}


def rules_of(store: Store, frame: pd.DataFrame) -> dict[str, int]:
    return dict(store.append("actions", frame).rules)


# --- dates among times ------------------------------------------------------------------------------------------------


def test_a_date_among_times_counts_as_known_at_the_end_of_its_day_not_its_start(store: Store) -> None:
    """A vendor's missing time of day must not make a value known a day early."""
    frame = pd.DataFrame({"entity": ["A", "B"], "event_time": EVENT, "score": 0.5,
                          "known_time": ["2016-03-02T16:30", "2016-03-02"]})  # fmt: skip
    report = store.append("facts", frame, tz="America/New_York")
    assert "end of its day" in repr(report)
    known = {row["entity"]: row["known_time"] for row in store.read("facts").to_pylist()}
    assert known["A"] == dt.datetime(2016, 3, 2, 21, 30, tzinfo=dt.UTC)
    assert known["B"] == dt.datetime(2016, 3, 3, 5, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize("ask", [{"as_of": "9999-12-31T00:00Z"}, {"end": "9999-12-31"}, {"start": "1066-10-14"}])
def test_a_moment_beyond_the_centuries_a_table_holds_is_an_error_of_ours(store: Store, ask: dict[str, str]) -> None:
    put(store, "facts", score=0.5)
    with pytest.raises(InputError, match="times run from 1678 to 2261"):
        store.read("facts", **ask)
