"""Other markets to show a strategy: with another future, a slightly other one, a later start, another last close."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from knowable.data.market import UNIVERSE, Market
from knowable.data.market_actions import MarketActions

__all__ = ["is_whole", "other_close", "perturbed", "poisoned", "started_late", "usual_move"]

Panel = npt.NDArray[np.float64]

_POISON = 0.25  # spread of the factors of an invented future; a tenth is too little for outliers to move their limits
_LITTLE = 0.1  # of a bar's usual move, far above rounding
_USUAL = 0.01  # move of a bar where there is no close to tell


def poisoned(market: Market, cut: int, rng: np.random.Generator) -> Market:
    """The same first `cut` rows, then another plausible future.

    Later rows are drawn from all rows of the market and scaled, all fields of a row by one factor, so that a bar stays
    a bar (high above low). Panels of whole numbers (membership, codes, counts) are drawn but not scaled.
    """
    n_later = market.n_bars - cut
    drawn = rng.integers(0, market.n_bars, n_later)
    factor = np.exp(rng.normal(0.0, _POISON, n_later))[:, None]

    def other(values: Panel) -> Panel:
        later = values[drawn]
        return _locked(np.concatenate([values[:cut], later if is_whole(values) else later * factor]))

    return _changed(market, other)


def perturbed(market: Market, cut: int, rng: np.random.Generator) -> Market:
    """The same first `cut` rows; every later bar of an asset is moved by a tenth of a usual move, all its fields alike.

    What shies away from an implausible future, refusing or clipping it, does not from this. Panels of whole numbers
    stay as they are.
    """
    factor = np.exp(rng.normal(0.0, _LITTLE * usual_move(market), (market.n_bars - cut, market.n_assets)))

    def other(values: Panel) -> Panel:
        return values if is_whole(values) else _locked(np.concatenate([values[:cut], values[cut:] * factor]))

    return _changed(market, other)


def other_close(market: Market, row: int, rng: np.random.Generator) -> Market:
    """One bar ends otherwise: all that is known only when it is over is moved, its open and the universe are not."""
    factor = np.exp(rng.normal(0.0, _POISON, market.n_assets))

    def other(values: Panel) -> Panel:
        made = values.copy()
        made[row] = values[rng.integers(0, market.n_bars)] if is_whole(values) else made[row] * factor
        return _locked(made)

    kept = {name: values for name, values in market.panels.items() if name in ("open", UNIVERSE)}
    panels = {name: kept[name] if name in kept else other(values) for name, values in market.panels.items()}
    return market.with_panels(panels, final=None if market.final is market.panels else market.final)


def started_late(market: Market, first: int) -> Market:
    """The market without its first `first` rows: what a reader whose history is shorter would hold."""
    final = {name: values[first:] for name, values in market.final.items()}
    panels = MappingProxyType({name: values[first:] for name, values in market.panels.items()})
    return dataclasses.replace(
        market,
        times=market.times[first:],
        decision_times=market.decision_times[first:],
        index=market.index[first:],
        panels=panels,
        final=panels if market.final is market.panels else MappingProxyType(final),
        actions=MarketActions.of(_shifted(market.actions, first)),
        recipe={},
        _hash=[],
        _days=[],
    )


def usual_move(market: Market) -> float:
    """Median absolute return of a bar, of bars that moved; a hundredth where the market has no close or none moved."""
    close = market.panels.get("close")
    if close is None or len(close) < 2:
        return _USUAL
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = np.abs(close[1:] / close[:-1] - 1.0)
    moves = moves[np.isfinite(moves) & (moves > 0.0)]
    return float(np.median(moves)) if len(moves) else _USUAL


def is_whole(values: npt.NDArray[np.float64]) -> bool:
    """Whether all values are whole numbers or NaN: codes, counts and flags, which no factor may scale."""
    step = max(1, len(values) // 64)
    if not _whole(values[::step]):  # most panels are told by a few rows
        return False
    return _whole(values)


def _whole(values: npt.NDArray[np.float64]) -> bool:
    return bool((np.isnan(values) | (values == np.floor(values))).all())


def _changed(market: Market, other: Callable[[Panel], Panel]) -> Market:
    """Both groups of panels through `other`; an array that stands in several places is changed once."""
    made: dict[int, Panel] = {}

    def once(values: Panel) -> Panel:
        if id(values) not in made:
            made[id(values)] = other(values)
        return made[id(values)]

    panels = {name: once(values) for name, values in market.panels.items()}
    if market.final is market.panels:
        return market.with_panels(panels)
    return market.with_panels(panels, final={name: once(values) for name, values in market.final.items()})


def _locked(values: Panel) -> Panel:
    values.setflags(write=False)
    return values


def _shifted(actions: MarketActions, first: int) -> list[dict[str, object]]:
    page = actions.page()
    rows = [{name: values[k] for name, values in page.items()} for k in range(len(actions))]
    kept = [row for row in rows if row["row"] >= first]
    return [{**row, "row": row["row"] - first, "last_row": max(row["last_row"] - first, -1)} for row in kept]
