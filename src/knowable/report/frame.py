"""What every page is made of: its files, its scripts and their hashes, figures as JSON, and writing it in one step."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knowable.errors import InputError, shown
from knowable.report.theme import template as theme

if TYPE_CHECKING:
    from jinja2 import Template
    from plotly.graph_objects import Figure

__all__ = ["frame_of", "made_with", "plain_figures", "template", "write_text"]

_HERE = "knowable.report"


def write_text(text: str, path: str | Path) -> Path:
    """Write a page; missing folders are made, an older file is replaced in one step. Returns: the path.

    Raises: InputError if `path` is a folder, or no path.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"`path` must name a file, such as 'report.html', but it is {shown(path)}.")
    target = Path(path)
    if target.is_dir():
        raise InputError(
            f"`path` is the folder {str(target)!r}; name a file in it, such as {str(target / 'report.html')!r}."
        )
    # a lone surrogate (a name cut in mid-character) must not cost the whole report
    content = text.encode("utf-8", errors="replace")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=".report-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)  # mkstemp makes files nobody else may read
        Path(part).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(part).unlink()
        raise
    return target


def frame_of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the frame of a page needs: style, scripts with their hashes, and the figures with both themes.

    Args: figures: as `plain_figures` gives them.
    """
    from markupsafe import Markup

    # Markup only for our own files and for JSON made safe below; everything else is autoescaped
    scripts = [_plotly(), _file("page.js")]
    data = {"figures": figures, "light": theme(), "dark": theme(dark=True)}
    return {
        "figures": figures,
        "data": Markup(_safe_json(data)),  # noqa: S704
        "css": Markup(_file("page.css")),  # noqa: S704
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
def _file(name: str) -> str:
    return resources.files(_HERE).joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # a browser reads CR LF as LF, and the hash is over what it reads; a closing tag would end the element
    text: str = get_plotlyjs().replace("\r\n", "\n")
    return text.replace("</script", "<\\/script")


@cache
def template(name: str) -> Template:
    """A page's template; it escapes whatever it is given."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
