"""The best weights of one rebalance: a quadratic program, and the sentence where it has no answer.

Solved by Clarabel, an interior-point method (Goulart and Chen, 2024, arXiv:2405.12762), which is an extra of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.errors import InputError

__all__ = ["Limits", "Problem", "best_weights", "need_solver"]

Vector: TypeAlias = npt.NDArray[np.float64]

_TOLERANCE = 1e-12  # of the objective; weights are off by its root where it is flat, and 1e-10 left up to 2e-8
_LOOSER = 1e-7  # where rounding keeps the solver from the first
_NONE = np.zeros(0, np.int64)
_SMALL = 1e-2  # of equity; weights that gains can only make smaller than this are solved for in their own unit
_DUST = 1e-9  # an interior point leaves such weights where the answer is 0, and such distances from a bound


class Limits(NamedTuple):
    """What weights must keep to; None leaves one out. Fractions of equity, all positive but `net`."""

    long_only: bool
    max_weight: float | None  # of an asset's absolute weight
    max_group: float | None  # of the sum of a group's absolute weights
    turnover: float | None  # of the sum of absolute changes from what is held
    gross: float | None  # of the sum of absolute weights
    net: float | None  # what the sum of weights is


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Maximise expected @ w - risk_aversion / 2 * w @ covariance @ w within limits.

    Attributes:
        covariance: (k, k).
        expected: (k,) in the unit of the returns, per bar as they are.
        groups: (k,) equal numbers are one group, NaN is none.
        held: (k,) what is held, as prices have moved it; None: nothing ever was, and turnover has no limit.
        risk_aversion: > 0.
        limits: see there.
    """

    covariance: Vector
    expected: Vector
    groups: Vector
    held: Vector | None
    risk_aversion: float
    limits: Limits


def best_weights(problem: Problem) -> tuple[Vector | None, str]:
    """(k,) weights; or None and a sentence that says which limits contradict each other."""
    n_assets = len(problem.expected)
    why = _contradiction(problem)
    if why:
        return None, why
    if _nothing_is_best(problem):
        return np.zeros(n_assets), ""
    small = _small_weights(problem)
    if small is not None:
        return small, ""
    found = _Program(problem).solve()
    if str(found.status) not in ("Solved", "AlmostSolved"):
        return None, _told(str(found.status), problem)
    return _cleaned(np.array(found.x[:n_assets]), problem.limits), ""


def _nothing_is_best(problem: Problem) -> bool:
    """Whether there is nothing to gain, nothing to hold and nothing that may not be sold; a solver would leave dust."""
    limits, held = problem.limits, problem.held
    if limits.net or problem.expected.any():
        return False
    return limits.turnover is None or held is None or float(np.abs(held).sum()) <= limits.turnover


def _small_weights(problem: Problem) -> Vector | None:
    """The answer where so little is gained that weights are tiny, and a solver would leave dust of their own size.

    Without limits that are fractions of equity the answer is in proportion to the gains, so it is found for larger
    ones. If it keeps to those limits too it is the best within them. None where they matter, or weights are not tiny.
    """
    limits, variance = problem.limits, float(np.trace(problem.covariance)) / max(len(problem.expected), 1)
    unit = float(np.abs(problem.expected).max()) / (variance * problem.risk_aversion) if variance > 0.0 else 1.0
    if limits.net or not 0.0 < unit < _SMALL:
        return None
    signs = Limits(limits.long_only, None, None, None, None, limits.net)
    found = _Program(replace(problem, expected=problem.expected / unit, limits=signs)).solve()
    if str(found.status) != "Solved":
        return None
    weights = _cleaned(np.array(found.x[: len(problem.expected)]), signs) * unit
    return weights if _keeps(weights, problem) else None


def _keeps(weights: Vector, problem: Problem) -> bool:
    """Whether weights are within all limits that are fractions of equity."""
    limits, size = problem.limits, np.abs(weights)
    changed = 0.0 if problem.held is None else float(np.abs(weights - problem.held).sum())
    if limits.turnover is not None and changed > limits.turnover:
        return False
    if limits.max_group is not None:
        for code in np.unique(problem.groups[np.isfinite(problem.groups)]):
            if float(size[problem.groups == code].sum()) > limits.max_group:
                return False
    largest, total = float(size.max(initial=0.0)), float(size.sum())
    return (limits.max_weight is None or largest <= limits.max_weight) and (
        limits.gross is None or total <= limits.gross
    )


