"""Expressions over a market's fields: built once, evaluated over all bars or stepped bar by bar."""

from knowable.features.feature import Feature
from knowable.features.functions.across import cross_sum, demean, rank, zscore
from knowable.features.functions.clock import days_since, resample
from knowable.features.functions.element import (
    abs,  # noqa: A004 - the language's own names
    clip,
    exp,
    isnan,
    log,
    log1p,
    maximum,
    minimum,
    sign,
    sqrt,
    where,
)
from knowable.features.functions.moving import (
    delta,
    ewm,
    lag,
    max,  # noqa: A004
    mean,
    min,  # noqa: A004
    std,
    sum,  # noqa: A004
)
from knowable.features.memo import Memo
from knowable.features.node import Node, bind
from knowable.features.program import Program, evaluate
from knowable.features.stepper import Stepper
from knowable.features.symbols import NeedsValue, Symbol, asked, symbol

__all__ = [
    "Feature", "Memo", "NeedsValue", "Node", "Program", "Stepper", "Symbol", "abs", "asked", "bind", "clip",
    "cross_sum", "days_since", "delta", "demean", "evaluate", "ewm", "exp", "isnan", "lag", "log", "log1p", "max",
    "maximum", "mean", "min", "minimum", "rank", "resample", "sign", "sqrt", "std", "sum", "symbol", "where", "zscore",
]  # fmt: skip
