"""Deciding at a row: from target weights, or orders in shares, to what is pending for the fill."""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import (
    ACTED,
    AT_DECISION,
    BAR,
    CASH,
    DECIDED,
    DUST,
    ENTRY_PRICE,
    EQUITY,
    FRACTION,
    FRESH,
    HELD,
    HELPER,
    IN_SHARES,
    IS_CHANGE,
    KIND,
    MARK,
    N_DECISIONS,
    N_PENDING,
    N_UNPRICED,
    NOTHING,
    REPLACED,
    ROUNDED,
    SHARE_COUNT,
    TARGET,
    UNPRICED,
    WEIGHT,
    clear,
    record_unfilled,
    whole_lots,
)

__all__ = [
    "decide_row",
    "differs",
    "known_price",
    "known_value",
    "order_shares",
    "size_unpriced",
    "weigh",
    "weigh_shares",
]

# Rows of `asked`, what a bar of an event-driven strategy asks for: target weights, numbers of shares, what these mean.
ASKED_WEIGHTS, ASKED_SHARES, ASKED_KIND, N_ASKED_ROWS = range(4)
# What a number of shares means: it was not asked for, it is to be held, or the position is to change by it.
ASKED_NOTHING, ASKED_GOAL, ASKED_CHANGE = 0.0, 1.0, 2.0


@njit(**HELPER)
def differs(row, weights, assets, account):
    """Whether the row is another one than that last acted on; NaN equals NaN."""
    if account[N_DECISIONS] == 0:
        return True
    for j in range(assets.shape[1]):
        w, a = weights[row, j], assets[ACTED, j]
        if w != a and (w == w or a == a):
            return True
    return False


@njit(**HELPER)
def decide_row(row, weights, t, known, rules, assets, account, orders_out):
    """Turn a row of weights into pending targets at row `t`. A standing order of the same weight stays as it is.

    The same but for dust: a scaled weight is rounded, by the order in which the row's weights are added up.
    """
    first = account[N_DECISIONS] == 0
    scale = _scale_of_row(row, weights, rules, assets) if rules.scale else 1.0
    value = known_value(t, known, assets, account)
    for j in range(assets.shape[1]):
        raw = weights[row, j]
        fresh = first or not raw == assets[ACTED, j]
        assets[ACTED, j] = raw
        if raw != raw:
            continue
        w = raw * scale
        if assets[KIND, j] != NOTHING:
            if abs(assets[WEIGHT, j] - w) <= DUST * abs(w) and assets[IN_SHARES, j] == 0.0:
                continue
            record_unfilled(j, REPLACED, assets, account, orders_out)
            clear(j, assets, account)
        assets[WEIGHT, j] = w
        assets[DECIDED, j] = account[BAR]
        assets[FRESH, j] = fresh
        assets[IN_SHARES, j] = 0.0
        if w == 0.0 and assets[HELD, j] == 0.0:
            continue
        if rules.sizing != AT_DECISION:
            assets[TARGET, j] = w
            assets[KIND, j] = FRACTION
            account[N_PENDING] += 1
        elif w != 0.0 and not known_price(t, j, known, assets) > 0.0:
            assets[KIND, j] = UNPRICED
            account[N_UNPRICED] += 1
        else:
            _size(j, w, known_price(t, j, known, assets), value, rules, assets, account, orders_out)
    account[N_DECISIONS] += 1


@njit(**HELPER)
def _scale_of_row(row, weights, rules, assets):
    """What the row's stated weights are multiplied by, so that they and those kept by no opinion reach the limit."""
    stated, kept = 0.0, 0.0
    for j in range(assets.shape[1]):
        if weights[row, j] == weights[row, j]:
            stated += abs(weights[row, j])
        else:
            kept += counted_weight(j, assets)
    return _scale_of_sum(stated, kept, rules)


@njit(**HELPER)
def counted_weight(j, assets):
    """What an asset adds to the sum that the leverage rule is about: |w|; of positions asked for in shares, shorts.

    What is bought in shares is limited by cash, as it is for anybody, and cut; nothing but this limits a short.
    """
    w = assets[WEIGHT, j]
    if assets[IN_SHARES, j] != 0.0:
        return -w if w < 0.0 else 0.0
    return abs(w)


@njit(**HELPER)
def _scale_of_sum(stated, kept, rules):
    if stated == 0.0 or stated + kept <= rules.max_leverage:
        return 1.0
    return max(rules.max_leverage - kept, 0.0) / stated


@njit(**HELPER)
def known_price(t, j, known, assets):
    """The last close of an asset that was known at this row's decision; 0 or NaN if none was."""
    return known[t, j] if known.shape[0] > 0 else assets[MARK, j]


@njit(**HELPER)
def known_value(t, known, assets, account):
    """The account's value as it was known at this row's decision: its positions at the closes known then.

    A position without any known close counts at what it was bought for; a value below 0 is nothing to invest.
    """
    if known.shape[0] == 0:
        return account[EQUITY]
    value = account[CASH]
    for j in range(assets.shape[1]):
        if assets[HELD, j] != 0.0:
            price = known[t, j]
            value += assets[HELD, j] * (price if price == price else assets[ENTRY_PRICE, j])
    return max(value, 0.0)


@njit(**HELPER)
def weigh(t, known, assets, account, weights_out):
    """What each position is of the account's value, as known at row `t`'s decision; NaN where that value is 0."""
    value = known_value(t, known, assets, account)
    for j in range(assets.shape[1]):
        weights_out[j] = 0.0
        if assets[HELD, j] != 0.0:
            price = known_price(t, j, known, assets)
            worth = assets[HELD, j] * (price if price > 0.0 else assets[ENTRY_PRICE, j])
            weights_out[j] = worth / value if value != 0.0 else np.nan


