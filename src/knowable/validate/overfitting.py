"""How likely a good result is luck: Sharpe ratios judged by their length, shape and the number of trials behind them.

All Sharpe ratios here are per bar, not per year: divide an annual one by the square root of the bars in a year.
"""

from __future__ import annotations

import itertools
import math
import numbers
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from knowable.errors import InputError, ShapeError, shown
from knowable.metrics.sharpe import probabilistic_sharpe, sharpe_variance
from knowable.validate.trials import MIN_OBSERVATIONS, block_moments, check_moments, check_returns, varying

__all__ = [
    "Pbo",
    "Track",
    "deflated_sharpe",
    "expected_max_sharpe",
    "min_track_record",
    "pbo",
    "pbo_from_moments",
    "psr",
]

_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What a track record says about its own Sharpe ratio.

    Args:
        sharpe: mean over standard deviation of the returns, a bar.
        n_observations: number of returns, >= 2.
        skewness: third standardised moment; 0 for a normal.
        kurtosis: fourth standardised moment, raw: 3 for a normal.

    Raises: InputError on non-finite values, or a kurtosis no distribution of that skewness has (below 1 + skewness^2),
    which usually means that excess kurtosis was passed.
    """

    sharpe: float
    n_observations: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    def __post_init__(self) -> None:
        for name in ("sharpe", "skewness", "kurtosis", "n_observations"):
            object.__setattr__(self, name, _finite(name, getattr(self, name), "Track"))
        if self.n_observations < 2:
            raise InputError(f"`n_observations >= 2` must hold, but n_observations={self.n_observations:g}.")
        floor = 1 + self.skewness**2
        if self.kurtosis < floor * (1 - 1e-9):
            raise InputError(
                f"`kurtosis >= 1 + skewness^2 = {floor:g}` holds for every distribution, but "
                f"kurtosis={self.kurtosis:g}.\nPass raw kurtosis (3 for a normal): add 3 to an excess kurtosis."
            )

    @classmethod
    def from_returns(cls, returns: Any) -> Track:
        """Measure returns a bar, ``(n,)``: Sharpe with ddof 1, skewness and kurtosis from plain moments.

        Raises: ShapeError unless one-dimensional; InputError on fewer than 30, non-finite or constant returns.
        """
        array = np.asarray(returns, dtype=np.float64)
        if array.ndim != 1:
            raise ShapeError(f"`returns` must be one series (n_bars,), but its shape is {array.shape}.")
        if array.size < MIN_OBSERVATIONS:
            raise InputError(f"At least {MIN_OBSERVATIONS} returns are needed, but there are {array.size}.")
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array))[0])
            raise InputError(
                f"`returns` must be finite, but return {row} is {array[row]}.\n"
                "A first return is often NaN: pass returns.iloc[1:]."
            )
        centred = array - array.mean()
        variance = float((centred**2).mean())
        if variance <= 1e-24 * float((array**2).mean()) or variance == 0.0:
            raise InputError(f"`returns` must vary, but all {array.size} are {array[0]:g}: there is no Sharpe ratio.")
        return cls(
            sharpe=float(array.mean() / math.sqrt(variance * array.size / (array.size - 1))),
            n_observations=array.size,
            skewness=float((centred**3).mean() / variance**1.5),
            kurtosis=float((centred**4).mean() / variance**2),
        )


def psr(track: Track, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark`, given length, skewness and kurtosis.

    Args:
        track: the record. benchmark: Sharpe ratio a bar to beat.

    Source: Bailey and López de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15 (2012).
    """
    bar = float(_finite("benchmark", benchmark, "psr"))
    _spread(track)  # says so where there is none
    return probabilistic_sharpe(track.sharpe, track.n_observations, track.skewness, track.kurtosis, bar)


