"""Leaks of the whole sample and of models: found with kind, asset, first bar, reach and reason."""

from __future__ import annotations

import pytest

import knowable as kn
from knowable.testing.zoo.base import Specimen
from knowable.testing.zoo.fits import FITS
from knowable.testing.zoo.judge import faults
from knowable.testing.zoo.samples import SAMPLES
from knowable.testing.zoo.smoothing import SMOOTHING


@pytest.mark.parametrize("seed", [2])
@pytest.mark.parametrize("specimen", [*SAMPLES, *SMOOTHING], ids=lambda s: s.strategy.__name__)
def test_a_leak_of_the_whole_sample_is_found_for_the_right_reason(specimen: Specimen, seed: int) -> None:
    market = specimen.home(seed)
    assert faults(specimen, market, kn.check(specimen.on(market), market, seed=seed)) == []


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("specimen", FITS, ids=lambda s: s.strategy.__name__)
def test_a_leak_into_a_fit_is_found_for_the_right_reason(specimen: Specimen, seed: int) -> None:
    market = specimen.home(seed)
    assert faults(specimen, market, kn.check(specimen.on(market), market, seed=seed)) == []
