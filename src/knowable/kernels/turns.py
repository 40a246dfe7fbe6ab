"""The ledger a row at a time, for strategies that see the account before they decide.

A row comes in two halves. `open_row_kernel` leaves the account as a decision on that row finds it; `close_row_kernel`
takes what was asked for and ends the row. `turn_kernel` closes a row and opens the next, because a call costs more
than a row. All of it is the arithmetic of `ledger_kernel`, so the same targets give the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, typeof

from knowable.kernels.account import ENTRY, HELPER, N_BOOK, N_BOOK_NEWS
from knowable.kernels.book import ask_book, place, take_book, withdraw
from knowable.kernels.decision import (
    ASKED_KIND,
    ASKED_NOTHING,
    ASKED_WEIGHTS,
    counted_weight,
    decide_row,
    differs,
    known_value,
    order_shares,
    weigh,
    weigh_shares,
)
from knowable.kernels.ledger import close_row, has_room, open_row

__all__ = [
    "ask_book_kernel",
    "asks_for_shares",
    "close_row_kernel",
    "entry_point",
    "keep_book_kernel",
    "open_row_kernel",
    "place_kernel",
    "turn_kernel",
    "value_kernel",
    "weights_kernel",
    "withdraw_kernel",
]


@njit(**ENTRY)
def open_row_kernel(t, feed, rules, state, orders_out):
    """The first half of row `t`. Arguments as in `ledger_kernel`.

    Returns: False, with nothing done, where `orders_out` has too little room for a whole row.
    """
    if not has_room(feed, state.assets, state.account, state.book, orders_out):
        return False
    open_row(t, feed, rules, state.assets, state.account, state.book, orders_out)
    return True


@njit(**ENTRY)
def close_row_kernel(t, asked, members, feed, rules, state, equity_out, bars_out, orders_out):
    """The second half of row `t`: take what was asked for, if anything may be, and end the row.

    Args:
        t: the row.
        asked: (N_ASKED_ROWS, n_assets) as `knowable.kernels.decision` says; emptied. (0, n_assets): nothing may be.
        members: (n_bars, n_assets) bool, which assets may be held; others get the target 0. (0, n_assets): all.
        feed: and the rest as in `ledger_kernel`.
        rules: see there.
        state: see there.
        equity_out: see there.
        bars_out: see there.
        orders_out: with room for a whole row since the row was opened.

    Returns: sum of |w| that the leverage rule is about, as it stands after the decision, where it has grown by it;
        else 0.
    """
    assets, account, book = state
    gross, stood = 0.0, 0.0
    if asked.shape[0] > 0:
        weigh_shares(t, feed.known, assets, account)
        for j in range(assets.shape[1]):
            stood += counted_weight(j, assets)
        if members.shape[0] > 0:
            _members_only(t, asked, members)
        if not rules.on_change or differs(ASKED_WEIGHTS, asked, assets, account):
            decide_row(ASKED_WEIGHTS, asked, t, feed.known, rules, assets, account, orders_out)
        if asks_for_shares(asked):
            order_shares(asked, t, feed.known, rules, assets, account, orders_out)
        for j in range(assets.shape[1]):
            gross += counted_weight(j, assets)
            asked[ASKED_WEIGHTS, j] = np.nan
            asked[ASKED_KIND, j] = ASKED_NOTHING
    if account[N_BOOK_NEWS] > 0 or (asked.shape[0] > 0 and members.shape[0] > 0 and account[N_BOOK] > 0):
        take_book(t, members, feed.known, feed.abroad, rules, assets, account, book, orders_out)
    close_row(t, feed, rules, assets, account, book, equity_out, bars_out, orders_out)
    return gross if gross > stood else 0.0


@njit(**ENTRY)
def turn_kernel(t, asked, members, feed, rules, state, equity_out, bars_out, orders_out):
    """Close row `t` and open the next. Arguments and result as in `close_row_kernel`.

    Returns: -1, with nothing done, where `orders_out` has too little room for a whole row: grow it and call again.
    """
    if not has_room(feed, state.assets, state.account, state.book, orders_out):
        return -1.0
    gross = close_row_kernel(t, asked, members, feed, rules, state, equity_out, bars_out, orders_out)
    open_row(t + 1, feed, rules, state.assets, state.account, state.book, orders_out)
    return gross


@njit(**ENTRY)
def value_kernel(t, known, state):
    """The account's value as known at row `t`'s decision. Arguments as in `ledger_kernel`."""
    return known_value(t, known, state.assets, state.account)


@njit(**ENTRY)
def weights_kernel(t, known, state, weights_out):
    """What each position is of the account's value, as known at row `t`'s decision; NaN where that value is 0."""
    weigh(t, known, state.assets, state.account, weights_out)


@njit(**ENTRY)
def place_kernel(j, shares, limit, stop, trail, day, stop_loss, take_profit, state):
    """`place` of `knowable.kernels.book`."""
    return place(j, shares, limit, stop, trail, day, stop_loss, take_profit, state.account, state.book)


@njit(**ENTRY)
def withdraw_kernel(number, j, state):
    """`withdraw` of `knowable.kernels.book`."""
    return withdraw(number, j, state.account, state.book)


@njit(**ENTRY)
def ask_book_kernel(t, feed, state, asked_out):
    """`ask_book` of `knowable.kernels.book`."""
    ask_book(t, feed.known, feed.abroad, state.assets, state.account, state.book, asked_out)


@njit(**ENTRY)
def keep_book_kernel(t, asked, targets_out):
    """Add what was asked of the book to the targets of row `t`."""
    for j in range(asked.shape[0]):
        if asked[j] != 0.0:
            before = targets_out[t, j]
            targets_out[t, j] = asked[j] + (before if before == before else 0.0)


def entry_point(kernel: Any, *arguments: Any) -> Any:
    """The compiled code of a kernel for arguments of these types: a call of it takes a quarter of the time.

    Without the compiler (NUMBA_DISABLE_JIT) it is the kernel itself.
    """
    if not hasattr(kernel, "get_overload"):
        return kernel
    types = tuple(typeof(each) for each in arguments)
    kernel.compile(types)
    return kernel.get_overload(types)


@njit(**HELPER)
def asks_for_shares(asked):
    """Whether any order in shares is in it."""
    for j in range(asked.shape[1]):
        if asked[ASKED_KIND, j] != ASKED_NOTHING:
            return True
    return False


@njit(**HELPER)
def _members_only(t, asked, members):
    for j in range(asked.shape[1]):
        if not members[t, j]:
            asked[ASKED_WEIGHTS, j] = 0.0
            asked[ASKED_KIND, j] = ASKED_NOTHING
