"""Models that predict the same whatever trains them: they may have been trained before, on what nobody can tell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from knowable.data.market import Market
from knowable.errors import KnowableError
from knowable.features.feature import Feature
from knowable.features.models.estimator import Estimator
from knowable.features.models.fitting import alone, fit, predict
from knowable.features.models.unfitted import training_rows
from knowable.features.node import Node, topological

__all__ = ["untrained"]

Panel = npt.NDArray[np.float64]

_MOST_ROWS = 400
_LEAST_ROWS = 20


def untrained(root: Node, market: Market) -> list[str]:
    """Texts of the estimators below `root` whose predictions do not change with the rows that train them.

    Each is fitted to up to 400 rows, and to half of them with their labels in the opposite order. Those that predict
    one number for all rows, or cannot be fitted so, are passed over.
    """
    found = []
    for each in topological(root):
        if each.op == "model":
            spec, x, label, trains = training_rows(each, Feature(each, market))
            rows, y = x[trains], label[trains]
            if len(y) >= _LEAST_ROWS and _same(spec.estimator, rows[:_MOST_ROWS], y[:_MOST_ROWS]):
                found.append(spec.estimator.text)
    return found


def _same(estimator: Estimator, x: Panel, y: Panel) -> bool:
    half, told = len(y) // 2, []
    try:
        with alone(look=True):
            for rows, labels in ((x, y), (x[:half], y[:half][::-1])):
                fitted = fit(estimator, rows.copy(), labels.copy(), "to look at it")
                told.append(predict(estimator, fitted, x[-_LEAST_ROWS:].copy(), "to look at it"))
    except KnowableError:
        return False
    return told[0].tobytes() == told[1].tobytes() and bool((told[0] != told[0][0]).any())
