"""What happens to what is held without anybody trading: splits, distributions, delistings, mergers, funding, rolls.

An action is booked at the beginning of its row, before any fill, at the marks of the row before. Its kind is the code
it is recorded under:

- SPLIT: each share becomes `ratio`. Mark, entry price, levels and a pending share count follow. With lots a fraction of
  a share is paid in cash at the last close, which lowers the entry price of what stays.
- DIVIDEND: `amount` for each share; shorts owe it.
- DELISTED: closed at `amount` a share, or where that is NaN at the last close times `ratio`. No spread and no fee.
- MERGED: each share becomes `ratio` shares of the column `other` and `amount` in cash. The trade ends at the value of
  both, and the new shares begin at their last close; where they have none yet, at what the old ones were worth.
- SPUN_OFF: `ratio` shares of `other` beside each share; the entry price is divided between the two by their worth. Cash
  for a fraction lowers that of the new ones.
- PAID_FUNDING: longs pay `ratio` of the value at the last close to shorts; below 0 they receive it.
- ROLLED: the next contract is `amount` dearer: its jump is no gain, levels follow, and both legs cost what trades do.
  `ratio` is that amount in the currency of the levels, where it is another one; else NaN.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import (
    ACTED,
    ACTION_AMOUNT,
    ACTION_ASSET,
    ACTION_KIND,
    ACTION_OTHER,
    ACTION_RATIO,
    ACTION_ROW,
    ANCHOR,
    ARMED,
    BAR,
    CASH,
    DECIDED,
    DELISTED,
    DIVIDEND,
    DIVIDENDS,
    ENTRY_FEES,
    ENTRY_PRICE,
    FEES,
    FUNDING,
    GOAL,
    GONE,
    HELD,
    HELPER,
    INLINE,
    KIND,
    LIQUIDATION,
    MARK,
    MERGED,
    N_FILLS,
    N_HELD,
    N_PENDING,
    NEXT_ACTION,
    NOTHING,
    PAID_FUNDING,
    PRICE,
    QUOTED,
    ROLLED,
    ROUNDED,
    SHARE_COUNT,
    SINCE,
    SLIPPAGE,
    SPLIT,
    SPREAD,
    SPUN_OFF,
    STOP,
    TARGET,
    TERM_SLIPPAGE,
    TERM_SPREAD,
    TRADED,
    TRAIL,
    WEIGHT,
    account_trade,
    clear,
    fee_of,
    record,
    record_unfilled,
    take_quote,
    whole_lots,
)
from knowable.kernels.book import adjust_book, cancel_book, shift_book

__all__ = ["book_actions", "rows_to_action"]

_FAR = 1 << 60


@njit(**INLINE)
def rows_to_action(actions, account):
    """Rows from the one at hand to the next action; a large number where none is left."""
    k = int(account[NEXT_ACTION])
    return int(actions[k, ACTION_ROW] - account[BAR]) if k < actions.shape[0] else _FAR


@njit(**HELPER)
def book_actions(t, feed, rules, assets, account, book, orders_out):
    """Book the actions of row `t`, which is at hand."""
    while rows_to_action(feed.actions, account) == 0:
        k = int(account[NEXT_ACTION])
        account[NEXT_ACTION] += 1.0
        kind, j = feed.actions[k, ACTION_KIND], int(feed.actions[k, ACTION_ASSET])
        ratio, amount = feed.actions[k, ACTION_RATIO], feed.actions[k, ACTION_AMOUNT]
        other = int(feed.actions[k, ACTION_OTHER])
        take_quote(t, j, feed.price, feed.volume, feed.terms, assets)
        if other >= 0:
            take_quote(t, other, feed.price, feed.volume, feed.terms, assets)
        _book_action(kind, j, other, ratio, amount, rules, assets, account, book, orders_out)


@njit(**HELPER)
def _book_action(kind, j, other, ratio, amount, rules, assets, account, book, orders_out):
    """Book an action.

    Each leaves two records at most: the cash in ORDER_WANTED, the amount or ratio in ORDER_REFERENCE.
    """
    if kind == SPLIT:
        adjust_book(j, ratio, rules, account, book)
        waits = assets[KIND, j] == SHARE_COUNT and assets[TARGET, j] != 0.0
        _split(j, ratio, rules, assets, account, orders_out)
        if waits and assets[TARGET, j] == 0.0 and assets[HELD, j] == 0.0:  # no lot is left of what was asked for
            record_unfilled(j, ROUNDED, assets, account, orders_out)
            clear(j, assets, account)
    elif kind == DIVIDEND or kind == PAID_FUNDING:
        each = amount if kind == DIVIDEND else -assets[MARK, j] * ratio
        paid = assets[HELD, j] * each if assets[HELD, j] != 0.0 else 0.0  # before its first rate an amount is NaN
        if paid != 0.0:
            account[CASH] += paid
            account[DIVIDENDS if kind == DIVIDEND else FUNDING] += paid
            shown = amount if kind == DIVIDEND else ratio
            _note(j, paid, 0.0, shown, np.nan, 0.0, kind, account, orders_out)
    elif kind == DELISTED:
        cancel_book(j, kind, account, book, orders_out)
        _delist(j, ratio, amount, assets, account, orders_out)
    elif kind == MERGED:
        cancel_book(j, kind, account, book, orders_out)
        _merge(j, other, ratio, amount, rules, assets, account, orders_out)
    elif kind == SPUN_OFF:
        _spin_off(j, other, ratio, rules, assets, account, orders_out)
    elif kind == ROLLED:
        shift = ratio if ratio == ratio else amount
        shift_book(j, shift, account, book)
        _roll(j, amount, shift, assets, account, orders_out)


@njit(**HELPER)
def _note(j, cash, size, amount, price, fee, kind, account, orders_out):
    """A record of what was booked, where there is a list."""
    if orders_out.shape[0] != 0:
        record(j, account[BAR], account[BAR], cash, size, amount, price, fee, kind, account, orders_out)


@njit(**HELPER)
def _whole_shares(shares, lot):
    """What is delivered of a number of shares: whole ones, or multiples of a lot below 1; all without lots."""
    return whole_lots(shares, min(lot, 1.0))


@njit(**HELPER)
def _split(j, ratio, rules, assets, account, orders_out):
    """See above."""
    held = assets[HELD, j]
    assets[MARK, j] /= ratio
    assets[STOP, j] /= ratio
    assets[GOAL, j] /= ratio
    assets[ANCHOR, j] /= ratio
    if assets[KIND, j] == SHARE_COUNT:
        assets[TARGET, j] = whole_lots(assets[TARGET, j] * ratio, rules.lot)
    if held == 0.0:  # recorded all the same: it moves the price at which a fill of this bar counts
        _note(j, 0.0, 0.0, ratio, np.nan, 0.0, SPLIT, account, orders_out)
        return
    size = _whole_shares(held * ratio, rules.lot) - held
    now = held + size
    paid = (held * ratio - now) * assets[MARK, j] if rules.lot > 0.0 else 0.0
    account[CASH] += paid
    if now == 0.0:
        price = paid / held
        account_trade(j, size, price, 0.0, assets, account)
        _empty(j, assets, account)
    else:
        price = np.nan
        assets[ENTRY_PRICE, j] = (assets[ENTRY_PRICE, j] * held - paid) / now
        assets[HELD, j] = now
    _note(j, paid, size, ratio, price, 0.0, SPLIT, account, orders_out)


@njit(**HELPER)
def _empty(j, assets, account):
    """Nothing is held of it any more, and nothing guards it."""
    assets[HELD, j] = 0.0
    assets[ARMED, j] = 0.0
    assets[SINCE, j] = account[BAR]
    account[N_HELD] -= 1


@njit(**HELPER)
def _end_of(j, reason, assets, account, orders_out):
    """It trades no more: what is pending for it is cancelled."""
    assets[GONE, j] = 1.0
    if assets[KIND, j] != NOTHING:
        record_unfilled(j, reason, assets, account, orders_out)
        clear(j, assets, account)
    assets[WEIGHT, j] = 0.0


@njit(**HELPER)
def _delist(j, ratio, amount, assets, account, orders_out):
    """See above."""
    _end_of(j, DELISTED, assets, account, orders_out)
    held = assets[HELD, j]
    if held == 0.0:
        return
    price = amount if amount == amount else assets[MARK, j] * ratio
    account[CASH] += held * price
    account_trade(j, -held, price, 0.0, assets, account)
    _empty(j, assets, account)
    account[N_FILLS] += 1
    _note(j, -held, -held, price, price, 0.0, DELISTED, account, orders_out)


@njit(**HELPER)
def _merge(j, other, ratio, amount, rules, assets, account, orders_out):
    """See above. `other` -1: cash alone, `amount` or where that is NaN the last close times `ratio`."""
    _end_of(j, MERGED, assets, account, orders_out)
    held = assets[HELD, j]
    if held == 0.0:
        return
    cash = amount if amount == amount else 0.0 if other >= 0 else assets[MARK, j] * ratio
    due, worth = 0.0, 0.0
    if other >= 0:
        due = held * ratio
        worth = assets[MARK, other]
        if worth == 0.0:
            worth = max(assets[MARK, j] - cash, 0.0) / ratio
    size = _whole_shares(due, rules.lot)
    instead = (due - size) * worth
    account[CASH] += held * cash + instead
    price = cash + (due * worth) / held
    account_trade(j, -held, price, 0.0, assets, account)
    _empty(j, assets, account)
    _note(j, held * cash, -held, cash, price, 0.0, MERGED, account, orders_out)
    if other >= 0:
        _receive(other, size, worth, assets, account)
        _note(other, instead, size, worth, worth, 0.0, MERGED, account, orders_out)


@njit(**HELPER)
def _spin_off(j, other, ratio, rules, assets, account, orders_out):
    """See above. Shares that never traded are worth what they trade at first on this row, if they do."""
    held = assets[HELD, j]
    if held == 0.0:
        return
    worth = assets[MARK, other]
    if worth == 0.0 and assets[PRICE, other] == assets[PRICE, other]:
        worth = assets[PRICE, other]
    due = held * ratio
    size = _whole_shares(due, rules.lot) if worth > 0.0 else due
    instead = (due - size) * worth
    share = min(ratio * worth / assets[MARK, j], 1.0) if assets[MARK, j] > 0.0 else 0.0
    paid = assets[ENTRY_PRICE, j] * held
    if size == 0.0:  # all of it is cash, which lowers the entry price of what stays
        share = instead / paid if paid != 0.0 else 0.0
    basis = assets[ENTRY_PRICE, j] * share / ratio
    if size != 0.0 and instead != 0.0:
        basis = (paid * share - instead) / size
    assets[ENTRY_PRICE, j] *= 1.0 - share
    account[CASH] += instead
    _note(j, 0.0, 0.0, 0.0, 1.0 - share, 0.0, SPUN_OFF, account, orders_out)
    if assets[MARK, other] == 0.0:
        assets[MARK, other] = worth
    _receive(other, size, basis, assets, account)
    price = basis if size != 0.0 else np.nan
    _note(other, instead, size, worth, price, 0.0, SPUN_OFF, account, orders_out)


@njit(**HELPER)
def _receive(j, size, price, assets, account):
    """Take shares in at a price that is their basis. No level guards them, and the row acted on last did not ask for
    them: the next row that is decided on is news.
    """
    held = assets[HELD, j]
    if size == 0.0:
        return
    account_trade(j, size, price, 0.0, assets, account)
    now = held + size
    assets[HELD, j] = now
    account[N_HELD] += (now != 0.0) - (held != 0.0)
    if assets[MARK, j] == 0.0:
        assets[MARK, j] = price
    assets[ACTED, j] = np.nan
    side = 1.0 if now > 0.0 else -1.0 if now < 0.0 else 0.0
    if side != assets[ARMED, j]:
        assets[ARMED, j] = side
        assets[SINCE, j] = account[BAR]
        assets[STOP, j] = np.nan
        assets[GOAL, j] = np.nan
        assets[TRAIL, j] = np.nan
        assets[ANCHOR, j] = price
    if account[LIQUIDATION] >= 0 and assets[KIND, j] == NOTHING and now != 0.0:
        assets[KIND, j] = SHARE_COUNT
        assets[TARGET, j] = 0.0
        assets[WEIGHT, j] = 0.0
        assets[DECIDED, j] = account[BAR]
        account[N_PENDING] += 1


@njit(**HELPER)
def _roll(j, amount, shift, assets, account, orders_out):
    """See above. Levels move by `shift`, with the price."""
    held, old = assets[HELD, j], assets[MARK, j]
    if old == 0.0:
        return
    new = old + amount
    assets[MARK, j] = new
    assets[STOP, j] += shift
    assets[GOAL, j] += shift
    assets[ANCHOR, j] += shift
    if held == 0.0:
        _note(j, 0.0, 0.0, amount, 0.0, 0.0, ROLLED, account, orders_out)
        return
    size, side = abs(held), 1.0 if held > 0.0 else -1.0
    spread, slippage = assets[QUOTED + TERM_SPREAD, j], assets[QUOTED + TERM_SLIPPAGE, j]
    rate = spread + slippage
    fee = fee_of(j, size, old * (1.0 - side * rate), assets)
    fee += fee_of(j, size, new * (1.0 + side * rate), assets)
    traded = size * (old + new)
    cash = -held * amount - traded * rate
    account[CASH] += cash - fee
    account[FEES] += fee
    account[SPREAD] += traded * spread
    account[SLIPPAGE] += traded * slippage
    account[TRADED] += traded
    assets[ENTRY_PRICE, j] -= cash / held
    assets[ENTRY_FEES, j] += fee
    _note(j, cash, 0.0, amount, traded * rate, fee, ROLLED, account, orders_out)
