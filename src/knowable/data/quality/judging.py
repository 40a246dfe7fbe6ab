"""From rules to verdicts: which statements each rule doubts, on what evidence, and since when that was known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.calendars import Nanos
from knowable.data.quality.arrivals import Arrivals, Codes, Floats, lock
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
)
from knowable.data.schema import PRICES
from knowable.kernels.quality import arrival_state, hole_state, holes_kernel, moves_kernel, runs_kernel

__all__ = ["Context", "Verdicts", "judge"]

Rows = npt.NDArray[np.int64]
Sentence = Callable[[int], str]
_SLIPS = (2, 3, 4, 5, 10, 20, 50, 100, 1000, 10_000)
# what a single row is off by: units and decimal points, and splits taken too early; far enough apart to be told apart
_UNITS = (*((n, 1) for n in _SLIPS), *((1, n) for n in _SLIPS), (3, 2), (2, 3))
_SLACK = 0.1  # log move that a row in the wrong unit may have made besides


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a rule may ask for beside the statements.

    Attributes:
        splits: name of a dataset of actions -> its statements.
        labels: `every` of a rule -> labels of the expected clock, None where there is none.
    """

    splits: Callable[[str], Arrivals]
    labels: Callable[[str | None], Nanos | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What one rule found, by row of the arrivals.

    Attributes:
        rule: that found it.
        row: (n,) the statement judged; of a gap, the one after it.
        witness: (n,) the statement that completed the evidence: the verdict is known when it is.
        event: (n,) int64 ns UTC, what the verdict is about.
        value: (n,) the value doubted, NaN where there is none.
        expected: (n,) what the rule would have expected, or its limit; NaN where there is none.
        factor: (n,) what the value is to be multiplied by, NaN where no factor is recognised.
        detail: place among these -> a sentence.
    """

    rule: Rule
    row: Rows
    witness: Rows
    event: Nanos
    value: Floats
    expected: Floats
    factor: Floats
    detail: Sentence


def judge(rule: Rule, arrivals: Arrivals, context: Context) -> Verdicts:
    """Hold every statement against one rule, each by what was known when it arrived."""
    found: Verdicts = _judge(rule, arrivals, context)
    return found


@singledispatch
def _judge(rule: Any, _arrivals: Arrivals, _context: Context) -> Verdicts:
    raise TypeError(f"no judge for {rule!r}")


@_judge.register
def _(rule: Bounds, arrivals: Arrivals, _context: Context) -> Verdicts:
    value = arrivals.values(rule.field)
    low, high = (np.nan if bound is None else bound for bound in (rule.low, rule.high))
    row = np.flatnonzero(((value < low) | (value > high)) & ~arrivals.retracts)
    found = value[row]
    bound = np.where(found < low, low, high)

    def detail(k: int) -> str:
        side = "below" if found[k] < bound[k] else "above"
        return f"{rule.field}={found[k]:g} is {side} {bound[k]:g}"

    return _verdicts(rule, arrivals, row, detail, value=found, expected=bound)


@_judge.register
def _(rule: OhlcOrder, arrivals: Arrivals, _context: Context) -> Verdicts:
    prices = np.stack([arrivals.values(name) for name in PRICES])
    high, low = arrivals.values("high"), arrivals.values("low")
    top: Floats = np.fmax.reduce(prices)
    bottom: Floats = np.fmin.reduce(prices)
    above, below = high < top, low > bottom  # NaN is out of no order
    row = np.flatnonzero((above | below) & ~arrivals.retracts)
    name = np.where(above[row], "high", "low")
    found, bound = np.where(above, high, low)[row].astype(np.float64), np.where(above, top, bottom)[row]

    def detail(k: int) -> str:
        side = ("below", "highest") if name[k] == "high" else ("above", "lowest")
        return f"{name[k]}={found[k]:g} is {side[0]} {bound[k]:g}, the {side[1]} price of the bar"

    return _verdicts(rule, arrivals, row, detail, value=found, expected=bound)


@_judge.register
def _(rule: Stale, arrivals: Arrivals, _context: Context) -> Verdicts:
    fields = (rule.field,) if isinstance(rule.field, str) else rule.field
    value = arrivals.values(fields[0])
    length = np.zeros(arrivals.n_rows, np.int64)
    runs_kernel(
        arrivals.n_rows,
        rule.repeats,
        arrivals.period,
        arrivals.owner,
        arrivals.retracts,
        value if len(fields) == 1 else _together([arrivals.values(name) for name in fields]),
        _state(arrivals),
        length,
    )
    row = np.flatnonzero(length >= rule.repeats)
    found = value[row]

    def detail(k: int) -> str:
        return f"{'+'.join(fields)}={found[k]:g} {rule.repeats} times in a row or more"

    return _verdicts(rule, arrivals, row, detail, value=found)


@_judge.register
def _(rule: Gap, arrivals: Arrivals, context: Context) -> Verdicts:
    labels = context.labels(rule.every)
    if labels is None:
        return _verdicts(rule, arrivals, np.empty(0, np.int64), str)
    start, until = np.full((2, arrivals.n_rows), -1, np.int64)
    slot = lock(np.searchsorted(labels, arrivals.event, side="left").astype(np.int64))
    state = hole_state(len(arrivals.names))
    holes_kernel(arrivals.n_rows, arrivals.series, slot, arrivals.retracts, state, start, until)
    row = np.flatnonzero((start >= 0) & (until - start >= rule.least))
    first, last, count = labels[start[row]], labels[until[row] - 1], (until - start)[row]

    def detail(k: int) -> str:
        if count[k] == 1:
            return f"no row for {_moment(first[k])}"
        return f"{count[k]} rows are missing, from {_moment(first[k])} to {_moment(last[k])}"

    return _verdicts(rule, arrivals, row, detail, expected=count.astype(np.float64), event=first)


@_judge.register
def _(rule: Duplicate, arrivals: Arrivals, _context: Context) -> Verdicts:
    row, other = _restated(arrivals)
    same = arrivals.known[row] == arrivals.known[other]
    row, other = row[same], other[same]
    for name in arrivals.schema.fields:
        value = arrivals.values(name)
        equal = (value[row] == value[other]) | (np.isnan(value[row]) & np.isnan(value[other]))
        row, other = row[equal], other[equal]

    def detail(k: int) -> str:
        return f"says what revision {arrivals.revision[other[k]]} of the same known time says"

    return _verdicts(rule, arrivals, row, detail)


@_judge.register
def _(rule: Conflict, arrivals: Arrivals, _context: Context) -> Verdicts:
    row, other = _restated(arrivals)
    value, numeric = arrivals.values(rule.field), arrivals.schema.fields[rule.field].numeric
    new, old = value[row], value[other]
    one_lacks = np.isnan(new) != np.isnan(old)
    apart = np.abs(new - old) > rule.limit * np.maximum(np.abs(new), np.abs(old)) if numeric else new != old
    differs = one_lacks | (apart & ~np.isnan(new) & ~np.isnan(old))
    if rule.same_moment:
        differs &= arrivals.known[row] == arrivals.known[other]
    row, other, new, old = row[differs], other[differs], new[differs], old[differs]

    def detail(k: int) -> str:
        said = f"{new[k]:g} where {old[k]:g}" if numeric else "another text than"
        return f"{rule.field}: {said} stood, known {_moment(arrivals.known[other[k]])}"

    if not numeric:  # what `values` numbers texts by means nothing to a reader
        return _verdicts(rule, arrivals, row, detail)
    return _verdicts(rule, arrivals, row, detail, value=new, expected=old)


@_judge.register
def _(rule: Jump, arrivals: Arrivals, context: Context) -> Verdicts:
    moves = _moves(rule, arrivals, context, rule.limit * rule.floor)
    bound = rule.limit * np.maximum(moves.scale, rule.floor)  # NaN, which nothing exceeds, where too little is known
    doubted = _not_returns(np.flatnonzero(np.abs(moves.move) > bound), bound, moves)
    row, witness = _confirmed(rule.confirm, doubted, bound, moves)
    value, move = arrivals.values(rule.field)[row], moves.move[row]
    expected = value / np.exp(move)
    scales = np.abs(move) / np.maximum(moves.scale[row], rule.floor)
    _, log_ratio = _nearest(move, 1.0, _UNITS, _SLACK)

    def detail(k: int) -> str:
        return f"{rule.field} moved from {expected[k]:g} to {value[k]:g}, {scales[k]:.1f} scales" + _later(rule.confirm)

    factor = np.exp(log_ratio)
    return _verdicts(rule, arrivals, row, detail, value=value, expected=expected, witness=witness, factor=factor)


@_judge.register
def _(rule: SplitLike, arrivals: Arrivals, context: Context) -> Verdicts:
    ratios, slack = (_UNITS, _SLACK) if rule.confirm == "back" else (RATIOS, np.inf)
    least = (1 - rule.share) * min(abs(np.log(new / old)) for new, old in ratios)
    moves = _moves(rule, arrivals, context, max(rule.limit * rule.floor, least))
    large = np.flatnonzero(np.abs(moves.move) > rule.limit * np.fmax(moves.scale, rule.floor))
    at_open = None
    if rule.opening is not None and rule.opening in arrivals.schema.fields:
        opening, closing = (arrivals.values(name)[large] for name in (rule.opening, rule.field))
        with np.errstate(divide="ignore", invalid="ignore"):
            at_open = moves.move[large] + np.log(np.where(opening > 0, opening, np.nan) / closing)
    place, log_ratio = _nearest(moves.move[large], rule.share, ratios, slack, at_open=at_open)
    near = place >= 0
    which, logs, tolerance = np.full(arrivals.n_rows, -1), *np.full((2, arrivals.n_rows), np.nan)
    which[large], logs[large], tolerance[large] = place, log_ratio, rule.share * np.abs(log_ratio)
    row, witness = _confirmed(rule.confirm, _not_returns(large[near], tolerance, moves), tolerance, moves)
    value, factor = arrivals.values(rule.field)[row], np.exp(logs[row])
    before = value / np.exp(moves.move[row])

    def detail(k: int) -> str:
        new, old = ratios[which[row[k]]]
        what = f"{rule.field} moved from {before[k]:g} to {value[k]:g}, near a split of {new}:{old}"
        return f"{what}, and none is known" + _later(rule.confirm)

    return _verdicts(rule, arrivals, row, detail, value=value, expected=value * factor, witness=witness, factor=factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moves:
    """What `moves_kernel` says of each statement."""

    move: Floats
    scale: Floats
    previous: Codes
    after: Floats
    witness: Codes


def _moves(rule: Jump | SplitLike, arrivals: Arrivals, context: Context, notable: float) -> _Moves:
    value = arrivals.values(rule.field)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = lock(np.where(value > 0, np.log(value), np.nan))
    move, scale, after = np.full((3, arrivals.n_rows), np.nan)
    previous, witness = np.full((2, arrivals.n_rows), -1, np.int32)
    moves_kernel(
        arrivals.n_rows,
        notable,
        rule.window,
        rule.least,
        arrivals.period,
        arrivals.owner,
        arrivals.event,
        arrivals.known,
        arrivals.retracts,
        logs,
        *_splits(arrivals, None if rule.actions is None else context.splits(rule.actions)),
        _state(arrivals),
        move,
        scale,
        previous,
        after,
        witness,
    )
    return _Moves(move=move, scale=scale, previous=previous, after=after, witness=witness)


def _splits(arrivals: Arrivals, actions: Arrivals | None) -> tuple[Codes, Nanos, Nanos, Floats]:
    """(first of each series, ex-time, known, log ratio) of what each statement about a split changes in it.

    Summing what was known by a moment gives the ratio as it stood then, corrections and withdrawals included.
    """
    if actions is None:
        none = lock(np.empty(0, np.int64))
        return lock(np.zeros(len(arrivals.names) + 1, np.int32)), none, none, lock(np.empty(0))
    is_split = np.array([key == ("split",) for key in actions.keys], dtype=bool)[actions.series]
    ratio = actions.values("ratio")
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(is_split & (ratio > 0) & ~actions.retracts, np.log(ratio), 0.0)
    before, _ = actions.stood()
    hidden = np.where(before >= 0, before[before], -1)  # what stands again when the one before is withdrawn
    now = np.where(actions.retracts, np.where(hidden >= 0, logs[hidden], 0.0), logs)
    change = now - np.where(before >= 0, logs[before], 0.0)
    # one entity may bear several series of bars, each of which its splits concern
    bearers: dict[str, list[int]] = {}
    for number, name in enumerate(arrivals.names):
        bearers.setdefault(name, []).append(number)
    told = np.flatnonzero(change != 0).tolist()
    rows = [(number, i) for i in told for number in bearers.get(actions.names[actions.series[i]], ())]
    rows.sort(key=lambda item: (item[0], actions.event[item[1]], item[1]))
    series = np.array([number for number, _ in rows], np.int64)
    at = np.array([i for _, i in rows], np.int64)
    first = np.searchsorted(series, np.arange(len(arrivals.names) + 1)).astype(np.int32)
    return lock(first), lock(actions.event[at]), lock(actions.known[at]), lock(change[at])


def _not_returns(jumped: Rows, tolerance: Floats, moves: _Moves) -> Rows:
    """The jumps that do not merely undo the one before them."""
    doubted: dict[int, None] = {}
    for i in jumped.tolist():
        h = int(moves.previous[i])
        if not (h in doubted and abs(moves.move[i] + moves.move[h]) <= tolerance[h]):
            doubted[i] = None
    return np.fromiter(doubted, np.int64, len(doubted))


def _confirmed(confirm: str | None, row: Rows, tolerance: Floats, moves: _Moves) -> tuple[Rows, Rows]:
    """The rows that the next one confirms, and the statement that did."""
    if confirm is None:
        return row, row
    after, move = moves.after[row], moves.move[row]
    kept = np.abs(after) <= tolerance[row] if confirm == "back" else np.abs(after - move) < np.abs(after)
    return row[kept], moves.witness[row[kept]].astype(np.int64)


def _nearest(
    move: Floats,
    share: float,
    ratios: tuple[tuple[int, int], ...],
    slack: float,
    *,
    at_open: Floats | None = None,
) -> tuple[Rows, Floats]:
    """The ratio whose split would explain a move best, and its log; -1 and NaN where none does.

    The rest of the move, and of the move to the open where there is one, may be a share of the ratio's log, and at
    most `slack`.
    """
    logs = np.log(np.array([new / old for new, old in ratios]))
    rest = np.abs(move[:, None] + logs[None, :])
    if at_open is not None:
        rest = np.fmax(rest, np.abs(at_open[:, None] + logs[None, :]))
    rest[rest > np.minimum(share * np.abs(logs), slack)[None, :]] = np.inf
    place = rest.argmin(axis=1) if len(move) else np.empty(0, np.int64)
    found = np.isfinite(rest[np.arange(len(move)), place])
    return np.where(found, place, -1), np.where(found, logs[place], np.nan)


def _together(columns: list[Floats]) -> Floats:
    """One number for each distinct tuple of values, NaN where one of them is."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        more, values = pd.factorize(column)
        codes, _ = pd.factorize(codes * (len(values) + 1) + more)
    missing = np.isnan(np.stack(columns)).any(axis=0)
    return lock(np.where(missing, np.nan, codes.astype(np.float64)))


def _restated(arrivals: Arrivals) -> tuple[Rows, Rows]:
    """Statements about a period that stood already, and the ones they replaced."""
    before, _ = arrivals.stood()
    row = np.flatnonzero((before >= 0) & ~arrivals.retracts)
    return row, before[row].astype(np.int64)


def _state(arrivals: Arrivals) -> Any:
    return arrival_state(len(arrivals.names), len(arrivals.owner), arrivals.n_rows)


def _later(confirm: str | None) -> str:
    return {None: "", "back": "; the next row is back", "stays": "; the next row stays"}[confirm]


def _moment(ns: int) -> str:
    return f"{pd.Timestamp(int(ns)):%Y-%m-%d %H:%M}Z"


def _verdicts(
    rule: Rule,
    arrivals: Arrivals,
    row: Rows,
    detail: Sentence,
    *,
    value: Floats | None = None,
    expected: Floats | None = None,
    witness: Rows | None = None,
    factor: Floats | None = None,
    event: Nanos | None = None,
) -> Verdicts:
    """Verdicts about rows; what is not given is NaN, the row is its own witness, and they are about its own event."""
    nothing = np.full(len(row), np.nan)
    return Verdicts(
        rule=rule,
        row=row,
        witness=row if witness is None else witness,
        event=arrivals.event[row] if event is None else event,
        value=nothing if value is None else value,
        expected=nothing if expected is None else expected,
        factor=nothing if factor is None else factor,
        detail=detail,
    )
