"""The rules of cleaning against the same rules written slowly, and against the laws they must keep."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.quality.arrivals import Arrivals, make_arrivals
from knowable.data.quality.clock import expected_labels
from knowable.data.quality.judging import Context, Verdicts, judge
from knowable.data.quality.rules import (
    RATIOS,
    Bounds,
    Conflict,
    Duplicate,
    Gap,
    Jump,
    OhlcOrder,
    Rule,
    SplitLike,
    Stale,
    check_rules,
    default_rules,
    label,
    signature,
)
from knowable.data.schema import Schema
from knowable.errors import InputError, UnknownNameError
from knowable.kernels import quality as kernels
from knowable.testing import cleaning_oracle as oracle
from knowable.testing.cleaning_oracle import Finding, Split, Statement

SECOND = 1_000_000_000
FACTS = Schema.facts(fields={"x": "USD", "opening": "USD"})
ACTIONS = Schema.actions()
TIMES = pa.timestamp("us", "UTC")
# no two of these differ by a log midway between two others, so that rounding decides nothing
PRICES = (1.0, 1.013, 1.1, 2.03, 2.9, 10.7, 0.0, -1.0, math.nan)


def statements(prices: Sequence[float] = PRICES, longest: int = 18) -> st.SearchStrategy[list[Statement]]:
    """Few periods, moments and revisions, so that late rows, corrections and withdrawals are common."""
    row = st.builds(
        Statement,
        event=st.integers(0, 9),
        known=st.integers(9, 14),
        revision=st.integers(0, 1),
        retract=st.sampled_from([False] * 6 + [True]),
        value=st.sampled_from(prices),
        opening=st.sampled_from(prices),
    )
    return st.lists(row, max_size=longest, unique_by=lambda s: (s.event, s.known, s.revision))


def series(longest: int = 24) -> st.SearchStrategy[list[Statement]]:
    """Rows that mostly come one after another, as prices do."""
    steps = st.lists(st.sampled_from((0, 0, 0, 0, 1, 2, 3, 4, 5)), min_size=4, max_size=longest)
    return steps.map(
        lambda places: [Statement(event=k, known=k + 1, value=PRICES[place]) for k, place in enumerate(places)]
    )


def table(rows: dict[str, list[Statement]], field: str = "x") -> pa.Table:
    flat = [(name, row) for name, held in rows.items() for row in held]
    return pa.table(
        {
            "entity": pa.array([name for name, _ in flat], pa.string()),
            "event_time": pa.array([row.event * 1_000_000 for _, row in flat], pa.int64()).cast(TIMES),
            "known_time": pa.array([row.known * 1_000_000 for _, row in flat], pa.int64()).cast(TIMES),
            "revision": pa.array([row.revision for _, row in flat], pa.int64()),
            "op": pa.array(["retract" if row.retract else "assert" for _, row in flat], pa.string()),
            "known_basis": pa.array(["observed"] * len(flat), pa.string()),
            field: pa.array([math.nan if row.retract else row.value for _, row in flat], pa.float64()),
            "opening": pa.array([row.opening for _, row in flat], pa.float64()),
        }
    )


def arrivals(rows: list[Statement], others: list[Statement] | None = None) -> Arrivals:
    return make_arrivals(table({"A": rows, "B": others or []}), FACTS)


def actions(splits: list[Split]) -> Arrivals:
    rows = [Statement(event=s.event, known=s.known, value=s.ratio) for s in splits]
    held = table({"A": rows}, "ratio").append_column("type", pa.array(["split"] * len(rows), pa.string()))
    for name, field in ACTIONS.fields.items():
        if name not in held.column_names:
            held = held.append_column(name, pa.nulls(len(rows), field.physical))
    return make_arrivals(held, ACTIONS)


def context(held: Arrivals, splits: list[Split] | None = None, clock: Sequence[int] | None = None) -> Context:
    labels = None if clock is None else np.array(clock, np.int64) * SECOND
    return Context(splits=lambda _: actions(splits or []), labels=lambda _: labels)


Key = tuple[int, int, int]


def found(held: Arrivals, verdicts: Verdicts, name: str = "A") -> set[tuple[Key, Key]]:
    """(event, known, revision) of the statement judged and of the one that completed the evidence."""

    def key(i: int) -> Key:
        return int(held.event[i]) // SECOND, int(held.known[i]) // SECOND, int(held.revision[i])

    pairs = zip(verdicts.row.tolist(), verdicts.witness.tolist(), strict=True)
    return {(key(i), key(j)) for i, j in pairs if held.names[held.series[i]] == name}


def told(findings: list[Finding]) -> set[tuple[Key, Key]]:
    def key(row: Statement) -> Key:
        return row.event, row.known, row.revision

    return {(key(item.judged), key(item.witness)) for item in findings}


@given(statements(), statements())
def test_bounds_are_those_of_the_oracle(rows: list[Statement], others: list[Statement]) -> None:
    held = arrivals(rows, others)
    verdicts = judge(Bounds(field="x", low=1.0, high=2.9), held, context(held))
    assert found(held, verdicts) == told(oracle.bounds(rows, 1.0, 2.9))


@given(statements((1.0, 1.0, 2.0, math.nan)), statements(), st.integers(2, 4))
def test_stale_repeats_are_those_of_the_oracle(rows: list[Statement], others: list[Statement], repeats: int) -> None:
    held = arrivals(rows, others)
    verdicts = judge(Stale(field="x", repeats=repeats), held, context(held))
    assert found(held, verdicts) == told(oracle.stale(rows, repeats))


@given(statements((1.0, 1.0, 1.05, 2.0, -2.0, 0.0, math.nan)), statements(), st.sampled_from([0.0, 0.1]), st.booleans())
def test_conflicts_and_duplicates_are_those_of_the_oracle(
    rows: list[Statement], others: list[Statement], limit: float, same_moment: bool
) -> None:
    held = arrivals(rows, others)
    verdicts = judge(Conflict(field="x", limit=limit, same_moment=same_moment), held, context(held))
    assert found(held, verdicts) == told(oracle.conflicts(rows, limit, same_moment=same_moment))
    assert found(held, judge(Duplicate(), held, context(held))) == told(oracle.duplicates(rows))


@given(statements(), statements(), st.sets(st.integers(0, 9)), st.integers(1, 2))
def test_gaps_are_those_of_the_oracle(
    rows: list[Statement], others: list[Statement], idle: set[int], least: int
) -> None:
    clock = sorted(set(range(10)) - idle | {row.event for row in [*rows, *others]})
    held = arrivals(rows, others)
    verdicts = judge(Gap(least=least), held, context(held, clock=clock))
    expected = oracle.gaps(rows, clock, least)
    assert found(held, verdicts) == {((r.event, r.known, r.revision),) * 2 for r, _ in expected}
    about = {
        (int(t) // SECOND, n)
        for t, n, i in zip(verdicts.event.tolist(), verdicts.expected.tolist(), verdicts.row.tolist(), strict=True)
        if held.names[held.series[i]] == "A"
    }
    assert about == {(missing[0], float(len(missing))) for _, missing in expected}


SPLITS = st.lists(
    st.builds(Split, event=st.integers(0, 9), known=st.integers(7, 12), ratio=st.sampled_from([2.0, 0.1])),
    max_size=2,
    unique_by=lambda s: s.event,
)
CONFIRM = st.sampled_from([None, "back", "stays"])


@given(statements() | series(), series(), CONFIRM, SPLITS)
def test_jumps_are_those_of_the_oracle(
    rows: list[Statement], others: list[Statement], confirm: str | None, splits: list[Split]
) -> None:
    held = arrivals(rows, others)
    rule = Jump(field="x", limit=3.7, window=5, least=2, floor=0.0123, confirm=confirm, actions="actions")  # type: ignore[arg-type]
    verdicts = judge(rule, held, context(held, splits))
    expected = oracle.jumps(rows, limit=3.7, window=5, least=2, floor=0.0123, confirm=confirm, splits=splits)
    assert found(held, verdicts) == told(expected)


@given(statements() | series(), series(), CONFIRM, SPLITS)
def test_split_like_moves_are_those_of_the_oracle(
    rows: list[Statement], others: list[Statement], confirm: str | None, splits: list[Split]
) -> None:
    held = arrivals(rows, others)
    settings = {"limit": 3.7, "window": 5, "least": 2, "floor": 0.0523, "confirm": confirm}
    rule = SplitLike(field="x", opening="opening", actions="actions", **settings)  # type: ignore[arg-type]
    ratios, slack = [new / old for new, old in RATIOS], math.inf
    if confirm == "back":
        slips = [2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e3, 1e4, 1.5]
        ratios, slack = [*slips, *(1 / slip for slip in slips)], 0.1
    expected = oracle.split_like(
        rows, ratios, share=0.1, slack=slack, limit=3.7, window=5, least=2, floor=0.0523, confirm=confirm, splits=splits
    )
    assert found(held, judge(rule, held, context(held, splits))) == told(expected)


def prices_out_of_order() -> st.SearchStrategy[list[tuple[float, float, float, float]]]:
    price = st.sampled_from([1.0, 2.0, 3.0, math.nan])
    return st.lists(st.tuples(price, price, price, price), min_size=1, max_size=8)


@given(prices_out_of_order())
def test_bars_out_of_order_are_those_of_the_oracle(bars: list[tuple[float, float, float, float]]) -> None:
    held = table({"A": [Statement(event=k, known=k) for k in range(len(bars))]}, "close").drop_columns("close")
    for place, name in enumerate(("open", "high", "low", "close")):
        held = held.append_column(name, pa.array([bar[place] for bar in bars], pa.float64()))
    held = held.append_column("volume", pa.nulls(len(bars), pa.float64()))
    made = make_arrivals(held, Schema.bars())
    verdicts = judge(OhlcOrder(), made, context(made))
    assert verdicts.row.tolist() == [k for k, bar in enumerate(bars) if oracle.ohlc_order(bar)]
    assert all(verdicts.detail(k) for k in range(len(verdicts.row)))


RULES: list[Rule] = [
    Bounds(field="x", low=1.0, high=2.9),
    Stale(field="x", repeats=2),
    Conflict(field="x"),
    Duplicate(),
    Gap(),
    *(Jump(field="x", limit=3.7, window=5, least=2, floor=0.0123, confirm=c) for c in (None, "back", "stays")),
    *(SplitLike(field="x", limit=3.7, window=5, least=2, confirm=c) for c in (None, "back", "stays")),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{label(rule)}-{getattr(rule, 'confirm', '')}")
@settings(deadline=None, max_examples=25)
@given(rows=statements() | series(), until=st.integers(0, 24))
def test_what_was_found_by_a_moment_hangs_on_nothing_known_after_it(
    rule: Rule, rows: list[Statement], until: int
) -> None:
    """The law of this room: judging everything, then looking as of T, is judging what was known at T."""

    def seen(held: list[Statement]) -> set[tuple[Key, Key, int, float]]:
        made = arrivals(held)
        verdicts = judge(rule, made, context(made, clock=range(40)))
        pairs = [*zip(verdicts.row.tolist(), verdicts.witness.tolist(), strict=True)]
        keys = [((made.event[i], made.known[i], made.revision[i]), (made.event[j], made.known[j])) for i, j in pairs]
        about = zip(keys, verdicts.event.tolist(), np.nan_to_num(verdicts.value).tolist(), strict=True)
        return {(*key, event, value) for key, event, value in about if key[1][1] <= until * SECOND}  # type: ignore[misc]

    assert seen(rows) == seen([row for row in rows if row.known <= until])


def _scan(name: str, held: Arrivals, stops: list[int]) -> tuple[np.ndarray, ...]:
    """Run one kernel over the statements in pieces."""
    n, facts = held.n_rows, (held.period, held.owner)
    state = kernels.arrival_state(len(held.names), len(held.owner), n)
    floats, places = np.full((3, n), np.nan), np.full((2, n), -1, np.int32)
    longs = np.zeros((2, n), np.int64)
    none, first = held.event[:0], np.zeros(len(held.names) + 1, np.int32)
    first.flags.writeable = False
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(held.values("x") > 0, held.values("x"), np.nan))
    logs.flags.writeable = False
    slots = np.ascontiguousarray(held.event // SECOND)
    slots.flags.writeable = False
    gone = kernels.hole_state(len(held.names))
    run: dict[str, Callable[[int], None]] = {
        "stood": lambda stop: kernels.stood_kernel(stop, *facts, held.retracts, state, *places),
        "runs": lambda stop: kernels.runs_kernel(stop, 3, *facts, held.retracts, held.values("x"), state, longs[0]),
        "holes": lambda stop: kernels.holes_kernel(stop, held.series, slots, held.retracts, gone, *longs),
        "moves": lambda stop: kernels.moves_kernel(
            stop,
            0.0,
            5,
            2,
            *facts,
            held.event,
            held.known,
            held.retracts,
            logs,
            first,
            none,
            none,
            logs[:0],
            state,
            floats[0],
            floats[1],
            places[0],
            floats[2],
            places[1],
        ),
    }
    for stop in stops:
        run[name](stop)
    return floats, places, longs


@pytest.mark.parametrize("name", ["stood", "runs", "holes", "moves"])
@settings(deadline=None, max_examples=20)
@given(rows=statements(), others=series(), data=st.data())
def test_a_scan_in_pieces_gives_the_same_bits(
    name: str, rows: list[Statement], others: list[Statement], data: st.DataObject
) -> None:
    held = arrivals(rows, others)
    cut = data.draw(st.integers(0, held.n_rows))
    for whole, pieces in zip(_scan(name, held, [held.n_rows]), _scan(name, held, [0, cut, held.n_rows]), strict=True):
        np.testing.assert_array_equal(whole, pieces)


def test_rows_that_cleaning_wrote_are_no_evidence() -> None:
    rows = table({"A": [Statement(event=k, known=k, value=1.0) for k in range(3)]})
    marked = rows.set_column(5, "known_basis", pa.array(["observed", "repaired", "observed"]))
    assert make_arrivals(marked, FACTS).event.tolist() == [0, 2 * SECOND]


def test_series_of_one_entity_are_told_apart_by_their_keys() -> None:
    schema = Schema.facts(fields={"x": "USD", "desk": Schema.field("text", dtype="string")})
    schema = dataclasses.replace(schema, keys=("desk",))
    rows = [Statement(event=k, known=k, value=float(k % 2)) for k in range(6)]
    held = table({"A": rows}).append_column("desk", pa.array(["u", "v"] * 3))
    made = make_arrivals(held, schema)
    assert list(zip(made.names, made.keys, strict=True)) == [("A", ("u",)), ("A", ("v",))]
    assert len(judge(Stale(field="x", repeats=3), made, context(made)).row) == 2
    alone = make_arrivals(table({"A": rows}), FACTS)
    assert len(judge(Stale(field="x", repeats=3), alone, context(alone)).row) == 0


def test_several_fields_are_stale_only_together() -> None:
    rows = table({"A": [Statement(event=k, known=k, value=1.0) for k in range(3)]})
    rows = rows.append_column("y", pa.array([5.0, 5.0, 6.0]))
    made = make_arrivals(rows, Schema.facts(fields={"x": "USD", "y": "USD"}))
    assert judge(Stale(field="x", repeats=2), made, context(made)).row.tolist() == [1, 2]
    assert judge(Stale(field=("x", "y"), repeats=2), made, context(made)).row.tolist() == [1]


def test_what_the_next_row_first_says_decides_and_not_its_corrections() -> None:
    rows = [Statement(event=k, known=k, value=10.0) for k in range(8)]
    rows += [Statement(event=8, known=8, value=1.0), Statement(event=9, known=9, value=1.0)]
    rows += [Statement(event=9, known=11, value=10.0)]
    held = arrivals(rows)
    assert judge(Jump(field="x", least=5, confirm="back"), held, context(held)).row.tolist() == []
    stays = judge(Jump(field="x", least=5, confirm="stays"), held, context(held))
    assert found(held, stays) == {((8, 8, 0), (9, 9, 0))}


def test_an_announced_split_explains_its_move_only_once_it_is_known() -> None:
    prices = [10.0] * 12 + [5.0] * 3
    rows = [Statement(event=k, known=k, value=price) for k, price in enumerate(prices)]
    held, rule = arrivals(rows), SplitLike(field="x", least=5, actions="actions")
    for known, expected in ((3, set()), (12, set()), (13, {(12, 12, 0)}), (99, {(12, 12, 0)})):
        verdicts = judge(rule, held, context(held, [Split(event=12, known=known, ratio=2.0)]))
        assert {judged for judged, _ in found(held, verdicts)} == expected
    other = judge(rule, held, context(held, [Split(event=12, known=3, ratio=3.0)]))
    assert {judged for judged, _ in found(held, other)} == {(12, 12, 0)}, "another ratio explains nothing"


@pytest.mark.parametrize(
    ("prices", "confirm", "expected"),
    [
        ([10.0] * 8 + [1.0, 10.0, 10.0], None, [8]),
        ([10.0] * 8 + [1.0, 10.0, 10.0], "back", [8]),
        ([10.0] * 8 + [1.0, 10.0, 10.0], "stays", []),
        ([10.0] * 8 + [1.0, 1.0, 1.0], None, [8]),
        ([10.0] * 8 + [1.0, 1.0, 1.0], "back", []),
        ([10.0] * 8 + [1.0, 1.0, 1.0], "stays", [8]),
        ([10.0] * 8 + [1.0, 10.0, 1.0, 10.0], None, [8, 10]),
        ([10.0] * 8 + [1.0], "back", []),
    ],
)
def test_a_spike_is_one_verdict_and_its_return_none(
    prices: list[float], confirm: str | None, expected: list[int]
) -> None:
    held = arrivals([Statement(event=k, known=k, value=price) for k, price in enumerate(prices)])
    verdicts = judge(Jump(field="x", least=5, confirm=confirm), held, context(held))  # type: ignore[arg-type]
    assert verdicts.row.tolist() == expected
    assert np.allclose(verdicts.factor[:1], 10.0)
    late = 0 if confirm is None else 1
    assert (verdicts.witness - verdicts.row == late).all()


def bars(ends: np.ndarray) -> Arrivals:
    rows = [Statement(event=int(ns) // SECOND, known=int(ns) // SECOND + 60, value=1.0) for ns in ends]
    held = table({"A": rows}, "close")
    for name in ("open", "high", "low", "volume"):
        held = held.append_column(name, held["close"])
    return make_arrivals(held, Schema.bars(calendar="XNYS"))


def test_daily_bars_are_expected_on_each_session_early_closes_included() -> None:
    closes = np.array(["2016-11-22T21:00", "2016-11-23T21:00", "2016-11-25T18:00", "2016-11-28T21:00"], "M8[ns]")
    labels = expected_labels(bars(closes.astype(np.int64)))
    assert labels is not None
    np.testing.assert_array_equal(labels[:4], closes.astype(np.int64))  # Thanksgiving has no session


def test_minute_bars_are_expected_within_sessions_only() -> None:
    start = np.datetime64("2016-11-25T14:30", "ns").astype(np.int64)
    held = bars(start + np.arange(1, 11) * 60 * SECOND)
    labels = expected_labels(held)
    assert labels is not None
    inside = labels[(labels > start) & (labels < start + 24 * 3600 * SECOND)]
    assert len(inside) == 210  # the Friday after Thanksgiving ends at 13:00
    sparse = bars(start + np.array([1, 2, 3, 4, 8, 9]) * 60 * SECOND)
    verdicts = judge(Gap(), sparse, Context(splits=lambda _: sparse, labels=lambda _: expected_labels(sparse)))
    assert [verdicts.detail(0)] == ["3 rows are missing, from 2016-11-25 14:35Z to 2016-11-25 14:37Z"]
    every = expected_labels(held, "5min")
    assert every is not None
    assert len(every[(every > start) & (every < start + 24 * 3600 * SECOND)]) == 42


def test_weekly_bars_and_facts_without_a_calendar_expect_nothing() -> None:
    weeks = np.arange(np.datetime64("2016-01-08T21:00", "ns"), np.datetime64("2016-06-01"), np.timedelta64(7, "D"))
    assert expected_labels(bars(weeks.astype(np.int64))) is None
    assert expected_labels(arrivals([Statement(event=1, known=1), Statement(event=2, known=2)])) is None


def test_a_clock_too_fine_to_write_down_is_refused() -> None:
    held = arrivals([Statement(event=1, known=1, value=1.0), Statement(event=10**8, known=10**8, value=1.0)])
    with pytest.raises(InputError, match="more than 50,000,000 labels; give a wider `every`"):
        expected_labels(held, "1us")


BARS = Schema.bars(calendar="XNYS", currency="USD")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Jump(do="repair"), "A repair says by what"),
        (lambda: Jump(replace="previous"), "A repair says by what"),
        (lambda: Jump(do="remove"), "Unknown `do` of a rule 'remove'"),
        (lambda: Gap(do="quarantine"), "Gap cannot quarantine: there is no row to withdraw"),
        (lambda: Jump(do="repair", replace="scale"), "needs confirm='back'"),
        (lambda: Stale(repeats=1), "`repeats >= 2` must hold"),
        (lambda: Bounds(field="close"), "needs low= or high="),
        (lambda: Bounds(field="close", low=2, high=1), "`low <= high` must hold"),
        (lambda: Jump(limit=-1), "`limit > 0`"),
        (lambda: Jump(least=80), "`least <= window`"),
        (lambda: Jump(confirm="maybe"), "Unknown `confirm` 'maybe'"),
        (lambda: SplitLike(share=0.7), "`0 < share < 0.5`"),
        (lambda: Conflict(field="close", limit=math.nan), "`limit` of Conflict must be a number"),
        (lambda: Gap(every="0s"), "`every > 0`"),
        (lambda: check_rules([Bounds(field="clsoe", low=0)], BARS, "bars"), "Did you mean 'close'"),
        (lambda: check_rules([], BARS, "bars"), "must be a list of rules"),
        (lambda: check_rules(["jump"], BARS, "bars"), "it holds 'jump'"),
        (lambda: check_rules([Jump(), Jump(limit=12)], BARS, "bars"), "twice"),
        (lambda: check_rules([OhlcOrder()], FACTS, "facts"), "OhlcOrder needs the fields"),
        (lambda: check_rules([Jump(do="repair", replace="missing")], BARS, "bars"), "may not lack 'close'"),
    ],
)
def test_a_rule_without_sense_is_refused_with_the_remedy(make: Callable[[], object], words: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=words):
        make()


def test_the_default_rules_only_flag_and_suit_their_kind() -> None:
    assert [label(rule) for rule in default_rules(BARS)] == [
        "duplicate", "conflict:close", "ohlc_order", "jump:close", "split_like:close", "stale:close", "gap",
    ]  # fmt: skip
    facts = Schema.facts(fields={"eps": Schema.field("USD/share", low=-100)})
    assert [label(rule) for rule in default_rules(facts)] == ["duplicate", "conflict:eps", "bounds:eps"]
    assert {rule.do for rule in (*default_rules(BARS), *default_rules(facts))} == {"flag"}


def test_a_rule_has_one_signature_however_its_numbers_are_written() -> None:
    assert signature(Jump(limit=12)) == signature(Jump(limit=12.0))
    assert signature(Jump()) != signature(Jump(do="quarantine"))


@pytest.mark.parametrize("backward", [False, True])
def test_a_long_series_costs_a_scan_and_not_a_scan_a_row(backward: bool) -> None:
    """Rows of one series in the order of time or against it; quadratic work would run into the hang time-out."""
    n = 200_000
    times = np.arange(n)
    known = n + (n - times if backward else times)
    held = pa.table(
        {
            "entity": pa.array(["A"] * n),
            "event_time": pa.array(times * 1_000_000).cast(TIMES),
            "known_time": pa.array(known * 1_000_000).cast(TIMES),
            "revision": pa.array(np.zeros(n, np.int64)),
            "op": pa.array(["assert"] * n),
            "known_basis": pa.array(["observed"] * n),
            "x": pa.array(np.where(times % 50_000 == 7, 500.0, 10.0 + 0.1 * (times % 2))),
            "opening": pa.nulls(n, pa.float64()),
        }
    )
    made = make_arrivals(held, FACTS)
    found = [judge(rule, made, context(made)) for rule in (Jump(field="x"), Stale(field="x"), Conflict(field="x"))]
    # against the order of time no row has one before it when it arrives, and later news does not reopen its case
    assert [len(verdicts.row) for verdicts in found] == [0 if backward else 4 - 1, 0, 0]
