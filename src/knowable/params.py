"""Parameters a strategy declares and search samples: `Float`, `Int`, `Choice`.

A parameter is a frozen value that knows its range, checks a value against it, and maps it to and from the unit
interval. Used as a class attribute of a strategy it reads as the chosen value on an instance.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, overload

from knowable.errors import ParameterError, shown

__all__ = ["Choice", "Float", "Int", "Param", "Scalar"]

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Float:
    """A real number in ``[low, high]``.

    Args:
        low: smallest value, included.
        high: largest value, included.
        default: value used when none is given; the middle of the range (geometric if `log`) otherwise.
        log: search on a logarithmic scale; needs ``low > 0``.
        step: search only ``low + k * step``; any value in range may still be given by hand.

    Raises: ParameterError on an empty range or a default outside it.
    """

    low: float
    high: float
    default: float | None = None
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, _real(name, getattr(self, name), "Float"))
        _check_range(self, "Float")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ParameterError(f"`0 < step <= high - low` must hold, but step={shown(self.step)}, in {self!r}.")
        if self.default is None:
            middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
            object.__setattr__(self, "default", self._snap(middle))
        object.__setattr__(self, "default", self.check(self.default, "default", "Float"))

    @property
    def n_values(self) -> float:
        """How many distinct values search may choose; infinite without a step."""
        return math.inf if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def check(self, value: object, name: str, owner: str = "") -> float:
        """Return `value` as a float, or raise ParameterError naming the parameter, its range and its owner."""
        number = _real(name, value, owner, self)
        return float(_in_range(self, number, name, owner))

    def to_unit(self, value: float) -> float:
        """Position of `value` in ``[0, 1]``."""
        return _to_unit(float(value), self.low, self.high, self.log)

    def from_unit(self, u: float) -> float:
        """The value at position `u` of ``[0, 1]``, on the step grid if there is one."""
        return self._snap(_from_unit(u, self.low, self.high, self.log))

    def _snap(self, value: float) -> float:
        if self.step is not None:
            value = self.low + round((value - self.low) / self.step) * self.step
            value = min(value, self.low + (self.n_values - 1) * self.step)
        return min(max(float(value), self.low), self.high)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> float: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        return self


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in ``[low, high]``.

    Args:
        low: smallest value, included.
        high: largest value, included.
        default: value used when none is given; the middle of the range (geometric if `log`) otherwise.
        log: search on a logarithmic scale; needs ``low > 0``.
        step: search only ``low + k * step``; any whole number in range may still be given by hand.

    Raises: ParameterError on an empty range or a default outside it.
    """

    low: int
    high: int
    default: int | None = None
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            object.__setattr__(self, name, _whole(name, getattr(self, name), "Int"))
        _check_range(self, "Int")
        if self.step < 1:
            raise ParameterError(f"`step >= 1` must hold, but step={self.step}, in {self!r}.")
        if self.default is None:
            middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
            object.__setattr__(self, "default", self._snap(middle))
        object.__setattr__(self, "default", self.check(self.default, "default", "Int"))

    @property
    def n_values(self) -> float:
        """How many distinct values search may choose."""
        return (self.high - self.low) // self.step + 1

    def check(self, value: object, name: str, owner: str = "") -> int:
        """Return `value` as an int, or raise ParameterError naming the parameter, its range and its owner."""
        if type(value) is int and self.low <= value <= self.high:  # what nearly all of a sweep's values are
            return value
        return int(_in_range(self, _whole(name, value, owner, self), name, owner))

    def to_unit(self, value: float) -> float:
        """Position of `value` in ``[0, 1]``."""
        return _to_unit(float(value), self.low, self.high, self.log)

    def from_unit(self, u: float) -> int:
        """The nearest allowed whole number to position `u` of ``[0, 1]``."""
        return self._snap(_from_unit(u, self.low, self.high, self.log))

    def _snap(self, value: float) -> int:
        k = math.floor((value - self.low) / self.step + 0.5)
        return self.low + min(max(k, 0), int(self.n_values) - 1) * self.step

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> int: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        return self


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """One of a few named options, without an order.

    Args:
        options: the values (text, numbers, booleans or None), all different.
        default: value used when none is given; the first option otherwise.

    Raises: ParameterError on no options, equal options or a default that is none of them.
    """

    options: tuple[Scalar, ...]
    default: Scalar

    def __init__(self, options: Sequence[Scalar], default: Any = ...) -> None:
        if isinstance(options, str) or not isinstance(options, Sequence) or len(options) == 0:
            raise ParameterError(f"`options` must be a list with at least one value, but options={shown(options)}.")
        for option in options:
            if not (option is None or isinstance(option, (str, bool, int, float))):
                raise ParameterError(
                    f"Choice options are text, numbers, booleans or None, but one is {shown(option)}.\n"
                    "Give names, and look the object up in the strategy."
                )
        object.__setattr__(self, "options", tuple(options))
        if len({(type(option), option) for option in options}) != len(options):
            raise ParameterError(f"Choice options must all differ, but options={shown(list(options))}.")
        object.__setattr__(self, "default", options[0] if default is ... else default)
        self.check(self.default, "default", "Choice")

    @property
    def n_values(self) -> float:
        """How many options there are."""
        return len(self.options)

    def check(self, value: object, name: str, owner: str = "") -> Scalar:
        """Return the option equal to `value`, or raise ParameterError listing the options."""
        for option in self.options:
            if option is value or (type(option) is type(value) and option == value):
                return option
        listed = ", ".join(map(repr, self.options[:12])) + (", ..." if len(self.options) > 12 else "")
        raise ParameterError(f"`{name}` must be one of {listed}, but {name}={shown(value)}{_of(owner)}.")

    def to_unit(self, value: Scalar) -> float:
        """Middle of the option's share of ``[0, 1]``."""
        typed = [(type(option), option) for option in self.options]  # 1, 1.0 and True are equal, but not the same
        return (typed.index((type(value), value)) + 0.5) / len(self.options)

    def from_unit(self, u: float) -> Scalar:
        """The option whose share of ``[0, 1]`` holds `u`."""
        return self.options[min(int(u * len(self.options)), len(self.options) - 1)]

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Any: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        return self


