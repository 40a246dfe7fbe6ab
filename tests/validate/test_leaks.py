"""The search for look-ahead, judged by a zoo of strategies whose leaks are known."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from knowable.data.market import Market
from knowable.errors import InputError, LookAheadError, StrategyError
from knowable.params import Int
from knowable.strategy import Strategy
from knowable.testing.leak_zoo import CLEAN, LEAKY, zoo_market
from knowable.validate.leaks import check
from knowable.validate.probes import poisoned

SEEDS = [0, 1, 2]


@pytest.fixture(scope="module")
def markets() -> dict[int, Market]:
    return {seed: zoo_market(seed) for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("specimen", LEAKY, ids=lambda s: s.strategy.__name__)
def test_each_leak_is_found_with_its_kind_assets_and_first_bar(specimen, seed, markets) -> None:
    market = markets[seed]
    report = check(specimen.strategy(), market, seed=seed)
    assert not report.ok
    found = [f for f in report.findings if f.kind != "rounding"]
    assert {f.kind for f in found} == {specimen.kind}
    expected = market.assets if specimen.assets is None else [market.assets[k] for k in specimen.assets]
    assert sorted(f.asset for f in found) == sorted(expected)
    if specimen.first_row is not None:
        assert {f.row for f in found} == {specimen.first_row}
        assert {f.first_bar for f in found} == {market.index[specimen.first_row]}
    assert all(f.row < f.cut for f in found)
    assert len(repr(report).splitlines()) <= 12
    assert "Remedy" in repr(report)
    with pytest.raises(LookAheadError, match=specimen.strategy.__name__):
        report.raise_if_found()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strategy", CLEAN, ids=lambda s: s.__name__)
def test_honest_strategies_that_look_suspicious_are_not_flagged(strategy, seed, markets) -> None:
    report = check(strategy(), markets[seed], seed=seed)
    assert report.ok, report
    assert report.findings == ()
    report.raise_if_found()


def test_a_strategy_that_cannot_run_on_short_data_is_checked_where_it_can_and_says_so(markets) -> None:
    report = check(next(s for s in CLEAN if s.__name__ == "NeedsHistory")(), markets[0])
    assert "need at least 60 bars" in report.notes[0]
    assert len(repr(report).splitlines()) <= 12


def test_the_same_seed_gives_the_same_report(markets) -> None:
    one, other = (check(LEAKY[3].strategy(), markets[0], seed=9) for _ in range(2))
    assert (one.cuts, one.findings) == (other.cuts, other.findings)


def test_cuts_include_an_early_and_the_latest_one(markets) -> None:
    report = check(CLEAN[0](), markets[0], cuts=4, seed=3)
    assert report.cuts[0] <= 2
    assert report.cuts[-1] == markets[0].n_bars - 1
    assert 5 <= len(report.cuts) <= 6
    assert check(CLEAN[0](), markets[0], cuts=[50, 200, 100]).cuts == (50, 100, 200)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NextReturn", ["up to 1 before a cut", "`shift(-n)`"]),
        ("CentredAverage", ["up to 2 before a cut", "center=True"]),
        ("FullSampleScore", ["whole sample", ".expanding()"]),
        ("BackFilled", ["bfill", "ffill"]),
        ("Interpolated", ["interpolate"]),
        ("RunBackwards", ["reversing the rows"]),
        ("FadingIn", ["number of bars"]),
    ],
)
def test_the_remedy_fits_the_leak(name, words, markets) -> None:
    specimen = next(s for s in LEAKY if s.strategy.__name__ == name)
    text = repr(check(specimen.strategy(), markets[0]))
    for word in words:
        assert word in text


# --- other ways to be wrong -----------------------------------------------------------------------------------


class GlobalNoise(Strategy):
    def weights(self, m: Market):
        return np.random.normal(0, 0.1, m.shape)  # noqa: NPY002 - the fault under test


class RemembersTheFirstFit(Strategy):
    def weights(self, m: Market):
        if not hasattr(self, "_mean"):
            self._mean = m.panel("close").mean(axis=0)
        return self._mean / m.panel("close") / 10


class Tampers(Strategy):
    def weights(self, m: Market):
        close = m.panel("close")
        close.setflags(write=True)
        close[0, 0] += 1.0
        close.setflags(write=False)
        return np.zeros(m.shape)


class ReadsFinal(Strategy):
    def weights(self, m: Market):
        return m.final_panel("close") / 1000


class ReturnsWhatItComputedElsewhere(Strategy):
    stored = np.full((260, 4), 0.1)

    def weights(self, m: Market):
        return self.stored


class Rounds(Strategy):
    def weights(self, m: Market):
        return np.full(m.shape, 0.1) * (1 + np.finfo(float).eps * (m.n_bars % 2))


class AlwaysFailsElsewhere(Strategy):
    n = Int(1, 1000, default=260)

    def weights(self, m: Market):
        if m.n_bars != self.n or m.panel("close")[-1, 0] != self.last:
            raise RuntimeError("not my market")
        return np.zeros(m.shape)


class Fails(Strategy):
    def weights(self, m: Market):
        raise KeyError("clsoe")


def test_randomness_is_named_and_nothing_else_is_claimed(markets) -> None:
    report = check(GlobalNoise(), markets[0])
    assert {f.kind for f in report.findings} == {"random"}
    assert "default_rng" in repr(report)


def test_what_a_strategy_keeps_from_the_whole_market_does_not_hide_its_leak(markets) -> None:
    strategy = RemembersTheFirstFit()
    strategy.weights(markets[0].until(200))
    del strategy._mean
    report = check(strategy, markets[0])
    assert {f.kind for f in report.findings} == {"look-ahead"}
    assert not hasattr(strategy, "_mean")  # runs get copies


def test_tampering_with_the_data_is_found() -> None:
    report = check(Tampers(), zoo_market(5))
    assert [f.kind for f in report.findings] == ["mutation"]
    assert len(repr(report).splitlines()) <= 12


def test_reading_restated_values_is_found_with_the_restated_cell(markets) -> None:
    market = markets[0]
    close = market.panel("close").copy()
    close[70, 2] *= 1.01
    close.setflags(write=False)
    final = MappingProxyType({**market.final, "close": close})
    restated = dataclasses.replace(market, final=final, _hash=[])
    report = check(ReadsFinal(), restated)
    assert [(f.kind, f.asset, f.row) for f in report.findings] == [("restated", "A2", 70)]
    assert check(CLEAN[0](), restated).ok


def test_weights_stored_for_the_whole_history_are_found(markets) -> None:
    report = check(ReturnsWhatItComputedElsewhere(), markets[0])
    assert [f.kind for f in report.findings] == ["length"]
    assert "returned shape (260, 4)" in report.findings[0].detail


def test_rounding_is_reported_and_does_not_count(markets) -> None:
    report = check(Rounds(), markets[0])
    assert report.ok
    assert {f.kind for f in report.findings} == {"rounding"}
    assert "no look-ahead found" in repr(report)


def test_a_strategy_that_could_not_be_compared_is_not_called_clean(markets) -> None:
    strategy = AlwaysFailsElsewhere()
    strategy.last = markets[0].panel("close")[-1, 0]
    report = check(strategy, markets[0])
    assert [f.kind for f in report.findings] == ["unchecked"]
    assert not report.ok


def test_a_failing_strategy_fails_as_in_a_backtest(markets) -> None:
    with pytest.raises(StrategyError, match="KeyError"):
        check(Fails(), markets[0])
    with pytest.raises(StrategyError, match="make an instance"):
        check(Fails, markets[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cuts", "message"),
    [(0, "cuts >= 1"), ([0], "0 < cut < n_bars"), ([260], "0 < cut < n_bars"), ([], "empty"), ([1.5], "0 < cut")],
)
def test_impossible_cuts_are_refused(cuts, message, markets) -> None:
    with pytest.raises(InputError, match=message):
        check(CLEAN[0](), markets[0], cuts=cuts)


def test_too_short_a_market_is_refused(markets) -> None:
    with pytest.raises(InputError, match="n_bars >= 3"):
        check(CLEAN[0](), markets[0].until(2))


@pytest.mark.parametrize("cut", [1, 57, 259])
def test_an_invented_future_keeps_the_past_to_the_bit_and_bars_plausible(cut, markets) -> None:
    market = markets[1]
    other = poisoned(market, cut, np.random.default_rng(0))
    for name, values in market.panels.items():
        assert other.panels[name][:cut].tobytes() == values[:cut].tobytes()
        assert not other.panels[name].flags.writeable
    assert not np.array_equal(other.panels["close"][cut:], market.panels["close"][cut:])
    low, high = other.panels["low"], other.panels["high"]
    for name in ("open", "close"):
        assert (low <= other.panels[name]).all()
        assert (other.panels[name] <= high).all()
    assert (other.panels["volume"] == np.floor(other.panels["volume"])).all()
    assert other.fingerprint != market.fingerprint


def test_expressions_of_the_platform_pass_by_construction(markets) -> None:
    class Momentum(Strategy):
        lookback = Int(2, 100, default=20)

        def weights(self, m):
            strength = m.close / m.close.lag(self.lookback) - 1
            held = strength.rank(descending=True) <= 2
            return held / held.cross_sum()

    report = check(Momentum(), markets[0])
    assert report.ok
    assert report.findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_the_zoo_is_sorted_rightly_on_many_markets(seed) -> None:
    market = zoo_market(seed, n_bars=120 + 7 * (seed - 100), n_assets=3)
    for specimen in LEAKY:
        assert not check(specimen.strategy(), market, seed=seed).ok, specimen.strategy.__name__
    for strategy in CLEAN:
        report = check(strategy(), market, seed=seed)
        assert report.ok, report


def test_labels_may_carry_a_time_zone() -> None:
    base = zoo_market(0, n_bars=60)
    index = base.index.tz_localize("America/New_York") + pd.Timedelta(hours=16)
    close = pd.DataFrame(base.panel("close"), index=index, columns=list(base.assets))
    report = check(LEAKY[0].strategy(), Market.from_frames(close=close))
    assert report.findings[0].first_bar == index[0]
    assert "2015-01-02 16:00:00-0500" in repr(report)
