"""The rules a row must keep to enter the store. A row that breaks one is quarantined under the first it breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import calendar as calendar_of
from knowable.data.ingest.batch import Batch
from knowable.data.ingest.cells import LONGEST_TEXT, TINIEST, Texts
from knowable.data.names import is_entity_name
from knowable.data.schema import ACTIONS, PRICES, Schema
from knowable.data.times import DAY_NS, NO_TIME, TimeColumn
from knowable.kernels.ingest import MISSING, TINY, ZERO_OR_LESS, outside_kernel

__all__ = ["RULES", "Breach", "breaches", "outside_sessions"]

Mask = npt.NDArray[np.bool_]
_WEEK_NS = 7 * DAY_NS

RULES: Mapping[str, str] = MappingProxyType(
    {
        "header_row": "the header comes again among the data",
        "bad_entity": "the entity is missing, or has characters that no name may have",
        "bad_event_time": "the event time is missing or no time",
        "unknown_identifier": "nobody bore this name at that time; add it to the dataset of identifiers, then append "
        "again",
        "ambiguous_identifier": "several entities bore this name at that time; close the interval that ended",
        "bad_key": "a key of the schema is missing, has blanks around it, or is longer than 64 characters",
        "no_session": "the date is no session of the schema's calendar",
        "bad_known_time": "the known time is missing or no time; it is never made up",
        "sub_microsecond": "the time is finer than the microseconds a table keeps",
        "bad_revision": "the revision is no whole number",
        "bad_op": "op must be assert or retract",
        "known_before_event": "known before it happened",
        "before_the_close": "labelled before its session closes, and nobody recorded when it was known",
        "not_a_number": "the cell is no number",
        "not_a_bool": "the cell is neither true nor false",
        "not_a_time": "the cell is no time between 1678 and 2261; what is still open has an empty cell",
        "not_whole": "the cell is no whole number up to 2**53",
        "text_too_long": f"the text is longer than {LONGEST_TEXT:,} bytes",
        "control_characters": "the text has control characters, or marks that turn its reading order",
        "below_bound": "below the least value the schema allows",
        "above_bound": "above the greatest value the schema allows",
        "missing_value": "the bar lacks this value; a schema with partial=True allows it, except for close",
        "not_finite": "NaN or infinity",
        "denormal": "too small to be a value",
        "price_not_positive": "a price must be above 0",
        "high_below_low": "high is below low",
        "open_outside_range": "open is outside [low, high]",
        "close_outside_range": "close is outside [low, high]",
        "negative_volume": "volume is negative (or -0)",
        "end_before_start": "an interval must end after it starts",
        "unknown_action": f"the type of an action must be one of {', '.join(ACTIONS)}",
        "incomplete_action": "the action lacks what its type needs",
        "impossible_action": "a ratio must be above 0, an amount not below it",
        "conflicting_duplicate": "two rows say different things about one entity, event time, known time and revision; "
        "order them by revision if one replaces the other; if both hold, a key in the schema tells them apart",
        "earlier_than_stored": "known earlier than a stored row of the same entity and event time, so it cannot have "
        "been observed; declare a backfill with known_basis='vendor'",
        "wrong_number_of_columns": "the line has more or fewer cells than the header",
        "bad_encoding": "the line is no UTF-8 text",
        "unterminated_row": "the file ends inside this line, so a cell may be cut; end a whole file with a newline",
        "unreadable_file": "the file could not be read at all",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Where a rule is broken.

    Attributes:
        rule: a key of `RULES`.
        column: to show, by our name.
        where: (n_rows,) bool.
        about: what it says instead of the rule's own sentence.
        choices: words of which the nearest to the cell is offered.
    """

    rule: str
    column: str
    where: Mask
    about: str = ""
    choices: tuple[str, ...] = ()


