"""The tables of a result: orders, trades, positions and costs, made from the ledger's records when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.reasons import BOOKED, REASONS
from knowable.backtest.traded import carry_forward
from knowable.kernels import account as codes
from knowable.metrics.curve import Days, drawdowns_of

__all__ = [
    "Money",
    "costs_table",
    "drawdowns_table",
    "exposure_table",
    "flows_table",
    "is_flow",
    "orders_table",
    "positions_table",
    "trades_table",
    "turnover_series",
]

Panel = npt.NDArray[np.float64]

_BASES = (codes.SPLIT, codes.SPUN_OFF, codes.ROLLED)  # no shares move, but what those held have cost does
_TRADE_COLUMNS = ("asset", "entry_bar", "exit_bar", "size", "entry_price", "exit_price", "pnl")


class Money(NamedTuple):
    """(n_bars, n_assets) each, base currency for one unit of a price: at fills, and before a bar, when actions are."""

    fills: Panel
    before: Panel


def is_flow(records: Panel) -> npt.NDArray[np.bool_]:
    """(n_records,) which of a ledger's records an action booked, so that they are no orders."""
    booked = np.isin(records[:, codes.ORDER_REASON], BOOKED)
    return booked & (records[:, codes.ORDER_FILLED] >= 0.0)


def orders_table(
    records: Panel, index: pd.DatetimeIndex, assets: tuple[str, ...], money: Money | None = None
) -> pd.DataFrame:
    """A row an order; columns as `Result.orders`.

    Args:
        records: of the ledger.
        index: (n_bars,) labels.
        assets: names.
        money: what a unit of a price is worth; None: prices are in the account's currency.
    """
    orders = in_quotes(records[~is_flow(records)], money)
    filled = orders[:, codes.ORDER_SIZE] != 0.0
    # what was wanted has the sign also where nothing was filled; an order that was never sized has no side
    signed = np.where(filled, orders[:, codes.ORDER_SIZE], orders[:, codes.ORDER_WANTED])
    side = np.where(signed > 0.0, "buy", np.where(signed < 0.0, "sell", "none"))
    return pd.DataFrame(
        {
            "asset": _names(orders[:, codes.ORDER_ASSET], assets),
            "decision_time": _labels(orders[:, codes.ORDER_DECIDED], index),
            "fill_time": _labels(orders[:, codes.ORDER_FILLED], index),
            "side": side.astype(object),
            "size": np.abs(orders[:, codes.ORDER_SIZE]),
            "price": orders[:, codes.ORDER_PRICE],
            "fee": orders[:, codes.ORDER_FEE],
            "reason": _words(orders),
            "wanted": np.abs(orders[:, codes.ORDER_WANTED]),
            "reference_price": orders[:, codes.ORDER_REFERENCE],
        }
    )


def flows_table(
    records: Panel, index: pd.DatetimeIndex, assets: tuple[str, ...], money: Money | None = None
) -> pd.DataFrame:
    """A row a booking; columns as `Result.flows`. Arguments as `orders_table`."""
    flows = records[is_flow(records)]
    reason = flows[:, codes.ORDER_REASON]
    nothing = (flows[:, codes.ORDER_SIZE] == 0.0) & (flows[:, codes.ORDER_WANTED] == 0.0)
    silent = nothing & np.isin(reason, (codes.SPUN_OFF, codes.SPLIT, codes.ROLLED))
    flows, reason = flows[~silent], reason[~silent]  # a new price of what is, or is not, held; no movement
    rolled = reason == codes.ROLLED
    cash = np.where(rolled, -flows[:, codes.ORDER_PRICE] - flows[:, codes.ORDER_FEE], flows[:, codes.ORDER_WANTED])
    return pd.DataFrame(
        {
            "time": _labels(flows[:, codes.ORDER_FILLED], index),
            "asset": _names(flows[:, codes.ORDER_ASSET], assets),
            "kind": _words(flows),
            "shares": flows[:, codes.ORDER_SIZE],
            "amount": in_quotes(flows, money)[:, codes.ORDER_REFERENCE],
            "cash": cash,
        }
    )


