"""The charts of a page as Plotly figures, for a notebook as for the HTML report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.report.curves import DRAWN_POINTS, drawdown, same_start, thin
from knowable.report.page import Page
from knowable.report.parameters import parameter_figures
from knowable.report.theme import MIDDLE, NEGATIVE, figure
from knowable.report.wording import chart_text, cut, number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["figures", "fold_parameters", "line", "objective_label", "times", "values", "was_thinned"]

Floats = npt.NDArray[np.float64]
MOST_FOLD_PARAMETERS = 8


def figures(page: Page) -> dict[str, Figure]:
    """All charts of a page by name, in reading order.

    Args:
        page: what to show.

    Returns:
        ``equity`` and ``drawdown`` always; ``exposure`` where it is known; ``map`` and ``slice_0`` … where there are
        trials with parameters; ``folds`` and ``fold_parameters`` where there are folds. They carry the light template.
    """
    figs = {"equity": _equity(page), "drawdown": _drawdown(page)}
    if page.exposure is not None:
        figs["exposure"] = _exposure(page.exposure)
    figs.update(parameter_figures(page))
    figs.update(_folds(page))
    return figs


def was_thinned(page: Page) -> bool:
    """Whether the curves show fewer points than there are bars."""
    return len(page.equity) > DRAWN_POINTS


def fold_parameters(page: Page) -> list[str]:
    """Parameters that `folds` has a column for, those that change first, at most as many as are drawn."""
    if page.folds is None:
        return []
    folds = page.folds
    names = [name for name in page.parameters if name in folds.columns]
    names.sort(key=lambda name: len(set(folds[name].astype(str))) == 1)
    return names[:MOST_FOLD_PARAMETERS]


def objective_label(page: Page) -> str:
    """The objective as an axis names it."""
    return chart_text(page.objective or "objective", 40)


def values(series: pd.Series) -> Floats:
    """A series as float64; what is missing is NaN."""
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def times(index: pd.Index, rows: npt.NDArray[np.int64]) -> list[str]:
    """Bar labels as Plotly reads them; it knows no time zones, so the labels' own wall time is kept."""
    picked = pd.DatetimeIndex(index[rows]).tz_localize(None)
    whole_days = bool((picked == picked.normalize()).all())
    return picked.strftime("%Y-%m-%d" if whole_days else "%Y-%m-%d %H:%M:%S").tolist()


def line(x: list[str], y: Floats, name: str, **more: Any) -> dict[str, Any]:
    """A curve as Plotly takes it."""
    mode = "lines" if len(x) > 2 else "lines+markers"
    return {"type": "scatter", "x": x, "y": y, "name": name, "mode": mode, **more}


def _time_layout(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "hovermode": "x unified",
        "margin": {"l": 66},
        "xaxis": {"type": "date", "hoverformat": "%d %b %Y"},
    }


def _equity(page: Page) -> Figure:
    equity = values(page.equity)
    columns = [equity]
    if page.benchmark is not None:
        columns.append(same_start(values(page.benchmark), equity))
    rows = thin(np.column_stack(columns))
    x = times(page.equity.index, rows)
    form = ",.0f" if np.nanmax(np.abs(equity), initial=0.0) >= 1000 else ",.4~g"
    hover = f"%{{y:{form}}}"
    traces = [line(x, columns[0][rows], "Strategy", line={"width": 1.8}, hovertemplate=hover)]
    if len(columns) > 1:
        traces.append(line(x, columns[1][rows], "Benchmark", line={"width": 1.3}, hovertemplate=hover))
    layout = _time_layout(380)
    layout["yaxis"] = {
        "title": {"text": "Account value"},
        "automargin": False,
        "tickformat": "~s" if form == ",.0f" else "",
    }
    layout["yaxis"] |= _flat_range(columns)
    if len(x) == 1:
        layout["xaxis"] |= {"tickvals": x, "tickformat": "%d %b %Y"}
    layout["shapes"] = _fold_marks(page)
    layout["showlegend"] = len(columns) > 1
    return figure(traces, **layout)


def _flat_range(columns: list[Floats]) -> dict[str, Any]:
    """A range round curves that never move; Plotly would label steps of a millionth."""
    known = np.concatenate(columns)
    known = known[np.isfinite(known)]
    if known.size == 0 or np.ptp(known) > 1e-9 * np.abs(known).max():
        return {}
    middle = float(known[0])
    return {"range": sorted((0.98 * middle, 1.02 * middle)) if middle else [-1.0, 1.0]}


def _fold_marks(page: Page) -> list[dict[str, Any]]:
    if page.folds is None or "test_start" not in page.folds.columns:
        return []
    starts = pd.to_datetime(page.folds["test_start"], errors="coerce").dropna()
    dotted = {"width": 1, "dash": "dot"}
    return [
        {"type": "line", "x0": when, "x1": when, "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line": dotted}
        for when in pd.DatetimeIndex(starts).tz_localize(None).strftime("%Y-%m-%d %H:%M:%S")
    ]


def _drawdown(page: Page) -> Figure:
    columns = [drawdown(values(page.equity))]
    if page.benchmark is not None:
        columns.append(drawdown(values(page.benchmark)))
    rows = thin(np.column_stack(columns))
    x = times(page.equity.index, rows)
    hover = "%{y:.1%}"
    fill = {"fill": "tozeroy", "line": {"width": 1.2, "color": NEGATIVE}, "fillcolor": "rgba(200,80,74,0.18)"}
    traces = [line(x, columns[0][rows], "Strategy", hovertemplate=hover, **fill)]
    if len(columns) > 1:
        traces.append(line(x, columns[1][rows], "Benchmark", hovertemplate=hover, line={"width": 1.1}))
    deepest = min((float(np.nanmin(c, initial=0.0)) for c in columns), default=0.0)
    layout = _time_layout(240)
    layout["yaxis"] = {
        "title": {"text": "Below the peak"},
        "automargin": False,  # both charts keep one left margin, so that their times stand over each other
        "tickformat": ".0%" if deepest < -0.04 else ".1%",
        "range": [min(1.06 * deepest, -0.01), 0.0],
    }
    if len(x) == 1:
        layout["xaxis"] |= {"tickvals": x, "tickformat": "%d %b %Y"}
    layout["showlegend"] = len(columns) > 1
    return figure(traces, **layout)


