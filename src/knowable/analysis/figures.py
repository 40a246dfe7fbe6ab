"""The charts of an analysis, and the page that shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from knowable.report.sheet import Part, Sheet
from knowable.report.theme import figure

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from knowable.analysis.study import Analysis

__all__ = ["figures", "sheet"]

_HEIGHT = 280
_POINTS = 1_500
_SMOOTH = 63


def figures(found: Analysis) -> dict[str, Figure]:
    """Charts by name; `Analysis.figures` says which."""
    summary = found.summary
    names = [str(h) for h in found.horizons]
    error = (summary["ic_mean"] / summary["t"]).abs() * 1.96
    decay: dict[str, Any] = {"type": "bar", "x": names, "y": summary["ic_mean"].tolist(), "name": "mean correlation"}
    decay["error_y"] = {"type": "data", "array": error.fillna(0.0).tolist(), "thickness": 1}
    first = found.ic.iloc[:, 0]
    smooth = first.rolling(_SMOOTH, min_periods=_SMOOTH // 3).mean()
    bars = [
        {"type": "bar", "x": names, "y": found.quantile_returns.loc[k].tolist(), "name": f"bucket {k}"}
        for k in found.quantile_returns.index
    ]
    growth = [_line(found.quantile_growth[k], f"bucket {k}") for k in found.quantile_growth.columns]
    traded = found.portfolio[["gross", "net"]].cumsum()
    return {
        "decay": figure([decay], **_layout("horizon, bars", "rank correlation", category=True)),
        "ic": figure([_line(smooth, f"mean of {_SMOOTH} bars")], **_layout("", "rank correlation")),
        "quantiles": figure(bars, **_layout("horizon, bars", "mean return", category=True), barmode="group"),
        "growth": figure(growth, **_layout("", "growth of 1")),
        "portfolio": figure(
            [_line(traded["gross"], "gross"), _line(traded["net"], f"net of {found.cost_bps:g} bps")],
            **_layout("", "sum of returns"),
        ),
    }


def sheet(found: Analysis, *, few: bool) -> Sheet:
    """The page; `few`: its main tables alone, for a notebook's cell."""
    trading = pd.DataFrame({"figure": list(found.trading), "value": list(found.trading.values())}).set_index("figure")
    parts = [
        Part(
            title="Information",
            words="Rank correlation across assets between the feature and the return that follows, by horizon in bars. "
            "t and p count the overlap of returns (Newey and West); the whiskers are 95 %.",
            charts={} if few else {"decay": "Mean correlation by horizon", "ic": "Over time, at the first horizon"},
            tables={"By horizon": found.summary, **({} if few else {"By year": found.by_year})},
        ),
        Part(
            title="Buckets",
            words="Assets by rank, bucket 1 the lowest values, formed anew every bar; before costs.",
            charts={}
            if few
            else {"quantiles": "Mean return of each bucket by horizon", "growth": "Growth of one unit in each bucket"},
            tables={"Mean return by bucket and horizon": found.quantile_returns},
        ),
        Part(
            title="Trading on it",
            words="Weights in proportion to rank less its mean, half a unit long and half short, formed every bar.",
            charts={} if few else {"portfolio": "Sum of its returns"},
            tables={"Figures": trading},
        ),
    ]
    if len(found.by_group):
        parts.append(Part(title="Within groups", tables={"Correlation within each group": found.by_group}))
    return Sheet(
        title=f"What {found.feature} says",
        subtitle=f"{found.market}; entered at {found.fill.replace('_', ' ')}",
        notes=found.notes,
        parts=tuple(parts),
        figures={} if few else figures(found),
    )


def _line(series: pd.Series, name: str) -> dict[str, Any]:
    """A line of at most so many points: every k-th, and the last."""
    step = max(1, -(-len(series) // _POINTS))
    rows = np.unique(np.append(np.arange(0, len(series), step), len(series) - 1))
    picked = pd.DatetimeIndex(series.index[rows]).tz_localize(None)
    y = [None if np.isnan(value) else float(value) for value in series.to_numpy()[rows]]
    return {"type": "scatter", "mode": "lines", "name": name, "x": picked.strftime("%Y-%m-%d %H:%M").tolist(), "y": y}


def _layout(x: str, y: str, *, category: bool = False) -> dict[str, Any]:
    across: dict[str, Any] = {"title": {"text": x}}
    if category:
        across["type"] = "category"
    return {"height": _HEIGHT, "xaxis": across, "yaxis": {"title": {"text": y}}}
