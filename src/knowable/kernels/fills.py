"""Filling what is pending at a row: sells first, then buys with the cash there is."""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import (
    AS_BACKTESTING,
    AS_VECTORBT,
    AT_DECISION,
    CASH,
    CUT,
    DUST,
    EPSILON,
    FILLED,
    FRACTION,
    FRESH,
    HELD,
    HELPER,
    KIND,
    LIQUIDATION,
    MARGIN,
    NO_CASH,
    NOTHING,
    ROUNDED,
    SHARE_COUNT,
    TARGET,
    TOO_DEAR,
    UNPRICED,
    WANTED,
    WEIGHT,
    clear,
    record_unfilled,
    trade,
    value_at,
    whole_lots,
)

__all__ = ["fill_row"]


@njit(**HELPER)
def fill_row(t, price, rules, assets, account, orders_out):
    """Fill what is pending and has a price: sells first, then buys with the cash there is."""
    value = 0.0
    if rules.sizing != AT_DECISION:
        value = value_at(t, price, assets, account)
    if rules.sizing == AS_BACKTESTING:
        value = _close_opposite(t, price, rules, assets, account, orders_out)
    n_buys, n_dear = 0, 0
    for j in range(assets.shape[1]):
        assets[WANTED, j] = 0.0
        ref = price[t, j]
        if assets[KIND, j] == NOTHING or assets[KIND, j] == UNPRICED or ref != ref:
            continue
        goal = assets[TARGET, j] if assets[KIND, j] == SHARE_COUNT else _goal_at_fill(j, ref, value, rules, assets)
        held = assets[HELD, j]
        delta = goal - held
        if abs(delta) <= DUST * max(abs(goal), abs(held)):
            if goal == 0.0 and held == 0.0 and assets[WEIGHT, j] != 0.0 and assets[FRESH, j]:
                assets[TARGET, j] = goal
                record_unfilled(j, ROUNDED, assets, account, orders_out)
            clear(j, assets, account)
        elif delta > 0.0:
            assets[WANTED, j] = delta
            n_buys += 1
        elif account[LIQUIDATION] < 0 and _cost_of_sale(delta, ref, rules) > 0.0:
            assets[WANTED, j] = delta
            n_dear += 1
        else:
            trade(j, delta, delta, ref, FILLED, rules, assets, account, orders_out)
            clear(j, assets, account)
    if n_dear > 0:
        _sell_dear(t, price, rules, assets, account, orders_out)
    if n_buys > 0:
        if rules.sizing == AS_VECTORBT:
            _buy_smallest_first(t, price, value, rules, assets, account, orders_out)
        else:
            _buy_pro_rata(t, price, rules, assets, account, orders_out)


@njit(**HELPER)
def _cost_of_sale(delta, ref, rules):
    """How much more the fee of a sale is than what the sale brings; a minimum fee can be."""
    size, price = -delta, ref * (1.0 - (rules.spread_rate + rules.slippage_rate))
    return max(size * price * rules.fee_rate + size * rules.fee_per_share, rules.fee_min) - size * price


@njit(**HELPER)
def _sell_dear(t, price, rules, assets, account, orders_out):
    """The sales that take cash instead of bringing it: the cheapest first, each only if cash pays for it."""
    while True:
        best, least = -1, np.inf
        for j in range(assets.shape[1]):
            if assets[WANTED, j] < 0.0:
                cost = _cost_of_sale(assets[WANTED, j], price[t, j], rules)
                if cost < least:
                    best, least = j, cost
        if best < 0:
            return
        delta = assets[WANTED, best]
        if account[CASH] + _credit(t, price, rules, assets, account) >= least:
            trade(best, delta, delta, price[t, best], FILLED, rules, assets, account, orders_out)
        else:
            record_unfilled(best, TOO_DEAR, assets, account, orders_out)
        assets[WANTED, best] = 0.0
        clear(best, assets, account)


@njit(**HELPER)
def _credit(t, price, rules, assets, account):
    """How far below 0 cash may go."""
    if rules.max_leverage > 1.0:
        return (rules.max_leverage - 1.0) * max(value_at(t, price, assets, account), 0.0)
    return 0.0


@njit(**HELPER)
def _goal_at_fill(j, ref, value, rules, assets):
    """Shares for a pending weight at the fill; with nothing left, flat."""
    w = assets[TARGET, j]
    if w == 0.0 or value <= 0.0:
        return 0.0
    if rules.sizing == AS_BACKTESTING:
        if assets[HELD, j] == 0.0:
            side = 1.0 if w > 0.0 else -1.0
            unit = ref * (1.0 + side * rules.spread_rate) + ref * rules.fee_rate
            lots = value * min(abs(w), 1.0 - EPSILON) // (unit * rules.lot)
            return side * lots * rules.lot
        return whole_lots(w * value / ref, rules.lot)
    if rules.sizing == AS_VECTORBT and w <= -1.0:
        adjusted = ref * (1.0 - rules.spread_rate - rules.slippage_rate)
        after = value - max(assets[HELD, j], 0.0) * (ref - adjusted * (1.0 - rules.fee_rate))
        return w * after / (adjusted * (1.0 + rules.fee_rate))
    return whole_lots(w * value / ref, rules.lot)


