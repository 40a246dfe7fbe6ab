"""Functions of all bars so far."""

from __future__ import annotations

from knowable.features.operators.base import Operator
from knowable.kernels import expanding

__all__ = ["EXPANDING"]

EXPANDING = (
    Operator(name="expanding_sum", apply=expanding.sum_so_far_kernel, start=expanding.total_state),
    Operator(name="expanding_mean", apply=expanding.mean_so_far_kernel, start=expanding.total_state),
    Operator(name="expanding_std", apply=expanding.spread_so_far_kernel, start=expanding.spread_so_far_state),
    Operator(
        name="expanding_min",
        apply=lambda x, state, out: expanding.extreme_so_far_kernel(x, 1.0, state, out),
        start=expanding.extreme_so_far_state,
    ),
    Operator(
        name="expanding_max",
        apply=lambda x, state, out: expanding.extreme_so_far_kernel(x, -1.0, state, out),
        start=expanding.extreme_so_far_state,
    ),
    Operator(name="expanding_count", apply=expanding.count_kernel, start=expanding.count_state),
)
