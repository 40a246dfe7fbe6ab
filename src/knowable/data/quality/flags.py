"""Verdicts of all rules side by side, and the append-only table that keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knowable.calendars import Nanos
from knowable.data.quality.arrivals import Arrivals, Floats
from knowable.data.quality.judging import Verdicts
from knowable.data.quality.rules import Gap, Rule, label, signature

__all__ = ["FLAGS", "Docket", "flag_rows", "key_text", "make_docket"]

_TIME = pa.timestamp("us", "UTC")
Rows = npt.NDArray[np.int64]

FLAGS = pa.schema(
    [
        ("id", pa.string()),
        ("rule", pa.string()),
        ("done", pa.string()),
        ("entity", pa.string()),
        ("keys", pa.string()),
        ("event_time", _TIME),
        ("known_time", _TIME),
        ("field", pa.string()),
        ("value", pa.float64()),
        ("expected", pa.float64()),
        ("detail", pa.string()),
        ("stated_time", _TIME),
        ("revision", pa.int64()),
        ("settings", pa.string()),
        ("batch", pa.string()),
    ]
)
"""A verdict a row. known_time: when its last evidence was known. done: ``"flag"``, ``"quarantine"``, ``"repair"``, or
``"none"`` where the statement no longer stood by then. stated_time, revision: of the statement judged; after a gap, of
the one that showed it. value: what was doubted; expected: what the rule would have expected, or its limit; of a gap,
the number of rows missing. settings: the rule in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Docket:
    """The verdicts of several rules, by when they were known.

    Attributes:
        rules: in the order given.
        rule: (n,) place among them.
        row: (n,) statement judged.
        known: (n,) int64 ns UTC, when the last of the evidence was known.
        event: (n,) int64 ns UTC, what it is about.
        value: (n,) see `FLAGS`.
        expected: (n,) see `FLAGS`.
        factor: (n,) what a repair by scale multiplies by, NaN where none is recognised.
        acts: (n,) bool, whether it is the verdict that its statement suffers: the first known of those that would act.
        ids: (n,) the same verdict has the same id on any machine and in any run.
        details: (n,) sentences.
    """

    rules: tuple[Rule, ...]
    rule: Rows
    row: Rows
    known: Nanos
    event: Nanos
    value: Floats
    expected: Floats
    factor: Floats
    acts: npt.NDArray[np.bool_]
    ids: tuple[str, ...]
    details: tuple[str, ...]


def make_docket(arrivals: Arrivals, found: Sequence[Verdicts]) -> Docket:
    """Put the verdicts of all rules together."""
    rules = tuple(item.rule for item in found)
    rule = np.repeat(np.arange(len(found)), [len(item.row) for item in found])
    row, witness, event = (
        np.concatenate([getattr(item, name) for item in found]) for name in ("row", "witness", "event")
    )
    value, expected, factor = (
        np.concatenate([getattr(item, name) for item in found]) for name in ("value", "expected", "factor")
    )
    known = np.maximum(arrivals.known[row], arrivals.known[witness])
    order = np.lexsort((rule, event, row, known))
    details = [item.detail(k) for item in found for k in range(len(item.row))]
    docket = Docket(
        rules=rules,
        rule=rule[order],
        row=row[order],
        known=known[order],
        event=event[order],
        value=value[order],
        expected=expected[order],
        factor=factor[order],
        acts=_acting(rules, rule[order], row[order]),
        ids=(),
        details=tuple(details[k] for k in order),
    )
    return _with_ids(docket, arrivals)


def flag_rows(
    docket: Docket, arrivals: Arrivals, places: Sequence[int], done: Sequence[str], details: Sequence[str]
) -> pa.Table:
    """Rows of `FLAGS`, the batch left out, for some of the verdicts.

    Args:
        docket: all of them.
        arrivals: they judge.
        places: (n,) which of them.
        done: (n_verdicts,) what was done.
        details: (n_verdicts,) sentences.
    """
    at = np.array(places, np.int64)
    row, rules = docket.row[at], [docket.rules[k] for k in docket.rule[at]]
    series = arrivals.series[row]
    return pa.table(
        {
            "id": pa.array([docket.ids[k] for k in places], pa.string()),
            "rule": pa.array([label(rule) for rule in rules], pa.string()),
            "done": pa.array([done[k] for k in places], pa.string()),
            "entity": pa.array([arrivals.names[k] for k in series], pa.string()),
            "keys": pa.array([key_text(arrivals.keys[k]) for k in series], pa.string()),
            "event_time": _times(docket.event[at]),
            "known_time": _times(docket.known[at]),
            "field": pa.array([_field(rule) for rule in rules], pa.string()),
            "value": pa.array(docket.value[at], from_pandas=True),
            "expected": pa.array(docket.expected[at], from_pandas=True),
            "detail": pa.array([details[k] for k in places], pa.string()),
            "stated_time": _times(arrivals.known[row]),
            "revision": pa.array(arrivals.revision[row]),
            "settings": pa.array([signature(rule) for rule in rules], pa.string()),
        },
        schema=pa.schema([item for item in FLAGS if item.name != "batch"]),
    )


def key_text(keys: tuple[str, ...]) -> str | None:
    """Further keys of a series as one cell."""
    return json.dumps(keys, ensure_ascii=False) if keys else None


def _acting(rules: tuple[Rule, ...], rule: Rows, row: Rows) -> npt.NDArray[np.bool_]:
    """The first verdict, by known time and then by the order of the rules, that would act on each statement."""
    acts = np.zeros(len(row), dtype=bool)
    taken: set[int] = set()
    for k, (which, i) in enumerate(zip(rule.tolist(), row.tolist(), strict=True)):
        if rules[which].do == "flag":
            continue
        if isinstance(rules[which], Gap):  # it is about rows that are not there
            acts[k] = True
        elif i not in taken:
            acts[k] = True
            taken.add(i)
    return acts


def _with_ids(docket: Docket, arrivals: Arrivals) -> Docket:
    signatures = [signature(rule) for rule in docket.rules]
    ids = []
    for k in range(len(docket.row)):
        i = docket.row[k]
        series = arrivals.series[i]
        times = [int(docket.event[k]), int(docket.known[k]), int(arrivals.known[i]), int(arrivals.revision[i])]
        page = [signatures[docket.rule[k]], arrivals.names[series], *arrivals.keys[series], *times]
        ids.append(hashlib.blake2b(json.dumps(page).encode(), digest_size=10).hexdigest())
    values = {name: getattr(docket, name) for name in Docket.__slots__}
    return Docket(**{**values, "ids": tuple(ids)})


def _field(rule: Rule) -> str | None:
    field = getattr(rule, "field", None)
    return field if field is None or isinstance(field, str) else ", ".join(field)


def _times(ns: Nanos) -> pa.Array:
    return pa.array(ns // 1000).cast(_TIME)
