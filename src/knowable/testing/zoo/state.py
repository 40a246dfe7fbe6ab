"""Leaks by other ways: what is kept between runs, data from elsewhere, the number of bars, chance, tampering."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.params import Int
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Specimen, frame

__all__ = ["STATE"]

_BOTH = ("state", "look-ahead")
_FITTED: dict[str, Any] = {}
_ALL: dict[str, pd.DataFrame] = {}
_CALLS = itertools.count()


class KeptByClass(Strategy):
    """Computes its mean once, for whichever market comes first, and keeps it in the class."""

    mean: Any = None

    def weights(self, m: Market) -> Any:
        """The first market shown is usually the longest."""
        if KeptByClass.mean is None:
            KeptByClass.mean = m.panel("close").mean(axis=0)
        return KeptByClass.mean / m.panel("close") / 10


class KeptByName(Strategy):
    """Keeps a volatility in a dictionary of its module, under the name of the asset and not of the data."""

    def weights(self, m: Market) -> Any:
        """A later run finds what an earlier one left."""
        change = frame(m).pct_change()
        for name in m.assets:
            _FITTED.setdefault(name, float(change[name].std()))
        return np.sign(change) * 0.001 / pd.Series(_FITTED)


class KeptByLength(Strategy):
    """Keeps a mean by the number of bars, as if two markets of one length were one."""

    means: ClassVar[dict[int, Any]] = {}

    def weights(self, m: Market) -> Any:
        """Another market of that length finds what the first left."""
        if m.n_bars not in self.means:
            self.means[m.n_bars] = m.panel("close").mean(axis=0)
        return self.means[m.n_bars] / m.panel("close") / 10


class KeptByParameter(Strategy):
    """Remembers its limits by parameter with a cache that does not know the data."""

    window = Int(2, 50, default=10)

    def weights(self, m: Market) -> Any:
        """The limits come from the first market."""
        _FITTED["latest"] = m
        low, high = _limits(self.window)
        change = frame(m).pct_change(self.window)
        return ((change > high) * 1.0 - (change < low) * 1.0) * (0.1 + high)


class EveryOtherCall(Strategy):
    """Buys on its first call and sells on its second."""

    calls = 0

    def weights(self, m: Market) -> Any:
        """Nothing of the market at all."""
        type(self).calls += 1
        return np.full(m.shape, 0.1 if type(self).calls % 2 else -0.1)


class ReadsAGlobal(Strategy):
    """Has the whole history in a global table, and takes from it the bar after each of the market's."""

    def weights(self, m: Market) -> Any:
        """The table knows tomorrow, however short the market is."""
        close = _ALL["close"]
        return (close.shift(-1) / close - 1).reindex(m.index)


class GoesByTheMarketOutside(Strategy):
    """Compares with a mean of a market that it closed over; replaced by what `_closing_over` makes."""


class HeldByInstance(Strategy):
    """Was given a table of scores when it was made, scores that know the future."""

    table: pd.DataFrame

    def weights(self, m: Market) -> Any:
        """The rows of a table that is longer than the market."""
        ahead = self.table.rolling(5, center=True).mean() / self.table - 1
        return ahead.reindex(m.index)


class Unseeded(Strategy):
    """Draws from the global random state."""

    def weights(self, m: Market) -> Any:
        """Nothing of the market at all."""
        return np.random.normal(0, 0.1, m.shape)  # noqa: NPY002 - the fault


class FreshGenerator(Strategy):
    """Makes a generator without a seed, for a bootstrap."""

    def weights(self, m: Market) -> Any:
        """Rows up to t, weighted by chance."""
        close = frame(m)
        drawn = np.random.default_rng().integers(2, 30)
        return close / close.rolling(int(drawn), min_periods=1).mean() - 1


class NeverTheSame(Strategy):
    """Counts its calls with an iterator that no one can set back."""

    def weights(self, m: Market) -> Any:
        """Nothing of the market at all."""
        return np.full(m.shape, 0.1 / (1 + next(_CALLS)))


class SeededByHash(Strategy):
    """Seeds its noise by the hash of a name, which is another one in every process."""

    def weights(self, m: Market) -> Any:
        """Nothing of the market at all."""
        noise = [np.random.default_rng(hash(name) % 2**32).normal(0, 0.1, m.n_bars) for name in m.assets]
        return np.column_stack(noise)


class Tampers(Strategy):
    """Cleans its prices in place."""

    def weights(self, m: Market) -> Any:
        """Unlocks an array that was locked."""
        close = m.panel("close")
        close.setflags(write=True)
        np.round(close, 1, out=close)
        close.setflags(write=False)
        return np.zeros(m.shape)


class StoredWeights(Strategy):
    """Returns what it computed elsewhere for the whole history."""

    stored: Any = np.full((260, 4), 0.1)

    def weights(self, m: Market) -> Any:  # noqa: ARG002 - that is its fault
        """As many rows as there were then."""
        return self.stored


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


