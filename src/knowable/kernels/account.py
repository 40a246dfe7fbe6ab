"""The account a ledger keeps: its state, the exchange of shares for cash, and the list of orders."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.core.options import DefaultOptions

__all__ = [
    "Feed",
    "LedgerState",
    "Rules",
    "account_trade",
    "clear",
    "fee_of",
    "impact_of",
    "new_state",
    "rate_of",
    "record",
    "record_unfilled",
    "take_quote",
    "term",
    "tradable",
    "trade",
    "trade_at",
    "value_at",
    "whole_lots",
    "worse_by",
]

# Options of the helpers. They make no array, so they may do without reference counts, which cost atomic operations at
# each helper's entry: with them a fill takes 240 ns, without 40, and compiling twice as long. Numba's option has a
# leading underscore, so it is asked for only where it exists; without it results are the same. Helpers are not cached:
# one loaded from a cache cannot be inlined into a kernel compiled later, and the loop is half as fast. What every row
# and every fill goes through is inlined by force; the others say that they are not, or numba hands the option down to
# all that is called, and the kernels of orders that rest grow tenfold.
HELPER: dict[str, Any] = {"nogil": True, "forceinline": False}
if hasattr(DefaultOptions, "_nrt"):
    HELPER["_nrt"] = False
ENTRY: dict[str, Any] = {**HELPER, "cache": True}
INLINE: dict[str, Any] = {**HELPER, "forceinline": True}

# How target weights become shares.
AT_DECISION, AT_FILL, AS_VECTORBT, AS_BACKTESTING = 0, 1, 2, 3

# What an asset's pending slot holds: nothing, a share count, a weight to size at the fill, a weight waiting for a
# first close to be sized with.
NOTHING, SHARE_COUNT, FRACTION, UNPRICED = 0.0, 1.0, 2.0, 3.0

# Why an order is in the list. `knowable.backtest.reasons` gives each its sentence.
# Floats, as other codes handed to helpers are: numba compiles a helper again for every literal whole number.
FILLED, LATE, CUT, NO_CASH, NO_PRICE, LAST_BAR, REPLACED, ROUNDED = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0
LIQUIDATED, CANCELLED, NEVER_PRICED, TOO_DEAR = 8.0, 9.0, 10.0, 11.0
STOPPED, TARGET_REACHED, TRAILED = 12.0, 13.0, 14.0
LIMITED = 15.0
# What `knowable.kernels.actions` books, and the kinds of its actions:
DELISTED, MERGED, SPLIT, DIVIDEND, SPUN_OFF, PAID_FUNDING, ROLLED = 16.0, 17.0, 18.0, 19.0, 20.0, 21.0, 22.0
# Orders of the book: filled at a limit, a stop, the open; over with its day; cancelled by the strategy; one cancels the
# other; a short too large; no member of the universe; never reached.
LIMIT_ORDER, STOP_ORDER, AT_OPEN, EXPIRED, WITHDRAWN, PAIRED = 23.0, 24.0, 25.0, 26.0, 27.0, 28.0
NO_LEVERAGE, NO_MEMBER, NOT_REACHED = 29.0, 30.0, 31.0
NO_BAR = -1.0

# Rows of `assets`, the state of each asset:
HELD = 0  # signed shares
MARK = 1  # last close; before the first one the price of the first fill, and 0 before that
ENTRY_PRICE = 2  # average price of the open position, fees left out
ENTRY_FEES = 3  # fees paid for what is still open
ACTED = 4  # the weight last acted on
KIND = 5  # what is pending: NOTHING ... UNPRICED
TARGET = 6  # pending shares or weight, as KIND says
WEIGHT = 7  # the last stated weight, scaled if its row was; the pending target came from it
DECIDED = 8  # the bar it was decided on
FRESH = 9  # 1 if that decision changed the asset's weight
WANTED = 10  # scratch within a row: signed size of the order at hand
IN_SHARES = 11  # 1 if the position was last asked for in shares, so that no weight was stated for it
# What guards the position; fractions are NaN where there is none.
ARMED = 12  # sign of the position that the levels below belong to; 0: none
SINCE = 13  # the bar it was armed on
STOP, GOAL = 14, 15  # prices at which it is closed
ANCHOR = 16  # best price since: highest high of a long, lowest low of a short
TRAIL = 17  # fraction of the anchor at which it is closed
NEXT_STOP, NEXT_GOAL, NEXT_TRAIL = 18, 19, 20  # fractions of the entry price that the entry decided last asks for
CAPPED = 21  # scratch within a row: 1 if the order at hand is only what the bar's volume allows, and the rest waits
UNFUNDED = 22  # 1: a future or perpetual, whose gains are settled in cash and which is not paid for
USED, USED_ON = 23, 24  # shares filled of the volume of bar USED_ON
GONE = 25  # 1 once it was delisted or taken over
NOW, LOW_NEXT, IS_CHANGE = 26, 27, 28  # scratch of a walk: the price it is at, and its way; 1: TARGET is a change asked
# The quote at hand, scratch within a row: see `take_quote`.
PRICE = 29  # reference price of fills; NaN: none
VOLUME = 30  # the bar's, where fills hang on it, else infinite
QUOTED = 31  # the first terms, up to TERM_IMPACT: row QUOTED + TERM_FEE is the fee
BAR_OPEN, BAR_HIGH, BAR_LOW, BAR_LAST = range(37, 41)  # the bar's way, for orders that rest; no open: NaN
RATE = 41  # scratch of a walk: money for one of the asset's own currency at the fills of the bar
N_SLOTS = 42

# Entries of `account`: money, then counts, held as floats (exact to 2 ** 53). FEES ... FUNDING are of the row at hand:
# costs to MARGIN_INTEREST, then what comes in (or, below 0, goes out). TRADED ... N_EXPOSED are totals and stand
# together: `statistics_kernel` takes them as its activity.
CASH, EQUITY, FEES, SPREAD, SLIPPAGE, IMPACT, BORROW, MARGIN_INTEREST, INTEREST, DIVIDENDS, FUNDING = range(11)
N_FLOWS = 9  # FEES ... FUNDING
TRADED, N_TRADES, N_WINS, N_EXPOSED = range(11, 15)
BAR, N_ORDERS, N_FILLS, N_PENDING, N_UNPRICED, N_HELD, N_DECISIONS = range(15, 22)
LIQUIDATION, NEXT_ACTION = 22, 23  # the bar of liquidation, -1 while there is none; row of `actions`
N_BOOK, N_NUMBERED, N_BOOK_NEWS, N_ENTRIES = 24, 25, 26, 27  # rows of `book`, numbers given, asked of it on this row

# Columns of `bars_out` (the flows as in `account`) and of `orders_out`.
BAR_CASH, BAR_FEES, BAR_SPREAD, BAR_SLIPPAGE, BAR_IMPACT, BAR_BORROW, BAR_MARGIN_INTEREST = range(7)
BAR_INTEREST, BAR_DIVIDENDS, BAR_FUNDING, N_BAR_COLUMNS = range(7, 11)
ORDER_ASSET, ORDER_DECIDED, ORDER_FILLED, ORDER_WANTED, ORDER_SIZE = range(5)
ORDER_REFERENCE, ORDER_PRICE, ORDER_FEE, ORDER_REASON, N_ORDER_COLUMNS = range(5, 10)

# Middle index of `terms`, what it costs to trade, to hold and to owe; rates are fractions.
TERM_FEE, TERM_FEE_PER_SHARE, TERM_FEE_MIN, TERM_SPREAD, TERM_SLIPPAGE = range(5)
TERM_IMPACT = 5  # of the price, for a fill as large as the bar's volume
TERM_BORROW, TERM_CASH, TERM_MARGIN, N_TERMS = 6, 7, 8, 9  # a calendar day; those of cash in the first column
N_QUOTED = 6

# Columns of `actions`, what happens to what is held, in order of rows. `knowable.kernels.actions` says what each does.
ACTION_ROW, ACTION_ASSET, ACTION_KIND, ACTION_RATIO, ACTION_AMOUNT, ACTION_OTHER, N_ACTION_COLUMNS = range(7)

# Middle index of `abroad`, of assets in their own currencies: what one unit of it is in money at a row's fills; the
# prices of the close, of the last close known at the row's decision, and of fills, in that currency.
ABROAD_RATE, ABROAD_CLOSE, ABROAD_KNOWN, ABROAD_FILL, N_ABROAD = range(5)

# Columns of `book`, the orders that rest in the market; its first N_BOOK rows are in use, in order of their numbers.
B_NUMBER, B_ASSET, B_STATE, B_ROLE = range(4)
B_SHARES = 4  # signed shares left; of a bracket's child only what its parent has filled
B_LIMIT, B_STOP, B_TRAIL, B_ANCHOR = range(5, 9)  # prices and a fraction of ANCHOR, the best price so far; NaN: none
B_PLACED = 9  # the bar it was decided on
B_DAY = 10  # 1: until the end of the session of the bar after that
B_PARENT = 11  # the number of a child's parent, else -1
B_SINCE, B_INSIDE = 12, 13  # the last bar its parent filled on, and whether that was after the open
B_DONE, N_BOOK_COLUMNS = 14, 15  # the bar whose volume it has used up

ORDERS_PER_ASSET = 7  # the most one asset can leave in one row; the buffer keeps room for a whole row
DUST = 1e-9  # a change smaller than this share of the position is rounding, not an order
MARGIN = 1e-12  # a cut buy leaves this share of cash unspent, so that rounding never borrows
EPSILON = 2.220446049250313e-16


class Rules(NamedTuple):
    """Settings as numbers; rates are fractions."""

    delay: int  # bars from decision to fill: 0 or 1
    sizing: int
    lot: float  # 0: fractional shares
    max_leverage: float
    scale: bool
    on_change: bool
    borrows: bool  # whether shorts pay
    earns: bool  # whether cash earns or costs interest
    maintenance: float  # share of the positions' value that equity must stay above
    volume_limit: float  # share of a bar's volume that fills may be; inf: any
    futures: bool  # whether any asset is unfunded
    intrabar: int = 0  # how a bar went between its open and its close: STOP_FIRST ... LOW_FIRST of `exits`
    at_open: bool = True  # whether fills are at the open, before the rest of their bar
    entry_bar: bool = True  # whether a position may be closed on the bar it was entered at the open of


NO_PRICES, NO_DAYS = np.empty((0, 0)), np.empty(0, np.bool_)
NO_ABROAD = np.empty((0, N_ABROAD, 0))
NO_PRICES.flags.writeable = NO_DAYS.flags.writeable = NO_ABROAD.flags.writeable = False


class Feed(NamedTuple):
    """What each row brings from outside; n_bars rows each but for `terms`, which may be the same for all."""

    price: np.ndarray  # (n_bars, n_assets) reference prices of fills; NaN: no fill
    close: np.ndarray  # (n_bars, n_assets) marks; NaN: the last one stands
    known: np.ndarray  # (n_bars, n_assets) last close known at each decision; NaN: none. (0, n_assets): the marks
    days: np.ndarray  # (n_bars,) calendar days since the row before; (0,) where no night costs or earns
    volume: np.ndarray  # (n_bars, n_assets) of each bar, where fills hang on it, else (0, n_assets)
    terms: np.ndarray  # (n_bars or 1, N_TERMS, n_assets or 1)
    actions: np.ndarray  # (n_actions, N_ACTION_COLUMNS) of the whole run; rows counted from its first
    open: np.ndarray = NO_PRICES  # (n_bars, n_assets) of each bar, where orders may rest, else (0, 0); own currency
    high: np.ndarray = NO_PRICES
    low: np.ndarray = NO_PRICES
    new_day: np.ndarray = NO_DAYS  # (n_bars,) bool, whether the bar begins another session than that of the bar before
    abroad: np.ndarray = NO_ABROAD  # (n_bars, N_ABROAD, n_assets), where there are levels and rates, else no row


class LedgerState(NamedTuple):
    """All that the ledger remembers between rows. Few arrays, not one for each thing remembered: every helper is handed
    them, and 13 arguments more cost more than the work (a trial took 310 microseconds instead of 130).
    """

    assets: np.ndarray  # (N_SLOTS, n_assets) float64
    account: np.ndarray  # (N_ENTRIES,) float64
    book: Any  # (capacity, N_BOOK_COLUMNS) float64; None: code for orders that rest is not compiled


@njit(cache=True, nogil=True)
def new_state(marks, unfunded, cash):
    """An account with `cash`, no positions and no room for orders that rest.

    Args:
        marks: (n_assets,) closes before the first row, 0 where none.
        unfunded: (n_assets,) 1 for futures and perpetuals, else 0.
        cash: to begin with.
    """
    assets, account = np.zeros((N_SLOTS, marks.shape[0])), np.zeros(N_ENTRIES)
    account[CASH] = account[EQUITY] = cash
    account[LIQUIDATION] = -1.0
    for j in range(marks.shape[0]):
        assets[MARK, j] = marks[j]
        assets[UNFUNDED, j] = unfunded[j]
        assets[SINCE, j] = assets[USED_ON, j] = -1.0
    return LedgerState(assets, account, None)


@njit(**INLINE)
def take_quote(t, j, price, volume, terms, assets):
    """Lay an asset's price, volume and terms of row `t` beside what is held of it.

    Every helper of a fill is handed `assets` anyway. Handed these arrays too, each would move a hundred numbers to do
    the work of ten: a fill took 630 ns instead of 380.
    """
    assets[PRICE, j] = price[t, j]
    assets[VOLUME, j] = volume[t, j] if volume.shape[0] > 0 else np.inf
    row, column = t if terms.shape[0] > 1 else 0, j if terms.shape[2] > 1 else 0
    for k in range(N_QUOTED):
        assets[QUOTED + k, j] = terms[row, k, column]


@njit(**HELPER)
def rate_of(t, j, abroad):
    """Money for one of an asset's own currency at the fills of row `t`."""
    return abroad[t, ABROAD_RATE, j] if abroad.shape[0] > 0 else 1.0


