"""Fits on worker processes, by Dask: they map the rows from one folder, and each call names the rows it needs."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from knowable.features.models.estimator import Estimator
from knowable.features.models.history import History, training
from knowable.features.models.jobs import Job, fit_and_predict

__all__ = ["in_worker", "made_there"]

Panel = npt.NDArray[np.float64]


def in_worker() -> bool:
    """Whether this process is itself a worker, which must not start others."""
    if multiprocessing.parent_process() is not None:
        return True
    if "distributed" not in sys.modules:
        return False
    from knowable.cluster.pool import in_worker as found

    return found()


def made_there(
    asked: Sequence[tuple[Job, list[int]]], estimator: Estimator, history: History, workers: int
) -> Iterator[tuple[Job, list[Panel]]]:
    """Make fits on worker processes; each with its predictions of the rows asked for, as they come.

    Raises: RunError if workers do not start or die again and again; InputError if the estimator cannot be sent.
    """
    from knowable.cluster.pool import worker_pool
    from knowable.cluster.shipping import pickled_by_value

    folder = Path(tempfile.mkdtemp(prefix="knowable-fits-"))
    try:
        held = _save(history, folder, pickled_by_value(estimator, far=False, what=estimator.text))
        with worker_pool(workers, preload=(__name__,)) as pool:
            waiting = {pool.submit(_make, held, job, rows): job for job, rows in asked}
            try:
                for done in concurrent.futures.as_completed(waiting):
                    yield waiting[done], done.result()
            finally:
                for each in waiting:
                    each.cancel()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What every call needs: where the rows are, which one is the first, and the estimator as bytes."""

    folder: str
    first: int
    ahead: int
    sent: bytes


def _save(history: History, folder: Path, sent: bytes) -> _Held:
    first, _, x, label, members = history.arrays()
    for name, array in (("x", x), ("label", label), ("members", members)):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return _Held(folder=str(folder), first=int(first[0]), ahead=history.ahead, sent=sent)


def _make(held: _Held, job: Job, rows: list[int]) -> list[Panel]:
    """Runs on a worker."""
    from knowable.cluster.shipping import opened

    x, label, members = (np.load(f"{held.folder}/{name}.npy", mmap_mode="r") for name in ("x", "label", "members"))
    first, stop = job.first - held.first, job.stop - held.first
    labels = label[first + held.ahead : stop + held.ahead]
    table, y = training(np.asarray(x[first:stop]), np.asarray(labels), np.asarray(members[first:stop]))
    bars = [np.asarray(x[row - held.first]) for row in rows]
    _, values = fit_and_predict(opened(held.sent), table, y, bars, job.when)
    return values