@njit(**HELPER)
def _close_opposite(t, price, rules, assets, account, orders_out):
    """Close positions whose new target has another sign, before anything is sized; value left after that."""
    for j in range(assets.shape[1]):
        ref = price[t, j]
        if (
            assets[KIND, j] == FRACTION
            and ref == ref
            and assets[HELD, j] * assets[TARGET, j] <= 0.0
            and assets[HELD, j] != 0.0
        ):
            trade(j, -assets[HELD, j], -assets[HELD, j], ref, FILLED, rules, assets, account, orders_out)
    return value_at(t, price, assets, account)


@njit(**HELPER)
def _buy_pro_rata(t, price, rules, assets, account, orders_out):
    """Buy all that is wanted, or the same share of each that the cash allows."""
    credit = _credit(t, price, rules, assets, account)
    share = 1.0
    forced = account[LIQUIDATION] >= 0 or rules.sizing == AS_BACKTESTING
    if not forced and not _can_pay(t, price, credit, rules, assets, account):
        share = _affordable_share(t, price, account[CASH] + credit, rules, assets)
    for j in range(assets.shape[1]):
        wanted = assets[WANTED, j]
        if wanted <= 0.0:
            continue
        size = wanted * share
        if share < 1.0 and rules.lot > 0.0:
            size = np.floor(size / rules.lot) * rules.lot
        if size <= 0.0:
            record_unfilled(j, NO_CASH, assets, account, orders_out)
        else:
            reason = CUT if size < wanted * (1.0 - DUST) else FILLED
            trade(j, size, wanted, price[t, j], reason, rules, assets, account, orders_out)
        clear(j, assets, account)


@njit(**HELPER)
def _can_pay(t, price, credit, rules, assets, account):
    """Whether cash, in the very arithmetic of the trades, stays above what may be borrowed if all is bought.

    With lots a rounding error below it is let pass: it would cost a whole lot.
    """
    start, left = account[CASH], account[CASH]
    for j in range(assets.shape[1]):
        wanted = assets[WANTED, j]
        if wanted > 0.0:
            paid = price[t, j] * (1.0 + (rules.spread_rate + rules.slippage_rate))
            fee = max(wanted * paid * rules.fee_rate + wanted * rules.fee_per_share, rules.fee_min)
            left = left - wanted * paid - fee
    allowed = MARGIN * (start - left) if rules.lot > 0.0 else 0.0
    return left + credit + allowed >= 0.0


@njit(**HELPER)
def _affordable_share(t, price, cash, rules, assets):
    """Largest f in [0, 1) such that buying f of everything wanted takes no more than `cash`.

    The cost is convex in f and made of straight pieces (a minimum fee bends it), so Newton's steps from f = 1 come
    down to the root without passing it and end after a few.
    """
    share = 1.0
    for _ in range(64):
        slope, fixed = 0.0, 0.0
        for j in range(assets.shape[1]):
            wanted = assets[WANTED, j]
            if wanted > 0.0:
                paid = wanted * (price[t, j] * (1.0 + (rules.spread_rate + rules.slippage_rate)))
                fee = paid * rules.fee_rate + wanted * rules.fee_per_share
                slope += paid
                if fee * share >= rules.fee_min:
                    slope += fee
                else:
                    fixed += rules.fee_min
        lower = (cash - fixed) / slope
        if lower <= 0.0:
            return 0.0
        if lower >= share * (1.0 - 1e-15):
            break
        share = lower
    return share * (1.0 - MARGIN)


@njit(**HELPER)
def _buy_smallest_first(t, price, value, rules, assets, account, orders_out):
    """The order of vectorbt with `call_seq="auto"`: the smallest buy first, each trimmed to what cash is left."""
    while True:
        best, least = -1, np.inf
        for j in range(assets.shape[1]):
            if assets[WANTED, j] > 0.0:
                worth = assets[TARGET, j] * value - assets[HELD, j] * price[t, j]
                if worth < least:
                    best, least = j, worth
        if best < 0:
            return
        wanted, ref = assets[WANTED, best], price[t, best]
        most = account[CASH] / (1.0 + rules.fee_rate) / (ref * (1.0 + (rules.spread_rate + rules.slippage_rate)))
        size = wanted if wanted <= most else most * (1.0 - MARGIN)
        if rules.lot > 0.0:
            size = np.floor(size / rules.lot) * rules.lot
        if size <= 0.0:
            record_unfilled(best, NO_CASH, assets, account, orders_out)
        else:
            reason = CUT if size < wanted * (1.0 - DUST) else FILLED
            trade(best, size, wanted, ref, reason, rules, assets, account, orders_out)
        assets[WANTED, best] = 0.0
        clear(best, assets, account)
