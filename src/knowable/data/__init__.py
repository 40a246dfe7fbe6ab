"""The point-in-time store: ingest, as-of reads, panels, and the `Market` a backtest runs on."""

from __future__ import annotations

from knowable.data.ingest import IngestReport
from knowable.data.market import Market
from knowable.data.schema import Schema
from knowable.data.store import Store, StoreVersion

__all__ = ["IngestReport", "Market", "Schema", "Store", "StoreVersion"]
