"""`Writing`: the part of a store that changes datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import pandas as pd
import pyarrow as pa

from knowable.data.base import StoreBase
from knowable.data.corporate.identity import Names, standing_names
from knowable.data.fields import Field
from knowable.data.ingest.judge import IngestReport
from knowable.data.ingest.mend import refused, vendor_frame
from knowable.data.ingest.work import work_for
from knowable.data.schema import Schema
from knowable.data.table import delta
from knowable.data.table.amend import dismiss_rows, evolve_dataset, mend_rows
from knowable.data.table.dataset import create_dataset

__all__ = ["Writing"]


class Writing(StoreBase):
    """Create datasets, append to them, look at what was refused."""

    def create(self, name: str, schema: Schema) -> None:
        """Create an empty dataset; creating it again with the same schema changes nothing, and
        while nothing was appended it may be created with another.

        Args:
            name: letters, digits, '_' and '-'.
            schema: see `Schema.bars` and `Schema.facts`.

        Raises: InputError for other names; StoreError if it exists with another schema.
        """
        create_dataset(self.location, name, schema)

    def append(
        self,
        name: str,
        data: object,
        *,
        columns: Mapping[str, str] | None = None,
        tz: str | None = None,
        known_lag: str | None = None,
        known_time: object = None,
        known_basis: str | None = None,
        known_at: str | None = None,
        identifiers: str | None = None,
        workers: int = 0,
        executor: Executor | None = None,
        progress: bool | None = None,
    ) -> IngestReport:
        """Add observations: the good rows are stored in one transaction, the others quarantined with their rule.

        Appending the same batch again changes nothing, and says so. Rows need no order. Of many files one that cannot
        be used is quarantined as a whole and the rest lands. Files that are large together are taken in pieces, in
        bounded memory; the rows are those that an append in memory would store.

        Args:
            name: of the dataset.
            data: DataFrame, pyarrow Table, or path(s) to CSV (also gzipped) or Parquet; a folder, or a pattern such as
                ``"data/*.csv.gz"``, stands for its files. Columns entity, event_time, known_time, the schema's fields,
                optional revision and op ("assert" or "retract").
            columns: the vendor's column -> ours, such as ``{"symbol": "entity", "date": "event_time"}``; as the schema
                declares (`Schema.mapped`) when None.
            tz: zone of times that name none. Dates of a dataset with a calendar need none: they are labelled by the
                close of their session, or by its open where the kind is intervals or actions. A known_time of dates
                alone counts from the end of its day.
            known_lag: where no known_time exists: the lag after event_time at which a row counts as known.
            known_time: where no known_time exists: the moment at which all rows count as known.
            known_basis: how the known times came about, see `knowable.data.schema.BASES`.
            known_at: where known_time holds dates alone: the time of day at which they count as known, and its zone,
                such as ``"16:30 America/New_York"``. Half of it being declared, the basis is then ``"vendor"``.
            identifiers: dataset of intervals by which the entities of `data`, which are tickers, become permanent ids:
                a row's entity is who bore its ticker at its event_time, see `identify`. A ticker that was nobody's, or
                several entities', at that time is quarantined; append the same data again once its interval is there.
            workers: processes on this machine that share the work on files; 0 is this process alone.
            executor: of `concurrent.futures`, such as Dask's ``client.get_executor()``, that does the work instead;
                its processes must see the same files and the folder of the store.
            progress: whether to show how far it is; None shows it for large files, on a terminal and in a notebook.

        Raises:
            UnknownNameError: no such dataset.
            DataError: columns missing, naive and aware times mixed, naive times without tz, an unreadable file.
            StoreError: the disk refused; the last version stays.
        """
        names = None if identifiers is None else self._bearers(identifiers)
        dataset = self._dataset(name)
        with work_for(name, data, workers=workers, executor=executor, progress=progress) as work:
            return dataset.append(
                data,
                columns=columns,
                tz=tz,
                known_lag=known_lag,
                known_time=known_time,
                known_basis=known_basis,
                known_at=known_at,
                names=names,
                work=work,
            )

    def evolve(
        self,
        name: str,
        add: Mapping[str, Field | str] | None = None,
        widen: Mapping[str, Field | str] | None = None,
    ) -> int:
        """Let a schema grow: further fields, wider types and bounds. No stored row is rewritten.

        Rows from before have null in a new field. Versions from before keep the schema and the rows of then. Evolving
        again in the same words changes nothing. What would change stored values (a narrower type, a dropped field,
        another unit) is refused.

        Args:
            name: of the dataset.
            add: new field -> unit or `Schema.field`, such as ``{"sales": "USD"}``.
            widen: field -> wider dtype, ``{"shares": "float64"}`` of an int64; or the field as it shall be, with wider
                bounds: ``{"score": Schema.field("1", low=0)}``.

        Returns: the version that has the new schema.

        Raises: UnknownNameError (dataset, field to widen), InputError, StoreError, ConflictError.
        """
        return evolve_dataset(self._dataset(name), add, widen)

    def quarantine(
        self, name: str, *, rule: str | None = None, batch: str | None = None, resolved: bool | None = False
    ) -> pa.Table:
        """Rows that were refused, each with the rule it breaks and where it came from.

        Args:
            name: of the dataset.
            rule: rows of this rule only.
            batch: rows of this append only.
            resolved: False: rows that wait to be mended; True: those that were mended or dismissed; None: both.

        Returns: id, batch, rule, detail, entity, event_time, known_time, file, line, row (from 0), raw (the cells as
            they came, JSON), how (they were read, JSON), resolved_by ("mended", "dismissed", null), resolved_version.

        Raises: UnknownNameError (dataset, rule), StoreError.
        """
        rows = delta.scan(self._dataset(name).refused())
        return refused(rows, rule=rule, batch=batch, resolved=resolved)

    def quarantined_rows(self, name: str, *, rule: str | None = None, batch: str | None = None) -> pd.DataFrame:
        """Refused rows that wait to be mended, in the columns and cells of their vendor.

        Correct the cells and hand the rows back to `mend`; rows that are left out stay::

            rows = store.quarantined_rows("bars", rule="high_below_low")
            rows.loc[rows["symbol"] == "AAPL", "high"] = 101.5
            store.mend("bars", rows)

        Args:
            name: of the dataset.
            rule: rows of this rule only.
            batch: rows of this append only.

        Returns: quarantine_id, quarantine_rule, quarantine_detail, then the vendor's columns; all of dtype object. A
            line that was no row of its file has no cells; its detail shows the line.

        Raises: UnknownNameError (dataset, rule), StoreError.
        """
        return vendor_frame(self.quarantine(name, rule=rule, batch=batch))

    def mend(
        self,
        name: str,
        frame: pd.DataFrame,
        *,
        columns: Mapping[str, str] | None = None,
        tz: str | None = None,
        known_lag: str | None = None,
        known_time: object = None,
        known_basis: str | None = None,
        known_at: str | None = None,
        identifiers: str | None = None,
    ) -> IngestReport:
        """Store corrected rows of the quarantine, and record which refusals that settles.

        They are judged as any rows are; one that still breaks a rule stays in the quarantine as it was. They are read
        as they were when they were refused (same columns, zone, lag), unless an argument says otherwise. A mended row
        keeps the known_time it states: if the right value could be known only later, correct that cell too. Where newer
        rows of its period are stored meanwhile, an observed row comes too late; ``known_basis="vendor"`` declares that
        it is filled in. Mending again changes nothing.

        Args:
            name: of the dataset.
            frame: of `quarantined_rows`, corrected; its column quarantine_id says what each row mends.
            columns, tz, known_lag, known_time, known_basis, known_at, identifiers: as for `append`.

        Returns: the report; `quarantined` counts the rows that still break a rule.

        Raises: InputError (no quarantine_id), UnknownNameError (dataset, id), and what `append` raises.
        """
        given = {
            "columns": columns,
            "tz": tz,
            "known_lag": known_lag,
            "known_time": known_time,
            "known_basis": known_basis,
            "known_at": known_at,
            "identifiers": identifiers,
        }
        return mend_rows(self._dataset(name), frame, given, self._bearers)

    def dismiss(self, name: str, rows: pd.DataFrame | Sequence[str], note: str) -> int:
        """Say of refused rows that nobody will mend them, and why. They stay in the quarantine, as resolved.

        Args:
            name: of the dataset.
            rows: of `quarantined_rows`, or their ids.
            note: why, such as ``"headers of the vendor's parts"``.

        Returns: how many of them were waiting until now.

        Raises: InputError (no note), UnknownNameError (dataset, id), StoreError.
        """
        return dismiss_rows(self._dataset(name), rows, note)

    def _bearers(self, identifiers: str) -> Names:
        """Who bore which name when, by a dataset of intervals. Raises: UnknownNameError."""
        held = self._load(self._dataset(identifiers), None)
        return standing_names(held.facts, held.schema, identifiers, pin=held.pin)
