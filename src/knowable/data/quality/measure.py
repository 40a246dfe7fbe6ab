"""How good a dataset is, in numbers: by field, by entity, by month and by rule, as known at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.quality.arrivals import Arrivals, Floats, make_arrivals
from knowable.data.quality.clock import expected_labels
from knowable.data.schema import Schema

__all__ = ["STALE_RUN", "Measures", "measure"]

STALE_RUN = 5
"""A value counts as stale from the fifth time in a row on."""

Rows = npt.NDArray[np.int64]
_HOUR_NS = 3.6e12
_LAGS = {"lag_low_h": 0.05, "lag_median_h": 0.5, "lag_high_h": 0.95, "lag_max_h": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The tables of a report, and its totals.

    Attributes:
        field: a row a field.
        entity: a row an entity.
        month: a row a month of event times, ``"2016-03"``.
        rule: a row a rule of ingest or cleaning that was broken.
        totals: name -> number.
        has_clock: whether anything says which rows to expect; if not, expected, gaps and coverage are NaN.
    """

    field: pd.DataFrame
    entity: pd.DataFrame
    month: pd.DataFrame
    rule: pd.DataFrame
    totals: Mapping[str, float]
    has_clock: bool


def measure(rows: pa.Table, schema: Schema, flags: pa.Table, refused: pa.Table) -> Measures:
    """Measure a dataset.

    Args:
        rows: all rows known by the moment, those of cleaning included.
        schema: of the dataset.
        flags: verdicts of cleaning known by then, as `knowable.data.quality.flags.FLAGS`.
        refused: the quarantine, rows refused by ingest and copies of those withdrawn by cleaning.
    """
    ingest = refused.filter(pc.invert(pc.is_in(refused["id"], flags["id"])))
    sources = make_arrivals(rows, schema)
    whole = sources if sources.n_rows == rows.num_rows else make_arrivals(rows, schema, cleaned=True)
    stands = whole.standing().astype(np.int64)
    labels = expected_labels(whole)
    fields = _fields(whole, sources, stands, flags)
    cells = _cells(whole, stands)
    by_entity = _joined("entity", cells["entity"], sources, flags, ingest)
    by_month = _joined("month", cells["month"], sources, flags, ingest)
    for name, (have, expected) in zip(("entity", "month"), _coverage(whole, stands, labels), strict=True):
        table = by_entity if name == "entity" else by_month
        table["expected"] = expected.reindex(table.index)
        table["gaps"] = table["expected"] - have.reindex(table.index)
        table["coverage"] = have.reindex(table.index) / table["expected"]
    _spans(by_entity, whole, stands)
    rules = _rules(flags, ingest)
    totals = _totals(by_entity, fields, sources, rules)
    return Measures(
        field=fields,
        entity=by_entity.rename_axis("entity").reset_index(),
        month=by_month.rename_axis("month").reset_index(),
        rule=rules,
        totals=totals,
        has_clock=labels is not None,
    )


def _fields(whole: Arrivals, sources: Arrivals, stands: Rows, flags: pa.Table) -> pd.DataFrame:
    """What each field holds, lacks, repeats and takes back."""
    before, _ = sources.stood()
    again = np.flatnonzero((before >= 0) & ~sources.retracts)
    named = pd.Series(flags["field"].to_pylist(), dtype=object).value_counts()
    found = []
    for name, field in whole.schema.fields.items():
        value = whole.values(name)[stands]
        there = value[~np.isnan(value)]
        new, old = sources.values(name)[again], sources.values(name)[before[again]]
        changed = (new != old) & ~(np.isnan(new) & np.isnan(old))
        size = _relative(new[changed], old[changed]) if field.numeric else np.empty(0)
        found.append(
            {
                "field": name,
                "unit": field.unit,
                "dtype": field.dtype,
                "rows": len(there),
                "missing": int(np.isnan(value).sum()),
                "stale": int((_runs(whole, stands, value) >= STALE_RUN).sum()),
                "restated": int(changed.sum()),
                "restated_share": changed.sum() / len(again) if len(again) else 0.0,
                "change_median": float(np.median(size)) if size.size else np.nan,
                "change_max": float(size.max()) if size.size else np.nan,
                "flagged": int(named.get(name, 0)),
                "low": float(there.min()) if field.numeric and there.size else np.nan,
                "median": float(np.median(there)) if field.numeric and there.size else np.nan,
                "high": float(there.max()) if field.numeric and there.size else np.nan,
            }
        )
    return pd.DataFrame(found)


