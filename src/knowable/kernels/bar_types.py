"""What a compiled `on_bar` is handed: a bar and an account that numba knows, with the words of the plain ones.

A bar is its row and the panels it may be asked for; an attribute is that row of one of them. An account is the ledger's
state and what is asked for; a method writes to the latter. Both are read-only to the compiler but for these methods.
What must not be is refused by an exception without a text: the caller runs the plain `on_bar` to say where and why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    make_attribute_wrapper,
    models,
    overload,
    overload_attribute,
    overload_method,
    register_model,
)

from knowable.kernels.account import B_ASSET, CASH, HELD, HELPER, N_BOOK, N_NUMBERED
from knowable.kernels.book import is_open, known_quote, place, withdraw
from knowable.kernels.decision import (
    ASKED_CHANGE,
    ASKED_GOAL,
    ASKED_KIND,
    ASKED_NOTHING,
    ASKED_SHARES,
    ASKED_WEIGHTS,
    known_value,
    weigh,
)

__all__ = ["FAR", "FRACTIONS", "AccountType", "BarType", "account_of", "bar_maker", "borrowed"]

_intrinsic: Any = intrinsic  # its stub counts the context among a call's arguments
# A level below the one, and at or below the other times the last close, is a fraction that was given for a price. Of a
# price of 50 or less the second says more, and above, no fraction that is meant, 0.95 or 1.05, passes the first.
FRACTIONS = 2.0
FAR = 0.02
PANEL = types.Array(types.float64, 2, "C", readonly=True)
ROW = types.Array(types.float64, 1, "C", readonly=True)
_STATE = types.Array(types.float64, 2, "C")
_MEMBERS = (
    ("assets", _STATE),  # of the ledger's state
    ("account", types.Array(types.float64, 1, "C")),
    ("asked", _STATE),
    ("units", ROW),  # what one unit of a level is in a contract
    ("known", PANEL),
    ("abroad", types.Array(types.float64, 3, "C", readonly=True)),
    ("book", _STATE),
    ("t", types.int64),
    ("takes_shares", types.boolean),
)


class BarType(types.Type):
    """A bar that can be asked for the panels of these names."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        super().__init__(name=f"Bar({', '.join(names)})")


class AccountType(types.Type):
    """The account."""

    def __init__(self) -> None:
        super().__init__(name="Account")


@register_model(BarType)
class _BarModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: BarType) -> None:
        super().__init__(dmm, fe_type, [("row", types.int64), ("panels", types.UniTuple(PANEL, len(fe_type.names)))])


@register_model(AccountType)
class _AccountModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: AccountType) -> None:
        super().__init__(dmm, fe_type, list(_MEMBERS))


make_attribute_wrapper(BarType, "row", "row")
make_attribute_wrapper(BarType, "panels", "_panels")
for _member, _ in _MEMBERS:
    make_attribute_wrapper(AccountType, _member, f"_{_member}")


def bar_maker(names: tuple[str, ...]) -> Any:
    """A function for compiled code: (row, panels) -> the bar, where `panels` has an array for each of `names`."""
    bar_type = BarType(names)

    @_intrinsic
    def make_bar(_context, row, panels):
        def generate(context, builder, signature, arguments):
            bar = cgutils.create_struct_proxy(bar_type)(context, builder)
            bar.row, bar.panels = arguments
            context.nrt.incref(builder, signature.args[1], bar.panels)
            return bar._getvalue()

        return bar_type(types.int64, panels), generate

    return make_bar


@_intrinsic
def account_of(_context, assets, account, asked, units, known, abroad, book, t, takes_shares):
    """The account of row `t`."""

    def generate(context, builder, signature, arguments):
        made = cgutils.create_struct_proxy(signature.return_type)(context, builder)
        for (name, _), kind, value in zip(_MEMBERS, signature.args, arguments, strict=True):
            setattr(made, name, value)
            context.nrt.incref(builder, kind, value)
        return made._getvalue()

    return AccountType()(*(kind for _, kind in _MEMBERS)), generate


