"""Expressions over a market's fields: built once, evaluated over all bars or stepped bar by bar."""

from knowable.features.feature import Feature
from knowable.features.functions.across import (
    bottom,
    cross_count,
    cross_mean,
    cross_sum,
    demean,
    mask,
    neutralize,
    pct_rank,
    quantile,
    rank,
    scale,
    top,
    winsorize,
    zscore,
)
from knowable.features.functions.clock import days_since, resample
from knowable.features.functions.element import (
    abs,  # noqa: A004 - the language's own names
    clip,
    exp,
    fill,
    isnan,
    log,
    log1p,
    maximum,
    minimum,
    sign,
    signed_power,
    sqrt,
    where,
)
from knowable.features.functions.expanding import (
    expanding_count,
    expanding_max,
    expanding_mean,
    expanding_min,
    expanding_std,
    expanding_sum,
)
from knowable.features.functions.groups import (
    group_count,
    group_mean,
    group_neutralize,
    group_rank,
    group_sum,
    group_zscore,
)
from knowable.features.functions.indicators import atr, bollinger, macd, rsi
from knowable.features.functions.moments import ewm_std, skew, ts_zscore, var
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
from knowable.features.functions.order import argmax, argmin, median, ts_quantile, ts_rank
from knowable.features.functions.pairs import beta, corr, cov, r2, resid
from knowable.features.functions.paths import bars_since, count, decay_linear, ffill, product, returns
from knowable.features.memo import Memo
from knowable.features.node import Node, bind
from knowable.features.program import Program, evaluate
from knowable.features.stepper import Stepper
from knowable.features.symbols import Formula, NeedsValue, Symbol, asked, symbol

__all__ = [
    "Feature", "Formula", "Memo", "NeedsValue", "Node", "Program", "Stepper", "Symbol", "abs", "argmax", "argmin",
    "asked", "atr", "bars_since", "beta", "bind", "bollinger", "bottom", "clip", "corr", "count", "cov", "cross_count",
    "cross_mean", "cross_sum", "days_since", "decay_linear", "delta", "demean", "evaluate", "ewm", "ewm_std", "exp",
    "expanding_count", "expanding_max", "expanding_mean", "expanding_min", "expanding_std", "expanding_sum", "ffill",
    "fill", "group_count", "group_mean", "group_neutralize", "group_rank", "group_sum", "group_zscore", "isnan", "lag",
    "log", "log1p", "macd", "mask", "max", "maximum", "mean", "median", "min", "minimum", "neutralize", "pct_rank",
    "product", "quantile", "r2", "rank", "resample", "resid", "returns", "rsi", "scale", "sign", "signed_power", "skew",
    "sqrt", "std", "sum", "symbol", "top", "ts_quantile", "ts_rank", "ts_zscore", "var", "where", "winsorize", "zscore",
]  # fmt: skip
