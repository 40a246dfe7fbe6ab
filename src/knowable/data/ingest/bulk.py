"""Bulk ingest: many or large files in two passes over pieces and spans, in bounded memory, with one commit at the end.

The answer is that of an append in memory, row for row and rule for rule, whatever the pieces and whoever does the work:
a piece is judged as its file would be, and a span settled with all rows, new and stored, that could clash in it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.corporate.identity import Names
from knowable.data.ingest.batch import Habits, Known, common_habits, no_times
from knowable.data.ingest.judge import IngestReport
from knowable.data.ingest.passes import Job, Part, Settled, Span, judge_piece, read_kept, settle_span, show_late
from knowable.data.ingest.pieces import Piece, Survey, count_rows_of, survey
from knowable.data.ingest.spill import Spill, staging
from knowable.data.ingest.tally import Tally, add, batch_name, make_report, tally
from knowable.data.ingest.whole import some_good, unusable
from knowable.data.ingest.work import Work
from knowable.data.schema import Schema
from knowable.data.table import delta
from knowable.data.table.files import NewFile, write_file
from knowable.data.table.location import Location
from knowable.errors import ConflictError, DataError, KnowableError

__all__ = ["Target", "ingest"]

_TRIES = 10
_SLACK_US = 1000  # writers may cut the times in statistics to milliseconds
_REFUSED_ROWS = 200_000  # in one file of the quarantine


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the rows are to go.

    Attributes:
        name: of the dataset.
        schema: of the dataset.
        location: of its folder.
        observations, quarantine: of its tables.
    """

    name: str
    schema: Schema
    location: Location
    observations: Location
    quarantine: Location

    @property
    def staging(self) -> Path:
        """Where the rows of a bulk ingest lie between the passes: in the store, or for one at a URL on this machine."""
        if self.location.path is not None:
            return self.location.path.parent / ".staging"
        return Path(tempfile.gettempdir()) / "knowable-staging"


def ingest(
    target: Target,
    paths: Sequence[Path],
    *,
    columns: Mapping[str, str] | None,
    tz: str | None,
    known: Known,
    names: Names | None,
    options: Sequence[Any],
    work: Work,
) -> IngestReport:
    """Append files in two passes.

    Args:
        target: where to.
        paths: CSV (also gzipped) and Parquet files.
        columns, tz, known, names: as `make_batch` takes them.
        options: what else tells this append from another, for the batch's id.
        work: who does it.

    Raises: DataError if no file can be used; StoreError; ConflictError.
    """
    began = [Survey(path="", digest=None)] * len(paths)
    for k, found in work.calls(survey, [(str(path), work.piece_bytes) for path in paths]):
        began[k] = found
    digests = [item.digest for item in began if item.digest is not None]
    batch_id = batch_name(digests, [item.path for item in began if item.digest is None], options)
    table = delta.open_table(target.observations, None, target.name)
    if delta.committed(table, batch_id):
        return _nothing_new(target, began, table.version, known.basis)
    work.plan(2 * sum(item.n_bytes for item in began) / 1e6)
    with staging(target.staging) as folder:
        job = Job(
            dataset=target.name,
            schema=target.schema.to_json(),
            observations=target.observations,
            columns=columns and dict(columns),
            tz=tz,
            known=known,
            names=names,
            batch_id=batch_id,
            folder=str(folder),
            piece_bytes=work.piece_bytes,
        )
        files = _first_pass(job, began, work)
        done = _land(target, job, files, work)
    if done is None:
        return _nothing_new(
            target, began, delta.open_table(target.observations, None, target.name).version, known.basis
        )
    return done


@dataclass(slots=True, kw_only=True)
class _File:
    """A file after the first pass: its parts in order, or what is wrong with it."""

    path: str
    parts: list[Part] = field(default_factory=list)
    problem: KnowableError | None = None


