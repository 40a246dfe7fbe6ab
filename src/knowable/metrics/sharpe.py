"""How sure a Sharpe ratio is: one formula for figures of a result and for verdicts on a search."""

from __future__ import annotations

import math

__all__ = ["probabilistic_sharpe", "sharpe_variance"]

_NONE = 1e-12  # a variance below it is rounding


def probabilistic_sharpe(
    sharpe: float, n_observations: float, skewness: float, kurtosis: float, benchmark: float = 0.0
) -> float:
    """Chance that the true Sharpe ratio is above `benchmark`.

    Args:
        sharpe: of one bar, not annualised.
        n_observations: number of returns, >= 2.
        skewness: third standardised moment.
        kurtosis: fourth standardised moment, raw: 3 for a normal.
        benchmark: Sharpe ratio a bar to beat.

    NaN: where a figure is NaN, or the ratio has no sampling error. Source: Bailey and Lopez de Prado, The Sharpe Ratio
    Efficient Frontier, Journal of Risk 15 (2012).
    """
    variance = sharpe_variance(sharpe, skewness, kurtosis)
    if not variance > 0.0 or n_observations < 2:
        return math.nan
    score = (sharpe - benchmark) * math.sqrt((n_observations - 1) / variance)
    return 0.5 * math.erfc(-score / math.sqrt(2.0))


def sharpe_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Variance of the ratio's estimate, times the number of observations less one; 0 where there is no error.

    Arguments and source as `probabilistic_sharpe`.
    """
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    return 0.0 if variance <= _NONE else variance