class _Program:
    """The matrices of ``min 1/2 x'Px + q'x`` where ``Ax + s = b`` and s is 0 or positive.

    x is the weights; beside them their absolute values where a limit needs those, and those of the changes. Rows of A
    are collected as places and values, since putting sparse blocks together takes scipy twenty times what Clarabel
    takes for a dozen assets.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.n = len(problem.expected)
        self.n_variables = self.n
        self.equal = _Rows()
        self.below = _Rows()
        self._limit()

    def solve(self) -> Any:
        clarabel = need_solver()
        from scipy import sparse

        # in units of the mean variance, so that the solver's tolerances mean what they say
        unit = float(np.trace(self.problem.covariance)) / self.n
        unit = unit if unit > 0.0 else 1.0
        size = self.n_variables
        upper = np.triu_indices(self.n)
        quadratic = sparse.csc_matrix((self.problem.covariance[upper] / unit, upper), shape=(size, size))
        linear = np.zeros(size)
        linear[: self.n] = -self.problem.expected / (unit * self.problem.risk_aversion)
        # and not of a size at which a gain beside little aversion looks like one without bound
        scale = max(1.0, float(np.abs(linear).max()))
        quadratic, linear = quadratic / scale, linear / scale
        n_equal, n_below = self.equal.count, self.below.count
        rows = np.concatenate([*self.equal.rows, *(each + n_equal for each in self.below.rows), _NONE])
        columns = np.concatenate([*self.equal.columns, *self.below.columns, _NONE])
        values = np.concatenate([*self.equal.values, *self.below.values, np.zeros(0)])
        matrix = sparse.csc_matrix((values, (rows, columns)), shape=(n_equal + n_below, size))
        bounds = np.concatenate([*self.equal.bounds, *self.below.bounds, np.zeros(0)])
        cones = [clarabel.ZeroConeT(n_equal)] * bool(n_equal) + [clarabel.NonnegativeConeT(n_below)] * bool(n_below)
        return clarabel.DefaultSolver(quadratic, linear, matrix, bounds, cones, _settings(clarabel)).solve()

    def _limit(self) -> None:
        limits, n, below = self.problem.limits, self.n, self.below
        if limits.long_only:
            below.each(0.0, n, (0, -1.0))
        if limits.max_weight is not None:
            below.each(limits.max_weight, n, (0, 1.0))
            if not limits.long_only:
                below.each(limits.max_weight, n, (0, -1.0))
        if limits.net is not None:
            self.equal.total(limits.net, np.arange(n))
        if limits.gross is not None or limits.max_group is not None:
            first = 0 if limits.long_only else self._absolute(np.zeros(n))
            if limits.gross is not None:
                below.total(limits.gross, np.arange(first, first + n))
            if limits.max_group is not None:
                for code in np.unique(self.problem.groups[np.isfinite(self.problem.groups)]):
                    below.total(limits.max_group, first + np.flatnonzero(self.problem.groups == code))
        if limits.turnover is not None and self.problem.held is not None:
            first = self._absolute(self.problem.held)
            below.total(limits.turnover, np.arange(first, first + n))

    def _absolute(self, around: Vector) -> int:
        """New variables that are no less than ``abs(w - around)``; where they begin."""
        first = self.n_variables
        self.n_variables += self.n
        for sign in (1.0, -1.0):
            self.below.each(sign * around, self.n, (0, sign), (first, -1.0))
        return first


class _Rows:
    """Rows of a sparse matrix and their bounds, as they are added."""

    def __init__(self) -> None:
        self.rows: list[npt.NDArray[np.int64]] = []
        self.columns: list[npt.NDArray[np.int64]] = []
        self.values: list[Vector] = []
        self.bounds: list[Vector] = []
        self.count = 0

    def each(self, bound: Any, n: int, *terms: tuple[int, float]) -> None:
        """Rows, `n` of them, the k-th the sum of factor * x[first + k] over `terms` of (first, factor)."""
        for first, factor in terms:
            self.rows.append(np.arange(self.count, self.count + n))
            self.columns.append(np.arange(first, first + n))
            self.values.append(np.full(n, factor))
        self.bounds.append(np.broadcast_to(np.asarray(bound, np.float64), n))
        self.count += n

    def total(self, bound: float, columns: npt.NDArray[np.int64]) -> None:
        """One row, the sum of x over some columns."""
        self.rows.append(np.full(len(columns), self.count))
        self.columns.append(columns)
        self.values.append(np.ones(len(columns)))
        self.bounds.append(np.array([bound]))
        self.count += 1


def need_solver() -> Any:
    """The solver's module. Raises: InputError if it is not installed."""
    try:
        import clarabel
    except ImportError:
        raise InputError(
            "`mean_variance` needs a solver, Clarabel, which is not installed.\n"
            'Install it: pip install "knowable[portfolio]".'
        ) from None
    return clarabel


