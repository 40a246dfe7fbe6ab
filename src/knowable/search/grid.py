"""A grid walked in scattered order, so that any number of trials covers the space evenly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from knowable.errors import InputError, shown
from knowable.search.base import Proposal, Sampler
from knowable.search.history import History
from knowable.search.space import Space

__all__ = ["Grid"]

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid(Sampler):
    """Every combination once; a Float without step gets `levels` values, and twice as fine ones when those are spent.

    Row order would try one corner first. Here point k of N is ``k * stride mod N`` with a stride near the golden
    section of N and prime to it. Nothing is held in memory, so a grid of 1e12 points costs no more than one of 10.

    Args:
        levels: values of a continuous parameter, ends included, >= 2.
    """

    levels: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.levels, bool) or not isinstance(self.levels, int) or self.levels < 2:
            raise InputError(f"`levels >= 2` must hold, but levels={shown(self.levels)}, in Grid.")

    def propose(self, history: History, number: int, rng: np.random.Generator) -> Proposal:  # noqa: ARG002 (contract)
        """The next grid point that was not suggested yet."""
        position, levels = history.memo.get("grid", (0, self.levels))
        while True:
            counts = _counts(history.space, levels)
            total = math.prod(counts)
            stride = _stride(total)
            while position < total:
                unit = history.space.grid_point(position * stride % total, counts)
                exact = history.space.to_unit(history.space.from_unit(unit))
                if not history.is_seen(exact):
                    history.memo["grid"] = (position, levels)
                    return Proposal(unit=exact, source="grid")
                position += 1
            if history.exhausted or history.space.n_values <= total:
                return Proposal(unit=np.zeros(history.space.n_dims), source="grid")
            position, levels = 0, 2 * levels - 1  # the finer grid contains the coarser one


def _counts(space: Space, levels: int) -> list[int]:
    n_values = (param.n_values for param in space.params.values())
    return [levels if math.isinf(count) else int(count) for count in n_values]


def _stride(total: int) -> int:
    stride = max(1, round(total * GOLDEN))
    while math.gcd(stride, total) != 1:
        stride += 1
    return stride
