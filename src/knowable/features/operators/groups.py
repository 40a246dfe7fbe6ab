"""Functions of a bar's assets within groups of them; the second input holds the codes of the groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from knowable.features.operators.base import Operator, spread
from knowable.kernels import groups

__all__ = ["GROUPS"]


def _grouped(name: str, kernel: Callable[..., Any], *fixed: Any, settings: tuple[str, ...] = ()) -> Operator:
    """An operator by ``kernel(x, groups, *settings, *fixed, out)``."""

    def run(x: Any, codes: Any, *settings_and_out: Any) -> None:
        *chosen, out = settings_and_out
        kernel(spread(x, out.shape), spread(codes, out.shape), *chosen, *fixed, out)

    return Operator(name=name, apply=run, settings=settings, arity=2, across=True)


GROUPS = (
    _grouped("group_rank", groups.group_rank_kernel, settings=("descending",)),
    _grouped("group_zscore", groups.group_center_kernel, True),
    _grouped("group_neutralize", groups.group_center_kernel, False),
    _grouped("group_sum", groups.group_total_kernel, 0),
    _grouped("group_mean", groups.group_total_kernel, 1),
    _grouped("group_count", groups.group_total_kernel, 2),
)