def _settings(clarabel: Any) -> Any:
    made = clarabel.DefaultSettings()
    made.verbose = False
    made.max_iter = 500
    made.tol_gap_abs = made.tol_gap_rel = made.tol_feas = _TOLERANCE
    made.reduced_tol_gap_abs = made.reduced_tol_gap_rel = made.reduced_tol_feas = _LOOSER
    made.direct_solve_method = "auto"  # by the problem's size and sparsity alone
    made.max_threads = 1  # the same bits whatever else runs
    return made


def _cleaned(weights: Vector, limits: Limits) -> Vector:
    """Without the dust that an interior point leaves, and within the limits to the last bit."""
    weights[np.abs(weights) < _DUST] = 0.0
    if limits.max_weight is not None:
        weights = np.clip(weights, 0.0 if limits.long_only else -limits.max_weight, limits.max_weight)
    elif limits.long_only:
        weights = np.maximum(weights, 0.0)
    total = float(np.abs(weights).sum())
    if limits.gross is not None and total > limits.gross:
        weights *= limits.gross / total
    return weights


def _contradiction(problem: Problem) -> str:
    """A sentence where arithmetic alone says that limits contradict each other."""
    limits, n_assets = problem.limits, len(problem.expected)
    net = limits.net
    if not net:
        return ""
    if n_assets == 0:
        return f"net={net:g} is asked for, but no asset may be held."
    if limits.long_only and net < 0.0:
        return f"net={net:g} is asked for, but long_only=True leaves no weight below 0."
    if limits.gross is not None and abs(net) > limits.gross * (1.0 + 1e-12):
        return f"net={net:g} is asked for, but gross={limits.gross:g} is the most of all absolute weights."
    each = math.inf if limits.max_weight is None else limits.max_weight
    most = n_assets * each
    if abs(net) > most * (1.0 + 1e-12):
        return f"net={net:g} is asked for, but {n_assets} assets of at most max_weight={each:g} come to {most:g}."
    if limits.max_group is None:
        return ""
    codes, counts = np.unique(problem.groups[np.isfinite(problem.groups)], return_counts=True)
    free = n_assets - int(counts.sum())
    most = (free * each if free else 0.0) + float(np.minimum(counts * each, limits.max_group).sum())
    if abs(net) > most * (1.0 + 1e-12):
        return (
            f"net={net:g} is asked for, but {len(codes)} groups of at most max_group={limits.max_group:g} come to "
            f"{most:g}."
        )
    return ""


def _told(status: str, problem: Problem) -> str:
    """A sentence for the solver's verdict, with all limits in force."""
    limits = problem.limits
    said = [
        f"{name}={value:g}" for name, value in limits._asdict().items() if name != "long_only" and value is not None
    ]
    said = [each for each in said if not each.startswith("turnover") or problem.held is not None]
    every = ", ".join((["long_only=True"] if limits.long_only else []) + said) or "no limits"
    n_assets = len(problem.expected)
    if "PrimalInfeasible" in status:
        return f"no weights of {n_assets} assets satisfy all of {every}."
    if "DualInfeasible" in status:
        return (
            f"the weights of {n_assets} assets have no bound under {every}: some portfolio gains and has no risk. "
            "Set gross or max_weight."
        )
    return f"the solver stopped without an answer for {n_assets} assets under {every} (Clarabel: {status})."
