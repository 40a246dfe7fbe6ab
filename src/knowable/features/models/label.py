"""`Label`: what a model is to learn. It looks forward, and therefore can do nothing but train."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from knowable.errors import InputError, UnknownAttributeError, shown
from knowable.features.node import Node
from knowable.features.symbols import Expression

if TYPE_CHECKING:
    from knowable.data.market import Market
    from knowable.features.feature import Feature

__all__ = ["Label", "label"]

_WHY = (
    "A label holds what is known only {ahead} bars later, so it can train a model and do nothing else: "
    "kn.model(estimator, features, label)."
)
_REMEDY = "Transform the feature first and make the label of that: kn.label(x.rank(), ahead={ahead})."


def label(feature: Feature, ahead: int) -> Label:
    """What a model is to learn for each row: the value that `feature` will have `ahead` bars later.

    ``kn.label(m.close / m.close.lag(21) - 1, ahead=21)`` is the return over the next 21 bars. The feature itself looks
    back, like every feature, so ranks, windows or conditions are taken before: ``kn.label((ret > 0), ahead=21)``.

    Args:
        feature: (n_bars, n_assets), any unit.
        ahead: whole bars, >= 1. Give at least as many as the feature looks back, or part of what is learnt is known
            already.

    Returns: a Label; nothing but `kn.model` takes it.
    Known at: the label of row t is known at row t + ahead; a model fitted at row s is trained by rows t with
        ``t + ahead <= s`` only. NaN where the feature is NaN at row t + ahead; such rows train nothing.
    Raises: InputError if `feature` is none, or `ahead` is no whole number >= 1.
    """
    if isinstance(feature, Label):
        raise InputError(f"`{feature!r}` is a label already; make the label of a feature, such as market.close.")
    if not issubclass(type(feature), Expression):
        raise InputError(
            f"`feature` must be a feature, such as market.close / market.close.lag(21) - 1, but it is "
            f"{shown(feature)} of type {type(feature).__name__}, in kn.label."
        )
    return Label(feature, _ahead(ahead, feature))


def _ahead(value: Any, feature: Feature) -> int:
    if isinstance(value, bool | np.bool_) or not hasattr(type(value), "__index__"):
        raise InputError(
            f"`ahead` must be a whole number of bars, but ahead={shown(value)} is of type {type(value).__name__}, "
            f"in label({feature!r}, ...)."
        )
    whole = operator.index(value)
    if whole < 1:
        hint = f"Write ahead={-whole}: a label looks forward by itself." if whole < 0 else ""
        raise InputError(
            f"`ahead >= 1` must hold, but ahead={whole}, in label({feature!r}, ...).\n"
            f"{hint or 'What is known on the row itself is a feature; there is nothing to predict.'}"
        )
    return whole


def _refused(name: str) -> Callable[..., NoReturn]:
    def method(self: Label, *_: Any, **__: Any) -> NoReturn:
        raise InputError(self.refusal(f"has no {name}"))

    return method


class Label:
    """The values a feature will have `ahead` bars later. Made by `kn.label`, taken by `kn.model`, and by nothing else.

    Attributes:
        feature: what it is the future of.
        ahead: bars.
    """

    __slots__ = ("ahead", "feature")

    feature: Feature
    ahead: int

    def __init__(self, feature: Feature, ahead: int) -> None:
        self.feature, self.ahead = feature, ahead

    @property
    def node(self) -> Node:
        """The structure of its feature."""
        return self.feature.node

    @property
    def market(self) -> Market:
        """The market of its feature."""
        return self.feature.market

    def refusal(self, what: str) -> str:
        """Why it cannot do what somebody asked of it."""
        return f"`{self!r}` {what}.\n{_WHY.format(ahead=self.ahead)}\n{_REMEDY.format(ahead=self.ahead)}"

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refused("arithmetic")
    __pow__ = __rpow__ = __neg__ = __pos__ = __abs__ = __invert__ = _refused("arithmetic")
    __and__ = __rand__ = __or__ = __ror__ = _refused("arithmetic")
    __lt__ = __le__ = __gt__ = __ge__ = _refused("comparison")
    __eq__ = __ne__ = _refused("comparison")
    __hash__ = None  # type: ignore[assignment]
    __bool__ = _refused("truth value")
    __len__ = __iter__ = __getitem__ = __float__ = __int__ = __array__ = __array_ufunc__ = _refused("values to read")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UnknownAttributeError(self.refusal(f"has no {name!r}"))

    def __repr__(self) -> str:
        return f"label({self.feature!r}, ahead={self.ahead})"
