"""`Schema`: what a dataset holds, in which units and types, and how its rows came to be known."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from knowable.calendars import calendar as calendar_of
from knowable.data.feeds import check_zone, checked_columns, time_of_day
from knowable.data.fields import DType, Field, as_field
from knowable.data.names import check_field_name
from knowable.errors import InputError, StoreError, shown, unknown_name

__all__ = ["ACTIONS", "BASES", "KINDS", "PRICES", "STATED", "Schema", "lag_ns", "table_schema"]

FORMAT = 2  # 1: fields were units alone, all float64; still read
Kind = Literal["bars", "facts", "events", "intervals", "actions"]
KINDS: tuple[str, ...] = get_args(Kind)
PRICES = ("open", "high", "low", "close")
ACTIONS = ("split", "dividend", "delisting", "ticker_change", "merger", "spinoff")
BASES: Mapping[str, str] = MappingProxyType(
    {
        "observed": "the moment was recorded when the value was captured",
        "vendor": "a vendor or publisher states the moment; backfills are possible",
        "assumed_lag": "nobody recorded the moment; a declared lag stands in for it",
        "computed": "worked out from other datasets; the moment is that of the decision at which it was",
        "repaired": "cleaning wrote the row; the moment is that of the last of its evidence",
    }
)
STATED = tuple(name for name in BASES if name != "repaired")
"""The bases a source can have."""
_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a dataset holds. Make one with `Schema.bars`, `.facts`, `.events`, `.intervals` or `.actions`.

    Attributes:
        kind: ``"bars"`` (a value an entity and bar), ``"facts"`` (a value an entity and period, revised at will),
            ``"events"`` (what happened when), ``"intervals"`` (what held from when to when), ``"actions"``
            (splits, dividends and their like).
        fields: field name -> `Field`; a plain text is taken as a unit, of float64.
        keys: string fields that tell rows of one entity and event time apart: a period is (entity, event_time, *keys).
        calendar: exchange code or ``"24/7"``: dates without a time are then session closes, or session opens where
            the kind is intervals or actions. None: times only.
        currency: of the prices.
        known_basis: how the rows came to be known, unless an append says otherwise; one of `BASES`.
        known_lag: lag after event_time at which rows without a known_time count as known, such as ``"1d"``.
        partial: whether a bar may lack open, high, low or volume in some rows.
        announced_ahead: whether a value may be known before its event_time (dividends, splits, memberships).
        columns: the vendor's column -> ours, for appends that give no columns= of their own; see `Schema.mapped`.
        tz: zone of the vendor's times that name none.
        known_at: time of day and zone at which dates of publication count as known.
    """

    kind: Kind
    fields: Mapping[str, Field]
    keys: tuple[str, ...] = ()
    calendar: str | None = None
    currency: str | None = None
    known_basis: str = "observed"
    known_lag: str | None = None
    partial: bool = False
    announced_ahead: bool = False
    description: str = ""
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tz: str | None = None
    known_at: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of schema", self.kind, KINDS)
        if not isinstance(self.fields, Mapping) or not (self.fields or self.kind == "events"):
            raise InputError(
                f"`fields` maps each field to its unit, such as {{'eps': 'USD/share'}}, but got {shown(self.fields)}."
            )
        held = {check_field_name(name): as_field(name, value) for name, value in self.fields.items()}
        if len({name.lower() for name in held}) < len(held):
            twins = sorted(held, key=str.lower)
            one, two = next(pair for pair in itertools.pairwise(twins) if pair[0].lower() == pair[1].lower())
            raise InputError(f"Fields {one!r} and {two!r} differ by case alone, which other engines do not tell apart.")
        object.__setattr__(self, "keys", _checked_keys(self.keys, held))
        object.__setattr__(self, "fields", MappingProxyType(held))
        if self.calendar is not None:
            calendar_of(self.calendar)
        if self.known_basis not in STATED:
            raise unknown_name("known_basis", self.known_basis, STATED)
        if self.known_lag is not None:
            lag_ns(self.known_lag)
        object.__setattr__(self, "columns", checked_columns(self.columns, held))
        if self.tz is not None:
            check_zone(self.tz, "tz")
        if self.known_at is not None:
            time_of_day(self.known_at)

    def __repr__(self) -> str:
        """What differs from a plain schema, on a line a field."""
        plain = {at.name: at.default for at in dataclasses.fields(self)}
        said = [
            f"{name}={dict(value) if isinstance(value, Mapping) else value!r}"
            for name in self.__slots__
            if name not in ("kind", "fields") and (value := getattr(self, name)) and value != plain[name]
        ]
        names = list(self.fields)
        lines = [f"  {name}: {self.fields[name].told()}" for name in names[:20]]
        more = [f"  ... and {len(names) - 20} more"] if len(names) > 20 else []
        return "\n".join([f"Schema of {', '.join([self.kind, *said])}", *lines, *more])

    @property
    def numeric(self) -> tuple[str, ...]:
        """Fields that can be a panel of numbers: float64, int64, and bool as 1.0 and 0.0."""
        return tuple(name for name, held in self.fields.items() if held.numeric)

    @property
    def labels_open(self) -> bool:
        """Whether a date without a time means its session's open, as for what is in force from then, not its close."""
        return self.kind in ("intervals", "actions")

    @staticmethod
    def field(
        unit: str,
        *,
        dtype: DType = "float64",
        low: float | None = None,
        high: float | None = None,
        currency: str | None = None,
        description: str = "",
    ) -> Field:
        """A field with a type and bounds, such as ``Schema.field("shares", dtype="int64", low=0)``.

        Args:
            unit: such as ``"USD/share"``.
            dtype: ``"float64"``, ``"int64"`` (whole, at most 2**53), ``"bool"``, ``"string"`` or ``"timestamp"``.
            low: least value allowed, included. A row outside its bounds is quarantined.
            high: greatest value allowed, included.
            currency: of the values.
            description: a sentence for people.

        Raises: InputError, UnknownNameError.
        """
        return Field(unit=unit, dtype=dtype, low=low, high=high, currency=currency, description=description)

    @classmethod
    def bars(
        cls,
        *,
        calendar: str | None = None,
        currency: str | None = None,
        fields: Mapping[str, Field | str] | None = None,
        known_basis: str = "observed",
        known_lag: str | None = None,
        partial: bool = False,
        description: str = "",
    ) -> Self:
        """Bars of open, high, low, close and volume; those an append does not supply are simply absent.

        Args:
            calendar: exchange code or ``"24/7"``; dates without a time are labelled by the close of their session.
            currency: of the prices, such as ``"USD"``.
            fields: further fields, such as ``{"vwap": "USD/share"}``.
            known_basis: see `BASES`.
            known_lag: declared lag for rows without a known_time, such as ``"0s"`` or ``"1d"``.
            partial: whether single cells of open, high, low or volume may be missing; close never may.
            description: a sentence for people.

        Raises: InputError, UnknownNameError.
        """
        price = Field(unit=f"{currency or 'currency'}/share", currency=currency)
        return cls(
            kind="bars",
            fields={**dict.fromkeys(PRICES, price), "volume": Field(unit="shares"), **_fields(fields)},
            calendar=calendar,
            currency=currency,
            known_basis=known_basis,
            known_lag=known_lag,
            partial=partial,
            description=description,
        )

    @classmethod
    def facts(
        cls,
        *,
        fields: Mapping[str, Field | str],
        keys: Sequence[str] = (),
        calendar: str | None = None,
        known_basis: str = "observed",
        known_lag: str | None = None,
        announced_ahead: bool = False,
        description: str = "",
    ) -> Self:
        """Facts about periods, such as fundamentals: sparse, revised, restated, withdrawn.

        A row states all fields of its period at once: a null field of the current row is NaN, even where an older
        row had a value. Datasets whose fields are published apart are better kept apart, or one entity a series.

        Args:
            fields: field -> unit or `Schema.field`, such as ``{"eps": "USD/share", "revenues": "USD"}``.
            keys: string fields that tell facts of one entity and period apart, such as ``("segment",)``.
            calendar: exchange code, if event times are sessions.
            known_basis: see `BASES`.
            known_lag: declared lag for rows without a known_time.
            announced_ahead: whether known_time may precede event_time.
            description: a sentence for people.

        Raises: InputError, UnknownNameError.
        """
        return cls(
            kind="facts",
            fields=_with_keys(fields, keys),
            keys=_names(keys),
            calendar=calendar,
            known_basis=known_basis,
            known_lag=known_lag,
            announced_ahead=announced_ahead,
            description=description,
        )

    @classmethod
    def events(
        cls,
        *,
        fields: Mapping[str, Field | str] | None = None,
        keys: Sequence[str] = (),
        calendar: str | None = None,
        known_basis: str = "observed",
        known_lag: str | None = None,
        announced_ahead: bool = False,
        description: str = "",
    ) -> Self:
        """What happened to an entity at a moment: filings, ratings, headlines. A row may have no field at all.

        Args:
            fields: field -> unit or `Schema.field`.
            keys: string fields that tell events of one entity and moment apart, such as ``("source",)``.
            calendar: exchange code, if dates without a time mean the close of their session.
            known_basis: see `BASES`.
            known_lag: declared lag for rows without a known_time.
            announced_ahead: whether an event may be known before it happens (a calendar of coming reports).
            description: a sentence for people.

        Raises: InputError, UnknownNameError.
        """
        return cls(
            kind="events",
            fields=_with_keys(fields, keys),
            keys=_names(keys),
            calendar=calendar,
            known_basis=known_basis,
            known_lag=known_lag,
            announced_ahead=announced_ahead,
            description=description,
        )

    @classmethod
    def intervals(
        cls,
        *,
        fields: Mapping[str, Field | str] | None = None,
        keys: Sequence[str] = (),
        calendar: str | None = None,
        known_basis: str = "observed",
        known_lag: str | None = None,
        description: str = "",
    ) -> Self:
        """What held from event_time until `end`: index membership, tickers, ratings in force.

        event_time is the first moment of validity and the field `end` the first moment after it, null while open.
        A row may be known before it begins.

        Args:
            fields: further fields, such as ``{"weight": "1"}``.
            keys: string fields that tell intervals of one entity apart, such as ``("index",)`` or ``("ticker",)``.
            calendar: exchange code: dates without a time, in event_time and `end`, are then session opens. None:
                dates are midnights of ``tz=``.
            known_basis: see `BASES`.
            known_lag: declared lag for rows without a known_time.
            description: a sentence for people.

        Raises: InputError, UnknownNameError.
        """
        if "end" in (fields or {}) or "end" in keys:
            raise InputError(
                "`end` is a field of every schema of intervals already; leave it out of fields= and keys=."
            )
        end = Field(unit="time", dtype="timestamp", description="first moment after the interval; null while open")
        return cls(
            kind="intervals",
            fields={**_with_keys(None, keys), "end": end, **_with_keys(fields, keys)},
            keys=_names(keys),
            calendar=calendar,
            known_basis=known_basis,
            known_lag=known_lag,
            announced_ahead=True,
            description=description,
        )

    @classmethod
    def actions(
        cls,
        *,
        keys: Sequence[str] = (),
        calendar: str | None = None,
        known_basis: str = "observed",
        known_lag: str | None = None,
        description: str = "",
    ) -> Self:
        """Corporate actions: event_time is the ex-date, known_time the announcement; a period is one entity, ex-date
        and type, and what `keys` adds.

        Fields: type (one of `ACTIONS`), ratio (new shares per old), amount (cash per old share), currency,
        successor (entity), note.

        Args:
            keys: string fields that tell actions of one entity, ex-date and type apart, such as ``("class",)`` where a
                regular and a special dividend go ex on one day; without one they are one row with their sum.
            calendar: exchange code: an ex-date without a time is the open of its session.
            known_basis: see `BASES`.
            known_lag: declared lag for rows without a known_time.
            description: a sentence for people.

        Raises: InputError, UnknownNameError.
        """
        return cls(
            kind="actions",
            fields={
                **_with_keys(None, keys),
                "type": Field(unit="text", dtype="string", description=f"one of {', '.join(ACTIONS)}"),
                "ratio": Field(unit="new shares/old share"),
                "amount": Field(unit="currency/old share", description="cash for each share held before the ex-date"),
                "currency": Field(unit="text", dtype="string", description="of the amount"),
                "successor": Field(unit="text", dtype="string", description="entity that continues or is received"),
                "note": Field(unit="text", dtype="string"),
            },
            keys=("type", *_names(keys)),
            calendar=calendar,
            known_basis=known_basis,
            known_lag=known_lag,
            announced_ahead=True,
            description=description,
        )

    def mapped(
        self, columns: Mapping[str, str] | None = None, *, tz: str | None = None, known_at: str | None = None
    ) -> Self:
        """The schema with a feed's habits declared once, so that no append has to repeat them.

        Args:
            columns: the vendor's column -> ours, such as ``{"symbol": "entity", "date": "event_time"}``. An append's
                own ``columns=`` takes the place of all of it; ``columns={}`` says that the columns bear our names.
            tz: zone of times that name none.
            known_at: where the vendor states publication by date alone: the time of day at which a value counts as
                known, and its zone, such as ``"16:30 America/New_York"``. Without it a date counts from its end.

        Raises: InputError, UnknownNameError.
        """
        return replace(self, columns=columns or {}, tz=tz, known_at=known_at)

    def to_json(self) -> str:
        """The schema as one JSON page."""
        page: dict[str, Any] = {"format": FORMAT}
        page.update({name: getattr(self, name) for name in self.__slots__})
        page["columns"] = dict(self.columns)
        page["fields"] = {name: asdict(held) for name, held in self.fields.items()}
        return json.dumps(page, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Read what `to_json` wrote.

        Raises: StoreError if the page is damaged or of a newer release.
        """
        try:
            page = dict(json.loads(text))
            found = page.pop("format")
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{where} is damaged: {error}. Restore it from a copy; the data are untouched.") from error
        if found not in (1, FORMAT):
            raise StoreError(f"{where} has format {shown(found)}; this release reads 1 to {FORMAT}. Update knowable.")
        try:
            fields = page.pop("fields")
            held = {name: Field(**item) if isinstance(item, dict) else item for name, item in fields.items()}
            return cls(fields=held, **page)
        except (TypeError, AttributeError, KeyError, InputError, LookupError) as error:
            raise StoreError(f"{where} is damaged: {error}") from error


def table_schema(schema: Schema) -> pa.Schema:
    """Columns of the Delta table of a dataset."""
    return pa.schema(
        [
            ("entity", pa.string()),
            ("event_time", _TIME),
            ("known_time", _TIME),
            ("revision", pa.int64()),
            ("op", pa.string()),
            ("known_basis", pa.string()),
            *((name, held.physical) for name, held in schema.fields.items()),
        ]
    )


def lag_ns(lag: object) -> int:
    """A lag such as ``"1d"`` or ``"16h"`` in nanoseconds.

    Raises: InputError if it is no duration, or negative.
    """
    if isinstance(lag, (int, float, np.number)):  # it has no unit; pandas would take it for nanoseconds
        raise InputError(f"{shown(lag)} is not a lag; '1d', '16h' or '30min' are.")
    try:
        plain = re.sub(r"(?<=\d)\s*d\b", "D", lag) if isinstance(lag, str) else lag  # pandas is giving up the small d
        span = pd.Timedelta(plain)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise InputError(f"{shown(lag)} is not a lag; '1d', '16h' or '30min' are.") from error
    if pd.isna(span) or span < pd.Timedelta(0):
        raise InputError(f"A lag must be 0 or more, such as '1d', but it is {shown(lag)}.")
    return int(span.as_unit("ns").value)


def _fields(fields: Mapping[str, Field | str] | None) -> dict[str, Field]:
    if fields is not None and not isinstance(fields, Mapping):
        raise InputError(
            f"`fields` maps each field to its unit, such as {{'eps': 'USD/share'}}, but got {shown(fields)}."
        )
    return {name: as_field(name, value) for name, value in (fields or {}).items()}


def _with_keys(fields: Mapping[str, Field | str] | None, keys: Sequence[str]) -> dict[str, Field]:
    """The key fields first, those that are not declared as plain text."""
    held = _fields(fields)
    return {**{name: held.get(name, Field(unit="text", dtype="string")) for name in _names(keys)}, **held}


def _names(keys: object) -> tuple[str, ...]:
    if isinstance(keys, str) or not isinstance(keys, Sequence):
        raise InputError(f"`keys` must be a list of field names, such as ['index'], but it is {shown(keys)}.")
    return tuple(keys)


def _checked_keys(keys: object, fields: Mapping[str, Field]) -> tuple[str, ...]:
    names = _names(keys)
    for name in names:
        if name not in fields:
            raise unknown_name("field", name, fields, where="`keys`")
        if fields[name].dtype != "string":
            raise InputError(f"Key {name!r} must be a string field, but its dtype is {fields[name].dtype!r}.")
    if len(set(names)) < len(names):
        raise InputError(f"`keys` names {next(n for n in names if names.count(n) > 1)!r} twice.")
    return names
