"""What verdicts do to the data: which rows to append, and what becomes of each verdict.

Nothing is changed or removed. A row is never withdrawn twice, a run that is repeated finds nothing to do, and a source
that withdraws its statement later takes back its own and not the one beneath.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.quality.arrivals import CLEANED, Arrivals
from knowable.data.quality.flags import Docket, key_text
from knowable.data.quality.rules import Gap, Rule
from knowable.data.quality.stacks import Key, Mark, StoredRow, Values, reconcile
from knowable.data.schema import PRICES, Schema, table_schema

__all__ = ["Acts", "carry_out"]

Period: TypeAlias = tuple[str, str | None, int]
"""Entity, further keys as one text, event time in microseconds since 1970 UTC."""

_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """What is to be done.

    Attributes:
        rows: to append, in the table's schema.
        done: (n_verdicts,) what becomes of each verdict, as `FLAGS` has it.
        details: (n_verdicts,) sentences, with what kept a verdict from acting.
        withdrawn: places of the verdicts whose statement goes to quarantine.
    """

    rows: pa.Table
    done: tuple[str, ...]
    details: tuple[str, ...]
    withdrawn: tuple[int, ...]


def carry_out(
    docket: Docket,
    arrivals: Arrivals,
    every: pa.Table,
    recorded: pa.Table,
    *,
    labels: Mapping[str | None, Nanos | None],
) -> Acts:
    """Decide what each verdict does, and which rows bring it about.

    Args:
        docket: the verdicts.
        arrivals: the statements they judge.
        every: all rows of the same entities, those that cleaning wrote included.
        recorded: verdicts written down by earlier runs, as `FLAGS`.
        labels: `every` of a gap rule -> the expected clock.
    """
    case = _Case(docket, arrivals, labels)
    done, details = ["flag"] * len(docket.row), list(docket.details)
    concerned = {case.period(int(docket.row[k])) for k in case.verdicts} | _disturbed(case, arrivals, every)
    held = _rows_of(every, concerned, arrivals.schema)
    marks: dict[Period, dict[Key, Mark]] = {}
    owner: dict[tuple[Period, Key], int] = {}
    for k in case.verdicts:
        period, key = case.period(int(docket.row[k])), case.key(int(docket.row[k]))
        said = next(row.values for row in held[period] if row.key == key and not row.cleaned)
        mark, why = case.mark(k, said)
        details[k] += why
        if mark is not None:
            marks.setdefault(period, {})[key] = mark
            owner[period, key] = k
    _recall(marks, recorded, held)
    rows: list[tuple[Period, StoredRow]] = []
    for period, some in held.items():
        new, stood = reconcile(some, marks.get(period, {}))
        rows += [(period, row) for row in new]
        for key in marks.get(period, {}):
            if (period, key) in owner:
                k = owner[period, key]
                done[k] = case.rule(k).do if key in stood else "none"
                details[k] += "" if key in stood else "; it no longer stood"
    fills = {k: case.fill(k) for k in case.gaps}
    there = _rows_of(every, {period for filled in fills.values() for period, _ in filled}, arrivals.schema)
    for k, filled in fills.items():
        early = {period for period, some in there.items() if min(row.known for row in some) <= filled[0][1].known}
        rows += [(period, row) for period, row in filled if period not in early]
        done[k] = "repair" if filled else "flag"
    withdrawn = tuple(k for k in case.verdicts if done[k] == "quarantine")
    table = _as_table(rows, arrivals.schema)
    return Acts(rows=table, done=tuple(done), details=tuple(details), withdrawn=withdrawn)


class _Case:
    """The verdicts that act, and what is asked about them again and again."""

    def __init__(self, docket: Docket, arrivals: Arrivals, labels: Mapping[str | None, Nanos | None]) -> None:
        self._docket, self._arrivals, self._labels = docket, arrivals, labels
        acting = np.flatnonzero(docket.acts).tolist()
        self.gaps = [k for k in acting if isinstance(self.rule(k), Gap)]
        self.verdicts = [k for k in acting if not isinstance(self.rule(k), Gap)]
        self._doubted = {int(docket.row[k]): int(docket.known[k]) for k in self.verdicts}

    def rule(self, k: int) -> Rule:
        rule: Rule = self._docket.rules[int(self._docket.rule[k])]
        return rule

    def period(self, row: int) -> Period:
        series = int(self._arrivals.series[row])
        name, keys = self._arrivals.names[series], self._arrivals.keys[series]
        return name, key_text(keys), int(self._arrivals.event[row]) // 1000

    def key(self, row: int) -> Key:
        return int(self._arrivals.known[row]) // 1000, int(self._arrivals.revision[row])

    def mark(self, k: int, said: Values) -> tuple[Mark | None, str]:
        """What becomes of the statement; None and why, where it cannot be repaired."""
        known = int(self._docket.known[k]) // 1000
        rule, cells = self.rule(k), dict(said)
        if rule.do == "quarantine":
            return Mark(known, None), ""
        if rule.replace == "missing":
            own = getattr(rule, "field", ())
            cells.update(dict.fromkeys((own,) if isinstance(own, str) else own))
        elif rule.replace == "scale":
            factor = float(self._docket.factor[k])
            if np.isnan(factor):
                return None, "; no factor is recognised"
            names = _moved_together(rule, self._arrivals.schema)
            cells.update({name: cells[name] * factor for name in names if cells[name] is not None})
        else:
            before = self._sound_before(k)
            if before is None:
                return None, "; no sound row stands before it"
            cells.update({name: before[name] for name in _moved_together(rule, self._arrivals.schema)})
        return Mark(known, tuple(cells.items())), ""

    def fill(self, k: int) -> list[tuple[Period, StoredRow]]:
        """The rows of a gap, each saying what the last sound row before it said."""
        clock, before = self._labels[getattr(self.rule(k), "every", None)], self._sound_before(k)
        if clock is None or before is None:
            return []
        start = int(np.searchsorted(clock, self._docket.event[k]))
        name, keys, _ = self.period(int(self._docket.row[k]))
        known = int(self._docket.known[k]) // 1000
        row = StoredRow(known, 0, retracts=False, cleaned=True, values=tuple(before.items()))
        missing = clock[start : start + int(self._docket.expected[k])]
        return [((name, keys, int(at) // 1000), row) for at in missing]

    def _sound_before(self, k: int) -> dict[str, Any] | None:
        """The last statement of an earlier period that stood when this one arrived and was under no verdict then."""
        known = int(self._docket.known[k])
        _, previous = self._arrivals.stood()
        i = int(previous[self._docket.row[k]])
        while i >= 0 and self._doubted.get(i, known + 1) <= known:
            i = int(previous[i])
        if i < 0:
            return None
        cells = self._arrivals.table.slice(int(self._arrivals.order[i]), 1).select([*self._arrivals.schema.fields])
        found: dict[str, Any] = cells.to_pylist()[0]
        return found


def _moved_together(rule: Rule, schema: Schema) -> list[str]:
    """The prices of a bar are of one piece: what mends one mends all fields of its unit."""
    own = getattr(rule, "field", PRICES)
    own = (own,) if isinstance(own, str) else own
    if schema.kind == "bars" and set(own) & set(PRICES):
        units = {schema.fields[name].unit for name in own}
        return [name for name, field in schema.fields.items() if field.unit in units and field.numeric]
    return list(own)


def _disturbed(case: _Case, arrivals: Arrivals, every: pa.Table) -> set[Period]:
    """Periods with a row of cleaning and a withdrawal by their source, which may have taken back the wrong one."""
    cleaned = every.filter(pc.equal(every["known_basis"], CLEANED))
    if not (cleaned.num_rows and arrivals.retracts.any()):
        return set()
    withdrawn = {case.period(int(i)) for i in np.flatnonzero(arrivals.retracts)}
    return withdrawn & set(_periods(cleaned, arrivals.schema))


def _recall(marks: dict[Period, dict[Key, Mark]], recorded: pa.Table, held: Mapping[Period, list[StoredRow]]) -> None:
    """Verdicts of earlier runs hold on, be they found again or not."""
    acted = recorded.filter(pc.is_in(recorded["done"], pa.array(["quarantine", "repair"])))
    event, known, stated = (
        acted[name].cast(pa.int64()).to_pylist() for name in ("event_time", "known_time", "stated_time")
    )
    periods = zip(acted["entity"].to_pylist(), acted["keys"].to_pylist(), event, strict=True)
    keys = zip(stated, acted["revision"].to_pylist(), strict=True)
    for period, key, moment, do in zip(periods, keys, known, acted["done"].to_pylist(), strict=True):
        if period in held and key not in marks.get(period, {}):
            rows = (row for row in held[period] if row.cleaned and not row.retracts and row.known == moment)
            values = next((row.values for row in rows), None) if do == "repair" else None
            marks.setdefault(period, {})[key] = Mark(moment, values)


def _periods(rows: pa.Table, schema: Schema) -> list[Period]:
    entity, event = rows["entity"].to_pylist(), rows["event_time"].cast(pa.int64()).to_pylist()
    more = zip(*(rows[name].to_pylist() for name in schema.keys), strict=True) if schema.keys else [()] * len(entity)
    return [(name, key_text(keys), at) for name, keys, at in zip(entity, more, event, strict=True)]


def _rows_of(every: pa.Table, wanted: set[Period], schema: Schema) -> dict[Period, list[StoredRow]]:
    """All rows of some periods."""
    if not wanted:
        return {}
    entity = pc.is_in(every["entity"], pa.array(sorted({name for name, _, _ in wanted})))
    event = pc.is_in(every["event_time"].cast(pa.int64()), pa.array(sorted({at for _, _, at in wanted}), pa.int64()))
    rows = every.filter(pc.and_(entity, event))  # a superset, small enough to look at row by row
    found: dict[Period, list[StoredRow]] = {}
    known = rows["known_time"].cast(pa.int64()).to_pylist()
    marks = zip(rows["op"].to_pylist(), rows["known_basis"].to_pylist(), rows["revision"].to_pylist(), strict=True)
    cells = zip(*(_plain(rows[name]) for name in schema.fields), strict=True) if schema.fields else [()] * len(known)
    for period, at, (op, basis, revision), values in zip(_periods(rows, schema), known, marks, cells, strict=True):
        if period in wanted:
            said = tuple(zip(schema.fields, values, strict=True))
            row = StoredRow(at, revision, retracts=op == "retract", cleaned=basis == CLEANED, values=said)
            found.setdefault(period, []).append(row)
    return found


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Cells, None where null or NaN, which other engines may store: two rows that lack a value say the same."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    found: list[Any] = column.to_pylist()
    return found


def _as_table(rows: Sequence[tuple[Period, StoredRow]], schema: Schema) -> pa.Table:
    target = table_schema(schema)
    cells = [dict(row.values) for _, row in rows]
    columns: dict[str, pa.Array] = {
        "entity": pa.array([period[0] for period, _ in rows], pa.string()),
        "event_time": pa.array([period[2] for period, _ in rows], pa.int64()).cast(_TIME),
        "known_time": pa.array([row.known for _, row in rows], pa.int64()).cast(_TIME),
        "revision": pa.array([row.revision for _, row in rows], pa.int64()),
        "op": pa.array(["retract" if row.retracts else "assert" for _, row in rows], pa.string()),
        "known_basis": pa.array([CLEANED] * len(rows), pa.string()),
    }
    for name, field in schema.fields.items():
        columns[name] = pa.array([held.get(name) for held in cells], field.physical)
    for place, name in enumerate(schema.keys):
        columns[name] = pa.array([json.loads(str(period[1]))[place] for period, _ in rows], pa.string())
    return pa.table({name: columns[name] for name in target.names}, schema=target)
