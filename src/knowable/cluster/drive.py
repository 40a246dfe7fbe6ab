"""The one loop that runs trials: ask the studies, look into the journal, send the rest, record, tell.

The journal is the truth. An outcome is on the disk before its study hears of it, so whatever dies, a resumed drive asks
the same questions, finds the same answers, and goes on as if nothing had been.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from knowable.cluster.base import Died, Done, Executor
from knowable.cluster.dispatch import Dispatcher, Work
from knowable.cluster.inprocess import InProcess
from knowable.cluster.processes import warm_up
from knowable.cluster.report import DriveReport, Progress
from knowable.cluster.task import Evaluate
from knowable.errors import InputError, RunError, shown
from knowable.runs.journal import Journal
from knowable.runs.records import Conflict, Outcome, TrialRecord

__all__ = ["ClusterConfig", "StudyLike", "TrialLike", "drive"]

SYSTEMIC_FAILURES = 20
PROGRESS_SECONDS = 0.1
POLL_SECONDS = 0.25
MAX_EARLY_DEATHS = 20
RECHECK_FROM = 20
"""With this many trials still to run, one is run twice, to find a strategy that is not deterministic; at most 5 %."""

ClusterConfig: TypeAlias = str | Mapping[str, Any]


class TrialLike(Protocol):
    """A trial as a study asks for it."""

    @property
    def number(self) -> int:
        """Place in the study, from 0."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameter by name."""

    @property
    def source(self) -> str:
        """Who proposed it."""


class StudyLike(Protocol):
    """A pure machine that wants trials run; `knowable.search.Study` is one."""

    def start(self) -> Iterable[TrialLike]:
        """The first trials."""

    def finish(self, number: int, value: float | None, /) -> Iterable[TrialLike]:
        """Take the value of a trial, None if it failed, in any order; the trials wanted next."""


def drive(
    studies: Mapping[str, StudyLike],
    *,
    evaluate: Evaluate,
    key: Callable[[str, dict[str, Any]], str],
    value: Callable[[Outcome], float | None],
    journal: Journal,
    workers: int,
    progress: Callable[[Progress], None] | None = None,
    cluster: ClusterConfig | None = None,
    time_limit: float | None = None,
) -> DriveReport:
    """Run all trials that the studies ask for, until they ask for no more.

    Args:
        studies: by id; ids go into the journal.
        evaluate: ``(study_id, [params, ...]) -> [Outcome, ...]``, one a trial in the same order. How trials are
            grouped into calls changes with timing, so it must not change what comes out. Sent to each worker once.
        key: ``(study_id, params)`` to the name of the trial; equal keys mean equal results.
        value: the figure of an outcome that the study optimizes, None if it has none; failed outcomes give None
            without being asked.
        journal: where outcomes go before anything else; trials found there are not run. Its lease is taken.
        workers: worker processes, each with one thread; 0 runs in this process. Results are the same for any number.
        progress: called at most ten times a second, and at the end.
        cluster: scheduler address, or ``{"class": ..., "kwargs": {...}}``; this machine if None.
        time_limit: seconds one trial may take; it then counts as failed. In process it ends Python code only.
    Returns: what was done.
    Raises: RunError if the first 20 trials all fail, the cluster goes away or the journal refuses; ConflictError if
        another driver holds the run; KeyboardInterrupt saying how to go on, with everything recorded.
    """
    _check(studies, workers, time_limit)
    journal.acquire()
    driver = _Driver(studies, key, value, journal, progress)
    try:
        driver.begin()
        if driver.finished:  # all in the journal: no worker is started
            return driver.report(None, workers)
        executor = _executor(evaluate, workers, cluster, time_limit)
        try:
            driver.run(executor)
        finally:
            executor.close()
        return driver.report(executor, workers)
    except KeyboardInterrupt:
        driver.flush()
        raise KeyboardInterrupt(driver.how_to_resume()) from None


def _check(studies: Mapping[str, StudyLike], workers: int, time_limit: float | None) -> None:
    if not studies:
        raise InputError("`studies` must hold at least one study, but studies={}, in drive.")
    if isinstance(workers, bool) or not isinstance(workers, int) or not 0 <= workers <= 10_000:
        raise InputError(f"`workers` must be a whole number from 0 (in process) up, but workers={shown(workers)}.")
    if time_limit is not None and not (time_limit > 0 and math.isfinite(time_limit)):
        raise InputError(f"`time_limit > 0` seconds must hold, but time_limit={shown(time_limit)}.")


def _executor(evaluate: Evaluate, workers: int, cluster: ClusterConfig | None, time_limit: float | None) -> Executor:
    if workers == 0 and cluster is None:
        return InProcess(evaluate, time_limit=time_limit)
    if not isinstance(cluster, str):
        home = getattr(evaluate, "__module__", None) or ""
        warm_up((home,) if home.startswith("knowable.") else ())
    from knowable.cluster.executor import DaskExecutor  # imports dask, which a run in process does not need

    return DaskExecutor(evaluate, workers=workers, cluster=cluster, time_limit=time_limit)


