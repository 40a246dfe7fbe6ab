"""Rows in order, and names as codes: entity, op and known_basis repeat so often that memory holds them as dictionaries.

Files lie by (entity, event_time, keys, known_time, revision), so that row groups are skipped by entity and time. Most
bulk loads come in that order, and one pass that looks ahead of nothing finds out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knowable.kernels.ingest import ascends_kernel

__all__ = ["CODED", "coded", "coded_schema", "plain_names", "sort_rows", "strictly_ascends"]

CODED = ("entity", "op", "known_basis")
Whole = npt.NDArray[np.integer]
_FIRST = np.iinfo(np.int64).min


def coded_schema(schema: pa.Schema) -> pa.Schema:
    """The same columns, the names that repeat as dictionaries."""
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([held.with_type(kind) if held.name in CODED else held for held in schema])


def plain_names(rows: pa.Table) -> pa.Table:
    """The same rows, each name written out."""
    for k, held in enumerate(rows.schema):
        if pa.types.is_dictionary(held.type):
            rows = rows.set_column(k, held.name, rows.column(k).cast(held.type.value_type))
    return rows


def strictly_ascends(rows: pa.Table) -> bool:
    """Whether (entity, event_time) ascends strictly: the rows are in order, and no two share a key."""
    entity = coded(rows["entity"])
    rank = _ranks_of(entity)
    last = np.full(2, _FIRST)
    for batch in pa.table({"entity": entity, "event": rows["event_time"].cast(pa.int64())}).to_batches():
        codes, event = _locked(batch.column(0).indices.to_numpy()), _locked(batch.column(1).to_numpy())
        if not ascends_kernel(rank, codes, event, last):
            return False
    return True


def sort_rows(rows: pa.Table, keys: Sequence[str] = ()) -> pa.Table:
    """Rows by (entity, event_time, keys, known_time, revision); those that are alike in these stay as they come."""
    names = [name for name in ("entity", "event_time", *keys, "known_time", "revision") if name in rows.column_names]
    if rows.num_rows < 2 or not names or ({"entity", "event_time"} <= set(names) and strictly_ascends(rows)):
        return rows
    places = [_places(rows[name]) for name in names]
    return rows if _ascend(places) else rows.take(pa.array(np.lexsort(places[::-1])))


def coded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Names as codes of one dictionary."""
    found = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return found.unify_dictionaries()


def _ranks_of(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The place of each name of the dictionary in order."""
    names = column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())
    rank = np.empty(len(names), np.int64)
    rank[pc.array_sort_indices(names).to_numpy()] = np.arange(len(names))
    found: npt.NDArray[np.int64] = _locked(rank)
    return found


def _places(column: pa.ChunkedArray) -> Whole:
    """Whole numbers in the order of the values; a null counts as the first."""
    if not (pa.types.is_string(column.type) or pa.types.is_dictionary(column.type)):
        whole: Whole = column.cast(pa.int64()).fill_null(0).to_numpy()
        return whole
    names = coded(column)
    rank = _ranks_of(names)
    codes: Whole = pa.chunked_array([chunk.indices for chunk in names.chunks], pa.int32()).fill_null(0).to_numpy()
    return rank[codes] if len(rank) else codes


def _ascend(places: list[Whole]) -> bool:
    tied = np.ones(len(places[0]) - 1, dtype=bool)
    for place in places:
        if (tied & (place[1:] < place[:-1])).any():
            return False
        tied &= place[1:] == place[:-1]
    return True


def _locked(array: Any) -> Any:
    """Read-only and contiguous, as kernels want their inputs, so that one compiled version serves."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
