"""The work of a bulk ingest, in calls that any process can make, and make again: each leaves files and tells of them.

First pass, a piece of a file: parse, judge, set the good rows down sorted by event time. Second pass, a span of event
time: gather its rows from all pieces and the stored rows that could clash, settle, write data files. Third, for rows
that clashed: look their cells up again in the files they came from.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.corporate.identity import Names
from knowable.data.ingest.batch import Habits, Known, known_of, make_batch
from knowable.data.ingest.clashes import find_clashes
from knowable.data.ingest.judge import Judged, Remarks, judge
from knowable.data.ingest.pieces import Piece, read_piece
from knowable.data.ingest.refused import late_rows
from knowable.data.ingest.spill import Spill, read_spill, write_spill
from knowable.data.ingest.tally import Tally, tally
from knowable.data.schema import Schema, table_schema
from knowable.data.table.delta import Table, scan
from knowable.data.table.files import NewFile, write_files
from knowable.data.table.location import Location
from knowable.data.table.order import coded_schema, sort_rows
from knowable.errors import DataError, KnowableError, UnknownNameError

__all__ = ["Job", "Part", "Settled", "Span", "judge_piece", "read_kept", "settle_span", "show_late"]

_PART, _LINE, _ROW, _RULE = "(part)", "(line)", "(row)", "(rule)"  # no field can be called so


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What all calls of one ingest share.

    Attributes:
        dataset: its name.
        schema: as JSON.
        observations: where its table lies.
        columns, tz, known, names: as `make_batch` takes them.
        batch_id: of the append.
        folder: for the files in between.
        piece_bytes: see `pieces`.
    """

    dataset: str
    schema: str
    observations: Location
    columns: Mapping[str, str] | None
    tz: str | None
    known: Known
    names: Names | None
    batch_id: str
    folder: str
    piece_bytes: int

    def layout(self) -> Schema:
        """The schema."""
        return Schema.from_json(self.schema, f"the schema of {self.dataset!r}")

    def new_file(self) -> Path:
        """A name in the folder that no other call has."""
        return Path(self.folder) / f"{uuid.uuid4().hex}.arrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the first pass made of one source, which is a piece or a part of one.

    Attributes:
        piece: it comes from.
        place: of the source within the piece.
        n_rows: of the source, the refused ones included.
        how: it was read.
        basis: how its rows came to be known.
        habits: of these rows alone.
        remarks: on them.
        spill: the good rows, None where there are none.
        bad: file with the refused ones, None where there are none.
        refused: their tally.
        sample: the first event_time as it came, for the message where no row has one.
    """

    piece: Piece
    place: int
    n_rows: int
    how: str
    basis: str
    habits: Habits
    remarks: Remarks
    spill: Spill | None
    bad: str | None
    refused: Tally
    sample: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Rows with start <= event_time < end, in microseconds; of these, one `share` of `shares` of the entities."""

    start: int
    end: int
    share: int = 0
    shares: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the second pass made of a span.

    Attributes:
        files: written, in no version yet.
        accepted: rows in them.
        duplicates: rows that said nothing new.
        late: file with the rows that clashed, None where there are none.
        late_parts: the parts they come from.
    """

    files: tuple[NewFile, ...]
    accepted: int
    duplicates: int
    late: str | None = None
    late_parts: tuple[int, ...] = ()


def judge_piece(job: Job, piece: Piece, habits: Habits | None) -> list[Part] | KnowableError:
    """First pass. What is wrong with the file as a whole comes back as the error that says so.

    Args:
        job: shared.
        piece: to read.
        habits: of its file, where they are known.
    """
    schema = job.layout()
    parts: list[Part] = []
    try:
        for place, source in enumerate(read_piece(piece, job.piece_bytes)):
            known = known_of(source, schema, job.columns, job.known)
            batch = make_batch(source, schema, columns=job.columns, tz=job.tz, known=known, stretch=True, habits=habits)
            judged = judge(batch, schema, job.batch_id)
            sample = batch.vendor["event_time"]
            parts.append(
                Part(
                    piece=piece,
                    place=place,
                    n_rows=source.table.num_rows,
                    how=batch.how,
                    basis=batch.basis,
                    habits=batch.habits,
                    remarks=judged.remarks[0],
                    spill=write_spill(job.new_file(), _carried(judged)) if judged.clean.num_rows else None,
                    bad=_keep(job, judged.bad),
                    refused=tally(judged.bad),
                    sample=source.table[sample][0].as_py() if source.table.num_rows else None,
                )
            )
            del source, batch, judged
            pa.default_memory_pool().release_unused()  # what one piece needed at most, the next may not
    except (DataError, UnknownNameError) as error:
        return error
    return parts


def settle_span(job: Job, spills: Sequence[tuple[int, Spill]], span: Span, table: Table) -> Settled:
    """Second pass.

    Args:
        job: shared.
        spills: number of a part, and its good rows; in order of parts.
        span: of event time.
        table: that the rows are to follow; only its files are looked at, so that no process opens a log.
    """
    settled = _settled(job, spills, span, table)
    pa.default_memory_pool().release_unused()
    return settled


def _settled(job: Job, spills: Sequence[tuple[int, Spill]], span: Span, table: Table) -> Settled:
    schema = job.layout()
    rows = _gathered(spills, span)
    if rows is None:
        return Settled(files=(), accepted=0, duplicates=0)
    target = table_schema(schema)
    rows = sort_rows(_uncarried(rows, target), schema.keys)
    clean = rows.select(target.names)
    known_from = pc.min(clean["known_time"]).cast(pa.int64()).as_py() * 1000
    stored = scan(
        table, columns=target.names, start=span.start * 1000, end=(span.end - 1) * 1000, known_from=known_from
    )
    found = find_clashes(clean, stored, schema.keys)
    if found is None:
        return Settled(
            files=tuple(write_files(job.observations, clean, schema.keys)), accepted=len(clean), duplicates=0
        )
    late = [
        rows.filter(pa.array(where)).append_column(_RULE, pa.array([rule] * int(where.sum()), pa.string()))
        for rule, where in (("conflicting_duplicate", found.conflict), ("earlier_than_stored", found.early))
    ]
    kept = clean.filter(pa.array(~found.drop))
    del rows, clean
    clashed = pa.concat_tables(late)
    return Settled(
        files=tuple(write_files(job.observations, kept, schema.keys)) if kept.num_rows else (),
        accepted=kept.num_rows,
        duplicates=int(found.same.sum()),
        late=_keep(job, clashed),
        late_parts=tuple(sorted(set(clashed[_PART].to_pylist()))),
    )


def show_late(job: Job, part: int, about: Part, files: Sequence[str]) -> tuple[str, Tally] | None:
    """Third pass: the rows of a part that clashed, as the quarantine keeps them.

    Args:
        job: shared.
        part: its number.
        about: the part.
        files: what the second pass kept of rows that clashed.
    """
    clashed = pa.concat_tables([_clashed(path, part) for path in files])
    if not clashed.num_rows:
        return None
    source = next(source for k, source in enumerate(read_piece(about.piece, job.piece_bytes)) if k == about.place)
    names = table_schema(job.layout()).names
    bad = []
    for rule in ("conflicting_duplicate", "earlier_than_stored"):
        rows = clashed.filter(pc.equal(clashed[_RULE], rule)).sort_by(_ROW)
        if rows.num_rows:
            origin = pa.table(
                {"source": pa.nulls(rows.num_rows, pa.int32()).fill_null(0), "line": rows[_LINE], "row": rows[_ROW]}
            )
            bad.append(
                late_rows(
                    rows.select(names),
                    origin,
                    rule,
                    job.batch_id,
                    files=(about.piece.path,),
                    raws=(source.table,),
                    hows=(about.how,),
                    firsts=(source.first_row,),
                )
            )
    shown = pa.concat_tables(bad)
    path = _keep(job, shown)
    return None if path is None else (path, tally(shown))


def read_kept(path: str) -> pa.Table:
    """Rows that a call set down."""
    with pa.OSFile(path) as source, pa.ipc.open_file(source) as reader:
        return reader.read_all()


def _keep(job: Job, rows: pa.Table) -> str | None:
    if not rows.num_rows:
        return None
    path = job.new_file()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema, options=options) as writer:
        writer.write_table(rows.unify_dictionaries())
    return str(path)


def _clashed(path: str, part: int) -> pa.Table:
    rows = read_kept(path)
    return rows.filter(pc.equal(rows[_PART], part))


def _carried(judged: Judged) -> pa.Table:
    """Good rows as they lie between the passes: with where each came from."""
    origin = judged.origin.take(np.arange(judged.clean.num_rows))
    return judged.clean.append_column(_LINE, origin["line"]).append_column(_ROW, origin["row"])


def _gathered(spills: Sequence[tuple[int, Spill]], span: Span) -> pa.Table | None:
    parts = []
    for part, spill in spills:
        rows = read_spill(spill, span.start, span.end)
        if rows is not None and span.shares > 1:
            rows = rows.filter(pa.array(_shares(rows["entity"], span.shares) == span.share))
        if rows is not None and rows.num_rows:
            parts.append(rows.append_column(_PART, pa.array(np.full(rows.num_rows, part, np.int32))))
    return pa.concat_tables(parts) if parts else None


def _shares(entity: pa.ChunkedArray, shares: int) -> npt.NDArray[np.int64]:
    """Which share each row's entity falls into."""
    found = []
    for chunk in entity.chunks:
        share = np.array([zlib.crc32(name.encode()) % shares for name in chunk.dictionary.to_pylist()], np.int64)
        found.append(share[chunk.indices.to_numpy()])
    return np.concatenate(found)


def _uncarried(rows: pa.Table, target: pa.Schema) -> pa.Table:
    """Gathered rows in the table's schema, and behind it where each came from."""
    columns = [rows[field.name].cast(field.type) for field in coded_schema(target)]
    return pa.table([*columns, rows[_PART], rows[_LINE], rows[_ROW]], names=[*target.names, _PART, _LINE, _ROW])
