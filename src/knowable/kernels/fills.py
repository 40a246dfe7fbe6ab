"""Filling what is pending at a row: sells first, then buys with the cash there is."""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import (
    AS_BACKTESTING,
    AS_VECTORBT,
    AT_DECISION,
    CAPPED,
    CASH,
    CUT,
    DUST,
    EPSILON,
    FILLED,
    FRACTION,
    FRESH,
    HELD,
    HELPER,
    INLINE,
    KIND,
    LIMITED,
    LIQUIDATION,
    MARGIN,
    MARK,
    NO_CASH,
    NO_PRICE,
    NOTHING,
    PRICE,
    QUOTED,
    ROUNDED,
    SHARE_COUNT,
    TARGET,
    TERM_FEE,
    TERM_FEE_MIN,
    TERM_FEE_PER_SHARE,
    TERM_SLIPPAGE,
    TERM_SPREAD,
    TOO_DEAR,
    UNFUNDED,
    UNPRICED,
    WANTED,
    WEIGHT,
    clear,
    fee_of,
    impact_of,
    record_unfilled,
    take_quote,
    tradable,
    trade,
    value_at,
    whole_lots,
    worse_by,
)

__all__ = ["fill_row", "to_spend"]

SPENT = 100.0 * MARGIN  # share of the account below which cash is what cut buys have left of it


@njit(**INLINE)
def fill_row(t, feed, rules, assets, account, orders_out):
    """Fill what is pending and has a price: sells first, then buys with the cash there is."""
    _fill_pending(t, feed.price, feed.volume, feed.terms, rules, assets, account, orders_out)


@njit(**INLINE)
def _fill_pending(t, price, volume, terms, rules, assets, account, orders_out):
    """See above."""
    for j in range(assets.shape[1]):
        assets[PRICE, j] = price[t, j]
    value = 0.0
    if rules.sizing != AT_DECISION:
        value = value_at(assets, account)
    if rules.sizing == AS_BACKTESTING:
        value = _close_opposite(t, price, volume, terms, rules, assets, account, orders_out)
    n_buys, n_dear, n_waiting = 0, 0, 0
    for j in range(assets.shape[1]):
        assets[WANTED, j] = 0.0
        ref = assets[PRICE, j]
        if assets[KIND, j] == NOTHING or assets[KIND, j] == UNPRICED or ref != ref:
            if rules.sizing == AS_VECTORBT and assets[KIND, j] != NOTHING and account[LIQUIDATION] < 0:
                record_unfilled(j, NO_PRICE, assets, account, orders_out)  # that engine keeps no order
                clear(j, assets, account)
            continue
        take_quote(t, j, price, volume, terms, assets)
        goal = assets[TARGET, j] if assets[KIND, j] == SHARE_COUNT else _goal_at_fill(j, ref, value, rules, assets)
        held = assets[HELD, j]
        delta = goal - held
        if rules.sizing == AS_VECTORBT and account[LIQUIDATION] < 0:
            delta = _floored(delta, rules.lot)  # that engine rounds the order, not the position
        if abs(delta) <= DUST * max(abs(goal), abs(held)):
            if goal == 0.0 and held == 0.0 and assets[WEIGHT, j] != 0.0 and assets[FRESH, j]:
                assets[TARGET, j] = goal
                record_unfilled(j, ROUNDED, assets, account, orders_out)
            clear(j, assets, account)
            continue
        size = tradable(j, abs(delta), rules, assets, account)
        assets[CAPPED, j] = size < abs(delta)
        if assets[CAPPED, j]:
            n_waiting += delta < 0.0
            if size <= 0.0:
                continue  # nothing trades on this bar: it waits
            assets[TARGET, j] = goal
            assets[KIND, j] = SHARE_COUNT
            delta = size if delta > 0.0 else -size
        if delta > 0.0:
            assets[WANTED, j] = delta
            n_buys += 1
        elif account[LIQUIDATION] < 0 and _cost_of_sale(j, delta, assets) > 0.0:
            assets[WANTED, j] = delta
            n_dear += 1
        else:
            _fill(j, delta, delta, rules, assets, account, orders_out)
    if n_dear > 0:
        _sell_dear(rules, assets, account, orders_out)
    if n_buys > 0:
        if rules.sizing == AS_VECTORBT:
            _buy_smallest_first(value, rules, assets, account, orders_out)
        else:
            _buy_pro_rata(n_waiting > 0, rules, assets, account, orders_out)


