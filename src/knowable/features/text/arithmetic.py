"""Arithmetic of plain numbers in a text, ``1 / 3`` or ``2 * 20``: bounded, so that no text can take long."""

from __future__ import annotations

import operator
from typing import Any

from knowable.errors import InputError, shown

__all__ = ["combined"]

_WHOLE = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_FLOAT = {**_WHOLE, "/": operator.truediv, "**": operator.pow}
_MOST = 2**62
_REASONS = {OverflowError: "it is too large", ZeroDivisionError: "a division by zero"}


def combined(sign: str, *values: Any) -> Any:
    """A number made of one or two; whole numbers stay whole under ``+ - * **`` while they fit into 64 bits.

    Raises: InputError for other operators, for what is no number, and where no number comes out.
    """
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"`{sign}` needs fields or numbers, but {shown(value)} came.")
    if len(values) == 1 and sign in ("-", "+"):
        return -values[0] if sign == "-" else values[0]
    whole = all(isinstance(value, int) for value in values)
    if whole and sign in _WHOLE:
        exact = int(_WHOLE[sign](*values))
        return exact if abs(exact) <= _MOST else float(exact)
    if whole and sign == "**" and 0 <= values[1] < _MOST.bit_length():
        exact = int(values[0] ** values[1])
        if abs(exact) <= _MOST:
            return exact
    if sign not in _FLOAT or len(values) == 1:
        raise InputError(
            f"`{sign}` needs a field on one side at least, but has plain numbers only. It binds as in Python: & and |\n"
            "bind more than comparisons, so that those stand in parentheses: (a > 1) & (b < 2)."
        )
    try:
        made = _FLOAT[sign](*(float(value) for value in values))
    except ArithmeticError as error:
        raise InputError(f"{values[0]!r} {sign} {values[1]!r} is no number: {_REASONS[type(error)]}.") from None
    if isinstance(made, complex):
        raise InputError(f"{values[0]!r} ** {values[1]!r} is no real number.")
    return float(made)
