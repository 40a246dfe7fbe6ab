"""`backtest`: one strategy, one market, one result."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, Unpack

import numpy as np

from knowable.backtest.bar_by_bar import simulate_bar_by_bar
from knowable.backtest.by_signals import simulate_signals
from knowable.backtest.result import Result
from knowable.backtest.settings import Settings
from knowable.backtest.signals import call_signals, signal_panels
from knowable.backtest.simulate import simulate
from knowable.backtest.weights import call_weights, decision_rows, weights_panel
from knowable.data.market import Market
from knowable.errors import InputError, shown
from knowable.experiments.account import Account, account_settings
from knowable.features.feature import Feature
from knowable.features.models.unfitted import why_unfitted
from knowable.strategy import Strategy, check_strategy, gives_signals, is_event_driven

__all__ = ["backtest", "check_market", "rows_between"]


def backtest(
    strategy: Strategy,
    market: Market,
    *,
    start: object = None,
    end: object = None,
    **account: Unpack[Account],
) -> Result:
    """Run one strategy over a market and return what it would have done.

    Args:
        strategy: an instance, such as ``Momentum(lookback=100)``.
        market: from a store or `Market.from_frames`.
        start: first bar to trade, a date or time; earlier bars still feed the features. None: the first.
        end: trade bars before the end of this day. None: the last.
        account: see `Account`: cash, fill, size_at, costs, lot, max_leverage, leverage_check, preset.

    Returns: a `Result` with metrics, equity, orders, trades, positions and costs.

    Raises:
        StrategyError: `weights` raised or returned something else than weights; `on_bar` raised, or returned something.
        ShapeError: its weights do not fit the market.
        InputError: an argument out of range, weights above `max_leverage`, or a market without the price `fill` needs.
    """
    settings = account_settings("kn.backtest", account)
    strategy = check_strategy(strategy)
    market = check_market(market)
    first, stop = rows_between(market, start, end)
    if is_event_driven(strategy):
        return simulate_bar_by_bar(strategy, market, settings, start=first, stop=stop)
    if gives_signals(strategy):
        return _backtest_signals(strategy, market, settings, first, stop)
    seen = market.until(stop)  # what the strategy is shown ends where the trading ends, as in a search
    returned = call_weights(strategy, seen)
    result = simulate(
        weights_panel(returned, strategy, seen),
        decision_rows(strategy, market)[:stop],
        seen,
        settings,
        start=first,
        stop=stop,
        on_change=strategy.rebalance is None,
        name=type(strategy).__name__,
        params=strategy.params,
    )
    if result.record.n_fills or not isinstance(returned, Feature):
        return result
    why = why_unfitted(returned)
    return replace(result, warnings=(*result.warnings, why)) if why else result


def _backtest_signals(strategy: Strategy, market: Market, settings: Settings, first: int, stop: int) -> Result:
    seen = market.until(stop)
    decide = None if strategy.rebalance is None else decision_rows(strategy, market)[:stop]
    panels = signal_panels(call_signals(strategy, seen).given(), strategy, seen, decide)
    name, params = type(strategy).__name__, strategy.params
    return simulate_signals(panels, seen, settings, start=first, stop=stop, name=name, params=params)


def check_market(market: object) -> Market:
    """Return `market` if it is one; else say what was given. Raises: InputError."""
    if isinstance(market, Market):
        return market
    raise InputError(
        f"`market` must be a kn.Market, but it is {shown(market)}, a {type(market).__name__}.\n"
        "Make one: kn.Market.from_frames(close=frame), or store.market('bars')."
    )


def rows_between(market: Market, start: object, end: object) -> tuple[int, int]:
    """Half-open rows of the bars from `start` to `end`, both included; a date means the whole session,
    ``"2016"`` the whole year and ``"2016-03"`` the whole month.

    Raises: InputError if fewer than two bars are left.
    """
    first = 0 if start is None else _row(market, start, side="left")
    stop = market.n_bars if end is None else _row(market, end, side="right")
    if stop - first < 2:
        raise InputError(
            f"At least two bars are needed from start={start!s} to end={end!s}, but there are {max(stop - first, 0)}; "
            f"the market has {market.index[0]} to {market.index[-1]}."
        )
    return first, stop


def _row(market: Market, when: object, *, side: Literal["left", "right"]) -> int:
    import pandas as pd

    if isinstance(when, str) and re.fullmatch(r"\d{4}(-\d{2})?", when.strip()):
        part = pd.Period(when.strip())
        when = part.start_time if side == "left" else part.end_time.normalize()
    at = market.position(when)  # says so if it is no time
    moment = pd.Timestamp(when)  # type: ignore[arg-type]
    if moment.tz is None and moment == moment.normalize():
        return int(np.searchsorted(market.days, np.datetime64(moment, "D"), side=side))
    exact = at < market.n_bars and market.position(moment + pd.Timedelta(1, "ns")) > at
    return at + 1 if side == "right" and exact else at