def breaches(batch: Batch, schema: Schema) -> Iterator[Breach]:
    """Each rule a row can break on its own, in the order in which the first one counts."""
    unreadable = batch.event.unreadable | batch.event.missing
    yield Breach(rule="header_row", column="entity", where=_equals(batch.entity, batch.vendor["entity"]) & unreadable)
    yield Breach(rule="bad_entity", column="entity", where=_bad_entities(batch.entity))
    yield Breach(rule="bad_event_time", column="event_time", where=unreadable)
    for rule, where in batch.lost.items():
        yield Breach(rule=rule, column="entity", where=where)
    for name in schema.keys:
        yield Breach(rule="bad_key", column=name, where=_bad_keys(batch.texts[name].cells))
    yield Breach(rule="no_session", column="event_time", where=batch.event.no_session)
    late = batch.known.unreadable | batch.known.missing | (batch.known.ns == NO_TIME)
    yield Breach(rule="bad_known_time", column="known_time", where=late)
    if batch.event.micros is None:
        yield Breach(rule="sub_microsecond", column="event_time", where=_finer(batch.event.ns))
    yield Breach(rule="bad_revision", column="revision", where=batch.bad_revision)
    yield Breach(rule="bad_op", column="op", where=batch.bad_op)
    if not schema.announced_ahead:
        yield Breach(rule="known_before_event", column="known_time", where=batch.known.ns < batch.event.ns)
    if batch.basis == "assumed_lag" and schema.kind == "bars":
        yield Breach(rule="before_the_close", column="event_time", where=_before_the_close(batch, schema))
    for name in schema.keys:
        yield from _text_breaches(name, batch.texts[name])
    if schema.kind == "actions":
        yield _unknown_actions(batch)
    stands = ~batch.retract if batch.retract.any() else None
    for breach in _value_breaches(batch, schema):
        yield breach if stands is None else replace(breach, where=breach.where & stands)


def outside_sessions(batch: Batch, schema: Schema) -> Mask:
    """(n_rows,) whether a bar of an exchange ends outside the hours of a session; False without a calendar."""
    ns, outside = batch.event.ns, np.zeros(len(batch.event.ns), dtype=bool)
    real = ns != NO_TIME
    if schema.calendar in (None, "24/7") or not real.any():
        return outside
    clock = calendar_of(str(schema.calendar))
    first, last = (int(pick(ns[real])) for pick in (np.min, np.max))
    days = clock.sessions(np.datetime64(first - _WEEK_NS, "ns"), np.datetime64(last + _WEEK_NS, "ns"))
    outside_kernel(_locked(ns), _locked(clock.opens(days)), _locked(clock.closes(days)), outside)
    found: Mask = outside & real
    return found


