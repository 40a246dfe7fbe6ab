"""`Library`: features that others can find in the store, see the lineage of, and use by name.

A registered feature is a dataset of facts like any other: each value has the bar it is about and the moment of the
decision at which it was known. So a panel of it reads, pins, joins and compacts as data do, and in any tool.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.carrying import Carried, load_carried, save_carried
from knowable.data.ingest.judge import IngestReport
from knowable.data.keeping import Keeping
from knowable.data.market import Market
from knowable.data.markets import Markets
from knowable.data.names import check_field_name
from knowable.data.reading import Reading
from knowable.data.schema import Schema
from knowable.data.table import delta
from knowable.data.writing import Writing
from knowable.errors import (
    ConflictError,
    DataError,
    InputError,
    ShapeError,
    StoreError,
    UnknownNameError,
    shown,
    unknown_name,
)

__all__ = ["Library", "StoredFeature"]

PROPERTY = "knowable.feature"
EXPRESSION = "expression"
_FORMAT = 1
_TRIES = 20
_SHOWN = 300
_STATELESS = frozenset({"name", "also", "decide", "entities", "adjust"})  # a market of these can begin anywhere
Panel = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFeature:
    """A feature of the library and where it comes from.

    Attributes:
        name: of the feature, of its dataset, and of the dataset's one field.
        version: 1 when registered first; a changed definition is the next.
        kind: ``"expression"``, or ``"function"`` for one of the author's own, whose code is not stored.
        text: the whole expression; ``market.expression(text)`` is the feature on any market. The name of a function.
        fields: fields of the market it uses; empty for a function.
        recipe: how its market is built: the arguments of `Store.market`, but for its span.
        pins: dataset and version of each input when it was last refreshed.
        code: SHA-256 of what computes it: of the text, or of the function's source.
        unit: of the values.
        author: who made it.
        note: what it means, in the author's words.
        registered_at: when this version was registered.
    """

    name: str
    version: int
    kind: str
    text: str
    fields: tuple[str, ...]
    recipe: Mapping[str, Any]
    pins: tuple[Mapping[str, str], ...]
    code: str
    unit: str = "1"
    author: str = ""
    note: str = ""
    registered_at: str = field(default="")

    def __repr__(self) -> str:
        inputs = ", ".join(f"{pin['dataset']} (version {pin['version']})" for pin in self.pins)
        lines = [
            f"StoredFeature {self.name!r}, version {self.version}: {_line(self.text)}",
            f"  from {inputs}" + (f"; fields {', '.join(self.fields)}" if self.fields else ""),
            f"  code {self.code[:12]}, registered {self.registered_at}" + (f" by {self.author}" if self.author else ""),
        ]
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])


class Library(Writing, Markets, Reading, Keeping):
    """Register a feature, find it, refresh its panel."""

    def register(
        self,
        name: str,
        feature: Any,
        *,
        market: Market | None = None,
        note: str = "",
        author: str = "",
        unit: str = "1",
    ) -> StoredFeature:
        """Keep a feature under a name, with its lineage, and store its panel.

        The panel becomes the dataset `name`: ``store.market("stocks", also=["momentum"])`` has it as
        ``market.momentum``, ``store.panel("momentum", "momentum", clock=...)`` reads it as known at any times.

        Registering the same again changes nothing. Another definition under the name is its next version: its values
        are appended as revisions, and versions of the dataset that were pinned before keep the old ones.

        Args:
            name: letters, digits and '_'.
            feature: an expression such as ``market.close / market.close.lag(126) - 1`` on a market of this store; or a
                function of the market that returns an expression, a DataFrame or an array of its shape. A function's
                code is not stored: pass it again to `refresh`.
            market: the function's market, from this store.
            note: what it means.
            author: who made it.
            unit: of the values; ``"1"`` for a plain number.

        Returns: what was registered.

        Raises: InputError if the market is not of a store, or the name is taken by another dataset.
        """
        check_field_name(name)
        where = feature.market if market is None and hasattr(feature, "market") else market
        if not isinstance(where, Market) or not where.recipe:
            raise InputError(
                f"Feature {name!r} needs a market that `store.market(...)` made, so that it can be refreshed, but got "
                f"{shown(where)}.\nBuild it from the market's fields: m = store.market(...); store.register({name!r}, "
                "m.close / m.close.lag(20) - 1)."
            )
        whole = self.market(**where.recipe)  # all the history there is, whatever span the author looked at
        made = _describe(name, feature, whole, note=note, author=author, unit=unit)
        panel = _values(_expression(made, whole) if made.kind == EXPRESSION else feature, whole)
        known = self._known(name)
        if known is None:
            self._claim(name, made, whole)
        elif known.recipe["decide"] != made.recipe["decide"]:
            raise InputError(
                f"The values of feature {name!r} are known from its decisions on (decide={known.recipe['decide']!r}), "
                f"and this market's come at other times (decide={made.recipe['decide']!r}). Choose another name."
            )
        elif known.code == made.code and dict(known.recipe) == dict(made.recipe):
            made = replace(known, pins=made.pins)
            if list(known.pins) != list(made.pins):
                self._keep(made)
        else:
            made = replace(made, version=known.version + 1)
            self._keep(made)
        self._materialise(made, whole, panel)
        return made

    def features(self) -> tuple[StoredFeature, ...]:
        """The features of the library, by name, each with its lineage."""
        records = (self._known(name) for name in self.datasets())
        return tuple(record for record in records if record is not None)

    def feature(self, name: str) -> StoredFeature:
        """One feature of the library. Raises: UnknownNameError, offering the nearest name."""
        record = self._known(name) if name in self.datasets() else None
        if record is None:
            raise unknown_name("feature", name, [item.name for item in self.features()], where="the library")
        return record

    def refresh(self, name: str, *, compute: Callable[[Market], Any] | None = None) -> IngestReport:
        """Bring a feature's panel up to its inputs' newest versions.

        Only bars after the last stored one are computed, unless the inputs' past changed since (late bars, corrections
        that count as known then): then all are, and the values that differ are appended as revisions.

        Args:
            name: of the feature.
            compute: the function, where the feature is one.

        Raises: UnknownNameError; InputError if `compute` is missing or its code is another.
        """
        record = self.feature(name)
        market: Market | None
        if record.kind != EXPRESSION:
            function = _same_code(record, compute)
            market = self.market(**record.recipe)
            report = self._materialise(record, market, _values(function, market))
        else:
            carried = load_carried(self._cache / "features", _key(record))
            market, report = (None if carried is None else self._go_on(record, carried)) or self._anew(record)
        if market is not None:
            self._keep(replace(record, pins=_pins(market)))
        return report

    def _anew(self, record: StoredFeature) -> tuple[Market, IngestReport]:
        """Compute every bar."""
        market = self.market(**record.recipe)
        stepper = _expression(record, market).stepper()
        panel = stepper.feed(market.panels, market.times)
        report = self._materialise(record, market, panel)
        self._carry(record, market, stepper, panel)
        return market, report

    def _go_on(self, record: StoredFeature, carried: Carried) -> tuple[Market | None, IngestReport] | None:
        """Compute the bars after the last one; None if that would not give what computing all of them gives."""
        if {key for key, value in record.recipe.items() if value} - _STATELESS:
            return None  # adjusted prices and universes depend on bars before the span
        if any(self.schema(name).kind == "events" for name in _inputs(record)[1:]):
            return None  # they are counted since the decision before, which is before the span
        if self._rows_known(record, carried.last, carried.until) != dict(carried.rows):
            return None
        after = delta.scan(
            self._dataset(record.recipe["name"]).open(), columns=["entity", "event_time"], start=carried.last + 1
        )
        if not after.num_rows:
            return None, self._nothing(record)
        if record.recipe["entities"] is None and not set(pc.unique(after["entity"]).to_pylist()) <= set(carried.assets):
            return None
        span = {"start": pd.Timestamp(carried.last + 1, tz="UTC"), "entities": list(carried.assets)}
        try:
            market = self.market(**{**record.recipe, **span})
            stepper = _expression(record, market).stepper()
            stepper.restore(carried.state)
        except (DataError, StoreError, UnknownNameError):  # for one, a field that no new bar has
            return None
        panel = stepper.feed(market.panels, market.times)
        before = np.array([np.nan if value is None else value for value in carried.row])
        report = self._materialise(record, market, panel, before)
        self._carry(record, market, stepper, panel)
        return market, report

    def _carry(self, record: StoredFeature, market: Market, stepper: Any, panel: Panel) -> None:
        last, until = int(market.times[-1]), int(market.decision_times[-1])
        carried = Carried(
            assets=market.assets,
            last=last,
            until=until,
            rows=self._rows_known(record, last, until, {pin["dataset"]: int(pin["version"]) for pin in market.pins}),
            row=tuple(float(value) if np.isfinite(value) else None for value in panel[-1]),
            state=stepper.state(),
        )
        save_carried(self._cache / "features", _key(record), carried)

    def _rows_known(
        self, record: StoredFeature, last: int, until: int, versions: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Rows of each input that were known by a moment, at these versions or the newest; and how many bars and names
        the market has up to its last bar. A late row adds one of these without being known by then: an empty one,
        which windows count all the same.
        """
        found = {}
        for name in _inputs(record):
            table = self._dataset(name).open(None if versions is None else versions[name])
            found[name] = delta.scan(table, columns=["known_time"], known_until=until).num_rows
        table = self._dataset(record.recipe["name"]).open(None if versions is None else versions[record.recipe["name"]])
        bars = delta.scan(
            table, columns=["entity", "event_time", "op"], entities=record.recipe["entities"], end=last, coded=True
        )
        bars = bars.filter(pc.equal(bars["op"].cast(pa.string()), "assert"))
        names = {"bars of the market": "event_time", "names of the market": "entity"}
        return found | {what: len(pc.unique(bars[column])) for what, column in names.items()}

    def _materialise(
        self, record: StoredFeature, market: Market, panel: Panel, before: Panel | None = None
    ) -> IngestReport:
        """Append the cells that differ from those that stand; `before` is the row above the first, None if all of the
        feature is here: then what stands of other bars and names is withdrawn.
        """
        first = None if before is None else pd.Timestamp(int(market.times[0]), tz="UTC")
        rows = _rows(record, market, panel, before, self.read(record.name, start=first))
        return self.append(record.name, rows, known_basis="computed") if rows.num_rows else self._nothing(record)

    def _nothing(self, record: StoredFeature) -> IngestReport:
        version = self._dataset(record.name).open().version
        return IngestReport(
            dataset=record.name, accepted=0, quarantined=0, duplicates=0, version=version, known_basis="computed"
        )

    def _known(self, name: str) -> StoredFeature | None:
        if name not in self.datasets():
            return None
        text = self._dataset(name).open().properties.get(PROPERTY)
        return None if text is None else _read(text, name)

    def _claim(self, name: str, made: StoredFeature, market: Market) -> None:
        """Make the dataset of a feature. Raises: InputError if the name is that of data."""
        schema = Schema.facts(
            fields={name: made.unit}, calendar=market.calendar, known_basis="computed", description=made.note
        )
        if name in self.datasets() and (self.schema(name) != schema or self._dataset(name).open().version > 0):
            raise InputError(f"{name!r} is a dataset of this store already, and no feature; choose another name.")
        self.create(name, schema)
        self._keep(made)

    def _keep(self, record: StoredFeature) -> None:
        text = json.dumps({"format": _FORMAT, **asdict(record)}, ensure_ascii=False)
        for left in range(_TRIES, -1, -1):
            try:
                delta.evolve(self._dataset(record.name).open(), [], {PROPERTY: text})
            except ConflictError:
                if not left:
                    raise
            else:
                return


