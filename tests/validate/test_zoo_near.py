"""Leaks of a few bars, and of periods: found with kind, asset, first bar, reach and reason."""

from __future__ import annotations

import pytest

import knowable as kn
from knowable.testing.zoo.base import Specimen
from knowable.testing.zoo.filling import FILLING
from knowable.testing.zoo.judge import faults
from knowable.testing.zoo.near import NEAR


@pytest.mark.parametrize("seed", [0, 13])
@pytest.mark.parametrize("specimen", NEAR, ids=lambda s: s.strategy.__name__)
def test_a_leak_of_a_few_bars_is_found_for_the_right_reason(specimen: Specimen, seed: int) -> None:
    market = specimen.home(seed)
    assert faults(specimen, market, kn.check(specimen.on(market), market, seed=seed)) == []


@pytest.mark.parametrize("seed", [5])
@pytest.mark.parametrize("specimen", FILLING, ids=lambda s: s.strategy.__name__)
def test_a_leak_by_filling_and_joining_is_found_for_the_right_reason(specimen: Specimen, seed: int) -> None:
    market = specimen.home(seed)
    assert faults(specimen, market, kn.check(specimen.on(market), market, seed=seed)) == []
