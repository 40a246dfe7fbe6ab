"""What happens to what is held, written slowly: one holder, one action at a time, beside `SlowLedger`.

Where the kernel keeps levels, counts and a trade's basis, this follows money and shares only, and the price paid where
the ledger's sizing reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from knowable.backtest.reasons import Reason
from knowable.testing.ledger_sums_oracle import total

__all__ = ["SlowAction", "SlowFlow", "book", "whole_shares"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowAction:
    """An action that takes effect at the beginning of a bar; its numbers as `knowable.kernels.actions` has them."""

    row: int
    asset: int
    kind: Reason
    ratio: float = math.nan
    amount: float = math.nan
    other: int = -1

    @property
    def in_quotes(self) -> float:
        """Of a roll, by how much more the next contract is quoted."""
        return self.amount if math.isnan(self.ratio) else self.ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowFlow:
    """What was booked: shares and cash, costs taken off."""

    row: int
    asset: int
    kind: Reason
    shares: float
    cash: float


def book(ledger: Any, t: int, action: SlowAction, price: Sequence[float]) -> None:
    """Book an action on a `SlowLedger`. `price` holds this bar's fill prices."""
    j, held = action.asset, ledger.held[action.asset]
    if action.kind is Reason.SPLIT:
        waits = j in ledger.wishes and ledger.wishes[j].shares
        _split(ledger, t, action)
        if waits and not ledger.wishes[j].shares and not ledger.held[j]:
            ledger.cancel(j, Reason.ROUNDED)
    elif action.kind is Reason.DIVIDEND:
        _pay(ledger, t, j, action.kind, held and held * action.amount, "dividends")
    elif action.kind is Reason.PAID_FUNDING:
        _pay(ledger, t, j, action.kind, held and held * (-(ledger.mark[j] or 0.0) * action.ratio), "funding")
    elif action.kind is Reason.ROLLED:
        _roll(ledger, t, action)
    elif action.kind is Reason.SPUN_OFF:
        _spin_off(ledger, t, action, price)
    else:
        if j in ledger.wishes:
            ledger.cancel(j, action.kind)
        ledger.gone.add(j)
        ledger.stated[j] = 0.0
        if held and action.kind is Reason.DELISTED:
            value = (ledger.mark[j] or 0.0) * action.ratio if math.isnan(action.amount) else action.amount
            ledger.cash += held * value
            ledger.held[j] = 0.0
            ledger.closed(t, j, -held, value)
        elif held:
            _merge(ledger, t, action)


def whole_shares(ledger: Any, shares: float) -> float:
    """What is delivered of a number of shares: whole ones, or multiples of a lot below 1; all without lots."""
    lot = ledger.settings.lot
    if lot is None:
        return shares
    unit = min(lot, 1.0)
    return math.copysign(math.floor(abs(shares) / unit * (1.0 + 1e-9)) * unit, shares)


def _pay(ledger: Any, t: int, j: int, kind: Reason, cash: float, account: str) -> None:
    if cash:
        ledger.cash += cash
        ledger.paid[-1][account] += cash
        ledger.flows.append(SlowFlow(row=t, asset=j, kind=kind, shares=0.0, cash=cash))


def _split(ledger: Any, t: int, action: SlowAction) -> None:
    j = action.asset
    if ledger.mark[j] is not None:
        ledger.mark[j] /= action.ratio
    if j in ledger.wishes and ledger.wishes[j].shares is not None:
        ledger.wishes[j].shares = ledger._lots(ledger.wishes[j].shares * action.ratio)  # noqa: SLF001
    held = ledger.held[j]
    if not held:
        ledger.flows.append(SlowFlow(row=t, asset=j, kind=Reason.SPLIT, shares=0.0, cash=0.0))
        return
    more = whole_shares(ledger, held * action.ratio) - held
    now = held + more  # positions are what the booked shares add up to, to the bit
    cash = 0.0 if ledger.settings.lot is None else (held * action.ratio - now) * (ledger.mark[j] or 0.0)
    ledger.cash += cash
    if now:
        ledger.paid_for[j] = (ledger.paid_for[j] * held - cash) / now
    ledger.held[j] = now
    ledger.flows.append(SlowFlow(row=t, asset=j, kind=Reason.SPLIT, shares=more, cash=cash))


