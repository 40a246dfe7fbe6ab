"""Sources: a frame, a table or a file becomes columns as they came, each row with its file and line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from knowable.errors import DataError, InputError, shown

__all__ = ["BrokenLine", "Source", "as_paths", "from_file", "from_memory"]

_MAX_BYTES = 8 << 30  # a larger batch is a mistake or an attack; it is refused before memory is asked for
_CHUNK = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLine:
    """A line that is no row of its file."""

    rule: str
    line: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Columns as they came.

    Attributes:
        table: columns of any type; text for CSV.
        file: path, or None for a frame.
        lines: (n_rows,) int64 line of each row in a text file, else None.
        broken: lines that are no rows.
        digest: hash of the contents, so that the same batch is known again.
    """

    table: pa.Table
    file: str | None
    lines: npt.NDArray[np.int64] | None
    broken: tuple[BrokenLine, ...]
    digest: str


def as_paths(data: object) -> list[Path] | None:
    """The paths that were handed in, or None if `data` is a frame or table.

    Raises: InputError if it is none of them.
    """
    if isinstance(data, (str, Path)):
        return [Path(data)]
    if isinstance(data, (pd.DataFrame, pa.Table, pa.RecordBatch)):
        return None
    if isinstance(data, Sequence) and data and all(isinstance(item, (str, Path)) for item in data):
        return [Path(item) for item in data]
    raise InputError(
        f"`data` must be a DataFrame, a pyarrow Table, or paths to CSV or Parquet files, but it is {shown(data)}."
    )


def from_memory(data: pd.DataFrame | pa.Table | pa.RecordBatch) -> Source:
    """Take a frame or table; named index levels count as columns.

    Raises: DataError if column names repeat.
    """
    if isinstance(data, pd.DataFrame):
        names = [name for name in data.index.names if name is not None and name not in data.columns]
        frame = data.reset_index(level=names) if names else data
        _no_twins([str(name) for name in frame.columns], "the frame")
        table = pa.table({str(name): _column(frame[name]) for name in frame.columns})
    else:
        table = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
        _no_twins(table.column_names, "the table")
    digest = hashlib.sha256()
    plain = table.replace_schema_metadata(None).combine_chunks()
    sink = _HashSink(digest)
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), plain.schema) as writer:
        writer.write_table(plain)
    return Source(table=table, file=None, lines=None, broken=(), digest=digest.hexdigest())


def from_file(path: Path) -> Source:
    """Read a CSV (also gzipped) or Parquet file.

    Raises: DataError naming the file if it is absent, empty, cut off, not text, or claims an absurd size.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not data:
        raise DataError(f"{path} is empty.")
    digest = hashlib.sha256(data).hexdigest()
    if path.suffix.lower() in (".parquet", ".pq"):
        table = _parquet(path, data)
        return Source(table=table, file=str(path), lines=None, broken=(), digest=digest)
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(path, data)
    table, lines, broken = _csv(path, data)
    return Source(table=table, file=str(path), lines=lines, broken=tuple(broken), digest=digest)


class _HashSink(io.RawIOBase):
    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)


def _no_twins(names: list[str], where: str) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise DataError(f"Column {twins[0]!r} comes {names.count(twins[0])} times in {where}; each name once, please.")


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
        table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no whole Parquet file: {str(error)[:200]}") from error
    _no_twins(table.column_names, str(path))
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
    data = data.removeprefix(b"\xef\xbb\xbf")
    broken: list[BrokenLine] = []
    raw = data.replace(b"\r\n", b"\n").split(b"\n")
    ends_cleanly = raw[-1] == b""
    if ends_cleanly:
        raw.pop()
    try:
        names = next(csv.reader([raw[0].decode("utf-8")]), [])
    except (UnicodeDecodeError, csv.Error, IndexError) as error:
        raise DataError(f"{path} is no UTF-8 text: {error}. Save it as UTF-8 CSV.") from error
    if not names or b"\0" in raw[0]:
        raise DataError(f"{path}, line 1, is no header: {shown(raw[0][:80])}. A first line of column names is needed.")
    names = [name.strip() for name in names]
    _no_twins(names, str(path))
    if not ends_cleanly and len(raw) > 1:
        tail = raw.pop()
        broken.append(BrokenLine(rule="unterminated_row", line=len(raw) + 1, detail=_show_line(tail)))
    if b'"' in data:
        table, lines = _quoted(raw, names, broken)
    else:
        table, lines = _plain(raw, names, broken, plain=data.isascii() and b"\0" not in data)
    if table.num_rows == 0 and not broken:
        raise DataError(f"{path} has a header but no rows.")
    return table, lines, sorted(broken, key=lambda item: item.line)


def _plain(
    raw: list[bytes], names: list[str], broken: list[BrokenLine], *, plain: bool
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """The quick way, for files without quotes: a line is a row."""
    commas = len(names) - 1
    keep: list[bytes] = []
    lines: list[int] = []
    for number, line in enumerate(raw[1:], start=2):
        if line.count(b",") == commas and line and (plain or _decodes(line)):
            keep.append(line)
            lines.append(number)
        elif line.strip():
            rule = "wrong_number_of_columns" if plain or _decodes(line) else "bad_encoding"
            broken.append(BrokenLine(rule=rule, line=number, detail=_show_line(line)))
    if not keep:
        return _empty(names), np.empty(0, np.int64)
    table = pacsv.read_csv(
        pa.BufferReader(b"\n".join(keep) + b"\n"),
        read_options=pacsv.ReadOptions(column_names=names, block_size=_CHUNK),
        parse_options=pacsv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )
    return table, np.array(lines, dtype=np.int64)


def _quoted(raw: list[bytes], names: list[str], broken: list[BrokenLine]) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """The slow way, where a quoted cell may hold commas and line ends."""
    texts = (line.decode("utf-8", errors="surrogateescape") + "\n" for line in raw[1:])
    reader = csv.reader(texts, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    began = 2
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            broken.append(BrokenLine(rule="wrong_number_of_columns", line=began, detail=str(error)))
            began = reader.line_num + 2
            continue
        if row is None:
            break
        text = ",".join(row)
        if len(row) == len(names) and not any("\ud800" <= char <= "\udfff" for char in text):
            rows.append(row)
            lines.append(began)
        elif text.strip():
            rule = "wrong_number_of_columns" if len(row) != len(names) else "bad_encoding"
            broken.append(BrokenLine(rule=rule, line=began, detail=ascii(text[:120])))
        began = reader.line_num + 2
    if not rows:
        return _empty(names), np.empty(0, np.int64)
    columns = [pc.if_else(pc.equal(column, ""), None, column) for column in map(_strings, zip(*rows, strict=True))]
    return pa.table(columns, names=names), np.array(lines, dtype=np.int64)


def _strings(values: Iterable[str]) -> pa.Array:
    return pa.array(values, pa.string())


def _empty(names: list[str]) -> pa.Table:
    return pa.table({name: pa.array([], pa.string()) for name in names})


def _decodes(line: bytes) -> bool:
    if line.isascii():
        return b"\0" not in line
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in line


def _show_line(line: bytes) -> str:
    return ascii(line[:120].decode("utf-8", errors="replace"))
