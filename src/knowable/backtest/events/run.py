"""`EventRun`: one account that strategies trade bar by bar, on the ledger that target weights run on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.backtest.events.account import BarAccount, nothing_asked
from knowable.backtest.events.bar import History
from knowable.backtest.events.compiled import compiled_for, is_refusal, runs_compiled
from knowable.backtest.events.failures import explain_call_failure, note_call, refuse_returned
from knowable.backtest.events.inputs import remember, seen_names
from knowable.backtest.events.misuse import refuse_misuse
from knowable.backtest.events.typing_errors import explain_typing
from knowable.backtest.record import LedgerRecord, record_of
from knowable.backtest.settings import Settings
from knowable.backtest.simulate import explain_leverage, leverage_limit
from knowable.backtest.tape import Tape, read_only, read_tape, rules_of
from knowable.backtest.traded import units_of
from knowable.data.market import Market, members_of
from knowable.errors import InputError, KnowableError
from knowable.kernels import account as codes
from knowable.kernels.book import book_records, book_room
from knowable.kernels.decision import ASKED_KIND, ASKED_NOTHING, ASKED_WEIGHTS
from knowable.kernels.turns import (
    ask_book_kernel,
    close_row_kernel,
    entry_point,
    keep_book_kernel,
    open_row_kernel,
    turn_kernel,
    withdraw_kernel,
)
from knowable.strategy import Strategy

__all__ = ["EventRun", "event_tape"]

Panel: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.bool_]

_MOST_ROOM = 1_000_000
_NO_ROOM = -1.0  # of `turn_kernel`


class EventRun:
    """An account over rows [start, stop) of a market, traded by one strategy or by several in turn.

    Args:
        market: prices; bars read its `panels`, fills and marks its final values.
        settings: the account.
        start: first row.
        stop: row after the last.
        records: keep orders and the costs of each bar; without them only equity and totals.
        targets: keep what was asked for, as weights.
        tape: of these rows, where it is at hand.

    Attributes:
        equity: (n_rows,) account value at each close, as far as has been traded.
        targets: (n_rows, n_assets) weights asked for, NaN where nothing was; for positions asked for in shares the
            weight they have at the price and equity known at the decision. (0, n_assets) if not kept.
        state: of the ledger.
    """

    def __init__(
        self,
        market: Market,
        settings: Settings,
        start: int,
        stop: int,
        *,
        records: bool = True,
        targets: bool = False,
        tape: Tape | None = None,
    ) -> None:
        self.market, self.settings = market, settings
        self.tape = event_tape(market, settings, start, stop) if tape is None else tape
        n_rows, n_assets = self.tape.feed.price.shape
        members = members_of(market)
        self.members = read_only(np.empty((0, n_assets), bool) if members is None else members[start:stop])
        self.state = self.tape.new_state(settings.cash)
        if self.state.book is None:
            self.state = self.state._replace(book=np.empty((0, codes.N_BOOK_COLUMNS)))
        self.equity = np.empty(n_rows)
        self.bars = np.zeros((codes.N_BAR_COLUMNS, n_rows if records else 0))
        room = self._most_records() + min(n_rows * n_assets, _MOST_ROOM) if records else 0
        self.orders = np.empty((room, codes.N_ORDER_COLUMNS))
        self.targets = np.full((n_rows if targets else 0, n_assets), np.nan)
        self._asked = nothing_asked(n_assets)
        self._units = read_only(units_of(market))
        self._nothing = np.empty((0, n_assets))
        self._limit = leverage_limit(settings) * (1.0 + 1e-9)
        self._rules = rules_of(settings, on_change=True, futures=self.tape.futures)
        self._turn_code: Any = None

    def trade(self, strategy: Strategy, features: Mapping[str, Panel], decide: Rows, first: int, stop: int) -> None:
        """Let a strategy trade rows [first, stop) of the market, from where the rows before left the account.

        Args:
            strategy: the run's own copy.
            features: name -> (n_bars, n_assets), rows of the market.
            decide: (n_bars,) rows of the market on which `on_bar` is called.
            first: row of the market, the first that is not traded yet.
            stop: row after the last.

        Raises: StrategyError from its code; InputError for orders or weights that are not allowed.
        """
        self._rules = rules_of(self.settings, on_change=strategy.rebalance is None, futures=self.tape.futures)
        refuse_misuse(strategy)
        remember(strategy, self.market, first)
        known = seen_names(self.market, features)
        if runs_compiled(strategy):
            self._trade_compiled(strategy, known, decide, first, stop)
        else:
            self._trade_plain(strategy, known, decide, first, stop)

    def _trade_compiled(
        self, strategy: Strategy, known: Mapping[str, Panel], decide: Rows, first: int, stop: int
    ) -> None:
        code = compiled_for(strategy, known)
        tape, offset = self.tape, self.tape.start
        before = [*(array.copy() for array in self.state[:2]), self.state.book[: self._n_book()].copy()]
        rows = read_only(np.ascontiguousarray(decide[offset : offset + len(tape.feed.price)]))
        me, panels = code.me(strategy), code.panels(known)
        t, end, gross = first - offset, stop - offset, 0.0
        try:
            while t < end and not gross > 0.0:
                self._make_room()
                t, gross = code.run(
                    me, panels, offset, t, end, rows, self.members, tape.feed, self._rules,
                    self.state, self._asked, self._units, self._limit, self.settings.preset is None,
                    self.equity, self.bars, self.orders, self.targets,
                )  # fmt: skip
        except Exception as error:
            self._restore(before)
            self._asked[...] = nothing_asked(len(self.market.assets))
            remember(strategy, self.market, first)
            self._trade_plain(strategy, known, decide, first, stop)  # compiled code says neither where nor why
            if is_refusal(error):
                raise explain_typing(strategy, error) from error
            raise explain_call_failure(strategy, error, "on_bar (compiled)") from error
        if t < end:
            raise InputError(explain_leverage(gross, self.market, offset + t, self.settings, kept=True))

    def _trade_plain(self, strategy: Strategy, known: Mapping[str, Panel], decide: Rows, first: int, stop: int) -> None:
        history = History(known, self.market.index, self.market.assets)
        clock, offset = [0], self.tape.start
        account = BarAccount(
            state=lambda: self.state,
            asked=self._asked,
            units=self._units,
            history=history,
            known=self.tape.feed.known,
            abroad=self.tape.feed.abroad,
            clock=clock,
            preset=self.settings.preset,
        )
        on_bar: Any = strategy.on_bar  # type: ignore[attr-defined]  # there: `is_event_driven`
        alive = _alive(self.state.account)
        self._open(first - offset)
        for row in range(first, stop):
            asked = self._nothing
            if decide[row] and alive[0] < 0.0:
                clock[0] = row - offset
                asked = self._asked
                try:
                    returned = on_bar(history.bar(row), account)
                except KnowableError as error:
                    note_call(error, strategy, "on_bar", self.market.index[row])
                    raise
                except (Exception, SystemExit, GeneratorExit) as error:  # a strategy ends its trial, never the program
                    raise explain_call_failure(strategy, error, "on_bar", self.market.index[row]) from error
                if returned is not None:
                    refuse_returned(strategy, returned, self.market.index[row])
            self._turn(row - offset, asked, last=row + 1 == stop)

    def stay_flat(self, first: int, stop: int) -> None:
        """Hold nothing on rows [first, stop) of the market: sell all on the first of them."""
        self._undecided(first, stop, sell=True)

    def wait(self, first: int, stop: int) -> None:
        """Decide nothing on rows [first, stop) of the market."""
        self._undecided(first, stop, sell=False)

    def _undecided(self, first: int, stop: int, *, sell: bool) -> None:
        self._rules = rules_of(self.settings, on_change=True, futures=self.tape.futures)
        alive = _alive(self.state.account)
        if first < stop:
            self._open(first - self.tape.start)
        for row in range(first, stop):
            asked = self._nothing
            if sell and row == first and alive[0] < 0.0:
                asked = self._asked
                asked[ASKED_WEIGHTS] = 0.0
                withdraw_kernel(-1, -1, self.state)
            self._turn(row - self.tape.start, asked, last=row + 1 == stop)

    @property
    def activity(self) -> Panel:
        """(4,) traded value, closed trades, of these won, bars with a position."""
        made: Panel = self.state.account[codes.TRADED : codes.N_EXPOSED + 1].copy()
        return made

    def record(self) -> LedgerRecord:
        """All that was left behind, after the last row."""
        return record_of(self.state, self._rules, self.equity, self.bars, self.orders)

    def _open(self, t: int) -> None:
        self._make_room()
        tape = self.tape
        open_row_kernel(t, tape.feed, self._rules, self.state, self.orders)
        if self._turn_code is None:
            self._turn_code = entry_point(turn_kernel, *self._arguments(0, self._nothing))

    def _turn(self, t: int, asked: Panel, *, last: bool) -> None:
        """Close row `t` with what was asked for, and open the next unless it is the last."""
        kept = self._asked.copy() if len(self.targets) and len(asked) else None
        told = np.zeros(asked.shape[1])
        if kept is not None:
            ask_book_kernel(t, self.tape.feed, self.state, told)
        if last or kept is not None:
            self._make_room()
            gross = close_row_kernel(*self._arguments(t, asked))
        else:
            gross = self._turn_code(*self._arguments(t, asked))
            while gross == _NO_ROOM:
                self._grow()
                gross = self._turn_code(*self._arguments(t, asked))
        if kept is not None:
            self._keep(t, kept)  # before the next row is opened, whose fills change what positions weigh
            keep_book_kernel(t, told, self.targets)
            if not last:
                self._open(t + 1)
        if not gross <= self._limit:
            row = self.tape.start + t
            raise InputError(explain_leverage(gross, self.market, row, self.settings, kept=True))

    def _arguments(self, t: int, asked: Panel) -> tuple[Any, ...]:
        tape = self.tape
        return (
            t, asked, self.members, tape.feed, self._rules, self.state, self.equity, self.bars, self.orders,
        )  # fmt: skip

    def _keep(self, t: int, asked: Panel) -> None:
        in_shares = asked[ASKED_KIND] != ASKED_NOTHING
        weights = np.where(in_shares, self.state.assets[codes.WEIGHT], asked[ASKED_WEIGHTS])
        self.targets[t] = np.where(self.members[t], weights, 0.0) if len(self.members) else weights

    def _make_room(self) -> None:
        needed = self.state.account[codes.N_ORDERS] + self._most_records()
        no_records = 0 < len(self.orders) < needed
        if no_records or 0 < len(self.state.book) < self._n_book() + book_room(len(self.market.assets)):
            self._grow()

    def _grow(self) -> None:
        if len(self.orders):
            self.orders = np.concatenate([self.orders, np.empty((self._most_records(), codes.N_ORDER_COLUMNS))])
            self.orders = np.concatenate([self.orders, np.empty_like(self.orders)])
        book = self.state.book
        if 0 < len(book) < self._n_book() + book_room(len(self.market.assets)):
            self.state = self.state._replace(book=np.concatenate([book, np.zeros_like(book)]))

    def _most_records(self) -> int:
        """That one row may leave."""
        of_book = book_records(self.state.assets, self.state.account, self.state.book)
        of_actions = 2 * len(self.tape.feed.actions)
        return codes.ORDERS_PER_ASSET * len(self.market.assets) + int(of_book) + of_actions

    def _n_book(self) -> int:
        return int(self.state.account[codes.N_BOOK])

    def _restore(self, before: list[Panel]) -> None:
        assets, account, book = before
        self.state.assets[...], self.state.account[...] = assets, account
        self.state.book[...] = 0.0
        self.state.book[: len(book)] = book
        self.bars[:, int(account[codes.BAR]) :] = 0.0  # only what was paid is written there


def event_tape(market: Market, settings: Settings, start: int, stop: int) -> Tape:
    """The tape of a run: with closes as known at each decision, for `on_bar` reads its account then."""
    return read_tape(market, settings, start, stop, event_driven=True)


def _alive(account: Panel) -> Panel:
    """(1,) view of the bar of liquidation, below 0 while there is none."""
    return account[codes.LIQUIDATION : codes.LIQUIDATION + 1]
