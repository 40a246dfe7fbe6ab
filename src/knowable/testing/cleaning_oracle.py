"""The rules of cleaning written slowly, straight from their sentences; the kernels are held against them.

One series at a time. A statement is judged by what stood when it arrived; nothing here carries a state from one
statement to the next except the verdicts themselves.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = [
    "Finding",
    "Split",
    "Statement",
    "bounds",
    "conflicts",
    "duplicates",
    "gaps",
    "in_order",
    "jumps",
    "ohlc_order",
    "should_stand",
    "split_like",
    "stale",
    "standing_at",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One row of one series; times are whole numbers of any unit, NaN is no value. `opening`: a bar's first price."""

    event: int
    known: int
    revision: int = 0
    retract: bool = False
    value: float = math.nan
    opening: float = math.nan

    @property
    def order(self) -> tuple[int, int, int, bool]:
        """Its place in the order of arrival: rows known together arrive by event time."""
        return self.known, self.event, self.revision, self.retract


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A split as announced: a series' prices fall by `ratio` from `event` on."""

    event: int
    known: int
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A verdict: the statement judged, and the one that completed the evidence."""

    judged: Statement
    witness: Statement

    @property
    def known(self) -> int:
        """When it could first be known: with the last of its evidence."""
        return max(self.judged.known, self.witness.known)


def in_order(rows: Sequence[Statement]) -> list[Statement]:
    """The statements as they arrive."""
    return sorted(rows, key=lambda row: row.order)


def standing_at(rows: Sequence[Statement], last: Statement, *, with_last: bool = True) -> dict[int, Statement]:
    """What stands in each period once `last` has arrived (or just before): event -> statement."""
    arrived = [row for row in in_order(rows) if row.order < last.order or (with_last and row == last)]
    held: dict[int, Statement] = {}
    for event in sorted({row.event for row in arrived}):
        stack: list[Statement] = []
        for row in arrived:
            if row.event == event:
                stack = stack[:-1] if row.retract else [*stack, row]
        if stack:
            held[event] = stack[-1]
    return held


def should_stand(
    rows: Sequence[Statement], verdicts: Mapping[Statement, tuple[int, float | None]], moment: int
) -> float | None:
    """What one period says at a moment, once its verdicts are carried out; None: nothing.

    The sources' own stack rules: a verdict only hides a statement (None), or replaces what it says, from its own known
    time on.
    """
    stack: list[Statement] = []
    for row in sorted((row for row in rows if row.known <= moment), key=lambda row: (row.known, row.revision)):
        stack = stack[:-1] if row.retract else [*stack, row]
    for row in reversed(stack):
        known, instead = verdicts.get(row, (moment + 1, None))
        if known > moment:
            return row.value
        if instead is not None:
            return instead
    return None


def bounds(rows: Sequence[Statement], low: float, high: float) -> list[Finding]:
    """Values outside [low, high]."""
    return [_alone(row) for row in in_order(rows) if not row.retract and (row.value < low or row.value > high)]


def ohlc_order(bar: Sequence[float]) -> bool:
    """Whether open, high, low, close are out of order; missing ones do not count."""
    held = [price for price in bar if not math.isnan(price)]
    return (not math.isnan(bar[1]) and bar[1] < max(held)) or (not math.isnan(bar[2]) and bar[2] > min(held))


def stale(rows: Sequence[Statement], repeats: int) -> list[Finding]:
    """Statements that say, with the standing periods before them, the same for the `repeats`-th time or more."""
    found = []
    for row in in_order(rows):
        held = standing_at(rows, row)
        newest = [held[event].value for event in sorted(held) if event <= row.event][-repeats:]
        if not row.retract and len(newest) == repeats and all(value == row.value for value in newest):
            found.append(_alone(row))
    return found


def gaps(rows: Sequence[Statement], clock: Sequence[int], least: int = 1) -> list[tuple[Statement, list[int]]]:
    """Labels of the clock that a statement shows to be missing: between it and what its series reached by then."""
    found = []
    asserted = [row for row in in_order(rows) if not row.retract]
    for k, row in enumerate(asserted):
        earlier = [other.event for other in asserted[:k]]
        if not earlier:
            continue
        missing: list[int] = []
        if row.event > max(earlier):
            missing = [label for label in clock if max(earlier) < label < row.event]
        elif row.event < min(earlier):
            missing = [label for label in clock if row.event < label < min(earlier)]
        if len(missing) >= least:
            found.append((row, missing))
    return found


def duplicates(rows: Sequence[Statement]) -> list[Finding]:
    """Statements that repeat the standing one of their period, at its known time."""
    pairs = [(row, standing_at(rows, row, with_last=False).get(row.event)) for row in rows if not row.retract]
    there = [(row, old) for row, old in pairs if old is not None and old.known == row.known]
    return [_alone(row) for row, old in there if _same(row.value, old.value) and _same(row.opening, old.opening)]


def conflicts(rows: Sequence[Statement], limit: float, *, same_moment: bool = False) -> list[Finding]:
    """Statements that differ from the standing one of their period by more than a share of the larger."""
    found = []
    for row in rows:
        old = standing_at(rows, row, with_last=False).get(row.event)
        if row.retract or old is None or (same_moment and old.known != row.known):
            continue
        lacks = math.isnan(row.value) != math.isnan(old.value)
        if lacks or abs(row.value - old.value) > limit * max(abs(row.value), abs(old.value)):
            found.append(_alone(row))
    return found


def jumps(
    rows: Sequence[Statement],
    *,
    limit: float,
    window: int,
    least: int,
    floor: float,
    confirm: str | None = None,
    splits: Sequence[Split] = (),
) -> list[Finding]:
    """Log moves of more than `limit` robust scales that do not undo the doubted move before them."""
    moves = _moves(rows, window, least, splits)
    tolerance = {
        row: limit * max(scale, floor) for row, (_, _, scale) in moves.items() if not math.isnan(scale)
    }  # what is known too little of is not judged
    large = [row for row in moves if row in tolerance and abs(moves[row][1]) > tolerance[row]]
    return _confirmed(rows, large, tolerance, moves, confirm, splits)


def split_like(
    rows: Sequence[Statement],
    ratios: Sequence[float],
    *,
    share: float,
    slack: float = math.inf,
    limit: float,
    window: int,
    least: int,
    floor: float,
    confirm: str | None = None,
    splits: Sequence[Split] = (),
) -> list[Finding]:
    """Moves, to the open as well as to the close, near the log of a ratio, that no known split explains."""
    moves = _moves(rows, window, least, splits)
    tolerance: dict[Statement, float] = {}
    for row, (_, move, scale) in moves.items():
        bound = limit * (floor if math.isnan(scale) else max(scale, floor))
        seen = [move, move + math.log(row.opening / row.value)] if row.opening > 0 else [move]
        rests = [(max(abs(each + math.log(ratio)) for each in seen), abs(math.log(ratio))) for ratio in ratios]
        near = [(rest, size) for rest, size in rests if rest <= min(share * size, slack)]
        if near and abs(move) > bound:
            tolerance[row] = share * min(near)[1]
    return _confirmed(rows, list(tolerance), tolerance, moves, confirm, splits)


Moves = dict[Statement, tuple[Statement, float, float]]


def _moves(rows: Sequence[Statement], window: int, least: int, splits: Sequence[Split]) -> Moves:
    """Statement -> (the one of the period before, log move, robust scale of the moves before), in order of arrival."""
    moves: Moves = {}
    for row in in_order(rows):
        if row.retract or not row.value > 0:
            continue
        held = _priced(standing_at(rows, row))
        past = [held[event] for event in sorted(held) if event < row.event]
        if not past:
            continue
        move = math.log(row.value) - math.log(past[-1].value) + _split(splits, past[-1].event, row.event, row.known)
        steps = [math.log(b.value) - math.log(a.value) for a, b in itertools.pairwise(past)][-window:]
        scale = math.nan
        if len(steps) >= least:
            centre = statistics.median(steps)
            scale = statistics.median(abs(step - centre) for step in steps) / statistics.NormalDist().inv_cdf(0.75)
        moves[row] = past[-1], move, scale
    return moves


def _confirmed(
    rows: Sequence[Statement],
    large: Sequence[Statement],
    tolerance: dict[Statement, float],
    moves: Moves,
    confirm: str | None,
    splits: Sequence[Split],
) -> list[Finding]:
    doubted: list[Statement] = []
    for row in large:
        before = moves[row][0]
        undone = before in doubted and abs(moves[before][1] + moves[row][1]) <= tolerance[before]
        if not undone:
            doubted.append(row)
    if confirm is None:
        return [_alone(row) for row in doubted]
    found = []
    for row in doubted:
        move, (witness, after) = moves[row][1], _after(rows, row, moves, splits)
        if witness is not None and (
            abs(after) <= tolerance[row] if confirm == "back" else abs(after - move) < abs(after)
        ):
            found.append(Finding(judged=row, witness=witness))
    return found


def _after(
    rows: Sequence[Statement], row: Statement, moves: Moves, splits: Sequence[Split]
) -> tuple[Statement | None, float]:
    """The statement that first showed the period after `row`, and how far its value is from the level before it."""
    held = _priced(standing_at(rows, row))
    later = [held[event] for event in sorted(held) if event > row.event]
    if later:  # the next period was there already
        step = math.log(later[0].value) - math.log(row.value)
        return row, moves[row][1] + step + _split(splits, row.event, later[0].event, row.known)
    for other in in_order(rows):
        if other.order > row.order and other in moves and moves[other][0] == row:
            return other, moves[row][1] + moves[other][1]
    return None, math.nan


def _priced(held: dict[int, Statement]) -> dict[int, Statement]:
    return {event: row for event, row in held.items() if row.value > 0}


def _split(splits: Sequence[Split], after: int, until: int, known: int) -> float:
    return math.fsum(math.log(s.ratio) for s in splits if after < s.event <= until and s.known <= known)


def _alone(row: Statement) -> Finding:
    return Finding(judged=row, witness=row)


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
