"""Orders that guard a position and rest in the market between decisions: stop, target, trailing stop.

A bar tells its open, high, low and close, not its path. What is certain: the open comes first, so that a level it is
already past fills there. For the rest the rule says which of the high and the low came first.

Levels and the bar's prices are in an asset's own currency; what is paid and got is money, at the rate of the row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from knowable.kernels.account import (
    ABROAD_FILL,
    ACTED,
    ANCHOR,
    ARMED,
    AS_BACKTESTING,
    AS_VECTORBT,
    BAR,
    DECIDED,
    ENTRY_PRICE,
    GOAL,
    HELD,
    HELPER,
    KIND,
    LIQUIDATION,
    MARK,
    N_PENDING,
    NEXT_GOAL,
    NEXT_STOP,
    NEXT_TRAIL,
    NOTHING,
    REPLACED,
    SHARE_COUNT,
    SINCE,
    STOP,
    STOPPED,
    TARGET,
    TARGET_REACHED,
    TRAIL,
    TRAILED,
    WEIGHT,
    clear,
    rate_of,
    record_unfilled,
    take_quote,
    tradable,
    trade,
)

__all__ = ["Bars", "Guards", "arm_row", "exits_row", "level_reached"]

# How a bar went: whatever is worse for the position first; open, high, low, close; open, low, high, close.
STOP_FIRST, HIGH_FIRST, LOW_FIRST = 0, 1, 2
_NONE = 0.0


class Bars(NamedTuple):
    """The prices of each bar, (n_bars, n_assets); NaN where there are none."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray


class Guards(NamedTuple):
    """Fractions of the entry price as they stood at each row's decision, (n_bars, n_assets); NaN: none.

    One that is the same for all is (1, 1).
    """

    stop: np.ndarray
    target: np.ndarray
    trail: np.ndarray


@njit(**HELPER)
def arm_row(t, bar, held_before, feed, rules, assets):
    """Set the levels of positions that are new, have turned, or were entered again after their stop.

    What a stop could not sell for want of volume is on its way out and has no levels. If it is entered again they are
    set with the first fill, or where there is nothing left to fill.

    Args:
        t: the row.
        bar: its number since the run began.
        held_before: (1, n_assets) what was held before the fills at hand, where fills hang on volume.
        feed: as in `ledger_kernel`; the rest too.
        rules: see there.
        assets: see there.
    """
    for j in range(assets.shape[1]):
        held = assets[HELD, j]
        side = 1.0 if held > 0.0 else -1.0 if held < 0.0 else 0.0
        if side == assets[ARMED, j]:
            continue
        if feed.volume.shape[0] > 0 and assets[ARMED, j] == 0.0 and assets[KIND, j] != NOTHING:
            if held == held_before[0, j] or assets[WEIGHT, j] * side <= 0.0:
                continue
        assets[ARMED, j] = side
        assets[SINCE, j] = bar
        paid = assets[MARK if rules.sizing == AS_VECTORBT else ENTRY_PRICE, j]
        price = _in_quotes(t, j, paid, feed.price, feed.abroad)
        assets[ANCHOR, j] = price
        assets[STOP, j] = price * (1.0 - side * assets[NEXT_STOP, j])
        assets[GOAL, j] = price * (1.0 + side * assets[NEXT_GOAL, j])
        assets[TRAIL, j] = assets[NEXT_TRAIL, j]


@njit(**HELPER)
def _in_quotes(t, j, price, reference, abroad):
    """A price in money, in the asset's own currency. What was filled at the reference price is that to the bit, so that
    a level of ten per cent below 100 is 90 whatever the rate.
    """
    if abroad.shape[0] == 0:
        return price
    return abroad[t, ABROAD_FILL, j] if price == reference[t, j] else price / rate_of(t, j, abroad)


@njit(**HELPER)
def exits_row(t, bars, feed, rules, assets, account, orders_out):
    """Close the positions whose levels this bar reached."""
    if account[LIQUIDATION] >= 0:
        return
    for j in range(assets.shape[1]):
        side = assets[ARMED, j]
        if side == 0.0 or bars.open[t, j] != bars.open[t, j]:
            continue
        if not rules.entry_bar and assets[SINCE, j] == account[BAR]:
            continue
        price, reason, anchor = level_reached(
            side,
            bars.open[t, j],
            bars.high[t, j],
            bars.low[t, j],
            bars.close[t, j],
            assets[STOP, j],
            assets[GOAL, j],
            assets[TRAIL, j],
            assets[ANCHOR, j],
            rules.intrabar,
            rules.sizing == AS_BACKTESTING,
        )
        assets[ANCHOR, j] = anchor
        if reason != _NONE:
            take_quote(t, j, feed.price, feed.volume, feed.terms, assets)
            _close(j, price * rate_of(t, j, feed.abroad), reason, rules, assets, account, orders_out)


