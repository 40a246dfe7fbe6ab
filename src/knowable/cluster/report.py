"""What a drive tells while it runs, and when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from knowable.runs.records import Conflict

__all__ = ["DriveReport", "Progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a drive stands.

    Args:
        done: trials with an outcome, failed ones and those from the journal included.
        planned: trials intended, as far as the studies say.
        failed: trials without a result.
        eta_seconds: estimate of the time left; None until something was measured.
        best: best value so far by study, None where there is none yet.
    """

    done: int
    planned: int
    failed: int
    eta_seconds: float | None
    best: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveReport:
    """What a drive did.

    Args:
        n_trials: trials with an outcome; n_from_journal of them were known before; n_failed of them failed.
        seconds: all of it; startup_seconds of these until the workers were ready.
        overhead_share: of the time workers could have worked on batches they were due, the share lost to sending,
            journal and the like (0.02 is 2 %).
        busy_share: of threads times seconds, the share spent inside trials; waiting for the next group of a study
            and for stragglers counts against it.
        workers: worker processes, 0 in process.
        n_batches: tasks sent.
        n_deaths: workers lost.
        conflicts: trials that gave two results.
        first_error: the first failure's sentence, or None.
    """

    n_trials: int
    n_from_journal: int
    n_failed: int
    seconds: float
    startup_seconds: float
    overhead_share: float
    busy_share: float
    workers: int
    n_batches: int
    n_deaths: int
    conflicts: tuple[Conflict, ...] = ()
    first_error: str | None = None
