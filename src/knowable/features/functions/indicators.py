"""Indicators that charts show, each written in the language itself: they have no kernels of their own.

Wilder's smoothing ``a[t] = a[t-1] + (x[t] - a[t-1]) / window`` has alpha = 1 / window, which is a span of
``2 * window - 1``. Here it is ``ewm(x, 2 * window - 1)``: the mean of all values so far with weights
``(1 - 1 / window)**age`` over their sum. Charts start Wilder's recursion from the plain mean of the first `window`
values; the two differ by what those weigh, ``(1 - 1 / window)**bars``, and agree to one part in a thousand after
7 windows. A missing bar is left out, and ages what came before it.
"""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, NamedTuple

from knowable.errors import InputError, shown
from knowable.features.apply import feature_of, named
from knowable.features.functions.element import isnan, maximum, minimum, where
from knowable.features.functions.moving import Every, delta, ewm, lag, mean, std
from knowable.features.operators import SETTINGS
from knowable.features.symbols import Symbol

if TYPE_CHECKING:
    from knowable.features.feature import Feature

__all__ = ["Bollinger", "Macd", "atr", "bollinger", "macd", "rsi"]


class Bollinger(NamedTuple):
    """The bands of `bollinger`, each (n_bars, n_assets) in the unit of the price."""

    upper: Feature
    middle: Feature
    lower: Feature


class Macd(NamedTuple):
    """The lines of `macd`, each (n_bars, n_assets) in the unit of the price."""

    line: Feature
    signal: Feature
    histogram: Feature


def atr(high: Feature, low: Feature, close: Feature, window: int) -> Feature:
    """Average true range: Wilder's smoothing, over `window` bars, of how far a bar reached from the close before it.

    The true range is ``max(high, previous close) - min(low, previous close)``, and high - low where the bar before has
    no close. The average is ``ewm(true range, 2 * window - 1)``, see the head of this module.

    Args:
        high, low, close: (n_bars, n_assets), in one unit.
        window: Wilder's n in bars, >= 1; he used 14.

    Returns: (n_bars, n_assets) in that unit; NaN before the first bar that has a high and a low. It settles within
        some windows: mask the first ones where that matters.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, ch. 3.
    """
    span = _wilder(window, "atr", high, low, close)
    before = lag(feature_of("atr", close), 1)
    none = isnan(before)
    return ewm(maximum(high, where(none, high, before)) - minimum(low, where(none, low, before)), span)


def rsi(close: Feature, window: int, *, every: Every = None) -> Feature:
    """Relative strength index, 0 to 100: the share of rises in all that the price moved, smoothed as Wilder did.

    ``100 * gain / (gain + loss)``, where gain and loss are ``ewm(., 2 * window - 1)`` of each bar's rise and fall; see
    the head of this module. The same number as Wilder's ``100 - 100 / (1 + gain / loss)``.

    Args:
        close: (n_bars, n_assets).
        window: Wilder's n in bars, >= 1; he used 14.
        every: a slower clock.

    Returns: (n_bars, n_assets); NaN before the second bar, and where the price has never moved.
    Source: Wilder (1978), New Concepts in Technical Trading Systems, ch. 6.
    """
    span = _wilder(window, "rsi", close)
    change = delta(close, 1, every=every)
    gain, loss = ewm(maximum(change, 0.0), span, every=every), ewm(maximum(-change, 0.0), span, every=every)
    share: Feature = 100.0 * gain / (gain + loss)
    return share


def bollinger(close: Feature, window: int, width: float = 2.0, *, every: Every = None) -> Bollinger:
    """Bollinger's bands: the mean of the last `window` bars, and `width` deviations above and below it.

    The deviation divides by n, not n - 1, as its author and charts do. Where the price stands between the bands, 0 at
    the lower and 1 at the upper, is ``(close - b.lower) / (b.upper - b.lower)``; without bands, ``ts_zscore`` says it
    in deviations.

    Args:
        close: (n_bars, n_assets).
        window: bars, >= 1; 20 by custom.
        width: deviations, above 0; 2 by custom.
        every: a slower clock.

    Returns: upper, middle, lower: ``bollinger(close, 20).upper``. NaN unless all bars of the window are valid, and for
        window 1.
    Source: Bollinger (2001), Bollinger on Bollinger Bands, ch. 7.
    """
    middle = mean(close, window, every=every)
    if not issubclass(type(width), Symbol) and not (isinstance(width, numbers.Real) and 0 < width < math.inf):
        raise InputError(
            f"`width > 0` must hold for a finite number, but width={shown(width)}, in "
            f"bollinger({named(close)}, {named(window)}, width={shown(width)})."
        )
    reach = std(close, window, every=every) * (((window - 1) / window) ** 0.5 * width)
    return Bollinger(middle + reach, middle, middle - reach)


def macd(close: Feature, fast: float = 12, slow: float = 26, signal: float = 9, *, every: Every = None) -> Macd:
    """Moving average convergence divergence: a fast exponential mean less a slow one, and that line's own mean.

    The means are ``ewm``, over all bars so far with weights over their sum; charts that start theirs from one value or
    a plain mean differ in the first bars.

    Args:
        close: (n_bars, n_assets).
        fast, slow, signal: spans in bars, >= 1.
        every: a slower clock.

    Returns: line, signal, histogram (line less signal): ``macd(close).histogram``. NaN before the first value.
    Source: Appel (2005), Technical Analysis: Power Tools for Active Investors, ch. 8.
    """
    line = ewm(close, fast, every=every) - ewm(close, slow, every=every)
    mark = ewm(line, signal, every=every)
    return Macd(line, mark, line - mark)


def _wilder(window: Any, op: str, *operands: Any) -> Any:
    """The span whose alpha is 1 / window."""
    if type(window) is Symbol:
        return 2 * window - 1
    given = ", ".join([*map(named, operands), shown(window)])
    return 2 * SETTINGS["window"](window, lambda: f"{op}({given})") - 1
