"""What tells a batch from another: a hash of its content in blocks, so that two threads share it and files stream.

SHA-256 a block of fixed size, and once more over the hashes of the blocks: as sound as one over all, whatever pieces
the content comes in. BLAKE2 took 2.5 times as long here, where the processor knows SHA; CRC-32 is twice as quick but a
file can be made to fit one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.arrays import one_array

__all__ = ["Identity", "bytes_identity", "table_identity"]

_BLOCK = 4 << 20
_ROWS = 1 << 19
_THREADS = min(4, os.cpu_count() or 1)


class Identity:
    """The hash of a stream of bytes; `bytes_identity` gives the same for all of them at once."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._block = hashlib.sha256()
        self._room = _BLOCK
        self._size = 0

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        self._size += len(view)
        while len(view) >= self._room:
            self._block.update(view[: self._room])
            view = view[self._room :]
            self._whole.update(self._block.digest())
            self._block, self._room = hashlib.sha256(), _BLOCK
        self._block.update(view)
        self._room -= len(view)

    def hexdigest(self) -> str:
        """The hash of all bytes so far; nothing may follow."""
        if self._room < _BLOCK:
            self._whole.update(self._block.digest())
        return _sealed(self._whole, self._size)


def bytes_identity(data: bytes) -> str:
    """The hash of bytes in memory, by several threads."""
    view = memoryview(data)
    return _joined((view[k : k + _BLOCK] for k in range(0, len(view), _BLOCK)), _sha256, len(view))


def table_identity(table: pa.Table) -> str:
    """The hash of a table's columns, however they are cut into chunks."""
    plain = table.replace_schema_metadata(None)
    return _joined((plain.slice(k, _ROWS) for k in range(0, plain.num_rows, _ROWS)), _slice_digest, plain.num_rows)


def _joined(parts: Iterable[Any], digest: Any, size: int) -> str:
    whole = hashlib.sha256()
    for part in _mapped(digest, parts):
        whole.update(part)
    return _sealed(whole, size)


def _mapped(digest: Any, parts: Iterable[Any]) -> Iterator[bytes]:
    held = list(parts)
    if len(held) < 2:
        yield from map(digest, held)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(digest, held)


def _sealed(whole: Any, size: int) -> str:
    whole.update(str(size).encode())
    return str(whole.hexdigest())


def _sha256(data: memoryview) -> bytes:
    return hashlib.sha256(data).digest()


def _slice_digest(rows: pa.Table) -> bytes:
    digest = hashlib.sha256(f"{rows.num_rows}".encode())
    for name in rows.column_names:
        for label, column in _plain(name, one_array(rows[name])):
            digest.update(json.dumps([label, str(column.type)]).encode())
            for part in _bytes_of(column):
                digest.update(part)
    return digest.digest()


def _bytes_of(column: pa.Array) -> Iterator[Any]:
    """What a column holds, as buffers; no copy of the common types is made."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _bytes_of(column.indices)
        yield f"{len(column.dictionary)}:".encode()
        yield from _bytes_of(column.dictionary)
    elif (pa.types.is_string(kind) or pa.types.is_binary(kind)) and len(column):
        yield from _bytes_of(pc.binary_length(column))
        _, offsets, data = column.buffers()
        ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
        yield b"" if data is None else memoryview(data)[ends[0] : ends[-1]]
    elif pa.types.is_primitive(kind) and not pa.types.is_boolean(kind):
        width = kind.bit_width // 8
        data = column.buffers()[1]
        yield b"" if data is None else memoryview(data)[column.offset * width : (column.offset + len(column)) * width]
    else:
        plain = pa.table({"x": column})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, plain.schema) as writer:
            writer.write_table(plain)
        yield memoryview(sink.getvalue())


def _plain(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """A column whose bytes are its content: what lies under a null, or beyond the last bit, is not."""
    kind = column.type
    if column.null_count and (pa.types.is_primitive(kind) or pa.types.is_string(kind)):
        yield f"{name} ({kind}) is null", column.is_null().cast(pa.int8())
        zero = pa.Array.from_buffers(kind, 1, [None, *[pa.py_buffer(bytes(16))] * (kind.num_buffers - 1)])
        column = pc.fill_null(column, zero[0])
    yield name, column.cast(pa.int8()) if pa.types.is_boolean(kind) else column
