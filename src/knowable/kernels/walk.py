"""A bar's way through the book: what rests in the market is filled where the bar meets it.

A bar tells four prices. The open comes first. From there each asset goes to its first extreme, its second, its close;
all assets go at the same pace, so that of two levels the one that lies on an earlier part of its leg is met first.

Levels and the bar's prices are in an asset's own currency, so that one meets the other as both are quoted. What is
traded there is money: the price times the row's rate, which is 1 where all is in the account's currency.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import (
    ABROAD_CLOSE,
    ACTED,
    AT_OPEN,
    B_ANCHOR,
    B_ASSET,
    B_DAY,
    B_DONE,
    B_INSIDE,
    B_LIMIT,
    B_NUMBER,
    B_PARENT,
    B_PLACED,
    B_ROLE,
    B_SHARES,
    B_SINCE,
    B_STATE,
    B_STOP,
    B_TRAIL,
    BAR,
    BAR_HIGH,
    BAR_LAST,
    BAR_LOW,
    BAR_OPEN,
    CUT,
    DECIDED,
    DUST,
    ENTRY,
    EXPIRED,
    HELD,
    HELPER,
    IN_SHARES,
    IS_CHANGE,
    KIND,
    LIMIT_ORDER,
    LIMITED,
    LOW_NEXT,
    MARGIN,
    N_BOOK,
    NO_CASH,
    NO_LEVERAGE,
    NOTHING,
    NOW,
    PAIRED,
    PRICE,
    RATE,
    ROUNDED,
    SHARE_COUNT,
    STOP_ORDER,
    STOPPED,
    TARGET,
    TARGET_REACHED,
    TOO_DEAR,
    TRAILED,
    UNFUNDED,
    WEIGHT,
    fee_of,
    rate_of,
    take_quote,
    tradable,
    trade_at,
    value_at,
    whole_lots,
    worse_by,
)
from knowable.kernels.book import (
    DORMANT,
    GOAL_CHILD,
    NO_ROLE,
    OUT,
    RESTING,
    STOP_CHILD,
    TRIGGERED,
    compact,
    leave_book,
)
from knowable.kernels.decision import counted_weight
from knowable.kernels.exits import LOW_FIRST, STOP_FIRST
from knowable.kernels.fills import to_spend

__all__ = ["is_touched", "walk_row"]


@njit(**HELPER)
def is_touched(t, feed, rules, assets, account, book):
    """Whether row `t` may do something to an order of the book. If not, trailing stops have followed it."""
    n = int(account[N_BOOK])
    if n == 0:
        return False
    if feed.new_day[t]:
        for i in range(n):
            if book[i, B_DAY] != 0.0:
                return True
    for i in range(n):
        _take_bar(t, int(book[i, B_ASSET]), feed, assets)
    for i in range(n):
        if _may_be_met(i, rules, assets, book):
            return True
    for i in range(n):
        if book[i, B_TRAIL] == book[i, B_TRAIL]:
            _follow(i, assets, book)
    return False


@njit(**HELPER)
def _may_be_met(i, rules, assets, book):
    """Whether the bar reaches an order's level anywhere, or the order has lost its use."""
    state, j, shares = book[i, B_STATE], int(book[i, B_ASSET]), book[i, B_SHARES]
    if (state != RESTING and state != TRIGGERED) or assets[BAR_OPEN, j] != assets[BAR_OPEN, j]:
        return False
    if shares == 0.0 or (book[i, B_ROLE] != NO_ROLE and shares * assets[HELD, j] >= 0.0):
        return True
    high, low = assets[BAR_HIGH, j], assets[BAR_LOW, j]
    if book[i, B_TRAIL] == book[i, B_TRAIL]:
        anchor = book[i, B_ANCHOR]
        if anchor != anchor:
            return True
        if shares > 0.0:
            best = anchor if rules.intrabar == STOP_FIRST else min(anchor, low)
            return high >= best * (1.0 + book[i, B_TRAIL])
        best = anchor if rules.intrabar == STOP_FIRST else max(anchor, high)
        return low <= best * (1.0 - book[i, B_TRAIL])
    if state == RESTING and book[i, B_STOP] == book[i, B_STOP]:
        return high >= book[i, B_STOP] if shares > 0.0 else low <= book[i, B_STOP]
    if book[i, B_LIMIT] == book[i, B_LIMIT]:
        return low <= book[i, B_LIMIT] if shares > 0.0 else high >= book[i, B_LIMIT]
    return True