@njit(**HELPER)
def _close(j, price, reason, rules, assets, account, orders_out):
    """Close a position at its level, as far as the bar's volume goes.

    Of a stop the rest is sold at the next fills, as a stop that was hit is an order at any price; of a target it stays
    guarded. What its own entry still waited for is dropped; other orders pending were decided since, and stand.
    """
    since, held = assets[SINCE, j], assets[HELD, j]
    if assets[KIND, j] != NOTHING and assets[DECIDED, j] + rules.delay <= since:
        record_unfilled(j, REPLACED, assets, account, orders_out)
        clear(j, assets, account)
    size = tradable(j, abs(held), rules, assets, account)
    whole = size == abs(held)
    if whole or reason != TARGET_REACHED:
        assets[ARMED, j] = 0.0
        assets[SINCE, j] = account[BAR]
        if assets[KIND, j] == NOTHING:
            assets[WEIGHT, j] = 0.0
            assets[ACTED, j] = np.nan
    decided = assets[DECIDED, j]
    assets[DECIDED, j] = since
    if size > 0.0:
        delta = -size if held > 0.0 else size
        trade(j, delta, -held, price, reason, rules, assets, account, orders_out)
    if not whole and reason != TARGET_REACHED and assets[KIND, j] == NOTHING:
        assets[KIND, j] = SHARE_COUNT
        assets[TARGET, j] = 0.0
        account[N_PENDING] += 1
        return
    assets[DECIDED, j] = decided


@njit(**HELPER)
def level_reached(side, open_, high, low, close, stop, goal, trail, anchor, intrabar, stop_before_gap):
    """Where a bar closes a position, why, and its best price after the bar, for what a target leaves of it.

    Args:
        side: 1: long; -1: short, which is a long one in prices below 0.
        open_: the bar's prices; a high or low that is missing is the open.
        high: see there.
        low: see there.
        close: see there.
        stop: level; NaN: none.
        goal: level; NaN: none.
        trail: fraction of the anchor; NaN: none.
        anchor: best price before the bar.
        intrabar: STOP_FIRST ... LOW_FIRST.
        stop_before_gap: backtesting.py tests the stop before it looks whether the open is already past the target.
    """
    first, last = side * open_, side * close
    top, bottom = (side * high, side * low) if side > 0.0 else (side * low, side * high)
    top, bottom = max(first, top), min(first, bottom)
    goal = side * goal if goal == goal else np.inf
    floor, reason = (side * stop, STOPPED) if stop == stop else (-np.inf, STOPPED)
    best = side * anchor
    floor, reason = _raised(best, side, trail, floor, reason)
    if first <= floor:
        return side * first, reason, anchor
    if stop_before_gap and bottom <= floor:
        return side * floor, reason, anchor
    if first >= goal:
        return side * first, TARGET_REACHED, side * max(best, top)
    if intrabar == (HIGH_FIRST if side > 0.0 else LOW_FIRST):  # the best price comes first
        if top >= goal:
            return side * goal, TARGET_REACHED, side * max(best, top)
        best = max(best, top)
        floor, reason = _raised(best, side, trail, floor, reason)
        if bottom <= floor:
            return side * floor, reason, side * best
        return np.nan, _NONE, side * best
    if bottom <= floor:
        return side * floor, reason, anchor
    if top >= goal:
        return side * goal, TARGET_REACHED, side * max(best, top)
    best = max(best, top)
    if intrabar != STOP_FIRST:  # after the best price the bar goes on to its close
        floor, reason = _raised(best, side, trail, floor, reason)
        if last <= floor:
            return side * floor, reason, side * best
    return np.nan, _NONE, side * best


@njit(**HELPER)
def _raised(best, side, trail, floor, reason):
    """The higher of the stop and the trailing stop, for prices of a long position."""
    level = best * (1.0 - side * trail)
    return (level, TRAILED) if level > floor else (floor, reason)
