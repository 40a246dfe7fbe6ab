"""Evolution: how a schema may change while its stored rows stay as they are. Pure: from a schema to a schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from knowable.data.fields import DTYPES, DType, Field, as_field
from knowable.data.schema import Schema
from knowable.errors import InputError, shown, unknown_name

__all__ = ["difference", "evolved"]

# An int64 is stored as a double, so it widens by a word in the schema alone. No other two types share a column.
_WIDER: Mapping[str, tuple[str, ...]] = {"int64": ("float64",)}


def evolved(
    schema: Schema, add: Mapping[str, Field | str] | None, widen: Mapping[str, Field | str] | None, name: str
) -> Schema:
    """The schema with further fields and wider types.

    Args:
        schema: as it is.
        add: new fields; one that is there already in the same words changes nothing.
        widen: field -> wider dtype, or the field as it shall be, with a wider dtype or wider bounds.
        name: of the dataset, for messages.

    Raises: UnknownNameError for a field to widen that does not exist; InputError for one to add that exists in other
        words, for a narrower type or bound, and for a changed unit or currency.
    """
    for what, given in (("add", add), ("widen", widen)):
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"`{what}` maps fields to what they shall be, but it is {shown(given)}.")
    fields = dict(schema.fields)
    for key, value in (add or {}).items():
        new = as_field(key, value)
        twin = next((held for held in fields if held.lower() == key.lower() and held != key), None)
        if twin is not None:
            raise InputError(
                f"Field {key!r} differs from {twin!r} of dataset {name!r} by case alone. Choose another name."
            )
        if key in fields and fields[key] != new:
            raise InputError(
                f"Field {key!r} of dataset {name!r} exists already: {fields[key].told()}; add= gives {new.told()}.\n"
                "Choose another name, or widen its type or bounds: widen={...}."
            )
        fields[key] = new
    for key, value in (widen or {}).items():
        if key not in fields:
            raise unknown_name("field", key, fields, where=f"dataset {name!r}, to widen")
        fields[key] = _widened(key, fields[key], value, name)
    return replace(schema, fields=fields)


def difference(stored: Schema, asked: Schema, name: str) -> str:
    """What keeps a dataset from having the schema that is asked for, and the remedy."""
    dropped = [key for key in stored.fields if key not in asked.fields]
    if dropped:
        return (
            f"It has the field {dropped[0]!r}, which the other lacks. A field is never dropped, for stored versions "
            "have it: just stop supplying it, or choose another name for a dataset without it."
        )
    others = [at for at in asked.__slots__ if at != "fields" and getattr(asked, at) != getattr(stored, at)]
    if others:
        at = others[0]
        return (
            f"Its {at} is {shown(getattr(stored, at))}, not {shown(getattr(asked, at))}; that does not change under "
            "stored data. Choose another name."
        )
    new = {key: held for key, held in asked.fields.items() if key not in stored.fields}
    changed = {key: held for key, held in asked.fields.items() if stored.fields.get(key, held) != held}
    calls = [f"{what}={{{next(iter(held))!r}: ...}}" for what, held in (("add", new), ("widen", changed)) if held]
    first = next(iter({**changed, **new}))
    said = stored.fields[first].told() if first in stored.fields else "absent"
    return (
        f"Its field {first!r} is {said}, not {asked.fields[first].told()}.\n"
        f"A schema grows by store.evolve({name!r}, {', '.join(calls)}); stored rows stay as they are."
    )


def _widened(key: str, held: Field, value: object, name: str) -> Field:
    dtype = value if isinstance(value, str) else as_field(key, value).dtype
    if dtype not in DTYPES:
        raise unknown_name("dtype of a field", dtype, DTYPES)
    if dtype != held.dtype and dtype not in _WIDER.get(held.dtype, ()):
        raise InputError(
            f"Field {key!r} of dataset {name!r} is {held.dtype} and cannot become {dtype}: its values would change.\n"
            f"Only int64 widens, to float64. Add a field beside it instead: add={{'{key}_2': ...}}."
        )
    new = replace(held, dtype=cast("DType", value)) if isinstance(value, str) else as_field(key, value)
    narrower = (new.low is not None and (held.low is None or new.low > held.low)) or (
        new.high is not None and (held.high is None or new.high < held.high)
    )
    if narrower:
        raise InputError(
            f"The bounds of field {key!r} of dataset {name!r} cannot narrow from {held.span()} to {new.span()}: stored "
            "values may lie outside.\nAdd a field with the narrower bounds, or flag what is outside by a cleaning rule."
        )
    if (new.unit, new.currency) != (held.unit, held.currency):
        raise InputError(
            f"Field {key!r} of dataset {name!r} is in {held.unit!r} ({held.currency}); its stored values cannot become "
            f"{new.unit!r} ({new.currency}). Add a field beside it instead."
        )
    return new
