# ruff: noqa: S101 (a kit is made of assertions)
"""What every sampler owes, as tests that anyone may run on theirs.

Subclass `SamplerKit` in a test file, say which sampler, and pytest runs the rest::

    class TestMine(SamplerKit):
        def sampler(self):
            return Mine()
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod

import numpy as np

from knowable.params import Choice, Float, Int, Param, Scalar
from knowable.search.base import Sampler
from knowable.search.optimizer import Optimizer
from knowable.search.space import Space
from knowable.search.study import Study
from knowable.search.trial import Reason, Status, Trial

__all__ = ["SamplerKit", "bowl"]

MIXED: dict[str, Param] = {
    "x": Float(-1, 1, default=0.9),
    "rate": Float(1e-4, 1, log=True),
    "n": Int(1, 50, log=True),
    "step": Float(0, 1, step=0.125),
    "kind": Choice(["a", "b", "c"]),
    "flag": Choice([False, True]),
}
SMALL: dict[str, Param] = {"n": Int(1, 4), "kind": Choice(["a", "b", "c"]), "step": Float(0, 1, step=0.5)}


def bowl(trial: Trial) -> float:
    """A smooth objective over any parameters: squares of numbers, option lengths."""
    return sum(_term(value) for value in trial.params.values())


def _term(value: Scalar) -> float:
    if isinstance(value, int | float):
        return (float(value) - 0.3) ** 2
    return float(len(str(value)))


class SamplerKit(ABC):
    """Contract tests; override `sampler`."""

    n_trials = 40

    @abstractmethod
    def sampler(self) -> Sampler | str:
        """The sampler under test: an instance or a registered name."""

    def optimizer(self, params: dict[str, Param] = MIXED, seed: int = 3) -> Optimizer:
        """A fresh optimizer over `params`."""
        return Optimizer(Space(params), seed=seed, sampler=self.sampler())

    def test_the_first_suggestion_is_the_users_default(self) -> None:
        """Whatever a sampler knows, the user's own values come first."""
        optimizer = self.optimizer()
        assert optimizer.ask()[0].params == optimizer.space.default()

    def test_equal_calls_give_equal_trials_to_the_bit(self) -> None:
        """Same seed, same asks, same tells: same trials."""
        runs = []
        for _ in range(2):
            optimizer = self.optimizer()
            for size in (3, 1, 8, 5, 12, 6):
                for trial in optimizer.ask(size)[::2]:
                    optimizer.tell(trial, bowl(trial))
            runs.append(optimizer.trials)
        assert repr(runs[0]) == repr(runs[1])

    def test_another_seed_gives_other_trials(self) -> None:
        """A seed matters, but for samplers that draw nothing at random."""
        first = [trial.params for trial in self.optimizer(seed=1).ask(20)]
        second = [trial.params for trial in self.optimizer(seed=2).ask(20)]
        assert first != second or all(t.source in {"default", "grid"} for t in self.optimizer(seed=1).ask(20))

    def test_one_ask_of_eight_equals_eight_asks_of_one(self) -> None:
        """How a batch is cut makes no difference."""
        whole, single = self.optimizer(), self.optimizer()
        for _ in range(4):
            batch = whole.ask(8)
            assert batch == [single.ask()[0] for _ in range(8)]
            for trial in batch:
                whole.tell(trial, bowl(trial))
                single.tell(trial, bowl(trial))

    def test_proposing_twice_from_equal_histories_gives_equal_proposals(self) -> None:
        """A proposal leaves nothing behind that changes the next."""
        optimizer = self.optimizer()
        for trial in optimizer.ask(16):
            optimizer.tell(trial, bowl(trial))
        history, sampler = optimizer._history, optimizer.sampler  # noqa: SLF001 (the kit looks inside)
        fresh = copy.deepcopy(history)
        fresh.memo.clear()
        proposals = [
            sampler.propose(seen, seen.n_asked, np.random.default_rng(5)) for seen in (history, history, fresh)
        ]
        assert len({proposal.unit.tobytes() + proposal.source.encode() for proposal in proposals}) == 1

    def test_no_parameter_set_is_suggested_twice_and_a_finite_space_ends_with_a_reason(self) -> None:
        """All 36 sets come once; then ask gives none and says so."""
        optimizer = self.optimizer(SMALL)
        seen = []
        for _ in range(12):
            for trial in optimizer.ask(5):
                seen.append(tuple(trial.params.items()))
                optimizer.tell(trial, bowl(trial))
        assert len(seen) == len(set(seen)) == optimizer.space.n_values == 36
        assert optimizer.ask() == []
        assert optimizer.reason is Reason.SPACE_EXHAUSTED

    def test_a_hundred_pending_trials_all_differ(self) -> None:
        """Any number may be asked before one is told."""
        optimizer = self.optimizer()
        trials = optimizer.ask(30)
        for trial in trials[:10]:
            optimizer.tell(trial, bowl(trial))
        trials += optimizer.ask(100)
        assert len({tuple(trial.params.items()) for trial in trials}) == 130

    def test_values_lie_in_their_ranges(self) -> None:
        """Each suggested value passes its own parameter's check and keeps its type."""
        optimizer = self.optimizer()
        for _ in range(5):
            for trial in optimizer.ask(8):
                checked = optimizer.space.check(trial.params)
                assert repr(checked) == repr(dict(trial.params))
                optimizer.tell(trial, bowl(trial))

    def test_constant_failing_infinite_and_huge_objectives_never_raise(self) -> None:
        """Whatever the objective does, suggestions go on."""
        cycles: list[list[float | None]] = [
            [1.0],
            [None],
            [math.nan],
            [math.inf],
            [-math.inf, 1.0],
            [None, 2.0],
            [1e300, -1e300],
            [1e308, -1e308, 0.0],
            [5e-324, 0.0],
            [1.0, 1.0 + 1e-15],
        ]
        for cycle in cycles:
            optimizer = self.optimizer()
            for _ in range(4):
                for trial in optimizer.ask(8):
                    optimizer.tell(trial, cycle[trial.number % len(cycle)])
            done = [trial for trial in optimizer.trials if trial.status is Status.DONE]
            assert len(optimizer.trials) == 32
            assert (optimizer.best is None) == (not done)

    def test_order_of_arrival_does_not_change_the_trials_of_a_study(self) -> None:
        """First come, last come: the same study."""
        runs = []
        for order in (0, 1, 2):
            rng = np.random.default_rng(order)
            study = Study(self.optimizer(), self.n_trials, group=5, lag=1)
            running = study.start()
            while running:
                trial = running.pop(0 if order == 0 else int(rng.integers(len(running))))
                running += study.finish(trial.number, bowl(trial))
            assert study.done
            runs.append(repr(study.trials))
        assert len(set(runs)) == 1

    def test_a_single_parameter_with_a_single_value_is_a_space(self) -> None:
        """The smallest space there is."""
        optimizer = self.optimizer({"kind": Choice(["only"])})
        assert [trial.params for trial in optimizer.ask(3)] == [{"kind": "only"}]
