"""Refused rows: each with its id, its rule, where it came from, its cells as they came, and how they were read."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from knowable.data.ingest.batch import Batch
from knowable.data.ingest.checks import RULES, Breach
from knowable.data.ingest.source import BrokenLine
from knowable.data.table.order import plain_names
from knowable.data.times import NO_TIME
from knowable.errors import shown

__all__ = ["QUARANTINE", "broken_rows", "late_rows", "origin_rows", "refused_rows", "to_times"]

_TIME = pa.timestamp("us", "UTC")

# `mends` and `version` are null but for the records of a mend: which id it settles, and the version that holds the row.
QUARANTINE = pa.schema(
    [
        ("id", pa.string()),
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
        ("how", pa.string()),
        ("mends", pa.string()),
        ("version", pa.int64()),
    ]
)


def refused_rows(batch: Batch, rows: npt.NDArray[np.int64], broken: Sequence[Breach], batch_id: str) -> pa.Table:
    """Rows that break a rule on their own.

    Args:
        batch: they belong to.
        rows: (n_bad,) their places in it.
        broken: (n_bad,) the first rule each breaks.
        batch_id: of the append.
    """
    at = pa.array(rows, pa.int64())
    raw = batch.source.table.take(at).to_pylist() if rows.size else []
    details = [
        _detail(item, cells.get(batch.vendor.get(item.column, ""))) for item, cells in zip(broken, raw, strict=True)
    ]
    return _table(
        batch_id,
        rules=[item.rule for item in broken],
        details=details,
        entity=batch.entity.take(at).cast(pa.string()),
        event_time=to_times(batch.event.ns[rows]),
        known_time=to_times(batch.known.ns[rows]),
        files=[batch.source.file] * len(rows),
        origin=origin_rows(batch, rows),
        raw=[json.dumps(cells, default=str, ensure_ascii=False) for cells in raw],
        hows=[batch.how] * len(rows),
    )


def late_rows(
    clean: pa.Table,
    origin: pa.Table,
    rule: str,
    batch_id: str,
    *,
    files: Sequence[str | None],
    raws: Sequence[pa.Table | None],
    hows: Sequence[str | None],
    firsts: Sequence[int] = (),
) -> pa.Table:
    """Rows that are good on their own but clash with others.

    Args:
        clean: the rows in the table's schema.
        origin: source, line and row of each.
        rule: they break.
        batch_id: of the append.
        files: of the sources, None for frames.
        raws: the sources as they came; where None, the row is shown in our own columns.
        hows: how each source was read.
        firsts: place of each source's first row in its file, where they are stretches.
    """
    clean = plain_names(clean)
    sources, rows = origin["source"].to_pylist(), origin["row"].to_pylist()
    raw: list[str] = []
    read: list[str | None] = []
    for k, (source, row) in enumerate(zip(sources, rows, strict=True)):
        table = raws[source] if source < len(raws) else None
        if table is not None:
            cells, how = table.slice(row - (firsts[source] if firsts else 0), 1).to_pylist()[0], hows[source]
        else:
            cells = clean.slice(k, 1).to_pylist()[0]
            how = json.dumps({"known": {"basis": cells.pop("known_basis"), "at": None}})
        raw.append(json.dumps(cells, default=str, ensure_ascii=False))
        read.append(how)
    return _table(
        batch_id,
        rules=[rule] * len(rows),
        details=[RULES[rule]] * len(rows),
        entity=clean["entity"],
        event_time=clean["event_time"],
        known_time=clean["known_time"],
        files=[files[source] for source in sources],
        origin=origin,
        raw=raw,
        hows=read,
    )


def broken_rows(file: str | None, broken: Sequence[BrokenLine], batch_id: str, how: str | None = None) -> pa.Table:
    """Lines that are no rows of their file; `raw` is what they look like."""
    rows = [
        {
            "id": _id(batch_id, file, item.line, item.rule),
            "batch": batch_id,
            "rule": item.rule,
            "detail": RULES[item.rule],
            "file": file,
            "line": item.line,
            "raw": item.detail,
            "how": how,
        }
        for item in broken
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE)


def origin_rows(batch: Batch, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Where rows of a batch came from: source (0), line, row."""
    lines = batch.source.lines
    return pa.table(
        {
            "source": pa.repeat(pa.scalar(0, pa.int32()), len(rows)),
            "line": pa.nulls(len(rows), pa.int64()) if lines is None else pa.array(lines[rows]),
            "row": pa.array(rows + batch.source.first_row, pa.int64()),
        }
    )


def to_times(ns: npt.NDArray[np.int64]) -> pa.Array:
    """Microseconds UTC; null where there is none."""
    none = ns == NO_TIME
    return pa.array(ns // 1000, mask=none if none.any() else None).cast(_TIME)


def _table(
    batch_id: str,
    *,
    rules: list[str],
    details: list[str],
    entity: pa.Array,
    event_time: pa.Array,
    known_time: pa.Array,
    files: list[str | None],
    origin: pa.Table,
    raw: list[str],
    hows: list[str | None],
) -> pa.Table:
    n_rows = len(rules)
    places = zip(files, origin["row"].to_pylist(), rules, strict=True)
    return pa.table(
        {
            "id": pa.array([_id(batch_id, file, row, rule) for file, row, rule in places], pa.string()),
            "batch": pa.repeat(pa.scalar(batch_id), n_rows),
            "rule": pa.array(rules, pa.string()),
            "detail": pa.array(details, pa.string()),
            "entity": entity,
            "event_time": event_time,
            "known_time": known_time,
            "file": pa.array(files, pa.string()),
            "line": origin["line"],
            "row": origin["row"],
            "raw": pa.array(raw, pa.string()),
            "how": pa.array(hows, pa.string()),
            "mends": pa.nulls(n_rows, pa.string()),
            "version": pa.nulls(n_rows, pa.int64()),
        },
        schema=QUARANTINE,
    )


def _id(batch_id: str, file: str | None, place: int, rule: str) -> str:
    """The same row of the same batch has the same id, on any machine."""
    return hashlib.sha256(json.dumps([batch_id, file, place, rule]).encode()).hexdigest()[:16]


def _detail(breach: Breach, cell: object) -> str:
    text = breach.about or RULES[breach.rule]
    if cell is None:
        return text
    near = difflib.get_close_matches(str(cell).lower(), breach.choices, n=1, cutoff=0.5) if breach.choices else []
    return f"{text}: {breach.column}={shown(cell)}" + (f"; did you mean {near[0]!r}?" if near else "")
