"""The feed of a dataset: the rows of each commit, read from its own files, in the order of the versions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import pandas as pd
import pyarrow as pa

from knowable.data.schema import table_schema
from knowable.data.table.delta import Table, open_table
from knowable.data.table.files import Bounds, read_file
from knowable.data.table.log import Commit, has_commit, read_commit
from knowable.data.table.retention import dropped
from knowable.data.table.state import file_rows, files_sum, state_of
from knowable.errors import StoreError

if TYPE_CHECKING:
    from knowable.data.table.dataset import Dataset

__all__ = ["Feed", "Update", "updates"]

_ORDER = ("known_time", "revision", "entity", "event_time")
_PLACES = ("entity", "event_time", "known_time", "revision", "op", "known_basis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The rows of one commit.

    Attributes:
        version: that the commit made; go on from it after a crash.
        committed_at: UTC, by the writer's clock.
        rows: sorted by known_time, revision, entity and event_time.
    """

    version: int
    committed_at: pd.Timestamp
    rows: pa.Table

    def __repr__(self) -> str:
        return f"Update(version {self.version} of {self.committed_at:%Y-%m-%d %H:%M:%S}Z: {self.rows.num_rows:,} rows)"


class Feed:
    """A place in the log of a dataset, and what comes after it.

    Args:
        dataset: followed.
        table: at the version to go on from.
        fields: to read; all of the schema then when None.
        entities: to read; all when None.
    """

    def __init__(
        self, dataset: Dataset, table: Table, *, fields: Sequence[str] | None, entities: Sequence[str] | None
    ) -> None:
        self._dataset, self._fields, self._entities = dataset, fields, entities
        self._place = _Place.of(table)

    @property
    def version(self) -> int:
        """The last one that was looked at."""
        return self._place.version

    def step(self) -> Update | None:
        """Look at the next commit, which must be there; None if it brought no rows that are wanted."""
        commit = read_commit(self._dataset.observations, self.version + 1, self._dataset.name)
        self._place = self._place.after(commit)
        if not commit.new:
            return None
        rows = _rows(self._dataset, self._place.table.schema, commit, self._fields, self._entities)
        moment = pd.Timestamp(commit.at, unit="ms", tz="UTC")
        return Update(version=commit.version, committed_at=moment, rows=rows) if rows.num_rows else None

    def has_more(self) -> bool:
        """Whether there is a next commit."""
        return has_commit(self._dataset.observations, self.version + 1)

    def take(self) -> Iterator[Update]:
        """The updates there are by now."""
        while self.has_more():
            update = self.step()
            if update is not None:
                yield update


def updates(
    feed: Feed, *, poll: float, until: int | None, timeout: float | None, stop: threading.Event
) -> Iterator[Update]:
    """Yield what `Store.follow` promises.

    Args:
        feed: from where.
        poll: seconds between looks.
        until: last version.
        timeout: seconds without a commit after which to end.
        stop: ends it when set.
    """
    last = time.monotonic()
    while not stop.is_set() and (until is None or feed.version < until):
        if feed.has_more():
            update = feed.step()
            last = time.monotonic()
            if update is not None:
                yield update
        elif timeout is not None and time.monotonic() - last >= timeout:
            return
        else:
            stop.wait(poll)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a follower stands in the log: a version, and what proves the next entry right."""

    table: Table
    version: int
    total: int
    n_files: int

    @classmethod
    def of(cls, table: Table) -> Self:
        return cls(table=table, version=table.version, total=table.files_sum, n_files=table.files.num_rows)

    def after(self, commit: Commit) -> Self:
        """The place after the next commit. An entry that only adds is held against the state its writer stated, at the
        cost of what it adds; at any other the table is opened, which does the same for the whole of it.

        Raises: StoreError if the log is damaged.
        """
        if commit.removed or commit.shapes or commit.state is None:
            return self.of(open_table(self.table.location, commit.version, self.table.name))
        try:
            total, n_files = self.total + files_sum(file_rows(commit.added)), self.n_files + len(commit.added)
            state = state_of(total, n_files, self.table.schema, self.table.properties)
        except (KeyError, TypeError, ValueError):
            state = "no statistics"
        if state != commit.state:
            raise StoreError(
                f"The log of dataset {self.table.name!r} in {self.table.location} is damaged: the entry of version "
                f"{commit.version} lists other files than its commit did. Restore the log from a copy."
            )
        return replace(self, version=commit.version, total=total, n_files=n_files)


def _rows(
    dataset: Dataset, schema: pa.Schema, commit: Commit, fields: Sequence[str] | None, entities: Sequence[str] | None
) -> pa.Table:
    """The rows that came with a commit. Raises: StoreError, saying so where retention removed them."""
    if fields is not None:
        newest = table_schema(dataset.schema)
        schema = pa.schema([newest.field(name) for name in (*_PLACES, *fields)])
    bounds = Bounds(entities=None if entities is None else tuple(sorted(set(entities))))
    parts = [schema.empty_table()]
    for file in commit.added:
        try:
            parts += read_file(dataset.observations, file.path, file.size, schema, bounds)
        except StoreError as error:
            if commit.version in dropped(dataset.location) and not dataset.observations.exists(file.path):
                raise StoreError(
                    f"The rows of version {commit.version} of {dataset.name!r} were removed by retention after a "
                    "compaction.\nRead a version that is kept (store.versions says which), then follow from that one."
                ) from error
            raise
    rows = pa.concat_tables(parts).combine_chunks()
    return rows.sort_by([(name, "ascending") for name in _ORDER])
