"""Functions of an asset's own past: windows, exponential means, lags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from knowable.features.operators.base import Operator
from knowable.kernels import rolling

__all__ = ["MOVING", "moving"]


def moving(name: str, apply: Callable[..., Any], start: Callable[[int, int], Any], arity: int = 1) -> Operator:
    """An operator over the last `window` bars that is NaN until there are as many; `start(window, n_assets)`."""
    return Operator(
        name=name,
        apply=apply,
        start=lambda n_assets, window: start(window, n_assets),
        first=lambda window: window,
        settings=("window",),
        arity=arity,
    )


def _lagged(x: Any, n: int, state: Any, out: Any) -> None:
    if n == 0:  # only from a symbol; a lag of 0 that is known when built is the feature itself
        out[:] = x
    else:
        rolling.lag_kernel(x, state, out)


MOVING = (
    moving("sum", lambda x, _, state, out: rolling.sum_kernel(x, 1.0, state, out), rolling.sum_state),
    moving("mean", lambda x, window, state, out: rolling.sum_kernel(x, float(window), state, out), rolling.sum_state),
    moving("std", lambda x, _, state, out: rolling.deviation_kernel(x, state, out), rolling.deviation_state),
    moving("min", lambda x, _, state, out: rolling.extreme_kernel(x, 1.0, state, out), rolling.extreme_state),
    moving("max", lambda x, _, state, out: rolling.extreme_kernel(x, -1.0, state, out), rolling.extreme_state),
    Operator(
        name="ewm",
        apply=lambda x, span, state, out: rolling.ewm_kernel(x, 2.0 / (span + 1.0), state, out),
        start=lambda n_assets, _: rolling.ewm_state(n_assets),
        settings=("span",),
    ),
    Operator(
        name="lag",
        apply=_lagged,
        start=lambda n_assets, n: rolling.lag_state(n, n_assets),
        first=lambda n: n + 1,
        settings=("n",),
    ),
)
