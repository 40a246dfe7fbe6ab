"""Moments of an asset's own past."""

from __future__ import annotations

from knowable.features.operators.base import Operator
from knowable.features.operators.moving import moving
from knowable.kernels import moments

__all__ = ["MOMENTS"]

MOMENTS = (
    moving("var", lambda x, _, state, out: moments.variance_kernel(x, state, out), moments.spread_state),
    moving("ts_zscore", lambda x, _, state, out: moments.score_kernel(x, state, out), moments.spread_state),
    moving("skew", lambda x, _, state, out: moments.skew_kernel(x, state, out), moments.skew_state),
    Operator(
        name="ewm_std",
        # (span - 1) / (span + 1) is 1 - alpha without its rounding, which near span 1 is all there is
        apply=lambda x, span, state, out: moments.ewm_deviation_kernel(x, (span - 1.0) / (span + 1.0), state, out),
        start=lambda n_assets, _: moments.ewm_deviation_state(n_assets),
        settings=("span",),
    ),
)
