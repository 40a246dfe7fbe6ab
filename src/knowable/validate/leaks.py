"""`check`: does a strategy use what it could not have known?

The test is prefix invariance: the weights of row t computed from data cut after t must have the same bits as those
computed from everything. It finds look-ahead in any code, ours or not, that gets its data from the market it is handed.
It cannot see data that come by another way (a file, a global), nor parameters that were chosen with hindsight.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from knowable.data.market import Market
from knowable.errors import InputError, LookAheadError, shown
from knowable.strategy import Strategy, check_strategy
from knowable.validate.probes import Difference, Prober, compare, content
from knowable.validate.remedies import remedy

__all__ = ["Finding", "LeakReport", "check"]

_SHOWN = 5  # findings in a report's text
_MORE_CUTS = 48  # further cuts that may be spent on pinning down where a leak begins

_KINDS = {
    "look-ahead": "later bars changed its weight",
    "length": "its weight depends on how many bars follow",
    "restated": "it reads final values, which were revised after the decision",
    "random": "two runs on the same data differ",
    "mutation": "it changed the data it was given",
    "unchecked": "it failed whenever later bars were changed or left out",
    "rounding": "its weight changes by rounding only (not counted as a leak)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a strategy should not have known.

    Args:
        kind: ``"look-ahead"``, ``"length"``, ``"restated"``, ``"random"``, ``"mutation"``, ``"unchecked"`` or
            ``"rounding"`` (the last is not counted).
        asset: the column concerned; ``"(all)"`` where none can be named.
        first_bar: label of the first bar concerned, as far as was probed.
        row: its position.
        cut: number of leading bars that both runs shared.
        difference: by how much the weight changed there; infinite where it became or was NaN.
        detail: a sentence.
    """

    kind: str
    asset: str
    first_bar: pd.Timestamp
    row: int
    cut: int
    difference: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LeakReport:
    """What `check` found.

    Args:
        strategy: repr of the strategy.
        findings: first bar first; one for each kind and asset.
        cuts: the cuts probed, in rows.
        notes: what could not be tried, in sentences.
        remedy: what to do; empty when there is nothing to.
        seed: repeats the same cuts and invented futures.
    """

    strategy: str
    findings: tuple[Finding, ...]
    cuts: tuple[int, ...]
    notes: tuple[str, ...]
    remedy: str
    seed: int

    @property
    def ok(self) -> bool:
        """True when nothing but rounding was found."""
        return all(finding.kind == "rounding" for finding in self.findings)

    def raise_if_found(self) -> None:
        """Raises: LookAheadError with the text of this report, unless it is `ok`."""
        if not self.ok:
            raise LookAheadError(repr(self))

    def __repr__(self) -> str:
        """At most twelve lines."""
        head = "no look-ahead found" if self.ok else f"{', '.join(_named(self.findings))} found"
        lines = [f"{head} in {shown(self.strategy)} ({len(self.cuts)} cuts, seed {self.seed})."]
        for finding in self.findings[:_SHOWN]:
            place = f"{finding.asset} from {_label(finding.first_bar)} (row {finding.row})"
            lines.append(f"  {finding.kind}: {place}; {finding.detail}")
        if len(self.findings) > _SHOWN:
            lines.append(f"  ... and {len(self.findings) - _SHOWN} more in `.findings`.")
        lines.extend(f"  note: {note}" for note in self.notes[:2])
        if self.remedy:
            lines.append(self.remedy)
        return "\n".join(lines)


def check(strategy: Strategy, market: Market, cuts: int | Sequence[int] = 8, seed: int = 0) -> LeakReport:
    """Look for look-ahead by prefix invariance.

    For each cut the strategy is run on the data before it alone, and on the same data followed by another plausible
    future. Rows before the cut must keep their bits. When they do not, further cuts find where it begins. It is also
    run twice on the same data, and the data are compared afterwards.

    Args:
        strategy: an instance; every run gets a copy.
        market: at least 3 bars; a few hundred tell more.
        cuts: how many random cuts, early and late ones included; or the cuts themselves, in rows. Two runs each.
        seed: of cuts and invented futures.

    Returns: a report; `.ok`, `.findings`, `.raise_if_found()`. Differences within 1e-9 of a weight are ``"rounding"``.
    Raises: InputError on impossible cuts; whatever the strategy raises on the whole market.
    """
    strategy = check_strategy(strategy)
    chosen = _cuts(market.n_bars, cuts, np.random.default_rng(seed))
    before = content(market)
    prober = Prober(strategy, market, seed)
    again = compare(prober.full, prober.run(market), market.n_bars, "random")
    if content(market) != before:
        return _report(prober, [_whole_market(market, "mutation")])
    if (again.first >= 0).any():  # every further comparison would differ too
        return _report(prober, _findings(market, [again], "random"))
    found = _restated(prober)
    for cut in chosen:
        prober.at(cut)
    _pin_down(prober)
    by_values = any((d.first >= 0).any() for d in prober.differences() if d.by == "values")
    found += _findings(market, prober.differences(), "look-ahead" if by_values else "length")
    if not found:
        found = _refused(prober)
    if content(market) != before:
        found.append(_whole_market(market, "mutation"))
    return _report(prober, found)


