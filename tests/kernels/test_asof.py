"""The as-of sweep against the rule written slowly, and against the laws it must keep."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.asof.facts import Facts, make_facts
from knowable.kernels import asof
from knowable.testing.asof_oracle import Fact, current, current_value, last_periods, reduced, standing

ENTITIES = ("A", "B", "C")
SECOND = 1_000_000_000


@st.composite
def facts(draw: st.DrawFn, keys: tuple[str, ...] = ("",)) -> list[Fact]:
    """Few entities, periods, moments and revisions, so that ties, restatements and withdrawals are common."""
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(ENTITIES),
                st.integers(0, 4),
                st.sampled_from(keys),
                st.integers(0, 9),
                st.integers(0, 2),
                st.booleans() | st.just(value=False),
            ),
            max_size=40,
            unique_by=lambda row: row[:5],  # two rows of one key are a conflict, which ingest keeps out
        )
    )
    return [
        Fact(entity=e, event=event, key=key, known=event + lag, revision=r, retract=gone, value=float(k))
        for k, (e, event, key, lag, r, gone) in enumerate(rows)
    ]


keyed_facts = facts(keys=("a", "b", "c"))


def table(rows: list[Fact]) -> pa.Table:
    times = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "entity": pa.array([f.entity for f in rows], pa.string()),
            "event_time": pa.array([f.event * 1_000_000 for f in rows], pa.int64()).cast(times),
            "known_time": pa.array([f.known * 1_000_000 for f in rows], pa.int64()).cast(times),
            "revision": pa.array([f.revision for f in rows], pa.int64()),
            "op": pa.array(["retract" if f.retract else "assert" for f in rows], pa.string()),
            "k": pa.array([f.key for f in rows], pa.string()),
            "x": pa.array([f.value for f in rows], pa.float64()),
        }
    )


CLOCK = np.arange(-1, 16, dtype=np.int64) * SECOND


def slow_panel(rows: list[Fact]) -> np.ndarray:
    return np.array([[current_value(rows, e, int(t) // SECOND) for e in ENTITIES] for t in CLOCK])


@given(facts())
def test_the_sweep_gives_what_the_rule_says(rows: list[Fact]) -> None:
    np.testing.assert_array_equal(make_facts(table(rows)).panel("x", CLOCK, ENTITIES), slow_panel(rows))


@given(keyed_facts, st.none() | st.integers(0, 6))
def test_keys_tell_periods_apart_and_an_old_value_is_none(rows: list[Fact], tolerance: int | None) -> None:
    span = None if tolerance is None else tolerance * SECOND
    held = make_facts(table(rows), keys=["k"])
    expected = [[current_value(rows, e, int(t) // SECOND, tolerance) for e in ENTITIES] for t in CLOCK]
    np.testing.assert_array_equal(held.panel("x", CLOCK, ENTITIES, span), expected)
    np.testing.assert_array_equal(held.wide("x", CLOCK, ENTITIES, span), np.transpose(expected))


@given(keyed_facts, st.integers(0, 15))
def test_standing_assertions_are_those_of_the_rule(rows: list[Fact], as_of: int) -> None:
    held = make_facts(table(rows), keys=["k"])
    found = held.take(held.standing(as_of * SECOND), ["entity", "event_time", "k", "x"]).to_pylist()
    keys = sorted({(f.entity, f.event, f.key) for f in rows})
    expected = [standing(rows, entity, event, as_of, key) for entity, event, key in keys]
    assert [(row["entity"], row["k"], row["x"]) for row in found] == [
        (f.entity, f.key, f.value) for f in expected if f is not None
    ]
    assert [row["event_time"].second for row in found] == [f.event for f in expected if f is not None]


@given(
    keyed_facts,
    st.integers(1, 4),
    st.none() | st.integers(0, 4),
    st.sampled_from([None, "sum", "mean", "min", "max", "first", "last"]),
)
def test_windows_hold_the_last_periods_as_known(rows: list[Fact], k: int, within: int | None, how: str | None) -> None:
    held = make_facts(table(rows), keys=["k"])
    span = None if within is None else within * SECOND
    found = held.window("x", k, CLOCK, ENTITIES, reduce=how, within=span)
    slow = [[last_periods(rows, e, int(t) // SECOND, k, within) for e in ENTITIES] for t in CLOCK]
    expected = slow if how is None else [[reduced(values, how) for values in line] for line in slow]
    np.testing.assert_array_equal(found, expected)


@given(
    keyed_facts,
    st.lists(st.tuples(st.sampled_from([*ENTITIES, "Z", None]), st.integers(0, 15)), max_size=12),
    st.none() | st.integers(0, 6),
)
def test_a_row_meets_what_was_current_at_its_moment(rows: list[Fact], asked: list, tolerance: int | None) -> None:
    held = make_facts(table(rows), keys=["k"])
    moments = np.array([t * SECOND for _, t in asked], dtype=np.int64)
    found = held.current([e for e, _ in asked], moments, None if tolerance is None else tolerance * SECOND)
    answers = [None if e is None else current(rows, e, t, tolerance) for e, t in asked]
    expected = [(None, None) if f is None else (f.value, f.key) for f in answers]
    if not rows:
        assert (found == -1).all()
        return
    taken = held.take(found, ["x", "k", "entity", "known_time", "op"]).to_pylist()
    assert [(row["x"], row["k"]) for row in taken] == expected
    assert [row["entity"] for row in taken] == [None if f is None else f.entity for f in answers]
    assert [row["op"] for row in taken] == [None if f is None else "assert" for f in answers]


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


def cuttings(cuts: list[int]) -> list[tuple[slice, np.ndarray]]:
    parts = []
    for a, b in itertools.pairwise([0, *sorted(cuts), len(CLOCK)]):
        clock = CLOCK[a:b].copy()
        clock.flags.writeable = False
        parts.append((slice(a, b), clock))
    return parts


@given(keyed_facts, st.lists(st.integers(0, len(CLOCK)), max_size=4))
def test_any_cutting_of_the_clock_gives_the_same_bits(rows: list[Fact], cuts: list[int]) -> None:
    held = make_facts(table(rows), keys=["k"])
    value, entity = held.values("x"), held.codes_of(ENTITIES)
    out = np.empty((len(CLOCK), len(ENTITIES)))
    state = held.begin()
    for part, clock in cuttings(cuts):
        asof.asof_kernel(clock, held.index, value, entity, 3 * SECOND, state, out[part])
    assert out.tobytes() == held.panel("x", CLOCK, ENTITIES, 3 * SECOND).tobytes()
    windows = np.empty((len(CLOCK), len(ENTITIES), 2))
    state = held.begin(standing=True)
    for part, clock in cuttings(cuts):
        asof.window_kernel(clock, held.index, value, entity, 2, 3 * SECOND, 0, state, windows[part])
    assert windows.tobytes() == held.window("x", 2, CLOCK, ENTITIES, reduce=None, within=3 * SECOND).tobytes()
    rows_state, found = held.begin(), np.empty((len(ENTITIES), len(CLOCK)), np.int32)
    for part, clock in cuttings(cuts):
        for code, line in zip(entity, found, strict=True):
            each = np.full(len(clock), code, np.int32)
            each.flags.writeable = False
            asof.asof_rows_kernel(each, clock, held.index, 3 * SECOND, rows_state, line[part])
    names = np.repeat(ENTITIES, len(CLOCK)).tolist()
    assert found.ravel().tolist() == held.current(names, np.tile(CLOCK, len(ENTITIES)), 3 * SECOND).tolist()


@given(facts(), st.integers(0, 15))
def test_facts_known_later_never_change_an_earlier_row(rows: list[Fact], moment: int) -> None:
    early = moment * SECOND >= CLOCK
    everything = make_facts(table(rows)).panel("x", CLOCK, ENTITIES)[early]
    cut = make_facts(table([f for f in rows if f.known <= moment])).panel("x", CLOCK, ENTITIES)[early]
    assert everything.tobytes() == cut.tobytes()


@given(facts(), st.randoms(use_true_random=False), st.permutations(ENTITIES))
def test_order_of_rows_and_of_columns_is_no_information(rows, random, names) -> None:
    shuffled = random.sample(rows, len(rows))
    panel = make_facts(table(rows)).panel("x", CLOCK, ENTITIES)
    other = make_facts(table(shuffled)).panel("x", CLOCK, names)
    np.testing.assert_array_equal(other, panel[:, [ENTITIES.index(name) for name in names]])


@settings(max_examples=40, deadline=None)
@given(keyed_facts)
def test_the_plain_python_of_the_kernels_agrees_with_the_compiled_ones(rows: list[Fact]) -> None:
    """Python checks every bound; compiled code does not."""
    held = make_facts(table(rows), keys=["k"])
    value, entity = held.values("x"), held.codes_of([*ENTITIES, "Z"])
    plain = {name: getattr(getattr(asof, name), "py_func", getattr(asof, name)) for name in asof.__all__[2:]}
    out = np.empty((len(CLOCK), 4))
    plain["asof_kernel"](CLOCK, held.index, value, entity, -1, held.begin(), out)
    np.testing.assert_array_equal(out, held.panel("x", CLOCK, [*ENTITIES, "Z"]))
    windows = np.empty((len(CLOCK), 4, 1))
    plain["window_kernel"](CLOCK, held.index, value, entity, 2, SECOND * 9, 1, held.begin(standing=True), windows)
    np.testing.assert_array_equal(
        windows[:, :, 0], held.window("x", 2, CLOCK, [*ENTITIES, "Z"], reduce="sum", within=SECOND * 9)
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(0, 20), st.randoms(use_true_random=False))
def test_columns_of_a_wide_panel_are_gathered_by_name(n_times: int, n_rows: int, random) -> None:
    wide = np.random.default_rng(n_times).normal(size=(n_rows, n_times))
    wide.flags.writeable = False
    row = np.array([random.randint(-1, n_rows - 1) for _ in range(random.randint(0, 20))], dtype=np.int32)
    row.flags.writeable = False
    out = np.full((n_times, len(row)), 7.0)
    asof.columns_kernel(wide, row, out)
    for j, k in enumerate(row):
        np.testing.assert_array_equal(out[:, j], wide[k] if k >= 0 else 7.0)


def test_many_entities_with_few_facts_of_their_own_times_give_the_same_panel() -> None:
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
    assert len(held.owner) == len({(f.entity, f.event) for f in rows})
    clock = np.arange(0, 5_100, 300, dtype=np.int64) * SECOND
    names = held.entities[:20]
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
