"""The strategy contract: declare parameters, say how often to trade, return target weights or decide bar by bar."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

from knowable.calendars import Rule
from knowable.errors import ParameterError, StrategyError, shown, unknown_name
from knowable.params import Choice, Float, Int, Param

__all__ = ["Strategy", "gives_signals", "is_event_driven"]

_TAKEN = frozenset(
    {
        "compiled", "features", "holding", "memory", "on_bar", "params", "parameters", "rebalance", "self", "signals",
        "weights",
    }
)  # fmt: skip


class Strategy:
    """Base of every strategy; subclass it, declare parameters as class attributes, and say how it decides in one of
    `weights`, `signals` and `on_bar`.

    ``weights(self, m)`` returns the target weights of all bars at once. ``signals(self, m)`` returns a `kn.Signals`:
    when to enter and to leave, with stops and targets that rest in the market between decisions. ``on_bar(self, bar,
    account)`` is called bar by bar, sees that bar and those before it, and asks for what it wants by
    ``account.target(asset, weight)``, ``account.target_shares(asset, shares)`` or ``account.order(asset, shares)``; it
    may be helped by `features` and `memory`.

    Attributes:
        rebalance: when target weights are acted on, and `on_bar` is called. None: every bar on which the weights
            change (`on_bar` is called on every bar). ``"bar"``: every bar. ``"day_end"``, ``"week_end"``,
            ``"month_end"``, ``"quarter_end"``, ``"year_end"``: the last bar of each; ``"day_start"`` to
            ``"year_start"``: the first. ``"monday"`` to ``"sunday"``: the last bar of that day, or of the last day
            before it that has bars. A whole number n: every n-th bar, counted from the market's first. Dates, such as
            ``["2024-03-15", "2024-06-21"]``: the last bar of each, or of the last day before it that has bars.
        compiled: True: `on_bar` keeps to numbers and arrays, and runs at the speed of compiled code.
        parameters: name -> declared parameter, in the order they were declared, base classes first.

    An instance holds one value for each parameter and never changes: ``Momentum(lookback=100)``. Values are checked
    when it is made. Within its methods read them as ``self.lookback``. `on_bar` may keep other attributes on ``self``:
    each run has a copy of the strategy, so that no run sees what another kept.
    """

    rebalance: Rule = None
    compiled: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Param]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = dict(cls.parameters)
        for name, value in vars(cls).items():
            if isinstance(value, Float | Int | Choice):
                if name in _TAKEN or name.startswith("_") or not name.isidentifier():
                    raise ParameterError(
                        f"A parameter cannot be called {name!r}, in {cls.__name__}; choose another name."
                    )
                found[name] = value
            elif inspect.isclass(value) and value in (Float, Int, Choice):
                raise ParameterError(
                    f"`{name}` in {cls.__name__} is the class {value.__name__} itself; give its range: "
                    f"{name} = kn.{value.__name__}({'[...]' if value is Choice else 'low, high'})."
                )
            elif name in found:
                del found[name]
        cls.parameters = MappingProxyType(found)
        _check_kind(cls)

    def __init__(self, **values: Any) -> None:
        declared = type(self).parameters
        for name in values:
            if name not in declared:
                raise unknown_name("parameter", name, declared, where=type(self).__name__)
        for name, param in declared.items():
            chosen = values.get(name, param.default)
            object.__setattr__(self, name, param.check(chosen, name, type(self).__name__))

    def weights(self, m: Any) -> Any:  # noqa: ARG002 - the name is the contract
        """Target weights for every bar of the market `m`, as fractions of equity.

        Returns: a feature, a DataFrame like ``m.close.frame()``, a polars DataFrame (a column an asset, a row a bar,
        perhaps a column of times), or an array (n_bars, n_assets). NaN: no opinion, the position is kept. 0: flat.
        Row t may use rows up to t only.
        """
        name = type(self).__name__
        if is_event_driven(self):
            raise StrategyError(
                f"{name} decides bar by bar, in on_bar(self, bar, account); it has no weights(self, m)."
            )
        own = [each for each in dir(type(self)) if not hasattr(Strategy, each)]
        for way in ("weights", "signals", "on_bar"):
            near = difflib.get_close_matches(way, own, n=1, cutoff=0.75)
            if near and callable(getattr(self, near[0])):
                raise StrategyError(
                    f"{name} defines neither weights, signals nor on_bar, but {near[0]!r}. Did you mean {way!r}?"
                )
        raise StrategyError(
            f"{name} defines no weights(self, m). Add one that returns target weights, such as\n"
            "    def weights(self, m):\n"
            "        return where(m.close > m.close.mean(self.window), 1.0, 0.0) / m.close.n_assets\n"
            "or decide bar by bar:\n"
            "    def on_bar(self, bar, account):\n"
            "        account.target(0, 1.0 if bar.close[0] > bar.open[0] else 0.0)"
        )

    def features(self, m: Any) -> Mapping[str, Any]:  # noqa: ARG002 - the name is the contract
        """For `on_bar`: what is computed over all bars beforehand and read row by row, as ``bar.<name>``.

        Returns: name -> what `weights` may return: a feature, a DataFrame, or an array (n_bars, n_assets). Row t may
        use rows up to t only, as there.
        """
        return {}

    def memory(self, m: Any) -> Mapping[str, Any]:  # noqa: ARG002 - the name is the contract
        """For `on_bar`: the arrays it changes from bar to bar, such as ``{"peak": np.zeros(m.n_assets)}``.

        Each run begins with these, read and written as ``self.<name>``. `m` ends with the bar the run begins on.
        """
        return {}

    @property
    def params(self) -> dict[str, Any]:
        """Parameter name -> value of this instance."""
        return {name: getattr(self, name) for name in type(self).parameters}

    @classmethod
    def holding(cls, values: Mapping[str, Any]) -> Self:
        """An instance that holds `values` unchecked. Search uses it to build one expression for all parameter sets."""
        made = cls.__new__(cls)
        for name in cls.parameters:
            object.__setattr__(made, name, values[name])
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).parameters:
            raise ParameterError(
                f"A strategy does not change once made, but {name}={shown(value)} was set on {self!r}.\n"
                f"Make another: {type(self).__name__}({name}={shown(value)})."
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.params.items())})"


def is_event_driven(strategy: Strategy | type[Strategy]) -> bool:
    """Whether it decides bar by bar, in `on_bar`."""
    return hasattr(strategy, "on_bar")


def gives_signals(strategy: Strategy | type[Strategy]) -> bool:
    """Whether it says when to enter and to leave, in `signals`."""
    return hasattr(strategy, "signals")


def _check_kind(strategy: type[Strategy]) -> None:
    """Raise StrategyError if a class has several ways to decide, or is to be compiled without the one that can be."""
    name, by_weights = strategy.__name__, strategy.weights is not Strategy.weights
    ways = ["weights(self, m)"] if by_weights else []
    ways += ["signals(self, m)"] if gives_signals(strategy) else []
    ways += ["on_bar(self, bar, account)"] if is_event_driven(strategy) else []
    if len(ways) > 1:
        raise StrategyError(
            f"{name} has both {ways[0]} and {ways[-1]}, its own or a base class's; "
            "a strategy has one.\nTake one away, or make two strategies."
        )
    if is_event_driven(strategy) and not _takes_bar_and_account(vars(strategy).get("on_bar")):
        raise StrategyError(
            f"on_bar of {name} must be a method that takes a bar and the account: def on_bar(self, bar, account)."
        )
    first = _first_argument(vars(strategy).get("on_bar"))
    if first == "account":
        raise StrategyError(f"on_bar of {name} is handed the bar first: def on_bar(self, bar, account).")
    if _is_another_kind(vars(strategy).get("on_bar")):
        raise StrategyError(
            f"on_bar of {name} must be a plain method, without `async` and `yield`: def on_bar(self, bar, account)."
        )
    if not isinstance(strategy.compiled, bool):
        raise StrategyError(f"`compiled` of {name} must be True or False, but it is {shown(strategy.compiled)}.")
    if strategy.compiled and ways and not is_event_driven(strategy):
        raise StrategyError(f"{name} says compiled = True, which is for on_bar(self, bar, account); leave it out.")


def _is_another_kind(function: object) -> bool:
    """Whether a call of it would run nothing yet."""
    return inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function)


def _first_argument(function: object) -> str:
    """The name after `self`; empty where there is none to be seen."""
    names = list(inspect.signature(function).parameters) if inspect.isfunction(function) else []
    return names[1] if len(names) > 1 else ""


def _takes_bar_and_account(function: object) -> bool:
    """Whether a method can be called with a bar and an account; what is no plain function is let be."""
    if not inspect.isfunction(function):
        return callable(function) or function is None  # inherited
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError:
        return False
    return True


def check_strategy(strategy: object) -> Strategy:
    """Return `strategy` if it is an instance; otherwise say what was given instead. Raises: StrategyError."""
    if isinstance(strategy, Strategy):
        return strategy
    if inspect.isclass(strategy) and issubclass(strategy, Strategy):
        raise StrategyError(f"`strategy` is the class {strategy.__name__}; make an instance: {strategy.__name__}().")
    raise StrategyError(f"`strategy` must be a kn.Strategy, but it is {shown(strategy)}, a {type(strategy).__name__}.")


def check_strategy_class(strategy: object) -> type[Strategy]:
    """Return `strategy` if it is a subclass of Strategy; else say what was given instead. Raises: StrategyError."""
    if inspect.isclass(strategy) and issubclass(strategy, Strategy):
        return strategy
    if isinstance(strategy, Strategy):
        name = type(strategy).__name__
        raise StrategyError(f"`strategy` is the instance {strategy!r}; search needs the class: {name}.")
    raise StrategyError(
        f"`strategy` must be a subclass of kn.Strategy, but it is {shown(strategy)}, a {type(strategy).__name__}."
    )
