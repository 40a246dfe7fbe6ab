"""The drive loop in this process: same code path as on workers, no cluster."""

import io
import math
import random
import threading
import time

import pytest

from knowable.cluster import Progress, ProgressBar, drive
from knowable.cluster.progress import duration
from knowable.errors import ConflictError, InputError, RunError
from knowable.runs import Journal, Outcome
from knowable.testing.trials import Asked, ChainStudy, ToyObjective, as_table, toy_key, toy_value


def run(journal, study, objective, workers=0, **kwargs):
    studies = study if isinstance(study, dict) else {"main": study}
    return drive(
        studies,
        evaluate=objective,
        key=toy_key,
        value=toy_value,
        journal=journal,
        workers=workers,
        **kwargs,
    )


@pytest.fixture
def journal(tmp_path):
    with Journal.create(tmp_path / "journal.sqlite", {}) as journal:
        yield journal


def evaluated(log):
    return sorted(int(line.split()[1]) for line in log.read_text().splitlines()) if log.exists() else []


def by_hand(study, objective):
    """The slow oracle: one trial after the other, no journal, no batches."""
    waiting = study.start()
    values = {}
    while waiting:
        trial = waiting.pop(0)
        values[trial.number] = toy_value(objective("main", [dict(trial.params)])[0])
        waiting += study.finish(trial.number, values[trial.number])
    return values


def test_it_finds_what_a_plain_loop_finds(journal):
    expected = by_hand(ChainStudy(100), ToyObjective())
    study = ChainStudy(100)
    report = run(journal, study, ToyObjective())
    assert study.told == expected
    assert (report.n_trials, report.n_from_journal, report.n_failed, report.workers) == (100, 0, 0, 0)
    assert {r.number: r.outcome.metrics["y"] for r in journal.trials()} == expected
    assert all(math.isnan(r.outcome.metrics["nan"]) and r.source == "chain" for r in journal.trials())
    assert journal.planned == 100


def test_everything_in_the_journal_runs_nothing(journal, tmp_path):
    log = tmp_path / "log"
    run(journal, ChainStudy(20), ToyObjective(log=str(log)))
    before = as_table(journal)
    study = ChainStudy(20)
    report = run(journal, study, ToyObjective(log=str(log)), workers=2)  # not even a worker is started
    assert evaluated(log) == list(range(20))
    assert (report.n_trials, report.n_from_journal, report.startup_seconds) == (20, 20, 0.0)
    assert len(study.told) == 20
    assert as_table(journal) == before


def test_a_longer_run_goes_on_from_a_shorter_one(journal, tmp_path):
    log = tmp_path / "log"
    run(journal, ChainStudy(16), ToyObjective(log=str(log)))
    study = ChainStudy(30)
    report = run(journal, study, ToyObjective(log=str(log)))
    assert evaluated(log) == list(range(30))
    assert (report.n_trials, report.n_from_journal) == (30, 16)
    assert study.told == by_hand(ChainStudy(30), ToyObjective())


def test_outcomes_are_on_the_disk_before_the_study_hears_of_them(journal, tmp_path):
    class Suspicious(ChainStudy):
        def finish(self, number, value):
            with Journal.read(journal.path) as reader:
                assert number in {r.number for r in reader.trials()}
            return super().finish(number, value)

    run(journal, Suspicious(24), ToyObjective())


def test_trials_with_equal_parameters_run_once_and_are_all_told(journal, tmp_path):
    class Same:
        n_trials = 6
        told = ()

        def start(self):
            return [Asked(number=i, params={"i": i % 2, "x": 0.5}) for i in range(4)]

        def finish(self, number, value):
            self.told += (number,)
            return [Asked(number=i, params={"i": 0, "x": 0.5}) for i in (4, 5)] if len(self.told) == 4 else []

    study = Same()
    report = run(journal, study, ToyObjective(log=str(tmp_path / "log")))
    assert evaluated(tmp_path / "log") == [0, 1]
    assert sorted(study.told) == [0, 1, 2, 3, 4, 5]
    assert (report.n_trials, len(journal.trials())) == (6, 6)


