"""How much money a strategy could run: what its fills were of their bars' volume, and how that grows with its size."""

from __future__ import annotations

import html
import math
import numbers
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.reasons import BOOKED
from knowable.errors import InputError, shown
from knowable.kernels import account as codes

__all__ = ["Capacity", "capacity_of"]

Panel: TypeAlias = npt.NDArray[np.float64]

_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_NO_FILLS = (*BOOKED, codes.DELISTED)  # nobody had to trade these


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Capacity:
    """What a strategy could run, by its own fills. Multiples are of the account that it ran on: of all its sizes.

    Attributes:
        cash: starting cash of that account.
        n_fills: fills counted.
        n_without_volume: of these, on bars without any volume: an infinite share of it.
        participation: quantile -> share of its bar's volume that a fill was; each is one fill's own, the next larger.
        limit: largest participation that is allowed.
        share: share of the fills that must stay within it.
        multiple: largest multiple at which they do: limit over that quantile of participation.
        gross_return: a year's mean return before impact and after all other costs, arithmetic.
        impact_cost: what impact takes of it a year at multiple 1, by the square-root law; NaN without a coefficient.
        half_life: multiple at which impact takes half of `gross_return`; NaN without a coefficient.
    """

    cash: float
    n_fills: int
    n_without_volume: int
    participation: pd.Series
    limit: float
    share: float
    multiple: float
    gross_return: float
    impact_cost: float
    half_life: float

    @property
    def account(self) -> float:
        """Starting cash at `multiple`."""
        return self.cash * self.multiple

    def impact_at(self, multiple: float) -> float:
        """What impact takes of the return a year at a multiple: impact_cost * sqrt(multiple). Raises: InputError."""
        return self.impact_cost * math.sqrt(_above("multiple", multiple))

    def _lines(self) -> list[tuple[str, str]]:
        lines = [
            (
                "fills",
                f"{self.n_fills:,}" + (f", {self.n_without_volume:,} without volume" * bool(self.n_without_volume)),
            )
        ]
        lines += [(f"participation, {quantile:.0%}", f"{value:.4%}") for quantile, value in self.participation.items()]
        lines += [
            (f"multiple, {self.share:.0%} of fills within {self.limit:.0%}", f"{self.multiple:,.4g}"),
            ("account at that multiple", f"{self.account:,.0f}"),
            ("gross return a year", f"{self.gross_return:.2%}"),
            ("impact a year", "-" if math.isnan(self.impact_cost) else f"{self.impact_cost:.3%}"),
            ("multiple at which it takes half", "-" if math.isnan(self.half_life) else f"{self.half_life:,.4g}"),
        ]
        return lines

    def __repr__(self) -> str:
        lines = self._lines()
        width = max(len(name) for name, _ in lines) + 2
        return "\n".join(["Capacity", *(f"  {name:<{width}}{text:>14}" for name, text in lines)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in self._lines()
        )
        return f"<b>Capacity</b><table>{rows}</table>"


def capacity_of(
    orders: Panel,
    volumes: Panel | None,
    bars: Panel,
    equity: Panel,
    returns: Panel,
    *,
    cash: float,
    bars_per_year: float,
    limit: float,
    share: float,
    impact: float | None,
) -> Capacity:
    """Estimate it.

    Args:
        orders: of the ledger's record.
        volumes: (n_orders,) volume of the bar each was filled on; None: none is known.
        bars: of the ledger's record.
        equity: (n_bars,).
        returns: (n_bars,).
        cash: before the first bar.
        bars_per_year: for annualising.
        limit: as `Result.capacity`; the rest too.
        share: see there.
        impact: see there.

    Raises: InputError without volume or fills, or for a number out of range.
    """
    limit, share = _above("limit", limit), _above("share", share)
    for name, value in (("share", share), ("limit", limit)):
        if value > 1.0:
            raise InputError(
                f"`0 < {name} <= 1` must hold, but {name}={value:g}, in Result.capacity. It is a fraction: "
                "0.05 for five per cent."
            )
    if volumes is None:
        raise InputError(
            "A capacity needs the volume of each bar, but the market of this result had none.\n"
            "Give it, as in Market.from_frames(close=..., volume=...), and run the backtest again."
        )
    fills = (orders[:, codes.ORDER_SIZE] != 0.0) & ~np.isin(orders[:, codes.ORDER_REASON], _NO_FILLS)
    if not fills.any():
        raise InputError("Nothing was filled, so there is nothing to estimate a capacity from.")
    size, volume = np.abs(orders[fills, codes.ORDER_SIZE]), volumes[fills]
    there = volume > 0.0
    part = np.where(there, size / np.where(there, volume, 1.0), np.inf)
    # of whole fills, the next larger: nothing lies between two, and an infinite one must not be averaged away
    quantiles = pd.Series({q: float(np.quantile(part, q, method="higher")) for q in _QUANTILES}, name="participation")
    within = float(np.quantile(part, share, method="higher"))
    before = np.concatenate([[cash], equity[:-1]])
    alive = before > 0.0
    taken = bars[:, codes.BAR_IMPACT]
    gross = float((returns + np.where(alive, taken / np.where(alive, before, 1.0), 0.0)).mean()) * bars_per_year
    if impact is not None:
        value = size * orders[fills, codes.ORDER_REFERENCE] * _above("impact", impact) * np.sqrt(part)
        bar = orders[fills, codes.ORDER_FILLED].astype(np.int64)
        taken = np.bincount(bar, weights=value, minlength=len(bars)).astype(np.float64)
    cost = float(np.where(alive, taken / np.where(alive, before, 1.0), 0.0).mean()) * bars_per_year
    if impact is None and cost == 0.0:
        cost = math.nan
    return Capacity(
        cash=cash,
        n_fills=int(fills.sum()),
        n_without_volume=int((~there).sum()),
        participation=quantiles,
        limit=limit,
        share=share,
        multiple=limit / within,
        gross_return=gross,
        impact_cost=cost,
        half_life=math.nan if math.isnan(cost) else (0.5 * max(gross, 0.0) / cost) ** 2,
    )


def _above(name: str, value: Any) -> float:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0.0 < float(value) < math.inf:
        raise InputError(
            f"`{name} > 0` must hold, a number such as 0.1, but {name}={shown(value)}, in Result.capacity."
        )
    return float(value)
