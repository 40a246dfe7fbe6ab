"""Real worker processes, killed and broken on purpose."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from distributed import Nanny

from knowable.cluster import drive
from knowable.errors import InputError, RunError
from knowable.runs import Journal, Outcome
from knowable.testing.trials import ChainStudy, ToyObjective, as_table, toy_key, toy_value


def run(journal, study, objective, workers=2, **kwargs):
    return drive(
        {"main": study}, evaluate=objective, key=toy_key, value=toy_value, journal=journal, workers=workers, **kwargs
    )


def undisturbed(n, **kwargs):
    with Journal.in_memory() as journal:
        run(journal, ChainStudy(n, **kwargs), ToyObjective(), workers=0)
        return as_table(journal)


@pytest.fixture
def journal(tmp_path):
    with Journal.create(tmp_path / "run" / "journal.sqlite", {}) as journal:
        yield journal


@pytest.fixture(autouse=True)
def folders(tmp_path):
    (tmp_path / "run").mkdir()


@pytest.fixture(autouse=True)
def _nothing_stays_behind():
    threads = set(threading.enumerate())
    environment = dict(os.environ)
    yield
    assert dict(os.environ) == environment | {"PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
    assert _workers() == []
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and (left := [t for t in set(threading.enumerate()) - threads if not t.daemon]):
        time.sleep(0.02)
    assert left == []


def _workers():
    """Worker processes of this process: children of the warm parent."""
    found = []
    for child in psutil.Process().children():
        if "forkserver" in " ".join(child.cmdline()):
            found += child.children()
    return found


def log_lines(log):
    return [line.split() for line in Path(log).read_text().splitlines()] if Path(log).exists() else []


class _Meddler(threading.Thread):
    """Does something once `n` evaluations were begun."""

    def __init__(self, log, n, action):
        super().__init__(daemon=True)
        self.log, self.n, self.action, self.result = log, n, action, None
        self.start()

    def run(self):
        deadline = time.monotonic() + 60
        while len(log_lines(self.log)) < self.n and time.monotonic() < deadline:
            time.sleep(0.005)
        self.result = self.action()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_trials_in_spite_of_shuffled_durations(journal, workers):
    report = run(journal, ChainStudy(48), ToyObjective(seconds=0.01), workers=workers)
    assert as_table(journal) == undisturbed(48)
    assert (report.n_trials, report.workers, report.n_deaths) == (48, workers, 0)
    used = {r.outcome.worker for r in journal.trials()}
    assert len(used) <= workers


def test_both_workers_work(journal):
    run(journal, ChainStudy(40, group=40), ToyObjective(seconds=0.05))
    assert len({r.outcome.worker for r in journal.trials()}) == 2


def test_a_worker_killed_in_mid_run_loses_nothing(journal, tmp_path):
    log = tmp_path / "log"

    def kill():
        pid = int(log_lines(log)[-1][2])
        os.kill(pid, signal.SIGKILL)
        return pid

    killer = _Meddler(log, 20, kill)
    study = ChainStudy(60)
    report = run(journal, study, ToyObjective(seconds=0.02, log=str(log)))
    assert killer.result is not None
    assert report.n_deaths >= 1
    assert (report.n_trials, report.n_failed) == (60, 0)
    assert as_table(journal) == undisturbed(60)
    again = Counter(int(line[1]) for line in log_lines(log))
    assert set(again) == set(range(60))
    assert sum(again.values()) < 80  # only what was under way on that worker ran again


def test_all_workers_killed_again_and_again(journal, tmp_path):
    log = tmp_path / "log"

    def kill_all():
        wait_for(lambda: len(_workers()) == 2)
        return [process.pid for process in _workers() if process.kill() is None]

    killers = [_Meddler(log, n, kill_all) for n in (10, 25, 40)]
    report = run(journal, ChainStudy(60, group=20), ToyObjective(seconds=0.02, log=str(log)))
    assert all(killer.result for killer in killers)
    assert (report.n_trials, report.n_failed) == (60, 0)
    assert as_table(journal) == undisturbed(60, group=20)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("segfault", r"a segmentation fault killed the worker \(File .*trials\.py"),
        ("kill", r"killed \(signal 9\); the system does so when memory runs out"),
        ("exit", r"the trial ended the worker process with exit code 3"),
    ],
)
def test_a_trial_that_kills_its_worker_is_recorded_failed_and_its_neighbours_are_unharmed(
    journal, tmp_path, fault, cause
):
    log = tmp_path / "log"
    report = run(journal, ChainStudy(64, group=32), ToyObjective(faults={21: fault}, log=str(log)))
    failed = {r.number: r.outcome.error for r in journal.trials() if r.outcome.kind == "failed"}
    assert list(failed) == [21]
    assert re.search(cause, failed[21]), failed
    assert (report.n_trials, report.n_failed) == (64, 1)
    tries = Counter(int(line[1]) for line in log_lines(log))
    assert 3 <= tries.pop(21) <= 5
    assert max(tries.values()) <= 6
    expected = {row[1]: row for row in undisturbed(64, group=32)[:32]}
    assert all(row == expected[row[1]] for row in as_table(journal)[:32] if row[1] != 21)


@pytest.mark.slow
def test_how_a_worker_ended_is_known_though_dask_had_not_yet_said_that_it_started(journal, monkeypatch):
    instantiate = Nanny.instantiate

    async def slowly(self):
        status = await instantiate(self)
        await asyncio.sleep(3.0)
        return status

    monkeypatch.setattr(Nanny, "instantiate", slowly)
    run(journal, ChainStudy(4, group=4), ToyObjective(faults={0: "exit"}), workers=1)
    (failed,) = [r.outcome.error for r in journal.trials() if r.outcome.kind == "failed"]
    assert "the trial ended the worker process with exit code 3" in failed


def test_a_worker_that_dies_once_is_forgiven(journal, tmp_path):
    report = run(journal, ChainStudy(24), ToyObjective(faults={9: "kill once"}, log=str(tmp_path / "log")))
    assert (report.n_failed, report.n_deaths >= 1) == (0, True)
    assert as_table(journal) == undisturbed(24)


@pytest.mark.parametrize("fault", [pytest.param("sleep", marks=pytest.mark.slow), "hold"])
def test_a_trial_that_does_not_come_back_ends_at_its_time_limit(journal, fault):
    """`hold` keeps the GIL, as compiled code may: no Python timer could end it."""
    report = run(journal, ChainStudy(24), ToyObjective(faults={10: fault}), time_limit=0.5)
    failed = {r.number: r.outcome.error for r in journal.trials() if r.outcome.kind == "failed"}
    assert list(failed) == [10]
    assert failed[10].startswith("the trial passed its time limit of 0.5 s")
    assert report.n_trials == 24


def test_a_trial_that_leaks_memory_is_ended_with_that_cause(journal):
    cluster = {"class": "dask.distributed.LocalCluster", "kwargs": {"memory_limit": "600MB"}}
    report = run(journal, ChainStudy(16), ToyObjective(faults={5: "memory"}), cluster=cluster)
    failed = {r.number: r.outcome.error for r in journal.trials() if r.outcome.kind == "failed"}
    assert failed == {5: "out of memory: the trial grew the worker beyond its memory limit"}
    assert report.n_trials == 16


def test_an_exception_on_a_worker_is_recorded_with_its_error(journal):
    report = run(journal, ChainStudy(24), ToyObjective(faults={3: "raise"}))
    assert report.first_error == "ArithmeticError: fault of trial 3"
    assert (report.n_trials, report.n_failed, report.n_deaths) == (24, 1, 0)


def test_a_run_whose_first_twenty_trials_all_fail_stops(journal):
    with pytest.raises(RunError, match="trials all failed"):
        run(journal, ChainStudy(200), ToyObjective(faults=dict.fromkeys(range(200), "raise")))


def test_nothing_listens_outside_loopback(journal, tmp_path):
    log = tmp_path / "log"

    def look():
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        return [c.laddr for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]

    looker = _Meddler(log, 5, look)
    run(journal, ChainStudy(24), ToyObjective(seconds=0.03, log=str(log)))
    assert len(looker.result) >= 3
    assert {address.ip for address in looker.result} == {"127.0.0.1"}


def test_evaluate_travels_once_to_a_worker_and_not_with_each_task(journal, tmp_path):
    class Heavy:
        def __init__(self, log):
            self.log, self.ballast = log, os.urandom(2_000_000)

        def __getstate__(self):
            return self.__dict__

        def __setstate__(self, state):
            self.__dict__.update(state)
            with Path(self.log).open("a") as file:
                file.write(f"loaded 0 {os.getpid()}\n")

        def __call__(self, study, trials):
            return [Outcome(metrics={"y": float(t["x"]) ** 2 + len(self.ballast)}) for t in trials]

    report = run(journal, ChainStudy(64), Heavy(str(tmp_path / "log")))
    assert report.n_batches >= 8
    pids = [line[2] for line in log_lines(tmp_path / "log")]
    assert len(pids) == len(set(pids)) == 2


def test_code_of_a_module_no_worker_can_import_travels_by_value(journal, tmp_path):
    import importlib.util

    file = tmp_path / "my_strategy.py"
    file.write_text(
        "from knowable.runs import Outcome\nFACTOR = 3.0\ndef score(x):\n    return FACTOR * x\n"
        "def evaluate(study, trials):\n    return [Outcome(metrics={'y': score(t['x'])}) for t in trials]\n"
    )
    spec = importlib.util.spec_from_file_location("strategy_made_up_name", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        report = run(journal, ChainStudy(16), module.evaluate)
    finally:
        del sys.modules[spec.name]
    assert (report.n_trials, report.n_failed) == (16, 0)
    assert all(r.outcome.metrics["y"] == 3.0 * r.params["x"] for r in journal.trials())


def test_what_cannot_travel_says_so(journal):
    lock = threading.Lock()
    with pytest.raises(InputError, match=r"cannot be sent to a worker: TypeError.*\n.*make them inside"):
        run(journal, ChainStudy(4), lambda study, trials: lock)
    ballast = bytearray(40 * 2**20)
    with pytest.raises(InputError, match=r"40 MB to send.*\n.*mapped"):
        run(journal, ChainStudy(4), lambda study, trials: ballast)


def test_an_evaluate_that_workers_cannot_load_says_so(journal):
    class Broken:
        def __reduce__(self):
            return (__import__, ("no_such_module_anywhere",))

    with pytest.raises(RunError, match=r"could not load `evaluate`: ModuleNotFoundError.*\n.*importable"):
        run(journal, ChainStudy(4), Broken())


def test_an_address_where_nobody_answers_says_so(journal, monkeypatch):
    monkeypatch.setattr("knowable.cluster.local.CONNECT_SECONDS", 0.5)
    with pytest.raises(RunError, match=r"No Dask scheduler answers at 'tcp://127\.0\.0\.1:1'"):
        run(journal, ChainStudy(4), ToyObjective(), cluster="tcp://127.0.0.1:1")


def test_workers_have_one_thread_for_kernels_and_blas(journal):
    def evaluate(study, trials):
        import os

        import numba

        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        values = [float(os.environ[name]) for name in names] + [float(numba.get_num_threads())]
        return [Outcome(metrics={"y": sum(values)}) for _ in trials]

    run(journal, ChainStudy(8), evaluate)
    assert {r.outcome.metrics["y"] for r in journal.trials()} == {4.0}


# ------------------------------------------------------------------------------------------------- driver processes

DRIVER = """
import sys
from pathlib import Path
from knowable.cluster import drive
from knowable.runs import Journal, Outcome
from knowable.testing.trials import ChainStudy, ToyObjective, toy_key, toy_value

