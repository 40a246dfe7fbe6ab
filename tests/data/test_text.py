"""Lines of CSV: the `csv` module reads the same cells, and a file read in stretches is the file read whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.ingest.identity import Identity, bytes_identity, table_identity
from knowable.data.ingest.text import BrokenLine, Cutter, read_header, read_rows
from knowable.errors import DataError

HEAD = b"a,b,c\n"
Rows = tuple[list[tuple[str | None, ...]], list[int], list[BrokenLine]]


def whole(data: bytes) -> Rows:
    header = read_header("f", data)
    table, lines, broken = read_rows(header, data[header.begin :], line=2, final=True)
    return [tuple(row.values()) for row in table.to_pylist()], lines.tolist(), broken


def in_stretches(data: bytes, size: int, block: int) -> Rows:
    header = read_header("f", data)
    rows, lines, broken = [], [], []
    body = data[header.begin :]
    blocks: Iterator[bytes] = (body[k : k + block] for k in range(0, len(body), block))
    begin = header.begin
    for cut in Cutter("f", header, size).cuts(blocks):
        assert cut.begin == begin
        begin += len(cut.data)
        table, numbers, odd = read_rows(header, cut.data, line=cut.line, final=cut.final)
        rows += [tuple(row.values()) for row in table.to_pylist()]
        lines += numbers.tolist()
        broken += odd
    assert begin == len(data)
    return rows, lines, broken


cell = st.text(st.sampled_from('ab1é",\n\r '), max_size=4)


@given(st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_quoted_cells_are_those_the_csv_module_wrote(rows: list[tuple[str, str, str]], end: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    found, lines, broken = whole(HEAD + text.getvalue().encode())
    assert found == [tuple(item or None for item in row) for row in rows]
    assert broken == []
    heights = [1 + sum(item.count("\n") for item in row) for row in rows]
    assert lines == [2 + sum(heights[:k]) for k in range(len(rows))]


@settings(max_examples=3 * settings().max_examples)
@given(st.binary(max_size=80) | st.lists(st.sampled_from([b"x", b",", b"a,b,c\n", b'"', b"\n", b"\r", b"\r\n", b"\xff",
       b"\0", "é".encode(), b'"q, r",1,2\n', b'"q\nr",1,2\n', b" "]), max_size=40).map(b"".join),
       st.integers(1, 30), st.integers(1, 30))  # fmt: skip
def test_any_bytes_read_in_stretches_are_what_they_are_as_a_whole(data: bytes, size: int, block: int) -> None:
    assert in_stretches(HEAD + data, size, block) == whole(HEAD + data)


def slow(data: bytes) -> Rows:
    """Without quotes: a line is a row."""
    rows, lines, broken = [], [], []
    *full, tail = data.split(b"\n")
    for number, raw in enumerate(full, start=2):
        line = raw.removesuffix(b"\r")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            broken.append((number, "bad_encoding"))
        elif text and "\r" not in text and text.count(",") == 2:
            rows.append(tuple(item or None for item in text.split(",")))
            lines.append(number)
        elif text.strip():
            broken.append((number, "wrong_number_of_columns"))
    if tail:
        broken.append((len(full) + 2, "unterminated_row"))
    return rows, lines, broken


@settings(max_examples=3 * settings().max_examples)
@given(st.lists(st.sampled_from([b"x", b",", b"a,b,c\n", b"\n", b"\r", b"\r\n", b"\xff", b"\0", "é".encode(), b" "]),
       max_size=40).map(b"".join))  # fmt: skip
def test_a_file_without_quotes_is_its_lines(data: bytes) -> None:
    rows, lines, broken = whole(HEAD + data)
    assert (rows, lines, [(item.line, item.rule) for item in broken]) == slow(data)


@pytest.mark.parametrize("rest", [b"", b"3,4,5\n", b"x" * 50 + b",,\n"])
def test_a_quote_that_never_closes_costs_its_line_only(monkeypatch: pytest.MonkeyPatch, rest: bytes) -> None:
    monkeypatch.setattr("knowable.data.ingest.text._LONGEST_CELL", 30)
    data = HEAD + b'1,"2,3\n6,7,8\n' + rest + b"9,9,9\n"
    rows, lines, broken = whole(data)
    assert [(item.line, item.rule) for item in broken] == [(2, "wrong_number_of_columns")]
    assert rows[0] == ("6", "7", "8")
    assert (rows[-1], lines[0]) == (("9", "9", "9"), 3)
    for size in range(1, 40, 3):
        assert in_stretches(data, size, 7) == (rows, lines, broken)


def test_a_stream_without_line_ends_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knowable.data.ingest.text._LONGEST_CELL", 100)
    endless = (b"x" * 50 for _ in iter(int, 1))
    with pytest.raises(DataError, match="without the end of a row"):
        list(Cutter("f.csv", read_header("f.csv", HEAD), 100).cuts(endless))


@given(st.binary(max_size=100), st.integers(1, 40))
def test_content_has_one_hash_however_it_comes(data: bytes, step: int) -> None:
    import knowable.data.ingest.identity as identity

    block, identity._BLOCK = identity._BLOCK, 16
    try:
        stream = Identity()
        for k in range(0, len(data), step):
            stream.update(data[k : k + step])
        assert stream.hexdigest() == bytes_identity(data)
        assert bytes_identity(data) != bytes_identity(data + b"\0")
    finally:
        identity._BLOCK = block


def test_a_table_has_one_hash_however_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knowable.data.ingest.identity._ROWS", 7)
    table = pa.table({"x": np.arange(20.0), "y": pa.array(["a", None] * 10), "z": pa.array([1, None] * 10)})
    cut = pa.concat_tables([table.slice(0, 3), table.slice(3, 1), table.slice(4)])
    assert table_identity(cut) == table_identity(table)
    for other in (
        table.slice(1),
        table.rename_columns(["x", "y", "w"]),
        table.set_column(0, "x", table["x"].cast("f4")),
    ):
        assert table_identity(other) != table_identity(table)
