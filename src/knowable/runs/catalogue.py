"""The catalogue of runs: a folder of run folders; their state is read from the journals, never kept twice."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from knowable.errors import InputError, RunError, shown
from knowable.runs.journal import JOURNAL_NAME, Journal
from knowable.runs.names import check_run_name, inside

__all__ = ["RunRow", "list_runs", "new_run"]

State = Literal["running", "interrupted", "finished", "damaged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run in the catalogue.

    Args:
        name: the folder's name.
        strategy: ``header["strategy"]``, or "".
        state: running (a live driver holds the lease), finished, interrupted (resume it), or damaged.
        n_done, n_failed: trials recorded; n_planned: trials intended, or None if that was not noted.
        best: best ``header["objective"]`` over all trials (``header["direction"]``, "maximize" unless said), or None.
        started: when the run was made, UTC.
        seconds: time some driver worked on it.
        problem: why it is damaged, or "".
    """

    name: str
    strategy: str = ""
    state: State
    n_done: int = 0
    n_failed: int = 0
    n_planned: int | None = None
    best: float | None = None
    started: datetime | None = None
    seconds: float = 0.0
    problem: str = ""


def new_run(runs_dir: str | Path, name: str, *, now: datetime | None = None, token: str | None = None) -> Path:
    """Make the folder of a new run, ``<utc stamp>-<name>-<4 hex digits>``, and return it.

    Args:
        runs_dir: made if absent.
        name: letters, digits, ``.``, ``_``, ``-``.
        now: an aware time; the present unless given.
        token: four hexadecimal digits; random unless given.
    Raises: InputError on a name, time or token that is not allowed; RunError if the folder cannot be made.
    """
    moment = datetime.now(UTC) if now is None else now
    if moment.tzinfo is None:
        raise InputError(f"`now` must have a time zone, but now={shown(now)}, in new_run.")
    digits = secrets.token_hex(2) if token is None else token
    if not re.fullmatch(r"[0-9a-f]{4}", digits):
        raise InputError(f"`token` must be four hexadecimal digits, but token={shown(token)}, in new_run.")
    check_run_name(name)
    full = check_run_name(f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{name}-{digits}")
    folder = Path(runs_dir) / full
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"`runs_dir` must be a folder, but '{folder.parent}' cannot be one: {error.strerror}."
        ) from error
    try:
        folder.mkdir()
    except FileExistsError as error:
        if token is None:  # one in 65,536 within the same second
            return new_run(runs_dir, name, now=now)
        raise RunError(f"The run folder '{folder}' exists already; give another name or token.") from error
    except OSError as error:
        raise RunError(f"The run folder '{folder}' cannot be made: {error.strerror}.") from error
    return folder


def list_runs(runs_dir: str | Path, *, now: float | None = None) -> list[RunRow]:
    """All runs in a folder, newest first.

    Folders without a journal are no runs; links that lead outside are not followed; a journal that cannot be read
    gives a row with state "damaged" and the reason, so that one bad run does not hide the others.
    """
    root = Path(runs_dir)
    if not root.is_dir():
        return []
    moment = time.time() if now is None else now
    rows = []
    for folder in sorted(root.iterdir(), reverse=True):
        with contextlib.suppress(InputError):
            check_run_name(folder.name)
            if inside(folder, root) and (folder / JOURNAL_NAME).is_file():
                rows.append(_row(folder, moment))
    return rows


def _row(folder: Path, now: float) -> RunRow:
    try:
        with Journal.read(folder / JOURNAL_NAME) as journal:
            return _summary(folder.name, journal, now)
    except (RunError, ValueError) as error:
        return RunRow(name=folder.name, state="damaged", problem=str(error))


def _summary(name: str, journal: Journal, now: float) -> RunRow:
    header, holder = journal.header, journal.holder
    counts = dict(
        journal.query("SELECT o.kind, count(*) FROM trials t JOIN outcomes o ON o.key = t.key GROUP BY o.kind")
    )
    state: State = "interrupted"
    if holder is not None and holder.alive(now):
        state = "running"
    elif journal.finished is not None:
        state = "finished"
    seconds = journal.query("SELECT total(heartbeat - started) FROM sessions")[0][0]
    return RunRow(
        name=name,
        strategy=str(header.get("strategy", "")),
        state=state,
        n_done=counts.get("done", 0),
        n_failed=counts.get("failed", 0),
        n_planned=journal.planned,
        best=_best(journal, header.get("objective"), header.get("direction", "maximize")),
        started=datetime.fromtimestamp(journal.created, UTC),
        seconds=float(seconds),
    )


def _best(journal: Journal, objective: object, direction: object) -> float | None:
    if not isinstance(objective, str) or '"' in objective:
        return None
    extreme = "min" if direction == "minimize" else "max"
    path = f'$."{objective}"'
    row = journal.query(
        f"SELECT {extreme}(json_extract(metrics, ?)) FROM outcomes"  # noqa: S608
        " WHERE kind = 'done' AND json_type(metrics, ?) IN ('real', 'integer')",
        (path, path),
    )
    return None if row[0][0] is None else float(row[0][0])
