"""`Writing`: the part of a store that changes datasets."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from knowable.data.base import StoreBase
from knowable.data.corporate.identity import standing_names
from knowable.data.ingest.judge import IngestReport
from knowable.data.schema import Schema
from knowable.data.table import delta
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
        identifiers: str | None = None,
    ) -> IngestReport:
        """Add observations: the good rows are stored in one transaction, the others quarantined with their rule.

        Appending the same batch again changes nothing, and says so. Rows need no order.

        Args:
            name: of the dataset.
            data: DataFrame, pyarrow Table, or path(s) to CSV (also gzipped) or Parquet. Columns entity, event_time,
                known_time, the schema's fields, optional revision and op ("assert" or "retract").
            columns: the vendor's column -> ours, such as ``{"symbol": "entity", "date": "event_time"}``.
            tz: zone of times that name none. Dates of a dataset with a calendar need none: they are labelled by the
                close of their session. A known_time of dates alone counts from the end of its day.
            known_lag: where no known_time exists: the lag after event_time at which a row counts as known.
            known_time: where no known_time exists: the moment at which all rows count as known.
            known_basis: how the known times came about, see `knowable.data.schema.BASES`.
            identifiers: dataset of intervals by which the entities of `data`, which are tickers, become permanent ids:
                a row's entity is who bore its ticker at its event_time, see `identify`. A ticker that was nobody's, or
                several entities', at that time is quarantined; append the same data again once its interval is there.

        Raises:
            UnknownNameError: no such dataset.
            DataError: columns missing, naive and aware times mixed, naive times without tz, an unreadable file.
            StoreError: the disk refused; the last version stays.
        """
        names = None
        if identifiers is not None:
            held = self._load(self._dataset(identifiers), None)
            names = standing_names(held.facts, held.schema, identifiers, pin=held.pin)
        return self._dataset(name).append(
            data,
            columns=columns,
            tz=tz,
            known_lag=known_lag,
            known_time=known_time,
            known_basis=known_basis,
            names=names,
        )

    def quarantine(self, name: str) -> pa.Table:
        """Rows that were refused: batch, rule, detail, entity, times, file, line, row (from 0), and the raw cells."""
        rows = delta.scan(self._dataset(name).refused())
        return rows.sort_by([("batch", "ascending"), ("file", "ascending"), ("row", "ascending")])
