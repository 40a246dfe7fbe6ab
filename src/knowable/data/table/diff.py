"""What differs between two states of a dataset: a row for each field of each period that is not what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["differences"]

Rows = npt.NDArray[np.int64]
_KEYED = ("entity", "event_time")


def differences(
    before: pa.Table,
    after: pa.Table,
    withdrawn: pa.Table,
    *,
    keys: Sequence[str],
    fields: Mapping[str, pa.DataType],
) -> pa.Table:
    """Compare two states, each one row a period.

    Args:
        before: entity, event_time, the keys, known_time and the fields: the assertions that stood before.
        after: likewise, that stand after.
        withdrawn: entity, event_time, the keys and known_time of the retractions known after, of any period.
        keys: fields that belong to the key.
        fields: those compared, with their types. A column that one state lacks was null there.

    Returns: entity, event_time, the keys, change, field, before, after, known_time, sorted by the key, then by field in
        the order given. `change` is ``"added"`` or ``"withdrawn"`` (a row for each field) or ``"changed"`` (for each
        field that differs; nulls are equal). `before` and `after` have the fields' type where they share one, else they
        are text. known_time is that of the row that stands after; of the withdrawal where none stands; null where the
        state after knows nothing of the period.
    """
    place = [*_KEYED, *keys]
    compared = {name: kind for name, kind in fields.items() if name not in keys}
    left, right = _matched(before.select(place), after.select(place))
    kind = _common(compared)
    parts = [_bare(left, right, kind)] if not compared else []
    for number, (name, own) in enumerate(compared.items()):
        old, new = _values(before, name, own, left), _values(after, name, own, right)
        at = np.flatnonzero(~_same(old, new) | (left < 0) | (right < 0))
        parts.append(
            pa.table(
                {
                    "left": left[at],
                    "right": right[at],
                    "field": pa.repeat(pa.scalar(name), len(at)),
                    "number": pa.repeat(pa.scalar(number, pa.int32()), len(at)),
                    "before": old.take(pa.array(at)).cast(kind),
                    "after": new.take(pa.array(at)).cast(kind),
                }
            )
        )
    found = pa.concat_tables(parts)
    labels = _labels(before.select(place), after.select(place), found["left"].to_numpy(), found["right"].to_numpy())
    known = _known(labels, after, withdrawn, found["right"].to_numpy(), place)
    table = pa.table(
        {
            **{name: labels[name] for name in place},
            "change": _change(found["left"].to_numpy(), found["right"].to_numpy()),
            "field": found["field"],
            "before": found["before"],
            "after": found["after"],
            "known_time": known,
            "number": found["number"],
        }
    )
    order = [(name, "ascending") for name in (*place, "number")]
    return table.sort_by(order).drop_columns("number").combine_chunks()


def _common(fields: Mapping[str, pa.DataType]) -> pa.DataType:
    kinds = set(fields.values())
    return kinds.pop() if len(kinds) == 1 else pa.string()


def _matched(before: pa.Table, after: pa.Table) -> tuple[Rows, Rows]:
    """For each period of either state its row in `before` and in `after`, -1 where it has none."""
    sides = [
        table.append_column(name, pa.array(np.arange(table.num_rows, dtype=np.int64)))
        for table, name in ((before, "left"), (after, "right"))
    ]
    for k, name in enumerate(before.column_names):
        if pc.any(pc.is_null(before[name])).as_py() or pc.any(pc.is_null(after[name])).as_py():  # a join drops nulls
            sides = [side.set_column(k, name, pc.fill_null(side[name], "")) for side in sides]
    both = sides[0].join(sides[1], keys=before.column_names, join_type="full outer")
    left, right = (pc.fill_null(both[name], -1).to_numpy() for name in ("left", "right"))
    return left, right


def _values(state: pa.Table, name: str, kind: pa.DataType, rows: Rows) -> pa.Array:
    """A field of the state in the order of the periods; null where the period or the column is absent."""
    if name not in state.column_names or state.num_rows == 0:
        return pa.nulls(len(rows), kind)
    column = state[name].combine_chunks().cast(kind)
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.take(pa.array(rows, mask=rows < 0))


def _same(old: pa.Array, new: pa.Array) -> npt.NDArray[np.bool_]:
    nulls = pc.and_(pc.is_null(old), pc.is_null(new))
    same: npt.NDArray[np.bool_] = pc.or_(nulls, pc.fill_null(pc.equal(old, new), False)).to_numpy(zero_copy_only=False)
    return same.astype(bool)


def _bare(left: Rows, right: Rows, kind: pa.DataType) -> pa.Table:
    """Where there are no fields to compare, a period that came or went is one row without a field."""
    at = np.flatnonzero((left < 0) | (right < 0))
    nulls = pa.nulls(len(at), kind)
    columns = [left[at], right[at], pa.nulls(len(at), pa.string()), pa.nulls(len(at), pa.int32()), nulls, nulls]
    return pa.table(columns, names=["left", "right", "field", "number", "before", "after"])


def _change(left: Rows, right: Rows) -> pa.Array:
    words = np.where(left < 0, "added", np.where(right < 0, "withdrawn", "changed"))
    return pa.array(words.tolist(), pa.string())


def _labels(before: pa.Table, after: pa.Table, left: Rows, right: Rows) -> pa.Table:
    """The key of each difference, from whichever state has it."""
    both = pa.concat_tables([before, after])
    return both.take(pa.array(np.where(left >= 0, left, right + before.num_rows)))


def _known(labels: pa.Table, after: pa.Table, withdrawn: pa.Table, right: Rows, place: list[str]) -> pa.ChunkedArray:
    kind = after.schema.field("known_time").type
    standing = _values(after, "known_time", kind, right)
    last = withdrawn.group_by(place).aggregate([("known_time", "max")])
    numbered = labels.append_column("row", pa.array(np.arange(labels.num_rows, dtype=np.int64)))
    met = numbered.join(last, keys=place, join_type="left outer").sort_by("row")
    return pc.coalesce(standing, met["known_time_max"].combine_chunks().cast(kind))
