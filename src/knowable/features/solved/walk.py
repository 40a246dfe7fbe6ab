"""The walk over rebalances: what each may hold, its covariance, its weights, held until the next. A resumable scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.errors import UnsolvedError
from knowable.features.solved.quadratic import Limits, Problem, best_weights
from knowable.kernels.covariance import ESTIMATORS, advance_kernel, covariance_kernel, gather_kernel, usable_kernel
from knowable.kernels.drift import drift_kernel
from knowable.kernels.risk_parity import risk_parity_kernel

__all__ = ["SolvedState", "mean_variance_kernel", "parity_kernel", "solved_state"]

Panel: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int64]


class SolvedState(NamedTuple):
    """What weights that are solved for carry; of one size, whatever the number of bars."""

    recent: Panel  # (window, n_assets) a ring of the last returns
    place: npt.NDArray[np.int64]  # (2,) slot of the next row, rows seen
    weights: Panel  # (n_assets,) of the last rebalance; NaN before the first
    held: Panel  # (n_assets,) the same as prices have moved them since


def solved_state(window: int, n_assets: int) -> SolvedState:
    """State before the first row."""
    return SolvedState(
        np.full((window, n_assets), np.nan), np.zeros(2, np.int64), np.full(n_assets, np.nan), np.zeros(n_assets)
    )


def parity_kernel(*given: Any) -> None:
    """Risk parity at each row that rebalances.

    Args: of, returns, budget, ends, then the settings of `risk_parity` of knowable.portfolio, state, out; of and budget
        may be (1, 1). Raises: UnsolvedError.
    """
    of, returns, budget, ends, window, covariance, state, out = given

    def solve(t: int) -> Panel | None:
        shares = _row(budget, t, out.shape[1])
        chosen = _chosen(state, _row(of, t, out.shape[1]), np.isfinite(shares) & (shares > 0.0))
        if chosen is None:
            return None
        weights = np.zeros(out.shape[1])
        if chosen.size:
            made = np.empty(chosen.size)
            if risk_parity_kernel(_covariance(state, chosen, covariance), shares[chosen], made) < 0:
                raise UnsolvedError(
                    f"no weights of {chosen.size} assets carry equal risk over {window} bars: some portfolio of "
                    "positive weights has no risk at all.\nAs with assets that are each other's opposite, or fewer "
                    "bars than assets. Take a longer window, or covariance='ledoit_wolf'.",
                    t,
                )
            weights[chosen] = made
        return weights

    _walk(returns, ends, state, out, solve)


def mean_variance_kernel(*given: Any) -> None:
    """The best weights within limits at each row that rebalances.

    Args: of, returns, expected, groups, ends, then the settings of `mean_variance` of knowable.portfolio, state, out;
        of, expected and groups may be (1, 1). Raises: UnsolvedError, where `infeasible` is "error".
    """
    of, returns, expected, groups, ends, _, covariance, risk_aversion, *limits, infeasible, state, out = given
    within = Limits(*limits)
    n_assets = out.shape[1]

    def solve(t: int) -> Panel | None:
        gain = _row(expected, t, n_assets)
        chosen = _chosen(state, _row(of, t, n_assets), np.isfinite(gain))
        if chosen is None:
            return None
        problem = Problem(
            covariance=_covariance(state, chosen, covariance) if chosen.size else np.empty((0, 0)),
            expected=gain[chosen],
            groups=_row(groups, t, n_assets)[chosen],
            held=state.held[chosen] if np.isfinite(state.weights).all() else None,
            risk_aversion=float(risk_aversion),
            limits=within,
        )
        made, why = best_weights(problem)
        if made is None:
            if infeasible == "keep":
                return None
            raise UnsolvedError(f"{why}\nLoosen a limit, or say infeasible='keep' to keep what is held.", t)
        weights = np.zeros(n_assets)
        weights[chosen] = made
        return weights

    _walk(returns, ends, state, out, solve)


def _walk(returns: Panel, ends: Panel, state: SolvedState, out: Panel, solve: Callable[[int], Panel | None]) -> None:
    """Solve at each row where `ends` is above 0; what it gives is held, and None keeps what there is."""
    n_bars, begin = len(out), 0
    for t in np.flatnonzero(ends[:, 0] > 0.0).tolist():
        out[begin:t] = state.weights
        _advance(returns, begin, t + 1, state, out)
        made = solve(t)
        if made is not None:
            state.weights[:] = state.held[:] = made
        out[t] = state.weights
        begin = t + 1
    out[begin:] = state.weights
    _advance(returns, begin, n_bars, state, out)


def _advance(returns: Panel, begin: int, end: int, state: SolvedState, out: Panel) -> None:
    whole = returns if returns.shape == out.shape else np.ascontiguousarray(np.broadcast_to(returns, out.shape))
    drift_kernel(whole, begin, end, state.held)
    advance_kernel(whole, begin, end, state.recent, state.place)


def _row(panel: Panel, t: int, n_assets: int) -> Panel:
    """(n_assets,) a row of a panel, or of the number it stands for."""
    row: Panel = panel[t] if panel.shape[1] == n_assets and len(panel) > 1 else np.broadcast_to(panel[-1], n_assets)
    return row


def _chosen(state: SolvedState, of: Panel, wanted: npt.NDArray[np.bool_]) -> Places | None:
    """The assets to be weighed, as places; None as long as none has a full window of returns."""
    usable = np.empty(len(of), np.bool_)
    if not usable_kernel(state.recent, state.place, usable):
        return None
    return np.flatnonzero(usable & wanted & np.isfinite(of) & (of != 0.0))


def _covariance(state: SolvedState, chosen: Places, how: str) -> Panel:
    window = np.empty((len(state.recent), chosen.size))
    gather_kernel(state.recent, state.place, chosen, window)
    made = np.empty((chosen.size, chosen.size))
    covariance_kernel(window, ESTIMATORS.index(how), made)
    return made
