"""The journal of a run: one SQLite file, one writer, group commits, and the truth about every trial.

Everything else (scheduler, workers, driver, notebook) may die at any moment; what `record_many` has returned from is on
the disk. A trial is named by its key, the first outcome of a key stays, and a different second one is reported.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from knowable.errors import ConflictError, RunError
from knowable.runs import lease
from knowable.runs.canonical import canonical_json
from knowable.runs.records import (
    Conflict,
    Outcome,
    TrialRecord,
    conflict,
    metrics_from_text,
    metrics_text,
    row_digest,
)
from knowable.runs.storage import (
    check_format,
    connect,
    connect_to_read,
    create_tables,
    in_our_words,
    transaction,
)

__all__ = ["JOURNAL_NAME", "Journal"]

JOURNAL_NAME = "journal.sqlite"
_OUTCOME_COLUMNS = "key, kind, metrics, moments, error, seconds, worker, epoch, digest"
_TRIAL_COLUMNS = "study, number, key, params, source, digest"
_CONFLICT_COLUMNS = "key, study, number, first, second"
_OUTCOME = "o.kind, o.metrics, o.moments, o.error, o.seconds, o.worker, o.digest"


class Journal:
    """Trials of one run on disk.

    Made by `create`, `open`, `read` or `in_memory`. Writing takes the lease first (`acquire`, or the first write
    does); a second driver gets ConflictError. Use as a context manager, or `close` it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        read_only: bool = False,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._connection = connection
        self._clock = clock
        self._lock = threading.RLock()
        self._epoch: int | None = None
        self._heartbeat: lease.Heartbeat | None = None
        self._keys: set[str] | None = None
        self._asked: dict[tuple[str, int], str] | None = None

    @classmethod
    def create(cls, path: str | Path, header: Mapping[str, object], *, clock: Callable[[], float] = time.time) -> Self:
        """Make the journal of a new run.

        Args:
            path: the file to make; `JOURNAL_NAME` in the folder of the run.
            header: the run's specification, plain values; kept as canonical JSON that any SQLite tool can show.
        Raises: RunError if the file exists or cannot be made; InputError if the header is not plain.
        """
        path = Path(path)
        text = canonical_json(header, where="header")
        if path.exists():
            raise RunError(f"There is a journal already at '{path}'. Open it to resume, or start a new run.")
        with in_our_words(path, "made"):
            return cls._laid_out(connect(path), path, text, clock)

    @classmethod
    def in_memory(cls, header: Mapping[str, object] | None = None) -> Self:
        """A journal that ends with the process: for small runs that keep no folder."""
        text = canonical_json(header or {}, where="header")
        return cls._laid_out(connect(None), None, text, time.time)

    @classmethod
    def _laid_out(
        cls, connection: sqlite3.Connection, path: Path | None, header: str, clock: Callable[[], float]
    ) -> Self:
        try:
            create_tables(connection)
            connection.execute("INSERT INTO meta VALUES ('header', ?), ('created', ?)", (header, repr(clock())))
        except BaseException:
            connection.close()
            raise
        return cls(connection, path, clock=clock)

    @classmethod
    def open(cls, path: str | Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Open an existing journal to go on with the run; the lease is taken by `acquire` or the first write.

        Raises: RunError naming the file if it is absent, damaged, no journal, or of a newer format.
        """
        return cls._opened(Path(path), connect, clock, read_only=False)

    @classmethod
    def read(cls, path: str | Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Open an existing journal only to look at it, also while a driver writes; errors as for `open`."""
        return cls._opened(Path(path), connect_to_read, clock, read_only=True)

    @classmethod
    def _opened(
        cls,
        path: Path,
        connector: Callable[[Path], sqlite3.Connection],
        clock: Callable[[], float],
        *,
        read_only: bool,
    ) -> Self:
        if not path.is_file():
            raise RunError(f"There is no journal at '{path}'. Name the folder of a run, as `knowable runs` shows it.")
        with in_our_words(path, "opened"):
            connection = connector(path)
            try:
                check_format(connection, path, thorough=not read_only)
            except BaseException:
                connection.close()
                raise
            return cls(connection, path, clock=clock, read_only=read_only)

    # ------------------------------------------------------------------ lease

    def acquire(self) -> int:
        """Take the lease and return its epoch; does nothing if this journal holds it.

        A live driver elsewhere is refused with ConflictError naming it. The lease of a process that died on this host,
        or whose heartbeat is older than a minute, is taken over, and the old driver's writes are refused from then on.
        """
        if self.read_only:
            raise RunError(f"The journal '{self.path}' was opened to read; use `Journal.open` to write.")
        with self._lock, in_our_words(self.path, "locked"):
            if self._epoch is not None:
                return self._epoch
            self._connection.execute("PRAGMA journal_mode=WAL")
            with transaction(self._connection):
                self._epoch = lease.take(self._connection, lease.me(self._clock()), self.path or Path("memory/-"))
            self._keys = self._asked = None  # another driver may have written since
            if self.path is not None:
                path = self.path
                self._heartbeat = lease.Heartbeat(lambda: connect(path), self._epoch, self._clock)
            return self._epoch

    def release(self) -> None:
        """Give the lease back; the run then counts as interrupted unless `finish` was called."""
        with self._lock, in_our_words(self.path, "released"):
            if self._heartbeat is not None:
                self._heartbeat.stop()
                self._heartbeat = None
            if self._epoch is not None:
                self._connection.execute(
                    "UPDATE sessions SET released = 1, heartbeat = ? WHERE epoch = ?", (self._clock(), self._epoch)
                )
                self._epoch = None
                with contextlib.suppress(sqlite3.Error):  # a reader may hold it; then the log stays beside the file
                    self._connection.execute("PRAGMA journal_mode=DELETE")

    @property
    def holder(self) -> lease.Holder | None:
        """The last driver that took the lease, dead or alive."""
        with self._lock, in_our_words(self.path, "read"):
            return lease.newest(self._connection)

    @property
    def holds_lease(self) -> bool:
        """Whether this very object holds the lease, as far as it knows."""
        return self._epoch is not None

    # ---------------------------------------------------------------- writing

    def record_many(self, records: Iterable[TrialRecord]) -> tuple[Conflict, ...]:
        """Put trials on the disk in one commit; all of them are there when this returns, or none.

        The first outcome of a key stays. Returns the conflicts: trials whose outcome differs from the one their key
        already has. Raises: ConflictError if another driver took the run over; RunError if the disk refuses, or if
        the number of a trial was already used for other parameters (other code or seed than at the start).
        """
        records = list(records)
        if not records:
            return ()
        epoch = self.acquire()
        with self._lock, in_our_words(self.path, "written"):
            if self._keys is None or self._asked is None:
                self._keys, self._asked = self._remembered()
            with transaction(self._connection):
                lease.check(self._connection, epoch, self.path or Path("memory/-"))
                fresh, new, conflicts = self._sorted(records, self._keys, self._asked)
                self._insert("outcomes", _OUTCOME_COLUMNS, (_outcome_row(record, epoch) for record in fresh.values()))
                self._insert("trials", _TRIAL_COLUMNS, (_trial_row(record) for record in new.values()))
                self._insert(
                    "conflicts", _CONFLICT_COLUMNS, ((c.key, c.study, c.number, c.first, c.second) for c in conflicts)
                )
            self._keys.update(fresh)
            self._asked.update((place, record.key) for place, record in new.items())
            return tuple(conflicts)

    def _insert(self, table: str, columns: str, rows: Iterable[tuple[object, ...]]) -> None:
        marks = ", ".join("?" * (columns.count(",") + 1))
        self._connection.executemany(f"INSERT INTO {table}({columns}) VALUES ({marks})", rows)  # noqa: S608

    def _sorted(
        self, records: Iterable[TrialRecord], keys: set[str], asked: Mapping[tuple[str, int], str]
    ) -> tuple[dict[str, TrialRecord], dict[tuple[str, int], TrialRecord], list[Conflict]]:
        """What is new in `records`: first outcomes by key, trials by place, and the conflicts with known outcomes."""
        fresh: dict[str, TrialRecord] = {}
        new: dict[tuple[str, int], TrialRecord] = {}
        conflicts = []
        for record in records:
            if record.key in fresh or record.key in keys:
                first = fresh[record.key].outcome if record.key in fresh else self._outcome_of(record.key)
                if first is not None and first is not record.outcome and not first.same_result(record.outcome):
                    conflicts.append(conflict(record, first))
            else:
                fresh[record.key] = record
            place = (record.study, int(record.number))
            known = new[place].key if place in new else asked.get(place)
            if known is None:
                new[place] = record
            else:
                self._check_same_trial(*place, known, record.key)
        return fresh, new, conflicts

    def _check_same_trial(self, study: str, number: int, known: str, key: str) -> None:
        if known != key:
            raise RunError(
                f"Trial {number} of study {study!r} is in the journal '{self.path}' with other parameters, code or "
                f"data (key {known[:8]}, now {key[:8]}).\n"
                "The run was begun with another strategy, seed, data version or release. Start a new run."
            )

    def plan(self, n_trials: int) -> None:
        """Note how many trials the run intends, for the catalogue."""
        self._set_meta("planned", repr(int(n_trials)))

    def finish(self, reason: str) -> None:
        """Note that the run has ended, and why in a sentence."""
        self._set_meta("finished", canonical_json({"reason": reason, "time": self._clock()}))

    def _set_meta(self, name: str, value: str) -> None:
        epoch = self.acquire()
        with self._lock, in_our_words(self.path, "written"), transaction(self._connection):
            lease.check(self._connection, epoch, self.path or Path("memory/-"))
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    # ---------------------------------------------------------------- reading

    @property
    def header(self) -> dict[str, Any]:
        """The run's specification as it was given to `create`."""
        value: dict[str, Any] = json.loads(self._meta("header") or "{}")
        return value

    @property
    def created(self) -> float:
        """Seconds since 1970 when the run was made."""
        return float(self._meta("created") or 0.0)

    @property
    def planned(self) -> int | None:
        """How many trials the run intends, if that was noted."""
        text = self._meta("planned")
        return None if text is None else int(text)

    @property
    def finished(self) -> str | None:
        """Why the run ended, in a sentence; None while it has not."""
        text = self._meta("finished")
        return None if text is None else str(json.loads(text)["reason"])

    def _meta(self, name: str) -> str | None:
        with self._lock, in_our_words(self.path, "read"):
            row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row[0])

    def find(self, key: str) -> Outcome | None:
        """The outcome recorded for `key`, or None. Raises RunError if its row is damaged."""
        with self._lock, in_our_words(self.path, "read"):
            if self._epoch is not None:  # only the holder may remember: nobody else writes
                if self._keys is None:
                    self._keys, self._asked = self._remembered()
                if key not in self._keys:
                    return None
            return self._outcome_of(key)

    def asked(self, study: str, number: int, key: str) -> bool:
        """Whether this trial is in the journal; RunError if its number stands for other parameters there."""
        with self._lock, in_our_words(self.path, "read"):
            if self._asked is None:
                self._keys, self._asked = self._remembered()
            known = self._asked.get((study, number))
        if known is not None:
            self._check_same_trial(study, number, known, key)
        return known is not None

    def _remembered(self) -> tuple[set[str], dict[tuple[str, int], str]]:
        execute = self._connection.execute
        keys = {key for (key,) in execute("SELECT key FROM outcomes")}
        return keys, {(s, n): key for s, n, key in execute("SELECT study, number, key FROM trials")}

    def _outcome_of(self, key: str) -> Outcome | None:
        row = self._connection.execute(f"SELECT {_OUTCOME} FROM outcomes o WHERE o.key = ?", (key,)).fetchone()  # noqa: S608
        return None if row is None else self._decode(key, row)

    def trials(self, study: str | None = None) -> list[TrialRecord]:
        """All trials of the run, or of one study, in order of study and number.

        Two trials with equal parameters share an outcome. Raises RunError naming the first damaged row.
        """
        return list(self._records("" if study is None else " WHERE t.study = ?", () if study is None else (study,)))

    def trials_in_row(self, seq: int) -> list[TrialRecord]:
        """The trial written as number `seq` (from 1), or none; for reading around damage."""
        return list(self._records(" WHERE t.seq = ?", (seq,)))

    def _records(self, where: str, values: Sequence[object]) -> Iterator[TrialRecord]:
        query = (
            f"SELECT t.study, t.number, t.key, t.params, t.source, t.digest, {_OUTCOME} FROM trials t"  # noqa: S608
            f" LEFT JOIN outcomes o ON o.key = t.key{where} ORDER BY t.study, t.number"
        )
        with self._lock, in_our_words(self.path, "read"):
            rows = self._connection.execute(query, values).fetchall()
        for name, number, key, params, source, digest, *cells in rows:
            if row_digest(name, number, key, params, source) != digest:
                raise self._damaged(f"trial {number} of study {name!r}")
            outcome = self._decode(key, cells)
            yield TrialRecord(
                key=key, study=name, number=number, params=json.loads(params), source=source, outcome=outcome
            )

    def _decode(self, key: str, cells: Sequence[Any]) -> Outcome:
        kind, metrics, moments, error, seconds, worker, digest = cells
        if kind is None or row_digest(key, kind, metrics, moments, error) != digest:
            raise self._damaged(f"the outcome with key {key}")
        return Outcome(
            metrics=metrics_from_text(metrics),
            moments=moments,
            error=error,
            kind=kind,
            seconds=seconds,
            worker=worker,
        )

    def _damaged(self, what: str) -> RunError:
        return RunError(
            f"The journal '{self.path}' is damaged: {what} does not match its checksum.\n"
            "`knowable.runs.salvage(path, new_path)` copies the trials that are whole to a new journal."
        )

    def conflicts(self) -> tuple[Conflict, ...]:
        """All reports of non-determinism so far."""
        with self._lock, in_our_words(self.path, "read"):
            rows = self._connection.execute("SELECT key, study, number, first, second FROM conflicts").fetchall()
        return tuple(Conflict(key=k, study=s, number=n, first=a, second=b) for k, s, n, a, b in rows)

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a SELECT, for the catalogue and for anyone's own tables."""
        with self._lock, in_our_words(self.path, "read"):
            return self._connection.execute(sql, values).fetchall()

    # ---------------------------------------------------------------- closing

    def close(self) -> None:
        """Release the lease and fold the write-ahead log into the one file; closing twice is fine."""
        with self._lock:
            try:
                self.release()
            finally:
                self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            try:
                self.close()
            except (ConflictError, RunError, sqlite3.Error):
                if exc[0] is None:  # else the error that ended the block says more
                    raise


def _outcome_row(record: TrialRecord, epoch: int) -> tuple[object, ...]:
    outcome = record.outcome
    figures = (outcome.kind, metrics_text(outcome.metrics), outcome.moments, outcome.error)
    digest = row_digest(record.key, *figures)
    return (record.key, *figures, float(outcome.seconds), outcome.worker, epoch, digest)


def _trial_row(record: TrialRecord) -> tuple[object, ...]:
    asked = (
        record.study,
        int(record.number),
        record.key,
        canonical_json(record.params, where="params"),
        record.source,
    )
    return (*asked, row_digest(*asked))
