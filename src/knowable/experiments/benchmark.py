"""What the same cash would have made elsewhere, on the bars of a search."""

from __future__ import annotations

import numpy as np
import pandas as pd

from knowable.backtest.benchmarks import BUY_AND_HOLD, Bars, benchmark_values
from knowable.backtest.result import Result
from knowable.backtest.tape import last_before
from knowable.backtest.traded import total_return
from knowable.data.market import Market
from knowable.experiments.spec import RunSpec

__all__ = ["benchmark_path", "check_benchmark"]


def benchmark_path(market: Market, index: pd.DatetimeIndex, cash: float, given: pd.Series | None) -> pd.Series:
    """Account value of buying at the close of the first bar and holding.

    Args:
        market: the whole market.
        index: labels of the bars to cover, a stretch of the market's own.
        cash: money at the start.
        given: as `benchmark_values` takes it; None for the market's assets in equal parts.

    Raises: as `benchmark_values`.
    """
    first = int(market.index.searchsorted(index[0]))
    values = benchmark_values(BUY_AND_HOLD if given is None else given, _bars(market, first, first + len(index)))
    return pd.Series(cash * (values / values[0]), index=index, name="benchmark")


def check_benchmark(given: object, market: Market, spec: RunSpec) -> pd.Series:
    """The benchmark of a search as a Series of its market's or its own times; refused before any work if it is none.

    Raises: as `benchmark_values`.
    """
    if isinstance(given, Result):
        given = given.equity
    judged = [fold.test if spec.kind == "walk_forward" else fold.train for fold in spec.folds]
    values = benchmark_values(given, _bars(market, judged[0][0], judged[-1][1]))
    if isinstance(given, pd.Series):
        return given
    return pd.Series(values, index=market.index[judged[0][0] : judged[-1][1]])


def _bars(market: Market, start: int, stop: int) -> Bars:
    close = total_return(market)
    rows = slice(start, stop)
    return Bars(
        index=market.index[rows],
        times=market.times[rows],
        days=np.asarray(market.days[rows]),
        assets=market.assets,
        close=close[rows],
        before=last_before(close, start),
    )
