"""Files in pieces: a first look finds where each may be cut, and a piece then reads as it would within the whole."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from knowable.data.ingest.identity import Identity
from knowable.data.ingest.source import Source, is_parquet
from knowable.data.ingest.text import Cut, Cutter, Header, count_rows, no_twins, read_header, read_rows
from knowable.data.ingest.unpacked import refuse_bombs
from knowable.errors import DataError

__all__ = ["PIECE_BYTES", "Piece", "Survey", "count_rows_of", "read_piece", "survey"]

PIECE_BYTES = 32 << 20  # of text; a worker then holds about ten times as much while it judges
_PIECE_ROWS = 1 << 19
_BLOCK = 4 << 20
_GZIP = b"\x1f\x8b"
_LARGEST_RATIO = 200  # deflate reaches 1032, but no table shrinks like that
_Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a file.

    Attributes:
        path: of the file.
        kind: ``"csv"``, ``"gzip"`` (always the whole file) or ``"parquet"``.
        begin, size: bytes; row groups of a Parquet file.
        line: number of the first line.
        first_row: place of the first row among those of the file.
        n_rows: rows; None where only unpacking it all would tell.
        final: whether the file ends here.
        stamp: size and time of change of the file when it was surveyed.
    """

    path: str
    kind: str
    begin: int
    size: int
    stamp: _Stamp
    line: int = 0
    first_row: int = 0
    n_rows: int | None = None
    final: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a first look at a file finds.

    Attributes:
        path: of the file.
        digest: hash of its bytes; None if they cannot be read, or there are none.
        n_bytes: its size.
        pieces: in order; none where there is a problem.
        problem: why the file cannot be used, as a sentence, or None.
    """

    path: str
    digest: str | None
    n_bytes: int = 0
    pieces: tuple[Piece, ...] = ()
    problem: str | None = None


def survey(path: str, piece_bytes: int = PIECE_BYTES) -> Survey:
    """Hash a file and find its pieces; reads it once, in bounded memory. What is wrong with it comes back as words."""
    identity = Identity()

    def hashed(blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            identity.update(block)
            yield block

    try:
        with Path(path).open("rb") as file:
            stamp = _stamp(path)
            blocks = hashed(_blocks(file))
            head = next(blocks, None)
            if head is None:
                return Survey(path=path, digest=None, problem=f"{path} is empty.")
            pieces, problem = _pieces(path, head, stamp, blocks, piece_bytes)
            for _ in blocks:  # to the end, for the hash
                pass
    except OSError as error:
        return Survey(path=path, digest=None, problem=f"{path} cannot be read: {error.strerror or error}.")
    return Survey(path=path, digest=identity.hexdigest(), n_bytes=stamp[0], pieces=pieces, problem=problem)


def _pieces(
    path: str, head: bytes, stamp: _Stamp, blocks: Iterator[bytes], piece_bytes: int
) -> tuple[tuple[Piece, ...], str | None]:
    try:
        if is_parquet(Path(path)):
            return tuple(_row_groups(path, stamp, piece_bytes)), None
        if head.startswith(_GZIP):
            return (Piece(path=path, kind="gzip", begin=0, size=stamp[0], line=2, stamp=stamp),), None
        header = read_header(path, head)
        return tuple(_stretches(path, header, stamp, _after(head[header.begin :], blocks), piece_bytes)), None
    except DataError as error:
        return (), str(error)


def read_piece(piece: Piece, piece_bytes: int = PIECE_BYTES) -> Iterator[Source]:
    """The rows of a piece, in one source or, where only reading on tells where to cut, in several.

    Raises: DataError if the file is damaged, or is not what it was when it was surveyed.
    """
    try:
        if _stamp(piece.path) != piece.stamp:
            raise DataError(f"{piece.path} was changed while it was read; append it again when it is whole.")
        yield from {"csv": _read_csv, "gzip": _read_gzip, "parquet": _read_parquet}[piece.kind](piece, piece_bytes)
    except OSError as error:
        raise DataError(f"{piece.path} cannot be read: {error.strerror or error}.") from error


def count_rows_of(found: Survey) -> int:
    """Rows of a file, the refused ones included; 0 where it cannot be read."""
    if any(piece.n_rows is None for piece in found.pieces):
        with contextlib.suppress(DataError):
            return sum(source.table.num_rows for piece in found.pieces for source in read_piece(piece))
    return sum(piece.n_rows or 0 for piece in found.pieces)


def _stretches(path: str, header: Header, stamp: _Stamp, blocks: Iterator[bytes], piece_bytes: int) -> Iterator[Piece]:
    n_rows = n_broken = 0
    for cut in Cutter(path, header, piece_bytes).cuts(blocks):
        rows, broken = count_rows(header, cut.data, final=cut.final)
        if cut.data:
            yield Piece(
                path=path,
                kind="csv",
                begin=cut.begin,
                size=len(cut.data),
                line=cut.line,
                first_row=n_rows,
                n_rows=rows,
                final=cut.final,
                stamp=stamp,
            )
        n_rows, n_broken = n_rows + rows, n_broken + broken
    if not n_rows + n_broken:
        raise DataError(f"{path} has a header but no rows.")


def _row_groups(path: str, stamp: _Stamp, piece_bytes: int) -> Iterator[Piece]:
    about = _opened(path).metadata
    refuse_bombs(path, about, lambda name: pq.ParquetFile(path, read_dictionary=[name]), whole=False)
    first, first_row, n_bytes, n_rows = 0, 0, 0, 0
    for group in range(about.num_row_groups):
        n_bytes += about.row_group(group).total_byte_size
        n_rows += about.row_group(group).num_rows
        last = group + 1 == about.num_row_groups
        if last or n_bytes >= piece_bytes or n_rows >= _PIECE_ROWS:
            yield Piece(
                path=path,
                kind="parquet",
                begin=first,
                size=group + 1 - first,
                first_row=first_row,
                n_rows=n_rows,
                final=last,
                stamp=stamp,
            )
            first, first_row, n_bytes, n_rows = group + 1, first_row + n_rows, 0, 0


def _read_csv(piece: Piece, piece_bytes: int) -> Iterator[Source]:
    del piece_bytes
    with Path(piece.path).open("rb") as file:
        header = read_header(piece.path, file.read(_BLOCK))
        file.seek(piece.begin)
        data = file.read(piece.size)
    if len(data) != piece.size:
        raise DataError(f"{piece.path} was cut while it was read; append it again when it is whole.")
    yield _text_source(piece.path, header, data, line=piece.line, final=piece.final, first_row=piece.first_row)


def _read_gzip(piece: Piece, piece_bytes: int) -> Iterator[Source]:
    try:
        with Path(piece.path).open("rb") as packed, gzip.open(packed) as file:
            blocks = _sane_blocks(piece, file)
            head = next(blocks, b"")
            header = read_header(piece.path, head)
            n_rows = n_broken = 0
            for cut in Cutter(piece.path, header, piece_bytes).cuts(_after(head[header.begin :], blocks)):
                source = _cut_source(piece.path, header, cut, n_rows)
                n_rows, n_broken = n_rows + source.table.num_rows, n_broken + len(source.broken)
                yield source
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{piece.path} is a cut or damaged gzip file: {error}. Fetch it again.") from error
    if not n_rows + n_broken:
        raise DataError(f"{piece.path} has a header but no rows.")


def _sane_blocks(piece: Piece, file: Any) -> Iterator[bytes]:
    n_bytes = 0
    for block in _blocks(file):
        n_bytes += len(block)
        if n_bytes > (1 << 30) and n_bytes > _LARGEST_RATIO * piece.size:
            raise DataError(
                f"{piece.path} unpacks to more than {n_bytes >> 20} MiB from {piece.size:,} bytes; refused."
            )
        yield block


def _read_parquet(piece: Piece, piece_bytes: int) -> Iterator[Source]:
    groups = range(piece.begin, piece.begin + piece.size)
    file = _opened(piece.path)
    width = max(1, sum(file.metadata.row_group(group).total_byte_size for group in groups))
    rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    at_once = int(max(1, min(_PIECE_ROWS, 2 * piece_bytes * rows // width)))
    first_row = piece.first_row
    try:
        for batch in file.iter_batches(at_once, row_groups=list(groups)):
            table = pa.Table.from_batches([batch])
            yield Source(table=table, file=piece.path, lines=None, broken=(), digest="", first_row=first_row)
            first_row += table.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{piece.path} is no whole Parquet file: {str(error)[:200]}") from error


def _opened(path: str) -> Any:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is no whole Parquet file: {str(error)[:200]}") from error
    no_twins(file.schema_arrow.names, path)
    return file


def _cut_source(path: str, header: Header, cut: Cut, first_row: int) -> Source:
    return _text_source(path, header, cut.data, line=cut.line, final=cut.final, first_row=first_row)


def _text_source(path: str, header: Header, data: bytes, *, line: int, final: bool, first_row: int) -> Source:
    table, lines, broken = read_rows(header, data, line=line, final=final)
    return Source(table=table, file=path, lines=lines, broken=tuple(broken), digest="", first_row=first_row)


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _blocks(file: Any) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _stamp(path: str) -> _Stamp:
    about = Path(path).stat()
    return about.st_size, about.st_mtime_ns