@njit(**HELPER)
def value_at(assets, account):
    """Account value at the quoted prices; where one is missing, at the last close."""
    value = account[CASH]
    for j in range(assets.shape[1]):
        if assets[HELD, j] != 0.0:
            ref = assets[PRICE, j]
            value += assets[HELD, j] * (ref if ref == ref else assets[MARK, j])
    return value


@njit(**INLINE)
def tradable(j, size, rules, assets, account):
    """How much of `size` shares, above 0, the bar's volume still allows; 0 where it has none."""
    if not assets[VOLUME, j] > 0.0:
        return 0.0
    used = assets[USED, j] if assets[USED_ON, j] == account[BAR] else 0.0
    left = rules.volume_limit * assets[VOLUME, j] - used
    return size if size <= left else max(whole_lots(left, rules.lot), 0.0)


@njit(**HELPER)
def whole_lots(shares, lot):
    """Round toward zero; a share count within 1e-9 of a whole lot is that lot (0.3 / 0.1 is 3, not 2)."""
    if lot == 0.0:
        return shares
    lots = np.floor(abs(shares) / lot * (1.0 + 1e-9))
    return lots * lot if shares > 0.0 else -(lots * lot)


@njit(**HELPER)
def term(t, which, j, terms):
    """A number of `terms`, which may be one for all rows, for all assets, or for both."""
    return terms[t if terms.shape[0] > 1 else 0, which, j if terms.shape[2] > 1 else 0]


