"""Moments of an asset's own past: how far it varies, and where it stands in that.

What is divided by a deviation is NaN where sums of squares leave the range of a double: values beyond 1e150 (1e99 for
`skew`), or a spread below 1e-145 (1e-100).

Each takes `every`, the slower clock whose periods a window then counts, as all moving functions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowable.features.apply import apply
from knowable.features.functions.moving import Every

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["ewm_std", "skew", "ts_zscore", "var"]


def var(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Sample variance (n - 1) of the last `window` bars, in the square of x's unit.

    NaN unless all are valid, and for window 1; 0 where all are equal. An infinity counts as missing.
    """
    return apply("var", x, window=window, every=every)


def ts_zscore(x: Feature, window: int, *, every: Every = None) -> Feature:
    """The value less the mean of the last `window` bars, over their sample deviation (n - 1); this bar included.

    As ``(x - x.mean(window)) / x.std(window)``, but right to the last digits also where the spread is a billionth of
    the level. NaN unless all are valid, where all are equal, and for window 1. For the z-score among the assets of a
    bar see `zscore`.
    """
    return apply("ts_zscore", x, window=window, every=every)


def skew(x: Feature, window: int, *, every: Every = None) -> Feature:
    """Skewness of the last `window` bars, corrected for bias: ``n sqrt(n - 1) / (n - 2) * m3 / m2**1.5``.

    m2 and m3 are the sums of squared and cubed deviations from the mean. As pandas' ``rolling(window).skew()``, but
    exact at any level, and NaN where all values are equal (pandas says 0): without spread there is no shape. NaN unless
    all are valid, and for a window below 3.

    Source: the adjusted Fisher-Pearson coefficient, G1 in Joanes, Gill (1998), The Statistician 47.
    """
    return apply("skew", x, window=window, every=every)


def ewm_std(x: Feature, span: float, *, every: Every = None) -> Feature:
    """Exponentially weighted standard deviation, alpha = 2 / (span + 1), corrected for the bias of its weights.

    As pandas' ``ewm(span=span).std()`` (adjust=True, ignore_na=False, bias=False): a missing value leaves it as it is
    and ages what came before; NaN before the second value, and always for span 1. An infinity counts as missing.
    """
    return apply("ewm_std", x, span=span, every=every)
