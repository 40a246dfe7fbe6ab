"""`Store`: point-in-time datasets in a folder. What was known when is a question it answers by itself."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import calendar as calendar_of
from knowable.data.table import delta
from knowable.data.asof.assemble import Loaded, assemble
from knowable.data.asof.cache import cache_key, cached_panel
from knowable.data.table.dataset import Dataset, create_dataset, dataset_names, open_dataset
from knowable.data.asof.facts import Facts, Panel, make_facts
from knowable.data.ingest.judge import IngestReport
from knowable.data.market import Market
from knowable.data.schema import Schema
from knowable.data.times import instant, instants, span_bound
from knowable.errors import InputError, KnowableError, StoreError, shown, unknown_name

__all__ = ["Store", "StoreVersion"]

_FOREVER = np.iinfo(np.int64).max
_KEPT = 4  # dataset versions kept in memory
_CACHE_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreVersion:
    """One version of a dataset: its number, when it was committed, and the rows that came with it."""

    version: int
    committed_at: pd.Timestamp
    rows: int
    known_basis: str


class Store:
    """A folder of point-in-time datasets, each a Delta table of append-only observations.

    Args:
        folder: where the store lives; made if absent.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"A store cannot live in {self.folder}: {error.strerror}.") from error
        self._facts: OrderedDict[tuple[str, str, int], Facts] = OrderedDict()
        self._lock = threading.Lock()

    def create(self, name: str, schema: Schema) -> None:
        """Create an empty dataset; creating it again with the same schema changes nothing, and
        while nothing was appended it may be created with another.

        Args:
            name: letters, digits, '_' and '-'.
            schema: see `Schema.bars` and `Schema.facts`.

        Raises: InputError for other names; StoreError if it exists with another schema.
        """
        create_dataset(self.folder, name, schema)

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

        Raises:
            UnknownNameError: no such dataset.
            DataError: columns missing, naive and aware times mixed, naive times without tz, an unreadable file.
            StoreError: the disk refused; the last version stays.
        """
        return open_dataset(self.folder, name).append(
            data, columns=columns, tz=tz, known_lag=known_lag, known_time=known_time, known_basis=known_basis
        )

    def read(
        self,
        name: str,
        *,
        as_of: object = None,
        version: int | None = None,
        entities: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
        start: object = None,
        end: object = None,
    ) -> pa.Table:
        """The latest known state as of a moment: for each entity and event time the assertion that stood then.

        Args:
            name: of the dataset.
            as_of: rows known after this moment are not seen; None sees all.
            version: of the dataset; the newest when None.
            entities: to read; all when None.
            fields: to read; all when None.
            start: first event time (a date means that whole session or UTC day).
            end: last event time, included.

        Returns: entity, event_time, known_time, revision, known_basis and the fields, sorted by entity and event_time.

        Raises: UnknownNameError, InputError (a moment without a zone), StoreError (no such version, damaged file).
        """
        dataset = open_dataset(self.folder, name)
        wanted = _fields(dataset, fields)
        moment = _FOREVER if as_of is None else instant(as_of, "as_of")
        facts = self._load(dataset, version).facts
        rows = facts.table.take(pa.array(facts.standing_rows(moment)))
        if entities is not None:
            names = _names(entities)
            for entity in names:
                if entity not in facts.entities:
                    raise unknown_name("entity", entity, facts.entities, where=f"dataset {name!r}")
            rows = rows.filter(pc.is_in(rows["entity"], pa.array(names, pa.string())))
        first, last = _span(dataset, start, end)
        event = pc.multiply(rows["event_time"].cast(pa.int64()), 1000)
        if first is not None:
            rows, event = rows.filter(pc.greater_equal(event, first)), event.filter(pc.greater_equal(event, first))
        if last is not None:
            rows = rows.filter(pc.less_equal(event, last))
        return rows.select(["entity", "event_time", "known_time", "revision", "known_basis", *wanted])

    def panel(
        self,
        name: str,
        field: str,
        *,
        clock: Iterable[Any],
        entities: Sequence[str] | None = None,
        version: int | None = None,
    ) -> Panel:
        """A field as it was known at each time.

        Args:
            name: of the dataset.
            field: of its schema.
            clock: (n_times,) ascending moments: int64 ns UTC, datetime64 (taken as UTC) or zoned times.
            entities: columns; all of the dataset, sorted, when None. A name without facts gives a column of NaN.
            version: of the dataset; the newest when None.

        Returns: (n_times, n_entities) float64, read-only, in the field's unit. Row t holds, of the rows with
            known_time <= clock[t], the one of the highest event_time, then known_time, then revision, retractions
            honoured. NaN: nothing known, or the field is null in that row.

        Raises: UnknownNameError (dataset, field, or no entity known at all), InputError, StoreError.
        """
        dataset = open_dataset(self.folder, name)
        (field,) = _fields(dataset, [field])
        times = instants(clock, "clock")
        table = dataset.open(version)
        facts = self._load(dataset, version, table).facts if entities is None else None
        names = _names(entities) if entities is not None else facts.entities  # type: ignore[union-attr]

        def build() -> Panel:
            loaded = self._load(dataset, version, table).facts
            if names and not set(names) & set(loaded.entities):
                raise unknown_name("entity", names[0], loaded.entities, where=f"dataset {name!r}")
            return loaded.panel(field, times, names)

        parts = {
            "format": _CACHE_FORMAT,
            "table": delta.table_id(table),
            "version": table.version(),
            "dataset": name,
            "field": field,
            "clock": times,
            "entities": list(names),
        }
        return cached_panel(self._cache / "panels", cache_key(parts), (len(times), len(names)), build)

    def market(
        self,
        name: str,
        *,
        start: object = None,
        end: object = None,
        also: Sequence[str] = (),
        decide: str = "bar_end",
        version: int | Mapping[str, int] | None = None,
        entities: Sequence[str] | None = None,
    ) -> Market:
        """The panels a backtest runs on: bar u as it was known at its own decision time, and its final value.

        Args:
            name: dataset of bars.
            start: first session or moment, included.
            end: last session or moment, included.
            also: datasets of facts about the same entities; each field becomes a panel under its name, with the
                dataset's name before it (``facts_close``) where that is taken.
            decide: ``"bar_end"``; ``"before_next_open"`` for data that arrive overnight; or a lag such as ``"16h"``.
            version: of the bars, or a mapping dataset -> version; the newest when None.
            entities: assets, in this order; all with a bar in the span, sorted, when None.

        Returns: a Market. A bar not known by its decision time is NaN in that row; `market.notes` counts them.

        Raises: DataError if most bars were not known by their decision time, naming the lag; UnknownNameError.
        """
        datasets = [open_dataset(self.folder, item) for item in (name, *_names(also, "also"))]
        versions = version if isinstance(version, Mapping) else {name: version}
        for item in versions:
            if item not in {dataset.name for dataset in datasets}:
                raise unknown_name("dataset", item, [dataset.name for dataset in datasets], where="version")
        tables = [dataset.open(versions.get(dataset.name)) for dataset in datasets]
        wanted = None if entities is None else _names(entities)
        first, last = _span(datasets[0], start, end)
        parts = {
            "format": _CACHE_FORMAT,
            "tables": [
                [item.name, delta.table_id(table), table.version()]
                for item, table in zip(datasets, tables, strict=True)
            ],
            "span": [first, last],
            "decide": decide,
            "entities": wanted,
        }
        folder = self._cache / "markets" / cache_key(parts)
        if folder.is_dir():
            try:
                return Market.load(folder)
            except (KnowableError, OSError, KeyError, TypeError, ValueError):
                shutil.rmtree(folder, ignore_errors=True)  # damaged: it is built again from the data
        loaded = [self._load(item, table.version(), table) for item, table in zip(datasets, tables, strict=True)]
        market = assemble(loaded[0], loaded[1:], first=first, last=last, decide=decide, entities=wanted)
        with contextlib.suppress(OSError):
            market.save(folder)
        return market

    def versions(self, name: str) -> tuple[StoreVersion, ...]:
        """The versions of a dataset, oldest first; version 0 is empty."""
        history = open_dataset(self.folder, name).open().history()
        found = (
            StoreVersion(
                version=int(item["version"]),
                committed_at=pd.Timestamp(item["timestamp"], unit="ms", tz="UTC"),
                rows=int(item.get("rows", 0)),
                known_basis=str(item.get("known_basis", "")),
            )
            for item in history
        )
        return tuple(sorted(found, key=lambda item: item.version))

    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets, sorted."""
        return dataset_names(self.folder)

    def schema(self, name: str) -> Schema:
        """The schema a dataset was created with."""
        return open_dataset(self.folder, name).schema

    def quarantine(self, name: str) -> pa.Table:
        """Rows that were refused: batch, rule, detail, entity, times, file, line, row (from 0), and the raw cells."""
        dataset = open_dataset(self.folder, name)
        table = delta.open_table(dataset.quarantine, None, f"{name}/quarantine")
        return delta.load(dataset.quarantine, table).sort_by(
            [("batch", "ascending"), ("file", "ascending"), ("row", "ascending")]
        )

    def table_path(self, name: str) -> Path:
        """Folder of the Delta table, for readers that are not ours: DuckDB, Polars, Spark."""
        return open_dataset(self.folder, name).observations

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r}: {', '.join(self.datasets()) or 'no datasets yet'})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.folder,)

    @property
    def _cache(self) -> Path:
        return self.folder / ".cache"

    def _load(self, dataset: Dataset, version: int | None, table: Any = None) -> Loaded:
        """A version in memory, sorted for the sweep; the last few are kept."""
        table = dataset.open(version) if table is None else table
        key = (dataset.name, delta.table_id(table), int(table.version()))
        with self._lock:
            facts = self._facts.get(key)
            if facts is not None:
                self._facts.move_to_end(key)
        if facts is None:
            facts = make_facts(delta.load(dataset.observations, table))
            with self._lock:
                self._facts[key] = facts
                while len(self._facts) > _KEPT:
                    self._facts.popitem(last=False)
        pin = {"dataset": dataset.name, "version": str(key[2]), "table": key[1]}
        return Loaded(name=dataset.name, schema=dataset.schema, facts=facts, pin=pin)


def _fields(dataset: Dataset, fields: Sequence[str] | None) -> list[str]:
    if fields is None:
        return list(dataset.schema.fields)
    for name in _names(fields, "fields"):
        if name not in dataset.schema.fields:
            raise unknown_name("field", name, dataset.schema.fields, where=f"dataset {dataset.name!r}")
    return list(fields)


def _names(values: Sequence[str], what: str = "entities") -> list[str]:
    if isinstance(values, str):
        raise InputError(f"`{what}` must be a list of names, but it is the text {shown(values)}; write [{values!r}].")
    names = list(values)
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"`{what}` must be a list of names, but it holds {shown(name)}.")
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise InputError(f"`{what}` names {min(twice)!r} twice.")
    return names


def _span(dataset: Dataset, start: object, end: object) -> tuple[int | None, int | None]:
    name = dataset.schema.calendar
    sessions = calendar_of(name) if name is not None else None
    first, last = span_bound(start, "start", sessions, end=False), span_bound(end, "end", sessions, end=True)
    if first is not None and last is not None and first > last:
        raise InputError(f"`start <= end` must hold, but start={shown(start)}, end={shown(end)}.")
    return first, last
