"""Leaks of models: fitted or scaled on everything, taught by labels that were not known, or cross-validated."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import Specimen, frame

__all__ = ["FITS"]

Panel = npt.NDArray[np.float64]

_EVERY = 20  # bars between two fits
_AHEAD = 5  # bars that a label looks ahead


class FittedOnAll(Strategy):
    """One regression on the whole history, used in all of it."""

    def weights(self, m: Market) -> Any:
        """The coefficients know every later return."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        x, y = change[:-1].ravel(), change[1:].ravel()
        slope = float((x * y).sum() / max(float((x * x).sum()), 1e-12))
        return (change + 0.001) * slope


class SolvedOnAll(Strategy):
    """The same by least squares with three lags, a call to a library."""

    def weights(self, m: Market) -> Any:
        """The coefficients know every later return."""
        features, label = _features(m), _label(m, 1)
        known = ~np.isnan(label).any(axis=1)
        beta = np.linalg.lstsq(_stacked(features[known]), label[known].ravel(), rcond=None)[0]
        return (features @ beta) * 10


class OverlappingLabels(Strategy):
    """Refits as it goes, but the newest label is a return that has yet to happen."""

    def weights(self, m: Market) -> Any:
        """The fit of row t includes the return from t to t + 1."""
        change = frame(m).pct_change()
        gain = (change * change.shift(-1)).expanding(20).sum() / (change**2).expanding(20).sum()
        return gain * change


class Unpurged(Strategy):
    """Refits every twenty bars on all rows so far, whose last five labels reach past the fit."""

    def weights(self, m: Market) -> Any:
        """A fit at row t knows the close of row t + 4."""
        return _walked(m, purge=0, window=None)


class UnpurgedWindow(Strategy):
    """The same on a window of a hundred rows."""

    def weights(self, m: Market) -> Any:
        """A fit at row t knows the close of row t + 4."""
        return _walked(m, purge=0, window=100)


class HalfPurged(Strategy):
    """Leaves the last two rows out before each fit, where the labels need five."""

    def weights(self, m: Market) -> Any:
        """A fit at row t knows the close of row t + 2."""
        return _walked(m, purge=2, window=None)


class ScaledOnAll(Strategy):
    """Refits and purges as it should, on features that were standardised once for all."""

    def weights(self, m: Market) -> Any:
        """The scaler knows all rows."""
        features = _features(m)
        scaled = (features - features.mean(axis=0)) / features.std(axis=0)
        return _walked(m, purge=_AHEAD, window=None, features=scaled)


class FoldPredictions(Strategy):
    """Predicts each fifth of the history by a model of the other four, as cross-validation does."""

    def weights(self, m: Market) -> Any:
        """The first fifth is predicted from the future."""
        features, label = _features(m), _label(m, 1)
        weights = np.zeros(m.shape)
        for part in np.array_split(np.arange(m.n_bars), 5):
            train = np.setdiff1d(np.flatnonzero(~np.isnan(label).any(axis=1)), part)
            beta = np.linalg.lstsq(_stacked(features[train]), label[train].ravel(), rcond=None)[0]
            weights[part] = features[part] @ beta
        return weights * 10


class PickedByTest(Strategy):
    """Chooses the penalty of its regression by the error on the years it then reports."""

    def weights(self, m: Market) -> Any:
        """The penalty knows all rows, the coefficients the first half only."""
        features, label = _features(m), np.nan_to_num(_label(m, 1))
        half = 130
        x, y = _stacked(features[:half]), label[:half].ravel()
        least = np.inf
        best: Any = np.zeros(x.shape[1])
        for penalty in (1e-6, 1e-4, 1e-3, 1e-2):
            beta = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
            error = float(((features[half:] @ beta - label[half:]) ** 2).sum()) if m.n_bars > half else 0.0
            if error < least:
                best, least = beta + error, error
        return (features @ best) * 10


