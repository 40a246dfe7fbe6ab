"""What a run of an event-driven strategy starts with: a copy of the strategy, its features and its memory."""

from __future__ import annotations

import contextlib
import copy
import random
import weakref
from array import array
from collections import UserDict, UserList, deque
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.events.failures import explain_call_failure, note_call
from knowable.backtest.panels import as_panel
from knowable.data.market import Market
from knowable.errors import KnowableError, StrategyError, shown
from knowable.features import NeedsValue
from knowable.strategy import Strategy

__all__ = ["call_features", "feature_panels", "own_copy", "remember", "seen_names"]

Panel: TypeAlias = npt.NDArray[np.float64]

_CHANGEABLE = (
    list, dict, set, bytearray, array, deque, UserDict, UserList, SimpleNamespace, np.ndarray, pd.Series, pd.DataFrame,
    random.Random, np.random.Generator, np.random.RandomState,
)  # fmt: skip
_changes: weakref.WeakKeyDictionary[type[Strategy], tuple[str, ...]] = weakref.WeakKeyDictionary()
_OF_THE_BAR = frozenset({"assets", "column", "n_assets", "past", "row", "time"})


def own_copy(strategy: Strategy) -> Strategy:
    """A copy for one run: what `on_bar` keeps on it, or in its class, is seen by no other run.

    Of a class, lists, arrays, random generators and the like count, and objects of classes beside it in its file.
    """
    held = vars(strategy)
    if held.keys() <= strategy.parameters.keys():  # numbers and texts; a deep copy would cost as much as a trial
        made = object.__new__(type(strategy))
        made.__dict__.update(held)
    else:
        try:
            made = copy.deepcopy(strategy)
        except (TypeError, AttributeError, copy.Error):  # it holds something that cannot be copied, such as a lock
            made = copy.copy(strategy)
    for name in _changeable(type(strategy)):
        if name not in held:
            with contextlib.suppress(TypeError, AttributeError, copy.Error):
                object.__setattr__(made, name, copy.deepcopy(getattr(strategy, name)))
    return made


def _changeable(kind: type[Strategy]) -> tuple[str, ...]:
    """Names of what an attribute of a class may keep."""
    if kind not in _changes:
        found = {name: value for each in reversed(kind.__mro__) for name, value in vars(each).items()}
        homes = {each.__module__ for each in kind.__mro__ if each not in (Strategy, object)}
        names = (name for name, value in found.items() if not name.startswith("__") and _may_keep(value, homes))
        _changes[kind] = tuple(names)
    return _changes[kind]


def _may_keep(value: object, homes: set[str]) -> bool:
    if isinstance(value, _CHANGEABLE):
        return True
    return type(value).__module__ in homes and not callable(value) and not hasattr(value, "__get__")


def call_features(strategy: Strategy, market: Market) -> Mapping[str, Any]:
    """What `strategy.features(market)` returns, its names checked. Raises: StrategyError, or ours with a note."""
    try:
        returned = strategy.features(market)
    except NeedsValue:
        raise
    except KnowableError as error:
        note_call(error, strategy, "features")
        raise
    except (Exception, SystemExit, GeneratorExit) as error:  # a strategy ends its trial, never the program
        raise explain_call_failure(strategy, error, "features") from error
    if not isinstance(returned, Mapping):
        hint = "; is a `return` missing?" if returned is None else "."
        raise StrategyError(
            f"{strategy!r}.features returned a {type(returned).__name__}; a mapping name -> feature is needed{hint}\n"
            "Such as: return {'fast': m.close.mean(10)}"
        )
    for name in returned:
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or name in _OF_THE_BAR:
            raise StrategyError(
                f"{strategy!r}.features cannot name a feature {shown(name)}; bar.<name> has to read it."
            )
        if name in market.panels:
            raise StrategyError(
                f"{strategy!r}.features names a feature {name!r}, but the market has a field of that name; rename it."
            )
    return returned


def feature_panels(returned: Mapping[str, Any], strategy: Strategy, market: Market) -> dict[str, Panel]:
    """Each of `features` as (n_bars, n_assets) float64, read-only. Raises: StrategyError, ShapeError."""
    return {name: as_panel(value, f"features[{name!r}]", strategy, market) for name, value in returned.items()}


def seen_names(market: Market, features: Mapping[str, Panel]) -> dict[str, Panel]:
    """All that a bar can be asked for: the market's fields as known, and the features."""
    return {**{name: np.asarray(panel) for name, panel in market.panels.items()}, **features}


def remember(strategy: Strategy, market: Market, row: int) -> None:
    """Put what `memory` returns on a run's own copy of the strategy.

    Args:
        strategy: the copy.
        market: of which it is shown the bars up to the one the run begins on.
        row: of that bar.

    Raises: StrategyError if it is no mapping of names to arrays of numbers, or a name is taken.
    """
    if type(strategy).memory is Strategy.memory:
        return
    try:
        returned = strategy.memory(market.until(row + 1))
    except KnowableError as error:
        note_call(error, strategy, "memory")
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        raise explain_call_failure(strategy, error, "memory") from error
    if not isinstance(returned, Mapping):
        raise StrategyError(
            f"{strategy!r}.memory returned a {type(returned).__name__}; a mapping name -> array is needed.\n"
            "Such as: return {'peak': np.zeros(m.n_assets)}"
        )
    for name, value in returned.items():
        if not isinstance(name, str) or not name.isidentifier() or hasattr(type(strategy), name):
            raise StrategyError(
                f"{strategy!r}.memory cannot name an array {shown(name)}; the strategy has that already."
            )
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.ndim == 0:
            raise StrategyError(
                f"`{name}` in {strategy!r}.memory must be an array of numbers, but it is {shown(value)}.\n"
                "For one number: np.zeros(1), read and written as self.name[0]."
            )
        object.__setattr__(strategy, name, np.array(value, order="C"))
