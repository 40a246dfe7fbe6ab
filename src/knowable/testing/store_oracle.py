"""A store in memory, written slowly from its rules; the real one is held against it, whatever happens to its files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Row", "StoreOracle", "Verdict", "same_values"]

Values = tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One observation; times are whole numbers of any unit."""

    entity: str
    event: int
    known: int
    revision: int = 0
    retract: bool = False
    values: Values = ()

    @property
    def period(self) -> tuple[str, int]:
        """What the row is about."""
        return self.entity, self.event

    @property
    def key(self) -> tuple[str, int, int, int]:
        """What names the assertion."""
        return self.entity, self.event, self.known, self.revision

    def get(self, name: str) -> float | None:
        """A value; null where the row has none."""
        return dict(self.values).get(name)

    @property
    def said(self) -> tuple[object, ...]:
        """All that the row says; a retraction states no values, and null is as good as absent."""
        stated = () if self.retract else tuple(sorted((k, v) for k, v in self.values if v is not None))
        return *self.key, self.retract, stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an append does with its rows."""

    accepted: tuple[Row, ...]
    conflicting: int
    early: int
    duplicates: int


@dataclass(slots=True)
class StoreOracle:
    """One dataset: its rows in the order they were stored, and how many of them each version has.

    Attributes:
        observed: whether a row known earlier than a stored one of its period is refused.
        fields: of the newest version.
    """

    fields: tuple[str, ...]
    observed: bool = False
    rows: list[Row] = field(default_factory=list)
    sizes: list[int] = field(default_factory=lambda: [0])
    schemas: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.schemas.append(self.fields)

    @property
    def version(self) -> int:
        """The newest version."""
        return len(self.sizes) - 1

    def judge(self, batch: Iterable[Row]) -> Verdict:
        """Which rows an append would store.

        A row that says what a stored one, or one before it in the batch, says already is a duplicate. Rows of the
        batch with one key that say different things are refused, all of them; so is a row whose key a stored row has.
        """
        stored = {row.said for row in self.rows}
        fresh: list[Row] = []
        duplicates = 0
        for row in batch:
            if row.said in stored or row.said in {other.said for other in fresh}:
                duplicates += 1
            else:
                fresh.append(row)
        taken = [row.key for row in self.rows] + [row.key for row in fresh]
        clear = [row for row in fresh if taken.count(row.key) == 1]
        late = {row: max((old.known for old in self.rows if old.period == row.period), default=None) for row in clear}
        good = [row for row in clear if not self.observed or late[row] is None or row.known >= (late[row] or 0)]
        return Verdict(
            accepted=tuple(good),
            conflicting=len(fresh) - len(clear),
            early=len(clear) - len(good),
            duplicates=duplicates,
        )

    def append(self, batch: Iterable[Row]) -> Verdict:
        """Store what is good; a new version if anything is."""
        verdict = self.judge(batch)
        if verdict.accepted:
            self.rows += verdict.accepted
            self.touch()
        return verdict

    def evolve(self, *names: str) -> None:
        """Add fields; older rows have null in them."""
        self.fields = (*self.fields, *names)
        self.touch()

    def touch(self) -> None:
        """A new version with the rows there are, as a compaction makes."""
        self.sizes.append(len(self.rows))
        self.schemas.append(self.fields)

    def standing(self, version: int | None = None, as_of: float = math.inf) -> dict[tuple[str, int], Row]:
        """For each period that has one the assertion that stands: the latest not withdrawn."""
        stacks: dict[tuple[str, int], list[Row]] = {}
        seen = self.rows[: self.sizes[self.version if version is None else version]]
        for row in sorted(seen, key=lambda r: (r.known, r.revision, r.retract)):
            if row.known > as_of:
                continue
            stack = stacks.setdefault(row.period, [])
            if not row.retract:
                stack.append(row)
            elif stack:
                stack.pop()
        return {period: stacks[period][-1] for period in sorted(stacks) if stacks[period]}

    def panel(
        self, name: str, clock: Sequence[int], entities: Sequence[str], version: int | None = None
    ) -> list[list[float]]:
        """A row a clock time: each entity's value of its newest period with a standing assertion; NaN for none."""
        out = []
        for moment in clock:
            newest: dict[str, Row] = {row.entity: row for row in self.standing(version, moment).values()}
            values = [newest[entity].get(name) if entity in newest else None for entity in entities]
            out.append([math.nan if value is None else value for value in values])
        return out

    def diff(
        self, before: tuple[int, float], after: tuple[int, float], fields: Sequence[str]
    ) -> list[tuple[str, int, str, str, float | None, float | None, int | None]]:
        """(entity, event, change, field, before, after, known) of what differs between two (version, as_of)."""
        old, new = self.standing(*before), self.standing(*after)
        out = []
        for period in sorted({*old, *new}):
            left, right = old.get(period), new.get(period)
            change = "added" if left is None else "withdrawn" if right is None else "changed"
            for name in fields:
                was, now = left.get(name) if left else None, right.get(name) if right else None
                if change != "changed" or was != now:
                    known = right.known if right else self._withdrawn_at(period, *after)
                    out.append((*period, change, name, was, now, known))
        return out

    def _withdrawn_at(self, period: tuple[str, int], version: int, as_of: float) -> int | None:
        seen = self.rows[: self.sizes[version]]
        return max((r.known for r in seen if r.period == period and r.retract and r.known <= as_of), default=None)


def same_values(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> bool:
    """Whether two panels agree in every cell, NaN with NaN."""
    flat = [(a, b) for p, q in zip(left, right, strict=True) for a, b in zip(p, q, strict=True)]
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in flat)
