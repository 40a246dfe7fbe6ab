"""`Dataset`: where one dataset lives, and the append that changes it."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.corporate.identity import Names
from knowable.data.evolution import difference
from knowable.data.feeds import check_zone, checked_columns, time_of_day
from knowable.data.ingest.batch import Known
from knowable.data.ingest.bulk import Target, ingest
from knowable.data.ingest.judge import IngestReport, Judged, settle
from knowable.data.ingest.refused import QUARANTINE
from knowable.data.ingest.source import as_paths
from knowable.data.ingest.tally import batch_name, make_report, tally
from knowable.data.ingest.whole import judge_whole, open_files, open_frame
from knowable.data.ingest.work import Work, is_bulk
from knowable.data.names import check_dataset_name
from knowable.data.schema import STATED, Schema, lag_ns, table_schema
from knowable.data.table import delta
from knowable.data.table.delta import Table
from knowable.data.table.files import NewFile, write_file, write_files
from knowable.data.table.location import Location
from knowable.data.table.retention import refuse_dropped
from knowable.data.table.snapshots import version_in
from knowable.data.times import instant
from knowable.errors import ConflictError, InputError, StoreError, unknown_name

__all__ = ["SCHEMA", "Dataset", "create_dataset", "dataset_names", "open_dataset", "schema_of"]

SCHEMA = "knowable.schema"  # the property of a table that holds its schema as JSON
_TRIES = 50
_PAUSE_S = 0.01
_OBSERVATIONS, _QUARANTINE = "observations", "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One folder with two Delta tables: `observations`, whose properties hold the schema, and `quarantine`.

    Attributes:
        name: of the dataset.
        root: of the store.
        location: of its folder.
        schema: as of the version it was opened at.
    """

    name: str
    root: Location
    location: Location
    schema: Schema

    @property
    def observations(self) -> Location:
        """Where the Delta table lies that any engine can read."""
        return self.location.child(_OBSERVATIONS)

    @property
    def quarantine(self) -> Location:
        """Where the Delta table of refused rows lies."""
        return self.location.child(_QUARANTINE)

    def open(self, version: int | str | None = None) -> Table:
        """The observations at a version or a snapshot's, the newest when None.

        Raises: UnknownNameError (no such snapshot); StoreError, saying so where retention dropped the version.
        """
        return _open(self.root, self.name, version)

    def refused(self) -> Table:
        """The quarantine, at its newest. Raises: StoreError."""
        return delta.open_table(self.quarantine, None, f"{self.name}/quarantine")

    def append(
        self,
        data: object,
        *,
        columns: Mapping[str, str] | None,
        tz: str | None,
        known_lag: str | None,
        known_time: object,
        known_basis: str | None,
        known_at: str | None = None,
        names: Names | None = None,
        work: Work | None = None,
    ) -> IngestReport:
        """Judge the rows of `data` and commit the good ones; `Store.append` says what the arguments mean.

        Files are taken in pieces where `work` says who does it, or where together they are large.
        """
        columns = self.schema.columns if columns is None else checked_columns(columns, self.schema.fields)
        tz = self.schema.tz if tz is None else check_zone(tz, "tz")
        known = self.known(known_lag, known_time, known_basis, known_at)
        # a schema that grew may judge the same rows otherwise
        options = [dict(columns), tz, str(known), self.schema.to_json(), *([] if names is None else [dict(names.pin)])]
        paths = as_paths(data)
        if paths is not None and (work is not None or is_bulk(paths)):
            target = Target(
                name=self.name,
                schema=self.schema,
                location=self.location,
                observations=self.observations,
                quarantine=self.quarantine,
            )
            return ingest(
                target, paths, columns=columns, tz=tz, known=known, names=names, options=options, work=work or Work()
            )
        files = open_frame(data) if paths is None else open_files(paths)
        batch_id = batch_name(
            [file.digest for file in files if file.digest],
            [str(file.path) for file in files if not file.digest],
            options,
        )
        n_rows = sum(file.source.table.num_rows for file in files if file.source is not None)
        table = self.open()
        if delta.committed(table, batch_id):
            return self._nothing_new(table.version, n_rows, known.basis)
        judged = judge_whole(files, self.schema, columns=columns, tz=tz, known=known, names=names, batch_id=batch_id)
        basis = ", ".join(sorted(pc.unique(judged.clean["known_basis"]).to_pylist())) or known.basis
        done = self.land(judged, batch_id, basis, absent_at=table.version)
        if done is None:
            return self._nothing_new(self.open().version, n_rows, basis)
        settled, version = done
        return make_report(
            self.name,
            tally(settled.bad),
            accepted=settled.clean.num_rows,
            duplicates=settled.duplicates,
            version=version,
            basis=basis,
            notes=settled.notes,
            batch=batch_id,
        )

    def land(
        self, judged: Judged, batch_id: str, basis: str, *, absent_at: int | None = None, keep_refused: bool = True
    ) -> tuple[Judged, int] | None:
        """Settle judged rows against the stored ones and commit them; what another writer lands meanwhile counts.

        Args:
            judged: rows that are good on their own, and those that are not.
            batch_id: by which the batch is known again.
            basis: how the rows came to be known, for the note of the commit.
            absent_at: a version that is known not to hold the batch.
            keep_refused: whether the others go into the quarantine.

        Returns: what was settled and the new version; None if the batch was there already.

        Raises: ConflictError if other writers came first again and again, or the dataset was made anew; StoreError.
        """
        born = self.open().id
        written: tuple[pa.Table, list[NewFile]] | None = None
        for attempt in range(_TRIES):
            with delta.locked(self.location):
                table = self.open()
                if table.id != born:
                    raise ConflictError(f"Dataset {self.name!r} was made anew by another writer. Repeat the append.")
                if table.version != absent_at and delta.committed(table, batch_id):
                    return None
                settled = settle(judged, self._neighbours(table, judged.clean), batch_id)
                if keep_refused:
                    self.refuse(settled.bad, batch_id)
                if settled.clean.num_rows == 0:
                    return settled, table.version
                if written is None or not written[0].equals(settled.clean):
                    written = settled.clean, write_files(table.location, settled.clean, self.schema.keys)
                note = {"rows": str(settled.clean.num_rows), "known_basis": basis}
                try:
                    return settled, delta.commit(table, written[1], batch=batch_id, note=note)
                except ConflictError:  # the lock does not reach every writer: those on other machines, for one
                    pass
            time.sleep(_PAUSE_S * (1 + attempt % 5))
        raise ConflictError(
            f"Other writers changed dataset {self.name!r} {_TRIES} times while this append tried to. Nothing of it is "
            "stored; repeat it."
        )

    def refuse(self, bad: pa.Table, batch_id: str) -> None:
        """Quarantine rows, each once. They come before the good ones: if the process dies between the two tables,
        repeating the append completes it.

        Raises: ConflictError if other writers came first again and again; StoreError.
        """
        for _ in range(_TRIES):
            if not bad.num_rows:
                return
            table, key = self.refused(), batch_id
            if delta.committed(table, batch_id):  # by a try that lost its race, or died: rows may have joined since
                held = delta.scan(table, columns=["batch", "id"])
                mine = held.filter(pc.equal(held["batch"], batch_id))["id"]
                bad = bad.filter(pc.invert(pc.is_in(bad["id"], mine.combine_chunks())))
                key = f"{batch_id}+{len(mine)}"
                if not bad.num_rows:
                    return
            try:
                delta.commit(table, [write_file(table.location, bad)], batch=key, note={})
            except ConflictError:
                time.sleep(_PAUSE_S)
            else:
                return
        raise ConflictError(f"Other writers hold the quarantine of dataset {self.name!r}; repeat the append.")

    def known(self, lag: str | None, moment: object, basis: str | None, at: str | None) -> Known:
        """How rows come to be known, by what an append says of it and else by the schema.

        Raises: InputError, UnknownNameError.
        """
        if sum(item is not None for item in (lag, moment, at)) > 1:
            raise InputError("Give one of known_lag=, known_time= and known_at=; they exclude one another.")
        given = basis is not None
        if basis is not None and basis not in STATED:
            raise unknown_name("known_basis", basis, STATED)
        if lag is not None:
            return Known(basis=basis or "assumed_lag", lag_ns=lag_ns(lag), given=given)
        if moment is not None:
            return Known(basis=basis or "assumed_lag", instant_ns=instant(moment, "known_time"), given=given)
        at = self.schema.known_at if at is None else at
        day = None if at is None else time_of_day(at)
        if self.schema.known_lag is not None:
            lagged = lag_ns(self.schema.known_lag)
            return Known(basis=basis or "assumed_lag", lag_ns=lagged, at=day, from_schema=True, given=given)
        return Known(basis=basis or self.schema.known_basis, at=day, given=given)

    def _neighbours(self, table: Table, rows: pa.Table) -> pa.Table:
        """Stored rows that could clash with these: of their event times, known no earlier than the first of them."""
        if rows.num_rows == 0:
            return rows.slice(0, 0)
        event, known = pc.min_max(rows["event_time"]), pc.min_max(rows["known_time"])
        start, end, known_from = (moment.cast(pa.int64()).as_py() * 1000 for moment in (*event.values(), known["min"]))
        return delta.scan(table, columns=rows.column_names, start=start, end=end, known_from=known_from)

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


