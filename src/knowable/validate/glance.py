"""`glance`: the search for look-ahead that a sweep can afford, a few runs of one or a few parameter sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from knowable.data.market import Market
from knowable.errors import KnowableError
from knowable.strategy import Strategy
from knowable.validate.cuts import fitting_cuts, rare_changes
from knowable.validate.findings import Finding, LeakReport
from knowable.validate.probes import Prober
from knowable.validate.reasons import fits_models, kind_of
from knowable.validate.suspicions import outside_data, same_bar, survivorship
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

__all__ = ["REFUSED", "Glance", "glance"]

REFUSED = frozenset({"look-ahead", "label-overlap", "length", "restated", "mutation"})
"""Kinds of leak that make every figure of a search worthless; the others make it hard to repeat."""

_SECONDS = 0.3
_SHARE = 0.05  # of what the search will take
_AT_LEAST = 2  # steps, whatever they take
_FEWEST_BARS = 8
_MORE_CUTS = 12
_PARTS = ((0.15, 0.35), (0.4, 0.6), (0.75, 0.98))  # of the bars: where an early, a middle and a late cut fall


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What a quick look saw.

    Attributes:
        report: of the first parameter set that leaks, else of the first one that ran; None where none ran.
        expression: all that was seen is one expression of the platform's language, which cannot look ahead.
        models: there are fitted models in it, whose estimators may bring along what nobody can see.
        unseen: why there is no report, in a sentence; else empty.
    """

    report: LeakReport | None
    expression: bool = False
    models: bool = False
    unseen: str = ""

    @property
    def refused(self) -> bool:
        """Whether a leak of a kind in `REFUSED` was found."""
        return self.report is not None and bool(REFUSED & set(self.report.kinds))

    def plain(self) -> dict[str, Any]:
        """As values that JSON has, for a run's record."""
        page = {} if self.report is None else self.report.plain()
        how = {"expression": self.expression, "models": self.models, "unseen": self.unseen}
        return {"looked": self.report is not None, **how, **page}


def glance(
    strategies: Sequence[Strategy],
    market: Market,
    *,
    seed: int = 0,
    n_trials: int = 1,
    fill: str | None = None,
    seconds: float = _SECONDS,
) -> Glance:
    """Look for look-ahead with few runs, the more telling ones first, until the time is spent.

    The first strategy is run with later bars changed after a late cut, and with later bars left out after one in the
    middle; chance shows in these too. More of that, and the other strategies, follow while time remains: `seconds`, or
    a twentieth of what `n_trials` such runs take. An expression of the language is compared by what it is, not by its
    values, which takes no time and leaves no doubt. What is found is pinned down with up to a dozen cuts more.

    Args:
        strategies: parameter sets to look at; those that raise are passed over.
        market: what the search will show.
        seed: of cuts and invented futures.
        n_trials: how many parameter sets the search will try.
        fill: of the account; with ``"close"``, fills at a price that decides are suspected.
        seconds: what a look may take at least.
    """
    if market.n_bars < _FEWEST_BARS:
        return Glance(report=None, unseen=f"there are only {market.n_bars} bars.")
    began, limit, affordable = time.perf_counter(), None, 0.0
    seen, unseen, models = list[tuple[LeakReport, bool]](), "", False
    for strategy in strategies:
        before = _checksum(market)
        try:
            prober = Prober(strategy, market, seed, trusting=True)
        except KnowableError as error:
            unseen = unseen or str(error).splitlines()[0]
            continue
        try:
            now = time.perf_counter()
            if limit is None:
                limit = began + max(seconds, _SHARE * n_trials * (now - began))
                affordable = max(limit - now, seconds) / max(now - began, 1e-6) / 3.0
            elif now > limit:
                break
            found = _tried(prober, limit, min(_MORE_CUTS, int(affordable)))
            found = [whole_market(market, "mutation")] if _checksum(market) != before else found
            models = models or (not seen and prober.full.untrained is not None)
            seen.append(_told(prober, found, fill, first=not seen))
        finally:
            prober.close()
        if seen[-1][0].findings:
            break
    if not seen:
        return Glance(report=None, unseen=unseen)
    report = seen[-1 if seen[-1][0].findings else 0][0]
    return Glance(report=report, expression=all(each for _, each in seen), models=models)


