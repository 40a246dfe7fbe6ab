"""Orders that rest in the market, as an `on_bar` places, reads and cancels them."""

from __future__ import annotations

import math
import numbers
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.errors import InputError, shown
from knowable.kernels import account as codes
from knowable.kernels.account import LedgerState
from knowable.kernels.bar_types import FAR, FRACTIONS
from knowable.kernels.book import TRIGGERED
from knowable.kernels.turns import place_kernel, withdraw_kernel

__all__ = [
    "OpenOrder",
    "cancel_all_orders",
    "cancel_order",
    "check_distance",
    "check_levels",
    "count_open",
    "open_orders",
    "place_order",
]

Rows: TypeAlias = npt.NDArray[np.float64]


class OpenOrder(NamedTuple):
    """An order that rests in the market, or will from the end of this bar on.

    Attributes:
        number: its own, as `account.order` gave it.
        asset: name.
        shares: signed, that are left to be filled.
        limit: price, or None.
        stop: price that triggers it, or None; of a stop-limit that has been triggered it is None.
        trail: fraction of the best price since it was placed, or None.
        day: whether it is good for one session only.
        parent: number of the order whose fill it guards, or None.
    """

    number: int
    asset: str
    shares: float
    limit: float | None
    stop: float | None
    trail: float | None
    day: bool
    parent: int | None


def place_order(
    state: LedgerState, column: int, shares: float, levels: dict[str, float], *, day: bool, unit: float
) -> int:
    """Put an order down; `levels` has been checked, and `unit` is what one unit of them is in a contract.

    Returns: its number. Raises: InputError where there are too many.
    """
    limit, stop, loss, goal = (
        unit * levels.get(name, math.nan) for name in ("limit", "stop", "stop_loss", "take_profit")
    )
    trail = levels.get("trail", math.nan)
    number = int(place_kernel(column, shares, limit, stop, trail, float(day), loss, goal, state))
    if number < 0:
        raise InputError(
            f"On one bar at least {len(state.book) // 2:,} orders can be placed, but more came.\n"
            "Cancel those that are not needed: account.cancel(number), account.cancel_all(asset)."
        )
    return number


def check_levels(shares: float, levels: dict[str, float], *, day: Any, name: str) -> None:
    """Raises: InputError for levels that contradict each other or are no prices."""
    where = f"account.order of {name!r}"
    if not isinstance(day, bool | np.bool_):
        raise InputError(f"`day` must be True or False, but it is {shown(day)}, in {where}.")
    for key, value in levels.items():
        if key == "trail":
            if not 0.0 < value < 1.0:
                raise InputError(f"`0 < trail < 1` must hold, a fraction, but trail={value:g}, in {where}.")
        elif not value > 0.0:
            raise InputError(f"`{key} > 0` must hold, a price, but {key}={value:g}, in {where}.")
    if "trail" in levels and ("limit" in levels or "stop" in levels):
        raise InputError(f"A trailing stop has neither limit nor stop, but {where} came with trail and one of them.")
    side = 1.0 if shares > 0.0 else -1.0
    entry = levels.get("limit", levels.get("stop"))
    loss, goal = levels.get("stop_loss"), levels.get("take_profit")
    for low, low_name, high, high_name in (
        (loss, "stop_loss", goal, "take_profit"),
        (loss, "stop_loss", entry, "the entry"),
        (entry, "the entry", goal, "take_profit"),
    ):
        if low is not None and high is not None and not side * low < side * high:
            relation = "below" if side > 0.0 else "above"
            raise InputError(
                f"{low_name} must lie {relation} {high_name} of an order that {'buys' if side > 0.0 else 'sells'}, "
                f"but {low_name} is {low:g} and {high_name} {high:g}, in {where}."
            )


def check_distance(levels: dict[str, float], price: float, *, name: str) -> None:
    """Raises: InputError for a level so small, and so far below the last close, that a fraction was meant for a price.

    It would rest and never be met, or be met at once, without a word. `price` is in the unit of the levels; NaN: none.
    """
    for key, value in levels.items():
        if key != "trail" and value < FRACTIONS and value <= FAR * price:
            raise InputError(
                f"`{key}` is a price, but {key}={value:g} is less than {FAR:.0%} of the last close of {name!r}, "
                f"{price:g}, in account.order.\n"
                f"A part of the price is {key}={0.95 if key != 'take_profit' else 1.05} * price; `trail` is a fraction."
            )


def open_orders(state: LedgerState, assets: tuple[str, ...], units: Rows) -> tuple[OpenOrder, ...]:
    """Those in the market, by number."""
    return tuple(_told(row, assets, units) for row in _open_rows(state))


def count_open(state: LedgerState, column: int) -> int:
    """How many of an asset are in the market; -1: of all assets."""
    rows = _open_rows(state)
    return len(rows) if column < 0 else int(np.count_nonzero(rows[:, codes.B_ASSET] == column))


def cancel_order(state: LedgerState, number: Any) -> bool:
    """Ask an order out; whether it was there. Raises: InputError for a number that was never given."""
    n_given = int(state.account[codes.N_NUMBERED])
    whole = isinstance(number, numbers.Integral) and not isinstance(number, bool)
    if not whole or not 0 <= number < n_given:
        if number is None:
            raise InputError(
                "account.cancel takes the number of an order that rests, but None came: an order without a level is "
                "filled at once, so it has none."
            )
        given = f"0 to {n_given - 1} are" if n_given else "none is"
        raise InputError(
            f"account.cancel takes the number that account.order returned; {given} given so far, "
            f"but {shown(number)} came."
        )
    return bool(withdraw_kernel(int(number), -1, state))


def cancel_all_orders(state: LedgerState, column: int) -> None:
    """Ask all of an asset out; -1: of all assets."""
    withdraw_kernel(-1, column, state)


def _open_rows(state: LedgerState) -> Rows:
    book = state.book[: int(state.account[codes.N_BOOK])]
    rows: Rows = book[book[:, codes.B_STATE] <= TRIGGERED]
    return rows


def _told(row: Rows, assets: tuple[str, ...], units: Rows) -> OpenOrder:
    unit = float(units[int(row[codes.B_ASSET])])
    limit, stop, trail = (
        None if math.isnan(row[each]) else float(row[each]) / each_unit
        for each, each_unit in ((codes.B_LIMIT, unit), (codes.B_STOP, unit), (codes.B_TRAIL, 1.0))
    )
    return OpenOrder(
        number=int(row[codes.B_NUMBER]),
        asset=assets[int(row[codes.B_ASSET])],
        shares=float(row[codes.B_SHARES]),
        limit=limit,
        stop=None if row[codes.B_STATE] == TRIGGERED else stop,
        trail=trail,
        day=bool(row[codes.B_DAY]),
        parent=None if row[codes.B_PARENT] < 0.0 else int(row[codes.B_PARENT]),
    )
