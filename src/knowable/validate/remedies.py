"""What to do about a leak: read from how far it reaches and from the words of the strategy."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from knowable.validate.probes import Difference
from knowable.validate.reach import Reach
from knowable.validate.reasons import reach_ahead

__all__ = ["remedy"]

# (where it fits, what the code says, what to tell). "near": a leak of a few bars; "far": of the whole sample.
# The first that fits is offered; sought only once a leak is certain, so a harmless word does no harm.
_HINTS: tuple[tuple[str, str, str], ...] = (
    (
        "near",
        r"\b(shift|lag|diff|pct_change|delta)\(\s*(?:periods\s*=\s*)?-",
        "`{}(-n)` reads later bars; use lag(n) or shift(n).",
    ),
    ("near", r"\b(roll)\([^\n]*,\s*-", "`{}(x, -n)` reads later bars; use shift(n)."),
    ("near", r"(?<!def )\b(FixedForwardWindowIndexer)\(", "`{}` takes later bars; use rolling(n)."),
    ("near", r"center\s*=\s*True", "`center=True` puts half of the window into the future; leave it out."),
    ("near", r"\b(gradient)\(", "`{}` takes the step to the next bar too; use diff()."),
    ("near", r"""mode\s*=\s*["']same""", "`mode='same'` centres the window; use mode='full' and cut its end off."),
    (
        "near",
        r"\b(gaussian_filter1d|uniform_filter1d|median_filter|medfilt|convolve1d|savgol_filter)\(",
        "`{}` is centred, half of it lies in the future; use rolling(n) or ewm().",
    ),
    (
        "near",
        r"\b(find_peaks|argrelextrema|argrelmax|argrelmin)\(",
        "`{}` knows a peak by the bars after it; act when it is confirmed, that many bars later.",
    ),
    ("any", r"\b(bfill|backfill)\b", "`{}` copies later values back; use ffill()."),
    ("any", r"\b(interpolate|interp|interp1d|CubicSpline)\(", "`{}` draws a line to the next value; use ffill()."),
    (
        "any",
        r"direction\s*=\s*[\"'](forward|nearest)|method\s*=\s*[\"'](?:nearest)",
        "joining to the next or nearest row reads later ones; use direction='backward'.",
    ),
    (
        "any",
        r"\b(resample|groupby|Grouper)\([^\n]*\)[^\n]*\.(?:transform|mean|last|sum|max|min|agg|std|median|first|rank)\(",
        "`{}` gives a period its figure from its first bar on; use the figures of periods that are over: shift(1).",
    ),
    (
        "any",
        r"\b(dropna)\(",
        "`{}` leaves out names by rows that are yet to come; test each row by itself: notna().",
    ),
    ("any", r"\[::-1\]|\bflip(?:ud)?\(", "reversing the rows makes a running figure look ahead; run it forwards."),
    ("any", r"ascending\s*=\s*False", "running over rows sorted backwards looks ahead; keep them in their order."),
    ("far", r"\b(roll)\(", "`{}` brings the last rows round to the first; use shift(n)."),
    (
        "far",
        r"\b(KFold|cross_val_predict)\b",
        "`{}` predicts the past by the future; split by time, train on what came before.",
    ),
    (
        "far",
        r"\b(filtfilt|sosfiltfilt|savgol_filter|hilbert|i?r?fft|detrend|lowess|seasonal_decompose|hpfilter)\(",
        "`{}` uses the whole series; use a causal filter (lfilter, ewm).",
    ),
    (
        "far",
        r"\b(fit|fit_transform|fit_predict|lstsq|polyfit|linregress|kmeans2?|svd|eigh|solve|pinv)\(",
        "`{}` on all rows knows the future; refit on earlier rows only.",
    ),
    (
        "far",
        r"\b(qcut|cut|nanquantile|percentile)\(",
        "`{}` over all rows knows the future; take the limits of earlier rows.",
    ),
    ("any", r"\biloc\[-1\]|\[-1\]", "the last row is the future of all others; read the current row."),
    (
        "far",
        r"\.(mean|std|var|min|max|sum|median|quantile|rank|idxmax|idxmin|argmax|argsort|corr|cov|transform)\(",
        "`.{}()` over all rows knows the future; use .expanding() or .rolling(n) before it.",
    ),
)
_CAUSAL = r"\.(?:rolling|expanding|ewm)\((?:[^()]|\([^()]*\))*\)\.\w+\(|\.\w+\(axis=1|(?<=\()\s*axis=1"

