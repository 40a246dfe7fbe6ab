"""Data files: Parquet in which every byte that is read was checked, though few of them are read.

A file is named by the SHA-256 of its footer, and the footer holds a CRC-32 of each column chunk. So a reader that
wants two columns of one row group reads the footer and two chunks, holds each against its sum, and has proved all it
uses. Names that are the hash of whole files would cost the reading of whole files. Parquet's own page checksums leave
the page headers out, and a flipped bit there can change how a page is decoded. To other engines the files are
ordinary: the sums are key-value metadata.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knowable.data.arrays import one_array
from knowable.data.table.location import Location
from knowable.data.table.order import CODED, sort_rows
from knowable.errors import StoreError

__all__ = ["ROWS_PER_FILE", "Bounds", "NewFile", "read_file", "write_file", "write_files"]

Whole = npt.NDArray[Any]

ROWS_PER_FILE = 3_000_000
_ROWS_PER_GROUP = (
    131_072  # 122,880 to 1M are usual; small groups prune better and a chunk of 8 bytes a row stays > 100 kB
)
_CRC, _MARK = b"knowable.crc", "knowable.mark"
_TAIL = 8  # length of the footer and magic
_SAMPLE = 1 << 14
_THREADS = min(4, os.cpu_count() or 1)
_GAP = 1 << 17  # on an object store a request costs as much as 100 kB or more: nearer chunks are fetched as one


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A data file that is written but in no version yet.

    Attributes:
        path: its name in the table's folder.
        size: in bytes.
        rows: in it.
        stats: Delta's statistics as JSON, by which engines skip files.
    """

    path: str
    size: int
    rows: int
    stats: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Which rows are wanted; None means all. Times are int64 microseconds since 1970 UTC, both ends included; names of
    entities are sorted.
    """

    entities: tuple[str, ...] | None = None
    start: int | None = None
    end: int | None = None
    known_from: int | None = None
    known_until: int | None = None

    def columns(self) -> list[str]:
        """Columns that decide."""
        found = [name for name, first, last in self.times() if first is not None or last is not None]
        return found if self.entities is None else ["entity", *found]

    def times(self) -> tuple[tuple[str, int | None, int | None], ...]:
        """Columns of times with their bounds."""
        return ("event_time", self.start, self.end), ("known_time", self.known_from, self.known_until)

    def may_hold(self, low: dict[str, Any], high: dict[str, Any]) -> bool:
        """Whether rows between these values, by column, can be wanted; an unknown value excludes nothing."""
        for name, first, last in (
            ("event_time", self.start, self.end),
            ("known_time", self.known_from, self.known_until),
        ):
            if first is not None and high.get(name) is not None and high[name] < first:
                return False
            if last is not None and low.get(name) is not None and low[name] > last:
                return False
        if self.entities is None or low.get("entity") is None or high.get("entity") is None:
            return True
        at = bisect.bisect_left(self.entities, low["entity"])
        return at < len(self.entities) and self.entities[at] <= high["entity"]

    def keep(self, rows: pa.Table) -> pa.Table:
        """The rows that are wanted."""
        mask = None
        for name, low, high in (
            ("event_time", self.start, self.end),
            ("known_time", self.known_from, self.known_until),
        ):
            for bound, compare in ((low, pc.greater_equal), (high, pc.less_equal)):
                if bound is not None:
                    fits = compare(rows[name].cast(pa.int64()), bound)
                    mask = fits if mask is None else pc.and_(mask, fits)
        if self.entities is not None:
            fits = _among(rows["entity"], self.entities)
            mask = fits if mask is None else pc.and_(mask, fits)
        if mask is None or pc.all(mask, skip_nulls=False).as_py():
            return rows
        return rows.filter(mask)


def write_files(location: Location, rows: pa.Table, keys: Sequence[str] = ()) -> list[NewFile]:
    """Sort rows and write them as files of at most `ROWS_PER_FILE`. Raises: StoreError if the disk refuses."""
    ordered = sort_rows(rows, keys)
    parts = [ordered.slice(first, ROWS_PER_FILE) for first in range(0, ordered.num_rows, ROWS_PER_FILE)]
    if len(parts) < 2:
        return [write_file(location, part) for part in parts]
    with ThreadPoolExecutor(_THREADS) as pool:  # encoding and compressing let go of the interpreter
        return list(pool.map(lambda part: write_file(location, part), parts))


def write_file(location: Location, rows: pa.Table, *, mark: str = "") -> NewFile:
    """Write rows as one data file, in the order they have.

    Args:
        location: folder of the table.
        rows: at least one; columns as the table has them.
        mark: makes a file of the same rows another one. A rearrangement needs that: a name that came back after it
            was removed could not be told from the one that went.

    Raises: StoreError if the disk refuses; nothing is left behind.
    """
    times = [name for name in rows.column_names if pa.types.is_timestamp(rows.schema.field(name).type)]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        rows.schema.remove_metadata(),
        compression="zstd",
        use_dictionary=[name for name in rows.column_names if _repeats(rows[name])],
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),  # a third of the size on minute bars
        store_schema=False,
    ) as writer:
        for first in range(0, rows.num_rows, _ROWS_PER_GROUP):
            writer.write_table(_own_names(rows.slice(first, _ROWS_PER_GROUP)), row_group_size=_ROWS_PER_GROUP)
    body = sink.getvalue()
    metadata = pq.read_metadata(pa.BufferReader(body))
    footer = _footer(rows.schema, metadata, _sums(body, metadata), mark)
    data = b"".join((memoryview(body)[: body.size - _TAIL - _footer_length(bytes(body[-_TAIL:]))], footer))
    path = f"part-{hashlib.sha256(footer).hexdigest()}.parquet"
    try:
        location.write(path, data)
    except StoreError as error:
        raise StoreError(
            f"Nothing was appended: {error} The last version stays readable; repeat when the cause is mended "
            "(space, permissions)."
        ) from error
    return NewFile(path=path, size=len(data), rows=rows.num_rows, stats=_stats(rows))


def read_file(
    location: Location, path: str, size: int, schema: pa.Schema, bounds: Bounds, *, coded: bool = False, groups: int = 1
) -> Iterator[pa.Table]:
    """The wanted rows of a file, some row groups at a time.

    Args:
        location: folder of the table.
        path: of the file within it.
        size: in bytes, as the log says.
        schema: columns wanted, as the table has them now; those the file lacks are null.
        bounds: rows wanted.
        coded: give entity, op and known_basis as dictionaries, which is quicker and smaller.
        groups: row groups to read at once.

    Raises: StoreError naming the file if it is absent or a byte that is needed is not as it was written.
    """
    stem = path.removeprefix("part-").removesuffix(".parquet")
    if len(stem) != 64:
        yield from _read_foreign(location, path, schema, bounds, coded=coded)
        return
    where = f"Data file {location.uri}/{path}"
    data = _Bytes(location, path, size, where)
    footer = data.footer(stem)
    try:
        metadata = pq.read_metadata(pa.BufferReader(footer))
        sums = [int(word, 16) for word in metadata.metadata[_CRC].split()]
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{where} is not as this release writes it: {error}. Update knowable.") from error
    names = metadata.schema.names
    needed = [name for name in names if name in schema.names or name in bounds.columns()]
    wanted = [k for k in range(metadata.num_row_groups) if bounds.may_hold(*_limits(metadata.row_group(k), names))]
    for first in range(0, len(wanted), groups):
        some = wanted[first : first + groups]
        same = _same_throughout(metadata, some, needed)
        read = [name for name in needed if name not in same]
        data.check(metadata, some, [names.index(name) for name in needed], sums)
        try:
            reader = pq.ParquetFile(
                data.source(), metadata=metadata, read_dictionary=[name for name in CODED if name in read]
            )
            rows = reader.read_row_groups(some, columns=read)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{where} cannot be read: {error}.") from error
        for name, column in same.items():
            rows = rows.append_column(name, column)
        rows = bounds.keep(rows)
        if rows.num_rows:
            yield _shaped(rows, schema, coded=coded)


class _Bytes:
    """The bytes of one file: mapped where it is local, else fetched as they are needed."""

    def __init__(self, location: Location, path: str, size: int, where: str) -> None:
        self._location, self._path, self._where = location, path, where
        found = size if location.path is None else location.size(path)
        if found != size or size < _TAIL:
            raise StoreError(f"{where} is damaged: it has {found:,} bytes and not {size:,}. {_REMEDY}")
        self._size = size
        self._fetched: list[tuple[int, int]] = []
        # what is never fetched of the array takes no memory
        self._held: Any = _mapped(location, path) if location.path is not None else np.zeros(size, np.uint8).data

    def footer(self, digest: str) -> bytes:
        self._need([(max(self._size - _GAP, 0), min(self._size, _GAP))])  # most footers, and small files whole
        length = _footer_length(bytes(self._part(self._size - _TAIL, _TAIL))) + _TAIL
        footer = b""
        if length <= self._size:
            self._need([(self._size - length, length)])
            footer = bytes(self._part(self._size - length, length))
        if hashlib.sha256(footer).hexdigest() != digest:
            raise StoreError(f"{self._where} is damaged: its footer does not match the hash in its name. {_REMEDY}")
        return footer

    def check(self, metadata: Any, groups: list[int], places: list[int], sums: list[int]) -> None:
        """Hold the chunks of some row groups against their sums."""
        pairs = [(group, place) for group in groups for place in places]
        spans = [_span(metadata.row_group(group).column(place)) for group, place in pairs]
        self._need(spans)
        for (group, place), (start, size) in zip(pairs, spans, strict=True):
            if zlib.crc32(self._part(start, size)) != sums[group * metadata.num_columns + place]:
                raise StoreError(
                    f"{self._where} is damaged: column {metadata.schema.names[place]!r} of row group {group} does not "
                    f"match its checksum. {_REMEDY}"
                )

    def source(self) -> Any:
        return pa.BufferReader(pa.py_buffer(self._held))

    def _part(self, start: int, size: int) -> Any:
        return self._held[start : start + size]

    def _need(self, spans: list[tuple[int, int]]) -> None:
        """Fetch what is not there yet."""
        if self._location.path is not None:
            return
        absent = [(a, n) for a, n in spans if not any(first <= a and a + n <= end for first, end in self._fetched)]
        for start, stop in _joined(absent):
            data = self._location.read(self._path, start, stop - start)
            self._held[start : start + len(data)] = data
            self._fetched.append((start, stop))


_REMEDY = "Restore it from a copy; versions that do not use it stay readable."


def _mapped(location: Location, path: str) -> memoryview:
    try:
        with pa.memory_map(str(location.child(path).path)) as file:
            return memoryview(file.read_buffer())
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"Data file {location.uri}/{path} cannot be read: {error}. Restore it from a copy.") from error


def _joined(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    begin, end = -1, -1
    for start, size in sorted(spans):
        if end < 0 or start - end > _GAP:
            if end >= 0:
                yield begin, end
            begin = start
        end = max(end, start + size)
    if end >= 0:
        yield begin, end


def _span(chunk: Any) -> tuple[int, int]:
    """First byte and length of a column chunk."""
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None:
        start = min(start, chunk.dictionary_page_offset)
    return start, chunk.total_compressed_size


def _sums(body: pa.Buffer, metadata: Any) -> bytes:
    view = memoryview(body)
    found = []
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            start, size = _span(metadata.row_group(group).column(column))
            found.append(f"{zlib.crc32(view[start : start + size]):08x}")
    return " ".join(found).encode()


def _footer(schema: pa.Schema, metadata: Any, sums: bytes, mark: str) -> bytes:
    """The file's footer with the sums in it, its length and the magic at its end.

    The sums are known only when the chunks are written, and the writer's footer is then closed; so an empty file gets
    the sums and takes over the row groups.
    """
    empty, whole = pa.BufferOutputStream(), pa.BufferOutputStream()
    with pq.ParquetWriter(empty, schema.remove_metadata(), store_schema=False) as writer:
        writer.add_key_value_metadata({_CRC.decode(): sums.decode(), **({_MARK: mark} if mark else {})})
    merged = pq.read_metadata(pa.BufferReader(empty.getvalue()))
    merged.append_row_groups(metadata)
    merged.write_metadata_file(whole)
    return bytes(whole.getvalue()[4:])  # without the magic at its start


def _footer_length(tail: bytes) -> int:
    return int.from_bytes(tail[:4], "little")


def _limits(group: Any, names: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lowest and highest values of a row group; times in microseconds."""
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in ("entity", "event_time", "known_time"):
        if name not in names:
            continue
        found = group.column(names.index(name)).statistics
        if found is None or not found.has_min_max:
            continue
        low[name], high[name] = found.min, found.max
        if name != "entity":
            low[name], high[name] = found.min_raw, found.max_raw
    return low, high


