"""The path of an account that figures are computed from: bar returns, months, quarters, years, drawdowns."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from knowable.errors import InputError, ShapeError, shown

__all__ = ["Array", "Curve", "Days", "Drawdowns", "drawdowns_of", "period_starts"]

Array = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]

_ROUNDING = 1e-12  # a fall below it is none
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdowns:
    """Every time the curve was below its highest value so far, in order. Arrays (n_drawdowns,).

    Attributes:
        start: bar of the high before; -1: the start of the curve.
        valley: bar of the lowest value.
        end: bar that was as high again; n_bars where none was.
        depth: the fall to the valley, a fraction below 0.
        days: calendar days from the high to the bar that was as high again, or to the last bar.
    """

    start: npt.NDArray[np.int64]
    valley: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    depth: Array
    days: Array


# Not slotted: cached_property keeps what was computed once.
@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Bar returns with their days.

    Attributes:
        returns: (n_bars,) gain of each bar as a fraction, finite and above -1.
        days: (n_bars,) datetime64[D], the session each bar belongs to, never falling.
        bars_per_year: for annualising; above 0.
        risk_free: a year's riskless rate, a fraction between -1 and 1; a bar's is
            (1 + risk_free) ** (1 / bars_per_year) - 1.

    Raises:
        ShapeError: arrays of other shapes, or empty.
        InputError: a return that is not finite or loses everything, days that fall, rates that make no sense.
    """

    returns: Array
    days: Days
    bars_per_year: float
    risk_free: float = 0.0

    def __post_init__(self) -> None:
        returns = np.ascontiguousarray(self.returns, dtype=np.float64)
        days = np.asarray(self.days, dtype="datetime64[D]")
        if returns.ndim != 1 or returns.size == 0 or days.shape != returns.shape:
            raise ShapeError(
                f"`returns` and `days` must have one shape (n_bars,) with n_bars >= 1, "
                f"but theirs are {returns.shape} and {days.shape}."
            )
        bad = ~(np.isfinite(returns) & (returns > -1.0))
        if bad.any():
            bar = int(np.argmax(bad))
            raise InputError(
                f"Every return must be finite and above -1, but bar {bar} of {returns.size} is {returns[bar]:g}."
            )
        if (np.diff(days) < 0 * _DAY).any():
            raise InputError("`days` must not fall from one bar to the next.")
        if not (math.isfinite(self.bars_per_year) and self.bars_per_year > 0.0):
            raise InputError(f"`bars_per_year > 0` must hold, but bars_per_year={self.bars_per_year!r}.")
        if not _is_rate(self.risk_free):
            raise InputError(
                f"`-1 < risk_free < 1` must hold, a rate a year as a fraction, but risk_free={shown(self.risk_free)}.\n"
                "Three per cent are 0.03."
            )
        object.__setattr__(self, "returns", returns)
        object.__setattr__(self, "days", days)

    @property
    def n_bars(self) -> int:
        """How many returns there are."""
        return len(self.returns)

    @property
    def years(self) -> float:
        """How long the curve is, in years of bars."""
        return self.n_bars / self.bars_per_year

    @cached_property
    def excess(self) -> Array:
        """(n_bars,) returns less the riskless rate of a bar."""
        return self.returns - math.expm1(math.log1p(self.risk_free) / self.bars_per_year)

    @cached_property
    def wealth(self) -> Array:
        """(n_bars + 1,) what 1 became; the first is the start."""
        wealth: Array = np.cumprod(np.concatenate([[1.0], 1.0 + self.returns]))
        return wealth

    @cached_property
    def falls(self) -> Array:
        """(n_bars,) how far below its highest value so far, the start included; <= 0, rounding is 0."""
        return _falls(self.wealth)

    @cached_property
    def months(self) -> Array:
        """(n_months,) return of each calendar month that has a bar, the first and last in part."""
        return self._by(self.days.astype("datetime64[M]").astype(np.int64))

    @cached_property
    def quarters(self) -> Array:
        """(n_quarters,) return of each calendar quarter, likewise."""
        return self._by(self.days.astype("datetime64[M]").astype(np.int64) // 3)

    @cached_property
    def calendar_years(self) -> Array:
        """(n_years,) return of each calendar year, likewise."""
        return self._by(self.days.astype("datetime64[Y]").astype(np.int64))

    @cached_property
    def drawdowns(self) -> Drawdowns:
        """The falls one by one."""
        return drawdowns_of(self.wealth, self.days)

    def since(self, day: np.datetime64) -> Array:
        """The returns of bars after a day."""
        return self.returns[np.searchsorted(self.days, day, side="right") :]

    def _by(self, codes: npt.NDArray[np.int64]) -> Array:
        return np.asarray(np.multiply.reduceat(1.0 + self.returns, period_starts(codes)) - 1.0)


def period_starts(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bars on which another period begins; the first is one."""
    return np.flatnonzero(np.diff(codes, prepend=codes[0] - 1))


def drawdowns_of(wealth: Array, days: Days) -> Drawdowns:
    """The falls of a curve one by one.

    Args:
        wealth: (n_bars + 1,) values, the first the start, above 0.
        days: (n_bars,) datetime64[D] of the bars; the start is a day before the first.
    """
    falls, n_bars = _falls(wealth), len(days)
    below = np.concatenate([[False], falls < 0.0, [False]]).astype(np.int8)
    first, end = np.flatnonzero(np.diff(below) > 0), np.flatnonzero(np.diff(below) < 0)
    # bars first ... end - 1 are below the high of bar first - 1
    valley = np.array([a + int(np.argmin(falls[a:b])) for a, b in zip(first, end, strict=True)], np.int64)
    number = days.astype(np.int64)
    high_day = np.where(first > 0, number[np.maximum(first - 1, 0)], number[0] - 1)
    back_day = number[np.minimum(end, n_bars - 1)]
    return Drawdowns(
        start=first - 1, valley=valley, end=end, depth=falls[valley], days=(back_day - high_day).astype(np.float64)
    )


def _falls(wealth: Array) -> Array:
    fall = (wealth / np.maximum.accumulate(wealth) - 1.0)[1:]
    return np.where(fall >= -_ROUNDING, 0.0, fall)


def _is_rate(value: object) -> bool:
    """Whether it is a year's rate; 2 is two per cent that somebody meant."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and -1.0 < float(value) < 1.0
