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
from knowable.backtest.weights import decision_rows, target_weights
from knowable.data.market import Market
from knowable.metrics.describe import measure
from knowable.strategy import Strategy, is_event_driven

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
    start: int,
    stop: int,
) -> tuple[Panel, Panel]:
    """Figures (n_metrics,) and block moments (n_blocks, 3) of a run, to the bit those of its result.

    Args:
        strategy: the run's own copy.
        market: see `simulate_bar_by_bar`; the rest too.
        settings: see there.
        features: name -> (n_bars, n_assets).
        decide: (n_bars,) rows on which it is called.
        start: see there.
        stop: see there.
    """
    run = EventRun(market, settings, start, stop, records=False)
    run.trade(strategy, features, decide, start, stop)
    record = run.record()
    figures, _, moments = measure(record.equity, settings.cash, market.bars_per_year, record.activity)
    return figures, moments


def decisions(strategy: Strategy, market: Market, *, traded: Market | None = None) -> Panel:
    """What any strategy asks for on each row, as weights: the thing that must not depend on later rows.

    Args:
        strategy: an instance.
        market: what it is shown.
        traded: whose prices its account has, where these are not the market's own.

    Returns: (n_bars, n_assets) as `target_weights`; of an event-driven strategy as `EventRun.targets`, on an account
        without costs that fills at the next open, or at the next close where the market has no open.
    """
    if not is_event_driven(strategy):
        return target_weights(strategy, market)
    traded = market if traded is None else traded
    settings = Settings(fill="next_open" if "open" in traded.final else "next_close", leverage_check="scale")
    own = own_copy(strategy)
    features = feature_panels(call_features(own, market), own, market)
    run = EventRun(traded, settings, 0, market.n_bars, targets=True)
    run.trade(own, features, decision_rows(own, market), 0, market.n_bars)
    return run.targets