@njit(**INLINE)
def _fill(j, delta, wanted, rules, assets, account, orders_out):
    """Trade what an order came to, of the size wanted on this bar; what its volume did not allow stays pending."""
    reason = CUT if abs(delta) < abs(wanted) * (1.0 - DUST) else FILLED
    if assets[CAPPED, j] and reason == FILLED:
        whole = assets[TARGET, j] - assets[HELD, j]
        trade(j, delta, whole, assets[PRICE, j], LIMITED, rules, assets, account, orders_out)
        return
    trade(j, delta, wanted, assets[PRICE, j], reason, rules, assets, account, orders_out)
    clear(j, assets, account)


@njit(**HELPER)
def _cost_of_sale(j, delta, assets):
    """How much more the fee of a sale is than what the sale brings; a minimum fee can be."""
    size = -delta
    price = assets[PRICE, j] * (1.0 - min(worse_by(j, size, assets), 1.0))
    return fee_of(j, size, price, assets) - size * price


@njit(**HELPER)
def _sell_dear(rules, assets, account, orders_out):
    """The sales that take cash instead of bringing it: the cheapest first, each only if cash pays for it."""
    while True:
        best, least = -1, np.inf
        for j in range(assets.shape[1]):
            if assets[WANTED, j] < 0.0:
                cost = _cost_of_sale(j, assets[WANTED, j], assets)
                if cost < least:
                    best, least = j, cost
        if best < 0:
            return
        delta = assets[WANTED, best]
        if to_spend(rules, assets, account) >= least:
            _fill(best, delta, delta, rules, assets, account, orders_out)
        else:
            record_unfilled(best, TOO_DEAR, assets, account, orders_out)
            clear(best, assets, account)
        assets[WANTED, best] = 0.0


@njit(**HELPER)
def to_spend(rules, assets, account):
    """Cash, what stands in futures included, and what may be borrowed, at the quoted prices."""
    cash = account[CASH]
    if rules.futures:
        for j in range(assets.shape[1]):
            if assets[UNFUNDED, j] != 0.0 and assets[HELD, j] != 0.0:
                ref = assets[PRICE, j]
                cash += assets[HELD, j] * (ref if ref == ref else assets[MARK, j])
    return cash + _credit(rules, assets, account)


@njit(**HELPER)
def _credit(rules, assets, account):
    """How far below 0 cash may go."""
    if rules.max_leverage > 1.0:
        return (rules.max_leverage - 1.0) * max(value_at(assets, account), 0.0)
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
            unit = ref * (1.0 + side * assets[QUOTED + TERM_SPREAD, j]) + ref * assets[QUOTED + TERM_FEE, j]
            lots = value * min(abs(w), 1.0 - EPSILON) // (unit * rules.lot)
            return side * lots * rules.lot
        return whole_lots(w * value / ref, rules.lot)
    if rules.sizing == AS_VECTORBT and w <= -1.0:
        rate = assets[QUOTED + TERM_FEE, j]
        adjusted = ref * (1.0 - assets[QUOTED + TERM_SPREAD, j] - assets[QUOTED + TERM_SLIPPAGE, j])
        after = value - max(assets[HELD, j], 0.0) * (ref - adjusted * (1.0 - rate))
        return w * after / (adjusted * (1.0 + rate))
    return whole_lots(w * value / ref, rules.lot if rules.sizing != AS_VECTORBT else 0.0)


@njit(**HELPER)
def _floored(shares, lot):
    """Whole lots as vectorbt counts them: no rounding error is forgiven, 0.6 // 0.1 is 5."""
    if lot == 0.0:
        return shares
    return shares // lot * lot if shares > 0.0 else -(-shares // lot * lot)


@njit(**HELPER)
def _close_opposite(t, price, volume, terms, rules, assets, account, orders_out):
    """Close positions whose new target has another sign, before anything is sized; value left after that."""
    for j in range(assets.shape[1]):
        ref = assets[PRICE, j]
        if (
            assets[KIND, j] == FRACTION
            and ref == ref
            and assets[HELD, j] * assets[TARGET, j] <= 0.0
            and assets[HELD, j] != 0.0
        ):
            take_quote(t, j, price, volume, terms, assets)
            trade(j, -assets[HELD, j], -assets[HELD, j], ref, FILLED, rules, assets, account, orders_out)
    return value_at(assets, account)


