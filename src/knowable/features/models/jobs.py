"""Fits to be made and what they are to predict: from what is kept, here, or on worker processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from knowable.errors import ModelError
from knowable.features.models.cache import KEPT, read_predictions, write_predictions
from knowable.features.models.estimator import Estimator
from knowable.features.models.fitting import aligned, alone, fit, predict
from knowable.features.models.history import History, complete

if TYPE_CHECKING:
    from knowable.features.models.walk import Walk

__all__ = ["Job", "Means", "fit_and_predict", "predictions", "use"]

Panel = npt.NDArray[np.float64]

_WORTH_S = 3.0  # of fitting left; starting worker processes takes about one
_PROOF_BARS = 5
_EMPTY = np.empty(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One fit, and the rows it is to predict.

    Attributes:
        key: hash of the estimator's content and all that trains it.
        first, stop: rows that train it.
        begin, end: rows to predict.
        when: for messages, such as ``"at 2016-02-29"``.
    """

    key: bytes
    first: int
    stop: int
    begin: int
    end: int
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """How fits are made; it decides nothing about what they give.

    Attributes:
        workers: processes to share them; 0 for this one alone.
        folder: where predictions are kept between sessions; None for nowhere.
    """

    workers: int = 0
    folder: Path | None = None


_means: dict[str, Means] = {}
_proved: set[str] = set()  # estimators whose fits were seen to repeat themselves, by digest
_lock = threading.Lock()


def use(digest: str, means: Means) -> None:
    """Make the fits of a model, named by its spec's digest, in this way from now on."""
    with _lock:
        if means == Means():
            _means.pop(digest, None)
        else:
            _means[digest] = means


def predictions(jobs: Sequence[Job], walk: Walk) -> Iterator[list[Panel]]:
    """For each job the predictions of each of its bars: one number for each asset that has all features."""
    means = _means.get(walk.spec.digest, Means())
    wanted = [_Wanted(job, walk.history) for job in jobs]
    for each in wanted:
        each.look_up(means.folder)
    todo = [each for each in wanted if each.missing]
    if todo:
        _make(todo, walk, means)
    for each in todo:
        each.keep(means.folder)
    return (each.found() for each in wanted)


class _Wanted:
    """A job, with what is known of its predictions so far."""

    def __init__(self, job: Job, history: History) -> None:
        self.job = job
        x = history.rows(job.begin, job.end)
        self.sizes = complete(x).sum(axis=1).tolist()
        self.bars = [history.seen(row) for row in range(job.begin, job.end)]
        self._values: list[Panel | None] = []
        self._new = False

    def look_up(self, folder: Path | None) -> None:
        """Take what memory has, or else the disk."""
        kept = KEPT.find(self.job.key, self.bars)
        self._values = [_EMPTY if not size else value for size, value in zip(self.sizes, kept, strict=True)]
        if folder is not None and self.missing and len(self.bars) > 1:
            read = read_predictions(folder, self.job.key, self.bars, self.sizes)
            if read is not None:
                self._values = list(read)
                KEPT.keep(self.job.key, dict(zip(self.bars, read, strict=True)))

    @property
    def missing(self) -> list[int]:
        """The rows without predictions."""
        return [self.job.begin + k for k, value in enumerate(self._values) if value is None]

    def take(self, rows: Sequence[int], values: Sequence[Panel]) -> None:
        """Take over predictions that were made."""
        for row, value in zip(rows, values, strict=True):
            self._values[row - self.job.begin] = value
        KEPT.keep(self.job.key, {self.bars[row - self.job.begin]: v for row, v in zip(rows, values, strict=True)})
        self._new = True

    def keep(self, folder: Path | None) -> None:
        """Write what was made to the disk; of bars that come one at a time nothing, for each would be a file."""
        if folder is not None and self._new and len(self.bars) > 1:
            write_predictions(folder, self.job.key, self.bars, self.found())

    def found(self) -> list[Panel]:
        """The predictions of each bar."""
        return [value for value in self._values if value is not None]


def _make(todo: list[_Wanted], walk: Walk, means: Means) -> None:
    """Make fits: here, or, where that takes long and there are workers, there."""
    from tqdm.auto import tqdm

    from knowable.features.models.crew import in_worker, made_there

    with tqdm(
        total=len(todo), unit="fit", desc=walk.spec.estimator.text[:30], delay=2, leave=False, disable=None
    ) as bar:
        for k, each in enumerate(todo):
            began = time.perf_counter()
            each.take(each.missing, _made_here(each, walk))
            seconds = (time.perf_counter() - began) * (len(todo) - k - 1)
            bar.update()
            if means.workers and seconds > _WORTH_S and not in_worker():
                rest = {rest.job: rest for rest in todo[k + 1 :]}
                asked = [(job, each.missing) for job, each in rest.items()]
                for job, values in made_there(asked, walk.spec.estimator, walk.history, means.workers):
                    rest[job].take(rest[job].missing, values)
                    bar.update()
                return


def _made_here(wanted: _Wanted, walk: Walk) -> list[Panel]:
    job, estimator = wanted.job, walk.spec.estimator
    bars = [walk.history.rows(row, row + 1)[0] for row in wanted.missing]
    fitted = walk.fitted[1] if walk.fitted[0] == job.key else None
    if fitted is None:
        x, y = walk.history.training(job.first, job.stop)
        fitted, values = fit_and_predict(estimator, x, y, bars, job.when)
        walk.fitted = (job.key, fitted)
        if estimator.digest not in _proved:
            _, again = fit_and_predict(estimator, x, y, bars[:_PROOF_BARS][::-1], job.when)
            _check_same(estimator, values, again[::-1])
            _proved.add(estimator.digest)
        return values
    with alone(look=False):
        return [_bar(estimator, fitted, bar, job.when) for bar in bars]


def fit_and_predict(
    estimator: Estimator, x: Panel, y: Panel, bars: Sequence[Panel], when: str
) -> tuple[Any, list[Panel]]:
    """Fit to x (n, n_features) and y (n,), and predict each bar (n_assets, n_features) by itself.

    Bar by bar, because the last bits of a matrix product depend on how many rows it has, and live there is one bar.
    """
    with alone(look=True) as n_before:
        fitted = fit(estimator, x, y, when)
    with alone(look=True) as n_after:
        if n_after > n_before:  # the fit itself loaded libraries, and ran them on as many threads as they like
            fitted = fit(estimator, x, y, when)
        return fitted, [_bar(estimator, fitted, bar, when) for bar in bars]


def _bar(estimator: Estimator, fitted: Any, x: Panel, when: str) -> Panel:
    rows = x[complete(x)]
    held = aligned(rows.shape)
    held[:] = rows
    return predict(estimator, fitted, held, f"with the fit made {when}")


def _check_same(estimator: Estimator, values: Sequence[Panel], again: Sequence[Panel]) -> None:
    """Raises: ModelError if a second fit to the same rows predicts otherwise, the bars in another order."""
    for one, other in zip(values, again, strict=False):
        if one.tobytes() != other.tobytes():
            asset = int(np.argmax(one.view(np.int64) != other.view(np.int64)))
            raise ModelError(
                f"Two fits of {estimator.text} to the same rows differ: they predict {float(one[asset])!r} and "
                f"{float(other[asset])!r} for the same features.\n"
                "A result could not be repeated, live least of all. Draw random numbers from a fixed seed inside fit "
                "(random_state=0, torch.manual_seed(0)); numpy's and Python's global generators are seeded already.\n"
                "The bars came in the opposite order the second time: predict must leave the estimator as it is."
            )
