"""The ledger: target weights in, fills, costs and equity out. One resumable scan over bars.

State is arrays in a named tuple, so a call over all rows, a call a row, and anything between give the same bits. A
row on which nothing is decided and nothing is pending only marks positions; that is the loop that must be fast.

A row goes: pay for the nights since the last row; book actions; fill what is pending at this row's fill price; mark at
this row's close; decide. Where fills happen on the decision's own bar, filling comes last and the row is marked again.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import (
    ACTED,
    BAR,
    BAR_CASH,
    BAR_FEES,
    BORROW,
    CANCELLED,
    CASH,
    DECIDED,
    ENTRY,
    EQUITY,
    FEES,
    HELD,
    HELPER,
    INLINE,
    INTEREST,
    KIND,
    LIQUIDATION,
    MARGIN_INTEREST,
    MARK,
    N_DECISIONS,
    N_EXPOSED,
    N_FLOWS,
    N_HELD,
    N_ORDERS,
    N_PENDING,
    N_UNPRICED,
    NEXT_ACTION,
    NOTHING,
    ORDERS_PER_ASSET,
    SHARE_COUNT,
    TARGET,
    TERM_BORROW,
    TERM_CASH,
    TERM_MARGIN,
    UNFUNDED,
    WEIGHT,
    clear,
    record_unfilled,
    term,
)
from knowable.kernels.actions import book_actions, rows_to_action
from knowable.kernels.book import book_has_room, book_records, cancel_book
from knowable.kernels.decision import decide_row, differs, size_unpriced
from knowable.kernels.fills import fill_row
from knowable.kernels.walk import walk_row

__all__ = [
    "NO_LIMIT",
    "begin_row",
    "check_kernel",
    "close_row",
    "end_row",
    "has_room",
    "is_quiet",
    "ledger_kernel",
    "mark_row",
    "open_row",
    "pass_rows",
]

NO_LIMIT = 1e300  # a leverage limit that only an infinite weight breaks


@njit(**ENTRY)
def ledger_kernel(weights, decide, feed, rules, state, equity_out, bars_out, orders_out):
    """Run the rows; return how many were done.

    Args:
        weights: (n_bars, n_assets) target weights; NaN: no opinion.
        decide: (n_bars,) bool, rows on which targets are taken.
        feed: `Feed`.
        rules: `Rules`.
        state: `LedgerState`, changed in place.
        equity_out: (n_bars,) account value at each close.
        bars_out: (N_BAR_COLUMNS, n) zeros, or (N_BAR_COLUMNS, 0) to keep none. It is of the whole run, whichever rows
            are handed in: what belongs to a bar is written at the account's own count of bars. A row a figure, so that
            those which nothing is ever paid for stay memory that was never touched.
        orders_out: (capacity, N_ORDER_COLUMNS), or (0, N_ORDER_COLUMNS) to keep none. With less room than one row may
            need, the scan stops before that row: grow the buffer and go on from there.
    """
    n_bars = weights.shape[0]
    assets, account, book = state
    t = np.int64(0)
    while t < n_bars:
        if is_quiet(rules, account):
            until = min(n_bars, t + rows_to_action(feed.actions, account))
            on_change = rules.on_change
            t = _quiet_rows(t, until, weights, decide, feed.close, on_change, assets, account, equity_out, bars_out)
            if t == n_bars:
                break
        if not has_room(feed, assets, account, book, orders_out):
            break
        open_row(t, feed, rules, assets, account, book, orders_out)
        if decide[t] and account[LIQUIDATION] < 0 and (not rules.on_change or differs(t, weights, assets, account)):
            decide_row(t, weights, t, feed.known, rules, assets, account, orders_out)
        close_row(t, feed, rules, assets, account, book, equity_out, bars_out, orders_out)
        t += 1
    return t


@njit(**INLINE)
def is_quiet(rules, account):
    """Whether rows only mark positions until something is decided or an action comes: nothing waits or accrues."""
    if account[N_PENDING] + account[N_UNPRICED] > 0.0 or rules.earns:
        return False
    return account[N_HELD] == 0.0 or not (rules.borrows or rules.futures or rules.maintenance > 0.0)


@njit(**INLINE)
def has_room(feed, assets, account, book, orders_out):
    """Whether what one more row leaves fits: its records, if any are kept, and its orders that rest."""
    if not book_has_room(assets, account, book):
        return False
    if orders_out.shape[0] == 0:
        return True
    to_come = 2 * (feed.actions.shape[0] - account[NEXT_ACTION]) + book_records(assets, account, book)
    return orders_out.shape[0] >= account[N_ORDERS] + ORDERS_PER_ASSET * assets.shape[1] + to_come


@njit(**INLINE)
def open_row(t, feed, rules, assets, account, book, orders_out):
    """The part of a row before its decision: nights, actions, fills, orders that rest, marks, late sizes."""
    begin_row(t, feed, rules, assets, account, book, orders_out)
    for first in (True, False):  # the walk is large: called twice it would be compiled into each caller twice
        if first != rules.at_open:
            walk_row(t, feed, rules, assets, account, book, orders_out)
        elif account[N_PENDING] > 0 and rules.delay > 0:
            fill_row(t, feed, rules, assets, account, orders_out)
    account[EQUITY] = account[CASH] + mark_row(t, feed.close, assets)
    if account[N_UNPRICED] > 0 and account[LIQUIDATION] < 0:
        size_unpriced(t, feed.known, rules, assets, account, orders_out)


@njit(**INLINE)
def begin_row(t, feed, rules, assets, account, book, orders_out):
    """What happens before any fill of a row: the nights since the last one are paid for, then actions are booked."""
    if rules.earns or (rules.borrows and account[N_HELD] > 0):
        pay_nights(t, feed, rules, assets, account)
    book_actions(t, feed, rules, assets, account, book, orders_out)


@njit(**INLINE)
def close_row(t, feed, rules, assets, account, book, equity_out, bars_out, orders_out):
    """The part of a row after its decision: fills on the same bar, liquidation, and the row's record."""
    if account[N_PENDING] > 0 and rules.delay == 0:
        fill_row(t, feed, rules, assets, account, orders_out)
        account[EQUITY] = account[CASH] + mark_row(t, feed.close, assets)
    if account[LIQUIDATION] < 0 and account[EQUITY] <= _least_equity(rules, assets, account):
        _liquidate(assets, account, book, orders_out)
    end_row(t, rules, assets, account, equity_out, bars_out)