def create_dataset(root: Location, name: str, schema: Schema) -> Dataset:
    """Make a dataset, all or nothing: it exists once its observations do, and they come last.

    Raises: InputError for a name outside the allow-list; StoreError if it exists with another schema.
    """
    where = root.child(check_dataset_name(name))
    if not isinstance(schema, Schema):
        raise InputError(
            f"`schema` must be a Schema, such as kn.Schema.bars(calendar='XNYS'), but it is {schema!r:.80}."
        )
    made = Dataset(name=name, root=root, location=where, schema=schema)
    if _there(root, name):
        found = open_dataset(root, name)
        if found.schema == schema:
            return found
        if where.path is None or found.open().version > 0:
            raise StoreError(
                f"Dataset {name!r} exists in {root} with another schema. " + difference(found.schema, schema, name)
            )
        with delta.locked(where):
            if found.open().version == 0:  # nothing was ever stored under the other schema
                shutil.rmtree(where.path / _OBSERVATIONS)  # what was refused stays, to be mended under the new one
    elif where.path is not None and (where.path.is_symlink() or (where.path / "schema.json").exists()):
        raise StoreError(f"{where} is a link, or a dataset of an older release; this release makes none in its place.")
    columns = {made.quarantine: QUARANTINE, made.observations: table_schema(schema)}
    said = {made.quarantine: f"rows refused by {name}", made.observations: schema.description}
    for table, fields in columns.items():
        try:
            properties = {SCHEMA: schema.to_json()} if table == made.observations else None
            delta.create_table(table, fields, description=said[table] or f"{schema.kind} {name}", properties=properties)
        except ConflictError:  # another process makes the same dataset, or died while it did
            if table == made.observations:
                return create_dataset(root, name, schema)
    return made


