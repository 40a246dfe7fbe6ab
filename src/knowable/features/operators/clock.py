"""Functions that read a clock: what a finished period held, and days gone by."""

from __future__ import annotations

from knowable.features.operators.base import Operator
from knowable.kernels import clock

__all__ = ["CLOCKED"]

CLOCKED = (
    Operator(
        name="resample",
        apply=lambda x, ends, how, state, out: clock.period_kernel(x, ends, clock.WAYS.index(how), state, out),
        start=lambda n_assets, _: clock.period_state(n_assets),
        settings=("how",),
        clock="ends",
    ),
    Operator(
        name="days_since",
        apply=clock.days_since_kernel,
        start=clock.days_since_state,
        clock="day",
    ),
)
