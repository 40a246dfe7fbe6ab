"""The rules a row must keep to enter the store. A row that breaks one is quarantined under the first it breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import calendar as calendar_of
from knowable.data.ingest.batch import Batch
from knowable.data.names import is_entity_name
from knowable.data.schema import PRICES, Schema
from knowable.data.times import DAY_NS, NO_TIME

__all__ = ["RULES", "Breach", "breaches", "outside_sessions"]

Mask = npt.NDArray[np.bool_]

RULES: Mapping[str, str] = MappingProxyType(
    {
        "header_row": "the header comes again among the data",
        "bad_entity": "the entity is missing, or has characters that no name may have",
        "bad_event_time": "the event time is missing or no time",
        "no_session": "the date is no session of the schema's calendar",
        "bad_known_time": "the known time is missing or no time; it is never made up",
        "sub_microsecond": "the event time is finer than the microseconds a table keeps",
        "bad_revision": "the revision is no whole number",
        "bad_op": "op must be assert or retract",
        "known_before_event": "known before it happened",
        "before_the_close": "labelled before its session closes, and nobody recorded when it was known",
        "not_a_number": "the cell is no number",
        "missing_value": "the bar lacks this value; a schema with partial=True allows it, except for close",
        "not_finite": "NaN or infinity",
        "denormal": "too small to be a value",
        "price_not_positive": "a price must be above 0",
        "high_below_low": "high is below low",
        "open_outside_range": "open is outside [low, high]",
        "close_outside_range": "close is outside [low, high]",
        "negative_volume": "volume is negative (or -0)",
        "conflicting_duplicate": "two rows say different things about one entity, event time, known time and revision; "
        "order them by revision",
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
    """Where a rule is broken: (n_rows,) bool, and the column to show."""

    rule: str
    column: str
    where: Mask


def breaches(batch: Batch, schema: Schema) -> Iterator[Breach]:
    """Each rule a row can break on its own, in the order in which the first one counts."""
    unreadable = batch.event.unreadable | batch.event.missing
    yield Breach(rule="header_row", column="entity", where=_equals(batch.entity, batch.header) & unreadable)
    yield Breach(rule="bad_entity", column="entity", where=_bad_entities(batch.entity))
    yield Breach(rule="bad_event_time", column="event_time", where=unreadable)
    yield Breach(rule="no_session", column="event_time", where=batch.event.no_session)
    late = batch.known.unreadable | batch.known.missing | (batch.known.ns == NO_TIME)
    yield Breach(rule="bad_known_time", column="known_time", where=late)
    yield Breach(rule="sub_microsecond", column="event_time", where=batch.event.ns % 1000 != 0)
    yield Breach(rule="bad_revision", column="revision", where=batch.bad_revision)
    yield Breach(rule="bad_op", column="op", where=batch.bad_op)
    if not schema.announced_ahead:
        yield Breach(rule="known_before_event", column="known_time", where=batch.known.ns < batch.event.ns)
    if batch.basis == "assumed_lag" and schema.kind == "bars":
        yield Breach(rule="before_the_close", column="event_time", where=_before_the_close(batch, schema))
    for breach in _value_breaches(batch, schema):
        yield Breach(rule=breach.rule, column=breach.column, where=breach.where & ~batch.retract)


def outside_sessions(batch: Batch, schema: Schema) -> Mask:
    """(n_rows,) whether a bar of an exchange ends outside the hours of a session; False without a calendar."""
    ns, outside = batch.event.ns, np.zeros(len(batch.event.ns), dtype=bool)
    real = ns != NO_TIME
    if schema.calendar in (None, "24/7") or not real.any():
        return outside
    clock = calendar_of(str(schema.calendar))
    ends, at = np.unique(ns[real], return_inverse=True)
    days = clock.session_dates(ends)
    outside[real] = ((ends <= clock.opens(days)) | (ends > clock.closes(days)))[at]
    return outside


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
    fields, bars = batch.fields, schema.kind == "bars"
    for name, bad in batch.unreadable.items():
        yield Breach(rule="not_a_number", column=name, where=bad)
    for name, odd in batch.not_finite.items():
        yield Breach(rule="not_finite", column=name, where=odd)
    if bars and "close" not in fields:
        yield Breach(rule="missing_value", column="close", where=np.ones(len(batch.entity), dtype=bool))
    for name, values in fields.items():
        if bars and (name == "close" or (name in (*PRICES, "volume") and not schema.partial)):
            yield Breach(rule="missing_value", column=name, where=np.isnan(values))
        tiny = (values != 0) & (np.abs(values) < np.finfo(np.float64).tiny)
        yield Breach(rule="denormal", column=name, where=tiny)
        if bars and name in PRICES:
            yield Breach(rule="price_not_positive", column=name, where=values <= 0)
    if bars:
        yield from _bar_breaches(fields)


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


def _bad_entities(names: pa.Array) -> Mask:
    """Checked once a name, not once a row; an Arrow expression for the same took 86 ms to compile alone."""
    coded = names.dictionary_encode()
    bad = np.array([not is_entity_name(name) for name in coded.dictionary.to_pylist()] + [True])
    codes = pc.fill_null(coded.indices, len(bad) - 1).to_numpy(zero_copy_only=False)
    found: Mask = bad[codes]
    return found


def _equals(texts: pa.Array, word: str) -> Mask:
    found: Mask = pc.fill_null(pc.equal(texts, word), False).to_numpy(zero_copy_only=False).astype(bool)
    return found