@njit(**INLINE)
def fee_of(j, size, price, assets):
    """The fee for `size` shares, above 0, at a price."""
    fee = size * price * assets[QUOTED + TERM_FEE, j] + size * assets[QUOTED + TERM_FEE_PER_SHARE, j]
    return max(fee, assets[QUOTED + TERM_FEE_MIN, j])


@njit(**INLINE)
def worse_by(j, size, assets):
    """The share of the reference price by which a fill of `size` shares, above 0, is worse.

    Spread and slippage, and the square-root law of market impact: a coefficient times the root of the share that the
    fill is of its bar's volume (Almgren, Thum, Hauptmann and Li, "Direct estimation of equity market impact", 2005;
    Bouchaud, Farmer and Lillo, 2009, for the exponent 1/2).
    """
    return assets[QUOTED + TERM_SPREAD, j] + assets[QUOTED + TERM_SLIPPAGE, j] + impact_of(j, size, assets)


@njit(**HELPER)
def impact_of(j, size, assets):
    """See `worse_by`."""
    impact = assets[QUOTED + TERM_IMPACT, j]
    return impact * np.sqrt(size / assets[VOLUME, j]) if impact > 0.0 else 0.0


@njit(**INLINE)
def trade(j, delta, wanted, ref, reason, rules, assets, account, orders_out):
    """Exchange shares for cash at the reference price made worse by spread, slippage and impact, and pay the fee."""
    rate = worse_by(j, abs(delta), assets)
    at_level = reason == TARGET_REACHED or (rules.sizing == AS_VECTORBT and reason >= STOPPED)
    if at_level or (rules.sizing == AS_BACKTESTING and assets[HELD, j] * delta < 0.0):
        rate = 0.0  # a limit is filled at its price; so are vectorbt's stops; backtesting.py takes spread on entries
    trade_at(j, delta, wanted, ref, rate, reason, rules, assets, account, orders_out)


