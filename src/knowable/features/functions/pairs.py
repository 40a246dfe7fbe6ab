"""Functions of two inputs' common past: how they vary together, and the regression of one on the other.

A bar at which either is missing or infinite is missing for both: every window that holds it gives NaN. An asset is set
against itself only: its column of one input against its column of the other. For a benchmark, make it a field, with
the benchmark's value in every column. What is divided by squares is NaN where their sum leaves the range of a double:
values beyond 1e150, or a spread below 1e-145.

Each takes `every`, the slower clock whose periods a window then counts, as all moving functions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from knowable.errors import InputError
from knowable.features.apply import apply, named
from knowable.features.functions.moving import Every
from knowable.features.symbols import Expression

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["beta", "corr", "cov", "r2", "resid"]


def cov(x: Feature, y: Feature, window: int, *, every: Every = None) -> Feature:
    """Sample covariance (n - 1) over the last `window` bars. NaN unless all are valid, and for window 1."""
    return _of_two("cov", x, y, window, every)


def corr(x: Feature, y: Feature, window: int, *, every: Every = None) -> Feature:
    """Pearson's correlation over the last `window` bars, within [-1, 1].

    NaN unless all are valid, where either is constant, and for window 1. What is 1 or -1 but for rounding (4e-15) is 1
    or -1, as for window 2 all of it. Exchanging x and y changes no bit.
    """
    return _of_two("corr", x, y, window, every)


def beta(y: Feature, x: Feature, window: int, *, every: Every = None) -> Feature:
    """Slope of the least-squares line of `y` on `x` over the last `window` bars, with an intercept.

    In units of y over units of x: ``beta(returns, market_returns, 60)`` is how much the asset moved for the market's 1.
    NaN unless all are valid, and where x is constant. The intercept is ``y.mean(w) - beta(y, x, w) * x.mean(w)``.
    """
    return _of_two("beta", y, x, window, every)


def resid(y: Feature, x: Feature, window: int, *, every: Every = None) -> Feature:
    """How far this bar's `y` lies above the least-squares line of y on x over the last `window` bars.

    This bar is one of them. With an intercept; in units of y. What is only rounding, less than 1e-14 of the root of y's
    sum of squares, is 0: for window 2 all of it. NaN unless all are valid, and where x is constant.
    """
    return _of_two("resid", y, x, window, every)


def r2(y: Feature, x: Feature, window: int, *, every: Every = None) -> Feature:
    """The share of y's variance that its least-squares line on x explains, within [0, 1]: the correlation squared.

    NaN unless all are valid, where either is constant, and for window 1. What is 1 but for rounding (4e-15) is 1.
    """
    return _of_two("r2", y, x, window, every)


def _of_two(op: str, first: Any, second: Any, window: Any, every: Every) -> Feature:
    for each in (first, second):
        if not issubclass(type(each), Expression):
            raise InputError(
                f"`{op}` needs two features, such as market.close and market.volume, but got {named(each)}, in "
                f"{op}({named(first)}, {named(second)}, {named(window)})."
            )
    return apply(op, first, second, window=window, every=every)
