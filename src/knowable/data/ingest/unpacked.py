"""How much text a Parquet file holds, told before it is unpacked: one long text may stand for millions of cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from knowable.errors import DataError

__all__ = ["refuse_bombs"]

_MOST_BYTES = 2 << 30


def refuse_bombs(path: object, about: Any, reopened: Callable[[str], Any], *, whole: bool) -> None:
    """Refuse a file whose texts unpack to more than memory should hold.

    A column chunk says how long it is with each different text once. Where that, times its rows, could be too much, its
    texts are read in that form and their lengths added up.

    Args:
        path: for messages.
        about: metadata of the file.
        reopened: gives the file with one column read as a dictionary.
        whole: whether all row groups are held in memory together, not one at a time.

    Raises: DataError naming the column.
    """
    total = 0
    for group in range(about.num_row_groups):
        held = about.row_group(group)
        total = total if whole else 0
        for k in range(held.num_columns):
            chunk = held.column(k)
            if chunk.physical_type != "BYTE_ARRAY":
                continue
            n_bytes = held.num_rows * chunk.total_uncompressed_size
            if n_bytes > _MOST_BYTES // 64:
                n_bytes = _text_bytes(reopened(chunk.path_in_schema), group, chunk.path_in_schema)
            total += n_bytes
            if total > _MOST_BYTES:
                raise DataError(
                    f"{path} unpacks to more than {_MOST_BYTES >> 20:,} MiB of text in column "
                    f"{chunk.path_in_schema!r}, from {chunk.total_compressed_size:,} bytes; refused. "
                    "Leave that column out, or split the file."
                )


def _text_bytes(file: Any, group: int, column: str) -> int:
    n_bytes = 0
    for chunk in file.read_row_group(group, columns=[column]).column(0).chunks:
        if pa.types.is_dictionary(chunk.type) and not pa.types.is_nested(chunk.type.value_type):
            lengths = pc.binary_length(chunk.dictionary.cast(pa.large_binary()))
            n_bytes += pc.sum(lengths.take(chunk.indices)).as_py() or 0
        else:
            n_bytes += chunk.nbytes
    return n_bytes
