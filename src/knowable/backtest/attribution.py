"""Why equity and cash changed: tables made from a ledger's records when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.costs import Amount
from knowable.backtest.tables import is_flow
from knowable.backtest.traded import carry_forward
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
    _carry_over_actions(marks, orders)  # last, for it goes on from what the first bar and the first fill have
    return np.nan_to_num(carry_forward(marks), nan=0.0)


def _carry_over_actions(marks: Panel, records: Panel) -> None:
    """Where a bar of a split or a roll has no close, the last one goes on in the units of after it."""
    moved = records[np.isin(records[:, codes.ORDER_REASON], (codes.SPLIT, codes.ROLLED)) & is_flow(records)]
    for row in moved.tolist():
        bar, j, amount = int(row[codes.ORDER_FILLED]), int(row[codes.ORDER_ASSET]), row[codes.ORDER_REFERENCE]
        if np.isnan(marks[bar, j]) and not np.isnan(marks[:bar, j]).all():
            last = marks[:bar, j][~np.isnan(marks[:bar, j])][-1]
            marks[bar, j] = last / amount if row[codes.ORDER_REASON] == codes.SPLIT else last + amount


def _movements(records: Panel) -> Panel:
    """(n, 4) bar, asset, signed shares and the price they came at, as if all that moves shares or cash were a trade.

    Shares of an action came at the cash that went for them. Cash without shares, of a roll, is a share bought at one
    price and sold at another.
    """
    flow = is_flow(records)
    size, reason = records[:, codes.ORDER_SIZE], records[:, codes.ORDER_REASON]
    price = records[:, codes.ORDER_REFERENCE].copy()
    moving = flow & (size != 0.0)
    price[moving] = -records[moving, codes.ORDER_WANTED] / size[moving]
    columns = [records[:, codes.ORDER_FILLED], records[:, codes.ORDER_ASSET], size, price]
    whole = np.stack(columns, axis=1)
    paid = flow & (size == 0.0) & np.isin(reason, (codes.ROLLED, codes.MERGED, codes.SPUN_OFF, codes.SPLIT))
    if not paid.any():
        only: Panel = whole[size != 0.0]
        return only
    cash = records[:, codes.ORDER_WANTED] + np.where(reason == codes.ROLLED, records[:, codes.ORDER_PRICE], 0.0)
    out, back = whole[paid], whole[paid]
    out[:, 2], out[:, 3] = 1.0, -cash[paid]
    back[:, 2], back[:, 3] = -1.0, 0.0
    both = np.concatenate([whole[size != 0.0], out, back])
    made: Panel = both[np.argsort(both[:, 0], kind="stable")]
    return made


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


def cash_flows_table(
    marks: Panel, orders: Panel, bars: Panel, unfunded: npt.NDArray[np.bool_], index: pd.DatetimeIndex
) -> pd.DataFrame:
    """(n_bars, 9) the parts of each change of cash; as `Result.cash_flows`.

    Args:
        marks: see `attribution_table`; the rest too.
        orders: see there.
        bars: see there.
        unfunded: (n_assets,) futures and perpetuals, which are settled and not paid for.
        index: see there.
    """
    flow = is_flow(orders)
    money = orders[:, codes.ORDER_SIZE] * orders[:, codes.ORDER_PRICE]
    asset, bar = _whole(orders[:, codes.ORDER_ASSET]), _whole(orders[:, codes.ORDER_FILLED])
    traded = ~flow & (orders[:, codes.ORDER_SIZE] != 0.0) & ~unfunded[asset]
    trades = np.bincount(bar[traded], weights=money[traded], minlength=len(bars))
    booked = np.isin(orders[:, codes.ORDER_REASON], (codes.SPLIT, codes.MERGED, codes.SPUN_OFF, codes.ROLLED))
    booked &= flow & ~unfunded[asset]
    actions = np.bincount(bar[booked], weights=orders[booked, codes.ORDER_WANTED], minlength=len(bars))
    columns: dict[str, npt.NDArray[Any]] = {"trades": 0.0 - trades}
    columns |= {name: 0.0 - bars[:, place] for name, place in _COSTS.items() if name not in _IN_PRICES}
    columns |= {name: bars[:, place] for name, place in _INCOME.items()}
    columns |= {"actions": actions, "settled": _settled(marks, orders, unfunded)}
    return pd.DataFrame(columns, index=index)


def _settled(marks: Panel, records: Panel, unfunded: npt.NDArray[np.bool_]) -> Panel:
    """(n_bars,) what futures brought, at the prices paid."""
    settled = np.zeros(len(marks))
    if not unfunded.any():
        return settled
    own = records[unfunded[_whole(records[:, codes.ORDER_ASSET])]]
    gain, _ = _gains(marks, own, np.zeros(len(marks)), np.zeros((1, 1)))
    filled = own[(own[:, codes.ORDER_SIZE] != 0.0) & ~is_flow(own)]
    worse = np.abs(filled[:, codes.ORDER_SIZE] * (filled[:, codes.ORDER_PRICE] - filled[:, codes.ORDER_REFERENCE]))
    rolled = own[own[:, codes.ORDER_REASON] == codes.ROLLED]
    settled += gain - np.bincount(_whole(filled[:, codes.ORDER_FILLED]), weights=worse, minlength=len(marks))
    settled -= np.bincount(
        _whole(rolled[:, codes.ORDER_FILLED]), weights=rolled[:, codes.ORDER_PRICE], minlength=len(marks)
    )
    return settled


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
    flow, rolled = is_flow(orders), orders[:, codes.ORDER_REASON] == codes.ROLLED
    worse = np.abs(orders[:, codes.ORDER_SIZE] * (orders[:, codes.ORDER_PRICE] - orders[:, codes.ORDER_REFERENCE]))
    worse = np.where(rolled, orders[:, codes.ORDER_PRICE], np.where(flow, 0.0, np.nan_to_num(worse)))
    asset = _whole(orders[:, codes.ORDER_ASSET])
    paid = np.bincount(asset, weights=worse + orders[:, codes.ORDER_FEE], minlength=len(assets))
    income = np.isin(orders[:, codes.ORDER_REASON], (codes.DIVIDEND, codes.PAID_FUNDING)) & flow
    received = np.bincount(asset[income], weights=orders[income, codes.ORDER_WANTED], minlength=len(assets))
    gain, costs = parts[0] + received, paid + parts[1]
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
    moved = _movements(orders)
    gain, parts = np.empty(len(marks)), np.zeros((2, marks.shape[1]))
    attribution_kernel(
        _own(marks),
        _whole(moved[:, 0]),
        _whole(moved[:, 1]),
        np.ascontiguousarray(moved[:, 2]),
        np.ascontiguousarray(moved[:, 3]),
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