@njit(**INLINE)
def trade_at(j, delta, wanted, ref, rate, reason, rules, assets, account, orders_out):
    """The same where it is known by what share of the reference price the fill is worse."""
    held, size = assets[HELD, j], abs(delta)
    price = ref * (1.0 + rate) if delta > 0.0 else ref * (1.0 - min(rate, 1.0))
    fee = fee_of(j, size, price, assets)
    account[CASH] = account[CASH] - delta * price - fee
    account[FEES] += fee
    _attribute(j, size, size * abs(price - ref), rate, assets, account)
    account[TRADED] += size * ref
    assets[USED, j] = size + (assets[USED, j] if assets[USED_ON, j] == account[BAR] else 0.0)
    assets[USED_ON, j] = account[BAR]
    account_trade(j, delta, price, fee, assets, account)
    if assets[MARK, j] == 0.0:
        assets[MARK, j] = ref  # no close so far: what was just paid is the best that is known of its worth
    assets[HELD, j] = held + delta
    if held == 0.0:
        account[N_HELD] += 1
    if assets[HELD, j] == 0.0:
        account[N_HELD] -= 1
    account[N_FILLS] += 1
    if orders_out.shape[0] > 0:
        if account[LIQUIDATION] >= 0:
            reason = LIQUIDATED
        elif reason == FILLED and account[BAR] - assets[DECIDED, j] > rules.delay:
            reason = LATE
        record(j, assets[DECIDED, j], account[BAR], wanted, delta, ref, price, fee, reason, account, orders_out)


