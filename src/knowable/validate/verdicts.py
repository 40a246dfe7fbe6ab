"""What experiments on a strategy come to: findings at their first bars, and the report that holds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from knowable.data.market import Market
from knowable.errors import KnowableError
from knowable.validate.findings import LEAKS, Finding, LeakReport, label
from knowable.validate.probes import Answer, Difference, Prober, compare
from knowable.validate.reasons import reach_ahead
from knowable.validate.remedies import remedy

__all__ = [
    "findings_of",
    "kept_between_runs",
    "not_repeatable",
    "pin_down",
    "refused",
    "report_of",
    "restated",
    "whole_market",
]


def findings_of(market: Market, differences: Sequence[Difference], kind: str) -> list[Finding]:
    """One finding for each asset that really differs, at the first row where it does; ``"rounding"`` for the others."""
    best: dict[tuple[str, int], tuple[int, Difference]] = {}
    for difference in differences:
        for name, rows in ((kind, difference.first), ("rounding", difference.rounded)):
            for asset in np.flatnonzero(rows >= 0).tolist():
                row = int(rows[asset])
                if (name, asset) not in best or row < best[name, asset][0]:
                    best[name, asset] = (row, difference)
    leaking = {asset for name, asset in best if name != "rounding"}
    found = []
    for (name, asset), (row, difference) in best.items():
        if name == "rounding" and asset in leaking:
            continue
        was, became = float(difference.was[asset]), float(difference.became[asset])
        gap = abs(was - became)
        found.append(
            Finding(
                kind=name,
                asset=market.assets[asset],
                first_bar=market.index[row],
                row=row,
                cut=difference.cut,
                difference=gap if np.isfinite(gap) else np.inf,
                detail=f"{_circumstance(market, difference)} {was:.6g} became {became:.6g}.",
            )
        )
    return sorted(found, key=lambda f: (f.kind == "rounding", f.row, market.assets.index(f.asset)))


def report_of(
    prober: Prober, found: Sequence[Finding], suspicions: Sequence[Finding] = (), notes: Sequence[str] = ()
) -> LeakReport:
    """The report of what was found; rounding goes to the suspicions."""
    notes = [*notes, *_notes(prober)]
    leaks = [finding for finding in found if finding.kind != "rounding"]
    kinds = {finding.kind for finding in leaks}
    return LeakReport(
        strategy=repr(prober.strategy),
        findings=tuple(leaks),
        suspicions=(*(f for f in found if f.kind == "rounding"), *suspicions),
        cuts=tuple(prober.cuts),
        notes=tuple(notes),
        reach=reach_ahead(prober.differences()),
        remedy=remedy(prober.reach, kinds, prober.differences()),
        seed=prober.seed,
    )


def pin_down(prober: Prober, most: int) -> None:
    """Halve the distance between a cut that shows an asset's leak and the one before that does not.

    Args:
        prober: with the cuts made so far. most: further cuts to make.
    """
    shown_by = [d.cut for d in prober.differences() if d.found]
    if not shown_by:
        return
    last = len(prober.cuts) + most
    # Filling a gap from its end shows at most cuts but not at those that end a gap, so halving alone could stop late.
    for cut in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
        if cut < shown_by[0] and len(prober.cuts) < last:
            prober.at(cut)
    for asset in range(prober.market.n_assets):
        leaking = [d.cut for d in prober.differences() if d.first[asset] >= 0]
        if not leaking:
            continue
        high = leaking[0]
        low = max((cut for cut in prober.cuts if cut < high), default=0)
        while high - low > 1 and len(prober.cuts) < last:
            middle = (low + high) // 2
            if any(d.first[asset] >= 0 for d in prober.at(middle)):
                high = middle
            else:
                low = middle


def restated(prober: Prober) -> list[Finding]:
    """A strategy that reads `final` changes when final values are replaced by those known at the time."""
    market = prober.market
    if market.final is market.panels:
        return []
    known = {name: market.panels.get(name, values) for name, values in market.final.items()}
    other = prober.run(market.with_panels(market.panels, final=known))
    difference = compare(prober.full, other, market.n_bars, "restated")
    return [] if difference is None else findings_of(market, [difference], "restated")


def not_repeatable(prober: Prober, times: int = 3) -> list[Finding]:
    """Whether another run on the same data gives something else, asked so many times: chance may agree once."""
    for _ in range(times):
        again = compare(prober.full, prober.run(prober.market), prober.market.n_bars, "random")
        if again is not None and again.found:
            return findings_of(prober.market, [again], "random")
    return []


def kept_between_runs(prober: Prober) -> list[Finding]:
    """Whether what the code keeps outside its instance changes what a later run gives. To be asked after a full run.

    A shorter market and one of another future are run with what the full run left, and then afresh. Where both agree,
    what is kept does no harm, and further runs begin with it: a table loaded once is not loaded again for each.
    """
    if not prober.kept:
        return []
    market = prober.market
    cut = max(2, 2 * market.n_bars // 3)
    others = [prober.altered(cut, by) for by in ("length", "values")]
    tables = prober.tables_now()
    try:
        left = [prober.run(other, afresh=False) for other in others]
        anew = [prober.run(other) for other in others]
        found = _departures(anew, left, cut)
        if found and _departures(anew, [prober.run(other) for other in others], cut):
            return []  # two first runs differ too: that is chance
    except KnowableError:
        return []
    if not found:
        now = prober.tables_now()  # after a run on another market
        prober.keep_warm([name for name, held in tables.items() if held & now.get(name, set())])
    return findings_of(market, found, "state")


def refused(prober: Prober) -> list[Finding]:
    """Findings from failures: rows of a market it was not given, or nothing that could be compared at all."""
    market, misshapen = prober.market, prober.misshapen()
    if misshapen:
        cut = max(misshapen)
        detail = str(misshapen[cut]).splitlines()[0]
        return [whole_market(market, "length", cut, f"given {cut} bars: {detail}")]
    if not prober.differences() and prober.failures:
        cut, errors = max(prober.failures.items())
        return [whole_market(market, "unchecked", cut, str(errors[0]).splitlines()[0])]
    return []


def whole_market(market: Market, kind: str, cut: int = 0, detail: str = "") -> Finding:
    """A finding about no asset in particular."""
    row = min(cut, market.n_bars - 1)
    return Finding(
        kind=kind,
        asset="(all)",
        first_bar=market.index[row],
        row=row,
        cut=cut,
        difference=float("nan"),
        detail=detail or f"{LEAKS[kind]}.",
    )


def _departures(some: Sequence[Answer], others: Sequence[Answer], cut: int) -> list[Difference]:
    pairs = [compare(one, other, cut, "state") for one, other in zip(some, others, strict=True)]
    return [difference for difference in pairs if difference is not None and difference.found]


def _circumstance(market: Market, difference: Difference) -> str:
    fixed = {
        "random": "run again,",
        "restated": "without restated values,",
        "state": "run after a longer history,",
        "process": "in a process where it never ran before,",
    }
    if difference.by in fixed:
        return fixed[difference.by]
    after = f"bars after {label(market.index[difference.cut - 1])}"
    return {
        "length": f"with {after} left out,",
        "fresh": f"in a fresh process with {after} left out,",
        "values": f"with {after} changed,",
        "slightly": f"with {after} moved a little,",
        "outside": f"with outside data for {after} changed,",
    }[difference.by]


def _notes(prober: Prober) -> list[str]:
    notes = []
    if prober.failures:
        cut, errors = max(prober.failures.items())
        first = str(errors[0]).splitlines()[0]
        notes.append(f"{len(prober.failures)} cuts could not be run in full; at {cut} bars: {first}")
    if prober.kept:
        named = ", ".join(prober.kept[:3])
        how = "which changed nothing" if prober.warm else "here each run began as the first did"
        notes.append(f"Its code keeps {named} from run to run; {how}.")
    if prober.shared:
        notes.append(
            "Its instance holds what cannot be copied, so all runs shared that; what it keeps there is unseen."
        )
    return notes
