"""A batch in memory, judged as a whole: a frame, or files that together are small."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from knowable.data.corporate.identity import Names
from knowable.data.ingest.batch import Batch, Habits, Known, common_habits, known_of, make_batch
from knowable.data.ingest.judge import Judged, join, judge
from knowable.data.ingest.refused import broken_rows
from knowable.data.ingest.source import Source, from_bytes, from_memory, read_bytes
from knowable.data.ingest.text import BrokenLine
from knowable.data.schema import Schema
from knowable.errors import DataError, KnowableError, UnknownNameError

__all__ = ["File", "judge_whole", "open_files", "open_frame", "some_good", "unusable"]

BLOCK_ROWS = 1 << 17
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file (or frame) of a batch.

    Attributes:
        path: of the file, None for a frame.
        digest: hash of its contents; None if they cannot be read, or there are none.
        source: its rows, None where there is a problem.
        problem: why it cannot be used.
    """

    path: str | None
    digest: str | None = None
    source: Source | None = None
    problem: KnowableError | None = None


def open_frame(data: object) -> list[File]:
    """Take a frame or table. Raises: DataError if it has no rows, or columns of one name."""
    source = from_memory(data)
    if source.table.num_rows == 0:
        raise DataError("`data` has no rows.")
    return [File(path=None, digest=source.digest, source=source)]


def open_files(paths: Sequence[Path]) -> list[File]:
    """Read files; what is wrong with one comes back with it."""
    return [_opened(path) for path in paths]


def judge_whole(
    files: Sequence[File],
    schema: Schema,
    *,
    columns: Mapping[str, str] | None,
    tz: str | None,
    known: Known,
    names: Names | None,
    batch_id: str,
) -> Judged:
    """Hold each row of a batch against the rules that concern it alone; a file that cannot be used is refused whole.

    Raises: what is wrong with the only file, or with the first where none can be used.
    """
    parts: list[Judged] = []
    tried: list[File] = []
    for file in files:
        if file.source is None:
            tried.append(file)
            continue
        own = known_of(file.source, schema, columns, known)
        read = partial(make_batch, schema=schema, columns=columns, tz=tz, known=own, names=names)
        try:
            parts.append(_judged(file.source, read, schema, batch_id))
        except (DataError, UnknownNameError) as error:
            tried.append(replace(file, source=None, problem=error))
            continue
        tried.append(file)
    problems = [(str(file.path), file.problem) for file in tried if file.problem is not None]
    some_good(problems, len(files))
    whole = join(parts)
    return replace(whole, bad=pa.concat_tables([whole.bad, unusable(problems, batch_id)]))


def _judged(source: Source, read: Callable[..., Batch], schema: Schema, batch_id: str) -> Judged:
    """A source at once; a long one in blocks that stay in the processor's cache, by several threads."""
    n_rows = source.table.num_rows
    if n_rows < 2 * BLOCK_ROWS:
        return judge(read(source), schema, batch_id)
    blocks = [_block(source, first) for first in range(0, n_rows, BLOCK_ROWS)]

    def one(block: Source, habits: Habits | None = None) -> tuple[Judged, Habits]:
        batch = read(block, stretch=True, habits=habits)
        return judge(batch, schema, batch_id), batch.habits

    with ThreadPoolExecutor(_THREADS) as pool:
        made = list(pool.map(one, blocks))
        whole = common_habits([habits for _, habits in made])
        if whole.times["event_time"].zoned is None:
            read(source)  # it raises, with a sentence on the whole
        again = [k for k, (_, habits) in enumerate(made) if not whole.fits(habits)]
        for k, item in zip(again, pool.map(lambda k: one(blocks[k], whole), again), strict=True):
            made[k] = item
    joined = join([judged for judged, _ in made])
    remarks = sum(joined.remarks[1:], start=joined.remarks[0])
    return replace(joined, remarks=(remarks,))


def _block(source: Source, first: int) -> Source:
    last = first + BLOCK_ROWS >= source.table.num_rows
    return replace(
        source,
        table=source.table.slice(first, BLOCK_ROWS),
        lines=None if source.lines is None else source.lines[first : first + BLOCK_ROWS],
        broken=source.broken if last else (),  # they follow the refused rows
        first_row=source.first_row + first,
    )


def some_good(problems: Sequence[tuple[str, KnowableError]], n_files: int) -> None:
    """Raises: what is wrong with the only file, or with the first of files none of which can be used."""
    if not n_files or len(problems) < n_files:
        return
    first = problems[0][1]
    if n_files == 1:
        raise first
    raise DataError(f"None of {n_files} files could be read. {first}") from first


def unusable(problems: Sequence[tuple[str, KnowableError]], batch_id: str) -> pa.Table:
    """Quarantine rows for files that cannot be used."""
    rows = [
        broken_rows(path, (BrokenLine(rule="unreadable_file", line=0, detail=str(problem)),), batch_id)
        for path, problem in problems
    ]
    return pa.concat_tables([broken_rows(None, (), batch_id), *rows])


def _opened(path: Path) -> File:
    digest = None
    try:
        data, digest = read_bytes(path)
        return File(path=str(path), digest=digest, source=from_bytes(path, data, digest))
    except DataError as error:
        return File(path=str(path), digest=digest, problem=error)