Param: TypeAlias = Float | Int | Choice


def _of(owner: str) -> str:
    return f", in {owner}" if owner else ""


def _real(name: str, value: object, owner: str, param: Float | None = None) -> float:
    expected = f" in [{param.low:g}, {param.high:g}]" if param else ""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ParameterError(
            f"`{name}` must be a number{expected}, but {name}={shown(value)} "
            f"is of type {type(value).__name__}{_of(owner)}."
        )
    number = float(value)
    if not math.isfinite(number):
        raise ParameterError(f"`{name}` must be finite{expected}, but {name}={value!r}{_of(owner)}.")
    return number


def _whole(name: str, value: object, owner: str, param: Int | None = None) -> int:
    expected = f" in [{param.low}, {param.high}]" if param else ""
    whole = isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value).is_integer()
    if not whole:
        raise ParameterError(
            f"`{name}` must be a whole number{expected}, but {name}={shown(value)} "
            f"is of type {type(value).__name__}{_of(owner)}."
        )
    return int(value)  # type: ignore[call-overload, no-any-return]


def _in_range(param: Float | Int, number: float, name: str, owner: str) -> float:
    if not param.low <= number <= param.high:
        raise ParameterError(
            f"`{param.low:g} <= {name} <= {param.high:g}` must hold, but {name}={number:g}{_of(owner)}.\n"
            "Choose a value in the range, or widen it where the parameter is declared."
        )
    return number


def _check_range(param: Float | Int, kind: str) -> None:
    if not param.low < param.high:
        raise ParameterError(f"`low < high` must hold, but low={param.low}, high={param.high}, in {kind}.")
    if param.log and param.low <= 0:
        raise ParameterError(f"`low > 0` must hold on a log scale, but low={param.low}, in {kind}.")


def _to_unit(value: float, low: float, high: float, log: bool) -> float:
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _from_unit(u: float, low: float, high: float, log: bool) -> float:
    u = min(max(float(u), 0.0), 1.0)
    if log:
        return low * math.exp(u * math.log(high / low))
    return low + u * (high - low)
