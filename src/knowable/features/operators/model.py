"""Predictions of a model that is fitted as time goes by."""

from __future__ import annotations

from knowable.features.models.spec import FIRST_FEATURE
from knowable.features.models.walk import start_walk, walk_kernel
from knowable.features.operators.base import Operator

__all__ = ["MODELS"]

MODELS = (
    # its inputs are clocks, members and the label's feature, then the features; see models/spec.py
    Operator(
        name="model",
        apply=walk_kernel,
        start=start_walk,
        settings=("model",),
        arity=FIRST_FEATURE + 1,
        variadic=True,
        coded=True,
    ),
)
