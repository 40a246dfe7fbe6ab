"""What every page is made of: its scripts and their hashes, and figures as JSON."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from knowable.pages import packaged
from knowable.report.theme import template as theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["frame_of", "made_with", "plain_figures"]

_HERE = "knowable.report"


def frame_of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the frame of a page needs: style, scripts with their hashes, and the figures with both themes.

    Args: figures: as `plain_figures` gives them.
    """
    from markupsafe import Markup

    # Markup only for our own files and for JSON made safe below; everything else is autoescaped
    scripts = [_plotly(), packaged(_HERE, "page.js")]
    data = {"figures": figures, "light": theme(), "dark": theme(dark=True)}
    return {
        "figures": figures,
        "data": Markup(_safe_json(data)),  # noqa: S704
        "css": Markup(packaged(_HERE, "page.css")),  # noqa: S704
        "scripts": [Markup(text) for text in scripts],  # noqa: S704
        "script_hashes": " ".join(_csp_hash(text) for text in scripts),
        "made_with": made_with(),
    }


def made_with() -> str:
    """Names and versions of what the page was made with."""
    names = []
    for name in ("knowable", "plotly", "pandas"):
        with contextlib.suppress(PackageNotFoundError):
            names.append(f"{name} {version(name)}")
    return ", ".join(names)


def plain_figures(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures as plain JSON values, without the template: the page holds both themes once."""
    from plotly.io import to_json

    out = {}
    for name, figure in figures.items():
        values = json.loads(to_json(figure, validate=False, engine="json"))
        values["layout"].pop("template", None)
        out[name] = values
    return out


def _safe_json(value: object) -> str:
    """JSON that cannot end its script element, whatever text is in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # a browser reads CR LF as LF, and the hash is over what it reads; a closing tag would end the element
    text: str = get_plotlyjs().replace("\r\n", "\n")
    return text.replace("</script", "<\\/script")
