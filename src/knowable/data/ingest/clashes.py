"""Rows that clash: those that say again what is said already, contradict it, or come from before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.arrays import one_array
from knowable.data.table.order import plain_names, strictly_ascends

__all__ = ["Clashes", "find_clashes"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clashes:
    """Which of the new rows clash; none is in two of them.

    Attributes:
        same: (n_rows,) says what a stored row, or one before it, says already.
        conflict: (n_rows,) another row says something else under the same key.
        early: (n_rows,) known before a stored row of its period.
    """

    same: Mask
    conflict: Mask
    early: Mask

    @property
    def drop(self) -> Mask:
        """(n_rows,) rows that do not enter."""
        found: Mask = self.same | self.conflict | self.early
        return found


def find_clashes(new: pa.Table, stored: pa.Table, keys: tuple[str, ...]) -> Clashes | None:
    """Look for rows that share the key (entity, event_time, keys, known_time, revision) or come too late.

    Args:
        new: rows in the table's schema, each good on its own.
        stored: stored rows, names written out, that may share a key with them; known at or after the first of the new.
        keys: of the schema.

    Returns: None if there is none at all.
    """
    old = stored
    if old.num_rows:
        old = old.filter(pc.is_in(old["event_time"], pc.unique(new["event_time"])))
        old = plain_names(old.filter(pc.is_in(old["entity"], pc.unique(new["entity"]).cast(pa.string()))))
    if not old.num_rows and strictly_ascends(new):  # as most bulk loads do
        return None
    new = plain_names(new)
    both = pa.concat_tables([old, new])
    is_new = np.arange(both.num_rows) >= old.num_rows
    names = _keys(both, keys)
    same, clash = np.zeros((2, both.num_rows), dtype=bool)
    # most rows share their key with no other; only the rest is looked at whole
    shared = np.flatnonzero(names.duplicated(keep=False))
    if shared.size:
        whole = both.take(pa.array(shared)).drop_columns("known_basis").to_pandas()
        same[shared] = whole.duplicated(keep="first").to_numpy()
        clash[~same] = names[~same].duplicated(keep=False).to_numpy()
    same &= is_new
    clash &= is_new
    early = np.zeros(both.num_rows, dtype=bool)
    # what cleaning wrote is known with the last of its evidence, which says nothing of when a source stated a row
    stated = ~is_new & pc.not_equal(both["known_basis"], "repaired").to_numpy().astype(bool)
    seen = is_new & pc.equal(both["known_basis"], "observed").to_numpy().astype(bool)  # others may be filled in later
    if seen.any() and stated.any():
        period = ["entity", "event_time", *keys]
        latest = names[stated].groupby(period)["known_time"].max().rename("latest").reset_index()
        known = names[is_new].merge(latest, how="left", on=period)
        early[is_new] = (known["known_time"] < known["latest"]).to_numpy()
        early &= seen & ~same & ~clash
    found = Clashes(same=same[is_new], conflict=clash[is_new], early=early[is_new])
    return found if found.drop.any() else None


def _keys(rows: pa.Table, names: tuple[str, ...]) -> pd.DataFrame:
    """What names an assertion, as whole numbers."""
    return pd.DataFrame(
        {
            "entity": _codes(rows["entity"]),
            "event_time": rows["event_time"].cast(pa.int64()).to_numpy(),
            **{name: _codes(rows[name]) for name in names},
            "known_time": rows["known_time"].cast(pa.int64()).to_numpy(),
            "revision": rows["revision"].to_numpy(),
        }
    )


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    coded = one_array(column).dictionary_encode(null_encoding="encode")
    codes: npt.NDArray[np.int32] = coded.indices.to_numpy()
    return codes