def _told(prober: Prober, found: list[Finding], fill: str | None, *, first: bool) -> tuple[LeakReport, bool]:
    """The report of one parameter set, and whether it is one expression in all that was tried."""
    suspicions = [*survivorship(prober.market), *outside_data(prober)] if first else []
    if first and fill == "close" and all(each.kind == "rounding" for each in found):
        suspicions = [*same_bar(prober, fill), *suspicions]
    one = prober.full.expression is not None and prober.same > 0 and not prober.differences()
    return report_of(prober, found, suspicions), one


def _tried(prober: Prober, limit: float, n_more: int) -> list[Finding]:
    """What the steps show, as far as the time allows, pinned down with so many cuts more."""
    found: list[Finding] = []
    for number, step in enumerate(_steps(prober)):
        if number >= _AT_LEAST and time.perf_counter() > limit:
            break
        found = step()
        if found or any(d.found for d in prober.differences()):
            break
    if any(d.found for d in prober.differences()):
        by_chance = not_repeatable(prober, 2)
        if by_chance:
            return by_chance
        _closer(prober, n_more)
    found += findings_of(prober.market, prober.differences(), kind_of(prober))
    return found or ([] if prober.same else refused(prober))


def _steps(prober: Prober) -> Iterator[Callable[[], list[Finding]]]:
    """What to try, the most telling first; each gives findings of its own, or leaves differences with the prober."""
    n_bars = prober.market.n_bars
    rng = np.random.default_rng(prober.seed)
    early, middle, late = (
        int(rng.integers(int(n_bars * a), max(int(n_bars * b), int(n_bars * a) + 1))) for a, b in _PARTS
    )
    early, late = _just_after(prober, early), _just_after(prober, late)
    probes = [(late, "values"), (middle, "length"), (late, "length"), (middle, "values"), (early, "values")]
    if prober.outside.names:
        probes[1:1] = [(late, "outside"), (middle, "outside"), (early, "outside")]  # each by chance shows nothing

    def probe(cut: int, by: str) -> list[Finding]:
        prober.probe(max(cut, 1), by)
        return []

    for number, (cut, by) in enumerate(probes):
        yield lambda cut=cut, by=by: probe(cut, by)  # type: ignore[misc]
        if number == 0 and prober.market.final is not prober.market.panels:
            yield lambda: restated(prober)
        if number == 1 and prober.kept:
            yield lambda: kept_between_runs(prober)
    if fits_models(prober.reach):
        for cut in reversed(fitting_cuts(prober.market)):
            yield lambda cut=cut: probe(cut, "values")  # type: ignore[misc]


def _just_after(prober: Prober, cut: int) -> int:
    """The cut, or, where the weights seldom change, the nearest one just after they did: others would show little."""
    if prober.full.expression is not None:
        return cut
    rows = rare_changes(prober.full.panel)
    rows = rows[rows < prober.market.n_bars - 1]
    return 1 + int(rows[np.abs(rows + 1 - cut).argmin()]) if len(rows) else cut


def _closer(prober: Prober, n_more: int) -> None:
    """Where it begins, and whether it came by way of a fit."""
    leaking = [d.cut for d in prober.differences() if d.found]
    prober.probe(max(leaking), "slightly")
    pin_down(prober, n_more)


def _checksum(market: Market) -> int:
    """A sum over all bits of the panels: quicker than a hash, and enough for what is no attack."""
    panels = {id(values): values for group in (market.panels, market.final) for values in group.values()}
    return sum(int(np.ascontiguousarray(values).view(np.uint64).sum(dtype=np.uint64)) for values in panels.values())
