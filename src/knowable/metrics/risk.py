"""What was earned for each unit of risk; how bad bad bars are; how often bars win, and how much."""

from __future__ import annotations

import math

import numpy as np

from knowable.metrics.curve import Array, Curve
from knowable.metrics.sharpe import probabilistic_sharpe

__all__ = ["bar_figures", "risk_figures", "tail_figures"]

_FLAT = 1e-14  # a deviation of returns below it is rounding


def risk_figures(curve: Curve) -> dict[str, float]:
    """Ratios of what was earned to its risk; names and definitions in `knowable.metrics.catalogue`."""
    gains, root = curve.excess, math.sqrt(curve.bars_per_year)
    mean, deviation = float(gains.mean()), _deviation(gains)
    below = math.sqrt(float(np.mean(np.minimum(gains, 0.0) ** 2)))
    sharpe = mean / deviation if deviation > _FLAT else math.nan
    sortino = mean / below if below > _FLAT else math.nan
    penalty = _penalty(gains)
    lost = -float(gains[gains < 0.0].sum())
    return {
        "sharpe": sharpe * root,
        "smart_sharpe": sharpe * root / penalty,
        "probabilistic_sharpe": _probabilistic(sharpe, gains),
        "sortino": sortino * root,
        "smart_sortino": sortino * root / penalty,
        "adjusted_sortino": sortino * root / math.sqrt(2.0),
        "downside_deviation": below * root,
        "risk_return_ratio": sharpe,
        "omega": float(gains[gains > 0.0].sum()) / lost if lost > 0.0 else math.nan,
    }


def tail_figures(curve: Curve) -> dict[str, float]:
    """Figures of the worst and best bars."""
    returns = curve.returns
    low, high = (float(q) for q in np.quantile(returns, [0.05, 0.95]))
    rare_low, rare_high = (float(q) for q in np.quantile(returns, [0.01, 0.99]))
    mean, deviation = float(returns.mean()), _deviation(returns)
    wins, losses = returns[returns > 0.0], returns[returns < 0.0]
    score = 1.6448536269514722  # 95 of 100 of a standard normal lie below it
    density = math.exp(-score * score / 2.0) / math.sqrt(2.0 * math.pi)
    return {
        "value_at_risk": low,
        "expected_shortfall": float(returns[returns <= low].mean()),
        "normal_value_at_risk": mean - score * deviation,
        "normal_expected_shortfall": mean - deviation * density / 0.05,
        "tail_ratio": abs(high / low) if low != 0.0 else math.nan,
        "outlier_win_ratio": rare_high / float(wins.mean()) if len(wins) else math.nan,
        "outlier_loss_ratio": rare_low / float(losses.mean()) if len(losses) else math.nan,
    }


def bar_figures(curve: Curve, tail_ratio: float) -> dict[str, float]:
    """Figures of winning and losing bars."""
    returns, months = curve.returns, curve.months
    wins, losses = returns[returns > 0.0], returns[returns < 0.0]
    n_moved = len(wins) + len(losses)
    won = len(wins) / n_moved if n_moved else math.nan
    mean_win = float(wins.mean()) if len(wins) else math.nan
    mean_loss = float(losses.mean()) if len(losses) else math.nan
    lost = -float(losses.sum()) if len(losses) else math.nan
    lost_months = -float(months[months < 0.0].sum())
    payoff = mean_win / -mean_loss
    factor = float(wins.sum()) / lost
    each = len(wins) and len(losses)
    return {
        "win_bars": won,
        "mean_move": float(returns[returns != 0.0].mean()) if n_moved else math.nan,
        "mean_win": mean_win,
        "mean_loss": mean_loss,
        "payoff_ratio": payoff,
        "profit_ratio": (mean_win / len(wins)) / (-mean_loss / len(losses)) if each else math.nan,
        "profit_factor": factor,
        "common_sense_ratio": factor * tail_ratio,
        "cpc_index": factor * won * payoff,
        "gain_to_pain": float(returns.sum()) / lost,
        "gain_to_pain_month": float(months.sum()) / lost_months if lost_months > 0.0 else math.nan,
        "kelly": won - (1.0 - won) / payoff,
        "risk_of_ruin": ((1.0 - won) / (1.0 + won)) ** len(returns),
        "most_wins_in_a_row": float(_longest_run(returns > 0.0)),
        "most_losses_in_a_row": float(_longest_run(returns < 0.0)),
    }


def _deviation(gains: Array) -> float:
    return float(np.std(gains, ddof=1)) if len(gains) > 1 else math.nan


def _penalty(gains: Array) -> float:
    """Root of 1 + 2 sum (1 - k / n) |rho| ** k: how much an autocorrelation rho makes a mean less certain."""
    n = len(gains)
    if n < 3:
        return 1.0
    early, late = gains[:-1] - gains[:-1].mean(), gains[1:] - gains[1:].mean()
    spread = math.sqrt(float(early @ early) * float(late @ late))
    if spread <= _FLAT * _FLAT * n:
        return 1.0
    rho = abs(float(early @ late) / spread)
    terms = n if rho >= 1.0 else min(n, 1 + math.ceil(math.log(1e-18) / math.log(rho))) if rho > 0.0 else 1
    lags = np.arange(1, terms)  # what comes after is below the last bit
    return math.sqrt(1.0 + 2.0 * float(((n - lags) / n * rho**lags).sum()))


def _probabilistic(sharpe: float, gains: Array) -> float:
    """Chance that the true Sharpe ratio is above 0, given the length, skewness and kurtosis of the sample."""
    n = len(gains)
    if math.isnan(sharpe) or n < 2:
        return math.nan
    gaps = gains - gains.mean()
    squares = gaps * gaps
    variance = float(squares.mean())
    skewness, kurtosis = float((squares * gaps).mean()) / variance**1.5, float((squares @ squares) / n) / variance**2
    return probabilistic_sharpe(sharpe, n, skewness, kurtosis)


def _longest_run(flags: np.ndarray) -> int:
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    runs = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
    return int(runs.max()) if len(runs) else 0
