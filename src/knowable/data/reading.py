"""`Reading`: the part of a store that answers what was known when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from knowable.data.asof.cache import cache_key, cached_panel
from knowable.data.asof.facts import Panel
from knowable.data.base import StoreBase, check_fields, check_names, check_span
from knowable.data.table import delta
from knowable.data.times import instant, instants
from knowable.errors import unknown_name

__all__ = ["Reading"]

_FOREVER = np.iinfo(np.int64).max
_CACHE_FORMAT = 1


class Reading(StoreBase):
    """Tables, panels and markets, as of a moment and at a pinned version."""

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
        dataset = self._dataset(name, version)
        wanted = check_fields(dataset, fields)
        moment = _FOREVER if as_of is None else instant(as_of, "as_of")
        facts = self._load(dataset, version).facts
        standing = facts.standing(moment)
        if entities is not None:
            names = check_names(entities)
            for entity in names:
                if entity not in facts.entities:
                    raise unknown_name("entity", entity, facts.entities, where=f"dataset {name!r}")
            standing = standing[np.isin(facts.owner[facts.period[standing]], facts.codes_of(names))]
        first, last = check_span(dataset, start, end)
        event = facts.index.event[facts.period[standing]]
        inside = (event >= (-_FOREVER if first is None else first)) & (event <= (_FOREVER if last is None else last))
        columns = ["entity", "event_time", "known_time", "revision", "known_basis", *wanted]
        return facts.take(standing[inside], columns)

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
        dataset = self._dataset(name, version)
        (field,) = check_fields(dataset, [field])
        times = instants(clock, "clock")
        table = dataset.open(version)
        facts = self._load(dataset, version, table).facts if entities is None else None
        names = check_names(entities) if entities is not None else facts.entities  # type: ignore[union-attr]

        def build() -> Panel:
            loaded = self._load(dataset, version, table).facts
            if names and not set(names) & set(loaded.entities):
                raise unknown_name("entity", names[0], loaded.entities, where=f"dataset {name!r}")
            return loaded.panel(field, times, names)

        parts = {
            "format": _CACHE_FORMAT,
            "table": delta.table_id(table),
            "version": table.version,
            "dataset": name,
            "field": field,
            "clock": times,
            "entities": list(names),
        }
        return cached_panel(self._cache / "panels", cache_key(parts), (len(times), len(names)), build)
