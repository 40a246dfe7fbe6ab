"""How far a strategy's code reaches: the functions it calls, the names it reads, and values that nobody handed it."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from knowable.strategy import Strategy

__all__ = ["Place", "Reach", "library_made", "reach_of", "slots_of"]

_MOST_PLACES = 2_000
_ITEM = "[]"  # stands among the names that code sets for an item of a container
_WRITERS = frozenset(
    {"add", "append", "appendleft", "clear", "extend", "insert", "pop", "popitem", "setdefault", "update"}
)
_CONSTANT = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis), type, types.ModuleType, range)
_LIBRARIES = tuple({path for name, path in sysconfig.get_paths().items() if name in ("stdlib", "purelib", "platlib")})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A value that code finds by itself: a global, an attribute of a class, a closure's variable, a default.

    Attributes:
        name: as a reader would say it, such as ``"the global `DATA`"``.
        attribute: the bare name.
        of_instance: it is an attribute of the strategy's instance, of which every run has a copy.
        read: gives the value. write: puts another in its place. erase: takes the name away, where that can be.
    """

    name: str
    attribute: str
    of_instance: bool = False
    read: Callable[[], Any]
    write: Callable[[Any], None]
    erase: Callable[[], None] | None = None


@dataclass(slots=True, eq=False)
class Reach:
    """What a strategy's code can get at, as far as its names tell.

    Attributes:
        places: values found by name, functions and modules left out.
        namespaces: (name, dict or class, names that code sets there) where code may put new names.
        caches: functions that remember their results.
        functions: the code itself.
        called: every global and attribute that the code names.
        opened: names of globals alone, such as ``open``; ``m.open`` is an attribute.
        stored: names that the code assigns outside its own variables.
        writes: whether it writes into containers or calls what does, such as ``append``.
        frozen: names of places that compiled code reads: it keeps what was there when it was compiled.
    """

    places: list[Place] = field(default_factory=list)
    namespaces: list[tuple[str, Any]] = field(default_factory=list)
    caches: list[Any] = field(default_factory=list)
    functions: list[types.FunctionType] = field(default_factory=list)
    called: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    writes: bool = False
    frozen: set[str] = field(default_factory=set)

    def source(self) -> str:
        """The text of the code as far as it can be had; empty in a plain console."""
        texts: dict[str, None] = {}
        for function in self.functions:
            try:
                texts.setdefault(inspect.getsource(function))
            except (OSError, TypeError):  # defined in a console, or compiled
                continue
        return "\n".join(texts)


def reach_of(strategy: Strategy) -> Reach:
    """Walk the code of a strategy: its class, bases, and what they name in files that are no library's."""
    walk = _Walk({cls.__module__ for cls in type(strategy).__mro__ if cls not in (Strategy, object)})
    for cls in type(strategy).__mro__:
        if cls not in (Strategy, object):
            walk.of_class(cls)
    for name in vars(strategy):
        if name not in type(strategy).parameters:
            walk.place(
                Place(
                    name=f"`self.{name}`",
                    attribute=name,
                    of_instance=True,
                    read=functools.partial(getattr, strategy, name, None),
                    write=lambda value: None,  # noqa: ARG005 - each run sets it on its own copy
                )
            )
    return walk.found


def library_made(module: str | None) -> bool:
    """Whether a module belongs to Python, to an installed package or to us, and not to the user."""
    if module is None:
        return True
    top = module.partition(".")[0]
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names or top == "knowable":
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or any(str(file).startswith(path) for path in _LIBRARIES)


def slots_of(value: object) -> list[str]:
    """Names of what an object of the user's own holds without a dictionary, as a slotted dataclass does."""
    kinds = [kind for kind in type(value).__mro__ if not library_made(kind.__module__)]
    members = (item for kind in kinds for item in vars(kind).items())
    return sorted({name for name, member in members if isinstance(member, types.MemberDescriptorType)})