def _describe(name: str, feature: Any, market: Market, *, note: str, author: str, unit: str) -> StoredFeature:
    for what, text in (("note", note), ("author", author)):
        if not isinstance(text, str):
            raise InputError(f"`{what}` of feature {name!r} must be text, but it is {shown(text)}.")
    if _is_expression(feature):
        kind, text, fields = EXPRESSION, feature.text(), feature.fields
        code = hashlib.sha256(text.encode()).hexdigest()
    else:
        kind, fields = "function", ()
        text, code = _code(feature)
    return StoredFeature(
        name=name,
        version=1,
        kind=kind,
        text=text,
        fields=fields,
        recipe=dict(market.recipe or {}),
        pins=_pins(market),
        code=code,
        unit=unit,
        author=author,
        note=note,
        registered_at=pd.Timestamp.now("UTC").isoformat(timespec="seconds"),
    )


def _is_expression(feature: Any) -> bool:
    """Whether it is of the features room, which this one may not import."""
    return hasattr(feature, "stepper") and hasattr(feature, "text")


def _expression(record: StoredFeature, market: Market) -> Any:
    """The stored expression on a market.

    Raises: UnknownNameError if the market lacks one of its fields; StoreError if the text does not read.
    """
    for name in record.fields:
        market.panel(name)
    try:
        return market.expression(record.text)
    except (InputError, UnknownNameError) as error:
        raise StoreError(
            f"The text of feature {record.name!r}, version {record.version}, is damaged or of another release: {error}"
        ) from error


