"""What an analysis is asked, checked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.analysis.measures import FILLS
from knowable.data.market import Market
from knowable.errors import InputError, ShapeError, shown, unknown_name
from knowable.features.feature import Feature

__all__ = ["Question", "group_codes", "question"]

Panel: TypeAlias = npt.NDArray[np.float64]

_LEAST_BARS = 3
_MOST_GROUPS = 200


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


def group_codes(groups: object, market: Market) -> tuple[Panel, dict[float, str]]:
    """(n_bars, n_assets) group numbers and the names of those that have one. Raises: InputError, ShapeError."""
    names: dict[float, str] = {}
    if isinstance(groups, Feature):
        codes = Feature(groups.node, market).values()
    else:
        codes, names = _coded(_labels(groups, market))
    n_groups = len(np.unique(codes[~np.isnan(codes)]))
    if n_groups > _MOST_GROUPS:
        raise InputError(
            f"`groups` has {n_groups:,} different values, but at most {_MOST_GROUPS} groups are looked at.\n"
            "Give sectors, or the buckets of a feature: groups=market.volume.quantile(5)."
        )
    return codes, names


def _labels(groups: object, market: Market) -> npt.NDArray[Any]:
    """(n_bars, n_assets) what each asset's group is called."""
    if isinstance(groups, Mapping | pd.Series):
        given = {str(asset): label for asset, label in groups.items()}
        for asset in market.assets:
            if asset not in given:
                raise InputError(f"`groups` says no group of asset {asset!r}; give each asset one, or None.")
        row = np.array([None if pd.isna(given[asset]) else str(given[asset]) for asset in market.assets], object)
        return np.broadcast_to(row, market.shape)
    if isinstance(groups, pd.DataFrame):
        return _placed(groups, market)
    if not isinstance(groups, np.ndarray):
        raise InputError(
            f"`groups` must be a feature, a panel of groups or a mapping asset -> group, not {shown(groups)}."
        )
    if groups.shape != market.shape:
        raise ShapeError(f"`groups` has shape {groups.shape}; the market needs (n_bars, n_assets) = {market.shape}.")
    return groups


def _placed(frame: pd.DataFrame, market: Market) -> npt.NDArray[Any]:
    """A table's values in the market's order of assets. Raises: ShapeError if it is of other assets or times."""
    columns = [str(column) for column in frame.columns]
    if sorted(columns) != sorted(market.assets):
        odd = sorted(set(columns).symmetric_difference(market.assets))
        raise ShapeError(f"`groups` has columns that differ from the market's assets, first {odd[:1]}.")
    if not (frame.index.equals(market.index) or frame.index.equals(market.index.tz_localize(None))):
        raise ShapeError(
            f"`groups` has another index than the market's {market.n_bars} bars from {market.index[0]} to "
            f"{market.index[-1]}.\nBring it there: groups.reindex(market.index, method='ffill')."
        )
    return np.asarray(frame.set_axis(columns, axis=1)[list(market.assets)].to_numpy())


def _coded(labels: npt.NDArray[Any]) -> tuple[Panel, dict[float, str]]:
    """Numbers as they are; names by their place in the alphabet."""
    if labels.dtype.kind in "biuf":
        return labels.astype(np.float64), {}
    found, kinds = pd.factorize(pd.Series(labels.ravel()).map(str, na_action="ignore"), sort=True)
    codes = np.where(found < 0, math.nan, found).reshape(labels.shape)
    return codes, {float(k): str(kind) for k, kind in enumerate(kinds)}


def _horizons(horizons: object, n_bars: int) -> tuple[int, ...]:
    if isinstance(horizons, np.ndarray) and horizons.ndim == 1:
        horizons = horizons.tolist()
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
