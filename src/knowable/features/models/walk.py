"""The walk forward: which rows each fit is trained by, and which it predicts. A resumable scan, like every operator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.features.models.history import History, complete
from knowable.features.models.jobs import Job, predictions
from knowable.features.models.spec import ModelSpec
from knowable.features.operators.base import Growing

__all__ = ["Walk", "start_walk", "walk_kernel"]

Panel = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Fit:
    """A fit made at `row`, to the half-open range of rows that train it."""

    row: int
    first: int
    stop: int


class Walk(Growing):
    """State of a model's operator: the rows it may still need, and the fit in use.

    Of the fit only the rows are state; the fitted estimator is made again from them where it is needed and not at hand,
    so a stored state holds numbers alone.

    Args:
        spec: what `kn.model` was told.
        n_assets: columns.
    """

    _fields = ("fit", "begin", "days", "x", "label", "members")

    def __init__(self, spec: ModelSpec, n_assets: int) -> None:
        self.spec = spec
        self.history = History(n_assets, spec.n_features, spec.ahead)
        self.fitted: tuple[bytes, Any] = (b"", None)  # the last estimator that was made here, and its fit's key
        self._fit: _Fit | None = None

    def run(self, inputs: Sequence[Panel], out: Panel) -> None:
        """Predict the next rows into `out`; inputs as `walk_kernel` has them."""
        ends, days, members, label, *x = inputs
        begin = self.history.stop
        self.history.extend(np.broadcast_to(days[:, 0], len(out)), x, label, members)
        out[:] = np.nan
        jobs = self._jobs(begin, np.broadcast_to(ends[:, 0], len(out)))
        for job, found in zip(jobs, predictions(jobs, self), strict=True):
            for row, values in zip(range(job.begin, job.end), found, strict=True):
                out[row - begin, complete(self.history.rows(row, row + 1)[0])] = values
        self._let_go()

    def arrays(self) -> list[npt.NDArray[Any]]:
        """All it carries."""
        fit = (-1, -1, -1) if self._fit is None else (self._fit.row, self._fit.first, self._fit.stop)
        return [np.array(fit), *self.history.arrays()]

    def restore(self, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Take over what `arrays` gave."""
        row, first, stop = (int(k) for k in arrays[0])
        self._fit = None if row < 0 else _Fit(row, first, stop)
        self.fitted = (b"", None)
        self.history.restore(arrays[1:])

    def _jobs(self, begin: int, ends: Panel) -> list[Job]:
        """What there is to predict from row `begin` on, by the fit that does it."""
        rows = np.arange(begin, self.history.stop)
        fits = [] if self._fit is None else [(begin, self._fit)]
        for t in rows[self.spec.refit.due(rows, ends)].tolist():
            if self.spec.refit.once and self._fit is not None:
                break
            made = self._fit_at(t)
            if made is not None:
                self._fit = made
                fits.append((t, made))
        edges = [*(row for row, _ in fits), self.history.stop]
        return [self._job(fit, row, end) for (row, fit), end in zip(fits, edges[1:], strict=True) if end > row]

    def _fit_at(self, row: int) -> _Fit | None:
        """The fit made at a row; None where too few bars have something to train with."""
        first, stop = max(self._span_begin(row), self.history.first), row + 1 - self.spec.reach
        enough = self.history.n_training_bars(first, stop) >= self.spec.min_bars
        return _Fit(row, first, stop) if enough else None

    def _span_begin(self, row: int) -> int:
        train = self.spec.train
        if train.n == 0:
            return 0
        if train.unit == "b":
            return max(0, row + 1 - train.n)
        return self.history.first_after(train.before(self.history.day(row)))

    def _job(self, fit: _Fit, begin: int, end: int) -> Job:
        key = hashlib.blake2b(self.spec.estimator.digest.encode(), digest_size=20)
        key.update(self.history.known(fit.first, fit.stop))
        when = np.datetime64(self.history.day(fit.row), "D") if self.spec.dated else f"row {fit.row}"
        return Job(key=key.digest(), first=fit.first, stop=fit.stop, begin=begin, end=end, when=f"at {when}")

    def _let_go(self) -> None:
        """Keep what the fit in use was trained by, or what the first one may be trained by, and labels still to come.

        The windows of later fits begin no earlier.
        """
        if self.history.stop:
            begin = self._span_begin(self.history.stop - 1) if self._fit is None else self._fit.first
            self.history.drop_before(min(begin, self.history.stop - self.spec.reach))


def start_walk(n_assets: int, spec: ModelSpec) -> Walk:
    """State before the first row."""
    return Walk(spec, n_assets)


def walk_kernel(*given: Any) -> None:
    """Predictions of a model fitted as time goes by.

    Args: ends: (n, 1) what each row knows of ends of the period at which to fit; (1, 1) where it is fitted by count.
        days: (n, 1) days since 1970; (1, 1) where no span of the calendar is meant. members: (n, n_assets) 1.0 where an
        asset may train; (1, 1) for all. label: (n, n_assets) the feature whose future is learnt. Then the features,
        (n, n_assets) each or (1, 1); spec; state; out.
    NaN: before the first fit, and where a feature is missing or infinite.
    """
    *inputs, _, state, out = given
    state.run(inputs, out)