@dataclass(slots=True)
class _Tally:
    """Counts of one drive."""

    done: int = 0
    from_journal: int = 0
    failed: int = 0
    batches: int = 0
    deaths: int = 0
    early_deaths: int = 0
    busy_seconds: float = 0.0
    idle_seconds: float = 0.0
    study_seconds: float = 0.0
    first_error: str | None = None
    conflicts: list[Conflict] = field(default_factory=list)


class _Driver:
    """The state of one drive: who waits for which key, what is still to be written."""

    def __init__(
        self,
        studies: Mapping[str, StudyLike],
        key: Callable[[str, dict[str, Any]], str],
        value: Callable[[Outcome], float | None],
        journal: Journal,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.studies, self.key, self.value = dict(studies), key, value
        self.journal, self.progress = journal, progress
        self.tally = _Tally()
        self.dispatcher = Dispatcher(1)
        self.waiting: dict[str, list[Work]] = {}  # by key: equal trials run once
        self.unwritten: list[TrialRecord] = []
        self.rechecked = False
        self.began = time.perf_counter()
        self.ran_from = self.began
        self.last_shown = -math.inf

    @property
    def finished(self) -> bool:
        return not self.waiting

    def begin(self) -> None:
        """Ask all studies for their first trials, and feed back what the journal knows."""
        planned = self._planned()
        if planned != self.journal.planned:
            self.journal.plan(planned)
        for name, study in self.studies.items():
            self._accept(name, self._timed(study.start))
        self.flush()
        self._show()

    def run(self, executor: Executor) -> None:
        """Until no study wants anything."""
        self.ran_from = time.perf_counter()
        while not self.finished:
            self.dispatcher.window = executor.window
            if batches := list(iter(self.dispatcher.take, None)):
                executor.submit(batches)
                self.tally.batches += len(batches)
            if self.dispatcher.idle:
                raise AssertionError("trials are awaited, but none waits or runs")
            self._receive(executor.wait(POLL_SECONDS))
            self._show()
        self.flush()
        self._show(last=True)

    # ------------------------------------------------------------ from the executor

    def _receive(self, events: Iterable[Done | Died]) -> None:
        """Group commit of all outcomes that came, then tell the studies."""
        fresh: list[tuple[Work, Outcome]] = []
        for event in events:
            fresh.extend(self._finished(event) if isinstance(event, Done) else self._lost(event))
        for work, outcome in fresh:
            if work.key in self.waiting:
                self.unwritten.extend(_record(same, outcome) for same in self.waiting[work.key])
            elif outcome.kind == "done":  # the trial that runs twice: the journal compares
                self.unwritten.append(_record(work, outcome))
        self.flush()
        for work, outcome in fresh:
            for same in self.waiting.pop(work.key, ()):
                self._tell(same, outcome)
            self._recheck(work, outcome)
        self._stop_if_systemic()

    def _recheck(self, work: Work, outcome: Outcome) -> None:
        """Have the first trial that succeeds run a second time, by whoever comes."""
        if not self.rechecked and outcome.kind == "done" and self._planned() - self.tally.done >= RECHECK_FROM:
            self.rechecked = True
            self.dispatcher.add([work])

    def _finished(self, event: Done) -> list[tuple[Work, Outcome]]:
        result = event.result
        batch = self.dispatcher.done(event.batch_id, result.seconds, cold=result.cold)
        if result.broken is not None:
            raise RunError(
                f"{result.broken[0].upper()}{result.broken[1:]}.\n"
                "Make the module importable on the workers, or define the strategy in the notebook or script itself."
            )
        self.tally.busy_seconds += result.seconds
        self.tally.idle_seconds += result.idle_seconds
        self.tally.early_deaths = 0
        return list(zip(batch.works, result.outcomes, strict=True))

    def _lost(self, event: Died) -> list[tuple[Work, Outcome]]:
        given_up = self.dispatcher.died(
            event.batch_id, started=event.started, position=event.position, final=event.final
        )
        if event.started is False:
            self.tally.early_deaths += 1
            if self.tally.early_deaths > MAX_EARLY_DEATHS:
                raise RunError(
                    f"Workers died {MAX_EARLY_DEATHS} times before they began a trial. The run stopped; what came back "
                    "is in the journal.\nSee whether memory or the environment of the workers is the cause."
                )
        else:
            self.tally.deaths += 1
        return [(work, Outcome.failed(event.cause, worker="driver")) for work in given_up]

    # ---------------------------------------------------------------- to the studies

    def _tell(self, work: Work, outcome: Outcome) -> None:
        self._count(outcome)
        self._accept(work.study, self._timed(self.studies[work.study].finish, work.number, self._value(outcome)))

    def _accept(self, name: str, trials: Iterable[TrialLike]) -> None:
        """Take trials a study wants; known ones are told at once, which may bring more."""
        queue = deque((name, trial) for trial in trials)
        while queue:
            study, trial = queue.popleft()
            work = self._work(study, trial)
            outcome = self.journal.find(work.key)
            recorded = self.journal.asked(study, work.number, work.key)
            if outcome is None:
                same = self.waiting.setdefault(work.key, [])
                same.append(work)
                if len(same) == 1:
                    self.dispatcher.add([work])
                continue
            if not recorded:
                self.unwritten.append(_record(work, outcome))
            self.tally.from_journal += 1
            self._count(outcome)
            more = self._timed(self.studies[study].finish, work.number, self._value(outcome))
            queue.extend((study, trial) for trial in more)

    def _work(self, study: str, trial: TrialLike) -> Work:
        params = dict(trial.params)
        return Work(
            study=study,
            number=trial.number,
            key=self.key(study, params),
            params=params,
            source=str(trial.source),
        )

    def _value(self, outcome: Outcome) -> float | None:
        return None if outcome.kind == "failed" else self.value(outcome)

    def _timed(self, call: Callable[..., Iterable[TrialLike]], *args: Any) -> list[TrialLike]:
        started = time.perf_counter()
        trials = list(call(*args))
        self.tally.study_seconds += time.perf_counter() - started
        return trials

    def _count(self, outcome: Outcome) -> None:
        self.tally.done += 1
        if outcome.kind == "failed":
            self.tally.failed += 1
            self.tally.first_error = self.tally.first_error or outcome.error

    def flush(self) -> None:
        """Write what waits to be written, in one commit."""
        records, self.unwritten = self.unwritten, []
        self.tally.conflicts.extend(self.journal.record_many(records))

    def _stop_if_systemic(self) -> None:
        tally = self.tally
        if tally.failed == tally.done >= SYSTEMIC_FAILURES:
            raise RunError(
                f"The first {tally.done} trials all failed, so the run stopped. The first error: {tally.first_error}.\n"
                "They are in the journal. Correct the cause and start a new run."
            )

    # -------------------------------------------------------------------- to the user

    def _planned(self) -> int:
        return sum(int(getattr(study, "n_trials", 0)) for study in self.studies.values())

    def _show(self, *, last: bool = False) -> None:
        now = time.perf_counter()
        if self.progress is None or (now - self.last_shown < PROGRESS_SECONDS and not last):
            return
        self.last_shown = now
        tally = self.tally
        planned = max(self._planned(), tally.done + len(self.waiting))
        ran = tally.done - tally.from_journal
        eta = (now - self.ran_from) / ran * (planned - tally.done) if ran else None
        best = {name: _best(study) for name, study in self.studies.items()}
        self.progress(
            Progress(
                done=tally.done,
                planned=planned,
                failed=tally.failed,
                eta_seconds=0.0 if planned == tally.done else eta,
                best=best,
            )
        )

    def how_to_resume(self) -> str:
        """A sentence for somebody who stopped the run."""
        place = "in memory, so they end with this process"
        if self.journal.path is not None:
            place = f"in the journal; go on with kn.resume({str(self.journal.path.parent)!r})"
        return f"Stopped: {self.tally.done} of {max(self._planned(), self.tally.done)} trials are {place}."

    def report(self, executor: Executor | None, workers: int) -> DriveReport:
        """What was done; warns of trials that are not deterministic."""
        tally = self.tally
        now = time.perf_counter()
        if executor is None:
            self._show(last=True)
        if tally.conflicts:
            counts = Counter(conflict.study for conflict in tally.conflicts)
            warnings.warn(f"{sum(counts.values())} conflicts. {tally.conflicts[0]}", stacklevel=3)
        threads = 1 if executor is None or workers == 0 else max(executor.threads, workers, 1)
        ran = now - self.ran_from
        idle = tally.idle_seconds
        if executor is not None and workers == 0:
            idle = max(ran - tally.busy_seconds - tally.study_seconds, 0.0)
        due = tally.busy_seconds + idle
        return DriveReport(
            n_trials=tally.done,
            n_from_journal=tally.from_journal,
            n_failed=tally.failed,
            seconds=now - self.began,
            startup_seconds=0.0 if executor is None else executor.startup_seconds,
            overhead_share=idle / due if due else 0.0,
            busy_share=tally.busy_seconds / (threads * ran) if ran > 0 else 0.0,
            workers=workers,
            n_batches=tally.batches,
            n_deaths=tally.deaths,
            conflicts=tuple(tally.conflicts),
            first_error=tally.first_error,
        )


def _record(work: Work, outcome: Outcome) -> TrialRecord:
    return TrialRecord(
        key=work.key,
        study=work.study,
        number=work.number,
        params=work.params,
        source=work.source,
        outcome=outcome,
    )


def _best(study: object) -> float | None:
    best = getattr(study, "best", None)
    number = getattr(best, "value", best)
    return float(number) if isinstance(number, (int, float)) and not isinstance(number, bool) else None