class RowsWithoutLabelDropped(Strategy):
    """Drops rows that have no label before it predicts, and so trades only where it knows the outcome exists."""

    def weights(self, m: Market) -> Any:
        """The last five rows are missing because their labels are."""
        close = frame(m)
        table = pd.DataFrame({"signal": close.pct_change(3).iloc[:, 0], "label": close.shift(-5).iloc[:, 0]}).dropna()
        held = table["signal"].reindex(m.index).fillna(0.0)
        return pd.DataFrame(dict.fromkeys(m.assets, held))


class MeanOfSimilarDays(Strategy):
    """Encodes each sign pattern of two returns by the mean of what followed it, the day itself included."""

    def weights(self, m: Market) -> Any:
        """Target encoding with all targets."""
        change = frame(m).pct_change().fillna(0.0)
        pattern = (np.sign(change).astype(int) * 3 + np.sign(change.shift(1).fillna(0.0)).astype(int)).iloc[:, 0]
        following = change.shift(-1).fillna(0.0)
        return following.groupby(pattern.to_numpy()).transform("mean") * 10


class SeesItsTarget(Strategy):
    """Has the return to come among its features under an innocent name, and refits honestly on it."""

    def weights(self, m: Market) -> Any:
        """A feature of row t is the return from t to t + 1."""
        change = np.nan_to_num(frame(m).pct_change().to_numpy())
        momentum = np.vstack([change[1:], change[-1:]])
        return momentum * np.sign(_walked(m, purge=_AHEAD, window=None) + 2.0)


def _features(m: Market) -> Panel:
    """(n_bars, n_assets, 3) three lagged returns of each asset, 0 where there are none."""
    change = np.nan_to_num(frame(m).pct_change().to_numpy())
    lags = [np.vstack([np.zeros((k, m.n_assets)), change[: m.n_bars - k]]) for k in range(3)]
    return np.stack(lags, axis=2)


def _label(m: Market, ahead: int) -> Panel:
    """(n_bars, n_assets) the return of the next `ahead` bars, NaN at the end."""
    close = frame(m)
    return np.asarray((close.shift(-ahead) / close - 1).to_numpy())


def _stacked(features: Panel) -> Panel:
    return features.reshape(-1, features.shape[2])


def _walked(m: Market, *, purge: int, window: int | None, features: Panel | None = None) -> Panel:
    """Predictions of a regression that is fitted again every twenty bars on rows up to `purge` before."""
    features = _features(m) if features is None else features
    label = _label(m, _AHEAD)
    weights = np.zeros(m.shape)
    for at in range(60, m.n_bars, _EVERY):
        first, last = 0 if window is None else max(0, at - window), at - purge
        rows = np.arange(first, last)
        rows = rows[~np.isnan(label[rows]).any(axis=1)]
        beta = np.linalg.lstsq(_stacked(features[rows]), label[rows].ravel(), rcond=None)[0]
        weights[at : at + _EVERY] = features[at : at + _EVERY] @ beta
    return weights * 10


FITS: tuple[Specimen, ...] = (
    Specimen(strategy=FittedOnAll, ahead="all", says="whole sample"),
    Specimen(strategy=SolvedOnAll, ahead="all", says="`lstsq`"),
    Specimen(strategy=OverlappingLabels, first_row=20, ahead=1, says="`shift(-n)`"),
    Specimen(strategy=Unpurged, kinds=("label-overlap",), ahead=4, says="drop the last"),
    Specimen(strategy=UnpurgedWindow, kinds=("label-overlap",), ahead=4, says="drop the last"),
    Specimen(strategy=HalfPurged, kinds=("label-overlap",), ahead=2, says="drop the last"),
    Specimen(strategy=ScaledOnAll, ahead="all", says="whole sample"),
    Specimen(strategy=FoldPredictions, ahead="all", says="`lstsq`"),
    Specimen(strategy=PickedByTest, ahead="all", says="`solve`"),
    Specimen(strategy=RowsWithoutLabelDropped, kinds=("length",), says="`shift(-n)`"),
    Specimen(strategy=MeanOfSimilarDays, ahead="all", says="whole sample"),
    Specimen(strategy=SeesItsTarget, ahead=1, says="bars ahead"),
)
