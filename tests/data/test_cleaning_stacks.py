"""What is appended to a period so that what stands in it is sound at each moment, against the rule written slowly."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.quality.stacks import Mark, StoredRow, Values, reconcile, standing
from knowable.testing.cleaning_oracle import Statement, should_stand

Verdicts = dict[Statement, tuple[int, float | None]]


@st.composite
def periods(draw: st.DrawFn) -> tuple[list[Statement], Verdicts]:
    """Statements of one period, some withdrawn by their source, and verdicts known with them or later."""
    rows = draw(
        st.lists(
            st.builds(
                Statement,
                event=st.just(0),
                known=st.integers(0, 5),
                revision=st.integers(0, 1),
                retract=st.sampled_from([False, False, True]),
                value=st.sampled_from([1.0, 2.0, 3.0]),
            ),
            max_size=7,
            unique_by=lambda row: (row.known, row.revision),
        )
    )
    verdicts: Verdicts = {}
    for row in rows:
        if not row.retract and draw(st.booleans()):
            verdicts[row] = row.known + draw(st.integers(0, 3)), draw(st.sampled_from([None, None, 1.0, 9.0]))
    return rows, verdicts


def said(value: float) -> Values:
    return (("x", value),)


def stored(rows: list[Statement]) -> list[StoredRow]:
    return [
        StoredRow(row.known, row.revision, row.retract, cleaned=False, values=() if row.retract else said(row.value))
        for row in rows
    ]


def marks(verdicts: Verdicts) -> dict[tuple[int, int], Mark]:
    return {
        (row.known, row.revision): Mark(known, None if instead is None else said(instead))
        for row, (known, instead) in verdicts.items()
    }


def top(rows: list[StoredRow], moment: int) -> float | None:
    found = standing(rows, moment)
    return None if not found else float(dict(found[-1].values)["x"])


@settings(deadline=None, max_examples=2 * settings().max_examples)
@given(periods())
def test_what_stands_is_what_should_stand_at_each_moment(case: tuple[list[Statement], Verdicts]) -> None:
    rows, verdicts = case
    held = stored(rows)
    new, _ = reconcile(held, marks(verdicts))
    for moment in range(-1, 10):
        assert top([*held, *new], moment) == should_stand(rows, verdicts, moment)
    keys = [(row.known, row.revision, row.cleaned) for row in [*held, *new]]
    assert len({key[:2] for key in keys}) == len(keys), "two rows of one known time and revision are a conflict"


@settings(deadline=None, max_examples=2 * settings().max_examples)
@given(periods(), st.integers(0, 9))
def test_step_by_step_or_at_once_the_same_stands_and_nothing_is_done_twice(
    case: tuple[list[Statement], Verdicts], until: int
) -> None:
    rows, verdicts = case
    early = stored([row for row in rows if row.known <= until])
    first, _ = reconcile(early, marks({row: verdict for row, verdict in verdicts.items() if verdict[0] <= until}))
    held = [*stored(rows), *first]
    second, _ = reconcile(held, marks(verdicts))
    assert all(row.known > until for row in second), "what was known then is not told anew"
    for moment in range(-1, 10):
        assert top([*held, *second], moment) == should_stand(rows, verdicts, moment)
    assert reconcile([*held, *second], marks(verdicts))[0] == []


def test_a_withdrawal_by_the_source_takes_back_its_own_statement_and_not_the_one_beneath() -> None:
    good = Statement(event=0, known=1, value=1.0)
    bad = Statement(event=0, known=2, value=2.0)
    back = Statement(event=0, known=4, retract=True)
    held = stored([good, bad, back])
    new, stood = reconcile(held, marks({bad: (3, None)}))
    assert [(row.known, row.retracts) for row in new] == [(3, True), (4, False)]
    assert stood == {(2, 0)}
    assert [top([*held, *new], moment) for moment in (1, 2, 3, 4)] == [1.0, 2.0, 1.0, 1.0]


def test_a_statement_that_was_replaced_before_its_verdict_is_left_alone() -> None:
    bad, mended = Statement(event=0, known=1, value=2.0), Statement(event=0, known=2, value=1.0)
    assert reconcile(stored([bad, mended]), marks({bad: (3, None)})) == ([], set())
