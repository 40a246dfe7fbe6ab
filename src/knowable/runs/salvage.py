"""Read what is whole out of a damaged journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from knowable.errors import RunError
from knowable.runs.journal import Journal
from knowable.runs.records import TrialRecord
from knowable.runs.storage import connect_to_salvage, in_our_words

__all__ = ["salvage"]

_GROUP = 500
_LEAST_ROW_BYTES = 64


def salvage(path: str | Path, target: str | Path) -> int:
    """Copy every trial of a damaged journal that is whole to a new journal, and return how many.

    Each row is checked against its own checksum, so a damaged one is left out, never repaired: resuming from the new
    journal runs it again.

    Raises: RunError if `path` is absent, if `target` exists, or if not even the header can be read.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"There is no journal at '{path}'. Name the journal file of a run.")
    n_trials = 0
    with (
        in_our_words(path, "salvaged"),
        Journal(connect_to_salvage(path), path, read_only=True) as old,
        Journal.create(target, old.header) as new,
    ):
        for group in _whole(old, path):
            new.record_many(group)
            n_trials += len(group)
    return n_trials


def _whole(journal: Journal, path: Path) -> Iterator[list[TrialRecord]]:
    last = _last_row(journal, path)
    for start in range(1, last + 1, _GROUP):
        group: list[TrialRecord] = []
        for seq in range(start, min(start + _GROUP, last + 1)):
            try:
                group.extend(journal.trials_in_row(seq))
            except (RunError, ValueError):
                continue
        if group:
            yield group


def _last_row(journal: Journal, path: Path) -> int:
    try:
        return int(journal.query("SELECT max(seq) FROM trials")[0][0] or 0)
    except RunError:  # the page that knows is gone: no more rows than would fit into the file
        return path.stat().st_size // _LEAST_ROW_BYTES