def in_quotes(records: Panel, money: Money | None) -> Panel:
    """Records with prices as quoted. What is no price, the ratio of a split or a rate, stays."""
    if money is None or not len(records):
        return records
    at = np.maximum(records[:, codes.ORDER_FILLED].astype(np.int64), 0)
    reason, made, flow = records[:, codes.ORDER_REASON], records.copy(), is_flow(records)
    cell = at, records[:, codes.ORDER_ASSET].astype(np.int64)
    unit = np.where(flow | (reason == codes.DELISTED), money.before[cell], money.fills[cell])
    plain = (reason == codes.SPLIT) | (reason == codes.PAID_FUNDING)
    made[:, codes.ORDER_REFERENCE] /= np.where(plain, 1.0, unit)
    kept = (reason == codes.SPUN_OFF) & (records[:, codes.ORDER_SIZE] == 0.0)
    made[:, codes.ORDER_PRICE] /= np.where(kept, 1.0, unit)
    made[flow, codes.ORDER_WANTED] /= unit[flow]
    return made


def trades_table(
    orders: Panel,
    index: pd.DatetimeIndex,
    assets: tuple[str, ...],
    prices: Mapping[str, Panel],
    *,
    at_open: bool,
    money: Money | None = None,
) -> pd.DataFrame:
    """A row a closed trade; columns as `Result.trades`.

    Args:
        orders: of the ledger's record.
        index: (n_bars,) labels.
        assets: names.
        prices: name -> (n_bars, n_assets): close, and high and low where there are.
        at_open: whether fills are at the open of their bar, so that the rest of it comes after.
        money: as in `orders_table`.
    """
    quoted = in_quotes(orders, money)
    trades = np.array(_close_trades(quoted), dtype=np.float64).reshape(-1, len(_TRADE_COLUMNS))
    asset, entry_bar, exit_bar, size, entry_price, exit_price, pnl = trades.T
    if money is not None:
        pnl = np.array([trade[-1] for trade in _close_trades(orders)], dtype=np.float64)
    adverse, favourable = _excursions(trades, prices, quoted[is_flow(quoted)], at_open=at_open)
    return pd.DataFrame(
        {
            "asset": _names(asset, assets),
            "entry_time": _labels(entry_bar, index),
            "exit_time": _labels(exit_bar, index),
            "size": size,
            "entry_price": entry_price,
            "exit_price": exit_price,
            "pnl": pnl,
            "bars": (exit_bar - entry_bar).astype(np.int64),
            "mae": adverse,
            "mfe": favourable,
        }
    )


def _excursions(trades: Panel, prices: Mapping[str, Panel], flows: Panel, *, at_open: bool) -> tuple[Panel, Panel]:
    """(n_trades,) each: the furthest a trade was against and for its position, fractions of the entry price.

    Counted over the bars that were held as a whole: from an entry at the open its own bar, else the next; up to the bar
    before an exit at the open, else its own. The exit's price counts too. Prices of before a split or a roll are taken
    in the units of after it, as the entry price is.
    """
    high, low = (prices.get(name, prices["close"]) for name in ("high", "low"))
    moved = flows[np.isin(flows[:, codes.ORDER_REASON], (codes.SPLIT, codes.ROLLED))]
    adverse, favourable = np.zeros(len(trades)), np.zeros(len(trades))
    for k, (asset, entry_bar, exit_bar, size, entry_price, exit_price, _) in enumerate(trades.tolist()):
        first, last = int(entry_bar) + (not at_open), int(exit_bar) + (not at_open)
        tops, bottoms = high[first:last, int(asset)], low[first:last, int(asset)]
        for row in moved[moved[:, codes.ORDER_ASSET] == asset]:
            at = int(row[codes.ORDER_FILLED])
            if entry_bar < at <= exit_bar:
                tops, bottoms = (_moved(each, at - first, row) for each in (tops, bottoms))
        top, bottom = np.fmax.reduce(tops, initial=exit_price), np.fmin.reduce(bottoms, initial=exit_price)
        if entry_price > 0.0:  # else it came for nothing, in a spin-off
            up, down = max(top / entry_price - 1.0, 0.0), min(bottom / entry_price - 1.0, 0.0)
            adverse[k], favourable[k] = (down, up) if size > 0.0 else (-up, -down)
    return adverse, favourable


