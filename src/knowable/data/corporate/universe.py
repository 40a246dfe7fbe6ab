"""Universes by rule: the largest names, or all above a level, chosen at the end of each period from what was known."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.calendars import Rule, period_ends
from knowable.data.corporate.membership import Flags
from knowable.data.frames import Panel
from knowable.data.market import Market
from knowable.errors import InputError, shown
from knowable.kernels.universe import ChosenState, Limits, chosen_kernel

__all__ = ["DOLLARS", "RULES", "AtLeast", "Largest", "SizeRule", "begin", "choose", "dollars"]

DOLLARS = "dollar_volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRule:
    """What `Largest` and `AtLeast` share: by which measure, over which bars, how often, and who is fit at all.

    A bar of a name is known where its close and its measure are. A name's size is the mean of the measure over its last
    `window` known bars. Members are chosen on the last bar of each period of `every`, from what is known at that bar's
    decision, this bar included, and stay until the next choice; before the first choice nobody is a member.

    Attributes:
        by: ``"dollar_volume"`` (close times volume), ``"close"``, ``"volume"``, or any other field.
        window: known bars that the mean is taken over.
        every: ``"month_end"`` or another rule of `Strategy.rebalance`; a number counts bars from the first of the data.
        min_price: least last close of a name that is chosen, in the currency of the prices. None: any.
        min_history: least number of known bars of a name that is chosen. None: `window`.
        stale: bars in a row without a known one after which a name is out, chosen or not: delisted names leave.
    """

    by: str = DOLLARS
    window: int = 60
    every: Rule = "month_end"
    min_price: float | None = None
    min_history: int | None = None
    stale: int = 5

    def __post_init__(self) -> None:
        if not isinstance(self.by, str):
            raise InputError(f"`by` must name a field, such as 'dollar_volume', but by={shown(self.by)}.")
        for name, low in (("window", 1), ("min_history", 1), ("stale", 0)):
            self._whole(name, low)
        if self.min_price is not None:
            self._number("min_price")
        none = np.empty(0, np.int64)
        period_ends(none, none.astype("datetime64[D]"), self.every, None)  # raises on an unknown rule

    def _whole(self, name: str, low: int) -> None:
        value = getattr(self, name)
        if value is None and name == "min_history":
            return
        if isinstance(value, bool) or not hasattr(type(value), "__index__") or operator.index(value) < low:
            raise InputError(
                f"`{name} >= {low}` must hold for a whole number, but {name}={shown(value)}, in {type(self).__name__}."
            )
        object.__setattr__(self, name, operator.index(value))

    def _number(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"`{name}` must be a finite number, but {name}={shown(value)}, in {type(self).__name__}.")
        object.__setattr__(self, name, float(value))

    def limits(self, n_assets: int) -> Limits:
        """What the kernel is told."""
        raise NotImplementedError(f"{type(self).__name__} is to say its limits.")

    def members(self, market: Market) -> Flags:
        """(n_bars, n_assets) bool, read-only: who is a member on each bar, by the market's panels as known.

        Known at: row t uses rows <= t. Ties are settled by the names of assets, in alphabetical order. Where prices are
        adjusted, closes are the raw ones.
        Raises: UnknownNameError if the market lacks a field it needs.
        """
        close = market.panels["raw_close"] if "raw_close" in market.panels else market.panel("close")
        if self.by == "close":
            value = close
        elif self.by in market.panels or self.by != DOLLARS:
            value = market.panel(self.by)
        else:  # adjustment takes from volume what it gives to price
            value = dollars(market.panel("close"), market.panel("volume"))
        ends = period_ends(market.times, market.days, self.every, market.calendar)
        return choose(self, close, value, ends, market.assets)

    def on(self, market: Market) -> Market:
        """The market with this universe: chosen among its assets, from its first bar on."""
        return market.with_universe(self.members(market), str(self))

    def _text(self, what: str) -> str:
        every = f"every {self.every} bars" if isinstance(self.every, int) else f"at each {self.every or 'bar'}"
        return f"{what} by {self.by.replace('_', ' ')} over {self.window} bars, chosen {every.replace('_', ' ')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest(SizeRule):
    """The n largest names, such as ``Largest(n=500, by="dollar_volume", window=60, every="month_end")``.

    Attributes:
        n: names to choose; fewer where fewer are fit.
        hold: a member stays while its place is within n + hold, so that names at the edge do not come and go; others
            fill up to n.
    """

    n: int = 500
    hold: int = 0

    def __post_init__(self) -> None:
        SizeRule.__post_init__(self)
        self._whole("n", 1)
        self._whole("hold", 0)

    def limits(self, n_assets: int) -> Limits:  # noqa: ARG002 - the contract
        """What the kernel is told."""
        return _limits(self, n=self.n, hold=self.hold, level=-math.inf, stay=-math.inf)

    def __str__(self) -> str:
        return self._text(f"the {self.n:,} largest")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLeast(SizeRule):
    """All names of at least a size, such as ``AtLeast(level=1e6, by="dollar_volume")``: a million a day is traded.

    Attributes:
        level: least size to become a member.
        stay: least size to remain one, at most `level`. None: `level`.
    """

    level: float
    stay: float | None = None

    def __post_init__(self) -> None:
        SizeRule.__post_init__(self)
        self._number("level")
        if self.stay is not None:
            self._number("stay")
            if self.stay > self.level:
                raise InputError(f"`stay <= level` must hold, but stay={self.stay:g}, level={self.level:g}.")

    def limits(self, n_assets: int) -> Limits:
        """What the kernel is told."""
        stay = self.level if self.stay is None else self.stay
        return _limits(self, n=n_assets, hold=0, level=self.level, stay=stay)

    def __str__(self) -> str:
        return self._text(f"at least {self.level:,.10g}")


RULES: Mapping[str, type[SizeRule]] = MappingProxyType({"Largest": Largest, "AtLeast": AtLeast})


def choose(rule: SizeRule, close: Panel, value: Panel, ends: Flags, assets: Sequence[str]) -> Flags:
    """Who is a member on each bar, (n_bars, n_assets) bool, read-only.

    Args:
        rule: how to choose.
        close: (n_bars, n_assets) as known at each decision.
        value: like `close`, the measure.
        ends: (n_bars,) rows on which to choose.
        assets: names of the columns.
    """
    out = np.empty(close.shape, np.bool_)
    order = np.array(sorted(range(len(assets)), key=assets.__getitem__), dtype=np.int64)
    chosen_kernel(
        _lock(np.ascontiguousarray(close)),
        _lock(np.ascontiguousarray(value)),
        _lock(np.ascontiguousarray(ends)),
        _lock(order),
        rule.limits(len(assets)),
        begin(rule, len(assets)),
        out,
    )
    return _lock(out)


def begin(rule: SizeRule, n_assets: int) -> ChosenState:
    """The state before the first bar."""
    return ChosenState(
        ring=np.zeros((rule.window, n_assets)),
        n_known=np.zeros(n_assets, np.int64),
        silent=np.zeros(n_assets, np.int64),
        price=np.full(n_assets, np.nan),
        member=np.zeros(n_assets, np.bool_),
    )


def dollars(close: Panel, volume: Panel) -> Panel:
    """Close times volume: what was traded, in the currency of the prices."""
    traded: Panel = close * volume
    return traded


def _limits(rule: SizeRule, *, n: int, hold: int, level: float, stay: float) -> Limits:
    return Limits(
        n=n,
        hold=hold,
        level=level,
        stay=stay,
        min_price=-math.inf if rule.min_price is None else rule.min_price,
        min_history=rule.window if rule.min_history is None else rule.min_history,
        stale=rule.stale,
    )


def _lock(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array = array.view()
    array.flags.writeable = False
    return array
