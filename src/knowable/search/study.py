"""A study: a budget of trials as a pure machine, ``(state, event) -> (state, instructions)``.

No clock, no thread, no file. It is handed finished trials in any order and answers which to start next. Results reach
the optimizer strictly in the order of trial numbers and a whole group at a time, so the trials of a study follow from
its seed and the objective alone: not from the number of workers, nor from who finished first.
"""

from __future__ import annotations

from typing import Any

from knowable.errors import InputError, shown
from knowable.search.checks import checked_value, checked_whole
from knowable.search.optimizer import Optimizer
from knowable.search.trial import Reason, Status, Trial

__all__ = ["Study"]


class Study:
    """Runs an optimizer to a budget, a group of trials at a time.

    Group g is asked once all groups up to ``g - 1 - lag`` are told; those between are pending and known to the sampler
    as such. With ``lag=0`` workers wait at the end of a group; a larger lag keeps them busy, at slightly staler advice.

    Args:
        optimizer: fresh, with nothing asked yet.
        n_trials: budget, >= 1.
        group: trials asked at a time, >= 1. Part of what determines the trials; so is `lag`.
        lag: groups that may run ahead, >= 0.

    Raises: InputError on a wrong argument, or an optimizer already used.
    """

    def __init__(self, optimizer: Optimizer, n_trials: int, group: int = 8, lag: int = 0) -> None:
        if not isinstance(optimizer, Optimizer):
            raise InputError(f"`optimizer` must be an Optimizer, but optimizer={shown(optimizer)}.")
        if optimizer.trials:
            raise InputError(
                f"A study needs a fresh optimizer, but this one has made {len(optimizer.trials)} suggestions.\n"
                "Build a new one with the same space and seed, and replay the finished trials through the study."
            )
        self.optimizer = optimizer
        self.n_trials = checked_whole("n_trials", n_trials, 1, "Study")
        self.group = checked_whole("group", group, 1, "Study")
        self.lag = checked_whole("lag", lag, 0, "Study")
        self._groups: list[list[Trial]] = []
        self._n_asked = 0
        self._n_told = 0  # groups whose results the optimizer has
        self._arrived: dict[int, float | None] = {}
        self._ended: Reason | None = None  # no further group will be asked

    @property
    def done(self) -> bool:
        """True when nothing is to be started or awaited any more."""
        return self._ended is not None and not self.running

    @property
    def running(self) -> list[Trial]:
        """Started trials whose result has not arrived, in the order of their numbers."""
        waiting = self._groups[self._n_told :]
        return [trial for group in waiting for trial in group if trial.number not in self._arrived]

    @property
    def best(self) -> Trial | None:
        """Best trial among those told so far; None before there is one."""
        return self.optimizer.best

    @property
    def trials(self) -> list[Trial]:
        """Every suggestion so far; results that wait for their group to be complete are not in it yet."""
        return self.optimizer.trials

    @property
    def reason(self) -> Reason | None:
        """Why the study ended, an enum whose value is a sentence; None while it goes on."""
        if not self.done or self._ended is not Reason.BUDGET_SPENT:
            return self._ended if self.done else None
        values = {trial.value for trial in self.trials if trial.status is Status.DONE}
        if not values:
            return Reason.ALL_FAILED
        return Reason.CONSTANT if len(values) == 1 and self.n_trials > 1 else Reason.BUDGET_SPENT

    def start(self) -> list[Trial]:
        """The trials to start with.

        Raises: InputError when called a second time.
        """
        if self._groups or self._ended:
            raise InputError("`start()` was called before. It is called once; `running` lists what is to be finished.")
        return self._ask_ready()

    def finish(self, number: int, value: float | None) -> list[Trial]:
        """Take the result of a trial in; arrival order does not matter.

        Args:
            number: of a running trial.
            value: as in `Optimizer.tell`.

        Returns: trials to start now; often none, at the end of a group a whole one.
        Raises: InputError when the trial is not running, or the value is no number.
        """
        if number not in {trial.number for trial in self.running}:
            known = "was finished before" if self._was_started(number) else "was never started"
            raise InputError(
                f"Trial {shown(number)} {known} in this study; running: "
                f"{shown([trial.number for trial in self.running])}. Finish each started trial once."
            )
        self._arrived[number] = checked_value(value, number)
        started: list[Trial] = []
        while self._n_told < len(self._groups) and self._is_complete(self._n_told):
            for trial in self._groups[self._n_told]:
                self.optimizer.tell(trial, self._arrived.pop(trial.number))
            self._n_told += 1
            started += self._ask_ready()  # before the next group is told: a late one must not make advice fresher
        return started

    def stop(self) -> None:
        """Ask for no further group; what runs may still be finished."""
        if self._ended is None:
            self._ended = Reason.STOPPED

    def rows(self) -> list[dict[str, Any]]:
        """The history as plain values; see `Optimizer.rows`."""
        return self.optimizer.rows()

    def __repr__(self) -> str:
        state = self.reason.name.lower() if self.reason else f"{len(self.running)} running"
        return f"Study({self._n_asked} of {self.n_trials} trials asked, {state}, {self.optimizer!r})"

    def _ask_ready(self) -> list[Trial]:
        started: list[Trial] = []
        while self._ended is None and len(self._groups) <= self._n_told + self.lag:
            wanted = min(self.group, self.n_trials - self._n_asked)
            asked = self.optimizer.ask(wanted)
            if asked:
                self._groups.append(asked)
                self._n_asked += len(asked)
                started += asked
            if len(asked) < wanted:
                self._ended = Reason.SPACE_EXHAUSTED
            elif self._n_asked == self.n_trials:
                self._ended = Reason.BUDGET_SPENT
        return started

    def _is_complete(self, group: int) -> bool:
        return all(trial.number in self._arrived for trial in self._groups[group])

    def _was_started(self, number: object) -> bool:
        return isinstance(number, int) and 0 <= number < self._n_asked
