"""The set of parameter values a search may choose from, and its map to the unit cube."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from knowable.errors import InputError, shown, unknown_name
from knowable.params import Choice, Float, Int, Param, Scalar

__all__ = ["Floats", "Params", "Space"]

Params: TypeAlias = dict[str, Scalar]
Floats: TypeAlias = NDArray[np.float64]

LARGEST_TABLE = 65_536
"""A parameter with more values than this is snapped only when it is suggested, not while candidates are compared."""


@dataclass(frozen=True, slots=True)
class Space:
    """Named parameters, each with a range; one axis of the unit cube each, in the order given.

    Args:
        params: name -> Float, Int or Choice.

    Raises: InputError when there is none, or one is no parameter.
    """

    params: Mapping[str, Param]
    names: tuple[str, ...] = field(init=False)
    is_choice: NDArray[np.bool_] = field(init=False, repr=False, compare=False)
    _levels: tuple[Floats | None, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.params, Mapping) or not self.params:
            raise InputError(
                f"`params` must be a mapping with at least one parameter, but params={shown(self.params)}.\n"
                'Give for example {"window": Int(5, 200)}.'
            )
        for name, param in self.params.items():
            if not isinstance(name, str) or not isinstance(param, Float | Int | Choice):
                raise InputError(
                    f"`params` must map names to Float, Int or Choice, but {shown(name)} maps to {shown(param)}."
                )
        object.__setattr__(self, "params", dict(self.params))
        object.__setattr__(self, "names", tuple(self.params))
        is_choice = np.array([isinstance(param, Choice) for param in self.params.values()])
        is_choice.setflags(write=False)
        object.__setattr__(self, "is_choice", is_choice)
        object.__setattr__(self, "_levels", tuple(_levels(p) for p in self.params.values()))

    @property
    def n_dims(self) -> int:
        """How many parameters there are."""
        return len(self.names)

    @property
    def n_values(self) -> float:
        """How many distinct parameter sets exist; infinite with a Float without step."""
        counts = [param.n_values for param in self.params.values()]
        return math.inf if math.inf in counts else math.prod(int(count) for count in counts)

    def default(self) -> Params:
        """The parameter set of all defaults."""
        return {name: param.default for name, param in self.params.items()}

    def check(self, params: Mapping[str, object], where: str = "") -> Params:
        """Return `params` with each value checked, or raise ParameterError or UnknownNameError."""
        for name in params:
            if name not in self.params:
                raise unknown_name("parameter", name, self.names, where=where)
        missing = [name for name in self.names if name not in params]
        if missing:
            raise InputError(f"Parameters {missing} are missing from {shown(dict(params))}. Give every one.")
        return {name: param.check(params[name], name, where) for name, param in self.params.items()}

    def to_unit(self, params: Mapping[str, Scalar]) -> Floats:
        """Point of the unit cube, (n_dims,), that stands for `params`."""
        return np.array([_position(param, params[name]) for name, param in self.params.items()])

    def from_unit(self, unit: Floats) -> Params:
        """The parameter set nearest to a point of the unit cube."""
        return {name: param.from_unit(float(u)) for (name, param), u in zip(self.params.items(), unit, strict=True)}

    def snap(self, units: Floats) -> Floats:
        """Move each row of (m, n_dims) `units` to the nearest point that stands for a parameter set."""
        snapped = np.clip(units, 0.0, 1.0)
        for k, levels in enumerate(self._levels):
            if levels is not None:
                edges = (levels[1:] + levels[:-1]) / 2
                snapped[:, k] = levels[np.searchsorted(edges, snapped[:, k], side="right")]
        return snapped

    def grid_point(self, index: int, counts: Sequence[int]) -> Floats:
        """Point `index` of a grid with `counts[k]` evenly spread values on axis k, the first axis fastest."""
        unit = np.empty(self.n_dims)
        for k, param in enumerate(self.params.values()):
            index, level = divmod(index, counts[k])
            unit[k] = level / (counts[k] - 1) if math.isinf(param.n_values) else _level(param, level)
        return unit

    def points_from(self, start: int) -> Iterator[Floats]:
        """Every point of a finite space once, counting from the `start`-th and round."""
        counts = [int(param.n_values) for param in self.params.values()]
        total = math.prod(counts)
        for step in range(total):
            yield self.grid_point((start + step) % total, counts)


def _position(param: Param, value: Scalar) -> float:
    if isinstance(param, Choice):  # 1, 1.0 and True may be three options
        kinds = [(type(option), option) for option in param.options]
        return _level(param, kinds.index((type(value), value)))
    return param.to_unit(value)  # type: ignore[arg-type]


def _level(param: Param, level: int) -> float:
    if isinstance(param, Choice):
        return (level + 0.5) / len(param.options)
    return param.to_unit(param.low + level * (param.step or 0))


def _levels(param: Param) -> Floats | None:
    if not param.n_values <= LARGEST_TABLE:
        return None
    return np.array([_level(param, level) for level in range(int(param.n_values))])
