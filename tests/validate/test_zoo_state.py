"""Leaks by state, outside data, chance and length; and the whole zoo over twenty seeds."""

from __future__ import annotations

import os

import pytest

import knowable as kn
from knowable.experiments.fresh import fresh_runs
from knowable.testing.leak_zoo import CLEAN, LEAKY
from knowable.testing.zoo.base import Honest, Specimen, zoo_market
from knowable.testing.zoo.hidden import HIDDEN
from knowable.testing.zoo.judge import faults
from knowable.testing.zoo.state import STATE, KeptByClass
from knowable.validate.findings import LEAKS


@pytest.mark.parametrize("seed", [4])
@pytest.mark.parametrize("specimen", [*STATE, *HIDDEN], ids=lambda s: s.strategy.__name__)
def test_a_leak_by_another_way_is_found_for_the_right_reason(specimen: Specimen, seed: int) -> None:
    market = specimen.home(seed)
    assert faults(specimen, market, kn.check(specimen.on(market), market, seed=seed)) == []


def test_the_zoo_is_large_and_no_specimen_is_in_it_twice() -> None:
    names = [specimen.strategy.__name__ for specimen in (*LEAKY, *CLEAN)]
    assert len(names) == len(set(names))
    assert len(LEAKY) >= 115
    assert len(CLEAN) >= 45
    assert {kind for specimen in LEAKY for kind in specimen.kinds} == set(LEAKS)


def test_what_an_earlier_run_left_behind_does_not_hide_a_leak() -> None:
    """A backtest before the check has filled the cache already; a process where that never happened tells."""
    specimen = next(s for s in STATE if s.strategy is KeptByClass)
    market, longer = zoo_market(3, n_bars=200), zoo_market(3)
    specimen.on(longer).weights(longer)
    try:
        assert kn.check(specimen.on(market), market, cuts=4, fresh=False).ok  # nothing shows here any more
        report = kn.check(specimen.on(market), market, cuts=4)
        assert set(report.kinds) == {"state"}
        assert "in a process where it never ran before" in repr(report)
        assert "m.fingerprint" in report.remedy
        assert fresh_runs(specimen.on(market), market, [50, 200])[50].shape == (50, 4)
    finally:
        KeptByClass.mean = None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("part", range(4))
def test_the_whole_zoo_is_judged_rightly_over_twenty_seeds(part: int, seed: int) -> None:
    wrong = {}
    everyone: list[Specimen | Honest] = [*LEAKY, *CLEAN]
    for specimen in everyone[part::4]:
        market = specimen.home(seed)
        found = faults(specimen, market, kn.check(specimen.on(market), market, seed=seed))
        if found:
            wrong[specimen.strategy.__name__] = found
    assert wrong == {}, os.linesep.join(map(str, wrong.items()))