@njit(**INLINE)
def _attribute(j, size, adverse, rate, assets, account):
    """Share out the money by which a fill was worse."""
    if rate == 0.0:
        return
    spread = adverse * (assets[QUOTED + TERM_SPREAD, j] / rate)
    impact = adverse * (impact_of(j, size, assets) / rate)
    account[SPREAD] += spread
    account[IMPACT] += impact
    account[SLIPPAGE] += adverse - spread - impact


@njit(**INLINE)
def account_trade(j, delta, price, fee, assets, account):
    """Average entry price: a fill that reduces a position closes a trade of that size."""
    held, size = assets[HELD, j], abs(delta)
    if held * delta >= 0.0:
        total = abs(held) + size
        assets[ENTRY_PRICE, j] = (assets[ENTRY_PRICE, j] * abs(held) + price * size) / total
        assets[ENTRY_FEES, j] += fee
        return
    closed = min(size, abs(held))
    exit_fee = fee * (closed / size)
    entry_fee = assets[ENTRY_FEES, j] * (closed / abs(held))
    gain = closed * (price - assets[ENTRY_PRICE, j])
    pnl = (gain if held > 0.0 else -gain) - exit_fee - entry_fee
    account[N_TRADES] += 1
    if pnl > 0.0:
        account[N_WINS] += 1
    if size > abs(held):
        assets[ENTRY_PRICE, j] = price
        assets[ENTRY_FEES, j] = fee - exit_fee
    else:
        assets[ENTRY_FEES, j] -= entry_fee


@njit(**HELPER)
def clear(j, assets, account):
    """Empty an asset's pending slot."""
    if assets[KIND, j] == UNPRICED:
        account[N_UNPRICED] -= 1
    elif assets[KIND, j] != NOTHING:
        account[N_PENDING] -= 1
    assets[KIND, j] = NOTHING


@njit(**HELPER)
def record_unfilled(j, reason, assets, account, orders_out):
    """An order that came to nothing. Its wanted size is NaN where it was never sized."""
    if orders_out.shape[0] == 0:
        return
    at_hand = reason == NO_CASH or reason == TOO_DEAR
    wanted = assets[WANTED, j] if at_hand else np.nan
    if not at_hand and assets[KIND, j] == SHARE_COUNT:
        wanted = assets[TARGET, j] - assets[HELD, j]
    if reason == ROUNDED:
        wanted = 0.0
    record(j, assets[DECIDED, j], NO_BAR, wanted, 0.0, np.nan, np.nan, 0.0, reason, account, orders_out)


@njit(**HELPER)
def record(j, decided, bar, wanted, size, ref, price, fee, reason, account, orders_out):
    """Write a row of the list; there must be a list."""
    row = int(account[N_ORDERS])
    orders_out[row, ORDER_ASSET] = j
    orders_out[row, ORDER_DECIDED] = decided
    orders_out[row, ORDER_FILLED] = bar
    orders_out[row, ORDER_WANTED] = wanted
    orders_out[row, ORDER_SIZE] = size
    orders_out[row, ORDER_REFERENCE] = ref
    orders_out[row, ORDER_PRICE] = price
    orders_out[row, ORDER_FEE] = fee
    orders_out[row, ORDER_REASON] = reason
    account[N_ORDERS] += 1
