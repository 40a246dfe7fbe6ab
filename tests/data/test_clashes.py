"""Duplicates, conflicts and rows that come too late, against a slow reading of the rules."""

from __future__ import annotations

from typing import Any

import deltalake
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowable.data.schema import Schema
from knowable.data.store import Store

T0 = pd.Timestamp("2016-03-01T00:00Z")
DAY = pd.Timedelta("1D")

ROWS = st.tuples(
    st.sampled_from("AB"),  # entity
    st.integers(0, 1),  # event day
    st.sampled_from(["sp", "ru"]),  # key
    st.integers(2, 4),  # known day
    st.integers(0, 1),  # revision
    st.sampled_from([0.0, -0.0, 1.0, None]),  # value
    st.sampled_from(["assert", "assert", "retract"]),
)
BATCHES = st.lists(
    st.tuples(st.lists(ROWS, min_size=1, max_size=7), st.sampled_from(["observed", "vendor"])), min_size=1, max_size=4
)
Row = tuple[Any, ...]


def key(row: Row) -> Row:
    return row[:5]


def said(row: Row) -> Row:
    """What a row says: a retraction says nothing but that, and the two zeros are one."""
    value = None if row[6] == "retract" or row[5] is None else row[5] + 0.0
    return (*row[:5], value, row[6])


def expected(stored: list[Row], batch: list[Row], basis: str) -> tuple[list[Row], dict[str, int]]:
    """Row by row, as SEMANTICS and the list of faults put it in words."""
    counts = {"duplicate": 0, "conflicting_duplicate": 0, "earlier_than_stored": 0}
    distinct: list[Row] = []
    for row in batch:
        if row in stored or row in distinct:
            counts["duplicate"] += 1
        else:
            distinct.append(row)
    accepted = []
    for row in distinct:
        rivals = [other for other in stored + distinct if other is not row and key(other) == key(row)]
        newer = [other for other in stored if other[:3] == row[:3] and other[3] > row[3]]
        if rivals:
            counts["conflicting_duplicate"] += 1
        elif basis == "observed" and newer:
            counts["earlier_than_stored"] += 1
        else:
            accepted.append(row)
    return accepted, counts


def frame(batch: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "entity": [row[0] for row in batch],
            "event_time": [T0 + row[1] * DAY for row in batch],
            "index": [row[2] for row in batch],
            "known_time": [T0 + row[3] * DAY for row in batch],
            "revision": [row[4] for row in batch],
            "weight": pd.array([row[5] for row in batch], dtype="Float64"),
            "op": [row[6] for row in batch],
        }
    )


def held(store: Store) -> list[Row]:
    """The rows of the table, read without our code."""
    rows = deltalake.DeltaTable(str(store.table_path("members"))).to_pyarrow_table().to_pylist()
    return [
        (r["entity"], (r["event_time"] - T0) // DAY, r["index"], (r["known_time"] - T0) // DAY, r["revision"],
         r["weight"], r["op"])
        for r in rows
    ]  # fmt: skip


def ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=repr)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches=BATCHES)
def test_every_append_is_settled_as_a_slow_reader_of_the_rules_would(batches: Any, tmp_path_factory: Any) -> None:
    store = Store(tmp_path_factory.mktemp("clashes"))
    store.create("members", Schema.facts(fields={"weight": "1"}, keys=["index"]))
    stored: list[Row] = []
    for rows, basis in batches:
        accepted, counts = expected(stored, [said(row) for row in rows], basis)
        report = store.append("members", frame(rows), known_basis=basis)
        if not report.already_stored:
            rules = {rule: count for rule, count in counts.items() if count and rule != "duplicate"}
            assert (report.accepted, report.duplicates, dict(report.rules)) == (
                len(accepted),
                counts["duplicate"],
                rules,
            )
        else:
            assert accepted == []
        stored += accepted
        assert ordered(held(store)) == ordered(stored)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(ROWS, min_size=1, max_size=9), data=st.data())
def test_the_order_of_rows_is_no_information(rows: list[Row], data: st.DataObject, tmp_path_factory: Any) -> None:
    answers = []
    for batch in (rows, data.draw(st.permutations(rows))):
        store = Store(tmp_path_factory.mktemp("order"))
        store.create("members", Schema.facts(fields={"weight": "1"}, keys=["index"]))
        report = store.append("members", frame(list(batch)))
        answers.append((report.accepted, report.duplicates, dict(report.rules), ordered(held(store))))
    assert answers[0] == answers[1]
