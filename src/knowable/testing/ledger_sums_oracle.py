"""The order in which the slow ledger adds up, and what of a bar's buys its cash allows.

Private attributes of `SlowLedger` are read here: this is a part of it, apart for its size.
"""
# ruff: noqa: SLF001

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["affordable", "total", "total_of_four"]

_DUST = 1e-9


def total(values: Iterable[float], start: float = 0.0) -> float:
    """The values added up one after the other, without the care that `sum` takes since Python 3.12."""
    for value in values:
        start += value
    return start


def total_of_four(values: Sequence[float]) -> float:
    """The same by four sums, each of every fourth value; what is over a multiple of four joins the first."""
    whole = len(values) - len(values) % 4
    a, b, c, d = (total(values[k:whole:4]) for k in range(4))
    return (total(values[whole:], a) + b) + (c + d)


def affordable(ledger: Any, t: int, buys: dict[int, float], price: Sequence[float]) -> float:
    """The share of all buys that the cash allows: the root of a convex cost, from above."""
    cash = ledger._cash_to_spend(price)
    if ledger.liquidated_at is not None or not buys or _can_pay(ledger, t, cash, buys, price):
        return 1.0
    share = 1.0
    for _ in range(64):
        slope, fixed = _tangent(ledger, t, share, buys, price)
        if slope <= 0.0:
            return share if fixed <= max(cash, 0.0) else 0.0  # only futures: nothing is to be paid but least fees
        lower = (cash - fixed) / slope
        if lower >= share * (1.0 - 1e-15):
            break
        share = max(lower, 0.0)
        if share == 0.0:
            break
    bisected = _bisected(ledger, t, cash, buys, price)
    assert abs(share - bisected) <= 1e-9, (share, bisected)  # noqa: S101 - Newton's steps found another root
    return share * (1.0 - 1e-12) if share > _DUST else 0.0


def _can_pay(ledger: Any, t: int, cash: float, buys: dict[int, float], price: Sequence[float]) -> bool:
    left = cash
    for j, wanted in buys.items():
        paid = price[j] * (1.0 + ledger._worse(t, j, wanted))
        fee = ledger._fee(t, j, wanted, paid)
        left = left - wanted * (paid - price[j] if j in ledger.unfunded else paid) - fee
    return left + (1e-12 * (cash - left) if ledger.settings.lot is not None else 0.0) >= 0.0


def _tangent(ledger: Any, t: int, share: float, buys: dict[int, float], price: Sequence[float]) -> tuple[float, float]:
    """Slope and value at 0 of the line that touches the cost of buys where this share of each is bought."""
    slope, fixed = 0.0, 0.0
    for j, wanted in buys.items():
        paid = wanted * (price[j] * (1.0 + ledger._worse(t, j, wanted * share)))
        bend = 0.5 * (wanted * (price[j] * ledger._impact(t, j, wanted * share)))
        slope += paid - wanted * price[j] + bend if j in ledger.unfunded else paid + bend
        fixed -= bend * share
        rate, least = ledger._cost("fee_bps", t, j), ledger._cost("fee_min", t, j)
        fee = paid * rate + wanted * ledger._cost("fee_per_share", t, j)
        if fee * share >= least:
            slope += fee + bend * rate
            fixed -= bend * rate * share
        else:
            fixed += least
    return slope, fixed


def _bisected(ledger: Any, t: int, cash: float, buys: dict[int, float], price: Sequence[float]) -> float:
    def cost(share: float) -> float:
        spent = []
        for j, wanted in buys.items():
            paid = price[j] * (1.0 + ledger._worse(t, j, wanted * share))
            spent.append(wanted * share * (paid - price[j] if j in ledger.unfunded else paid))
            spent.append(ledger._fee(t, j, wanted * share, paid))
        return math.fsum(spent)

    low, high = 0.0, 1.0
    if cost(0.0) >= cash:
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if cost(middle) <= cash else (low, middle)
    return low
