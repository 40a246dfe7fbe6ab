"""A slow market in several currencies, with contracts, funding, rolls and actions, for the slow ledger to trade on.

Everything is a quote here, in plain lists; what a quote is worth in the account's currency is worked out a cell at a
time: the quote times (the rate times the multiplier).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from knowable.backtest.reasons import Reason
from knowable.backtest.settings import Settings
from knowable.testing.ledger_actions_oracle import SlowAction
from knowable.testing.ledger_oracle import Rows, Shares, SlowLedger
from knowable.testing.ledger_sums_oracle import total
from knowable.testing.preset_oracle import PeerLedger, PeerSignals
from knowable.testing.signals_oracle import SlowSignals

__all__ = ["SlowMarket"]

Slow = TypeVar("Slow", bound=SlowLedger)

# What is booked first on one bar: what is for those who held before it, then splits, then ends.
_FIRST_TO_LAST = (
    Reason.ROLLED, Reason.PAID_FUNDING, Reason.DIVIDEND, Reason.SPUN_OFF, Reason.SPLIT, Reason.MERGED, Reason.DELISTED,
)  # fmt: skip
_ENDS = (Reason.MERGED, Reason.DELISTED)


@dataclass(kw_only=True)
class SlowMarket:
    """Quotes and what they mean; rows are bars, columns assets, NaN where there is nothing.

    `open`, `high`, `low`, `close` are of each bar, `vwap` too or empty; `seen` the closes as they were known at each
    bar's decision, empty where these are the closes; `members` who may be held, empty: everybody. `rates` by currency
    what one unit is worth at each bar's end, and `currency` which one an asset's quotes are in, None: the account's;
    `multiplier` and `unfunded` what a contract is; `funding` and `roll` their panels; `actions` the rest, as announced,
    and `paid_in` the currencies of their amounts, None: the asset's; `panels` costs that change by bar.
    """

    open: Rows = ()
    high: Rows = ()
    low: Rows = ()
    close: Rows = ()
    vwap: Rows = ()
    seen: Rows = ()
    members: Sequence[Sequence[bool]] = ()
    days: Sequence[float] = ()
    volume: Rows | None = None
    panels: Mapping[str, Rows] = field(default_factory=dict)
    rates: Mapping[str, Sequence[float]] = field(default_factory=dict)
    currency: Sequence[str | None] = ()
    multiplier: Sequence[float] = ()
    unfunded: frozenset[int] = frozenset()
    funding: Rows = ()
    roll: Rows = ()
    actions: Sequence[SlowAction] = ()
    paid_in: Sequence[str | None] = ()

    @property
    def n_assets(self) -> int:
        """Number of columns."""
        return len(self.close[0])

    def unit(self, t: int, j: int) -> float:
        """What a unit of an asset's quotes is worth at the end of bar `t`, in a contract of its multiplier.

        Where there is no rate the last one stands; NaN before the first.
        """
        rate = self.rate(t, j)
        return rate * self.multiplier[j] if self.multiplier else rate

    def rate(self, t: int, j: int) -> float:
        """What a unit of an asset's currency is worth at the end of bar `t`."""
        return self._rate(t, self.currency[j] if self.currency else None)

    def _rate(self, t: int, name: str | None) -> float:
        return 1.0 if name is None else next((r for r in self.rates[name][t::-1] if not math.isnan(r)), math.nan)

    def events(self) -> list[SlowAction]:
        """All that is booked, in order and in money: at the rate of the bar before. An end comes after the last close,
        also where it was announced for an earlier bar.
        """
        found = [
            replace(a, row=max(a.row, self._last_close(a.asset) + 1)) if a.kind in _ENDS else a
            for a in (self._in_own_currency(k) for k in range(len(self.actions)))
        ]
        nothing = [a for a in found if a.kind is Reason.DIVIDEND and math.isnan(a.amount)]
        found = [a for a in found if a.row < len(self.close) and a not in nothing]
        for kind, rows in ((Reason.PAID_FUNDING, self.funding), (Reason.ROLLED, self.roll)):
            for t, row in enumerate(rows):
                for j, number in enumerate(row):
                    if number and not math.isnan(number):
                        blank = SlowAction(row=t, asset=j, kind=kind)
                        paid = kind is Reason.PAID_FUNDING
                        own = number * self.multiplier[j] if self.multiplier else number
                        rolled = replace(blank, amount=number, ratio=own if self.currency else math.nan)
                        found.append(replace(blank, ratio=number) if paid else rolled)
        found.sort(key=lambda a: (a.row, _FIRST_TO_LAST.index(a.kind), a.asset))
        return [replace(a, amount=a.amount * self.unit(max(a.row - 1, 0), a.asset)) for a in found]

    def _in_own_currency(self, k: int) -> SlowAction:
        """An action whose amount is in the currency of its asset's quotes, by the rates before it was to happen."""
        action, t = self.actions[k], max(self.actions[k].row - 1, 0)
        named, own = self.paid_in[k] if self.paid_in else None, self.currency[action.asset] if self.currency else None
        if named is None or named == own:
            return action
        paid = self._rate(t, None if named == "USD" else named)
        return replace(action, amount=action.amount * (paid / self._rate(t, own)))

    def _last_close(self, j: int) -> int:
        return max((t for t, row in enumerate(self.close) if not math.isnan(row[j])), default=-1)

    def fills(self, settings: Settings) -> Rows:
        """Fill prices in money: at the open by the rate of the bar before, else by the bar's own.

        Without a vwap it is what the typical price is worth.
        """
        if settings.fill == "next_open":
            return self.in_money(self.open, late=1)
        return self._late_fills(settings, self.in_money)

    def _late_fills(self, settings: Settings, valued: Callable[[Rows], Rows]) -> Rows:
        if settings.fill != "next_vwap":
            return valued(self.close)
        if self.vwap:
            return valued(self.vwap)
        three = [valued(rows) for rows in (self.high, self.low, self.close)]
        return [
            [(high + low + close) / 3.0 for high, low, close in zip(*rows, strict=True)]
            for rows in zip(*three, strict=True)
        ]

    def in_money(self, rows: Rows, late: int = 0) -> list[list[float]]:
        """Quotes at the rate of so many bars before; on the first bar, where nothing is filled, its own."""
        return [[p * self.unit(max(t - late, 0), j) for j, p in enumerate(row)] for t, row in enumerate(rows)]

    def own(self, rows: Rows) -> list[list[float]]:
        """Quotes for one contract."""
        return [[p * self.multiplier[j] if self.multiplier else p for j, p in enumerate(row)] for row in rows]

    def marks(self) -> list[list[float]]:
        """Closes in money. Where there are currencies a missing one is the last at the bar's own rate, through splits
        and rolls; else it is missing still.
        """
        return self.in_money(self.standing(self.close) if self.currency else self.close)

    def standing(self, closes: Rows) -> list[list[float]]:
        """Closes, and where one is missing the last: that of the new contract after a roll, in new shares after a
        split; the roll of a bar comes before its split.
        """
        last, made = [math.nan] * self.n_assets, []
        for t, row in enumerate(closes):
            last = list(last)
            if self.roll:
                last = [old + (0.0 if math.isnan(jump) else jump) for old, jump in zip(last, self.roll[t], strict=True)]
            for a in self.actions:
                if a.row == t and a.kind is Reason.SPLIT:
                    last[a.asset] /= a.ratio
            last = [old if math.isnan(new) else new for old, new in zip(last, row, strict=True)]
            made.append(last)
        return made

    def run(
        self,
        weights: Rows,
        decide: Sequence[bool],
        settings: Settings,
        *,
        on_change: bool,
        start: int = 0,
        stop: int | None = None,
        shares: Sequence[Shares] | None = None,
    ) -> SlowLedger:
        """What the slow ledger makes of target weights, and of orders in `shares`, on rows [start, stop). Costs of
        `settings` are numbers or names of `panels`.
        """
        cut = slice(start, stop)
        ledger = self._ledger(PeerLedger if settings.preset else SlowLedger, settings, cut, on_change=on_change)
        ledger.run(
            self.allowed(weights)[cut], decide[cut], self.fills(settings)[cut], self.marks()[cut], self._nights(cut),
            known=self._known(cut), marks=self._marks_before(start),
            shares=None if shares is None else [
                {j: asked for j, asked in row.items() if self._is_member(t, j)} for t, row in enumerate(shares)
            ][cut],
        )  # fmt: skip
        return ledger

    def run_signals(
        self,
        says: Sequence[Sequence[frozenset[str]]],
        decide: Sequence[bool],
        size: Rows,
        guards: Sequence[Sequence[tuple[float, float, float]]],
        settings: Settings,
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> SlowSignals:
        """The same of signals, as `SlowSignals.run_signals` has them: who is no member leaves, on rows to decide on."""
        cut, late = slice(start, stop), int(settings.fill == "next_open")
        ledger = self._ledger(PeerSignals if settings.preset else SlowSignals, settings, cut, on_change=False)
        leave = frozenset({"leave long", "leave short"})
        heard = [
            [(said if self._is_member(t, j) else leave) if decide[t] else frozenset() for j, said in enumerate(row)]
            for t, row in enumerate(says)
        ]
        levels = ("open", self.open), ("high", self.high), ("low", self.low), ("close", self.close)
        bars: dict[str, Rows] = {name: self.own(rows)[cut] for name, rows in levels}
        if self.currency:
            quotes = self.own(self.open) if late else self._late_fills(settings, self.own)
            rows, columns = range(len(self.close)), range(self.n_assets)
            ledger.worth = [[self.rate(max(t - late, 0), j) for j in columns] for t in rows][cut]
            ledger.quotes = quotes[cut]
        ledger.run_signals(
            heard[cut], size[cut], guards[cut], bars, self.fills(settings)[cut], self._nights(cut),
            close=self.marks()[cut], known=self._known(cut), marks=self._marks_before(start),
        )  # fmt: skip
        return ledger

    def allowed(self, weights: Rows) -> list[list[float]]:
        """Target weights, 0 for those that are no members."""
        return [[w if self._is_member(t, j) else 0.0 for j, w in enumerate(row)] for t, row in enumerate(weights)]

    def too_much(self, weights: Rows, decide: Sequence[bool], limit: float, cut: slice) -> int | None:
        """First row to decide on, from the first of the run, on which weights as last stated are above the limit."""
        stated = [0.0] * self.n_assets
        for t, row in enumerate(self.allowed(weights)[cut]):
            if decide[cut][t]:
                stated = [old if math.isnan(new) else new for old, new in zip(stated, row, strict=True)]
                if total(abs(w) for w in stated) > limit * (1.0 + 1e-9):
                    return t
        return None

    def _is_member(self, t: int, j: int) -> bool:
        return not self.members or self.members[t][j]

    def _ledger(self, kind: type[Slow], settings: Settings, cut: slice, *, on_change: bool) -> Slow:
        rows = range(len(self.close))[cut]
        return kind(
            settings=settings,
            on_change=on_change,
            n_assets=self.n_assets,
            panels={name: _last_given(panel)[cut] for name, panel in self.panels.items()},
            volume=None if self.volume is None else self.volume[cut],
            unfunded=self.unfunded,
            actions=[replace(a, row=a.row - rows.start) for a in self.events() if a.row in rows],
        )

    def _nights(self, cut: slice) -> list[float]:
        return [0.0, *self.days[cut][1:]]

    def _known(self, cut: slice) -> list[list[float]] | None:
        return self.in_money(self.standing(self.seen))[cut] if self.seen else None

    def _marks_before(self, start: int) -> list[float]:
        """Last closes before the first row of a run, of assets that have none on it; 0 where there is none."""
        if start == 0:
            return [0.0] * self.n_assets
        last, first = self.in_money(self.standing(self.close))[start - 1], self.marks()[start]
        return [0.0 if math.isnan(old) or not math.isnan(new) else old for old, new in zip(last, first, strict=True)]


def _last_given(panel: Rows) -> list[list[float]]:
    """A cost that is missing is the last one; 0 before the first."""
    last, made = [0.0] * len(panel[0]), []
    for row in panel:
        last = [old if math.isnan(new) else new for old, new in zip(last, row, strict=True)]
        made.append(last)
    return made
