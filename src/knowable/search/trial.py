"""A trial: one parameter set that search suggested, and what became of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from knowable.params import Scalar

__all__ = ["Reason", "Status", "Trial"]


class Status(enum.Enum):
    """What is known about a trial."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class Reason(enum.Enum):
    """Why no further trial is suggested; the value is a sentence for the user."""

    BUDGET_SPENT = "All trials of the budget are finished."
    SPACE_EXHAUSTED = "Every parameter set of the space has been suggested; there is nothing left to try."
    ALL_FAILED = "Every trial failed, so there is no best one; look at the cause of the first failure."
    CONSTANT = "Every trial gave the same value, so no parameter set is better than another."
    STOPPED = "The study was stopped before its budget was spent."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One suggested parameter set.

    Attributes:
        number: position among all suggestions of its optimizer, from 0.
        params: name -> value.
        source: what suggested it, such as ``"default"``, ``"sobol"`` or ``"gp: expected improvement"``.
        value: the objective as it was told; None while pending and when failed.
        status: pending, done or failed.
    """

    number: int
    params: Mapping[str, Scalar] = field(hash=False)
    source: str
    value: float | None = None
    status: Status = Status.PENDING