class _Walk:
    def __init__(self, home: set[str]) -> None:
        self.found = Reach()
        self._home = home
        self._seen: set[int] = set()
        self._named: set[tuple[int, str]] = set()
        self._compiled = False  # what is being walked is compiled code

    def of_class(self, cls: type) -> None:
        if not self._new(cls):
            return
        self.found.namespaces.append((f"`{cls.__name__}`", cls))
        for name, value in list(vars(cls).items()):
            if name.startswith("__") and not callable(value):
                continue
            if name in ("parameters", "__annotations__", "__firstlineno__", "__static_attributes__"):
                continue
            if isinstance(value, staticmethod | classmethod):
                self._value(value.__func__)
            elif isinstance(value, property):
                for part in (value.fget, value.fset):
                    self._value(part)
            elif isinstance(value, functools.cached_property):
                self._value(value.func)
            elif name not in getattr(cls, "parameters", ()) and not self._value(value):
                self.place(_attribute(cls, name))

    def place(self, place: Place) -> None:
        if len(self.found.places) < _MOST_PLACES:
            self.found.places.append(place)
        if self._compiled:
            self.found.frozen.add(place.name)
        value = place.read()
        if not isinstance(value, _CONSTANT):
            self._value(value)

    def _theirs(self, module: str | None) -> bool:
        return module in self._home or not library_made(module)

    def _new(self, value: Any) -> bool:
        known = id(value) in self._seen
        self._seen.add(id(value))
        return not known

    def _value(self, value: Any) -> bool:
        """Walk what a name stands for. Returns: whether it is code, which is no value to keep."""
        if isinstance(value, types.FunctionType):
            if self._theirs(value.__module__):
                self._function(value)
            return True
        if isinstance(value, types.MethodType):
            self._value(value.__func__)
            self._value(value.__self__)
            return False
        if isinstance(value, functools.partial):
            self._value(value.func)
            return False
        if _static(value, "cache_clear") and callable(_static(value, "__wrapped__")):
            if self._theirs(getattr(value, "__module__", None)) and self._new(value):
                self.found.caches.append(value)
                self._value(value.__wrapped__)
            return True
        if isinstance(_static(value, "py_func"), types.FunctionType):  # compiled by numba
            around, self._compiled = self._compiled, True
            self._value(value.py_func)
            self._compiled = around
            return True
        if isinstance(value, type):
            if self._theirs(value.__module__) and value is not Strategy:
                self.of_class(value)
            return True
        if isinstance(value, types.ModuleType):
            return True
        if self._theirs(type(value).__module__):
            self.of_class(type(value))
        return isinstance(value, types.BuiltinFunctionType)

    def _function(self, function: types.FunctionType) -> None:
        if not self._new(function):
            return
        self.found.functions.append(function)
        self.found.namespaces.append((f"`{function.__name__}`", vars(function)))
        for name in vars(function):
            if name != "__wrapped__":
                self.place(_item(vars(function), name, f"`{function.__name__}.{name}`"))
        self._value(getattr(function, "__wrapped__", None))
        names, attributes, stored = _names(function.__code__)
        self.found.called |= names | attributes
        self.found.opened |= names
        self.found.stored |= stored - {_ITEM}
        self.found.writes |= _ITEM in stored or bool(attributes & _WRITERS)
        for name in sorted(names | stored):
            if name in function.__globals__:
                self._global(function.__globals__, name, attributes, stored)
        self._declared(function, stored)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name != "__class__":
                self._cell(name, cell)
        for k in range(len(function.__defaults__ or ())):
            self.place(_default(function, k))
        keywords = function.__kwdefaults__ or {}
        for name in keywords:
            self.place(_item(keywords, name, f"the default `{name}`"))

    def _global(self, space: dict[str, Any], name: str, attributes: set[str], stored: set[str]) -> None:
        value = space[name]
        if isinstance(value, types.ModuleType):
            # of a library's names those that code sets; of one of the user's own all that it names
            named = attributes | stored if self._theirs(value.__name__) else stored - {_ITEM}
            for each in sorted(named & set(vars(value))):
                self._global(vars(value), each, attributes, stored)
            if absent := tuple(sorted(named - set(vars(value)))):
                self.found.namespaces.append((f"`{name}`", _Names(vars(value), absent)))
        elif self._value(value):
            return
        elif (id(space), name) not in self._named:
            self._named.add((id(space), name))
            self.place(_item(space, name, f"the global `{name}`"))
        elif self._compiled:
            self.found.frozen.add(f"the global `{name}`")

    def _declared(self, function: types.FunctionType, stored: set[str]) -> None:
        """Globals that the code sets and that are not there yet."""
        absent = [name for name in stored if name not in function.__globals__]
        if absent:
            self.found.namespaces.append(("the global", _Names(function.__globals__, tuple(absent))))

    def _cell(self, name: str, cell: types.CellType) -> None:
        if not self._new(cell):
            return
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            return
        if not self._value(value):
            self.place(
                Place(
                    name=f"`{name}` of a closure",
                    attribute=name,
                    read=lambda: cell.cell_contents,
                    write=functools.partial(setattr, cell, "cell_contents"),
                )
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Names:
    """The part of a module's names that code sets."""

    space: dict[str, Any]
    names: tuple[str, ...]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.names if name in self.space)

    def __delitem__(self, name: str) -> None:
        del self.space[name]


def _static(value: Any, name: str) -> Any:
    """An attribute without running code that computes attributes; None where there is none."""
    return inspect.getattr_static(value, name, None)


def _attribute(cls: type, name: str) -> Place:
    return Place(
        name=f"`{cls.__name__}.{name}`",
        attribute=name,
        read=lambda: vars(cls).get(name),
        write=functools.partial(setattr, cls, name),
        erase=functools.partial(delattr, cls, name),
    )


def _item(space: dict[str, Any], name: str, said: str) -> Place:
    return Place(
        name=said,
        attribute=name,
        read=functools.partial(space.get, name),
        write=functools.partial(space.__setitem__, name),
        erase=functools.partial(space.__delitem__, name),
    )


def _default(function: types.FunctionType, k: int) -> Place:
    code = function.__code__
    name = code.co_varnames[code.co_argcount - len(function.__defaults__ or ()) + k]

    def write(value: Any) -> None:
        held = list(function.__defaults__ or ())
        held[k] = value
        function.__defaults__ = tuple(held)

    return Place(
        name=f"the default `{name}`", attribute=name, read=lambda: (function.__defaults__ or ())[k], write=write
    )


def _names(code: types.CodeType) -> tuple[set[str], set[str], set[str]]:
    """Globals read, attributes read, and names set outside the function's own variables, inner functions included."""
    names, attributes, stored = set(), set(), set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(str(step.argval))
        elif step.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM", "IMPORT_NAME"):
            attributes.update(str(step.argval).split("."))
        elif step.opname in ("STORE_GLOBAL", "STORE_ATTR"):
            stored.add(str(step.argval))
        elif step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"):
            stored.add(_ITEM)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            below = _names(inner)
            names |= below[0]
            attributes |= below[1]
            stored |= below[2]
    return names, attributes, stored
