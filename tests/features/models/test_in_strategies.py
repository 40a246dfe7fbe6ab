"""Predictions in strategies: swept, searched, walked forward, checked; features like any other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.backtest.weights import target_weights
from knowable.experiments.account import account_settings
from knowable.experiments.engine import TrialEngine
from knowable.features.models import jobs
from knowable.features.models.cache import KEPT
from knowable.testing.model_oracle import LeastSquares, slow_walk

INDEX = pd.bdate_range("2018-01-01", periods=300)
RNG = np.random.default_rng(3)
STEPS = RNG.normal(0, 0.01, (300, 4))
CLOSE = pd.DataFrame(100 * np.exp(np.cumsum(STEPS, axis=0)), INDEX, list("ABCD"))
M = kn.Market.from_frames(close=CLOSE, open=CLOSE.shift(1).bfill())


FITS: list[str] = []


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """Nothing kept, nothing proved; each fit made in this process leaves a line."""
    fit = jobs.fit
    monkeypatch.setattr(jobs, "fit", lambda *given: (FITS.append(given[-1]), fit(*given))[1])
    KEPT.clear()
    FITS.clear()
    jobs._proved.clear()


class Learnt(kn.Strategy):
    """Hold what is predicted to rise most."""

    lookback = kn.Int(1, 30, default=5)
    top = kn.Int(1, 4, default=2)
    rebalance = "week_end"

    def weights(self, m):
        features = [m.close / m.close.lag(self.lookback) - 1, m.close / m.close.mean(10) - 1]
        label = kn.label(m.close / m.close.lag(5) - 1, ahead=5)
        predicted = kn.model(LeastSquares(), features, label, train=100, refit=25)
        held = (predicted.lag(1).rank(descending=True) <= self.top) & (predicted > -1)
        return held / held.cross_sum()


class Shrunk(kn.Strategy):
    """A parameter of the estimator itself, and one of the label."""

    weight = kn.Float(0.1, 2.0, default=1.0)
    ahead = kn.Int(1, 10, default=5)

    def weights(self, m):
        label = kn.label(m.close / m.close.lag(self.ahead) - 1, ahead=self.ahead)
        predicted = kn.model(LeastSquares(self.weight), [m.close / m.close.lag(5) - 1], label, train=100, refit=50)
        return kn.features.clip(predicted, 0, 0.2)


def engine(strategy):
    return TrialEngine(strategy, M, account_settings("kn.sweep", {}))


def test_a_strategy_with_a_model_gets_one_expression_for_all_parameters_below_it() -> None:
    made = engine(Learnt)
    assert made._program({"lookback": 5, "top": 2}, M).symbols == {"lookback", "top"}
    for lookback in (1, 20):
        params = {"lookback": lookback, "top": 1}
        assert made.weights(params).tobytes() == target_weights(Learnt(**params), M).tobytes()


def test_a_parameter_of_the_estimator_builds_an_expression_for_each_set() -> None:
    made = engine(Shrunk)
    assert made._program({"weight": 1.0, "ahead": 5}, M) is None
    for params in ({"weight": 0.5, "ahead": 3}, {"weight": 2.0, "ahead": 3}):
        assert made.weights(params).tobytes() == target_weights(Shrunk(**params), M).tobytes()


def test_a_sweep_over_what_is_made_of_predictions_fits_once() -> None:
    table = kn.sweep(Learnt, M, grid={"top": [1, 2, 3, 4]}, threads=2)
    assert table["error"].isna().all()
    assert len(FITS) == 10 + 1  # at rows 50 to 275; the first one twice, to see that it repeats itself
    assert table["sharpe"].nunique() == 4
    before = len(FITS)
    swept = kn.sweep(Learnt, M, grid={"lookback": [5, 10], "top": [2]})
    assert len(FITS) == before + 10
    for row in swept.to_dict("records"):
        alone = kn.backtest(Learnt(lookback=row["lookback"], top=2), M)
        assert row["total_return"] == alone.metrics["total_return"]


def test_the_weights_are_those_of_a_slow_walk_forward() -> None:
    features = [CLOSE / CLOSE.shift(5) - 1, CLOSE / CLOSE.rolling(10).mean() - 1]
    outcome = CLOSE / CLOSE.shift(5) - 1
    slow = slow_walk(LeastSquares, features, outcome, ahead=5, fit_rows=set(range(0, 300, 25)), train=100, min_bars=20)
    held = (slow.shift(1).rank(axis=1, ascending=False) <= 2) & slow.notna()
    wanted = held.div(held.sum(axis=1), axis=0).where(slow.shift(1).notna())
    np.testing.assert_allclose(target_weights(Learnt(), M), wanted.to_numpy(), rtol=1e-12)


def test_a_search_walks_forward_over_a_strategy_with_a_model(tmp_path) -> None:
    run = kn.walk_forward(Learnt, M, train=150, test=50, trials=4, workers=0, seed=1, runs_dir=tmp_path, progress=False)
    assert run.trials["error"].isna().all()
    assert kn.load_run(run.folder).equity.equals(run.equity)


@pytest.mark.slow
def test_workers_of_a_run_fit_what_their_trials_need_and_the_run_is_the_same(tmp_path) -> None:
    options = {"objective": "sharpe", "trials": 12, "seed": 2, "progress": False}
    alone = kn.optimize(Learnt, M, workers=0, runs_dir=tmp_path / "alone", **options)
    shared = kn.optimize(Learnt, M, workers=2, runs_dir=tmp_path / "shared", **options)
    assert shared.trials["error"].isna().all()
    pd.testing.assert_frame_equal(
        alone.trials.drop(columns=["seconds", "worker"], errors="ignore"),
        shared.trials.drop(columns=["seconds", "worker"], errors="ignore"),
    )


def test_the_check_finds_a_strategy_with_a_model_clean() -> None:
    report = kn.check(Learnt(), M, cuts=6)
    assert report.ok, report
    assert not report.findings


class ByHand(kn.Strategy):
    """Fits to labels that are shifted by hand, and not purged."""

    def weights(self, m):
        close = m.close.frame()
        x, y = close / close.shift(5) - 1, close.shift(-5) / close - 1
        out = pd.DataFrame(np.nan, close.index, close.columns)
        for row in range(100, len(close), 25):
            past = slice(0, row)
            both = x.iloc[past].notna() & y.iloc[past].notna()
            seen = x.iloc[past].to_numpy()[both.to_numpy()][:, None]
            fitted = LeastSquares().fit(seen, y.iloc[past].to_numpy()[both.to_numpy()])
            now = x.iloc[row : row + 25]
            out.iloc[row : row + 25] = fitted.predict(now.to_numpy().reshape(-1, 1)).reshape(now.shape)
        return out.clip(0, 0.2)


def test_the_check_finds_labels_shifted_by_hand() -> None:
    report = kn.check(ByHand(), M, cuts=6)
    assert not report.ok
    assert {finding.kind for finding in report.findings} == {"label-overlap"}
