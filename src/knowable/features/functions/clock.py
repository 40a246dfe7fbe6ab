"""Functions of a slower clock than the bars', or of the calendar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowable.errors import InputError
from knowable.features.apply import apply, feature_of, named
from knowable.features.gate import day_node

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["days_since", "resample"]


def resample(x: Feature, every: str | int, how: str = "last") -> Feature:
    """One value for each period of a slower clock: that of the last *finished* period, held until the next one ends.

    Args:
        x: (n_bars, n_assets).
        every: ``"day_end"``, ``"week_end"``, ``"month_end"``, ``"quarter_end"``, ``"year_end"``; ``"monday"`` to
            ``"sunday"``: weeks that end on that day; dates, as a list or as one text: periods that end on them;
            ``"day_start"`` to ``"year_start"``: from the first bar of one to that of the next; or a whole number n:
            every n-th bar, the first included. All as `Strategy.rebalance` counts.
        how: ``"last"``, ``"first"``, ``"min"``, ``"max"``, ``"sum"`` or ``"mean"`` of the period's values.

    Returns: (n_bars, n_assets). Missing values are skipped; NaN where a period has none, and before the first end. The
        first period begins with the market's first bar.
    Known at: the bar that ends the period, where that is known (see docs/clocks.md), else at the first bar after it.
        What an unfinished period holds so far is never shown.
    Raises: InputError; UnknownNameError, offering the nearest period.
    """
    if every is None or (isinstance(every, str | int) and every in ("bar", 1)):
        raise InputError(
            f"`every` must be slower than the bars, such as 'week_end' or 5, in resample({named(x)}, {every!r})."
        )
    return apply("resample", feature_of("resample", x), every=every, how=how)


def days_since(condition: Feature) -> Feature:
    """Calendar days since the condition was last true, 0 while it is: neither 0 nor NaN.

    Days are those of sessions where the market has a calendar, else the dates of the bars' labels.

    Args:
        condition: (n_bars, n_assets), such as ``close >= close.max(250)``.

    Returns: (n_bars, n_assets) whole numbers of days; NaN until the condition was true for the first time.
    Known at: row t uses rows <= t.
    """
    return apply("days_since", feature_of("days_since", condition), clock=day_node())
