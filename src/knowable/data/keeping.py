"""`Keeping`: the part of a store that looks after versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.base import StoreBase, check_fields, check_names
from knowable.data.schema import Schema
from knowable.data.table import delta
from knowable.data.table.dataset import Dataset, schema_of
from knowable.data.table.diff import differences
from knowable.data.table.log import read_commit
from knowable.data.table.retention import Retention, dropped, refuse_dropped, retain_versions
from knowable.data.table.snapshots import (
    Pin,
    Snapshot,
    drop_pin,
    drop_snapshot,
    find_snapshot,
    pins,
    save_pin,
    save_snapshot,
    snapshots,
)
from knowable.data.table.upkeep import Compaction, compact_table
from knowable.data.times import instant
from knowable.errors import StoreError, unknown_name

__all__ = ["Keeping", "StoreVersion"]

_FOREVER = np.iinfo(np.int64).max
_TARGET_ROWS = 2_000_000  # about 250 MB in memory while they are sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreVersion:
    """One version of a dataset: its number, when it was committed, and the rows that came with it.

    `dropped_at` says when retention removed files it needs; it can no longer be read then.
    """

    version: int
    committed_at: pd.Timestamp
    rows: int
    known_basis: str
    dropped_at: pd.Timestamp | None = None


class Keeping(StoreBase):
    """Versions, their names and pins, what differs between them; compaction and retention."""

    def versions(self, name: str) -> tuple[StoreVersion, ...]:
        """The versions of a dataset, oldest first; version 0 is empty."""
        dataset = self._dataset(name)
        gone = dropped(dataset.location)
        found = (
            StoreVersion(
                version=int(item["version"]),
                committed_at=pd.Timestamp(item["at"], unit="ms", tz="UTC"),
                rows=int(item.get("rows", 0)),
                known_basis=str(item.get("known_basis", "")),
                dropped_at=gone.get(int(item["version"])),
            )
            for item in delta.history(dataset.open())
        )
        return tuple(sorted(found, key=lambda item: item.version))

    def schema(self, name: str, *, version: int | str | None = None) -> Schema:
        """The schema of a dataset at a version; as it is now when None.

        Raises: UnknownNameError, StoreError (no such version).
        """
        return schema_of(self._dataset(name).open(version))

    def table_path(self, name: str) -> Path | str:
        """Folder or URL of the Delta table, for readers that are not ours: DuckDB, Polars, Spark."""
        where = self._dataset(name).observations
        return where.uri if where.path is None else where.path

    def snapshot(self, name: str, *, note: str = "", datasets: Sequence[str] | None = None) -> Snapshot:
        """Give the newest versions of datasets a name; ``version=name`` then reads them wherever a version is taken.

        A snapshot does not change, and retention keeps what it names. Taking it again while nothing has changed gives
        the one there is.

        Args:
            name: such as ``"2026-q1"``: letters, digits, '.', '_' and '-'.
            note: a sentence for people.
            datasets: to include; all when None.

        Raises: InputError for other names, or where there is nothing to name; UnknownNameError (no such dataset);
            StoreError if the name is taken.
        """
        chosen = list(self.datasets()) if datasets is None else check_names(datasets, "datasets")
        tables = {item: self._dataset(item).open() for item in chosen}
        made = save_snapshot(
            self.location,
            Snapshot(
                name=name,
                versions={item: table.version for item, table in tables.items()},
                tables={item: table.id for item, table in tables.items()},
                created_at=pd.Timestamp.now("UTC"),
                note=note,
            ),
        )
        for item, version in made.versions.items():
            self._still_there(item, version)
        return made

    def snapshots(self) -> tuple[Snapshot, ...]:
        """The snapshots, oldest first. Raises: StoreError if one is damaged."""
        return snapshots(self.location)

    def drop_snapshot(self, name: str) -> None:
        """Forget a snapshot; what it named stays until retention. Raises: UnknownNameError."""
        drop_snapshot(self.location, name)

    def pin(self, name: str, version: int, *, by: str) -> Pin:
        """Say that somebody relies on a version, so that retention keeps it. Again changes nothing.

        Args:
            name: of the dataset.
            version: of it.
            by: who relies on it, such as ``"run 20260102T030405Z-Momentum"``. Runs that search a store's market do this
                by themselves.

        Raises: UnknownNameError; StoreError if there is no such version, or retention dropped it.
        """
        table = self._dataset(name).open(version)
        made = Pin(dataset=name, version=table.version, table=table.id, by=by, pinned_at=pd.Timestamp.now("UTC"))
        save_pin(self.location, made)
        try:
            self._still_there(name, made.version)
        except StoreError:
            drop_pin(self.location, name, made.version, by)
            raise
        return made

    def unpin(self, name: str, version: int, *, by: str) -> None:
        """Forget a pin. Raises: UnknownNameError if there is none; InputError."""
        drop_pin(self.location, self._dataset(name).name, version, by)

    def pins(self, name: str) -> tuple[Pin, ...]:
        """The pins of a dataset, by version. Raises: StoreError if one is damaged."""
        return pins(self.location, self._dataset(name).name)

    def diff(
        self,
        name: str,
        before: object,
        after: object = None,
        *,
        entities: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
    ) -> pa.Table:
        """What differs in the standing state between two versions or two moments.

        Args:
            name: of the dataset.
            before: a version; a snapshot's name; a moment, at which the newest version is looked at; or a mapping with
                ``version`` and ``as_of``.
            after: likewise; the newest version when None.
            entities: to compare; all when None.
            fields: to compare; all when None.

        Returns: entity, event_time, the schema's keys, change, field, before, after, known_time, sorted by entity and
            event_time. `change` is ``"added"`` or ``"withdrawn"`` (a row for each field of the period) or ``"changed"``
            (for each field that differs). `before` and `after` have the fields' type where all share one, else they are
            text. known_time is that of the row that stands after; of the withdrawal where none does; null where the
            state after knows nothing of the period.

        Raises: UnknownNameError, InputError, StoreError.
        """
        dataset = self._dataset(name)
        wanted = check_fields(dataset, fields)
        names = None if entities is None else check_names(entities)
        old, _ = self._state(name, before, names)
        new, gone = self._state(name, after, names)
        kinds = {item: dataset.schema.fields[item].physical for item in wanted}
        return differences(old, new, gone, keys=dataset.schema.keys, fields=kinds)

    def compact(self, name: str, *, target_rows: int = _TARGET_ROWS, everything: bool = False) -> Compaction:
        """Join small files into few large ones, sorted so that reads skip what they need not see.

        One transaction; no answer changes, at no version. Appends may go on meanwhile. The old files stay for older
        versions and for readers that opened them; `retain` removes them.

        Args:
            name: of the dataset.
            target_rows: of a file afterwards; what is in memory at a time.
            everything: rewrite all files, not only those of at most half of `target_rows`.

        Raises: UnknownNameError; InputError; ConflictError if others wrote without a pause: repeat it.
        """
        dataset = self._dataset(name)
        return compact_table(
            dataset.observations,
            dataset.location,
            name,
            keys=dataset.schema.keys,
            target_rows=target_rows,
            everything=everything,
        )

    def retain(self, name: str, *, keep: str | int = "30d", dry_run: bool = False) -> Retention:
        """Remove the data files that no kept version needs.

        Kept are the newest version, those `keep` names, and every version that a snapshot or a pin names. Reading a
        version that lost a file is then an error that says so; a version whose files others need stays readable.
        Files that no version ever had, which killed writers leave behind, go a week after they were written.

        Args:
            name: of the dataset.
            keep: how many of the newest versions, or for how long after a newer one took its place, such as ``"30d"``.
            dry_run: say what would be removed and how many bytes that frees, and remove nothing.

        Raises: UnknownNameError; InputError; ConflictError if a version was pinned at this very moment: repeat it;
            StoreError if a page of a pin or the log is damaged: then nothing is removed.
        """
        dataset = self._dataset(name)
        table = dataset.open()
        return retain_versions(
            dataset.observations,
            dataset.location,
            name,
            keep=keep,
            pinned=lambda: self._pinned(dataset, table.id),
            now=pd.Timestamp.now("UTC"),
            dry_run=dry_run,
        )

    def _pinned(self, dataset: Dataset, table: str) -> Mapping[int, str]:
        """Version -> who relies on it; what was said of a dataset that bore the name before does not count.

        Raises: StoreError if something was said of another table while this one was there: its log is damaged then.
        """
        name = dataset.name
        held = [(pin.version, pin.by, pin.table, pin.pinned_at) for pin in pins(self.location, name)]
        held += [
            (item.versions[name], f"snapshot {item.name}", item.tables[name], item.created_at)
            for item in snapshots(self.location)
            if name in item.versions
        ]
        late = [(by, at) for _, by, of, at in held if of != table]
        if late:
            made = pd.Timestamp(read_commit(dataset.observations, 0, name).at, unit="ms", tz="UTC")
            for by, at in late:
                if at >= made:
                    raise StoreError(
                        f"{by} pins dataset {name!r} since {at:%Y-%m-%d %H:%M}Z by a table id that its log does not "
                        f"bear, though the table was made at {made:%Y-%m-%d %H:%M}Z: the log or that page is damaged.\n"
                        "Nothing was removed. Restore it from a copy, or forget the pin or snapshot if nobody needs it."
                    )
        return {version: by for version, by, of, _ in held if of == table}

    def _still_there(self, name: str, version: int) -> None:
        """Raises: StoreError if retention dropped the version."""
        refuse_dropped(self._dataset(name).location, name, version)

    def _state(self, name: str, side: object, entities: Sequence[str] | None) -> tuple[pa.Table, pa.Table]:
        """The standing rows of one side of a comparison, and the withdrawals it knows."""
        version, moment = self._side(side)
        dataset = self._dataset(name, version)
        facts = self._load(dataset, version).facts
        places = ["entity", "event_time", "known_time", *dataset.schema.fields]
        held = facts.take(facts.standing(moment), places)
        gone = facts.take(np.flatnonzero(facts.index.retracts & (facts.index.known <= moment)), places)
        gone = gone.select(["entity", "event_time", "known_time", *dataset.schema.keys])
        if entities is not None:
            names = pa.array(list(entities), pa.string())
            held, gone = (rows.filter(pc.is_in(rows["entity"], names)) for rows in (held, gone))
        return held, gone

    def _side(self, side: object) -> tuple[Any, int]:
        if isinstance(side, Mapping):
            for key in side:
                if key not in ("version", "as_of"):
                    raise unknown_name("part of a state", key, ["version", "as_of"])
            as_of = side.get("as_of")
            return side.get("version"), _FOREVER if as_of is None else instant(as_of, "as_of")
        if side is None or (isinstance(side, int) and not isinstance(side, bool)):
            return side, _FOREVER
        if isinstance(side, str) and find_snapshot(self.location, side) is not None:
            return side, _FOREVER
        return None, instant(side, "before and after")