def _cells(whole: Arrivals, stands: Rows) -> dict[str, pd.DataFrame]:
    """Rows, missing cells and stale rows by entity and by month. Fields that no row has do not count as missing."""
    missing = np.zeros(len(stands), np.int64)
    for name in whole.schema.fields:
        lacks = np.isnan(whole.values(name)[stands])
        if not lacks.all():
            missing += lacks
    main = "close" if "close" in whole.schema.fields else next(iter(whole.schema.numeric), None)
    runs = np.zeros(len(stands), np.int64) if main is None else _runs(whole, stands, whole.values(main)[stands])
    frame = pd.DataFrame({"rows": 1, "missing": missing, "stale": (runs >= STALE_RUN).astype(np.int64)})
    return {by: _named(frame.groupby(_keys(whole, by)[stands]).sum(), whole, by) for by in ("entity", "month")}


def _keys(arrivals: Arrivals, by: str) -> npt.NDArray[np.int64]:
    """What each statement is counted under: its entity or its month, by number: texts take far longer."""
    if by == "month":
        return arrivals.event.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    _, entity = np.unique(np.array([*arrivals.names], dtype=object), return_inverse=True)
    found: npt.NDArray[np.int64] = entity.astype(np.int64)[arrivals.series]
    return found


def _named(table: Any, arrivals: Arrivals, by: str) -> Any:
    """A table by number as one by name."""
    numbers = table.index.to_numpy()
    if by == "month":
        return table.set_axis(numbers.astype("datetime64[M]").astype(str).astype(object))
    return table.set_axis(np.unique(np.array([*arrivals.names], dtype=object))[numbers])


def _joined(by: str, cells: pd.DataFrame, sources: Arrivals, flags: pa.Table, ingest: pa.Table) -> pd.DataFrame:
    """Add what the sources took back, how late they were, and what the rules found."""
    keys = _keys(sources, by)
    before, _ = sources.stood()
    first = _first_known(sources)
    asserted = ~sources.retracts
    again = asserted & (before >= 0)
    frame = pd.DataFrame({"statements": asserted, "restated": again & _differs(sources, before)}, dtype=np.int64)
    said = _named(frame.groupby(keys).sum(), sources, by)
    lags = pd.Series((sources.known[first] - sources.event[first]) / _HOUR_NS).groupby(keys[first])
    late = _named(pd.DataFrame({name: lags.quantile(share) for name, share in _LAGS.items()}), sources, by)
    counts = {
        "flagged": _counted(flags, by),
        "quarantined": _counted(ingest, by).add(_counted(_done(flags, "quarantine"), by), fill_value=0),
        "repaired": _counted(_done(flags, "repair"), by),
    }
    index = cells.index.union(said.index).union(counts["quarantined"].index).union(counts["flagged"].index)
    table = cells.reindex(index, fill_value=0)
    table[["statements", "restated"]] = said.reindex(index)
    table[[*_LAGS]] = late.reindex(index)
    for name, column in counts.items():
        table[name] = column
    whole = ["rows", "missing", "stale", "statements", "restated", *counts]
    table[whole] = table[whole].fillna(0).astype(np.int64)
    return table


def _coverage(whole: Arrivals, stands: Rows, labels: Nanos | None) -> list[tuple[pd.Series, pd.Series]]:
    """(rows there, rows expected) by entity and by month; a series is expected from its first row to its last."""
    if labels is None or not len(stands):
        empty = pd.Series(dtype=np.float64)
        return [(empty, empty), (empty, empty)]
    slot = np.searchsorted(labels, whole.event[stands], side="left")
    pairs = pd.DataFrame({"series": whole.series[stands], "slot": np.minimum(slot, len(labels) - 1)}).drop_duplicates()
    span = pairs.groupby("series")["slot"].agg(["min", "max", "size"])
    name = np.array([*whole.names], dtype=object)[span.index]
    entity = pd.DataFrame({"have": span["size"], "expected": span["max"] - span["min"] + 1}).groupby(name).sum()
    alive = np.zeros(len(labels) + 1, np.int64)
    np.add.at(alive, span["min"].to_numpy(), 1)
    np.add.at(alive, span["max"].to_numpy() + 1, -1)
    month = pd.Series(np.cumsum(alive)[:-1]).groupby(_months(labels)).sum()
    have = pairs.groupby(_months(labels[pairs["slot"].to_numpy()])).size()
    return [(entity["have"], entity["expected"]), (have.reindex(month.index, fill_value=0), month[month > 0])]


def _spans(table: pd.DataFrame, whole: Arrivals, stands: Rows) -> None:
    """First and last event of each entity."""
    ends = pd.Series(whole.event[stands]).groupby(_keys(whole, "entity")[stands]).agg(["min", "max"])
    ends = _named(ends, whole, "entity").reindex(table.index)
    for place, (name, column) in enumerate((("first", "min"), ("last", "max"))):
        table.insert(place, name, pd.to_datetime(ends[column], unit="ns", utc=True))


