"""Judging a batch: rows that keep every rule on one side, the others with their rule on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.ingest.batch import Batch
from knowable.data.ingest.checks import Breach, breaches, outside_sessions
from knowable.data.ingest.clashes import find_clashes
from knowable.data.ingest.origin import Origin, Stretch, joined
from knowable.data.ingest.refused import broken_rows, late_rows, refused_rows, to_times
from knowable.data.schema import Schema, table_schema
from knowable.data.table.order import coded_schema
from knowable.data.times import NO_TIME
from knowable.kernels.ingest import MINUS, MISSING

__all__ = ["IngestReport", "Judged", "Remarks", "join", "judge", "settle"]

Mask = npt.NDArray[np.bool_]
_REFUSED_AT_ONCE = 20_000
_ZEROS = np.zeros(1 << 18, np.int32)
_NOWHERE: Mask = np.zeros(0, dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an append did.

    Attributes:
        dataset: name.
        accepted: rows stored.
        quarantined: rows kept apart, see ``store.quarantine(dataset)``.
        duplicates: rows that say what a stored row, or another of the batch, says already.
        version: of the dataset after the append.
        already_stored: whether this very batch was appended before; then nothing changed.
        known_basis: how the rows came to be known.
        rules: rule -> rows quarantined under it.
        examples: the first row under each rule, as a sentence.
        notes: what else is worth knowing, such as columns that were not used.
        batch: id of the append, by which `store.quarantine` finds what it refused.
    """

    dataset: str
    accepted: int
    quarantined: int
    duplicates: int
    version: int
    already_stored: bool = False
    known_basis: str = "observed"
    rules: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    batch: str = ""

    def __repr__(self) -> str:
        if self.already_stored:
            return (
                f"IngestReport: this batch is in {self.dataset!r} already; nothing changed, version {self.version} "
                f"({self.duplicates:,} rows)."
            )
        head = f"IngestReport: {self.accepted:,} rows accepted into {self.dataset!r}, version {self.version}"
        counts = f"{self.quarantined:,} quarantined, {self.duplicates:,} duplicates"
        lines = [f"{head} (known times: {self.known_basis}); {counts}."]
        lines += [f"  {self.rules[rule]:,} x {text}" for rule, text in zip(self.rules, self.examples, strict=False)][:8]
        if self.quarantined:
            name = self.dataset
            lines.append(f"  All of them: store.quarantine({name!r}). To mend them, correct the cells of")
            lines.append(f"  rows = store.quarantined_rows({name!r}) and hand them back: store.mend({name!r}, rows)")
        return "\n".join([*lines, *(f"  Note: {note}" for note in self.notes)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Remarks:
    """What is worth knowing of a file beside its refused rows; those of its stretches add up.

    Attributes:
        ignored: columns that were not used.
        dates: whether known_time held dates without a time.
        outside: bars that end outside the sessions of the calendar.
        calendar: of the schema.
    """

    ignored: tuple[str, ...] = ()
    dates: bool = False
    outside: int = 0
    calendar: str | None = None

    def notes(self) -> tuple[str, ...]:
        """As sentences."""
        found = [f"columns not used: {', '.join(self.ignored[:12])}"] if self.ignored else []
        if self.dates:
            found.append("known_time holds dates; each counts as known at the end of its day")
        if self.outside:
            found.append(f"{self.outside:,} bars end outside the sessions of {self.calendar}; a bar's label is its end")
        return tuple(found)

    def __add__(self, other: Remarks) -> Remarks:
        return replace(self, dates=self.dates or other.dates, outside=self.outside + other.outside)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A batch apart.

    Attributes:
        clean: rows that keep every rule, in the table's schema, names that repeat as codes.
        origin: for each of them its place in `files`, its line and its row.
        files: paths of the sources, None for frames.
        bad: the other rows, in the schema of the quarantine.
        remarks: what else is to be said of each source.
        duplicates: rows that were dropped because they say nothing new.
        keys: of the schema; with entity and event_time they name a period.
        raws: the sources as they came, so that a clash is shown in the vendor's columns; may be left out.
        hows: how each source was read.
        firsts: place of each source's first row in its file.
    """

    clean: pa.Table
    origin: Origin
    files: tuple[str | None, ...]
    bad: pa.Table
    remarks: tuple[Remarks, ...]
    duplicates: int = 0
    keys: tuple[str, ...] = ()
    raws: tuple[pa.Table | None, ...] = ()
    hows: tuple[str | None, ...] = ()
    firsts: tuple[int, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What else the report says."""
        return tuple(dict.fromkeys(note for item in self.remarks for note in item.notes()))


def judge(batch: Batch, schema: Schema, batch_id: str) -> Judged:
    """Hold each row against the rules that concern it alone."""
    n_rows = len(batch.entity)
    verdict = np.full(n_rows, -1, dtype=np.int64)
    found: list[Breach] = []
    for breach in breaches(batch, schema):
        if breach.where.any():
            verdict[breach.where & (verdict < 0)] = len(found)
        found.append(replace(breach, where=_NOWHERE))  # the masks of many rules would be a lot to hold at once
    good = verdict < 0
    clean = _clean_rows(batch, schema, good)
    origin = Stretch(
        n_rows=clean.num_rows,
        kept=None if clean.num_rows == n_rows else np.flatnonzero(good),
        first_row=batch.source.first_row,
        lines=batch.source.lines,
    )
    bad_rows = np.flatnonzero(~good)
    broken = [found[k] for k in verdict[bad_rows]]
    odd = outside_sessions(batch, schema) & good if schema.kind == "bars" else _NOWHERE
    remarks = Remarks(ignored=batch.ignored, dates=batch.known.dates, outside=int(odd.sum()), calendar=schema.calendar)
    # a few at a time: their cells pass through Python, where each takes a hundred bytes and more
    steps = [slice(k, k + _REFUSED_AT_ONCE) for k in range(0, max(len(bad_rows), 1), _REFUSED_AT_ONCE)]
    refused = [refused_rows(batch, bad_rows[step], broken[step], batch_id) for step in steps]
    cut = broken_rows(batch.source.file, batch.source.broken, batch_id, batch.how)
    return Judged(
        clean=clean,
        origin=Origin(stretches=(origin,)),
        files=(batch.source.file,),
        bad=pa.concat_tables([*refused, cut]),
        remarks=(remarks,),
        keys=schema.keys,
        raws=(batch.source.table,),
        hows=(batch.how,),
        firsts=(batch.source.first_row,),
    )


def join(parts: Sequence[Judged]) -> Judged:
    """Several judged sources as one; a row's source is then the place of its own in `files`."""
    return Judged(
        clean=pa.concat_tables([part.clean for part in parts]).unify_dictionaries(),
        origin=joined([part.origin for part in parts]),
        files=tuple(file for part in parts for file in part.files),
        bad=pa.concat_tables([part.bad for part in parts]),
        remarks=tuple(item for part in parts for item in part.remarks),
        duplicates=sum(part.duplicates for part in parts),
        keys=parts[0].keys,
        raws=tuple(raw for part in parts for raw in (part.raws or (None,) * len(part.files))),
        hows=tuple(how for part in parts for how in (part.hows or (None,) * len(part.files))),
        firsts=tuple(first for part in parts for first in (part.firsts or (0,) * len(part.files))),
    )


def settle(judged: Judged, stored: pa.Table, batch_id: str) -> Judged:
    """Collapse exact duplicates and set conflicts aside, within the batch and against the stored rows.

    Args:
        judged: rows that are good on their own.
        stored: stored rows that may share a key with them; known at or after the batch's first known time.
        batch_id: for the quarantine.
    """
    found = find_clashes(judged.clean, stored, judged.keys)
    if found is None:
        return judged
    bad = [judged.bad]
    for rule, where in (("conflicting_duplicate", found.conflict), ("earlier_than_stored", found.early)):
        rows = np.flatnonzero(where)
        if rows.size:
            clean, origin = judged.clean.take(pa.array(rows)), judged.origin.take(rows)
            bad.append(
                late_rows(
                    clean,
                    origin,
                    rule,
                    batch_id,
                    files=judged.files,
                    raws=judged.raws,
                    hows=judged.hows,
                    firsts=judged.firsts,
                )
            )
    keep = ~found.drop
    return replace(
        judged,
        clean=judged.clean.filter(pa.array(keep)),
        origin=judged.origin.filter(keep),
        bad=pa.concat_tables(bad),
        duplicates=judged.duplicates + int(found.same.sum()),
    )


def _same(n_rows: int) -> pa.Array:
    """Codes of a column in which all is the first name; columns share their memory."""
    if n_rows > len(_ZEROS):
        return pa.array(np.zeros(n_rows, np.int32))
    return pa.array(_ZEROS[:n_rows])


def _clean_rows(batch: Batch, schema: Schema, good: Mask) -> pa.Table:
    """The good rows as the table keeps them; where all are, most columns are taken over without a copy."""
    n_good = int(np.count_nonzero(good))
    mask = None if n_good == len(good) else pa.array(good)

    def kept(values: Any) -> Any:
        if mask is None:
            return values
        return values[good] if isinstance(values, np.ndarray) else values.filter(mask)

    withdrawn = kept(batch.retract)
    some_withdrawn = bool(withdrawn.any())
    columns: dict[str, pa.Array] = {
        "entity": kept(batch.entity).dictionary_encode(),
        "event_time": to_times(kept(batch.event.ns)) if batch.event.micros is None else kept(batch.event.micros),
        "known_time": to_times(kept(batch.known.ns)) if batch.known.micros is None else kept(batch.known.micros),
        "revision": pa.array(kept(batch.revision)),
        "op": pa.DictionaryArray.from_arrays(
            pa.array(withdrawn.astype(np.int32)) if some_withdrawn else _same(n_good), pa.array(["assert", "retract"])
        ),
        "known_basis": pa.DictionaryArray.from_arrays(_same(n_good), pa.array([batch.basis])),
    }
    for name, held in schema.fields.items():
        if name in batch.fields:
            cells = kept(batch.fields[name].cells)
            if some_withdrawn:
                cells = np.where(withdrawn, np.nan, cells)
            if batch.fields[name].found & MINUS:
                cells = (
                    cells + 0.0
                )  # -0.0 and 0.0 are one value; two spellings would make duplicates look like conflicts
            some_missing = some_withdrawn or bool(batch.fields[name].found & MISSING)
            columns[name] = pa.array(cells, pa.float64(), from_pandas=some_missing).cast(held.physical)
        elif name in batch.texts:
            texts = kept(batch.texts[name].cells)
            plain = name in schema.keys or not some_withdrawn
            columns[name] = texts if plain else pc.if_else(pa.array(withdrawn), None, texts)
        elif name in batch.moments:
            columns[name] = to_times(np.where(withdrawn, NO_TIME, kept(batch.moments[name].ns)))
        else:
            columns[name] = pa.nulls(n_good, held.physical)
    return pa.table(columns, schema=coded_schema(table_schema(schema)))
