"""Every error Knowable raises, on one page.

One root, so that a caller can catch all of ours; each class is also the built-in a Python user would expect.
A message names what came, where, what was expected and the remedy, in at most twelve lines.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterable
from typing import Any, TypeVar

__all__ = [
    "ConflictError",
    "DataError",
    "InputError",
    "KnowableError",
    "LookAheadError",
    "ModelError",
    "ParameterError",
    "RunError",
    "ShapeError",
    "StoreError",
    "StrategyError",
    "UnknownAttributeError",
    "UnknownKeyError",
    "UnknownNameError",
    "UnknownVersionError",
    "UnsolvedError",
    "by_name",
]


Kind = TypeVar("Kind")


class KnowableError(Exception):
    """Root of all errors raised on purpose."""


class InputError(KnowableError, ValueError):
    """An argument is outside what is allowed."""


class ParameterError(InputError):
    """A strategy parameter has a wrong type or lies outside its declared range."""


class ShapeError(InputError):
    """An array or table has the wrong shape, index or columns."""


class DataError(InputError):
    """Data handed in break a rule: missing, unsorted, duplicate, impossible values."""


class UnknownNameError(KnowableError, LookupError):
    """A name (field, dataset, parameter, run, metric, ...) does not exist; near ones are offered."""


class UnknownAttributeError(UnknownNameError, AttributeError):
    """A name after a dot does not exist; also what Python's own getattr and hasattr expect."""


class UnknownKeyError(UnknownNameError, KeyError):
    """A name in brackets does not exist; also what Python's own `get` expects of a mapping."""

    __str__ = Exception.__str__  # a KeyError shows what it was given between quotes


class StrategyError(KnowableError, RuntimeError):
    """The user's strategy raised, or returned something that is not target weights."""


class LookAheadError(StrategyError):
    """A strategy used rows it could not have known."""


class ModelError(KnowableError, RuntimeError):
    """A model's fit or predict raised, or what it gave are no predictions."""


class UnsolvedError(KnowableError, RuntimeError):
    """No weights satisfy all that was asked of a portfolio in some row.

    Attributes:
        row: of the rows handed in.
    """

    def __init__(self, message: str, row: int = 0) -> None:
        super().__init__(message)
        self.row = row

    def at(self, row: int, label: object) -> UnsolvedError:
        """The same, saying when it was."""
        return UnsolvedError(f"In row {row} ({label}): {self}", row)


class StoreError(KnowableError, RuntimeError):
    """A store or cache on disk is damaged, absent or of another version."""


class UnknownVersionError(StoreError, LookupError):
    """A dataset has no such version."""


class ConflictError(StoreError):
    """Two writers met, or a second driver holds the run."""


class RunError(KnowableError, RuntimeError):
    """A run cannot start, go on or be loaded."""


def unknown_name(kind: str, name: object, known: Iterable[str], *, where: str = "") -> UnknownNameError:
    """Build the error for a name that does not exist, offering the nearest one.

    Args:
        kind: what the name should be, such as ``"field"``.
        name: what came.
        known: the names that exist.
        where: a place to add, such as ``"dataset 'bars'"``.
    """
    names = sorted(str(item) for item in known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    place = f" in {where}" if where else ""
    if near:
        hint = f"Did you mean {near[0]!r}?"
    elif names:
        listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        hint = f"Known: {listed}."
    else:
        hint = "There are none yet."
    return UnknownNameError(f"Unknown {kind} {shown(name)}{place}. {hint}")


def by_name(cls: type[Kind]) -> type[Kind]:
    """Let a dataclass that takes its values by name offer the nearest of them, where Python says that there is none."""
    plain: Any = cls.__init__
    known = [each.name for each in dataclasses.fields(cls)]  # type: ignore[arg-type]

    @functools.wraps(plain)
    def init(self: Kind, *given: object, **named: Any) -> None:
        if given:
            raise InputError(
                f"{cls.__name__} takes each value by its name, as in {cls.__name__}({known[0]}=...), but "
                f"{shown(given[0])} came without one."
            )
        for name in named:
            if name not in known:
                raise unknown_name("argument", name, known, where=cls.__name__)
        plain(self, **named)

    cls.__init__ = init  # type: ignore[method-assign, assignment]
    return cls


def shown(value: object, limit: int = 60) -> str:
    """A value's repr, cut to `limit` characters so that a message stays readable."""
    text = repr(value)
    if "\n" in text:  # tables and arrays: one line of words
        text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
