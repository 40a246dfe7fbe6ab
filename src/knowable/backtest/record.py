"""Run the ledger with records: grow the buffer of orders as needed, and close the list at the last bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from knowable.backtest.tape import Tape, rest_of
from knowable.kernels import account as codes
from knowable.kernels.account import LedgerState, Rules
from knowable.kernels.book import TRIGGERED
from knowable.kernels.ledger import ledger_kernel

__all__ = ["LedgerRecord", "record_of", "run_ledger"]

Panel = npt.NDArray[np.float64]

_MOST_ROOM = 1_000_000
_NONE = np.empty((0, codes.N_ORDER_COLUMNS))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LedgerRecord:
    """All that one run of the ledger left behind.

    Attributes:
        equity: (n_bars,) account value at each close.
        bars: (n_bars, N_BAR_COLUMNS) cash and costs, columns `BAR_CASH` ... of `knowable.kernels.account`.
        orders: (n_orders, N_ORDER_COLUMNS), in the order they were settled; bars counted from the run's first.
        activity: (4,) traded value, closed trades, of these won, bars with a position.
        n_fills: orders filled, in full or in part.
        liquidated_at: bar on which equity came to nothing; -1: it did not.
    """

    equity: Panel
    bars: Panel
    orders: Panel
    activity: Panel
    n_fills: int
    liquidated_at: int


def run_ledger(
    weights: Panel, decide: npt.NDArray[np.bool_], tape: Tape, rules: Rules, *, cash: float, room: int | None = None
) -> LedgerRecord:
    """Run checked, read-only weights over a tape.

    Args:
        weights: (n_rows, n_assets).
        decide: (n_rows,).
        tape: prices of the same rows.
        rules: the settings as numbers.
        cash: at the start.
        room: orders the first buffer holds beyond what one row may need; None: one an asset for each row that may be
            decided on, up to a bound (pages that stay unused cost nothing).
    """
    n_bars, n_assets = weights.shape
    state = tape.new_state(cash)
    equity, bars = np.empty(n_bars), np.zeros((codes.N_BAR_COLUMNS, n_bars))
    if room is None:
        room = min(int(decide.sum()) * n_assets, _MOST_ROOM)
    room += 2 * len(tape.feed.actions)
    orders = np.empty((codes.ORDERS_PER_ASSET * n_assets + room, codes.N_ORDER_COLUMNS))
    done = 0
    while True:
        done += ledger_kernel(
            weights[done:],
            decide[done:],
            rest_of(tape.feed, done),
            rules,
            state,
            equity[done:],
            bars,
            orders,
        )
        if done == n_bars:
            break
        orders = np.concatenate([orders, np.empty_like(orders)])
    return record_of(state, rules, equity, bars, orders)


def record_of(state: LedgerState, rules: Rules, equity: Panel, bars: Panel, orders: Panel) -> LedgerRecord:
    """The record of a run that has reached its last bar; orders that are still pending join the list.

    Args:
        state: of the ledger after the last bar.
        rules: the settings as numbers.
        equity: (n_bars,).
        bars: (N_BAR_COLUMNS, n_bars), as kernels write them.
        orders: (capacity, N_ORDER_COLUMNS).
    """
    settled, pending = orders[: int(state.account[codes.N_ORDERS])], _still_pending(state, len(equity), rules)
    return LedgerRecord(
        equity=equity,
        bars=bars.T,
        orders=np.concatenate([settled, pending]) if len(pending) else settled,
        activity=state.account[codes.TRADED : codes.N_EXPOSED + 1].copy(),
        n_fills=int(state.account[codes.N_FILLS]),
        liquidated_at=int(state.account[codes.LIQUIDATION]),
    )


def _still_pending(state: LedgerState, n_bars: int, rules: Rules) -> Panel:
    """Orders for what the last bar left undone; first those that rest in the book, by number."""
    if state.book is None and not (state.assets[codes.KIND] != codes.NOTHING).any():
        return _NONE
    return np.concatenate([_resting(state), _waiting(state, n_bars, rules)])


def _resting(state: LedgerState) -> Panel:
    if state.book is None:
        return _unfilled(0)
    book = state.book[: int(state.account[codes.N_BOOK])]
    book = book[book[:, codes.B_STATE] <= TRIGGERED]
    rows = _unfilled(len(book))
    rows[:, codes.ORDER_ASSET] = book[:, codes.B_ASSET]
    rows[:, codes.ORDER_DECIDED] = book[:, codes.B_PLACED]
    rows[:, codes.ORDER_WANTED] = book[:, codes.B_SHARES]
    gone = state.assets[codes.GONE, book[:, codes.B_ASSET].astype(np.int64)] != 0.0
    rows[:, codes.ORDER_REASON] = np.where(gone, codes.DELISTED, codes.NOT_REACHED)
    return rows


def _unfilled(n: int) -> Panel:
    rows = np.full((n, codes.N_ORDER_COLUMNS), np.nan)
    rows[:, codes.ORDER_FILLED] = -1.0
    rows[:, codes.ORDER_SIZE] = 0.0
    rows[:, codes.ORDER_FEE] = 0.0
    return rows


def _waiting(state: LedgerState, n_bars: int, rules: Rules) -> Panel:
    kind, decided = state.assets[codes.KIND], state.assets[codes.DECIDED]
    pending = np.flatnonzero(kind != codes.NOTHING)
    rows = _unfilled(len(pending))
    rows[:, codes.ORDER_ASSET] = pending
    rows[:, codes.ORDER_DECIDED] = decided[pending]
    sized = kind[pending] == codes.SHARE_COUNT
    rows[sized, codes.ORDER_WANTED] = (state.assets[codes.TARGET] - state.assets[codes.HELD])[pending[sized]]
    last = (decided[pending] == n_bars - 1) & (rules.delay > 0)
    reason = np.where(last, codes.LAST_BAR, codes.NO_PRICE)
    reason = np.where(kind[pending] == codes.UNPRICED, codes.NEVER_PRICED, reason)
    rows[:, codes.ORDER_REASON] = np.where(state.assets[codes.GONE, pending] != 0.0, codes.DELISTED, reason)
    return rows
