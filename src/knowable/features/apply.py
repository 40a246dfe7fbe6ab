"""`apply`: the feature of one operator, its operands and settings checked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from knowable.data.market import UNIVERSE, Market
from knowable.errors import InputError, shown
from knowable.features.gate import ends_node
from knowable.features.models.label import Label
from knowable.features.node import Node, field, node, number
from knowable.features.operators import OPERATORS
from knowable.features.operators.settings import check_of
from knowable.features.symbols import Expression, Symbol

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["apply", "common_market", "feature_of", "named", "rebalanced"]

_NUMBERS = (int, float, np.integer, np.floating, np.bool_)
_UNIVERSE = field(UNIVERSE)
_ACROSS = frozenset(name for name, each in OPERATORS.items() if each.across)
_COMMUTES = frozenset({"minimum", "maximum", "&", "|"})
_WORDS = frozenset({"descending", "long_only", "covariance", "infeasible"})  # settings that are no numbers
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def apply(
    op: str, *operands: Any, every: Any = None, clock: Node | None = None, told: str = "", **settings: Any
) -> Feature:
    """The feature of one operator; operands are features, numbers or symbols, at least one a feature.

    Moving operators take `every`, the slower clock whose periods their rows are then; `clock` is the operator's own.
    `told` is how an error shows the call, where it was another that the user wrote.

    Raises: InputError if an operand is something else, features belong to different markets, or a setting is out of
    range.
    """
    market: Market | None = None
    kind: Any = None
    nodes: list[Node] = []
    for operand in operands:
        if issubclass(type(operand), Expression):  # isinstance would ask a symbol for its value
            kind = type(operand)
            nodes.append(operand.node)
            if market is not operand.market:
                market = operand.market if market is None else _same(market, operand.market, op, operands)
        else:
            nodes.append(_scalar(operand, op, operands))
    if market is None:
        raise InputError(
            f"`{op}` needs at least one feature, such as market.close, but got {', '.join(map(named, operands))}."
        )
    if nodes[0].scalar and len(nodes) == 2:
        op, nodes = _scalar_last(op, nodes)
    if op in _ACROSS and UNIVERSE in market.panels:
        nodes[0] = _members(nodes[0])  # enough for the others too: an asset without its first input takes no part
    if every is not None:
        clock = ends_node(every, lambda: f"{op}({', '.join(map(named, operands))}, every={shown(every)})")
    if clock is not None:
        nodes.append(clock)

    def where() -> str:
        if told:
            return told
        given = [named(value) if k == 0 else f"{key}={named(value)}" for k, (key, value) in enumerate(settings.items())]
        return f"{op}({', '.join([*map(named, operands), *given])})"

    checked = tuple(_setting(op, key, value, where) for key, value in settings.items())
    made: Feature = kind(node(op, tuple(nodes), checked), market)
    return made


def rebalanced(op: str, *operands: Any, every: Any = None, told: str = "", **settings: Any) -> Feature:
    """The feature of an operator that reads a clock of its own, which may be that of every bar; `told` as in `apply`.

    Raises: as `apply`.
    """
    clock = ends_node(every, lambda: told or f"{op}({', '.join(map(named, operands))}, every={shown(every)})")
    return apply(op, *operands, clock=node("ends", (), (1,)) if clock is None else clock, told=told, **settings)


def common_market(op: str, features: Sequence[Feature]) -> Market:
    """The market of all features, at least one. Raises: InputError if they belong to different ones."""
    market = features[0].market
    for each in features[1:]:
        if each.market is not market:
            market = _same(market, each.market, op, tuple(features))
    return market


def feature_of(op: str, x: Any) -> Feature:
    """`x` if it is a feature. Raises: InputError, naming the function it was given to."""
    if issubclass(type(x), Expression):
        found: Feature = x
        return found
    if type(x) is Label:
        raise InputError(x.refusal(f"cannot be used in `{op}`"))
    raise InputError(f"`{op}` needs a feature, such as market.close, but got {shown(x)}.")


def named(operand: Any) -> str:
    """An operand as an error shows it."""
    if type(operand) is Symbol:
        return repr(operand._node)  # noqa: SLF001 - symbols and features are one room
    if isinstance(operand, np.ndarray | pd.DataFrame | pd.Series):
        return f"the {type(operand).__name__}"
    return shown(operand)


def _members(x: Node) -> Node:
    """What operators across assets see of `x` where the market has a universe: its members, NaN elsewhere.

    It is part of the expression, so that batch, sweeps and the stepper need no rule of their own, and its text says so.
    A text that says so already is taken at its word.
    """
    return x if x.op == "members" and x.inputs[1] is _UNIVERSE else node("members", (x, _UNIVERSE))


def _setting(op: str, key: str, value: Any, where: Callable[[], str]) -> Any:
    if type(value) is Symbol:
        if key in _WORDS:
            bool(value)  # raises NeedsValue
        return value._node  # noqa: SLF001 - symbols and features are one room
    return check_of(op, key)(value, where)


@functools.lru_cache(maxsize=1_024)
def _number(value: float) -> Node:
    """The node of a number that is not 0, whose sign equality does not see."""
    return number(value)


def _scalar(value: Any, op: str, operands: tuple[Any, ...]) -> Node:
    if type(value) is Symbol:
        return value._node  # noqa: SLF001 - symbols and features are one room
    if isinstance(value, _NUMBERS):
        plain = float(value)
        return _number(plain) if plain else number(plain)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return _scalar(value.item(), op, operands)
    if type(value) is Label:
        raise InputError(value.refusal(f"cannot be used in `{op}`"))
    place = f"in `{op}` of {', '.join(map(named, operands))}"
    if isinstance(value, np.ndarray | pd.DataFrame | pd.Series):
        raise InputError(
            f"A feature combines with features and numbers, but got a {type(value).__name__} of shape "
            f"{value.shape}, {place}.\n"
            "Put it into the market as a field, Market.from_frames(close=..., mine=frame), and use market.mine;\n"
            "or leave the expression language: work on x.frame() and return a DataFrame from weights."
        )
    raise InputError(
        f"A feature combines with features and numbers, but got {shown(value)} of type {type(value).__name__}, {place}."
    )


def _scalar_last(op: str, nodes: list[Node]) -> tuple[str, list[Node]]:
    """Kernels of comparison and symmetric functions take a number on the right."""
    if op in _MIRRORED:
        return _MIRRORED[op], nodes[::-1]
    return (op, nodes[::-1]) if op in _COMMUTES else (op, nodes)


def _same(one: Market, other: Market, op: str, operands: tuple[Any, ...]) -> Market:
    if one.shape == other.shape and one.fingerprint == other.fingerprint:
        return one
    names = " and ".join(f"`{named(each)}`" for each in operands if issubclass(type(each), Expression))
    raise InputError(
        f"Features of two different markets cannot meet, but {names} do in `{op}`: {one!r} and {other!r}.\n"
        "Build one market that has the fields of both."
    )
