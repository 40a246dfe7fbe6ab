"""Lines of a CSV file become columns of text, each row with its line; a stretch of a file reads as the whole would."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from knowable.errors import DataError, shown
from knowable.kernels.ingest import ODD_BYTE, lines_kernel, records_kernel

__all__ = ["BrokenLine", "Cut", "Cutter", "Header", "count_rows", "no_twins", "read_header", "read_rows"]

_LONGEST_CELL = 131_072  # bytes; a quote that does not close by then is a mistake
_MARK = b"\xef\xbb\xbf"
_BINARY = re.compile(rb"[\x00-\x08\x80-\xff]")
_OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\xfd7zXZ": "an xz file",
}
_OTHERS_REMEDY = {
    "a zip archive or an Excel workbook": "Unpack it, or read it first: pd.read_excel(path, dtype=str).",
    "an old Excel workbook": "Read it first: pd.read_excel(path, dtype=str).",
    "a Parquet file": "Give it the ending .parquet.",
    "a bzip2 file": "Unpack it; gzip and plain text are read.",
    "a zstd file": "Unpack it; gzip and plain text are read.",
    "an xz file": "Unpack it; gzip and plain text are read.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLine:
    """A line that is no row of its file."""

    rule: str
    line: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Names of the columns, and the byte at which the rows begin."""

    names: tuple[str, ...]
    begin: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A stretch of whole rows: its bytes, where they begin (rows only), and the line of the first."""

    data: bytes
    begin: int
    line: int
    final: bool


def read_header(path: object, data: bytes) -> Header:
    """Read the first line.

    Args:
        path: for messages.
        data: the first bytes of the file, or all.

    Raises: DataError if it is no text, no header, or names a column twice.
    """
    kind = next((kind for magic, kind in _OTHERS.items() if data.startswith(magic)), None)
    if kind is not None and _BINARY.search(data[:64]):
        raise DataError(f"{path} is {kind}, and no CSV. {_OTHERS_REMEDY[kind]}")
    mark = len(_MARK) if data.startswith(_MARK) else 0
    end = data.find(b"\n")
    line = data[mark : end if end >= 0 else len(data)].removesuffix(b"\r")
    if b"\r" in line and b'"' not in line:
        raise DataError(f"{path} ends its lines by CR alone, as old Macs did; save it with LF or CR LF.")
    if len(line) > _LONGEST_CELL:
        raise DataError(f"{path} has no end of a line in its first {len(line):,} bytes; it is no CSV.")
    try:
        names = [name.strip() for name in next(csv.reader([line.decode("utf-8")]), [])]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}. Save it as UTF-8 CSV.") from error
    except csv.Error as error:
        raise DataError(f"{path}, line 1, is no header of a CSV: {error}. Save it as UTF-8 CSV.") from error
    other = next((mark for mark in ";\t|" if len(names) == 1 and names[0].count(mark) > 1), None)
    if other is not None:
        raise DataError(
            f"{path} separates its columns by {other!r}, not by commas: {shown(names[0])}.\n"
            f"Read it first, which also settles decimal commas: pd.read_csv(path, sep={other!r}, decimal=',')."
        )
    if not names or b"\0" in line:
        raise DataError(f"{path}, line 1, is no header: {shown(line[:80])}. A first line of column names is needed.")
    no_twins(names, str(path))
    return Header(names=tuple(names), begin=end + 1 if end >= 0 else len(data))


def no_twins(names: list[str], where: str) -> None:
    """Raises: DataError if a name comes twice."""
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise DataError(f"Column {twins[0]!r} comes {names.count(twins[0])} times in {where}; each name once, please.")


def read_rows(
    header: Header, data: bytes, *, line: int, final: bool
) -> tuple[pa.Table, npt.NDArray[np.int64], list[BrokenLine]]:
    """Read a stretch of whole rows.

    Args:
        header: of the file.
        data: bytes that begin with a row.
        line: number of the first line in the file, the header being 1.
        final: whether the file ends with them: what follows the last line end is then a row that may be cut.

    Returns: columns of text (an empty cell is null), (n_rows,) int64 line of each row, and the lines that are none.
    """
    quoted = b'"' in data
    starts, numbers, keep, broken = _sorted_out(header, data, line=line, final=final, quoted=quoted)
    table = _parse(_kept(data, starts, keep), header.names, quoted=quoted)
    lines = numbers[:-1][keep] + line
    if table.num_rows != len(lines):
        raise AssertionError(f"{table.num_rows} rows of {len(lines)} lines")  # our bug, and it must not pass
    return table, lines, broken


def count_rows(header: Header, data: bytes, *, final: bool) -> tuple[int, int]:
    """(rows, lines that are none) of a stretch, as `read_rows` would find them."""
    _, _, keep, broken = _sorted_out(header, data, line=0, final=final, quoted=b'"' in data)
    return int(np.count_nonzero(keep)), len(broken)


class Cutter:
    """Cuts a stream of rows into stretches of about `size` bytes, at ends of rows only."""

    def __init__(self, path: object, header: Header, size: int) -> None:
        self._path = path
        self._n_commas = len(header.names) - 1
        self._size = size
        self._begin, self._line = header.begin, 2

    def cuts(self, blocks: Iterator[bytes]) -> Iterator[Cut]:
        """The stretches of a file whose rows come in `blocks`."""
        held = bytearray()
        for block in blocks:
            held += block
            if len(held) >= self._size:
                end, lines = self._safe_end(held)
                if end:
                    with memoryview(held) as view:
                        rows = bytes(view[:end])
                    del held[:end]
                    yield self._cut(rows, lines, final=False)
                elif len(held) > 8 * max(self._size, _LONGEST_CELL):
                    raise DataError(f"{self._path} has {len(held) >> 20} MiB without the end of a row; it is no CSV.")
        yield self._cut(bytes(held), 0, final=True)

    def _cut(self, data: bytes, lines: int, *, final: bool) -> Cut:
        cut = Cut(data=data, begin=self._begin, line=self._line, final=final)
        self._begin, self._line = self._begin + len(data), self._line + lines
        return cut

    def _safe_end(self, held: bytearray) -> tuple[int, int]:
        """(bytes, lines) of the whole rows held."""
        if b'"' not in held:
            end = held.rfind(b"\n") + 1
            return end, held.count(b"\n", 0, end)
        starts, numbers, _ = _records(held, self._n_commas, quoted=True, final=False)
        return int(starts[-1]), int(numbers[-1])


def _sorted_out(
    header: Header, data: bytes, *, line: int, final: bool, quoted: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_], list[BrokenLine]]:
    """(first byte, lines before) of each row and of what follows the last, which to keep, and the broken ones."""
    starts, numbers, findings = _records(data, len(header.names) - 1, quoted=quoted, final=True)
    broken: list[BrokenLine] = []
    keep = np.ones(len(findings), dtype=bool)
    for k in np.flatnonzero(findings):
        row = data[starts[k] : starts[k + 1]].rstrip(b"\r\n")
        rule = _rule(row, int(findings[k]))
        if rule is not None or not row:
            keep[k] = False
        if rule is not None and row.strip():
            broken.append(BrokenLine(rule=rule, line=line + int(numbers[k]), detail=_show(row)))
    tail = data[starts[-1] :]
    if final and tail:
        broken.append(BrokenLine(rule="unterminated_row", line=line + int(numbers[-1]), detail=_show(tail)))
    return starts, numbers, keep, broken


def _records(
    data: bytes | bytearray, n_commas: int, *, quoted: bool, final: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """(first byte, lines before) of each row and of what follows the last, and what is odd about each."""
    n_lines = data.count(b"\n")
    view = np.frombuffer(data, np.uint8)
    view.flags.writeable = False
    starts, findings = np.empty(n_lines + 1, np.int64), np.empty(n_lines, np.uint8)
    if not quoted:
        lines_kernel(view, n_commas, starts, findings)
        return starts, np.arange(n_lines + 1), findings
    numbers = np.empty(n_lines + 1, np.int64)
    n_rows = records_kernel(view, n_commas, _LONGEST_CELL, final, starts, numbers, findings)
    return starts[: n_rows + 1], numbers[: n_rows + 1], findings[:n_rows]


def _rule(row: bytes, finding: int) -> str | None:
    """The rule that a line breaks, None where it is a row after all."""
    try:
        text = row.decode("utf-8")
    except UnicodeDecodeError:
        return "bad_encoding"
    if "\0" in text:
        return "bad_encoding"
    return "wrong_number_of_columns" if finding & ~ODD_BYTE else None


def _kept(data: bytes, starts: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_]) -> bytes | memoryview:
    """The bytes of the rows to keep; no copy where it is all of them."""
    view = memoryview(data)
    if keep.all():
        return view[: starts[-1]]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], keep, [False]]).astype(np.int8)))
    return b"".join(view[starts[first] : starts[end]] for first, end in edges.reshape(-1, 2))


def _parse(data: bytes | memoryview, names: tuple[str, ...], *, quoted: bool) -> pa.Table:
    if not len(data):
        return pa.table({name: pa.array([], pa.string()) for name in names})
    return pacsv.read_csv(
        pa.BufferReader(pa.py_buffer(data)),
        read_options=pacsv.ReadOptions(column_names=list(names), block_size=16 << 20),
        parse_options=pacsv.ParseOptions(
            quote_char='"' if quoted else False, newlines_in_values=quoted, ignore_empty_lines=False
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


def _show(line: bytes) -> str:
    return ascii(line[:120].decode("utf-8", errors="replace"))