def _rules(flags: pa.Table, ingest: pa.Table) -> pd.DataFrame:
    """What each rule of ingest and of cleaning caught."""
    parts = []
    for where, rows in (("ingest", ingest), ("cleaning", flags)):
        columns = ["rule", "entity", "event_time", "detail"]
        frame = rows.select(columns).to_pandas()
        frame["done"] = "quarantine" if where == "ingest" else rows["done"].to_pandas()
        for rule, some in frame.groupby("rule", sort=True):
            counts = some["done"].value_counts()
            parts.append(
                {
                    "where": where,
                    "rule": rule,
                    "flagged": int(counts.get("flag", 0)) + int(counts.get("none", 0)),
                    "quarantined": int(counts.get("quarantine", 0)),
                    "repaired": int(counts.get("repair", 0)),
                    "entities": int(some["entity"].nunique()),
                    "first": some["event_time"].min(),
                    "last": some["event_time"].max(),
                    "example": f"{some['entity'].iloc[0]}: {some['detail'].iloc[0]}",
                }
            )
    names = ["where", "rule", "flagged", "quarantined", "repaired", "entities", "first", "last", "example"]
    return pd.DataFrame(parts, columns=names)


def _totals(entity: pd.DataFrame, fields: pd.DataFrame, sources: Arrivals, rules: pd.DataFrame) -> dict[str, float]:
    first = _first_known(sources)
    lags = (sources.known[first] - sources.event[first]) / _HOUR_NS
    held = fields[fields["rows"] > 0]
    expected = entity["expected"].sum()
    n_cells = held["rows"].sum() + held["missing"].sum()
    return {
        "rows": int(entity["rows"].sum()),
        "statements": int(entity["statements"].sum()),
        "entities": len(entity),
        "missing": float(held["missing"].sum() / n_cells) if n_cells else 0.0,
        "restated": int(entity["restated"].sum()),
        "coverage": float((expected - entity["gaps"].sum()) / expected) if expected else np.nan,
        "gaps": float(entity["gaps"].sum(min_count=1)),
        "flagged": int(rules["flagged"].sum()),
        "quarantined": int(rules["quarantined"].sum()),
        "repaired": int(rules["repaired"].sum()),
        **{name: float(np.quantile(lags, share)) if lags.size else np.nan for name, share in _LAGS.items()},
    }


def _first_known(sources: Arrivals) -> Rows:
    """The first assertion of each period."""
    asserted = np.flatnonzero(~sources.retracts)
    _, first = np.unique(sources.period[asserted], return_index=True)
    return asserted[first]  # rows of a period are in the order of their known times


def _differs(sources: Arrivals, before: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Whether a statement says anything else than the one it replaces."""
    found = np.zeros(sources.n_rows, dtype=bool)
    again = np.flatnonzero((before >= 0) & ~sources.retracts)
    for name in sources.schema.fields:
        value = sources.values(name)
        new, old = value[again], value[before[again]]
        found[again] |= (new != old) & ~(np.isnan(new) & np.isnan(old))
    return found


def _runs(whole: Arrivals, stands: Rows, value: Floats) -> Rows:
    """How many times in a row each standing value has been said; a missing one 0."""
    if not len(value):
        return np.empty(0, np.int64)
    series = whole.series[stands]
    starts = np.concatenate(([True], (series[1:] != series[:-1]) | ~(value[1:] == value[:-1])))
    place = np.arange(len(value))
    length: Rows = place - np.maximum.accumulate(np.where(starts, place, 0)) + 1
    return np.where(np.isnan(value), 0, length)


def _relative(new: Floats, old: Floats) -> Floats:
    """|new - old| over the larger of the two, in [0, 2]; where one is missing, nothing is measured."""
    with np.errstate(invalid="ignore", divide="ignore"):
        size: Floats = np.abs(new - old) / np.maximum(np.abs(new), np.abs(old))
    return size[~np.isnan(size)]


def _done(flags: pa.Table, what: str) -> pa.Table:
    return flags.filter(pc.equal(flags["done"], what))


def _counted(rows: pa.Table, by: str) -> pd.Series[Any]:
    """Rows by entity or by month; those that name none are left out."""
    column = rows["entity" if by == "entity" else "event_time"].drop_null()
    keys = column.to_pylist() if by == "entity" else _months(column.cast(pa.int64()).to_numpy() * 1000)
    return pd.Series(1, index=pd.Index(keys, dtype=object)).groupby(level=0).sum()


def _months(ns: Nanos) -> npt.NDArray[np.object_]:
    """Month of each time, ``"2016-03"``."""
    months = ns.astype("datetime64[ns]").astype("datetime64[M]")
    unique, at = np.unique(months, return_inverse=True)
    found: npt.NDArray[np.object_] = unique.astype(str).astype(object)[at]
    return found
