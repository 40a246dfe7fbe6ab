"""The SQLite file under a journal: opening it, its tables, and its errors in our words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from knowable.errors import RunError

__all__ = ["FORMAT_VERSION"]

FORMAT_VERSION = 1
APPLICATION_ID = 0x6B6E6F77  # "know", so that `file` and we can tell a journal from any other SQLite file
BUSY_SECONDS = 10.0

SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions(
    epoch INTEGER PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL, process_started INTEGER NOT NULL,
    started REAL NOT NULL, heartbeat REAL NOT NULL, released INTEGER NOT NULL);
CREATE TABLE outcomes(
    seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, metrics TEXT NOT NULL, moments BLOB,
    error TEXT, seconds REAL NOT NULL, worker TEXT NOT NULL, epoch INTEGER NOT NULL, digest BLOB NOT NULL);
CREATE TABLE trials(
    seq INTEGER PRIMARY KEY, study TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, params TEXT NOT NULL,
    source TEXT NOT NULL, digest BLOB NOT NULL, UNIQUE(study, number));
CREATE TABLE conflicts(
    seq INTEGER PRIMARY KEY, key TEXT NOT NULL, study TEXT NOT NULL, number INTEGER NOT NULL,
    first TEXT NOT NULL, second TEXT NOT NULL);
"""


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection that commits by itself unless told BEGIN; None opens a journal in memory."""
    name = ":memory:" if path is None else str(path)
    connection = sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; works beside a live driver and on a read-only disk."""
    uri = path.resolve().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "unable to open" not in str(error) and "readonly" not in str(error):
            raise
        # WAL needs a shared-memory file beside the journal; on a read-only disk nobody writes, so none is needed
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, check_same_thread=False)
    return connection


def connect_to_salvage(path: Path) -> sqlite3.Connection:
    """A connection that cannot write and reads a file that is shorter than it claims, as far as it goes."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA writable_schema=ON")  # else SQLite refuses a cut file as a whole
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """Lay out an empty file as a journal of this format."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={FORMAT_VERSION}")
    connection.executescript(SCHEMA)


def check_format(connection: sqlite3.Connection, path: Path, *, thorough: bool) -> None:
    """Raise RunError unless the file is a journal that this release can read, and is whole.

    `thorough` compares indexes with tables too, as a driver must that looks trials up by key.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise RunError(f"'{path}' is an SQLite file, but not a Knowable journal. Name the folder of a run.")
    if version > FORMAT_VERSION:
        raise RunError(
            f"The journal '{path}' has format {version}, written by a newer release; this release reads formats up to "
            f"{FORMAT_VERSION}.\nUpdate knowable to open this run."
        )
    problem = connection.execute(f"PRAGMA {'integrity' if thorough else 'quick'}_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


@contextlib.contextmanager
def in_our_words(path: Path | None, action: str) -> Iterator[None]:
    """Turn errors of SQLite into RunError with the file and the remedy."""
    try:
        yield
    except sqlite3.Error as error:
        place = f"'{path}'" if path else "in memory"
        text = str(error)
        if "full" in text:
            remedy = "Free some space, then resume; what was recorded before is whole."
        elif "locked" in text or "busy" in text:
            remedy = "Another process holds the file; close it, then resume."
        elif "unable to open" in text:
            remedy = "Check that the folder exists and may be written."
        elif "disk I/O" in text or "readonly" in text or "read-only" in text:
            remedy = "Check the disk and its permissions, then resume; what was recorded before is whole."
        else:
            remedy = (
                "The file is damaged. `knowable.runs.salvage(path, new_path)` copies the trials that are whole "
                "to a new journal; resume from that."
            )
        raise RunError(f"The journal {place} could not be {action}: {text}.\n{remedy}") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; takes the write lock at once, so that what is read inside cannot change before the commit."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
