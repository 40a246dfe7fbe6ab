"""The strategy contract: declare parameters, say how often to trade, return target weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

from knowable.calendars import Rule
from knowable.errors import ParameterError, StrategyError, shown, unknown_name
from knowable.params import Choice, Float, Int, Param

__all__ = ["Strategy"]

_TAKEN = frozenset({"holding", "params", "parameters", "rebalance", "self", "weights"})


class Strategy:
    """Base of every strategy; subclass it, declare parameters as class attributes, and define `weights`.

    Attributes:
        rebalance: when target weights are acted on. None: every bar on which they change. ``"bar"``, ``"day_end"``,
            ``"week_end"``, ``"month_end"``, ``"quarter_end"``, ``"year_end"``, or a whole number n: every n-th bar,
            counted from the market's first.
        parameters: name -> declared parameter, in the order they were declared, base classes first.

    An instance holds one value for each parameter and never changes: ``Momentum(lookback=100)``. Values are checked
    when it is made. Within `weights` read them as ``self.lookback``.
    """

    rebalance: Rule = None
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
        raise StrategyError(
            f"{type(self).__name__} defines no weights(self, m). Add one that returns target weights, such as\n"
            "    def weights(self, m):\n"
            "        return where(m.close > m.close.mean(self.window), 1.0, 0.0) / m.close.n_assets"
        )

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