@njit(**HELPER)
def _least_equity(rules, assets, account):
    """The maintenance margin: equity at or below it closes the account."""
    if rules.maintenance == 0.0 or account[N_HELD] == 0.0:
        return 0.0
    gross = 0.0
    for j in range(assets.shape[1]):
        gross += abs(assets[HELD, j]) * assets[MARK, j]
    return rules.maintenance * gross


@njit(**HELPER)
def _quiet_rows(t, n_bars, weights, decide, close, on_change, assets, account, equity_out, bars_out):
    """Only mark, rows [t, n_bars), while nothing is to be decided; the row at which this ends is not done yet."""
    first, n_assets = t, assets.shape[1]
    alive = account[LIQUIDATION] < 0
    cash, equity = account[CASH], account[EQUITY]
    if n_assets == 1:  # the same with everything in registers
        held, mark, acted = assets[HELD, 0], assets[MARK, 0], assets[ACTED, 0]
        never = account[N_DECISIONS] == 0
        # slices are walked from 0: an index that might be negative costs half as much again
        asked, decided, prices, values = weights[t:n_bars], decide[t:n_bars], close[t:n_bars], equity_out[t:n_bars]
        n_passed = n_bars - t
        for k in range(n_passed):
            if alive and decided[k]:
                w = asked[k, 0]
                if not on_change or never or (w != acted and (w == w or acted == acted)):
                    n_passed = k
                    break
            c = prices[k, 0]
            now = c if c == c else mark
            value = cash + held * now
            if alive and value <= 0.0:
                n_passed = k
                break
            mark, equity = now, value
            values[k] = value
        t += n_passed
        assets[MARK, 0] = mark
    else:
        while t < n_bars:
            if alive and decide[t] and (not on_change or differs(t, weights, assets, account)):
                break
            value = cash + mark_row(t, close, assets)
            if alive and value <= 0.0:
                break
            equity = value
            equity_out[t] = value
            t += 1
    account[EQUITY] = equity
    pass_rows(t - first, cash, account, bars_out)
    return t


@njit(**HELPER)
def pass_rows(n_rows, cash, account, bars_out):
    """Count rows on which nothing was paid, and write down their cash."""
    if bars_out.shape[1] > 0:
        bar = int(account[BAR])
        bars_out[BAR_CASH, bar : bar + n_rows] = cash
    account[BAR] += n_rows
    if account[N_HELD] > 0:
        account[N_EXPOSED] += n_rows


