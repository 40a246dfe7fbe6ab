"""`Costs`: what it costs to trade, to hold and to owe."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import Market
from knowable.errors import InputError, by_name, shown, unknown_name
from knowable.kernels import account as codes

__all__ = ["Amount", "Costs", "cost_field", "terms_of"]

Panel: TypeAlias = npt.NDArray[np.float64]
Amount: TypeAlias = float | Mapping[str, float] | str

_BPS = 1e-4
_DAYS = 365.0
# Each cost: its place in `terms`, and what turns its unit into a fraction (of a day, where it is one of time).
_TERMS = {
    "fee_bps": (codes.TERM_FEE, _BPS),
    "fee_per_share": (codes.TERM_FEE_PER_SHARE, 1.0),
    "fee_min": (codes.TERM_FEE_MIN, 1.0),
    "half_spread_bps": (codes.TERM_SPREAD, _BPS),
    "slippage_bps": (codes.TERM_SLIPPAGE, _BPS),
    "impact": (codes.TERM_IMPACT, 1.0),
    "borrow_bps_year": (codes.TERM_BORROW, _BPS / _DAYS),
    "cash_rate": (codes.TERM_CASH, 1.0 / _DAYS),
    "margin_rate": (codes.TERM_MARGIN, 1.0 / _DAYS),
}
_MOST = {"fee_bps": 10_000.0, "cash_rate": 100.0, "margin_rate": 100.0}
_OF_CASH = ("cash_rate", "margin_rate")


class ByAsset(dict[str, float]):
    """A number for each asset: a dict that stays as it is, so that it can be hashed and JSON writes it."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Costs do not change; make others, as with dataclasses.replace(costs, fee_bps={...}).")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = setdefault = clear = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return ByAsset, (dict(self),)


@by_name
@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What trading, holding and owing costs.

    Each is one number for all; or a mapping with a number for each asset; or the name of a field of the market, a panel
    (n_bars, n_assets) whose row t is taken for what happens on bar t; where an asset has no close it may be missing:
    the last one stands. All are >= 0, but for `cash_rate`. What no market can have is refused; what hardly one has,
    such as a rate of 500 % or a fee of a ten-thousandth of a per cent, is told in the result's `warnings`.

    Attributes:
        fee_bps: fee on the value of a fill, hundredths of a per cent.
        fee_per_share: fee a share, currency.
        fee_min: least fee of a fill, currency.
        half_spread_bps: how far the fill is from the reference price for the spread.
        slippage_bps: how much further it is for slippage.
        impact: how much further it is for its size: this fraction of the price for a fill as large as its bar's volume,
            else by the square root of the share that it is (0.1: a fill of 1 % of the volume costs 1 %). Needs volume.
        borrow_bps_year: of the value of short positions, a year of 365 calendar days, paid for each night held.
        cash_rate: interest on cash above 0, a fraction a year of 365 calendar days, for each night; proceeds of short
            sales are cash. One number, or a field, of which the first column counts. May be below 0.
        margin_rate: the same for cash below 0, to be paid.
    """

    fee_bps: Amount = 0.0
    fee_per_share: Amount = 0.0
    fee_min: Amount = 0.0
    half_spread_bps: Amount = 0.0
    slippage_bps: Amount = 0.0
    impact: Amount = 0.0
    borrow_bps_year: Amount = 0.0
    cash_rate: float | str = 0.0
    margin_rate: float | str = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, _amount(entry.name, getattr(self, entry.name)))
        if isinstance(self.half_spread_bps, float) and isinstance(self.slippage_bps, float):
            _check_adverse(self.half_spread_bps + self.slippage_bps)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` wrote."""
        return cls(**values)


def terms_of(costs: Costs, market: Market, start: int, stop: int) -> Panel:
    """The costs as the kernel's `terms`, rows [start, stop): (n_rows or 1, N_TERMS, n_assets or 1), read-only.

    Raises: UnknownNameError for a field or an asset that the market has not; InputError for a cell that is no cost
        where the asset has a close, or costs of spread and slippage that leave nothing of a sale.
    """
    parts = {name: _resolved(name, getattr(costs, name), market, start, stop) for name in _TERMS}
    n_rows = max(len(part) for part in parts.values())
    n_columns = max(part.shape[1] for part in parts.values())
    terms = np.empty((n_rows, codes.N_TERMS, n_columns))
    for name, (place, unit) in _TERMS.items():
        terms[:, place, :] = parts[name] * unit
    _check_adverse(float((terms[:, codes.TERM_SPREAD] + terms[:, codes.TERM_SLIPPAGE]).max()) / _BPS)
    view = terms.view()
    view.flags.writeable = False
    return view