def _locked(array: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _finer(ns: npt.NDArray[np.int64]) -> Mask:
    """(n_rows,) whether a time is finer than microseconds; a division by a constant is quicker than a remainder."""
    found: Mask = ns // 1000 * 1000 != ns
    return found


def _before_the_close(batch: Batch, schema: Schema) -> Mask:
    """Midnight labels that really are dates: with an assumed lag they would be known before their session ends."""
    early: Mask = outside_sessions(batch, schema) & (batch.event.ns % DAY_NS == 0)
    if early.any():
        clock = calendar_of(str(schema.calendar))
        ends, at = np.unique(batch.event.ns[early], return_inverse=True)
        closes = clock.closes(clock.session_dates(ends))[at]
        early[early] = batch.known.ns[early] < closes
    return early


def _value_breaches(batch: Batch, schema: Schema) -> Iterator[Breach]:
    bars = schema.kind == "bars"
    for name, cells in batch.fields.items():
        kind = "not_a_bool" if schema.fields[name].dtype == "bool" else "not_a_number"
        yield Breach(rule=kind, column=name, where=cells.unreadable)
        yield Breach(rule="not_finite", column=name, where=cells.not_finite)
    if bars and "close" not in batch.fields:
        yield Breach(rule="missing_value", column="close", where=np.ones(len(batch.entity), dtype=bool))
    for name, cells in batch.fields.items():
        needed = bars and (name == "close" or (name in (*PRICES, "volume") and not schema.partial))
        if needed and cells.found & MISSING:
            yield Breach(rule="missing_value", column=name, where=np.isnan(cells.cells))
        if cells.found & TINY:
            tiny = (cells.cells != 0) & (np.abs(cells.cells) < TINIEST)
            yield Breach(rule="denormal", column=name, where=tiny)
        if cells.not_whole is not None:
            yield Breach(rule="not_whole", column=name, where=cells.not_whole)
        if bars and name in PRICES and cells.found & ZERO_OR_LESS:
            yield Breach(rule="price_not_positive", column=name, where=cells.cells <= 0)
    for name, texts in batch.texts.items():
        yield from _text_breaches(name, texts)
    for name, moments in batch.moments.items():
        yield from _moment_breaches(name, moments)
    if bars:
        yield from _bar_breaches({name: cells.cells for name, cells in batch.fields.items()})
    elif schema.kind == "intervals" and "end" in batch.moments:
        end = batch.moments["end"].ns
        yield Breach(rule="end_before_start", column="end", where=(end != NO_TIME) & (end <= batch.event.ns))
    elif schema.kind == "actions":
        yield from _action_breaches(batch)
    yield from _bound_breaches(batch, schema)


def _bound_breaches(batch: Batch, schema: Schema) -> Iterator[Breach]:
    for name, cells in batch.fields.items():
        low, high = schema.fields[name].low, schema.fields[name].high
        if low is not None:
            about = f"{name} must be at least {low:.15g}"
            yield Breach(rule="below_bound", column=name, where=cells.cells < low, about=about)
        if high is not None:
            about = f"{name} must be at most {high:.15g}"
            yield Breach(rule="above_bound", column=name, where=cells.cells > high, about=about)


def _text_breaches(name: str, texts: Texts) -> Iterator[Breach]:
    yield Breach(rule="text_too_long", column=name, where=texts.too_long)
    yield Breach(rule="control_characters", column=name, where=texts.control)


def _moment_breaches(name: str, moments: TimeColumn) -> Iterator[Breach]:
    yield Breach(rule="not_a_time", column=name, where=moments.unreadable)
    yield Breach(rule="no_session", column=name, where=moments.no_session)
    yield Breach(rule="sub_microsecond", column=name, where=_finer(moments.ns) & (moments.ns != NO_TIME))


def _bar_breaches(fields: Mapping[str, npt.NDArray[np.float64]]) -> Iterator[Breach]:
    high, low = fields.get("high"), fields.get("low")
    if high is not None and low is not None:
        yield Breach(rule="high_below_low", column="high", where=high < low)
    for name in ("open", "close"):
        if name in fields and high is not None:
            yield Breach(rule=f"{name}_outside_range", column=name, where=fields[name] > high)
        if name in fields and low is not None:
            yield Breach(rule=f"{name}_outside_range", column=name, where=fields[name] < low)
    if "volume" in fields:
        yield Breach(
            rule="negative_volume", column="volume", where=np.signbit(fields["volume"]) & ~np.isnan(fields["volume"])
        )


def _bad_keys(values: pa.Array) -> Mask:
    coded = values.dictionary_encode()
    texts = coded.dictionary.to_pylist()
    bad = np.array([not text or text != text.strip() or len(text) > 64 for text in texts] + [True])
    found: Mask = bad[pc.fill_null(coded.indices, len(texts)).to_numpy(zero_copy_only=False)]
    return found


def _bad_entities(names: pa.Array) -> Mask:
    """Checked once a name, not once a row; an Arrow expression for the same took 86 ms to compile alone."""
    coded = names.dictionary_encode()
    bad = np.array([not is_entity_name(name) for name in coded.dictionary.to_pylist()] + [True])
    codes = pc.fill_null(coded.indices, len(bad) - 1).to_numpy(zero_copy_only=False)
    found: Mask = bad[codes]
    return found


def _equals(texts: pa.Array, word: str) -> Mask:
    """Asked once a name, as `_bad_entities`."""
    coded = texts.dictionary_encode()
    same = np.array([name == word for name in coded.dictionary.to_pylist()] + [False])
    if not same.any():
        return np.zeros(len(texts), dtype=bool)
    found: Mask = same[pc.fill_null(coded.indices, len(same) - 1).to_numpy(zero_copy_only=False)]
    return found


def _unknown_actions(batch: Batch) -> Breach:
    known = pc.is_in(batch.texts["type"].cells, pa.array(ACTIONS)).to_numpy(zero_copy_only=False).astype(bool)
    return Breach(rule="unknown_action", column="type", where=~known, choices=ACTIONS)


def _action_breaches(batch: Batch) -> Iterator[Breach]:
    """What each type of action needs, and what none may have."""
    none = np.full(len(batch.entity), np.nan)
    ratio, amount = (batch.fields[name].cells if name in batch.fields else none for name in ("ratio", "amount"))
    successor = batch.texts["successor"].cells if "successor" in batch.texts else pa.nulls(len(none), pa.string())
    yield Breach(rule="impossible_action", column="ratio", where=ratio <= 0)
    yield Breach(rule="impossible_action", column="amount", where=amount < 0)
    named = successor.is_valid().to_numpy(zero_copy_only=False).astype(bool)
    yield Breach(rule="bad_entity", column="successor", where=named & _bad_entities(successor))
    paid, swapped = amount > 0, (ratio > 0) & named
    needs = {
        "split": ("ratio", ratio > 0, "a split needs ratio: new shares per old share, such as 2 for 2:1"),
        "dividend": ("amount", paid, "a dividend needs amount: cash per share, above 0"),
        "ticker_change": ("successor", named, "a ticker_change needs successor: the new name"),
        "merger": ("amount", paid | swapped, "a merger needs amount (cash), or ratio and successor (shares), or all"),
        "spinoff": ("ratio", swapped, "a spinoff needs ratio and successor: shares received for each old share"),
    }
    for word, (column, held, about) in needs.items():
        where = _equals(batch.texts["type"].cells, word) & ~held
        yield Breach(rule="incomplete_action", column=column, where=where, about=about)
