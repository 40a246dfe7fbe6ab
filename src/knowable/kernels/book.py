"""The book: orders that rest in the market until a bar reaches them. Here they are placed, cancelled and adjusted.

`knowable.kernels.walk` takes a bar through it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import (
    ABROAD_KNOWN,
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
    HELPER,
    N_BOOK,
    N_BOOK_COLUMNS,
    N_BOOK_NEWS,
    N_NUMBERED,
    NO_BAR,
    NO_MEMBER,
    ROUNDED,
    WITHDRAWN,
    rate_of,
    record,
    whole_lots,
)
from knowable.kernels.decision import known_price, known_value

__all__ = [
    "adjust_book",
    "ask_book",
    "book_has_room",
    "book_records",
    "book_room",
    "cancel_book",
    "compact",
    "is_open",
    "known_quote",
    "leave_book",
    "place",
    "shift_book",
    "take_book",
    "withdraw",
]

# States of an order: placed on this row; resting; a stop-limit that is a limit now; a child whose parent has not
# filled; to be cancelled when the row is decided; out, to be removed. The record of it has been made by then.
NO_ROLE, STOP_CHILD, GOAL_CHILD = 0.0, 1.0, 2.0
NEW, RESTING, TRIGGERED, DORMANT, ASKED_OUT, OUT = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0


@njit(**HELPER)
def book_room(n_assets):
    """Rows that one bar may place orders in."""
    return 1000 + 6 * n_assets


@njit(**HELPER)
def book_has_room(assets, account, book):
    """Whether what one more bar places fits; a book without any rows takes no orders."""
    if book is None:
        return True
    return book.shape[0] == 0 or book.shape[0] >= account[N_BOOK] + book_room(assets.shape[1])


@njit(**HELPER)
def book_records(assets, account, book):
    """The most records that the book can leave in one row: a fill, an end, and those of what is placed on it."""
    if book is None:
        return 0
    return 3 * int(account[N_BOOK]) + book_room(assets.shape[1])


@njit(**HELPER)
def place(j, shares, limit, stop, trail, day, stop_loss, take_profit, account, book):
    """Put an order down, and the children of a bracket after it; NaN: none.

    Returns: its number, or -1 where the bar has no room for more. Children have the next ones, the stop loss first.
    """
    first, number = int(account[N_BOOK]), int(account[N_NUMBERED])
    n = 1 + int(stop_loss == stop_loss) + int(take_profit == take_profit)
    if book.shape[0] < first + n:
        return -1
    for i in range(first, first + n):
        for k in range(N_BOOK_COLUMNS):
            book[i, k] = np.nan
        book[i, B_NUMBER] = number + i - first
        book[i, B_ASSET] = j
        book[i, B_STATE] = NEW if i == first else DORMANT
        book[i, B_ROLE] = NO_ROLE
        book[i, B_SHARES] = shares if i == first else -shares
        book[i, B_PLACED] = account[BAR]
        book[i, B_DAY] = 0.0
        book[i, B_PARENT] = -1.0 if i == first else number
        book[i, B_SINCE] = book[i, B_DONE] = -1.0
        book[i, B_INSIDE] = 0.0
    book[first, B_LIMIT], book[first, B_STOP], book[first, B_TRAIL] = limit, stop, trail
    book[first, B_DAY] = day
    if stop_loss == stop_loss:
        book[first + 1, B_STOP], book[first + 1, B_ROLE] = stop_loss, STOP_CHILD
    if take_profit == take_profit:
        book[first + n - 1, B_LIMIT], book[first + n - 1, B_ROLE] = take_profit, GOAL_CHILD
    account[N_BOOK] += n
    account[N_NUMBERED] += n
    account[N_BOOK_NEWS] += 1
    return number


@njit(**HELPER)
def withdraw(number, j, account, book):
    """Ask an order out, or all of an asset where `number` is -1, or all where `j` is -1 too; whether any was there."""
    found = False
    for i in range(int(account[N_BOOK])):
        state = book[i, B_STATE]
        of_all = number == -1 and (j == -1 or book[i, B_ASSET] == j)
        if (of_all or book[i, B_NUMBER] == number) and state != ASKED_OUT and state != OUT:
            book[i, B_STATE] = OUT if state == DORMANT else ASKED_OUT
            found = True
    account[N_BOOK_NEWS] += found
    return found


@njit(**HELPER)
def is_open(i, book):
    """Whether the order in row `i` is in the market, or about to be."""
    return book[i, B_STATE] <= TRIGGERED


@njit(**HELPER)
def ask_book(t, known, abroad, assets, account, book, asked_out):
    """What a row asks of the book, added to (n_assets,): a number for each asset that hangs on all sizes and levels."""
    value = known_value(t, known, assets, account)
    for i in range(int(account[N_BOOK])):
        j, asked = int(book[i, B_ASSET]), 0.0
        if book[i, B_STATE] == ASKED_OUT:
            asked = -1.0
        elif book[i, B_PLACED] == account[BAR]:
            price, quote = known_price(t, j, known, assets), known_quote(t, j, known, abroad, assets)
            for level, weight in ((book[i, B_LIMIT], 1.0), (book[i, B_STOP], 2.0)):
                if level == level and quote > 0.0:
                    asked += weight * level / quote
            if book[i, B_TRAIL] == book[i, B_TRAIL]:
                asked += 3.0 * book[i, B_TRAIL]
            asked += book[i, B_DAY]
            if value > 0.0 and price > 0.0:
                asked += book[i, B_SHARES] * price / value
        asked_out[j] += asked


@njit(**HELPER)
def known_quote(t, j, known, abroad, assets):
    """`known_price` in the asset's own currency."""
    price = known_price(t, j, known, assets)
    if abroad.shape[0] == 0:
        return price
    quote = abroad[t, ABROAD_KNOWN, j]
    return quote if quote == quote else price / rate_of(t, j, abroad)  # what was paid, where there was no close so far


