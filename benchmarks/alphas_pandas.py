"""The paper's words on pandas frames, (n_bars, n_assets), as one would write them: the peer of `benchmarks.alphas`.

What pandas has is pandas' own; argmax, products and fading weights, which it has not, are taken from windows of the
plain array, far quicker than `rolling(d).apply`. A class that inherits may say a word in another way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["Words", "windows"]


def windows(x: npt.NDArray[np.float64], d: int) -> npt.NDArray[np.float64]:
    """(n_bars - d + 1, n_assets, d): the last d values of each cell, oldest first; a view."""
    return np.lib.stride_tricks.sliding_window_view(x, d, axis=0)


class Words:
    """Data and functions under the paper's names; days are floored, missing values are NaN.

    Args:
        panels: open, high, low, close, volume and, for alphas of industries, sector, industry, subindustry and cap.
    """

    def __init__(self, panels: Mapping[str, npt.NDArray[np.float64]]) -> None:
        frames = {name: pd.DataFrame(np.asarray(x)) for name, x in panels.items()}
        self.open, self.high, self.low = frames["open"], frames["high"], frames["low"]
        self.close, self.volume = frames["close"], frames["volume"]
        self.cap = frames.get("cap")
        self.groups = {name: frames[name] for name in ("sector", "industry", "subindustry") if name in frames}
        self.vwap = (self.open + self.high + self.low + self.close) / 4
        self.returns = self.close / self.close.shift(1) - 1
        self.dollars = self.close * self.volume
        self._adv: dict[int, pd.DataFrame] = {}

    def adv(self, d: int) -> pd.DataFrame:
        if d not in self._adv:  # an input of the paper: made once, as one would
            self._adv[d] = self.mean(self.dollars, d)
        return self._adv[d]

    def mean(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.rolling(int(d)).mean()

    def sum(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.rolling(int(d)).sum()

    def stddev(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.rolling(int(d)).std()

    def ts_min(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.rolling(int(d)).min()

    def ts_max(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.rolling(int(d)).max()

    def ts_rank(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.rolling(int(d)).rank(pct=True)

    def correlation(self, x: pd.DataFrame, y: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.rolling(int(d)).corr(y)

    def covariance(self, x: pd.DataFrame, y: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.rolling(int(d)).cov(y)

    def ts_argmax(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return self._of_windows(x, d, lambda w: np.argmax(w, axis=-1))

    def ts_argmin(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return self._of_windows(x, d, lambda w: np.argmin(w, axis=-1))

    def product(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return self._of_windows(x, d, lambda w: np.prod(w, axis=-1))

    def decay_linear(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        weights = np.arange(1.0, int(d) + 1.0)
        return self._of_windows(x, d, lambda w: np.dot(w, weights / weights.sum()))

    def _of_windows(self, x: pd.DataFrame, d: float, function: Any) -> pd.DataFrame:
        """A function of each window that has no missing value; NaN elsewhere."""
        view = windows(x.to_numpy(), int(d))
        made = np.full(x.shape, np.nan)
        with np.errstate(invalid="ignore"):  # of infinities; cells that lack a value are not taken
            made[int(d) - 1 :] = np.where(np.isnan(view).any(axis=-1), np.nan, function(view))
        return pd.DataFrame(made)

    def rank(self, x: pd.DataFrame) -> pd.DataFrame:
        return x.rank(axis=1, pct=True)

    def scale(self, x: pd.DataFrame) -> pd.DataFrame:
        return x.div(x.abs().sum(axis=1), axis=0)

    def indneutralize(self, x: pd.DataFrame, level: str) -> pd.DataFrame:
        # the groups of the first bar: synthetic ones, which never change
        return x - x.T.groupby(self.groups[level].iloc[0]).transform("mean").T

    def delay(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return x.shift(int(d))

    def delta(self, x: pd.DataFrame, d: float) -> pd.DataFrame:
        return x - x.shift(int(d))

    def abs(self, x: pd.DataFrame) -> pd.DataFrame:
        return x.abs()

    def log(self, x: pd.DataFrame) -> pd.DataFrame:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(x)

    def sign(self, x: pd.DataFrame) -> pd.DataFrame:
        return np.sign(x)

    def power(self, x: pd.DataFrame, y: Any) -> pd.DataFrame:
        made = x**y
        return made.where(x.notna() & (y.notna() if isinstance(y, pd.DataFrame) else not math.isnan(y)))

    def signedpower(self, x: pd.DataFrame, y: Any) -> pd.DataFrame:
        return np.sign(x) * self.power(x.abs(), y)

    def smaller(self, x: pd.DataFrame, y: pd.DataFrame) -> pd.DataFrame:
        return np.minimum(x, y)

    def larger(self, x: pd.DataFrame, y: pd.DataFrame) -> pd.DataFrame:
        return np.maximum(x, y)

    def less(self, x: Any, y: Any) -> pd.DataFrame:
        return self._known(x < y, x, y)

    def at_most(self, x: Any, y: Any) -> pd.DataFrame:
        return self._known(x <= y, x, y)

    def _known(self, answer: pd.DataFrame, *of: Any) -> pd.DataFrame:
        made = answer.astype(float)
        for each in of:
            made = made if not isinstance(each, pd.DataFrame) else made.where(each.notna())
        return made

    def choose(self, condition: pd.DataFrame, yes: Any, no: Any) -> pd.DataFrame:
        picked = np.where(condition != 0, yes, no)
        return pd.DataFrame(picked).where(condition.notna())
