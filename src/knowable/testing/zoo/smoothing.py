"""Leaks of filters that run over the whole series, or back over it: what is smooth today was drawn tomorrow."""

from __future__ import annotations

from typing import Any

import numpy as np

from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Specimen, frame

__all__ = ["SMOOTHING"]


class Smoothed(Strategy):
    """Removes noise with a Fourier transform of the whole series."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        spectrum = np.fft.rfft(m.panel("close"), axis=0)
        spectrum[5:] = 0
        return np.fft.irfft(spectrum, n=m.n_bars, axis=0) / m.panel("close") - 1


class FilteredBothWays(Strategy):
    """A filter without delay, because it runs forwards and then backwards."""

    def weights(self, m: Market) -> Any:
        """Uses later rows, ever less."""
        from scipy.signal import butter, filtfilt

        b, a = butter(2, 0.02)
        return filtfilt(b, a, m.panel("close"), axis=0) / m.panel("close") - 1


class CycleOf(Strategy):
    """The phase of the price by an analytic signal."""

    def weights(self, m: Market) -> Any:
        """The transform uses all rows in every row."""
        from scipy.signal import hilbert

        log = np.log(m.panel("close"))
        return np.sin(np.angle(hilbert(log - np.log(50), axis=0))) / 5


class HodrickPrescott(Strategy):
    """Distance from a trend that minimises roughness over the whole series."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        from scipy.linalg import solveh_banded

        n = m.n_bars
        bands = np.zeros((3, n))
        for offset, value in ((0, 1.0), (1, -2.0), (2, 1.0)):
            for other, factor in ((0, 1.0), (1, -2.0), (2, 1.0)):
                if other >= offset:
                    bands[2 - (other - offset), other : n - 2 + other] += 1600.0 * value * factor
        bands[2] += 1.0
        trend = solveh_banded(bands, m.panel("close"))
        return m.panel("close") / trend - 1


class Denoised(Strategy):
    """Keeps the large coefficients of Haar's wavelets."""

    def weights(self, m: Market) -> Any:
        """A coefficient covers rows on both sides, and the threshold all of them."""
        close = m.panel("close")
        n = 1 << int(np.ceil(np.log2(m.n_bars)))
        level = np.vstack([close, np.repeat(close[-1:], n - m.n_bars, axis=0)])
        details = []
        while len(level) > 1:
            details.append((level[::2] - level[1::2]) / 2)
            level = (level[::2] + level[1::2]) / 2
        limit = np.median(np.abs(details[0]), axis=0) * 1.5
        for detail in details[::-1]:
            kept = np.where(np.abs(detail) > limit, detail, 0.0)
            level = np.stack([level + kept, level - kept], axis=1).reshape(-1, m.n_assets)
        return level[: m.n_bars] / close - 1


class KalmanSmoother(Strategy):
    """A local level whose states are smoothed backwards after they were filtered."""

    def weights(self, m: Market) -> Any:
        """The backward pass brings later rows to earlier ones."""
        log = np.log(m.panel("close"))
        gain, level = 0.2, np.empty_like(log)
        level[0] = log[0]
        for t in range(1, m.n_bars):
            level[t] = level[t - 1] + gain * (log[t] - level[t - 1])
        for t in range(m.n_bars - 2, -1, -1):
            level[t] = gain * level[t] + (1 - gain) * level[t + 1]
        return level - log


class RunBackwards(Strategy):
    """A running maximum taken from the end."""

    def weights(self, m: Market) -> Any:
        """Row t knows the highest later price."""
        close = frame(m)
        return close / close[::-1].cummax()[::-1] / 10


class NewestFirst(Strategy):
    """Sorts rows from the newest to the oldest, as many files come, and forgets it before a moving mean."""

    def weights(self, m: Market) -> Any:
        """A window of ten in that order is the ten bars to come."""
        newest = frame(m).sort_index(ascending=False)
        return (newest.rolling(10, min_periods=1).mean() / newest - 1).sort_index()


class Zigzag(Strategy):
    """Draws lines between turns of five per cent and trades along them."""

    def weights(self, m: Market) -> Any:
        """A turn is known only when the next one is; the line repaints."""
        close = m.panel("close")
        weights = np.zeros(close.shape)
        for k in range(close.shape[1]):
            turns, extreme, up = [0], 0, True
            for t, price in enumerate(close[:, k]):
                best = close[extreme, k]
                if price >= best if up else price <= best:
                    extreme = t
                elif abs(price / best - 1) > 0.05:
                    turns.append(extreme)
                    extreme, up = t, not up
            corners = [*turns, m.n_bars - 1]
            line = np.interp(np.arange(m.n_bars), corners, close[corners, k])
            weights[:, k] = np.gradient(line) / close[:, k]
        return weights


class SplineThroughMonths(Strategy):
    """Draws a curve through the last price of each month."""

    def weights(self, m: Market) -> Any:
        """Within a month it heads for the month's end."""
        close = m.panel("close")
        months = m.index.month.to_numpy()
        ends = np.append(np.flatnonzero(months[1:] != months[:-1]), m.n_bars - 1)
        curve = np.column_stack([np.interp(np.arange(m.n_bars), ends, x[ends]) for x in close.T])
        return curve / close - 1


SMOOTHING: tuple[Specimen, ...] = (
    Specimen(strategy=Smoothed, first_row=0, ahead="all", says="`rfft`"),
    Specimen(strategy=FilteredBothWays, first_row=0, says="`filtfilt`"),
    Specimen(strategy=CycleOf, first_row=0, ahead="all", says="`hilbert`"),
    Specimen(strategy=HodrickPrescott, first_row=0, ahead="all", says="whole sample"),
    Specimen(strategy=Denoised, ahead="all", says="whole sample"),
    Specimen(strategy=KalmanSmoother, says="ahead"),
    Specimen(strategy=RunBackwards, says="reversing the rows"),
    Specimen(strategy=NewestFirst, first_row=0, ahead=9, says="sorted backwards"),
    Specimen(strategy=Zigzag, says="It changes rows"),
    Specimen(strategy=SplineThroughMonths, says="`interp`"),
)
