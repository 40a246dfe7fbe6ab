"""Functions of each cell alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from knowable.errors import InputError
from knowable.features.apply import apply, feature_of
from knowable.features.symbols import Symbol

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = [
    "abs",
    "clip",
    "exp",
    "fill",
    "isnan",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "sign",
    "signed_power",
    "sqrt",
    "where",
]


def where(condition: Any, a: Any, b: Any) -> Feature:
    """`a` where the condition is not 0, `b` where it is 0, NaN where it is NaN; each a feature or a number."""
    return apply("where", condition, a, b)


def log(x: Feature) -> Feature:
    """Natural logarithm: -inf at 0, NaN below."""
    return apply("log", x)


def log1p(x: Feature) -> Feature:
    """log(1 + x), accurate near zero."""
    return apply("log1p", x)


def exp(x: Feature) -> Feature:
    """Exponential function, e to the power x."""
    return apply("exp", x)


def sqrt(x: Feature) -> Feature:
    """Square root; NaN below 0."""
    return apply("sqrt", x)


def sign(x: Feature) -> Feature:
    """-1, 0 or 1; NaN stays NaN."""
    return apply("sign", x)


def abs(x: Feature) -> Feature:
    """Absolute value."""
    return apply("abs", x)


def isnan(x: Feature) -> Feature:
    """1.0 where x is missing, else 0.0."""
    return apply("isnan", x)


def fill(x: Feature, value: Any) -> Feature:
    """`x`, and `value`, a number or a feature, where x is missing. For the last known value see `ffill`."""
    return apply("where", isnan(feature_of("fill", x)), value, x)


def signed_power(x: Feature, p: Any) -> Feature:
    """sign(x) * abs(x)**p: a power that keeps the sign; p a number or a feature."""
    base = feature_of("signed_power", x)
    return apply("*", sign(base), apply("**", abs(base), p))


def minimum(a: Any, b: Any) -> Feature:
    """The lower of both, cell by cell; NaN if either is."""
    return apply("minimum", a, b)


def maximum(a: Any, b: Any) -> Feature:
    """The higher of both, cell by cell; NaN if either is."""
    return apply("maximum", a, b)


def clip(x: Feature, low: Any, high: Any) -> Feature:
    """`x` held within [low, high]; bounds are features or numbers. Raises: InputError if low > high."""
    plain = all(type(bound) is not Symbol and isinstance(bound, int | float) for bound in (low, high))
    if plain and not low <= high:
        raise InputError(f"`low <= high` must hold, but low={low!r}, high={high!r}, in clip({x!r}, ...).")
    return apply("minimum", apply("maximum", x, low), high)
