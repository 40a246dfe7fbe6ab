"""The tail: panel rows of new times, the same bits as a bulk load, however the rows came."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.asof.facts import make_facts
from knowable.data.asof.tail import Tail
from knowable.data.table.feed import Update
from knowable.errors import InputError
from knowable.testing.store_oracle import Row, StoreOracle, same_values

TIME = pa.timestamp("us", "UTC")
NAMES = ["A", "B", "C"]

one_row = st.builds(
    Row,
    entity=st.sampled_from(NAMES),
    event=st.integers(0, 4),
    known=st.integers(0, 9),
    revision=st.integers(0, 1),
    retract=st.sampled_from([False, False, False, True]),
    values=st.tuples(st.tuples(st.just("x"), st.one_of(st.none(), st.integers(0, 99).map(float)))),
)
history = st.lists(one_row, max_size=30, unique_by=lambda row: row.key)


def table(rows: Sequence[Row], keys: Sequence[str] = ()) -> pa.Table:
    return pa.table(
        {
            "entity": pa.array([row.entity for row in rows], pa.string()),
            "event_time": pa.array([row.event for row in rows], TIME),
            "known_time": pa.array([row.known for row in rows], TIME),
            "revision": pa.array([row.revision for row in rows], pa.int64()),
            "op": pa.array(["retract" if row.retract else "assert" for row in rows], pa.string()),
            "x": pa.array([row.get("x") for row in rows], pa.float64()),
            **dict.fromkeys(keys, pa.array(["abc"[(row.event + row.known) % 3] for row in rows], pa.string())),
        }
    )


class Feed:
    """Commits in memory."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.batches: list[Sequence[Row]] = []
        self.keys = keys

        self.taken = 0

    def __call__(self) -> list[Update]:
        moment = pd.Timestamp(0, tz="UTC")
        found = list(enumerate(self.batches[self.taken :], start=self.taken + 1))
        self.taken = len(self.batches)
        return [Update(version=n, committed_at=moment, rows=table(rows, self.keys)) for n, rows in found]


def tail_of(feed: Feed, first: Sequence[Row], version: int = 0) -> Tail:
    rows = table(first, feed.keys)
    return Tail(fields=["x"], entities=NAMES, keys=feed.keys, version=version, rows=rows, feed=feed)


@settings(max_examples=30, deadline=None)
@given(history, st.lists(st.integers(0, 30), max_size=5), st.booleans())
def test_rows_in_the_order_they_became_known_give_the_panel_of_a_bulk_load(
    rows: list[Row], cuts: list[int], keyed: bool
) -> None:
    """Whatever the cuts; the clock goes on between them, only as far as all is known."""
    rows = sorted(rows, key=lambda row: (row.known, row.revision, row.retract))
    keys = ("k",) if keyed else ()
    feed, clock, given_rows = Feed(keys), np.arange(0, 11) * 1000, []
    tail = tail_of(feed, [])
    edges = sorted({0, *(min(cut, len(rows)) for cut in cuts), len(rows)})
    done = 0
    for first, stop in itertools.pairwise(edges):
        feed.batches.append(rows[first:stop])
        assert tail.update() == stop - first
        until = rows[stop].known if stop < len(rows) else 11  # all that is known before this is in
        if until > done:
            given_rows.append(tail.panel(clock[done:until])["x"])
            done = until
    if done < 11:
        given_rows.append(tail.panel(clock[done:])["x"])
    bulk = make_facts(table(rows, keys), keys=keys).panel("x", clock, NAMES)
    np.testing.assert_array_equal(np.vstack(given_rows), bulk)
    assert tail.late == 0
    if not keyed:
        oracle = StoreOracle(fields=("x",), rows=rows, sizes=[0, len(rows)], schemas=[("x",)])
        assert same_values(bulk.tolist(), oracle.panel("x", range(11), NAMES))


@settings(max_examples=30, deadline=None)
@given(history, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=5), st.booleans())
def test_rows_that_come_late_count_from_then_on(rows: list[Row], steps: list[tuple[int, int]], keyed: bool) -> None:
    """In any order and at any clock: each row of the panel is that of a bulk load of what had been taken in."""
    keys = ("k",) if keyed else ()
    feed = Feed(keys)
    tail = tail_of(feed, [])
    done = now = late = 0
    started = False
    for size, step in steps:
        batch = rows[done : done + size]
        done += len(batch)
        feed.batches.append(batch)
        tail.update()
        late += sum(row.known <= now for row in batch) if started else 0
        now, started = now + step, True
        bulk = make_facts(table(rows[:done], keys), keys=keys).panel("x", np.array([now * 1000]), NAMES)
        np.testing.assert_array_equal(tail.panel(np.array([now * 1000]))["x"], bulk)
        assert tail.late == late


def test_many_periods_and_facts_outgrow_the_room_they_had() -> None:
    feed = Feed()
    rows = [Row(entity=NAMES[n % 2], event=n // 2, known=n, values=(("x", float(n)),)) for n in range(400)]
    tail = tail_of(feed, rows[:100], version=0)
    feed.batches += [rows[k : k + 7] for k in range(100, 400, 7)]
    tail.update()
    panel = tail.panel(np.array([99, 250, 399]) * 1000)["x"]
    np.testing.assert_array_equal(panel, [[98, 99, np.nan], [250, 249, np.nan], [398, 399, np.nan]])
    assert tail.version == len(feed.batches)
    assert not panel.flags.writeable


def test_a_tail_only_goes_on() -> None:
    tail = tail_of(Feed(), [])
    tail.panel(np.array([5_000]))
    with pytest.raises(InputError, match="only goes on"):
        tail.panel(np.array([4_000]))
    assert tail.panel(np.array([5_000]))["x"].shape == (1, 3)
