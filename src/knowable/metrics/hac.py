"""The mean of a series whose values depend on those before: its error, and how far from zero it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MeanTest", "mean_test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanTest:
    """A mean with its error.

    Attributes:
        mean: of the values that are there.
        std: their sample deviation (n - 1).
        error: standard error of the mean, robust to heteroscedasticity and autocorrelation.
        t: mean over error; NaN where the error is 0 or fewer than 3 values are there.
        p: probability of a |t| as large where the true mean is 0, from the normal distribution.
        lags: autocovariances the error counts.
        n: how many values are there.
    """

    mean: float
    std: float
    error: float
    t: float
    p: float
    lags: int
    n: int


def mean_test(values: npt.NDArray[np.float64], overlap: int = 1) -> MeanTest:
    """Test whether the mean of a series is zero.

    Missing values are left out, and the rest taken as one series: a gap shortens a lag, it does not lengthen one.

    Args:
        values: (n,) float64, in order of time. NaN: missing.
        overlap: bars that neighbouring values share, such as the horizon of overlapping returns.

    Returns: mean, error and t. The error is Newey and West's (1987), Econometrica 55, with Bartlett weights over
        L = max(overlap - 1, floor(4 (n / 100)^(2/9))) lags (Newey, West 1994), at most n - 1, without a small-sample
        factor. NaN where there are no values.
    """
    held = values[~np.isnan(values)]
    n = len(held)
    if n == 0:
        return MeanTest(mean=math.nan, std=math.nan, error=math.nan, t=math.nan, p=math.nan, lags=0, n=0)
    mean = float(held.mean())
    gaps = held - mean
    lags = min(max(overlap - 1, math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0))), n - 1)
    total = float(gaps @ gaps)
    for lag in range(1, lags + 1):
        total += 2.0 * (1.0 - lag / (lags + 1.0)) * float(gaps[lag:] @ gaps[:-lag])
    error = math.sqrt(max(total, 0.0)) / n
    std = float(held.std(ddof=1)) if n > 1 else math.nan
    flat = n < 3 or error <= 1e-14 * max(abs(mean), float(np.abs(held).max()))
    t = math.nan if flat else mean / error
    p = math.nan if flat else math.erfc(abs(t) / math.sqrt(2.0))
    return MeanTest(mean=mean, std=std, error=error, t=t, p=p, lags=lags, n=n)