@njit(**HELPER)
def _take_bar(t, j, feed, assets):
    """Open, high, low and close of a bar that has an open; what is missing is the open, and no extreme lies within."""
    first = feed.open[t, j]
    last = feed.abroad[t, ABROAD_CLOSE, j] if feed.abroad.shape[0] > 0 else feed.close[t, j]
    if last != last:
        last = first
    high, low = max(first, last), min(first, last)
    if feed.high[t, j] > high:
        high = feed.high[t, j]
    if feed.low[t, j] < low:
        low = feed.low[t, j]
    assets[BAR_OPEN, j], assets[BAR_HIGH, j], assets[BAR_LOW, j], assets[BAR_LAST, j] = first, high, low, last


@njit(**HELPER)
def _follow(i, assets, book):
    """Let the anchor of a trailing stop follow a whole bar."""
    j = int(book[i, B_ASSET])
    if assets[BAR_OPEN, j] == assets[BAR_OPEN, j]:
        _raise(i, assets[BAR_LOW, j] if book[i, B_SHARES] > 0.0 else assets[BAR_HIGH, j], book)


@njit(**HELPER)
def _raise(i, price, book):
    anchor = book[i, B_ANCHOR]
    if anchor != anchor or (price < anchor if book[i, B_SHARES] > 0.0 else price > anchor):
        book[i, B_ANCHOR] = price


@njit(**HELPER)
def walk_row(t, feed, rules, assets, account, book, orders_out):
    """Take row `t` through the book, if there is one and the row may do anything to it."""
    if book is None:
        return
    if is_touched(t, feed, rules, assets, account, book):
        walk_kernel(t, feed, rules, assets, account, book, orders_out)


@njit(**ENTRY)
def walk_kernel(t, feed, rules, assets, account, book, orders_out):
    """Take row `t` through the book.

    Args:
        t: the row.
        feed: and the rest as in `ledger_kernel`, the state by its parts.
        rules: see there.
        assets: see there.
        account: see there.
        book: see there.
        orders_out: with room for the book's records.
    """
    for j in range(assets.shape[1]):
        take_quote(t, j, feed.open, feed.volume, feed.terms, assets)
        assets[RATE, j] = rate_of(t, j, feed.abroad)
        assets[PRICE, j] *= assets[RATE, j]
        _take_bar(t, j, feed, assets)
    _drop(feed.new_day[t], assets, account, book, orders_out)
    _at_open(rules, assets, account, book, orders_out)
    for j in range(assets.shape[1]):
        first, last = assets[BAR_OPEN, j], assets[BAR_LAST, j]
        assets[NOW, j] = first
        held = assets[HELD, j]
        if rules.intrabar == STOP_FIRST:
            low_next = held > 0.0 or (held == 0.0 and last >= first)
        else:
            low_next = rules.intrabar == LOW_FIRST
        assets[LOW_NEXT, j] = low_next
    for leg in range(3):
        _walk_leg(leg, rules, assets, account, book, orders_out)
    for i in range(int(account[N_BOOK])):
        if book[i, B_TRAIL] == book[i, B_TRAIL]:
            _follow(i, assets, book)
    compact(account, book)


@njit(**HELPER)
def _drop(new_day, assets, account, book, orders_out):
    """Orders whose session is over, whose lots a split has left none of, or whose position is gone."""
    for i in range(int(account[N_BOOK])):
        j, state = int(book[i, B_ASSET]), book[i, B_STATE]
        if new_day and book[i, B_DAY] != 0.0 and book[i, B_PLACED] < account[BAR] - 1.0:
            leave_book(i, EXPIRED, account, book, orders_out)
        elif (state != RESTING and state != TRIGGERED) or assets[BAR_OPEN, j] != assets[BAR_OPEN, j]:
            continue
        elif book[i, B_SHARES] == 0.0:
            leave_book(i, ROUNDED, account, book, orders_out)
        elif book[i, B_ROLE] != NO_ROLE and book[i, B_SHARES] * assets[HELD, j] >= 0.0:
            _leave_bracket(i, account, book, orders_out)
        elif book[i, B_TRAIL] == book[i, B_TRAIL] and book[i, B_ANCHOR] != book[i, B_ANCHOR]:
            book[i, B_ANCHOR] = assets[BAR_OPEN, j]