@_intrinsic
def borrowed(_context, value):
    """An array, or a tuple with arrays in it, that does not count references; its owner must outlive it.

    Counting costs atomic operations for each field that a bar reads: 300 ns a bar instead of 60.
    """

    def alone(context, builder, kind, array):
        if not isinstance(kind, types.Array):
            context.nrt.incref(builder, kind, array)
            return array
        made = context.make_array(kind)(context, builder, value=array)
        made.meminfo = cgutils.get_null_value(made.meminfo.type)
        made.parent = cgutils.get_null_value(made.parent.type)
        return made._getvalue()

    def generate(context, builder, signature, arguments):
        kind, given = signature.args[0], arguments[0]
        parts = getattr(kind, "types", None)  # of a tuple
        if parts is None:
            return alone(context, builder, kind, given)
        for at, each in enumerate(parts):
            part = alone(context, builder, each, builder.extract_value(given, at))
            given = builder.insert_value(given, part, at)
        return given

    return value(value), generate


@infer_getattr
class _BarRows(AttributeTemplate):
    key = BarType

    def generic_resolve(self, typ: BarType, attr: str) -> Any:  # type: ignore[override]  # its stub returns nothing
        return ROW if attr in typ.names else None


@lower_getattr_generic(BarType)
def _lower_bar_row(context, builder, typ, value, attr):
    bar = cgutils.create_struct_proxy(typ)(context, builder, value=value)
    panel = builder.extract_value(bar.panels, typ.names.index(attr))
    return context.compile_internal(builder, _take_row, ROW(PANEL, types.int64), (panel, bar.row))


def _take_row(panel, row):
    return panel[row]


@overload_attribute(BarType, "n_assets")
def _n_assets(bar):
    return lambda bar: bar._panels[0].shape[1]


@overload_method(BarType, "past", prefer_literal=True)
def _past(bar, name, n_bars):
    if not isinstance(name, types.StringLiteral) or not isinstance(n_bars, types.Integer):
        return None
    if name.literal_value not in bar.names:
        raise TypingError(f"Unknown attribute {name.literal_value!r} of type {bar}")
    at = bar.names.index(name.literal_value)

    def past(bar, name, n_bars):
        if n_bars < 1:
            raise ValueError
        end = bar.row + 1
        return bar._panels[at][max(0, end - n_bars) : end]

    return past


@_intrinsic
def _locked(_context, array):
    """The same array to a compiler that will not write to it."""

    def generate(context, builder, signature, arguments):
        context.nrt.incref(builder, signature.args[0], arguments[0])
        return arguments[0]

    return array.copy(readonly=True)(array), generate


@overload_attribute(AccountType, "cash")
def _cash(account):
    return lambda account: account._account[CASH]


@overload_attribute(AccountType, "equity")
def _equity(account):
    return lambda account: known_value(account._t, account._known, account._assets, account._account)


@overload_attribute(AccountType, "positions")
def _positions(account):
    return lambda account: _locked(account._assets[HELD])


@overload_attribute(AccountType, "weights")
def _weights(account):
    def weights(account):
        made = np.empty(account._assets.shape[1])
        weigh(account._t, account._known, account._assets, account._account, made)
        return _locked(made)

    return weights


def _for_all(put: Any) -> Any:
    """(account, array) -> None: ask for each asset whose value is not NaN."""

    @njit(nogil=True, forceinline=True)
    def for_all(account, values):
        if values.shape[0] != account._asked.shape[1]:
            raise ValueError
        for j in range(values.shape[0]):
            value = 1.0 * values[j]  # of a bool too, of which there is no float()
            if value == value and not put(j, value, account._takes_shares, account._asked):
                raise ValueError

    return for_all


def _for_one(put: Any) -> Any:
    """(account, column, number) -> None: ask for one asset."""

    @njit(nogil=True, forceinline=True)
    def for_one(account, column, number):
        if not 0 <= column < account._asked.shape[1]:
            raise ValueError
        if not put(column, 1.0 * number, account._takes_shares, account._asked):
            raise ValueError

    return for_one