def open_dataset(root: Location, name: object, version: int | str | None = None) -> Dataset:
    """The dataset of a name, with its schema as of a version.

    Raises: UnknownNameError, offering the nearest name; StoreError if its log is damaged or of another release.
    """
    if not isinstance(name, str) or not _there(root, name):
        raise unknown_name("dataset", name, dataset_names(root), where=f"store {root}")
    where = root.child(name)
    return Dataset(name=name, root=root, location=where, schema=schema_of(_open(root, name, version)))


def schema_of(table: Table) -> Schema:
    """The schema of a dataset at the version of its observations.

    Raises: StoreError if there is none that this release reads.
    """
    text = table.properties.get(SCHEMA)
    if text is None:
        raise StoreError(f"{table.location} is no dataset of this release: its table has no property {SCHEMA!r}.")
    return _schema(text, f"The schema of dataset {table.name!r} in {table.location}")


def dataset_names(root: Location) -> tuple[str, ...]:
    """Names of the datasets in a store, sorted; links are not followed."""
    return tuple(name for name in root.names() if _there(root, name))


def _open(root: Location, name: str, version: int | str | None) -> Table:
    number, born = version_in(root, version, name)
    where = root.child(name)
    if number is not None:
        refuse_dropped(where, name, number)
    table = delta.open_table(where.child(_OBSERVATIONS), number, name)
    if born not in (None, table.id):
        raise StoreError(f"Snapshot {version!r} is of another dataset of that name: {name!r} was made anew since.")
    return table


@functools.lru_cache(maxsize=256)
def _schema(text: str, where: str) -> Schema:
    return Schema.from_json(text, where)


def _there(root: Location, name: str) -> bool:
    try:
        where = root.child(check_dataset_name(name))
    except InputError:
        return False
    if where.path is not None and where.path.is_symlink():
        return False
    return delta.is_table(where.child(_OBSERVATIONS))
