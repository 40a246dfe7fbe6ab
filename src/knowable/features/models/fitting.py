"""One fit and its predictions, alone on one thread, with random numbers that start from the content."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.errors import KnowableError, ModelError, shown
from knowable.features.models.estimator import Estimator

__all__ = ["aligned", "alone", "fit", "predict"]

Panel = npt.NDArray[np.float64]

_REAL = "biuf"

_one = threading.RLock()  # the number of threads and numpy's global generator belong to the whole process
_libraries: list[Any] = []


@contextlib.contextmanager
def alone(*, look: bool) -> Iterator[int]:
    """Numerical libraries on one thread, so that bits do not hang on the number of cores; one fit at a time.

    Args:
        look: for libraries loaded since last time; a fit may load some.

    Yields: how many libraries are held to one thread.
    """
    from threadpoolctl import ThreadpoolController

    with _one:
        if look or not _libraries:
            _libraries[:] = [ThreadpoolController()]
        numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - what estimators draw from
        try:
            with _libraries[0].limit(limits=1), _one_job():
                yield len(_libraries[0].lib_controllers)
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def fit(estimator: Estimator, x: Panel, y: Panel, where: str) -> Any:
    """A fresh copy fitted to rows; to be called within `alone`.

    Args:
        x: (n_rows, n_features), aligned.
        y: (n_rows,).
        where: for messages, such as ``"on 2016-02-29 (row 230)"``.

    Raises: ModelError if it raises.
    """
    made = estimator.fresh()
    _seed(estimator)
    try:
        made.fit(x, y)
    except KnowableError:
        raise
    except Exception as error:
        raise ModelError(
            f"{estimator.text}.fit raised {_sentence(error)}\n"
            f"Fitted {where} to {x.shape[0]:,} rows and {x.shape[1]} features, none of them missing."
        ) from error
    return made


def predict(estimator: Estimator, fitted: Any, x: Panel, where: str) -> Panel:
    """Predictions (n_rows,) for rows x (n_rows, n_features); to be called within `alone`.

    Raises: ModelError if it raises, or gives something else.
    """
    _seed(estimator)
    call = f"{estimator.text}.{estimator.method}"
    try:
        given = getattr(fitted, estimator.method)(x)
        found = np.asarray(given)
        if found.dtype.kind == "O":
            found = found.astype(np.float64)
    except KnowableError:
        raise
    except Exception as error:
        hint = ""
        if type(error).__name__ == "NotFittedError":
            hint = "\nIts own fit was called and left it unfitted: fit(X, y) must fit `self`, not a copy."
        raise ModelError(f"{call} raised {_sentence(error)}\nCalled {where} with {len(x):,} rows.{hint}") from error
    if estimator.method == "predict_proba" and found.ndim == 2:
        _check_classes(estimator, fitted, where)
        found = found[:, -1]
    if found.shape not in ((len(x),), (len(x), 1)) or found.dtype.kind not in _REAL:
        raise ModelError(
            f"{call} must give a number for each of {len(x):,} rows, but gave {shown(given)} of shape {found.shape} "
            f"and dtype {found.dtype}, {where}."
        )
    return np.array(found.reshape(-1), dtype=np.float64)


def aligned(shape: tuple[int, int]) -> Panel:
    """An empty C-ordered array that begins at a multiple of 64 bytes: some libraries' last bits depend on it."""
    n_bytes = shape[0] * shape[1] * 8
    room = np.empty(n_bytes + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : first + n_bytes].view(np.float64).reshape(shape)


def _check_classes(estimator: Estimator, fitted: Any, where: str) -> None:
    """Raises: ModelError where a fit saw one class only: that class is then the last, whichever it was."""
    classes: Any = getattr(fitted, "classes_", ())
    if len(classes) == 1:
        raise ModelError(
            f"{estimator.text}.predict_proba gives the probability of the last class, but all labels that trained it "
            f"were {classes[0]}, {where}.\nLengthen `train`, raise `min_bars`, or take a label that varies."
        )


def _one_job() -> AbstractContextManager[Any]:
    """Calls of joblib made in order, whatever a user's configuration says."""
    joblib = sys.modules.get("joblib")
    return contextlib.nullcontext() if joblib is None else joblib.parallel_config(backend="sequential")


def _seed(estimator: Estimator) -> None:
    np.random.seed(estimator.seed)  # noqa: NPY002
    random.seed(estimator.seed)


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