def _asks_for_all(asset: Any, number: Any) -> bool:
    alone = number is None or isinstance(number, types.NoneType | types.Omitted)
    return alone and isinstance(asset, types.Array) and asset.ndim == 1


def _asks_for_one(asset: Any, number: Any) -> bool:
    return isinstance(asset, types.Integer) and isinstance(number, types.Integer | types.Float | types.Boolean)


@overload_method(AccountType, "target")
def _target(account, asset, weight=None):
    if _asks_for_all(asset, weight):
        return lambda account, asset, weight=None: _target_all(account, asset)
    if _asks_for_one(asset, weight):
        return lambda account, asset, weight=None: _target_one(account, asset, weight)
    return None


@overload_method(AccountType, "target_shares")
def _target_shares(account, asset, shares=None):
    if _asks_for_all(asset, shares):
        return lambda account, asset, shares=None: _target_shares_all(account, asset)
    if _asks_for_one(asset, shares):
        return lambda account, asset, shares=None: _target_shares_one(account, asset, shares)
    return None


@overload_method(AccountType, "order")
def _order(
    account, asset, shares=None, by_place=None, limit=None, stop=None, trail=None, day=False, stop_loss=None,
    take_profit=None,
):  # fmt: skip
    if not _is_omitted(by_place):
        return None  # a level has to be named, as numba cannot ask for; a third number lands here
    levels = (limit, stop, trail, stop_loss, take_profit)
    if all(_is_none(each) for each in levels):
        if not _is_omitted(day):
            return None
        if _asks_for_all(asset, shares):
            return _market_all
        return _market_one if _asks_for_one(asset, shares) else None
    given = all(_is_none(each) or isinstance(each, types.Integer | types.Float) for each in levels)
    if not given or not _asks_for_one(asset, shares) or not (_is_omitted(day) or isinstance(day, types.Boolean)):
        return None
    return _resting_one


def _market_all(
    account, asset, shares=None, by_place=None, limit=None, stop=None, trail=None, day=False, stop_loss=None,
    take_profit=None,
):  # fmt: skip
    _order_all(account, asset)


def _market_one(
    account, asset, shares=None, by_place=None, limit=None, stop=None, trail=None, day=False, stop_loss=None,
    take_profit=None,
):  # fmt: skip
    _order_one(account, asset, shares)


def _resting_one(
    account, asset, shares=None, by_place=None, limit=None, stop=None, trail=None, day=False, stop_loss=None,
    take_profit=None,
):  # fmt: skip
    if not 0 <= asset < account._asked.shape[1]:
        raise ValueError
    said, wanted = (_level(limit), _level(stop), _level(trail)), (_level(stop_loss), _level(take_profit))
    for value in (said[0], said[1], wanted[0], wanted[1]):
        if value <= 0.0 or value == np.inf:
            raise ValueError
    number = _put_resting(asset, 1.0 * shares, said, 1.0 * day, wanted, account._takes_shares, account)
    if number < 0:
        raise ValueError
    return number


def _level(value: Any) -> Any:
    """A number, or NaN for none; for compiled code only. One that is NaN itself is refused as -1 is."""
    raise NotImplementedError


@overload(_level)
def _level_of(value):
    if _is_none(value):
        return lambda value: np.nan

    def level(value):
        return 1.0 * value if value == value else -1.0

    return level


def _is_none(value: Any) -> bool:
    return value is None or isinstance(value, types.NoneType) or (_is_omitted(value) and _omitted(value) is None)


def _is_omitted(value: Any) -> bool:
    return isinstance(value, types.Omitted) or value is None or value is False


def _omitted(value: Any) -> Any:
    return value.value if isinstance(value, types.Omitted) else value


