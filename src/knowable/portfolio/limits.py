"""Limits on given weights: how much risk, how much of one asset, how much of one group."""

from __future__ import annotations

import math
from typing import Any

from knowable.errors import InputError, shown
from knowable.features.apply import apply, feature_of
from knowable.features.feature import Feature
from knowable.features.functions.across import cross_sum
from knowable.features.functions.element import clip, fill, maximum, minimum, where
from knowable.features.functions.groups import group_sum
from knowable.features.functions.moving import Every
from knowable.features.functions.paths import returns
from knowable.features.symbols import Symbol
from knowable.portfolio.asked import codes_of, held_between, members_only, positive, prices_of, told, window_of_two

__all__ = ["cap", "cap_groups", "target_volatility"]


_MOST_VOLATILE = 5.0  # a year; coins that double and halve within a week come to 3


def target_volatility(
    w: Feature,
    price: Feature,
    *,
    volatility: float,
    window: int,
    max_leverage: float = 1.0,
    bars_per_year: float = 252.0,
    every: Every = None,
) -> Feature:
    """The same weights, all made larger or smaller until the portfolio has a volatility.

    Its volatility is the sample deviation of what these very weights would have earned on each of the last `window`
    bars, a year's; so what the assets have to do with each other is in it, and a change of weights shows at once.

    Args:
        w: (n_bars, n_assets) weights.
        price: (n_bars, n_assets), such as ``m.close``.
        volatility: aimed at, a year's: 0.10 is ten per cent.
        window: returns, >= 2.
        max_leverage: the most that absolute weights may sum to. Above 1 the account must allow it as well:
            ``kn.backtest(..., max_leverage=...)``.
        bars_per_year: 252 for daily bars of stocks, 365 for days round the clock, 52 for weeks. It is no figure of the
            market, because one that is measured from its labels would depend on bars to come.
        every: scale at the ends of these periods and hold between. None: each bar, which trades each bar.

    Returns: (n_bars, n_assets). 0 stays 0, so a flat portfolio stays flat; NaN stays NaN and counts as 0. NaN before
        the window is full, and where an asset with a weight lacks one of the window's returns: fill gaps in prices
        first, ``m.close.ffill(5)``.
    Known at: row t uses rows <= t.
    Raises: InputError.
    """
    name = "target_volatility"
    weights, prices = members_only(name, w), prices_of(name, price)
    open_ = issubclass(type(volatility), Symbol)
    if not open_ and positive(name, "volatility", volatility) > _MOST_VOLATILE:
        raise InputError(
            f"`volatility <= {_MOST_VOLATILE:g}` must hold, but volatility={volatility:g}, in {told(name, w, price)}. "
            "It is a fraction a year: 0.15 for fifteen per cent."
        )
    year = math.sqrt(positive(name, "bars_per_year", bars_per_year))
    risk = apply("earning_std", weights, returns(prices), window=window_of_two(name, price, window)) * year
    gross = cross_sum(abs(weights))
    factor = minimum(
        positive(name, "volatility", volatility) / risk, positive(name, "max_leverage", max_leverage) / gross
    )
    scaled = where(gross == 0.0, weights, weights * factor)
    return held_between(told(name, w, price), scaled, every)


def cap(w: Feature, max_weight: Any, *, spread: bool = False) -> Feature:
    """Weights held within [-max_weight, max_weight].

    Args:
        w: (n_bars, n_assets) weights.
        max_weight: of an asset, above 0; a number, or a feature where `spread` is False: one below 0 counts as 0.
        spread: True: what is cut off goes to the other assets in proportion to their weights, until they are at the cap
            too, so that the sum of absolute weights stays if it can. False: it stays in cash.

    Returns: (n_bars, n_assets); NaN stays NaN, and is where `max_weight` is.
    Known at: row t uses row t. Raises: InputError.
    """
    weights = feature_of("cap", w)
    if not isinstance(spread, bool):
        raise InputError(f"`spread` must be True or False, but spread={shown(spread)}, in cap.")
    if not issubclass(type(max_weight), Feature):
        positive("cap", "max_weight", max_weight)
    if spread and issubclass(type(max_weight), Feature):
        raise InputError("With `spread=True` the cap must be one number, but max_weight is a feature, in cap.")
    if issubclass(type(max_weight), Feature):
        max_weight = maximum(max_weight, 0.0)  # bounds that cross would turn a weight's sign
    if not spread:
        return clip(weights, -max_weight, max_weight)
    return apply("spread_cap", weights, max_weight=max_weight)


def cap_groups(w: Feature, groups: Feature, max_group: Any) -> Feature:
    """Weights of which no group, such as a sector, holds more than `max_group`; larger ones shrink in proportion.

    Args:
        w: (n_bars, n_assets) weights.
        groups: (n_bars, n_assets) equal numbers are one group; NaN is none, and not capped.
        max_group: of a group's absolute weights, above 0; a number, or a feature: one below 0 counts as 0.

    Returns: (n_bars, n_assets); NaN stays NaN, and is where `max_group` is. What is cut off stays in cash.
    Known at: row t uses row t. Raises: InputError.
    """
    weights, codes = feature_of("cap_groups", w), codes_of("cap_groups", groups)
    if not issubclass(type(max_group), Feature):
        positive("cap_groups", "max_group", max_group)
    else:
        max_group = maximum(max_group, 0.0)
    total = fill(group_sum(abs(weights), codes), 0.0)
    return where(total <= max_group, weights, weights * (max_group / total))
