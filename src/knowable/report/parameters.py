"""Charts of the trials: the objective over the two most varied parameters, and against each parameter alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.report.page import Page
from knowable.report.theme import BEST, FAILED, figure
from knowable.report.wording import chart_text, cut, number

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
    place: Floats  # (n_trials,), NaN where the trial has no such parameter
    shown: list[str]  # (n_trials,) as a reader sees each value
    is_number: bool
    layout: dict[str, Any]

    @property
    def n_values(self) -> int:
        return int(np.unique(self.place[np.isfinite(self.place)]).size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trials:
    """The trials as numbers. `axes` holds the parameters, the most varied first; equal ones as declared."""

    objective: str
    value: Floats  # (n_trials,), NaN where the trial failed
    axes: list[_Axis]
    best: int | None

    @property
    def slices(self) -> list[_Axis]:
        return self.axes[:MOST_SLICES]

    @property
    def pair(self) -> tuple[_Axis, _Axis] | None:
        numeric = [axis for axis in self.axes if axis.is_number and axis.n_values >= 2]
        return (numeric[0], numeric[1]) if len(numeric) >= 2 else None


def parameter_figures(page: Page) -> dict[str, Figure]:
    """``map`` (two numeric parameters) and ``slice_0`` … (each parameter alone); empty without trials."""
    trials = _trials(page)
    if trials is None:
        return {}
    figs = {}
    if trials.pair is not None:
        figs["map"] = _map(trials, *trials.pair)
    rows = _drawn_rows(trials)
    for i, axis in enumerate(trials.slices):
        figs[f"slice_{i}"] = _slice(trials, axis, rows)
    return figs


def slice_names(page: Page) -> list[str]:
    """The parameters that get a chart of their own, most varied first."""
    trials = _trials(page)
    return [] if trials is None else [axis.name for axis in trials.slices]


def map_sentence(page: Page) -> str:
    """What the map shows, in words, or an empty text where there is none."""
    trials = _trials(page)
    if trials is None or trials.pair is None:
        return ""
    x, y = trials.pair
    names = f"{cut(x.name, 60)} and {cut(y.name, 60)}"
    if _cells(x, y) is None:
        return f"Each dot is a trial at its {names}, coloured by the objective; crosses failed."
    return (
        f"Each cell is the median objective of the trials at that {names}, over all other parameters; "
        "blank cells have none. A good region is worth more than a good cell."
    )


def _trials(page: Page) -> _Trials | None:
    if page.trials is None or page.trials.empty or page.objective is None or not page.parameters:
        return None
    raw = pd.to_numeric(page.trials[page.objective], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    value = np.where(np.isfinite(raw), raw, np.nan)
    best = None
    if np.isfinite(value).any():
        best = int(np.nanargmax(value) if page.maximize else np.nanargmin(value))
    axes = [_axis(name, page.trials[name]) for name in page.parameters]
    axes.sort(key=lambda axis: -axis.n_values)
    return _Trials(objective=page.objective, value=value, axes=axes, best=best)


def _axis(name: str, column: pd.Series) -> _Axis:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        at = column.to_numpy(dtype=np.float64, na_value=np.nan)
        at = np.where(np.isfinite(at), at, np.nan)
        known = at[np.isfinite(at)]
        layout: dict[str, Any] = {}
        if known.size and known.min() > 0 and known.max() / known.min() >= 100:
            layout |= {"type": "log", "dtick": 1}
        return _Axis(name=name, place=at, shown=[number(v) for v in at], is_number=True, layout=layout)
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
    return _Axis(name=name, place=at, shown=[chart_text(t) for t in texts], is_number=False, layout=layout)


def _cells(x: _Axis, y: _Axis) -> tuple[Floats, Floats] | None:
    """The grid's lines where the trials fill a grid well enough to paint cells, else None."""
    both = np.isfinite(x.place) & np.isfinite(y.place)
    across, up = np.unique(x.place[both]), np.unique(y.place[both])
    n_cells = across.size * up.size
    if n_cells == 0 or n_cells > _MOST_CELLS:
        return None
    filled = len(set(zip(x.place[both].tolist(), y.place[both].tolist(), strict=True)))
    return (across, up) if filled >= _FULL_GRID * n_cells else None


