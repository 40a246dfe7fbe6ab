"""Forward adjustment written slowly: follow a holder of one share, bar by bar, with what was known at the decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Deed", "holder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A split, or a distribution of cash or of another asset's shares, and when one could have known of it."""

    asset: int
    ex: int
    known: int = 0
    withdrawn: int | None = None
    ratio: float | None = None
    cash: float = 0.0
    units: float = 0.0
    of: int | None = None


def holder(
    deeds: Sequence[Deed],
    asset: int,
    times: Sequence[int],
    decisions: Sequence[int],
    closes: Sequence[Sequence[float]],
    t: int,
) -> tuple[float, float]:
    """Shares that one share of the first bar with a price has become by bar `t`, as known at its decision.

    Returns: (by splits alone, by splits and with every distribution reinvested at the next close there is).
    """
    told = [
        d
        for d in deeds
        if d.asset == asset and d.known <= decisions[t] and (d.withdrawn is None or d.withdrawn > decisions[t])
    ]
    split, shares, begun = 1.0, 1.0, False
    owed: list[tuple[float, Deed]] = []
    last = -math.inf
    for u in range(t + 1):
        if begun:
            today = [d for d in told if last <= d.ex < times[u]]
            for d in sorted(today, key=lambda d: (d.ex, d.ratio is not None)):
                if d.ratio is not None:
                    split *= d.ratio
                    shares *= d.ratio
                else:
                    owed.append((shares, d))
        begun = begun or not math.isnan(closes[u][asset])
        last = times[u]
        waiting = []
        for held, d in owed:
            worth = held * (d.cash + (d.units * closes[u][d.of] if d.of is not None else 0.0))
            if math.isnan(closes[u][asset]) or math.isnan(worth):
                waiting.append((held, d))
            else:
                shares += worth / closes[u][asset]
        owed = waiting
    return split, shares
