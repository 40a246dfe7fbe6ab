"""What a sampler may look at: every suggestion so far and every result told, as arrays that grow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from knowable.search.space import Floats, Space

__all__ = ["History"]


class History:
    """Suggestions in the order asked, results in the order told. Values are to be minimised; NaN: failed.

    Args:
        space: what is searched.
        seed: of the whole search.
    """

    __slots__ = (
        "_keys",
        "_order",
        "_pending",
        "_units",
        "_values",
        "memo",
        "n_told",
        "n_valid",
        "seed",
        "sources",
        "space",
    )

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.seed = seed
        self.sources: list[str] = []
        self.n_told = 0
        """How many results were told, failed ones included."""
        self.n_valid = 0
        """How many of them are not failed."""
        self.memo: dict[str, Any] = {}
        """For samplers, to keep what follows from the history alone (a fitted model)."""
        self._units = np.empty((64, space.n_dims))
        self._values = np.empty(64)
        self._order = np.empty(64, np.int64)
        self._pending: dict[int, None] = {}
        self._keys: set[bytes] = set()

    @property
    def n_asked(self) -> int:
        """How many suggestions were made."""
        return len(self.sources)

    @property
    def values(self) -> Floats:
        """(n_told,) results in the order told, lower is better, NaN where failed."""
        return self._values[self._order[: self.n_told]]

    @property
    def units(self) -> Floats:
        """(n_told, n_dims) points of the unit cube in the order told."""
        return self._units[self._order[: self.n_told]]

    @property
    def pending(self) -> list[int]:
        """Numbers of the suggestions without a result, in the order asked."""
        return list(self._pending)

    @property
    def exhausted(self) -> bool:
        """True when every parameter set of a finite space has been suggested."""
        return self.n_asked >= self.space.n_values

    def unit(self, number: int) -> Floats:
        """(n_dims,) point of suggestion `number`."""
        unit: Floats = self._units[number]
        return unit

    def value(self, number: int) -> float:
        """Result of suggestion `number`; meaningful once told."""
        return float(self._values[number])

    def is_pending(self, number: int) -> bool:
        """Whether suggestion `number` waits for its result."""
        return number in self._pending

    def is_seen(self, unit: Floats) -> bool:
        """Whether this point, as `Space.to_unit` gives it, was suggested before."""
        return unit.tobytes() in self._keys

    def ask(self, unit: Floats, source: str) -> int:
        """Record a suggestion; returns its number."""
        number = self.n_asked
        if number == len(self._units):
            self._units = np.concatenate([self._units, np.empty_like(self._units)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
            self._order = np.concatenate([self._order, np.empty_like(self._order)])
        self._units[number] = unit
        self._values[number] = math.nan
        self.sources.append(source)
        self._pending[number] = None
        self._keys.add(unit.tobytes())
        return number

    def tell(self, number: int, value: float) -> None:
        """Record the result of a pending suggestion."""
        del self._pending[number]
        self._values[number] = value
        self._order[self.n_told] = number
        self.n_told += 1
        self.n_valid += math.isfinite(value)
