"""Functions of all bars so far, this one included.

A window forgets a gap; all bars so far never would. So missing values and infinities are skipped, as by pandas'
``expanding()``, and the last answer stands while values are missing. They begin with the market's first bar, so a
market that begins elsewhere gives other values; where that matters, take a long window.

Each takes `every`, the slower clock whose periods are then looked at, as all moving functions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowable.features.apply import apply
from knowable.features.functions.moving import Every

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["expanding_count", "expanding_max", "expanding_mean", "expanding_min", "expanding_std", "expanding_sum"]


def expanding_sum(x: Feature, *, every: Every = None) -> Feature:
    """Sum of all values so far; NaN before the first."""
    return apply("expanding_sum", x, every=every)


def expanding_mean(x: Feature, *, every: Every = None) -> Feature:
    """Mean of all values so far; NaN before the first."""
    return apply("expanding_mean", x, every=every)


def expanding_std(x: Feature, *, every: Every = None) -> Feature:
    """Sample standard deviation (n - 1) of all values so far; NaN before the second."""
    return apply("expanding_std", x, every=every)


def expanding_min(x: Feature, *, every: Every = None) -> Feature:
    """Smallest value so far; NaN before the first."""
    return apply("expanding_min", x, every=every)


def expanding_max(x: Feature, *, every: Every = None) -> Feature:
    """Largest value so far; NaN before the first. The drawdown is ``x / x.expanding_max() - 1``."""
    return apply("expanding_max", x, every=every)


def expanding_count(x: Feature, *, every: Every = None) -> Feature:
    """How many values there were so far, missing ones and infinities not counted; 0 before the first."""
    return apply("expanding_count", x, every=every)
