"""How a report on a specimen is judged: by name, place, reach and reason, not by whether it barks."""

from __future__ import annotations

from collections.abc import Iterator

from knowable.data.market import Market
from knowable.testing.zoo.base import Honest, Specimen
from knowable.validate.findings import LeakReport

__all__ = ["faults"]


def faults(specimen: Specimen | Honest, market: Market, report: LeakReport) -> list[str]:
    """What is wrong with a report, in sentences; empty when it is right."""
    found = _of_leak(specimen, market, report) if isinstance(specimen, Specimen) else _of_honest(specimen, report)
    wrong = list(found)
    lines = repr(report).splitlines()
    if len(lines) > 12:
        wrong.append(f"its text has {len(lines)} lines.")
    return wrong


def _of_leak(specimen: Specimen, market: Market, report: LeakReport) -> Iterator[str]:
    if set(report.kinds) != set(specimen.kinds):
        yield f"it found {', '.join(report.kinds) or 'nothing'}, not {', '.join(specimen.kinds)}."
        return
    found = [finding for finding in report.findings if finding.kind == specimen.kinds[-1]]
    leaking = market.assets if specimen.assets is None else [market.assets[k] for k in specimen.assets]
    named = sorted(finding.asset for finding in found)
    if named not in (["(all)"], sorted(leaking)):
        yield f"it named {', '.join(named)}, not {', '.join(leaking)}."
    rows = {finding.row for finding in found}
    if specimen.first_row is not None and rows != {specimen.first_row}:
        yield f"it named row {min(rows)}, not {specimen.first_row}."
    if any(market.index[finding.row] != finding.first_bar for finding in found):
        yield "its first bar is not the label of its row."
    ahead = report.reach
    if specimen.ahead == "all" and ahead is not None:
        yield f"it said {ahead} bars ahead, not the whole sample."
    if isinstance(specimen.ahead, int) and not (ahead is not None and 1 <= ahead <= specimen.ahead):
        yield f"it said {ahead} bars ahead, not {specimen.ahead} at most."
    if specimen.says not in repr(report):
        yield f"it does not say {specimen.says!r}."
    if "Remedy" not in repr(report):
        yield "it names no remedy."


def _of_honest(specimen: Honest, report: LeakReport) -> Iterator[str]:
    if report.findings:
        yield f"it found {', '.join(report.kinds)} where there is nothing."
    suspected = {finding.kind for finding in report.suspicions} - specimen.suspicions
    if suspected:
        yield f"it suspected {', '.join(sorted(suspected))}."
