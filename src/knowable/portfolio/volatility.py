"""Weights in proportion to calm: the inverse of each asset's volatility."""

from __future__ import annotations

from typing import Any

from knowable.features.feature import Feature
from knowable.features.functions.across import cross_count, mask, scale
from knowable.features.functions.element import fill
from knowable.features.functions.moving import Every, std
from knowable.features.functions.paths import returns
from knowable.portfolio.asked import held_between, members_only, prices_of, selection, told, window_of_two

__all__ = ["inverse_volatility"]


def inverse_volatility(price: Feature, window: int, *, of: Any = None, every: Every = None) -> Feature:
    """Weights in proportion to 1 / volatility, of sum 1.

    Args:
        price: (n_bars, n_assets), such as ``m.close``; for gaps see below.
        window: returns that the sample deviation is of, >= 2.
        of: a feature: assets for which it is 0 or missing are not held. None: all.
        every: rebalance at the ends of these periods and hold between; see `resample`. None: each bar.

    Returns: (n_bars, n_assets). 0 for an asset that is not selected, is no member of the universe, lacks one of the
        window's returns, or did not move; all 0 where nothing is selected; NaN (keep what is held) before any asset has
        a full window. Fill gaps in prices first, ``m.close.ffill(5)``, where they should not cost an asset its place.
    Known at: row t uses rows <= t.
    Raises: InputError.
    """
    name = "inverse_volatility"
    prices = prices_of(name, price)
    spread = std(returns(prices), window_of_two(name, price, window))
    calm = mask(1.0 / spread, spread > 0.0)
    chosen = calm if of is None else mask(calm, selection(name, of))
    weights = mask(fill(scale(chosen), 0.0), cross_count(calm) > 0.0)
    return held_between(told(name, price), members_only(name, weights), every)