def min_track_record(track: Track, benchmark: float = 0.0, alpha: float = 0.05) -> float:
    """Number of returns needed before such a Sharpe ratio beats `benchmark` at significance `alpha`.

    Args:
        track: the record; its own length is not used.
        benchmark: Sharpe ratio a bar to beat. alpha: chance of being fooled, in (0, 0.5].

    Returns: number of bars; infinite when the Sharpe ratio does not exceed the benchmark.
    Source: as `psr`.
    """
    from scipy.special import ndtri

    if not 0 < _finite("alpha", alpha, "min_track_record") <= 0.5:
        raise InputError(f"`0 < alpha <= 0.5` must hold, but alpha={alpha!r}.")
    excess = track.sharpe - _finite("benchmark", benchmark, "min_track_record")
    if excess <= 1e-100:  # so close that its square would underflow
        return math.inf
    return float(1 + _spread(track) * (ndtri(1 - alpha) / excess) ** 2)


def expected_max_sharpe(n_trials: float, variance: float = 1.0) -> float:
    """Sharpe ratio that the best of `n_trials` without any skill reaches on average.

    Args:
        n_trials: every trial ever tried, failed and pruned ones included, >= 1; may be an effective number.
        variance: of the trials' Sharpe ratios, a bar.

    Returns: Sharpe ratio a bar; 0 for a single trial.
    Source: Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40 (2014).
    """
    from scipy.special import ndtri

    if not _finite("n_trials", n_trials, "expected_max_sharpe") >= 1:
        raise InputError(f"`n_trials >= 1` must hold, but n_trials={n_trials!r}.")
    if not _finite("variance", variance, "expected_max_sharpe") >= 0:
        raise InputError(f"`variance >= 0` must hold, but variance={variance!r}.")
    if n_trials == 1:
        return 0.0
    height = (1 - _EULER) * ndtri(1 - 1 / n_trials) + _EULER * ndtri(1 - 1 / (n_trials * math.e))
    # The approximation dips below 0 between one and two trials, where an effective number may fall.
    return float(math.sqrt(variance) * max(height, 0.0))