def _moved(prices: Panel, n_before: int, row: Panel) -> Panel:
    """Prices whose first `n_before` are from before a split or a roll, in the units of after it."""
    made, amount = prices.copy(), row[codes.ORDER_REFERENCE]
    if row[codes.ORDER_REASON] == codes.SPLIT:
        made[: max(n_before, 0)] /= amount
    else:
        made[: max(n_before, 0)] += amount
    return made


def exposure_table(positions: Panel, marks: Panel, equity: Panel, index: pd.DatetimeIndex) -> pd.DataFrame:
    """(n_bars, 4) value of the positions as fractions of equity; columns as `Result.exposure`."""
    value = positions * marks
    long, short = np.where(value > 0.0, value, 0.0).sum(axis=1), np.where(value < 0.0, value, 0.0).sum(axis=1)
    whole = np.where(equity > 0.0, equity, np.nan)
    columns = {"long": long, "short": short, "gross": long - short, "net": long + short}
    return pd.DataFrame({name: values / whole for name, values in columns.items()}, index=index)


def turnover_series(records: Panel, marks: Panel, equity: Panel, index: pd.DatetimeIndex) -> pd.Series:
    """(n_bars,) value bought plus value sold over equity; as `Result.turnover`.

    Args:
        records: of the ledger.
        marks: (n_bars, n_assets) what a position counts for at each close.
        equity: (n_bars,) at each close.
        index: (n_bars,) labels.
    """
    bar, flow = records[:, codes.ORDER_FILLED].astype(np.int64), is_flow(records)
    booked = flow | (records[:, codes.ORDER_REASON] == codes.DELISTED)
    value = np.where(booked, 0.0, np.abs(records[:, codes.ORDER_SIZE]) * records[:, codes.ORDER_REFERENCE])
    for k in np.flatnonzero(flow & (records[:, codes.ORDER_REASON] == codes.ROLLED)).tolist():
        asset = records[k, codes.ORDER_ASSET]
        held = records[:k][records[:k, codes.ORDER_ASSET] == asset, codes.ORDER_SIZE].sum()
        before = marks[bar[k] - 1, int(asset)]
        value[k] = abs(held) * (2.0 * before + records[k, codes.ORDER_REFERENCE])  # one contract for another
    done = bar >= 0
    traded = np.bincount(bar[done], weights=np.nan_to_num(value[done]), minlength=len(index))
    return pd.Series(traded / np.where(equity > 0.0, equity, np.nan), index=index, name="turnover")


def positions_table(orders: Panel, index: pd.DatetimeIndex, assets: tuple[str, ...]) -> pd.DataFrame:
    """(n_bars, n_assets) signed shares held at each close: the fills summed up, to the ledger's own bits."""
    held = np.full((len(index), len(assets)), np.nan)
    held[0] = 0.0
    now = [0.0] * len(assets)
    for row in orders[orders[:, codes.ORDER_SIZE] != 0.0].tolist():
        bar, asset = int(row[codes.ORDER_FILLED]), int(row[codes.ORDER_ASSET])
        now[asset] += row[codes.ORDER_SIZE]
        held[bar, asset] = now[asset]
    held = carry_forward(held)
    return pd.DataFrame(held, index=index, columns=pd.Index(assets))


def costs_table(bars: Panel, index: pd.DatetimeIndex) -> pd.DataFrame:
    """(n_bars, 6) what each bar cost."""
    names = ["fees", "spread", "slippage", "impact", "borrow", "margin_interest"]
    paid = bars[:, codes.BAR_FEES : codes.BAR_MARGIN_INTEREST + 1]
    return pd.DataFrame(paid, index=index, columns=pd.Index(names))


