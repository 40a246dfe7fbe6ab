"""When given weights are traded, and how far: calendars, bands, limits on turnover.

A rule about what is held follows the weights it last let through, moved by prices since. It cannot see the account,
whose fills, costs and lots come later, so its weights are off by those.
"""

from __future__ import annotations

from typing import Any

from knowable.errors import InputError
from knowable.features.apply import feature_of, rebalanced
from knowable.features.feature import Feature
from knowable.features.functions.moving import Every
from knowable.portfolio.asked import held_between, is_number, members, prices_of, told

__all__ = ["drift_band", "limit_turnover", "rebalance"]


def rebalance(w: Feature, every: Every) -> Feature:
    """The weights of the bars that end periods, held between: what `rebalance` of a strategy does, for a part of it.

    Args:
        w: (n_bars, n_assets) weights.
        every: see `resample`.

    Returns: (n_bars, n_assets); NaN before the first end.
    Known at: row t uses rows <= t.
    """
    return held_between(told("rebalance", w), feature_of("rebalance", w), every)


def drift_band(w: Feature, price: Feature, *, band: float, every: Every = None) -> Feature:
    """Each weight where what is held has drifted further than `band` from it, else NaN: keep the position.

    Set ``rebalance = "bar"`` in the strategy: the rule says itself when to trade.

    Args:
        w: (n_bars, n_assets) target weights.
        price: (n_bars, n_assets), such as ``m.close``: what moves the weights that are held. A gap counts when it ends.
        band: in [0, 1], a fraction of equity: 0.02 trades 10 % back when it has become less than 8 % or more than 12 %.
        every: look only at the ends of these periods. None: each bar.

    Returns: (n_bars, n_assets). A target of 0 is traded whatever the band while something is held; a NaN target stays
        NaN. Where the market has a universe, a non-member's is 0 on every bar.
    Known at: row t uses rows <= t.
    Raises: InputError.
    """
    name = "drift_band"
    weights, prices = feature_of(name, w), prices_of(name, price)
    if is_number(band) and band > 1.0:
        raise InputError(
            f"`band <= 1` must hold, but band={band:g}, in {told(name, w, price)}. It is a fraction of equity: "
            "0.02 for two per cent of it."
        )
    return rebalanced(name, weights, prices, members(weights), every=every, told=told(name, w, price), band=band)


def limit_turnover(w: Feature, price: Feature, *, turnover: Any, every: Every = None) -> Feature:
    """Weights on the way from what is held to `w`, as far as the turnover of one bar goes.

    Set ``rebalance = "bar"`` in the strategy: the rule says itself when to trade.

    Args:
        w: (n_bars, n_assets) target weights.
        price: (n_bars, n_assets), such as ``m.close``: what moves the weights that are held. A gap counts when it ends.
        turnover: most of the sum of absolute changes at a bar, bought and sold together, above 0. Where more is asked
            for, all changes shrink by the same factor, and the next bar goes on. So the first portfolio takes some too.
        What must be sold because it is no member any more is not counted.
        every: trade only at the ends of these periods. None: each bar.

    Returns: (n_bars, n_assets). NaN (keep) between the ends of periods and for a NaN target. Where the market has a
        universe, a non-member's is 0 on every bar.
    Known at: row t uses rows <= t.
    Raises: InputError.
    """
    name = "limit_turnover"
    weights, prices = feature_of(name, w), prices_of(name, price)
    called = told(name, w, price)
    return rebalanced(name, weights, prices, members(weights), every=every, told=called, turnover=turnover)
