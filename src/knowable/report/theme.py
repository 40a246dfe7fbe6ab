"""Colours of the charts, light and dark, as Plotly templates.

Traces name no colour of their own where the template can give one: the page then changes its theme by changing the
template, and the same figure looks right in a notebook. Trace order therefore has a meaning: first what the page is
about, second what it is compared with.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["BEST", "FAILED", "FONT", "MIDDLE", "NEGATIVE", "figure", "template"]

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'
BEST = "#d1495b"
FAILED = "#8a8f98"
MIDDLE = "#4f7fe0"
NEGATIVE = "#c8504a"
"""These few hold on light and dark alike."""

_LIGHT = {
    "ink": "#23272e",
    "muted": "#5b626d",
    "grid": "#e9eaed",
    "line": "#c9ccd2",
    "paper": "#ffffff",
    "ways": ["#2457c5", "#868c96", "#b4690e", "#1a7f5a", "#7a4fb3"],
    "scale": ["#efe6cf", "#a9cfa4", "#46979c", "#2457a5", "#1b2358"],
}
_DARK = {
    "ink": "#e6e8eb",
    "muted": "#a3a9b4",
    "grid": "#2a2e35",
    "line": "#474c55",
    "paper": "#1a1d22",
    "ways": ["#7ea6ff", "#949aa5", "#e5a54b", "#5cc296", "#bd9bef"],
    "scale": ["#2b3158", "#2f62ad", "#3d9aa6", "#9fd09c", "#f6edc9"],
}


@cache
def template(*, dark: bool = False) -> dict[str, Any]:
    """The Plotly template of a theme, as plain JSON values; do not change what comes."""
    tone: dict[str, Any] = _DARK if dark else _LIGHT
    axis = {
        "gridcolor": tone["grid"],
        "linecolor": tone["line"],
        "tickcolor": tone["line"],
        "zeroline": False,
        "automargin": True,
        "title": {"font": {"size": 12, "color": tone["muted"]}, "standoff": 8},
        "tickfont": {"size": 11, "color": tone["muted"]},
    }
    scale = [[i / (len(tone["scale"]) - 1), colour] for i, colour in enumerate(tone["scale"])]
    layout = {
        "font": {"family": FONT, "size": 12, "color": tone["ink"]},
        "paper_bgcolor": tone["paper"],
        "plot_bgcolor": tone["paper"],
        "colorway": tone["ways"],
        "xaxis": {**axis, "showgrid": False, "ticks": "outside", "ticklen": 4, "showline": True},
        "yaxis": {**axis, "showline": False},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
        "hoverlabel": {
            "bgcolor": tone["paper"],
            "bordercolor": tone["line"],
            "font": {"family": FONT, "size": 12, "color": tone["ink"]},
        },
        "coloraxis": {
            "colorscale": scale,
            "colorbar": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "xpad": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "len": 0.5,
                "thickness": 8,
                "outlinewidth": 0,
                "tickfont": {"size": 10, "color": tone["muted"]},
                "title": {"side": "top", "font": {"size": 12, "color": tone["muted"]}},
            },
        },
        "shapedefaults": {"line": {"color": tone["line"], "width": 1}},
        "annotationdefaults": {"font": {"size": 11, "color": tone["muted"]}},
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "modebar": {
            "remove": ["sendChartToCloud", "sendDataToCloud"],
            "bgcolor": "rgba(0,0,0,0)",
            "color": tone["line"],
            "activecolor": tone["muted"],
        },
        "dragmode": "zoom",
    }
    return {"layout": layout}


def figure(traces: list[Any], **layout: Any) -> Figure:
    """A figure of these traces in the light template."""
    from plotly.graph_objects import Figure

    return Figure(data=traces, layout={"template": template(), **layout})
