"""Figures of one equity row: returns, risk, drawdown, and the moments that overfitting statistics need.

Two passes over the returns: the mean first, then powers of the deviations from it. A single pass of raw powers loses
half the digits of a standard deviation that is small beside the mean.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from knowable.kernels.account import ENTRY, HELPER

__all__ = ["statistics_kernel"]

# Order of the figures; `knowable.metrics` names and defines them.
(
    TOTAL_RETURN, ANNUAL_RETURN, ANNUAL_VOLATILITY, SHARPE, SORTINO, MAX_DRAWDOWN, CALMAR, TURNOVER, N_TRADES,
    SKEWNESS, KURTOSIS, EXPOSURE, WIN_RATE, N_FIGURES,
) = range(14)  # fmt: skip

N_BLOCKS = 16
COUNT, SUM, SUM_OF_SQUARES, N_MOMENTS = range(4)
FLAT = 1e-14  # a standard deviation of returns below this is rounding: the returns are constant
DUST = 1e-12  # a drawdown below this, or a downside deviation below this share of the whole, is rounding: no fall


@njit(**ENTRY)
def statistics_kernel(equity, initial, bars_per_year, activity, returns_out, figures_out, moments_out):
    """Compute all figures of one equity row.

    Args:
        equity: (n_bars,) finite account values.
        initial: value before the first bar. NaN: the first bar is the start and has no return.
        bars_per_year: for annualising.
        activity: (4,) traded value, closed trades, of these won, bars with a position; NaN where not known.
        returns_out: (n_bars,) bar returns; the first is NaN if `initial` is.
        figures_out: (N_FIGURES,), all NaN when handed in; what is not defined stays so. Once equity is 0 or less at any
            bar, ratios of returns say nothing (a return below -1, then none): all that rest on the spread of returns,
            on mean equity or on an annual return that cannot be stay NaN. The total return and the drawdown stand.
        moments_out: (N_BLOCKS, N_MOMENTS) count, sum, sum of squares of the returns in even blocks of bars.
    """
    n_bars = equity.shape[0]
    first = 1 if np.isnan(initial) else 0
    start = equity[0] if first == 1 else initial
    worst, total, value_sum = _returns(equity, start, first, returns_out)
    ruined = worst <= -1.0
    n_returns = n_bars - first
    mean = total / n_returns if n_returns > 0 else np.nan
    squares, cubes, fourths, below = _powers(returns_out, first, mean, moments_out)
    years = n_returns / bars_per_year
    growth = equity[n_bars - 1] / start
    figures_out[TOTAL_RETURN] = growth - 1.0
    figures_out[MAX_DRAWDOWN] = worst
    figures_out[N_TRADES] = activity[1]
    if activity[1] > 0.0:
        figures_out[WIN_RATE] = activity[2] / activity[1]
    if n_returns > 0:
        figures_out[EXPOSURE] = activity[3] / n_bars
        if growth <= 0.0:
            figures_out[ANNUAL_RETURN] = -1.0
    if ruined or n_returns == 0:
        return
    annual = growth ** (1.0 / years) - 1.0
    figures_out[ANNUAL_RETURN] = annual if annual < np.inf else np.nan  # of minutes that only rise
    figures_out[TURNOVER] = activity[0] / (value_sum / n_bars) / years
    if worst < 0.0:
        figures_out[CALMAR] = figures_out[ANNUAL_RETURN] / -worst
    if n_returns > 1:
        deviation = np.sqrt(squares / (n_returns - 1))
        figures_out[ANNUAL_VOLATILITY] = deviation * np.sqrt(bars_per_year)
        if deviation > FLAT:
            variance = squares / n_returns
            figures_out[SHARPE] = mean / deviation * np.sqrt(bars_per_year)
            figures_out[SKEWNESS] = cubes / n_returns / (variance * np.sqrt(variance))
            figures_out[KURTOSIS] = fourths / n_returns / (variance * variance)
            downside = np.sqrt(below / n_returns)
            if downside > max(FLAT, DUST * deviation):
                figures_out[SORTINO] = mean / downside * np.sqrt(bars_per_year)


@njit(**HELPER)
def _returns(equity, start, first, returns_out):
    """Bar returns; the deepest drawdown (<= 0; of rounding alone, 0), the sum of returns, the sum of equity.

    The return of the bar on which an account came to nothing is its true loss, below -1 where a debt is left. From
    then on, while it holds nothing, there is no base for a return: it is 0.
    """
    before, peak, total, value_sum = start, start, 0.0, 0.0
    deepest, deepest_peak = start, start  # the pair of the least value / peak; compared by products, divided once
    if first == 1:
        returns_out[0] = np.nan
        value_sum = equity[0]
    values, gains = equity[first:], returns_out[first:]
    for k in range(values.size):
        value = values[k]
        gain = value / before - 1.0 if before > 0.0 else 0.0
        gains[k] = gain
        total += gain
        value_sum += value
        if value > peak:
            peak = value
        elif value * deepest_peak < deepest * peak:
            deepest, deepest_peak = value, peak
        before = value
    fall = deepest / deepest_peak - 1.0
    return (0.0 if fall >= -DUST else fall), total, value_sum


@njit(**HELPER)
def _powers(returns, first, mean, moments_out):
    """Sums of the 2nd, 3rd and 4th powers of deviations from the mean, and of squared returns below 0.

    On the way, the moments of each block: block b holds returns [b * n // N_BLOCKS, (b + 1) * n // N_BLOCKS).
    """
    n_returns = returns.shape[0] - first
    squares, cubes, fourths, below = 0.0, 0.0, 0.0, 0.0
    for block in range(N_BLOCKS):
        start, stop = block * n_returns // N_BLOCKS, (block + 1) * n_returns // N_BLOCKS
        total, raw = 0.0, 0.0
        part = returns[first + start : first + stop]
        for k in range(part.size):
            gain = part[k]
            gap = gain - mean
            square = gap * gap
            squares += square
            cubes += square * gap
            fourths += square * square
            below += gain * gain if gain < 0.0 else 0.0
            total += gain
            raw += gain * gain
        moments_out[block, COUNT] = stop - start
        moments_out[block, SUM] = total
        moments_out[block, SUM_OF_SQUARES] = raw
    return squares, cubes, fourths, below