class Mine:  # defined in the script itself, as in a notebook; and there is no main guard
    def __init__(self, log):
        self.toy = ToyObjective(seconds=0.02, log=log)
    def __call__(self, study, trials):
        return self.toy(study, trials)

path = Path(sys.argv[1])
journal = Journal.open(path) if path.exists() else Journal.create(path, {})
with journal:
    report = drive({"main": ChainStudy(int(sys.argv[3]))}, evaluate=Mine(sys.argv[2]), key=toy_key, value=toy_value,
                   journal=journal, workers=int(sys.argv[4]))
print(report.n_trials, report.n_from_journal)
"""


def driver(tmp_path, n, workers, log="log"):
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(DRIVER))
    arguments = [str(script), str(tmp_path / "run" / "journal.sqlite"), str(tmp_path / log), str(n), str(workers)]
    return subprocess.Popen(
        [sys.executable, "-W", "error", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_script_without_a_main_guard_drives_workers_and_is_silent(tmp_path):
    out, err = driver(tmp_path, 24, 2).communicate(timeout=60)
    assert (out.split(), err) == (["24", "0"], "")
    with Journal.read(tmp_path / "run" / "journal.sqlite") as journal:
        assert as_table(journal) == undisturbed(24)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_driver_resumes_to_the_same_end(tmp_path, workers):
    log = tmp_path / "log"
    with driver(tmp_path, 60, workers) as process:
        wait_for(lambda: len(log_lines(log)) > 30)
        pids = {int(line[2]) for line in log_lines(log)}
        process.kill()
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))  # workers of a dead driver go
    with Journal.read(tmp_path / "run" / "journal.sqlite") as journal:
        n_kept = len(journal.trials())
        assert 0 < n_kept < 60
    out, err = driver(tmp_path, 60, workers, "log2").communicate(timeout=60)
    assert (out.split(), err) == (["60", str(n_kept)], "")
    with Journal.read(tmp_path / "run" / "journal.sqlite") as journal:
        assert as_table(journal) == undisturbed(60)
    assert {int(line[1]) for line in log_lines(tmp_path / "log2")} >= set(range(n_kept + 8, 60))
    assert len(log_lines(tmp_path / "log2")) <= 60 - n_kept + 1  # what was recorded is not run again


def test_ctrl_c_in_a_terminal_keeps_everything_and_says_how_to_go_on(tmp_path):
    log = tmp_path / "log"
    with driver(tmp_path, 60, 2) as process:
        wait_for(lambda: len(log_lines(log)) > 4)
        for child in psutil.Process(process.pid).children(recursive=True):  # a terminal signals the whole group
            child.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "KeyboardInterrupt: Stopped: " in err.strip().splitlines()[-1]
    assert "of 60 trials are in the journal; go on with kn.resume(" in err
    out, err = driver(tmp_path, 60, 1).communicate(timeout=60)
    assert out.split()[0] == "60"
    with Journal.read(tmp_path / "run" / "journal.sqlite") as journal:
        assert as_table(journal) == undisturbed(60)


@pytest.mark.slow
def test_a_driver_killed_many_times_at_random_moments(tmp_path):
    import random

    rng = random.Random(7)
    for _ in range(12):
        process = driver(tmp_path, 120, 2)
        time.sleep(rng.uniform(0.8, 3.5))
        process.kill()
        process.communicate()
    out, err = driver(tmp_path, 120, 2).communicate(timeout=90)
    assert (out.split()[0], err) == ("120", "")
    with Journal.read(tmp_path / "run" / "journal.sqlite") as journal:
        assert as_table(journal) == undisturbed(120)


@pytest.mark.slow
def test_the_scheduler_of_a_remote_cluster_killed_in_mid_run(journal, tmp_path):
    """Somebody's cluster at an address: its scheduler dies, the drive ends with a sentence, a local one resumes."""
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(tmp_path / "scheduler.json")],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    worker = None
    try:
        wait_for((tmp_path / "scheduler.json").exists)
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(tmp_path / "scheduler.json"),
             "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(tmp_path)],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        import json

        address = json.loads((tmp_path / "scheduler.json").read_text())["address"]
        log = tmp_path / "log"
        _Meddler(log, 20, scheduler.kill)
        with pytest.raises(RunError, match="scheduler went away"):
            run(journal, ChainStudy(200), ToyObjective(seconds=0.02, log=str(log)), cluster=address)
    finally:
        for process in filter(None, (scheduler, worker)):
            process.kill()
            process.wait()
    run(journal, ChainStudy(60), ToyObjective(), workers=1)
    assert [r.number for r in journal.trials()][:60] == list(range(60))


def test_a_report_can_be_made_long_after_the_workers_went(journal, monkeypatch):
    from knowable.cluster.executor import DaskExecutor

    close = DaskExecutor.close

    def slow_close(self):
        close(self)
        time.sleep(2.2)  # the count of threads is stale by now, and nobody is left to ask

    monkeypatch.setattr(DaskExecutor, "close", slow_close)
    assert run(journal, ChainStudy(8), ToyObjective(), workers=1).n_trials == 8
