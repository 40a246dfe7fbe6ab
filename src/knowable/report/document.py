"""The HTML report: one file that opens anywhere, asks the network for nothing and runs no script but its own."""

from __future__ import annotations

from pathlib import Path

from knowable.pages import template, write_page
from knowable.report.curves import DRAWN_POINTS
from knowable.report.figures import figures, was_thinned
from knowable.report.frame import frame_of, plain_figures
from knowable.report.page import Doubt, Page
from knowable.report.parameters import DRAWN_TRIALS, MOST_SLICES, map_sentence, slice_names
from knowable.report.tables import (
    asset_table,
    attribution_table,
    fold_table,
    metric_rows,
    month_rows,
    order_summary,
    rows_table,
    trade_summary,
    trial_table,
)
from knowable.report.wording import cut

__all__ = ["render", "write"]


def write(page: Page, path: str | Path) -> Path:
    """Write the report to one self-contained HTML file; the same page gives the same bytes.

    Args:
        page: what to show.
        path: the file to make; missing folders are made, an older file is replaced in one step.

    Returns:
        The path written.

    Raises:
        InputError: `path` is a folder, or nothing can be written there.
    """
    return write_page(render(page), path)


def render(page: Page) -> str:
    """The HTML report as text: for a web page, or for `write`.

    Args:
        page: what to show.

    Returns:
        A whole HTML document of about 5 MB, most of it the chart library.
    """
    return template("knowable.report", "page.html.j2").render(
        **frame_of(plain_figures(figures(page))),
        page=page,
        title=cut(page.title, 300),
        verdict=_verdict(page.doubts),
        metrics=metric_rows(page),
        has_benchmark=page.benchmark is not None or bool(page.benchmark_metrics),
        years=month_rows(page),
        attribution=attribution_table(page),
        by_asset=asset_table(page),
        thinned=f"{DRAWN_POINTS:,}" if was_thinned(page) else "",
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
