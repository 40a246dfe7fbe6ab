"""The as-of rules written slowly, straight from their sentences; the compiled sweeps are held against them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Fact", "current", "current_value", "last_periods", "reduced", "standing", "stood"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One observation: what it is about, when it became known, and whether it asserts or retracts."""

    entity: str
    event: int
    known: int
    revision: int = 0
    retract: bool = False
    value: float = float("nan")
    key: str = ""


def standing(facts: Iterable[Fact], entity: str, event: int, as_of: int, key: str = "") -> Fact | None:
    """The assertion of (entity, event, key) that stands at `as_of`: the latest not withdrawn, or None.

    Latest is highest known time, then highest revision. A retraction withdraws the latest standing assertion, those
    of its own known time and revision included.
    """
    visible = [f for f in facts if (f.entity, f.event, f.key) == (entity, event, key) and f.known <= as_of]
    assertions: list[Fact] = []
    for fact in sorted(visible, key=lambda f: (f.known, f.revision, f.retract)):
        if fact.retract:
            assertions = assertions[:-1]
        else:
            assertions = [*assertions, fact]
    return assertions[-1] if assertions else None


def current(facts: Iterable[Fact], entity: str, as_of: int, tolerance: int | None = None) -> Fact | None:
    """The standing assertion of the entity's newest event time that has one at `as_of`, or None.

    Of several keys at that event time the one known last counts, then the highest revision, then the last key. None,
    too, where that event time is more than `tolerance` before `as_of`.
    """
    found = _by_event(list(facts), entity, as_of)
    if not found or (tolerance is not None and as_of - max(found) > tolerance):
        return None
    return found[max(found)]


def current_value(facts: Iterable[Fact], entity: str, as_of: int, tolerance: int | None = None) -> float:
    """The value of `current`; NaN where there is none."""
    found = current(facts, entity, as_of, tolerance)
    return float("nan") if found is None else found.value


def last_periods(facts: Iterable[Fact], entity: str, as_of: int, k: int, within: int | None = None) -> list[float]:
    """The values of the k newest event times with a standing assertion at `as_of`, oldest first.

    All NaN where there are fewer, or the newest and the oldest of them lie more than `within` apart.
    """
    found = _by_event(list(facts), entity, as_of)
    events = sorted(found)[-k:]
    if len(events) < k or (within is not None and events[-1] - events[0] > within):
        return [float("nan")] * k
    return [found[event].value for event in events]


def reduced(values: list[float], how: str) -> float:
    """One number for a window: NaN in, NaN out, except where a first or last value is asked for."""
    ends: Mapping[str, float] = {"first": values[0], "last": values[-1]}
    if how in ends:
        return ends[how]
    if any(math.isnan(value) for value in values):
        return float("nan")
    whole: Mapping[str, Callable[[list[float]], float]] = {
        "sum": _added,
        "mean": lambda x: _added(x) / len(x),
        "min": min,
        "max": max,
    }
    return whole[how](values)


def stood(facts: Iterable[Fact], entity: str, event: int, key: str = "") -> list[tuple[Fact, int, int | None]]:
    """Who stood from when until when (None: still), by asking `standing` at every moment something became known."""
    facts = list(facts)
    moments = sorted({f.known for f in facts if (f.entity, f.event, f.key) == (entity, event, key)})
    answers = [(moment, standing(facts, entity, event, moment, key)) for moment in moments]
    spells: list[tuple[Fact, int, int | None]] = []
    before: Fact | None = None
    for moment, fact in answers:
        if fact is before:
            continue
        if before is not None:
            spells[-1] = (*spells[-1][:2], moment)
        if fact is not None:
            spells.append((fact, moment, None))
        before = fact
    return spells


def _by_event(facts: list[Fact], entity: str, as_of: int) -> dict[int, Fact]:
    """The fact that counts at each event time of an entity."""
    found: dict[int, Fact] = {}
    for event, key in sorted({(f.event, f.key) for f in facts if f.entity == entity}):
        fact = standing(facts, entity, event, as_of, key)
        if fact is None:
            continue
        rival = found.get(event)
        if rival is None or (fact.known, fact.revision, fact.key) > (rival.known, rival.revision, rival.key):
            found[event] = fact
    return found


def _added(values: list[float]) -> float:
    """Added from the oldest to the newest; `sum` compensates for rounding, and so gives other bits."""
    total = values[0]
    for value in values[1:]:
        total += value
    return total