def deflated_sharpe(track: Track, n_trials: float, variance: float) -> float:
    """Probability that the best trial's true Sharpe ratio exceeds what luck alone gives the best of `n_trials`.

    Args:
        track: the record of the best trial. n_trials, variance: as for `expected_max_sharpe`.

    Source: as `expected_max_sharpe`.
    """
    return psr(track, expected_max_sharpe(n_trials, variance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pbo:
    """Probability of backtest overfitting, with what it was computed from.

    Args:
        probability: share of splits whose in-sample best lands in the lower half out of sample; noise gives 0.5.
        loss_probability: share of splits whose in-sample best has a negative mean return out of sample.
        logits: (n_splits,) read-only; logit of the best trial's relative rank out of sample, above 0 is good.
        scores: (n_splits, 2) read-only; Sharpe ratio a bar of the best trial, in and out of sample.
        n_trials: trials compared. n_left_out: trials dropped because their returns do not vary.
        n_blocks: blocks of time.
    """

    probability: float
    loss_probability: float
    logits: np.ndarray
    scores: np.ndarray
    n_trials: int
    n_left_out: int
    n_blocks: int

    def __float__(self) -> float:
        return self.probability

    def __repr__(self) -> str:
        left_out = f", {self.n_left_out} left out" if self.n_left_out else ""
        return (
            f"Pbo(probability={self.probability:.4f}, loss_probability={self.loss_probability:.4f}, "
            f"{self.n_trials} trials{left_out}, {len(self.logits)} splits of {self.n_blocks} blocks)"
        )


def pbo(
    returns: Any, blocks: int = 16, *, n_bars: int | None = None, constant: Literal["raise", "drop"] = "raise"
) -> Pbo:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    Time is cut into even blocks. For every choice of half of them, the trial of the best Sharpe ratio there is ranked
    among all trials on the other half. Ties: equal trials out of sample share their mean rank, several best trials in
    sample count an equal share each, and a best trial exactly in the middle counts as overfit. A trial that does not
    vary within a half scores 0 there.

    Args:
        returns: (n_bars, n_trials) DataFrame or array, time down, fractions a bar, all trials over the same bars.
        blocks: number of blocks, even, 2 to 20.
        n_bars: rows that are bars; say it when there are more trials than bars, which is refused as transposed if not.
        constant: what to do with trials whose returns never vary: an error, or leave them out (and count them).

    Raises: ShapeError, InputError (see `check_returns`); fewer than two trials.
    Source: Bailey, Borwein, López de Prado and Zhu, The Probability of Backtest Overfitting, Journal of Computational
    Finance 20 (2017).
    """
    matrix = check_returns(returns, n_bars=n_bars, where="pbo")
    _check_blocks(blocks)
    if len(matrix) < 2 * blocks:
        raise InputError(
            f"`n_bars >= 2 * blocks` must hold, but n_bars={len(matrix)}, blocks={blocks}.\nUse fewer blocks."
        )
    return pbo_from_moments(block_moments(matrix, blocks), constant=constant)


def pbo_from_moments(moments: Any, *, constant: Literal["raise", "drop"] = "raise") -> Pbo:
    """`pbo` from the moments of the returns a block, without the returns: the same figures to the bit.

    Args:
        moments: (n_trials, n_blocks, 3) count, sum, sum of squares of the returns; see `trials.block_moments`.
        constant: as for `pbo`.

    Raises: ShapeError, InputError (see `check_moments`).
    """
    from knowable.kernels.cscv import cscv_kernel

    array = check_moments(moments)
    n_blocks = array.shape[1]
    _check_blocks(n_blocks)
    if constant not in ("raise", "drop"):
        raise InputError(f'`constant` must be "raise" or "drop", but constant={shown(constant)}.')
    alive = varying(array)
    if constant == "raise" and not alive.all():
        raise InputError(
            f"Every trial's returns must vary, but those of {int((~alive).sum())} of {len(alive)} do not, the first "
            f'being trial {int(np.argmin(alive))}: it has no Sharpe ratio.\nLeave them out, or pass constant="drop".'
        )
    n_trials = int(alive.sum())
    if n_trials < 2:
        raise InputError(f"At least two trials that vary are needed to compare, but there are {n_trials}.")
    counts, sums, squares = (np.ascontiguousarray(array[alive, :, k].T) for k in range(3))
    halves = np.array([half for half in itertools.combinations(range(n_blocks), n_blocks // 2) if half[0] == 0])
    out = np.empty((2 * len(halves), 4))
    cscv_kernel(np.ascontiguousarray(counts[:, 0]), sums, squares, halves.astype(np.int64), out)
    out.setflags(write=False)
    return Pbo(
        probability=float(out[:, 0].mean()),
        loss_probability=float((out[:, 3] < 0).mean()),
        logits=out[:, 1],
        scores=out[:, 2:],
        n_trials=n_trials,
        n_left_out=len(alive) - n_trials,
        n_blocks=n_blocks,
    )


def _spread(track: Track) -> float:
    """Variance of the Sharpe ratio's estimate, times the number of observations less one."""
    spread = sharpe_variance(track.sharpe, track.skewness, track.kurtosis)
    if spread == 0.0:
        raise InputError(f"The Sharpe ratio of {track!r} has no sampling error: it cannot be judged so.")
    return spread


def _check_blocks(blocks: object) -> None:
    if not isinstance(blocks, numbers.Integral) or not 2 <= int(blocks) <= 20 or int(blocks) % 2:
        raise InputError(
            f"`blocks` must be an even number from 2 to 20, but blocks={shown(blocks)}.\n"
            "16 gives 12,870 splits; the number of splits grows fourfold with every two blocks."
        )


def _finite(name: str, value: object, where: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InputError(f"`{name}` must be a finite number, but {name}={shown(value)}, in {where}.")
    return value
