"""Results and figures of strategies that say when to enter and to leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.backtest.record import LedgerRecord, record_of
from knowable.backtest.result import Result
from knowable.backtest.settings import Settings
from knowable.backtest.signals import SignalPanels
from knowable.backtest.simulate import explain_leverage, result_of
from knowable.backtest.tape import Tape, read_only, read_tape, rest_of, rules_of
from knowable.backtest.traded import bar_as_quoted, marked
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.kernels import account as codes
from knowable.kernels.exits import Bars
from knowable.kernels.signal_scoring import score_signals_kernel
from knowable.kernels.signals import ENTER_LONG, ENTER_SHORT, signals_kernel
from knowable.kernels.statistics import N_BLOCKS, N_FIGURES, N_MOMENTS

__all__ = ["SignalScorer", "score_signals", "simulate_signals"]

Panel: TypeAlias = npt.NDArray[np.float64]


def simulate_signals(
    panels: SignalPanels,
    market: Market,
    settings: Settings,
    *,
    start: int = 0,
    stop: int | None = None,
    name: str,
    params: Mapping[str, Any],
) -> Result:
    """Run signals over rows [start, stop) of a market, keeping every record.

    Args:
        panels: of the whole market.
        market: prices; fills, levels and marks use its final values.
        settings: the account.
        start: first row to run.
        stop: row after the last; all when None.
        name: of the strategy.
        params: of the strategy.

    Raises: InputError for a market without the prices that fills or levels need, or sizes above `max_leverage`.
    """
    tape = read_tape(market, settings, start, stop, guarded=_guarded(panels))
    record = _run(panels, market, tape, settings)
    return result_of(record, market, settings, start=tape.start, stop=tape.stop, name=name, params=params)


def score_signals(
    panels: SignalPanels, market: Market, settings: Settings, *, start: int, stop: int
) -> tuple[Panel, Panel]:
    """Figures (n_metrics,) and block moments (n_blocks, 3), to the bit those of `simulate_signals`."""
    return SignalScorer(market, settings, start=start, stop=stop).score(panels)


class SignalScorer:
    """Scores panels of signals on the rows [start, stop) of a market, whose tape it reads once. Threads may share it.

    Args:
        market: prices.
        settings: the account.
        start: first row.
        stop: row after the last.

    Raises: InputError as `read_tape`.
    """

    def __init__(self, market: Market, settings: Settings, *, start: int, stop: int) -> None:
        self._market, self._settings = market, settings
        self._tape = read_tape(market, settings, start, stop, guarded=True)
        self._rules = rules_of(settings, on_change=False, futures=self._tape.futures)
        self._bars: dict[bool, Bars] = {}

    def score(self, panels: SignalPanels) -> tuple[Panel, Panel]:
        """Figures (n_metrics,) and block moments (n_blocks, 3) of panels of the whole market.

        Raises: InputError for levels without the prices they need, or sizes above `max_leverage`.
        """
        guarded, tape = _guarded(panels), self._tape
        if guarded not in self._bars:
            self._bars[guarded] = _bars(guarded, self._market, tape)
        panels = panels.rows(tape.start, tape.stop)
        figures, moments, fault = np.full(N_FIGURES, np.nan), np.empty((N_BLOCKS, N_MOMENTS)), np.full(2, -1.0)
        score_signals_kernel(
            panels.flags,
            panels.size,
            panels.guards,
            self._bars[guarded],
            tape.feed,
            tape.marks,
            tape.unfunded,
            self._rules,
            self._settings.cash,
            float(self._market.bars_per_year),
            figures,
            moments,
            fault,
        )
        if fault[0] >= 0:
            row = tape.start + int(fault[0])
            raise InputError(explain_leverage(float(fault[1]), self._market, row, self._settings, kept=True))
        return figures, moments


def _guarded(panels: SignalPanels) -> bool:
    """Whether any position may have a level; one number is looked at without numpy, which takes longer to ask."""
    return any(each[0, 0] == each[0, 0] if each.size == 1 else not np.isnan(each).all() for each in panels.guards)


def _bars(guarded: bool, market: Market, tape: Tape) -> Bars:
    """The prices that levels are met at. Without any level, the close stands for what the market has not.

    Raises: InputError if there are levels and the market lacks open, high or low.
    """
    if guarded:
        missing = [name for name in ("open", "high", "low") if name not in market.final]
        if missing:
            raise InputError(
                f"A stop, target or trail is met within a bar, which needs open, high and low, but the market has "
                f"{', '.join(market.final)} only.\nGive {', '.join(missing)}, as in Market.from_frames(close=..., "
                f"{missing[0]}={missing[0]}), or leave by `exit`."
            )
    found = bar_as_quoted(market) if guarded else [marked(market)] * 4
    return Bars(*(read_only(each)[tape.start : tape.stop] for each in found))


def _run(panels: SignalPanels, market: Market, tape: Tape, settings: Settings) -> LedgerRecord:
    bars = _bars(_guarded(panels), market, tape)
    panels = panels.rows(tape.start, tape.stop)
    n_bars, n_assets = panels.flags.shape
    rules = rules_of(settings, on_change=False, futures=tape.futures)
    state = tape.new_state(settings.cash)
    equity = np.empty(n_bars)
    rows = np.zeros((codes.N_BAR_COLUMNS, n_bars))
    n_entries = int(np.count_nonzero(panels.flags & (ENTER_LONG | ENTER_SHORT)))
    room = codes.ORDERS_PER_ASSET * n_assets + 3 * n_entries
    orders = np.empty((room, codes.N_ORDER_COLUMNS))
    scratch, fault = np.empty((1, n_assets)), np.full(2, -1.0)
    done = 0
    while True:
        rest = panels.rows(done, n_bars)
        done += signals_kernel(
            rest.flags,
            rest.size,
            rest.guards,
            Bars(*(each[done:] for each in bars)),
            rest_of(tape.feed, done),
            rules,
            state,
            scratch,
            fault,
            equity[done:],
            rows,
            orders,
        )
        if fault[0] >= 0:
            row = tape.start + done
            raise InputError(explain_leverage(float(fault[1]), market, row, settings, kept=True))
        if done == n_bars:
            break
        orders = np.concatenate([orders, np.empty_like(orders)])
    return record_of(state, rules, equity, rows, orders)
