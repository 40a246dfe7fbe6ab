"""The stack of statements of one period, replayed: what stands at each moment, and what to append so that it should.

The rule of standing is that of every as-of read: among rows known by a moment, the latest assertion that no later
retraction has taken back. Cleaning must not disturb the retractions of the sources, which count on that stack. So the
sources' own stack is replayed by itself; a statement under a verdict counts as withdrawn, or as saying something else,
from the moment the verdict is known; and where the table then says otherwise, rows are appended that end the
difference at that very moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Key", "Mark", "StoredRow", "Values", "reconcile", "standing"]

Values: TypeAlias = tuple[tuple[str, Any], ...]
Key: TypeAlias = tuple[int, int]
"""(known, revision): names a statement within its period."""


class StoredRow(NamedTuple):
    """One row of a period. Times in microseconds since 1970 UTC; `cleaned`: cleaning wrote it."""

    known: int
    revision: int
    retracts: bool
    cleaned: bool
    values: Values

    @property
    def key(self) -> Key:
        """What names it among the statements of its sources."""
        return self.known, self.revision


class Mark(NamedTuple):
    """From `known` on a statement counts as withdrawn (values None), or as saying something else."""

    known: int
    values: Values | None


def standing(rows: Sequence[StoredRow], moment: int) -> list[StoredRow]:
    """Assertions that stand at a moment, the latest last."""
    stack: list[StoredRow] = []
    for row in sorted(rows, key=lambda row: (row.known, row.revision, row.retracts)):
        if row.known > moment:
            break
        if not row.retracts:
            stack.append(row)
        elif stack:
            stack.pop()
    return stack


def reconcile(held: Sequence[StoredRow], marks: Mapping[Key, Mark]) -> tuple[list[StoredRow], set[Key]]:
    """Rows to append so that what stands in a period is, at each moment, what should stand.

    Args:
        held: all rows of the period.
        marks: statements under a verdict.

    Returns: the rows, and the marked statements that stood when their verdict became known. Called again with those
        rows among `held`, it has nothing to add.
    """
    new: list[StoredRow] = []
    stood: set[Key] = set()
    sources = [row for row in held if not row.cleaned]
    first = min(held, key=lambda row: (row.known, row.revision, row.retracts), default=None)
    if first is not None and first.cleaned:
        sources.append(first)  # it fills a gap, and stands beneath whatever a source may say of the period later
    for moment in sorted({row.known for row in held} | {mark.known for mark in marks.values()}):
        wanted = _wanted(standing(sources, moment), marks, moment, stood)
        while True:
            actual = standing([*held, *new], moment)
            if (actual[-1].values if actual else None) == wanted:
                break
            revision = 1 + max((row.revision for row in (*held, *new) if row.known == moment), default=-1)
            beneath = any(row.values == wanted for row in actual[:-1])
            top_is_marked = bool(actual) and not actual[-1].cleaned and _is_marked(actual[-1].key, marks, moment)
            if wanted is None or beneath or top_is_marked:  # a repair too takes the place of what it replaces
                new.append(StoredRow(moment, revision, retracts=True, cleaned=True, values=()))
            else:
                new.append(StoredRow(moment, revision, retracts=False, cleaned=True, values=wanted))
    return new, stood


def _wanted(sources: Sequence[StoredRow], marks: Mapping[Key, Mark], moment: int, stood: set[Key]) -> Values | None:
    """What the latest statement that is under no verdict by then says, or what takes its place."""
    for row in reversed(sources):
        if not _is_marked(row.key, marks, moment):
            return row.values
        mark = marks[row.key]
        if mark.known == moment:
            stood.add(row.key)
        if mark.values is not None:
            return mark.values
    return None


def _is_marked(key: Key, marks: Mapping[Key, Mark], moment: int) -> bool:
    return key in marks and marks[key].known <= moment
