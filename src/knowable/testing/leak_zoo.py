"""Strategies that look ahead, each in its own way, and honest ones that look as if they did.

Every specimen states the first row that leaks and the assets concerned, so that a detector can be judged by more than
whether it barks. `zoo_market` makes the market they live in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.params import Int
from knowable.strategy import Strategy

__all__ = ["CLEAN", "LEAKY", "Specimen", "zoo_market"]

_EPS_EVERY = 10  # bars between two reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A leaky strategy.

    Args:
        strategy: its class; the defaults leak.
        first_row: the first row that uses a later one, or None where that depends on the data.
        assets: which columns leak; None for all.
        kind: what a report should call it.
    """

    strategy: type[Strategy]
    first_row: int | None
    assets: tuple[int, ...] | None = None
    kind: str = "look-ahead"


def zoo_market(seed: int = 0, n_bars: int = 260, n_assets: int = 4) -> Market:
    """Random walks with plausible bars, volume in whole shares, and `eps` known every ten bars only (NaN between)."""
    rng = np.random.default_rng(seed)
    index = pd.bdate_range("2015-01-02", periods=n_bars)
    names = [f"A{k}" for k in range(n_assets)]

    def frame(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=index, columns=names)

    close = 50 * np.exp(np.cumsum(rng.normal(0.0003, 0.015, (n_bars, n_assets)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.005, close.shape))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, 0.004, close.shape)))
    low = np.minimum(open_, close) * (1 - np.abs(rng.normal(0, 0.004, close.shape)))
    eps = np.full(close.shape, np.nan)
    eps[::_EPS_EVERY] = rng.normal(1.0, 0.3, eps[::_EPS_EVERY].shape)
    return Market.from_frames(
        close=frame(close),
        open=frame(open_),
        high=frame(high),
        low=frame(low),
        volume=frame(rng.integers(1_000, 100_000, close.shape).astype(np.float64)),
        eps=frame(eps),
    )


def _frame(m: Market, name: str = "close") -> pd.DataFrame:
    return pd.DataFrame(m.panel(name), index=m.index, columns=list(m.assets))


# --- those that look ahead -------------------------------------------------------------------------------------


class NextReturn(Strategy):
    """Buys what rises tomorrow."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar."""
        close = _frame(m)
        return close.shift(-1) / close - 1


class NextSign(Strategy):
    """As `NextReturn`, but only the direction: half of all futures agree by chance."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar."""
        close = _frame(m)
        return (close.shift(-1) > close) * 0.25


class LateWarmUp(Strategy):
    """Leaks by one bar, but only once a 50-bar average exists."""

    def weights(self, m: Market) -> Any:
        """Reads the next bar from row 49 on."""
        close = _frame(m)
        return close.pct_change(-1) * (close / close.rolling(50).mean())


class OneAsset(Strategy):
    """Honest but for its second asset, from row 100 on."""

    def weights(self, m: Market) -> Any:
        """Reads three bars ahead in one place."""
        close = _frame(m)
        weights = close.pct_change().fillna(0.0)
        weights.iloc[100:, 1] = (close.iloc[:, 1].shift(-3) / close.iloc[:, 1] - 1).iloc[100:]
        return weights


class CentredAverage(Strategy):
    """A smooth curve that no one could have drawn at the time."""

    window = Int(3, 51, default=5)

    def weights(self, m: Market) -> Any:
        """Half of the window lies in the future."""
        close = _frame(m)
        return close.rolling(self.window, center=True).mean() / close - 1


class FullSampleScore(Strategy):
    """Standardises by a mean and a deviation that include the future."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        close = _frame(m)
        return -(close - close.mean()) / close.std() / 10


class TimeRank(Strategy):
    """Ranks each price among all prices of its asset, later ones included."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        return _frame(m).rank(pct=True) / 10


class BackFilled(Strategy):
    """Fills a quarterly figure back to before it was reported."""

    def weights(self, m: Market) -> Any:
        """Row 1 holds the figure of row 10."""
        return _frame(m, "eps").bfill() / 10


class Interpolated(Strategy):
    """Draws lines between reports."""

    def weights(self, m: Market) -> Any:
        """Row 1 lies on the line to row 10."""
        return _frame(m, "eps").interpolate() / 10


class FittedOnAll(Strategy):
    """One regression on the whole history, used in all of it."""

    def weights(self, m: Market) -> Any:
        """The coefficients know every later return."""
        change = np.nan_to_num(_frame(m).pct_change().to_numpy())
        x, y = change[:-1].ravel(), change[1:].ravel()
        slope = float((x * y).sum() / max(float((x * x).sum()), 1e-12))
        return (change + 0.001) * slope


class OverlappingLabels(Strategy):
    """Refits as it goes, but the newest label is a return that has yet to happen."""

    def weights(self, m: Market) -> Any:
        """The fit of row t includes the return from t to t + 1."""
        change = _frame(m).pct_change()
        gain = (change * change.shift(-1)).expanding(20).sum() / (change**2).expanding(20).sum()
        return gain * change


class BestOfAllTime(Strategy):
    """Holds from the start what will have risen most by the end."""

    def weights(self, m: Market) -> Any:
        """Sorts by total return."""
        close = _frame(m)
        total = close.iloc[-1] / close.iloc[0]
        return close * 0 + total / total.sum()


