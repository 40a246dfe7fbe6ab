"""What the functions of this room are asked with, checked."""

from __future__ import annotations

import math
import numbers
from typing import Any, TypeGuard

from knowable.data.market import UNIVERSE
from knowable.errors import InputError, shown
from knowable.features.apply import feature_of, named
from knowable.features.feature import Feature
from knowable.features.functions.element import where
from knowable.features.functions.moving import lag
from knowable.features.gate import ends_node
from knowable.features.symbols import Symbol

__all__ = [
    "codes_of",
    "held_between",
    "is_number",
    "members",
    "members_only",
    "positive",
    "prices_of",
    "selection",
    "told",
    "window_of_two",
]


def codes_of(op: str, groups: Any) -> Feature:
    """The feature that says which group an asset is in. Raises: InputError."""
    try:
        return feature_of(op, groups)
    except InputError:
        raise InputError(
            f"`groups` must be a feature that holds a number for each group, but it is {shown(groups)}, in {op}.\n"
            "Put one into the market as a field: sector = close * 0 + pd.Series(numbers_by_asset), then\n"
            "Market.from_frames(close=close, sector=sector), and use m.sector."
        ) from None


def held_between(call: str, x: Feature, every: Any) -> Feature:
    """`x` at the ends of periods, held between them. Raises: as `lag`, naming the call."""
    ends_node(every, lambda: call)
    return lag(x, 0, every=every)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a plain number; a symbol is none, and is not asked for its value."""
    return issubclass(type(value), numbers.Real) and type(value) is not bool


def members(x: Feature) -> Any:
    """The feature that says who is a member on each bar; 1 where the market has no universe."""
    return getattr(x.market, UNIVERSE) if UNIVERSE in x.market.panels else 1.0


def members_only(op: str, w: Any) -> Feature:
    """Weights that are 0 for who is no member on the bar; `w` itself where the market has no universe."""
    weights = feature_of(op, w)
    inside = members(weights)
    return where(inside, weights, 0.0) if issubclass(type(inside), Feature) else weights


def positive(op: str, name: str, value: Any) -> Any:
    """A finite number above 0, or a parameter. Raises: InputError."""
    if type(value) is Symbol:
        return value
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or float(value) <= 0.0:
        raise InputError(f"`{name} > 0` must hold for a finite number, but {name}={shown(value)}, in {op}.")
    return value


def prices_of(op: str, price: Any) -> Feature:
    """The feature of prices. Raises: InputError for what is none, or is returns, of which returns say nothing."""
    feature = feature_of(op, price)
    node = feature.node
    if node.op == "-" and node.inputs[0].op == "/" and node.inputs[0].inputs[1].op == "lag":
        raise InputError(
            f"`price` must be prices, such as m.close, but it is the returns {named(price)}, in {op}, which takes the "
            "returns of prices itself."
        )
    return feature


def selection(op: str, of: Any) -> Any:
    """The feature that says which assets may be held; 1 for all. Raises: InputError."""
    if of is None:
        return 1.0
    try:
        return feature_of(op, of)
    except InputError:
        raise InputError(
            f"`of` says on each bar which assets may be held, so it must be a feature, such as "
            f"m.close > m.close.mean(200), but it is {shown(of)}, in {op}."
        ) from None


def told(op: str, *operands: Any) -> str:
    """A call as an error shows it: with what the user gave, not with what was made of it."""
    return f"{op}({', '.join(map(named, operands))}, ...)"


def window_of_two(op: str, price: Any, window: Any) -> Any:
    """A window that can have a deviation; what is no whole number is left to the operator. Raises: InputError."""
    if type(window) is not Symbol and hasattr(type(window), "__index__") and window < 2:
        raise InputError(
            f"`window >= 2` returns are needed for a deviation, but window={shown(window)}, in {told(op, price)}."
        )
    return window
