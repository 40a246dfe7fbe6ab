"""`Field`: what one column of values means, and of which type it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import pyarrow as pa

from knowable.errors import InputError, shown, unknown_name

__all__ = ["DTYPES", "DType", "Field", "as_field"]

DType = Literal["float64", "int64", "bool", "string", "timestamp"]
DTYPES: tuple[str, ...] = get_args(DType)
_TIME = pa.timestamp("us", "UTC")
# int64 values are whole and at most 2**53, which a double holds exactly; so int64 widens to float64 without a rewrite.
_PHYSICAL: Mapping[str, pa.DataType] = MappingProxyType(
    {"float64": pa.float64(), "int64": pa.float64(), "bool": pa.bool_(), "string": pa.string(), "timestamp": _TIME}
)
_NUMERIC = ("float64", "int64", "bool")
_BOUNDED = ("float64", "int64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What one column of values means. Make one with `Schema.field`; a plain text stands for its unit alone.

    Attributes:
        unit: such as ``"USD/share"``, ``"shares"``, ``"text"``.
        dtype: ``"float64"``, ``"int64"`` (whole, at most 2**53), ``"bool"``, ``"string"`` or ``"timestamp"``.
        low: least value allowed, included; None: no bound.
        high: greatest value allowed, included; None: no bound.
        currency: of the values, such as ``"USD"``.
        description: a sentence for people.
    """

    unit: str
    dtype: DType = "float64"
    low: float | None = None
    high: float | None = None
    currency: str | None = None
    description: str = ""

    def told(self) -> str:
        """Type, unit and bounds, for messages."""
        bounds = "" if self.low is None and self.high is None else f" within {self.span()}"
        return f"{self.dtype} in {self.unit!r}{bounds}"

    def span(self) -> str:
        """The bounds, for messages."""
        low = "-inf" if self.low is None else f"{self.low:.15g}"
        high = "inf" if self.high is None else f"{self.high:.15g}"
        return f"[{low}, {high}]"

    def __post_init__(self) -> None:
        if not isinstance(self.unit, str):
            raise InputError(f"The unit of a field must be text, such as 'USD', but it is {shown(self.unit)}.")
        if self.dtype not in _PHYSICAL:
            raise unknown_name("dtype of a field", self.dtype, _PHYSICAL)
        for name in ("low", "high"):
            object.__setattr__(self, name, self._bound(name, getattr(self, name)))
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InputError(f"`low <= high` must hold, but low={self.low:g}, high={self.high:g}.")
        if self.currency is not None and not isinstance(self.currency, str):
            raise InputError(f"`currency` must be text, such as 'USD', but it is {shown(self.currency)}.")
        if not isinstance(self.description, str):
            raise InputError(f"`description` must be text, but it is {shown(self.description)}.")

    @property
    def numeric(self) -> bool:
        """Whether the values can be a panel of numbers; a bool counts as 1.0 and 0.0."""
        return self.dtype in _NUMERIC

    @property
    def physical(self) -> pa.DataType:
        """Type of the column in the table. int64 is stored as double, so that it widens without a rewrite."""
        return _PHYSICAL[self.dtype]

    def _bound(self, name: str, value: object) -> float | None:
        if value is None:
            return None
        if self.dtype not in _BOUNDED:
            raise InputError(f"`{name}` bounds numbers only, but the field's dtype is {self.dtype!r}.")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(f"`{name}` must be a finite number or None, but it is {shown(value)}.")
        return float(value)


def as_field(name: str, value: object) -> Field:
    """A field as a user writes it: a `Field`, or its unit alone. Raises: InputError."""
    if isinstance(value, Field):
        return value
    if isinstance(value, str):
        return Field(unit=value)
    raise InputError(
        f"Field {name!r} must be a unit, such as 'USD', or Schema.field('USD', ...), but it is {shown(value)}."
    )
