"""What a reader must know before believing a result: the sentences in `Result.warnings`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.costs import Costs
from knowable.backtest.reasons import Ending
from knowable.backtest.record import LedgerRecord
from knowable.backtest.settings import Settings
from knowable.kernels.account import (
    BAR_FEES,
    BAR_IMPACT,
    BAR_SLIPPAGE,
    BAR_SPREAD,
    CUT,
    LIMITED,
    NO_CASH,
    ORDER_ASSET,
    ORDER_DECIDED,
    ORDER_REASON,
    ORDER_SIZE,
    ORDER_WANTED,
)

__all__ = ["held_without_price", "remarks"]

_TOO_GOOD = 6.0
_MUCH = 0.1
_DEAR = 0.05
_STALE = 5  # bars without a close: no holiday is as long
_DECISION = [ORDER_ASSET, ORDER_DECIDED]


def remarks(
    metrics: Mapping[str, float], record: LedgerRecord, settings: Settings, index: pd.DatetimeIndex
) -> tuple[str, ...]:
    """Sentences about a run that looks better, or emptier, than it is."""
    found = []
    if settings.fill == "close":
        found.append("Optimistic: orders fill at the close of the bar they were decided on, which nobody could do.")
    if record.liquidated_at >= 0:
        found.append(
            f"Liquidated at {index[record.liquidated_at]}: {Ending.LIQUIDATED.sentence} "
            f"Equity ended at {record.equity[-1]:,.2f}."
        )
    if record.n_fills == 0:
        found.append(_nothing_traded(record))
    elif metrics["n_trades"] == 0:
        found.append("No trade was closed: what was opened is still held at the last bar.")
    if metrics["sharpe"] > _TOO_GOOD:
        found.append(
            f"A Sharpe ratio of {metrics['sharpe']:.1f} is above {_TOO_GOOD:g}: more often a fault than a find. "
            "Check for look-ahead with kn.check, and the costs."
        )
    found += _much_was_paid(record, settings.costs)
    undefined = [name for name, value in metrics.items() if not math.isfinite(value)]
    if undefined:
        found.append(f"Not defined for this result: {', '.join(undefined)}.")
    found += _much_was_cut(record) + _much_waited(record)
    return tuple(found)


def held_without_price(
    record: LedgerRecord, close: npt.NDArray[np.float64], index: pd.DatetimeIndex, assets: tuple[str, ...]
) -> tuple[str, ...]:
    """A sentence about positions at the last bar whose prices ended long before it: nobody could sell them.

    Args:
        record: of the run.
        close: (n_bars, n_assets) of its bars, NaN where there is none.
        index: (n_bars,) labels.
        assets: names.
    """
    gone = np.flatnonzero(np.isnan(close[-_STALE:]).all(axis=0)) if len(close) > _STALE else np.empty(0, np.int64)
    if gone.size == 0:
        return ()
    asset = record.orders[:, ORDER_ASSET].astype(np.int64)
    held = np.bincount(asset, weights=record.orders[:, ORDER_SIZE], minlength=len(assets))
    gone = gone[held[gone] != 0.0]
    if gone.size == 0:
        return ()
    j, n_held = int(gone[0]), int((held != 0.0).sum())
    there = np.flatnonzero(~np.isnan(close[:, j]))
    since = f"its last close is of {index[there[-1]]}" if there.size else "it never had a close"
    sentence = (
        f"{gone.size:,} of {n_held:,} positions at the last bar have no price any more (first: {assets[j]!r}, "
        f"{since}); they count at the last one there was, and could not be sold. The market's actions, a delisting or "
        "a merger, say what became of such an asset."
    )
    return (sentence,)


def _nothing_traded(record: LedgerRecord) -> str:
    if len(record.orders) == 0:
        return (
            "No order was made: the strategy never asked for anything but cash. What is NaN, as while a window fills "
            "or after 0 / 0, asks for nothing."
        )
    return f"No order was filled: all {len(record.orders)} came to nothing; `orders` has the reason of each."


def _much_was_paid(record: LedgerRecord, costs: Costs) -> list[str]:
    """A fee a share in another currency, or a least fee beside small fills, shows in what all fills cost.

    What nothing was ever paid for is not read: a figure of 1,000,000 bars takes most of a millisecond.
    """
    may_cost = {
        BAR_FEES: costs.fee_bps or costs.fee_per_share or costs.fee_min,
        BAR_SPREAD: costs.half_spread_bps,
        BAR_SLIPPAGE: costs.slippage_bps,
        BAR_IMPACT: costs.impact,
    }
    paid = sum(float(record.bars[:, column].sum()) for column, given in may_cost.items() if given)
    traded = float(record.activity[0])
    if paid <= _DEAR * traded:
        return []
    sentence = (
        f"Fees, spread, slippage and impact were {paid / traded:.0%} of the value that was traded: more often a unit "
        "that was meant otherwise, or a least fee beside small fills, than a market. `result.costs` has them."
    )
    return [sentence]


def _much_was_cut(record: LedgerRecord) -> list[str]:
    """Cuts of the odd fee or gap are what cash is like; a tenth of an order is another strategy."""
    reason = record.orders[:, ORDER_REASON].copy()  # once through the wide rows, then in one piece
    cut = np.flatnonzero((reason == CUT) | (reason == NO_CASH))
    if (reason == LIMITED).any():
        cut = cut[_is_last(record)[cut]]  # a buy beside a sale that waits for volume waits for its cash
    short = record.orders[cut]
    n_much = int((short[:, ORDER_SIZE] < (1.0 - _MUCH) * short[:, ORDER_WANTED]).sum())
    if n_much == 0:
        return []
    sentence = (
        f"{n_much} of {len(record.orders)} orders were cut by more than a tenth because cash was short; "
        "`orders` has them. Weights that sum to less than 1 leave room for gaps and costs."
    )
    return [sentence]


def _much_waited(record: LedgerRecord) -> list[str]:
    """A volume limit that the odd order meets is what it is for; where a tenth do, the account is too large for it."""
    limited = record.orders[:, ORDER_REASON] == LIMITED
    last = _is_last(record) if limited.any() else limited
    n_orders, n_limited = int(last.sum()), len(np.unique(record.orders[limited][:, _DECISION], axis=0))
    if n_limited <= _MUCH * n_orders:
        return []
    sentence = (
        f"{n_limited} of {n_orders} orders met the volume limit and waited for later bars, some perhaps in vain; "
        "`orders` has them. A smaller account would follow the strategy more closely."
    )
    return [sentence]


def _is_last(record: LedgerRecord) -> npt.NDArray[np.bool_]:
    """(n_rows,) whether a row of the list is the last of its order; each part that was filled has its own."""
    _, from_end = np.unique(record.orders[::-1][:, _DECISION], axis=0, return_index=True)
    last = np.zeros(len(record.orders), np.bool_)
    last[len(last) - 1 - from_end] = True
    return last
