"""The paper's words on polars, one long table by name and day, expressions `over` one or the other: a peer of ours.

Missing values are nulls, as polars' windows want them. Each word makes its column at once, since window expressions do
not nest. Fading weights, argmax and products over days, which polars has not where values lack, are sums of shifts,
comparisons of shifts and logarithms. Its running correlations lose digits where a series is large beside its variation:
15% of alpha28's cells differ from ours by more than 1e-6; for speed that is no matter.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Words"]


class Words:
    """Data and functions under the paper's names; days are floored. A series is a column in the order name, day.

    Args:
        panels: as those of `alphas_pandas.Words`.
    """

    def __init__(self, panels: Mapping[str, npt.NDArray[np.float64]]) -> None:
        self.shape = n_bars, n_assets = np.shape(panels["close"])
        keys = {"name": np.repeat(np.arange(n_assets), n_bars), "day": np.tile(np.arange(n_bars), n_assets)}
        self.keys = pl.DataFrame(keys).with_columns(pl.col("name").set_sorted())
        columns = {name: pl.Series(np.ravel(np.asarray(x), order="F"), nan_to_null=True) for name, x in panels.items()}
        self.open, self.high, self.low = columns["open"], columns["high"], columns["low"]
        self.close, self.volume = columns["close"], columns["volume"]
        self.cap = columns.get("cap")
        self.groups = {name: columns[name] for name in ("sector", "industry", "subindustry") if name in columns}
        self.vwap = (self.open + self.high + self.low + self.close) / 4
        self.returns = self.close / self.delay(self.close, 1) - 1
        self.dollars = self.close * self.volume
        self._adv: dict[int, pl.Series] = {}

    def values(self, x: pl.Series) -> npt.NDArray[np.float64]:
        """(n_bars, n_assets)."""
        return x.cast(pl.Float64).to_numpy().reshape(self.shape[::-1]).T

    def _table(self, **columns: pl.Series) -> pl.DataFrame:
        return self.keys.with_columns(**{name: _no_nan(x) for name, x in columns.items()})

    def _of_time(self, x: pl.Series, expression: pl.Expr) -> pl.Series:
        return self._table(x=x).select(expression.over("name")).to_series()

    def _of_day(self, x: pl.Series, expression: pl.Expr) -> pl.Series:
        return self._table(x=x).select(expression.over("day")).to_series()

    def adv(self, d: int) -> pl.Series:
        if d not in self._adv:
            self._adv[d] = self._of_time(self.dollars, pl.col("x").rolling_mean(d))
        return self._adv[d]

    def sum(self, x: pl.Series, d: float) -> pl.Series:
        return self._of_time(x, pl.col("x").rolling_sum(int(d)))

    def stddev(self, x: pl.Series, d: float) -> pl.Series:
        return self._of_time(x, pl.col("x").rolling_std(int(d)))

    def ts_min(self, x: pl.Series, d: float) -> pl.Series:
        return self._of_time(x, pl.col("x").rolling_min(int(d)))

    def ts_max(self, x: pl.Series, d: float) -> pl.Series:
        return self._of_time(x, pl.col("x").rolling_max(int(d)))

    def ts_rank(self, x: pl.Series, d: float) -> pl.Series:
        return self._of_time(x, pl.col("x").rolling_rank(int(d), method="average") / int(d))

    def correlation(self, x: pl.Series, y: pl.Series, d: float) -> pl.Series:
        made = pl.rolling_corr("x", "y", window_size=int(d)).over("name")
        return self._table(x=x, y=y).select(made).to_series()

    def covariance(self, x: pl.Series, y: pl.Series, d: float) -> pl.Series:
        made = pl.rolling_cov("x", "y", window_size=int(d)).over("name")
        return self._table(x=x, y=y).select(made).to_series()

    def ts_argmax(self, x: pl.Series, d: float) -> pl.Series:
        return self._where_extreme(x, int(d), pl.col("x").rolling_max(int(d)))

    def ts_argmin(self, x: pl.Series, d: float) -> pl.Series:
        return self._where_extreme(x, int(d), pl.col("x").rolling_min(int(d)))

    def _where_extreme(self, x: pl.Series, d: int, extreme: pl.Expr) -> pl.Series:
        """The first of the window's days, from the oldest, that equals its extreme."""
        days = [pl.when(pl.col("x").shift(d - 1 - k) == extreme).then(float(k)) for k in range(d)]
        return self._of_time(x, pl.coalesce(days))

    def product(self, x: pl.Series, d: float) -> pl.Series:
        return self._of_time(x, pl.col("x").log().rolling_sum(int(d)).exp())  # of ranks, which are above 0

    def decay_linear(self, x: pl.Series, d: float) -> pl.Series:
        # rolling_sum(weights=...) refuses columns with nulls (polars 2.1)
        days = int(d)
        terms = [pl.col("x").shift(days - k) * (2.0 * k / (days * (days + 1))) for k in range(1, days + 1)]
        return self._of_time(x, functools.reduce(operator.add, terms))

    def rank(self, x: pl.Series) -> pl.Series:
        return self._of_day(x, pl.col("x").rank("average") / pl.col("x").count())

    def scale(self, x: pl.Series) -> pl.Series:
        return self._of_day(x, pl.col("x") / pl.col("x").abs().sum())

    def indneutralize(self, x: pl.Series, level: str) -> pl.Series:
        made = pl.col("x") - pl.col("x").mean().over("day", "group")
        return self._table(x=x, group=self.groups[level]).select(made).to_series()

    def delay(self, x: pl.Series, d: float) -> pl.Series:
        return self._of_time(x, pl.col("x").shift(int(d)))

    def delta(self, x: pl.Series, d: float) -> pl.Series:
        return self._of_time(x, pl.col("x") - pl.col("x").shift(int(d)))

    def abs(self, x: pl.Series) -> pl.Series:
        return x.abs()

    def log(self, x: pl.Series) -> pl.Series:
        return x.log()

    def sign(self, x: pl.Series) -> pl.Series:
        return x.sign()

    def power(self, x: pl.Series, y: Any) -> pl.Series:
        return x**y

    def signedpower(self, x: pl.Series, y: Any) -> pl.Series:
        return x.sign() * x.abs() ** y

    def smaller(self, x: pl.Series, y: pl.Series) -> pl.Series:
        return self.choose(self.less(x, y), x, y)

    def larger(self, x: pl.Series, y: pl.Series) -> pl.Series:
        return self.choose(self.less(x, y), y, x)

    def less(self, x: Any, y: Any) -> pl.Series:
        return (y > x if isinstance(y, pl.Series) else x < y).cast(pl.Float64)

    def at_most(self, x: Any, y: Any) -> pl.Series:
        return (y >= x if isinstance(y, pl.Series) else x <= y).cast(pl.Float64)

    def choose(self, condition: pl.Series, yes: Any, no: Any) -> pl.Series:
        a, b = (each if isinstance(each, pl.Series) else pl.lit(float(each)) for each in (yes, no))
        table = self._table(c=condition).with_columns(a=a, b=b)
        picked = pl.when(pl.col("c").is_null()).then(None).when(pl.col("c") != 0).then("a").otherwise("b")
        return table.select(picked).to_series()


def _no_nan(x: pl.Series) -> pl.Series:
    """NaN, which 0 / 0 gives, as what it means here: missing."""
    return x.fill_nan(None) if x.dtype.is_float() else x
