"""Ask for parameter sets, tell what they scored."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from knowable.errors import InputError, shown, unknown_name
from knowable.search.base import Proposal, Sampler
from knowable.search.checks import checked_value, checked_whole
from knowable.search.gp import GaussianProcess
from knowable.search.grid import Grid
from knowable.search.history import History
from knowable.search.parzen import Parzen
from knowable.search.random import Random
from knowable.search.space import Params, Space
from knowable.search.trial import Reason, Status, Trial
from knowable.search.unseen import nearest_unseen

__all__ = ["SAMPLERS", "Optimizer"]

SAMPLERS: dict[str, type[Sampler]] = {"gp": GaussianProcess, "grid": Grid, "parzen": Parzen, "random": Random}


class Optimizer:
    """Suggests trials and learns from their results.

    The user's defaults come first. Suggestion i follows from (seed, i, the results told before it) alone: two
    optimizers that get the same calls give the same trials to the bit. No parameter set is suggested twice.

    Args:
        space: what may be chosen.
        seed: whole number >= 0.
        direction: ``"minimize"`` or ``"maximize"``.
        sampler: ``"auto"``, ``"gp"``, ``"parzen"``, ``"random"``, ``"grid"``, or a `Sampler` of your own.

    Raises: InputError on a wrong argument, UnknownNameError on an unknown sampler.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int = 0,
        direction: Literal["minimize", "maximize"] = "minimize",
        sampler: str | Sampler = "auto",
    ) -> None:
        if not isinstance(space, Space):
            raise InputError(f"`space` must be a Space, but space={shown(space)}. Wrap it: Space({{...}}).")
        if direction not in {"minimize", "maximize"}:
            raise InputError(f"`direction` must be 'minimize' or 'maximize', but direction={shown(direction)}.")
        self.space = space
        self.seed = checked_whole("seed", seed, 0, "Optimizer")
        self.direction = direction
        self.sampler = _sampler(sampler)
        self._sign = 1.0 if direction == "minimize" else -1.0
        self._history = History(space, self.seed)
        self._trials: list[Trial] = []
        self._best: int | None = None
        self._reason: Reason | None = None

    @property
    def trials(self) -> list[Trial]:
        """Every suggestion so far with its result, in the order asked."""
        return [self._copy(number) for number in range(len(self._trials))]

    @property
    def best(self) -> Trial | None:
        """The done trial with the best value, the earliest told among equals; None before there is one."""
        return None if self._best is None else self._copy(self._best)

    @property
    def n_pending(self) -> int:
        """How many suggestions wait for a result."""
        return self._history.n_asked - self._history.n_told

    @property
    def reason(self) -> Reason | None:
        """Why the last `ask` gave fewer trials than wanted; None when it did not."""
        return self._reason

    def ask(self, n: int = 1) -> list[Trial]:
        """Suggest `n` trials; pending ones are taken into account, so there may be any number of them.

        Returns: `n` trials, or fewer when the space has no unseen parameter set left; `reason` then says so.
        Raises: InputError unless `n` is a whole number >= 0.
        """
        n = checked_whole("n", n, 0, "ask(n)")
        self._reason = None
        asked: list[Trial] = []
        while len(asked) < n:
            trial = self._suggest()
            if trial is None:
                self._reason = Reason.SPACE_EXHAUSTED
                break
            asked.append(trial)
        return asked

    def tell(self, trial: Trial, value: float | None) -> None:
        """Report what a trial scored.

        Args:
            trial: as `ask` gave it; any order.
            value: the objective; None, NaN or an infinite value: the trial failed.

        Raises: InputError when the trial is not of this optimizer, was told before, or the value is no number.
        """
        number = self._number_of(trial)
        score = checked_value(value, number)
        failed = score is None
        self._history.tell(number, math.nan if score is None else self._sign * score)
        status = Status.FAILED if failed else Status.DONE
        self._trials[number] = replace(self._trials[number], value=score, status=status)
        if not failed and (self._best is None or self._history.value(number) < self._history.value(self._best)):
            self._best = number

    def rows(self) -> list[dict[str, Any]]:
        """The history as plain values, a row a trial in the order asked: number, source, status, value, params."""
        return [
            {
                "number": trial.number,
                "source": trial.source,
                "status": trial.status.value,
                "value": trial.value,
                "params": dict(trial.params),
            }
            for trial in self._trials
        ]

    def __repr__(self) -> str:
        best = "none" if self.best is None else f"{self.best.value:g}"
        return (
            f"Optimizer({self.direction}, {self._history.n_told} of {len(self._trials)} trials told, "
            f"{self.n_pending} pending, best {best})"
        )

    def _suggest(self) -> Trial | None:
        history, number = self._history, self._history.n_asked
        if history.exhausted:
            return None
        rng = np.random.default_rng((self.seed, number, 1))
        if number == 0:
            proposal = Proposal(unit=self.space.to_unit(self.space.default()), source="default")
        else:
            proposal = self._checked(self.sampler.propose(history, number, rng))
        unit = nearest_unseen(history, proposal.unit, rng)
        if unit is None:
            return None
        params: Params = self.space.default() if number == 0 else self.space.from_unit(unit)
        history.ask(unit, proposal.source)
        self._trials.append(Trial(number=number, params=params, source=proposal.source))
        return self._copy(number)

    def _copy(self, number: int) -> Trial:
        trial = self._trials[number]
        return replace(trial, params=dict(trial.params))

    def _checked(self, proposal: object) -> Proposal:
        if isinstance(proposal, Proposal):
            unit = proposal.unit
            if isinstance(unit, np.ndarray) and unit.shape == (self.space.n_dims,) and np.isfinite(unit).all():
                return proposal
        raise InputError(
            f"A sampler must propose a finite point of shape ({self.space.n_dims},), but {type(self.sampler).__name__} "
            f"proposed {shown(proposal)}."
        )

    def _number_of(self, trial: Trial) -> int:
        if not isinstance(trial, Trial):
            raise InputError(f"`trial` must be a Trial from ask(), but trial={shown(trial)}.")
        number = trial.number
        if not 0 <= number < len(self._trials) or self._trials[number].params != trial.params:
            raise InputError(
                f"Trial {number} with params {shown(dict(trial.params))} was not suggested by this optimizer, "
                f"which has made {len(self._trials)} suggestions.\n"
                "Tell the trial that ask() gave, to the optimizer that gave it."
            )
        if not self._history.is_pending(number):
            told = self._trials[number]
            raise InputError(
                f"Trial {number} was told before ({told.status.value}, value {told.value}). Tell each trial once."
            )
        return number


def _sampler(sampler: object) -> Sampler:
    if isinstance(sampler, Sampler):
        return sampler
    if sampler == "auto":
        return GaussianProcess()
    if not isinstance(sampler, str) or sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, ["auto", *SAMPLERS])
    return SAMPLERS[sampler]()
