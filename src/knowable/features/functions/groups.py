"""Functions of a bar's assets within groups of them, such as sectors.

`groups` is a feature whose equal values make a group, whatever the numbers are; NaN is no group, and gives NaN. Each
row is by itself, with its own groups: row t uses row t. Assets without a value take no part; where the market has a
universe, neither do those that are no members. `group_sum`, `group_mean` and `group_count` answer for every asset that
has a group, also where `x` is NaN: ``where(isnan(x), group_mean(x, sector), x)`` fills gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowable.features.apply import apply, feature_of

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["group_count", "group_mean", "group_neutralize", "group_rank", "group_sum", "group_zscore"]


def group_rank(x: Feature, groups: Feature, descending: bool = False) -> Feature:
    """Rank among the group's assets, 1 the smallest, or the largest if `descending`; ties get their average."""
    return apply("group_rank", *_both("group_rank", x, groups), descending=descending)


def group_zscore(x: Feature, groups: Feature) -> Feature:
    """Less the group's mean, over the group's sample deviation (n - 1); NaN for fewer than two values or no spread."""
    return apply("group_zscore", *_both("group_zscore", x, groups))


def group_neutralize(x: Feature, groups: Feature) -> Feature:
    """Less the group's mean; 0 for an asset that is alone."""
    return apply("group_neutralize", *_both("group_neutralize", x, groups))


def group_sum(x: Feature, groups: Feature) -> Feature:
    """Sum over the group's assets that have a value, the same for each of the group; NaN if none has."""
    return apply("group_sum", *_both("group_sum", x, groups))


def group_mean(x: Feature, groups: Feature) -> Feature:
    """Mean over the group's assets that have a value, the same for each of the group; NaN if none has."""
    return apply("group_mean", *_both("group_mean", x, groups))


def group_count(x: Feature, groups: Feature) -> Feature:
    """How many of the group's assets have a value, the same for each of the group; 0 if none has."""
    return apply("group_count", *_both("group_count", x, groups))


def _both(op: str, x: Feature, groups: Feature) -> tuple[Feature, Feature]:
    return feature_of(op, x), feature_of(op, groups)
