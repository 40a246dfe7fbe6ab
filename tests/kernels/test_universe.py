"""Who is a member when: the sweep over intervals and the choice by size, against their rules written slowly."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.corporate.membership import OPEN, Members
from knowable.data.corporate.universe import AtLeast, Largest, SizeRule, begin, choose
from knowable.kernels.universe import chosen_kernel, intervals_kernel
from knowable.testing.universe_oracle import Interval, chosen, is_member

ENTITIES = ("A", "B", "C")
CLOCK = np.arange(-1, 16, dtype=np.int64)


@st.composite
def intervals(draw: st.DrawFn) -> list[Interval]:
    """Few names, starts and moments, so that corrections, withdrawals, overlaps and late removals are common."""
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(ENTITIES),
                st.integers(0, 4),
                st.integers(0, 14),
                st.integers(0, 2),
                st.none() | st.integers(1, 9),
                st.booleans() | st.just(value=False),
            ),
            max_size=30,
            unique_by=lambda row: row[:4],  # two rows of one key at one moment are a conflict, which ingest keeps out
        )
    )
    return [
        Interval(entity=e, start=s, end=None if n is None else s + n, known=k, revision=r, retract=gone)
        for e, s, k, r, n, gone in rows
    ]


def held(rows: list[Interval]) -> Members:
    """The rows as the sweep takes them."""
    ordered = sorted(rows, key=lambda r: (r.known, r.revision, r.retract))
    periods = sorted({(r.entity, r.start) for r in rows})

    def locked(values: list, dtype: type) -> np.ndarray:
        array = np.array(values, dtype=dtype)
        array.flags.writeable = False
        return array

    return Members(
        entities=ENTITIES,
        names=tuple(sorted({r.entity for r in rows})),
        owner=locked([ENTITIES.index(entity) for entity, _ in periods], np.int32),
        known=locked([r.known for r in ordered], np.int64),
        period=locked([periods.index((r.entity, r.start)) for r in ordered], np.int32),
        retracts=locked([r.retract for r in ordered], np.bool_),
        start=locked([r.start for r in ordered], np.int64),
        end=locked([OPEN if r.end is None else r.end for r in ordered], np.int64),
    )


def slow(rows: list[Interval], names: tuple[str, ...] = ENTITIES) -> np.ndarray:
    return np.array([[is_member(rows, name, int(t)) for name in names] for t in CLOCK])


def test_membership_by_a_hand_table() -> None:
    rows = [
        Interval(entity="A", start=2, end=None, known=0),  # announced two ahead
        Interval(entity="A", start=2, end=6, known=8),  # its removal is told two after the fact
        Interval(entity="B", start=3, end=5, known=4),  # told one late, gone at 5
        Interval(entity="B", start=9, end=None, known=9),  # comes back
        Interval(entity="B", start=9, end=None, known=11, retract=True),  # no: a mistake, withdrawn
        Interval(entity="C", start=1, end=4, known=0),
        Interval(entity="C", start=1, end=7, known=3),  # the end is put off before it comes
        Interval(entity="C", start=5, end=None, known=6),  # overlaps
    ]
    found = held(rows).panel(CLOCK, ENTITIES)
    by_name = {name: CLOCK[found[:, j]].tolist() for j, name in enumerate(ENTITIES)}
    assert by_name == {
        "A": [2, 3, 4, 5, 6, 7],
        "B": [4, 9, 10],
        "C": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    }


@settings(deadline=None, max_examples=2 * settings().max_examples)
@given(intervals())
def test_the_sweep_gives_what_the_rule_says(rows) -> None:
    np.testing.assert_array_equal(held(rows).panel(CLOCK, ENTITIES), slow(rows))


@given(intervals(), st.permutations(ENTITIES), st.integers(0, 3))
def test_columns_are_those_asked_for(rows, names, n) -> None:
    names = (*names[:n], "nobody")
    np.testing.assert_array_equal(held(rows).panel(CLOCK, names), slow(rows, names))


@given(intervals(), st.integers(0, 15))
def test_what_is_told_later_never_changes_an_earlier_row(rows, moment) -> None:
    early = moment >= CLOCK
    cut = held([row for row in rows if row.known <= moment]).panel(CLOCK, ENTITIES)
    assert held(rows).panel(CLOCK, ENTITIES)[early].tobytes() == cut[early].tobytes()


@given(intervals(), st.lists(st.integers(0, len(CLOCK)), max_size=4), st.booleans())
def test_any_cutting_of_the_clock_gives_the_same_bits(rows, cuts, plain) -> None:
    """Plain Python checks every bound; compiled code does not."""
    members = held(rows)
    kernel = getattr(intervals_kernel, "py_func", intervals_kernel) if plain else intervals_kernel
    state = members.begin(len(ENTITIES))
    column = members.owner.copy()
    column.flags.writeable = False
    out = np.empty((len(CLOCK), len(ENTITIES)), np.bool_)
    facts = (members.known, members.period, members.retracts, members.start, members.end)
    for a, b in itertools.pairwise([0, *sorted(cuts), len(CLOCK)]):
        clock = CLOCK[a:b].copy()
        clock.flags.writeable = False
        kernel(clock, *facts, column, *members.edges(), state, out[a:b])
    assert out.tobytes() == members.panel(CLOCK, ENTITIES).tobytes()


NAMES = ("B", "D", "A", "C", "E")
RULES = st.one_of(
    st.builds(
        Largest,
        n=st.integers(1, 5),
        hold=st.integers(0, 2),
        window=st.integers(1, 4),
        stale=st.integers(0, 3),
        min_history=st.none() | st.integers(1, 6),
        min_price=st.none() | st.sampled_from([2.0, 3.0]),
    ),
    st.builds(
        lambda level, less, **rest: AtLeast(level=level, stay=level - less, **rest),
        st.integers(1, 5),
        st.integers(0, 2),
        window=st.integers(1, 4),
        stale=st.integers(0, 3),
        min_history=st.none() | st.integers(1, 6),
    ),
)


@st.composite
def panels(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Small whole numbers, so that means are exact and ties common; gaps, late listings, and ends."""
    n = draw(st.integers(1, 14))
    cell = st.sampled_from([np.nan, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0])
    rows = st.lists(st.lists(cell, min_size=5, max_size=5), min_size=n, max_size=n)
    close, value = (pd.DataFrame(draw(rows), columns=list(NAMES)) for _ in range(2))
    for j in range(5):
        first, last = draw(st.integers(0, n)), draw(st.integers(0, n))
        if first < last:
            close.iloc[:first, j] = np.nan
            close.iloc[last:, j] = np.nan
    return close, value, np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))


