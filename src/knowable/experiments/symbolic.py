"""Asking a strategy for its expressions once, with symbols for numbers, so that they serve all parameter sets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from knowable.data.market import Market
from knowable.features import Feature, Formula, NeedsValue, Program, Symbol, asked, bind, symbol
from knowable.params import Choice
from knowable.strategy import Strategy

__all__ = ["Ask", "Shared", "shared_formulas", "shared_programs"]

Ask: TypeAlias = Callable[[Strategy], Mapping[str, Any] | None]
Shared: TypeAlias = dict[str, Program | Formula]


def shared_programs(
    strategy: type[Strategy], ask: Ask, params: Mapping[str, Any], seen: Market
) -> dict[str, Program] | None:
    """As `shared_formulas` where every answer must be a feature."""
    found = shared_formulas(strategy, ask, params, seen, numbers=())
    return None if found is None else {name: each for name, each in found.items() if isinstance(each, Program)}


def shared_formulas(
    strategy: type[Strategy], ask: Ask, params: Mapping[str, Any], seen: Market, *, numbers: Collection[str]
) -> Shared | None:
    """The programs of what a strategy returns, for all sets with these choices.

    Args:
        strategy: the class.
        ask: what to call on an instance; its answer is name -> feature, or None where one must ask each time.
        params: a complete parameter set; its choices hold for all.
        seen: the market that the answer must be built on.
        numbers: names under which one number, a parameter itself perhaps, may stand in the place of a feature.

    Returns: name -> program, or formula of such a number, with the parameters as symbols. None where the strategy must
        be asked for each set: it returns something else, looks at a value, computes from values when it is made, or
        keeps what it is asked.
    """
    if strategy.__init__ is not Strategy.__init__:
        return None  # it may have computed something from the values
    numeric = [name for name, param in strategy.parameters.items() if not isinstance(param, Choice)]
    symbols = {}
    try:
        symbols = {name: symbol(name, strategy.parameters[name]) for name in numeric}
        answer = ask(strategy.holding({**params, **symbols}))
    except (NeedsValue, Exception):  # noqa: BLE001 - asked with values, it will say what is wrong
        return None
    shared = _formulas(answer, seen, numbers)
    if shared is None or any(asked(each) for each in symbols.values()):
        return None
    for point in _corners(strategy, params):
        if not _agree(shared, strategy(**point), lambda made: _formulas(ask(made), seen, numbers), point):
            return None
    return shared


def _formulas(answer: Any, seen: Market, numbers: Collection[str]) -> Shared | None:
    """The answer if it is features of that very market, and numbers where they may be, else None."""
    if not isinstance(answer, Mapping):
        return None
    found: Shared = {}
    for name, each in answer.items():
        if type(each) is Symbol or not isinstance(each, Feature):
            formula = Formula.of(each) if name in numbers else None
            if formula is None:
                return None
            found[name] = formula
        elif each.market is seen:
            found[name] = Program.of(each)
        else:
            return None
    return found


def _agree(
    shared: Shared, made: Strategy, again: Callable[[Strategy], Shared | None], params: Mapping[str, Any]
) -> bool:
    """Whether asking with values gives the same expressions: code may branch on a type where no symbol notices."""
    try:
        found = again(made)
        if found is None or list(found) != list(shared):
            return False
        return all(bind(shared[name].node, params) is each.node for name, each in found.items())
    except Exception:  # noqa: BLE001 - the trial itself will tell it
        return False


def _corners(strategy: type[Strategy], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    numeric = {name: p for name, p in strategy.parameters.items() if not isinstance(p, Choice)}
    low = {name: param.low for name, param in numeric.items()}
    high = {name: param.high for name, param in numeric.items()}
    return [dict(params), {**params, **low}, {**params, **high}]
