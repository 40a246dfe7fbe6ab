"""Honest strategies that look suspicious are not flagged, and nothing is suspected but what is so."""

from __future__ import annotations

import pytest

import knowable as kn
from knowable.testing.leak_zoo import CLEAN
from knowable.testing.zoo.base import Honest
from knowable.testing.zoo.by_bar import HONEST_BY_BAR
from knowable.testing.zoo.judge import faults

AT_ONCE = [specimen for specimen in CLEAN if specimen not in HONEST_BY_BAR]  # those have tests of their own


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("specimen", AT_ONCE, ids=lambda s: s.strategy.__name__)
def test_an_honest_strategy_is_not_flagged(specimen: Honest, seed: int) -> None:
    market = specimen.home(seed)
    report = kn.check(specimen.on(market), market, seed=seed)
    assert faults(specimen, market, report) == []
    report.raise_if_found()
