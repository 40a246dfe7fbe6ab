"""What runs on a worker, or in this process: a batch of trials through the user's `evaluate`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, TypeAlias

from knowable.cluster.limits import TimeLimit, TrialTimeoutError
from knowable.cluster.marks import WHOLE, MarkWriter
from knowable.runs.records import Outcome

__all__ = ["BatchResult", "Evaluate", "Guards", "Segments", "run_batch"]

Evaluate: TypeAlias = Callable[[str, list[dict[str, object]]], Sequence[Outcome]]
Segments: TypeAlias = Sequence[tuple[str, list[dict[str, object]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What a batch gave.

    Args:
        outcomes: one a trial, in the order of the batch.
        seconds: time in the user's code.
        idle_seconds: time the worker could have worked on it but had not got it yet.
        cold: whether it was the first of its worker.
        broken: why the worker cannot run anything, or None.
    """

    outcomes: tuple[Outcome, ...] = ()
    seconds: float = 0.0
    idle_seconds: float = 0.0
    cold: bool = False
    broken: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What is kept around a trial: its time limit, the file of the watchdog that enforces it, the mark."""

    mark: MarkWriter
    time_limit: float | None = None
    watchdog: IO[str] | None = None


def run_batch(
    evaluate: Evaluate, segments: Segments, guards: Guards, *, careful: bool, worker: str
) -> tuple[Outcome, ...]:
    """Run all trials of a batch; a trial that raises or passes its limit gives a failed outcome, never an exception.

    `evaluate` gets the trials of a study at once. If that raises or takes longer than one trial may, they are run
    again one by one, each under its own limit, so how trials are batched never decides which of them fail.
    """
    outcomes: list[Outcome] = []
    for study, params in segments:
        first = len(outcomes)
        found = None
        if not careful or len(params) == 1:
            guards.mark.at(WHOLE if len(params) > 1 else first)
            found = _whole(evaluate, study, params, guards)
        if found is None:
            found = list(_one_by_one(evaluate, study, params, guards, first))
        outcomes.extend(outcome if outcome.worker else replace(outcome, worker=worker) for outcome in found)
    return tuple(outcomes)


def _whole(
    evaluate: Evaluate,
    study: str,
    params: list[dict[str, object]],
    guards: Guards,
) -> list[Outcome] | None:
    """Outcomes of one call for all, or None if the trials must be told apart."""
    started = time.perf_counter()
    try:
        with TimeLimit(guards.time_limit, guards.watchdog):
            outcomes = list(evaluate(study, params))
        problem = _shape_problem(outcomes, len(params))
    except TrialTimeoutError:
        problem = f"the trial passed its time limit of {guards.time_limit:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a strategy raises is its outcome
        problem = _sentence(error)
    seconds = time.perf_counter() - started
    if problem is None:
        return [_timed(outcome, seconds / len(params)) for outcome in outcomes]
    if len(params) > 1:
        return None
    return [Outcome.failed(problem, seconds=seconds)]


def _one_by_one(
    evaluate: Evaluate,
    study: str,
    params: list[dict[str, object]],
    guards: Guards,
    first: int,
) -> Iterator[Outcome]:
    for i, one in enumerate(params):
        guards.mark.at(first + i)
        found = _whole(evaluate, study, [one], guards)
        yield from found or ()


def _shape_problem(outcomes: list[Outcome], n_trials: int) -> str | None:
    if len(outcomes) != n_trials:
        return f"`evaluate` must return one Outcome a trial, but returned {len(outcomes)} for {n_trials} trials"
    for outcome in outcomes:
        if not isinstance(outcome, Outcome):
            return f"`evaluate` must return Outcomes, but returned a {type(outcome).__name__}"
    return None


def _timed(outcome: Outcome, seconds: float) -> Outcome:
    return outcome if outcome.seconds > 0 else replace(outcome, seconds=seconds)


def _sentence(error: Exception) -> str:
    text = str(error).strip()
    if isinstance(error, MemoryError):
        return f"out of memory: {text or 'an allocation was refused'}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
