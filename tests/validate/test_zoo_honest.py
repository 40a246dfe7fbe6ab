"""Honest strategies that look suspicious are not flagged, and nothing is suspected but what is so."""

from __future__ import annotations

import pytest

import knowable as kn
from knowable.testing.leak_zoo import CLEAN
from knowable.testing.zoo.base import Honest
from knowable.testing.zoo.judge import faults


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("specimen", CLEAN, ids=lambda s: s.strategy.__name__)
def test_an_honest_strategy_is_not_flagged(specimen: Honest, seed: int) -> None:
    market = specimen.home(seed)
    report = kn.check(specimen.on(market), market, seed=seed)
    assert faults(specimen, market, report) == []
    report.raise_if_found()
