"""Sources: a frame, a table or a file becomes columns as they came, each row with its file and line."""

from __future__ import annotations

import glob
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from knowable.data.ingest.identity import bytes_identity, table_identity
from knowable.data.ingest.text import BrokenLine as BrokenLine  # noqa: PLC0414 - for those that import it from here
from knowable.data.ingest.text import no_twins, read_header, read_rows
from knowable.data.ingest.unpacked import refuse_bombs
from knowable.errors import DataError, InputError, shown

__all__ = ["Source", "as_paths", "from_bytes", "from_file", "from_memory", "is_parquet", "read_bytes"]

_MAX_BYTES = 8 << 30  # a larger batch is a mistake or an attack; it is refused before memory is asked for
_CHUNK = 16 << 20
_ENDINGS = (".csv", ".csv.gz", ".parquet", ".pq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Columns as they came.

    Attributes:
        table: columns of any type; text for CSV.
        file: path, or None for a frame.
        lines: (n_rows,) int64 line of each row in a text file, else None.
        broken: lines that are no rows.
        digest: hash of the contents, so that the same batch is known again.
        first_row: place of the first row in its file, where this is a stretch of one.
    """

    table: pa.Table
    file: str | None
    lines: npt.NDArray[np.int64] | None
    broken: tuple[BrokenLine, ...]
    digest: str
    first_row: int = 0


def as_paths(data: object) -> list[Path] | None:
    """The paths that were handed in, or None if `data` is a frame or table.

    A folder stands for the CSV and Parquet files in it, and a pattern such as ``"data/*.csv.gz"`` for those it matches,
    each sorted by name.

    Raises: InputError if it is neither; DataError if a folder or pattern has no file.
    """
    if isinstance(data, (pd.DataFrame, pa.Table, pa.RecordBatch)) or hasattr(data, "__arrow_c_stream__"):
        return None
    if isinstance(data, (str, Path)):
        return _files_of(data)
    if isinstance(data, Sequence) and data and all(isinstance(item, (str, Path)) for item in data):
        return [path for item in data for path in _files_of(item)]
    raise InputError(
        f"`data` must be a DataFrame, an Arrow table, or paths to CSV or Parquet files, but it is {shown(data)}."
    )


def _files_of(where: str | Path) -> list[Path]:
    path = Path(where)
    if path.is_dir():
        found = sorted(item for item in path.iterdir() if item.is_file() and item.name.lower().endswith(_ENDINGS))
        if not found:
            there = sorted(item.name for item in path.iterdir() if not item.name.startswith("."))
            raise DataError(
                f"The folder {path} has no file that ends in {', '.join(_ENDINGS)}; "
                + (f"it has {shown(there, 160)}." if there else "it is empty.")
            )
        return found
    if isinstance(where, str) and any(mark in where for mark in "*?[") and not path.exists():
        found = sorted(Path(item) for item in glob.glob(where, recursive=True) if Path(item).is_file())  # noqa: PTH207
        if not found:
            raise DataError(f"No file matches {where!r}, looked for from {Path.cwd()}.")
        return found
    return [path]


def from_memory(data: Any) -> Source:
    """Take a frame or table, of pandas, Arrow, or whatever hands out Arrow streams, as polars does; named index levels
    count as columns.

    Raises: DataError if column names repeat, or a text holds halves of characters.
    """
    if isinstance(data, pd.DataFrame):
        names = [name for name in data.index.names if name is not None and name not in data.columns]
        frame = data.reset_index(level=names) if names else data
        no_twins([str(name) for name in frame.columns], "the frame")
        try:
            table = pa.table({str(name): _column(frame[name]) for name in frame.columns})
        except UnicodeEncodeError as error:
            raise DataError(f"The frame has text that is no Unicode, such as {error.object[:40]!a}.") from error
    else:
        table = data if isinstance(data, pa.Table) else _streamed(data)
        no_twins(table.column_names, "the table")
    return Source(table=table, file=None, lines=None, broken=(), digest=table_identity(table))


def _streamed(data: Any) -> pa.Table:
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    try:
        return pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"`data` must be a table of rows, but {shown(data)} hands out none: {error}") from error


def from_file(path: Path) -> Source:
    """Read a CSV (also gzipped) or Parquet file.

    Raises: DataError naming the file if it is absent, empty, cut off, not text, or claims an absurd size.
    """
    return from_bytes(path, *read_bytes(path))


def read_bytes(path: Path) -> tuple[bytes, str]:
    """A file's bytes and their hash. Raises: DataError if it cannot be read, or is empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not data:
        raise DataError(f"{path} is empty.")
    return data, bytes_identity(data)


def from_bytes(path: Path, data: bytes, digest: str) -> Source:
    """The rows in a file's bytes. Raises: DataError naming the file if it is cut off, not text, or absurdly large."""
    if is_parquet(path):
        table = _parquet(path, data)
        return Source(table=table, file=str(path), lines=None, broken=(), digest=digest)
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(path, data)
    table, lines, broken = _csv(path, data)
    return Source(table=table, file=str(path), lines=lines, broken=tuple(broken), digest=digest)


def is_parquet(path: Path) -> bool:
    """Whether a name says that its file is Parquet; others hold text."""
    return path.suffix.lower() in (".parquet", ".pq")


def _column(values: pd.Series) -> pa.Array:
    """One column to Arrow; mixed objects become text, so that nothing is converted behind the user's back."""
    if values.dtype == object:
        kinds = {type(item) for item in values if item is not None and item is not pd.NaT and item == item}  # noqa: PLR0124
        if len(kinds) > 1 or any(hasattr(kind, "isoformat") for kind in kinds):
            return pa.array([_text(item) for item in values], pa.string())
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    try:
        array = pa.Array.from_pandas(values)
    except (pa.ArrowException, TypeError, ValueError):
        return pa.array([_text(item) for item in values], pa.string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _text(item: Any) -> str | None:
    if item is None or item is pd.NaT or item != item:  # noqa: PLR0124 - NaN
        return None
    return str(item.isoformat()) if hasattr(item, "isoformat") else str(item)


def _parquet(path: Path, data: bytes) -> pa.Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        about = file.metadata
        if about.num_rows * max(about.num_columns, 1) * 8 > _MAX_BYTES:
            raise DataError(f"{path} claims {about.num_rows:,} rows of {about.num_columns} columns; split it first.")
        refuse_bombs(
            path, about, lambda name: pq.ParquetFile(pa.BufferReader(data), read_dictionary=[name]), whole=True
        )
        table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no whole Parquet file: {str(error)[:200]}") from error
    no_twins(table.column_names, str(path))
    return table


def _gunzip(path: Path, data: bytes) -> bytes:
    out = bytearray()
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            while block := stream.read(_CHUNK):
                out += block
                if len(out) > _MAX_BYTES or (len(out) > 64 * _CHUNK and len(out) > 200 * len(data)):
                    raise DataError(
                        f"{path} unpacks to more than {len(out) >> 20} MiB from {len(data):,} bytes; refused."
                    )
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is a cut or damaged gzip file: {error}. Fetch it again.") from error
    return bytes(out)


def _csv(path: Path, data: bytes) -> tuple[pa.Table, npt.NDArray[np.int64], list[BrokenLine]]:
    header = read_header(path, data)
    table, lines, broken = read_rows(header, data[header.begin :], line=2, final=True)
    if table.num_rows == 0 and not broken:
        raise DataError(f"{path} has a header but no rows.")
    return table, lines, broken
