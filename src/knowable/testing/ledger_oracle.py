"""A slow ledger to hold the fast one against: one order at a time, plain Python, no state shared with the kernel.

It knows the rules of `Settings` without a preset. Where the kernel skips quiet rows, this one walks through all.

It agrees with the kernel to the bit, because both add up in the same order, which is thereby part of the ledger's
meaning: assets from first to last, a cost's own unit (`_UNITS`) before anything else, cash less a fill's money less its
fee; of positions at their marks the four sums of `total_of_four`. The affordable share of buys comes by Newton's steps
as in the kernel, and is held against a bisection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from knowable.backtest.reasons import Reason
from knowable.backtest.settings import Settings
from knowable.testing.ledger_actions_oracle import SlowAction, SlowFlow, book
from knowable.testing.ledger_sums_oracle import affordable, total, total_of_four

__all__ = ["FLOWS", "SlowLedger", "SlowOrder"]

FLOWS = (
    "fees", "spread", "slippage", "impact", "borrow", "margin_interest", "interest", "dividends", "funding",
)  # fmt: skip

Rows = Sequence[Sequence[float]]
Shares = Mapping[
    int, tuple[bool, float]
]  # asset -> whether it is the position to hold or a change of it, and the number

_DUST = 1e-9
_UNITS = {
    "fee_bps": 1e-4, "half_spread_bps": 1e-4, "slippage_bps": 1e-4, "borrow_bps_year": 1e-4 / 365.0,
    "cash_rate": 1.0 / 365.0, "margin_rate": 1.0 / 365.0,
}  # fmt: skip


@dataclass(kw_only=True)
class SlowOrder:
    """An order as the oracle saw it; `filled_at` None: never."""

    asset: int
    decided_at: int
    filled_at: int | None
    size: float
    price: float
    fee: float
    reason: Reason


@dataclass(kw_only=True)
class _Wish:
    """What is pending for an asset: `shares` None until it is sized."""

    weight: float
    shares: float | None
    decided_at: int
    fresh: bool
    needs_close: bool


@dataclass(kw_only=True)
class SlowLedger:
    """Run `run`, then read `equity`, `cash_path`, `held_path`, `orders` and `paid`."""

    settings: Settings
    on_change: bool
    n_assets: int
    panels: Mapping[str, Rows] = field(default_factory=dict)  # fields of the market that costs name
    volume: Rows | None = None
    unfunded: frozenset[int] = frozenset()
    actions: Sequence[SlowAction] = ()
    equity: list[float] = field(default_factory=list)
    cash_path: list[float] = field(default_factory=list)
    held_path: list[list[float]] = field(default_factory=list)
    orders: list[SlowOrder] = field(default_factory=list)
    flows: list[SlowFlow] = field(default_factory=list)
    paid: list[dict[str, float]] = field(default_factory=list)
    liquidated_at: int | None = None

    def __post_init__(self) -> None:
        self.cash = self.settings.cash
        self.held = [0.0] * self.n_assets
        self.mark: list[float | None] = [None] * self.n_assets
        self.wishes: dict[int, _Wish] = {}
        self.last_weights: list[float] | None = None
        self.stated = [0.0] * self.n_assets
        self.in_shares: set[int] = set()  # positions that were asked for in shares
        self.known: list[float | None] | None = None  # closes as known, where these are not the marks
        self.paid_for = [0.0] * self.n_assets  # average price of what is held
        self.used: dict[int, float] = {}  # of the volume of the bar at hand
        self.gone: set[int] = set()  # delisted, or taken over

    def run(
        self,
        weights: Rows,
        decide: Sequence[bool],
        price: Rows,
        close: Rows,
        days: Sequence[float],
        *,
        known: Rows | None = None,
        marks: Sequence[float] | None = None,
        shares: Sequence[Shares] | None = None,
    ) -> None:
        """Walk the bars.

        `price` holds the reference prices of fills, NaN where there is none; `known` the closes as they were known at
        each decision (the closes themselves if None); `marks` the closes before the first bar, 0 where none; `shares`
        what each bar asks for in shares, taken on rows to decide on after the weights.
        """
        same_bar = self.settings.fill == "close"
        self.mark = [m or None for m in marks or [0.0] * self.n_assets]
        if known is not None:
            self.known = [None] * self.n_assets
        for t in range(len(weights)):
            self._begin_bar(t, days[t])
            for action in self.actions:
                if action.row == t:
                    book(self, t, action, price[t])
            if not same_bar:
                self._fill(t, price[t])
            for j, value in enumerate(close[t]):
                if not math.isnan(value):
                    self.mark[j] = value
            if self.known is not None and known is not None:
                self.known = [old if math.isnan(new) else new for old, new in zip(self.known, known[t], strict=True)]
            if self.liquidated_at is None:
                self._size_those_that_waited_for_a_close()
                if decide[t] and shares is not None:
                    self._weigh_what_was_asked_for_in_shares()
                if decide[t] and self._is_news(weights[t]):
                    self._decide(t, weights[t])
                if decide[t] and shares is not None:
                    self._order_shares(t, shares[t])
            if same_bar:
                self._fill(t, price[t])
            self._end_bar(t)
        self._report_what_is_pending(len(weights))

    def _value(self) -> float:
        return self.cash + total_of_four([h * (m or 0.0) for h, m in zip(self.held, self.mark, strict=True)])

    def _begin_bar(self, t: int, n_days: float) -> None:
        self.paid.append(dict.fromkeys(FLOWS, 0.0))
        self.used = {}
        cash = self._broker_cash()
        shorts = [j for j, held in enumerate(self.held) if held < 0.0 and j not in self.unfunded]
        cost = total(-self.held[j] * (self.mark[j] or 0.0) * self._cost("borrow_bps_year", t, j) for j in shorts)
        self.cash -= cost * n_days
        self.paid[-1]["borrow"] += cost * n_days
        earned = cash * self._cost("cash_rate" if cash > 0.0 else "margin_rate", t, 0) * n_days
        self.cash += earned
        self.paid[-1]["interest" if cash > 0.0 else "margin_interest"] += abs(earned) if cash <= 0.0 else earned

    def _end_bar(self, t: int) -> None:
        gross = total(abs(h) * (m or 0.0) for h, m in zip(self.held, self.mark, strict=True))
        if self._value() <= self.settings.maintenance_margin * gross and self.liquidated_at is None:
            self._liquidate(t)
        self.equity.append(self._value())
        self.cash_path.append(self._broker_cash())
        self.held_path.append(list(self.held))

    def _broker_cash(self) -> float:
        """Futures are not paid for: what they are worth is cash still."""
        return total((self.held[j] * (self.mark[j] or 0.0) for j in sorted(self.unfunded)), self.cash)

    def _cost(self, name: str, t: int, j: int) -> float:
        """A number of `Costs` as a fraction, of a day where it is one of time."""
        amount = getattr(self.settings.costs, name)
        return float(self.panels[amount][t][j] if isinstance(amount, str) else amount) * _UNITS.get(name, 1.0)

    def _worse(self, t: int, j: int, size: float) -> float:
        """By what share of the price a fill of `size` shares is worse."""
        return self._cost("half_spread_bps", t, j) + self._cost("slippage_bps", t, j) + self._impact(t, j, size)

    def _impact(self, t: int, j: int, size: float) -> float:
        return self._cost("impact", t, j) * math.sqrt(size / self.volume[t][j]) if self.volume is not None else 0.0

    def _allowed(self, t: int, j: int, size: float) -> float:
        """What the bar's volume leaves of an order."""
        if self.volume is None:
            return size
        if not self.volume[t][j] > 0.0:
            return 0.0
        limit = math.inf if self.settings.volume_limit is None else self.settings.volume_limit
        left = limit * self.volume[t][j] - self.used.get(j, 0.0)
        return size if size <= left else max(self._lots(left), 0.0)

    def _is_news(self, row: Sequence[float]) -> bool:
        if not self.on_change or self.last_weights is None:
            return True
        return any(
            a != b and not (math.isnan(a) and math.isnan(b)) for a, b in zip(row, self.last_weights, strict=True)
        )

    def _decide(self, t: int, row: Sequence[float]) -> None:
        wanted = total(abs(w) for w in row if not math.isnan(w))
        kept = total(self._counted(j) for j, new in enumerate(row) if math.isnan(new))
        scale = 1.0
        if self.settings.leverage_check == "scale" and wanted and wanted + kept > self.settings.max_leverage:
            scale = max(self.settings.max_leverage - kept, 0.0) / wanted
        for j, raw in enumerate(row):
            if math.isnan(raw):
                continue
            weight = raw * scale
            waits = j in self.wishes and j not in self.in_shares
            if waits and abs(self.wishes[j].weight - weight) <= _DUST * abs(weight):
                continue
            self.stated[j] = weight
            if j in self.wishes:
                self._unfilled(j, self.wishes.pop(j), Reason.REPLACED)
            self.in_shares.discard(j)
            if weight == 0.0 and self.held[j] == 0.0:
                continue
            fresh = self.last_weights is None or raw != self.last_weights[j]
            wish = _Wish(weight=weight, shares=None, decided_at=t, fresh=fresh, needs_close=False)
            self._size_and_keep(j, wish)
        self.last_weights = list(row)

    def _order_shares(self, t: int, asked: Shares) -> None:
        """A change counts from what a sized order that waits would lead to, else from what is held."""
        goals = {j: self._goal(j, goal=goal, number=number) for j, (goal, number) in asked.items()}
        weights = {j: self._weight_of(j, shares) for j, shares in goals.items()}
        if self.settings.leverage_check == "scale":
            wanted = total(max(-w, 0.0) for w in weights.values())  # cash limits what is long
            kept = total(self._counted(j) for j in range(self.n_assets) if j not in asked)
            no_more = wanted <= total(self._counted(j) for j in asked) * (1.0 + _DUST)
            if not no_more and wanted + kept > self.settings.max_leverage:
                scale = max(self.settings.max_leverage - kept, 0.0) / wanted
                goals = {j: self._lots(shares * scale) if shares < 0.0 else shares for j, shares in goals.items()}
                weights = {j: self._weight_of(j, shares) for j, shares in goals.items()}
        for j, shares in goals.items():
            stands = None if j not in self.wishes else self.wishes[j].shares
            if stands is not None and abs(stands - shares) <= _DUST * abs(shares):
                continue
            if j in self.wishes:
                self._unfilled(j, self.wishes.pop(j), Reason.REPLACED)
            self.stated[j] = weights[j]
            self.in_shares.add(j)
            wish = _Wish(weight=weights[j], shares=shares, decided_at=t, fresh=True, needs_close=False)
            if not self._is_dust(shares, self.held[j]):
                self.wishes[j] = wish
            elif asked[j][1] != 0.0 and self._lots(asked[j][1]) == 0.0:
                self._unfilled(j, wish, Reason.ROUNDED)

    def _counted(self, j: int) -> float:
        return max(-self.stated[j], 0.0) if j in self.in_shares else abs(self.stated[j])

    def _weigh_what_was_asked_for_in_shares(self) -> None:
        for j in self.in_shares:
            wish = self.wishes.get(j)
            position = self.held[j] if wish is None or wish.shares is None else wish.shares
            self.stated[j] = self._weight_of(j, position)

    def _goal(self, j: int, *, goal: bool, number: float) -> float:
        whole = self._lots(number)
        if goal:
            return whole
        wish = self.wishes.get(j)
        base = self.held[j] if wish is None or wish.shares is None else wish.shares
        return 0.0 if abs(base + whole) <= _DUST * max(abs(base), abs(whole)) else base + whole

    def _weight_of(self, j: int, shares: float) -> float:
        price, value = self._price_to_size(j), self._value_to_size()
        return shares * price / value if price is not None and value > 0.0 else 0.0

    def _size_and_keep(self, j: int, wish: _Wish) -> None:
        """Under ``size_at="decision"`` count the shares now; keep the wish if there is something to do."""
        if self.settings.size_at == "fill":
            self.wishes[j] = wish
            return
        mark = self._price_to_size(j)
        if wish.weight != 0.0 and mark is None:
            wish.needs_close = True
            self.wishes[j] = wish
            return
        wish.needs_close = False
        wish.shares = 0.0 if wish.weight == 0.0 else self._lots(wish.weight * self._value_to_size() / (mark or 0.0))
        if wish.shares == 0.0 and self.held[j] == 0.0:
            if wish.fresh:
                self._unfilled(j, wish, Reason.ROUNDED)
        elif not self._is_dust(wish.shares, self.held[j]):
            self.wishes[j] = wish

    def _price_to_size(self, j: int) -> float | None:
        return self.mark[j] if self.known is None else self.known[j]

    def _value_to_size(self) -> float:
        """What the account was known to be worth; of a debt nothing is asked."""
        if self.known is None:
            return max(self._value(), 0.0)
        prices = [paid if now is None else now for now, paid in zip(self.known, self.paid_for, strict=True)]
        return max(total((h * p for h, p in zip(self.held, prices, strict=True) if h), self.cash), 0.0)

    def _size_those_that_waited_for_a_close(self) -> None:
        for j in [j for j, wish in self.wishes.items() if wish.needs_close and self._price_to_size(j) is not None]:
            self._size_and_keep(j, self.wishes.pop(j))

    def _lots(self, shares: float) -> float:
        lot = self.settings.lot
        if lot is None:
            return shares
        return math.copysign(math.floor(abs(shares) / lot * (1.0 + 1e-9)) * lot, shares)

    @staticmethod
    def _is_dust(goal: float, held: float) -> bool:
        return abs(goal - held) <= _DUST * max(abs(goal), abs(held))

    def _fill(self, t: int, price: Sequence[float]) -> None:
        ready = sorted(j for j, wish in self.wishes.items() if not wish.needs_close and not math.isnan(price[j]))
        value = self._value_at(price)
        deltas: dict[int, float] = {}
        wholes: dict[int, float] = {}
        more_cash_comes = False  # a sale waits for volume
        self.rest: dict[int, _Wish] = {}  # what the volume does not allow yet
        for j in ready:
            wish = self.wishes[j]
            goal = wish.shares
            if goal is None:
                goal = self._lots(wish.weight * value / price[j]) if value > 0.0 else 0.0
            if self._is_dust(goal, self.held[j]):
                if goal == 0.0 and self.held[j] == 0.0 and wish.weight != 0.0 and wish.fresh:
                    self._unfilled(j, wish, Reason.ROUNDED)
                del self.wishes[j]
                continue
            whole = goal - self.held[j]
            size = self._allowed(t, j, abs(whole))
            more_cash_comes |= size < abs(whole) and whole < 0.0
            if size > 0.0:
                deltas[j] = math.copysign(size, whole)
                wholes[j] = goal
                if size < abs(whole):
                    self.rest[j] = replace(wish, shares=goal)
        self._sell(t, {j: delta for j, delta in deltas.items() if delta < 0.0}, price)
        buys = {j: delta for j, delta in deltas.items() if delta > 0.0}
        share = affordable(self, t, buys, price)
        for j, wanted in buys.items():
            size = wanted * share
            if share < 1.0 and self.settings.lot is not None:
                size = math.floor(size / self.settings.lot) * self.settings.lot
            if more_cash_comes and size < wanted * (1.0 - _DUST):
                waits = replace(self.wishes[j], shares=wholes[j] if j in self.rest else self.held[j] + wanted)
                if size > 0.0:
                    self._exchange(t, j, size, price[j], Reason.CUT)
                self.wishes[j] = waits
            elif size <= 0.0:
                self._unfilled(j, self.wishes.pop(j), Reason.NO_CASH)
            else:
                reason = Reason.CUT if size < wanted * (1.0 - _DUST) else Reason.FILLED
                self._take(t, j, size, price[j], reason)

    def _take(self, t: int, j: int, delta: float, price: float, reason: Reason) -> None:
        """Exchange; what the volume did not allow waits, unless cash has cut the order short."""
        rest = self.rest.get(j) if reason is Reason.FILLED else None
        self._exchange(t, j, delta, price, reason if rest is None else Reason.LIMITED)
        if rest is not None:
            self.wishes[j] = rest

    def _sell(self, t: int, sales: dict[int, float], price: Sequence[float]) -> None:
        """Sales that bring cash, then those that take some, the cheapest first and only as long as cash lasts."""
        dear = []
        for j, delta in sales.items():
            adverse = price[j] * (1.0 - min(self._worse(t, j, -delta), 1.0))
            cost = self._fee(t, j, -delta, adverse) + delta * adverse
            if cost > 0.0 and self.liquidated_at is None:
                dear.append((cost, j))
            else:
                self._take(t, j, delta, price[j], Reason.FILLED)
        for cost, j in sorted(dear):
            if cost <= self._cash_to_spend(price):
                self._take(t, j, sales[j], price[j], Reason.FILLED)
            else:
                self._unfilled(j, self.wishes.pop(j), Reason.TOO_DEAR)

    def _cash_to_spend(self, price: Sequence[float]) -> float:
        marks = [(self.mark[j] or 0.0) if math.isnan(price[j]) else price[j] for j in range(self.n_assets)]
        cash = total((self.held[j] * marks[j] for j in sorted(self.unfunded)), self.cash)
        if self.settings.max_leverage > 1.0:
            return cash + (self.settings.max_leverage - 1.0) * max(self._value_at(price), 0.0)
        return cash

    def _value_at(self, price: Sequence[float]) -> float:
        worth = [
            h * (p if not math.isnan(p) else m or 0.0) for h, p, m in zip(self.held, price, self.mark, strict=True) if h
        ]
        return total(worth, self.cash)

    def _fee(self, t: int, j: int, size: float, price: float) -> float:
        fee = size * price * self._cost("fee_bps", t, j) + size * self._cost("fee_per_share", t, j)
        return max(fee, self._cost("fee_min", t, j))

    def _exchange(
        self, t: int, j: int, delta: float, reference: float, reason: Reason, *, at_level: bool = False
    ) -> None:
        wish = self.wishes.pop(j)
        rate = 0.0 if at_level else self._worse(t, j, abs(delta))
        price = reference * (1.0 + rate if delta > 0.0 else 1.0 - min(rate, 1.0))
        self.used[j] = self.used.get(j, 0.0) + abs(delta)
        fee = self._fee(t, j, abs(delta), price)
        self.cash = self.cash - delta * price - fee
        before, self.held[j] = self.held[j], self.held[j] + delta
        if before * delta >= 0.0:
            self.paid_for[j] = (self.paid_for[j] * abs(before) + price * abs(delta)) / abs(self.held[j])
        elif before * self.held[j] < 0.0:
            self.paid_for[j] = price
        if self.mark[j] is None:
            self.mark[j] = reference
        adverse = abs(delta) * abs(price - reference)
        spread = adverse * (self._cost("half_spread_bps", t, j) / rate) if rate else 0.0
        impact = adverse * (self._impact(t, j, abs(delta)) / rate) if rate else 0.0
        self.paid[-1]["fees"] += fee
        self.paid[-1]["spread"] += spread
        self.paid[-1]["impact"] += impact
        self.paid[-1]["slippage"] += adverse - spread - impact
        delay = 0 if self.settings.fill == "close" else 1
        if self.liquidated_at is not None:
            reason = Reason.LIQUIDATED
        elif reason is Reason.FILLED and t - wish.decided_at > delay:
            reason = Reason.LATE
        self.orders.append(
            SlowOrder(asset=j, decided_at=wish.decided_at, filled_at=t, size=delta, price=price, fee=fee, reason=reason)
        )

    def _unfilled(self, j: int, wish: _Wish, reason: Reason) -> None:
        self.orders.append(
            SlowOrder(
                asset=j, decided_at=wish.decided_at, filled_at=None, size=0.0, price=math.nan, fee=0.0, reason=reason
            )
        )

    def _liquidate(self, t: int) -> None:
        self.liquidated_at = t
        for j in sorted(self.wishes):
            self.cancel(j, Reason.CANCELLED)
        for j in range(self.n_assets):
            self.close_if_liquidated(t, j)

    def cancel(self, j: int, reason: Reason) -> None:
        """Take back what is pending."""
        self._unfilled(j, self.wishes.pop(j), reason)

    def close_if_liquidated(self, t: int, j: int) -> None:
        """Ask for what is held to be closed, where that is the state of the account."""
        if self.liquidated_at is not None and self.held[j] != 0.0 and j not in self.wishes:
            self.wishes[j] = _Wish(weight=0.0, shares=0.0, decided_at=t, fresh=False, needs_close=False)

    def closed(self, t: int, j: int, delta: float, price: float) -> None:
        """An order that nobody gave: a delisting."""
        self.orders.append(
            SlowOrder(asset=j, decided_at=t, filled_at=t, size=delta, price=price, fee=0.0, reason=Reason.DELISTED)
        )

    def _report_what_is_pending(self, n_bars: int) -> None:
        for j in sorted(self.wishes):
            wish = self.wishes[j]
            last = wish.decided_at == n_bars - 1 and self.settings.fill != "close"
            reason = Reason.NEVER_PRICED if wish.needs_close else Reason.LAST_BAR if last else Reason.NO_PRICE
            self._unfilled(j, wish, Reason.DELISTED if j in self.gone else reason)
