"""What a trial is once it has run: its parameters, where they came from, and what came out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from knowable.errors import InputError, shown
from knowable.runs.canonical import canonical_json

__all__ = ["Conflict", "Outcome", "TrialRecord"]

Kind = Literal["done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out of one trial.

    Args:
        metrics: figure by name; any may be NaN or infinite. Empty when failed.
        moments: block moments of the returns as raw little-endian float64, or None; the caller knows their shape.
        error: a sentence why the trial failed, else None.
        kind: ``"done"`` or ``"failed"``.
        seconds: time the trial itself took.
        worker: who ran it; not part of the result.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    moments: bytes | None = None
    error: str | None = None
    kind: Kind = "done"
    seconds: float = 0.0
    worker: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("done", "failed"):
            raise InputError(f"`kind` must be 'done' or 'failed', but kind={shown(self.kind)}, in Outcome.")
        if self.kind == "failed" and not self.error:
            raise InputError("a failed Outcome needs `error`, a sentence with the cause, but error is empty.")

    @classmethod
    def failed(cls, error: str, *, seconds: float = 0.0, worker: str = "") -> Outcome:
        """The outcome of a trial that gave no result, with the cause in a sentence."""
        return cls(error=error, kind="failed", seconds=seconds, worker=worker)

    def same_result(self, other: Outcome) -> bool:
        """Whether both hold the same figures to the bit; time, worker and the wording of an error are no result."""
        return (self.kind, self.moments, metrics_text(self.metrics)) == (
            other.kind,
            other.moments,
            metrics_text(other.metrics),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial of one study, with its outcome.

    Args:
        key: names the trial by all that decides its result; two trials with equal parameters share it.
        study: the study that asked, such as ``"main"`` or ``"fold-3"``.
        number: place in the study, from 0.
        params: parameter by name, plain values.
        source: who proposed it, such as ``"random"``.
        outcome: what came out.
    """

    key: str
    study: str
    number: int
    params: Mapping[str, object]
    source: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A second, different outcome for a key that already had one: the trial is not deterministic."""

    key: str
    study: str
    number: int
    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"Trial {self.number} of study {self.study!r} gave two results for the same parameters, code and data: "
            f"first {self.first}, then {self.second}. The first is kept. The strategy is not deterministic "
            "(global random state, clock, set order?)."
        )


def conflict(record: TrialRecord, first: Outcome) -> Conflict:
    """Say how the outcome in `record` differs from `first`."""
    second = record.outcome
    before, after = _difference(first, second)
    return Conflict(key=record.key, study=record.study, number=record.number, first=before, second=after)


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Metrics as canonical JSON; non-finite figures become the texts "nan", "inf" and "-inf"."""
    spelt = {str(name): _spelt(value) for name, value in metrics.items()}
    return canonical_json(spelt, where="metrics")


def metrics_from_text(text: str) -> dict[str, float]:
    """The inverse of `metrics_text`, exact to the bit but for the payload of a NaN."""
    return {name: float(value) for name, value in json.loads(text).items()}


def row_digest(*cells: object) -> bytes:
    """Eight bytes that tell a damaged row: SQLite itself does not notice a flipped bit inside a cell."""
    parts: list[bytes] = []
    for cell in cells:
        raw = cell if isinstance(cell, bytes) else repr(cell).encode()
        parts += (b"%d:" % len(raw), raw)
    return hashlib.blake2b(b"".join(parts), digest_size=8, person=b"knowable.row.1").digest()


def _spelt(value: float) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else repr(number)


def _difference(first: Outcome, second: Outcome) -> tuple[str, str]:
    if first.kind != second.kind:
        return first.error or first.kind, second.error or second.kind
    before, after = metrics_text(first.metrics), metrics_text(second.metrics)
    if before == after:
        return "one set of block moments", "another"
    a, b = json.loads(before), json.loads(after)
    for name in sorted({*a, *b}):
        if a.get(name) != b.get(name):
            return f"{name}={a.get(name)}", f"{name}={b.get(name)}"
    return before, after
