"""`Feature`: an expression on one market, written with Python's operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.errors import InputError, UnknownAttributeError, unknown_name
from knowable.features.apply import apply
from knowable.features.functions import (
    across,
    clock,
    element,
    expanding,
    groups,
    indicators,
    moments,
    moving,
    order,
    pairs,
    paths,
)
from knowable.features.functions.elsewhere import REMEDIES, SYNONYMS
from knowable.features.node import Node, field, topological
from knowable.features.symbols import Expression

if TYPE_CHECKING:
    from knowable.features.stepper import Stepper

__all__ = ["Feature"]

_UFUNCS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "negative": "neg", "absolute": "abs",
    "sqrt": "sqrt", "sign": "sign", "exp": "exp", "log": "log", "log1p": "log1p", "isnan": "isnan",
    "minimum": "minimum", "maximum": "maximum", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=", "equal": "==", "not_equal": "!=", "bitwise_and": "&", "bitwise_or": "|",
}  # fmt: skip


def _method(op: str) -> Callable[..., Any]:
    def method(self: Feature, other: Any) -> Feature:
        return apply(op, self, other)

    return method


def _reflected(op: str) -> Callable[..., Any]:
    def method(self: Feature, other: Any) -> Feature:
        return apply(op, other, self)

    return method


def _refused(remedy: str) -> Callable[..., NoReturn]:
    def method(self: Feature, *_: Any) -> NoReturn:
        raise InputError(f"`{self!r}` has a value for every bar and asset, and none before it is evaluated.\n{remedy}")

    return method


def _absent(sign: str) -> Callable[..., NoReturn]:
    def method(self: Feature, _: Any) -> NoReturn:
        raise InputError(f"Features have no `{sign}`, but it is asked of `{self!r}`.")

    return method


class Feature(Expression):
    """An expression over a market's fields; nothing is computed until `values` or `frame`.

    Booleans are 1.0 and 0.0. NaN in gives NaN out for arithmetic, comparison, logic and where; cross-sections skip NaN;
    a window with a NaN in it is NaN. Row t uses rows up to t only.

    Where the market has a field ``universe``, cross-sections (rank, zscore, neutralize, group_mean and so on) skip the
    assets that are no members on that bar; windows and lags see an asset's whole history, so a newcomer has its past.

    Attributes:
        node: the structure.
        market: what it is evaluated on.
    """

    __slots__ = ("market", "node")

    node: Node
    market: Market

    _analysis: ClassVar[list[Callable[..., Any]]] = []

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

    __len__ = __getitem__ = _refused(  # also what `for`, `list` and `in` ask where there is no __iter__
        "A past value is x.lag(n); one asset or some bars are x.frame()[name] or x.frame().iloc[rows]; how many there "
        "are is x.shape."
    )
    __int__ = __float__ = __round__ = _refused("One number is x.frame().loc[time, asset].")
    __mod__, __rmod__, __floordiv__, __rfloordiv__ = _absent("%"), _absent("%"), _absent("//"), _absent("//")
    __xor__, __rxor__ = _absent("^"), _absent("^")

    abs, sign, sqrt, exp, log, log1p = element.abs, element.sign, element.sqrt, element.exp, element.log, element.log1p
    isnan, clip = element.isnan, element.clip
    lag, delta, sum, mean = moving.lag, moving.delta, moving.sum, moving.mean
    std, min, max, ewm = moving.std, moving.min, moving.max, moving.ewm
    argmin, argmax, median = order.argmin, order.argmax, order.median
    ts_rank, ts_quantile = order.ts_rank, order.ts_quantile
    returns, decay_linear, product = paths.returns, paths.decay_linear, paths.product
    count, bars_since, ffill = paths.count, paths.bars_since, paths.ffill
    fill, signed_power = element.fill, element.signed_power
    var, skew, ewm_std, ts_zscore = moments.var, moments.skew, moments.ewm_std, moments.ts_zscore
    cov, corr, beta, resid, r2 = pairs.cov, pairs.corr, pairs.beta, pairs.resid, pairs.r2
    expanding_sum, expanding_mean = expanding.expanding_sum, expanding.expanding_mean
    expanding_std, expanding_count = expanding.expanding_std, expanding.expanding_count
    expanding_min, expanding_max = expanding.expanding_min, expanding.expanding_max
    rsi, bollinger, macd = indicators.rsi, indicators.bollinger, indicators.macd
    resample, days_since = clock.resample, clock.days_since
    rank, pct_rank, quantile, top, bottom = across.rank, across.pct_rank, across.quantile, across.top, across.bottom
    zscore, demean, scale, winsorize = across.zscore, across.demean, across.scale, across.winsorize
    neutralize, mask = across.neutralize, across.mask
    cross_sum, cross_mean, cross_count = across.cross_sum, across.cross_mean, across.cross_count
    group_rank, group_zscore, group_neutralize = groups.group_rank, groups.group_zscore, groups.group_neutralize
    group_sum, group_mean, group_count = groups.group_sum, groups.group_mean, groups.group_count

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

    def analyse(self, market: Market | None = None, **options: Any) -> Any:
        """What the feature says about the returns that follow it; see `knowable.analysis.study.analyse`.

        Args: market: to look at; its own when None. options: horizons, quantiles, fill, groups, cost_bps, min_assets.
        """
        if not self._analysis:
            raise InputError("Features are analysed only after `import knowable`.")
        return self._analysis[0](self, market, **options)

    @classmethod
    def bind_analysis(cls, analyse: Callable[..., Any]) -> None:
        """Say what `analyse` does. The room of analysis, which features may not import, plugs in here, once."""
        cls._analysis[:] = [analyse]

    def text(self) -> str:
        """The whole expression as readable text; ``market.expression(text)`` gives the very same expression.

        Parts that are shared and long, or nested very deep, stand by name on lines before the last. `repr` is short.

        Raises: InputError if a parameter of a strategy is left open, or it has more than 10,000 nodes.
        """
        from knowable.features.text.writer import write

        return write(self.node)

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
        if name in REMEDIES:
            raise UnknownAttributeError(f"Features have no {name!r}: {REMEDIES[name]}.")
        if name in SYNONYMS:
            raise UnknownAttributeError(f"Features have no {name!r}. Did you mean {SYNONYMS[name]!r}?")
        known = [each for each in dir(type(self)) if not each.startswith("_")]
        raise UnknownAttributeError(str(unknown_name("attribute", name, known, where="a feature")))

    def __repr__(self) -> str:
        return repr(self.node)


def field_feature(market: Market, name: str) -> Feature:
    """What ``market.close`` gives."""
    return Feature(field(name), market)


def text_feature(market: Market, text: str) -> Feature:
    """What ``market.expression(text)`` gives."""
    from knowable.features.text.reader import read

    return read(text, market)


Market.bind_features(field_feature, text_feature)
