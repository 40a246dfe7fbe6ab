import sqlite3
from datetime import UTC, datetime, timedelta, timezone

import pytest

from knowable.errors import InputError, RunError, UnknownNameError
from knowable.runs import JOURNAL_NAME, Journal, Outcome, TrialRecord, check_run_name, list_runs, new_run, run_folder

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def record(number, y, kind="done"):
    outcome = Outcome(metrics={"y": y}) if kind == "done" else Outcome.failed("no luck")
    return TrialRecord(key=f"k{number}", study="main", number=number, params={"a": number}, source="s", outcome=outcome)


def test_a_run_folder_is_stamped_in_utc(tmp_path):
    local = NOON.astimezone(timezone(timedelta(hours=5)))
    assert new_run(tmp_path / "runs", "Momentum", now=local, token="0a1b").name == "20260301T120000Z-Momentum-0a1b"  # noqa: S106


def test_two_runs_of_one_second_have_two_folders(tmp_path):
    assert len({new_run(tmp_path, "m", now=NOON) for _ in range(20)}) == 20


def test_a_given_token_that_is_taken_is_an_error(tmp_path):
    new_run(tmp_path, "m", now=NOON, token="0000")  # noqa: S106
    with pytest.raises(RunError, match="exists already"):
        new_run(tmp_path, "m", now=NOON, token="0000")  # noqa: S106


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/etc", "a\\b", "a\0b", "a b", "-rf", ".hidden", "a..b", "x" * 101, "x" * 10_000, "é",
     "a\u202eb", "%2e%2e", "a\n", None, 3],
)  # fmt: skip
def test_names_outside_the_allow_list_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="A run name has"):
        check_run_name(name)
    with pytest.raises(InputError, match="run name"):
        new_run(tmp_path / "runs", name, now=NOON)
    with pytest.raises(InputError, match="run name"):
        run_folder(tmp_path, name)
    assert not (tmp_path / "runs").exists()


def test_a_naive_time_or_a_strange_token_is_refused(tmp_path):
    with pytest.raises(InputError, match="time zone"):
        new_run(tmp_path, "m", now=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InputError, match="hexadecimal"):
        new_run(tmp_path, "m", now=NOON, token="../x")  # noqa: S106


def test_an_unknown_run_offers_the_nearest(tmp_path):
    folder = new_run(tmp_path, "Momentum", now=NOON, token="0a1b")  # noqa: S106
    assert run_folder(tmp_path, folder.name) == folder
    with pytest.raises(UnknownNameError, match=f"Did you mean '{folder.name}'"):
        run_folder(tmp_path, folder.name.replace("Mom", "Nom"))


def test_a_link_that_leads_outside_is_neither_opened_nor_listed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    Journal.create(outside / JOURNAL_NAME, {}).close()
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "evil").symlink_to(outside)
    with pytest.raises(RunError, match="leads outside"):
        run_folder(runs, "evil")
    assert list_runs(runs) == []


def test_states_follow_from_journal_and_lease(tmp_path):
    header = {"strategy": "Momentum", "objective": "y", "direction": "minimize"}
    folder = new_run(tmp_path, "m", now=NOON)
    with Journal.create(folder / JOURNAL_NAME, header) as journal:
        assert [row.state for row in list_runs(tmp_path)] == ["interrupted"]
        journal.plan(5)
        journal.record_many([record(0, 3.0), record(1, -1.5), record(2, float("nan")), record(3, 0.0, "failed")])
        (row,) = list_runs(tmp_path)
        assert (row.state, row.n_done, row.n_failed, row.n_planned, row.best) == ("running", 3, 1, 5, -1.5)
    assert [row.state for row in list_runs(tmp_path)] == ["interrupted"]
    with Journal.open(folder / JOURNAL_NAME) as journal:
        journal.finish("All trials are done.")
    (row,) = list_runs(tmp_path)
    assert (row.state, row.strategy, row.name) == ("finished", "Momentum", folder.name)
    assert row.seconds >= 0
    assert [file.name for file in folder.iterdir()] == [JOURNAL_NAME]


def test_a_damaged_run_does_not_hide_the_others(tmp_path):
    for hour in range(3):
        folder = new_run(tmp_path, "m", now=NOON + timedelta(hours=hour))
        Journal.create(folder / JOURNAL_NAME, {}).close()
        if hour == 1:
            (folder / JOURNAL_NAME).write_bytes(b"not a database at all" * 100)
    (tmp_path / "notes").mkdir()
    (tmp_path / "a file").write_text("x")
    rows = list_runs(tmp_path)
    assert [row.state for row in rows] == ["interrupted", "damaged", "interrupted"]
    assert str(tmp_path) in rows[1].problem


def test_best_is_asked_for_without_trusting_the_metric_name(tmp_path):
    for name in ('y"; DROP TABLE outcomes; --', "absent", 'a"b', "$"):
        folder = new_run(tmp_path, "m")
        with Journal.create(folder / JOURNAL_NAME, {"objective": name}) as journal:
            journal.record_many([record(0, 3.0)])
    assert [(row.best, row.n_done) for row in list_runs(tmp_path)] == [(None, 1)] * 4


def test_a_folder_that_is_not_there_has_no_runs(tmp_path):
    assert list_runs(tmp_path / "none") == []


def test_anyone_can_read_the_header(tmp_path):
    Journal.create(tmp_path / "j", {"b": 1, "a": [True, None]}).close()
    connection = sqlite3.connect(tmp_path / "j")
    try:
        assert connection.execute("SELECT value FROM meta WHERE name = 'header'").fetchone() == (
            '{"a":[true,null],"b":1}',
        )
    finally:
        connection.close()
