"""Where rows came from: source, line and row of each, told when they are asked for. Most never are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Origin", "Stretch", "joined"]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Rows of one source.

    Attributes:
        n_rows: how many.
        kept: (n_rows,) their places in the source; None where they are all of it, in order.
        first_row: place of the source's first row in its file.
        lines: line of each row of the source, None where it has none.
    """

    n_rows: int
    kept: Rows | None
    first_row: int
    lines: Rows | None

    def places(self, rows: Rows) -> tuple[Rows, Rows | None]:
        """(row in the file, line) of some of the rows."""
        at = rows if self.kept is None else self.kept[rows]
        return at + self.first_row, None if self.lines is None else self.lines[at]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Origin:
    """Rows of several sources, one behind the other."""

    stretches: tuple[Stretch, ...]

    def __len__(self) -> int:
        return sum(item.n_rows for item in self.stretches)

    def take(self, rows: Rows) -> pa.Table:
        """Source (its place), line and row of some rows, ascending."""
        ends = np.cumsum([item.n_rows for item in self.stretches])
        parts = []
        for k, item in enumerate(self.stretches):
            begin = int(ends[k]) - item.n_rows
            low, high = np.searchsorted(rows, [begin, ends[k]])
            place, line = item.places(rows[low:high] - begin)
            parts.append(
                pa.table(
                    {
                        "source": pa.array(np.full(len(place), k, np.int32)),
                        "line": pa.nulls(len(place), pa.int64()) if line is None else pa.array(line, pa.int64()),
                        "row": pa.array(place, pa.int64()),
                    }
                )
            )
        return pa.concat_tables(parts)

    def filter(self, keep: npt.NDArray[np.bool_]) -> Origin:
        """The rows that are kept."""
        found, begin = [], 0
        for item in self.stretches:
            at = np.flatnonzero(keep[begin : begin + item.n_rows])
            found.append(replace(item, n_rows=len(at), kept=at if item.kept is None else item.kept[at]))
            begin += item.n_rows
        return Origin(stretches=tuple(found))


def joined(parts: Sequence[Origin]) -> Origin:
    """Several as one; the sources are numbered through."""
    return Origin(stretches=tuple(item for part in parts for item in part.stretches))
