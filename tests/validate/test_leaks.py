"""The search for look-ahead, judged by a zoo of strategies whose leaks are known."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from knowable.data.market import Market
from knowable.errors import InputError, StrategyError
from knowable.params import Int
from knowable.strategy import Strategy
from knowable.testing.leak_zoo import CLEAN, LEAKY
from knowable.testing.zoo.base import zoo_market
from knowable.validate.futures import poisoned
from knowable.validate.leaks import check


@pytest.fixture(scope="module")
def markets() -> dict[int, Market]:
    return {seed: zoo_market(seed) for seed in (0, 1)}


def leaky(name: str) -> Strategy:
    return next(s for s in LEAKY if s.strategy.__name__ == name).strategy()


def honest(name: str) -> Strategy:
    return next(s for s in CLEAN if s.strategy.__name__ == name).strategy()


def test_a_strategy_that_cannot_run_on_short_data_is_checked_where_it_can_and_says_so(markets) -> None:
    report = check(honest("NeedsHistory"), markets[0])
    assert "need at least 60 bars" in report.notes[0]
    assert len(repr(report).splitlines()) <= 12


def test_what_shies_away_from_an_invented_future_is_checked_by_moving_the_true_one_a_little(markets) -> None:
    class PeeksButChecksItsData(Strategy):
        def weights(self, m: Market):
            close = pd.DataFrame(m.panel("close"))
            if (close.pct_change().abs() > 0.2).any().any():
                raise ValueError("a price jumped")
            return (close.shift(-1, fill_value=0.0) / close).clip(0.9, 1.1).to_numpy() / 4

    report = check(PeeksButChecksItsData(), markets[0], cuts=[100, 200])
    assert report.kinds == ("look-ahead",)
    assert "moved a little" in report.findings[0].detail or "left out" in report.findings[0].detail
    assert report.reach == 1


def test_the_same_seed_gives_the_same_report(markets) -> None:
    one, other = (check(leaky("OneAsset"), markets[0], seed=9) for _ in range(2))
    assert (one.cuts, one.findings) == (other.cuts, other.findings)


def test_cuts_include_an_early_and_the_latest_one_and_those_that_tell_most(markets) -> None:
    report = check(honest("ExpandingScore"), markets[0], cuts=4, seed=3)
    assert report.cuts[0] <= 2
    assert report.cuts[-1] == markets[0].n_bars - 1
    assert 7 <= len(report.cuts) <= 8  # four, the two ends, before the two largest moves
    close = markets[0].panel("close")
    moves = np.abs(close[1:] / close[:-1] - 1).max(axis=1)
    assert {int(row) + 1 for row in np.argsort(-moves)[:2]} <= set(report.cuts)
    assert check(honest("ExpandingScore"), markets[0], cuts=[50, 200, 100]).cuts == (50, 100, 200)


def test_cuts_are_made_just_after_rare_trades(markets) -> None:
    """Random cuts would have to be lucky: it peeks on three bars of 260 only, each time by one bar."""

    class Seldom(Strategy):
        def weights(self, m: Market):
            weights = np.full(m.shape, 0.1)
            for row in (41, 117, 203):
                if row + 1 < m.n_bars:
                    weights[row:] = m.panel("close")[row + 1, 0] / 1_000
            return weights

    report = check(Seldom(), markets[0], cuts=1)
    assert report.kinds == ("look-ahead",)
    assert {f.row for f in report.findings} <= {41, 117, 203}
    assert report.reach == 1


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
        ("Unpurged", ["label-overlap", "drop the last 4 rows", "kn.model"]),
    ],
)
def test_the_remedy_fits_the_leak(name, words, markets) -> None:
    text = repr(check(leaky(name), markets[0]))
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
    assert check(honest("ExpandingScore"), restated).ok


def test_weights_stored_for_the_whole_history_are_found(markets) -> None:
    report = check(ReturnsWhatItComputedElsewhere(), markets[0])
    assert [f.kind for f in report.findings] == ["length"]
    assert "returned shape (260, 4)" in report.findings[0].detail


def test_rounding_is_reported_and_does_not_count(markets) -> None:
    report = check(Rounds(), markets[0])
    assert report.ok
    assert report.findings == ()
    assert {f.kind for f in report.suspicions} == {"rounding"}
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
        check(honest("ExpandingScore"), markets[0], cuts=cuts)


def test_too_short_a_market_is_refused(markets) -> None:
    with pytest.raises(InputError, match="n_bars >= 3"):
        check(honest("ExpandingScore"), markets[0].until(2))


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


def test_labels_may_carry_a_time_zone() -> None:
    base = zoo_market(0, n_bars=60)
    index = base.index.tz_localize("America/New_York") + pd.Timedelta(hours=16)
    close = pd.DataFrame(base.panel("close"), index=index, columns=list(base.assets))
    report = check(leaky("NextReturn"), Market.from_frames(close=close))
    assert report.findings[0].first_bar == index[0]
    assert "2015-01-02 16:00:00-0500" in repr(report)
