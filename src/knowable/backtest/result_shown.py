"""How a result is shown: as text, in a notebook, in a chart, on a page; and what is said of a name that it has not."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.errors import UnknownAttributeError, unknown_name
from knowable.metrics.catalogue import FAMILIES, FIGURES
from knowable.metrics.describe import describe

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

    from knowable.backtest.result import Result
    from knowable.report.page import Page

__all__ = ["chart_of", "html_of", "page_of", "text_of", "title_of", "told_elsewhere", "unknown_attribute"]

Panel = npt.NDArray[np.float64]

# What other engines' results have -> where it is here.
_ELSEWHERE = {
    "pnl": "result.equity.diff() has it by bar, result.trades['pnl'] by trade, and result.attribution says why",
    "portfolio_value": "it is result.equity",
    "value": "it is result.equity",
    "weights": "result.positions are the shares held, result.exposure what they are of equity",
}
_WHOLE = frozenset({"n_trades"})
_SHARES = frozenset({"total_return", "annual_return", "annual_volatility", "max_drawdown", "exposure", "win_rate"})


def title_of(result: Result) -> str:
    """The strategy and its parameters."""
    listed = ", ".join(f"{name}={value!r}" for name, value in result.params.items())
    return f"{result.name or 'Weights'}({listed})" if listed else result.name or "Backtest"


def text_of(result: Result) -> str:
    """What a terminal shows: a line a figure, and warnings."""
    width = max(len(name) for name in result.metrics)
    lines = [f"{title_of(result)}  {result.index[0]} to {result.index[-1]}, {len(result.index)} bars"]
    lines += [f"  {name:<{width}}  {_text(name, value):>10}" for name, value in result.metrics.items()]
    return "\n".join(lines + [f"  ! {sentence}" for sentence in result.warnings])


def html_of(result: Result) -> str:
    """What a notebook shows."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{_text(name, value)}</td></tr>"
        for name, value in result.metrics.items()
    )
    notes = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in result.warnings)
    return f"<b>{html.escape(title_of(result))}</b><table>{rows}</table>" + (f"<ul>{notes}</ul>" if notes else "")


def chart_of(result: Result, benchmark: Panel | None, asset: str | None) -> PlotlyFigure:
    """What `Result.plot` draws.

    Args:
        result: of what.
        benchmark: (n_bars,) values; None: none.
        asset: as `Result.plot`.

    Raises: UnknownNameError for an asset that is none.
    """
    from knowable.report.account import account_figure

    if asset is None and len(result.assets) == 1:
        asset = result.assets[0]
    fills = None
    if asset is not None:
        if asset not in result.assets:
            raise unknown_name("asset", asset, result.assets, where="the result")
        price = pd.Series(result.prices["close"][:, result.assets.index(asset)], index=result.index, name=asset)
        fills = (price, result.fills[result.fills["asset"] == asset])
    other = None if benchmark is None else pd.Series(benchmark, index=result.index)
    return account_figure(result.equity, other, result.exposure, fills, title=title_of(result))


def page_of(result: Result, benchmark: tuple[Panel, float | None] | None, title: str | None) -> Page:
    """What `Result.report` writes.

    Args:
        result: of what.
        benchmark: (n_bars,) values, and what it was before the first; None: none.
        title: first line; None: `title_of`.
    """
    from knowable.report.page import Page

    drawn, theirs = None, None
    if benchmark is not None:
        values, initial = benchmark
        drawn = pd.Series(values, index=result.index, name="benchmark")
        theirs = describe(values, result.bars_per_year, initial=initial)
    return Page(
        title=title or title_of(result),
        subtitle=f"{len(result.index)} bars from {result.index[0]} to {result.index[-1]}, {len(result.assets)} assets.",
        equity=result.equity,
        initial=result.settings.cash,
        days=result.days,
        benchmark=drawn,
        exposure=result.exposure,
        attribution=result.attribution,
        contributions=result.contributions,
        metrics=dict(result.metrics),
        benchmark_metrics=theirs,
        warnings=result.warnings,
        facts=_facts(result),
        orders=result.orders,
        trades=result.trades,
    )


def unknown_attribute(name: str, known: Iterable[str], metrics: Mapping[str, float]) -> UnknownAttributeError:
    """The error for a name after the dot that a result has not; a figure's name says where the figure is."""
    if name in _ELSEWHERE:
        return UnknownAttributeError(f"A result has no {name!r}: {_ELSEWHERE[name]}.")
    if name in metrics:
        return UnknownAttributeError(f"A result has no {name!r}; the figure is result.metrics[{name!r}].")
    if name in FIGURES:
        return UnknownAttributeError(f"A result has no {name!r}; {told_elsewhere(name)}")
    if name == "benchmark":
        return UnknownAttributeError(
            "A result has no 'benchmark': give one to stats, compare, plot or report, as result.stats('buy_and_hold')."
        )
    public = [each for each in known if not each.startswith("_")]
    return UnknownAttributeError(str(unknown_name("attribute", name, public, where="a result")))


def told_elsewhere(name: object) -> str:
    """Where a figure is that is no metric; empty for what is no figure."""
    if name not in FIGURES:
        return ""
    needs = "benchmark" if FIGURES[str(name)].family == FAMILIES[-1] else ""
    return f"the figure is result.stats({needs})[{name!r}]."


def _facts(result: Result) -> dict[str, str]:
    plain = asdict(result.settings)
    costs = {name: value for name, value in plain.pop("costs").items() if value}
    facts = {name: str(value) for name, value in plain.items() if value is not None}
    facts["costs"] = ", ".join(f"{name}={_told(value)}" for name, value in costs.items()) or "none"
    facts["ending"] = result.ending.sentence
    for pin in result.pins:
        facts[f"data: {pin.get('dataset', 'dataset')}"] = ", ".join(f"{k} {v}" for k, v in pin.items())
    return facts


def _told(cost: Any) -> str:
    if isinstance(cost, Mapping):
        return f"{min(cost.values()):g} to {max(cost.values()):g} by asset"
    return f"{cost:g}" if isinstance(cost, float) else f"the field {cost!r}"


def _text(name: str, value: float) -> str:
    if not np.isfinite(value):
        return "-"
    if name in _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.2%}" if name in _SHARES else f"{value:.3f}"
