"""Orders that rest in the market by the slow ledger: objects in a list, each bar's path walked point by point.

What happens to what is held (splits, mergers and the rest) is booked by `knowable.testing.ledger_actions_oracle`; here
it happens to the orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from knowable.backtest.reasons import Reason
from knowable.testing.abroad_oracle import SlowRates
from knowable.testing.ledger_actions_oracle import SlowAction, book, whole_shares
from knowable.testing.ledger_oracle import Rows, SlowLedger, _Wish
from knowable.testing.ledger_sums_oracle import total

__all__ = ["Call", "Resting", "SlowBook"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a bar asks for: "target", "target_shares", "order", "rest", "cancel" or "cancel_all", with what it takes."""

    what: str
    asset: int = -1
    number: float = 0.0
    levels: dict[str, float] = field(default_factory=dict)
    day: bool = False


@dataclass(kw_only=True, eq=False)
class Resting:
    """An order in the book; levels are prices, None: none."""

    number: int
    asset: int
    shares: float
    placed: int
    limit: float | None = None
    stop: float | None = None
    trail: float | None = None
    best: float | None = None
    day: bool = False
    child: str = ""  # "stop" or "target" of a bracket
    parent: Resting | None = None
    children: list[Resting] = field(default_factory=list)
    live: bool = True  # a child is once its parent has filled
    since: int = -1
    inside: bool = False
    done_on: int = -1  # the bar whose volume it has used up

    @property
    def buys(self) -> bool:
        """Whether it does, or would."""
        return self.shares > 0.0

    @property
    def bracket(self) -> list[Resting]:
        """Of a child: its parent, then the parent's children."""
        return [] if self.parent is None else [self.parent, *self.parent.children]

    def met_by(self, at: float, to: float) -> float | None:
        """The price at which it is met between two points, both included."""
        way = 1.0 if self.buys else -1.0  # selling is buying at prices below 0
        trigger = self.stop
        if self.trail is not None and self.best is not None:
            trigger = self.best * (1.0 + way * self.trail)
        if trigger is not None:
            if way * at >= way * trigger:
                return at
            return trigger if way * to >= way * trigger else None
        if self.limit is None or way * at <= way * self.limit:
            return at
        return self.limit if way * to <= way * self.limit else None

    def move_levels(self, moved: Callable[[float], float]) -> None:
        """Let all its prices be others."""
        self.limit, self.stop, self.best = (
            None if price is None else moved(price) for price in (self.limit, self.stop, self.best)
        )

    def follow(self, price: float) -> None:
        """Let a trailing stop's best price follow."""
        if self.trail is not None:
            self.best = price if self.best is None else min(self.best, price) if self.buys else max(self.best, price)


