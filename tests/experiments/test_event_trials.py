"""Strategies that decide bar by bar, searched: every way to run one gives what a backtest gives, to the bit."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.experiments.engine import TrialEngine
from knowable.experiments.event_trials import EventTrials
from knowable.features import Memo
from knowable.metrics import METRICS

COSTS = kn.Costs(fee_bps=10, slippage_bps=5)
GRID = {"fast": [3, 12, 40], "slow": [10, 77]}


@pytest.mark.parametrize("name", ["CrossoverByBar", "PandasByBar", "Trailing"])
def test_each_row_of_a_sweep_is_the_backtest_of_its_parameters_to_the_bit(
    strategies: ModuleType, market: kn.Market, name: str
) -> None:
    strategy = getattr(strategies, name)
    grid = GRID if "fast" in strategy.parameters else {"window": [5, 50], "fall": [0.05, 0.2]}
    span = {"start": "2015-06-01", "end": "2016-12-30"}
    table = kn.sweep(strategy, market, grid=grid, costs=COSTS, **span)
    assert table["error"].isna().all()
    for _, row in table.iterrows():
        result = kn.backtest(strategy(**{k: row[k] for k in strategy.parameters}), market, costs=COSTS, **span)
        assert result.metrics["n_trades"] > 0
        assert np.array([row[m] for m in METRICS]).tobytes() == np.array(list(result.metrics.values())).tobytes()


def test_a_sweep_of_weights_and_of_the_same_decided_bar_by_bar_agree_to_the_bit(
    strategies: ModuleType, market: kn.Market
) -> None:
    tables = [
        kn.sweep(strategy, market, grid=GRID, costs=COSTS, threads=threads)[list(METRICS)].to_numpy().tobytes()
        for strategy in (strategies.Crossover, strategies.CrossoverByBar)
        for threads in (1, 3)
    ]
    assert len(set(tables)) == 1


def test_a_walk_forward_of_weights_and_of_the_same_decided_bar_by_bar_agree_to_the_bit(
    strategies: ModuleType, market: kn.Market, tmp_path: Path
) -> None:
    runs = [
        kn.walk_forward(strategy, market, train="300b", test="150b", trials=4, seed=3, runs_dir=tmp_path, costs=COSTS)
        for strategy in (strategies.Crossover, strategies.CrossoverByBar)
    ]
    assert len(runs[0].folds) >= 2
    assert runs[0].equity.to_numpy().tobytes() == runs[1].equity.to_numpy().tobytes()
    pd.testing.assert_frame_equal(runs[0].orders, runs[1].orders)
    assert runs[0].best == runs[1].best


@pytest.mark.parametrize("workers", [0, 1])
def test_a_search_chooses_among_trials_that_are_backtests(
    strategies: ModuleType, market: kn.Market, tmp_path: Path, workers: int
) -> None:
    run = kn.optimize(strategies.Trailing, market, trials=4, seed=1, workers=workers, runs_dir=tmp_path, costs=COSTS)
    assert kn.load_run(run.folder).best == run.best
    alone = kn.backtest(strategies.Trailing(**run.best), market, costs=COSTS)
    assert run.equity.to_numpy().tobytes() == alone.equity.to_numpy().tobytes()
    best = run.trials.loc[run.trials["sharpe"].idxmax()]
    assert best["sharpe"] == alone.metrics["sharpe"]


def test_features_are_asked_once_for_all_sets_only_where_that_is_right(
    strategies: ModuleType, market: kn.Market
) -> None:
    class Keeps(strategies.CrossoverByBar):
        """Keeps on itself what its on_bar needs."""

        def features(self, m):
            self.level = self.fast / 100
            return super().features(m)

    class Branches(strategies.CrossoverByBar):
        """Branches on the type of its parameter, which no symbol can notice."""

        def features(self, m):
            return {"quick": m.close.mean(self.fast) * (0.99 if type(self.fast) is int else 1.0), "calm": m.close}

    settings = kn.backtest(strategies.CrossoverByBar(), market).settings
    shared = {}
    for strategy in (strategies.CrossoverByBar, strategies.PandasByBar, Keeps, Branches):
        trials = EventTrials(TrialEngine(strategy, market, settings), Memo(1 << 20))
        shared[strategy.__name__] = trials._shared(strategy().params, market) is not None
    assert shared == {"CrossoverByBar": True, "PandasByBar": False, "Keeps": False, "Branches": False}


def test_a_trial_that_raises_names_its_bar_and_the_rest_go_on(market: kn.Market) -> None:
    class Fragile(kn.Strategy):
        n = kn.Int(1, 9, default=5)

        def on_bar(self, bar, account):
            if bar.row == 30 and self.n % 2:
                raise ZeroDivisionError("an odd number")
            account.target("B" if bar.row < 60 or self.n != 4 else "BB", 0.5)

    table = kn.sweep(Fragile, market, grid={"n": [2, 3, 4]})
    assert table["error"].notna().tolist() == [False, True, True]
    assert "Fragile(n=3).on_bar raised ZeroDivisionError: an odd number\nRaised on bar 2015-02-12" in table["error"][1]
    assert "Unknown asset 'BB' in the market" in table["error"][2]
    assert "In Fragile(n=4).on_bar on bar 2015-03-26" in table["error"][2]


def test_no_run_sees_what_another_kept(strategies: ModuleType, market: kn.Market) -> None:
    made = strategies.Trailing()
    first, again = (kn.backtest(made, market).equity for _ in range(2))
    assert first.to_numpy().tobytes() == again.to_numpy().tobytes()
    assert strategies.Trailing.peaks == {}
    assert vars(made) == {"window": 20, "fall": 0.1}
