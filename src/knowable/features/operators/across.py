"""Functions of a bar's assets beside one another."""

from __future__ import annotations

from typing import Any

import numpy as np

from knowable.features.operators.base import Operator, spread
from knowable.kernels import cross_section, element
from knowable.kernels.cross_regression import neutralize_kernel

__all__ = ["ACROSS"]

_NAN = np.full((1, 1), np.nan)
_NAN.flags.writeable = False
_ROWS = 32  # of all features side by side; more would leave the cache, and take memory for a copy of each


def _neutralize(x: Any, *by_and_out: Any) -> None:
    *by, out = by_and_out
    n_bars = out.shape[0]
    panels = [spread(each, out.shape) for each in (x, *by)]
    for first in range(0, n_bars, _ROWS):
        rows = slice(first, min(first + _ROWS, n_bars))
        beside = np.stack([each[rows] for each in panels[1:]])
        neutralize_kernel(panels[0][rows], beside, out[rows])


def _extreme(name: str, largest: bool) -> Operator:
    return Operator(
        name=name,
        apply=lambda x, n, out: cross_section.top_kernel(x, n, largest, out),
        settings=("n",),
        across=True,
    )


ACROSS = (
    Operator(name="rank", apply=cross_section.rank_kernel, settings=("descending",), across=True),
    Operator(name="pct_rank", apply=cross_section.pct_rank_kernel, settings=("descending",), across=True),
    Operator(name="quantile", apply=cross_section.bucket_kernel, settings=("n",), across=True),
    _extreme("top", True),
    _extreme("bottom", False),
    Operator(name="zscore", apply=lambda x, out: cross_section.center_kernel(x, True, out), across=True),
    Operator(name="demean", apply=lambda x, out: cross_section.center_kernel(x, False, out), across=True),
    Operator(
        name="scale",
        apply=lambda x, total, out: cross_section.scale_kernel(x, float(total), out),
        settings=("total",),
        across=True,
    ),
    Operator(
        name="winsorize",
        apply=lambda x, share, out: cross_section.winsorize_kernel(x, float(share), out),
        settings=("share",),
        across=True,
    ),
    Operator(name="neutralize", apply=_neutralize, arity=2, variadic=True, across=True),
    Operator(name="cross_sum", apply=cross_section.cross_sum_kernel, across=True),
    Operator(name="cross_mean", apply=cross_section.cross_mean_kernel, across=True),
    Operator(name="cross_count", apply=cross_section.cross_count_kernel, across=True),
    # of each cell alone, but asked for beside the others: x where the condition holds
    Operator(name="mask", apply=lambda x, condition, out: element.where_kernel(condition, x, _NAN, out), arity=2),
)
