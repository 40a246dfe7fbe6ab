"""From datasets to a `Market`: bars as they were known at each decision, adjusted forward, facts beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from knowable.calendars import Nanos
from knowable.calendars import calendar as calendar_of
from knowable.data.asof.beside import Trailing, beside_panels, refuse_strangers, strangers
from knowable.data.asof.facts import Facts, Panel
from knowable.data.corporate.actions import Adjusted, adjust_panels
from knowable.data.market import Market
from knowable.data.market_actions import MarketActions
from knowable.data.schema import Schema, lag_ns
from knowable.errors import DataError, InputError, unknown_name

__all__ = ["Deeds", "Loaded", "assemble", "decision_times"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A dataset version in memory."""

    name: str
    schema: Schema
    facts: Facts
    pin: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """A version of a dataset of corporate actions, its rows as stored, and how prices are adjusted for them."""

    name: str
    schema: Schema
    rows: pa.Table
    pin: Mapping[str, str]
    adjust: str


def assemble(
    bars: Loaded,
    also: Sequence[tuple[Loaded, Trailing | None]],
    *,
    first: int | None,
    last: int | None,
    decide: str,
    entities: Sequence[str] | None,
    deeds: Deeds | None = None,
    times: Nanos | None = None,
) -> Market:
    """Build the market of one dataset of bars; `Store.market` says what the arguments mean.

    Args:
        times: (n_bars,) its bar ends, where a universe says so; those of the bars of its assets when None. Who is a
            member changes, so what concerns none of those who were is then a note and no error.

    Raises: DataError if there are no bars, most were not known by their decision time, or facts concern no asset.
    """
    if bars.schema.kind != "bars":
        raise InputError(
            f"A market needs a dataset of bars, but {bars.name!r} holds {bars.schema.kind}; put it in also=[]."
        )
    names = bars.facts.entities if entities is None else tuple(entities)
    inside = _inside(bars.facts, names, first, last)
    if not inside.any():
        raise DataError(
            f"Dataset {bars.name!r} has no bars in that span (start, end); it has {bars.facts.n_facts:,} rows"
            + (
                f" from {_day(bars.facts.event.min())} to {_day(bars.facts.event.max())}."
                if bars.facts.n_facts
                else "."
            )
        )
    if entities is None:
        present = np.unique(bars.facts.owner[bars.facts.period[inside]])
        names = tuple(bars.facts.entities[k] for k in present)
    if times is None:
        refuse_strangers(also, names)
        times = np.unique(bars.facts.event[inside])
    foreign = [f"{item.name!r} concerns none of the assets of this span." for item in strangers(also, names)]
    decision = decision_times(times, decide, bars.schema.calendar)
    panels, final, seen, last_seen = bars.facts.bars(list(bars.schema.numeric), times, decision, names)
    supplied = [name for name in panels if name == "close" or not np.isnan(final[name]).all()]
    notes = _missing(bars, seen, last_seen, inside, decide)
    unrevised = final is panels or bool(np.array_equal(seen, last_seen))
    panels = {name: panels[name] for name in supplied}
    final = panels if unrevised else {name: final[name] for name in supplied}
    adjusted = _adjusted(bars, deeds, panels, final, times=times, decision=decision, assets=names)
    taken = {*bars.schema.numeric, *adjusted.panels}  # a field without a value in this span keeps its name, too
    beside = beside_panels(also, taken, decision, names)
    moment = pd.Timestamp(int(decision[-1]), tz="UTC").isoformat()
    pins = {item.name: item.pin for item in (bars, *(item for item, _ in also), *(() if deeds is None else (deeds,)))}
    return Market.build(
        times=times,
        decision_times=decision,
        assets=names,
        panels={**adjusted.panels, **beside},
        final=None if adjusted.final is adjusted.panels else {**adjusted.final, **beside},
        calendar=bars.schema.calendar,
        pins=tuple({**pin, "as_of": moment} for pin in pins.values()),
        notes=(*notes, *adjusted.notes, *foreign),
        actions=adjusted.actions,
        adjust="none" if deeds is None else deeds.adjust,
    )