@njit(**INLINE)
def end_row(t, rules, assets, account, equity_out, bars_out):
    """Write the row down."""
    equity_out[t] = account[EQUITY]
    if bars_out.shape[1] > 0:
        bar = int(account[BAR])
        bars_out[BAR_CASH, bar] = cash_of(rules, assets, account)
        for k in range(N_FLOWS):
            if account[FEES + k] != 0.0:
                bars_out[BAR_FEES + k, bar] = account[FEES + k]
    for k in range(N_FLOWS):
        account[FEES + k] = 0.0
    if account[N_HELD] > 0:
        account[N_EXPOSED] += 1
    account[BAR] += 1


@njit(**ENTRY)
def check_kernel(weights, decide, max_leverage, stated):
    """First decided row whose sum of |w| is above the limit (an infinite weight is), and that sum. Row -1: none.

    No opinion keeps a position, so the weight an asset was last given on a decided row counts in its place.

    Args:
        weights: (n_bars, n_assets).
        decide: (n_bars,).
        max_leverage: the limit.
        stated: (n_assets,) zeros when handed in; scratch, the last stated weight of each asset.
    """
    n_bars, n_assets = weights.shape
    limit = max_leverage * (1.0 + 1e-9)
    if n_assets == 1 and not _any_above(weights.reshape(n_bars), limit):
        return -1, 0.0
    for t in range(n_bars):
        if decide[t]:
            gross = 0.0
            for j in range(n_assets):
                w = weights[t, j]
                if w == w:
                    stated[j] = w
                gross += abs(stated[j])
            if gross > limit:
                return t, gross
    return -1, 0.0


@njit(**HELPER)
def _any_above(weights, limit):
    """Whether any |w| is above, decided on or not: without a branch, a fifth of the time of looking row by row."""
    found = False
    for t in range(weights.shape[0]):
        found |= abs(weights[t]) > limit
    return found


@njit(**HELPER)
def mark_row(t, close, assets):
    """Remember this row's closes; value of the positions at the last known ones.

    Four running sums in a fixed order: one alone waits for each addition (500 assets x 5,000 bars: 4.6 ms against 2.9).
    """
    n = assets.shape[1]
    for j in range(n):
        c = close[t, j]
        assets[MARK, j] = c if c == c else assets[MARK, j]
    a = b = c = d = 0.0
    whole = n - (n & 3)
    for j in range(0, whole, 4):
        a += assets[HELD, j] * assets[MARK, j]
        b += assets[HELD, j + 1] * assets[MARK, j + 1]
        c += assets[HELD, j + 2] * assets[MARK, j + 2]
        d += assets[HELD, j + 3] * assets[MARK, j + 3]
    for j in range(whole, n):
        a += assets[HELD, j] * assets[MARK, j]
    return (a + b) + (c + d)


@njit(**HELPER)
def cash_of(rules, assets, account):
    """Cash as a broker shows it. Within, futures are bought for their whole value; what that took is cash still."""
    cash = account[CASH]
    if rules.futures:
        for j in range(assets.shape[1]):
            if assets[UNFUNDED, j] != 0.0:
                cash += assets[HELD, j] * assets[MARK, j]
    return cash


@njit(**HELPER)
def pay_nights(t, feed, rules, assets, account):
    """Charge the nights since the last row: shorts at the value they were held at, and cash for what it was.

    What stands in futures is cash; proceeds of short sales are too.
    """
    cash, paid, n_days = cash_of(rules, assets, account), 0.0, feed.days[t]
    for j in range(assets.shape[1]):
        if assets[HELD, j] < 0.0 and assets[UNFUNDED, j] == 0.0:
            paid += -assets[HELD, j] * assets[MARK, j] * term(t, TERM_BORROW, j, feed.terms)
    paid *= n_days
    account[BORROW] += paid
    account[CASH] -= paid
    if rules.earns:
        if cash > 0.0:
            earned = cash * term(t, TERM_CASH, 0, feed.terms) * n_days
            account[INTEREST] += earned
            account[CASH] += earned
        else:
            owed = -cash * term(t, TERM_MARGIN, 0, feed.terms) * n_days
            account[MARGIN_INTEREST] += owed
            account[CASH] -= owed


@njit(**HELPER)
def _liquidate(assets, account, book, orders_out):
    """The account is worth nothing: cancel what is pending and close every position at the next price."""
    account[LIQUIDATION] = account[BAR]
    cancel_book(-1, CANCELLED, account, book, orders_out)
    for j in range(assets.shape[1]):
        if assets[KIND, j] != NOTHING:
            record_unfilled(j, CANCELLED, assets, account, orders_out)
            clear(j, assets, account)
        if assets[HELD, j] != 0.0:
            assets[KIND, j] = SHARE_COUNT
            assets[TARGET, j] = 0.0
            assets[WEIGHT, j] = 0.0
            assets[DECIDED, j] = account[BAR]
            account[N_PENDING] += 1
