"""Every revision of one value: what was said when, and from when until when it stood."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knowable.data.asof.facts import Facts

__all__ = ["history"]

_TIME = pa.timestamp("us", "UTC")
Spell = tuple[int, int | None, int | None]  # fact, known time from which it stood, known time until which


def history(facts: Facts, entity: str, event: int, columns: list[str]) -> pa.Table:
    """What was said about one (entity, event_time), in order of knowledge.

    Args:
        facts: that hold its rows.
        entity: its name.
        event: int64 ns UTC.
        columns: to give, before stood_from and stood_until.

    Returns: a row an observation; a further one each time that an assertion stands again because what hid it was
        withdrawn. stood_from, stood_until (exclusive): null where it never stood, and where it still does.
    """
    code = int(facts.codes_of([entity])[0])
    spells: list[Spell] = []
    if code >= 0:
        first, last = facts.index.first[code : code + 2]
        begin, end = facts.index.start[code : code + 2]
        of = facts.index.period[begin:end]
        for period in first + np.flatnonzero(facts.index.event[first:last] == event):
            spells.extend(_spells(facts, begin + np.flatnonzero(of == period)))
    earliest: dict[int, int] = {}
    for fact, since, _ in spells:
        earliest[fact] = min(since or 0, earliest.get(fact, since or 0))
    spells.sort(key=lambda spell: _place(facts, spell, earliest))
    taken = facts.take(np.array([fact for fact, _, _ in spells], dtype=np.intp), columns)
    for k, name in ((1, "stood_from"), (2, "stood_until")):
        moments = [None if spell[k] is None else spell[k] // 1000 for spell in spells]  # type: ignore[operator]
        taken = taken.append_column(name, pa.array(moments, pa.int64()).cast(_TIME))
    return taken


def _spells(facts: Facts, rows: npt.NDArray[np.int64]) -> list[Spell]:
    """The observations of one period, in sweep order, with the times in which each one stood."""
    standing: list[int] = []
    spells: list[Spell] = []
    shown: int | None = None
    for n, fact in enumerate(rows.tolist()):
        if facts.retracts[fact]:
            standing = standing[:-1]
        else:
            standing.append(fact)
        now = int(facts.known[fact])
        if n + 1 < len(rows) and facts.known[rows[n + 1]] == now:
            continue  # what holds at a moment is decided by all that became known in it
        newest = standing[-1] if standing else None
        if newest == shown:
            continue
        if shown is not None:
            spells[-1] = (*spells[-1][:2], now)
        if newest is not None:
            spells.append((newest, now, None))
        shown = newest
    stood = {fact for fact, _, _ in spells}
    return spells + [(fact, None, None) for fact in rows.tolist() if fact not in stood]


def _place(facts: Facts, spell: Spell, earliest: dict[int, int]) -> tuple[int, bool, int]:
    """Where a spell comes: an observation at its own known time, one that stands again at the time it does."""
    fact, since, _ = spell
    again = since is not None and since > earliest[fact]
    return (since if since is not None and again else int(facts.known[fact])), again, fact