def _first_pass(job: Job, surveys: Sequence[Survey], work: Work) -> list[_File]:
    """Judge every piece; those whose file turns out to have other habits are judged again by these."""
    files = [
        _File(path=item.path, problem=None if item.problem is None else DataError(item.problem)) for item in surveys
    ]
    wanted = [(k, piece, None) for k, item in enumerate(surveys) for piece in item.pieces if item.problem is None]
    share = {item.path: item.n_bytes / max(len(item.pieces), 1) / 1e6 for item in surveys}
    made = _judged(job, wanted, work, files, share)
    again: list[tuple[int, Piece, Habits | None]] = []
    for k, file in enumerate(files):
        parts = [part for piece in surveys[k].pieces for part in made.get(piece, ())]
        if file.problem is not None:
            continue
        whole = common_habits([part.habits for part in parts])
        if whole.times["event_time"].zoned is None and any(part.n_rows for part in parts):
            file.problem = no_times(file.path, next(part.sample for part in parts if part.n_rows))
        again += [
            (k, piece, whole)
            for piece in surveys[k].pieces
            if file.problem is None and not all(whole.fits(part.habits) for part in made[piece])
        ]
    made |= _judged(job, again, work, files, {})
    for k, file in enumerate(files):
        file.parts = [part for piece in surveys[k].pieces for part in made.get(piece, ()) if file.problem is None]
    some_good(_problems(files), len(files))
    return files


def _judged(
    job: Job,
    wanted: Sequence[tuple[int, Piece, Habits | None]],
    work: Work,
    files: Sequence[_File],
    share: Mapping[str, float],
) -> dict[Piece, list[Part]]:
    made: dict[Piece, list[Part]] = {}
    for at, result in work.calls(judge_piece, [(job, piece, habits) for _, piece, habits in wanted]):
        k, piece, _ = wanted[at]
        work.step(share.get(piece.path, 0.0))
        if isinstance(result, KnowableError):
            files[k].problem = files[k].problem or result
        else:
            made[piece] = result
    return made


def _land(target: Target, job: Job, files: Sequence[_File], work: Work) -> IngestReport | None:
    """Second and third pass, and the commit; None if another writer landed the same batch."""
    parts = [part for file in files for part in file.parts]
    spans = _spans([part.spill for part in parts if part.spill is not None], work.span_rows)
    lost = unusable(_problems(files), job.batch_id)
    basis = ", ".join(sorted({part.basis for part in parts if part.spill is not None})) or job.known.basis
    table = delta.open_table(target.observations, None, target.name)
    settled = _second_pass(job, parts, spans, table, work)
    for attempt in range(_TRIES):
        with delta.locked(target.location):
            newest = delta.open_table(target.observations, None, target.name)
            if newest.id != table.id:
                raise ConflictError(f"Dataset {target.name!r} was made anew by another writer. Repeat the append.")
            if delta.committed(newest, job.batch_id):
                return None
            moved = [k for k, span in enumerate(spans) if _touched(span, table, newest)]
            again = _second_pass(job, parts, [spans[k] for k in moved], newest, work)
            for k, item in zip(moved, again, strict=True):
                settled[k] = item
            table = newest
            late = _third_pass(job, parts, settled, work)
            _refuse(target, job, [part.bad for part in parts] + [path for path, _ in late], lost)
            new_files = [file for item in settled for file in item.files]
            accepted = sum(item.accepted for item in settled)
            version = table.version
            if new_files:
                note = {"rows": str(accepted), "known_basis": basis}
                try:
                    version = delta.commit(table, new_files, batch=job.batch_id, note=note)
                except ConflictError:  # the lock does not reach every writer: those on other machines, for one
                    time.sleep(0.1 * (attempt + 1))
                    continue
        return make_report(
            target.name,
            add([*(part.refused for part in parts), tally(lost), *(counted for _, counted in late)]),
            accepted=accepted,
            duplicates=sum(item.duplicates for item in settled),
            version=version,
            basis=basis,
            notes=_notes(files),
            batch=job.batch_id,
        )
    raise ConflictError(
        f"Other writers changed dataset {target.name!r} {_TRIES} times while this append tried to. Nothing of it is "
        "stored; repeat it."
    )


def _second_pass(
    job: Job, parts: Sequence[Part], spans: Sequence[Span], table: delta.Table, work: Work
) -> list[Settled]:
    spills = [(k, part.spill) for k, part in enumerate(parts) if part.spill is not None]
    calls = [(job, [item for item in spills if _meets(item[1], span)], span, _view(table, span)) for span in spans]
    settled: list[Settled | None] = [None] * len(spans)
    share = work.left / max(len(spans), 1)
    for k, result in work.calls(settle_span, calls):
        settled[k] = result
        work.step(share)
    return [item for item in settled if item is not None]


def _third_pass(job: Job, parts: Sequence[Part], settled: Sequence[Settled], work: Work) -> list[tuple[str, Tally]]:
    clashed: dict[int, list[str]] = {}
    for item in settled:
        for part in item.late_parts:
            clashed.setdefault(part, []).append(str(item.late))
    calls = [(job, part, parts[part], clashed[part]) for part in sorted(clashed)]
    found: dict[int, Any] = dict(work.calls(show_late, calls))
    return [found[k] for k in range(len(calls)) if found[k] is not None]


