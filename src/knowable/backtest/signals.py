"""What a strategy says where it says when to enter and to leave, rather than how much to hold."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.backtest.panels import as_panel
from knowable.backtest.tape import read_only
from knowable.backtest.weights import explain_failure, place_of
from knowable.data.market import Market, members_of
from knowable.errors import InputError, KnowableError, StrategyError, by_name
from knowable.features import NeedsValue, Symbol
from knowable.features.program import constant
from knowable.kernels.exits import Guards
from knowable.kernels.signals import ENTER_LONG, ENTER_SHORT, LEAVE_LONG, LEAVE_SHORT, say_kernel
from knowable.strategy import Strategy

__all__ = ["FLAGS", "NUMBERS", "SignalPanels", "Signals", "call_signals", "signal_panels"]

Panel: TypeAlias = npt.NDArray[np.float64]

FLAGS = {"entry": ENTER_LONG, "exit": LEAVE_LONG, "short_entry": ENTER_SHORT, "short_exit": LEAVE_SHORT}
NUMBERS = ("size", "stop", "target", "trail")
_NO_LEVEL = read_only(np.full((1, 1), np.nan))


@by_name
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signals:
    """When to enter and to leave, and what guards a position; what `signals(self, m)` of a strategy returns.

    Each is a feature, a DataFrame, a polars DataFrame or an array (n_bars, n_assets), those of numbers also one number.
    Row t may use rows up to t only. A signal is taken at its row's decision and filled as `fill` says.

    Attributes:
        entry: where to enter long: true or not 0; NaN is no. It turns a short position round.
        exit: where to leave a long position.
        short_entry: where to enter short. It turns a long position round.
        short_exit: where to leave a short position.
        size: fraction of equity that an entry buys or sells short, above 0. None: 1 / n_assets.
        stop: how far below its entry price a long position is closed (a short one above), a fraction of that price
            in (0, 1). NaN, None: never.
        target: how far on the other side it is closed at a profit, a fraction above 0.
        trail: as `stop`, from the best price since the entry.

    Entry and exit of one side on one bar, or entries of both, contradict each other and say nothing. An entry on the
    side that is held says nothing either: positions are not added to. Stop, target and trail are those of the entry's
    row. They rest in the market between decisions: see `Settings.intrabar`.
    """

    entry: Any = None
    exit: Any = None
    short_entry: Any = None
    short_exit: Any = None
    size: Any = None
    stop: Any = None
    target: Any = None
    trail: Any = None

    def __post_init__(self) -> None:
        if self.entry is None and self.short_entry is None:
            raise InputError("Signals need an `entry` or a `short_entry`; without one there is never a position.")
        for name in NUMBERS:
            value = getattr(self, name)
            if type(value) is not Symbol and isinstance(value, numbers.Real) and not isinstance(value, bool):
                _check_number(name, float(value))

    def given(self) -> dict[str, Any]:
        """Name -> what was given, without those left out."""
        return {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) is not None}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignalPanels:
    """Checked signals, read-only arrays.

    Attributes:
        flags: (n_bars, n_assets) uint8, sums of ENTER_LONG ... LEAVE_SHORT.
        size: (n_bars, n_assets) fraction of equity, above 0 wherever a flag to enter stands; (1, 1): one for all.
        guards: stop, target and trail, (n_bars, n_assets) or (1, 1) each; NaN: none.
    """

    flags: npt.NDArray[np.uint8]
    size: Panel
    guards: Guards

    def cells(self) -> Panel:
        """(n_bars, n_assets) one number that tells what each row says; where what is said differs, so does the number.

        NaN: nothing; 0: leave a long position, -1 a short one, -2 both; an entry: the weight it asks for, and a little
        for all else that is said with it, in irrational parts.
        """
        stop, target, trail = (np.nan_to_num(each, nan=0.0) for each in self.guards)
        asked = self.size + (math.sqrt(2) * stop + math.sqrt(3) * target + math.sqrt(5) * trail) / 10.0
        entry, exit_, short_entry, short_exit = ((self.flags & bit) != 0 for bit in FLAGS.values())
        left = np.where(short_exit, np.where(exit_, -2.0, -1.0), 0.0)
        beside = (math.sqrt(7) * exit_ + math.sqrt(11) * short_exit + math.sqrt(13) * (entry & short_entry)) / 1e4
        entered = np.where(entry, asked, -asked) + beside
        return np.where(self.flags == 0, np.nan, np.where(entry | short_entry, entered, left))

    @classmethod
    def joined(cls, parts: Sequence[SignalPanels]) -> SignalPanels:
        """Rows one after another, of panels each."""
        whole = [[np.broadcast_to(each, part.flags.shape) for each in (part.size, *part.guards)] for part in parts]
        size, *guards = (read_only(np.concatenate([each[k] for each in whole])) for k in range(4))
        flags = np.concatenate([part.flags for part in parts])
        flags.flags.writeable = False
        return cls(flags=flags, size=size, guards=Guards(*guards))

    @classmethod
    def leaving(cls, n_bars: int, n_assets: int) -> SignalPanels:
        """Whatever is held is left on the first row, and nothing is entered."""
        made = cls.silent(n_bars, n_assets)
        made.flags[0] = LEAVE_LONG | LEAVE_SHORT
        return made

    @classmethod
    def silent(cls, n_bars: int, n_assets: int) -> SignalPanels:
        """Nothing is said."""
        flags = np.zeros((n_bars, n_assets), np.uint8)
        return cls(flags=flags, size=_NO_LEVEL, guards=Guards(_NO_LEVEL, _NO_LEVEL, _NO_LEVEL))

    def rows(self, start: int, stop: int) -> SignalPanels:
        """The same for some rows."""
        if start == 0 and stop == len(self.flags):
            return self
        return SignalPanels(
            flags=self.flags[start:stop],
            size=_rows(self.size, start, stop),
            guards=Guards(*(_rows(each, start, stop) for each in self.guards)),
        )


def call_signals(strategy: Strategy, market: Market) -> Signals:
    """What `strategy.signals(market)` returns. Raises: StrategyError, or ours with a note."""
    try:
        returned = strategy.signals(market)  # type: ignore[attr-defined]  # there: `has_signals`
    except NeedsValue:
        raise
    except KnowableError as error:
        error.add_note(f"In {strategy!r}.signals{place_of(error)}.")
        raise
    except (Exception, SystemExit, GeneratorExit) as error:  # a strategy ends its trial, never the program
        raise explain_failure(strategy, error, "signals") from error
    if not isinstance(returned, Signals):
        hint = "; is a `return` missing?" if returned is None else "."
        raise StrategyError(
            f"{strategy!r}.signals returned a {type(returned).__name__}; "
            f"kn.Signals(entry=..., exit=...) is needed{hint}"
        )
    return returned


def signal_panels(
    given: Mapping[str, Any], strategy: Strategy, market: Market, decide: npt.NDArray[np.bool_] | None = None
) -> SignalPanels:
    """Turn what signals were given into checked panels.

    Args:
        given: as `Signals.given`, or with panels in the place of features.
        strategy: whose, for messages.
        market: n_bars rows, n_assets columns. Where it has a universe, a non-member is left and never entered.
        decide: (n_bars,) rows on which signals are taken; all when None.

    Raises: StrategyError, ShapeError for what cannot be a signal.
    """
    flags = np.zeros(market.shape, np.uint8)
    for name, bit in FLAGS.items():
        if name in given:
            say_kernel(bit, as_panel(given[name], f"Signals({name}=...)", strategy, market, keep_bool=True), flags)
    members = members_of(market)
    if members is not None:
        np.copyto(flags, np.uint8(LEAVE_LONG | LEAVE_SHORT), where=~members)
    if decide is not None:
        flags[~decide] = 0
    flags.flags.writeable = False
    made = {name: _numbers(name, given.get(name), strategy, market) for name in NUMBERS}
    if made["size"].size > 1 or not made["size"][0, 0] > 0.0:
        _check_sizes(flags, made["size"], strategy, market)
    return SignalPanels(flags=flags, size=made["size"], guards=Guards(made["stop"], made["target"], made["trail"]))


def _check_sizes(flags: npt.NDArray[np.uint8], sizes: Panel, strategy: Strategy, market: Market) -> None:
    """Raise StrategyError where a position is entered whose size is not above 0."""
    enters = (flags & (ENTER_LONG | ENTER_SHORT)) != 0
    bad = enters & ~(sizes > 0.0)
    if bad.any():
        row, column = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
        size = np.broadcast_to(sizes, market.shape)[row, column]
        raise StrategyError(
            f"`size` must be above 0 where a position is entered, but it is {size:g} for {market.assets[column]!r} "
            f"at {market.index[row]} (row {row}), in {strategy!r}."
        )


def _numbers(name: str, value: Any, strategy: Strategy, market: Market) -> Panel:
    if value is None:
        if name != "size":
            return _NO_LEVEL
        value = 1.0 / market.n_assets
    if type(value) is float or (isinstance(value, numbers.Real) and not isinstance(value, bool)):
        _check_number(name, float(value))
        return constant(value)
    panel = as_panel(value, f"Signals({name}=...)", strategy, market)
    bad = (panel <= 0.0) | np.isinf(panel)
    if name in ("stop", "trail"):
        bad |= panel >= 1.0
    if bad.any():
        row, column = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise StrategyError(
            f"`{name}` must be {_range(name)}, but it is {panel[row, column]:g} for {market.assets[column]!r} "
            f"at {market.index[row]} (row {row}), in {strategy!r}.signals. NaN: none."
        )
    return panel


def _rows(panel: Panel, start: int, stop: int) -> Panel:
    return panel if panel.size == 1 else panel[start:stop]


def _check_number(name: str, value: float) -> None:
    high = 1.0 if name in ("stop", "trail") else math.inf
    if not math.isnan(value) and not 0.0 < value < high:
        raise InputError(f"`{name}` must be {_range(name)}, but {name}={value:g}, in Signals.")


def _range(name: str) -> str:
    return {
        "size": "a fraction of equity above 0, such as 0.1",
        "target": "a fraction of the entry price above 0, such as 0.2",
    }.get(name, "a fraction of the price between 0 and 1, such as 0.05")
