"""The HTML report: one file that opens anywhere, asks the network for nothing and runs no script but its own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import tempfile
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knowable.errors import InputError
from knowable.report.curves import DRAWN_POINTS
from knowable.report.figures import figures, was_thinned
from knowable.report.page import Doubt, Page
from knowable.report.parameters import DRAWN_TRIALS, MOST_SLICES, map_sentence, slice_names
from knowable.report.tables import (
    fold_table,
    metric_rows,
    month_rows,
    order_summary,
    rows_table,
    trade_summary,
    trial_table,
)
from knowable.report.theme import template
from knowable.report.wording import cut

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render", "write"]

_HERE = "knowable.report"


def write(page: Page, path: str | Path) -> Path:
    """Write the report to one self-contained HTML file; the same page gives the same bytes.

    Args:
        page: what to show.
        path: the file to make; missing folders are made, an older file is replaced in one step.

    Returns:
        The path written.

    Raises:
        InputError: `path` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(
            f"`path` is the folder {str(target)!r}; name a file in it, such as {str(target / 'report.html')!r}."
        )
    # a lone surrogate (a name cut in mid-character) must not cost the whole report
    content = render(page).encode("utf-8", errors="replace")
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


def render(page: Page) -> str:
    """The HTML report as text: for a web page, or for `write`.

    Args:
        page: what to show.

    Returns:
        A whole HTML document of about 5 MB, most of it the chart library.
    """
    from markupsafe import Markup

    # Markup only for our own files and for JSON made safe below; everything else is autoescaped
    scripts = [_plotly(), _file("page.js")]
    return _template().render(
        page=page,
        title=cut(page.title, 300),
        verdict=_verdict(page.doubts),
        metrics=metric_rows(page),
        has_benchmark=page.benchmark is not None or bool(page.benchmark_metrics),
        years=month_rows(page),
        thinned=f"{DRAWN_POINTS:,}" if was_thinned(page) else "",
        figures=(figs := _figure_json(page)),
        can_log=bool((page.equity.dropna() > 0).all()),
        map_sentence=cut(map_sentence(page), 400),
        slices=[cut(name, 60) for name in slice_names(page)],
        most_slices=MOST_SLICES,
        trials_thinned=page.trials is not None and len(page.trials) > DRAWN_TRIALS,
        drawn_trials=f"{DRAWN_TRIALS:,}",
        folds=fold_table(page),
        trials=trial_table(page),
        orders=None if page.orders is None else (order_summary(page.orders), rows_table(page.orders, "Orders")),
        trades=None if page.trades is None else (trade_summary(page.trades), rows_table(page.trades, "Trades")),
        span=_span(page),
        made_with=_made_with(),
        data=Markup(_safe_json({"figures": figs, "light": template(), "dark": template(dark=True)})),  # noqa: S704
        css=Markup(_file("page.css")),  # noqa: S704
        scripts=[Markup(text) for text in scripts],  # noqa: S704
        script_hashes=" ".join(_csp_hash(text) for text in scripts),
    )


def _verdict(doubts: tuple[Doubt, ...]) -> tuple[str, str]:
    """The level and sentence over all doubts: the worst one decides."""
    if not doubts:
        return "none", "No test of luck was made: nothing here says how many other ideas were tried before this one."
    n_bad = sum(doubt.level == "bad" for doubt in doubts)
    n_caution = sum(doubt.level == "caution" for doubt in doubts)
    tests = f"{len(doubts)} tests of luck" if len(doubts) > 1 else "one test of luck"
    if n_bad:
        return (
            "bad",
            f"Do not rely on this result: {n_bad} of {tests} {'speaks' if n_bad == 1 else 'speak'} against it.",
        )
    if n_caution:
        return "caution", f"Take care: {n_caution} of {tests} {'asks' if n_caution == 1 else 'ask'} for caution."
    return "good", f"No sign of luck in {tests}. That is no proof of skill."


def _span(page: Page) -> str:
    index = page.equity.index
    first, last = (f"{when:%Y-%m-%d}" for when in (index[0], index[-1]))
    bars = f"{len(index):,} bars" if len(index) > 1 else "1 bar"
    return f"{first} to {last}, {bars}" if first != last else f"{first}, {bars}"


def _made_with() -> str:
    names = []
    for name in ("knowable", "plotly", "pandas"):
        with contextlib.suppress(PackageNotFoundError):
            names.append(f"{name} {version(name)}")
    return ", ".join(names)


def _figure_json(page: Page) -> dict[str, Any]:
    """Figures as plain JSON values, without the template: the page holds both themes once."""
    from plotly.io import to_json

    out = {}
    for name, figure in figures(page).items():
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
def _template() -> Template:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")
