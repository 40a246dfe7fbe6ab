"""A study is a pure machine: same seed, same trials, whoever finishes first."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.errors import InputError
from knowable.params import Choice, Float, Int
from knowable.search import Optimizer, Reason, Space, Study
from knowable.testing.sampler_kit import bowl

SPACE = Space({"x": Float(0, 1), "n": Int(1, 50, log=True), "kind": Choice(["a", "b"])})


def study(n_trials=30, seed=0, sampler="parzen", space=SPACE, **kwargs):
    return Study(Optimizer(space, seed=seed, sampler=sampler), n_trials, **kwargs)


def run(machine, value=bowl, pick=lambda _running: 0):
    running = machine.start()
    while running:
        trial = running.pop(pick(running))
        running += machine.finish(trial.number, value(trial))
    return machine


@given(st.integers(1, 9), st.integers(0, 3), st.data())
@settings(max_examples=30, deadline=None)
def test_any_order_of_arrival_gives_the_same_trials(group, lag, data):
    steady = run(study(group=group, lag=lag))
    shuffled = run(study(group=group, lag=lag), pick=lambda running: data.draw(st.integers(0, len(running) - 1)))
    assert steady.trials == shuffled.trials
    assert steady.reason is shuffled.reason is Reason.BUDGET_SPENT


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_replaying_recorded_results_gives_the_live_state_and_the_same_future(lag):
    live = study(24, sampler="gp", group=4, lag=lag)
    journal = []
    running = live.start()
    for _ in range(11):
        trial = running.pop(len(running) // 2)
        journal.append((trial.number, bowl(trial)))
        running += live.finish(*journal[-1])
    again = study(24, sampler="gp", group=4, lag=lag)
    waiting = {trial.number for trial in again.start()}
    recorded = dict(journal)
    while ready := sorted(waiting & set(recorded)):  # a journal may be read in any order
        for number in ready:
            waiting.remove(number)
            waiting |= {trial.number for trial in again.finish(number, recorded[number])}
    assert again.trials == live.trials
    assert again.running == live.running
    for machine in (again, live):
        open_trials = machine.running
        while open_trials:
            trial = open_trials.pop()
            open_trials += machine.finish(trial.number, bowl(trial))
    assert again.trials == live.trials


def test_a_group_is_asked_when_all_groups_before_the_lag_are_told():
    machine = study(12, group=3, lag=1)
    assert [trial.number for trial in machine.start()] == [0, 1, 2, 3, 4, 5]
    assert machine.finish(4, 1.0) == []
    assert machine.finish(0, 1.0) == []
    assert machine.finish(2, 1.0) == []
    assert [trial.number for trial in machine.finish(1, 1.0)] == [6, 7, 8]
    assert machine.finish(7, 1.0) == []
    assert machine.finish(3, 1.0) == []
    assert [trial.number for trial in machine.finish(5, 2.0)] == [9, 10, 11]
    for number in (9, 8, 10, 6):
        assert not machine.done
        assert machine.finish(number, 1.0) == []
    machine.finish(11, 1.0)
    assert machine.done
    assert machine.reason is Reason.BUDGET_SPENT
    assert machine.running == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (bowl, Reason.BUDGET_SPENT),
        (lambda _: None, Reason.ALL_FAILED),
        (lambda _: float("nan"), Reason.ALL_FAILED),
        (lambda _: 4.2, Reason.CONSTANT),
        (lambda trial: 4.2 if trial.number % 3 else None, Reason.CONSTANT),
    ],
)
@pytest.mark.parametrize("sampler", ["gp", "parzen"])
def test_a_study_ends_with_a_sentence_whatever_the_objective_does(value, reason, sampler):
    machine = run(study(26, sampler=sampler), value)
    assert machine.done
    assert machine.reason is reason
    assert machine.reason.value.endswith(".")
    assert len(machine.trials) == 26


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("group", [1, 4, 7, 50])
def test_a_study_of_a_finite_space_ends_when_it_is_exhausted(group, lag):
    machine = run(study(50, space=Space({"n": Int(1, 8)}), group=group, lag=lag))
    assert machine.done
    assert machine.reason is Reason.SPACE_EXHAUSTED
    assert sorted(trial.params["n"] for trial in machine.trials) == list(range(1, 9))


def test_finishing_a_trial_twice_or_one_never_started_is_refused_and_changes_nothing():
    machine = study(8, group=4)
    machine.start()
    machine.finish(2, 1.0)
    for number, words in ((2, "finished before"), (4, "never started"), (-1, "never started"), ("a", "never started")):
        with pytest.raises(InputError, match=words):
            machine.finish(number, 1.0)
    with pytest.raises(InputError, match="must be a number"):
        machine.finish(3, "good")
    assert [trial.number for trial in machine.running] == [0, 1, 3]
    with pytest.raises(InputError, match="once"):
        machine.start()


def test_a_stopped_study_takes_what_runs_and_starts_no_more():
    machine = study(40, group=4)
    started = machine.start()
    machine.stop()
    assert list(itertools.chain(*(machine.finish(trial.number, 1.0) for trial in started))) == []
    assert machine.done
    assert machine.reason is Reason.STOPPED


@pytest.mark.parametrize("wrong", [{"n_trials": 0}, {"n_trials": 2.5}, {"group": 0}, {"lag": -1}, {"group": True}])
def test_wrong_settings_of_a_study_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        study(**wrong)


def test_a_used_optimizer_is_refused():
    optimizer = Optimizer(SPACE)
    optimizer.ask()
    with pytest.raises(InputError, match="fresh"):
        Study(optimizer, 5)
    with pytest.raises(InputError, match="Optimizer"):
        Study("gp", 5)


def test_a_study_of_one_trial_is_not_called_constant():
    machine = run(study(1))
    assert machine.reason is Reason.BUDGET_SPENT
    assert machine.best.number == 0
