"""Checks of what callers hand in."""

from __future__ import annotations

import math
import numbers

import numpy as np

from knowable.errors import InputError, shown

__all__ = ["checked_value", "checked_whole"]


def checked_whole(name: str, value: object, least: int, where: str) -> int:
    """`value` as an int, or InputError when it is not a whole number >= `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"`{name}` must be a whole number >= {least}, but {name}={shown(value)}, in {where}.")
    return int(value)


def checked_value(value: object, number: int) -> float | None:
    """An objective value as a finite float; None for a failed trial. Raises InputError when it is no number."""
    if value is None:
        return None
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise InputError(
            f"`value` must be a number, or None for a failed trial, but value={shown(value)} is of type "
            f"{type(value).__name__}, for trial {number}."
        )
    try:
        score = float(value)
    except OverflowError:  # a whole number beyond the range of floats
        return None
    return score if math.isfinite(score) else None
