"""When a model is fitted, and how far back the rows reach that train it."""

from __future__ import annotations

import numbers
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.errors import InputError, shown

__all__ = ["Refit", "Span", "refit_of", "span_of"]

_ENDS = {"1d": "day_end", "1w": "week_end", "1mo": "month_end", "3mo": "quarter_end", "1y": "year_end"}
_FORM = re.compile(r"(\d{1,6})(b|d|w|mo|y)")


@dataclass(frozen=True, slots=True)
class Span:
    """A length of history: `n` bars (unit ``"b"``), days, weeks, months or years; all of it where `n` is 0."""

    n: int
    unit: str

    def __str__(self) -> str:
        return f"'{self.n}{self.unit}'" if self.n else "None"

    def before(self, day: int) -> int:
        """The last day that lies outside, for a span of the calendar that ends with `day`.

        Args:
            day: days since 1970. Months are counted as people do: a month before 31 March is 28 (or 29) February.
        """
        if self.unit in ("d", "w"):
            return day - self.n * (7 if self.unit == "w" else 1)
        date = np.datetime64(day, "D")
        month = date.astype("datetime64[M]")
        there = month - self.n * (12 if self.unit == "y" else 1)
        first: Any = there.astype("datetime64[D]").astype(np.int64)
        last: Any = (there + 1).astype("datetime64[D]").astype(np.int64) - 1
        into = day - month.astype("datetime64[D]").astype(np.int64)
        return int(min(first + into, last))


@dataclass(frozen=True, slots=True)
class Refit:
    """When to fit: at ends of a period of the calendar (`rule`), on every `n`-th bar, or once (neither)."""

    rule: str | None = None
    n: int = 0

    def __str__(self) -> str:
        return repr(self.rule or (self.n or None))

    @property
    def once(self) -> bool:
        """Whether the first fit is the last."""
        return self.rule is None and not self.n

    def due(self, rows: npt.NDArray[np.int64], ends: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which rows are the ones to fit at; `rows` are positions counted from the market's first bar, `ends` what each
        row knows of ends of the period.
        """
        if self.rule is not None:
            return ends > 0.0
        return rows % self.n == 0 if self.n else np.ones(len(rows), np.bool_)


def span_of(value: Any) -> Span:
    """Read `train`. Raises: InputError; NeedsValue for a symbol."""
    if value is None:
        return Span(0, "b")
    n, unit = _read("train", value)
    return Span(n, unit)


def refit_of(value: Any) -> Refit:
    """Read `refit`. Raises: InputError; NeedsValue for a symbol."""
    if value is None:
        return Refit()
    if isinstance(value, str) and value in _ENDS.values():
        return Refit(rule=value)
    n, unit = _read("refit", value)
    if unit == "b":
        return Refit(n=n)
    if f"{n}{unit}" not in _ENDS:
        raise InputError(
            f"`refit` of the calendar is one of {', '.join(map(repr, _ENDS))}, but refit={value!r}.\n"
            "For another rhythm give whole bars, such as refit=42."
        )
    return Refit(rule=_ENDS[f"{n}{unit}"])


def _read(name: str, value: Any) -> tuple[int, str]:
    text = f"{int(value)}b" if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value
    match = _FORM.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
    if match and int(match[1]) > 0:
        return int(match[1]), match[2]
    hint = ' Months are "mo".' if isinstance(text, str) and re.fullmatch(r"\d+ ?(m|M|month|months)", text) else ""
    raise InputError(
        f"`{name}` must be a positive length, but {name}={shown(value)}.{hint}\n"
        'Write whole bars (252 or "252b") or a length of the calendar such as "3y", "6mo", "2w", "10d".'
    )
