"""Independent uniform draws: the baseline any other sampler must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from knowable.search.base import Proposal, Sampler
from knowable.search.history import History

__all__ = ["Random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Random(Sampler):
    """Uniform over the unit cube; a log parameter is uniform in its logarithm."""

    def propose(self, history: History, number: int, rng: np.random.Generator) -> Proposal:  # noqa: ARG002 (contract)
        """A uniform point."""
        return Proposal(unit=rng.random(history.space.n_dims), source="random")
