"""Ask and tell: what is accepted, what is refused, what is best."""

from __future__ import annotations

import json
import math
import pickle
import time

import numpy as np
import pytest

from knowable.errors import InputError, KnowableError, UnknownNameError
from knowable.params import Choice, Float, Int
from knowable.search import Optimizer, Space, Status, Trial
from knowable.testing.problems import HARTMANN6, PROBLEMS, RAGGED

SPACE = Space({"x": Float(0, 1), "n": Int(1, 50, log=True), "kind": Choice(["a", "b"])})


def test_the_example_of_the_documentation():
    optimizer = Optimizer(SPACE, seed=0, direction="minimize")
    trials = optimizer.ask(8)
    assert optimizer.best is None
    optimizer.tell(trials[0], 0.3)
    optimizer.tell(trials[1], None)
    optimizer.tell(trials[2], math.nan)
    assert trials[0].params == {"x": 0.5, "n": 7, "kind": "a"}
    assert optimizer.best.number == 0
    assert optimizer.best.value == 0.3
    assert [trial.status for trial in optimizer.trials[:4]] == [
        Status.DONE, Status.FAILED, Status.FAILED, Status.PENDING,
    ]  # fmt: skip
    assert optimizer.n_pending == 5


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, None, 10**400, np.float64("nan")])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_value_that_is_not_finite_is_a_failure_and_never_the_best(bad, direction):
    optimizer = Optimizer(SPACE, direction=direction)
    first, second = optimizer.ask(2)
    optimizer.tell(first, bad)
    assert optimizer.best is None
    optimizer.tell(second, 1.0)
    assert optimizer.best.number == 1
    assert optimizer.trials[0].value is None


@pytest.mark.parametrize(("direction", "best"), [("minimize", 1), ("maximize", 2)])
def test_the_best_is_the_earliest_told_among_equals(direction, best):
    optimizer = Optimizer(SPACE, direction=direction)
    for trial, value in zip(optimizer.ask(5), [2, 1, 3, 1, 3], strict=True):
        optimizer.tell(trial, value)
    assert optimizer.best.number == best


@pytest.mark.parametrize("value", ["0.3", True, np.bool_(False), 1j, [1.0], np.array([1.0]), {}])
def test_a_value_of_a_wrong_type_is_refused_and_the_trial_stays_pending(value):
    optimizer = Optimizer(SPACE)
    trial = optimizer.ask()[0]
    with pytest.raises(InputError, match="`value` must be a number"):
        optimizer.tell(trial, value)
    optimizer.tell(trial, np.float32(0.5))
    assert optimizer.best.value == 0.5


def test_a_trial_told_twice_is_refused_with_what_was_told():
    optimizer = Optimizer(SPACE)
    trial = optimizer.ask()[0]
    optimizer.tell(trial, 1.5)
    with pytest.raises(InputError, match=r"told before .*1\.5"):
        optimizer.tell(trial, 1.5)


def test_a_trial_of_another_optimizer_is_refused():
    optimizer, other = Optimizer(SPACE), Optimizer(SPACE, seed=1)
    optimizer.ask(2)
    strange = other.ask(3)
    for trial in strange[1:]:
        with pytest.raises(InputError, match="was not suggested by this optimizer"):
            optimizer.tell(trial, 1.0)
    for nothing in (0, None, {"x": 1}, Trial(number=-1, params={}, source="")):
        with pytest.raises(InputError):
            optimizer.tell(nothing, 1.0)


@pytest.mark.parametrize("n", [-1, 2.0, "3", None, True])
def test_asking_for_anything_but_a_whole_number_is_refused(n):
    with pytest.raises(InputError, match="`n` must be a whole number"):
        Optimizer(SPACE).ask(n)


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"seed": 1.5}, {"seed": None}, {"direction": "up"}, {"direction": None}]
)
def test_wrong_settings_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=f"`{next(iter(wrong))}`"):
        Optimizer(SPACE, **wrong)
    with pytest.raises(InputError, match="Space"):
        Optimizer({"x": Float(0, 1)})


def test_an_unknown_sampler_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'parzen'"):
        Optimizer(SPACE, sampler="parsen")
    with pytest.raises(KnowableError):
        Optimizer(SPACE, sampler=3)


def test_a_user_who_changes_the_params_of_a_trial_changes_nothing_inside():
    optimizer, untouched = Optimizer(SPACE, seed=5), Optimizer(SPACE, seed=5)
    trial = optimizer.ask()[0]
    trial.params["x"] = 0.99
    untouched.ask()
    assert optimizer.trials == untouched.trials
    with pytest.raises(InputError, match="was not suggested"):
        optimizer.tell(trial, 1.0)
    optimizer.trials[0].params["x"] = 0.99
    assert optimizer.trials == untouched.trials


def test_asking_for_none_changes_nothing():
    optimizer = Optimizer(SPACE)
    assert optimizer.ask(0) == []
    assert optimizer.trials == []


def test_the_history_exports_as_plain_rows_that_json_takes():
    optimizer = Optimizer(SPACE)
    for trial, value in zip(optimizer.ask(3), [1.0, None, 2.0], strict=True):
        optimizer.tell(trial, value)
    rows = json.loads(json.dumps(optimizer.rows()))
    assert [row["value"] for row in rows] == [1.0, None, 2.0]
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert rows[0] == {
        "number": 0, "source": "default", "status": "done", "value": 1.0, "params": {"x": 0.5, "n": 7, "kind": "a"},
    }  # fmt: skip


def test_trials_survive_pickling():
    trial = Optimizer(SPACE).ask()[0]
    assert pickle.loads(pickle.dumps(trial)) == trial


def test_the_order_in_which_results_are_told_is_part_of_the_ledger_but_not_what_is_pending_by_age():
    first, second = Optimizer(SPACE, seed=2), Optimizer(SPACE, seed=2)
    a, b = first.ask(16), second.ask(16)
    for trial in a:
        first.tell(trial, trial.params["x"])
    for trial in b:
        second.tell(trial, trial.params["x"])
    assert first.ask(4) == second.ask(4)


def test_no_stored_optimum_of_a_problem_is_ever_beaten():
    for problem in PROBLEMS:
        optimizer = Optimizer(Space(problem.params), sampler="random", seed=9)
        values = [problem.value(trial.params) for trial in optimizer.ask(400)]
        assert min(values) >= problem.optimum
        assert values[0] > np.quantile(values, 0.2), "the default gives the answer away"
    known = {"fast": 4, "slow": 27, "gauge": 15, "hold": 17, "long_band": 0.44183396882883774,
             "short_band": 0.766932333054883, "calm": 1.168590841691489}  # fmt: skip
    assert RAGGED.value(known) == pytest.approx(RAGGED.optimum, abs=1e-3)
    best = [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]
    assert HARTMANN6.value({f"x{k}": v for k, v in enumerate(best)}) == pytest.approx(HARTMANN6.optimum, abs=1e-6)


@pytest.mark.slow
def test_ten_thousand_trials_stay_cheap():
    optimizer = Optimizer(Space(RAGGED.params), seed=1)
    rng = np.random.default_rng(0)
    for trial in optimizer.ask(10_000):
        optimizer.tell(trial, rng.random())
    started = time.process_time()
    optimizer.ask(100)
    assert time.process_time() - started < 3.0  # the aim is 5 ms a suggestion; machines differ
