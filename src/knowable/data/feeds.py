"""What a feed declares once: names of columns, zones, times of day."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import pandas as pd

from knowable.data.names import RESERVED
from knowable.errors import InputError, shown, unknown_name

__all__ = ["check_zone", "checked_columns", "time_of_day"]

_TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?\s+(\S+)")


def time_of_day(text: object) -> tuple[int, str]:
    """A time of day and its zone, such as ``"16:30 America/New_York"``: (wall-clock ns after midnight, zone).

    Raises: InputError.
    """
    found = _TIME_OF_DAY.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise InputError(
            f"`known_at` must be a time of day and a zone, such as '16:30 America/New_York', but it is {shown(text)}."
        )
    hour, minute, second, zone = int(found[1]), int(found[2]), int(found[3] or 0), found[4]
    return ((hour * 60 + minute) * 60 + second) * 10**9, check_zone(zone, "known_at")


def check_zone(zone: object, name: str) -> str:
    """Return the name of a time zone.

    Raises: InputError if there is none of that name.
    """
    try:
        pd.Timestamp(0).tz_localize(str(zone) if zone else "")
    except (LookupError, ValueError, TypeError, OSError) as error:
        raise InputError(
            f"`{name}` must name a time zone, such as 'America/New_York', but {name}={shown(zone)}."
        ) from error
    return str(zone)


def checked_columns(columns: object, fields: Iterable[str]) -> Mapping[str, str]:
    """A mapping from the vendor's columns to ours, read-only.

    Raises: InputError; UnknownNameError if it leads to a column that is no field.
    """
    if not isinstance(columns, Mapping):
        raise InputError(f"`columns` maps the vendor's columns to ours, but it is {shown(columns)}.")
    known = [*sorted(RESERVED - {"known_basis"}), *fields]
    for vendor, ours in columns.items():
        if not isinstance(vendor, str) or ours not in known:
            raise unknown_name("column", ours, known, where=f"`columns` ({shown(vendor)})")
    taken = list(columns.values())
    if len(set(taken)) < len(taken):
        twice = next(name for name in taken if taken.count(name) > 1)
        raise InputError(f"`columns` maps two columns to {twice!r}; each name once.")
    return MappingProxyType(dict(columns))
