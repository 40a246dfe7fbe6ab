"""`check`: does a strategy use only what was known?"""

from __future__ import annotations

from typing import Any

from knowable.data.market import Market
from knowable.experiments.backtest import check_market
from knowable.strategy import Strategy, check_strategy
from knowable.validate.leaks import LeakReport
from knowable.validate.leaks import check as find_leaks

__all__ = ["check"]


def check(strategy: Strategy, market: Market, **options: Any) -> LeakReport:
    """Look for look-ahead: weights for the past must not change when the future is cut off or replaced.

    Args:
        strategy: an instance.
        market: what to try it on; a few hundred bars are enough.
        options: as for `knowable.validate.leaks.check`: cuts, seed.

    Returns: a report with `ok`, and `findings` that name kind, asset, first bar and cut.
    """
    return find_leaks(check_strategy(strategy), check_market(market), **options)
