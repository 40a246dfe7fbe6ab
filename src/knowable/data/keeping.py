"""`Keeping`: the part of a store that looks after versions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from knowable.data.base import StoreBase
from knowable.data.schema import Schema
from knowable.data.table import delta

__all__ = ["Keeping", "StoreVersion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreVersion:
    """One version of a dataset: its number, when it was committed, and the rows that came with it."""

    version: int
    committed_at: pd.Timestamp
    rows: int
    known_basis: str


class Keeping(StoreBase):
    """Versions, schemas, and where the tables lie."""

    def versions(self, name: str) -> tuple[StoreVersion, ...]:
        """The versions of a dataset, oldest first; version 0 is empty."""
        history = delta.history(self._dataset(name).open())
        found = (
            StoreVersion(
                version=int(item["version"]),
                committed_at=pd.Timestamp(item["at"], unit="ms", tz="UTC"),
                rows=int(item.get("rows", 0)),
                known_basis=str(item.get("known_basis", "")),
            )
            for item in history
        )
        return tuple(sorted(found, key=lambda item: item.version))

    def schema(self, name: str) -> Schema:
        """The schema a dataset was created with."""
        return self._dataset(name).schema

    def table_path(self, name: str) -> Path | str:
        """Folder or URL of the Delta table, for readers that are not ours: DuckDB, Polars, Spark."""
        where = self._dataset(name).observations
        return where.uri if where.path is None else where.path