def _spans(spills: Sequence[Spill], span_rows: int) -> list[Span]:
    """Spans of event time with about so many rows each; a moment that has more is shared out by entity."""
    if not spills:
        return []
    events = np.concatenate([spill.events[:-1] for spill in spills])
    counts = np.concatenate([_weights(spill) for spill in spills])
    moments, at = np.unique(events, return_inverse=True)
    rows = np.bincount(at, counts, len(moments))
    last = max(int(spill.events[-1]) for spill in spills) + 1
    spans: list[Span] = []
    first, held = 0, 0.0
    for k in range(len(moments)):
        held += rows[k]
        end = int(moments[k + 1]) if k + 1 < len(moments) else last
        if held + (rows[k + 1] if k + 1 < len(moments) else np.inf) > span_rows:
            shares = max(1, int(np.ceil(held / (1.5 * span_rows)))) if k == first else 1
            spans += [Span(start=int(moments[first]), end=end, share=share, shares=shares) for share in range(shares)]
            first, held = k + 1, 0.0
    return spans


def _weights(spill: Spill) -> Any:
    """Rows between one moment of a sketch and the next."""
    step = spill.step
    counts = np.full(len(spill.events) - 1, float(step))
    counts[-1] = spill.n_rows - step * (len(counts) - 1)
    return counts


def _meets(spill: Spill, span: Span) -> bool:
    return bool(spill.events[0] < span.end and spill.events[-1] >= span.start)


def _problems(files: Sequence[_File]) -> list[tuple[str, KnowableError]]:
    return [(file.path, file.problem) for file in files if file.problem is not None]


def _refuse(target: Target, job: Job, kept: Iterable[str | None], lost: pa.Table) -> None:
    """Quarantine first: if the process dies between the two tables, repeating the append completes it."""
    for _ in range(_TRIES):
        table = delta.open_table(target.quarantine, None, f"{target.name}/quarantine")
        if delta.committed(table, job.batch_id):
            return
        files: list[NewFile] = []
        held: list[pa.Table] = [lost] if lost.num_rows else []
        for path in kept:
            if path is not None:
                held.append(read_kept(path))
            if sum(rows.num_rows for rows in held) >= _REFUSED_ROWS:
                files.append(write_file(target.quarantine, pa.concat_tables(held)))
                held = []
        if held:
            files.append(write_file(target.quarantine, pa.concat_tables(held)))
        if not files:
            return
        try:
            delta.commit(table, files, batch=job.batch_id, note={})
        except ConflictError:
            time.sleep(0.01)
        else:
            return
    raise ConflictError(f"Other writers hold the quarantine of dataset {target.name!r}; repeat the append.")


def _touched(span: Span, then: delta.Table, now: delta.Table) -> bool:
    """Whether a file that came in the meantime may hold rows of a span."""
    if then.version == now.version:
        return False
    fresh = now.files.filter(pc.invert(pc.is_in(now.files["path"], then.files["path"])))
    return bool(_near(fresh, span).num_rows)


def _near(files: pa.Table, span: Span) -> pa.Table:
    """Files that may hold rows of a span, those that do not say included."""
    begins = pc.less(files["min_event_time"].cast(pa.int64()), span.end + _SLACK_US)
    ends = pc.greater_equal(files["max_event_time"].cast(pa.int64()), span.start - _SLACK_US)
    return files.filter(pc.and_(pc.fill_null(begins, True), pc.fill_null(ends, True)))


def _view(table: delta.Table, span: Span) -> delta.Table:
    """A table that can be sent to another process, with the files that concern a span."""
    return replace(table, files=_near(table.files, span), properties={}, handle=None, lock=None)  # type: ignore[arg-type]


def _notes(files: Sequence[_File]) -> list[str]:
    found: dict[str, None] = {}
    for file in files:
        if file.parts:
            whole = sum((part.remarks for part in file.parts[1:]), start=file.parts[0].remarks)
            found |= dict.fromkeys(whole.notes())
    return list(found)


def _nothing_new(target: Target, surveys: Sequence[Survey], version: int, basis: str) -> IngestReport:
    return IngestReport(
        dataset=target.name,
        accepted=0,
        quarantined=0,
        duplicates=sum(count_rows_of(item) for item in surveys),
        version=version,
        already_stored=True,
        known_basis=basis,
    )