def test_an_exception_is_recorded_with_its_error_and_the_rest_goes_on(journal):
    study = ChainStudy(40)
    report = run(journal, study, ToyObjective(faults={5: "raise", 17: "raise"}))
    assert (report.n_failed, report.first_error) == (2, "ArithmeticError: fault of trial 5")
    errors = {r.number: r.outcome.error for r in journal.trials() if r.outcome.kind == "failed"}
    assert errors == {n: f"ArithmeticError: fault of trial {n}" for n in (5, 17)}
    assert study.told[5] is None
    assert study.told[17] is None


def test_how_trials_are_batched_does_not_decide_which_fail(tmp_path):
    tables = []
    for seconds in (0.0, 0.02):  # large batches, then small ones
        with Journal.in_memory() as journal:
            calls = tmp_path / f"calls{seconds}"
            run(
                journal,
                ChainStudy(60, group=60),
                ToyObjective(seconds=seconds, faults={31: "raise", 32: "raise"}, calls=str(calls)),
            )
            tables.append(as_table(journal))
    assert tables[0] == tables[1]
    sizes = [int(line) for line in (tmp_path / "calls0.0").read_text().split()]
    assert max(sizes) > 20
    assert max(int(line) for line in (tmp_path / "calls0.02").read_text().split()) < 60


def test_an_evaluate_that_returns_too_little_says_so(journal):
    with pytest.raises(RunError, match="one Outcome a trial, but returned 0 for 1 trials"):
        run(journal, ChainStudy(40, group=40), lambda study, trials: [])


def test_a_run_whose_first_twenty_trials_all_fail_stops_with_the_first_error(journal):
    faults = dict.fromkeys(range(200), "raise")
    with pytest.raises(RunError, match=r"first \d+ trials all failed.*first error: ArithmeticError: fault of trial 0"):
        run(journal, ChainStudy(200), ToyObjective(faults=faults))
    assert 20 <= len(journal.trials()) < 200


def test_a_short_run_that_fails_as_a_whole_ends_in_a_report(journal):
    report = run(journal, ChainStudy(10), ToyObjective(faults=dict.fromkeys(range(10), "raise")))
    assert report.n_failed == report.n_trials == 10


def test_one_success_is_enough_to_go_on(journal):
    report = run(journal, ChainStudy(60), ToyObjective(faults=dict.fromkeys(range(1, 60), "raise")))
    assert (report.n_trials, report.n_failed) == (60, 59)


def test_a_trial_past_its_time_limit_fails_and_its_neighbours_do_not(journal):
    report = run(journal, ChainStudy(30), ToyObjective(faults={12: "sleep", 20: "spin"}), time_limit=0.3)
    errors = {r.number: r.outcome.error for r in journal.trials() if r.outcome.kind == "failed"}
    assert errors == dict.fromkeys((12, 20), "the trial passed its time limit of 0.3 s")
    assert report.n_trials == 30


def test_the_time_limit_leaves_the_alarm_as_it_was(journal):
    import signal

    before = signal.getsignal(signal.SIGALRM)
    run(journal, ChainStudy(3), ToyObjective(), time_limit=5.0)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(journal, tmp_path):
    log = str(tmp_path / "log")
    with pytest.raises(KeyboardInterrupt, match=r"of 40 trials are in the journal; go on with kn\.resume\('"):
        run(journal, ChainStudy(40), ToyObjective(faults={20: "interrupt"}, log=log))
    kept = {r.number for r in journal.trials()}
    assert set(range(16)) <= kept < set(range(40))
    study = ChainStudy(40)
    run(journal, study, ToyObjective())
    assert study.told == by_hand(ChainStudy(40), ToyObjective())


def test_studies_run_side_by_side_and_do_not_mix(journal):
    studies = {f"fold-{i}": ChainStudy(20, seed=i) for i in range(5)}
    run(journal, studies, ToyObjective())
    for i in range(5):
        assert studies[f"fold-{i}"].told == by_hand(ChainStudy(20, seed=i), ToyObjective())
        assert len(journal.trials(f"fold-{i}")) == 20


def test_a_strategy_that_uses_global_random_state_is_reported_loudly(journal):
    def moody(study, trials):
        return [Outcome(metrics={"y": random.random()}) for _ in trials]

    with pytest.warns(UserWarning, match=r"Trial 0 of study 'main' gave two results.*not deterministic"):
        report = run(journal, ChainStudy(40), moody)
    assert len(report.conflicts) == 1
    assert journal.conflicts() == report.conflicts
    assert len(journal.trials()) == report.n_trials == 40


