"""Charts of the trials: the objective over the two most varied parameters, and against each parameter alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.report.page import Page
from knowable.report.theme import BEST, FAILED, figure
from knowable.report.wording import chart_text, number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["DRAWN_TRIALS", "MOST_SLICES", "map_sentence", "parameter_figures", "slice_names"]

Floats = npt.NDArray[np.float64]
DRAWN_TRIALS = 3_000
MOST_SLICES = 12
_MOST_CELLS = 2_500
_FULL_GRID = 0.6
_MOST_TICKS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """A parameter laid on numbers: itself, or the places of its options."""

    name: str
    at: Floats  # (n_trials,), NaN where the trial has no such parameter
    shown: list[str]  # (n_trials,) as a reader sees each value
    is_number: bool
    layout: dict[str, Any]

    @property
    def n_values(self) -> int:
        return int(np.unique(self.at[np.isfinite(self.at)]).size)


def parameter_figures(page: Page) -> dict[str, Figure]:
    """``map`` (two numeric parameters) and ``slice_0`` … (each parameter alone); empty without trials."""
    if page.trials is None or page.trials.empty or page.objective is None or not page.parameters:
        return {}
    value = _objective(page)
    figs = {}
    pair = _pair(page)
    if pair is not None:
        figs["map"] = _map(page, *pair, value)
    rows = _drawn_rows(value, maximize=page.maximize)
    for i, axis in enumerate(_slices(page)):
        figs[f"slice_{i}"] = _slice(page, axis, value, rows)
    return figs


def slice_names(page: Page) -> list[str]:
    """The parameters that get a chart of their own, most varied first."""
    if page.trials is None or page.trials.empty or page.objective is None:
        return []
    return [axis.name for axis in _slices(page)]


def map_sentence(page: Page) -> str:
    """What the map shows, in words, or an empty text where there is none."""
    pair = _pair(page)
    if pair is None:
        return ""
    x, y = pair
    cells = _cells(x, y)
    if cells is None:
        return f"Each dot is a trial at its {x.name} and {y.name}, coloured by the objective; crosses failed."
    return (
        f"Each cell is the median objective of the trials at that {x.name} and {y.name}, over all other parameters; "
        "blank cells have none. A good region is worth more than a good cell."
    )


def _objective(page: Page) -> Floats:
    assert page.trials is not None
    value = pd.to_numeric(page.trials[page.objective], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(value), value, np.nan)


def _axis(name: str, column: pd.Series) -> _Axis:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        at = column.to_numpy(dtype=np.float64, na_value=np.nan)
        at = np.where(np.isfinite(at), at, np.nan)
        known = at[np.isfinite(at)]
        layout: dict[str, Any] = {}
        if known.size and known.min() > 0 and known.max() / known.min() >= 100:
            layout["type"] = "log"
        return _Axis(name=name, at=at, shown=[number(v) for v in at], is_number=True, layout=layout)
    texts = column.astype(str).tolist()
    options = sorted(set(texts))
    place = {option: i for i, option in enumerate(options)}
    step = max(1, -(-len(options) // _MOST_TICKS))
    ticks = list(range(0, len(options), step))
    layout = {
        "tickvals": ticks,
        "ticktext": [chart_text(options[i], 18) for i in ticks],
        "range": [-0.5, len(options) - 0.5],
    }
    at = np.array([place[text] for text in texts], dtype=np.float64)
    return _Axis(name=name, at=at, shown=[chart_text(t) for t in texts], is_number=False, layout=layout)


def _axes(page: Page) -> list[_Axis]:
    """All parameters, the most varied first; equal ones stay in the order declared."""
    assert page.trials is not None
    axes = [_axis(name, page.trials[name]) for name in page.parameters]
    return sorted(axes, key=lambda axis: -axis.n_values)


def _slices(page: Page) -> list[_Axis]:
    return _axes(page)[:MOST_SLICES]


def _pair(page: Page) -> tuple[_Axis, _Axis] | None:
    if page.trials is None or page.trials.empty or page.objective is None:
        return None
    numeric = [axis for axis in _axes(page) if axis.is_number and axis.n_values >= 2]
    return (numeric[0], numeric[1]) if len(numeric) >= 2 else None


def _cells(x: _Axis, y: _Axis) -> tuple[Floats, Floats] | None:
    """The grid's lines where the trials fill a grid well enough to paint cells, else None."""
    both = np.isfinite(x.at) & np.isfinite(y.at)
    across, up = np.unique(x.at[both]), np.unique(y.at[both])
    n_cells = across.size * up.size
    if n_cells == 0 or n_cells > _MOST_CELLS:
        return None
    filled = len(set(zip(x.at[both].tolist(), y.at[both].tolist(), strict=True)))
    return (across, up) if filled >= _FULL_GRID * n_cells else None


