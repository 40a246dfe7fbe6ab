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
    KIND,
    LIMITED,
    LIQUIDATION,
    MARGIN,
    MARK,
    NO_CASH,
    NO_PRICE,
    NOTHING,
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
    term,
    tradable,
    trade,
    value_at,
    whole_lots,
    worse_by,
)

__all__ = ["fill_row", "to_spend"]

SPENT = 100.0 * MARGIN  # share of the account below which cash is what cut buys have left of it


@njit(**HELPER)
def fill_row(t, feed, rules, assets, account, orders_out):
    """Fill what is pending and has a price: sells first, then buys with the cash there is."""
    value = 0.0
    if rules.sizing != AT_DECISION:
        value = value_at(t, feed.price, assets, account)
    if rules.sizing == AS_BACKTESTING:
        value = _close_opposite(t, feed, rules, assets, account, orders_out)
    n_buys, n_dear, n_waiting = 0, 0, 0
    for j in range(assets.shape[1]):
        assets[WANTED, j] = 0.0
        ref = feed.price[t, j]
        if assets[KIND, j] == NOTHING or assets[KIND, j] == UNPRICED or ref != ref:
            if rules.sizing == AS_VECTORBT and assets[KIND, j] != NOTHING and account[LIQUIDATION] < 0:
                record_unfilled(j, NO_PRICE, assets, account, orders_out)  # that engine keeps no order
                clear(j, assets, account)
            continue
        goal = (
            assets[TARGET, j]
            if assets[KIND, j] == SHARE_COUNT
            else _goal_at_fill(t, j, ref, value, feed, rules, assets)
        )
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
        size = tradable(t, j, abs(delta), feed, rules, assets, account)
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
        elif account[LIQUIDATION] < 0 and _cost_of_sale(t, j, delta, feed) > 0.0:
            assets[WANTED, j] = delta
            n_dear += 1
        else:
            _fill(t, j, delta, delta, feed, rules, assets, account, orders_out)
    if n_dear > 0:
        _sell_dear(t, feed, rules, assets, account, orders_out)
    if n_buys > 0:
        if rules.sizing == AS_VECTORBT:
            _buy_smallest_first(t, feed, value, rules, assets, account, orders_out)
        else:
            _buy_pro_rata(t, n_waiting > 0, feed, rules, assets, account, orders_out)


@njit(**HELPER)
def _fill(t, j, delta, wanted, feed, rules, assets, account, orders_out):
    """Trade what an order came to, of the size wanted on this bar; what its volume did not allow stays pending."""
    reason = CUT if abs(delta) < abs(wanted) * (1.0 - DUST) else FILLED
    if assets[CAPPED, j] and reason == FILLED:
        whole = assets[TARGET, j] - assets[HELD, j]
        trade(t, j, delta, whole, feed.price[t, j], LIMITED, feed, rules, assets, account, orders_out)
        return
    trade(t, j, delta, wanted, feed.price[t, j], reason, feed, rules, assets, account, orders_out)
    clear(j, assets, account)


@njit(**HELPER)
def _cost_of_sale(t, j, delta, feed):
    """How much more the fee of a sale is than what the sale brings; a minimum fee can be."""
    size = -delta
    price = feed.price[t, j] * (1.0 - min(worse_by(t, j, size, feed), 1.0))
    return fee_of(t, j, size, price, feed.terms) - size * price


@njit(**HELPER)
def _sell_dear(t, feed, rules, assets, account, orders_out):
    """The sales that take cash instead of bringing it: the cheapest first, each only if cash pays for it."""
    while True:
        best, least = -1, np.inf
        for j in range(assets.shape[1]):
            if assets[WANTED, j] < 0.0:
                cost = _cost_of_sale(t, j, assets[WANTED, j], feed)
                if cost < least:
                    best, least = j, cost
        if best < 0:
            return
        delta = assets[WANTED, best]
        if to_spend(t, feed.price, rules, assets, account) >= least:
            _fill(t, best, delta, delta, feed, rules, assets, account, orders_out)
        else:
            record_unfilled(best, TOO_DEAR, assets, account, orders_out)
            clear(best, assets, account)
        assets[WANTED, best] = 0.0


@njit(**HELPER)
def to_spend(t, price, rules, assets, account):
    """Cash, what stands in futures included, and what may be borrowed, at the prices of row `t`."""
    cash = account[CASH]
    if rules.futures:
        for j in range(assets.shape[1]):
            if assets[UNFUNDED, j] != 0.0 and assets[HELD, j] != 0.0:
                ref = price[t, j]
                cash += assets[HELD, j] * (ref if ref == ref else assets[MARK, j])
    return cash + _credit(t, price, rules, assets, account)


@njit(**HELPER)
def _credit(t, price, rules, assets, account):
    """How far below 0 cash may go."""
    if rules.max_leverage > 1.0:
        return (rules.max_leverage - 1.0) * max(value_at(t, price, assets, account), 0.0)
    return 0.0


