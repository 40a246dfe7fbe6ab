"""`BarAccount`: what an `on_bar` sees of its account, and how it asks for trades."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.events.bar import History
from knowable.backtest.events.resting import (
    OpenOrder,
    cancel_all_orders,
    cancel_order,
    check_distance,
    check_levels,
    count_open,
    open_orders,
    place_order,
)
from knowable.backtest.events.uncalled import answering
from knowable.errors import InputError, ShapeError, UnknownAttributeError, shown, unknown_name
from knowable.features import Feature
from knowable.kernels.account import ABROAD_KNOWN, ABROAD_RATE, CASH, HELD, MARK, UNFUNDED, LedgerState
from knowable.kernels.decision import (
    ASKED_CHANGE,
    ASKED_GOAL,
    ASKED_KIND,
    ASKED_NOTHING,
    ASKED_SHARES,
    ASKED_WEIGHTS,
    N_ASKED_ROWS,
)
from knowable.kernels.turns import value_kernel, weights_kernel

__all__ = ["BarAccount", "nothing_asked"]

Row: TypeAlias = npt.NDArray[np.float64]

_ALL: Any = object()
_BIG = 1e300


def nothing_asked(n_assets: int) -> npt.NDArray[np.float64]:
    """(N_ASKED_ROWS, n_assets) as a bar finds it."""
    asked = np.zeros((N_ASKED_ROWS, n_assets))
    asked[ASKED_WEIGHTS] = np.nan
    return asked


class BarAccount:
    """The account on a bar, after that bar's fills and marks, as known when the bar is decided on.

    Reading it changes nothing. What is asked for on a bar is taken by the ledger when `on_bar` returns, and filled as
    `fill` says, at the next open by default, under the same costs, lots and limits as target weights.

    Each method takes an asset, by name or column, and a number; or everything at once: an array (n_assets,), NaN where
    nothing is asked, or a mapping or Series by asset. Of two targets for an asset on a bar the later one counts.

    Args:
        state: gives that of the ledger.
        asked: what this bar asks for, as `knowable.kernels.decision` says.
        units: (n_assets,) what one unit of a level is in a contract, in its own currency.
        history: names and columns.
        known: last closes known at each row of the run; (0, n_assets) where the marks tell it.
        abroad: of the feed, where there are currencies.
        clock: the row of the run, kept up to date by the run.
        preset: of the settings; one takes no orders in shares.
    """

    __slots__ = ("_abroad", "_asked", "_clock", "_history", "_known", "_preset", "_state", "_units")

    _abroad: Row
    _asked: Row
    _clock: list[int]
    _history: History
    _known: Row
    _preset: str | None
    _state: Callable[[], LedgerState]
    _units: Row

    def __init__(
        self,
        *,
        state: Callable[[], LedgerState],
        asked: Row,
        units: Row,
        history: History,
        known: Row,
        abroad: Row,
        clock: list[int],
        preset: str | None,
    ) -> None:
        put = object.__setattr__
        put(self, "_state", state)
        put(self, "_asked", asked)
        put(self, "_units", units)
        put(self, "_history", history)
        put(self, "_known", known)
        put(self, "_abroad", abroad)
        put(self, "_clock", clock)
        put(self, "_preset", preset)

    @property
    def cash(self) -> float:
        """Cash, in the account's currency; proceeds of short sales are in it, and futures take none."""
        assets = self._state().assets
        return float(self._state().account[CASH] + assets[UNFUNDED] @ (assets[HELD] * assets[MARK]))

    @property
    def equity(self) -> float:
        """Value of cash and positions at the last closes known when this bar is decided on."""
        return float(value_kernel(self._clock[0], self._known, self._state()))

    @property
    def positions(self) -> Row:
        """(n_assets,) signed shares held."""
        held: Row = self._state().assets[HELD].copy()
        held.flags.writeable = False
        return held

    @property
    def weights(self) -> Row:
        """(n_assets,) what each position is worth as a fraction of `equity`; 0 without a position."""
        weights = np.empty(self._asked.shape[1])
        weights_kernel(self._clock[0], self._known, self._state(), weights)
        weights.flags.writeable = False
        return weights

    def target(self, asset: Any, weight: Any = _ALL) -> None:
        """Hold `weight` of equity in an asset; 0: sell it. Rows of equal targets are one decision, as with weights.

        Args:
            asset: name or column; or, alone, a whole row of weights.
            weight: fraction of equity, negative for short.

        Raises: InputError, ShapeError, UnknownNameError.
        """
        if weight is _ALL:
            self._all(self._target, "target", asset)
        else:
            self._target(
                asset, weight if type(weight) is float and -_BIG < weight < _BIG else _number(weight, "weight", asset)
            )

    def target_shares(self, asset: Any, shares: Any = _ALL) -> None:
        """Hold this many shares of an asset, negative for short; rounded toward zero to whole lots.

        Args:
            asset: name or column; or, alone, a whole row of share counts.
            shares: signed number.

        Raises: InputError, ShapeError, UnknownNameError.
        """
        if shares is _ALL:
            self._all(self._target_shares, "target_shares", asset)
        else:
            self._target_shares(asset, _number(shares, "shares", asset))

    def order(
        self,
        asset: Any,
        shares: Any = _ALL,
        *,
        limit: Any = None,
        stop: Any = None,
        trail: Any = None,
        day: bool = False,
        stop_loss: Any = None,
        take_profit: Any = None,
    ) -> int | None:
        """Buy this many shares of an asset, or sell them if negative: at the fill, or where a level is reached.

        Without levels it is a market order: orders of one bar add up, and count from the position held, or from that
        which an order still waiting for a price would lead to. With any of them the order rests in the market from the
        next bar on, until it is filled, cancelled or over; docs/event-driven.md says how a bar fills it.

        Args:
            asset: name or column; or, alone, a whole row of share counts.
            shares: signed number.
            limit: price: buy at it or below, sell at it or above.
            stop: price at or beyond which it becomes a market order; with `limit` too, an order with that limit.
            trail: a stop at this fraction from the best price since the order was placed.
            day: good for the next bar's session only; else until cancelled.
            stop_loss: price of a stop that guards what this order fills.
            take_profit: price of a limit that closes it. Of the two one cancels the other; they only reduce.

        Returns: the number of an order with levels, for `cancel`; its stop_loss and take_profit have the next ones.
            None for a market order.

        Raises: InputError, ShapeError, UnknownNameError.
        """
        given = {"limit": limit, "stop": stop, "trail": trail, "stop_loss": stop_loss, "take_profit": take_profit}
        given = {name: value for name, value in given.items() if value is not None}
        if given or day is not False:
            return self._rest(asset, shares, given, day)
        if shares is _ALL:
            self._all(self._order, "order", asset)
        else:
            self._order(asset, _number(shares, "shares", asset))
        return None

    def cancel(self, number: int) -> bool:
        """Cancel an order that rests, by its number; whether it was there still. Raises: InputError."""
        return cancel_order(self._state(), number)

    def cancel_all(self, asset: Any = None) -> None:
        """Cancel all orders that rest, or those of an asset. Raises: InputError, UnknownNameError."""
        cancel_all_orders(self._state(), -1 if asset is None else self._history.column(asset))

    @property
    def open_orders(self) -> tuple[OpenOrder, ...]:
        """The orders that rest, by number; see `OpenOrder`."""
        return open_orders(self._state(), self._history.assets, self._units)

    @answering
    def n_open(self, asset: Any = None) -> int:
        """How many orders rest, or how many of an asset. Raises: InputError, UnknownNameError."""
        return count_open(self._state(), -1 if asset is None else self._history.column(asset))

    def _rest(self, asset: Any, shares: Any, given: dict[str, Any], day: Any) -> int:
        if shares is _ALL:
            raise InputError(
                'An order with levels is for one asset, as in account.order("A", 5, limit=9.5); `shares` is missing.'
            )
        column, state = self._column_for_shares(asset, "order"), self._state()
        name = self._history.assets[column]
        if not len(state.book):
            raise InputError(
                f"account.order of {name!r} rests in the market, which needs the open, high and low of each bar, but "
                "the market lacks them.\n"
                "Give them, as in Market.from_frames(close=..., open=..., high=..., low=...), or order at the market."
            )
        if not given:
            raise InputError(
                f"A market order is filled at once, so day={shown(day)} says nothing; account.order of {name!r} "
                "has neither limit, stop nor trail."
            )
        number = _number(shares, "shares", asset)
        levels = {key: _number(value, key, asset) for key, value in given.items()}
        check_levels(number, levels, day=day, name=name)
        unit, row = float(self._units[column]), self._clock[0]
        last = self._known[row, column] if len(self._known) else state.assets[MARK, column]
        if len(self._abroad):
            quote = self._abroad[row, ABROAD_KNOWN, column]
            last = last / self._abroad[row, ABROAD_RATE, column] if math.isnan(quote) else quote
        check_distance(levels, float(last) / unit, name=name)
        return place_order(state, column, number, levels, day=day, unit=unit)

    def _target(self, asset: object, weight: float) -> None:
        column = self._history.column(asset)
        if self._asked[ASKED_KIND, column]:
            self._refuse_mixture(column, "target")
            self._asked[ASKED_KIND, column] = ASKED_NOTHING
        self._asked[ASKED_WEIGHTS, column] = weight

    def _target_shares(self, asset: object, shares: float) -> None:
        column = self._column_for_shares(asset, "target_shares")
        self._refuse_mixture(column, "target_shares")
        self._asked[ASKED_WEIGHTS, column] = np.nan
        self._asked[ASKED_SHARES, column] = shares
        self._asked[ASKED_KIND, column] = ASKED_GOAL

    def _order(self, asset: object, shares: float) -> None:
        column = self._column_for_shares(asset, "order")
        asked = self._asked
        before = asked[ASKED_SHARES, column] if asked[ASKED_KIND, column] == ASKED_CHANGE else 0.0
        if asked[ASKED_KIND, column] == ASKED_GOAL or not math.isnan(asked[ASKED_WEIGHTS, column]):
            raise InputError(self._mixture(column, "order"))
        asked[ASKED_SHARES, column] = before + shares
        asked[ASKED_KIND, column] = ASKED_CHANGE

    def _refuse_mixture(self, column: int, call: str) -> None:
        if self._asked[ASKED_KIND, column] == ASKED_CHANGE:
            raise InputError(self._mixture(column, call))

    def _mixture(self, column: int, call: str) -> str:
        name = self._history.assets[column]
        other = "a target" if call == "order" else "an order"
        return (
            f"account.{call} of {name!r} came after {other} for it on the same bar; on one bar an asset has a target\n"
            "(target, target_shares: what to hold) or orders (order: what to trade), not both."
        )

    def _column_for_shares(self, asset: object, call: str) -> int:
        if self._preset is not None:
            raise InputError(
                f"preset={self._preset!r} sizes by weights, as that engine does; account.{call} counts shares.\n"
                "Use account.target(asset, weight), or leave the preset out."
            )
        return self._history.column(asset)

    def _all(self, one: Any, call: str, values: Any) -> None:
        if isinstance(values, Mapping | pd.Series):
            for asset, value in values.items():
                if not (isinstance(value, float) and math.isnan(value)):
                    one(asset, _number(value, call, asset))
            return
        n_assets = self._asked.shape[1]
        if isinstance(values, Feature):
            raise InputError(_FEATURE)
        try:
            row = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            row = np.empty(0)
        if row.shape != (n_assets,):
            came = f"shape {np.shape(values)}" if isinstance(values, np.ndarray | list | tuple) else shown(values)
            raise ShapeError(
                f"account.{call} with one argument takes an array (n_assets,) = ({n_assets},), but {came} came.\n"
                f"For one asset: account.{call}({self._history.assets[0]!r}, number)."
            )
        infinite = np.flatnonzero(np.isinf(row))
        if len(infinite):
            raise InputError(
                f"account.{call} of {self._history.assets[infinite[0]]!r} is infinite; it must be a number."
            )
        stated = ~np.isnan(row)
        if not self._all_at_once(call, stated, row):
            for column in np.flatnonzero(stated).tolist():
                one(column, row[column])

    def _all_at_once(self, call: str, stated: Any, row: Row) -> bool:
        """What `_target` and the others do, for a whole row; False where one of them would refuse."""
        weights, shares, kinds = self._asked[ASKED_WEIGHTS], self._asked[ASKED_SHARES], self._asked[ASKED_KIND]
        if call == "order":
            if self._preset is not None or (stated & ((kinds == ASKED_GOAL) | ~np.isnan(weights))).any():
                return False
            shares[stated] = np.where(kinds == ASKED_CHANGE, shares, 0.0)[stated] + row[stated]
            kinds[stated] = ASKED_CHANGE
            return True
        in_shares = call == "target_shares"
        if (in_shares and self._preset is not None) or (stated & (kinds == ASKED_CHANGE)).any():
            return False
        (shares if in_shares else weights)[stated] = row[stated]
        if in_shares:
            weights[stated] = np.nan
        kinds[stated] = ASKED_GOAL if in_shares else ASKED_NOTHING
        return True

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise InputError(
            f"The account changes by its orders only, but account.{name} was set to {shown(value)}.\n"
            "Ask for a trade: account.target(asset, weight); keep other things on self."
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        known = [each for each in dir(type(self)) if not each.startswith("_")]
        if name in _ELSEWHERE:
            raise UnknownAttributeError(f"The account has no {name!r}: {_ELSEWHERE[name]}.")
        raise UnknownAttributeError(str(unknown_name("attribute", name, known, where="the account")))

    def __repr__(self) -> str:
        return f"BarAccount(cash={self.cash:,.2f}, equity={self.equity:,.2f})"


# What other engines have -> what to write here.
_ELSEWHERE = {
    "buy": "account.order(asset, shares)",
    "sell": "account.order(asset, -shares)",
    "close": "account.target(asset, 0) sells what is held; prices are bar.close",
    "order_target_percent": "account.target(asset, weight)",
    "portfolio_value": "account.equity",
    "value": "account.equity",
}

_FEATURE = (
    "A feature has a value for every bar; account methods need this bar's.\n"
    "Name it in features(self, m), such as return {'fast': m.close.mean(10)}, and read bar.fast."
)


def _number(value: Any, what: str, asset: object) -> float:
    """A finite number. Raises: InputError."""
    if isinstance(value, Feature):
        raise InputError(_FEATURE)
    try:
        number = None if isinstance(value, str | bytes) else float(value)  # which would read them
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise InputError(
            f"`{what}` of {shown(asset)} must be a number, but it is {shown(value)}, a {type(value).__name__}."
        )
    if not math.isfinite(number):
        hint = "A feature is NaN while it warms up: test np.isnan first; ask for nothing to keep the position."
        raise InputError(
            f"`{what}` of {shown(asset)} must be a finite number, but it is {number}.\n"
            + (hint if math.isnan(number) else "A division by zero is the usual cause.")
        )
    return number