def _exposure(exposure: pd.DataFrame) -> Figure:
    columns = exposure[["gross", "net"]].to_numpy(dtype=np.float64)
    rows = thin(columns)
    x = times(exposure.index, rows)
    traces = [
        line(x, columns[rows, k], name, line={"width": 1.2}, hovertemplate="%{y:.0%}")
        for k, name in enumerate(("Gross", "Net"))
    ]
    layout = _time_layout(200)
    layout["yaxis"] = {"title": {"text": "Of equity"}, "automargin": False, "tickformat": ".0%"}
    if len(x) == 1:
        layout["xaxis"] |= {"tickvals": x, "tickformat": "%d %b %Y"}
    return figure(traces, **layout)


def _folds(page: Page) -> dict[str, Figure]:
    if page.folds is None or page.folds.empty:
        return {}
    figs = {}
    names = _fold_names(page.folds)
    if {"in_sample", "out_of_sample"} <= set(page.folds.columns):
        figs["folds"] = _in_against_out(page, page.folds, names)
    if fold_parameters(page):
        figs["fold_parameters"] = _chosen(page, page.folds, names)
    return figs


def _fold_names(folds: pd.DataFrame) -> list[str]:
    if "fold" in folds.columns:
        return [chart_text(value, 20) for value in folds["fold"]]
    return [str(i + 1) for i in range(len(folds))]


def _in_against_out(page: Page, folds: pd.DataFrame, names: list[str]) -> Figure:
    inside = pd.to_numeric(folds["in_sample"], errors="coerce").to_numpy(dtype=np.float64)
    outside = pd.to_numeric(folds["out_of_sample"], errors="coerce").to_numpy(dtype=np.float64)
    place = np.arange(len(folds))
    steps_x = np.repeat(place, 3).astype(np.float64)
    steps_y = np.column_stack([inside, outside, np.full(len(folds), np.nan)]).ravel()
    label = objective_label(page)
    dots = {"type": "scatter", "mode": "markers", "x": place, "hovertemplate": "%{y:.3~g}"}
    traces = [
        {**dots, "y": outside, "name": "Out of sample", "marker": {"size": 11}},
        {
            **dots,
            "y": inside,
            "name": "In sample",
            "marker": {"size": 9, "symbol": "circle-open", "line": {"width": 2}},
        },
        {
            "type": "scatter",
            "mode": "lines",
            "x": steps_x,
            "y": steps_y,
            "line": {"width": 1, "color": "rgba(138,143,152,0.7)"},
            "hoverinfo": "skip",
            "showlegend": False,
            "zorder": -1,
        },
    ]
    return figure(
        traces,
        height=300,
        hovermode="x unified",
        xaxis={"title": {"text": "Fold"}, "tickvals": place, "ticktext": names, "range": [-0.5, len(folds) - 0.5]},
        yaxis={"title": {"text": label}, "zeroline": True, "zerolinecolor": "#8a8f98", "zerolinewidth": 1},
    )


def _chosen(page: Page, folds: pd.DataFrame, names: list[str]) -> Figure:
    """One row a parameter: the value each fold chose. Steps, since nothing lies between two folds."""
    chosen = fold_parameters(page)
    place = np.arange(len(folds))
    traces, layout = [], dict[str, Any]()
    share = 1.0 / len(chosen)
    notes = []
    for i, name in enumerate(chosen):
        key = "" if i == 0 else str(i + 1)
        top = 1.0 - i * share
        column = folds[name]
        is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        axis: dict[str, Any] = {"domain": [top - 0.82 * share, top - 0.26 * share], "nticks": 4}
        if is_number:
            y = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            options = sorted(set(column.astype(str)))
            y = column.astype(str).map({option: j for j, option in enumerate(options)}).to_numpy(dtype=np.float64)
            shown = list(range(len(options)))[:6]
            axis |= {"tickvals": shown, "ticktext": [chart_text(options[j], 14) for j in shown]}
            axis["range"] = [-0.5, len(options) - 0.5]
        texts = [chart_text(number(v) if is_number else v, 40) for v in column]
        traces.append(
            {
                "type": "scatter",
                "x": place,
                "y": y,
                "yaxis": f"y{key}",
                "mode": "lines+markers",
                "line": {"shape": "hvh", "width": 1.4, "color": MIDDLE},
                "marker": {"size": 7, "color": MIDDLE},
                "text": texts,
                "hovertemplate": "%{text}<extra></extra>",
                "showlegend": False,
            }
        )
        layout[f"yaxis{key}"] = axis
        notes.append(
            {
                "text": f"<b>{chart_text(cut(name, 30))}</b>",
                "xref": "paper",
                "yref": "paper",
                "x": 0,
                "y": top - 0.22 * share,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    layout["xaxis"] = {
        "title": {"text": "Fold"},
        "tickvals": place,
        "ticktext": names,
        "range": [-0.5, len(folds) - 0.5],
        "anchor": f"y{len(chosen)}" if len(chosen) > 1 else "y",
    }
    return figure(
        traces, height=70 + 88 * len(chosen), annotations=notes, margin={"t": 4}, hovermode="closest", **layout
    )
