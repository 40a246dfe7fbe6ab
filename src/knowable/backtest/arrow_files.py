"""Reading an Arrow file that somebody else may have written, or cut.

It is read and not mapped: a page of a mapped file that has been cut meanwhile ends the process. And a file of ours has
no compressed values and no dictionaries, so that what comes of it is never larger than itself; Arrow would believe
whatever length a compressed one states.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_arrow"]

_MAGIC = b"ARROW1\0\0"
_HEADER, _COMPRESSION = 2, 3  # fields of a message and of a record batch, in Arrow's Message.fbs


def read_arrow(path: Path, n_bytes: int, crc32: int) -> pa.Table:
    """The table of a file of that size and checksum.

    Raises: ValueError saying what is wrong; OSError and Arrow's errors from reading.
    """
    import pyarrow as pa

    size = path.stat().st_size
    if size != n_bytes:
        raise ValueError(f"is cut or changed: it has {size:,} bytes of {n_bytes:,}")
    with pa.OSFile(str(path)) as file:
        content = file.read_buffer(n_bytes)
    if content.size != n_bytes or zlib.crc32(content) != crc32:
        raise ValueError("is damaged: its contents do not match their checksum")
    if content.slice(0, len(_MAGIC)).to_pybytes() != _MAGIC:
        raise ValueError("is no Arrow file")
    with pa.BufferReader(content.slice(len(_MAGIC))) as source:
        schema = pa.ipc.read_schema(source)
        batches = []
        while (message := _next(source)) is not None:
            if message.type != "record batch" or _is_compressed(message.metadata):
                raise ValueError("holds compressed values or dictionaries, which no saved result does")
            batches.append(pa.ipc.read_record_batch(message, schema))
    return pa.Table.from_batches(batches, schema)


def _next(source: pa.NativeFile) -> pa.Message | None:
    """The message that begins here; None at the mark that ends them."""
    import pyarrow as pa

    try:
        return pa.ipc.read_message(source)
    except EOFError:
        return None


def _is_compressed(metadata: pa.Buffer) -> bool:
    """Whether a record batch's message says so, read from the flatbuffer that it is."""
    content = metadata.to_pybytes()
    batch = _field(content, struct.unpack_from("<I", content)[0], _HEADER)
    at = None if batch is None else batch + struct.unpack_from("<I", content, batch)[0]
    return at is None or _field(content, at, _COMPRESSION) is not None


def _field(content: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table lies; None where it is left out."""
    places = table - struct.unpack_from("<i", content, table)[0]
    slot = 4 + 2 * number
    if slot + 2 > struct.unpack_from("<H", content, places)[0]:
        return None
    offset = struct.unpack_from("<H", content, places + slot)[0]
    return table + offset if offset else None
