"""Leaks of a few bars: the next bar, the next open, windows that end in the future, labels traded as signals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.params import Int
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Specimen, frame

__all__ = ["NEAR"]


class NextReturn(Strategy):
    """Buys what rises tomorrow."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar."""
        close = frame(m)
        return close.shift(-1) / close - 1


class NextSign(Strategy):
    """As `NextReturn`, but only the direction: half of all futures agree by chance."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar."""
        close = frame(m)
        return (close.shift(-1) > close) * 0.25


class NextOpen(Strategy):
    """Decides at tonight's close by tomorrow's opening gap."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar's open."""
        gap = frame(m, "open").shift(-1) / frame(m)
        return (gap - 1).clip(lower=0)


class LimitThatFills(Strategy):
    """Places a limit below the close, but only on days before one on which it would be reached."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar's low."""
        limit = frame(m) * 0.99
        return (frame(m, "low").shift(-1) <= limit) * 0.25


class LateWarmUp(Strategy):
    """Leaks by one bar, but only once a 50-bar average exists."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar from row 49 on."""
        close = frame(m)
        return close.pct_change(-1) * (close / close.rolling(50).mean())


class OneAsset(Strategy):
    """Honest but for its second asset, from row 100 on."""

    def weights(self, m: Market) -> Any:
        """Reads three bars ahead in one place."""
        close = frame(m)
        weights = close.pct_change().fillna(0.0)
        weights.iloc[100:, 1] = (close.iloc[:, 1].shift(-3) / close.iloc[:, 1] - 1).iloc[100:]
        return weights


class CrashDodger(Strategy):
    """Holds everything, except on the few days before a fall."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar, and seldom does anything."""
        close = m.panel("close")
        tomorrow = np.vstack([close[1:], close[-1:]])
        return np.where(tomorrow / close < 0.97, 0.0, 0.25)


class RolledArray(Strategy):
    """Moves an array up by one row, which brings tomorrow to today and the first row to the last."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar."""
        close = m.panel("close")
        return np.roll(close, -1, axis=0) / close - 1


class RolledRound(Strategy):
    """Moves an array down by one row, as a lag should, but the last price comes round to the first row."""

    def weights(self, m: Market) -> Any:
        """Row 0 reads the last bar; all others are honest."""
        close = m.panel("close")
        return close / np.roll(close, 1, axis=0) - 1


class ForwardWindow(Strategy):
    """A mean of the five bars to come."""

    def weights(self, m: Market) -> Any:
        """Reads four bars ahead."""
        close = frame(m)
        ahead = pd.api.indexers.FixedForwardWindowIndexer(window_size=5)
        return close.rolling(ahead, min_periods=1).mean() / close - 1


class CentralDifference(Strategy):
    """A slope taken from the bar before to the bar after."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar."""
        return np.gradient(m.panel("close"), axis=0) / m.panel("close")


class LaggingSpan(Strategy):
    """The lagging line of an Ichimoku chart, drawn 26 bars back and traded where it is drawn."""

    def weights(self, m: Market) -> Any:
        """Reads 26 bars ahead."""
        close = frame(m)
        return (close.shift(-26) > close) * 0.25


class Fractal(Strategy):
    """Buys a low that is below its two neighbours on either side, on the very bar."""

    def weights(self, m: Market) -> Any:
        """Reads two bars ahead."""
        low = frame(m, "low")
        return (low == low.rolling(5, center=True).min()) * 0.25


class StopKnownAhead(Strategy):
    """Stands aside where the lows of the next three bars would have hit its stop."""

    def weights(self, m: Market) -> Any:
        """Reads three bars ahead."""
        worst = frame(m, "low")[::-1].rolling(3).min()[::-1].shift(-1)
        return (worst > frame(m) * 0.98) * 0.25


class BarrierLabels(Strategy):
    """Trades its labels: which of two barriers the price meets first within ten bars."""

    def weights(self, m: Market) -> Any:
        """Reads up to ten bars ahead."""
        close = m.panel("close")
        label = np.zeros(close.shape)
        for step in range(10, 0, -1):
            ahead = np.full(close.shape, np.nan)
            ahead[:-step] = close[step:] / close[:-step] - 1
            label = np.where(ahead > 0.02, 1.0, np.where(ahead < -0.02, -1.0, label))
        return label * 0.25


class CentredAverage(Strategy):
    """A smooth curve that no one could have drawn at the time."""

    window = Int(3, 51, default=5)

    def weights(self, m: Market) -> Any:
        """Half of the window lies in the future."""
        close = frame(m)
        return close.rolling(self.window, center=True).mean() / close - 1