def quick(rule: SizeRule, close: pd.DataFrame, value: pd.DataFrame, ends: np.ndarray) -> np.ndarray:
    return choose(rule, close.to_numpy(), value.to_numpy(), ends, list(close.columns))


def by_hand(rule: SizeRule, close: pd.DataFrame, value: pd.DataFrame, ends: np.ndarray) -> pd.DataFrame:
    more = {"n": 10**6, "level": rule.level, "stay": rule.stay} if isinstance(rule, AtLeast) else {
        "n": rule.n, "hold": rule.hold}  # fmt: skip
    history = rule.window if rule.min_history is None else rule.min_history
    price = -np.inf if rule.min_price is None else rule.min_price
    return chosen(
        close, value, ends, window=rule.window, min_history=history, min_price=price, stale=rule.stale, **more
    )


@given(panels(), RULES)
def test_the_choice_is_what_pandas_finds_from_scratch(case, rule) -> None:
    np.testing.assert_array_equal(quick(rule, *case), by_hand(rule, *case).to_numpy())


@given(panels(), RULES, st.integers(1, 20))
def test_later_bars_never_change_an_earlier_choice(case, rule, cut) -> None:
    close, value, ends = case
    assert quick(rule, close[:cut], value[:cut], ends[:cut]).tobytes() == quick(rule, *case)[:cut].tobytes()


@given(panels(), RULES, st.permutations(range(5)))
def test_the_order_of_columns_is_no_information(case, rule, order) -> None:
    close, value, ends = case
    shuffled = quick(rule, close.iloc[:, list(order)], value.iloc[:, list(order)], ends)
    np.testing.assert_array_equal(shuffled, quick(rule, *case)[:, list(order)])


@given(panels(), RULES, st.lists(st.integers(0, 20), max_size=4), st.booleans())
def test_any_cutting_of_the_bars_gives_the_same_choice(case, rule, cuts, plain) -> None:
    close, value, ends = case
    kernel = getattr(chosen_kernel, "py_func", chosen_kernel) if plain else chosen_kernel
    state, out = begin(rule, 5), np.empty(close.shape, np.bool_)
    order = np.argsort(list(close.columns)).astype(np.int64)
    arrays = [close.to_numpy().copy(), value.to_numpy().copy(), ends.copy()]
    for array in (*arrays, order):
        array.flags.writeable = False
    for a, b in itertools.pairwise([0, *sorted(min(cut, len(close)) for cut in cuts), len(close)]):
        kernel(*[array[a:b] for array in arrays], order, rule.limits(5), state, out[a:b])
    assert out.tobytes() == quick(rule, *case).tobytes()


def test_the_choice_by_a_hand_table() -> None:
    nan = np.nan
    close = pd.DataFrame({"A": [1.0] * 8, "B": [1.0] * 4 + [nan] * 4, "C": [1.0] * 8, "D": [nan, nan, nan] + [1.0] * 5})
    value = pd.DataFrame({"A": [5.0] * 8, "B": [9.0] * 8, "C": [5, 5, 5, 5, 5, 7, 7, 7.0], "D": [20.0] * 8})
    ends = np.array([0, 1, 0, 1, 0, 0, 1, 0], dtype=bool)
    found = quick(Largest(n=2, window=2, stale=1), close, value, ends)
    members = ["".join(np.array(list("ABCD"))[row]) for row in found]
    # row 1: B, then A before C by name. Row 3: D has one bar only. Row 5: B has had none for two bars.
    # Row 6: D, then C, whose last two are 7.
    assert members == ["", "AB", "AB", "AB", "AB", "A", "CD", "CD"]


def test_a_member_stays_within_the_band() -> None:
    close = pd.DataFrame(1.0, index=range(3), columns=list("ABC"))
    value = pd.DataFrame({"A": [3.0, 1, 1], "B": [2.0, 3, 2], "C": [1.0, 2, 3]})
    every = np.ones(3, bool)
    assert quick(Largest(n=1, window=1), close, value, every).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert quick(Largest(n=1, window=1, hold=1), close, value, every).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert quick(Largest(n=1, window=1, hold=2), close, value, every).tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("n", [70, 300])
def test_many_names_are_ranked_as_numpy_sorts_them(n) -> None:
    value = np.random.default_rng(n).integers(0, 40, (1, n)).astype(float)
    names = [f"N{j:03d}" for j in range(n)]
    found = choose(Largest(n=n // 3, window=1), np.ones((1, n)), value, np.ones(1, bool), names)
    best = sorted(range(n), key=lambda j: (-value[0, j], names[j]))[: n // 3]
    assert sorted(best) == np.flatnonzero(found[0]).tolist()
