"""Functions of a bar's assets beside one another; those without a value are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowable.features.apply import apply

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["cross_sum", "demean", "rank", "zscore"]


def rank(x: Feature, descending: bool = False) -> Feature:
    """Rank among the assets of the bar, 1 the smallest, or the largest if `descending`; ties get their average."""
    return apply("rank", x, descending=descending)


def zscore(x: Feature) -> Feature:
    """Less the bar's mean, over the bar's sample deviation (n - 1); NaN for fewer than two values or no spread."""
    return apply("zscore", x)


def demean(x: Feature) -> Feature:
    """Less the bar's mean over the assets that have a value."""
    return apply("demean", x)


def cross_sum(x: Feature) -> Feature:
    """Sum over the bar's assets that have a value, the same in each column; NaN if none has."""
    return apply("cross_sum", x)