def _cuts(n_bars: int, cuts: int | Sequence[int], rng: np.random.Generator) -> list[int]:
    if n_bars < 3:
        raise InputError(f"`n_bars >= 3` must hold to look for look-ahead, but the market has n_bars={n_bars}.")
    if not isinstance(cuts, Sequence):
        n_cuts = int(cuts) if isinstance(cuts, numbers.Integral) and not isinstance(cuts, bool) else 0
        if n_cuts < 1:
            raise InputError(f"`cuts >= 1` must hold in whole cuts, but cuts={shown(cuts)}.")
        edges = np.linspace(1, n_bars, n_cuts + 1).astype(np.int64)
        spread = [int(rng.integers(a, max(b, a + 1))) for a, b in itertools.pairwise(edges)]
        return sorted({min(2, n_bars - 1), *spread, n_bars - 1})
    for cut in cuts:
        if not isinstance(cut, numbers.Integral) or not 0 < int(cut) < n_bars:
            raise InputError(f"`0 < cut < n_bars` must hold for each cut, but one is {shown(cut)}, n_bars={n_bars}.")
    if len(cuts) == 0:
        raise InputError("`cuts` must name at least one cut, but it is empty.")
    return sorted({int(cut) for cut in cuts})


def _pin_down(prober: Prober) -> None:
    """Halve the distance between a cut that shows an asset's leak and the one before that does not."""
    shown_by = [d.cut for d in prober.differences() if (d.first >= 0).any()]
    if not shown_by:
        return
    last = len(prober.cuts) + _MORE_CUTS
    # Filling a gap from its end shows at most cuts but not at those that end a gap, so halving alone could stop late.
    for cut in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64):
        if cut < shown_by[0]:
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


def _restated(prober: Prober) -> list[Finding]:
    """A strategy that reads `final` changes when final values are replaced by those known at the time."""
    market = prober.market
    if market.final is market.panels:
        return []
    known = {name: market.panels.get(name, values) for name, values in market.final.items()}
    other = prober.run(market.with_panels(market.panels, final=known))
    return _findings(market, [compare(prober.full, other, market.n_bars, "restated")], "restated")


def _findings(market: Market, differences: list[Difference], kind: str) -> list[Finding]:
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


def _circumstance(market: Market, difference: Difference) -> str:
    if difference.by in ("random", "restated"):
        return {"random": "run again,", "restated": "without restated values,"}[difference.by]
    last = _label(market.index[difference.cut - 1])
    return f"with bars after {last} {'left out' if difference.by == 'length' else 'changed'},"


def _refused(prober: Prober) -> list[Finding]:
    """Findings from failures: rows of a market it was not given, or nothing that could be compared at all."""
    market, misshapen = prober.market, prober.misshapen()
    if misshapen:
        cut = max(misshapen)
        detail = str(misshapen[cut]).splitlines()[0]
        return [_whole_market(market, "length", cut, f"given {cut} bars: {detail}")]
    if not prober.differences():
        cut, errors = max(prober.failures.items())
        return [_whole_market(market, "unchecked", cut, str(errors[0]).splitlines()[0])]
    return []


def _whole_market(market: Market, kind: str, cut: int = 0, detail: str = "") -> Finding:
    row = min(cut, market.n_bars - 1)
    return Finding(
        kind=kind,
        asset="(all)",
        first_bar=market.index[row],
        row=row,
        cut=cut,
        difference=float("nan"),
        detail=detail or f"{_KINDS[kind]}.",
    )


def _report(prober: Prober, found: list[Finding]) -> LeakReport:
    notes = []
    if prober.failures:
        cut, errors = max(prober.failures.items())
        notes.append(
            f"{len(prober.failures)} cuts could not be run in full; at {cut} bars: {str(errors[0]).splitlines()[0]}"
        )
    kinds = {finding.kind for finding in found} - {"rounding"}
    return LeakReport(
        strategy=repr(prober.strategy),
        findings=tuple(found),
        cuts=tuple(prober.cuts),
        notes=tuple(notes),
        remedy=remedy(prober.strategy, kinds, prober.differences()),
        seed=prober.seed,
    )


def _label(bar: pd.Timestamp) -> str:
    return f"{bar:%Y-%m-%d}" if bar == bar.normalize() else f"{bar:%Y-%m-%d %H:%M:%S%z}"


def _named(findings: tuple[Finding, ...]) -> list[str]:
    return list(dict.fromkeys(finding.kind for finding in findings if finding.kind != "rounding"))
