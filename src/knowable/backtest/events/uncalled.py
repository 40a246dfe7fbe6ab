"""`answering`: a method that says so where it is compared, or taken for true, instead of being called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from knowable.errors import InputError

__all__ = ["answering"]


class _Answer:
    """A bound method. Python's own equals no number and counts as true, so that a wrong test passes unseen."""

    __slots__ = ("_function", "_owner")

    def __init__(self, function: Callable[..., Any], owner: Any) -> None:
        self._function, self._owner = function, owner

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._function(self._owner, *arguments, **named)

    def _refuse(self, *_: object) -> NoReturn:
        name = f"account.{self._function.__name__}"
        raise InputError(f"{name} is a method: call it, as in {name}(asset); by itself it is neither number nor truth.")

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __index__ = _refuse
    __hash__ = None  # type: ignore[assignment]


class answering:  # noqa: N801 - a decorator
    """Make a method of the account refuse what only its answer can be used for."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, owner: Any, kind: type | None = None) -> Callable[..., Any]:
        return self._function if owner is None else _Answer(self._function, owner)
