"""What a specimen is, and the markets in which the zoo lives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.strategy import Strategy

__all__ = ["Honest", "Specimen", "frame", "mortal_market", "restated_market", "zoo_market"]

_EPS_EVERY = 10  # bars between two reports
_EPS_LATE = 6  # bars between the end of a period and its report


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A leaky strategy.

    Args:
        strategy: its class; the defaults leak.
        kinds: what a report should call it: these and no others.
        first_row: the first row that uses a later one, or None where that depends on the data.
        assets: which columns leak; None for all, or for none that can be named.
        ahead: how many bars ahead it reads at most; ``"all"`` for the whole sample; None where a report need not say.
        says: a word that the report must have, for the reason to be the right one.
        market: where it lives, by seed.
        make: how an instance is made for a market, where calling the class is not enough.
    """

    strategy: type[Strategy]
    kinds: tuple[str, ...] = ("look-ahead",)
    first_row: int | None = None
    assets: tuple[int, ...] | None = None
    ahead: int | Literal["all"] | None = None
    says: str = ""
    market: Callable[[int], Market] | None = None
    make: Callable[[Market], Strategy] | None = None

    def on(self, market: Market) -> Strategy:
        """An instance for a market."""
        return self.strategy() if self.make is None else self.make(market)

    def home(self, seed: int) -> Market:
        """The market of a seed."""
        return zoo_market(seed) if self.market is None else self.market(seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    """A strategy that knows nothing it should not, whatever its code looks like.

    Args:
        strategy: its class.
        suspicions: what a report may suspect, and nothing else.
        market: where it lives, by seed.
        make: how an instance is made for a market, where calling the class is not enough.
    """

    strategy: type[Strategy]
    suspicions: frozenset[str] = frozenset()
    market: Callable[[int], Market] | None = None
    make: Callable[[Market], Strategy] | None = None

    def on(self, market: Market) -> Strategy:
        """An instance for a market."""
        return self.strategy() if self.make is None else self.make(market)

    def home(self, seed: int) -> Market:
        """The market of a seed."""
        return zoo_market(seed) if self.market is None else self.market(seed)


def zoo_market(seed: int = 0, n_bars: int = 260, n_assets: int = 4) -> Market:
    """Random walks with plausible bars and what else a strategy may misuse.

    Volume is in whole shares. `eps` is known every ten bars only, NaN between; beside it `age` is how many bars ago the
    period ended that it is about. `split` is 1, but 2 on one bar of each asset in the later half.
    """
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0.0003, 0.015, (n_bars, n_assets)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.005, close.shape))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, 0.004, close.shape)))
    low = np.minimum(open_, close) * (1 - np.abs(rng.normal(0, 0.004, close.shape)))
    volume = rng.integers(1_000, 100_000, close.shape).astype(np.float64)
    eps = np.full(close.shape, np.nan)
    eps[::_EPS_EVERY] = rng.normal(1.0, 0.3, eps[::_EPS_EVERY].shape)
    age = np.where(np.isnan(eps), np.nan, np.minimum(np.arange(n_bars), _EPS_LATE)[:, None])
    split = np.ones(close.shape)
    split[rng.integers(n_bars // 2, n_bars, n_assets), np.arange(n_assets)] = 2.0
    panels = {
        "close": close,
        "open": open_,
        "high": high,
        "low": low,
        "volume": volume,
        "eps": eps,
        "age": age,
        "split": split,
    }
    return _market(panels)


def restated_market(seed: int = 0) -> Market:
    """The zoo's market, of which the vendor later changed one close in twenty by a hundredth."""
    market = zoo_market(seed)
    rng = np.random.default_rng([seed, 1])
    close = market.panel("close").copy()
    revised = rng.random(close.shape) < 0.05
    close[revised] *= np.exp(rng.normal(0.0, 0.01, int(revised.sum())))
    close.setflags(write=False)
    return dataclasses.replace(market, final=MappingProxyType({**market.final, "close": close}), _hash=[])


def mortal_market(seed: int = 0) -> Market:
    """Six assets of which two end early and one begins late; NaN before and after."""
    market = zoo_market(seed, n_assets=6)
    rng = np.random.default_rng([seed, 2])
    last = [int(rng.integers(60, 140)), int(rng.integers(150, 220))]
    panels = {}
    for name, values in market.panels.items():
        cut = values.copy()
        cut[last[0] :, 1], cut[last[1] :, 4], cut[:30, 2] = np.nan, np.nan, np.nan
        panels[name] = cut
    return _market(panels)


def frame(m: Market, name: str = "close") -> pd.DataFrame:
    """A field of a market as a DataFrame of its own."""
    return pd.DataFrame(m.panel(name), index=m.index, columns=list(m.assets))


def _market(panels: dict[str, npt.NDArray[np.float64]]) -> Market:
    n_bars, n_assets = panels["close"].shape
    index = pd.bdate_range("2015-01-02", periods=n_bars)
    names = [f"A{k}" for k in range(n_assets)]
    frames: dict[str, Any] = {name: pd.DataFrame(values, index, names) for name, values in panels.items()}
    return Market.from_frames(**frames)