def _drawn_rows(trials: _Trials) -> npt.NDArray[np.int64]:
    """Trials to draw: all, or an even pick that keeps the best."""
    n_trials = trials.value.size
    if n_trials <= DRAWN_TRIALS:
        return np.arange(n_trials, dtype=np.int64)
    rows = np.linspace(0, n_trials - 1, DRAWN_TRIALS).astype(np.int64)
    return rows if trials.best is None else np.unique(np.append(rows, trials.best))


def _map(trials: _Trials, x: _Axis, y: _Axis) -> Figure:
    value, best = trials.value, trials.best
    objective = chart_text(trials.objective, 40)
    cells = _cells(x, y)
    bar: dict[str, Any] = {"colorbar": {"title": {"text": objective}}}
    low, high = _colour_span(value)
    if low is not None:
        bar |= {"cmin": low, "cmax": high}
    traces = _map_cells(x, y, value, cells, objective) if cells else _map_dots(x, y, trials, objective)
    if best is not None and np.isfinite(x.place[best]) and np.isfinite(y.place[best]):
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
    return {
        "tickvals": at,
        "ticktext": [number(lines[i]) for i in at],
        "range": [-0.5, lines.size - 0.5],
        "showgrid": False,
    }


def _map_cells(x: _Axis, y: _Axis, value: Floats, cells: tuple[Floats, Floats], objective: str) -> list[dict[str, Any]]:
    across, up = cells
    table = pd.DataFrame({"x": x.place, "y": y.place, "value": value}).dropna()
    grid = np.full((up.size, across.size), np.nan)
    medians = table.groupby(["y", "x"], as_index=False)["value"].median()
    rows, columns = np.searchsorted(up, medians["y"]), np.searchsorted(across, medians["x"])
    grid[rows, columns] = medians["value"].to_numpy()
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


def _map_dots(x: _Axis, y: _Axis, trials: _Trials, objective: str) -> list[dict[str, Any]]:
    value, rows = trials.value, _drawn_rows(trials)
    done = rows[np.isfinite(value[rows])]
    failed = rows[~np.isfinite(value[rows])]
    names = {int(i): f"{chart_text(x.name)} {x.shown[i]}, {chart_text(y.name)} {y.shown[i]}" for i in rows}
    dots = {"type": "scatter", "mode": "markers"}
    traces: list[dict[str, Any]] = [
        {
            **dots,
            "x": x.place[done],
            "y": y.place[done],
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
                "x": x.place[failed],
                "y": y.place[failed],
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
    at = (x.place[best], y.place[best])
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


def _slice(trials: _Trials, axis: _Axis, rows: npt.NDArray[np.int64]) -> Figure:
    value, best = trials.value, trials.best
    done = rows[np.isfinite(value[rows]) & np.isfinite(axis.place[rows])]
    failed = rows[~np.isfinite(value[rows]) & np.isfinite(axis.place[rows])]
    floor = float(np.nanmin(value)) if np.isfinite(value).any() else 0.0
    dots = {"type": "scatter", "mode": "markers"}
    spread = np.zeros(value.size) if axis.is_number else _spread(value.size)
    name = chart_text(axis.name, 30)
    traces: list[dict[str, Any]] = [
        {
            **dots,
            "x": (axis.place + spread)[done],
            "y": value[done],
            "text": [axis.shown[int(i)] for i in done],
            "marker": {"size": 5 if done.size > 150 else 7, "opacity": 0.55},
            "hovertemplate": "%{text}: %{y:.4~g}<extra></extra>",
        },
        {
            **dots,
            "x": (axis.place + spread)[failed],
            "y": np.full(failed.size, floor),
            "text": [axis.shown[int(i)] for i in failed],
            "marker": {"size": 7, "symbol": "x-thin", "line": {"width": 1.5, "color": FAILED}},
            "hovertemplate": "%{text}: failed<extra></extra>",
        },
    ]
    if best is not None and np.isfinite(axis.place[best]):
        traces.append(
            {
                **dots,
                "x": [float((axis.place + spread)[best])],
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
        yaxis={"title": {"text": chart_text(trials.objective, 24)}, "nticks": 5},
    )


def _spread(n: int) -> Floats:
    """Sideways offsets by the golden ratio, so that dots of one option do not hide each other; the same every time."""
    return np.asarray(0.5 * ((np.arange(n) * 0.6180339887) % 1.0 - 0.5), dtype=np.float64)
