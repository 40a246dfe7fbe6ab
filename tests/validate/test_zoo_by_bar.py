"""Leaks of strategies that decide bar by bar are found, whatever way they come; honest ones are not flagged."""

from __future__ import annotations

import pytest

import knowable as kn
from knowable.backtest.bar_by_bar import decisions
from knowable.testing.zoo.base import Honest, Specimen, restated_market
from knowable.testing.zoo.by_bar import BY_BAR, HONEST_BY_BAR
from knowable.testing.zoo.judge import faults


@pytest.mark.parametrize("seed", [2])
@pytest.mark.parametrize("specimen", [*BY_BAR, *HONEST_BY_BAR], ids=lambda s: s.strategy.__name__)
def test_a_strategy_that_decides_bar_by_bar_is_judged_rightly(specimen: Specimen | Honest, seed: int) -> None:
    market = specimen.home(seed)
    assert faults(specimen, market, kn.check(specimen.on(market), market, seed=seed)) == []


@pytest.mark.slow
@pytest.mark.parametrize("specimen", HONEST_BY_BAR, ids=lambda s: s.strategy.__name__)
def test_prices_that_were_revised_later_are_no_leak_of_an_account(specimen: Honest) -> None:
    """Its fills are at final prices, its decisions are not: what it was worth is as known."""
    market = restated_market(3)
    assert faults(specimen, market, kn.check(specimen.on(market), market, cuts=3)) == []


def test_what_is_compared_is_what_was_asked_for() -> None:
    class Asks(kn.Strategy):
        def on_bar(self, bar, account):
            if bar.row == 3:
                account.order("A1", 1000)
            elif bar.row == 4:
                account.target("A2", 0.25)

    market = BY_BAR[0].home(0)
    asked = decisions(Asks(), market)
    close = market.panel("close")
    assert asked[3, 1] == pytest.approx(1000 * close[3, 1] / 1e6, rel=1e-12)
    assert asked[4, 2] == 0.25
    assert (asked == asked).sum() == 2
