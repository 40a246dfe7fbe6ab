"""Asking a strategy for its expressions once, with symbols for numbers, so that they serve all parameter sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from knowable.data.market import Market
from knowable.features import Feature, NeedsValue, Program, asked, bind, symbol
from knowable.params import Choice
from knowable.strategy import Strategy

__all__ = ["Ask", "shared_programs"]

Ask: TypeAlias = Callable[[Strategy], Mapping[str, Any] | None]


def shared_programs(
    strategy: type[Strategy], ask: Ask, params: Mapping[str, Any], seen: Market
) -> dict[str, Program] | None:
    """The programs of what a strategy returns, for all sets with these choices.

    Args:
        strategy: the class.
        ask: what to call on an instance; its answer is name -> feature, or None where one must ask each time.
        params: a complete parameter set; its choices hold for all.
        seen: the market that the answer must be built on.

    Returns: name -> program with the numbers as symbols. None where the strategy must be asked for each set: it returns
        something else, looks at a value, computes from values when it is made, or keeps what it is asked.
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
    features = _features(answer, seen)
    if features is None or any(asked(each) for each in symbols.values()):
        return None
    programs = {name: Program.of(feature) for name, feature in features.items()}
    corners = _corners(strategy, params)
    return programs if all(_agree(programs, strategy(**point), ask, point, seen) for point in corners) else None


def _features(answer: Any, seen: Market) -> dict[str, Feature] | None:
    """The answer if it is features of that very market, else None."""
    if not isinstance(answer, Mapping):
        return None
    if not all(isinstance(each, Feature) and each.market is seen for each in answer.values()):
        return None
    return dict(answer)


def _agree(programs: Mapping[str, Program], made: Strategy, ask: Ask, params: Mapping[str, Any], seen: Market) -> bool:
    """Whether asking with values gives the same expressions: code may branch on a type where no symbol notices."""
    try:
        features = _features(ask(made), seen)
        if features is None or list(features) != list(programs):
            return False
        return all(bind(programs[name].node, params) is feature.node for name, feature in features.items())
    except Exception:  # noqa: BLE001 - the trial itself will tell it
        return False


def _corners(strategy: type[Strategy], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    numeric = {name: p for name, p in strategy.parameters.items() if not isinstance(p, Choice)}
    low = {name: param.low for name, param in numeric.items()}
    high = {name: param.high for name, param in numeric.items()}
    return [dict(params), {**params, **low}, {**params, **high}]
