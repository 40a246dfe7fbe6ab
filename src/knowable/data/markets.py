"""`Markets`: the part of a store that builds the market a backtest runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from knowable.data.asof.assemble import Deeds, Loaded, assemble
from knowable.data.asof.beside import Trailing
from knowable.data.asof.cache import cache_key
from knowable.data.base import StoreBase, check_names, check_span
from knowable.data.corporate.actions import ADJUST
from knowable.data.market import Market
from knowable.data.market_files import cached_market
from knowable.data.table import delta
from knowable.data.table.dataset import Dataset
from knowable.errors import DataError, InputError, unknown_name

__all__ = ["Markets"]

_CACHE_FORMAT = 2


class Markets(StoreBase):
    """Markets: bars as they were known, adjusted forward for corporate actions, with facts beside them."""

    def market(
        self,
        name: str,
        *,
        start: object = None,
        end: object = None,
        also: Sequence[str | Trailing] = (),
        decide: str = "bar_end",
        version: int | Mapping[str, int] | None = None,
        entities: Sequence[str] | None = None,
        actions: str | None = None,
        adjust: str | None = None,
    ) -> Market:
        """The panels a backtest runs on: bar u as it was known at its own decision time, and its final value.

        With `actions`, prices are adjusted forward from each asset's first bar: open, high, low, close and vwap are
        what one share of that bar has become is worth (its splits; its distributions, each reinvested at the close of
        its ex-date), and volume is divided by the same factor. No later action changes an earlier row. In the panels
        an action takes effect at the first decision at which it is known, in the final values at its ex-date.
        ``raw_close`` and its like are the prices as traded, ``split_factor`` and ``return_factor`` the factors,
        `market.actions` the actions themselves. Share counts are then in units of the adjusted series.

        Args:
            name: dataset of bars.
            start: first session or moment, included.
            end: last session or moment, included.
            also: datasets about the same entities, each as known at each decision. Of facts each number field becomes
                a panel under its name, with the dataset's name before it (``facts_close``) where that is taken; a
                `Trailing` of `knowable.data.asof.beside` gives a window over the last periods. Of events there is
                ``n_<dataset>``, how many became known since the decision before, and each number field of the newest
                on bars that saw one. Of intervals there is ``in_<dataset>``, 1 where one holds and 0 elsewhere.
            decide: ``"bar_end"``; ``"before_next_open"`` for data that arrive overnight; or a lag such as ``"16h"``.
            version: of the bars, or a mapping dataset -> version; the newest when None.
            entities: assets, in this order; all with a bar in the span, sorted, when None.
            actions: dataset of corporate actions about the same entities.
            adjust: ``"total_return"`` (with `actions` the default), ``"split"``, or ``"none"``: prices as traded, the
                factors and `market.actions` beside them.

        Returns: a Market. A bar not known by its decision time is NaN in that row; `market.notes` counts them.

        Raises: DataError if most bars were not known by their decision time, naming the lag; UnknownNameError.
        """
        how = _adjust(actions, adjust)
        versions = version if isinstance(version, Mapping) else {name: version}
        beside = [item.dataset if isinstance(item, Trailing) else item for item in also]
        check_names([item for item in also if isinstance(item, str)], "also")
        sources = dict.fromkeys([name, *beside, *([] if actions is None else [actions])])
        datasets = {item: self._dataset(item, versions.get(item)) for item in sources}
        for item in versions:
            if item not in datasets:
                raise unknown_name("dataset", item, datasets, where="version")
        tables = {item: held.open(versions.get(item)) for item, held in datasets.items()}
        wanted = None if entities is None else check_names(entities)
        first, last = check_span(datasets[name], start, end)
        parts = {
            "format": _CACHE_FORMAT,
            "tables": [[item, delta.table_id(table), table.version] for item, table in tables.items()],
            "span": [first, last],
            "decide": decide,
            "entities": wanted,
            "also": [repr(item) for item in also],
            "actions": [actions, how],
        }

        def build() -> Market:
            loaded = {item: self._load(datasets[item], tables[item].version, tables[item]) for item in set(beside)}
            return assemble(
                self._bars(datasets[name], tables[name], wanted, first, last),
                [
                    (loaded[held], item if isinstance(item, Trailing) else None)
                    for held, item in zip(beside, also, strict=True)
                ],
                first=first,
                last=last,
                decide=decide,
                entities=wanted,
                deeds=None if actions is None else _deeds(datasets[actions], tables[actions], how),
            )

        market: Market = cached_market(self._cache / "markets" / cache_key(parts), build, Market.load)
        return market

    def _bars(
        self, dataset: Dataset, table: delta.Table, entities: list[str] | None, first: int | None, last: int | None
    ) -> Loaded:
        """The bars of a market and no more: rows of its span and assets, its number fields."""
        schema = dataset.schema
        facts = self._load(dataset, table.version, table).facts
        for entity in () if entities is None else set(entities) - set(facts.entities):
            if delta.scan(table, columns=["entity"], entities=[entity]).num_rows == 0:
                raise unknown_name("entity", entity, facts.entities, where=f"dataset {dataset.name!r}")
        if facts.n_facts == 0 and schema.kind == "bars":
            raise _nothing(dataset.name, table)
        pin = {"dataset": dataset.name, "version": str(table.version), "table": delta.table_id(table)}
        return Loaded(name=dataset.name, schema=schema, facts=facts, pin=pin)


def _nothing(name: str, table: delta.Table) -> DataError:
    held = delta.scan(table, columns=["event_time"])["event_time"]
    span = ""
    if len(held):
        first, last = (pd.Timestamp(moment.as_py()) for moment in pc.min_max(held).values())
        span = f" from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return DataError(f"Dataset {name!r} has no bars in that span (start, end); it has {len(held):,} rows{span}.")


def _adjust(actions: str | None, adjust: str | None) -> str:
    if adjust is None:
        return "none" if actions is None else "total_return"
    if adjust not in ADJUST:
        raise unknown_name("way of adjusting", adjust, ADJUST, where="adjust")
    if actions is None and adjust != "none":
        raise InputError(f"adjust={adjust!r} needs the corporate actions: name their dataset, actions='actions'.")
    return adjust


def _deeds(dataset: Dataset, table: Any, adjust: str) -> Deeds:
    rows = delta.scan(table)
    pin = {"dataset": dataset.name, "version": str(table.version), "table": delta.table_id(table)}
    return Deeds(name=dataset.name, schema=dataset.schema, rows=rows, pin=pin, adjust=adjust)
