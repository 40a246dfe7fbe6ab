"""What quotes in other currencies are worth to a slow ledger, an asset and a bar at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from knowable.backtest.reasons import Reason
from knowable.testing.ledger_actions_oracle import SlowAction
from knowable.testing.ledger_oracle import Rows

__all__ = ["SlowRates"]


@dataclass(kw_only=True)
class SlowRates:
    """Rates of exchange, and the last closes in the assets' own currencies.

    Of one unit of each asset's currency `fills` holds by bar what it is worth where orders fill, and `ends` what it is
    worth at the bar's end; NaN before the first rate.
    """

    fills: Rows
    ends: Rows
    closes: list[float] = field(init=False)
    seen: list[float] = field(init=False)  # closes as they were known

    def __post_init__(self) -> None:
        self.closes = [math.nan] * len(self.ends[0])
        self.seen = list(self.closes)

    def follow(self, action: SlowAction) -> None:
        """A close that stands is one of after a split or a roll."""
        for each in (self.closes, self.seen):
            if action.kind is Reason.SPLIT:
                each[action.asset] /= action.ratio
            elif action.kind is Reason.ROLLED:
                each[action.asset] += action.in_quotes

    def marks(self, t: int, closes: Sequence[float]) -> list[float]:
        """The last closes in money, NaN where there were none."""
        self.closes = [old if math.isnan(new) else new for old, new in zip(self.closes, closes, strict=True)]
        return [each * rate for each, rate in zip(self.closes, self.ends[t], strict=True)]

    def known(self, t: int, closes: Sequence[float]) -> list[float | None]:
        """The last closes that were known, in money, None where there were none."""
        self.seen = [old if math.isnan(new) else new for old, new in zip(self.seen, closes, strict=True)]
        return [None if math.isnan(s) else s * rate for s, rate in zip(self.seen, self.ends[t], strict=True)]
