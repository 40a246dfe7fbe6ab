"""Reading rows that stand as they lie is scanning them: the same answer as the sweep, wherever it may be asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import knowable.data.reading as reading
from knowable.data.asof.standing import standing_rows
from knowable.data.schema import Schema
from knowable.data.store import Store

DAY = pd.Timestamp("2016-03-01", tz="UTC")

rows = st.lists(
    st.tuples(st.sampled_from("ABCD"), st.integers(0, 5), st.integers(0, 4), st.booleans() | st.just(value=False)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(rows, min_size=1, max_size=3), as_of=st.none() | st.integers(0, 9), late=st.booleans())
def test_the_scan_answers_as_the_sweep_does(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, int, int, bool]]], as_of: int, late: bool
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    store.create("facts", Schema.facts(fields={"x": "1"}))
    for k, batch in enumerate(batches):
        frame = pd.DataFrame(batch, columns=["entity", "event", "lag", "gone"]).drop_duplicates(["entity", "event"])
        event = frame["event"] + (10 * k if late else 0)
        store.append(
            "facts",
            pd.DataFrame(
                {
                    "entity": frame["entity"],
                    "event_time": DAY + pd.to_timedelta(event, "D"),
                    "known_time": DAY + pd.to_timedelta(event + frame["lag"] + k, "D"),
                    "op": np.where(frame["gone"], "retract", "assert"),
                    "x": np.arange(len(frame)) + 100.0 * k,
                }
            ),
            known_basis="vendor",
        )
    moment = None if as_of is None else DAY + pd.Timedelta(days=as_of)
    swept = store.read("facts", as_of=moment)
    seen = []

    def scanned(*arguments: object) -> object:
        seen.append(standing_rows(*arguments))  # type: ignore[arg-type]
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "is_small", lambda *_: False)
        patch.setattr(reading, "standing_rows", scanned)
        found = store.read("facts", as_of=moment, start=DAY + pd.Timedelta(days=1))
        assert found.to_pylist() == [
            row for row in swept.to_pylist() if row["event_time"] >= DAY + pd.Timedelta(days=1)
        ]
        assert store.read("facts", as_of=moment).equals(swept)
    assert seen


def test_a_plain_bulk_load_is_scanned_and_a_revision_ends_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.create("facts", Schema.facts(fields={"x": "1"}))
    moments = DAY + pd.to_timedelta(np.tile(np.arange(50), 3), "D")
    frame = pd.DataFrame({"entity": np.repeat(list("ABC"), 50), "event_time": moments, "known_time": moments, "x": 1.0})
    monkeypatch.setattr("knowable.data.table.files.ROWS_PER_FILE", 40)
    store.append("facts", frame)
    dataset = store._dataset("facts")
    assert dataset.open().files.num_rows == 4
    swept = store.read("facts")
    columns = swept.column_names
    wanted = reading.Wanted()
    found = standing_rows(dataset.open(), wanted, columns)
    assert found is not None
    assert found.equals(swept)
    store.append("facts", frame.iloc[:1].assign(known_time=DAY + pd.Timedelta(days=90), x=2.0))
    assert standing_rows(dataset.open(), wanted, columns) is None
    assert standing_rows(dataset.open(1), wanted, columns) is not None