def test_one_trial_of_a_long_run_and_none_of_a_short_one_runs_twice(tmp_path):
    for n, log in ((20, tmp_path / "short"), (60, tmp_path / "long")):
        with Journal.in_memory() as journal:
            report = run(journal, ChainStudy(n), ToyObjective(log=str(log)))
            assert (report.n_trials, report.conflicts) == (n, ())
        assert evaluated(log) == sorted([*range(n), *([0] if n == 60 else [])])


def test_a_run_begun_with_another_seed_is_refused(journal):
    run(journal, ChainStudy(10, seed=1), ToyObjective())
    with pytest.raises(RunError, match="with other parameters, code or data"):
        run(journal, ChainStudy(10, seed=2), ToyObjective())


def test_a_second_driver_is_refused_before_it_runs_anything(journal, tmp_path):
    journal.acquire()
    with Journal.open(journal.path) as second, pytest.raises(ConflictError, match="is being driven by process"):
        run(second, ChainStudy(10), ToyObjective(log=str(tmp_path / "log")))
    assert evaluated(tmp_path / "log") == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"workers": -1}, "`workers` must be"),
        ({"workers": True}, "`workers` must be"),
        ({"workers": 1.5}, "`workers` must be"),
        ({"time_limit": 0}, "`time_limit > 0`"),
        ({"time_limit": math.nan}, "`time_limit > 0`"),
        ({"cluster": {"klass": 1}}, "`cluster` must be an address or"),
        ({"cluster": {"class": "no.such.Cluster"}}, "cannot be imported"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(journal, wrong, said):
    with pytest.raises(InputError, match=said):
        run(journal, ChainStudy(3), ToyObjective(), **wrong)
    assert journal.trials() == []


def test_no_studies_are_refused(journal):
    with pytest.raises(InputError, match="at least one study"):
        run(journal, {}, ToyObjective())


# ---------------------------------------------------------------------------------------------------------- progress


def test_progress_is_told_with_counts_best_and_time_left(journal):
    class WithBest(ChainStudy):
        @property
        def best(self):
            return min((v for v in self.told.values() if v is not None), default=None)

    events: list[Progress] = []
    run(journal, WithBest(64), ToyObjective(seconds=0.01, faults={3: "raise"}), progress=events.append)
    assert [e.done for e in events] == sorted(e.done for e in events)
    assert (events[0].done, events[0].planned, events[0].eta_seconds) == (0, 64, None)
    assert (events[-1].done, events[-1].failed, events[-1].eta_seconds) == (64, 1, 0.0)
    assert 2 < len(events) < 40
    assert 0 < events[len(events) // 2].eta_seconds < 10
    assert events[-1].best["main"] == min(r.outcome.metrics.get("y", 9) for r in journal.trials())


def test_the_bar_is_silent_where_nobody_looks_unless_asked():
    event = Progress(done=3, planned=10, failed=1, eta_seconds=65.0, best={"main": 1.25})
    quiet, loud = io.StringIO(), io.StringIO()
    with ProgressBar("Momentum", file=quiet) as bar:
        bar(event)
    with ProgressBar("Momentum", shown=True, file=loud) as bar:
        bar(event)
    assert quiet.getvalue() == ""
    for part in ("Momentum", "3/10", "1:05 left", "best 1.25", "1 failed"):
        assert part in loud.getvalue()


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3:05"), (7269, "2:01:09")])
def test_time_left_is_said_as_people_say_it(seconds, said):
    assert duration(seconds) == said


def test_the_lease_is_held_while_it_runs(journal):
    seen = []

    def look(study, trials):
        with Journal.open(journal.path) as other:
            seen.append(other.holder.alive(time.time()))
        return ToyObjective()(study, trials)

    run(journal, ChainStudy(3), look)
    assert seen
    assert all(seen)


def test_it_runs_outside_the_main_thread(journal):
    reports = []
    thread = threading.Thread(
        target=lambda: reports.append(run(journal, ChainStudy(20), ToyObjective(), time_limit=5.0))
    )
    thread.start()
    thread.join(30)
    assert reports[0].n_trials == 20


def test_overhead_of_a_run_in_process_is_small_and_measured(journal):
    report = run(journal, ChainStudy(64), ToyObjective(seconds=0.01))
    assert 0 <= report.overhead_share < 0.3
    assert 0.5 < report.busy_share <= 1.0
