"""`Named`: a read-only mapping that offers the nearest name where one is not in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from knowable.errors import UnknownKeyError, unknown_name

__all__ = ["Named"]

Value = TypeVar("Value")


class Named(Mapping[str, Value], Generic[Value]):
    """A mapping by name, read-only.

    Args:
        values: name -> value.
        kind: what a name is, such as ``"metric"``.
        where: whose they are.
        hint: name -> what to say of one that is found elsewhere; empty of any other.
    """

    __slots__ = ("_hint", "_kind", "_values", "_where")

    def __init__(
        self, values: Mapping[str, Value], kind: str, where: str, hint: Callable[[object], str] | None = None
    ) -> None:
        self._values, self._kind, self._where, self._hint = dict(values), kind, where, hint

    def __getitem__(self, name: str) -> Value:
        try:
            return self._values[name]
        except KeyError:
            said = self._hint(name) if self._hint else ""
            known = str(unknown_name(self._kind, name, self._values, where=self._where))
            raise UnknownKeyError(f"{name!r} is no {self._kind}; {said}" if said else known) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def copy(self) -> dict[str, Value]:
        """The values in a dict of their own."""
        return dict(self._values)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._values, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self._values}

    def __repr__(self) -> str:
        return repr(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        return Named, (self._values, self._kind, self._where, self._hint)
