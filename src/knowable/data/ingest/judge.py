"""Judging a batch: rows that keep every rule on one side, the others with their rule on the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.ingest.batch import Batch
from knowable.data.ingest.checks import RULES, breaches, outside_sessions
from knowable.data.ingest.source import BrokenLine
from knowable.data.schema import Schema, table_schema
from knowable.data.times import NO_TIME

__all__ = ["QUARANTINE", "IngestReport", "Judged", "broken_rows", "judge", "settle"]

Mask = npt.NDArray[np.bool_]
_TIME = pa.timestamp("us", "UTC")

QUARANTINE = pa.schema(
    [
        ("batch", pa.string()),
        ("rule", pa.string()),
        ("detail", pa.string()),
        ("entity", pa.string()),
        ("event_time", _TIME),
        ("known_time", _TIME),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("row", pa.int64()),
        ("raw", pa.string()),
    ]
)


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
            lines.append(f"  All of them: store.quarantine({self.dataset!r})")
        return "\n".join([*lines, *(f"  Note: {note}" for note in self.notes)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A batch apart.

    Attributes:
        clean: rows that keep every rule, in the table's schema.
        origin: for each of them its place in `files`, its line and its row.
        files: paths of the sources, None for frames.
        bad: the other rows, in the schema of the quarantine.
        notes: what else the report says.
        duplicates: rows that were dropped because they say nothing new.
    """

    clean: pa.Table
    origin: pa.Table
    files: tuple[str | None, ...]
    bad: pa.Table
    notes: tuple[str, ...]
    duplicates: int = 0


def judge(batch: Batch, schema: Schema, batch_id: str) -> Judged:
    """Hold each row against the rules that concern it alone."""
    n_rows = len(batch.entity)
    verdict = np.full(n_rows, -1, dtype=np.int64)
    kinds: list[tuple[str, str]] = []
    for breach in breaches(batch, schema):
        verdict[breach.where & (verdict < 0)] = len(kinds)
        kinds.append((breach.rule, breach.column))
    good = verdict < 0
    clean = _clean_rows(batch, schema, good)
    origin = _origin(batch, np.flatnonzero(good))
    bad_rows = np.flatnonzero(~good)
    named = [kinds[k] for k in verdict[bad_rows]]
    notes = [f"columns not used: {', '.join(batch.ignored[:12])}"] if batch.ignored else []
    if batch.known.dates:
        notes.append("known_time holds dates only; each counts as known at the end of its day")
    odd = outside_sessions(batch, schema) & good
    if odd.any() and schema.kind == "bars":
        notes.append(f"{int(odd.sum()):,} bars end outside the sessions of {schema.calendar}; a bar's label is its end")
    broken = broken_rows(batch.source.file, batch.source.broken, batch_id)
    return Judged(
        clean=clean,
        origin=origin,
        files=(batch.source.file,),
        bad=pa.concat_tables([_bad_rows(batch, bad_rows, named, batch_id), broken]),
        notes=tuple(notes),
    )


def broken_rows(file: str | None, broken: tuple[BrokenLine, ...], batch_id: str) -> pa.Table:
    """Quarantine rows for lines that are no rows of their file."""
    rows = [
        {
            "batch": batch_id,
            "rule": item.rule,
            "detail": RULES[item.rule],
            "file": file,
            "line": item.line,
            "raw": item.detail,
        }
        for item in broken
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE)


def settle(judged: Judged, stored: pa.Table, batch_id: str, basis: str) -> Judged:
    """Collapse exact duplicates and set conflicts aside, within the batch and against the stored rows.

    Args:
        judged: rows that are good on their own.
        stored: stored rows that may share a key with them; known at or after the batch's first known time.
        batch_id: for the quarantine.
        basis: under ``"observed"`` a row known earlier than a stored one of its period is refused.
    """
    new = judged.clean
    old = stored.filter(pc.is_in(stored["event_time"], pc.unique(new["event_time"])))
    old = old.filter(pc.is_in(old["entity"], pc.unique(new["entity"])))
    both = pa.concat_tables([old, new])
    is_new = np.arange(both.num_rows) >= old.num_rows
    keys = _keys(both)
    same, clash = np.zeros((2, both.num_rows), dtype=bool)
    # most rows share their key with no other; only the rest is looked at whole
    shared = np.flatnonzero(keys.duplicated(keep=False))
    if shared.size:
        whole = both.take(pa.array(shared)).drop_columns("known_basis").to_pandas()
        same[shared] = whole.duplicated(keep="first").to_numpy()
        clash[~same] = keys[~same].duplicated(keep=False).to_numpy()
    same &= is_new
    clash &= is_new
    early = np.zeros(both.num_rows, dtype=bool)
    if basis == "observed" and old.num_rows:
        latest = keys[~is_new].groupby(["entity", "event_time"])["known_time"].max().rename("latest").reset_index()
        known = keys[is_new].merge(latest, how="left", on=["entity", "event_time"])
        early[is_new] = (known["known_time"] < known["latest"]).to_numpy()
        early &= ~same & ~clash
    drop = (same | clash | early)[is_new]
    if not drop.any():
        return judged
    bad = [judged.bad]
    for rule, where in (("conflicting_duplicate", clash), ("earlier_than_stored", early)):
        rows = np.flatnonzero(where[is_new])
        if rows.size:
            bad.append(_late_rows(judged, rows, rule, batch_id))
    keep = pa.array(~drop)
    return Judged(
        clean=judged.clean.filter(keep),
        origin=judged.origin.filter(keep),
        files=judged.files,
        bad=pa.concat_tables(bad),
        notes=judged.notes,
        duplicates=judged.duplicates + int(same.sum()),
    )