@njit(**HELPER)
def _goal_at_fill(t, j, ref, value, feed, rules, assets):
    """Shares for a pending weight at the fill; with nothing left, flat."""
    w = assets[TARGET, j]
    if w == 0.0 or value <= 0.0:
        return 0.0
    if rules.sizing == AS_BACKTESTING:
        if assets[HELD, j] == 0.0:
            side = 1.0 if w > 0.0 else -1.0
            unit = ref * (1.0 + side * term(t, TERM_SPREAD, j, feed.terms)) + ref * term(t, TERM_FEE, j, feed.terms)
            lots = value * min(abs(w), 1.0 - EPSILON) // (unit * rules.lot)
            return side * lots * rules.lot
        return whole_lots(w * value / ref, rules.lot)
    if rules.sizing == AS_VECTORBT and w <= -1.0:
        rate = term(t, TERM_FEE, j, feed.terms)
        adjusted = ref * (1.0 - term(t, TERM_SPREAD, j, feed.terms) - term(t, TERM_SLIPPAGE, j, feed.terms))
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
def _close_opposite(t, feed, rules, assets, account, orders_out):
    """Close positions whose new target has another sign, before anything is sized; value left after that."""
    for j in range(assets.shape[1]):
        ref = feed.price[t, j]
        if (
            assets[KIND, j] == FRACTION
            and ref == ref
            and assets[HELD, j] * assets[TARGET, j] <= 0.0
            and assets[HELD, j] != 0.0
        ):
            trade(t, j, -assets[HELD, j], -assets[HELD, j], ref, FILLED, feed, rules, assets, account, orders_out)
    return value_at(t, feed.price, assets, account)


@njit(**HELPER)
def _buy_pro_rata(t, more_comes, feed, rules, assets, account, orders_out):
    """Buy all that is wanted, or the same share of each that the cash allows.

    Where `more_comes`, because a sale waits for volume, what cash does not allow waits for it; else it is dropped.
    """
    cash, share = to_spend(t, feed.price, rules, assets, account), 1.0
    forced = account[LIQUIDATION] >= 0 or rules.sizing == AS_BACKTESTING
    if not forced and not _can_pay(t, cash, feed, rules, assets):
        share = _affordable_share(t, cash, feed, assets)
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
                trade(t, j, size, whole, feed.price[t, j], CUT, feed, rules, assets, account, orders_out)
        elif size > 0.0:
            _fill(t, j, size, wanted, feed, rules, assets, account, orders_out)
        else:
            record_unfilled(j, NO_CASH, assets, account, orders_out)
            clear(j, assets, account)


@njit(**HELPER)
def _can_pay(t, cash, feed, rules, assets):
    """Whether `cash`, in the very arithmetic of the trades, is enough if all is bought.

    With lots a rounding error below it is let pass: it would cost a whole lot.
    """
    left = cash
    for j in range(assets.shape[1]):
        wanted = assets[WANTED, j]
        if wanted > 0.0:
            paid = feed.price[t, j] * (1.0 + worse_by(t, j, wanted, feed))
            fee = fee_of(t, j, wanted, paid, feed.terms)
            if assets[UNFUNDED, j] != 0.0:
                paid -= feed.price[t, j]
            left = left - wanted * paid - fee
    allowed = MARGIN * (cash - left) if rules.lot > 0.0 else 0.0
    return left + allowed >= 0.0


@njit(**HELPER)
def _affordable_share(t, cash, feed, assets):
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
                ref = feed.price[t, j]
                paid = wanted * (ref * (1.0 + worse_by(t, j, wanted * share, feed)))
                bend = 0.5 * (wanted * (ref * impact_of(t, j, wanted * share, feed)))  # more of slope than of cost
                rate = term(t, TERM_FEE, j, feed.terms)
                fee = paid * rate + wanted * term(t, TERM_FEE_PER_SHARE, j, feed.terms)
                least = term(t, TERM_FEE_MIN, j, feed.terms)
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
def _buy_smallest_first(t, feed, value, rules, assets, account, orders_out):
    """The order of vectorbt with `call_seq="auto"`: the smallest buy first, each trimmed to what cash is left."""
    while True:
        best, least = -1, np.inf
        for j in range(assets.shape[1]):
            if assets[WANTED, j] > 0.0:
                worth = assets[TARGET, j] * value - assets[HELD, j] * feed.price[t, j]
                if worth < least:
                    best, least = j, worth
        if best < 0:
            return
        wanted, ref = assets[WANTED, best], feed.price[t, best]
        rate = term(t, TERM_FEE, best, feed.terms)
        most = account[CASH] / (1.0 + rate) / (ref * (1.0 + worse_by(t, best, wanted, feed)))
        size = wanted if wanted <= most else _floored(most * (1.0 - MARGIN), rules.lot)
        if size > 0.0 and account[CASH] > SPENT * value:
            _fill(t, best, size, wanted, feed, rules, assets, account, orders_out)
        else:
            record_unfilled(best, NO_CASH, assets, account, orders_out)
            clear(best, assets, account)
        assets[WANTED, best] = 0.0
