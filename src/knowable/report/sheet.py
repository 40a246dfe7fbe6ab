"""A page of charts and tables under headings: for what is no run, such as the analysis of a feature."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from knowable.pages import template, write_page
from knowable.report.frame import frame_of, plain_figures
from knowable.report.tables import MOST_ROWS, Cell, Table
from knowable.report.wording import cut, number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["Part", "Sheet", "render", "render_body", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A section.

    Attributes:
        title: its heading.
        words: a sentence under it.
        charts: name of a figure of the sheet -> caption.
        tables: caption -> table; its index is shown as the first columns.
    """

    title: str
    words: str = ""
    charts: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """A page.

    Attributes:
        title: first line.
        subtitle: a sentence under it.
        notes: sentences shown in plain sight.
        parts: sections in reading order.
        figures: name -> Plotly figure.
    """

    title: str
    subtitle: str = ""
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)


def write(sheet: Sheet, path: str | Path) -> Path:
    """Write one self-contained HTML file. Returns: the path. Raises: InputError if `path` is a folder."""
    return write_page(render(sheet), path)


def render(sheet: Sheet) -> str:
    """The page as text; it asks the network for nothing and runs no script but its own."""
    parts = [
        {
            "title": part.title,
            "words": part.words,
            "place": place,
            "charts": list(part.charts.items()),
            "tables": [printed(table, caption) for caption, table in part.tables.items()],
        }
        for place, part in enumerate(sheet.parts)
    ]
    frame = frame_of(plain_figures(sheet.figures))
    return template("knowable.report", "sheet.html.j2").render(
        **frame, sheet=sheet, title=cut(sheet.title, 300), parts=parts
    )


def render_body(sheet: Sheet) -> str:
    """Title, notes and tables as HTML for a notebook's cell, without charts; everything in it is escaped."""
    lines = [f"<p><b>{html.escape(cut(sheet.title, 300))}</b><br>{html.escape(sheet.subtitle)}</p>"]
    lines += [f"<p>{html.escape(note)}</p>" for note in sheet.notes]
    for part in sheet.parts:
        for caption, table in part.tables.items():
            shown = table.head(20).map(lambda value: number(value) if isinstance(value, float) else value)
            lines.append(f"<p>{html.escape(caption)}</p>{shown.to_html(escape=True)}")
    return "\n".join(lines)


def printed(table: pd.DataFrame, caption: str) -> Table:
    """A DataFrame as the page prints it, its index in front; at most 1,000 rows."""
    flat = table.reset_index()
    head = tuple((str(name), "num" if flat[name].dtype.kind in "iuf" else "text") for name in flat.columns)
    rows = tuple(
        tuple(
            # a label is no quantity: the year 2010, not 2,010
            Cell(text=cut(str(value), 160), key=str(value), kind=kind)
            if k < table.index.nlevels
            else _cell(value, kind)
            for k, (value, (_, kind)) in enumerate(zip(row, head, strict=True))
        )
        for row in flat.head(MOST_ROWS).itertuples(index=False, name=None)
    )
    note = f"The first {MOST_ROWS:,} of {len(flat):,} rows." if len(flat) > MOST_ROWS else ""
    return Table(caption=caption, columns=head, rows=rows, note=note)


def _cell(value: object, kind: str) -> Cell:
    if kind == "num":
        plain = float(value)  # type: ignore[arg-type]
        return Cell(text=number(plain), key="" if math.isnan(plain) else repr(plain), kind="num")
    return Cell(text=cut(str(value), 160), key=str(value))