def _resolved(name: str, amount: Amount, market: Market, start: int, stop: int) -> Panel:
    if isinstance(amount, float):
        return np.full((1, 1), amount)
    if isinstance(amount, str):
        return cost_field(name, amount, market, start, stop)
    strange = [asset for asset in amount if asset not in market.assets]
    if strange:
        raise unknown_name("asset", strange[0], market.assets, where=f"Costs({name}=...)")
    absent = [asset for asset in market.assets if asset not in amount]
    if absent:
        listed = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        raise InputError(
            f"Costs({name}=...) has no number for {len(absent)} of {market.n_assets} assets: {listed}.\n"
            "Name each asset, with 0 for those that cost nothing."
        )
    return np.array([[amount[asset] for asset in market.assets]])


def cost_field(name: str, field: str, market: Market, start: int, stop: int) -> Panel:
    """A cost that is a field, in its own unit: (stop - start, n_assets), of cash one column. Raises as `terms_of`."""
    panel, close = market.final_panel(field)[:stop], market.final["close"][:stop]
    if name in _OF_CASH:
        panel = panel[:, :1]
    fits = np.isfinite(panel) & ((panel >= 0.0) | (name == "cash_rate"))
    needed = ~np.isnan(close[start:, : panel.shape[1]]) | (name in _OF_CASH)
    bad = needed & ~fits[start:]
    if bad.any():
        row, column = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise InputError(
            f"Costs({name}={field!r}) needs a finite number >= 0 wherever the asset has a price, but it is "
            f"{panel[start + row, column]:g} for {market.assets[column]!r} at {market.index[start + row]}; "
            f"{int(bad.sum())} such in all.\nFill the field first, as with ffill."
        )
    return panel[start:] if fits[start:].all() else _last_that_fits(panel, fits)[start:]


def _last_that_fits(panel: Panel, fits: npt.NDArray[np.bool_]) -> Panel:
    """Without a close a cost may be missing, but a night is paid for, or an open comes: the last one stands, or 0."""
    rows = np.maximum.accumulate(np.where(fits, np.arange(len(panel))[:, None], -1), axis=0)
    return np.where(rows < 0, 0.0, np.take_along_axis(panel, np.maximum(rows, 0), axis=0))


def _amount(name: str, value: Any) -> Amount:
    """One number, a number for each asset, or the name of a field."""
    if isinstance(value, str) and value.isidentifier():
        return value
    if isinstance(value, pd.DataFrame | np.ndarray):
        raise InputError(
            f"`{name}` came as a {type(value).__name__}; costs that change by bar are a field of the market:\n"
            f"market = Market.from_frames(close=..., {name}=frame), and Costs({name}={name!r})."
        )
    if isinstance(value, Mapping | pd.Series) and name not in _OF_CASH:
        return ByAsset({str(asset): _number(name, each, f" for {asset!r}") for asset, each in value.items()})
    return _number(name, value, "")


def _number(name: str, value: object, whose: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(float(value)):
        also = "" if name in _OF_CASH else ", a mapping by asset"
        raise InputError(
            f"`{name}` must be a finite number{also} or the name of a field, but {name}={shown(value)}{whose}, "
            "in Costs."
        )
    most = _MOST.get(name, math.inf)
    if not abs(float(value)) < most:
        raise InputError(
            f"`{name} < {most:g}` must hold, but {name}={float(value):g}{whose}, in Costs. "
            + (
                "It is a fraction a year: 0.05 for five per cent."
                if name in _OF_CASH
                else "A sale would bring nothing."
            )
        )
    if float(value) < 0.0 and name != "cash_rate":
        raise InputError(f"`{name} >= 0` must hold, but {name}={float(value):g}{whose}, in Costs.")
    return float(value)


def _check_adverse(adverse: float) -> None:
    if adverse >= 10_000.0:
        raise InputError(
            f"`half_spread_bps + slippage_bps < 10000` must hold, or a sale brings nothing, but it is {adverse:g}."
        )
