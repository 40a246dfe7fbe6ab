"""`Dataset`: where one dataset lives, and the append that changes it."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.ingest.batch import Known, make_batch
from knowable.data.ingest.judge import IngestReport, Judged, join, judge, settle
from knowable.data.ingest.refused import QUARANTINE, broken_rows
from knowable.data.ingest.source import BrokenLine, Source, as_paths, from_file, from_memory
from knowable.data.names import check_dataset_name
from knowable.data.schema import BASES, Schema, lag_ns, table_schema
from knowable.data.table import delta
from knowable.data.times import instant
from knowable.errors import DataError, InputError, StoreError, unknown_name

__all__ = ["Dataset", "create_dataset", "open_dataset"]

_PAGE = "schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One folder: `schema.json`, the Delta table `observations`, and the Delta table `quarantine`."""

    name: str
    folder: Path
    schema: Schema

    @property
    def observations(self) -> Path:
        """Folder of the Delta table any engine can read."""
        return self.folder / "observations"

    @property
    def quarantine(self) -> Path:
        """Folder of the Delta table of refused rows."""
        return self.folder / "quarantine"

    def open(self, version: int | None = None) -> Any:
        """The Delta table at a version. Raises: StoreError."""
        return delta.open_table(self.observations, version, self.name)

    def append(
        self,
        data: object,
        *,
        columns: Mapping[str, str] | None,
        tz: str | None,
        known_lag: str | None,
        known_time: object,
        known_basis: str | None,
    ) -> IngestReport:
        """Judge the rows of `data` and commit the good ones; `Store.append` says what the arguments mean."""
        known = self._known(known_lag, known_time, known_basis)
        sources, unreadable = _sources(data)
        batch_id = _batch_id(sources, unreadable, [columns and dict(columns), tz, str(known)])
        n_rows = sum(source.table.num_rows for source in sources)
        table = self.open()
        if delta.committed(table, batch_id):
            return self._nothing_new(table.version(), n_rows, known.basis)
        judged = join([judge(self._batch(source, columns, tz, known), self.schema, batch_id) for source in sources])
        lost = [broken_rows(file, (broken,), batch_id) for file, broken in unreadable]
        judged = replace(judged, bad=pa.concat_tables([judged.bad, *lost]))
        with delta.locked(self.folder):
            table = self.open()
            if delta.committed(table, batch_id):  # another writer landed it while this one was judging
                return self._nothing_new(table.version(), n_rows, known.basis)
            judged = settle(judged, self._neighbours(table, judged.clean), batch_id, known.basis)
            version = self._commit(table, judged, batch_id, known.basis)
        return _report(self.name, judged, version, known.basis)

    def _batch(self, source: Source, columns: Mapping[str, str] | None, tz: str | None, known: Known) -> Any:
        stated = {*source.table.column_names, *(columns or {}).values()}
        if "known_time" in stated and known.lag_ns is not None and known.from_schema:
            known = Known(basis=self.schema.known_basis)  # the schema's lag is for rows that state no time
        return make_batch(source, self.schema, columns=columns, tz=tz, known=known)

    def _known(self, lag: str | None, moment: object, basis: str | None) -> Known:
        if lag is not None and moment is not None:
            raise InputError("Give known_lag= or known_time=, not both.")
        if basis is not None and basis not in BASES:
            raise unknown_name("known_basis", basis, BASES)
        if lag is not None:
            return Known(basis=basis or "assumed_lag", lag_ns=lag_ns(lag))
        if moment is not None:
            return Known(basis=basis or "assumed_lag", instant_ns=instant(moment, "known_time"))
        if self.schema.known_lag is not None:
            return Known(basis=basis or "assumed_lag", lag_ns=lag_ns(self.schema.known_lag), from_schema=True)
        return Known(basis=basis or self.schema.known_basis)

    def _neighbours(self, table: Any, rows: pa.Table) -> pa.Table:
        """Stored rows that could clash with these: those known no earlier than the first of them."""
        if rows.num_rows == 0:
            return rows.slice(0, 0)
        first = pc.min(rows["known_time"]).cast(pa.int64()).as_py()
        return delta.load(self.observations, table, columns=rows.column_names, known_from=first)

    def _commit(self, table: Any, judged: Judged, batch_id: str, basis: str) -> int:
        """Quarantine first: if the process dies between the two, repeating the append completes it."""
        if judged.bad.num_rows:
            refused = delta.open_table(self.quarantine, None, f"{self.name}/quarantine")
            if not delta.committed(refused, batch_id):
                delta.commit(self.quarantine, refused, judged.bad, batch_id, {})
        if judged.clean.num_rows == 0:
            return int(table.version())
        order = pc.sort_indices(
            judged.clean, sort_keys=[(name, "ascending") for name in ("known_time", "entity", "event_time", "revision")]
        )
        note = {"rows": str(judged.clean.num_rows), "known_basis": basis}
        return delta.commit(self.observations, table, judged.clean.take(order), batch_id, note)

    def _nothing_new(self, version: int, n_rows: int, basis: str) -> IngestReport:
        return IngestReport(
            dataset=self.name,
            accepted=0,
            quarantined=0,
            duplicates=n_rows,
            version=version,
            already_stored=True,
            known_basis=basis,
        )


