"""Strategies of signals, tried many times: asked once where that is right, to the bit what each backtest gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.experiments.engine import TrialEngine
from knowable.experiments.signal_trials import SignalTrials
from knowable.features import Formula, Memo, NeedsValue, maximum, symbol
from knowable.metrics import METRICS

COSTS = kn.Costs(fee_bps=10, slippage_bps=5)
GRID = {"fast": [3, 12], "slow": [10, 60], "stop": [0.01, 0.04]}


class Levels(kn.Strategy):
    """A crossing with levels that are parameters, computed from them, or a plain number."""

    fast = kn.Int(2, 40, default=5)
    slow = kn.Int(5, 90, default=20)
    stop = kn.Float(0.005, 0.3, default=0.03)

    def signals(self, m):
        quick, calm = m.close.mean(self.fast), m.close.mean(self.slow)
        return kn.Signals(entry=quick > calm, exit=quick < calm, size=0.2, stop=self.stop, target=2 * self.stop + 0.01)


class BothSides(Levels):
    """Long and short, at month ends, with a trail as wide as the prices are restless."""

    rebalance = "week_end"

    def signals(self, m):
        quick, calm = m.close.mean(self.fast), m.close.mean(self.slow)
        wide = maximum(m.close.std(20) / m.close * (self.stop * 100), 0.001)
        return kn.Signals(entry=quick > calm, short_entry=quick < calm, size=self.stop * 3, trail=wide)


class Kinds(Levels):
    """What it says hangs on a choice."""

    kind = kn.Choice(["mean", "highest"])

    def signals(self, m):
        level = m.close.mean(self.slow) if self.kind == "mean" else m.close.lag(1).max(self.fast)
        return kn.Signals(entry=m.close > level, exit=m.close < m.close.lag(self.fast), stop=self.stop)


class Arrays(Levels):
    """Computes with numpy."""

    def signals(self, m):
        quick, calm = m.close.mean(self.fast).values(), m.close.mean(self.slow).values()
        return kn.Signals(entry=quick > calm, exit=quick < calm, stop=self.stop)


class Branches(Levels):
    """Branches on the type of a parameter, which no symbol can notice."""

    def signals(self, m):
        stop = self.stop if type(self.stop) is float else 0.5
        return kn.Signals(entry=m.close > m.close.mean(self.slow), stop=stop)


class Asks(Levels):
    """Asks for a value."""

    def signals(self, m):
        return kn.Signals(entry=m.close > m.close.mean(self.slow), stop=min(self.stop, 0.1))


@pytest.fixture(scope="module")
def bars(market: kn.Market) -> kn.Market:
    close, opens = market.close.frame(), market.open.frame()
    top, bottom = np.maximum(close, opens) * 1.004, np.minimum(close, opens) * 0.996
    return kn.Market.from_frames(open=opens, high=top, low=bottom, close=close)


@pytest.mark.parametrize("strategy", [Levels, BothSides, Kinds, Arrays, Branches, Asks])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_row_of_a_sweep_is_the_backtest_of_its_parameters_to_the_bit(bars, strategy, threads):
    grid = GRID | ({"kind": ["mean", "highest"]} if strategy is Kinds else {})
    span = {"start": "2015-06-01", "end": "2016-12-30"}
    table = kn.sweep(strategy, bars, grid=grid, costs=COSTS, threads=threads, check=False, **span)
    assert table["error"].isna().all()
    assert (table["n_trades"] > 5).all()
    for _, row in table.iterrows():
        result = kn.backtest(strategy(**{k: row[k] for k in strategy.parameters}), bars, costs=COSTS, **span)
        assert np.array([row[m] for m in METRICS]).tobytes() == np.array(list(result.metrics.values())).tobytes()


def test_a_strategy_is_asked_once_for_all_sets_only_where_that_is_right(bars):
    shared = {}
    for strategy in (Levels, BothSides, Kinds, Arrays, Branches, Asks):
        trials = SignalTrials(TrialEngine(strategy, bars, kn.backtest(strategy(), bars).settings), Memo(1 << 20))
        shared[strategy.__name__] = trials._shared(strategy().params, bars) is not None
    assert shared == {
        "Levels": True, "BothSides": True, "Kinds": True, "Arrays": False, "Branches": False, "Asks": False
    }  # fmt: skip


def test_a_shared_strategy_is_not_called_again(bars):
    calls = []

    class Counted(Levels):
        def signals(self, m):
            calls.append(1)
            return super().signals(m)

    kn.sweep(Counted, bars, grid={"fast": range(2, 22), "stop": [0.01, 0.02]}, check=False)
    assert len(calls) == 4  # with symbols, then with the first values, the lowest and the highest


def test_a_level_out_of_range_fails_its_trial_with_the_place_in_the_strategy(bars):
    table = kn.sweep(Levels, bars, trials=[{"stop": 0.3}, {"stop": 0.25}], max_leverage=0.5, check=False)
    assert table["error"].str.contains("max_leverage=0.5").all()

    class Steep(Levels):
        def signals(self, m):
            return kn.Signals(entry=m.close > m.close.mean(9), stop=abs(self.fast - 21) / 19 * 0.9 + self.stop * 0)

    told = kn.sweep(Steep, bars, trials=[{"fast": 5}, {"fast": 21}], check=False)["error"]
    assert told[0] is None
    assert "`stop` must be a fraction of the price between 0 and 1" in told[1]
    assert "In Steep(fast=21, slow=20, stop=0.03).signals at test_signal_trials.py" in told[1]


def test_a_formula_is_the_number_that_python_computes():
    a, b = symbol("a", kn.Float(0.0, 1.0)), symbol("b", kn.Int(0, 9))
    made = Formula.of(1 - a / 3 + b % 4 - abs(-a) ** 2)
    assert made is not None
    assert made.value({"a": 0.7, "b": 7}) == 1 - 0.7 / 3 + 7 % 4 - abs(-0.7) ** 2
    assert made.symbols == {"a", "b"}
    assert Formula.of(np.float64(0.3)).value({}) == 0.3
    assert Formula.of("0.3") is Formula.of(None) is Formula.of(pd.Series([1.0])) is None
    with pytest.raises(NeedsValue):
        float(a)