def _keys(rows: pa.Table) -> pd.DataFrame:
    """What names an assertion, as whole numbers."""
    entity = rows["entity"].combine_chunks().dictionary_encode()
    entity = entity.combine_chunks() if isinstance(entity, pa.ChunkedArray) else entity
    return pd.DataFrame(
        {
            "entity": entity.indices.to_numpy(),
            "event_time": rows["event_time"].cast(pa.int64()).to_numpy(),
            "known_time": rows["known_time"].cast(pa.int64()).to_numpy(),
            "revision": rows["revision"].to_numpy(),
        }
    )


def _clean_rows(batch: Batch, schema: Schema, good: Mask) -> pa.Table:
    n_good = int(good.sum())
    columns: dict[str, pa.Array] = {
        "entity": batch.entity.filter(pa.array(good)),
        "event_time": _times(batch.event.ns[good]),
        "known_time": _times(batch.known.ns[good]),
        "revision": pa.array(batch.revision[good]),
        "op": pc.if_else(pa.array(batch.retract[good]), "retract", "assert"),
        "known_basis": pa.repeat(pa.scalar(batch.basis, pa.string()), n_good),
    }
    for name, held in schema.fields.items():
        values = batch.fields.get(name)
        if values is None:
            columns[name] = pa.nulls(n_good, held.physical)
        else:
            # -0.0 and 0.0 are one value; two spellings would make duplicates look like conflicts
            kept = np.where(batch.retract[good], np.nan, values[good]) + 0.0
            columns[name] = pa.array(kept, pa.float64(), from_pandas=True)
    return pa.table(columns, schema=table_schema(schema))


def _origin(batch: Batch, rows: npt.NDArray[np.int64]) -> pa.Table:
    lines = batch.source.lines
    return pa.table(
        {
            "source": pa.repeat(pa.scalar(0, pa.int32()), len(rows)),
            "line": pa.nulls(len(rows), pa.int64()) if lines is None else pa.array(lines[rows]),
            "row": pa.array(rows, pa.int64()),
        }
    )


def _bad_rows(batch: Batch, rows: npt.NDArray[np.int64], named: list[tuple[str, str]], batch_id: str) -> pa.Table:
    raw = batch.source.table.take(pa.array(rows, pa.int64())).to_pylist() if rows.size else []
    origin = _origin(batch, rows)
    details = [
        f"{RULES[rule]}: {column}={batch.fields[column][row]:g}" if column in batch.fields else RULES[rule]
        for (rule, column), row in zip(named, rows, strict=True)
    ]
    return pa.table(
        {
            "batch": pa.repeat(pa.scalar(batch_id), len(rows)),
            "rule": pa.array([rule for rule, _ in named], pa.string()),
            "detail": pa.array(details, pa.string()),
            "entity": batch.entity.take(pa.array(rows, pa.int64())),
            "event_time": _times(batch.event.ns[rows]),
            "known_time": _times(batch.known.ns[rows]),
            "file": pa.repeat(pa.scalar(batch.source.file, pa.string()), len(rows)),
            "line": origin["line"],
            "row": origin["row"],
            "raw": pa.array([json.dumps(item, default=str, ensure_ascii=False) for item in raw], pa.string()),
        },
        schema=QUARANTINE,
    )


def _late_rows(judged: Judged, rows: npt.NDArray[np.int64], rule: str, batch_id: str) -> pa.Table:
    at = pa.array(rows, pa.int64())
    clean, origin = judged.clean.take(at), judged.origin.take(at)
    return pa.table(
        {
            "batch": pa.repeat(pa.scalar(batch_id), len(rows)),
            "rule": pa.repeat(pa.scalar(rule), len(rows)),
            "detail": pa.repeat(pa.scalar(RULES[rule]), len(rows)),
            "entity": clean["entity"],
            "event_time": clean["event_time"],
            "known_time": clean["known_time"],
            "file": pa.array([judged.files[k] for k in origin["source"].to_pylist()], pa.string()),
            "line": origin["line"],
            "row": origin["row"],
            "raw": pa.array([json.dumps(item, default=str) for item in clean.to_pylist()], pa.string()),
        },
        schema=QUARANTINE,
    )


def _times(ns: npt.NDArray[np.int64]) -> pa.Array:
    """Microseconds UTC; null where there is none."""
    return pa.array(ns // 1000, mask=ns == NO_TIME).cast(_TIME)