def _line(text: str) -> str:
    """A text on one line, cut in the middle."""
    line = text.replace("\n", "; ")
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN // 2]} ... {line[-_SHOWN // 2 :]}"


def _pins(market: Market) -> tuple[Mapping[str, str], ...]:
    return tuple({"dataset": str(pin["dataset"]), "version": str(pin["version"])} for pin in market.pins)


def _inputs(record: StoredFeature) -> tuple[str, ...]:
    """Names of the datasets a market is made of, the bars first, where it has neither actions nor a universe."""
    beside = [item["dataset"] if isinstance(item, Mapping) else str(item) for item in record.recipe["also"]]
    return tuple(dict.fromkeys((str(record.recipe["name"]), *beside)))


def _key(record: StoredFeature) -> str:
    """Of the state it carries: another definition, recipe or release has another."""
    page = json.dumps([record.name, record.code, dict(record.recipe)], sort_keys=True, default=str)
    return f"{record.name}-{hashlib.sha256(page.encode()).hexdigest()[:24]}"


def _code(function: Any) -> tuple[str, str]:
    """Name and hash of the source of a function."""
    if not callable(function):
        raise InputError(
            f"A feature is an expression of the market's fields or a function of the market, but got {shown(function)}."
        )
    name = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise InputError(f"The source of {name} cannot be read, so its code has no hash: {error}.") from error
    return name, hashlib.sha256(source.encode()).hexdigest()


