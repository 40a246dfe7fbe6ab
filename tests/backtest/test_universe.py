"""Members only are held: whatever a strategy returns, and however it is run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import knowable as kn
from knowable.backtest.weights import target_weights
from knowable.data.market import Market
from knowable.experiments.engine import TrialEngine

NAN = np.nan
INDEX = pd.date_range("2020-01-01", periods=6, freq="D")
PRICES = pd.DataFrame(
    {"A": [10.0, 11, 12, 13, 14, 15], "B": [20.0, 19, 18, 17, 18, 19], "C": [5.0, 5, 6, 6, 7, 7]}, INDEX
)
MEMBERS = pd.DataFrame({"A": [1, 1, 1, 0, 0, 0], "B": [1, 1, 1, 1, 1, 1], "C": [0, 0, 1, 1, 1, 1]}, INDEX)


class Feature(kn.Strategy):
    """A strategy that was written without a thought of universes."""

    size = kn.Float(0.0, 0.5, default=0.25)

    def weights(self, m):
        return self.size + 0 * m.close


class Frame(Feature):
    """The same in pandas."""

    def weights(self, m):
        return 0 * m.close.frame() + self.size


class Array(Feature):
    """The same in numpy."""

    def weights(self, m):
        return np.full(m.shape, self.size)


class NoOpinion(kn.Strategy):
    """Says what to hold once, on the first row, and nothing after."""

    def weights(self, m):
        held = np.full(m.shape, NAN)
        held[0] = 0.15
        return held


class Strongest(kn.Strategy):
    """Hold the strongest names equally."""

    lookback = kn.Int(1, 20, default=3)
    top = kn.Int(1, 4, default=2)

    def weights(self, m):
        strength = m.close / m.close.lag(self.lookback) - 1
        held = strength.rank(descending=True) <= self.top
        return held / held.cross_sum()


@pytest.fixture
def m() -> Market:
    return Market.from_frames(close=PRICES, open=PRICES, universe=MEMBERS)


@pytest.mark.parametrize("strategy", [Feature, Frame, Array])
def test_a_target_is_zero_where_an_asset_is_no_member(m, strategy) -> None:
    np.testing.assert_array_equal(target_weights(strategy(), m), 0.25 * MEMBERS.to_numpy())
    for params in ({"size": 0.25}, {"size": 0.5}):
        swept = TrialEngine(strategy, m, kn.backtest(strategy(), m).settings).weights(params)
        assert swept.tobytes() == target_weights(strategy(**params), m).tobytes()


def test_a_name_that_leaves_is_sold_though_the_strategy_has_no_opinion(m) -> None:
    result = kn.backtest(NoOpinion(), m)
    orders = result.orders
    sold = orders[(orders["asset"] == "A") & (orders["side"] == "sell")]
    assert list(sold["decision_time"]) == [INDEX[3]]
    assert list(sold["fill_time"]) == [INDEX[4]]
    assert set(orders.loc[orders["side"] == "buy", "asset"]) == {"A", "B"}, "C was no member when it was asked for"
    assert result.positions["A"].iloc[-1] == 0
    assert result.positions["B"].iloc[-1] > 0


def test_the_result_says_which_universe_it_had(m) -> None:
    result = kn.backtest(Feature(), m)
    assert "Universe: the panel given; on average 2.2 of 3 assets are members." in result.warnings


def random_market(seed: int, *, everything: bool = False) -> Market:
    rng = np.random.default_rng(seed)
    n_bars, n_assets = 60, 6
    index = pd.bdate_range("2019-01-01", periods=n_bars)
    close = pd.DataFrame(np.exp(np.cumsum(rng.normal(0, 0.02, (n_bars, n_assets)), axis=0)) * 50, index)
    members = np.repeat(rng.random((n_bars // 10, n_assets)) < 0.6, 10, axis=0) | everything
    return Market.from_frames(close=close, open=close.shift(1).fillna(50.0), universe=pd.DataFrame(members, index))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 4))
def test_no_order_opens_a_position_in_a_non_member(seed, lookback, top) -> None:
    market = random_market(seed)
    members = pd.DataFrame(market.panel("universe"), market.index, list(market.assets))
    result = kn.backtest(Strongest(lookback=lookback, top=top), market)
    for order in result.orders[result.orders["side"] == "buy"].itertuples():
        assert members.loc[order.decision_time, order.asset] == 1.0
    held = result.positions.set_axis(list(market.assets), axis=1) != 0
    gone = (members == 0) & (members.shift(1) == 0)  # decided on one bar, filled at the next open
    assert not (held & gone).to_numpy().any()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_a_universe_of_everything_changes_no_bit_of_a_result(seed) -> None:
    market = random_market(seed, everything=True)
    plain = Market.from_frames(close=market.close.frame(), open=market.open.frame())
    for strategy in (Strongest(), Frame(size=0.1), NoOpinion()):
        ours, theirs = kn.backtest(strategy, market), kn.backtest(strategy, plain)
        assert ours.equity.to_numpy().tobytes() == theirs.equity.to_numpy().tobytes()
        pd.testing.assert_frame_equal(ours.orders, theirs.orders)


def test_a_sweep_scores_what_a_backtest_gives() -> None:
    market = random_market(5)
    table = kn.sweep(Strongest, market, grid={"lookback": [1, 3, 9], "top": [1, 3]})
    for row in table.itertuples():
        alone = kn.backtest(Strongest(lookback=int(row.lookback), top=int(row.top)), market)
        assert alone.metrics["total_return"] == row.total_return


@pytest.mark.parametrize("strategy", [Strongest(), Feature(), Frame()])
def test_membership_is_no_look_ahead(strategy) -> None:
    report = kn.check(strategy, random_market(7), cuts=5)
    assert report.ok, str(report)


def test_peeking_at_a_later_universe_is_found() -> None:
    class Peek(kn.Strategy):
        def weights(self, m):
            return m.universe.frame().shift(-10).fillna(0.0) / 10

    report = kn.check(Peek(), random_market(7), cuts=5)
    assert not report.ok
    assert report.findings[0].kind in ("look-ahead", "length")