def create_dataset(root: Path, name: str, schema: Schema) -> Dataset:
    """Make the folder of a dataset, all or nothing.

    Raises: InputError for a name outside the allow-list; StoreError if it exists with another schema.
    """
    folder = root / check_dataset_name(name)
    if not isinstance(schema, Schema):
        raise InputError(
            f"`schema` must be a Schema, such as kn.Schema.bars(calendar='XNYS'), but it is {schema!r:.80}."
        )
    if folder.exists() or folder.is_symlink():
        found = open_dataset(root, name)
        if found.schema == schema:
            return found
        if found.open().version() == 0:  # nothing was ever stored under the other schema
            shutil.rmtree(folder)
            return create_dataset(root, name, schema)
        raise StoreError(
            f"Dataset {name!r} exists in {root} with another schema: {found.schema}.\n"
            "Append to it, or choose another name; a schema does not change under stored data."
        )
    part = root / f".{name}.{uuid.uuid4().hex[:12]}"
    try:
        part.mkdir(parents=True)
        (part / _PAGE).write_text(schema.to_json(), encoding="utf-8")
        delta.create_table(part / "observations", table_schema(schema), schema.description or f"{schema.kind} {name}")
        delta.create_table(part / "quarantine", QUARANTINE, f"rows refused by {name}")
        part.rename(folder)
    except OSError as error:
        raise StoreError(f"Dataset {name!r} could not be created in {root}: {error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Dataset(name=name, folder=folder, schema=schema)


def open_dataset(root: Path, name: object) -> Dataset:
    """The dataset of a name.

    Raises: UnknownNameError, offering the nearest name; StoreError if its page is damaged.
    """
    known = dataset_names(root)
    if name not in known:
        raise unknown_name("dataset", name, known, where=f"store {root}")
    folder = root / check_dataset_name(name)
    page = folder / _PAGE
    return Dataset(
        name=folder.name, folder=folder, schema=Schema.from_json(page.read_text(encoding="utf-8"), str(page))
    )


def dataset_names(root: Path) -> tuple[str, ...]:
    """Names of the datasets in a store, sorted; links are not followed."""
    if not root.is_dir():
        return ()
    found = (path for path in root.iterdir() if not path.name.startswith(".") and not path.is_symlink())
    return tuple(sorted(path.name for path in found if (path / _PAGE).is_file()))


def _sources(data: object) -> tuple[list[Source], list[tuple[str, BrokenLine]]]:
    paths = as_paths(data)
    if paths is None:
        source = from_memory(data)
        if source.table.num_rows == 0:
            raise DataError("`data` has no rows.")
        return [source], []
    sources: list[Source] = []
    unreadable: list[tuple[str, BrokenLine]] = []
    for path in paths:
        try:
            sources.append(from_file(path))
        except DataError as error:
            if len(paths) == 1:
                raise
            unreadable.append((str(path), BrokenLine(rule="unreadable_file", line=0, detail=str(error))))
    if not sources:
        raise DataError(f"None of {len(paths)} files could be read. {unreadable[0][1].detail}")
    return sources, unreadable


def _batch_id(sources: list[Source], unreadable: list[tuple[str, BrokenLine]], options: list[Any]) -> str:
    page = json.dumps([sorted(source.digest for source in sources), sorted(file for file, _ in unreadable), options])
    return f"knowable-append-{hashlib.sha256(page.encode()).hexdigest()[:40]}"


def _report(name: str, judged: Judged, version: int, basis: str) -> IngestReport:
    rules: dict[str, int] = {}
    examples: list[str] = []
    if judged.bad.num_rows:
        frame = judged.bad.to_pandas()
        counts = frame["rule"].value_counts()
        for rule in counts.index:
            rules[str(rule)] = int(counts[rule])
            examples.append(_example(frame[frame["rule"] == rule].iloc[0]))
    return IngestReport(
        dataset=name,
        accepted=judged.clean.num_rows,
        quarantined=judged.bad.num_rows,
        duplicates=judged.duplicates,
        version=version,
        known_basis=basis,
        rules=rules,
        examples=tuple(examples),
        notes=judged.notes,
    )


def _example(row: pd.Series) -> str:
    place = f"row {int(row['row'])}" if not np.isnan(row["row"]) else ""
    if not np.isnan(row["line"]) and row["line"] > 0:
        place = f"line {int(row['line'])}"
    if row["file"] is not None and row["file"] == row["file"]:
        place = f"{place} of {row['file']}".strip()
    about = f"{row['entity']!r}" if isinstance(row["entity"], str) else "a row"
    if pd.notna(row["event_time"]):
        about += f" of {row['event_time']:%Y-%m-%d %H:%M}Z"
    return f"{row['rule']}: {row['detail']}; first {about} ({place})"
