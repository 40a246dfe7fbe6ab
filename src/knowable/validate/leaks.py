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
from knowable.validate.findings import Finding, LeakReport
from knowable.validate.probes import Prober, compare_panels, content
from knowable.validate.reasons import fits_models, kind_of, reach_ahead
from knowable.validate.suspicions import outside_data, same_bar, survivorship, warm_up
from knowable.validate.verdicts import (
    findings_of,
    kept_between_runs,
    not_repeatable,
    pin_down,
    refused,
    report_of,
    restated,
    whole_market,
)

__all__ = ["Fresh", "check"]

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
