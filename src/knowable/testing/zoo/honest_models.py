"""Honest strategies that fit, filter, draw, remember or bring their own data, each within what it could know."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Honest, frame

__all__ = ["HONEST_MODELS"]

Panel = npt.NDArray[np.float64]

_WARM = frozenset({"warm-up"})
_BENCHMARK: dict[str, pd.Series] = {}
_LOADED: dict[str, pd.Series] = {}
_BY_CONTENT: dict[str, Panel] = {}


class RefittedHonestly(Strategy):
    """Refits on returns that have happened."""

    def weights(self, m: Market) -> Any:
        """The fit of row t ends with the return from t - 1 to t."""
        change = frame(m).pct_change()
        gain = (change * change.shift(1)).expanding(20).sum() / (change.shift(1) ** 2).expanding(20).sum()
        return gain * change


class Purged(Strategy):
    """Refits every twenty bars by least squares, without the five rows whose labels reach past the fit."""

    def weights(self, m: Market) -> Any:
        """A fit at row t knows closes up to t - 1."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        features = np.stack([change, np.vstack([change[:1] * 0, change[:-1]])], axis=2)
        close = frame(m)
        label = (close.shift(-5) / close - 1).to_numpy()
        weights = np.zeros(m.shape)
        for at in range(60, m.n_bars, 20):
            x, y = features[: at - 5].reshape(-1, 2), label[: at - 5].ravel()
            beta = np.linalg.lstsq(x, y, rcond=None)[0]
            weights[at : at + 20] = features[at : at + 20] @ beta
        return weights * 10


class TaughtOnce(Strategy):
    """Fits on the first hundred rows and trades after them."""

    def weights(self, m: Market) -> Any:
        """The coefficients know rows up to 99, used from row 100 on."""
        weights = np.full(m.shape, np.nan)
        if m.n_bars > 100:
            change = np.nan_to_num(frame(m).pct_change().to_numpy())
            slope = np.polyfit(change[:98].ravel(), change[1:99].ravel(), 1)[0]
            weights[100:] = slope * change[100:]
        return weights


class ClusteredOnce(Strategy):
    """Finds regimes on the first hundred rows and sorts later ones into them."""

    def weights(self, m: Market) -> Any:
        """The centres know rows up to 99, used from row 100 on."""
        from scipy.cluster.vq import kmeans2, vq

        weights = np.full(m.shape, np.nan)
        if m.n_bars > 100:
            risk = frame(m).pct_change().abs().rolling(10, min_periods=1).mean().fillna(0.0).to_numpy()
            centres = kmeans2(risk[:100], risk[[0, 50]], minit="matrix")[0]
            weights[100:] = 0.1 * vq(risk[100:], centres)[0][:, None]
        return weights


class TrailingComponent(Strategy):
    """Trades against the first principal component of the last sixty returns."""

    def weights(self, m: Market) -> Any:
        """Rows t - 59 to t."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        weights = np.full(m.shape, np.nan)
        for t in range(60, m.n_bars):
            window = change[t - 59 : t + 1]
            loadings = np.linalg.svd(window - window.mean(axis=0), full_matrices=False)[2][0]
            loadings = loadings * np.sign(loadings[0])
            weights[t] = -(change[t] @ loadings) * loadings
        return weights


class KalmanFilter(Strategy):
    """A local level, filtered forwards only."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        log = np.log(m.panel("close"))
        level = np.empty_like(log)
        level[0] = log[0]
        for t in range(1, m.n_bars):
            level[t] = level[t - 1] + 0.2 * (log[t] - level[t - 1])
        return level - log


class OnlineRegression(Strategy):
    """Recursive least squares, a bar at a time."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        beta, spread, weights = np.zeros(m.n_assets), np.full(m.n_assets, 1e-3), np.zeros(m.shape)
        for t in range(1, m.n_bars):
            x, y = change[t - 1], change[t]
            spread = spread + x * x
            beta = beta + x * (y - beta * x) / spread
            weights[t] = beta * change[t] * 5
        return weights


class LoadingsOfTheDay(Strategy):
    """A matrix product of all rows, which libraries round by the number of rows."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        mixed = change @ np.linspace(-1, 1, m.n_assets * m.n_assets).reshape(m.n_assets, m.n_assets)
        return mixed @ np.ones((m.n_assets, m.n_assets)) / 7


class SeededNoise(Strategy):
    """Random, but the same at every call and in every prefix."""

    def weights(self, m: Market) -> Any:
        """No data at all."""
        return np.random.default_rng(5).normal(0, 0.1, m.shape)


class SeededBootstrap(Strategy):
    """Mean of resampled windows, drawn by a seed."""

    def weights(self, m: Market) -> Any:
        """Rows t - 19 to t."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        drawn = np.random.default_rng(7).integers(0, 20, 200)
        weights = np.full(m.shape, np.nan)
        for t in range(20, m.n_bars):
            weights[t] = change[t - 19 : t + 1][drawn].mean(axis=0) * 20
        return weights


class NeedsHistory(Strategy):
    """Refuses to run on fewer than sixty bars, as fitted models do."""

    def weights(self, m: Market) -> Any:
        """Row t only."""
        if m.n_bars < 60:
            raise ValueError("need at least 60 bars")
        return frame(m) * 0 + 0.1


class ShiesAwayFromJumps(Strategy):
    """Refuses prices that move by more than a fifth in a bar, as a careful loader does."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        change = frame(m).pct_change()
        if (change.abs() > 0.2).any().any():
            raise ValueError("a price jumped; mend the data")
        return change.rolling(5).mean()