def _best(value: Floats, *, maximize: bool) -> int | None:
    if not np.isfinite(value).any():
        return None
    return int(np.nanargmax(value) if maximize else np.nanargmin(value))


def _drawn_rows(value: Floats, *, maximize: bool) -> npt.NDArray[np.int64]:
    """Trials to draw: all, or an even pick that keeps the best."""
    if value.size <= DRAWN_TRIALS:
        return np.arange(value.size, dtype=np.int64)
    rows = np.linspace(0, value.size - 1, DRAWN_TRIALS).astype(np.int64)
    best = _best(value, maximize=maximize)
    return np.unique(np.append(rows, best)) if best is not None else rows


def _map(page: Page, x: _Axis, y: _Axis, value: Floats) -> Figure:
    assert page.objective is not None
    objective = chart_text(page.objective, 40)
    cells = _cells(x, y)
    bar: dict[str, Any] = {"colorbar": {"title": {"text": objective}}}
    low, high = _colour_span(value)
    if low is not None:
        bar |= {"cmin": low, "cmax": high}
    traces = _map_cells(x, y, value, cells, objective) if cells else _map_dots(x, y, value, objective, page.maximize)
    best = _best(value, maximize=page.maximize)
    if best is not None and np.isfinite(x.at[best]) and np.isfinite(y.at[best]):
        traces.append(_ring(x, y, best, value, cells))
    axes = [x.layout, y.layout]
    if cells:  # even cells: steps of a grid need not be even
        axes = [_grid_ticks(line) for line in cells]
    return figure(
        traces,
        height=460,
        hovermode="closest",
        coloraxis=bar,
        showlegend=False,
        margin={"t": 64},
        xaxis={"title": {"text": chart_text(x.name, 40)}, **axes[0]},
        yaxis={"title": {"text": chart_text(y.name, 40)}, **axes[1]},
    )