def drawdowns_table(equity: Panel, cash: float, days: Days, index: pd.DatetimeIndex) -> pd.DataFrame:
    """A row a fall below the highest value so far; columns as `Result.drawdowns`."""
    each = drawdowns_of(np.concatenate([[cash], equity]), days)
    table = pd.DataFrame(
        {
            "start": _labels(each.start, index),
            "valley": _labels(each.valley, index),
            "end": _labels(np.where(each.end < len(index), each.end, -1), index),
            "depth": each.depth,
            "days": each.days,
        }
    )
    return table.sort_values("depth", ignore_index=True)


def _close_trades(orders: Panel) -> list[tuple[float, ...]]:
    """Average entry price: a fill that reduces a position closes a trade of that size; its entry is the bar on which
    the position was opened, its fees the exit's and its share of the entry's.
    """
    trades: list[tuple[float, ...]] = []
    open_positions: dict[int, tuple[float, float, float, float]] = {}  # asset -> shares, price, fees, entry bar
    told = (orders[:, codes.ORDER_SIZE] != 0.0) | np.isin(orders[:, codes.ORDER_REASON], _BASES)
    for row in orders[told & (orders[:, codes.ORDER_FILLED] >= 0.0)].tolist():
        asset, bar, delta = int(row[codes.ORDER_ASSET]), row[codes.ORDER_FILLED], row[codes.ORDER_SIZE]
        price, fee, size = row[codes.ORDER_PRICE], row[codes.ORDER_FEE], abs(delta)
        held, entry_price, entry_fees, entry_bar = open_positions.get(asset, (0.0, 0.0, 0.0, bar))
        reason = row[codes.ORDER_REASON]
        if reason == codes.SPUN_OFF and delta == 0.0:
            if row[codes.ORDER_PRICE] == row[codes.ORDER_PRICE]:
                open_positions[asset] = (held, entry_price * row[codes.ORDER_PRICE], entry_fees, entry_bar)
            continue
        if held == 0.0 and delta == 0.0:
            continue
        if reason in (codes.SPLIT, codes.ROLLED) and held + delta != 0.0:
            open_positions[asset] = (
                held + delta,
                (entry_price * held - row[codes.ORDER_WANTED]) / (held + delta),
                entry_fees + fee,
                entry_bar,
            )
            continue
        if held * delta >= 0.0:
            average = (entry_price * abs(held) + price * size) / (abs(held) + size)
            open_positions[asset] = (held + delta, average, entry_fees + fee, entry_bar)
            continue
        closed = min(size, abs(held))
        exit_fee, entry_fee = fee * (closed / size), entry_fees * (closed / abs(held))
        gain = closed * (price - entry_price)
        pnl = (gain if held > 0.0 else -gain) - exit_fee - entry_fee
        signed = closed if held > 0.0 else -closed
        trades.append((asset, entry_bar, bar, signed, entry_price, price, pnl))
        if size > abs(held):
            open_positions[asset] = (held + delta, price, fee - exit_fee, bar)
        elif held + delta == 0.0:
            del open_positions[asset]
        else:
            open_positions[asset] = (held + delta, entry_price, entry_fees - entry_fee, entry_bar)
    return trades


def _words(records: Panel) -> npt.NDArray[np.object_]:
    words = np.array([str(reason) for reason in REASONS], dtype=object)
    return words[records[:, codes.ORDER_REASON].astype(np.int64)]


def _names(numbers: Panel, assets: tuple[str, ...]) -> npt.NDArray[np.object_]:
    return np.array(assets, dtype=object)[numbers.astype(np.int64)]


def _labels(bars: npt.NDArray[Any], index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The labels of bars; NaT for -1."""
    at = bars.astype(np.int64)
    return pd.DatetimeIndex(index.take(np.maximum(at, 0)).where(at >= 0))
