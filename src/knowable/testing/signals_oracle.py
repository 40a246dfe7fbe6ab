"""Signals, stops and targets by the slow ledger: the path of each bar is walked point by point."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from knowable.backtest.reasons import Reason
from knowable.testing.ledger_actions_oracle import SlowAction, book
from knowable.testing.ledger_oracle import Rows, SlowLedger, _Wish
from knowable.testing.ledger_sums_oracle import total

__all__ = ["Guard", "SlowSignals", "walk"]


@dataclass(kw_only=True)
class Guard:
    """What rests in the market for a position; levels are prices, None: none."""

    long: bool
    since: int
    stop: float | None
    target: float | None
    trail: float | None
    best: float

    def move(self, moved: Callable[[float], float]) -> None:
        """Let its prices be others."""
        self.stop, self.target = (None if level is None else moved(level) for level in (self.stop, self.target))
        self.best = moved(self.best)

    def follow(self, points: Sequence[float]) -> None:
        """Let the best price move on; what a target leaves of a position is there through the whole bar."""
        self.best = max(self.best, *points) if self.long else min(self.best, *points)

    def level(self) -> tuple[float, Reason] | None:
        """The level on the losing side that would be met first."""
        found = [] if self.stop is None else [(self.stop, Reason.STOPPED)]
        if self.trail is not None:
            trailing = self.best * (1.0 - self.trail if self.long else 1.0 + self.trail)
            found.append((trailing, Reason.TRAILED))
        if not found:
            return None
        # of equal levels the stop itself
        return max(found, key=lambda each: each[0]) if self.long else min(found, key=lambda each: each[0])


def walk(
    guard: Guard, path: Sequence[float], *, pessimistic: bool, stop_before_gap: bool = False
) -> tuple[float, Reason] | None:
    """Where a bar closes the position, and why; the guard's best price moves on as the bar does.

    Args:
        guard: of the position.
        path: open, the two extremes in their order, close. Of a pessimistic walk: open, worst, best.
        pessimistic: the trailing level stands still within the bar.
        stop_before_gap: the stop is tested against the whole bar before the open is held against the target.
    """
    beyond, reached = (operator.le, operator.ge) if guard.long else (operator.ge, operator.le)
    losing = guard.level()
    if losing is not None and beyond(path[0], losing[0]):
        return path[0], losing[1]
    if stop_before_gap and losing is not None and any(beyond(point, losing[0]) for point in path[:3]):
        return losing
    if guard.target is not None and reached(path[0], guard.target):
        guard.follow(path)
        return path[0], Reason.TARGET_REACHED
    for point in path[1:]:
        losing = losing if pessimistic else guard.level()
        if losing is not None and beyond(point, losing[0]):
            return losing
        if guard.target is not None and reached(point, guard.target):
            guard.follow(path)
            return guard.target, Reason.TARGET_REACHED
        guard.follow([point])
    return None


@dataclass(kw_only=True)
class SlowSignals(SlowLedger):
    """Run `run_signals`, then read as `SlowLedger`; `refused_at` is the row on which weights broke a strict limit.

    Where assets have currencies of their own, `worth` holds by bar what one unit of them is worth where orders fill,
    and `quotes` what fill prices are in them; bars and levels are quotes then, and the rest is money.
    """

    refused_at: int | None = None
    worth: Rows = ()
    quotes: Rows = ()

    def run_signals(
        self,
        says: Sequence[Sequence[frozenset[str]]],
        size: Rows,
        guards: Sequence[Sequence[tuple[float, float, float]]],
        bars: dict[str, Rows],
        price: Rows,
        days: Sequence[float],
        *,
        close: Rows | None = None,
        known: Rows | None = None,
        marks: Sequence[float] | None = None,
    ) -> None:
        """Walk the bars. `known` and `marks` as in `SlowLedger.run`, `close` as there, the closes of `bars` if None.

        `says` holds for each bar and asset words of "enter long", "leave long", "enter short", "leave short"; `guards`
        stop, target and trail of an entry decided there, NaN for none; `bars` open, high, low and close.
        """
        self.mark = [m or None for m in marks or [0.0] * self.n_assets]
        if known is not None:
            self.known = [None] * self.n_assets
        self.price = price
        self.next_guard = [(math.nan, math.nan, math.nan)] * self.n_assets
        self.guarded: dict[int, Guard] = {}
        self.left_on: dict[int, int] = {}  # the last bar that closed a position without an order of its own
        for t in range(len(says)):
            self._begin_bar(t, days[t])
            for action in self.actions:
                if action.row == t:
                    self._book(t, action, price[t])
            if self.settings.fill == "next_open":
                self._fill_and_guard(t, price[t])
                self._leave_at_levels(t, bars)
            else:
                self._leave_at_levels(t, bars)
                if self.settings.fill != "close":
                    self._fill_and_guard(t, price[t])
            for j, value in enumerate((close or bars["close"])[t]):
                if not math.isnan(value):
                    self.mark[j] = value
            if self.known is not None and known is not None:
                self.known = [old if math.isnan(new) else new for old, new in zip(self.known, known[t], strict=True)]
            if self.liquidated_at is None:
                self._size_those_that_waited_for_a_close()
                heard = [frozenset() if self._is_deaf(t, j) else said for j, said in enumerate(says[t])]
                row = [self._wanted(j, heard[j], size[t][j], guards[t][j]) for j in range(self.n_assets)]
                if any(not math.isnan(w) for w in row):
                    self._decide(t, row)
                    if self._is_too_much():
                        self.refused_at = t
                        return
                    self._guard(t, list(self.held))
            if self.settings.fill == "close":
                self._fill_and_guard(t, price[t])
            self._end_bar(t)
        self._report_what_is_pending(len(says))

    def _book(self, t: int, action: SlowAction, price: Sequence[float]) -> None:
        """Levels follow the price; what a merger or spin-off brings is guarded by nothing of its own."""
        j, other, before = action.asset, action.other, list(self.held)
        if j in self.guarded and action.kind is Reason.SPLIT:
            self.guarded[j].move(lambda level: level / action.ratio)
        elif j in self.guarded and action.kind is Reason.ROLLED:
            self.guarded[j].move(lambda level: level + action.in_quotes)
        book(self, t, action, price)
        for k in (j, other):
            guard = self.guarded.get(k)
            if k < 0 or self.held[k] == before[k]:
                continue
            if self.held[k] == 0.0:
                self.guarded.pop(k, None)
                self.left_on[k] = t
            elif k == other and (guard is None or guard.long != (self.held[k] > 0.0)):
                self.guarded[k] = Guard(
                    long=self.held[k] > 0.0, since=t, stop=None, target=None, trail=None, best=self.paid_for[k]
                )

    def _is_deaf(self, t: int, j: int) -> bool:  # noqa: ARG002 - of other engines
        """Whether an asset's signals of a bar are not heard."""
        return False

    def _is_stop_first(self) -> bool:
        """Whether a stop is tested before an open that is past the target already."""
        return False

    def _level_base(self, j: int) -> float:
        """The price that levels are counted from."""
        return self.paid_for[j]

    def _wanted(self, j: int, said: frozenset[str], size: float, guard: tuple[float, float, float]) -> float:
        if {"enter long", "leave long"} <= said:
            said = said - {"enter long", "leave long"}
        if {"enter short", "leave short"} <= said:
            said = said - {"enter short", "leave short"}
        if {"enter long", "enter short"} <= said:
            said = said - {"enter long", "enter short"}
        side = self.wishes[j].weight if j in self.wishes else self.held[j]
        wanted = math.nan
        if side > 0.0 and "leave long" in said:
            wanted = 0.0
        if side < 0.0 and "leave short" in said:
            wanted = 0.0
        if side <= 0.0 and "enter long" in said:
            wanted, self.next_guard[j] = size, guard
        if side >= 0.0 and "enter short" in said:
            wanted, self.next_guard[j] = -size, guard
        return wanted

    def _is_too_much(self) -> bool:
        """Whether weights of what is held or asked for, each as last stated, are above a limit that is strict."""
        stated = total(abs(w) for j, w in enumerate(self.stated) if self.held[j] or j in self.wishes)
        strict = self.settings.leverage_check == "strict"
        return strict and stated > self.settings.max_leverage * (1.0 + 1e-9)

    def _fill_and_guard(self, t: int, price: Sequence[float]) -> None:
        before = list(self.held)
        self._fill(t, price)
        self._guard(t, before)

    def _guard(self, t: int, before: Sequence[float]) -> None:
        """Guard what is new or has turned; and what its stop had not all sold, once it has been entered again."""
        for j, now in enumerate(self.held):
            guard, wish = self.guarded.get(j), self.wishes.get(j)
            if now == 0.0:
                self.guarded.pop(j, None)
            elif guard is None and wish is not None and (wish.weight * now <= 0.0 or now == before[j]):
                continue  # on its way out, or not entered again as yet
            elif guard is None or guard.long != (now > 0.0):
                paid, way = self._quoted(t, j, self._level_base(j)), math.copysign(1.0, now)
                stop, target, trail = (None if math.isnan(part) else part for part in self.next_guard[j])
                self.guarded[j] = Guard(
                    long=now > 0.0,
                    since=t,
                    stop=None if stop is None else paid * (1.0 - way * stop),
                    target=None if target is None else paid * (1.0 + way * target),
                    trail=trail,
                    best=paid,
                )

    def _quoted(self, t: int, j: int, paid: float) -> float:
        """What was paid, in the asset's currency: the quote of the fill where it was that, else at the bar's rate."""
        if not self.worth:
            return paid
        return self.quotes[t][j] if paid == self.price[t][j] else paid / self.worth[t][j]

    def _leave_at_levels(self, t: int, bars: dict[str, Rows]) -> None:
        for j in sorted(self.guarded):
            guard = self.guarded[j]
            first, high, low, last = (bars[name][t][j] for name in ("open", "high", "low", "close"))
            if self.liquidated_at is not None or math.isnan(first):
                continue
            if guard.since == t and not self.settings.exit_on_entry_bar:
                continue
            been_at = [each for each in (first, high, low, last) if not math.isnan(each)]
            high, low = max(been_at), min(been_at)
            pessimistic = self.settings.intrabar == "pessimistic"
            worst, best = (low, high) if guard.long else (high, low)
            path = {
                "pessimistic": [first, worst, best],
                "ohlc": [first, high, low, last],
                "olhc": [first, low, high, last],
            }[self.settings.intrabar]
            left = walk(guard, path, pessimistic=pessimistic, stop_before_gap=self._is_stop_first())
            if left is not None:
                at, reason = left
                self._leave(t, j, at * self.worth[t][j] if self.worth else at, reason)

    def _leave(self, t: int, j: int, price: float, reason: Reason) -> None:
        """As much as the bar's volume allows; the rest of a target stays guarded, that of a stop is sold as it can."""
        since, held, at_target = self.guarded[j].since, self.held[j], reason is Reason.TARGET_REACHED
        waiting = self.wishes.pop(j, None)
        if waiting is not None and waiting.decided_at + (0 if self.settings.fill == "close" else 1) <= since:
            self._unfilled(j, waiting, Reason.REPLACED)  # what its own entry still waited for
            waiting = None
        sale = _Wish(weight=0.0, shares=0.0, decided_at=since, fresh=True, needs_close=False)
        size = self._allowed(t, j, abs(held))
        if size > 0.0:
            self.wishes[j] = sale
            self._exchange(t, j, -math.copysign(size, held), price, reason, at_level=at_target)
        if waiting is not None:
            self.wishes[j] = waiting
        if at_target and size < abs(held):
            return
        del self.guarded[j]
        self.left_on[j] = t
        if waiting is None:
            self.stated[j] = 0.0
            if self.last_weights is not None:
                self.last_weights[j] = math.nan
            if size < abs(held):
                self.wishes[j] = sale
