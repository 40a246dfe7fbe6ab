"""The built-in Gaussian-process sampler."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from knowable.errors import InputError, shown
from knowable.search.acquisition import log_expected_improvement
from knowable.search.base import Proposal, Sampler
from knowable.search.checks import checked_whole
from knowable.search.climb import climb
from knowable.search.design import first_points, n_first
from knowable.search.history import History
from knowable.search.parzen import parzen_point
from knowable.search.regression import Hyperparameters, Posterior, fit
from knowable.search.space import Floats
from knowable.search.warp import half_rank

__all__ = ["GaussianProcess"]

LARGEST_FIT = 128
MANY_TOLD = 2_000
N_SEEDS = 10
REFITS_IN_A_CHAIN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcess(Sampler):
    """Gaussian process on half-rank warped values; log expected improvement, hedged by two bolder ways to pick.

    Args:
        hedge: share of the picks left to the Parzen estimator, which does well where the surface is too ragged.
        explore: share of the picks by upper confidence bound.
        most: beyond this many results, the process sees that many: the best, half of them, and an even share of the
            rest; and half as many once there are 2,000.
    """

    hedge: float = 0.2
    explore: float = 0.25
    most: int = 128

    def __post_init__(self) -> None:
        if not (self.hedge >= 0 and self.explore >= 0 and self.hedge + self.explore <= 1):
            raise InputError(
                f"`hedge >= 0`, `explore >= 0` and `hedge + explore <= 1` must hold, but hedge={shown(self.hedge)}, "
                f"explore={shown(self.explore)}, in GaussianProcess."
            )
        checked_whole("most", self.most, 8, "GaussianProcess")

    def propose(self, history: History, number: int, rng: np.random.Generator) -> Proposal:
        """Sobol points until results are there, then the maximum of an acquisition."""
        if number < n_first(history.space.n_dims) or history.n_valid < 2:
            return Proposal(unit=first_points(history, number), source="sobol")
        lot = rng.random()
        if lot < self.hedge:
            return Proposal(unit=parzen_point(history, rng), source="parzen")
        view = self._view(history)
        if lot < self.hedge + self.explore:
            return view.by_confidence(history, rng)
        return view.by_improvement(history, rng)

    def _view(self, history: History) -> _View:
        view = history.memo.get("gp")
        if view is None or view.n_told != history.n_told:
            view = history.memo["gp"] = _View(history, self.most if history.n_told <= MANY_TOLD else self.most // 2)
        view.take_pending(history)
        return view


class _View:
    """The process after the results told so far; it is kept until the next one is told."""

    def __init__(self, history: History, most: int) -> None:
        self.n_told = history.n_told
        values, units = history.values, history.units
        warped = half_rank(values)
        chosen = _subset(warped, most)
        hyper = _hyperparameters(history, history.n_told)
        is_choice = history.space.is_choice
        self.posterior = Posterior(hyper, units[chosen], warped[chosen], is_choice, room=8)
        self.n_believers = 0
        best = np.argsort(warped, kind="stable")[:N_SEEDS]
        self.failed = units[~np.isfinite(values)]
        self.succeeded = units[chosen][np.isfinite(values[chosen])]
        self.target = float(self.posterior.predict(units[chosen])[0].min())
        self.seeds = units[best]

    def take_pending(self, history: History) -> None:
        """Pending suggestions join as believers; those of earlier calls are there already."""
        for number in history.pending[self.n_believers :]:
            self.posterior.believe(history.unit(number))
            self.n_believers += 1

    def by_improvement(self, history: History, rng: np.random.Generator) -> Proposal:
        """Maximum of the log expected improvement over the best posterior mean, times the chance of success."""

        def score(candidates: Floats) -> Floats:
            mean, sd = self.posterior.predict(candidates)
            return log_expected_improvement(mean, sd, self.target) + self.log_success(candidates)

        return Proposal(unit=climb(score, history, self.seeds, rng), source="gp: expected improvement")

    def by_confidence(self, history: History, rng: np.random.Generator) -> Proposal:
        """Minimum of mean - 1.8 sd: bolder than expected improvement."""

        def score(candidates: Floats) -> Floats:
            mean, sd = self.posterior.predict(candidates)
            return 1.8 * sd - mean + self.log_success(candidates)

        return Proposal(unit=climb(score, history, self.seeds, rng), source="gp: confidence bound")

    def log_success(self, candidates: Floats) -> Floats:
        """Log chance that a trial there does not fail, by kernel regression on all outcomes so far."""
        if len(self.failed) == 0:
            return np.zeros(len(candidates))
        bad = self.posterior.likeness(candidates, self.failed).sum(axis=1)
        good = self.posterior.likeness(candidates, self.succeeded).sum(axis=1)
        return np.asarray(np.log((good + 0.5) / (good + bad + 0.5)))


def _subset(warped: Floats, most: int) -> np.ndarray:
    """Positions of the results the process sees, in the order told."""
    if len(warped) <= most:
        return np.arange(len(warped))
    order = np.argsort(warped, kind="stable")
    spread = np.linspace(most // 2, len(warped) - 1, most - most // 2).astype(np.int64)
    return np.sort(np.concatenate([order[: most // 2], order[spread]]))


def _hyperparameters(history: History, n_told: int) -> Hyperparameters:
    """Fit after the last refit point <= n_told: a function of the results alone.

    Each fit starts from the one before, but every eighth from the prior: a replayed history needs at most eight.
    """
    fits: dict[int, Hyperparameters] = history.memo.setdefault("gp fits", {})
    points = _refit_points(n_told)
    first = (len(points) - 1) // REFITS_IN_A_CHAIN * REFITS_IN_A_CHAIN
    start = None
    for n in points[first:]:
        if n not in fits:
            warped = half_rank(history.values[:n])
            chosen = _subset(warped, LARGEST_FIT)
            fits[n] = fit(history.units[:n][chosen], warped[chosen], history.space.is_choice, start)
        start = fits[n]
    return fits[points[-1]]


def _refit_points(n_told: int) -> list[int]:
    """2, then each four results more, later each eighth more."""
    points = [2]
    while (following := points[-1] + max(4, points[-1] // 8)) <= n_told:
        points.append(following)
    return points
