"""Leaks of the whole sample: statistics, limits, encodings and choices that know every later row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Specimen, frame, mortal_market

__all__ = ["SAMPLES"]


class FullSampleScore(Strategy):
    """Standardises by a mean and a deviation that include the future."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        close = frame(m)
        return -(close - close.mean()) / close.std() / 10


class MinMaxScaled(Strategy):
    """Scales each price to [0, 1] by its lowest and highest ever, as a scaler fitted once does."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        close = m.panel("close")
        low, high = close.min(axis=0), close.max(axis=0)
        return (close - low) / (high - low) * 0.25


class ShareOfMaximum(Strategy):
    """Scales by the highest price there will be."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        close = frame(m)
        return close / close.max() / 10


class TimeRank(Strategy):
    """Ranks each price among all prices of its asset, later ones included."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        return frame(m).rank(pct=True) / 10


class QuantileBuckets(Strategy):
    """Cuts returns into five buckets by the quantiles of the whole sample."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        change = frame(m).pct_change().fillna(0.0)
        return change.apply(lambda x: pd.qcut(x, 5, labels=False)) / 20


class ClippedOutliers(Strategy):
    """Clips returns at the percentiles of the whole sample."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        change = frame(m).pct_change().fillna(0.0)
        return change.clip(change.quantile(0.2), change.quantile(0.8), axis=1)


class VolatilityTarget(Strategy):
    """Sizes positions by the volatility of the whole sample."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        change = frame(m).pct_change()
        return np.sign(change.rolling(20).sum()) * 0.001 / change.std()


class KellyFraction(Strategy):
    """Bets the fraction that would have grown fastest."""

    def weights(self, m: Market) -> Any:
        """Mean and variance of the whole sample, in every row."""
        change = frame(m).pct_change()
        best = (change.mean() / change.var()).clip(-5, 5) / 20
        return frame(m) * 0 + best


class BestOfAllTime(Strategy):
    """Holds from the start what will have risen most by the end."""

    def weights(self, m: Market) -> Any:
        """Sorts by total return."""
        close = frame(m)
        total = close.iloc[-1] / close.iloc[0]
        return close * 0 + total / total.sum()


class TodaysMembers(Strategy):
    """Holds, from the start, the names that are still listed at the end."""

    def weights(self, m: Market) -> Any:
        """Looks at who has a price on the last bar."""
        close = frame(m)
        alive = close.iloc[-1].notna()
        return (close.notna() & alive) / max(alive.sum(), 1)


class FirstComponent(Strategy):
    """Trades against the first principal component of all returns."""

    def weights(self, m: Market) -> Any:
        """Its loadings come from the whole sample."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        loadings = np.linalg.svd(change - change.mean(axis=0), full_matrices=False)[2][0]
        loadings = loadings * np.sign(loadings[0])
        return -(change @ loadings)[:, None] * loadings


class LeastVariance(Strategy):
    """The portfolio of least variance, from a covariance of the whole sample."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        change = frame(m).pct_change().iloc[1:].to_numpy()
        best = np.linalg.solve(np.cov(change.T), np.ones(m.n_assets))
        return np.tile(best / np.abs(best).sum(), (m.n_bars, 1))


class Cointegrated(Strategy):
    """Trades the spread of two names by a hedge ratio fitted on all of their history."""

    def weights(self, m: Market) -> Any:
        """One regression for all rows."""
        x, y = np.log(m.panel("close")[:, 0]), np.log(m.panel("close")[:, 1])
        slope, level = np.polyfit(x, y, 1)
        weights = np.zeros(m.shape)
        weights[:, 1] = -(y - slope * x - level) / 4
        weights[:, 0] = -slope * weights[:, 1]
        return weights


class TrendLine(Strategy):
    """Buys below and sells above a line drawn through all prices."""

    def weights(self, m: Market) -> Any:
        """One line for all rows."""
        from scipy.signal import detrend

        return -detrend(np.log(m.panel("close")), axis=0) / 4


