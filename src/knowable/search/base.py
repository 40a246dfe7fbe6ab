"""The contract of a sampler: one method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from knowable.search.history import History
from knowable.search.space import Floats

__all__ = ["Proposal", "Sampler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A point of the unit cube, (n_dims,), and the words that say who proposed it."""

    unit: Floats
    source: str


class Sampler(ABC):
    """Proposes where to look next.

    A proposal must follow from `history`, `number` and `rng` alone, so that a search can be replayed: keep nothing on
    the sampler; what is dear to compute again goes to ``history.memo``. The optimizer snaps the point to a parameter
    set and moves it to the nearest new one if it was suggested before, so a sampler need not care. Calling twice with
    an equal history must give equal proposals. ``knowable.testing.sampler_kit`` checks all this on any sampler.
    """

    @abstractmethod
    def propose(self, history: History, number: int, rng: np.random.Generator) -> Proposal:
        """Where suggestion `number` (>= 1; the first one is the user's default) should be."""
