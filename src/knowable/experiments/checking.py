"""`check`: does a strategy use only what was known?"""

from __future__ import annotations

from collections.abc import Sequence

from knowable.data.market import Market
from knowable.experiments.backtest import check_market
from knowable.experiments.fresh import fresh_runs
from knowable.strategy import Strategy, check_strategy
from knowable.validate.findings import LeakReport
from knowable.validate.leaks import check as find_leaks

__all__ = ["check"]


def check(
    strategy: Strategy,
    market: Market,
    cuts: int | Sequence[int] = 8,
    seed: int = 0,
    *,
    fill: str | None = None,
    fresh: bool = True,
) -> LeakReport:
    """Look for look-ahead: weights for the past must not change when the future is cut off or replaced.

    Args:
        strategy: an instance.
        market: what to try it on; a few hundred bars are enough.
        cuts: how many random cuts, or the cuts themselves, in rows; see `knowable.validate.leaks.check`.
        seed: repeats the same cuts and invented futures.
        fill: of the account; ``"close"`` asks for fills at a price that decides.
        fresh: run it in a new process too, where its code could have kept something from earlier runs; a second or two.

    Returns: a report with `ok`, and `findings` that name kind, asset, first bar and cut; `suspicions` do not count.
    """
    market = check_market(market)
    other = fresh_runs if fresh else None
    return find_leaks(check_strategy(strategy), market, cuts, seed, fill=fill, fresh=other)