class Regimes(Strategy):
    """Sorts days into calm and wild ones by clusters of the whole sample."""

    def weights(self, m: Market) -> Any:
        """The centres of the clusters know all rows."""
        from scipy.cluster.vq import kmeans2

        risk = frame(m).pct_change().abs().rolling(10, min_periods=1).mean().fillna(0.0).to_numpy()
        centres, labels = kmeans2(risk, risk[[0, len(risk) // 2]], minit="matrix", missing="warn")
        calm = int(centres.mean(axis=1).argmin())
        level = centres[calm].mean() * 20
        return np.tile((labels == calm)[:, None] * 0.2 + level, (1, m.n_assets))


class WeekdayEncoded(Strategy):
    """Replaces each weekday by its mean return over the whole sample."""

    def weights(self, m: Market) -> Any:
        """Target encoding with all targets."""
        change = frame(m).pct_change().fillna(0.0)
        return change.groupby(m.index.day_of_week).transform("mean") * 10


class SeasonRemoved(Strategy):
    """Takes the mean return of each calendar month away, found on all rows."""

    def weights(self, m: Market) -> Any:
        """Uses all rows of a month in every row of it, in any year."""
        change = frame(m).pct_change().fillna(0.0)
        season = change.groupby(m.index.month).mean()
        return change - season.reindex(m.index.month).set_axis(m.index)


class PickedWindow(Strategy):
    """Tries ten windows on everything and trades the one that did best."""

    def weights(self, m: Market) -> Any:
        """The choice of the window knows all rows."""
        change = frame(m).pct_change().fillna(0.0)
        signals = [change.rolling(n, min_periods=1).sum().apply(np.sign) for n in range(2, 12)]
        earned = [float((signal.shift(1) * change).sum().sum()) for signal in signals]
        spread = np.array(earned) - np.max(earned)
        blend = np.exp(spread / 0.05)
        return sum(w * s for w, s in zip(blend / blend.sum(), signals, strict=True)) / 4


class SortedByReturn(Strategy):
    """Counts, for every day, how many days of the sample did worse."""

    def weights(self, m: Market) -> Any:
        """A sort of all rows."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        order = change.argsort(axis=0).argsort(axis=0)
        return (order / len(order) - 0.5) / 4


class Analogues(Strategy):
    """Finds the day most like today in the whole history and bets on what followed it."""

    def weights(self, m: Market) -> Any:
        """The most similar day may lie ahead."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        apart = ((change[:, None, :] - change[None, :-1, :]) ** 2).sum(axis=2)
        apart[np.arange(len(change) - 1), np.arange(len(change) - 1)] = np.inf
        return change[apart.argmin(axis=1) + 1] * 5


SAMPLES: tuple[Specimen, ...] = (
    Specimen(strategy=FullSampleScore, first_row=0, ahead="all", says="`.mean()`"),
    Specimen(strategy=MinMaxScaled, ahead="all", says="`.min()`"),
    Specimen(strategy=ShareOfMaximum, first_row=0, ahead="all", says="`.max()`"),
    Specimen(strategy=TimeRank, first_row=0, ahead="all", says="`.rank()`"),
    Specimen(strategy=QuantileBuckets, ahead="all", says="`qcut`"),
    Specimen(strategy=ClippedOutliers, ahead="all", says="`.quantile()`"),
    Specimen(strategy=VolatilityTarget, first_row=20, ahead="all", says="`.std()`"),
    Specimen(strategy=KellyFraction, first_row=0, ahead="all", says="`.mean()`"),
    Specimen(strategy=BestOfAllTime, first_row=0, ahead="all", says="last row"),
    Specimen(strategy=TodaysMembers, ahead="all", says="last row", market=mortal_market),
    Specimen(strategy=FirstComponent, ahead="all", says="`svd`"),
    Specimen(strategy=LeastVariance, first_row=0, ahead="all", says="`solve`"),
    Specimen(strategy=Cointegrated, first_row=0, assets=(0, 1), ahead="all", says="`polyfit`"),
    Specimen(strategy=TrendLine, first_row=0, ahead="all", says="`detrend`"),
    Specimen(strategy=Regimes, ahead="all", says="`kmeans2`"),
    Specimen(strategy=WeekdayEncoded, ahead="all", says="`groupby`"),
    Specimen(strategy=SeasonRemoved, says="`groupby`"),
    Specimen(strategy=PickedWindow, ahead="all", says="whole sample"),
    Specimen(strategy=SortedByReturn, ahead="all", says="`.argsort()`"),
    Specimen(strategy=Analogues, ahead="all", says="whole sample"),
)
