"""What code and values come to, as text that is the same in every process: results are kept under a hash of it."""

from __future__ import annotations

import contextlib
import dis
import functools
import hashlib
import inspect
import io
import pickle
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from knowable.errors import InputError, shown
from knowable.features.symbols import Symbol
from knowable.params import Choice, Float, Int

__all__ = ["CodeText", "content_text", "is_own"]

_NOT_CODE = frozenset(
    {
        *("__module__", "__dict__", "__weakref__", "__doc__", "__qualname__", "__firstlineno__", "parameters"),
        "__slotnames__",  # pickle leaves it behind
    }
)
_PACKAGES = frozenset({"site-packages", "dist-packages"})
_CALLABLES = (
    *(type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.MethodDescriptorType),
    *(types.WrapperDescriptorType, types.MethodWrapperType, types.ClassMethodDescriptorType),
)
_GLOBAL_LOOKUPS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})


class CodeText:
    """Collects what functions and classes do: their instructions and constants, and those of all that they name.

    Args:
        follows: module name -> whether what lives there is taken apart too; the rest counts by its name.
        told: text of any other value that code names, such as an array; None for that of plain constants alone.

    Attributes:
        lines: the text so far, without addresses or line numbers.
        met: names of the modules that were met and not followed.
    """

    def __init__(self, follows: Callable[[str], bool], told: Callable[[Any, CodeText], str] | None = None) -> None:
        self._follows = follows
        self._told = told
        self._seen: set[int] = set()
        self.lines: list[str] = []
        self.met: set[str] = set()

    def add(self, name: str, value: Any) -> None:
        """Describe `value`, called `name`."""
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        if isinstance(value, property):
            for part in (value.fget, value.fset):
                self.add(f"{name}.property", part)
        elif inspect.isfunction(value) or inspect.isclass(value):
            if not self._follows(value.__module__):
                self.met.add(value.__module__)
            elif id(value) not in self._seen:
                self._seen.add(id(value))
                self._add_class(name, value) if inspect.isclass(value) else self._add_function(name, value)
        elif isinstance(value, types.ModuleType):
            self.met.add(value.__name__)
            self.lines.append(f"import {value.__name__}")
        elif inspect.isfunction(inner := _wrapped(value)):
            self.lines.append(f"{name} = {_plain_text(value)}")
            self.add(name, inner)
        else:
            self.lines.append(f"{name} = {self._told(value, self) if self._told else _plain_text(value)}")

    def _add_class(self, name: str, value: type) -> None:
        self.lines.append(f"class {name}({', '.join(base.__name__ for base in value.__bases__)})")
        for base in value.__bases__:
            self.add(base.__name__, base)
        for key, item in sorted(vars(value).items()):
            if key not in _NOT_CODE:
                self.add(f"{name}.{key}", item)

    def _add_function(self, name: str, value: Any) -> None:
        codes = _codes(value.__code__)
        for each in codes:
            constants = [_plain_text(c) for c in each.co_consts if not isinstance(c, types.CodeType)]
            text = f"{each.co_code.hex()} {each.co_names} {each.co_varnames} {constants}"
            self.lines.append(f"{name}.{each.co_name}: {text}")
        self.add(f"{name}.defaults", (value.__defaults__, value.__kwdefaults__))
        for key in sorted(_global_names(codes) & set(value.__globals__)):
            self.add(key, value.__globals__[key])
        for key, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            if key != "__class__":
                with contextlib.suppress(ValueError):  # a cell that nothing was put into yet
                    self.add(f"{name}.{key}", cell.cell_contents)


def is_own(module: str) -> bool:
    """Whether a module is the user's own: a notebook, a script, a file that is not installed."""
    top = module.partition(".")[0]
    if top == "__main__":
        return True
    if top in {"builtins", "knowable"} or top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return True
    # packages of another environment lie beside ours on the path
    return not str(file).startswith(_installed_places()) and _PACKAGES.isdisjoint(Path(file).parts)


def content_text(value: Any) -> str:
    """All that a value comes to, arrays by their bytes, objects by their class's code and what they hold.

    Code of the user's own modules is taken apart; installed code counts by the version of its package.

    Raises: InputError where the content cannot be told; NeedsValue for a symbol.
    """
    code = CodeText(is_own, _told)
    text = _content(value, code, ())
    for name in sorted(code.met):
        code.lines.append(_module_text(name))
    return "\n".join([text, *code.lines])


def _told(value: Any, code: CodeText) -> str:
    """Content of what an estimator's code names; by its type alone where that cannot be told, such as a lock's."""
    try:
        return _content(value, code, ())
    except InputError:
        return _plain_text(value)