@njit(**HELPER)
def _leave_bracket(i, account, book, orders_out):
    """One cancels the other: take out a child, its sibling, and what their parent has not filled."""
    parent = book[i, B_PARENT]
    for k in range(int(account[N_BOOK])):
        if k == i or book[k, B_NUMBER] == parent or book[k, B_PARENT] == parent:
            leave_book(k, PAIRED, account, book, orders_out)


@njit(**HELPER)
def _at_open(rules, assets, account, book, orders_out):
    """What is met at the open: sells, then buys, each by number. Children of what fills here come after it."""
    for buys in range(2):
        for i in range(int(account[N_BOOK])):
            j = int(book[i, B_ASSET])
            first = assets[BAR_OPEN, j]
            if first != first or (book[i, B_SHARES] > 0.0) != (buys == 1):
                continue
            if book[i, B_ROLE] != NO_ROLE and book[i, B_SINCE] == account[BAR]:
                continue
            if rules.intrabar != STOP_FIRST and book[i, B_TRAIL] == book[i, B_TRAIL]:
                _raise(i, first, book)
            for _ in range(2):  # a stop-limit is met twice
                if _is_live(i, rules, account, book) and _met(i, first, first, book) == first:
                    _strike(i, first, 0.0, rules, assets, account, book, orders_out)


@njit(**HELPER)
def _is_live(i, rules, account, book):
    """Whether an order may be filled on this bar still."""
    state = book[i, B_STATE]
    if (state != RESTING and state != TRIGGERED) or book[i, B_DONE] == account[BAR]:
        return False
    return rules.entry_bar or book[i, B_ROLE] == NO_ROLE or book[i, B_SINCE] != account[BAR]


@njit(**HELPER)
def _met(i, at, to, book):
    """The price at which an order is met on the way from one price to another, both included; NaN: it is not."""
    buys = book[i, B_SHARES] > 0.0
    level = np.nan
    if book[i, B_STATE] == RESTING:
        level = book[i, B_STOP]
        if book[i, B_TRAIL] == book[i, B_TRAIL]:
            level = book[i, B_ANCHOR] * (1.0 + book[i, B_TRAIL] if buys else 1.0 - book[i, B_TRAIL])
    if level == level:
        if at >= level if buys else at <= level:
            return at
        return level if (to >= level if buys else to <= level) else np.nan
    level = book[i, B_LIMIT]
    if level != level or (at <= level if buys else at >= level):
        return at
    return level if (to <= level if buys else to >= level) else np.nan


@njit(**HELPER)
def _walk_leg(leg, rules, assets, account, book, orders_out):
    """Fill what is met on one leg of the bar, in the order in which it is met; of equals sells, then by number."""
    while True:
        best, soonest, price, stands = -1, np.inf, 0.0, False
        for i in range(int(account[N_BOOK])):
            j = int(book[i, B_ASSET])
            if assets[BAR_OPEN, j] != assets[BAR_OPEN, j] or not _is_live(i, rules, account, book):
                continue
            at, begin, end = assets[NOW, j], _point(leg, j, assets), _point(leg + 1, j, assets)
            level, here = _met_after_entry(i, at, rules, assets, account, book), True
            if level != level:
                level, here = _met(i, at, end, book), False
            if level != level:
                continue
            part = abs((at if here else level) - begin) / abs(end - begin) if end != begin else 0.0
            if part < soonest or (part == soonest and book[i, B_SHARES] < 0.0 and book[best, B_SHARES] > 0.0):
                best, soonest, price, stands = i, part, level, here
        if best < 0:
            break
        if not stands:
            assets[NOW, int(book[best, B_ASSET])] = price
        _strike(best, price, 1.0, rules, assets, account, book, orders_out)
    for j in range(assets.shape[1]):
        assets[NOW, j] = _point(leg + 1, j, assets)
    if rules.intrabar != STOP_FIRST:
        for i in range(int(account[N_BOOK])):
            now = assets[NOW, int(book[i, B_ASSET])]
            if book[i, B_TRAIL] == book[i, B_TRAIL] and now == now:
                _raise(i, now, book)