def _same_code(record: StoredFeature, compute: Callable[[Market], Any] | None) -> Callable[[Market], Any]:
    if compute is None:
        raise InputError(
            f"Feature {record.name!r} is a function, {record.text}, whose code is not stored. Pass it: "
            f"store.refresh({record.name!r}, compute=...)."
        )
    if _code(compute)[1] != record.code:
        raise InputError(
            f"The code of {_code(compute)[0]} is not that of feature {record.name!r}, version {record.version} "
            f"(SHA-256 {record.code[:12]}).\nIf it was changed on purpose, register it as the next version: "
            f"store.register({record.name!r}, ...)."
        )
    return compute


def _values(feature: Any, market: Market) -> Panel:
    """(n_bars, n_assets) of an expression, or of what a function returns."""
    made = feature if _is_expression(feature) else feature(market)
    if isinstance(made, pd.DataFrame):
        if not made.index.equals(market.index) or list(made.columns) != list(market.assets):
            raise ShapeError("The feature's frame must have the market's index and its assets as columns, in order.")
        made = made.to_numpy(np.float64)
    panel: Panel = np.asarray(made.values() if _is_expression(made) else made, dtype=np.float64)
    if panel.shape != market.shape:
        raise ShapeError(f"The feature has shape {panel.shape}; the market needs (n_bars, n_assets) = {market.shape}.")
    return panel


def _rows(record: StoredFeature, market: Market, panel: Panel, before: Panel | None, stored: pa.Table) -> pa.Table:
    """The cells to append: those with a value that is not the standing one, and the gaps that end a value."""
    panel = np.where(np.isfinite(panel), panel, np.nan)
    panel = np.where(np.abs(panel) < np.finfo(np.float64).tiny, 0.0, panel)
    held, stands = np.full(market.shape, np.nan), np.zeros(market.shape, dtype=bool)
    revision = np.zeros(market.shape, dtype=np.int64)
    row = pd.Index(market.times).get_indexer(stored["event_time"].cast(pa.int64()).to_numpy() * 1_000)
    column = pd.Index(market.assets).get_indexer(pd.Index(stored["entity"].to_pylist()))
    inside = (row >= 0) & (column >= 0)
    held[row[inside], column[inside]] = stored[record.name].to_numpy()[inside]
    stands[row[inside], column[inside]] = True
    revision[row[inside], column[inside]] = stored["revision"].to_numpy()[inside] + 1
    lost = np.isnan(panel)
    lost[1:] &= ~np.isnan(panel[:-1])  # a gap is written where it begins; a fact stands until the next
    lost[0] &= False if before is None else ~np.isnan(before)
    there = ~np.isnan(panel)
    same = stands & ((held == panel) | (np.isnan(held) & np.isnan(panel)))
    t, j = np.nonzero(((there | lost) & ~same) | (~there & stands & ~np.isnan(held)))
    cells = {
        "entity": pa.array(np.array(market.assets, dtype=object)[j], pa.string()),
        "event_time": pa.array(market.times[t] // 1_000).cast(pa.timestamp("us", "UTC")),
        # inputs are known at whole microseconds, so what was known at the decision was known at the one before it
        "known_time": pa.array(market.decision_times[t] // 1_000).cast(pa.timestamp("us", "UTC")),
        "revision": pa.array(revision[t, j]),
        record.name: pa.array(panel[t, j], from_pandas=True),
    }
    made = pa.table(cells)
    gone = stored.filter(pa.array(~inside)).filter(pc.field(record.name).is_valid())
    if before is not None or not gone.num_rows:
        return made
    withdrawn = {"revision": pc.add(gone["revision"], 1), record.name: pa.nulls(gone.num_rows, pa.float64())}
    return pa.concat_tables([made, pa.table({name: withdrawn.get(name, gone[name]) for name in cells})])


def _read(text: str, name: str) -> StoredFeature:
    try:
        page = json.loads(text)
        found = page.pop("format")
        if found != _FORMAT:
            raise StoreError(f"Feature {name!r} has format {shown(found)}; this release reads {_FORMAT}.")
        return StoredFeature(**{**page, "fields": tuple(page["fields"]), "pins": tuple(page["pins"])})
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"The record of feature {name!r} is damaged: {error}.") from error
