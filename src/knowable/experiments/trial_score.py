"""`TrialScore`: what one parameter set came to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.metrics import METRICS

__all__ = ["NO_FIGURES", "TrialScore"]

Panel: TypeAlias = npt.NDArray[np.float64]

NO_FIGURES = tuple(math.nan for _ in METRICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialScore:
    """What one parameter set came to.

    Attributes:
        figures: its metrics in the order of `METRICS`; NaN each when it failed.
        moments: (n_blocks, 3) count, sum and sum of squares of its returns a block; None when it failed.
        error: why it failed, else None.
    """

    figures: tuple[float, ...]
    moments: Panel | None = None
    error: str | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Metric name -> value."""
        return dict(zip(METRICS, self.figures, strict=True))