class CachedByContent(Strategy):
    """Remembers a slow computation by a hash of what it was computed from."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = np.ascontiguousarray(m.panel("close"))
        key = hashlib.sha256(close.tobytes()).hexdigest()
        if key not in _BY_CONTENT:
            _BY_CONTENT[key] = pd.DataFrame(close).rolling(10).mean().to_numpy()
        return _BY_CONTENT[key] / close - 1


class CachedByBytes(Strategy):
    """The same with a cache of a library, whose key is the data themselves."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        close = m.panel("close")
        return _slow_mean(close.tobytes(), m.n_assets) / close - 1


class KeptByFingerprint(Strategy):
    """Keeps its figures in the class, by the market's own fingerprint."""

    kept: ClassVar[dict[str, pd.DataFrame]] = {}

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        if m.fingerprint not in self.kept:
            self.kept[m.fingerprint] = frame(m).pct_change(5)
        return self.kept[m.fingerprint]


class LoadedOnce(Strategy):
    """Loads a slow table into a global when it is first asked for it."""

    def weights(self, m: Market) -> Any:
        """Rows up to t, of the market and of the table."""
        if "table" not in _LOADED:
            _LOADED["table"] = _loaded(_BENCHMARK["index"])
        level = _LOADED["table"].reindex(m.index, method="ffill")
        return frame(m).pct_change(5).sub(level.pct_change(5), axis=0)


class KeptInItself(Strategy):
    """Keeps its figures in the instance, of which it has one for each market."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        self.change = frame(m).pct_change()
        return self.change.rolling(3).sum()


class CountsItsCalls(Strategy):
    """Counts how often it was asked, and does not heed it."""

    calls = 0

    def weights(self, m: Market) -> Any:
        """Row t only."""
        type(self).calls += 1
        return np.full(m.shape, 0.2)


class AgainstABenchmark(Strategy):
    """Compares with an index from a table of its own, row by row."""

    def weights(self, m: Market) -> Any:
        """Rows up to t, of the market and of the table."""
        index = _BENCHMARK["index"].reindex(m.index, method="ffill")
        return frame(m).pct_change(10).sub(index.pct_change(10), axis=0)


class BySector(Strategy):
    """Demeans within sectors, which a table names."""

    sectors: ClassVar[dict[str, str]] = {"A0": "steel", "A1": "steel", "A2": "banks", "A3": "banks"}

    def weights(self, m: Market) -> Any:
        """Row t only."""
        change = frame(m).pct_change()
        sector = [self.sectors[name] for name in m.assets]
        return change - change.T.groupby(sector).transform("mean").T


class TrailingPick(Strategy):
    """Every bar trades the window that has done best so far."""

    def weights(self, m: Market) -> Any:
        """Rows up to t."""
        change = frame(m).pct_change().fillna(0.0)
        signals = [change.rolling(n, min_periods=1).sum().apply(np.sign) for n in (2, 5, 10)]
        earned = np.stack([(s.shift(1) * change).sum(axis=1).cumsum().to_numpy() for s in signals])
        best = earned.argmax(axis=0)
        return np.stack([s.to_numpy() for s in signals])[best, np.arange(m.n_bars)] / 4


@lru_cache(maxsize=256)
def _slow_mean(data: bytes, n_assets: int) -> Any:
    close = pd.DataFrame(np.frombuffer(data).reshape(-1, n_assets))
    return close.rolling(10).mean().to_numpy()


def _loaded(table: pd.Series) -> pd.Series:
    return table.copy()


def _loading(market: Market) -> Strategy:
    _BENCHMARK["index"] = frame(market).mean(axis=1)
    return LoadedOnce()


def _with_benchmark(market: Market) -> Strategy:
    _BENCHMARK["index"] = frame(market).mean(axis=1)
    return AgainstABenchmark()


HONEST_MODELS: tuple[Honest, ...] = (
    Honest(strategy=RefittedHonestly, suspicions=_WARM),
    Honest(strategy=Purged, suspicions=_WARM),
    Honest(strategy=TaughtOnce, suspicions=_WARM),
    Honest(strategy=ClusteredOnce, suspicions=_WARM),
    Honest(strategy=TrailingComponent, suspicions=frozenset({"rounding"})),
    Honest(strategy=KalmanFilter),
    Honest(strategy=OnlineRegression, suspicions=_WARM),
    Honest(strategy=LoadingsOfTheDay, suspicions=frozenset({"rounding"})),
    Honest(strategy=SeededNoise, suspicions=_WARM),
    Honest(strategy=SeededBootstrap),
    Honest(strategy=NeedsHistory),
    Honest(strategy=ShiesAwayFromJumps),
    Honest(strategy=CachedByContent),
    Honest(strategy=CachedByBytes),
    Honest(strategy=KeptByFingerprint),
    Honest(strategy=LoadedOnce, suspicions=frozenset({"outside"}), make=_loading),
    Honest(strategy=KeptInItself),
    Honest(strategy=CountsItsCalls),
    Honest(strategy=AgainstABenchmark, suspicions=frozenset({"outside"}), make=_with_benchmark),
    Honest(strategy=BySector),
    Honest(strategy=TrailingPick, suspicions=_WARM),
)
