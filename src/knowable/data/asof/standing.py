"""Rows that all stand as they lie: nothing revised, nothing withdrawn, so that reading them is scanning them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.asof.load import Wanted
from knowable.data.table import delta
from knowable.data.table.delta import Table
from knowable.data.table.order import strictly_ascends

__all__ = ["standing_rows"]

_TRIED: OrderedDict[tuple[str, int], None] = OrderedDict()  # versions in which rows were found to hide one another
_KEPT = 256


def standing_rows(table: Table, wanted: Wanted, columns: Sequence[str]) -> pa.Table | None:
    """The answer of a read where (entity, event_time) ascends strictly over all rows and none retracts.

    Args:
        table: the version.
        wanted: bounds of the rows.
        columns: of the answer.

    Returns: the rows, or None where they have to be swept to know which stand.
    """
    tried = (table.id, table.version)
    if tried in _TRIED or not _apart(table.files):
        return None
    names = list(dict.fromkeys(["entity", "event_time", "op", *columns]))
    until = wanted.known_until
    rows = delta.scan(
        table,
        columns=names,
        entities=wanted.entities,
        start=wanted.start,
        end=wanted.end,
        known_until=None if until is None or delta.all_known(table, until) else until,
        coded=True,
    )
    if pc.unique(rows["op"]).to_pylist() not in ([], ["assert"]) or not strictly_ascends(rows):
        _TRIED[tried] = None
        while len(_TRIED) > _KEPT:
            _TRIED.popitem(last=False)
        return None
    rows = rows.select(list(columns))
    with ThreadPoolExecutor(2) as pool:
        written = list(pool.map(_written, rows.columns))
    return pa.table(written, names=list(columns))


def _apart(files: pa.Table) -> bool:
    """Whether the files lie one behind another by entity, as a scan reads them; two may share the one in between."""
    ordered = files.sort_by([("min_entity", "ascending"), ("max_entity", "ascending")])
    low, high = ordered["min_entity"].to_pylist(), ordered["max_entity"].to_pylist()
    if None in low or None in high:
        return False
    return all(before <= after for before, after in zip(high, low[1:], strict=False))


def _written(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Names written out; chunks of one name each share their memory."""
    if not pa.types.is_dictionary(column.type):
        return column
    held: dict[tuple[str, int], pa.Array] = {}
    chunks = []
    for chunk in column.chunks:
        if len(chunk.dictionary) == 1 and not chunk.null_count:
            key = (chunk.dictionary[0].as_py(), len(chunk))
            if key not in held:
                held[key] = pa.repeat(pa.scalar(key[0], column.type.value_type), len(chunk))
            chunks.append(held[key])
        else:
            chunks.append(chunk.cast(column.type.value_type))
    return pa.chunked_array(chunks, column.type.value_type)
