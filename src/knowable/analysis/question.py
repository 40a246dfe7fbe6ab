"""What an analysis is asked, checked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.analysis.measures import FILLS
from knowable.data.market import Market
from knowable.errors import InputError, ShapeError, shown, unknown_name
from knowable.features.feature import Feature

__all__ = ["Question", "group_codes", "question"]

_LEAST_BARS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The settings of an analysis; `analyse` says what they mean."""

    spans: tuple[int, ...]
    n_buckets: int
    fill: str
    cost_bps: float
    least: int


def question(
    market: Market, *, horizons: object, quantiles: object, fill: str | None, cost_bps: object, min_assets: object
) -> Question:
    """Check the settings against a market. Raises: InputError, UnknownNameError."""
    how = ("next_open" if "open" in market.final else "next_close") if fill is None else fill
    if how not in FILLS:
        raise unknown_name("fill", how, FILLS)
    cost = float(cost_bps) if isinstance(cost_bps, numbers.Real) and not isinstance(cost_bps, bool) else math.nan
    if not 0.0 <= cost < math.inf:
        raise InputError(f"`cost_bps >= 0` must hold, but cost_bps={shown(cost_bps)}.")
    return Question(
        spans=_horizons(horizons, market.n_bars),
        n_buckets=_whole("quantiles", quantiles, 2),
        fill=how,
        cost_bps=cost,
        least=_whole("min_assets", min_assets, 2),
    )


def group_codes(groups: object, market: Market) -> tuple[npt.NDArray[np.float64], dict[float, str]]:
    """(n_bars, n_assets) group numbers and the names of those that have one. Raises: InputError, ShapeError."""
    if isinstance(groups, Feature):
        return Feature(groups.node, market).values(), {}
    if isinstance(groups, Mapping | pd.Series):
        given = {str(asset): label for asset, label in groups.items()}
        for asset in market.assets:
            if asset not in given:
                raise InputError(f"`groups` says no group of asset {asset!r}; give each asset one, or None.")
        labels = [given[asset] for asset in market.assets]
        kinds = sorted({str(label) for label in labels if not pd.isna(label)})
        row = [math.nan if pd.isna(label) else float(kinds.index(str(label))) for label in labels]
        return np.broadcast_to(np.array(row), market.shape), {float(k): kind for k, kind in enumerate(kinds)}
    panel = np.asarray(groups, dtype=np.float64) if isinstance(groups, np.ndarray | pd.DataFrame) else None
    if panel is None:
        raise InputError(
            f"`groups` must be a feature, a panel of group numbers or a mapping asset -> group, not {shown(groups)}."
        )
    if panel.shape != market.shape:
        raise ShapeError(f"`groups` has shape {panel.shape}; the market needs (n_bars, n_assets) = {market.shape}.")
    return panel, {}


def _horizons(horizons: object, n_bars: int) -> tuple[int, ...]:
    if isinstance(horizons, numbers.Integral) and not isinstance(horizons, bool):
        horizons = (horizons,)
    if isinstance(horizons, str) or not isinstance(horizons, Sequence) or not horizons:
        raise InputError(f"`horizons` is a list of whole bars, such as (1, 5, 21), but it is {shown(horizons)}.")
    spans = tuple(sorted({_whole("horizons", h, 1) for h in horizons}))
    if spans[-1] + _LEAST_BARS >= n_bars:
        raise InputError(
            f"A horizon of {spans[-1]} bars leaves nothing of a market of {n_bars} bars; take shorter ones."
        )
    return spans


def _whole(name: str, value: object, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InputError(f"`{name}` must be whole, but it is {shown(value)}.")
    if int(value) < low:
        raise InputError(f"`{name} >= {low}` must hold, but {name}={int(value)}.")
    return int(value)
