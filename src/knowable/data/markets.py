"""`Markets`: the part of a store that builds the market a backtest runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.asof.assemble import Deeds, Loaded, assemble
from knowable.data.asof.beside import Trailing
from knowable.data.asof.cache import cache_key
from knowable.data.asof.facts import Facts
from knowable.data.asof.load import Wanted, entities_of, load
from knowable.data.base import StoreBase, check_names, check_span
from knowable.data.corporate.actions import ADJUST
from knowable.data.corporate.selection import Selection, Sources, Span, market_within, selection
from knowable.data.corporate.universe import SizeRule
from knowable.data.market import Market
from knowable.data.market_files import cached_market
from knowable.data.table import delta
from knowable.data.table.dataset import Dataset
from knowable.data.table.snapshots import resolve_versions
from knowable.errors import DataError, InputError, shown, unknown_name

__all__ = ["Markets"]

_CACHE_FORMAT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A market asked for: what it is to hold, and the datasets it is made of, each at its version."""

    name: str
    also: tuple[str | Trailing, ...]
    actions: str | None
    adjust: str
    universe: Selection | None
    datasets: Mapping[str, Dataset]
    tables: Mapping[str, delta.Table]
    span: Span


class Markets(StoreBase):
    """Markets: bars as they were known, adjusted forward for corporate actions, with facts beside them."""

    def market(
        self,
        name: str,
        *,
        start: object = None,
        end: object = None,
        also: Sequence[str | Trailing | Mapping[str, Any]] = (),
        decide: str = "bar_end",
        version: int | str | Mapping[str, int] | None = None,
        entities: Sequence[str] | None = None,
        actions: str | None = None,
        adjust: str | None = None,
        universe: str | tuple[str, object] | SizeRule | None = None,
    ) -> Market:
        """The panels a backtest runs on: bar u as it was known at its own decision time, and its final value.

        With `actions`, prices are adjusted forward from each asset's first bar: open, high, low, close and vwap are
        what one share of that bar has become is worth (its splits; its distributions, each reinvested at the close of
        its ex-date), and volume is divided by the same factor. No later action changes an earlier row. In the panels
        an action takes effect at the first decision at which it is known, in the final values at its ex-date.
        ``raw_close`` and its like are the prices as traded, ``split_factor`` and ``return_factor`` the factors,
        `market.actions` the actions themselves. A backtest trades at prices as traded and books the actions.

        With `universe`, the assets are all names that were ever members in the span, those that died since included,
        and the field ``universe`` says who is one on each bar: cross-sections of features see members only, and the
        target weight of a non-member is 0. The rows are the bars of all names (of `entities`, where given), so that
        none comes or goes with who becomes a member later.

        Args:
            name: dataset of bars.
            start: first session or moment, included.
            end: last session or moment, included.
            also: datasets about the same entities, each as known at each decision. Of facts each number field becomes
                a panel under its name, with the dataset's name before it (``facts_close``) where that is taken; a
                `Trailing` of `knowable.data.asof.beside`, or a mapping of what it takes, gives a window over the last
                periods. Of events there is ``n_<dataset>``, how many became known since the decision before, and each
                number field of the newest on bars that saw one. Of intervals there is ``in_<dataset>``, 1 where one
                holds and 0 elsewhere.
            decide: ``"bar_end"``; ``"before_next_open"`` for data that arrive overnight; or a lag such as ``"16h"``.
            version: of the bars; a mapping dataset -> version; or a snapshot's name; the newest when None.
            entities: assets, in this order; all with a bar in the span, sorted, when None.
            actions: dataset of corporate actions about the same entities.
            adjust: ``"total_return"`` (with `actions` the default), ``"split"``, or ``"none"``: prices as traded, the
                factors and `market.actions` beside them.
            universe: a dataset of intervals, ``("members", "SP500")`` for one key of it, or a rule, such as
                ``Largest(n=500)`` of `knowable.data.corporate.universe`, which looks back before `start`. A rule goes
                by prices as traded, and by the fields of the bars and of `also`. `entities` narrows who may be chosen.

        Returns: a Market. A bar not known by its decision time is NaN in that row; `market.notes` counts them.

        Raises: DataError if most bars were not known by their decision time, naming the lag, or nobody was ever a
            member; UnknownNameError.
        """
        how, circle = _adjust(actions, adjust), selection(universe)
        asked = _asked(also)
        beside = [item.dataset if isinstance(item, Trailing) else item for item in asked]
        lists = None if circle is None else circle.dataset
        sources = [item for item in (name, *beside, actions, lists) if item is not None]
        versions = resolve_versions(version, list(dict.fromkeys(sources)))
        datasets = {item: self._dataset(item, number) for item, number in versions.items()}
        tables = {item: held.open(versions[item]) for item, held in datasets.items()}
        wanted = None if entities is None else check_names(entities)
        first, last = check_span(datasets[name], start, end)
        parts = {
            "format": _CACHE_FORMAT,
            "tables": [[item, delta.table_id(table), table.version] for item, table in tables.items()],
            "span": [first, last],
            "decide": decide,
            "entities": wanted,
            "also": [repr(item) for item in asked],
            "actions": [actions, how],
            "universe": None if circle is None else repr(circle),
        }
        request = _Request(
            name=name,
            also=tuple(asked),
            actions=actions,
            adjust=how,
            universe=circle,
            datasets=datasets,
            tables=tables,
            span=Span(first=first, last=last, decide=decide, entities=wanted),
        )
        market: Market = cached_market(
            self._cache / "markets" / cache_key(parts), lambda: self._built(request), Market.load
        )
        plain = [asdict(item) if isinstance(item, Trailing) else item for item in asked]
        recipe = {"name": name, "also": plain, "decide": decide, "entities": wanted, "actions": actions}
        recipe["universe"] = None if circle is None else circle.plain
        return replace(
            market,
            recipe=MappingProxyType({**recipe, "adjust": how}),
            pins=tuple({**pin, "store": self.location.uri} for pin in market.pins),  # not cached: a store may be moved
        )

    def _built(self, request: _Request) -> Market:
        span, circle, bars = request.span, request.universe, request.datasets[request.name]
        beside = [item.dataset if isinstance(item, Trailing) else item for item in request.also]
        lists = None if circle is None else circle.dataset
        loaded = {item: self._held(request, item) for item in {*beside, *([] if lists is None else [lists])}}
        also = [
            (loaded[held], item if isinstance(item, Trailing) else None)
            for held, item in zip(beside, request.also, strict=True)
        ]
        deeds = None
        if request.actions is not None:
            deeds = _deeds(request.datasets[request.actions], request.tables[request.actions], request.adjust)

        def build(names: list[str] | None, times: Nanos | None = None) -> Market:
            held = self._bars(bars, request.tables[request.name], names, span.first, span.last)
            return assemble(
                held,
                also,
                first=span.first,
                last=span.last,
                decide=span.decide,
                entities=names,
                deeds=deeds,
                times=times,
            )

        def clock(first: int | None, last: int | None) -> Nanos:
            rows = delta.scan(request.tables[request.name], columns=["event_time", "op"], start=first, end=last)
            events = rows.filter(pc.equal(rows["op"], "assert"))["event_time"].unique()
            found: Nanos = np.sort(events.cast(pa.int64()).to_numpy()) * 1000
            return found

        def read(names: tuple[str, ...] | None, begin: int | None, fields: tuple[str, ...]) -> Facts:
            some = Wanted(numbers=fields, entities=names, start=begin, end=span.last)
            return load(self._memory, request.tables[request.name], bars.schema, some)

        if circle is None or bars.schema.kind != "bars":
            return build(span.entities)
        if span.entities is not None:
            _check_entities(bars.name, request.tables[request.name], span.entities)
        sources = Sources(
            name=request.name,
            schema=bars.schema,
            facts=read,
            clock=clock,
            also=also,
            intervals=None if lists is None else loaded[lists],
        )
        return market_within(circle, sources, span, build)

    def _held(self, request: _Request, name: str) -> Loaded:
        table = request.tables[name]
        return self._load(request.datasets[name], table.version, table)

    def _bars(
        self, dataset: Dataset, table: delta.Table, entities: list[str] | None, first: int | None, last: int | None
    ) -> Loaded:
        """The bars of a market and no more: rows of its span and assets, its number fields."""
        schema = dataset.schema
        names = None if entities is None else tuple(entities)
        facts = load(self._memory, table, schema, Wanted(numbers=schema.numeric, entities=names, start=first, end=last))
        held = frozenset(facts.entities)
        _check_entities(dataset.name, table, [item for item in entities or () if item not in held])
        if facts.n_facts == 0 and schema.kind == "bars":
            raise _nothing(dataset.name, table)
        pin = {"dataset": dataset.name, "version": str(table.version), "table": delta.table_id(table)}
        return Loaded(name=dataset.name, schema=schema, facts=facts, pin=pin)