@njit(**HELPER)
def _size(j, w, price, value, rules, assets, account, orders_out):
    """Shares for weight `w` of `value` at `price`, as known at the decision; pending unless nothing is to be done.

    Of nothing left, or a debt, any weight is nothing: a part of it would be a position on the other side.
    """
    goal = 0.0
    if w != 0.0 and value > 0.0:
        goal = whole_lots(w * value / price, rules.lot)
    held = assets[HELD, j]
    if goal == 0.0 and held == 0.0:
        assets[TARGET, j] = goal
        if assets[FRESH, j]:
            record_unfilled(j, ROUNDED, assets, account, orders_out)
    elif abs(goal - held) > DUST * max(abs(goal), abs(held)):
        assets[TARGET, j] = goal
        assets[KIND, j] = SHARE_COUNT
        account[N_PENDING] += 1


@njit(**HELPER)
def size_unpriced(t, known, rules, assets, account, orders_out):
    """Size the targets that waited for a first close and have one now."""
    value = known_value(t, known, assets, account)
    for j in range(assets.shape[1]):
        price = known_price(t, j, known, assets)
        if assets[KIND, j] == UNPRICED and price > 0.0:
            clear(j, assets, account)
            _size(j, assets[WEIGHT, j], price, value, rules, assets, account, orders_out)


@njit(**HELPER)
def order_shares(asked, t, known, rules, assets, account, orders_out):
    """Turn orders in shares into pending share counts at row `t`.

    A change counts from what a sized order that still waits for a price would lead to, else from what is held.
    """
    value = known_value(t, known, assets, account)
    scale = _scale_of_shares(asked, t, known, value, rules, assets) if rules.scale else 1.0
    for j in range(assets.shape[1]):
        if asked[ASKED_KIND, j] == ASKED_NOTHING:
            continue
        goal = _goal_of_shares(j, asked, rules, assets)
        if scale != 1.0 and goal < 0.0:
            goal = whole_lots(goal * scale, rules.lot)
        waits = assets[KIND, j] != NOTHING
        if waits and assets[KIND, j] == SHARE_COUNT and abs(assets[TARGET, j] - goal) <= DUST * abs(goal):
            continue
        if waits:
            record_unfilled(j, REPLACED, assets, account, orders_out)
            clear(j, assets, account)
        assets[WEIGHT, j] = _weight_of_shares(t, j, goal, known, value, assets)
        assets[DECIDED, j] = account[BAR]
        assets[FRESH, j] = 1.0
        assets[IN_SHARES, j] = 1.0
        assets[IS_CHANGE, j] = asked[ASKED_KIND, j] == ASKED_CHANGE
        held = assets[HELD, j]
        if abs(goal - held) > DUST * max(abs(goal), abs(held)):
            assets[TARGET, j] = goal
            assets[KIND, j] = SHARE_COUNT
            account[N_PENDING] += 1
        elif asked[ASKED_SHARES, j] != 0.0 and whole_lots(asked[ASKED_SHARES, j], rules.lot) == 0.0:
            record_unfilled(j, ROUNDED, assets, account, orders_out)


@njit(**HELPER)
def weigh_shares(t, known, assets, account):
    """Let the weight of each position that was asked for in shares be what it is at the known price.

    A stated weight stands until another is stated; shares state none, so what counts is what they are now.
    """
    value = known_value(t, known, assets, account)
    for j in range(assets.shape[1]):
        if assets[IN_SHARES, j] != 0.0:
            position = assets[TARGET, j] if assets[KIND, j] == SHARE_COUNT else assets[HELD, j]
            assets[WEIGHT, j] = _weight_of_shares(t, j, position, known, value, assets)


@njit(**HELPER)
def _goal_of_shares(j, asked, rules, assets):
    """The position that an order in shares leads to, in whole lots."""
    shares = whole_lots(asked[ASKED_SHARES, j], rules.lot)
    if asked[ASKED_KIND, j] == ASKED_GOAL:
        return shares
    base = assets[TARGET, j] if assets[KIND, j] == SHARE_COUNT else assets[HELD, j]
    goal = base + shares
    return goal if abs(goal) > DUST * max(abs(base), abs(shares)) else 0.0  # 0.3 - 0.1 - 0.2 is no position


@njit(**HELPER)
def _weight_of_shares(t, j, shares, known, value, assets):
    """The weight of a number of shares at the known price; 0 where there is no price or nothing to be a part of."""
    price = known_price(t, j, known, assets)
    return shares * price / value if shares != 0.0 and price > 0.0 and value > 0.0 else 0.0


@njit(**HELPER)
def _scale_of_shares(asked, t, known, value, rules, assets):
    """What shorts asked for in shares are multiplied by, so that they fit beside what is stated for others.

    Where they are no more than what stands they are let be: what others have become must not stop a purchase back.
    """
    stated, stood, kept = 0.0, 0.0, 0.0
    for j in range(assets.shape[1]):
        if asked[ASKED_KIND, j] == ASKED_NOTHING:
            kept += counted_weight(j, assets)
        else:
            goal = _goal_of_shares(j, asked, rules, assets)
            stated += max(-_weight_of_shares(t, j, goal, known, value, assets), 0.0)
            stood += counted_weight(j, assets)
    return _scale_of_sum(stated, kept, rules) if stated > stood * (1.0 + DUST) else 1.0
