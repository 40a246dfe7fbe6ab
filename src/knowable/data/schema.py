"""`Schema`: what a dataset holds, in which units, and how its rows came to be known."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self

import pandas as pd

from knowable.calendars import calendar as calendar_of
from knowable.data.names import check_field_name
from knowable.errors import InputError, StoreError, shown, unknown_name

__all__ = ["BASES", "PRICES", "Schema", "lag_ns"]

FORMAT = 1
PRICES = ("open", "high", "low", "close")
BASES: Mapping[str, str] = MappingProxyType(
    {
        "observed": "the moment was recorded when the value was captured",
        "vendor": "a vendor or publisher states the moment; backfills are possible",
        "assumed_lag": "nobody recorded the moment; a declared lag stands in for it",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a dataset holds. Make one with `Schema.bars` or `Schema.facts`.

    Attributes:
        kind: ``"bars"`` (a value an entity and bar) or ``"facts"`` (a value an entity and period, revised at will).
        fields: field name -> unit, all float64.
        calendar: exchange code or ``"24/7"``: dates without a time are then session closes. None: times only.
        currency: of the prices.
        known_basis: how the rows came to be known, unless an append says otherwise; one of `BASES`.
        known_lag: lag after event_time at which rows without a known_time count as known, such as ``"1d"``.
        partial: whether a bar may lack open, high, low or volume in some rows.
        announced_ahead: whether a value may be known before its event_time (dividends, splits).
    """

    kind: Literal["bars", "facts"]
    fields: Mapping[str, str]
    calendar: str | None = None
    currency: str | None = None
    known_basis: str = "observed"
    known_lag: str | None = None
    partial: bool = False
    announced_ahead: bool = False
    description: str = field(default="")

    def __post_init__(self) -> None:
        if self.kind not in ("bars", "facts"):
            raise unknown_name("kind of schema", self.kind, ["bars", "facts"])
        if not isinstance(self.fields, Mapping) or not self.fields:
            raise InputError(
                f"`fields` maps each field to its unit, such as {{'eps': 'USD/share'}}, but got {shown(self.fields)}."
            )
        for name, unit in self.fields.items():
            check_field_name(name)
            if not isinstance(unit, str):
                raise InputError(f"The unit of field {name!r} must be text, such as 'USD', but it is {shown(unit)}.")
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))
        if self.calendar is not None:
            calendar_of(self.calendar)
        if self.known_basis not in BASES:
            raise unknown_name("known_basis", self.known_basis, BASES)
        if self.known_lag is not None:
            lag_ns(self.known_lag)

    @classmethod
    def bars(
        cls,
        *,
        calendar: str | None = None,
        currency: str | None = None,
        fields: Mapping[str, str] | None = None,
        known_basis: str = "observed",
        known_lag: str | None = None,
        partial: bool = False,
        description: str = "",
    ) -> Self:
        """Bars of open, high, low, close and volume; those an append does not supply are simply absent.

        Args:
            calendar: exchange code or ``"24/7"``; dates without a time are labelled by the close of their session.
            currency: of the prices, such as ``"USD"``.
            fields: further fields and their units, such as ``{"vwap": "USD/share"}``.
            known_basis: see `BASES`.
            known_lag: declared lag for rows without a known_time, such as ``"0s"`` or ``"1d"``.
            partial: whether single cells of open, high, low or volume may be missing; close never may.
            description: a sentence for people.

        Raises: InputError, UnknownNameError.
        """
        price = f"{currency or 'currency'}/share"
        held = {**dict.fromkeys(PRICES, price), "volume": "shares", **(fields or {})}
        return cls(
            kind="bars",
            fields=held,
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
        fields: Mapping[str, str],
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
            fields: field -> unit, such as ``{"eps": "USD/share", "revenues": "USD"}``.
            calendar: exchange code, if event times are sessions.
            known_basis: see `BASES`.
            known_lag: declared lag for rows without a known_time.
            announced_ahead: whether known_time may precede event_time.
            description: a sentence for people.

        Raises: InputError, UnknownNameError.
        """
        return cls(
            kind="facts",
            fields=fields,
            calendar=calendar,
            known_basis=known_basis,
            known_lag=known_lag,
            announced_ahead=announced_ahead,
            description=description,
        )

    def to_json(self) -> str:
        """The schema as one JSON page."""
        page: dict[str, Any] = {"format": FORMAT}
        for name in self.__slots__:
            value = getattr(self, name)
            page[name] = dict(value) if isinstance(value, Mapping) else value
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
        if found != FORMAT:
            raise StoreError(f"{where} has format {shown(found)}; this release reads {FORMAT}. Update knowable.")
        try:
            return cls(**page)
        except (TypeError, InputError, LookupError) as error:
            raise StoreError(f"{where} is damaged: {error}") from error


def lag_ns(lag: object) -> int:
    """A lag such as ``"1d"`` or ``"16h"`` in nanoseconds.

    Raises: InputError if it is no duration, or negative.
    """
    try:
        plain = re.sub(r"(?<=\d)\s*d\b", "D", lag) if isinstance(lag, str) else lag  # pandas is giving up the small d
        span = pd.Timedelta(plain)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise InputError(f"{shown(lag)} is not a lag; '1d', '16h' or '30min' are.") from error
    if pd.isna(span) or span < pd.Timedelta(0):
        raise InputError(f"`known_lag >= 0` must hold, but known_lag={shown(lag)}.")
    return int(span.as_unit("ns").value)