def _content(value: Any, code: CodeText, above: tuple[int, ...]) -> str:
    """Text of a value; `above` are the objects it lies within."""
    if type(value) is Symbol:
        bool(value)  # raises NeedsValue
    if value is None or isinstance(value, bool | int | str | bytes | complex):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, float):
        return f"float:{float(value).hex()}"
    if id(value) in above:
        return f"above:{len(above) - above.index(id(value))}"
    within = (*above, id(value))
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        held = np.ascontiguousarray(value)
        return f"array:{held.dtype.str}{held.shape}:{hashlib.sha256(held.tobytes()).hexdigest()}"
    if isinstance(value, np.ndarray):
        return f"array:{value.shape}{_content(value.tolist(), code, within)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}[{', '.join(_content(item, code, within) for item in value)}]"
    if isinstance(value, set | frozenset):
        return f"set[{', '.join(sorted(_content(item, code, within) for item in value))}]"
    if isinstance(value, Mapping):
        pairs = (f"{_content(key, code, within)}: {_content(item, code, within)}" for key, item in value.items())
        return f"{type(value).__name__}{{{', '.join(pairs)}}}"
    if isinstance(value, _CALLABLES):
        made = getattr(value, "__func__", value)
        if inspect.isclass(made) or inspect.isfunction(made):
            code.add(value.__name__, made)
        bound = getattr(value, "__self__", None)
        owner = "" if bound is None or isinstance(bound, types.ModuleType) else _content(bound, code, within)
        return f"{'' if is_own(value.__module__ or '') else value.__module__}.{value.__qualname__}{owner}"
    if isinstance(value, functools.partial):
        return f"partial{_content((value.func, value.args, value.keywords), code, within)}"
    return _object_text(value, code, within)


def _object_text(value: Any, code: CodeText, within: tuple[int, ...]) -> str:
    kind = type(value)
    for each in kind.__mro__[:-1]:
        code.add(each.__name__, each)
    name = f"{'' if is_own(kind.__module__) else kind.__module__}.{kind.__qualname__}"
    if callable(getattr(value, "get_params", None)):
        params = value.get_params(deep=False)
        text = f"{name}{_content(params, code, within)}"
        held = {key: item for key, item in getattr(value, "__dict__", {}).items() if key not in params}
        with contextlib.suppress(InputError):  # what a part that is not fitted anew has learnt
            text += _content(held, code, within)
        return text
    if not is_own(kind.__module__):  # a library's own value, which knows best how to tell itself
        with contextlib.suppress(Exception):
            return f"{name}:{_pickled(value, code)}"
    try:
        state = value.__getstate__() if hasattr(value, "__getstate__") else value.__dict__
        if state is not None or hasattr(value, "__dict__"):
            return f"{name}{_content(state, code, within)}"
        return f"{name}:{_pickled(value, code)}"
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"What {shown(value)} of type {name.strip('.')} holds cannot be told: {type(error).__name__}: {error}\n"
            "Fits are kept by the content of their estimator; give it plain numbers, text, arrays and functions."
        ) from error


class _Pickler(pickle.Pickler):
    """Tells which classes and functions an object is made of; a pickle has only their names."""

    def __init__(self, file: io.BytesIO, code: CodeText) -> None:
        super().__init__(file, protocol=5)
        self._code = code

    def persistent_id(self, obj: Any) -> None:
        """Called for each object that is pickled."""
        if inspect.isclass(obj) or inspect.isfunction(obj):
            self._code.add(obj.__name__, obj)


def _pickled(value: Any, code: CodeText) -> str:
    written = io.BytesIO()
    _Pickler(written, code).dump(value)
    return hashlib.sha256(written.getbuffer()).hexdigest()


def _module_text(name: str) -> str:
    """A module by what changes with it: the user's own by its text, an installed one by the version of its package."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if is_own(name) and file is not None and Path(file).is_file():
        return f"{name}: {hashlib.sha256(Path(file).read_bytes()).hexdigest()}"
    top = name.partition(".")[0]
    return f"{top} {getattr(sys.modules.get(top), '__version__', '')}"


@functools.cache
def _installed_places() -> tuple[str, ...]:
    places = {sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple({*places, *site.getsitepackages(), site.getusersitepackages()})


def _wrapped(value: Any) -> Any:
    """The function within what was made of it: compiled by numba, or with its answers kept."""
    with contextlib.suppress(Exception):  # objects of other libraries say no in their own ways
        return vars(value).get("__wrapped__")
    return None


def _global_names(codes: list[types.CodeType]) -> set[str]:
    """Names that are looked up among the globals; an attribute of the same name is none of them."""
    return {str(step.argval) for code in codes for step in dis.get_instructions(code) if step.opname in _GLOBAL_LOOKUPS}


def _codes(code: types.CodeType) -> list[types.CodeType]:
    inner = [found for item in code.co_consts if isinstance(item, types.CodeType) for found in _codes(item)]
    return [code, *inner]


def _plain_text(value: Any) -> str:
    """A constant as text that is the same in every process; anything else by its type only."""
    if isinstance(value, frozenset | set):
        return f"{{{', '.join(sorted(_plain_text(item) for item in value))}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(_plain_text(item) for item in value)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_plain_text(k)}: {_plain_text(v)}' for k, v in value.items())}}}"
    if value is None or isinstance(value, str | bytes | int | float | complex | Float | Int | Choice):
        return repr(value)
    return f"<{type(value).__module__}.{type(value).__qualname__}>"