@njit(**INLINE)
def _buy_pro_rata(more_comes, rules, assets, account, orders_out):
    """Buy all that is wanted, or the same share of each that the cash allows.

    Where `more_comes`, because a sale waits for volume, what cash does not allow waits for it; else it is dropped.
    """
    cash, share = to_spend(rules, assets, account), 1.0
    forced = account[LIQUIDATION] >= 0 or rules.sizing == AS_BACKTESTING
    if not forced and not _can_pay(cash, rules, assets):
        share = _affordable_share(cash, assets)
    for j in range(assets.shape[1]):
        wanted = assets[WANTED, j]
        if wanted <= 0.0:
            continue
        size = wanted * share
        if share < 1.0 and rules.lot > 0.0:
            size = np.floor(size / rules.lot) * rules.lot
        if more_comes and size < wanted * (1.0 - DUST):
            if not assets[CAPPED, j]:
                assets[TARGET, j] = assets[HELD, j] + wanted
                assets[KIND, j] = SHARE_COUNT
            if size > 0.0:
                whole = assets[TARGET, j] - assets[HELD, j]
                trade(j, size, whole, assets[PRICE, j], CUT, rules, assets, account, orders_out)
        elif size > 0.0:
            _fill(j, size, wanted, rules, assets, account, orders_out)
        else:
            record_unfilled(j, NO_CASH, assets, account, orders_out)
            clear(j, assets, account)


@njit(**HELPER)
def _can_pay(cash, rules, assets):
    """Whether `cash`, in the very arithmetic of the trades, is enough if all is bought.

    With lots a rounding error below it is let pass: it would cost a whole lot.
    """
    left = cash
    for j in range(assets.shape[1]):
        wanted = assets[WANTED, j]
        if wanted > 0.0:
            paid = assets[PRICE, j] * (1.0 + worse_by(j, wanted, assets))
            fee = fee_of(j, wanted, paid, assets)
            if assets[UNFUNDED, j] != 0.0:
                paid -= assets[PRICE, j]
            left = left - wanted * paid - fee
    allowed = MARGIN * (cash - left) if rules.lot > 0.0 else 0.0
    return left + allowed >= 0.0


@njit(**HELPER)
def _affordable_share(cash, assets):
    """Largest f in [0, 1) such that buying f of everything wanted takes no more than `cash`.

    The cost is convex in f (straight but for impact, which bends it, and minimum fees, which break it), so Newton's
    steps from f = 1 come down to the root without passing it and end after a few.
    """
    share = 1.0
    for _ in range(64):
        slope, fixed = 0.0, 0.0
        for j in range(assets.shape[1]):
            wanted = assets[WANTED, j]
            if wanted > 0.0:
                ref = assets[PRICE, j]
                paid = wanted * (ref * (1.0 + worse_by(j, wanted * share, assets)))
                bend = 0.5 * (wanted * (ref * impact_of(j, wanted * share, assets)))  # more of slope than of cost
                rate = assets[QUOTED + TERM_FEE, j]
                fee = paid * rate + wanted * assets[QUOTED + TERM_FEE_PER_SHARE, j]
                least = assets[QUOTED + TERM_FEE_MIN, j]
                slope += paid + bend if assets[UNFUNDED, j] == 0.0 else paid - wanted * ref + bend
                fixed -= bend * share
                if fee * share >= least:
                    slope += fee + bend * rate
                    fixed -= bend * rate * share
                else:
                    fixed += least
        if slope <= 0.0:
            return share if fixed <= max(cash, 0.0) else 0.0  # only futures: nothing is to be paid but least fees
        lower = (cash - fixed) / slope
        if lower <= 0.0:
            return 0.0
        if lower >= share * (1.0 - 1e-15):
            break
        share = lower
    return share * (1.0 - MARGIN) if share > DUST else 0.0  # what a cut has left over buys nothing


@njit(**HELPER)
def _buy_smallest_first(value, rules, assets, account, orders_out):
    """The order of vectorbt with `call_seq="auto"`: the smallest buy first, each trimmed to what cash is left."""
    while True:
        best, least = -1, np.inf
        for j in range(assets.shape[1]):
            if assets[WANTED, j] > 0.0:
                worth = assets[TARGET, j] * value - assets[HELD, j] * assets[PRICE, j]
                if worth < least:
                    best, least = j, worth
        if best < 0:
            return
        wanted, ref = assets[WANTED, best], assets[PRICE, best]
        rate = assets[QUOTED + TERM_FEE, best]
        most = account[CASH] / (1.0 + rate) / (ref * (1.0 + worse_by(best, wanted, assets)))
        size = wanted if wanted <= most else _floored(most * (1.0 - MARGIN), rules.lot)
        if size > 0.0 and account[CASH] > SPENT * value:
            _fill(best, size, wanted, rules, assets, account, orders_out)
        else:
            record_unfilled(best, NO_CASH, assets, account, orders_out)
            clear(best, assets, account)
        assets[WANTED, best] = 0.0
