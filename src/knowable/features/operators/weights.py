"""Weights of portfolios: solved for at each rebalance, or held to a band and a turnover.

All but the deviation read the clock of rebalances themselves: between them prices go on moving, and windows count bars.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from knowable.features.operators.base import Operator
from knowable.features.solved.walk import mean_variance_kernel, parity_kernel, solved_state
from knowable.kernels import drift
from knowable.kernels.capping import spread_cap_kernel

__all__ = ["WEIGHTS"]


def _locked(panel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A panel or a number's (1, 1), read-only both, so that the kernel compiles once."""
    made = np.ascontiguousarray(panel).view()
    made.flags.writeable = False
    return made


WEIGHTS = (
    Operator(
        name="spread_cap",
        apply=lambda weights, max_weight, out: spread_cap_kernel(
            weights, float("inf") if max_weight is None else float(max_weight), out
        ),
        settings=("max_weight",),
        across=True,
        drawn=False,
    ),
    # inputs: weights, returns
    Operator(
        name="earning_std",
        apply=lambda weights, returns, _, state, out: drift.earning_deviation_kernel(weights, returns, state, out),
        start=lambda n_assets, window: drift.earning_state(window, n_assets),
        first=lambda window: window,
        settings=("window",),
        arity=2,
        drawn=False,
    ),
    # inputs: weights, prices, who may be held, rebalances
    Operator(
        name="drift_band",
        apply=lambda weights, prices, members, ends, band, state, out: drift.band_kernel(
            weights, prices, _locked(members), ends, float(band), state, out
        ),
        start=lambda n_assets, _: drift.drift_state(n_assets),
        settings=("band",),
        arity=3,
        clock="ends",
        drawn=False,
    ),
    Operator(
        name="limit_turnover",
        apply=lambda weights, prices, members, ends, turnover, state, out: drift.turnover_kernel(
            weights,
            prices,
            _locked(members),
            ends,
            float("inf") if turnover is None else float(turnover),
            state,
            out,
        ),
        start=lambda n_assets, _: drift.drift_state(n_assets),
        settings=("turnover",),
        arity=3,
        clock="ends",
        drawn=False,
    ),
    # inputs: which may be held, returns, budget, rebalances
    Operator(
        name="risk_parity",
        apply=parity_kernel,
        start=lambda n_assets, window, *_: solved_state(window, n_assets),
        first=lambda window, *_: window,
        settings=("window", "covariance"),
        arity=3,
        clock="ends",
        across=True,
        drawn=False,
    ),
    # inputs: which may be held, returns, expected returns, groups, rebalances
    Operator(
        name="mean_variance",
        apply=mean_variance_kernel,
        start=lambda n_assets, window, *_: solved_state(window, n_assets),
        first=lambda window, *_: window,
        settings=(
            "window",
            "covariance",
            "risk_aversion",
            "long_only",
            "max_weight",
            "max_group",
            "turnover",
            "gross",
            "net",
            "infeasible",
        ),
        arity=4,
        clock="ends",
        across=True,
        drawn=False,
    ),
)