def _same_throughout(metadata: Any, groups: list[int], names: list[str]) -> dict[str, pa.ChunkedArray]:
    """Columns whose row groups hold one value each, as the footer vouches: they are not decoded, and share memory."""
    found: dict[str, pa.ChunkedArray] = {}
    for name in ("revision", "op", "known_basis"):
        if name not in names or len(names) <= len(found) + 1:  # one column at least is read, for the count of rows
            continue
        chunks = []
        for group in groups:
            about = metadata.row_group(group)
            stated = about.column(metadata.schema.names.index(name)).statistics
            if stated is None or not stated.has_min_max or stated.null_count or stated.min != stated.max:
                break
            chunks.append(_repeated(stated.min, about.num_rows))
        else:
            found[name] = pa.chunked_array(chunks)
    return found


@functools.lru_cache(maxsize=16)
def _repeated(value: str | int, n_rows: int) -> pa.Array:
    if isinstance(value, int):
        return pa.array(np.full(n_rows, value))
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n_rows, np.int32)), pa.array([value]))


def _read_foreign(
    location: Location, path: str, schema: pa.Schema, bounds: Bounds, *, coded: bool
) -> Iterator[pa.Table]:
    """A file that another engine wrote: as a whole, on that engine's word."""
    try:
        rows = pq.read_table(pa.BufferReader(location.read(path)))
        rows = bounds.keep(_shaped(rows, pa.unify_schemas([schema, _DECIDING]), coded=coded)).select(schema.names)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise StoreError(f"Data file {location.uri}/{path} is damaged: {error}. Restore it from a copy.") from error
    if rows.num_rows:
        yield rows


