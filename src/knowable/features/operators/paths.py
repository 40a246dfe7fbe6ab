"""Functions of an asset's path: weights that fade, products, counts, and how long ago something was."""

from __future__ import annotations

from knowable.features.operators.base import Operator
from knowable.features.operators.moving import moving
from knowable.kernels import paths

__all__ = ["PATHS"]

_ANY_AGE = 2**62

PATHS = (
    moving("decay_linear", lambda x, _, state, out: paths.decay_kernel(x, state, out), paths.decay_state),
    moving("product", lambda x, _, state, out: paths.product_kernel(x, state, out), paths.product_state),
    Operator(
        name="count",
        apply=lambda x, _, state, out: paths.count_kernel(x, state, out),
        start=lambda n_assets, window: paths.count_state(window, n_assets),
        enough=lambda n_bars, window: (min(window, n_bars),),
        settings=("window",),
    ),
    Operator(name="bars_since", apply=paths.since_kernel, start=paths.since_state),
    Operator(
        name="ffill",
        apply=lambda x, limit, state, out: paths.fill_kernel(x, _ANY_AGE if limit is None else limit, state, out),
        start=lambda n_assets, _: paths.fill_state(n_assets),
        settings=("limit",),
    ),
)
