"""Rows meet what was known at their own moment: as-of joins between datasets, and with tables from anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from knowable.calendars import Nanos
from knowable.data.asof.facts import Facts
from knowable.data.times import NO_TIME, parse_times
from knowable.errors import DataError, InputError, shown, unknown_name

__all__ = ["left_rows", "meet", "moments_of", "names_of"]


def left_rows(left: object) -> pa.Table:
    """The rows of an Arrow table, a DataFrame, or anything that can give Arrow data. Raises: InputError."""
    if isinstance(left, pa.Table):
        return left
    if isinstance(left, pd.DataFrame):
        return pa.Table.from_pandas(left, preserve_index=False)
    if hasattr(left, "__arrow_c_stream__"):
        return pa.table(left)
    raise InputError(
        f"`left` must be the name of a dataset, an Arrow table or a DataFrame, but it is {shown(left)}.\n"
        "A path reads with pyarrow.csv.read_csv or pyarrow.parquet.read_table."
    )


def moments_of(rows: pa.Table, at: str, as_of: int | None) -> Nanos:
    """(n_rows,) int64 ns UTC the moment of each row, at most `as_of`; NO_TIME where its cell is null.

    Raises: UnknownNameError for a column that is not there; DataError for cells that are no times or have no zone.
    """
    if at not in rows.column_names:
        raise unknown_name("column", at, rows.column_names, where="the left rows")
    if pa.types.is_timestamp(rows[at].type) and rows[at].type.tz is None and rows[at].null_count < rows.num_rows:
        raise DataError(
            f"`{at}` of the left rows has no time zone.\nSay it first, such as "
            f"rows[{at!r}] = rows[{at!r}].dt.tz_localize('America/New_York')."
        )
    parsed = parse_times(rows[at], name=at, tz=None, sessions=None, where=" of the left rows")
    if parsed.unreadable.any():
        row = int(np.argmax(parsed.unreadable))
        raise DataError(f"`{at}` in row {row} of the left rows is no time: {shown(rows[at][row].as_py())}.")
    return parsed.ns if as_of is None else np.minimum(parsed.ns, as_of)


def names_of(rows: pa.Table, on: str) -> list[str | None]:
    """(n_rows,) the entity of each row. Raises: UnknownNameError, InputError if the column holds no text."""
    if on not in rows.column_names:
        raise unknown_name("column", on, rows.column_names, where="the left rows")
    column = rows[on]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or column.null_count == len(rows)):
        raise InputError(f"`on` must name a column of entity names, but {on!r} holds {column.type}.")
    names: list[str | None] = column.to_pylist()
    return names


def meet(
    rows: pa.Table,
    names: list[str | None],
    moments: Nanos,
    facts: Facts,
    *,
    right: str,
    fields: list[str],
    tolerance: int | None,
) -> pa.Table:
    """Put beside each row what was current for its entity at its moment.

    Returns: the rows with `fields`, `<right>_event_time` and `<right>_known_time` added; a field whose name is taken
        becomes `<right>_<field>`.
    """
    timeless = moments == NO_TIME
    asked: list[Any] = [None if gone else name for name, gone in zip(names, timeless, strict=True)]
    found = facts.current(asked, moments, tolerance)
    taken = facts.take(found, [*fields, "event_time", "known_time"])
    for name in fields:
        rows = rows.append_column(f"{right}_{name}" if name in rows.column_names else name, taken[name])
    for name in ("event_time", "known_time"):
        rows = rows.append_column(f"{right}_{name}", taken[name])
    return rows