class ShareOfMaximum(Strategy):
    """Scales by the highest price there will be."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        close = _frame(m)
        return close / close.max() / 10


class Smoothed(Strategy):
    """Removes noise with a Fourier transform of the whole series."""

    def weights(self, m: Market) -> Any:
        """Uses all rows in every row."""
        spectrum = np.fft.rfft(m.panel("close"), axis=0)
        spectrum[5:] = 0
        return np.fft.irfft(spectrum, n=m.n_bars, axis=0) / m.panel("close") - 1


class RunBackwards(Strategy):
    """A running maximum taken from the end."""

    def weights(self, m: Market) -> Any:
        """Row t knows the highest later price."""
        close = _frame(m)
        return close / close[::-1].cummax()[::-1] / 10


class MonthKnownAtItsStart(Strategy):
    """Holds all month by the average of that month."""

    def weights(self, m: Market) -> Any:
        """Every row but a month's last uses later ones."""
        close = _frame(m)
        return close.groupby(m.index.to_period("M")).transform("mean") / close - 1


class FlatAtTheEnd(Strategy):
    """Sells everything on the last bar, which no one can tell from any other."""

    def weights(self, m: Market) -> Any:
        """The last row differs for being last."""
        weights = np.full(m.shape, 0.1)
        weights[-1] = 0.0
        return weights


class FadingIn(Strategy):
    """Grows its position in proportion to the share of the history that has passed."""

    def weights(self, m: Market) -> Any:
        """Needs to know how many bars there will be."""
        return np.linspace(0.1, 1.0, m.n_bars)[:, None] * np.full(m.shape, 0.1)


# --- honest ones -----------------------------------------------------------------------------------------------


class ExpandingScore(Strategy):
    """Standardises by what came before."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = _frame(m)
        return -(close - close.expanding(2).mean()) / close.expanding(2).std() / 10


class LaggedReturn(Strategy):
    """Yesterday's return."""

    def weights(self, m: Market) -> Any:
        """Rows up to t - 1."""
        return _frame(m).pct_change().shift(1)


class Averages(Strategy):
    """Exponential average against a rolling one, with rolling deviation, skewness and correlation thrown in."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = _frame(m)
        window = close.rolling(20)
        return (close.ewm(span=10).mean() / window.mean() - 1) * window.std() * window.skew() * window.corr(close["A0"])


class RankedAcross(Strategy):
    """Ranks assets against each other, row by row."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        ranks = _frame(m).pct_change(20).rank(axis=1, ascending=False)
        held = (ranks <= 2) * 1.0
        return held.div(held.sum(axis=1).replace(0, np.nan), axis=0)


class FilledForward(Strategy):
    """Keeps the last report until the next."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        return _frame(m, "eps").ffill() / 10


class ThereAndBack(Strategy):
    """Shifts back and forth again, and centres a window only to lag it: causal, whatever the words."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = _frame(m)
        return close.shift(-2).shift(2) / close.rolling(5, center=True).mean().shift(2) - 1


class RefittedHonestly(Strategy):
    """Refits on returns that have happened."""

    def weights(self, m: Market) -> Any:
        """The fit of row t ends with the return from t - 1 to t."""
        change = _frame(m).pct_change()
        gain = (change * change.shift(1)).expanding(20).sum() / (change.shift(1) ** 2).expanding(20).sum()
        return gain * change


class MonthClosed(Strategy):
    """Holds by the last close of the month before."""

    def weights(self, m: Market) -> Any:
        """Rows up to the end of the last month."""
        close = _frame(m)
        months = m.index.to_period("M")
        last = close.groupby(months).last().shift(1)
        return last.loc[months].set_axis(m.index) / close - 1


class Drawdown(Strategy):
    """Distance from the running maximum."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = _frame(m)
        return close / close.cummax() - 1


class SeededNoise(Strategy):
    """Random, but the same at every call and in every prefix."""

    def weights(self, m: Market) -> Any:
        """No data at all."""
        return np.random.default_rng(5).normal(0, 0.1, m.shape)


class NeedsHistory(Strategy):
    """Refuses to run on fewer than sixty bars, as fitted models do."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        if m.n_bars < 60:
            raise ValueError("need at least 60 bars")
        return _frame(m) * 0 + 0.1


LEAKY: tuple[Specimen, ...] = (
    Specimen(strategy=NextReturn, first_row=0),
    Specimen(strategy=NextSign, first_row=None),
    Specimen(strategy=LateWarmUp, first_row=49),
    Specimen(strategy=OneAsset, first_row=100, assets=(1,)),
    Specimen(strategy=CentredAverage, first_row=2),
    Specimen(strategy=FullSampleScore, first_row=0),
    Specimen(strategy=TimeRank, first_row=0),
    Specimen(strategy=BackFilled, first_row=1),
    Specimen(strategy=Interpolated, first_row=1),
    Specimen(strategy=FittedOnAll, first_row=0),
    Specimen(strategy=OverlappingLabels, first_row=20),
    Specimen(strategy=BestOfAllTime, first_row=0),
    Specimen(strategy=ShareOfMaximum, first_row=0),
    Specimen(strategy=Smoothed, first_row=0),
    Specimen(strategy=RunBackwards, first_row=None),
    Specimen(strategy=MonthKnownAtItsStart, first_row=0),
    Specimen(strategy=FlatAtTheEnd, first_row=0, kind="length"),
    Specimen(strategy=FadingIn, first_row=1, kind="length"),
)

CLEAN: tuple[type[Strategy], ...] = (
    ExpandingScore,
    LaggedReturn,
    Averages,
    RankedAcross,
    FilledForward,
    ThereAndBack,
    RefittedHonestly,
    MonthClosed,
    Drawdown,
    SeededNoise,
    NeedsHistory,
)
