"""Functions of a bar's assets beside one another."""

from __future__ import annotations

from knowable.features.operators.base import Operator
from knowable.kernels import cross_section

__all__ = ["ACROSS"]

ACROSS = (
    Operator(name="rank", apply=cross_section.rank_kernel, settings=("descending",), across=True),
    Operator(name="zscore", apply=lambda x, out: cross_section.center_kernel(x, True, out), across=True),
    Operator(name="demean", apply=lambda x, out: cross_section.center_kernel(x, False, out), across=True),
    Operator(name="cross_sum", apply=cross_section.cross_sum_kernel, across=True),
)