@njit(**HELPER)
def _point(k, j, assets):
    """The four prices of a bar in the order of its way."""
    if k == 0 or k == 3:
        return assets[BAR_OPEN if k == 0 else BAR_LAST, j]
    return assets[BAR_LOW if (k == 1) == (assets[LOW_NEXT, j] != 0.0) else BAR_HIGH, j]


@njit(**HELPER)
def _met_after_entry(i, at, rules, assets, account, book):
    """Where the stop of an entry within this bar is met by its worst price, wherever that came; NaN: it is not."""
    if rules.intrabar != STOP_FIRST or book[i, B_ROLE] != STOP_CHILD:
        return np.nan
    if book[i, B_SINCE] != account[BAR] or book[i, B_INSIDE] == 0.0:
        return np.nan
    j, stop = int(book[i, B_ASSET]), book[i, B_STOP]
    if book[i, B_SHARES] > 0.0:
        return max(at, stop) if assets[BAR_HIGH, j] >= stop else np.nan
    return min(at, stop) if assets[BAR_LOW, j] <= stop else np.nan


@njit(**HELPER)
def _strike(i, price, inside, rules, assets, account, book, orders_out):
    """An order is met at a price, as quoted: it is filled, in part perhaps, or a stop-limit becomes a limit."""
    j, shares = int(book[i, B_ASSET]), book[i, B_SHARES]
    has_limit, has_stop = book[i, B_LIMIT] == book[i, B_LIMIT], book[i, B_STOP] == book[i, B_STOP]
    if has_limit and has_stop and book[i, B_STATE] == RESTING:
        book[i, B_STATE] = TRIGGERED
        return
    if book[i, B_ROLE] != NO_ROLE:
        held = assets[HELD, j]
        if shares * held >= 0.0:
            _leave_bracket(i, account, book, orders_out)
            return
        shares = -held if abs(held) < abs(shares) else shares
    allowed = tradable(j, abs(shares), rules, assets, account)
    if not allowed > 0.0:
        book[i, B_DONE] = account[BAR]
        return
    price *= assets[RATE, j]
    size, refusal = _allowed(j, allowed if shares > 0.0 else -allowed, price, has_limit, rules, assets, account)
    if not size > 0.0:
        leave_book(i, refusal, account, book, orders_out)
        return
    reason = _reason(i, has_limit, book)
    if size < allowed * (1.0 - DUST):
        reason = CUT
    elif allowed < abs(shares):
        reason = LIMITED
    delta = size if shares > 0.0 else -size
    rate = 0.0 if has_limit else worse_by(j, size, assets)
    decided = assets[DECIDED, j]
    assets[DECIDED, j] = book[i, B_PLACED]
    trade_at(j, delta, shares, price, rate, reason, rules, assets, account, orders_out)
    assets[DECIDED, j] = decided
    _tell_decisions(j, delta, price, assets, account)
    if book[i, B_ROLE] != NO_ROLE:
        _child_filled(i, delta, reason == LIMITED, account, book, orders_out)
    else:
        _parent_filled(i, delta, reason == LIMITED, inside, account, book)


@njit(**HELPER)
def _reason(i, has_limit, book):
    if book[i, B_ROLE] == STOP_CHILD:
        return STOPPED
    if book[i, B_ROLE] == GOAL_CHILD:
        return TARGET_REACHED
    if has_limit:
        return LIMIT_ORDER
    if book[i, B_STOP] == book[i, B_STOP]:
        return STOP_ORDER
    return TRAILED if book[i, B_TRAIL] == book[i, B_TRAIL] else AT_OPEN


