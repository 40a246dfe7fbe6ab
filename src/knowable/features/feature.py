"""`Feature`: an expression on one market, written with Python's operators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import UNIVERSE, Market
from knowable.errors import InputError, UnknownAttributeError, shown, unknown_name
from knowable.features.node import Node, field, node, number, topological
from knowable.features.operators import OPERATORS, SETTINGS
from knowable.features.symbols import Expression, Symbol

if TYPE_CHECKING:
    from knowable.features.stepper import Stepper

__all__ = ["Feature", "apply"]

_NUMBERS = (int, float, np.integer, np.floating, np.bool_)
_UNIVERSE = field(UNIVERSE)
_ACROSS = frozenset(name for name, each in OPERATORS.items() if each.across)
_COMMUTES = frozenset({"minimum", "maximum", "&", "|"})
_UFUNCS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "negative": "neg", "absolute": "abs",
    "sqrt": "sqrt", "sign": "sign", "exp": "exp", "log": "log", "log1p": "log1p", "isnan": "isnan",
    "minimum": "minimum", "maximum": "maximum", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=", "equal": "==", "not_equal": "!=", "bitwise_and": "&", "bitwise_or": "|",
}  # fmt: skip
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_ELSEWHERE = {
    "shift": "write x.lag(n) with n >= 0; no negative lag exists, because row t may use rows up to t only",
    "rolling": "write x.mean(window), x.std(window), x.sum(window), x.min(window) or x.max(window)",
    "diff": "write x.delta(n)",
    "pct_change": "write x / x.lag(n) - 1",
    "fillna": "write where(isnan(x), value, x); filling backwards would look ahead",
    "bfill": "filling backwards would look ahead",
    "iloc": "a feature has no rows until it is evaluated: x.frame().iloc",
    "loc": "a feature has no rows until it is evaluated: x.frame().loc",
}


def _method(op: str) -> Callable[..., Any]:
    def method(self: Feature, other: Any) -> Feature:
        return apply(op, self, other)

    return method


def _reflected(op: str) -> Callable[..., Any]:
    def method(self: Feature, other: Any) -> Feature:
        return apply(op, other, self)

    return method


class Feature(Expression):
    """An expression over a market's fields; nothing is computed until `values` or `frame`.

    Booleans are 1.0 and 0.0. NaN in gives NaN out for arithmetic, comparison, logic and where; cross-sections skip NaN;
    a window with a NaN in it is NaN. Row t uses rows up to t only.

    Where the market has a field ``universe``, cross-sections (rank, zscore, demean, cross_sum) skip the assets that are
    no members on that bar; windows and lags see an asset's whole history, so a newcomer has its past.

    Attributes:
        node: the structure.
        market: what it is evaluated on.
    """

    __slots__ = ("market", "node")

    node: Node
    market: Market

    def __init__(self, node: Node, market: Market) -> None:
        self.node = node
        self.market = market

    __add__, __radd__ = _method("+"), _reflected("+")
    __sub__, __rsub__ = _method("-"), _reflected("-")
    __mul__, __rmul__ = _method("*"), _reflected("*")
    __truediv__, __rtruediv__ = _method("/"), _reflected("/")
    __pow__, __rpow__ = _method("**"), _reflected("**")
    __lt__, __le__ = _method("<"), _method("<=")
    __gt__, __ge__ = _method(">"), _method(">=")
    __eq__, __ne__ = _method("=="), _method("!=")
    __and__, __rand__ = _method("&"), _reflected("&")
    __or__, __ror__ = _method("|"), _reflected("|")
    __hash__ = None  # type: ignore[assignment]
    __pandas_priority__ = 10_000  # frames leave arithmetic to us, so that the message can be ours

    def __neg__(self) -> Feature:
        return apply("neg", self)

    def __pos__(self) -> Feature:
        return self

    def __abs__(self) -> Feature:
        return apply("abs", self)

    def __invert__(self) -> Feature:
        return apply("==", self, 0.0)

    def __bool__(self) -> NoReturn:
        raise InputError(
            f"`{self!r}` has a value for every bar and asset, so it is neither true nor false.\n"
            "For `if ... else ...` use where(condition, a, b); for `and`, `or`, `not` use &, |, ~ with parentheses."
        )

    def lag(self, n: int) -> Feature:
        """The value `n` bars before, n >= 0; NaN on the first n rows."""
        return _lag(self, n)

    def delta(self, n: int) -> Feature:
        """The change over `n` bars: x - x.lag(n)."""
        return apply("-", self, _lag(self, n))

    def sum(self, window: int) -> Feature:
        """Sum of the last `window` bars, this one included; NaN unless all are valid."""
        return apply("sum", self, window=window)

    def mean(self, window: int) -> Feature:
        """Mean of the last `window` bars, this one included; NaN unless all are valid."""
        return apply("mean", self, window=window)

    def std(self, window: int) -> Feature:
        """Sample standard deviation (n - 1) of the last `window` bars; NaN unless all are valid, and for window 1."""
        return apply("std", self, window=window)

    def min(self, window: int) -> Feature:
        """Smallest of the last `window` bars, this one included; NaN unless all are valid."""
        return apply("min", self, window=window)

    def max(self, window: int) -> Feature:
        """Largest of the last `window` bars, this one included; NaN unless all are valid."""
        return apply("max", self, window=window)

    def ewm(self, span: float) -> Feature:
        """Exponentially weighted mean, alpha = 2 / (span + 1), weights (1 - alpha)**age divided by their sum.

        As pandas' ``ewm(span=span).mean()`` (adjust=True, ignore_na=False): a missing value leaves the mean as it is
        and ages what came before; NaN before the first value. An infinity counts as missing.
        """
        return apply("ewm", self, span=span)

    def rank(self, descending: bool = False) -> Feature:
        """Rank among the assets of the bar, 1 the smallest, or the largest if `descending`; ties get their average."""
        return apply("rank", self, descending=descending)

    def zscore(self) -> Feature:
        """Less the bar's mean, over the bar's sample deviation (n - 1); NaN for fewer than two values or no spread."""
        return apply("zscore", self)

    def demean(self) -> Feature:
        """Less the bar's mean over the assets that have a value."""
        return apply("demean", self)

    def cross_sum(self) -> Feature:
        """Sum over the bar's assets that have a value, the same in each column; NaN if none has."""
        return apply("cross_sum", self)

    def values(self) -> npt.NDArray[np.float64]:
        """(n_bars, n_assets) float64, read-only."""
        from knowable.features.program import Program

        return Program.of(self).evaluate(self.market)

    def frame(self) -> pd.DataFrame:
        """The values as a DataFrame with the market's index and assets."""
        return pd.DataFrame(self.values().copy(), index=self.market.index, columns=list(self.market.assets))

    def stepper(self, market: Market | None = None) -> Stepper:
        """The same expression a bar at a time, for live use; `market` only says which assets and fields."""
        from knowable.features.stepper import Stepper

        return Stepper(self.node, self.market if market is None else market)

    def definition(self) -> str:
        """The expression as text for storage; ``market.expression(text)`` reads it back. Raises: InputError."""
        from knowable.features.definition import dump

        return dump(self.node)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the market's fields it uses, sorted."""
        return tuple(sorted({str(each.settings[0]) for each in topological(self.node) if each.op == "field"}))

    @property
    def n_assets(self) -> int:
        """Number of columns."""
        return self.market.n_assets

    @property
    def shape(self) -> tuple[int, int]:
        """(n_bars, n_assets)."""
        return self.market.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.values(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, how: str, *inputs: Any, **options: Any) -> Any:
        op = _UFUNCS.get(ufunc.__name__)
        if op is None or how != "__call__" or options:
            raise InputError(
                f"numpy's {ufunc.__name__} has no counterpart for features, in `{self!r}`; it would also leave the\n"
                "expression language. Use knowable.features, or x.values() for a plain array."
            )
        return apply(op, *inputs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _ELSEWHERE:
            raise UnknownAttributeError(f"Features have no {name!r}: {_ELSEWHERE[name]}.")
        known = [each for each in dir(type(self)) if not each.startswith("_")]
        raise UnknownAttributeError(str(unknown_name("attribute", name, known, where="a feature")))

    def __repr__(self) -> str:
        return repr(self.node)


def apply(op: str, *operands: Any, **settings: Any) -> Feature:
    """The feature of one operator; operands are features, numbers or symbols, at least one a feature.

    Raises: InputError if an operand is something else, features belong to different markets, or a setting is out of
    range.
    """
    market: Market | None = None
    nodes: list[Node] = []
    for operand in operands:
        if type(operand) is Feature:
            nodes.append(operand.node)
            if market is not operand.market:
                market = operand.market if market is None else _same(market, operand.market, op, operands)
        else:
            nodes.append(_scalar(operand, op, operands))
    if market is None:
        raise InputError(
            f"`{op}` needs at least one feature, such as market.close, but got {', '.join(map(_name, operands))}."
        )
    if nodes[0].scalar and len(nodes) == 2:
        op, nodes = _scalar_last(op, nodes)
    if op in _ACROSS and UNIVERSE in market.panels:
        nodes = [_members(nodes[0])]
    checked = tuple(_setting(key, value, op, operands) for key, value in settings.items())
    return Feature(node(op, tuple(nodes), checked), market)


def field_feature(market: Market, name: str) -> Feature:
    """What ``market.close`` gives."""
    return Feature(field(name), market)


def defined_feature(market: Market, definition: str) -> Feature:
    """What ``market.expression(text)`` gives."""
    from knowable.features.definition import load

    root = load(definition)
    feature = Feature(_within(root) if UNIVERSE in market.panels else root, market)
    for name in feature.fields:
        market.panel(name)  # raises on an unknown one
    return feature


def _members(x: Node) -> Node:
    """What operators across assets see of `x` where the market has a universe: its members, NaN elsewhere.

    It is part of the expression, so that batch, sweeps and the stepper need no rule of their own, and its text says so.
    """
    return node("members", (x, _UNIVERSE))


def _within(root: Node) -> Node:
    """The expression with every operator across assets seeing members only, as if built on a market with a universe."""
    made: dict[Node, Node] = {}
    for each in topological(root):
        inputs = tuple(made[below] for below in each.inputs)
        if each.op in _ACROSS and each.inputs[0].op != "members":
            inputs = (_members(inputs[0]),)
        made[each] = each if inputs == each.inputs else node(each.op, inputs, each.settings, each.scalar)
    return made[root]


def _lag(x: Feature, n: Any) -> Feature:
    if type(n) is not Symbol and SETTINGS["n"](n, lambda: f"lag({_name(x)}, {shown(n)})") == 0:
        return x
    return apply("lag", x, n=n)


def _setting(key: str, value: Any, op: str, operands: tuple[Any, ...]) -> Any:
    if type(value) is Symbol:
        if key == "descending":
            bool(value)  # raises NeedsValue
        return value._node  # noqa: SLF001 - symbols and features are one room
    return SETTINGS[key](value, lambda: f"{op}({', '.join(map(_name, operands))}, {shown(value)})")


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
    place = f"in `{op}` of {', '.join(map(_name, operands))}"
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
    names = " and ".join(f"`{_name(each)}`" for each in operands if type(each) is Feature)
    raise InputError(
        f"Features of two different markets cannot meet, but {names} do in `{op}`: {one!r} and {other!r}.\n"
        "Build one market that has the fields of both."
    )


def _name(operand: Any) -> str:
    if type(operand) is Symbol:
        return repr(operand._node)  # noqa: SLF001 - symbols and features are one room
    if isinstance(operand, np.ndarray | pd.DataFrame | pd.Series):
        return f"the {type(operand).__name__}"
    return shown(operand)


Market.bind_features(field_feature, defined_feature)
