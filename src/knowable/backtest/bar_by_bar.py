"""Results, figures and decisions of strategies that decide bar by bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.backtest.events.inputs import call_features, feature_panels, own_copy
from knowable.backtest.events.run import EventRun
from knowable.backtest.result import Result
from knowable.backtest.settings import Settings
from knowable.backtest.simulate import result_of
from knowable.backtest.tape import Tape
from knowable.backtest.weights import decision_rows
from knowable.data.market import Market
from knowable.metrics.describe import measure
from knowable.strategy import Strategy

__all__ = ["decisions", "score_bar_by_bar", "simulate_bar_by_bar"]

Panel: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.bool_]


def simulate_bar_by_bar(
    strategy: Strategy, market: Market, settings: Settings, *, start: int = 0, stop: int | None = None
) -> Result:
    """Run an event-driven strategy over rows [start, stop) of a market, keeping every record.

    Args:
        strategy: an instance; the run has a copy of it.
        market: what it sees, bar by bar; fills and marks use its final values.
        settings: the account.
        start: first row traded; earlier ones are the past of the first bar.
        stop: row after the last; `features` sees the rows before it.

    Raises: StrategyError, ShapeError, InputError.
    """
    stop = market.n_bars if stop is None else stop
    seen = market.until(stop)
    own = own_copy(strategy)
    features = feature_panels(call_features(own, seen), own, seen)
    run = EventRun(seen, settings, start, stop)
    run.trade(own, features, decision_rows(own, market)[:stop], start, stop)
    return result_of(
        run.record(),
        seen,
        settings,
        start=start,
        stop=stop,
        name=type(strategy).__name__,
        params=strategy.params,
    )


def score_bar_by_bar(
    strategy: Strategy,
    market: Market,
    settings: Settings,
    *,
    features: Mapping[str, Panel],
    decide: Rows,
    tape: Tape,
) -> tuple[Panel, Panel]:
    """Figures (n_metrics,) and block moments (n_blocks, 3) of a run, to the bit those of its result.

    Args:
        strategy: the run's own copy.
        market: see `simulate_bar_by_bar`; the rest too.
        settings: see there.
        features: name -> (n_bars, n_assets).
        decide: (n_bars,) rows on which it is called.
        tape: as `event_tape` reads it, of the rows to be traded.
    """
    run = EventRun(market, settings, tape.start, tape.stop, records=False, tape=tape)
    run.trade(strategy, features, decide, tape.start, tape.stop)
    figures, _, moments = measure(run.equity, settings.cash, market.bars_per_year, run.activity)
    return figures, moments


def decisions(strategy: Strategy, market: Market) -> Panel:
    """What an event-driven strategy asks for on each row, as weights: the thing that must not depend on later rows.

    Args:
        strategy: an instance; the run has a copy of it.
        market: what it sees. Its account trades at the prices known then, for what it had traded at prices revised
            later would be seen by it too; without costs, at the next open, or the next close where there is no open.

    Returns: (n_bars, n_assets) as `EventRun.targets`.

    Raises: as `simulate_bar_by_bar`, but weights above the limit are scaled down.
    """
    own = own_copy(strategy)
    features = feature_panels(call_features(own, market), own, market)
    settings = Settings(fill="next_open" if "open" in market.panels else "next_close", leverage_check="scale")
    known = market if market.final is market.panels else market.with_panels(market.panels)
    run = EventRun(known, settings, 0, market.n_bars, targets=True)
    run.trade(own, features, decision_rows(own, market), 0, market.n_bars)
    return run.targets
