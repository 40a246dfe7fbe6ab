"""Arrow columns as single arrays."""

from __future__ import annotations

import pyarrow as pa

from knowable.errors import DataError

__all__ = ["one_array"]


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array. A single chunk is handed on: `combine_chunks` copies it, a fifth of the time of an append.

    Raises: DataError if the column's texts are too long together for one array.
    """
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if not column.num_chunks:
        return pa.array([], column.type)
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        raise DataError(f"A column of {column.nbytes >> 20:,} MiB is too long to be taken at once; split the batch.")
    return whole
