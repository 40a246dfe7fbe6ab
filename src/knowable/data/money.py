"""Fields of a market that say what its prices are worth in money, and what holding a contract brings.

``fx``: units of the base currency for one of the asset's, at each bar's end. ``multiplier``: units of the price in one
contract. ``funded``: 1 where a position is paid for, 0 where it is settled daily and needs no cash. ``funding``: the
rate that a perpetual's longs pay its shorts at the start of a bar. ``roll``: on the first bar of a new contract, its
price less that of the old one.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.errors import DataError, InputError, shown, unknown_name

__all__ = ["MONEY_FIELDS", "check_money", "checked_currencies", "on_all_bars", "rates_of"]

Panel = npt.NDArray[np.float64]

MONEY_FIELDS = ("fx", "multiplier", "funded", "funding", "roll")
_CONSTANT = {"multiplier": 1.0, "funded": 1.0}  # the same on all bars, and what it is for assets not named


def on_all_bars(fields: Mapping[str, Any], close: Any) -> dict[str, Any]:
    """The fields of a market given as frames, where `multiplier` and `funded` may be a number, or one for each asset.

    Args:
        fields: name -> frame; of those two also a number, or a mapping or Series of asset -> number; assets it does not
            name are shares: 1.
        close: the frame that rules index and columns.

    Raises: UnknownNameError for an asset that is none; InputError for what is no number.
    """
    made = dict(fields)
    for name, usual in _CONSTANT.items():
        given: Any = made.get(name)
        if isinstance(given, numbers.Real) and isinstance(close, pd.Series):
            made[name] = pd.Series(float(given), index=close.index, name=close.name)
        by_asset = isinstance(given, Mapping | pd.Series) and not isinstance(
            getattr(given, "index", None), pd.DatetimeIndex
        )
        if not isinstance(close, pd.DataFrame) or not (by_asset or isinstance(given, numbers.Real)):
            continue
        assets = [str(column) for column in close.columns]
        held = {str(asset): each for asset, each in given.items()} if by_asset else dict.fromkeys(assets, given)
        strange = [asset for asset in held if asset not in assets]
        if strange:
            raise unknown_name("asset", strange[0], assets, where=f"{name}=")
        bad = [asset for asset, each in held.items() if not isinstance(each, numbers.Real)]
        if bad:
            raise InputError(f"`{name}` of {bad[0]!r} must be a number, but it is {shown(held[bad[0]])}.")
        row = np.array([float(held.get(asset, usual)) for asset in assets])
        made[name] = pd.DataFrame(np.tile(row, (len(close), 1)), index=close.index, columns=close.columns)
    return made


def check_money(panels: Mapping[str, Panel], index: pd.DatetimeIndex, assets: tuple[str, ...]) -> None:
    """Check the fields of a market that the ledger reads as money.

    Args:
        panels: field -> (n_bars, n_assets), ``close`` among them; only those of `MONEY_FIELDS` are looked at.
        index: (n_bars,) labels.
        assets: names.

    Raises: DataError naming the first cell: a rate of exchange that is missing or not above 0 where there is a price; a
        multiplier not above 0, or `funded` other than 0 and 1; either changing with time; funding or roll infinite; a
        roll out of which, or into which, comes a price not above 0.
    """
    for name in MONEY_FIELDS:
        if name not in panels:
            continue
        panel = panels[name]
        if name == "fx":
            priced = np.zeros(panel.shape, bool)
            for each in ("open", "high", "low", "close", "vwap"):
                if each in panels:
                    priced |= ~np.isnan(panels[each])
            bad = (priced & ~(np.isfinite(panel) & (panel > 0.0))) | (panel <= 0.0) | np.isinf(panel)
            what, remedy = (
                "a rate above 0 wherever the asset has a price",
                "Fill gaps with the last rate: rates.ffill().",
            )
        elif name == "multiplier":
            bad = ~(np.isfinite(panel) & (panel > 0.0))
            what, remedy = "a number above 0 on every bar", "Shares, and assets without one, have the multiplier 1."
        elif name == "funded":
            bad = ~((panel == 0.0) | (panel == 1.0))
            what, remedy = "1 (paid in full) or 0 (settled daily) on every bar", "Shares are 1, futures are 0."
        elif name == "roll":
            bad = np.isinf(panel) | _no_roll(panel, panels.get("raw_close", panels["close"]))
            what, remedy = (
                "the new contract's price less the old one's, below the close and above minus the close before",
                "It is a difference of prices in points, not a price.",
            )
        else:
            bad = np.isinf(panel)
            what, remedy = "a finite number, or NaN for none", "Look at how it was computed."
        if bad.any():
            row, column = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
            raise DataError(
                f"`{name}` of {assets[column]!r} must be {what}, but it is {panel[row, column]:g} at {index[row]} "
                f"(row {row}); {int(bad.sum())} such in all.\n{remedy} Or give the field another name."
            )
        if name in _CONSTANT and (panel != panel[:1]).any():
            row, column = (int(k) for k in np.unravel_index(int(np.argmax(panel != panel[:1])), panel.shape))
            raise DataError(
                f"`{name}` of {assets[column]!r} must be the same on all bars, but it is {panel[0, column]:g} at first "
                f"and {panel[row, column]:g} at {index[row]} (row {row}).\nAnother contract is another asset."
            )


def _no_roll(roll: Panel, close: Panel) -> npt.NDArray[np.bool_]:
    """Where the old contract at the new one's close, or the new one at the old one's, would have no price above 0."""
    into = np.zeros(roll.shape, bool)
    into[1:] = close[:-1] + roll[1:] <= 0.0
    return into | (close - roll <= 0.0)


def checked_currencies(currencies: object) -> dict[str, str]:
    """Asset -> currency, of a mapping or a Series. Raises: InputError."""
    held = dict(currencies) if isinstance(currencies, Mapping | pd.Series) else {}
    texts = [each for pair in held.items() for each in pair]
    if not isinstance(currencies, Mapping | pd.Series) or not all(isinstance(each, str) for each in texts):
        raise InputError(
            f"`currencies` maps assets to currencies, such as {{'SAP': 'EUR'}}, but it is {shown(currencies)}.\n"
            "For all in one: dict.fromkeys(market.assets, 'EUR')."
        )
    return held


def rates_of(
    currencies: Mapping[str, str],
    rates: pd.DataFrame,
    base: str,
    *,
    index: pd.DatetimeIndex,
    assets: tuple[str, ...],
    priced: npt.NDArray[np.bool_],
) -> Panel:
    """(n_bars, n_assets) units of `base` for one unit of each asset's currency; `Market.with_currencies` says how.

    Args:
        currencies: asset -> currency; those not named are in `base`.
        rates: a row a bar, a column a currency: units of `base` for one.
        base: currency of the account.
        index: labels of the bars.
        assets: names.
        priced: (n_bars, n_assets) where an asset has a price.
    """
    if not isinstance(rates, pd.DataFrame):
        raise InputError(f"`rates` must be a DataFrame, a row a bar and a column a currency, but it is {shown(rates)}.")
    strange = [asset for asset in currencies if asset not in assets]
    if strange:
        raise unknown_name("asset", strange[0], assets, where="with_currencies")
    if not rates.index.equals(index):
        raise DataError(
            f"`rates` has {len(rates)} rows, the market {len(index)} bars, or other labels; both need the same.\n"
            "Take the last rate known at each bar: rates.reindex(market.index, method='ffill')."
        )
    panel = np.ones((len(index), len(assets)))
    for asset, currency in currencies.items():
        if currency == base:
            continue
        if currency not in rates.columns:
            raise unknown_name("currency", currency, [str(each) for each in rates.columns], where="`rates`")
        column = assets.index(asset)
        panel[:, column] = rates[currency].to_numpy(dtype=np.float64)
        bad = ~(np.isfinite(panel[:, column]) & (panel[:, column] > 0.0))
        if (bad & priced[:, column]).any():
            row = int(np.argmax(bad & priced[:, column]))
            raise DataError(
                f"`rates` of {currency!r} must be above 0 wherever {asset!r} has a price, but it is "
                f"{panel[row, column]:g} at {index[row]} (row {row}); {int((bad & priced[:, column]).sum())} such in "
                "all.\nFill gaps with the last rate: rates.ffill()."
            )
        panel[bad, column] = np.nan
    return panel