def _colour_span(value: Floats) -> tuple[float | None, float | None]:
    """Colours cover the 2nd to 98th percentile: one wild trial must not wash out all others."""
    known = value[np.isfinite(value)]
    if known.size == 0:
        return None, None
    low, high = (float(v) for v in np.percentile(known, [2, 98]))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _grid_ticks(lines: Floats) -> dict[str, Any]:
    step = max(1, -(-lines.size // 12))
    at = list(range(0, lines.size, step))
    return {"tickvals": at, "ticktext": [number(lines[i]) for i in at], "range": [-0.5, lines.size - 0.5], "showgrid": False}


def _map_cells(x: _Axis, y: _Axis, value: Floats, cells: tuple[Floats, Floats], objective: str) -> list[dict[str, Any]]:
    across, up = cells
    table = pd.DataFrame({"x": x.at, "y": y.at, "value": value}).dropna()
    grid = np.full((up.size, across.size), np.nan)
    medians = table.groupby(["y", "x"])["value"].median()
    for (v, u), middle in medians.items():
        grid[np.searchsorted(up, v), np.searchsorted(across, u)] = middle
    names = [[f"{chart_text(x.name)} {number(u)}, {chart_text(y.name)} {number(v)}" for u in across] for v in up]
    return [
        {
            "type": "heatmap",
            "x": list(range(across.size)),
            "y": list(range(up.size)),
            "z": grid,
            "text": names,
            "coloraxis": "coloraxis",
            "xgap": 1,
            "ygap": 1,
            "hoverongaps": False,
            "hovertemplate": f"%{{text}}<br>median {_no_braces(objective)}: %{{z:.4~g}}<extra></extra>",
        }
    ]


def _map_dots(x: _Axis, y: _Axis, value: Floats, objective: str, maximize: bool) -> list[dict[str, Any]]:
    rows = _drawn_rows(value, maximize=maximize)
    done = rows[np.isfinite(value[rows])]
    failed = rows[~np.isfinite(value[rows])]
    names = {int(i): f"{chart_text(x.name)} {x.shown[i]}, {chart_text(y.name)} {y.shown[i]}" for i in rows}
    dots = {"type": "scatter", "mode": "markers"}
    traces: list[dict[str, Any]] = [
        {
            **dots,
            "x": x.at[done],
            "y": y.at[done],
            "text": [names[int(i)] for i in done],
            "marker": {
                "size": 9 if done.size < 500 else 6,
                "color": value[done],
                "coloraxis": "coloraxis",
                "line": {"width": 0.5, "color": "rgba(120,126,136,0.6)"},
            },
            "hovertemplate": f"%{{text}}<br>{_no_braces(objective)}: %{{marker.color:.4~g}}<extra></extra>",
        }
    ]
    if failed.size:
        traces.append(
            {
                **dots,
                "x": x.at[failed],
                "y": y.at[failed],
                "text": [names[int(i)] for i in failed],
                "marker": {"size": 7, "symbol": "x-thin", "line": {"width": 1.5, "color": FAILED}},
                "hovertemplate": "%{text}<br>failed<extra></extra>",
            }
        )
    return traces


def _no_braces(text: str) -> str:
    """Plotly fills ``%{…}`` in a hover template; a name must not look like one."""
    return text.replace("%{", "% {")


def _ring(x: _Axis, y: _Axis, best: int, value: Floats, cells: tuple[Floats, Floats] | None) -> dict[str, Any]:
    at = (x.at[best], y.at[best])
    if cells:
        at = (np.searchsorted(cells[0], at[0]), np.searchsorted(cells[1], at[1]))
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [float(at[0])],
        "y": [float(at[1])],
        "marker": {"size": 15, "symbol": "circle-open", "color": BEST, "line": {"width": 2.5}},
        "hovertemplate": f"best trial: {number(value[best])}<extra></extra>",
    }


def _slice(page: Page, axis: _Axis, value: Floats, rows: npt.NDArray[np.int64]) -> Figure:
    assert page.objective is not None
    done = rows[np.isfinite(value[rows]) & np.isfinite(axis.at[rows])]
    failed = rows[~np.isfinite(value[rows]) & np.isfinite(axis.at[rows])]
    floor = float(np.nanmin(value)) if np.isfinite(value).any() else 0.0
    dots = {"type": "scatter", "mode": "markers"}
    spread = np.zeros(value.size) if axis.is_number else _spread(value.size)
    name = chart_text(axis.name, 30)
    traces: list[dict[str, Any]] = [
        {
            **dots,
            "x": (axis.at + spread)[done],
            "y": value[done],
            "text": [axis.shown[int(i)] for i in done],
            "marker": {"size": 5 if done.size > 150 else 7, "opacity": 0.55},
            "hovertemplate": "%{text}: %{y:.4~g}<extra></extra>",
        },
        {
            **dots,
            "x": (axis.at + spread)[failed],
            "y": np.full(failed.size, floor),
            "text": [axis.shown[int(i)] for i in failed],
            "marker": {"size": 7, "symbol": "x-thin", "line": {"width": 1.5, "color": FAILED}},
            "hovertemplate": "%{text}: failed<extra></extra>",
        },
    ]
    best = _best(value, maximize=page.maximize)
    if best is not None and np.isfinite(axis.at[best]):
        traces.append(
            {
                **dots,
                "x": [float((axis.at + spread)[best])],
                "y": [float(value[best])],
                "marker": {"size": 12, "symbol": "circle-open", "color": BEST, "line": {"width": 2}},
                "hovertemplate": f"best trial: {axis.shown[best]}<extra></extra>",
            }
        )
    return figure(
        traces,
        height=230,
        hovermode="closest",
        showlegend=False,
        margin={"t": 10},
        xaxis={"title": {"text": name}, "nticks": 6, **axis.layout},
        yaxis={"title": {"text": chart_text(page.objective, 24)}, "nticks": 5},
    )


def _spread(n: int) -> Floats:
    """Sideways offsets by the golden ratio, so that dots of one option do not hide each other; the same every time."""
    return 0.5 * ((np.arange(n) * 0.6180339887) % 1.0 - 0.5)
