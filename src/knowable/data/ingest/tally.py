"""What became of the rows of an append: counted as they are judged, told in one report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.ingest.checks import RULES
from knowable.data.ingest.judge import IngestReport

__all__ = ["Tally", "add", "batch_name", "make_report", "tally"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Refused rows by rule.

    Attributes:
        rules: rule -> rows.
        examples: rule -> the first of them, as a sentence.
    """

    rules: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)


def tally(bad: pa.Table) -> Tally:
    """Count rows of the quarantine."""
    if not bad.num_rows:
        return Tally()
    counts = pc.value_counts(bad["rule"]).to_pylist()
    rules = {item["values"]: item["counts"] for item in counts}
    return Tally(rules=rules, examples={rule: _example(bad, pc.index(bad["rule"], rule).as_py()) for rule in rules})


def add(parts: Iterable[Tally]) -> Tally:
    """Several tallies as one; the first example of each rule stays."""
    rules: dict[str, int] = {}
    examples: dict[str, str] = {}
    for part in parts:
        for rule, count in part.rules.items():
            rules[rule] = rules.get(rule, 0) + count
            examples.setdefault(rule, part.examples[rule])
    return Tally(rules=rules, examples=examples)


def make_report(
    dataset: str,
    refused: Tally,
    *,
    accepted: int,
    duplicates: int,
    version: int,
    basis: str,
    notes: Sequence[str],
    batch: str = "",
) -> IngestReport:
    """The report of an append; the commonest rule comes first."""
    order = sorted(refused.rules, key=lambda rule: (-refused.rules[rule], list(RULES).index(rule)))
    return IngestReport(
        dataset=dataset,
        accepted=accepted,
        quarantined=sum(refused.rules.values()),
        duplicates=duplicates,
        version=version,
        known_basis=basis,
        rules={rule: refused.rules[rule] for rule in order},
        examples=tuple(refused.examples[rule] for rule in order),
        notes=tuple(notes),
        batch=batch,
    )


def batch_name(digests: Iterable[str], unreadable: Iterable[str], options: Sequence[Any]) -> str:
    """The id by which a batch is known again: what its files hold, which could not be read, and how it is read."""
    page = json.dumps([sorted(digests), sorted(unreadable), list(options)])
    return f"knowable-append-{hashlib.sha256(page.encode()).hexdigest()[:40]}"


def _example(bad: pa.Table, at: int) -> str:
    row = bad.slice(at, 1).to_pylist()[0]
    place = f"row {row['row']}" if row["row"] is not None else ""
    if row["line"]:
        place = f"line {row['line']}"
    if row["file"] is not None:
        place = f"{place} of {row['file']}".strip()
    about = f"{row['entity']!r}" if row["entity"] is not None else "a row"
    if row["event_time"] is not None:
        about += f" of {row['event_time']:%Y-%m-%d %H:%M}Z"
    return f"{row['rule']}: {row['detail']}; first {about} ({place})"
