"""One account in one chart for a notebook: equity, falls, exposure, and an asset's price with what was traded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from knowable.report.curves import drawdown, same_start, thin
from knowable.report.figures import line, times, values
from knowable.report.theme import NEGATIVE, figure
from knowable.report.wording import chart_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["account_figure"]

_GAP = 0.05
_SIDES = {"buy": ("triangle-up", "#1a7f5a"), "sell": ("triangle-down", NEGATIVE)}


def account_figure(
    equity: pd.Series,
    benchmark: pd.Series | None,
    exposure: pd.DataFrame,
    fills: tuple[pd.Series, pd.DataFrame] | None,
    *,
    title: str,
) -> Figure:
    """A figure of three or four charts over one axis of time.

    Args:
        equity: (n_bars,) account value.
        benchmark: (n_bars,) value of what to compare with, scaled to the equity's start.
        exposure: (n_bars, ...) with columns ``gross`` and ``net``, fractions of equity.
        fills: prices (n_bars,) of an asset, named, and its orders that were filled.
        title: first line.
    """
    own = values(equity)
    columns = [own] if benchmark is None else [own, same_start(values(benchmark), own)]
    fall = drawdown(own)
    rows = thin(np.column_stack([*columns, fall]))
    x = times(equity.index, rows)
    hover, share = "%{y:,.0f}", "%{y:.1%}"
    traces = [line(x, columns[0][rows], "Strategy", hovertemplate=hover, yaxis="y")]
    if len(columns) > 1:
        traces.append(line(x, columns[1][rows], "Benchmark", hovertemplate=hover, yaxis="y"))
    fill: dict[str, Any] = {"fill": "tozeroy", "line": {"width": 1, "color": NEGATIVE}, "showlegend": False}
    traces.append(line(x, fall[rows], "Below the peak", hovertemplate=share, yaxis="y2", **fill))
    at = thin(exposure[["gross", "net"]].to_numpy())
    for name in ("gross", "net"):
        drawn = exposure[name].to_numpy()[at]
        more = {"line": {"width": 1}, "showlegend": False, "hovertemplate": share, "yaxis": "y3"}
        traces.append(line(times(equity.index, at), drawn, name.capitalize(), **more))
    heights = {"y": 3.0, "y2": 1.2, "y3": 1.0}
    names = {"y": "Account value", "y2": "Below the peak", "y3": "Exposure"}
    if fills is not None:
        price, filled = fills
        at = thin(values(price)[:, None])
        traces.append(
            line(times(price.index, at), values(price)[at], chart_text(price.name, 24), yaxis="y4", showlegend=False)
        )
        traces += [_marks(filled, side) for side in _SIDES]
        heights["y4"], names["y4"] = 2.4, f"Price of {chart_text(price.name, 24)}"
    layout: dict[str, Any] = {
        "title": {"text": chart_text(title, 90), "x": 0, "font": {"size": 14}},
        "height": 160 + 90 * round(sum(heights.values())),
        "hovermode": "x unified",
        "margin": {"l": 74, "t": 70},
        "xaxis": {"type": "date", "anchor": list(heights)[-1], "hoverformat": "%d %b %Y"},
    }
    top, unit = 1.0, (1.0 - _GAP * (len(heights) - 1)) / sum(heights.values())
    for name, height in heights.items():
        bottom = max(top - height * unit, 0.0)
        axis = {"domain": [bottom, top], "title": {"text": names[name]}, "automargin": False}
        layout["yaxis" + name[1:]] = axis | ({"tickformat": ".0%"} if name in ("y2", "y3") else {})
        top = bottom - _GAP
    return figure(traces, **layout)


def _marks(filled: pd.DataFrame, side: str) -> dict[str, Any]:
    """A triangle a fill; its reason is told under the pointer."""
    symbol, colour = _SIDES[side]
    rows = filled[filled["side"] == side]
    index = pd.DatetimeIndex(rows["fill_time"])
    return {
        "type": "scatter",
        "mode": "markers",
        "x": times(index, np.arange(len(index))),
        "y": rows["price"].to_numpy(dtype=np.float64),
        "text": [f"{size:,.6g} shares, {reason}" for size, reason in zip(rows["size"], rows["reason"], strict=True)],
        "hovertemplate": f"{side} at %{{y:,.6~g}}<br>%{{text}}",
        "name": "Bought" if side == "buy" else "Sold",
        "marker": {"symbol": symbol, "size": 9, "color": colour},
        "yaxis": "y4",
    }