def _adjusted(
    bars: Loaded,
    deeds: Deeds | None,
    panels: Mapping[str, Panel],
    final: Mapping[str, Panel],
    *,
    times: Nanos,
    decision: Nanos,
    assets: tuple[str, ...],
) -> Adjusted:
    if deeds is None:
        return Adjusted(panels=panels, final=final, actions=MarketActions.of(), notes=())
    if deeds.schema.kind != "actions":
        raise InputError(
            f"`actions` takes a dataset of actions, but {deeds.name!r} holds {deeds.schema.kind}.\n"
            "Make one with store.create('actions', Schema.actions(calendar=...))."
        )
    return adjust_panels(
        deeds.rows,
        name=deeds.name,
        keys=deeds.schema.keys,
        adjust=deeds.adjust,
        times=times,
        decision=decision,
        assets=assets,
        panels=panels,
        final=final,
        currency=bars.schema.currency,
    )


def decision_times(times: Nanos, decide: str, clock: str | None) -> Nanos:
    """When the decision on each bar is made.

    Args:
        times: (n_bars,) int64 ns UTC bar ends.
        decide: ``"bar_end"``, ``"before_next_open"`` (the last nanosecond before the next session opens), or a lag
            after the bar's end such as ``"16h"``.
        clock: calendar name.

    Raises: InputError if the rule does not exist, or the decision would come after the next bar has begun.
    """
    if decide == "bar_end":
        return times
    opens = _next_opens(times, clock)
    if decide == "before_next_open":
        if opens is None:
            raise InputError(
                f"decide='before_next_open' needs one bar a session of an exchange calendar, but calendar={clock!r}"
                " has no opening after each bar.\nUse decide='bar_end', or a lag such as decide='16h'."
            )
        return opens - 1
    try:
        lag = lag_ns(decide)
    except InputError:
        raise unknown_name(
            "rule", decide, ["bar_end", "before_next_open"], where="decide; a lag such as '16h' also serves"
        ) from None
    limit = opens if opens is not None else np.append(times[1:], np.iinfo(np.int64).max)
    decided: Nanos = times + lag
    late = decided >= limit
    if late.any():
        at = int(np.argmax(late))
        raise InputError(
            f"decide={decide!r} puts the decision on the bar of {_moment(times[at])} at {_moment(decided[at])}, when "
            f"the next bar has begun ({_moment(limit[at])}). Use a shorter lag or decide='before_next_open'."
        )
    return decided


def _next_opens(times: Nanos, clock: str | None) -> Nanos | None:
    """The opening after each bar's session, where each bar is a session of an exchange; else None."""
    if clock in (None, "24/7") or len(times) == 0:
        return None
    exchange = calendar_of(str(clock))
    days = exchange.session_dates(times)
    if (np.diff(days.astype(np.int64)) <= 0).any():
        return None
    sessions = exchange.sessions(days[0], days[-1] + 31)
    following = sessions[np.searchsorted(sessions, days, side="right")]
    return exchange.opens(following)


def _inside(facts: Facts, names: tuple[str, ...], first: int | None, last: int | None) -> npt.NDArray[np.bool_]:
    inside = (facts.columns_of(names) >= 0)[facts.owner[facts.period]] & ~facts.retracts
    if first is not None:
        inside &= facts.event >= first
    if last is not None:
        inside &= facts.event <= last
    return inside


def _missing(
    bars: Loaded,
    seen: npt.NDArray[np.int32],
    final: npt.NDArray[np.int32],
    inside: npt.NDArray[np.bool_],
    decide: str,
) -> tuple[str, ...]:
    """Say how many bars were not known in time.

    Raises: DataError if most were not.
    """
    n_bars = int((final >= 0).sum())
    n_late = int(((final >= 0) & (seen < 0)).sum())
    if n_late == 0:
        return ()
    _, earliest = np.unique(bars.facts.period[inside], return_index=True)  # in sweep order the first is the earliest
    lags = (bars.facts.known[inside] - bars.facts.event[inside])[earliest]
    lag = pd.Timedelta(int(np.median(lags)), unit="ns").round("1min")
    if 2 * n_late > n_bars:
        raise DataError(
            f"{n_late:,} of {n_bars:,} bars of {bars.name!r} were not known when their decision was made "
            f"(decide={decide!r}); half of them became known {lag} or more after their bar's end.\n"
            "Decide later: decide='before_next_open', or a lag such as decide='17h'."
        )
    note = f"{n_late:,} of {n_bars:,} bars of {bars.name} were not known by their decision time (decide={decide!r})"
    return (f"{note} and are missing in the panels.",)


def _day(ns: np.integer) -> str:
    return f"{pd.Timestamp(int(ns)):%Y-%m-%d}"


def _moment(ns: np.integer) -> str:
    return f"{pd.Timestamp(int(ns)):%Y-%m-%d %H:%M}Z"
