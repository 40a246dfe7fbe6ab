"""Honest strategies with suspicious words: shifts that cancel, filters that only look back, calendars known ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Honest, frame, mortal_market, restated_market

__all__ = ["HONEST_FIGURES"]

_WARM = frozenset({"warm-up"})


class ExpandingScore(Strategy):
    """Standardises by what came before."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = frame(m)
        return -(close - close.expanding(2).mean()) / close.expanding(2).std() / 10


class ExpandingQuantile(Strategy):
    """Clips at the quantiles of what came before."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        change = frame(m).pct_change()
        low, high = change.expanding(20).quantile(0.1), change.expanding(20).quantile(0.9)
        return change.clip(low, high)


class LaggedReturn(Strategy):
    """Yesterday's return."""

    def weights(self, m: Market) -> Any:
        """Rows up to t - 1."""
        return frame(m).pct_change().shift(1)


class Averages(Strategy):
    """Exponential average against a rolling one, with rolling deviation, skewness and correlation thrown in."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = frame(m)
        window = close.rolling(20)
        return (close.ewm(span=10).mean() / window.mean() - 1) * window.std() * window.skew() * window.corr(close["A0"])


class RankedAcross(Strategy):
    """Ranks assets against each other, row by row."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        ranks = frame(m).pct_change(20).rank(axis=1, ascending=False)
        held = (ranks <= 2) * 1.0
        return held.div(held.sum(axis=1).replace(0, np.nan), axis=0)


class FilledForward(Strategy):
    """Keeps the last report until the next."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        return frame(m, "eps").ffill() / 10


class FilledAcross(Strategy):
    """Fills a missing return with its neighbour's, backwards along the assets."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        return frame(m).pct_change().bfill(axis=1).fillna(0.0)


class ThereAndBack(Strategy):
    """Shifts back and forth again, and centres a window only to lag it: causal, whatever the words."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = frame(m)
        return close.shift(-2).shift(2) / close.rolling(5, center=True).mean().shift(2) - 1


class TwiceReversed(Strategy):
    """Turns the rows round, works across them, and turns them back."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        turned = m.panel("close")[::-1]
        return (turned / turned.mean(axis=1, keepdims=True) - 1)[::-1]


class MirroredAssets(Strategy):
    """Flips and sorts along the assets."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        order = np.flip(change, axis=1).argsort(axis=1).argsort(axis=1)[:, ::-1]
        return (order - 1.5) / 10


class LooksButDoesNotUse(Strategy):
    """Computes tomorrow's return for a diagnosis and trades without it."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = frame(m)
        ahead = close.shift(-1) / close - 1
        signal = close.pct_change(5)
        self.seen = signal.corrwith(ahead)
        return signal


class MonthClosed(Strategy):
    """Holds by the last close of the month before."""

    def weights(self, m: Market) -> Any:
        """Rows up to the end of the last month."""
        close = frame(m)
        months = m.index.to_period("M")
        last = close.groupby(months).last().shift(1)
        return last.loc[months].set_axis(m.index) / close - 1


class MonthSoFar(Strategy):
    """Return of the month to date."""

    def weights(self, m: Market) -> Any:
        """Rows of the month up to t."""
        change = frame(m).pct_change().fillna(0.0)
        return change.groupby(m.index.to_period("M")).cumsum()


class KnownMonthEnds(Strategy):
    """Trades on a month's last business day, which a calendar knows ahead."""

    def weights(self, m: Market) -> Any:
        """The date of row t only."""
        last = m.index == m.index + pd.offsets.BMonthEnd(0)
        return np.where(last[:, None], 0.25, np.nan) * np.ones(m.shape)


class Weekdays(Strategy):
    """Holds from Friday to Monday."""

    def weights(self, m: Market) -> Any:
        """The date of row t only."""
        friday = np.asarray(m.index.day_of_week == 4)
        return np.where(friday[:, None], 0.2, 0.0) * np.ones(m.shape)


class JoinedBackward(Strategy):
    """Joins each day with the latest report."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        days = pd.DataFrame({"day": m.index})
        parts = []
        for name in m.assets:
            reports = frame(m, "eps")[name].dropna().rename("eps").rename_axis("day").reset_index()
            parts.append(pd.merge_asof(days, reports, on="day", direction="backward")["eps"].to_numpy())
        return np.column_stack(parts) / 10


class Drawdown(Strategy):
    """Distance from the running maximum."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = frame(m)
        return close / close.cummax() - 1


class SinceTheFirst(Strategy):
    """Return since the first bar."""

    def weights(self, m: Market) -> Any:
        """Rows 0 and t."""
        close = frame(m)
        return (close / close.iloc[0] - 1) / 4


