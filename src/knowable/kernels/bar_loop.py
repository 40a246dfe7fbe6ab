"""A compiled `on_bar` and the ledger in one loop, so that a trial is one call that holds no lock.

The parts of the ledger that do something are entered through its cached kernels; what most bars need, marks alone, is
compiled into the loop. Both are the arithmetic of `ledger_kernel`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from knowable.kernels.account import (
    CASH,
    ENTRY,
    EQUITY,
    HELPER,
    LIQUIDATION,
    N_BOOK_NEWS,
    N_PENDING,
    WEIGHT,
)
from knowable.kernels.actions import rows_to_action
from knowable.kernels.bar_types import account_of, bar_maker, borrowed
from knowable.kernels.decision import ASKED_KIND, ASKED_NOTHING, ASKED_WEIGHTS, differs
from knowable.kernels.ledger import end_row, has_room, is_quiet, mark_row
from knowable.kernels.turns import (
    ask_book_kernel,
    asks_for_shares,
    close_row_kernel,
    keep_book_kernel,
    open_row_kernel,
)
from knowable.kernels.walk import is_touched

__all__ = ["bar_loop", "compiled_on_bar"]


def compiled_on_bar(function: Any) -> Any:
    """The user's function for numba: bounds are checked, for what lies after a row's last asset is the next bar.

    It becomes part of the loop: a call of its own takes 80 ns a bar instead of 20, and twice as long to compile.
    """
    return njit(function, nogil=True, boundscheck=True, forceinline=True, error_model="numpy")


def bar_loop(on_bar: Any, names: tuple[str, ...]) -> Any:
    """The loop of one `on_bar`.

    Args:
        on_bar: as `compiled_on_bar` made it.
        names: of the panels its bar can be asked for.

    Returns: a function to be called with

        me: what the function takes for ``self``.
        panels: an array (>= offset + n_bars, n_assets) for each of `names`.
        offset: row of the panels that is row 0 of the rest.
        first: row to begin with; all before are done.
        stop: row to end before.
        decide: (n_bars,) bool, rows on which to call it.
        members: as in `close_row_kernel`.
        feed: and the rest up to `state` as in `ledger_kernel`.
        asked: (N_ASKED_ROWS, n_assets) with nothing asked.
        units: (n_assets,) what one unit of a level is in a contract, in its own currency.
        limit: sum of |w| that may not be passed.
        takes_shares: whether orders in shares may be.
        equity_out: and the rest as in `ledger_kernel`.
        targets_out: (n_bars, n_assets) NaN, for what was asked as weights; (0, n_assets) to keep none.

    that returns the row it stopped before and the sum of |w| there: `stop`; an earlier row where orders_out needs more
    room; or the row whose sum is above the limit, which is closed.
    """
    make_bar = bar_maker(names)

    @njit(nogil=True)
    def loop(
        me, panels, offset, first, stop, decide, members, feed, rules, state, asked, units, limit,
        takes_shares, equity_out, bars_out, orders_out, targets_out,
    ):  # fmt: skip
        assets, account, book = borrowed(state.assets), borrowed(state.account), borrowed(state.book)
        me, panels, ask, seen = borrowed(me), borrowed(panels), borrowed(asked), borrowed(feed.known)
        nothing, unit, abroad = asked[:0], borrowed(units), borrowed(feed.abroad)
        for t in range(first, stop):
            if not has_room(feed, assets, account, book, orders_out):
                return t, 0.0
            quiet = is_quiet(rules, account) and rows_to_action(feed.actions, account) > 0
            if quiet and not is_touched(t, feed, rules, assets, account, book):
                account[EQUITY] = account[CASH] + mark_row(t, feed.close, assets)
            else:
                open_row_kernel(t, feed, rules, state, orders_out)
            news = False
            if decide[t] and account[LIQUIDATION] < 0.0:
                shown = account_of(assets, account, ask, unit, seen, abroad, book, t, takes_shares)
                on_bar(me, make_bar(offset + t, panels), shown)
                if targets_out.shape[0] > 0:
                    _keep_weights(t, asked, members, targets_out)
                news = account[N_BOOK_NEWS] > 0 or _is_news(asked, members, rules, assets, account)
            if news:
                in_shares = targets_out.shape[0] > 0 and asks_for_shares(asked)
                of_book = targets_out.shape[0] > 0 and account[N_BOOK_NEWS] > 0
                told = np.zeros(asked.shape[1]) if of_book else asked[ASKED_KIND]
                if of_book:
                    ask_book_kernel(t, feed, state, told)
                kinds = asked[ASKED_KIND].copy() if in_shares else asked[ASKED_KIND]
                gross = close_row_kernel(t, asked, members, feed, rules, state, equity_out, bars_out, orders_out)
                if in_shares:
                    _keep_shares(t, kinds, members, assets, targets_out)
                if of_book:
                    keep_book_kernel(t, told, targets_out)
                if not gross <= limit:
                    return t, gross
            elif account[EQUITY] <= 0.0 or rules.maintenance > 0.0 or (account[N_PENDING] > 0 and rules.delay == 0):
                close_row_kernel(t, nothing, members, feed, rules, state, equity_out, bars_out, orders_out)
            else:
                end_row(t, rules, assets, account, equity_out, bars_out)
        return stop, 0.0

    return loop


@njit(**HELPER)
def _is_news(asked, members, rules, assets, account):
    """Whether the ledger has to look at what was asked; if not, it is emptied."""
    if members.shape[0] > 0 or not rules.on_change or asks_for_shares(asked):
        return True
    if differs(ASKED_WEIGHTS, asked, assets, account):
        return True
    for j in range(asked.shape[1]):
        asked[ASKED_WEIGHTS, j] = np.nan
    return False


@njit(**ENTRY)
def _keep_weights(t, asked, members, targets_out):
    for j in range(asked.shape[1]):
        stays = members.shape[0] == 0 or members[t, j]
        targets_out[t, j] = asked[ASKED_WEIGHTS, j] if stays else 0.0


@njit(**ENTRY)
def _keep_shares(t, kinds, members, assets, targets_out):
    for j in range(kinds.shape[0]):
        if kinds[j] != ASKED_NOTHING and (members.shape[0] == 0 or members[t, j]):
            targets_out[t, j] = assets[WEIGHT, j]
