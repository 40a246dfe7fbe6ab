import math
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowable.errors import ConflictError, InputError, RunError
from knowable.runs import Journal, Outcome, TrialRecord, salvage
from knowable.runs.lease import EXPIRY_SECONDS


def record(number, y=1.0, *, key=None, study="main", **outcome):
    done = Outcome(**{"metrics": {"y": y}, "moments": struct.pack("<d", number), **outcome})
    return TrialRecord(
        key=key or f"key-{study}-{number}",
        study=study,
        number=number,
        params={"a": number, "b": 0.1, "c": None, "d": "é", "e": True},
        source="grid",
        outcome=done,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "journal.sqlite"


@pytest.fixture
def journal(path):
    path.parent.mkdir()
    with Journal.create(path, {"strategy": "M"}) as journal:
        yield journal


@given(
    st.dictionaries(st.text(max_size=5), st.floats() | st.sampled_from([-0.0, math.inf, -math.inf, math.nan, 5e-324])),
    st.none() | st.binary(max_size=20),
)
def test_figures_come_back_to_the_bit(metrics, moments):
    with Journal.in_memory() as journal:
        journal.record_many([record(0, metrics=metrics, moments=moments, seconds=0.25, worker="w")])
        (back,) = journal.trials()
        assert [repr(v) for _, v in sorted(back.outcome.metrics.items())] == [
            repr(v) for _, v in sorted(metrics.items())
        ]
        assert (back.outcome.moments, back.outcome.seconds, back.outcome.worker) == (moments, 0.25, "w")
        assert back.outcome.same_result(record(0, metrics=metrics, moments=moments).outcome)


def test_trials_come_back_as_they_were_after_reopening(journal, path):
    records = [record(i, i / 3, study=study) for study in ("fold-1", "fold-0") for i in (2, 0, 1)]
    records.append(record(3, study="fold-0", kind="failed", metrics={}, moments=None, error="StrategyError: no"))
    journal.record_many(records)
    journal.close()
    with Journal.read(path) as again:
        assert again.trials() == sorted(records, key=lambda r: (r.study, r.number))
        assert again.trials("fold-1") == sorted((r for r in records if r.study == "fold-1"), key=lambda r: r.number)
        assert again.find("key-fold-0-3").error == "StrategyError: no"
        assert again.find("nothing") is None
        assert again.header == {"strategy": "M"}


def test_the_first_outcome_of_a_key_stays_and_a_different_second_is_reported(journal):
    assert journal.record_many([record(0, 1.0)]) == ()
    assert journal.record_many([record(0, 1.0, seconds=9.0, worker="other")]) == ()
    (found,) = journal.record_many([record(0, 1.0000000000000002)])
    assert "first y=1.0, then y=1.0000000000000002" in str(found)
    assert "not deterministic" in str(found)
    assert journal.find("key-main-0").metrics == {"y": 1.0}
    assert journal.conflicts() == (found,)
    assert len(journal.trials()) == 1


def test_equal_nans_are_no_conflict_and_other_moments_are(journal):
    journal.record_many([record(0, math.nan)])
    assert journal.record_many([record(0, math.nan)]) == ()
    assert len(journal.record_many([record(0, math.nan, moments=b"12345678")])) == 1
    assert len(journal.record_many([record(0, kind="failed", metrics={}, moments=None, error="x")])) == 1


def test_two_trials_with_one_key_share_its_outcome(journal):
    journal.record_many([record(0, key="same"), record(1, key="same")])
    assert [(r.number, r.key) for r in journal.trials()] == [(0, "same"), (1, "same")]


def test_a_trial_number_that_now_means_other_parameters_is_refused_whole(journal):
    journal.record_many([record(0)])
    with pytest.raises(RunError, match="Trial 0 of study 'main' is in the journal .* with other parameters"):
        journal.record_many([record(1), record(0, key="other")])
    assert [r.number for r in journal.trials()] == [0]
    assert journal.find("other") is None
    with pytest.raises(RunError, match="Start a new run"):
        journal.asked("main", 0, "other")
    assert journal.asked("main", 0, "key-main-0")
    assert not journal.asked("main", 1, "x")


def test_a_group_is_recorded_whole_or_not_at_all(journal):
    bad = TrialRecord(key="k", study="main", number=9, params={"a": {1}}, source="s", outcome=Outcome())
    with pytest.raises(InputError):
        journal.record_many([record(0), bad])
    assert journal.trials() == []


def test_plan_and_reason_are_kept(journal, path):
    assert (journal.planned, journal.finished) == (None, None)
    journal.plan(200)
    journal.finish("The budget is spent.")
    journal.close()
    with Journal.read(path) as again:
        assert (again.planned, again.finished) == (200, "The budget is spent.")


def test_reading_takes_no_lease_and_sees_a_live_run(journal, path):
    journal.record_many([record(0)])
    with Journal.read(path) as reader:
        assert len(reader.trials()) == 1
        journal.record_many([record(1)])
        assert len(reader.trials()) == 2
        with pytest.raises(RunError, match="opened to read"):
            reader.record_many([record(2)])


def test_the_file_is_in_full_synchronous_wal_mode_while_it_is_driven(journal, path):
    journal.acquire()
    assert journal.query("PRAGMA journal_mode") == [("wal",)]
    assert journal.query("PRAGMA synchronous") == [(2,)]
    journal.close()
    assert [p.name for p in path.parent.iterdir()] == ["journal.sqlite"]


# ------------------------------------------------------------------------------------------------------------- lease


def test_a_second_driver_is_refused_naming_the_first(journal, path):
    journal.acquire()
    with Journal.open(path) as second, pytest.raises(ConflictError, match=f"driven by process {os.getpid()} on host"):
        second.record_many([record(0)])
    journal.record_many([record(0)])


def test_a_released_lease_may_be_taken(journal, path):
    assert journal.acquire() == journal.acquire() == 1
    journal.release()
    with Journal.open(path) as second:
        assert second.acquire() == 2


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path):
    path = tmp_path / "journal.sqlite"
    code = (
        "import sys, time; from knowable.runs import Journal; j = Journal.create(sys.argv[1], {}); j.acquire();"
        "print('held', flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with Journal.open(path) as second:
            with pytest.raises(ConflictError, match=f"process {process.pid}"):
                second.acquire()
            process.send_signal(signal.SIGKILL)
            deadline = time.monotonic() + 10
            while second.holder.alive(time.time()):  # a zombie counts as dead: nobody has waited for it yet
                assert time.monotonic() < deadline
            assert second.acquire() == 2


def test_an_expired_lease_is_taken_over_and_the_old_driver_is_fenced_off(path):
    path.parent.mkdir()
    now = [1000.0]
    with Journal.create(path, {}, clock=lambda: now[0]) as old, Journal.open(path, clock=lambda: now[0]) as new:
        old.record_many([record(0)])
        now[0] += EXPIRY_SECONDS - 1
        with pytest.raises(ConflictError):
            new.acquire()
        now[0] += 2
        assert new.acquire() == 2
        for write in (lambda: old.record_many([record(1)]), lambda: old.finish("x"), lambda: old.plan(3)):
            with pytest.raises(ConflictError, match=r"lost the run 'run' .*epoch 1.* epoch 2"):
                write()
        new.record_many([record(2)])
        assert [r.number for r in new.trials()] == [0, 2]


def test_a_reused_process_id_does_not_keep_a_lease_alive(journal, path):
    journal.acquire()
    journal._connection.execute("UPDATE sessions SET process_started = process_started + 1")
    with Journal.open(path) as second:
        assert second.acquire() == 2


def test_a_lease_of_another_host_binds_until_its_heartbeat_expires(journal, path):
    journal.acquire()
    journal._connection.execute("UPDATE sessions SET host = 'elsewhere/1/2', pid = 1")
    with Journal.open(path) as second:
        with pytest.raises(ConflictError, match="process 1 on host elsewhere"):
            second.acquire()
        journal._connection.execute("UPDATE sessions SET heartbeat = heartbeat - ?", (EXPIRY_SECONDS + 1,))
        assert second.acquire() == 2


def test_the_heartbeat_goes_on_while_the_driver_is_busy(path, monkeypatch):
    monkeypatch.setattr("knowable.runs.lease.HEARTBEAT_SECONDS", 0.02)
    path.parent.mkdir()
    with Journal.create(path, {}) as journal:
        journal.acquire()
        first = journal.holder.heartbeat
        deadline = time.monotonic() + 10
        while journal.holder.heartbeat <= first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


# ------------------------------------------------------------------------------------------------------------ damage


def filled(path, n=400):
    path.parent.mkdir(exist_ok=True)
    with Journal.create(path, {"strategy": "M"}) as journal:
        journal.record_many(record(i, i / 7) for i in range(n))
    return path.read_bytes()


def test_an_absent_or_foreign_file_says_so(tmp_path):
    with pytest.raises(RunError, match="There is no journal at"):
        Journal.open(tmp_path / "none")
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(RunError, match="not a database"):
        Journal.open(tmp_path / "text")
    connection = sqlite3.connect(tmp_path / "other")
    connection.execute("CREATE TABLE t(a)")
    connection.close()
    with pytest.raises(RunError, match="not a Knowable journal"):
        Journal.open(tmp_path / "other")
    (tmp_path / "empty").touch()
    with pytest.raises(RunError, match="not a Knowable journal"):
        Journal.read(tmp_path / "empty")


def test_a_journal_is_never_made_over_another(path):
    filled(path)
    with pytest.raises(RunError, match="There is a journal already"):
        Journal.create(path, {})


def test_a_newer_format_is_refused_naming_both(path):
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=2")
    connection.close()
    for opener in (Journal.open, Journal.read):
        with pytest.raises(RunError, match=r"format 2, written by a newer release; this release reads formats up to 1"):
            opener(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_file_is_an_error_and_salvage_reads_what_is_whole(path, share):
    whole = filled(path)
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(RunError, match=r"journal\.sqlite' could not be opened: .*\n.*salvage"):
        Journal.open(path)
    n_trials = salvage(path, path.parent / "new.sqlite")
    with Journal.read(path.parent / "new.sqlite") as saved:
        trials = saved.trials()
        assert len(trials) == n_trials
        assert all(trial == record(trial.number, trial.number / 7) for trial in trials)
        assert saved.header == {"strategy": "M"}


@pytest.mark.parametrize("text", [b"0.14285714285714285", b"key-main-300", b'"b":0.1', b"grid"])
def test_a_flipped_bit_is_never_a_wrong_number(path, text):
    whole = filled(path)
    expected = [record(i, i / 7) for i in range(400)]
    places = [at for at in range(len(whole)) if whole.startswith(text, at)][:6]
    n_noticed = 0
    for at in places:
        last = at + len(text) - 1
        path.write_bytes(whole[:last] + bytes([whole[last] ^ 1]) + whole[last + 1 :])
        try:
            with Journal.read(path) as journal:
                assert journal.trials() == expected  # a free part of a page
        except RunError:
            n_noticed += 1
            with pytest.raises(RunError, match=r"journal\.sqlite' (is damaged|could not be opened)"):
                whole_or_error(path)
            copy = path.with_name(f"{at}.sqlite")
            assert salvage(path, copy) >= 398
            with Journal.open(copy) as saved:
                assert [trial for trial in saved.trials() if trial not in expected] == []
    assert n_noticed >= 1


def whole_or_error(path):
    with Journal.open(path) as journal:
        return journal.trials()


def test_a_torn_write_ahead_log_loses_only_the_torn_commit(path):
    """The process dies while the last commit is being written: the log is cut at any byte of it."""
    path.parent.mkdir()
    journal = Journal.create(path, {})
    journal.record_many([record(0)])
    log = path.with_name("journal.sqlite-wal")
    before = log.stat().st_size
    journal.record_many([record(1)])
    image, tail = path.read_bytes(), log.read_bytes()
    journal.close()
    for number, size in enumerate(
        {before, before + 1, before + 24, (before + len(tail)) // 2, len(tail) - 1, len(tail)}
    ):
        copy = path.parent / f"copy{number}" / "journal.sqlite"
        copy.parent.mkdir()
        copy.write_bytes(image)
        copy.with_name("journal.sqlite-wal").write_bytes(tail[:size])
        with Journal.open(copy) as torn:
            assert [r.number for r in torn.trials()] == ([0, 1] if size == len(tail) else [0])
            torn.release()


def test_a_full_disk_is_a_clear_error_and_the_journal_stays_readable(journal, path):
    journal.record_many([record(0)])
    pages = journal.query("PRAGMA page_count")[0][0]
    journal._connection.execute(f"PRAGMA max_page_count={pages + 3}")  # SQLite then answers as on a full disk
    many = [record(i, moments=b"x" * 4000) for i in range(1, 50)]
    with pytest.raises(RunError, match=r"database or disk is full\.\nFree some space"):
        journal.record_many(many)
    assert [r.number for r in journal.trials()] == [0]
    journal.close()
    with Journal.open(path) as again:
        again.record_many(many)
        assert len(again.trials()) == 50


def test_what_was_recorded_survives_a_kill_at_any_moment(tmp_path):
    code = (
        "import sys; from knowable.runs import Journal, Outcome, TrialRecord\n"
        "j = Journal.create(sys.argv[1], {})\n"
        "for n in range(10**6):\n"
        "    j.record_many([TrialRecord(key=str(n), study='s', number=n, params={}, source='', outcome=Outcome())])\n"
        "    print(n, flush=True)\n"
    )
    for i in range(3):
        path = tmp_path / f"{i}.sqlite"
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
            for _ in range(20 + 13 * i):
                process.stdout.readline()
            process.kill()
            said = process.stdout.read().split()
        with Journal.open(path) as journal:
            numbers = [r.number for r in journal.trials()]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) > int(said[-1] if said else 0)
            assert journal.acquire() == 2
