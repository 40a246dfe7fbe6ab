"""A walk forward written slowly with pandas, and a small estimator of least squares that needs no library."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

__all__ = ["LeastSquares", "slow_walk"]


class LeastSquares:
    """Ordinary least squares with an intercept, the smallest of the solutions where there are many."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        """Learn from x (n_rows, n_features) and y (n_rows,)."""
        self.found, *_ = np.linalg.lstsq(np.column_stack([np.ones(len(x)), x]), self.weight * y, rcond=None)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(n_rows,) for x (n_rows, n_features)."""
        return np.asarray(np.column_stack([np.ones(len(x)), x]) @ self.found)


def slow_walk(
    make: Callable[[], Any],
    features: Sequence[pd.DataFrame],
    outcome: pd.DataFrame,
    *,
    ahead: int,
    fit_rows: Collection[int],
    train: int | pd.DateOffset | None,
    gap: int = 0,
    min_bars: int = 1,
    members: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Predictions of a model fitted at some rows to all that was known there, from the definition.

    Args:
        make: gives a fresh estimator.
        features: tables like `outcome`, a row a bar and a column an asset.
        outcome: the feature whose value `ahead` rows later is learnt.
        ahead: rows.
        fit_rows: where it is fitted.
        train: rows, or a span of time, that end with the row of the fit; None for all.
        gap: rows left out beside `ahead`.
        min_bars: rows that must have something to train with.
        members: True where an asset may train.
    """
    names = [f"x{k}" for k in range(len(features))]
    tables = {**dict(zip(names, features, strict=True)), "label": outcome.shift(-ahead)}
    cells = pd.DataFrame({name: table.to_numpy().ravel() for name, table in tables.items()})
    cells = cells.replace([np.inf, -np.inf], np.nan)
    bar = np.repeat(np.arange(len(outcome)), outcome.shape[1])
    day = outcome.index.to_series().dt.normalize().repeat(outcome.shape[1]).to_numpy()
    allowed = np.ones(len(cells), bool) if members is None else members.to_numpy().astype(bool).ravel()
    whole = cells.notna().all(axis=1).to_numpy() & allowed
    out, fitted = np.full(outcome.shape, np.nan), None
    for row, now in enumerate(outcome.index):
        if row in fit_rows:
            old = whole & (bar + ahead + gap <= row)
            if isinstance(train, int):
                old &= bar > row - train
            elif train is not None:
                old &= day > (now.normalize() - train).to_datetime64()
            if len(set(bar[old])) >= min_bars:
                fitted = make()
                fitted.fit(cells.loc[old, names].to_numpy(), cells.loc[old, "label"].to_numpy())
        if fitted is not None:
            here = cells.loc[bar == row, names]
            known = here.notna().all(axis=1).to_numpy()
            if known.any():
                out[row, known] = fitted.predict(here[known].to_numpy())
    return pd.DataFrame(out, outcome.index, outcome.columns)
