"""`check`: does a strategy use what it could not have known?

The test is prefix invariance: the weights of row t computed from data cut after t must have the same bits as those
computed from everything. It finds look-ahead in any code, ours or not, that gets its data from the market it is handed
or from values that its code names. It cannot see what a file or a service sends, nor choices made with hindsight.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from knowable.data.market import Market
from knowable.errors import KnowableError
from knowable.strategy import Strategy, check_strategy
from knowable.validate.cuts import chosen_cuts, fitting_cuts, telling_cuts
from knowable.validate.findings import LEAKS, Finding, LeakReport, label
from knowable.validate.probes import Answer, Difference, Prober, compare, compare_panels, content
from knowable.validate.reasons import fits_models, kind_of, reach_ahead
from knowable.validate.remedies import remedy
from knowable.validate.suspicions import outside_data, same_bar, survivorship, warm_up

__all__ = [
    "Fresh",
    "check",
    "findings_of",
    "kept_between_runs",
    "not_repeatable",
    "pin_down",
    "refused",
    "report_of",
    "restated",
    "whole_market",
]

Fresh = Callable[[Strategy, Market, Sequence[int]], Mapping[int, np.ndarray]]
"""Weights by number of leading bars shown, computed in a process in which the strategy has never run.

Raises KnowableError, with the reason, where that cannot be done.
"""

_MORE_CUTS = 48  # further cuts that may be spent on pinning down where a leak begins
_LOOKED_CLOSER = 5
_UNSTEADY = frozenset({"hash", "id", "set", "frozenset"})  # what they give differs from process to process


def check(
    strategy: Strategy,
    market: Market,
    cuts: int | Sequence[int] = 8,
    seed: int = 0,
    *,
    fill: str | None = None,
    fresh: Fresh | None = None,
) -> LeakReport:
    """Look for look-ahead by prefix invariance, and for what else makes a result doubtful.

    For each cut the strategy is run on the data before it alone, on the same data followed by another plausible
    future, and on the same data with the true future moved a little. Rows before the cut must keep their bits. When
    they do not, further cuts find where it begins. It is also run twice on the same data, with final values replaced
    by those known at the time, with its outside data altered, and with a shorter history.

    Args:
        strategy: an instance; every run gets a copy, and what its code keeps outside it is put back before each.
        market: at least 3 bars; a few hundred tell more.
        cuts: how many random cuts; early and late ones, those before large moves and those at rare trades are added. Or
            the cuts themselves, in rows. Three runs each.
        seed: of cuts and invented futures.
        fill: of the account, such as ``"close"``; with it, fills at a price that decides are suspected.
        fresh: runs the strategy in another process; used where its code could have kept something from an earlier run.

    Returns: a report; `.ok`, `.findings` (leaks), `.suspicions`, `.raise_if_found()`. Differences within 1e-9 of a
        weight are a suspicion, ``"rounding"``.
    Raises: InputError on impossible cuts; whatever the strategy raises on the whole market.
    """
    strategy = check_strategy(strategy)
    rng = np.random.default_rng(seed)
    chosen = chosen_cuts(market.n_bars, cuts, rng)
    before = content(market)
    prober = Prober(strategy, market, seed)
    try:
        if content(market) != before:
            return report_of(prober, [whole_market(market, "mutation")])
        found = kept_between_runs(prober)
        by_chance = not_repeatable(prober, 1)
        if by_chance:  # every further comparison would differ too
            return report_of(prober, by_chance)
        more = isinstance(cuts, numbers.Integral)
        if more:
            chosen = sorted({*chosen, *telling_cuts(market, prober.full.panel, rng)})
        found += restated(prober)
        return _checked(prober, chosen, found, before=before, fill=fill, fresh=fresh, more=more)
    finally:
        prober.close()


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


def not_repeatable(prober: Prober, times: int = 3) -> list[Finding]:
    """Whether another run on the same data gives something else, asked so many times: chance may agree once."""
    for _ in range(times):
        again = compare(prober.full, prober.run(prober.market), prober.market.n_bars, "random")
        if again is not None and again.found:
            return findings_of(prober.market, [again], "random")
    return []


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


def restated(prober: Prober) -> list[Finding]:
    """A strategy that reads `final` changes when final values are replaced by those known at the time."""
    market = prober.market
    if market.final is market.panels:
        return []
    known = {name: market.panels.get(name, values) for name, values in market.final.items()}
    other = prober.run(market.with_panels(market.panels, final=known))
    difference = compare(prober.full, other, market.n_bars, "restated")
    return [] if difference is None else findings_of(market, [difference], "restated")


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


def _checked(
    prober: Prober,
    cuts: Sequence[int],
    found: list[Finding],
    *,
    before: bytes,
    fill: str | None,
    fresh: Fresh | None,
    more: bool,
) -> LeakReport:
    """All experiments with cuts, and what they leave to be asked."""
    market, notes = prober.market, list[str]()
    for cut in cuts:
        prober.at(cut)
    if more and fits_models(prober.reach):
        _between_fits(prober)
    if any(d.found for d in prober.differences()):
        by_chance = not_repeatable(prober)
        if by_chance:
            return report_of(prober, by_chance)
    pin_down(prober, _MORE_CUTS)
    found += findings_of(market, prober.differences(), kind_of(prober))
    if not found:
        found = refused(prober)
    if not found and fresh is not None:
        found, notes = _elsewhere(prober, fresh)
    if content(market) != before:
        found.append(whole_market(market, "mutation"))
    suspicions = [*survivorship(market), *outside_data(prober)]
    if all(finding.kind == "rounding" for finding in found):
        suspicions = [*same_bar(prober, fill), *warm_up(prober), *suspicions]
    return report_of(prober, found, suspicions, notes)


def _between_fits(prober: Prober) -> None:
    """Further cuts for what refits now and then: its newest labels show for a few bars after each fit only."""
    if any(d.found for d in prober.differences()) and reach_ahead(prober.differences()) is None:
        return  # more than the newest labels is wrong
    shown_at = [cut for cut in fitting_cuts(prober.market) if (d := prober.probe(cut, "values")) and d.found]
    for cut in shown_at[:_LOOKED_CLOSER]:
        prober.at(cut)


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


def _departures(some: Sequence[Answer], others: Sequence[Answer], cut: int) -> list[Difference]:
    pairs = [compare(one, other, cut, "state") for one, other in zip(some, others, strict=True)]
    return [difference for difference in pairs if difference is not None and difference.found]


def _elsewhere(prober: Prober, fresh: Fresh) -> tuple[list[Finding], list[str]]:
    """What a process gives in which the strategy never ran; asked only where the code could have kept something."""
    market = prober.market
    if not (prober.memory.alive or prober.reach.opened & _UNSTEADY):
        return [], []
    cuts = sorted({max(1, market.n_bars // 2), max(1, market.n_bars - 2)})
    try:
        runs = fresh(prober.strategy, market, [*cuts, market.n_bars])
    except KnowableError as error:
        said = str(error).splitlines()[0]
        return [], [f"What its code kept from runs before this check could not be ruled out: {said}"]
    whole = compare_panels(prober.full.panel, runs[market.n_bars], market.n_bars, "process")
    if whole.found:
        return findings_of(market, [whole], "state" if prober.memory.alive else "random"), []
    shorter = [compare_panels(runs[market.n_bars], runs[cut], cut, "fresh") for cut in cuts if cut in runs]
    return [f for f in findings_of(market, shorter, "look-ahead") if f.kind != "rounding"], []


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