@dataclass(kw_only=True)
class SlowBook(SlowLedger):
    """Run `run_book`, then read as `SlowLedger`; `refused_at` is the row on which weights broke a strict limit.

    Where assets have currencies of their own, `abroad` says what these are worth: bars, levels and closes as known are
    quotes then, and fill prices are money, as the amounts of actions are.
    """

    refused_at: int | None = None
    abroad: SlowRates | None = None

    def run_book(
        self,
        plan: Sequence[Sequence[Call]],
        bars: dict[str, Rows],
        price: Rows,
        days: Sequence[float],
        sessions: Sequence[Any],
        known: Rows | None = None,
        *,
        decide: Sequence[bool] | None = None,
        members: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        """Walk the bars.

        `plan` holds what each bar asks for, in order, on rows to `decide` on; `bars` open, high, low and close;
        `sessions` what each belongs to; `known` the closes as they were known at each decision, where these are others;
        `members` who may be held.
        """
        if known is not None:
            self.known = [None] * self.n_assets
        self.mark = [None] * self.n_assets
        self.book: list[Resting] = []
        self.n_numbers = 0
        self.is_change: dict[int, bool] = {}
        self.bars = bars
        for t, calls in enumerate(plan):
            self._begin_bar(t, days[t])
            for action in self.actions:
                if action.row == t:
                    self._orders_follow(action)
                    book(self, t, action, price[t])
            if t > 0 and sessions[t] != sessions[t - 1]:
                for order in [each for each in self.book if each.day and each.placed < t - 1]:
                    self._out(order, Reason.EXPIRED)
            if self.settings.fill == "next_open":
                self._fill(t, price[t])
            self._walk(t)
            if self.settings.fill in ("next_close", "next_vwap"):
                self._fill(t, price[t])
            closes = bars["close"][t] if self.abroad is None else self.abroad.marks(t, bars["close"][t])
            for j, value in enumerate(closes):
                if not math.isnan(value):
                    self.mark[j] = value
            if self.known is not None and known is not None:
                if self.abroad is not None:
                    self.known = self.abroad.known(t, known[t])
                else:
                    pairs = zip(self.known, known[t], strict=True)
                    self.known = [old if math.isnan(new) else new for old, new in pairs]
            if self.liquidated_at is None:
                self._size_those_that_waited_for_a_close()
                if decide is None or decide[t]:
                    self._ask(
                        t, calls, [] if members is None else [j for j, is_in in enumerate(members[t]) if not is_in]
                    )
                if self.refused_at is not None:
                    return
            if self.settings.fill == "close":
                self._fill(t, price[t])
            self._end_bar(t)
            if self.liquidated_at == t:
                for order in list(self.book):
                    self._out(order, Reason.CANCELLED)
        for order in list(self.book):
            self._out(order, Reason.DELISTED if order.asset in self.gone else Reason.NOT_REACHED)
        self._report_what_is_pending(len(plan))

    def _orders_follow(self, action: SlowAction) -> None:
        """What an action does to the orders of its asset."""
        if self.abroad is not None:
            self.abroad.follow(action)
        for order in [each for each in self.book if each.asset == action.asset]:
            if action.kind in (Reason.DELISTED, Reason.MERGED):
                self._out(order, action.kind)
            elif action.kind is Reason.SPLIT:
                count = order.shares * action.ratio
                order.shares = whole_shares(self, count) if order.child else self._lots(count)
                order.move_levels(lambda price: price / action.ratio)
            elif action.kind is Reason.ROLLED:
                order.move_levels(lambda price: price + action.in_quotes)

    def _ask(self, t: int, calls: Sequence[Call], outsiders: Sequence[int]) -> None:
        weights = [math.nan] * self.n_assets
        shares: dict[int, tuple[bool, float]] = {}
        for call in calls:
            if call.what == "target":
                weights[call.asset] = call.number
            elif call.what == "target_shares":
                shares[call.asset] = (True, call.number)
            elif call.what == "order":
                shares[call.asset] = (False, call.number + shares.get(call.asset, (False, 0.0))[1])
            elif call.what == "rest":
                self._place(t, call)
            else:
                for order in list(self.book):
                    one = call.what == "cancel" and order.number == call.number
                    if one or (call.what == "cancel_all" and call.asset in (-1, order.asset)):
                        self._out(order, Reason.WITHDRAWN)
        for order in [each for each in self.book if each.asset in outsiders]:
            self._out(order, Reason.NO_MEMBER)
        for j in outsiders:
            weights[j] = 0.0
            shares.pop(j, None)
        for order in [each for each in self.book if each.placed == t and each.parent is None]:
            order.shares = self._lots(order.shares)
            if order.shares == 0.0:
                self._out(order, Reason.ROUNDED)
        self._weigh_what_was_asked_for_in_shares()
        stood = total(self._counted(j) for j in range(self.n_assets))
        if self._is_news(weights):
            self._decide(t, weights)
        before = dict(self.wishes)
        self._order_shares(t, shares)
        for j, (goal, _) in shares.items():
            if self.wishes.get(j) is not before.get(j):
                self.is_change[j] = not goal
        now = total(self._counted(j) for j in range(self.n_assets))
        if self.settings.leverage_check == "strict" and now > max(stood, self.settings.max_leverage * (1.0 + 1e-9)):
            self.refused_at = t

    def _place(self, t: int, call: Call) -> None:
        levels = call.levels
        order = Resting(
            number=self.n_numbers, asset=call.asset, shares=call.number, placed=t, day=call.day,
            best=self._quote_to_follow(t, call.asset), limit=levels.get("limit"), stop=levels.get("stop"),
            trail=levels.get("trail"),
        )  # fmt: skip
        self.book.append(order)
        for child, key in (("stop", "stop_loss"), ("target", "take_profit")):
            if key in levels:
                made = Resting(
                    number=order.number + 1 + len(order.children), asset=call.asset, shares=-call.number, placed=t,
                    child=child, parent=order, live=False,
                )  # fmt: skip
                made.stop, made.limit = (levels[key], None) if child == "stop" else (None, levels[key])
                order.children.append(made)
                self.book.append(made)
        self.n_numbers += 1 + len(order.children)

    def _quote_to_follow(self, t: int, j: int) -> float | None:
        """The last close that is known, as quoted; where there was none yet, what was paid."""
        price = self._price_to_size(j)
        if self.abroad is None or price is None:
            return price
        quote = (self.abroad.closes if self.known is None else self.abroad.seen)[j]
        return price / self.abroad.fills[t][j] if math.isnan(quote) else quote

    def _out(self, order: Resting, reason: Reason) -> None:
        """Take it out; children that still wait for it go with it."""
        if order not in self.book:
            return
        self.book.remove(order)
        if order.live:
            self._note(order, reason)
        for child in order.children:
            if not child.live and child in self.book:
                self.book.remove(child)

    def _note(self, order: Resting, reason: Reason) -> None:
        wish = _Wish(weight=0.0, shares=None, decided_at=order.placed, fresh=True, needs_close=False)
        self._unfilled(order.asset, wish, reason)

    def _end_bracket(self, child: Resting) -> None:
        for other in child.bracket:
            self._out(other, Reason.PAIRED)

    # the way of a bar

    def _walk(self, t: int) -> None:
        self.opens = self.bars["open"][t]
        self.worth = [1.0] * self.n_assets if self.abroad is None else self.abroad.fills[t]
        self.opens = [math.nan if math.isnan(r) else o for o, r in zip(self.opens, self.worth, strict=True)]
        self.paid_at_open = [o * r for o, r in zip(self.opens, self.worth, strict=True)]
        self.t = t
        for order in list(self.book):
            if order not in self.book or not order.live or math.isnan(self.opens[order.asset]):
                continue
            if order.shares == 0.0:
                self._out(order, Reason.ROUNDED)  # a split has left no lot of it
            elif order.child and order.shares * self.held[order.asset] >= 0.0:
                self._end_bracket(order)
            elif order.best is None:
                order.follow(self.opens[order.asset])
        exact = self.settings.intrabar != "pessimistic"
        if exact:
            self._all_follow(self.opens)
        for buys in (False, True):
            for order in list(self.book):
                entered = order.child and order.since == t
                while not entered and order.buys == buys and self._may(order):
                    at = self.opens[order.asset]
                    if math.isnan(at) or order.met_by(at, at) is None:
                        break
                    self._met(order, at, inside=False)
        paths = [self._path(j) for j in range(self.n_assets)]
        self.now = [path[0] for path in paths]
        for leg in range(3):
            while (event := self._next(paths, leg)) is not None:
                order, at, stands = event
                if not stands:
                    self.now[order.asset] = at
                self._met(order, at, inside=True)
            self.now = [path[leg + 1] for path in paths]
            if exact:
                self._all_follow(self.now)
        self._all_follow([max(path) for path in paths])
        self._all_follow([min(path) for path in paths])

    def _all_follow(self, prices: Sequence[float]) -> None:
        for order in self.book:
            if not math.isnan(prices[order.asset]):
                order.follow(prices[order.asset])

    def _path(self, j: int) -> list[float]:
        first, (high, low, last) = self.opens[j], (self.bars[name][self.t][j] for name in ("high", "low", "close"))
        if math.isnan(first):
            return [math.nan] * 4
        last = first if math.isnan(last) else last
        high = max([first, last] + ([] if math.isnan(high) else [high]))
        low = min([first, last] + ([] if math.isnan(low) else [low]))
        down = {"ohlc": False, "olhc": True}.get(self.settings.intrabar)
        if down is None:
            down = self.held[j] > 0.0 or (self.held[j] == 0.0 and last >= first)
        return [first, low, high, last] if down else [first, high, low, last]

    def _may(self, order: Resting) -> bool:
        if order not in self.book or not order.live or order.done_on == self.t:
            return False
        return self.settings.exit_on_entry_bar or not order.child or order.since != self.t

    def _next(self, paths: list[list[float]], leg: int) -> tuple[Resting, float, bool] | None:
        """What is met next: the earliest part of the leg, then sells, then numbers."""
        found = []
        for order in self.book:
            path, at = paths[order.asset], self.now[order.asset]
            if math.isnan(at) or not self._may(order):
                continue
            whole = abs(path[leg + 1] - path[leg])
            level, stands = order.met_by(at, path[leg + 1]), False
            entered = order.child == "stop" and order.since == self.t and order.inside
            if entered and self.settings.intrabar == "pessimistic" and order.stop is not None:
                worst = max(path) if order.buys else min(path)
                if worst >= order.stop if order.buys else worst <= order.stop:
                    level, stands = (max if order.buys else min)(at, order.stop), True
            if level is not None:
                part = abs((at if stands else level) - path[leg]) / whole if whole else 0.0
                found.append(((part, order.buys, order.number), (order, level, stands)))
        return min(found, key=lambda each: each[0])[1] if found else None

    def _met(self, order: Resting, at: float, *, inside: bool) -> None:
        if order.stop is not None and order.limit is not None:
            order.stop = None  # a limit from here on
            return
        j, wanted = order.asset, order.shares
        if order.child:
            if wanted * self.held[j] >= 0.0:
                self._end_bracket(order)
                return
            wanted = math.copysign(min(abs(wanted), abs(self.held[j])), wanted)
        allowed = self._allowed(self.t, j, abs(wanted))
        if not allowed > 0.0:
            order.done_on = self.t
            return
        money = at * self.worth[j]
        size, refusal = self._within_account(order, math.copysign(allowed, wanted), money)
        if size <= 0.0:
            self._out(order, refusal)
            return
        reason = self._reason(order)
        if size < allowed * (1.0 - 1e-9):
            reason = Reason.CUT
        elif allowed < abs(wanted):
            reason = Reason.LIMITED
        delta = math.copysign(size, wanted)
        self._exchange_resting(order, delta, money, reason)
        self._after(order, delta, waits=reason is Reason.LIMITED, inside=inside)

    @staticmethod
    def _reason(order: Resting) -> Reason:
        if order.child:
            return Reason.STOPPED if order.child == "stop" else Reason.TARGET_REACHED
        if order.limit is not None:
            return Reason.LIMIT_ORDER
        if order.stop is not None:
            return Reason.STOP_ORDER
        return Reason.AT_OPEN if order.trail is None else Reason.TRAILED

    def _within_account(self, order: Resting, delta: float, at: float) -> tuple[float, Reason]:
        j, size, lot = order.asset, abs(delta), self.settings.lot
        cash = self._cash_to_spend(self.paid_at_open)

        def spent(shares: float) -> float:
            rate = 0.0 if order.limit is not None else self._worse(self.t, j, shares)
            paid = at * (1.0 + rate if delta > 0.0 else 1.0 - min(rate, 1.0))
            taken = paid - at if delta > 0.0 and j in self.unfunded else paid
            return math.copysign(1.0, delta) * shares * taken + self._fee(self.t, j, shares, paid)

        if delta > 0.0:
            if spent(size) <= 0.0 or spent(size) * (1.0 - 1e-12) <= cash:
                return size, Reason.NO_CASH
            if lot is not None:
                lots = math.ceil(size / lot) - 1
                while lots > 0 and spent(lots * lot) * (1.0 - 1e-12) > cash:
                    lots -= 1
                return lots * lot, Reason.NO_CASH
            low, high = 0.0, size
            for _ in range(100):
                middle = (low + high) / 2.0
                low, high = (middle, high) if spent(middle) <= cash else (low, middle)
            return (low * (1.0 - 1e-12) if low > 1e-9 * size else 0.0), Reason.NO_CASH
        if size > self.held[j]:
            room = total((-self._counted(k) for k in range(self.n_assets) if k != j), self.settings.max_leverage)
            short = max(room, 0.0) * max(self._value_at(self.paid_at_open), 0.0) / at
            short = short if short >= 1e-9 * size else 0.0
            most = self.held[j] + max(short, -self.held[j])
            if size > most * (1.0 + 1e-9):
                size = self._lots(most) if most > 1e-9 * size else 0.0
                if size <= 0.0:
                    return 0.0, Reason.NO_LEVERAGE
        return (0.0 if spent(size) > 0.0 and cash < spent(size) else size), Reason.TOO_DEAR

    def _exchange_resting(self, order: Resting, delta: float, at: float, reason: Reason) -> None:
        j = order.asset
        waiting = self.wishes.pop(j, None)
        self.wishes[j] = _Wish(weight=0.0, shares=0.0, decided_at=order.placed, fresh=True, needs_close=False)
        self._exchange(self.t, j, delta, at, reason, at_level=order.limit is not None)
        self.wishes.pop(j, None)
        if waiting is None:
            value = self._value_at(self.paid_at_open)
            self.stated[j] = self.held[j] * at / value if value > 0.0 else 0.0
            self.in_shares.add(j)
            if self.last_weights is not None:
                self.last_weights[j] = math.nan
            return
        if waiting.shares is not None and j in self.in_shares and self.is_change.get(j, False):
            waiting = replace(waiting, shares=waiting.shares + delta)
        self.wishes[j] = waiting

    def _after(self, order: Resting, delta: float, *, waits: bool, inside: bool) -> None:
        if waits:
            order.done_on = self.t
        else:
            self.book.remove(order)
        if order.child and not waits:
            self._end_bracket(order)
        elif order.child:
            for each in order.bracket[1:]:
                each.shares -= delta
        else:
            order.shares -= delta
            for child in order.children:
                if waits or child in self.book:
                    child.shares = (child.shares if child.live else 0.0) - delta
                    child.live, child.since, child.inside = True, self.t, inside
