"""An estimator that was trained beforehand learns nothing from its fits: that shows, and is told as a suspicion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.features.models.untrained import untrained
from knowable.testing.model_oracle import LeastSquares

RNG = np.random.default_rng(11)
INDEX = pd.bdate_range("2019-01-01", periods=260)
CLOSE = pd.DataFrame(100 * np.exp(np.cumsum(RNG.normal(0, 0.01, (260, 6)), axis=0)), INDEX, list("ABCDEF"))
M = kn.Market.from_frames(close=CLOSE)


def past(m):
    return [m.close / m.close.lag(n) - 1 for n in (1, 5, 20)]


def predicted(m, estimator):
    return kn.model(estimator, past(m), kn.label(m.close / m.close.lag(5) - 1, ahead=5), train=100, refit=50)


def trained_on_all() -> LeastSquares:
    x = np.stack([each.values() for each in past(M)], axis=-1)[:-5]
    y = CLOSE.to_numpy()[5:] / CLOSE.to_numpy()[:-5] - 1
    known = np.isfinite(x).all(axis=-1)
    return LeastSquares().fit(x[known], y[known])


KNOWN = trained_on_all()


class Beforehand:
    """Holds a model that has seen everything."""

    def __init__(self):
        self.inner = KNOWN

    def fit(self, x, y):
        pass

    def predict(self, x):
        return self.inner.predict(x)


class Centre:
    """Learns where the rows lie, and nothing of their labels."""

    def fit(self, x, y):
        self.mean = x.mean(axis=0)

    def predict(self, x):
        return ((x - self.mean) ** 2).sum(axis=1)


class Mean:
    """Learns one number."""

    def fit(self, x, y):
        self.mean = y.mean()

    def predict(self, x):
        return np.full(len(x), self.mean)


class Fussy(LeastSquares):
    """Cannot be fitted to few rows."""

    def fit(self, x, y):
        if len(x) < 300:
            raise ValueError("too few")
        return super().fit(x, y)


@pytest.mark.parametrize("honest", [LeastSquares(), Centre(), Mean(), Fussy()])
def test_who_learns_is_not_suspected(honest) -> None:
    assert untrained((predicted(M, honest).rank() + 1).node, M) == []


def test_who_was_trained_beforehand_is_found_below_whatever_is_made_of_it() -> None:
    assert untrained((predicted(M, Beforehand()).rank() + 1).node, M) == ["Beforehand()"]
    assert untrained(M.close.node, M) == []


class Learnt(kn.Strategy):
    top = kn.Int(1, 3, default=2)
    rebalance = "week_end"

    def weights(self, m):
        return (predicted(m, LeastSquares()).rank(descending=True) <= self.top) / self.top


class Brought(Learnt):
    def weights(self, m):
        return (predicted(m, Beforehand()).rank(descending=True) <= self.top) / self.top


def verdict(strategy, folder):
    run = kn.optimize(strategy, M, fill="next_close", trials=3, runs_dir=folder, progress=False)
    return next(each for each in run.doubts if each.name == "Look-ahead")


def test_a_check_suspects_it_and_says_why() -> None:
    report = kn.check(Brought(), M, cuts=2)
    assert report.ok
    assert any("Beforehand() predicts the same whatever trains it" in each.detail for each in report.suspicions)
    assert not any("whatever trains it" in each.detail for each in kn.check(Learnt(), M, cuts=2).suspicions)


def test_look_ahead_is_impossible_for_no_strategy_with_a_model(tmp_path) -> None:
    assert verdict(Learnt, tmp_path).shown == "none found"
    told = verdict(Brought, tmp_path)
    assert (told.shown, told.level) == ("not known", "caution")
    assert "predicts the same whatever trains it" in told.sentence
