"""What a person should judge: a result may be right all the same, so none of this counts against a strategy."""

from __future__ import annotations

import numpy as np

from knowable.data.market import Market, members_of
from knowable.errors import KnowableError
from knowable.strategy import is_event_driven
from knowable.validate.findings import Finding, label
from knowable.validate.futures import other_close, started_late
from knowable.validate.probes import Difference, Prober, compare_panels

__all__ = ["outside_data", "same_bar", "survivorship", "warm_up"]

_FEWEST_ASSETS = 20
_ENDS_A_YEAR = 0.04  # of listed names, by merger, failure or going private; US shares: 5 to 8 in a hundred
_SURPRISE = 0.05
_YEAR_NS = 365.25 * 86_400e9
_SHORTEST = 40
_MATTERS = 1e-3  # of the largest weight: below it, no order would change
_SAME_BAR_CUTS = 3


def survivorship(market: Market) -> list[Finding]:
    """No asset ends, where that would be a surprise.

    Said where the market has at least 20 assets, every one of them has a close in the last twentieth of the bars and
    none ever leaves a universe, and fewer than one such market in twenty would see no end if four names in a hundred
    ended each year: 75 years of names, such as 50 names over a year and a half.
    """
    years = float(market.times[-1] - market.times[0]) / _YEAR_NS
    n_expected = _ENDS_A_YEAR * market.n_assets * years
    if market.n_assets < _FEWEST_ASSETS or np.exp(-n_expected) >= _SURPRISE or _some_end(market):
        return []
    detail = (
        f"all {market.n_assets} assets last to the end of {years:.1f} years, where about {n_expected:.0f} ends are "
        "usual; a list of survivors flatters."
    )
    return [_about_all(market, "survivorship", detail)]


def outside_data(prober: Prober) -> list[Finding]:
    """Data that the strategy gets by itself: what is in reach was altered, what is read from elsewhere was not."""
    found = []
    if prober.outside.frozen:
        named = ", ".join(prober.outside.frozen[:3])
        detail = (
            f"{named} is part of compiled code, which keeps what it held when it was compiled, so it is not checked. "
            "Hand it to the market as a field, or to the function as an argument."
        )
        found.append(_about_all(prober.market, "outside", detail))
    elif prober.outside.names:
        named = ", ".join(prober.outside.names[:3])
        detail = (
            f"{named} holds rows for later bars; they were changed too, but when they were known is not checked. "
            "Hand it to the market as a field."
        )
        found.append(_about_all(prober.market, "outside", detail))
    if prober.outside.readers:
        named = ", ".join(f"`{name}`" for name in prober.outside.readers[:3])
        detail = (
            f"its code calls {named}; what it reads there is not cut, so it is not checked. "
            "Hand it to the market as a field."
        )
        found.append(_about_all(prober.market, "outside", detail))
    for estimator in prober.full.untrained or ():
        detail = (
            f"{estimator} predicts the same whatever trains it; if it was trained beforehand, on what is not checked. "
            "Give kn.model an estimator that it can fit."
        )
        found.append(_about_all(prober.market, "outside", detail))
    return found


def same_bar(prober: Prober, fill: str | None) -> list[Finding]:
    """Filled at the close of the bar that decides, while the decision hangs on how that bar ended."""
    if fill != "close":
        return []
    market = prober.market
    for cut in sorted(
        {max(1, market.n_bars * k // _SAME_BAR_CUTS) for k in range(1, _SAME_BAR_CUTS + 1)}, reverse=True
    ):
        shown = market.until(cut)
        try:
            was = prober.run(shown).panel
            now = prober.run(other_close(shown, cut - 1, np.random.default_rng([prober.seed, cut, 2]))).panel
        except KnowableError:
            continue
        difference = compare_panels(was, now, cut, "same-bar", rows_from=cut - 1)
        if difference.found:
            said = (
                "had {bar} ended otherwise, {was:.6g} would be {now:.6g}, yet it fills at that close. Fill at the next."
            )
            return [_about_one(market, "same-bar", difference, said)]
    return []


def warm_up(prober: Prober) -> list[Finding]:
    """The last weights hang on rows long past: what is left of the history differs when its beginning is left out.

    Expanding windows, running extremes and counts from the first bar do that by their nature; moving windows and
    exponential means, once warm, do not. Compared is the last quarter of the rows, without the first quarter and
    without one row more, down to a thousandth of the largest weight. A weight that is NaN is not warm yet and passes.
    Strategies that decide bar by bar are left out: an account remembers all that was.
    """
    market = prober.market
    if market.n_bars < _SHORTEST or is_event_driven(prober.strategy):
        return []
    quarter = market.n_bars // 4
    full = prober.full.panel
    for first in (quarter, quarter + 1):
        try:
            late = prober.run(started_late(market, first)).panel
        except KnowableError:
            return []
        rest = np.full(market.shape, np.nan)
        rest[first:] = late
        tail = np.abs(full[-quarter:])
        scale = float(np.nanmax(tail)) if np.isfinite(tail).any() else 0.0
        with np.errstate(invalid="ignore"):
            same = np.isnan(rest) | np.isnan(full) | (np.abs(rest - full) <= _MATTERS * scale)
        difference = compare_panels(
            full, np.where(same, full, rest), market.n_bars, "warm-up", rows_from=market.n_bars - quarter
        )
        if difference.found:
            said = f"without the first {first} bars, {{was:.6g}} is {{now:.6g}}: it remembers or counts them."
            return [_about_one(market, "warm-up", difference, said)]
    return []


def _some_end(market: Market) -> bool:
    tail = max(5, market.n_bars // 20)
    close = market.final.get("close")
    if close is not None and bool(np.isnan(close[-tail:]).all(axis=0).any()):
        return True
    if "delisting" in market.actions.type or "merger" in market.actions.type:
        return True
    members = members_of(market)
    return members is not None and bool((members[:-1] & ~members[1:]).any())


def _about_all(market: Market, kind: str, detail: str) -> Finding:
    nowhere = float("nan")
    return Finding(kind=kind, asset="(all)", first_bar=market.index[0], row=0, cut=0, difference=nowhere, detail=detail)


def _about_one(market: Market, kind: str, difference: Difference, said: str) -> Finding:
    """The earliest row of a difference, at its first asset, in a sentence."""
    rows = np.where(difference.first >= 0, difference.first, market.n_bars)
    asset = int(rows.argmin())
    row, was, now = int(rows[asset]), float(difference.was[asset]), float(difference.became[asset])
    gap = abs(was - now)
    return Finding(
        kind=kind,
        asset=market.assets[asset],
        first_bar=market.index[row],
        row=row,
        cut=difference.cut,
        difference=gap if np.isfinite(gap) else np.inf,
        detail=said.format(bar=label(market.index[row]), was=was, now=now),
    )