def _check_entities(name: str, table: delta.Table, entities: Sequence[str]) -> None:
    """Raises: UnknownNameError for an entity that no row is about, offering the nearest."""
    if entities:
        rows = delta.scan(table, columns=["entity"], entities=entities, coded=True)
        for entity in sorted(set(entities) - set(rows["entity"].unique().to_pylist())):
            raise unknown_name("entity", entity, entities_of(table), where=f"dataset {name!r}")


def _nothing(name: str, table: delta.Table) -> DataError:
    held = delta.scan(table, columns=["event_time"])["event_time"]
    span = ""
    if len(held):
        first, last = (pd.Timestamp(moment.as_py()) for moment in pc.min_max(held).values())
        span = f" from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return DataError(f"Dataset {name!r} has no bars in that span (start, end); it has {len(held):,} rows{span}.")


def _asked(also: Sequence[str | Trailing | Mapping[str, Any]]) -> list[str | Trailing]:
    if isinstance(also, str):
        raise InputError(f"`also` must be a list of datasets, but it is the text {also!r}; write [{also!r}].")
    if not isinstance(also, Sequence):
        raise InputError(f"`also` must be a list of datasets, but it is {shown(also)}.")
    asked = [Trailing(**item) if isinstance(item, Mapping) else item for item in also]
    check_names([item for item in asked if not isinstance(item, Trailing)], "also")
    return asked


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