class ConfirmedFractal(Strategy):
    """Buys a low once the two bars after it have confirmed it."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        low = frame(m, "low")
        return (low == low.rolling(5, center=True).min()).shift(2, fill_value=False) * 0.25


class ConfirmedTurns(Strategy):
    """Follows turns of five per cent from the bar on which they are that large."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = m.panel("close")
        weights = np.zeros(close.shape)
        for k in range(close.shape[1]):
            extreme, up = close[0, k], True
            for t, price in enumerate(close[:, k]):
                if price >= extreme if up else price <= extreme:
                    extreme = price
                elif abs(price / extreme - 1) > 0.05:
                    extreme, up = price, not up
                weights[t, k] = 0.2 if up else -0.2
        return weights


class CausalFilter(Strategy):
    """A low-pass filter that runs forwards only."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        from scipy.signal import butter, lfilter, lfilter_zi

        b, a = butter(2, 0.1)
        close = m.panel("close")
        start = lfilter_zi(b, a)[:, None] * close[:1]
        return lfilter(b, a, close, axis=0, zi=start)[0] / close - 1


class CausalPolynomial(Strategy):
    """Savitzky and Golay's weights, for the last point of their window."""

    def weights(self, m: Market) -> Any:
        """Rows t - 10 to t."""
        from scipy.signal import savgol_coeffs

        close = m.panel("close")
        taps = savgol_coeffs(11, 2, pos=10, use="dot")
        smooth = np.full(close.shape, np.nan)
        for t in range(10, m.n_bars):
            smooth[t] = taps @ close[t - 10 : t + 1]
        return smooth / close - 1


class TrailingSpectrum(Strategy):
    """A Fourier transform of the last 32 bars, of which the last value is kept."""

    def weights(self, m: Market) -> Any:
        """Rows t - 31 to t."""
        close = m.panel("close")
        smooth = np.full(close.shape, np.nan)
        for t in range(31, m.n_bars):
            spectrum = np.fft.rfft(close[t - 31 : t + 1], axis=0)
            spectrum[4:] = 0
            smooth[t] = np.fft.irfft(spectrum, n=32, axis=0)[-1]
        return smooth / close - 1


class LeadingSpans(Strategy):
    """The cloud of an Ichimoku chart, drawn 26 bars ahead."""

    def weights(self, m: Market) -> Any:
        """Rows up to t - 26, and the close of row t."""
        high, low = frame(m, "high"), frame(m, "low")
        middle = (high.rolling(52).max() + low.rolling(52).min()) / 2
        return (frame(m) > middle.shift(26)) * 0.25


class LastOfWindow(Strategy):
    """Takes the last and the first of each window."""

    def weights(self, m: Market) -> Any:
        """Rows t - 9 to t."""
        return frame(m).rolling(10).apply(lambda x: x[-1] / x[0] - 1, raw=True)


class SurvivorsSoFar(Strategy):
    """Holds what has a price today, in a market in which names end."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        alive = frame(m).notna()
        return alive.div(alive.sum(axis=1), axis=0)


class SplitCountSoFar(Strategy):
    """Divides out the splits that have happened."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        return frame(m).pct_change() * frame(m, "split").cumprod() / 4


class AsKnown(Strategy):
    """Reads closes as they were known, in a market in which some were revised later."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        return frame(m).pct_change(3)


class InTheLanguage(Strategy):
    """Momentum in the platform's own language."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        strength = m.close / m.close.lag(20) - 1
        held = strength.rank(descending=True) <= 2
        return held / held.cross_sum()


HONEST_FIGURES: tuple[Honest, ...] = (
    Honest(strategy=ExpandingScore, suspicions=_WARM),
    Honest(strategy=ExpandingQuantile, suspicions=_WARM),
    Honest(strategy=LaggedReturn),
    Honest(strategy=Averages),
    Honest(strategy=RankedAcross),
    Honest(strategy=FilledForward),
    Honest(strategy=FilledAcross),
    Honest(strategy=ThereAndBack),
    Honest(strategy=TwiceReversed),
    Honest(strategy=MirroredAssets),
    Honest(strategy=LooksButDoesNotUse),
    Honest(strategy=MonthClosed),
    Honest(strategy=MonthSoFar),
    Honest(strategy=KnownMonthEnds),
    Honest(strategy=Weekdays),
    Honest(strategy=JoinedBackward),
    Honest(strategy=Drawdown, suspicions=_WARM),
    Honest(strategy=SinceTheFirst, suspicions=_WARM),
    Honest(strategy=ConfirmedFractal),
    Honest(strategy=ConfirmedTurns, suspicions=_WARM),
    Honest(strategy=CausalFilter),
    Honest(strategy=CausalPolynomial),
    Honest(strategy=TrailingSpectrum),
    Honest(strategy=LeadingSpans),
    Honest(strategy=LastOfWindow),
    Honest(strategy=SurvivorsSoFar, market=mortal_market),
    Honest(strategy=SplitCountSoFar, suspicions=_WARM),
    Honest(strategy=AsKnown, market=restated_market),
    Honest(strategy=InTheLanguage),
)
