"""All that decides a model's predictions, as the one setting of its node."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from knowable.features.models.estimator import Estimator
from knowable.features.models.schedule import Refit, Span

__all__ = ["FIRST_FEATURE", "ModelSpec"]

FIRST_FEATURE = 4  # inputs of a model's node: ends of periods, days, members, the label's feature; then the features


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSpec:
    """What `kn.model` was told; equal to another of equal content.

    Attributes:
        estimator: what is fitted.
        n_features: columns of the training matrix.
        ahead: bars from a row to the one at which its label is known.
        train: how far back training rows reach.
        refit: at which rows it is fitted.
        purge, embargo: bars left out between the row at which the newest training label was known and the fit.
        min_bars: bars that must have training rows.
    """

    estimator: Estimator
    n_features: int
    ahead: int
    train: Span
    refit: Refit
    purge: int
    embargo: int
    min_bars: int

    @property
    def reach(self) -> int:
        """Bars from the newest row that trains a fit to the row of the fit."""
        return self.ahead + self.purge + self.embargo

    @property
    def dated(self) -> bool:
        """Whether it counts in days: then it is told the days of its rows."""
        return self.train.unit != "b" or self.refit.rule is not None

    @cached_property
    def digest(self) -> str:
        """Hash of the content, the same in every process."""
        text = f"{self.estimator.digest}\n{self.n_features}\n{self.ahead}\n{self._rest()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def written(self, inputs: Sequence[str]) -> str:
        """The model as text, from the texts of its node's inputs."""
        features = ", ".join(inputs[FIRST_FEATURE:])
        label = f"label({inputs[FIRST_FEATURE - 1]}, ahead={self.ahead})"
        return f"model({self.estimator.text}, [{features}], {label}, {self._rest()})"

    def _rest(self) -> str:
        method = "" if self.estimator.method == "predict" else f", method={self.estimator.method!r}"
        return (
            f"train={self.train}, refit={self.refit}, purge={self.purge}, embargo={self.embargo}, "
            f"min_bars={self.min_bars}{method}"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelSpec) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<{self.digest}>"