@njit(**HELPER)
def _put_resting(j, shares, said, day, bracket, takes_shares, account):
    """The number of the order; -1 where it may not be."""
    limit, stop, trail = said
    loss, goal = bracket
    if not takes_shares or not np.isfinite(shares) or account._book.shape[0] == 0:
        return -1
    if trail == trail and (not 0.0 < trail < 1.0 or limit == limit or stop == stop):
        return -1
    side = 1.0 if shares > 0.0 else -1.0
    entry = limit if limit == limit else stop
    if side * loss >= side * goal or side * loss >= side * entry or side * entry >= side * goal:
        return -1
    u, price = account._units[j], known_quote(account._t, j, account._known, account._abroad, account._assets)
    for level in (limit, stop, loss, goal):
        if level < FRACTIONS and u * level <= FAR * price:
            return -1
    return place(j, shares, u * limit, u * stop, trail, day, u * loss, u * goal, account._account, account._book)


@overload_method(AccountType, "cancel")
def _cancel(account, number):
    if not isinstance(number, types.Integer):
        return None

    def cancel(account, number):
        if not 0 <= number < account._account[N_NUMBERED]:
            raise ValueError
        return withdraw(number, -1, account._account, account._book)

    return cancel


@overload_method(AccountType, "cancel_all")
def _cancel_all(account, asset=None):
    if _is_none(asset):

        def cancel_all(account, asset=None):
            withdraw(-1, -1, account._account, account._book)

        return cancel_all
    if not isinstance(asset, types.Integer):
        return None

    def cancel_all_of_one(account, asset=None):
        if not 0 <= asset < account._asked.shape[1]:
            raise ValueError
        withdraw(-1, asset, account._account, account._book)

    return cancel_all_of_one


@overload_method(AccountType, "n_open")
def _n_open(account, asset=None):
    if _is_none(asset):

        def n_open(account, asset=None):
            n = 0
            for i in range(int(account._account[N_BOOK])):
                n += is_open(i, account._book)
            return n

        return n_open
    if not isinstance(asset, types.Integer):
        return None

    def n_open_of_one(account, asset=None):
        if not 0 <= asset < account._asked.shape[1]:
            raise ValueError
        n = 0
        for i in range(int(account._account[N_BOOK])):
            n += account._book[i, B_ASSET] == asset and is_open(i, account._book)
        return n

    return n_open_of_one


@njit(**HELPER)
def _put_target(j, weight, takes_shares, asked):
    """Whether the target may be; put down if so. As `BarAccount._target`; the others likewise."""
    if not np.isfinite(weight) or asked[ASKED_KIND, j] == ASKED_CHANGE:
        return False
    asked[ASKED_WEIGHTS, j] = weight
    asked[ASKED_KIND, j] = ASKED_NOTHING
    return True


@njit(**HELPER)
def _put_target_shares(j, shares, takes_shares, asked):
    if not takes_shares or not np.isfinite(shares) or asked[ASKED_KIND, j] == ASKED_CHANGE:
        return False
    asked[ASKED_WEIGHTS, j] = np.nan
    asked[ASKED_SHARES, j] = shares
    asked[ASKED_KIND, j] = ASKED_GOAL
    return True


@njit(**HELPER)
def _put_order(j, shares, takes_shares, asked):
    has_weight = asked[ASKED_WEIGHTS, j] == asked[ASKED_WEIGHTS, j]
    if not takes_shares or not np.isfinite(shares) or asked[ASKED_KIND, j] == ASKED_GOAL or has_weight:
        return False
    before = asked[ASKED_SHARES, j] if asked[ASKED_KIND, j] == ASKED_CHANGE else 0.0
    asked[ASKED_SHARES, j] = before + shares
    asked[ASKED_KIND, j] = ASKED_CHANGE
    return True


_target_one, _target_all = _for_one(_put_target), _for_all(_put_target)
_target_shares_one, _target_shares_all = _for_one(_put_target_shares), _for_all(_put_target_shares)
_order_one, _order_all = _for_one(_put_order), _for_all(_put_order)
