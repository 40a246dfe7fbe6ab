"""Why a model predicts nothing: said where a user would else see missing values and no reason."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from knowable.data.market import Market
from knowable.features.feature import Feature
from knowable.features.gate import clock_panel
from knowable.features.models.history import usable
from knowable.features.models.schedule import Span
from knowable.features.models.spec import FIRST_FEATURE, ModelSpec
from knowable.features.node import Node, node, topological

__all__ = ["most_bars", "training_rows", "why_unfitted"]

Panel = npt.NDArray[np.float64]

_LONGEST = {"d": 1, "w": 7, "mo": 31, "y": 366}  # days
_SHORTEST = 14  # days that show which days of the week have bars


def most_bars(span: Span, market: Market) -> int | None:
    """Bars that a span may hold, wherever it lies; None where there is no bound, or too little to know one.

    A bound from days of the week and bars a day, so that a market which is cut refuses no more than the whole one does.
    """
    if span.unit == "b":
        return span.n or None
    days = clock_panel(node("day"), market)[:, 0]
    length = span.n * _LONGEST[span.unit]
    if days[-1] - days[0] < max(length, _SHORTEST):
        return None
    dates, n_bars = np.unique(days, return_counts=True)
    n_weekdays = len(np.unique(dates % 7))
    return int(n_bars.max()) * (length // 7 * n_weekdays + min(length % 7, n_weekdays))


def why_unfitted(feature: Feature) -> str | None:
    """A sentence on the first model below a feature that predicts nothing on its market; None if there is none."""
    for each in topological(feature.node):
        if each.op == "model" and not np.isfinite(Feature(each, feature.market).values()).any():
            return _why(each, feature)
    return None


def training_rows(model: Node, feature: Feature) -> tuple[ModelSpec, Panel, Panel, npt.NDArray[np.bool_]]:
    """All that could ever train a model of a feature's market: for the rows whose label is known by the last bar, the
    features (n_rows, n_assets, n_features), the labels (n_rows, n_assets), and which cells train.
    """
    spec, market = model.settings[0], feature.market
    if not isinstance(spec, ModelSpec):  # the type of a setting is wider than what a model has
        raise TypeError(spec)
    members, label, *x = (
        np.ones(market.shape) if each.op == "number" else Feature(each, market).values()
        for each in model.inputs[FIRST_FEATURE - 2 :]
    )
    n_rows = max(0, market.n_bars - spec.reach)
    known, past = label[spec.ahead : spec.ahead + n_rows], np.stack(x, axis=-1)[:n_rows]
    return spec, past, known, usable(past, known, (members[:n_rows] == 1).astype(np.uint8))


def _why(model: Node, feature: Feature) -> str:
    spec, _, _, trains = training_rows(model, feature)
    n_trains, market = int(trains.any(axis=1).sum()), feature.market
    found = (
        f"{spec.estimator.text} predicts nothing: {n_trains:,} of {market.n_bars:,} bars have all features and a label "
        f"known by the last one; a fit needs {spec.min_bars} (min_bars)"
    )
    if n_trains >= spec.min_bars:
        return f"{found} within train={spec.train}, at a bar of refit={spec.refit}, and predictions that are numbers."
    return f"{found}. A longer market or shorter windows help."
