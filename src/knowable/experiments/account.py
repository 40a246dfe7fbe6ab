"""The account's switches as keyword arguments, the same for every way to run a strategy."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, TypedDict

from knowable.backtest.costs import Costs
from knowable.backtest.settings import Settings
from knowable.errors import UnknownNameError, unknown_name

__all__ = ["Account", "account_settings"]


_COSTS = {each.name: each.name for each in fields(Costs)} | {
    "commission": "fee_bps", "fee": "fee_bps", "fees": "fee_bps", "slippage": "slippage_bps",
    "spread": "half_spread_bps",
}  # fmt: skip


class Account(TypedDict, total=False):
    """What a simulated account is; every name is optional.

    Keys:
        cash: money at the start, in the market's currency (1,000,000).
        fill: bar and price of a fill: ``"next_open"``, ``"next_close"``, ``"next_vwap"``, or (optimistic) ``"close"``.
        size_at: share counts from prices at the ``"decision"`` or at the ``"fill"``.
        costs: `Costs`; none when left out.
        lot: shares are multiples of this, rounded toward zero; None for fractions.
        max_leverage: largest sum of absolute weights.
        leverage_check: ``"strict"`` refuses larger sums, ``"scale"`` scales them down.
        intrabar: where a stop and a target lie in one bar: ``"pessimistic"``, ``"ohlc"`` or ``"olhc"``, its path.
        exit_on_entry_bar: whether a stop or target may close a position on the bar whose open it was entered at.
        volume_limit: largest share of a bar's volume that fills of an asset may be; the rest of an order waits.
        maintenance_margin: share of the positions' value that equity must stay above, or all is closed.
        delisting_return: what is left of the last close, less 1, at a delisting whose value is not known.
        preset: ``"vectorbt"`` or ``"backtesting"``: that engine's semantics.
    """

    cash: float
    fill: Literal["next_open", "next_close", "next_vwap", "close"]
    size_at: Literal["decision", "fill"]
    costs: Costs
    lot: float | None
    max_leverage: float
    leverage_check: Literal["strict", "scale"]
    intrabar: Literal["pessimistic", "ohlc", "olhc"]
    exit_on_entry_bar: bool
    volume_limit: float | None
    maintenance_margin: float
    delisting_return: float
    preset: Literal["vectorbt", "backtesting"] | None


def account_settings(where: str, account: Any) -> Settings:
    """Settings from keyword arguments. Raises: UnknownNameError for a name that is none, offering the nearest."""
    known = [field.name for field in fields(Settings)]
    for name in account:
        if name == "benchmark" and where == "kn.backtest":
            raise UnknownNameError(
                "kn.backtest takes no `benchmark`, for nothing of a run depends on one. Give it to what comes out:\n"
                "result.stats('buy_and_hold'), or compare, plot and report; also an asset's name, a Series, a result."
            )
        if name in _COSTS:
            raise UnknownNameError(
                f"{where} takes no `{name}`; what trading costs goes into `costs`: costs=kn.Costs({_COSTS[name]}=...)."
            )
        if name not in known:
            raise unknown_name("argument", name, known, where=where)
    return Settings(**account)
