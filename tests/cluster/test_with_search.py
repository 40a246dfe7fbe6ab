"""The real study on the real executors."""

import pytest

from knowable.cluster import drive
from knowable.params import Choice, Float, Int
from knowable.runs import Journal, Outcome, trial_key
from knowable.search import Optimizer, Space, Study

SPACE = Space({"x": Float(-2.0, 2.0), "n": Int(1, 9), "kind": Choice(["plain", "odd"])})


def study(sampler, n=40):
    return Study(Optimizer(SPACE, seed=7, direction="minimize", sampler=sampler), n, group=8)


def evaluate(study, trials):
    outcomes = []
    for params in trials:
        if params["kind"] == "odd" and params["n"] == 9:
            raise ValueError("nine is not odd enough")
        outcomes.append(Outcome(metrics={"loss": (params["x"] - 1) ** 2 + params["n"]}))
    return outcomes


def run(journal, the_study, workers, evaluate=evaluate):
    return drive(
        {"main": the_study},
        evaluate=evaluate,
        key=lambda name, params: trial_key(study=name, params=params),
        value=lambda outcome: outcome.metrics["loss"],
        journal=journal,
        workers=workers,
    )


def table(journal):
    return [(r.number, dict(r.params), r.source, r.outcome.kind, dict(r.outcome.metrics)) for r in journal.trials()]


@pytest.mark.parametrize("sampler", ["auto", "random"])
def test_the_number_of_workers_changes_no_trial(sampler):
    tables, bests = [], []
    for workers in (0, 1, 2):
        with Journal.in_memory() as journal:
            the_study = study(sampler)
            report = run(journal, the_study, workers)
            assert report.n_trials == 40
            assert the_study.done
            tables.append(table(journal))
            bests.append((the_study.best.number, the_study.best.value))
    assert tables[0] == tables[1] == tables[2]
    assert bests[0] == bests[1] == bests[2]


def test_a_run_cut_off_resumes_to_the_same_end(tmp_path):
    class Cut(Exception):
        pass

    seen = []

    def cut(name, params):
        seen.append(params)
        if len(seen) > 25:
            raise Cut
        return trial_key(study=name, params=params)

    with Journal.in_memory() as journal:
        run(journal, study("auto"), 0)
        expected = table(journal)
    with Journal.create(tmp_path / "journal.sqlite", {}) as journal:
        with pytest.raises(Cut):
            drive(
                {"main": study("auto")},
                evaluate=evaluate,
                key=cut,
                value=lambda outcome: outcome.metrics["loss"],
                journal=journal,
                workers=0,
            )
        n_kept = len(journal.trials())
        assert 16 <= n_kept < 40
        report = run(journal, study("auto"), 2)
        assert report.n_from_journal == n_kept
        assert table(journal) == expected