_BY_KIND = {
    "random": (
        "Remedy: make a numpy.random.default_rng(seed) inside `weights`; leave the global random state alone, and\n"
        "hash() and the order of sets too, which differ from process to process."
    ),
    "mutation": "Remedy: copy before writing, such as m.close.frame().copy().",
    "restated": "Remedy: read m.<field> or m.panel(name); `final` is what fills use, known only later.",
    "unchecked": "Remedy: let `weights` return NaN where the history is too short, and run the check again.",
    "state": (
        "What it keeps comes from another market, perhaps a longer one.\n"
        "Remedy: compute it from `m` in `weights`, or keep it by m.fingerprint."
    ),
}
_LENGTH = (
    "Row t must come out the same however many rows follow it.\n"
    "Remedy: do not use the number of bars or the last row; compute on the market's own rows in `weights`."
)
_USUAL_NEAR = (
    "a negative shift, a centred window or a period not over yet reads later bars; use shift(n) and rolling(n)."
)
_USUAL_FAR = (
    "a mean, rank, scale or fit over all rows knows the future; use .expanding() or .rolling(n), refit as time goes."
)
_OUTSIDE = "Remedy: hand those data to the market, Market.from_frames(close=..., mine=frame), and read m.mine instead."


def remedy(reach: Reach, kinds: Collection[str], differences: Sequence[Difference]) -> str:
    """Two or three lines: how far the leak reaches, and what to write instead; empty where there is none.

    Args:
        reach: of the strategy that leaks. kinds: what was found, rounding aside. differences: all comparisons made.
    """
    for kind, text in _BY_KIND.items():
        if kind in kinds and not {"look-ahead", "label-overlap"} & set(kinds):
            return text
    if not kinds:
        return ""
    if kinds == {"length"}:
        hint = _hint(reach, ("near", "any"))
        return f"{_LENGTH.splitlines()[0]}\nRemedy: {hint}" if hint else _LENGTH
    ahead = reach_ahead(differences)
    if ahead is None:
        extent, hint = (
            "It changes rows long before a cut: a figure over the whole sample is used.",
            _hint(reach, ("far", "any")),
        )
    else:
        extent = f"It changes rows up to {ahead} before a cut: it reads that many bars ahead."
        hint = _hint(reach, ("near", "any"))
    if "label-overlap" in kinds:
        said = f"Remedy: before each fit drop the last {ahead} rows, whose labels reach past it; kn.model does so."
        return f"{extent}\n{said}"
    if all(d.by == "outside" for d in differences if d.found):
        return f"{extent}\n{_OUTSIDE}"
    usual = _USUAL_FAR if ahead is None else _USUAL_NEAR
    return f"{extent}\nRemedy: {hint or _hint(reach, ('near', 'any', 'far')) or usual}"


def _hint(reach: Reach, where: tuple[str, ...]) -> str:
    source = re.sub(r'"""(?s:.*?)"""|#.*', "", reach.source())
    for number, (extent, pattern, sentence) in enumerate(_HINTS):
        if extent not in where:
            continue
        text = source if number < len(_HINTS) - 1 else re.sub(_CAUSAL, "", source)
        match = re.search(pattern, text)
        if match:
            return sentence.format(match[1]) if match.groups() else sentence
    return ""
