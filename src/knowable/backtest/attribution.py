"""Why equity and cash changed: tables made from a ledger's records when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.costs import Amount
from knowable.backtest.tape import carry_forward
from knowable.kernels import account as codes
from knowable.kernels.attribution import attribution_kernel

__all__ = ["attribution_table", "borrow_rates", "cash_flows_table", "contributions_table", "marks_of"]

Panel: TypeAlias = npt.NDArray[np.float64]

_COSTS = {
    "fees": codes.BAR_FEES,
    "spread": codes.BAR_SPREAD,
    "slippage": codes.BAR_SLIPPAGE,
    "impact": codes.BAR_IMPACT,
    "borrow": codes.BAR_BORROW,
    "margin_interest": codes.BAR_MARGIN_INTEREST,
}
_INCOME = {"interest": codes.BAR_INTEREST, "dividends": codes.BAR_DIVIDENDS, "funding": codes.BAR_FUNDING}
_IN_PRICES = ("spread", "slippage", "impact")


def marks_of(close: Panel, before: Panel, orders: Panel) -> Panel:
    """(n_bars, n_assets) the price at which a position counts at each close; 0 before there is one.

    Args:
        close: (n_bars, n_assets); NaN where a bar has none.
        before: (n_assets,) last close before the first bar; 0 where none.
        orders: of the ledger's record: before its first close an asset counts at the price of its first fill.
    """
    if not np.isnan(close).any():
        return close
    marks = close.copy()
    marks[0] = np.where(np.isnan(close[0]) & (before > 0.0), before, close[0])
    filled = orders[orders[:, codes.ORDER_SIZE] != 0.0]
    bars, assets = _whole(filled[:, codes.ORDER_FILLED]), _whole(filled[:, codes.ORDER_ASSET])
    first = np.where(np.isnan(marks).all(axis=0), len(marks), np.argmax(~np.isnan(marks), axis=0))
    for k in np.flatnonzero(bars < first[assets]).tolist():
        if bars[k] < first[assets[k]]:
            marks[bars[k], assets[k]] = filled[k, codes.ORDER_REFERENCE]
            first[assets[k]] = bars[k]
    return np.nan_to_num(carry_forward(marks), nan=0.0)


def attribution_table(marks: Panel, orders: Panel, bars: Panel, index: pd.DatetimeIndex) -> pd.DataFrame:
    """(n_bars, 10) the parts of each change of equity; as `Result.attribution`.

    Args:
        marks: as `marks_of` gives.
        orders: of the ledger's record.
        bars: of the ledger's record.
        index: (n_bars,) labels.
    """
    gain, _ = _gains(marks, orders, np.zeros(len(marks)), np.zeros((1, 1)))
    columns = {"gain": gain}
    columns |= {name: 0.0 - bars[:, place] for name, place in _COSTS.items()}
    columns |= {name: bars[:, place] for name, place in _INCOME.items()}
    return pd.DataFrame(columns, index=index)


def cash_flows_table(orders: Panel, bars: Panel, index: pd.DatetimeIndex) -> pd.DataFrame:
    """(n_bars, 7) the parts of each change of cash; as `Result.cash_flows`. Arguments as `attribution_table`."""
    filled = orders[orders[:, codes.ORDER_SIZE] != 0.0]
    money = filled[:, codes.ORDER_SIZE] * filled[:, codes.ORDER_PRICE]
    trades = np.bincount(_whole(filled[:, codes.ORDER_FILLED]), weights=money, minlength=len(bars))
    columns = {"trades": 0.0 - trades}
    columns |= {name: 0.0 - bars[:, place] for name, place in _COSTS.items() if name not in _IN_PRICES}
    columns |= {name: bars[:, place] for name, place in _INCOME.items()}
    return pd.DataFrame(columns, index=index)


def contributions_table(
    marks: Panel, orders: Panel, bars: Panel, rates: Panel, assets: tuple[str, ...]
) -> pd.DataFrame:
    """(n_assets, 4) what each asset brought; as `Result.contributions`.

    Args:
        marks: as `marks_of` gives.
        orders: of the ledger's record.
        bars: of the ledger's record.
        rates: (n_bars or 1, n_assets or 1) of borrowing, in any unit.
        assets: names.
    """
    _, parts = _gains(marks, orders, bars[:, codes.BAR_BORROW], rates)
    filled = orders[orders[:, codes.ORDER_SIZE] != 0.0]
    worse = np.abs(filled[:, codes.ORDER_SIZE] * (filled[:, codes.ORDER_PRICE] - filled[:, codes.ORDER_REFERENCE]))
    paid = np.bincount(
        _whole(filled[:, codes.ORDER_ASSET]), weights=worse + filled[:, codes.ORDER_FEE], minlength=len(assets)
    )
    gain, costs = parts[0], paid + parts[1]
    net = gain - costs
    whole = net.sum()
    share = net / whole if whole != 0.0 else np.full(len(assets), np.nan)
    columns = {"gain": gain, "costs": 0.0 - costs, "net": net, "share": share}
    return pd.DataFrame(columns, index=pd.Index(assets, name="asset"))


def borrow_rates(amount: Amount, prices: Mapping[str, Panel], assets: tuple[str, ...]) -> Panel:
    """(n_bars or 1, n_assets or 1) the rates of `Costs.borrow_bps_year`; a field's are kept under that name."""
    if isinstance(amount, str):
        return np.nan_to_num(prices["borrow_bps_year"], nan=0.0)
    if isinstance(amount, Mapping):
        return np.array([[amount[asset] for asset in assets]])
    return np.array([[amount]])


def _gains(marks: Panel, orders: Panel, borrow: Panel, rates: Panel) -> tuple[Panel, Panel]:
    """Gains (n_bars,), and by asset (2, n_assets) its gain and its part of borrow."""
    filled = orders[orders[:, codes.ORDER_SIZE] != 0.0]
    gain, parts = np.empty(len(marks)), np.zeros((2, marks.shape[1]))
    attribution_kernel(
        _own(marks),
        _whole(filled[:, codes.ORDER_FILLED]),
        _whole(filled[:, codes.ORDER_ASSET]),
        np.ascontiguousarray(filled[:, codes.ORDER_SIZE]),
        np.ascontiguousarray(filled[:, codes.ORDER_REFERENCE]),
        np.ascontiguousarray(borrow),
        _own(rates),
        gain,
        parts,
    )
    return gain, parts


def _own(panel: Panel) -> Panel:
    """One kind of array for the kernel, which compiles again for every other: C-ordered and read-only."""
    view = np.ascontiguousarray(panel).view()
    view.flags.writeable = False
    return view


def _whole(column: Panel) -> npt.NDArray[np.int64]:
    return np.ascontiguousarray(column).astype(np.int64)