@njit(**HELPER)
def _allowed(j, delta, price, at_level, rules, assets, account):
    """How many of the shares the account may trade at the price, and why it may none."""
    cash = to_spend(rules, assets, account)
    size = abs(delta)
    if delta > 0.0:
        return _affordable(j, size, price, at_level, cash, rules, assets), NO_CASH
    held = assets[HELD, j]
    if size > held:
        room = rules.max_leverage
        for k in range(assets.shape[1]):
            if k != j:
                room -= counted_weight(k, assets)
        short = max(room, 0.0) * max(value_at(assets, account), 0.0) / price
        if short < DUST * size:
            short = 0.0  # what rounding leaves of the limit is no position
        most = held + max(short, -held)
        if size > most * (1.0 + DUST):
            if not most > DUST * size:
                return 0.0, NO_LEVERAGE
            size = whole_lots(most, rules.lot)
            if not size > 0.0:
                return 0.0, NO_LEVERAGE
    rate = 0.0 if at_level else worse_by(j, size, assets)
    got = price * (1.0 - min(rate, 1.0))
    cost = fee_of(j, size, got, assets) - size * got
    return (0.0 if cost > 0.0 and cash < cost else size), TOO_DEAR


@njit(**HELPER)
def _affordable(j, size, price, at_level, cash, rules, assets):
    """The most of `size` shares that `cash` pays for, found by halving."""
    all_of_it = _spent(j, size, price, at_level, assets)
    if all_of_it <= 0.0 or all_of_it * (1.0 - MARGIN) <= cash:  # a future without costs takes nothing
        return size
    if rules.lot > 0.0:
        low, high = 0.0, np.ceil(size / rules.lot)
        while high - low > 1.0:
            middle = np.floor((low + high) / 2.0)
            if _spent(j, middle * rules.lot, price, at_level, assets) * (1.0 - MARGIN) <= cash:
                low = middle
            else:
                high = middle
        return low * rules.lot
    low, high = 0.0, size
    for _ in range(100):
        middle = (low + high) / 2.0
        if _spent(j, middle, price, at_level, assets) <= cash:
            low = middle
        else:
            high = middle
    return low * (1.0 - MARGIN) if low > DUST * size else 0.0  # what a cut has left over buys nothing


@njit(**HELPER)
def _spent(j, size, price, at_level, assets):
    """What a buy takes of the cash."""
    paid = price if at_level else price * (1.0 + worse_by(j, size, assets))
    fee = fee_of(j, size, paid, assets)
    return size * (paid - price if assets[UNFUNDED, j] != 0.0 else paid) + fee


@njit(**HELPER)
def _tell_decisions(j, delta, price, assets, account):
    """The position is one asked for in shares now; a change of it that is pending counts from where it is."""
    if assets[KIND, j] == NOTHING:
        value = value_at(assets, account)
        assets[WEIGHT, j] = assets[HELD, j] * price / value if value > 0.0 else 0.0
        assets[IN_SHARES, j] = 1.0
        assets[ACTED, j] = np.nan
    elif assets[KIND, j] == SHARE_COUNT and assets[IN_SHARES, j] != 0.0 and assets[IS_CHANGE, j] != 0.0:
        assets[TARGET, j] += delta


@njit(**HELPER)
def _child_filled(i, delta, waits, account, book, orders_out):
    """Its sibling is cancelled, or has as much less to do; if nothing is left to do, so is the rest of its parent."""
    if not waits:
        book[i, B_STATE] = OUT
        _leave_bracket(i, account, book, orders_out)
        return
    book[i, B_DONE] = account[BAR]
    for k in range(int(account[N_BOOK])):
        if book[k, B_PARENT] == book[i, B_PARENT]:
            book[k, B_SHARES] -= delta


@njit(**HELPER)
def _parent_filled(i, delta, waits, inside, account, book):
    """Its children live for what it has filled."""
    if waits:
        book[i, B_SHARES] -= delta
        book[i, B_DONE] = account[BAR]
    else:
        book[i, B_STATE] = OUT
    for k in range(int(account[N_BOOK])):
        if book[k, B_PARENT] == book[i, B_NUMBER] and book[k, B_STATE] != OUT:
            book[k, B_SHARES] = (0.0 if book[k, B_STATE] == DORMANT else book[k, B_SHARES]) - delta
            book[k, B_STATE] = RESTING
            book[k, B_SINCE] = account[BAR]
            book[k, B_INSIDE] = inside
