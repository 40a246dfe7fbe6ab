"""What a strategy's code keeps outside its instance: put back before each run, so that every run is a first one."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from array import array
from collections import UserDict, UserList, deque
from collections.abc import Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.validate.reach import Reach, slots_of

__all__ = ["Memory"]

_DEEPEST = 4
_MOST_ITEMS = 20_000
_MOST_BYTES = 64 << 20
_OPAQUE = (Market, pd.Index, type)
_WEAK = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary)
_KEEPERS = (SimpleNamespace, UserDict, UserList, threading.local, *_WEAK)
_ABSENT = object()


class Memory:
    """Remembers, when made, what is in the places that code reaches; `restore` puts all of it back.

    Containers and arrays are put back in place, for others may hold them too. Caches of functions are emptied. What is
    too large or too deep to remember is left as it is.

    Args:
        reach: of the strategy.
    """

    def __init__(self, reach: Reach) -> None:
        self._caches = reach.caches
        self._held = [(place, place.read()) for place in reach.places if not place.of_instance]
        self._names = [(said, space, set(_names_of(space))) for said, space in reach.namespaces]
        self._stored, self._writes = reach.stored, reach.writes
        self._objects = False
        self._kept: list[tuple[str, Callable[[], bool], Callable[[], None]]] = []
        self._seen: set[int] = set()
        self._bytes = 0
        for place, value in self._held:
            self._keep(place.name, value, _DEEPEST)
        if {"environ", "putenv"} & reach.called:
            self._kept.append(("`os.environ`", *_environment()))

    @property
    def alive(self) -> bool:
        """Whether code could keep something: a cache, an object, a container that it may write, a name that it sets."""
        if self._caches or self._objects or (self._kept and self._writes):
            return True
        return any(place.attribute in self._stored for place, _ in self._held)

    def changed(self) -> list[str]:
        """Names of what is not as it was."""
        found = [name for name, differs, _ in self._kept if differs()]
        found += [place.name for place, value in self._held if place.read() is not value]
        for said, space, before in self._names:
            found += [_said(said, name) for name in _names_of(space) if name not in before]
        found += [f"the cache of `{_name_of(cache)}`" for cache in self._caches if _filled(cache)]
        return list(dict.fromkeys(found))

    def restore(self, *, caches: bool = True) -> None:
        """Put everything back as it was and empty the caches, unless told to leave those."""
        for cache in self._caches if caches else ():
            cache.cache_clear()
        for _, space, before in self._names:
            for name in [name for name in _names_of(space) if name not in before]:
                _take_away(space, name)
        for place, value in self._held:
            if place.read() is not value:
                place.write(value)
        for _, differs, again in self._kept:
            if differs():
                again()

    def _keep(self, name: str, value: Any, depth: int) -> None:
        if depth == 0 or id(value) in self._seen or isinstance(value, _OPAQUE) or len(self._seen) > _MOST_ITEMS:
            return
        self._seen.add(id(value))
        entry, inside = self._entry(value)
        if entry is not None:
            self._kept.append((name, *entry))
        for each in inside:
            self._keep(name, each, depth - 1)

    def _entry(self, value: Any) -> tuple[tuple[Callable[[], bool], Callable[[], None]] | None, list[Any]]:
        """How to tell that a value has changed and how to put it back; and what is in it."""
        if isinstance(value, np.ndarray):
            return (self._array(value) if value.flags.writeable else None), []
        if isinstance(value, dict):
            return _mapping(value), list(value.values())
        if isinstance(value, list | deque):
            was = list(value)
            return (lambda: not _same(list(value), was), lambda: _refill(value, was)), was
        if isinstance(value, set):
            members = set(value)
            return (lambda: value != members, lambda: _reset(value, members)), []
        if isinstance(value, tuple):
            return None, list(value)
        if isinstance(value, bytearray | array):
            return _sequence(value), []
        if isinstance(value, pd.DataFrame | pd.Series):
            return (self._table(value) if self._writes else None), []
        return self._object(value)

    def _object(self, value: Any) -> tuple[tuple[Callable[[], bool], Callable[[], None]] | None, list[Any]]:
        if isinstance(value, ContextVar):  # every run has a context of its own, but one before all may have set it
            self._objects = True
            return None, []
        if callable(value) or _keeps_nothing(value):
            return None, []
        space, slots = getattr(value, "__dict__", None), slots_of(value)
        if slots:
            self._objects = True
            return _attributes(value, slots), [getattr(value, name) for name in slots if hasattr(value, name)]
        if isinstance(space, dict):
            self._objects = True
            return _mapping(space), list(space.values())
        return None, []

    def _table(self, value: Any) -> tuple[Callable[[], bool], Callable[[], None]] | None:
        size = int(np.sum(value.memory_usage()))
        if self._bytes + size > _MOST_BYTES:
            return None
        self._bytes += size
        was = value.copy()
        return (lambda: not value.equals(was)), (lambda: type(value).__init__(value, was.copy()))

    def _array(self, value: np.ndarray) -> tuple[Callable[[], bool], Callable[[], None]] | None:
        if value.dtype == object or self._bytes + value.nbytes > _MOST_BYTES:
            return None
        self._bytes += value.nbytes
        was = value.copy()
        return (lambda: value.tobytes() != was.tobytes()), (lambda: value.__setitem__(Ellipsis, was))


def _keeps_nothing(value: Any) -> bool:
    """Objects of Python itself, such as loggers and paths, and ours: no strategy keeps figures in those."""
    top = type(value).__module__.partition(".")[0]
    return top == "knowable" or (top in sys.stdlib_module_names and not isinstance(value, _KEEPERS))


def _attributes(value: Any, names: list[str]) -> tuple[Callable[[], bool], Callable[[], None]]:
    was = {name: getattr(value, name, _ABSENT) for name in [*names, *getattr(value, "__dict__", ())]}

    def differs() -> bool:
        held = getattr(value, "__dict__", {})
        return not held.keys() <= was.keys() or any(
            getattr(value, name, _ABSENT) is not item for name, item in was.items()
        )

    def again() -> None:
        for name in {*was, *getattr(value, "__dict__", ())}:
            item = was.get(name, _ABSENT)
            if item is not _ABSENT:
                object.__setattr__(value, name, item)
            elif hasattr(value, name):
                object.__delattr__(value, name)

    return differs, again


def _environment() -> tuple[Callable[[], bool], Callable[[], None]]:
    was = dict(os.environ)

    def again() -> None:
        for name in set(os.environ) - set(was):
            del os.environ[name]
        os.environ.update(was)

    return (lambda: dict(os.environ) != was), again


def _mapping(value: dict[Any, Any]) -> tuple[Callable[[], bool], Callable[[], None]]:
    was = dict(value)

    def differs() -> bool:
        return len(value) != len(was) or any(value.get(key, _ABSENT) is not item for key, item in was.items())

    def again() -> None:
        value.clear()
        value.update(was)

    return differs, again


def _sequence(value: Any) -> tuple[Callable[[], bool], Callable[[], None]]:
    was = value[:]
    return (lambda: value != was), (lambda: value.__setitem__(slice(None), was))


def _same(now: list[Any], was: list[Any]) -> bool:
    return len(now) == len(was) and all(a is b for a, b in zip(now, was, strict=True))


def _refill(value: Any, was: list[Any]) -> None:
    value.clear()
    value.extend(was)


def _reset(value: set[Any], members: set[Any]) -> None:
    value.clear()
    value.update(members)


def _names_of(space: Any) -> list[str]:
    return [name for name in (vars(space) if isinstance(space, type) else space) if not str(name).startswith("__")]


def _name_of(cache: Any) -> str:
    return str(getattr(cache, "__name__", "a function"))


def _filled(cache: Any) -> bool:
    info = getattr(cache, "cache_info", None)
    return info is None or info().currsize > 0


def _take_away(space: Any, name: str) -> None:
    with contextlib.suppress(AttributeError, KeyError):
        if isinstance(space, type):
            delattr(space, name)
        else:
            del space[name]


def _said(space: str, name: str) -> str:
    return f"the global `{name}`" if space == "the global" else f"{space[:-1]}.{name}`"
