"""`Reading`: the part of a store that answers what was known when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from knowable.data.asof.asked import check_number, check_room, clock_of, moment_of, span_ns
from knowable.data.asof.cache import PanelCache, cache_key
from knowable.data.asof.facts import REDUCTIONS, Panel
from knowable.data.asof.history import history
from knowable.data.asof.join import left_rows, meet, moments_of, names_of
from knowable.data.asof.load import Wanted, entities_of, groups, is_small, load, only_keys
from knowable.data.asof.standing import standing_rows
from knowable.data.base import StoreBase, check_fields, check_names, check_span
from knowable.data.table.dataset import Dataset
from knowable.data.times import instant
from knowable.errors import InputError, UnknownNameError, shown, unknown_name

__all__ = ["Reading"]

_FOREVER = np.iinfo(np.int64).max
_CACHE_FORMAT = 2
_BLOCK = 2**23  # values of a panel built at a time: 64 MB


class Reading(StoreBase):
    """Tables, panels, windows, histories and joins, as of a moment and at a pinned version."""

    def read(
        self,
        name: str,
        *,
        as_of: object = None,
        version: int | str | None = None,
        entities: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
        start: object = None,
        end: object = None,
        keys: Mapping[str, str] | None = None,
    ) -> pa.Table:
        """The latest known state as of a moment: for each period the assertion that stood then.

        A period is (entity, event_time) and the schema's keys. Only the columns, entities and spans asked for are
        read from a large table.

        Args:
            name: of the dataset.
            as_of: rows known after this moment are not seen; None sees all.
            version: of the dataset, or a snapshot's name; the newest when None.
            entities: to read; all when None.
            fields: to read; all when None.
            start: first event time (a date means that whole session or UTC day).
            end: last event time, included.
            keys: key field -> value that rows must have, such as ``{"form": "10-K"}``.

        Returns: entity, event_time, the keys, known_time, revision, known_basis and the fields, sorted by entity,
            event_time and keys.

        Raises: UnknownNameError, InputError (a moment without a zone), StoreError (no such version, damaged file).
        """
        dataset = self._dataset(name, version)
        schema = dataset.schema
        wanted = check_fields(dataset, fields)
        moment = _FOREVER if as_of is None else instant(as_of, "as_of")
        first, last = check_span(dataset, start, end)
        names = None if entities is None else tuple(check_names(entities))
        table = dataset.open(version)
        asked = Wanted(
            columns=tuple(dict.fromkeys(("revision", "known_basis", *schema.keys, *wanted))),
            entities=names,
            start=first,
            end=last,
            known_until=moment,
            keys=only_keys(schema, keys, name),
        )
        shown_keys = [key for key in schema.keys if key not in wanted]
        columns = ["entity", "event_time", *shown_keys, "known_time", "revision", "known_basis", *wanted]
        if names is None and not asked.keys and not is_small(table, schema):
            as_they_lie = standing_rows(table, asked, columns)
            if as_they_lie is not None:
                return as_they_lie
        facts = load(self._memory, table, schema, asked)
        for entity in () if names is None else names:
            if entity not in facts.entities and entity not in (known := self._entities(dataset, table)):
                raise unknown_name("entity", entity, known, where=f"dataset {name!r}")
        rows = facts.standing(moment)
        event = facts.index.event[facts.period[rows]]
        inside = (event >= (-_FOREVER if first is None else first)) & (event <= (_FOREVER if last is None else last))
        if names is not None:
            inside &= np.isin(facts.owner[facts.period[rows]], facts.codes_of(names))
        return facts.take(rows[inside], columns)

    def read_batches(
        self,
        name: str,
        *,
        rows: int = 1_000_000,
        as_of: object = None,
        version: int | None = None,
        entities: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
        start: object = None,
        end: object = None,
        keys: Mapping[str, str] | None = None,
    ) -> Iterator[pa.Table]:
        """The answer of `read` in pieces of whole entities, for datasets larger than memory.

        All pieces are of one version, the newest at the first piece when None; put together they are what `read` gives.

        Args:
            name: of the dataset.
            rows: stored rows a piece is read from, about.
            as_of: see `read`, as all the others.
            version: see `read`.
            entities: see `read`.
            fields: see `read`.
            start: see `read`.
            end: see `read`.
            keys: see `read`.

        Raises: as `read`, and InputError if rows < 1, when the first piece is asked for.
        """
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise InputError(f"`rows >= 1` must hold, but rows={shown(rows)}.")
        dataset = self._dataset(name, version)
        table = dataset.open(version)
        known = self._entities(dataset, table)
        names = known if entities is None else sorted(check_names(entities))
        asked = {"as_of": as_of, "fields": fields, "start": start, "end": end, "keys": keys}
        for group in groups(table, names, len(known), rows):
            yield self.read(name, version=table.version, entities=group, **asked)  # type: ignore[arg-type]

    def panel(
        self,
        name: str,
        field: str,
        *,
        clock: Iterable[Any] | str,
        entities: Sequence[str] | None = None,
        version: int | str | None = None,
        start: object = None,
        end: object = None,
        tolerance: str | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> Panel:
        """A field as it was known at each time.

        Args:
            name: of the dataset.
            field: of its schema; a number, or a bool, which counts as 1.0 and 0.0.
            clock: (n_times,) ascending moments: int64 ns UTC, datetime64 (taken as UTC) or zoned times. Or, where the
                schema has a calendar, ``"session"`` or the length of its bars, such as ``"5min"``, with `start` and
                `end`.
            entities: columns; all of the dataset, sorted, when None. A name without facts gives a column of NaN.
            version: of the dataset, or a snapshot's name; the newest when None.
            start: first session or moment of a clock in words.
            end: last session or moment of a clock in words, included.
            tolerance: such as ``"180d"``: a value whose event_time lies further back from a time is NaN there.
            keys: key field -> value that rows must have. Without it, of several keys at an entity's newest event_time
                the one known last counts.

        Returns: (n_times, n_entities) float64, read-only, in the field's unit. Row t holds, of the rows with
            known_time <= clock[t], the one of the highest event_time, then known_time, then revision, retractions
            honoured. NaN: nothing known, or the field is null in that row.

        Raises: UnknownNameError (dataset, field, or no entity known at all), InputError, StoreError.
        """
        dataset = self._dataset(name, version)
        check_fields(dataset, [field])
        check_number(dataset.schema, field, name)
        times = clock_of(dataset.schema, clock, start, end, name)
        oldest = span_ns(tolerance, "tolerance")
        chosen = only_keys(dataset.schema, keys, name)
        table = dataset.open(version)
        names = self._entities(dataset, table) if entities is None else tuple(check_names(entities))

        def build(missing: Sequence[str]) -> Iterator[tuple[list[str], Panel]]:
            for group in self._groups(dataset, table, names, missing):
                until = int(times[-1]) if len(times) else -_FOREVER
                asked = Wanted(numbers=(field,), entities=tuple(group), known_until=until, keys=chosen)
                facts = load(self._memory, table, dataset.schema, asked)
                known = [item for item in group if item in set(facts.entities)]
                each = max(1, _BLOCK // max(len(times), 1))
                for k in range(0, len(known), each):
                    yield known[k : k + each], facts.wide(field, times, known[k : k + each], oldest)

        subject = {
            "format": _CACHE_FORMAT,
            "table": table.id,
            "version": table.version,
            "dataset": name,
            "field": field,
            "clock": times,
            "tolerance": oldest,
            "keys": chosen,
        }
        cache = PanelCache(folder=self._cache, limit=self._cache_bytes)
        return cache.panel(cache_key(subject), names, len(times), build)

    def window(
        self,
        name: str,
        field: str,
        k: int,
        *,
        clock: Iterable[Any] | str,
        entities: Sequence[str] | None = None,
        reduce: str | None = None,
        within: str | None = None,
        version: int | str | None = None,
        start: object = None,
        end: object = None,
        keys: Mapping[str, str] | None = None,
    ) -> Panel:
        """The last k periods of a field as they were known at each time: trailing sums that respect restatement.

        Periods are event_times: of several keys at one event_time the one known last counts, so choose with `keys`
        where quarters and years end on the same day. A period that was withdrawn is no period; one that was restated
        counts with its restated value from the moment that was known.

        Args:
            name: of the dataset.
            field: of its schema; a number, or a bool, which counts as 1.0 and 0.0.
            k: periods, >= 1.
            clock: see `panel`.
            entities: columns; all of the dataset, sorted, when None.
            reduce: None, ``"sum"``, ``"mean"``, ``"min"``, ``"max"``, ``"first"`` (oldest) or ``"last"`` (newest).
            within: such as ``"400d"``: NaN where the newest and the oldest of the k event_times lie further apart, so
                that a gap in the reports does not pass for a year.
            version: of the dataset, or a snapshot's name; the newest when None.
            start: first session or moment of a clock in words.
            end: last session or moment of a clock in words, included.
            keys: key field -> value that rows must have.

        Returns: (n_times, n_entities, k) float64, oldest period first, or reduced (n_times, n_entities); read-only, in
            the field's unit. NaN: fewer than k periods are known, they span more than `within`, or a value among them
            is null (``"first"`` and ``"last"``: that one; not reduced: that cell). Row t uses rows with
            known_time <= clock[t].

        Raises: UnknownNameError (dataset, field, reduction, or no entity known at all), InputError, StoreError.
        """
        dataset = self._dataset(name, version)
        check_fields(dataset, [field])
        check_number(dataset.schema, field, name)
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise InputError(f"`k >= 1` periods must hold, but k={shown(k)}.")
        if reduce not in REDUCTIONS:
            raise unknown_name("reduction", reduce, [item for item in REDUCTIONS if item], where="reduce")
        times = clock_of(dataset.schema, clock, start, end, name)
        span = span_ns(within, "within")
        chosen = only_keys(dataset.schema, keys, name)
        table = dataset.open(version)
        names = self._entities(dataset, table) if entities is None else tuple(check_names(entities))
        place = {item: j for j, item in enumerate(names)}
        check_room(len(times), len(names), int(k) if reduce is None else 1)
        out = np.full((len(times), len(names), *([int(k)] if reduce is None else [])), np.nan)
        for group in self._groups(dataset, table, names, names):
            until = int(times[-1]) if len(times) else -_FOREVER
            asked = Wanted(numbers=(field,), entities=tuple(group), known_until=until, keys=chosen)
            facts = load(self._memory, table, dataset.schema, asked)
            known = [item for item in group if item in set(facts.entities)]
            found = facts.window(field, int(k), times, known, reduce=reduce, within=span)
            out[:, [place[item] for item in known]] = found
        out.flags.writeable = False
        return out

    def history(
        self,
        name: str,
        entity: str,
        event_time: object,
        *,
        fields: Sequence[str] | None = None,
        version: int | str | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> pa.Table:
        """Every revision and retraction of one value, in order of knowledge.

        Args:
            name: of the dataset.
            entity: its name.
            event_time: the moment the value is about; or a date, where the schema has a calendar.
            fields: to show; all when None.
            version: of the dataset, or a snapshot's name; the newest when None.
            keys: key field -> value that rows must have; all keys of that event_time when None.

        Returns: a row an observation: the keys, known_time, revision, op ("assert" or "retract"), known_basis, the
            fields, stood_from and stood_until (exclusive). Both are null for what never stood, the second alone for
            what still stands. An assertion that stands again, because the one that hid it was withdrawn, has a
            further row.

        Raises: UnknownNameError for an entity or event_time of which nothing is stored, InputError, StoreError.
        """
        dataset = self._dataset(name, version)
        schema = dataset.schema
        wanted = check_fields(dataset, fields)
        event = moment_of(schema, event_time, "event_time")
        table = dataset.open(version)
        shown_keys = [key for key in schema.keys if key not in wanted]
        columns = [*shown_keys, "known_time", "revision", "op", "known_basis", *wanted]
        asked = Wanted(
            columns=tuple(item for item in columns if item not in ("known_time", "op")),
            entities=tuple(check_names([entity], "entity")),
            start=event,
            end=event,
            keys=only_keys(schema, keys, name),
        )
        found = history(load(self._memory, table, schema, asked), entity, event, columns)
        if found.num_rows == 0:
            if entity not in (known := self._entities(dataset, table)):
                raise unknown_name("entity", entity, known, where=f"dataset {name!r}")
            near = ", ".join(self._event_times(name, entity, version, event)) or "none that stands"
            raise UnknownNameError(
                f"Nothing is stored about {entity!r} and event_time {shown(event_time)} in dataset {name!r}; its event "
                f"times near that: {near}."
            )
        return found

    def join(
        self,
        left: object,
        right: str,
        *,
        on: str = "entity",
        at: str = "known_time",
        fields: Sequence[str] | None = None,
        tolerance: str | None = None,
        as_of: object = None,
        version: int | str | Mapping[str, int] | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> pa.Table:
        """Put beside each row what another dataset said about its entity at the row's own moment: an as-of join.

        The rule is that of `panel`: of what was known by then, the newest event_time, its latest standing assertion.
        A plain as-of join on known times would let a late restatement of an old period replace the newest one.

        Args:
            left: name of a dataset, whose standing rows are taken; or an Arrow table or DataFrame.
            right: name of the dataset to look up.
            on: column of the left rows that names the right dataset's entity.
            at: column of the left rows that holds the moment: ``"known_time"``, ``"event_time"``, or any other of times
                with a zone.
            fields: of the right dataset; all when None. Text and times, too.
            tolerance: such as ``"180d"``: what is about an event_time further back from the row's moment is null.
            as_of: nothing known after this moment is seen, on either side.
            version: of the right dataset; a mapping dataset -> version; or a snapshot's name; the newest when None.
            keys: key field -> value that rows of the right dataset must have.

        Returns: the left rows in their order, with `fields`, ``<right>_event_time`` and ``<right>_known_time``; a field
            whose name is taken is ``<right>_<field>``. Null: nothing was known.

        Raises: UnknownNameError (dataset, field, column, or no entity known at all), InputError, DataError, StoreError.
        """
        versions = self._versions(left, right, version)
        moment = None if as_of is None else instant(as_of, "as_of")
        dataset = self._dataset(right, versions.get(right))
        wanted = check_fields(dataset, fields)
        chosen = only_keys(dataset.schema, keys, right)
        oldest = span_ns(tolerance, "tolerance")
        rows = self.read(left, as_of=as_of, version=versions.get(left)) if isinstance(left, str) else left_rows(left)
        names, moments = names_of(rows, on), moments_of(rows, at, moment)
        table = dataset.open(versions.get(right))
        distinct = sorted({item for item in names if item is not None})
        asked = Wanted(
            columns=tuple(dict.fromkeys((*dataset.schema.keys, *wanted))),
            entities=tuple(distinct),
            known_until=int(moments.max()) if len(moments) else -_FOREVER,
            keys=chosen,
        )
        facts = load(self._memory, table, dataset.schema, asked)
        if distinct and not set(distinct) & set(facts.entities):
            known = self._entities(dataset, table)
            if not set(distinct) & set(known):
                raise unknown_name("entity", distinct[0], known, where=f"dataset {right!r} (joined on {on!r})")
        return meet(rows, names, moments, facts, right=right, fields=wanted, tolerance=oldest)

    def _entities(self, dataset: Dataset, table: Any) -> tuple[str, ...]:
        """Names of all entities of a version, sorted."""
        if is_small(table, dataset.schema):
            return load(self._memory, table, dataset.schema, Wanted()).entities
        subject = {"format": _CACHE_FORMAT, "table": table.id, "version": table.version, "dataset": dataset.name}
        cache = PanelCache(folder=self._cache, limit=self._cache_bytes)
        return cache.names(cache_key({**subject, "what": "entities"}), lambda: entities_of(table))

    def _groups(
        self, dataset: Dataset, table: Any, names: Sequence[str], missing: Sequence[str]
    ) -> Iterator[list[str]]:
        """The names to load, in groups that fit into memory. Raises: UnknownNameError if no name has facts at all."""
        known = self._entities(dataset, table)
        if names and not set(names) & set(known):
            raise unknown_name("entity", names[0], known, where=f"dataset {dataset.name!r}")
        yield from groups(table, [item for item in missing if item in set(known)], len(known))

    def _event_times(self, name: str, entity: str, version: int | str | None, near: int) -> list[str]:
        """The event times of an entity next to a moment, for a message."""
        rows = self.read(name, entities=[entity], fields=[], version=version)
        events = np.unique(rows["event_time"].cast(pa.int64()).to_numpy() * 1000)
        at = int(np.searchsorted(events, near))
        near_ones = events[max(0, at - 3) : at + 3].view("datetime64[ns]").astype("datetime64[s]")
        return [f"{moment}Z" for moment in near_ones]

    def _versions(
        self, left: object, right: str, version: int | str | Mapping[str, int] | None
    ) -> Mapping[str, int | str]:
        if version is None:
            return {}
        datasets = [right, left] if isinstance(left, str) else [right]
        if isinstance(version, str):  # a snapshot is of all datasets
            return dict.fromkeys(datasets, version)
        if not isinstance(version, Mapping):
            if isinstance(left, str) and left != right:
                raise InputError(
                    f"version={shown(version)} does not say of which dataset; write version={{{right!r}: {version!r}}}."
                )
            return {right: version}
        for item in version:
            if item not in datasets:
                raise unknown_name("dataset", item, datasets, where="version")
        return version
