"""How names, numbers and foreign text look on the page."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

__all__ = ["ABSENT", "chart_text", "cut", "definitions", "label", "metric_text", "money", "number", "percent"]

ABSENT = "–"
"""Shown for NaN: a blank could be taken for a fault of the page."""

_PERCENT = frozenset(("total_return", "annual_return", "annual_volatility", "max_drawdown", "exposure", "win_rate"))
_COUNTS = frozenset({"n_trades", "n_orders", "n_bars", "n_trials"})


def number(value: float, digits: int = 4) -> str:
    """A number with `digits` significant ones, thousands apart, and a true minus sign."""
    value = float(value)
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if value == 0:
        text = "0"
    elif size >= 1e15 or size < 1e-5:
        text = f"{value:.{digits - 1}e}"
    elif size >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    else:
        places = digits - 1 - math.floor(math.log10(size))
        text = f"{value:,.{places}f}"
        if "." in text and float(value).is_integer():
            text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def percent(value: float, digits: int = 1) -> str:
    """A fraction as a percentage."""
    value = float(value)
    if not math.isfinite(value):
        return number(value)
    text = f"{100 * value:,.{digits}f} %"
    return text.removeprefix("-") if float(text[:-2].replace(",", "")) == 0 else text.replace("-", "−")


def money(value: float) -> str:
    """An amount: whole from 1,000 up, two places below."""
    value = float(value)
    if not math.isfinite(value):
        return number(value)
    return f"{value:,.0f}".replace("-", "−") if abs(value) >= 1000 else f"{value:,.2f}".replace("-", "−")


def metric_text(name: str, value: float) -> str:
    """A metric as its unit asks."""
    value = float(value)
    if name in _PERCENT:
        return percent(value)
    if name in _COUNTS and math.isfinite(value):
        return f"{value:,.0f}"
    return number(value)


def label(name: str) -> str:
    """A snake-case name as words: ``annual_return`` is ``Annual return``."""
    words = name.replace("_", " ").strip()
    words = words.removeprefix("n ") if name.startswith("n_") else words
    return words[:1].upper() + words[1:]


def cut(text: object, limit: int) -> str:
    """Text of at most `limit` characters, control characters made blanks."""
    plain = "".join(c if c.isprintable() else " " for c in str(text)[: 2 * limit])
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def chart_text(text: object, limit: int = 48) -> str:
    """Foreign text for a chart, where Plotly would read tags such as ``<a href>`` in it."""
    return html.escape(cut(text, limit), quote=False)


def definitions() -> Mapping[str, str]:
    """What each metric means, as the metrics room words it."""
    from knowable.metrics.definitions import DEFINITIONS

    return DEFINITIONS
