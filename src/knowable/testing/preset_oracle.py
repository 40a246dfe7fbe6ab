"""The slow ledger with the habits of two other engines; docs/decisions/parity.md names each of them.

A class beside the slow ledger in its list of bases: `PeerLedger` for target weights, `PeerSignals` for signals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from knowable.backtest.reasons import Reason
from knowable.testing.ledger_oracle import SlowLedger
from knowable.testing.signals_oracle import SlowSignals

__all__ = ["PeerLedger", "PeerSignals"]

_AT_LEVELS = (Reason.STOPPED, Reason.TRAILED, Reason.TARGET_REACHED)
_DUST = 1e-9
_SPENT = 1e-10  # of the account: what cash a cut buy has left over
_JUST_BELOW_ONE = 1.0 - 2.0**-52


@dataclass(kw_only=True)
class PeerLedger(SlowLedger):
    """Fills as ``settings.preset`` has them. All is sized at the fill."""

    @property
    def _is_vectorbt(self) -> bool:
        return self.settings.preset == "vectorbt"

    def _fill(self, t: int, price: Sequence[float]) -> None:
        if self._is_vectorbt:
            self._fill_as_vectorbt(t, price)
        else:
            self._fill_as_backtesting(t, price)

    def _exchange(
        self, t: int, j: int, delta: float, reference: float, reason: Reason, *, at_level: bool = False
    ) -> None:
        """Exits at levels cost vectorbt nothing but the fee; backtesting.py pays the spread on entries alone."""
        free = reason in _AT_LEVELS if self._is_vectorbt else self.held[j] * delta < 0.0
        super()._exchange(t, j, delta, reference, reason, at_level=at_level or free)

    def _fill_as_vectorbt(self, t: int, price: Sequence[float]) -> None:
        """Sales by column, then buys, the least first, each cut to what cash is left; no order is kept."""
        value = self._value_at(price)
        buys: dict[int, float] = {}
        for j in sorted(self.wishes):
            wish = self.wishes[j]
            if math.isnan(price[j]):
                if self.liquidated_at is None:
                    self.cancel(j, Reason.NO_PRICE)
                continue
            goal = self._goal_of_vectorbt(t, j, value, price[j]) if wish.shares is None else wish.shares
            delta = goal - self.held[j]
            if self.liquidated_at is None:
                delta = self._floored(delta)
            if abs(delta) <= _DUST * max(abs(goal), abs(self.held[j])):
                if goal == 0.0 and self.held[j] == 0.0 and wish.weight != 0.0 and wish.fresh:
                    self._unfilled(j, wish, Reason.ROUNDED)
                del self.wishes[j]
            elif delta > 0.0:
                buys[j] = delta
            else:
                self._exchange(t, j, delta, price[j], Reason.FILLED)
        worth = {j: self.wishes[j].weight * value - self.held[j] * price[j] for j in buys}
        for j in sorted(buys, key=lambda j: (worth[j], j)):
            wanted, fee = buys[j], self._cost("fee_bps", t, j)
            most = self.cash / (1.0 + fee) / (price[j] * (1.0 + self._worse(t, j, wanted)))
            size = wanted if wanted <= most else self._floored(most * (1.0 - 1e-12))
            if size > 0.0 and self.cash > _SPENT * value:
                self._exchange(t, j, size, price[j], Reason.CUT if size < wanted * (1.0 - _DUST) else Reason.FILLED)
            else:
                self.cancel(j, Reason.NO_CASH)

    def _goal_of_vectorbt(self, t: int, j: int, value: float, price: float) -> float:
        """Shares of a weight; of -1 and below what all cash would pay for, after what is long has been sold."""
        weight = self.wishes[j].weight
        if weight == 0.0 or value <= 0.0:
            return 0.0
        if weight > -1.0:
            return weight * value / price
        fee = self._cost("fee_bps", t, j)
        got = price * (1.0 - self._cost("half_spread_bps", t, j) - self._cost("slippage_bps", t, j))
        left = value - max(self.held[j], 0.0) * (price - got * (1.0 - fee))
        return weight * left / (got * (1.0 + fee))

    def _floored(self, shares: float) -> float:
        lot = self.settings.lot
        return shares if lot is None else math.copysign(abs(shares) // lot * lot, shares)

    def _fill_as_backtesting(self, t: int, price: Sequence[float]) -> None:
        """What goes to the other side, or out, is closed first; then whole units, whatever the cash."""
        ready = [j for j in sorted(self.wishes) if not math.isnan(price[j])]
        for j in ready:
            wish = self.wishes[j]
            if wish.shares is None and self.held[j] and self.held[j] * wish.weight <= 0.0:
                self._exchange(t, j, -self.held[j], price[j], Reason.FILLED)
                self.wishes[j] = wish
        value = self._value_at(price)
        orders: dict[int, float] = {}
        for j in ready:
            wish = self.wishes[j]
            goal = self._goal_of_backtesting(t, j, value, price[j]) if wish.shares is None else wish.shares
            if self._is_dust(goal, self.held[j]):
                if goal == 0.0 and self.held[j] == 0.0 and wish.weight != 0.0 and wish.fresh:
                    self._unfilled(j, wish, Reason.ROUNDED)
                del self.wishes[j]
            else:
                orders[j] = goal - self.held[j]
        for j, delta in sorted(orders.items(), key=lambda each: each[1] > 0.0):
            self._exchange(t, j, delta, price[j], Reason.FILLED)

    def _goal_of_backtesting(self, t: int, j: int, value: float, price: float) -> float:
        """Units of a weight; of a new position at the price that it pays, with the commission on the raw one."""
        weight, lot = self.wishes[j].weight, self.settings.lot or 1.0
        if weight == 0.0 or value <= 0.0:
            return 0.0
        if self.held[j]:
            return self._lots(weight * value / price)
        side = math.copysign(1.0, weight)
        unit = price * (1.0 + side * self._cost("half_spread_bps", t, j)) + price * self._cost("fee_bps", t, j)
        return side * (value * min(abs(weight), _JUST_BELOW_ONE) // (unit * lot)) * lot


@dataclass(kw_only=True)
class PeerSignals(PeerLedger, SlowSignals):
    """Signals as ``settings.preset`` has them."""

    def _is_stop_first(self) -> bool:
        """backtesting.py tests the stop first."""
        return not self._is_vectorbt

    def _is_deaf(self, t: int, j: int) -> bool:
        """Vectorbt has one order a bar: a bar that closed a position at a level takes no other."""
        return self._is_vectorbt and self.left_on.get(j) == t and j not in self.guarded

    def _level_base(self, j: int) -> float:
        """Vectorbt counts levels from the close of the entry."""
        return (self.mark[j] or 0.0) if self._is_vectorbt else self.paid_for[j]
