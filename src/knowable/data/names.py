"""Names that may reach a path or a page: an allow-list, so nothing else has to be thought of."""

from __future__ import annotations

import re

from knowable.errors import InputError, shown

__all__ = ["check_dataset_name", "check_field_name", "is_entity_name"]

RESERVED = frozenset({"entity", "event_time", "known_time", "revision", "op", "known_basis"})

# Permanent ids and tickers: BRK.B, ^GSPC, EURUSD=X, 000001:XSHE. No slash, no "..", no control or direction marks.
_ENTITY = re.compile(r"[\w^$#=](?:[ .]?[\w^$#=&+:@-]){0,63}")
_DATASET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)


def check_dataset_name(name: object) -> str:
    """Return the name if it may become a folder.

    Raises: InputError.
    """
    if not isinstance(name, str) or not _DATASET.fullmatch(name):
        raise InputError(
            f"{shown(name)} cannot be a dataset name: 1 to 64 letters, digits, '_' or '-' of ASCII are allowed, "
            "the first no '-'."
        )
    return name


def check_field_name(name: object) -> str:
    """Return the name if it may become a column and an attribute of a market.

    Raises: InputError.
    """
    if not isinstance(name, str) or not _FIELD.fullmatch(name):
        raise InputError(
            f"{shown(name)} cannot be a field name: 1 to 64 letters, digits or '_' of ASCII are allowed, "
            "the first no digit."
        )
    if name in RESERVED:
        raise InputError(f"{name!r} cannot be a field name: a store uses that column itself. Choose another.")
    return name


def is_entity_name(name: str | None) -> bool:
    """Whether a name may enter the store: 1 to 64 letters, digits and a few marks."""
    return name is not None and len(name) <= 64 and _ENTITY.fullmatch(name) is not None