_TIME = pa.timestamp("us", "UTC")
_DECIDING = pa.schema([("entity", pa.string()), ("event_time", _TIME), ("known_time", _TIME)])


def _shaped(rows: pa.Table, schema: pa.Schema, *, coded: bool) -> pa.Table:
    """Columns as the table has them now."""
    columns = []
    for field in schema:
        if field.name not in rows.column_names:
            columns.append(pa.chunked_array([pa.nulls(rows.num_rows, field.type)]))
        elif coded and field.name in CODED:
            column = rows[field.name]
            columns.append(
                column if pa.types.is_dictionary(column.type) else column.cast(field.type).dictionary_encode()
            )
        else:
            columns.append(rows[field.name].cast(field.type))
    return pa.table(columns, names=schema.names)


def _among(column: pa.ChunkedArray, names: tuple[str, ...]) -> pa.ChunkedArray:
    if not pa.types.is_dictionary(column.type):
        return pc.is_in(column, pa.array(names, pa.string()))
    masks = [pc.is_in(chunk.dictionary, pa.array(names, pa.string())).take(chunk.indices) for chunk in column.chunks]
    return pa.chunked_array(masks, pa.bool_())


def _own_names(rows: pa.Table) -> pa.Table:
    """The same rows, their dictionaries cut to the names they have."""
    for k, held in enumerate(rows.schema):
        if held.name == "entity" and pa.types.is_dictionary(held.type):
            names = one_array(rows.column(k).unify_dictionaries())
            used = np.flatnonzero(np.bincount(names.indices.to_numpy(), minlength=len(names.dictionary)))
            if len(used) < len(names.dictionary):
                place = np.zeros(len(names.dictionary), np.int32)
                place[used] = np.arange(len(used), dtype=np.int32)
                codes = pa.array(place[names.indices.to_numpy()])
                names = pa.DictionaryArray.from_arrays(codes, names.dictionary.take(pa.array(used)))
            rows = rows.set_column(k, held.name, names)
    return rows


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether a dictionary pays: prices in cents are then read and written in half the time, at half the size, but
    where few numbers repeat, trying it costs a fifth more.
    """
    if not pa.types.is_floating(column.type):
        return not pa.types.is_timestamp(column.type)
    sample = column.slice(max(len(column) - _SAMPLE, 0) // 2, _SAMPLE)
    return bool(pc.count_distinct(sample).as_py() <= len(sample) // 2)


def _stats(rows: pa.Table) -> str:
    """File statistics as Delta defines them, so that engines can skip files."""
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in ("entity", "event_time", "known_time"):
        if name in rows.column_names and rows.num_rows:
            span = pc.min_max(_seen(rows[name]))
            if span["min"].is_valid:
                low[name], high[name] = (_stated(span[end]) for end in ("min", "max"))
    nulls = {name: rows[name].null_count for name in rows.column_names}
    return json.dumps({"numRecords": rows.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls})


def _seen(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values that come up, each at least once."""
    return column.unique().cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _stated(value: pa.Scalar) -> str:
    if pa.types.is_timestamp(value.type):
        return str(value.as_py().strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    return str(value.as_py())
