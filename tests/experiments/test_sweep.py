"""Sweeps: every row is the backtest of its parameters, to the bit, however it was computed."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import knowable as kn
from knowable.errors import InputError, ParameterError, UnknownNameError
from knowable.experiments.engine import TrialEngine
from knowable.metrics import METRICS

COSTS = kn.Costs(fee_bps=10, slippage_bps=5)


@pytest.mark.parametrize("name", ["Crossover", "Branches", "SneakyBranch", "WithPandas"])
def test_each_row_equals_the_backtest_of_its_parameters_to_the_bit(
    strategies: ModuleType, market: kn.Market, name: str
) -> None:
    strategy = getattr(strategies, name)
    grid = {"fast": [3, 12, 21, 40]} | ({"slow": [10, 77]} if "slow" in strategy.parameters else {})
    grid |= {"kind": ["mean", "min"]} if "kind" in strategy.parameters else {}
    table = kn.sweep(strategy, market, grid=grid, costs=COSTS, start="2015-06-01")
    assert len(table) == np.prod([len(values) for values in grid.values()])
    for _, row in table.iterrows():
        result = kn.backtest(
            strategy(**{k: row[k] for k in strategy.parameters}), market, costs=COSTS, start="2015-06-01"
        )
        assert [row[m] for m in METRICS] == pytest.approx(
            [result.metrics[m] for m in METRICS], abs=0, rel=0, nan_ok=True
        )
    assert table["error"].isna().all()


def test_one_expression_serves_all_sets_only_where_that_is_right(strategies: ModuleType, market: kn.Market) -> None:
    settings = kn.backtest(strategies.Crossover(), market).settings
    served = {
        name: TrialEngine(getattr(strategies, name), market, settings)._program(getattr(strategies, name)().params)
        for name in ("Crossover", "Branches", "SneakyBranch", "WithPandas")
    }
    assert {name for name, program in served.items() if program is not None} == {"Crossover"}


def test_threads_and_batches_do_not_change_a_bit(strategies: ModuleType, market: kn.Market) -> None:
    grid = {"fast": range(2, 41), "slow": range(10, 121, 11)}
    tables = [kn.sweep(strategies.Crossover, market, grid=grid, threads=n) for n in (1, 2, 3)]
    assert len(tables[0]) == 39 * 11
    for other in tables[1:]:
        assert tables[0].drop(columns="error").to_numpy().tobytes() == other.drop(columns="error").to_numpy().tobytes()


def test_trials_come_back_in_the_order_given_with_defaults_filled_in(strategies: ModuleType, market: kn.Market) -> None:
    table = kn.sweep(strategies.Crossover, market, trials=[{"fast": 9}, {"slow": 50}, {"fast": 2, "slow": 11}])
    assert table[["fast", "slow"]].to_numpy().tolist() == [[9, 30], [5, 50], [2, 11]]


def test_a_trial_that_raises_is_recorded_and_the_rest_go_on(strategies: ModuleType, market: kn.Market) -> None:
    table = kn.sweep(strategies.Fails, market, grid={"fast": [4, 5, 6, 7]})
    assert table["error"].notna().tolist() == [False, True, False, True]
    assert "Fails(fast=5).weights raised ZeroDivisionError: an odd window" in table["error"][1]
    assert "strategies_here.py, line" in table["error"][1]
    assert table["sharpe"].isna().tolist() == [False, True, False, True]


def test_a_grid_of_a_trillion_is_counted_and_refused(market: kn.Market) -> None:
    class Wide(kn.Strategy):
        a = kn.Int(0, 10**6)
        b = kn.Int(0, 10**6)

    with pytest.raises(InputError) as caught:
        kn.sweep(Wide, market, grid={"a": range(10**6), "b": range(10**6)})
    assert "The grid has 1,000,000,000,000 parameter sets (1,000,000 a x 1,000,000 b)" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"grid": {"fats": [1]}}, UnknownNameError, "Did you mean 'fast'"),
        ({"grid": {"fast": [500]}}, ParameterError, "`2 <= fast <= 40` must hold"),
        ({"grid": {"fast": "long"}}, ParameterError, r"grid\['fast'\] must be a list"),
        ({"trials": []}, InputError, "no parameter sets"),
        ({}, InputError, "either `grid` or `trials`"),
        ({"grid": {"fast": [3]}, "slipage": 3}, UnknownNameError, "Unknown argument 'slipage' in kn.sweep"),
    ],
)
def test_mistakes_are_told_before_any_work(
    strategies: ModuleType, market: kn.Market, arguments: dict, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        kn.sweep(strategies.Crossover, market, **arguments)
