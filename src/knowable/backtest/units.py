"""Costs that are almost surely given in another unit: said beside the result, for there are markets that have them.

What no market can have is refused by `Costs`: a fee that takes all of a sale, a rate above 10,000 % a year.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from knowable.backtest.costs import Amount, Costs
from knowable.data.market import Market

__all__ = ["unit_remarks"]

_FILL = "It counts hundredths of a per cent"
_YEAR = "It is a fraction a year: 0.05 for five per cent"


class _Usual(NamedTuple):
    """What is out of the usual: all values from above 0 to `least`, or one above `most`; and what the unit is."""

    least: float
    most: float
    unit: str


# Least: exchanges take 0.03 bps of a large future, and currencies trade at a half spread of 0.1. Most: central banks
# have asked for 50 % in our time, hard shares have cost 100 % to borrow, and small ones have half spreads of 2 %.
_USUAL = {
    "fee_bps": _Usual(0.02, 200.0, _FILL),
    "half_spread_bps": _Usual(0.02, 200.0, _FILL),
    "slippage_bps": _Usual(0.02, 200.0, _FILL),
    "borrow_bps_year": _Usual(1.0, 10_000.0, _FILL + " a year"),
    "impact": _Usual(0.0, 1.0, "It is the fraction of the price that a fill as large as its bar's volume costs"),
    "cash_rate": _Usual(0.0, 0.5, _YEAR),
    "margin_rate": _Usual(0.0, 0.5, _YEAR),
}


def unit_remarks(costs: Costs, market: Market, start: int, stop: int) -> tuple[str, ...]:
    """Sentences about costs of an unusual size.

    Args:
        costs: of the run.
        market: whose fields they may name.
        start: first row.
        stop: row after the last.
    """
    found = []
    for name, usual in _USUAL.items():
        value, given = _largest(name, getattr(costs, name), market, start, stop)
        if 0.0 < abs(value) <= usual.least:
            found.append(
                f"{given} is next to nothing. {usual.unit}: what is {value:g} as a fraction is {1e4 * value:g}."
            )
        elif abs(value) > usual.most:
            found.append(f"{given} is {_share(name, value):,.6g} %{_of(name)}. {usual.unit}.")
    return tuple(found)


def _largest(name: str, amount: Amount, market: Market, start: int, stop: int) -> tuple[float, str]:
    """The value of largest size, and how it was given."""
    if isinstance(amount, str):
        panel = np.abs(market.final_panel(amount)[start:stop])
        value = float(np.nanmax(panel)) if np.isfinite(panel).any() else 0.0
        return value, f"Costs({name}={amount!r}), at most {value:g},"
    if isinstance(amount, Mapping):
        asset = max(amount, key=lambda each: amount[each], default=None)
        return (0.0, "") if asset is None else (amount[asset], f"Costs({name}=...) of {asset!r}, {amount[asset]:g},")
    return amount, f"Costs({name}={amount:g})"


def _share(name: str, value: float) -> float:
    return value / 100.0 if name.endswith(("_bps", "_bps_year")) else 100.0 * value


def _of(name: str) -> str:
    return " a year" if name.endswith(("_year", "_rate")) else " of the price" if name == "impact" else " of a fill"
