"""The check on markets of a store that restated, on strategies that decide bar by bar, on models, and its speed."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError
from knowable.strategy import Strategy
from knowable.testing.zoo.base import frame, zoo_market

MARKET = zoo_market(0)
CORRECTED = float(20.0 + np.cos(40.0) + 0.5)


@pytest.fixture(scope="module")
def restated(tmp_path_factory: pytest.TempPathFactory) -> kn.Market:
    """Two stocks of a store; one close of B was corrected a week later."""
    days = pd.bdate_range("2020-01-01", periods=80, tz="UTC") + pd.Timedelta("21h")
    close = {"A": 50.0 + np.sin(np.arange(80.0)), "B": 20.0 + np.cos(np.arange(80.0))}
    rows = pd.concat(
        [
            pd.DataFrame({"entity": name, "event_time": days, "known_time": days, "open": x, "high": x + 1.0}).assign(
                low=x - 1.0, close=x, volume=1_000.0
            )
            for name, x in close.items()
        ]
    )
    fixed = rows[(rows["entity"] == "B") & (rows["event_time"] == days[40])].assign(
        known_time=days[45], close=CORRECTED
    )
    store = kn.Store(tmp_path_factory.mktemp("store"))
    store.create("bars", kn.Schema.bars())
    store.append("bars", rows)
    store.append("bars", fixed)
    return store.market("bars")


class KnownCloses(Strategy):
    def weights(self, m: kn.Market):
        return frame(m).pct_change().fillna(0.0)


class FinalCloses(Strategy):
    def weights(self, m: kn.Market):
        return pd.DataFrame(m.final_panel("close"), m.index, list(m.assets)).pct_change().fillna(0.0)


def test_a_store_that_restated_tells_who_reads_final_values(restated: kn.Market) -> None:
    assert restated.final_panel("close")[40, 1] == CORRECTED
    assert restated.panel("close")[40, 1] != CORRECTED
    assert kn.check(KnownCloses(), restated).ok
    report = kn.check(FinalCloses(), restated)
    assert report.kinds == ("restated",)
    assert [(f.asset, f.row, f.first_bar) for f in report.findings] == [("B", 40, restated.index[40])]
    assert "without restated values" in report.findings[0].detail
    with pytest.raises(kn.KnowableError, match="restated found"):
        kn.sweep(type("Swept", (FinalCloses,), {"n": kn.Int(1, 3, default=1)}), restated, grid={"n": [1]})


class ByBar(Strategy):
    """Honest, with its own memory on itself."""

    n = kn.Int(2, 50, default=10)

    def features(self, m):
        return {"calm": m.close.mean(self.n)}

    def on_bar(self, bar, account):
        account.target((bar.close > bar.calm) / bar.n_assets)


class ByBarThatPeeks(ByBar):
    """Its features know the next bar, though its decisions are made one by one."""

    def features(self, m):
        return {"calm": frame(m).shift(-1)}


class ByBarThatCounts(ByBar):
    """Counts bars in its class, over all runs."""

    bars = 0

    def on_bar(self, bar, account):
        type(self).bars += 1
        account.target(np.full(bar.n_assets, 0.2 if type(self).bars % 7 < 3 else 0.0))


def test_strategies_that_decide_bar_by_bar_are_judged_alike() -> None:
    market = zoo_market(0, n_bars=80)
    assert kn.check(ByBar(), market, cuts=[30, 60]).findings == ()
    report = kn.check(ByBarThatPeeks(), market, cuts=[30, 60])
    assert report.kinds == ("look-ahead",)
    assert report.reach == 1
    assert "`shift(-n)`" in report.remedy
    report = kn.check(ByBarThatCounts(), market, cuts=[30, 60])
    assert report.kinds == ("state",)
    assert "`ByBarThatCounts.bars`" in repr(report)
    assert ByBarThatCounts.bars == 0


def test_polars_and_numpy_are_judged_as_pandas_is() -> None:
    import polars as pl

    class Peeks(Strategy):
        def weights(self, m: kn.Market):
            table = pl.DataFrame({name: m.panel("close")[:, k] for k, name in enumerate(m.assets)})
            return table.select((pl.all().shift(-1) / pl.all() - 1).fill_null(0.0))

    class Honest(Strategy):
        def weights(self, m: kn.Market):
            table = pl.DataFrame({name: m.panel("close")[:, k] for k, name in enumerate(m.assets)})
            return table.select((pl.all() / pl.all().rolling_mean(5) - 1).fill_null(0.0))

    report = kn.check(Peeks(), MARKET, cuts=[50, 200])
    assert report.kinds == ("look-ahead",)
    assert report.reach == 1
    assert kn.check(Honest(), MARKET, cuts=[50, 200]).findings == ()


def test_fits_by_a_library_are_told_apart_by_what_they_learn_from() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    scaling = pytest.importorskip("sklearn.preprocessing")

    class Walks(Strategy):
        purge = kn.Int(0, 10, default=0)

        def weights(self, m: kn.Market):
            close = frame(m)
            x = np.stack([close.pct_change().fillna(0.0), close.pct_change(3).fillna(0.0)], axis=2)
            y = (close.shift(-5) / close - 1).to_numpy()
            weights = np.zeros(m.shape)
            for at in range(60, m.n_bars, 20):
                rows = np.arange(at - self.purge)
                rows = rows[~np.isnan(y[rows]).any(axis=1)]
                model = linear.Ridge(1e-4).fit(x[rows].reshape(-1, 2), y[rows].ravel())
                weights[at : at + 20] = model.predict(x[at : at + 20].reshape(-1, 2)).reshape(-1, m.n_assets)
            return weights * 10

    class Scales(Strategy):
        def weights(self, m: kn.Market):
            return scaling.StandardScaler().fit_transform(m.panel("close")) / 40

    overlap = kn.check(Walks(), MARKET)
    assert overlap.kinds == ("label-overlap",)
    assert overlap.reach == 4
    assert kn.check(Walks(purge=4), MARKET).ok
    whole = kn.check(Scales(), MARKET)
    assert whole.kinds == ("look-ahead",)
    assert whole.reach is None
    assert "`fit_transform` on all rows" in whole.remedy


def test_a_feature_that_peeks_beside_an_honest_fit_is_not_called_a_label() -> None:
    class Beside(Strategy):
        def weights(self, m: kn.Market):
            change = np.nan_to_num(frame(m).pct_change().to_numpy())
            slope = np.polyfit(change[:50].ravel(), change[1:51].ravel(), 1)[0] if m.n_bars > 51 else 0.0
            ahead = np.vstack([change[1:], change[-1:]])
            weights = np.zeros(m.shape)
            weights[51:] = ahead[51:] + slope * change[51:]
            return weights

    report = kn.check(Beside(), MARKET)
    assert report.kinds == ("look-ahead",)
    assert report.reach == 1


def test_a_full_check_of_a_wide_market_takes_seconds() -> None:
    """CPU time, for other work on the machine must not decide it."""
    rng = np.random.default_rng(0)
    close = pd.DataFrame(50 * np.exp(np.cumsum(rng.normal(0, 0.015, (2_500, 50)), axis=0)))
    close = close.set_axis(pd.bdate_range("2010-01-01", periods=2_500)).rename(columns="N{}".format)
    wide = kn.Market.from_frames(close=close, open=close, high=close * 1.01, low=close * 0.99)

    class Trend(Strategy):
        def weights(self, m: kn.Market):
            close = frame(m)
            return (close.rolling(20).mean() / close.rolling(100).mean() - 1) / 10

    began = time.process_time()
    assert kn.check(Trend(), wide).ok
    assert time.process_time() - began < 10.0  # measured 0.8


def test_a_check_at_given_cuts_makes_no_others_and_too_few_bars_are_refused() -> None:
    assert kn.check(KnownCloses(), MARKET, cuts=[100]).cuts == (100,)
    with pytest.raises(InputError, match="n_bars >= 3"):
        kn.check(KnownCloses(), MARKET.until(2))