@njit(**HELPER)
def take_book(t, members, known, abroad, rules, assets, account, book, orders_out):
    """Take what was asked of the book on row `t`: new orders rest from now on, others go."""
    if book is None:
        return
    for i in range(int(account[N_BOOK])):
        j, state = int(book[i, B_ASSET]), book[i, B_STATE]
        if state == ASKED_OUT:
            leave_book(i, WITHDRAWN, account, book, orders_out)
        elif members.shape[0] > 0 and not members[t, j]:
            leave_book(i, NO_MEMBER, account, book, orders_out)
        elif state == NEW:
            price = known_quote(t, j, known, abroad, assets)
            book[i, B_ANCHOR] = price if price > 0.0 else np.nan
            book[i, B_SHARES] = whole_lots(book[i, B_SHARES], rules.lot)
            book[i, B_STATE] = RESTING
            if book[i, B_SHARES] == 0.0:
                leave_book(i, ROUNDED, account, book, orders_out)
    compact(account, book)
    account[N_BOOK_NEWS] = 0.0


@njit(**HELPER)
def adjust_book(j, ratio, rules, account, book):
    """A split: each share of an asset becomes `ratio`. Prices and sizes of its orders follow; sizes in whole lots.

    Children of a bracket keep what is less than a lot as the position does, so that they guard all of it.
    """
    if book is None:
        return
    for i in range(int(account[N_BOOK])):
        if book[i, B_ASSET] == j:
            lot = rules.lot if book[i, B_ROLE] == NO_ROLE else min(rules.lot, 1.0)
            book[i, B_SHARES] = whole_lots(book[i, B_SHARES] * ratio, lot)
            book[i, B_LIMIT] /= ratio
            book[i, B_STOP] /= ratio
            book[i, B_ANCHOR] /= ratio


@njit(**HELPER)
def shift_book(j, amount, account, book):
    """A future's next contract is `amount` dearer: prices of its orders follow."""
    if book is None:
        return
    for i in range(int(account[N_BOOK])):
        if book[i, B_ASSET] == j:
            book[i, B_LIMIT] += amount
            book[i, B_STOP] += amount
            book[i, B_ANCHOR] += amount


@njit(**HELPER)
def cancel_book(j, reason, account, book, orders_out):
    """Cancel all orders of an asset, or of all assets where `j` is -1; each is recorded with the reason."""
    if book is None:
        return
    if account[N_BOOK] == 0.0:
        return
    for i in range(int(account[N_BOOK])):
        if j == -1 or book[i, B_ASSET] == j:
            leave_book(i, reason, account, book, orders_out)
    compact(account, book)


@njit(**HELPER)
def leave_book(i, reason, account, book, orders_out):
    """Take the order in row `i` out and record why; one that is out already, or was never live, is not recorded."""
    state = book[i, B_STATE]
    book[i, B_STATE] = OUT
    if state == OUT or state == DORMANT:
        return
    if orders_out.shape[0] > 0:
        j = int(book[i, B_ASSET])
        record(j, book[i, B_PLACED], NO_BAR, book[i, B_SHARES], 0.0, np.nan, np.nan, 0.0, reason, account, orders_out)


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
