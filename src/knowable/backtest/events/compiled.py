"""Running `on_bar` as compiled code: what it may use, and what is said when it uses something else.

Compiled code stays in memory: numba keeps none on disk for a loop that is built around a function of the user's. So
each process compiles a strategy once, the first time it runs it, which takes some seconds.
"""

from __future__ import annotations

import math
import threading
import types
from collections import namedtuple
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import config
from numba import types as numba_types
from numba.core.errors import NumbaError, UnsupportedBytecodeError

from knowable.errors import StrategyError
from knowable.kernels.bar_loop import bar_loop, compiled_on_bar
from knowable.strategy import Strategy

__all__ = ["CompiledOnBar", "compiled_for", "is_refusal", "runs_compiled"]

Panel: TypeAlias = npt.NDArray[np.float64]

_kept: dict[tuple[Any, ...], CompiledOnBar] = {}  # by function and what it reads
_found: dict[tuple[Any, ...], CompiledOnBar] = {}  # by strategy and what there is to be read: quicker to look up
_lock = threading.Lock()
_NUMBA = (NumbaError, UnsupportedBytecodeError)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompiledOnBar:
    """An `on_bar` with the names it uses, compiled when it is first called.

    Attributes:
        names: fields and features that its bars have.
        kind: a named tuple of what it reads from ``self``.
        function: itself, for numba.
        loop: see `knowable.kernels.bar_loop.bar_loop`.
        refusals: types of what it reads from ``self`` -> why it cannot be compiled for them.
        done: types for which it has been, and returns nothing.
    """

    names: tuple[str, ...]
    kind: Any
    function: Any
    loop: Any
    refusals: dict[tuple[type, ...], Exception] = field(default_factory=dict)
    done: set[tuple[type, ...]] = field(default_factory=set)

    def me(self, strategy: Strategy) -> Any:
        """What the compiled function takes for ``self``. Arrays are those of `strategy`, not copies."""
        return self.kind(*(getattr(strategy, name) for name in self.kind._fields))

    def panels(self, known: Mapping[str, Panel]) -> tuple[Panel, ...]:
        """The panels its bars read, each plain, read-only and in one piece."""
        return tuple(np.ascontiguousarray(known[name]) for name in self.names)

    def run(self, me: Any, *arguments: Any) -> tuple[int, float]:
        """Call the loop. Raises: whatever it raises; numba's own errors if the function cannot be compiled."""
        types_of_me = tuple(map(type, me))
        if types_of_me in self.refusals:
            raise self.refusals[types_of_me]  # each try takes seconds
        try:
            stopped, gross = self.loop(me, *arguments)
        except _NUMBA as error:
            self.refusals[types_of_me] = error
            raise
        if types_of_me not in self.done:
            if any(made.return_type is not numba_types.none for made in self.function.nopython_signatures):
                raise TypeError("on_bar returns something; it returns nothing")
            self.done.add(types_of_me)
        return int(stopped), float(gross)


def is_refusal(error: BaseException) -> bool:
    """Whether numba says that it cannot compile a function."""
    return isinstance(error, _NUMBA)


def runs_compiled(strategy: Strategy) -> bool:
    """Whether it wants to be compiled, and there is a compiler."""
    return strategy.compiled and not getattr(config, "DISABLE_JIT", False)


def compiled_for(strategy: Strategy, known: Mapping[str, Panel]) -> CompiledOnBar:
    """The compiled `on_bar` of a strategy; the same one for all that share the function and what it reads.

    Args:
        strategy: an instance, with its memory on it.
        known: all that a bar could be asked for.

    Raises: StrategyError if `on_bar` is no plain function.
    """
    function = getattr(strategy.on_bar, "__func__", None)  # type: ignore[attr-defined]  # there: `is_event_driven`
    if not isinstance(function, types.FunctionType):
        raise StrategyError(
            f"{strategy!r}.on_bar cannot be compiled: it is no plain method, but {type(strategy).__name__}.on_bar is a "
            f"{type(function or strategy.on_bar).__name__}.\nWrite it as def on_bar(self, bar, account)."  # type: ignore[attr-defined]
        )
    key = (type(strategy), function, tuple(known), tuple(vars(strategy)))
    with _lock:
        if key not in _found:
            _found[key] = _compiled(strategy, function, known)
        return _found[key]


def _compiled(strategy: Strategy, function: types.FunctionType, known: Mapping[str, Panel]) -> CompiledOnBar:
    words = set(_words(function.__code__))
    names = tuple(name for name in known if name in words) or tuple(known)[:1]
    own = tuple(name for name in _own_names(strategy) if name in words)
    key = (function, names, own)
    if key not in _kept:
        # a field at least, for numba has no empty named tuples
        kind = namedtuple("Self", [*own, "compiled"])  # type: ignore[misc]  # noqa: PYI024 - made at run time
        ours = compiled_on_bar(function)
        _kept[key] = CompiledOnBar(names=names, kind=kind, function=ours, loop=bar_loop(ours, names))
    return _kept[key]


def _words(code: types.CodeType) -> Iterable[str]:
    """Names and texts in a function's code: it can only ask for a field by one of them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, types.CodeType):
            yield from _words(constant)


def _own_names(strategy: Strategy) -> list[str]:
    """Attributes of an instance that compiled code can read: numbers, texts and arrays of numbers."""
    names = [name for name in dir(strategy) if not name.startswith("_") and name not in ("compiled", "rebalance")]
    return [name for name in names if _readable(getattr(strategy, name, math))]


def _readable(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiub"
    return value is None or isinstance(value, bool | int | float | str)
