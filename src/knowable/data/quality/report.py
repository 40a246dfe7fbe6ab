"""`QualityReport`: how good a dataset is, for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from knowable.data.quality.measure import STALE_RUN, Measures
from knowable.errors import unknown_name
from knowable.pages import template, write_page

__all__ = ["QualityReport"]

_TABLES = ("field", "entity", "month", "rule")
_SHOWN = {"entity": 100, "month": 360, "field": 200, "rule": 100}
_WORST = ["quarantined", "flagged", "gaps", "restated", "missing", "stale"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityReport:
    """What a dataset holds, lacks, repeats, takes back, and what its rules found, as known at a moment.

    Attributes:
        dataset: name.
        version: of it.
        as_of: the moment, None for all that is known.
        kind: of the schema.
        measures: the numbers.
    """

    dataset: str
    version: int
    as_of: pd.Timestamp | None
    kind: str
    measures: Measures = field(repr=False)

    @property
    def totals(self) -> Mapping[str, float]:
        """Rows, statements, entities, missing (share of cells), restated, coverage, gaps, flagged, quarantined,
        repaired, and lag_low_h, lag_median_h, lag_high_h, lag_max_h: quantiles 5 %, 50 %, 95 %, 100 % of the hours
        from event to first known.
        """
        return self.measures.totals

    def frame(self, by: str = "field") -> pd.DataFrame:
        """One of the tables.

        Args:
            by: ``"field"``: what each field holds, lacks (missing), repeats (stale: the same for the fifth time or
                more), and takes back (restated; change_median and change_max relative to the larger value).
                ``"entity"`` and ``"month"`` (of the event time): rows that stand, missing cells, stale rows (of close,
                or the first number), statements, restated ones, hours from event to first known (lag_*), rows expected
                by the calendar from an entity's first to its last, gaps and coverage, verdicts. ``"rule"``: what each
                rule of ingest and cleaning caught, with an example.

        Raises: UnknownNameError.
        """
        if by not in _TABLES:
            raise unknown_name("`by`", by, _TABLES)
        found: pd.DataFrame = getattr(self.measures, by).copy()
        return found

    def __repr__(self) -> str:
        total, when = self.totals, "" if self.as_of is None else f" as known at {self.as_of:%Y-%m-%d %H:%M}Z"
        lines = [f"QualityReport: {self.dataset!r}, version {self.version}{when}"]
        lines.append(
            f"  {total['rows']:,.0f} rows of {total['entities']:,.0f} entities stand, from {total['statements']:,.0f} "
            f"statements; {total['restated']:,.0f} restated something"
        )
        if not np.isnan(total["lag_median_h"]):
            lags = [_hours(total[name]) for name in ("lag_low_h", "lag_median_h", "lag_high_h", "lag_max_h")]
            lines.append(f"  known after the event: 5 % {lags[0]}, half {lags[1]}, 95 % {lags[2]}, all {lags[3]}")
        if self.measures.has_clock:
            lines.append(f"  {total['coverage']:.2%} of the expected rows are there; {total['gaps']:,.0f} are missing")
        lines.append(
            f"  verdicts: {total['flagged']:,.0f} flagged, {total['quarantined']:,.0f} quarantined, "
            f"{total['repaired']:,.0f} repaired"
        )
        for title, by, columns, n in (
            ("By field", "field", ["field", "rows", "missing", "stale", "restated", "change_median", "flagged"], 8),
            ("Most doubtful entities", "entity", ["entity", "rows", "gaps", "restated", "flagged", "quarantined"], 5),
            ("By rule", "rule", ["where", "rule", "flagged", "quarantined", "repaired"], 8),
        ):
            lines += _listed(title, self._worst(by)[columns], n)
        return "\n".join(lines[:30])

    def _repr_html_(self) -> str:
        return template("knowable.data.quality", "body.html.j2").render(**self._parts(few=True))

    def html(self) -> str:
        """The report as one HTML page that asks the network for nothing and runs no script."""
        return template("knowable.data.quality", "page.html.j2").render(**self._parts(few=False))

    def write(self, path: str | Path) -> Path:
        """Write the page.

        Args:
            path: the file to make; missing folders are made, an older file is replaced in one step.

        Returns: the path written.

        Raises: InputError if `path` is a folder, or no path.
        """
        return write_page(self.html(), path)

    def _worst(self, by: str) -> pd.DataFrame:
        """The table with what is most doubtful first; fields and months keep their order."""
        table: pd.DataFrame = getattr(self.measures, by)
        if by == "entity":
            return table.sort_values([*_WORST, "entity"], ascending=[False] * len(_WORST) + [True], kind="stable")
        if by == "rule":
            caught = table[["flagged", "quarantined", "repaired"]].sum(axis=1)
            return table.loc[caught.sort_values(ascending=False, kind="stable").index]
        return table

    def _parts(self, *, few: bool) -> dict[str, Any]:
        """What the template shows: texts and numbers; it escapes them."""
        month, total, has_clock = self.measures.month, self.totals, self.measures.has_clock
        charts = [
            ("Rows that stand", _bars_of(month, "rows")),
            ("Expected rows, and those that are there", _bars_of(month, "expected", "rows") if has_clock else []),
            ("Hours from event to first known: 95 %, half", _bars_of(month, "lag_high_h", "lag_median_h")),
            ("Statements that restated something", _bars_of(month, "restated")),
            ("Verdicts: flagged, quarantined", _bars_of(month, "flagged", "quarantined")),
        ]
        tables = []
        for by in _TABLES if not few else ("field", "rule"):
            table, limit = self._worst(by), 12 if few else _SHOWN[by]
            head = list(table.columns)
            body = [[_cell(value) for value in row] for row in table.head(limit).itertuples(index=False)]
            tables.append({"by": by, "head": head, "rows": body, "all": len(table)})
        return {
            "report": self,
            "months": [str(month["month"].iloc[0]), str(month["month"].iloc[-1])] if len(month) else [],
            "charts": [{"title": title, "sets": sets} for title, sets in charts if sets],
            "tables": tables,
            "stale_run": STALE_RUN,
            "cards": [
                ("rows", f"{total['rows']:,.0f}"),
                ("entities", f"{total['entities']:,.0f}"),
                ("coverage", _cell(total["coverage"]) if np.isnan(total["coverage"]) else f"{total['coverage']:.2%}"),
                ("missing cells", f"{total['missing']:.2%}"),
                ("restated", f"{total['restated']:,.0f}"),
                ("known after, half", _hours(total["lag_median_h"])),
                ("flagged", f"{total['flagged']:,.0f}"),
                ("quarantined", f"{total['quarantined']:,.0f}"),
                ("repaired", f"{total['repaired']:,.0f}"),
            ],
        }


def _bars_of(table: pd.DataFrame, *columns: str) -> list[list[float]]:
    """Heights of bars in [0, 100], all to one scale, the later columns in front; 0 where there is no value."""
    values = np.nan_to_num(table[list(columns)].to_numpy(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(values.max(initial=0.0)) or 1.0
    found: list[list[float]] = np.round(100.0 * np.maximum(values / highest, 0.0), 2).T.tolist()
    return found


def _listed(title: str, table: pd.DataFrame, n: int) -> list[str]:
    if not len(table):
        return []
    more = f" ({n} of {len(table):,})" if len(table) > n else ""
    shown = table.head(n).copy()
    for name in shown.columns:
        if shown[name].dtype.kind == "f":
            shown[name] = [_cell(value) for value in shown[name]]
    text = shown.to_string(index=False, max_colwidth=24).splitlines()
    return [f"  {title}{more}:", *(f"    {line}" for line in text)]


def _cell(value: Any) -> str:
    """A value as a person reads it."""
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}" if value.hour == value.minute == 0 else f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return f"{number:,.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:.4g}"
    text = str(value)
    return text if len(text) <= 160 else text[:157] + "..."


def _hours(value: float) -> str:
    """A span in words."""
    if np.isnan(value):
        return "–"
    size = abs(value)
    if size < 1:
        return f"{60 * value:.3g} min"
    return f"{value:.3g} h" if size < 72 else f"{value / 24:,.3g} days"
