"""Multivariate Parzen estimator: sample where good trials are dense and bad ones are not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr, ndtri

from knowable.search.base import Proposal, Sampler
from knowable.search.design import first_points, n_first
from knowable.search.history import History
from knowable.search.space import Floats

__all__ = ["Parzen", "parzen_point"]

MOST_GOOD = 24
MOST_BAD = 256
N_CANDIDATES = 48
PRIOR_WEIGHT = 1.0
WIDEST, NARROWEST = 0.25, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Parzen(Sampler):
    """Tree-structured Parzen estimator with one joint kernel a trial.

    Cheap at any number of trials: at most 24 good and 256 bad ones are kept in the two densities.
    Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization (2011); the joint kernel: Falkner et al.,
    BOHB (2018).
    """

    def propose(self, history: History, number: int, rng: np.random.Generator) -> Proposal:
        """Sobol points first, then the best of a few draws from the density of good trials."""
        if number < n_first(history.space.n_dims) or history.n_valid == 0:
            return Proposal(unit=first_points(history, number), source="sobol")
        return Proposal(unit=parzen_point(history, rng), source="parzen")


def parzen_point(history: History, rng: np.random.Generator) -> Floats:
    """(n_dims,) the draw with the highest ratio of good to bad density."""
    good, bad = _split(history)
    space = history.space
    widths = _widths(good, space.is_choice)
    centres = rng.integers(0, len(good) + 1, N_CANDIDATES)  # the last one: the prior, uniform
    draws = rng.random((N_CANDIDATES, space.n_dims))
    from_good = centres < len(good)
    own = good[np.minimum(centres, len(good) - 1)]
    low, high = ndtr(-own / widths), ndtr((1 - own) / widths)
    moved = own + widths * ndtri(low + draws * (high - low))
    kept = np.where(rng.random(draws.shape) < _stay(len(good)), own, draws)
    candidates = space.snap(np.where(from_good[:, None], np.where(space.is_choice, kept, moved), draws))
    n_options = np.array([param.n_values for param in space.params.values()])
    ratio = _log_density(candidates, good, widths, space.is_choice, n_options)
    ratio -= _log_density(candidates, bad, widths, space.is_choice, n_options)
    order = np.argsort(-ratio, kind="stable")
    for pick in order:
        if not history.is_seen(space.to_unit(space.from_unit(candidates[pick]))):
            break
    else:
        pick = order[0]
    return np.asarray(candidates[pick])


def _split(history: History) -> tuple[Floats, Floats]:
    """Good and bad points; pending ones count as bad, so that parallel suggestions spread."""
    kept = history.memo.get("parzen")
    if kept is None or kept[0] != history.n_told:
        values = history.values
        order = np.argsort(values, kind="stable")  # NaN, the failed ones, sort last
        n_valid = int(np.isfinite(values).sum())
        n_good = min(MOST_GOOD, max(1, math.ceil(0.1 * len(values))), n_valid)
        n_good = max(n_good, min(n_valid, 4))
        rest = order[n_good:]
        if len(rest) > MOST_BAD:  # the nearest in value and an even share of all others
            spread = np.linspace(MOST_BAD // 2, len(rest) - 1, MOST_BAD // 2).astype(np.int64)
            rest = np.concatenate([rest[: MOST_BAD // 2], rest[spread]])
        units = history.units
        kept = history.memo["parzen"] = (history.n_told, units[order[:n_good]], units[rest])
    pending = [history.unit(number) for number in history.pending]
    bad = np.concatenate([kept[2], np.reshape(pending, (len(pending), history.space.n_dims))])
    return kept[1], bad


def _stay(n: int) -> float:
    """Probability that a draw keeps the option of its centre."""
    return 1.0 - 1.0 / (1.0 + math.sqrt(n))


def _widths(good: Floats, is_choice: NDArray[np.bool_]) -> Floats:
    """(n_dims,) kernel widths by Scott's rule; choices get 1, unused."""
    shrink = len(good) ** (-1.0 / (good.shape[1] + 4))
    spread = np.sqrt(np.mean((good - good.mean(axis=0)) ** 2, axis=0) + 0.05**2)
    return np.where(is_choice, 1.0, np.clip(spread * shrink, NARROWEST, WIDEST))


def _log_density(
    at: Floats, centres: Floats, widths: Floats, is_choice: NDArray[np.bool_], n_options: Floats
) -> Floats:
    """Log density at each row of `at` of the mixture of kernels and one uniform component."""
    real, scale = ~is_choice, widths[~is_choice]
    scaled, scaled_centres = at[:, real] / scale, centres[:, real] / scale
    each = np.zeros((len(at), len(centres) + 1))
    for k in range(len(scale)):
        each[:, :-1] -= 0.5 * (scaled[:, k, None] - scaled_centres[None, :, k]) ** 2
    mass = ndtr(1 / scale - scaled_centres) - ndtr(-scaled_centres)  # what a kernel has inside the cube
    each[:, :-1] -= np.log(math.sqrt(2 * math.pi) * scale * mass).sum(axis=1)
    stay = _stay(len(centres))
    for k in np.flatnonzero(is_choice).tolist():
        same = at[:, k, None] == centres[None, :, k]
        each[:, :-1] += np.where(same, math.log(stay * n_options[k] + 1 - stay), math.log(1 - stay))
    each[:, -1] = math.log(PRIOR_WEIGHT)
    return np.asarray(logsumexp(each, axis=1)) - math.log(len(centres) + PRIOR_WEIGHT)
