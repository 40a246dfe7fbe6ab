"""What a search for look-ahead reports: leaks, which count, and suspicions, which do not."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from knowable.errors import LookAheadError, shown

__all__ = ["LEAKS", "SUSPICIONS", "Finding", "LeakReport", "label"]

LEAKS = {
    "look-ahead": "later bars changed its weight",
    "label-overlap": "its fits learn from labels that were not known yet",
    "length": "its weight depends on how many bars follow",
    "restated": "it reads final values, which were revised after the decision",
    "state": "what it keeps between runs changed its weight",
    "random": "two runs on the same data differ",
    "mutation": "it changed the data it was given",
    "unchecked": "it failed whenever later bars were changed or left out",
}
"""Kinds that count: a report with one of them is not `ok`."""

SUSPICIONS = {
    "rounding": "its weight changes by rounding only",
    "warm-up": "its weight hangs on where the data begin",
    "same-bar": "it is filled at a price that its decision has seen",
    "survivorship": "no asset of the market ever ends",
    "outside": "it uses data that the market does not hand it",
}
"""Kinds that are shown and do not count: each may be right, and a person must judge."""

_MOST_LINES = 12
_FINDINGS_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a strategy should not have known, or one that a person should judge.

    Args:
        kind: a key of `LEAKS` or `SUSPICIONS`.
        asset: the column concerned; ``"(all)"`` where none can be named.
        first_bar: label of the first bar concerned, as far as was probed.
        row: its position.
        cut: number of leading bars that both runs shared.
        difference: by how much the weight changed there; infinite where it became or was NaN, NaN where the finding is
            not about one weight.
        detail: a sentence.
    """

    kind: str
    asset: str
    first_bar: pd.Timestamp
    row: int
    cut: int
    difference: float
    detail: str

    def plain(self) -> dict[str, Any]:
        """As values that JSON has; what is not finite becomes None."""
        page = asdict(self)
        gap = self.difference if math.isfinite(self.difference) else None
        return {**page, "first_bar": self.first_bar.isoformat(), "difference": gap}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LeakReport:
    """What `check` found.

    Args:
        strategy: repr of the strategy.
        findings: leaks, first bar first; one for each kind and asset. Without any the report is `ok`.
        suspicions: what a person should judge; none of it counts.
        cuts: the cuts probed, in rows.
        notes: what could not be tried, in sentences.
        reach: how many bars ahead it reads; None where it reads none, or far more than can be told: the whole sample.
        remedy: what to do about the leaks; empty when there are none.
        seed: repeats the same cuts and invented futures.
    """

    strategy: str
    findings: tuple[Finding, ...]
    suspicions: tuple[Finding, ...] = ()
    cuts: tuple[int, ...]
    notes: tuple[str, ...] = ()
    reach: int | None = None
    remedy: str = ""
    seed: int

    @property
    def ok(self) -> bool:
        """True when no leak was found, whatever is suspected."""
        return not self.findings

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of leak found, each once, in the order of the findings."""
        return tuple(dict.fromkeys(finding.kind for finding in self.findings))

    @property
    def head(self) -> str:
        """The first line: what was found, in what."""
        found = f"{', '.join(self.kinds)} found" if self.findings else "no look-ahead found"
        return f"{found} in {shown(self.strategy)} ({len(self.cuts)} cuts, seed {self.seed})."

    def raise_if_found(self) -> None:
        """Raises: LookAheadError with the text of this report, unless it is `ok`."""
        if not self.ok:
            raise LookAheadError(repr(self))

    def plain(self) -> dict[str, Any]:
        """As values that JSON has."""
        return {
            "ok": self.ok,
            "text": repr(self),
            "kinds": list(self.kinds),
            "findings": [finding.plain() for finding in self.findings],
            "suspicions": [finding.plain() for finding in self.suspicions],
            "cuts": list(self.cuts),
            "notes": list(self.notes),
            "reach": self.reach,
            "seed": self.seed,
        }

    def __repr__(self) -> str:
        """At most twelve lines."""
        return self.text()

    def text(self, n_lines: int = _MOST_LINES, n_findings: int = _FINDINGS_SHOWN) -> str:
        """What was found, in so many lines at most, which hold so many findings at most."""
        lines = [self.head]
        for finding in self.findings[:n_findings]:
            place = f"{finding.asset} from {label(finding.first_bar)} (row {finding.row})"
            lines.append(f"  {finding.kind}: {place}; {finding.detail}")
        if len(self.findings) > n_findings:
            lines.append(f"  ... and {len(self.findings) - n_findings} more in `.findings`.")
        last = self.remedy.splitlines()
        room = n_lines - len(lines) - len(last)
        rest = [f"  suspicion: {_suspected(each)}" for each in _one_of_a_kind(self.suspicions)]
        rest += [f"  note: {note}" for note in self.notes]
        if len(rest) > room:
            rest = [*rest[: room - 1], f"  ... and {len(rest) - room + 1} more in `.suspicions` and `.notes`."]
        return "\n".join([*lines, *rest, *last])


def label(bar: pd.Timestamp) -> str:
    """A bar's label as a reader wants it: the date alone where there is no time of day."""
    return f"{bar:%Y-%m-%d}" if bar == bar.normalize() else f"{bar:%Y-%m-%d %H:%M:%S%z}"


def _suspected(finding: Finding) -> str:
    if finding.asset == "(all)":
        return f"{finding.kind}: {finding.detail}"
    return f"{finding.kind}: {finding.asset} from {label(finding.first_bar)} (row {finding.row}); {finding.detail}"


def _one_of_a_kind(suspicions: tuple[Finding, ...]) -> list[Finding]:
    first: dict[str, Finding] = {}
    for each in suspicions:
        first.setdefault(each.kind, each)
    return list(first.values())
