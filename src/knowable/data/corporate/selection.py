"""What `Store.market(universe=...)` means: which names its assets are, and who of them is a member on which bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from knowable.calendars import Nanos, calendar, period_ends
from knowable.data.asof.assemble import Loaded, decision_times
from knowable.data.asof.beside import Trailing, beside_panels, refuse_strangers
from knowable.data.asof.facts import Facts
from knowable.data.corporate.membership import Flags, make_members
from knowable.data.corporate.universe import DOLLARS, RULES, SizeRule, choose, dollars
from knowable.data.frames import Panel
from knowable.data.market import Market
from knowable.data.schema import Schema
from knowable.errors import DataError, InputError, shown, unknown_name

__all__ = ["Selection", "Sources", "Span", "market_within", "selection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A universe asked for: by `rule`, or by the intervals of `dataset` under `key`."""

    rule: SizeRule | None = None
    dataset: str | None = None
    key: object = None

    @property
    def plain(self) -> Any:
        """The same in texts, numbers, lists and mappings, as `selection` reads them back."""
        if self.rule is not None:
            return {"rule": type(self.rule).__name__, **asdict(self.rule)}
        return self.dataset if self.key is None else [self.dataset, self.key]

    def __str__(self) -> str:
        if self.rule is not None:
            return str(self.rule)
        return f"members of {self.dataset}" + ("" if self.key is None else f", {self.key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The dataset versions that a market is made of.

    Attributes:
        name: of the dataset of bars.
        schema: of the bars.
        facts: ``facts(names, first, fields)``: bars of these names (None: all) from that event time on (None: all) up
            to the end of the span, with these number fields at least.
        clock: ``clock(first, last)``: the bar ends of all names in a span.
        also: what stands beside the bars; a rule may choose by it.
        intervals: the dataset of membership, where the choice is by one.
    """

    name: str
    schema: Schema
    facts: Callable[[tuple[str, ...] | None, int | None, tuple[str, ...]], Facts]
    clock: Callable[[int | None, int | None], Nanos]
    also: Sequence[tuple[Loaded, Trailing | None]] = ()
    intervals: Loaded | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which bars a market has, as `assemble` takes it: first and last event time in ns UTC, None where open."""

    first: int | None
    last: int | None
    decide: str
    entities: list[str] | None


def selection(universe: object) -> Selection | None:
    """What a user's `universe` says: None, a dataset, (dataset, key), a rule, or `Selection.plain` of one.

    Raises: InputError.
    """
    if universe is None:
        return None
    if isinstance(universe, SizeRule):
        return Selection(rule=universe)
    if isinstance(universe, str):
        return Selection(dataset=universe)
    if isinstance(universe, Mapping) and universe.get("rule") in RULES:
        values = {name: value for name, value in universe.items() if name != "rule"}
        return Selection(rule=RULES[universe["rule"]](**values))
    if isinstance(universe, tuple | list) and len(universe) == 2 and _is_keyed(universe):
        return Selection(dataset=universe[0], key=universe[1])
    raise InputError(
        f"`universe` must be a dataset of intervals, such as 'members' or ('members', 'SP500'), or a rule, such as "
        f"Largest(n=500)\nof knowable.data.corporate.universe, but it is {shown(universe)}."
    )


def _is_keyed(pair: Sequence[object]) -> bool:
    key = pair[1]
    named = isinstance(key, Mapping) and all(isinstance(value, str) for value in key.values())
    return isinstance(pair[0], str) and (isinstance(key, str) or named)


def market_within(
    chosen: Selection, sources: Sources, span: Span, build: Callable[[list[str], Nanos], Market]
) -> Market:
    """The market of all names that were ever members in a span, with its panel ``universe``.

    Its rows are the bars of all who may be members, so that no row comes or goes with who is chosen later.

    Args:
        chosen: what is asked for.
        sources: what the market is made of.
        span: of the market; a rule looks back over all bars before it, so that no answer hangs on where it begins.
        build: ``build(entities, times)`` assembles the market of these names on these bars.

    Raises: DataError if nobody was ever a member in the span, or no member has bars.
    """
    if chosen.rule is not None:
        return _by_rule(chosen.rule, sources, span, build)
    return _by_intervals(chosen, sources, span, build)


def _by_intervals(
    chosen: Selection, sources: Sources, span: Span, build: Callable[[list[str], Nanos], Market]
) -> Market:
    intervals = sources.intervals
    if intervals is None:
        raise AssertionError(chosen)
    members = make_members(intervals.facts, intervals.schema, chosen.key, intervals.name)
    pool = members.names if span.entities is None else tuple(span.entities)
    names, times = _clock(sources.facts(pool, span.first, ("close",)), pool, span.first, span.last)
    if span.entities is None:
        times = sources.clock(span.first, span.last)
    decision = decision_times(times, span.decide, sources.schema.calendar)
    ever = _ever(members.panel(decision, pool))
    held = [name for name, was in zip(pool, ever, strict=True) if was and name in names]
    if not held:
        raise DataError(
            f"Nobody of `universe` ({chosen}) was a member on any bar of {sources.name!r} in that span: "
            f"its intervals are of\n{shown(list(members.names), 200)}; {len(names)} of {len(pool)} have bars there."
        )
    market = build(held, times)
    n_absent = sum(ever) - len(held)
    label = f"{chosen} ({n_absent:,} more have no bars in {sources.name})" if n_absent else str(chosen)
    pin = {**intervals.pin, "as_of": pd.Timestamp(int(market.decision_times[-1]), tz="UTC").isoformat()}
    return market.with_universe(members.panel(market.decision_times, market.assets), label, (pin,))


def _by_rule(rule: SizeRule, sources: Sources, span: Span, build: Callable[[list[str], Nanos], Market]) -> Market:
    asked = None if span.entities is None else tuple(span.entities)
    facts = sources.facts(asked, None, _read(rule, sources.schema))
    pool = facts.entities if asked is None else asked
    names, times = _clock(facts, pool, None, span.last)
    pool = tuple(name for name in pool if name in names)
    if not pool:
        raise DataError(f"Dataset {sources.name!r} has no bars before the end of that span to choose from.")
    decision = decision_times(times, span.decide, sources.schema.calendar)
    panels = facts.bars(_read(rule, sources.schema), times, decision, pool)[0]
    close, value = panels["close"], _measure(rule, sources, panels, decision, pool)
    members = choose(rule, close, value, _ends(rule, times, sources.schema.calendar), pool)
    begin = 0 if span.first is None else int(np.searchsorted(times, span.first))
    members, times = members[begin:], times[begin:]
    ever = _ever(members)
    if not any(ever):
        known = (~np.isnan(close) & ~np.isnan(value)).sum(axis=0)
        raise DataError(
            f"Nobody is ever chosen by universe={rule!r}\nin that span: of {len(pool):,} names, the one with most "
            f"history has {int(known.max()):,} known bars of its close and its {rule.by}.\n"
            "Ask for less (window, min_history, min_price), or begin later."
        )
    market = build([name for name, was in zip(pool, ever, strict=True) if was], times)
    column = {name: j for j, name in enumerate(pool)}
    return market.with_universe(members[:, [column[name] for name in market.assets]], str(rule))


def _ever(members: Flags) -> list[bool]:
    """Whether each name is a member on any row."""
    found: list[bool] = np.logical_or.reduce(members, axis=0).tolist()
    return found


def _clock(facts: Facts, pool: Sequence[str], first: int | None, last: int | None) -> tuple[frozenset[str], Nanos]:
    """Who of the pool has bars in the span, and when those are."""
    owner = facts.owner[facts.period]
    event = facts.event
    inside = (facts.columns_of(pool) >= 0)[owner] & ~facts.retracts
    inside &= (event >= (event.min(initial=0) if first is None else first)) & (
        event <= (event.max(initial=0) if last is None else last)
    )
    return frozenset(facts.entities[k] for k in np.unique(owner[inside])), np.unique(event[inside])


def _read(rule: SizeRule, schema: Schema) -> tuple[str, ...]:
    """Fields of the bars that a rule reads."""
    own = (rule.by,) if rule.by in schema.numeric else ("volume",) if rule.by == DOLLARS else ()
    return tuple(dict.fromkeys(("close", *own)))


def _measure(
    rule: SizeRule, sources: Sources, panels: Mapping[str, Panel], decision: Nanos, names: tuple[str, ...]
) -> Panel:
    """(n_bars, n_names) the measure as known at each decision. Raises: UnknownNameError."""
    if rule.by in panels:
        return panels[rule.by]
    if rule.by == DOLLARS:
        return dollars(panels["close"], panels["volume"])
    refuse_strangers(sources.also, names)
    beside = beside_panels(sources.also, sources.schema.numeric, decision, names)
    if rule.by not in beside:
        raise unknown_name("field", rule.by, [DOLLARS, *sources.schema.numeric, *beside], where="`by` of the universe")
    return beside[rule.by]


def _ends(rule: SizeRule, times: Nanos, clock: str | None) -> Flags:
    labels = times.astype("datetime64[ns]").astype("datetime64[D]")
    return period_ends(times, labels if clock is None else calendar(clock).session_dates(times), rule.every, clock)
