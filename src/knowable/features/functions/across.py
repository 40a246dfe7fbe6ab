"""Functions of a bar's assets beside one another.

Each row is by itself: row t uses row t. Assets without a value (NaN) take no part and stay NaN; where the market has a
universe, so do those that are no members. `cross_sum`, `cross_mean` and `cross_count` answer in every column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from knowable.errors import InputError
from knowable.features.apply import apply, feature_of, named

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = [
    "bottom",
    "cross_count",
    "cross_mean",
    "cross_sum",
    "demean",
    "mask",
    "neutralize",
    "pct_rank",
    "quantile",
    "rank",
    "scale",
    "top",
    "winsorize",
    "zscore",
]


def rank(x: Feature, descending: bool = False) -> Feature:
    """Rank among the assets of the bar, 1 the smallest, or the largest if `descending`; ties get their average."""
    return apply("rank", x, descending=descending)


def pct_rank(x: Feature, descending: bool = False) -> Feature:
    """Rank over the number of assets that have a value: within (0, 1], 1 the largest, or the smallest if `descending`.

    As pandas' ``rank(axis=1, pct=True)``; ties get their average, a single value 1.
    """
    return apply("pct_rank", x, descending=descending)


def quantile(x: Feature, n: int) -> Feature:
    """The bar's assets in `n` buckets of equal numbers by rank: 1.0 holds the smallest values, n the largest.

    The bucket is 1 + floor(n * (rank - 1/2) / count), where rank averages ties and count is the number of values:

    - equal values share a bucket, that of their middle; a bar of equal values is in the middle bucket (of an even n,
      the upper of the two);
    - what is exactly on a cut goes to the inner bucket, so that buckets k and n + 1 - k hold equally many, but for an
      asset in the very middle;
    - fewer assets than buckets spread evenly over them, some buckets staying empty; one asset is in the middle.

    Where n divides count and no values tie, it is ``pandas.qcut(row, n, labels=False) + 1``.

    Raises: InputError unless n is a whole number from 1 to 1,000,000.
    """
    return apply("quantile", x, n=n)


def top(x: Feature, n: int) -> Feature:
    """1.0 for the `n` largest of the bar, 0.0 for others that have a value.

    An asset is in if fewer than n others are larger. So ties at the edge are all in, and more than n may be; all are if
    no more than n have a value. To hold exactly n, break ties first, by a second feature or `rank`.

    Raises: InputError unless n is a whole number, 1 or more.
    """
    return apply("top", x, n=n)


def bottom(x: Feature, n: int) -> Feature:
    """1.0 for the `n` smallest of the bar, 0.0 for others that have a value; ties as in `top`.

    Raises: InputError unless n is a whole number, 1 or more.
    """
    return apply("bottom", x, n=n)


def zscore(x: Feature) -> Feature:
    """Less the bar's mean, over the bar's sample deviation (n - 1); NaN for fewer than two values or no spread."""
    return apply("zscore", x)


def demean(x: Feature) -> Feature:
    """Less the bar's mean over the assets that have a value."""
    return apply("demean", x)


def scale(x: Feature, total: float = 1.0) -> Feature:
    """Over the sum of the bar's absolute values, times `total`: weights of that gross exposure. NaN if the sum is 0.

    Raises: InputError unless total is finite and above 0.
    """
    return apply("scale", x, total=total)


def winsorize(x: Feature, share: float = 0.05) -> Feature:
    """Values below the bar's quantile `share` become that quantile, those above quantile 1 - `share` that one.

    Quantiles are interpolated linearly between neighbours, as numpy's and pandas' are by default (Hyndman and Fan,
    1996, definition 7). With share 0.5 all become the median.

    Raises: InputError unless 0 <= share <= 0.5.
    """
    return apply("winsorize", x, share=share)


def neutralize(x: Feature, *by: Feature) -> Feature:
    """What is left of `x` after the bar's least squares on an intercept and the features `by`.

    Assets where any of them is NaN or infinite are left out and NaN. A feature that is constant over the bar's assets,
    or a combination of those before it (less than 1e-10 of its spread its own), adds nothing: the fit stays the same
    and stable (modified Gram-Schmidt, twice). Where `x` is such a combination itself, or a feature singles an asset
    out, 0 is left, not its rounding. NaN unless more assets take part than there are terms, intercept included: fewer
    would be fitted exactly. To be neutral within groups, see `group_neutralize`.

    Raises: InputError if `by` is empty or not of features.
    """
    feature_of("neutralize", x)
    if not by:
        raise InputError(
            f"`neutralize` needs a feature to be neutral to, as in neutralize({named(x)}, market.size), but got none.\n"
            "For the bar's mean alone write demean(x)."
        )
    return apply("neutralize", x, *(feature_of("neutralize", each) for each in by))


def mask(x: Any, condition: Any) -> Feature:
    """`x` where the condition is not 0, NaN where it is 0 or NaN: what takes no part in functions of the bar."""
    return apply("mask", x, condition)


def cross_sum(x: Feature) -> Feature:
    """Sum over the bar's assets that have a value, the same in each column; NaN if none has."""
    return apply("cross_sum", x)


def cross_mean(x: Feature) -> Feature:
    """Mean over the bar's assets that have a value, the same in each column; NaN if none has."""
    return apply("cross_mean", x)


def cross_count(x: Feature) -> Feature:
    """How many of the bar's assets have a value, the same in each column; 0 if none has."""
    return apply("cross_count", x)
