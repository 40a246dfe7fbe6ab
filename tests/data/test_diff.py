"""What differs between two states: a table for people, held against a comparison of two dictionaries."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.table.diff import differences
from knowable.testing.store_oracle import Row, StoreOracle

TIME = pa.timestamp("us", "UTC")
FIELDS = {"x": pa.float64(), "y": pa.float64()}

rows = st.lists(
    st.builds(
        Row,
        entity=st.sampled_from(["A", "B"]),
        event=st.integers(0, 2),
        known=st.integers(0, 5),
        revision=st.integers(0, 1),
        retract=st.booleans(),
        values=st.tuples(
            st.tuples(st.just("x"), st.one_of(st.none(), st.integers(0, 2).map(float))),
            st.tuples(st.just("y"), st.one_of(st.none(), st.integers(0, 2).map(float))),
        ),
    ),
    max_size=12,
    unique_by=lambda row: row.key,
)


def state(standing: Iterable[Row]) -> pa.Table:
    found = list(standing)
    return pa.table(
        {
            "entity": pa.array([row.entity for row in found], pa.string()),
            "event_time": pa.array([row.event for row in found], TIME),
            "known_time": pa.array([row.known for row in found], TIME),
            **{name: pa.array([row.get(name) for row in found], kind) for name, kind in FIELDS.items()},
        }
    )


def plain(table: pa.Table) -> list[tuple[object, ...]]:
    numbers = [table[name].cast(pa.int64()) if name.endswith("_time") else table[name] for name in table.column_names]
    return list(zip(*(column.to_pylist() for column in numbers), strict=True))


@settings(max_examples=40, deadline=None)
@given(rows, st.integers(0, 12), st.integers(-1, 6), st.integers(-1, 6))
def test_differences_are_those_of_two_dictionaries(stored: list[Row], cut: int, first: int, last: int) -> None:
    oracle = StoreOracle(fields=("x", "y"))
    for batch in (stored[:cut], stored[cut:]):
        oracle.rows += batch
        oracle.touch()
    before, after = (1, first), (2, last)
    gone = [row for row in stored if row.retract and row.known <= last]
    found = differences(
        state(oracle.standing(*before).values()),
        state(oracle.standing(*after).values()),
        state(gone).select(["entity", "event_time", "known_time"]),
        keys=(),
        fields=FIELDS,
    )
    assert plain(found) == oracle.diff(before, after, ["x", "y"])


def test_fields_of_several_types_are_compared_as_they_are_and_shown_as_text() -> None:
    def actions(kind: list[str], ratio: list[float | None], open_: list[bool]) -> pa.Table:
        n = len(kind)
        return pa.table(
            {
                "entity": ["A"] * n,
                "event_time": pa.array([1] * n, TIME),
                "known_time": pa.array([7] * n, TIME),
                "type": kind,
                "ratio": pa.array(ratio, pa.float64()),
                "sure": open_,
            }
        )

    before = actions(["split", "dividend"], [2.0, None], [True, False])
    after = actions(["split", "merger"], [3.0, None], [True, True])
    fields = {"type": pa.string(), "ratio": pa.float64(), "sure": pa.bool_()}
    withdrawn = before.slice(0, 0).select(["entity", "event_time", "type", "known_time"])
    found = differences(before, after, withdrawn, keys=("type",), fields=fields)
    assert [row[2:] for row in plain(found)] == [
        ("dividend", "withdrawn", "ratio", None, None, None),
        ("dividend", "withdrawn", "sure", "false", None, None),
        ("merger", "added", "ratio", None, None, 7),
        ("merger", "added", "sure", None, "true", 7),
        ("split", "changed", "ratio", "2", "3", 7),
    ]


def test_a_dataset_without_fields_still_says_what_came_and_went() -> None:
    one = state([Row(entity="A", event=1, known=1)]).select(["entity", "event_time", "known_time"])
    found = differences(one.slice(0, 0), one, one.slice(0, 0), keys=(), fields={})
    assert plain(found) == [("A", 1, "added", None, None, None, 1)]


def test_a_column_that_one_state_lacks_was_null_there() -> None:
    after = state([Row(entity="A", event=1, known=1, values=(("x", 1.0), ("y", 2.0)))])
    found = differences(after.drop_columns("y"), after, after.slice(0, 0), keys=(), fields=FIELDS)
    assert plain(found) == [("A", 1, "changed", "y", None, 2.0, 1)]
