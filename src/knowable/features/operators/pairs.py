"""Functions of two inputs' common past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from knowable.features.operators.base import Operator
from knowable.features.operators.moving import moving
from knowable.kernels import pairs

__all__ = ["PAIRS"]


def _pair(name: str, kernel: Callable[..., Any]) -> Operator:
    def run(first: Any, second: Any, _: int, state: Any, out: Any) -> None:
        kernel(_whole(first, out), _whole(second, out), state, out)

    return moving(name, run, pairs.pair_state, arity=2)


def _whole(panel: Any, out: Any) -> Any:
    """A plain number as the panel that it stands for; the functions refuse one, a definition in a store may hold it."""
    if panel.shape == out.shape:
        return panel
    whole = np.full(out.shape, panel[0, 0])
    whole.flags.writeable = False
    return whole


PAIRS = (
    _pair("cov", pairs.covariance_kernel),
    _pair("corr", pairs.correlation_kernel),
    _pair("beta", pairs.beta_kernel),
    _pair("resid", pairs.residual_kernel),
    _pair("r2", pairs.determination_kernel),
)
