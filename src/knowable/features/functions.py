"""Free functions on features; moving ones and cross-sections are methods of `Feature` too."""

from __future__ import annotations

from typing import Any

from knowable.errors import InputError, shown
from knowable.features.feature import Feature, apply
from knowable.features.symbols import Symbol

__all__ = [
    "abs", "clip", "cross_sum", "delta", "demean", "ewm", "exp", "isnan", "lag", "log", "log1p", "max", "maximum",
    "mean", "min", "minimum", "rank", "sign", "sqrt", "std", "sum", "where", "zscore",
]  # fmt: skip


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


def abs(x: Feature) -> Feature:  # noqa: A001 - named as in the language it extends
    """Absolute value."""
    return apply("abs", x)


def isnan(x: Feature) -> Feature:
    """1.0 where x is missing, else 0.0."""
    return apply("isnan", x)


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


def lag(x: Feature, n: int) -> Feature:
    """The value `n` bars before, n >= 0."""
    return _feature("lag", x).lag(n)


def delta(x: Feature, n: int) -> Feature:
    """The change over `n` bars."""
    return _feature("delta", x).delta(n)


def sum(x: Feature, window: int) -> Feature:  # noqa: A001 - named as the method
    """Moving sum; see Feature.sum."""
    return apply("sum", x, window=window)


def mean(x: Feature, window: int) -> Feature:
    """Moving mean; see Feature.mean."""
    return apply("mean", x, window=window)


def std(x: Feature, window: int) -> Feature:
    """Moving sample deviation; see Feature.std."""
    return apply("std", x, window=window)


def min(x: Feature, window: int) -> Feature:  # noqa: A001 - named as the method
    """Moving minimum; see Feature.min. For the lower of two features: minimum(a, b)."""
    return apply("min", x, window=window)


def max(x: Feature, window: int) -> Feature:  # noqa: A001 - named as the method
    """Moving maximum; see Feature.max. For the higher of two features: maximum(a, b)."""
    return apply("max", x, window=window)


def ewm(x: Feature, span: float) -> Feature:
    """Exponentially weighted mean; see Feature.ewm."""
    return apply("ewm", x, span=span)


def rank(x: Feature, descending: bool = False) -> Feature:
    """Rank within the bar; see Feature.rank."""
    return apply("rank", x, descending=descending)


def zscore(x: Feature) -> Feature:
    """Standardised within the bar; see Feature.zscore."""
    return apply("zscore", x)


def demean(x: Feature) -> Feature:
    """Less the bar's mean; see Feature.demean."""
    return apply("demean", x)


def cross_sum(x: Feature) -> Feature:
    """Sum within the bar; see Feature.cross_sum."""
    return apply("cross_sum", x)


def _feature(op: str, x: Any) -> Feature:
    if type(x) is Feature:
        return x
    raise InputError(f"`{op}` needs a feature, such as market.close, but got {shown(x)}.")