def _merge(ledger: Any, t: int, action: SlowAction) -> None:
    j, other, held = action.asset, action.other, ledger.held[action.asset]
    cash = action.amount
    if math.isnan(cash):
        cash = 0.0 if other >= 0 else (ledger.mark[j] or 0.0) * action.ratio
    ledger.held[j] = 0.0
    ledger.flows.append(SlowFlow(row=t, asset=j, kind=Reason.MERGED, shares=-held, cash=held * cash))
    if other < 0:
        ledger.cash += held * cash
        return
    worth = ledger.mark[other]
    if not worth:
        worth = max((ledger.mark[j] or 0.0) - cash, 0.0) / action.ratio
    due = held * action.ratio
    given = whole_shares(ledger, due)
    ledger.cash += held * cash + (due - given) * worth
    _receive(ledger, t, other, given, worth, (due - given) * worth, Reason.MERGED)


def _spin_off(ledger: Any, t: int, action: SlowAction, price: Sequence[float]) -> None:
    j, other, held = action.asset, action.other, ledger.held[action.asset]
    if not held:
        return
    worth = ledger.mark[other] or (0.0 if math.isnan(price[other]) else price[other])
    due = held * action.ratio
    given = whole_shares(ledger, due) if worth else due
    share = min(action.ratio * worth / ledger.mark[j], 1.0) if ledger.mark[j] else 0.0
    basis, instead = ledger.paid_for[j] * share / action.ratio, (due - given) * worth
    if not given:
        share = instead / (ledger.paid_for[j] * held) if ledger.paid_for[j] * held else 0.0
    elif instead:
        basis = (ledger.paid_for[j] * held * share - instead) / given
    ledger.paid_for[j] *= 1.0 - share
    ledger.flows.append(SlowFlow(row=t, asset=j, kind=Reason.SPUN_OFF, shares=0.0, cash=0.0))
    ledger.mark[other] = worth or None
    ledger.cash += instead
    _receive(ledger, t, other, given, basis, instead, Reason.SPUN_OFF)


def _receive(ledger: Any, t: int, j: int, shares: float, basis: float, cash: float, kind: Reason) -> None:
    if shares:
        before = ledger.held[j]
        ledger.held[j] = before + shares
        if before * shares >= 0.0:
            ledger.paid_for[j] = (ledger.paid_for[j] * abs(before) + basis * abs(shares)) / abs(ledger.held[j])
        elif before * ledger.held[j] < 0.0:
            ledger.paid_for[j] = basis
        if not ledger.mark[j]:
            ledger.mark[j] = basis or None
        if ledger.last_weights is not None:
            ledger.last_weights[j] = math.nan
        ledger.close_if_liquidated(t, j)
    ledger.flows.append(SlowFlow(row=t, asset=j, kind=kind, shares=shares, cash=cash))


def _roll(ledger: Any, t: int, action: SlowAction) -> None:
    """Sell the old contract at its last close and buy the new one at as much more: two trades and no gain."""
    j, held, old = action.asset, ledger.held[action.asset], ledger.mark[action.asset]
    if not old:
        return
    ledger.mark[j] = new = old + action.amount
    if not held:
        ledger.flows.append(SlowFlow(row=t, asset=j, kind=Reason.ROLLED, shares=0.0, cash=0.0))
        return
    half, slip = (ledger._cost(name, t, j) for name in ("half_spread_bps", "slippage_bps"))  # noqa: SLF001
    legs = ((-held, old), (held, new))
    paid = [price * (1.0 + math.copysign(half + slip, delta)) for delta, price in legs]
    fee = total(ledger._fee(t, j, abs(held), each) for each in paid)  # noqa: SLF001
    traded = abs(held) * (old + new)
    cash = -held * action.amount - traded * (half + slip)
    for name, cost in (("fees", fee), ("spread", traded * half), ("slippage", traded * slip)):
        ledger.paid[-1][name] += cost
    ledger.cash += cash - fee
    ledger.paid_for[j] -= cash / held
    ledger.flows.append(SlowFlow(row=t, asset=j, kind=Reason.ROLLED, shares=0.0, cash=cash))