class HalfAndHalf(Strategy):
    """Learns on the first half of the sample and trades the second: where that begins hangs on where it ends."""

    def weights(self, m: Market) -> Any:
        """Row t belongs to a half by the number of rows after it."""
        half = m.n_bars // 2
        change = frame(m).pct_change().fillna(0.0).to_numpy()
        weights = np.zeros(m.shape)
        weights[half:] = np.sign(change[:half].sum(axis=0)) * 0.2
        return weights


class MonthEndByTheNextBar(Strategy):
    """Trades on a month's last bar, told by the month of the bar after it."""

    def weights(self, m: Market) -> Any:
        """The last row always looks like a month's end."""
        month = pd.Series(m.index.month, m.index)
        last = (month != month.shift(-1)).to_numpy()
        return np.where(last[:, None], 0.25, np.nan) * np.ones(m.shape)


class FewestBarsFromTheEnd(Strategy):
    """Weighs returns by how long ago they are, seen from the end."""

    def weights(self, m: Market) -> Any:
        """The age of row t grows with every bar after it."""
        age = np.arange(m.n_bars)[::-1, None]
        return np.sign(frame(m).pct_change().fillna(0.0).to_numpy()) * 0.5 ** (age / 100) * 0.2


class OnlyItsOwnMarket(Strategy):
    """Refuses every market but the one it was written for."""

    home: str = ""

    def weights(self, m: Market) -> Any:
        """Cannot be compared with anything."""
        if m.n_bars != 260 or m.fingerprint != self.home:
            raise RuntimeError("not my market")
        return np.zeros(m.shape)


@lru_cache
def _limits(window: int) -> tuple[float, float]:
    change = frame(_FITTED["latest"]).pct_change(window).to_numpy()
    return float(np.nanquantile(change, 0.3)), float(np.nanquantile(change, 0.7))


def _reading_a_global(market: Market) -> Strategy:
    _ALL["close"] = frame(market)
    return ReadsAGlobal()


def _closing_over(market: Market) -> Strategy:
    whole = frame(market)

    class ClosesOver(GoesByTheMarketOutside):
        """Compares with the mean of the table that the function around it holds."""

        def weights(self, m: Market) -> Any:
            """The mean of a table that is longer than the market."""
            return (whole.mean() / whole).reindex(m.index) / 10

    return ClosesOver()


def _holding(market: Market) -> Strategy:
    made = HeldByInstance()
    made.table = frame(market)
    return made


def _at_home(market: Market) -> Strategy:
    made = OnlyItsOwnMarket()
    made.home = market.fingerprint
    return made


STATE: tuple[Specimen, ...] = (
    Specimen(strategy=KeptByClass, kinds=_BOTH, first_row=0, says="keeps `KeptByClass.mean`"),
    Specimen(strategy=KeptByName, kinds=_BOTH, says="keeps the global `_FITTED`"),
    Specimen(strategy=KeptByLength, kinds=_BOTH, first_row=0, says="keeps `KeptByLength.means`"),
    Specimen(strategy=KeptByParameter, kinds=_BOTH, says="the cache of `_limits`"),
    Specimen(strategy=EveryOtherCall, kinds=("state",), first_row=0, says="keeps `EveryOtherCall.calls`"),
    Specimen(strategy=ReadsAGlobal, ahead=1, first_row=0, make=_reading_a_global, says="the global `_ALL`"),
    Specimen(strategy=GoesByTheMarketOutside, ahead="all", make=_closing_over, says="hand those data"),
    Specimen(strategy=HeldByInstance, ahead=2, make=_holding, says="`self.table`"),
    Specimen(strategy=Unseeded, kinds=("random",), first_row=0, says="default_rng(seed)"),
    Specimen(strategy=FreshGenerator, kinds=("random",), says="default_rng(seed)"),
    Specimen(strategy=NeverTheSame, kinds=("random",), first_row=0, says="default_rng(seed)"),
    Specimen(strategy=SeededByHash, kinds=("random",), first_row=0, says="hash()"),
    Specimen(strategy=Tampers, kinds=("mutation",), says="copy before writing"),
    Specimen(strategy=StoredWeights, kinds=("length",), says="returned shape (260, 4)"),
    Specimen(strategy=FlatAtTheEnd, kinds=("length",), first_row=0, says="last row"),
    Specimen(strategy=FadingIn, kinds=("length",), first_row=1, says="number of bars"),
    Specimen(strategy=HalfAndHalf, kinds=("length",), says="number of bars"),
    Specimen(strategy=MonthEndByTheNextBar, kinds=("length",), says="`shift(-n)`"),
    Specimen(strategy=FewestBarsFromTheEnd, kinds=("length",), says="however many rows follow"),
    Specimen(strategy=OnlyItsOwnMarket, kinds=("unchecked",), make=_at_home, says="not my market"),
)
