"""One spelling for plain data, and the key of a trial made from it.

Two drivers, on any machine, must spell the same parameters with the same bytes; then a hash of the bytes names the
trial. So: sorted keys, no spaces, ASCII, floats by their shortest exact form, and nothing that has no single spelling.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from knowable.errors import InputError, shown

__all__ = ["canonical_json", "plain", "trial_key"]

MAX_DEPTH = 64

Place: TypeAlias = "str | tuple[Place, str]"
"""Where in a value we are; spelt out only for an error."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False).encode


def canonical_json(value: object, *, where: str = "value") -> str:
    """Spell `value` as JSON in exactly one way.

    Args:
        value: None, bool, int, float, str, numpy scalars of these, lists or tuples, and mappings with text keys.
        where: what the value is, for the error.
    Returns: ASCII text without spaces; keys sorted. ``1``, ``1.0`` and ``True`` differ, and so do ``0.0`` and
        ``-0.0`` (a strategy may divide by them). A numpy scalar is spelt as the Python number it equals.
    NaN: refused, as are infinities: NaN equals nothing, so no key could be found again.
    Raises: InputError naming the place inside `value` and what came.
    """
    return _encode(plain(value, where))


def trial_key(**parts: object) -> str:
    """Name a trial by all that decides its result.

    Args:
        parts: such as ``code=..., params=..., data=..., seed=...``; each as `canonical_json` takes it.
    Returns: 32 hexadecimal digits, the same on every machine and for every order of the parts.
    Raises: InputError on no parts, a non-finite number or a type without one spelling.
    """
    if not parts:
        raise InputError("`trial_key` needs at least one part, but none came, as in trial_key(params={...}).")
    text = canonical_json(parts, where="trial_key")
    return hashlib.blake2b(text.encode("ascii"), digest_size=16, person=b"knowable.trial.1").hexdigest()


def plain(value: object, where: Place = "value", depth: int = 0) -> Any:
    """`value` with only dict, list, str, int, float, bool and None in it, or InputError naming the place."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:  # exact types first: this runs for every trial
        return value
    if kind is float and math.isfinite(value):  # type: ignore[arg-type]
        return value
    if depth > MAX_DEPTH:
        raise InputError(f"`{_spelt(where)[:60]}` is nested deeper than {MAX_DEPTH} levels; give plain, flat values.")
    if isinstance(value, Mapping):
        return {_name(name, where): plain(item, (where, f".{name}"), depth + 1) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, (where, f"[{i}]"), depth + 1) for i, item in enumerate(value)]
    return _plain_scalar(value.item() if isinstance(value, np.generic) else value, where)


def _plain_scalar(value: object, where: Place) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    place = _spelt(where)
    if isinstance(value, float):
        raise InputError(
            f"`{place}` must be finite, but {place}={value!r}: a NaN equals nothing, so it names no trial."
        )
    raise InputError(
        f"`{place}` is {shown(value)} of type {type(value).__name__}, which has no single spelling.\n"
        "Give text, numbers, booleans, None, or lists and mappings of these."
    )


def _name(name: object, where: Place) -> str:
    if not isinstance(name, str):
        raise InputError(
            f"`{_spelt(where)}` has the key {shown(name)} of type {type(name).__name__}; keys must be text."
        )
    return str(name)


def _spelt(where: Place) -> str:
    return where if isinstance(where, str) else _spelt(where[0]) + where[1]