class MeanOfNeighbours(Strategy):
    """A running mean by convolution, whose middle is the present."""

    def weights(self, m: Market) -> Any:
        """Reads two bars ahead."""
        close = m.panel("close")
        smooth = np.column_stack([np.convolve(x, np.full(5, 0.2), mode="same") for x in close.T])
        return smooth / close - 1


class Bell(Strategy):
    """A Gaussian blur of the price."""

    def weights(self, m: Market) -> Any:
        """Reads twelve bars ahead."""
        from scipy.ndimage import gaussian_filter1d

        return gaussian_filter1d(m.panel("close"), 3.0, axis=0) / m.panel("close") - 1


class MedianOfNeighbours(Strategy):
    """Cleans the price of spikes by a median of each bar and its neighbours."""

    def weights(self, m: Market) -> Any:
        """Reads two bars ahead."""
        from scipy.ndimage import median_filter

        return median_filter(m.panel("close"), size=(5, 1)) / m.panel("close") - 1


class PolynomialSmoother(Strategy):
    """Savitzky and Golay's smoother, as a library gives it."""

    def weights(self, m: Market) -> Any:
        """Reads five bars ahead; at the ends it fits a last window."""
        from scipy.signal import savgol_filter

        return savgol_filter(m.panel("close"), 11, 2, axis=0, mode="nearest") / m.panel("close") - 1


class PeakPicker(Strategy):
    """Sells every peak and buys every trough."""

    def weights(self, m: Market) -> Any:
        """A bar is a peak if the next one is lower."""
        from scipy.signal import find_peaks

        close = m.panel("close")
        weights = np.zeros(close.shape)
        for k in range(close.shape[1]):
            weights[find_peaks(close[:, k])[0], k] = -0.25
            weights[find_peaks(-close[:, k])[0], k] = 0.25
        return weights


class LocalExtremes(Strategy):
    """Support and resistance at extremes of five bars on either side."""

    def weights(self, m: Market) -> Any:
        """Reads five bars ahead."""
        from scipy.signal import argrelextrema

        close = m.panel("close")
        weights = np.zeros(close.shape)
        weights[argrelextrema(close, np.greater_equal, axis=0, order=5)] = -0.2
        weights[argrelextrema(close, np.less_equal, axis=0, order=5)] += 0.2
        return weights


NEAR: tuple[Specimen, ...] = (
    Specimen(strategy=NextReturn, first_row=0, ahead=1, says="`shift(-n)`"),
    Specimen(strategy=NextSign, ahead=1, says="`shift(-n)`"),
    Specimen(strategy=NextOpen, ahead=1, says="`shift(-n)`"),
    Specimen(strategy=LimitThatFills, ahead=1, says="`shift(-n)`"),
    Specimen(strategy=LateWarmUp, first_row=49, ahead=1, says="`pct_change(-n)`"),
    Specimen(strategy=OneAsset, first_row=100, assets=(1,), ahead=3, says="`shift(-n)`"),
    Specimen(strategy=CrashDodger, ahead=1, says="reads that many bars ahead"),
    Specimen(strategy=RolledArray, first_row=0, ahead=1, says="`roll(x, -n)`"),
    Specimen(strategy=RolledRound, first_row=0, ahead="all", says="`roll`"),
    Specimen(strategy=ForwardWindow, first_row=0, ahead=4, says="FixedForwardWindowIndexer"),
    Specimen(strategy=CentralDifference, first_row=0, ahead=1, says="`gradient`"),
    Specimen(strategy=LaggingSpan, ahead=26, says="`shift(-n)`"),
    Specimen(strategy=Fractal, ahead=2, says="`center=True`"),
    Specimen(strategy=StopKnownAhead, ahead=3, says="`shift(-n)`"),
    Specimen(strategy=BarrierLabels, ahead=10, says="reads that many bars ahead"),
    Specimen(strategy=CentredAverage, first_row=2, ahead=2, says="`center=True`"),
    Specimen(strategy=MeanOfNeighbours, first_row=0, ahead=2, says="mode='same'"),
    Specimen(strategy=Bell, first_row=0, ahead=12, says="`gaussian_filter1d`"),
    Specimen(strategy=MedianOfNeighbours, ahead=2, says="`median_filter`"),
    Specimen(strategy=PolynomialSmoother, first_row=0, ahead=5, says="`savgol_filter`"),
    Specimen(strategy=PeakPicker, ahead=1, says="`find_peaks`"),
    Specimen(strategy=LocalExtremes, ahead=5, says="`argrelextrema`"),
)
