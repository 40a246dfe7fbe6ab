"""The book: orders that rest in the market until a bar reaches them. Here they are placed, cancelled and adjusted.

`knowable.kernels.walk` takes a bar through it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import (
    B_ANCHOR,
    B_ASSET,
    B_LIMIT,
    B_NUMBER,
    B_PARENT,
    B_PLACED,
    B_SHARES,
    B_STATE,
    B_STOP,
    DECIDED,
    HELPER,
    N_BOOK,
    N_BOOK_COLUMNS,
    NO_BAR,
    record,
    whole_lots,
)

__all__ = ["adjust_book", "book_records", "book_room", "cancel_book", "compact", "leave_book", "shift_book"]

# States of an order: placed on this row; resting; a stop-limit that is a limit now; a child whose parent has not
# filled; to be cancelled when the row is decided; out, to be removed. The record of it has been made by then.
NEW, RESTING, TRIGGERED, DORMANT, WITHDRAWN, OUT = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0


@njit(**HELPER)
def book_room(n_assets):
    """Rows that one bar may place orders in."""
    return 1000 + 6 * n_assets


@njit(**HELPER)
def book_records(assets, account, book):
    """The most records that the book can leave in one row: a fill, an end, and those of what is placed on it."""
    if book.shape[0] == 0:
        return 0
    return 3 * int(account[N_BOOK]) + book_room(assets.shape[1])


@njit(**HELPER)
def adjust_book(j, ratio, rules, account, book):
    """A split: each share of an asset becomes `ratio`. Prices and sizes of its orders follow; sizes in whole lots."""
    for i in range(int(account[N_BOOK])):
        if book[i, B_ASSET] == j:
            book[i, B_SHARES] = whole_lots(book[i, B_SHARES] * ratio, rules.lot)
            book[i, B_LIMIT] /= ratio
            book[i, B_STOP] /= ratio
            book[i, B_ANCHOR] /= ratio


@njit(**HELPER)
def shift_book(j, amount, account, book):
    """A future's next contract is `amount` dearer: prices of its orders follow."""
    for i in range(int(account[N_BOOK])):
        if book[i, B_ASSET] == j:
            book[i, B_LIMIT] += amount
            book[i, B_STOP] += amount
            book[i, B_ANCHOR] += amount


@njit(**HELPER)
def cancel_book(j, reason, assets, account, book, orders_out):
    """Cancel all orders of an asset, or of all assets where `j` is -1; each is recorded with the reason."""
    if account[N_BOOK] == 0.0:
        return
    for i in range(int(account[N_BOOK])):
        if j == -1 or book[i, B_ASSET] == j:
            leave_book(i, reason, assets, account, book, orders_out)
    compact(account, book)


@njit(**HELPER)
def leave_book(i, reason, assets, account, book, orders_out):
    """Take the order in row `i` out and record why; one that is out already, or was never live, is not recorded."""
    state = book[i, B_STATE]
    book[i, B_STATE] = OUT
    if state == OUT or state == DORMANT:
        return
    if orders_out.shape[0] > 0:
        j = int(book[i, B_ASSET])
        decided = assets[DECIDED, j]
        assets[DECIDED, j] = book[i, B_PLACED]
        record(j, NO_BAR, book[i, B_SHARES], 0.0, np.nan, np.nan, 0.0, reason, assets, account, orders_out)
        assets[DECIDED, j] = decided


@njit(**HELPER)
def compact(account, book):
    """Remove the rows that are out, and children that have lost a parent they still waited for."""
    n, kept = int(account[N_BOOK]), 0
    for i in range(n):
        if book[i, B_STATE] == OUT:
            continue
        if book[i, B_STATE] == DORMANT and not _is_there(book[i, B_PARENT], kept, book):
            continue
        if kept != i:
            for k in range(N_BOOK_COLUMNS):
                book[kept, k] = book[i, k]
        kept += 1
    for i in range(kept, n):
        for k in range(N_BOOK_COLUMNS):
            book[i, k] = 0.0
    account[N_BOOK] = kept


@njit(**HELPER)
def _is_there(number, n, book):
    """Whether an order is among the first `n` rows. A parent comes shortly before its children."""
    for i in range(n - 1, max(n - 4, 0) - 1, -1):
        if book[i, B_NUMBER] == number:
            return True
    return False
