"""Sweeps: every row is the backtest of its parameters, to the bit, however it was computed."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError, ParameterError, UnknownNameError
from knowable.experiments.engine import TrialEngine
from knowable.features import where
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
    served = {}
    for name in ("Crossover", "Branches", "SneakyBranch", "WithPandas"):
        strategy = getattr(strategies, name)
        served[name] = TrialEngine(strategy, market, settings)._program(strategy().params, market)
    assert {name for name, program in served.items() if program is not None} == {"Crossover"}


def test_threads_and_batches_do_not_change_a_bit(strategies: ModuleType, market: kn.Market) -> None:
    grid = {"fast": range(2, 41), "slow": range(10, 121, 11)}
    tables = [kn.sweep(strategies.Crossover, market, grid=grid, threads=n) for n in (1, 2, 3)]
    assert len(tables[0]) == 39 * 11
    for other in tables[1:]:
        assert tables[0].drop(columns="error").to_numpy().tobytes() == other.drop(columns="error").to_numpy().tobytes()


@pytest.mark.parametrize("threads", [0, -1, "2", 1.5, True])
def test_threads_are_a_whole_number(strategies: ModuleType, market: kn.Market, threads: object) -> None:
    with pytest.raises(InputError, match=r"`threads` must be a whole number >= 1.*kn\.sweep"):
        kn.sweep(strategies.Crossover, market, grid={"fast": [2]}, threads=threads)


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


def agree(strategy: type[kn.Strategy], market: kn.Market, trials: list[dict], **options: object) -> None:
    """Every row of a sweep, in any company, is the backtest of its parameters."""
    table = kn.sweep(strategy, market, trials=trials, check=False, **options)
    for params, (_, row) in zip(trials, table.iterrows(), strict=True):
        alone = kn.backtest(strategy(**params), market, **options).metrics
        assert [row[m] for m in METRICS] == pytest.approx(list(alone.values()), abs=0, rel=0, nan_ok=True), params


def test_a_market_made_inside_weights_is_the_one_that_is_used(market: kn.Market) -> None:
    class Smoothed(kn.Strategy):
        n = kn.Int(2, 20, default=5)

        def weights(self, m):
            smooth = m.close.frame().ewm(span=30).mean().to_numpy()
            other = m.with_panels({**m.panels, "close": smooth, "smooth": smooth})
            return where(other.smooth > other.close.lag(self.n), 1.0, 0.0) / m.n_assets

    agree(Smoothed, market, [{"n": 3}, {"n": 9}], start="2015-06-01", end="2016-06-01")


def test_numbers_read_from_prices_come_from_the_bars_shown_only(market: kn.Market) -> None:
    class Median(kn.Strategy):
        k = kn.Float(0.5, 1.5, default=1.0)

        def weights(self, m):
            level = float(np.median(m.close.values()))
            return where(m.close < level * self.k, 1.0, 0.0) / m.n_assets

    agree(Median, market, [{"k": 0.9}, {"k": 1.1}], end="2016-06-01")
    cut = kn.sweep(Median, market.until(370), grid={"k": [0.9, 1.0, 1.1]}, end=market.index[369], check=False)
    whole = kn.sweep(Median, market, grid={"k": [0.9, 1.0, 1.1]}, end=market.index[369], check=False)
    pd.testing.assert_frame_equal(cut, whole)


def test_what_an_init_computes_is_heeded(market: kn.Market) -> None:
    class Scaled(kn.Strategy):
        fast = kn.Int(2, 20, default=5)
        scale = 1.0

        def __init__(self, **values):
            super().__init__(**values)
            if 8 < self.fast < 12:
                self.scale = 0.1

        def weights(self, m):
            return where(m.close > m.close.mean(self.fast), 1.0, 0.0) / m.n_assets * self.scale

    agree(Scaled, market, [{"fast": 5}, {"fast": 10}])


def test_choices_that_are_equal_but_not_the_same_are_kept_apart(market: kn.Market) -> None:
    class Typed(kn.Strategy):
        c = kn.Choice([True, 1, 2])

        def weights(self, m):
            rule = where(m.close > m.close.mean(5), 1.0, 0.0) / m.n_assets
            return rule if self.c is True else rule / 2

    agree(Typed, market, [{"c": True}, {"c": 1}, {"c": 2}])


def test_an_init_and_a_schedule_that_raise_fail_their_trial_only(market: kn.Market) -> None:
    class Ordered(kn.Strategy):
        fast = kn.Int(2, 40, default=5)
        slow = kn.Int(2, 40, default=30)

        def __init__(self, **values):
            super().__init__(**values)
            if self.fast >= self.slow:
                raise ValueError("fast must be below slow")

        @property
        def rebalance(self):
            return {30: "month_end", 10: None}[self.slow]

        def weights(self, m):
            return where(m.close.mean(self.fast) > m.close.mean(self.slow), 1.0, 0.0) / m.n_assets

    table = kn.sweep(Ordered, market, grid={"fast": [5, 15], "slow": [10, 30, 40]})
    assert table["error"].notna().tolist() == [False, False, True, True, False, True]
    assert "Ordered(fast=15, slow=10) raised ValueError: fast must be below slow" in table["error"][3]
    assert "rebalance raised KeyError: 40" in table["error"][2]


def test_end_cuts_what_the_strategy_is_shown(market: kn.Market) -> None:
    class Peeks(kn.Strategy):
        k = kn.Float(0.5, 1.5, default=1.0)

        def weights(self, m):
            close = m.close.frame()
            return (close > self.k * close.mean()).astype(float) / m.n_assets

    agree(Peeks, market, [{"k": 1.0}, {"k": 1.05}], end=market.index[300])
    assert kn.backtest(Peeks(), market, end=market.index[300]).equity.index[-1] == market.index[300]


@pytest.mark.parametrize("name", ["sharpe", "error", "study", "out_of_sample"])
def test_a_parameter_may_not_bear_the_name_of_a_column(market: kn.Market, name: str) -> None:
    strategy = type("Named", (kn.Strategy,), {name: kn.Int(1, 5)})
    with pytest.raises(ParameterError, match=f"cannot be called '{name}'"):
        kn.sweep(strategy, market, grid={name: [1, 2]})
    with pytest.raises(ParameterError, match=f"cannot be called '{name}'"):
        kn.optimize(strategy, market)


class _Mixed(kn.Strategy):
    """Expressions, arrays, failures and several schedules side by side."""

    kind = kn.Choice(["expression", "field", "array", "raises"], default="expression")
    window = kn.Int(2, 100, default=10)

    @property
    def rebalance(self) -> str | None:
        return "month_end" if self.window == 7 else None

    def weights(self, m: kn.Market) -> object:
        if self.kind == "raises":
            raise ValueError("no such day")
        if self.kind == "field":
            return m.weight
        held = (m.close > m.close.mean(self.window)) / m.n_assets
        return held if self.kind == "expression" else held.values().copy()


def test_trials_scored_in_one_call_do_not_touch_one_another(market: kn.Market) -> None:
    close = market.panel("close")
    frames = {name: pd.DataFrame(market.panel(name), market.index, market.assets) for name in ("open", "close")}
    weight = pd.DataFrame(np.where(close > close[0], 0.2, 0.0), market.index, market.assets)
    mixed = kn.Market.from_frames(**frames, weight=weight)
    kinds = ("expression", "raises", "field", "expression", "array", "expression")
    trials = [{"kind": kinds[k % 6], "window": 2 + k % 11} for k in range(40)]
    table = kn.sweep(_Mixed, mixed, trials=trials, check=False)
    assert table["error"].notna().tolist() == [each["kind"] == "raises" for each in trials]
    held = [each for each in trials if each["kind"] != "raises"]
    alone = [[kn.backtest(_Mixed(**each), mixed).metrics[m] for m in METRICS] for each in held]
    np.testing.assert_array_equal(table.loc[table["error"].isna(), list(METRICS)].to_numpy(), np.array(alone))
    assert table["sharpe"].nunique() > 12
