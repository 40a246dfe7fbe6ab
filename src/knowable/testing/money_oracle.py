"""A slow market in several currencies, with contracts, funding, rolls and actions, for the slow ledger to trade on.

Everything is a quote here, in plain lists; what a quote is worth in the account's currency is worked out a cell at a
time: the quote times (the rate times the multiplier).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from knowable.backtest.reasons import Reason
from knowable.backtest.settings import Settings
from knowable.testing.ledger_actions_oracle import SlowAction
from knowable.testing.ledger_oracle import Rows, SlowLedger

__all__ = ["SlowMarket"]

# What is booked first on one bar: what is for those who held before it, then splits, then ends.
_FIRST_TO_LAST = (
    Reason.ROLLED, Reason.PAID_FUNDING, Reason.DIVIDEND, Reason.SPUN_OFF, Reason.SPLIT, Reason.MERGED, Reason.DELISTED,
)  # fmt: skip


@dataclass(kw_only=True)
class SlowMarket:
    """Quotes and what they mean; rows are bars, columns assets.

    `price` holds the quotes at which orders fill and `close` the last of each bar, NaN where there is none; `rates` by
    currency what one unit is worth at each bar's end, and `currency` which one an asset's quotes are in, None: the
    account's; `multiplier` and `unfunded` what a contract is; `funding` and `roll` their panels; `actions` the rest,
    their amounts in the asset's currency.
    """

    price: Rows
    close: Rows
    days: Sequence[float]
    volume: Rows | None = None
    panels: Mapping[str, Rows] = field(default_factory=dict)
    rates: Mapping[str, Sequence[float]] = field(default_factory=dict)
    currency: Sequence[str | None] = ()
    multiplier: Sequence[float] = ()
    unfunded: frozenset[int] = frozenset()
    funding: Rows = ()
    roll: Rows = ()
    actions: Sequence[SlowAction] = ()

    @property
    def n_assets(self) -> int:
        """Number of columns."""
        return len(self.close[0])

    def unit(self, t: int, j: int) -> float:
        """What a unit of an asset's quotes is worth at the end of bar `t`, in a contract of its multiplier."""
        name = self.currency[j] if self.currency else None
        rate = 1.0 if name is None else self.rates[name][t]
        return rate * self.multiplier[j] if self.multiplier else rate

    def events(self) -> list[SlowAction]:
        """All that is booked, in order and in money: at the rate of the bar before."""
        found = list(self.actions)
        for kind, rows in ((Reason.PAID_FUNDING, self.funding), (Reason.ROLLED, self.roll)):
            for t, row in enumerate(rows):
                for j, number in enumerate(row):
                    if number and not math.isnan(number):
                        blank = SlowAction(row=t, asset=j, kind=kind)
                        paid = kind is Reason.PAID_FUNDING
                        found.append(replace(blank, ratio=number) if paid else replace(blank, amount=number))
        found.sort(key=lambda a: (a.row, _FIRST_TO_LAST.index(a.kind), a.asset))
        return [replace(a, amount=a.amount * self.unit(max(a.row - 1, 0), a.asset)) for a in found]

    def fills(self, settings: Settings) -> list[list[float]]:
        """Fill prices in money: at the open by the rate of the bar before, at the close by the bar's own."""
        late = 1 if settings.fill == "next_open" else 0
        return [[p * self.unit(max(t - late, 0), j) for j, p in enumerate(row)] for t, row in enumerate(self.price)]

    def marks(self) -> list[list[float]]:
        """Closes in money. Where there are currencies a missing one is the last at the bar's own rate, through splits
        and rolls; else it is missing still.
        """
        last = [math.nan] * self.n_assets
        made = []
        for t, row in enumerate(self.close):
            for a in self.actions:
                if a.row == t and a.kind is Reason.SPLIT:
                    last[a.asset] /= a.ratio
            if self.roll:
                last = [old + (0.0 if math.isnan(jump) else jump) for old, jump in zip(last, self.roll[t], strict=True)]
            last = [old if math.isnan(new) else new for old, new in zip(last, row, strict=True)]
            made.append([c * self.unit(t, j) for j, c in enumerate(last if self.currency else row)])
        return made

    def run(self, weights: Rows, decide: Sequence[bool], settings: Settings, *, on_change: bool) -> SlowLedger:
        """What the slow ledger makes of target weights. Costs of `settings` are numbers or names of `panels`."""
        ledger = SlowLedger(
            settings=settings,
            on_change=on_change,
            n_assets=self.n_assets,
            panels=self.panels,
            volume=self.volume,
            unfunded=self.unfunded,
            actions=self.events(),
        )
        ledger.run(weights, decide, self.fills(settings), self.marks(), self.days)
        return ledger
