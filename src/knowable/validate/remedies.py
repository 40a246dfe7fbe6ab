"""What to do about a leak: read from how far it reaches and from the words of the strategy."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

from knowable.strategy import Strategy
from knowable.validate.probes import Difference

__all__ = ["remedy"]

# The first that the strategy's source contains is offered; sought only once a leak is certain.
_HINTS = (
    (
        r"\b(shift|lag|diff|pct_change|delta)\(\s*(?:periods\s*=\s*)?-",
        "`{}(-n)` reads later bars; use lag(n) or shift(n).",
    ),
    (r"center\s*=\s*True", "`center=True` puts half of the window into the future; leave it out."),
    (r"\b(bfill|backfill)\b", "`{}` copies later values back; use ffill()."),
    (r"\binterpolate\(", "`interpolate` draws a line to the next known value; use ffill()."),
    (
        r"\b(filtfilt|savgol_filter|i?r?fft|seasonal_decompose)\(",
        "`{}` uses the whole series; use a causal filter (ewm).",
    ),
    (r"\[::-1\]", "reversing the rows makes a running figure look ahead; run it forwards."),
    (r"\b(fit|fit_transform|fit_predict)\(", "`{}` on all rows knows the future; refit on earlier rows only."),
    (r"\biloc\[-1\]|\[-1\]", "the last row is the future of all others; read the current row."),
    (
        r"\.(mean|std|var|min|max|sum|median|quantile|rank|idxmax|corr|cov|transform)\(",
        "`.{}()` over all rows knows the future; use .expanding() or .rolling(n) before it.",
    ),
)
_CAUSAL = r"\.(?:rolling|expanding|ewm)\((?:[^()]|\([^()]*\))*\)\.\w+\(|\.\w+\(axis=1"

_BY_KIND = {
    "random": "Remedy: make a numpy.random.default_rng(seed) inside `weights`; leave the global random state alone.",
    "mutation": "Remedy: copy before writing, such as m.close.frame().copy().",
    "restated": "Remedy: read m.<field> or m.panel(name); `final` is what fills use, known only later.",
    "unchecked": "Remedy: let `weights` return NaN where the history is too short, and run the check again.",
}
_LENGTH = (
    "Row t must come out the same however many rows follow it.\n"
    "Remedy: do not use the number of bars or the last row; compute on the market's own rows in `weights`."
)


def remedy(strategy: Strategy, kinds: set[str], differences: Iterable[Difference]) -> str:
    """One or two lines: how far the leak reaches, and what to write instead.

    Args:
        strategy: the one that leaks. kinds: what was found, rounding aside. differences: all comparisons made.
    """
    for kind, text in _BY_KIND.items():
        if kind in kinds:
            return text
    if "look-ahead" not in kinds:
        return _LENGTH if kinds else ""
    leaking = [d for d in differences if (d.first >= 0).any()]
    reach = max(d.cut - int(d.first[d.first >= 0].min()) for d in leaking)
    if 4 * reach < max(d.cut for d in leaking):
        extent = f"It changes rows up to {reach} before a cut: it reads that many bars ahead."
    else:
        extent = "It changes rows long before a cut: a figure over the whole sample is used."
    hint = _hint(strategy)
    return f"{extent}\nRemedy: {hint or 'shift(-1) reads the next bar, use lag(1); refit models on earlier rows only.'}"


def _hint(strategy: Strategy) -> str:
    try:
        source = inspect.getsource(type(strategy))
    except (OSError, TypeError):  # defined in a console, or compiled
        return ""
    source = re.sub(r'"""(?s:.*?)"""|#.*', "", source)
    for number, (pattern, sentence) in enumerate(_HINTS):
        text = source if number < len(_HINTS) - 1 else re.sub(_CAUSAL, "", source)
        match = re.search(pattern, text)
        if match:
            return sentence.format(match[1]) if match.groups() else sentence
    return ""
