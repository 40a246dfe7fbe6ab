"""Symbols: numbers whose value is not known yet, so that one graph serves all parameter sets.

A symbol takes part in arithmetic and can be a window. Whatever would need its value in Python, above all a branch,
would build a graph that is right for one value and silently wrong for others. All of it raises `NeedsValue`, and the
caller builds a graph for each parameter set instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol, Self, SupportsIndex

import numpy as np

from knowable.features.node import Node, node, number, scalar_value, topological

__all__ = ["Expression", "Formula", "NeedsValue", "Symbol", "asked", "symbol"]


class NeedsValue(BaseException):
    """Python needs the value of a symbol. Not an Exception, so that a user's ``except Exception`` cannot swallow it."""


class Expression:
    """What a symbol leaves arithmetic and comparison to: features."""

    __slots__ = ()


class _Ranged(Protocol):
    @property
    def default(self) -> Any: ...


class _Wire:
    """Remembers that a value was asked for, even if someone caught the exception."""

    __slots__ = ("tripped",)

    def __init__(self) -> None:
        self.tripped = False


_NUMBERS = (int, float, np.integer, np.floating, np.bool_)


def symbol(name: str, param: _Ranged) -> Symbol:
    """A number called `name`, to be given when the program is evaluated.

    Args:
        name: key in the `params` of `Program.evaluate`.
        param: its declaration, a `Float` or an `Int`; a choice may be text or None, on which code branches by type.

    Raises: NeedsValue if the parameter's default is not a number.
    """
    if isinstance(param.default, bool) or not isinstance(param.default, int | float):
        raise NeedsValue(name)
    made = object.__new__(Symbol)
    object.__setattr__(made, "_node", node("symbol", (), (name,), True))
    object.__setattr__(made, "_wires", (_Wire(),))
    return made


def asked(made: Symbol) -> bool:
    """Whether anything has asked for the symbol's value; its graph is then not to be trusted."""
    return any(wire.tripped for wire in made._wires)  # noqa: SLF001 - functions of this file are the class's own


class Formula:
    """A number computed from parameters, in order of computation: what `Program` is for features. Immutable.

    Attributes:
        node: the expression.
        symbols: names that `value` needs numbers for.
    """

    __slots__ = ("_order", "node", "symbols")

    def __init__(self, root: Node) -> None:
        self.node, self.symbols, self._order = root, root.symbols, topological(root)

    @classmethod
    def of(cls, value: Any) -> Self | None:
        """The formula of a symbol or of a plain number; None for anything else."""
        if type(value) is Symbol:
            return cls(value._node)  # noqa: SLF001
        if type(value) in (int, float) or isinstance(value, np.integer | np.floating):
            return cls(number(float(value)))
        return None

    def value(self, params: Mapping[str, Any]) -> float:
        """The number. Raises: InputError if a symbol has no value or the arithmetic fails."""
        values: dict[Node, Any] = {}
        for each in self._order:
            values[each] = scalar_value(each, values, params)
        return float(values[self.node])


def _needs_value(self: Symbol, *_: Any, **__: Any) -> NoReturn:
    for wire in self._wires:
        wire.tripped = True
    raise NeedsValue(repr(self._node))


def _forward(op: str) -> Callable[[Symbol, Any], Any]:
    def method(self: Symbol, other: Any) -> Any:
        return _combine(op, self, other, self, other)

    return method


def _reflected(op: str) -> Callable[[Symbol, Any], Any]:
    def method(self: Symbol, other: Any) -> Any:
        return _combine(op, other, self, self, other)

    return method


def _unary(op: str) -> Callable[[Symbol], Any]:
    def method(self: Symbol) -> Any:
        return _made(node(op, (self._node,), (), True), self._wires)

    return method


def _left_to_features(self: Symbol, other: Any) -> Any:
    if type(other) is not Symbol and isinstance(other, Expression):
        return NotImplemented  # the feature's own method takes over
    return _needs_value(self)


class Symbol:
    """A number to be known later. Make it with `symbol`.

    Allowed: ``+ - * / // % **``, negation, ``abs``, use as a window, arithmetic or comparison with a feature. All else
    raises NeedsValue: ``if``, ``==``, ``<``, ``int``, ``float``, ``bool``, ``round``, indexing, hashing, ``str``,
    formatting, ``isinstance`` (asked through ``__class__``), iteration, unknown attributes. What Python gives no way to
    notice is ``type(x)`` and ``x is 5``; compare `bind` of the graph with a graph built from values to be sure.
    """

    __slots__ = ("_node", "_wires")

    _node: Node
    _wires: tuple[_Wire, ...]

    __array_ufunc__ = None  # numpy numbers leave arithmetic to us

    __add__ = _forward("+")
    __sub__ = _forward("-")
    __mul__ = _forward("*")
    __truediv__ = _forward("/")
    __floordiv__ = _forward("//")
    __mod__ = _forward("%")
    __pow__ = _forward("**")
    __radd__ = _reflected("+")
    __rsub__ = _reflected("-")
    __rmul__ = _reflected("*")
    __rtruediv__ = _reflected("/")
    __rfloordiv__ = _reflected("//")
    __rmod__ = _reflected("%")
    __rpow__ = _reflected("**")
    __neg__ = _unary("neg")
    __abs__ = _unary("abs")

    def __pos__(self) -> Symbol:
        return self

    __lt__ = __le__ = __gt__ = __ge__ = _left_to_features
    __eq__ = __ne__ = _left_to_features
    __and__ = __rand__ = __or__ = __ror__ = _left_to_features
    __bool__ = __int__ = __float__ = __complex__ = __index__ = __hash__ = _needs_value
    __round__ = __trunc__ = __floor__ = __ceil__ = _needs_value
    __str__ = __repr__ = __format__ = __bytes__ = _needs_value
    __len__ = __iter__ = __contains__ = __getitem__ = __call__ = __next__ = __reversed__ = _needs_value
    __divmod__ = __rdivmod__ = __xor__ = __rxor__ = _needs_value
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = __invert__ = __matmul__ = __rmatmul__ = _needs_value
    __array__ = __reduce__ = __copy__ = __deepcopy__ = __dir__ = _needs_value
    __setattr__ = __delattr__ = _needs_value

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        _needs_value(self, protocol)

    def __getattr__(self, name: str) -> NoReturn:
        _needs_value(self, name)

    @property  # type: ignore[misc]
    def __class__(self) -> NoReturn:  # type: ignore[override]
        """`isinstance` asks here once `type` did not answer: int or not is a question about the value."""
        _needs_value(self)


def _made(formula: Node, wires: tuple[_Wire, ...]) -> Symbol:
    made = object.__new__(Symbol)
    object.__setattr__(made, "_node", formula)
    object.__setattr__(made, "_wires", wires)
    return made


def _combine(op: str, left: Any, right: Any, mine: Symbol, other: Any) -> Any:
    """The symbol for ``left op right``, of which one is `mine`."""
    if type(other) is Symbol:
        wires = tuple(dict.fromkeys((*mine._wires, *other._wires)))  # noqa: SLF001
    elif isinstance(other, _NUMBERS):
        wires = mine._wires  # noqa: SLF001
    elif isinstance(other, Expression):
        return NotImplemented
    else:
        _needs_value(mine)  # [0] * n, "-" * n, an array: for Python to do, or to refuse
    return _made(node(op, (_scalar(left), _scalar(right)), (), True), wires)


def _scalar(value: Any) -> Node:
    if type(value) is Symbol:
        return value._node  # noqa: SLF001
    return number(value.item() if isinstance(value, np.generic) else value)
