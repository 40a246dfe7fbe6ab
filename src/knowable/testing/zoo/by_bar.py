"""Leaks of strategies that decide bar by bar, and honest ones whose account makes all depend on the past.

A bar shows no later row, so what leaks here comes in by `features`, by something kept, or from outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.data.market import Market
from knowable.params import Float, Int
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Honest, Specimen, frame

__all__ = ["BY_BAR", "HONEST_BY_BAR"]

_WORLD: dict[str, Market] = {}


class ShiftedFeature(Strategy):
    """Holds what rises tomorrow, by a feature that was shifted back."""

    def features(self, m: Market) -> Any:
        """Reads the next bar."""
        close = frame(m)
        return {"rises": (close.shift(-1) > close) * 0.25}

    def on_bar(self, bar: Any, account: Any) -> None:
        """Nothing of this looks ahead."""
        account.target(bar.rises)


class CompiledShift(Strategy):
    """The same as compiled code, by a return two bars ahead."""

    compiled = True

    def features(self, m: Market) -> Any:
        """Reads two bars ahead."""
        close = frame(m)
        return {"gain": (close.shift(-2) / close - 1).fillna(0.0)}

    def on_bar(self, bar: Any, account: Any) -> None:
        """Nothing of this looks ahead."""
        for j in range(bar.n_assets):
            account.target(j, 0.2 if bar.gain[j] > 0.0 else 0.0)


class ScoredOnAll(Strategy):
    """Standardises by a mean and a deviation of the whole sample."""

    def features(self, m: Market) -> Any:
        """Uses all rows in every row."""
        close = frame(m)
        return {"score": (close - close.mean()) / close.std()}

    def on_bar(self, bar: Any, account: Any) -> None:
        """Nothing of this looks ahead."""
        account.target(np.clip(-bar.score / 10, -0.25, 0.25))


class KeepsItsMarket(Strategy):
    """Keeps the market that `features` is shown, and looks up the next bar in it."""

    def features(self, m: Market) -> Any:
        """Has no features; only a good memory."""
        self.market = m
        return {}

    def on_bar(self, bar: Any, account: Any) -> None:
        """Reads the next bar."""
        close = self.market.panel("close")
        account.target(0.2 * (close[min(bar.row + 1, len(close) - 1)] > bar.close))


class AsksTheWorld(Strategy):
    """Has the market in a global, as notebooks do, and buys shares by its next bar."""

    def on_bar(self, bar: Any, account: Any) -> None:
        """Reads the next bar of a market it was not handed."""
        close = _WORLD["market"].panel("close")
        rises = close[min(bar.row + 1, len(close) - 1)] > bar.close
        held = account.positions
        for column, name in enumerate(bar.assets):
            if rises[column] and held[column] == 0.0:
                account.order(name, int(0.2 * account.equity / bar.close[column]))
            elif not rises[column] and held[column] != 0.0:
                account.target_shares(name, 0)


class SellsBeforeTheEnd(Strategy):
    """Knows which bar is the last, and holds nothing on it."""

    def features(self, m: Market) -> Any:
        """Counts the bars that there will be."""
        self.last = m.n_bars - 1
        return {}

    def on_bar(self, bar: Any, account: Any) -> None:
        """The last row differs for being last."""
        account.target(np.full(bar.n_assets, 0.0 if bar.row == self.last else 0.1))


class Trailing(Strategy):
    """Buys above its mean and sells what falls from its peak: peaks, shares and cash all remember."""

    window = Int(2, 60, default=15)
    fall = Float(0.01, 0.3, default=0.04)
    peaks: dict[str, float] = {}  # noqa: RUF012 - each run has its own

    def on_bar(self, bar: Any, account: Any) -> None:
        """Rows up to this one."""
        held, means = account.positions, bar.past("close", self.window).mean(axis=0)
        for column, name in enumerate(bar.assets):
            price = bar.close[column]
            if held[column] == 0.0 and price > means[column]:
                account.order(name, int(0.2 * account.equity / price))
                self.peaks[name] = price
            elif held[column] != 0.0:
                self.peaks[name] = max(self.peaks[name], price)
                if price < (1 - self.fall) * self.peaks[name]:
                    account.target_shares(name, 0)


class CompiledPeaks(Strategy):
    """The same idea with weights and arrays, as compiled code."""

    compiled = True
    fall = Float(0.01, 0.3, default=0.04)
    peak: npt.NDArray[np.float64]

    def features(self, m: Market) -> Any:
        """Rows up to each."""
        return {"calm": frame(m).rolling(20, min_periods=1).mean()}

    def memory(self, m: Market) -> Any:
        """The peak of each asset since it was bought."""
        return {"peak": np.zeros(m.n_assets)}

    def on_bar(self, bar: Any, account: Any) -> None:
        """Rows up to this one."""
        held = account.positions
        for j in range(bar.n_assets):
            price = bar.close[j]
            self.peak[j] = max(self.peak[j], price) if held[j] > 0.0 else price
            if price < (1.0 - self.fall) * self.peak[j]:
                account.target(j, 0.0)
            elif price > bar.calm[j]:
                account.target(j, 0.2)


class LessAfterLosses(Strategy):
    """Halves its positions while its account is below its own highest value."""

    best = 0.0

    def on_bar(self, bar: Any, account: Any) -> None:
        """Its own past, and rows up to this one."""
        self.best = max(self.best, account.equity)
        size = 0.2 if account.equity >= 0.98 * self.best else 0.1
        account.target(size * (bar.close > bar.past("close", 10**6).mean(axis=0)))


class HoldsTenBars(Strategy):
    """Buys one asset in turn and sells it ten bars later."""

    def on_bar(self, bar: Any, account: Any) -> None:
        """Counts bars from the first."""
        turn, age = divmod(bar.row, 10)
        if age == 0:
            account.target(turn % bar.n_assets, 0.5)
        elif age == 9:
            account.target(turn % bar.n_assets, 0.0)


def _in_the_world(market: Market) -> Strategy:
    _WORLD["market"] = market
    return AsksTheWorld()


BY_BAR: tuple[Specimen, ...] = (
    Specimen(strategy=ShiftedFeature, ahead=1),
    Specimen(strategy=CompiledShift, ahead=2),
    Specimen(strategy=ScoredOnAll, first_row=0, ahead="all"),
    Specimen(strategy=KeepsItsMarket, ahead=1),
    Specimen(strategy=AsksTheWorld, ahead=1, make=_in_the_world, says="the global `_WORLD`"),
    Specimen(strategy=SellsBeforeTheEnd, kinds=("length",)),
)
"""Leaky ones."""

HONEST_BY_BAR: tuple[Honest, ...] = (
    Honest(strategy=Trailing),
    Honest(strategy=CompiledPeaks),
    Honest(strategy=LessAfterLosses),
    Honest(strategy=HoldsTenBars),
)
"""Honest ones; their accounts remember all that was, and nobody suspects them of it."""
