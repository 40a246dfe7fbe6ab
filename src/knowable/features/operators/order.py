"""Functions of the order of an asset's last values: ranks, quantiles, where the extreme stands."""

from __future__ import annotations

from knowable.features.operators.base import Operator
from knowable.features.operators.moving import moving
from knowable.kernels import order

__all__ = ["ORDER"]

ORDER = (
    moving("argmin", lambda x, _, state, out: order.arg_kernel(x, 1.0, state, out), order.arg_state),
    moving("argmax", lambda x, _, state, out: order.arg_kernel(x, -1.0, state, out), order.arg_state),
    moving("ts_rank", order.rank_kernel, order.rank_state),
    moving(
        "median",
        lambda x, window, state, out: order.quantile_kernel(x, window, 0.5, state, out),
        order.quantile_state,
    ),
    Operator(
        name="ts_quantile",
        # a symbol of q may be bound to the whole numbers 0 and 1; one type is one compiled version
        apply=lambda x, window, q, state, out: order.quantile_kernel(x, window, float(q), state, out),
        start=lambda n_assets, window, _: order.quantile_state(window, n_assets),
        first=lambda window, _: window,
        settings=("window", "q"),
    ),
)
