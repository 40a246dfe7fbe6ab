"""The as-of rule written slowly, straight from its sentences; the compiled sweep is held against it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Fact", "current_value", "standing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One observation: what it is about, when it became known, and whether it asserts or retracts."""

    entity: str
    event: int
    known: int
    revision: int = 0
    retract: bool = False
    value: float = float("nan")


def standing(facts: Iterable[Fact], entity: str, event: int, as_of: int) -> Fact | None:
    """The assertion of (entity, event) that stands at `as_of`: the latest not withdrawn, or None.

    Latest is highest known time, then highest revision. A retraction withdraws the latest standing assertion, those
    of its own known time and revision included.
    """
    visible = [f for f in facts if f.entity == entity and f.event == event and f.known <= as_of]
    assertions: list[Fact] = []
    for fact in sorted(visible, key=lambda f: (f.known, f.revision, f.retract)):
        if fact.retract:
            assertions = assertions[:-1]
        else:
            assertions = [*assertions, fact]
    return assertions[-1] if assertions else None


def current_value(facts: Iterable[Fact], entity: str, as_of: int) -> float:
    """The value of the entity's newest period that has a standing assertion at `as_of`; NaN where none has."""
    facts = list(facts)
    for event in sorted({f.event for f in facts if f.entity == entity}, reverse=True):
        found = standing(facts, entity, event, as_of)
        if found is not None:
            return found.value
    return float("nan")
