"""Expressions as pure structure: which function of which inputs, and no market.

Nodes are *hash-consed*: building the same expression twice gives the same object, so equality is identity, a repeated
subexpression is one node, and a graph built with symbols can be compared with one built from values.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import operator
import threading
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from knowable.errors import InputError, shown

__all__ = [
    "CLOCKS",
    "SCALAR_OPS",
    "Node",
    "Setting",
    "bind",
    "digest",
    "field",
    "node",
    "number",
    "scalar_value",
    "topological",
]

Setting: TypeAlias = "int | float | bool | str | Node | None"

SCALAR_OPS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "neg": operator.neg,
    "abs": abs,
}

CLOCKS = ("ends", "day")  # nodes that are computed from the times of bars: ends of periods, days


class Node:
    """One function applied to inputs. Make it with `node`, `field` or `number`, never directly.

    Attributes:
        op: name in the operator table, or ``field``, ``number``, ``symbol``, or one of CLOCKS; a Python operator on
            plain numbers has ``scalar`` set.
        inputs: operands; a clock comes last.
        settings: windows and switches; a symbolic one is itself a scalar node.
        scalar: it stands for one Python number, not for a panel.
        symbols: names of the symbols below it.
        serial: unique while the process lives; a later node is not an input of an earlier one.
    """

    __slots__ = ("__weakref__", "inputs", "op", "scalar", "serial", "settings", "symbols")

    op: str
    inputs: tuple[Node, ...]
    settings: tuple[Setting, ...]
    scalar: bool
    symbols: frozenset[str]
    serial: int

    def __reduce__(self) -> tuple[Any, ...]:
        return node, (self.op, self.inputs, self.settings, self.scalar)

    def __repr__(self) -> str:
        from knowable.features.text.writer import short  # it takes nodes

        return short(self)


_nodes: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()
_lock = threading.Lock()
_serials = itertools.count()
_NO_SYMBOLS: frozenset[str] = frozenset()


def node(op: str, inputs: tuple[Node, ...] = (), settings: tuple[Any, ...] = (), scalar: bool = False) -> Node:
    """The one node of this structure."""
    key: tuple[Any, ...] = (op, inputs, settings, scalar)
    if op == "number":  # 2, 2.0 and True, or 0.0 and -0.0, are equal keys but not the same number
        value = settings[0]
        if isinstance(value, float) and math.isnan(value):  # one NaN, whatever bits came: they would show in results
            value, settings = math.nan, (math.nan,)
        key = (op, type(value).__name__, value.hex() if isinstance(value, float) else value, scalar)
    found = _nodes.get(key)
    if found is None:
        with _lock:
            found = _nodes.get(key)
            if found is None:
                found = _nodes[key] = _new(op, inputs, settings, scalar)
    return found


def field(name: str) -> Node:
    """A field of the market, such as ``close``."""
    return node("field", (), (name,))


def number(value: float) -> Node:
    """A constant; ints stay ints, because symbolic windows need whole numbers."""
    return node("number", (), (value,), True)


def topological(root: Node) -> list[Node]:
    """All nodes below `root`, each once, inputs and symbolic settings first, `root` last. Depth is not limited."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        current, done = stack.pop()
        if done:
            order.append(current)
        elif current not in seen:
            seen.add(current)
            stack.append((current, True))
            below = (*current.inputs, *(item for item in current.settings if type(item) is Node))
            stack.extend((each, False) for each in reversed(below) if each not in seen)
    return order


def scalar_value(scalar: Node, values: Mapping[Node, Any], params: Mapping[str, Any]) -> Any:
    """The Python number a scalar node stands for; `values` holds those of its inputs.

    Raises: InputError on a symbol without a value, or arithmetic that fails, such as a division by zero.
    """
    if scalar.op == "number":
        return scalar.settings[0]
    if scalar.op == "symbol":
        name = str(scalar.settings[0])
        if name not in params:
            raise InputError(f"The expression needs a value for {name!r}; given: {', '.join(params) or 'none'}.")
        value = params[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"`{name}` must be a number here, but {name}={shown(value)}.")
        return value
    try:
        return SCALAR_OPS[scalar.op](*[values[each] for each in scalar.inputs])
    except (ArithmeticError, TypeError) as error:
        given = ", ".join(f"{name}={params[name]!r}" for name in sorted(scalar.symbols) if name in params)
        raise InputError(f"`{scalar!r}` cannot be computed with {given}: {error}.") from error


def bind(root: Node, params: Mapping[str, Any]) -> Node:
    """The same expression with every symbol replaced by its value: the very node that those values build.

    Raises: InputError as `scalar_value`, and if a setting comes out of range.
    """
    if not root.symbols:
        return root
    from knowable.features.operators import OPERATORS  # its rows for models take nodes
    from knowable.features.operators.settings import check_of

    bound: dict[Node, Node] = {}
    values: dict[Node, Any] = {}
    for each in topological(root):
        if each.scalar:
            values[each] = scalar_value(each, values, params)
            bound[each] = number(float(values[each]))
        elif not each.symbols:
            bound[each] = each
        else:
            # checked as when built from values: a span of 4 is 4.0, or text and digest would tell which was built first
            settings = tuple(
                check_of(each.op, name)(values[item], partial(repr, each)) if type(item) is Node else item
                for name, item in zip(OPERATORS[each.op].settings, each.settings, strict=True)
            )
            inputs = tuple(bound[below] for below in each.inputs)
            # x.lag(0) is x when built from values, so it must be here too
            unmoved = each.op == "lag" and settings == (0,) and len(inputs) == 1
            bound[each] = inputs[0] if unmoved else node(each.op, inputs, settings)
    return bound[root]


def digest(root: Node) -> str:
    """A hash of the structure, the same in every process and on every machine."""
    hashes: dict[Node, str] = {}
    for each in topological(root):
        settings = [hashes[item] if type(item) is Node else repr(item) for item in each.settings]
        parts = [each.op, str(each.scalar), *[hashes[below] for below in each.inputs], "|", *settings]
        hashes[each] = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return hashes[root]


def _new(op: str, inputs: tuple[Node, ...], settings: tuple[Setting, ...], scalar: bool) -> Node:
    made = Node()
    made.op, made.inputs, made.settings, made.scalar = op, inputs, settings, scalar
    made.serial = next(_serials)
    symbols = frozenset({str(settings[0])}) if op == "symbol" else _NO_SYMBOLS
    for below in (*inputs, *settings):
        if type(below) is Node and below.symbols:
            symbols |= below.symbols
    made.symbols = symbols
    return made
