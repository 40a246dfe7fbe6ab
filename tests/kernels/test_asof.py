"""The as-of sweep against the rule written slowly, and against the laws it must keep."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.asof.facts import Facts, make_facts
from knowable.kernels import asof
from knowable.testing.asof_oracle import Fact, current_value, standing

ENTITIES = ("A", "B", "C")
SECOND = 1_000_000_000


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    """Few entities, periods, moments and revisions, so that ties, restatements and withdrawals are common."""
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(ENTITIES),
                st.integers(0, 4),
                st.integers(0, 9),
                st.integers(0, 2),
                st.booleans() | st.just(value=False),
            ),
            max_size=40,
            unique_by=lambda row: row[:4],  # two rows of one key are a conflict, which ingest keeps out
        )
    )
    return [
        Fact(entity=e, event=event, known=event + lag, revision=r, retract=gone, value=float(k))
        for k, (e, event, lag, r, gone) in enumerate(rows)
    ]


def table(rows: list[Fact]) -> pa.Table:
    times = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "entity": pa.array([f.entity for f in rows], pa.string()),
            "event_time": pa.array([f.event * 1_000_000 for f in rows], pa.int64()).cast(times),
            "known_time": pa.array([f.known * 1_000_000 for f in rows], pa.int64()).cast(times),
            "revision": pa.array([f.revision for f in rows], pa.int64()),
            "op": pa.array(["retract" if f.retract else "assert" for f in rows], pa.string()),
            "x": pa.array([f.value for f in rows], pa.float64()),
        }
    )


CLOCK = np.arange(-1, 16, dtype=np.int64) * SECOND


def slow_panel(rows: list[Fact]) -> np.ndarray:
    return np.array([[current_value(rows, e, int(t) // SECOND) for e in ENTITIES] for t in CLOCK])


@settings(deadline=None)
@given(facts())
def test_the_sweep_gives_what_the_rule_says(rows: list[Fact]) -> None:
    np.testing.assert_array_equal(make_facts(table(rows)).panel("x", CLOCK, ENTITIES), slow_panel(rows))


@settings(deadline=None)
@given(facts(), st.integers(0, 15))
def test_standing_assertions_are_those_of_the_rule(rows: list[Fact], as_of: int) -> None:
    held = make_facts(table(rows))
    found = {
        (held.table["entity"][int(i)].as_py(), held.table["x"][int(i)].as_py())
        for i in held.standing_rows(as_of * SECOND)
    }
    keys = {(f.entity, f.event) for f in rows}
    expected = [standing(rows, entity, event, as_of) for entity, event in keys]
    assert found == {(f.entity, f.value) for f in expected if f is not None}


@settings(deadline=None)
@given(facts(), st.lists(st.integers(0, 12), min_size=5, max_size=5))
def test_bars_are_those_known_at_their_own_decision(rows: list[Fact], lags: list[int]) -> None:
    times = np.arange(5, dtype=np.int64) * SECOND
    decision = times + np.array(lags, dtype=np.int64) * SECOND
    seen, final, _, _ = make_facts(table(rows)).bars(["x"], times, decision, ENTITIES)

    def slow(event: int, entity: str, moment: int) -> float:
        found = standing(rows, entity, event, moment)
        return np.nan if found is None else found.value

    moments = [int(d) // SECOND for d in decision]
    np.testing.assert_array_equal(seen["x"], [[slow(t, e, moments[t]) for e in ENTITIES] for t in range(5)])
    np.testing.assert_array_equal(final["x"], [[slow(t, e, 10**9) for e in ENTITIES] for t in range(5)])


@settings(deadline=None)
@given(facts(), st.lists(st.integers(0, len(CLOCK)), max_size=4))
def test_any_cutting_of_the_clock_gives_the_same_bits(rows: list[Fact], cuts: list[int]) -> None:
    held = make_facts(table(rows))
    state = held.start(len(ENTITIES))
    out = np.empty((len(CLOCK), len(ENTITIES)))
    column = held.columns_of(ENTITIES)
    edges = [0, *sorted(cuts), len(CLOCK)]
    for a, b in itertools.pairwise(edges):
        clock = CLOCK[a:b].copy()
        clock.flags.writeable = False
        sweep = (clock, held.known, held.period, held.owner, held.first, held.retracts, held.values("x"), column)
        asof.asof_kernel(*sweep, state, out[a:b])
    assert out.tobytes() == held.panel("x", CLOCK, ENTITIES).tobytes()


@settings(deadline=None)
@given(facts(), st.integers(0, 15))
def test_facts_known_later_never_change_an_earlier_row(rows: list[Fact], moment: int) -> None:
    early = moment * SECOND >= CLOCK
    everything = make_facts(table(rows)).panel("x", CLOCK, ENTITIES)[early]
    cut = make_facts(table([f for f in rows if f.known <= moment])).panel("x", CLOCK, ENTITIES)[early]
    assert everything.tobytes() == cut.tobytes()


@settings(deadline=None)
@given(facts(), st.randoms(use_true_random=False), st.permutations(ENTITIES))
def test_order_of_rows_and_of_columns_is_no_information(rows, random, names) -> None:
    shuffled = random.sample(rows, len(rows))
    panel = make_facts(table(rows)).panel("x", CLOCK, ENTITIES)
    other = make_facts(table(shuffled)).panel("x", CLOCK, names)
    np.testing.assert_array_equal(other, panel[:, [ENTITIES.index(name) for name in names]])


@settings(max_examples=40, deadline=None)
@given(facts())
def test_the_plain_python_of_the_kernel_agrees_with_the_compiled_one(rows: list[Fact]) -> None:
    """Python checks every bound; compiled code does not."""
    held = make_facts(table(rows))
    out = np.empty((len(CLOCK), len(ENTITIES)))
    sweep = (CLOCK, held.known, held.period, held.owner, held.first, held.retracts, held.values("x"))
    plain = getattr(asof.asof_kernel, "py_func", asof.asof_kernel)
    plain(*sweep, held.columns_of(ENTITIES), held.start(len(ENTITIES)), out)
    np.testing.assert_array_equal(out, held.panel("x", CLOCK, ENTITIES))


def test_a_sparse_numbering_of_periods_gives_the_same_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    n, n_entities = 4_000, 600
    rows = [
        Fact(
            entity=f"E{rng.integers(n_entities):03d}",
            event=int(k),
            known=int(k + rng.integers(0, 900)),
            retract=bool(rng.random() < 0.1),
            value=float(k),
        )
        for k in range(n)
    ]
    held = make_facts(table(rows))
    assert len(held.owner) < n_entities * n  # the dense grid would have 2.4 million cells
    clock = np.array([500, 2_500, 5_000], dtype=np.int64) * SECOND
    names = held.entities[:40]
    expected = [[current_value(rows, name, int(t) // SECOND) for name in names] for t in clock]
    np.testing.assert_array_equal(held.panel("x", clock, names), expected)


def test_a_late_restatement_of_an_old_quarter_does_not_replace_the_newest_quarter() -> None:
    rows = [
        Fact(entity="A", event=1, known=2, value=1.0),
        Fact(entity="A", event=3, known=4, value=3.0),
        Fact(entity="A", event=1, known=6, value=1.5),  # restated after the newer quarter was out
        Fact(entity="A", event=3, known=8, retract=True),  # the newer one is withdrawn: the restated old one is current
        Fact(entity="A", event=1, known=9, retract=True),  # its restatement is withdrawn: the first figure stands again
        Fact(entity="A", event=1, known=10, retract=True),
    ]
    panel = make_facts(table(rows)).panel("x", CLOCK, ("A",))[:, 0]
    by_time = dict(zip((CLOCK // SECOND).tolist(), panel.tolist(), strict=True))
    assert [by_time[t] for t in (2, 3, 4, 6, 7, 8, 9)] == [1.0, 1.0, 3.0, 3.0, 3.0, 1.5, 1.0]
    assert np.isnan(by_time[1])
    assert np.isnan(by_time[10])


def test_an_entity_that_is_not_asked_for_costs_no_column() -> None:
    rows = [Fact(entity=e, event=1, known=1, value=float(k)) for k, e in enumerate(ENTITIES)]
    held: Facts = make_facts(table(rows))
    np.testing.assert_array_equal(held.panel("x", CLOCK[2:3], ("C", "Z")), [[2.0, np.nan]])
