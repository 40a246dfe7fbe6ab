"""Whatever table a strategy is written with, the same weights come of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

import knowable as kn
from knowable.backtest.weights import target_weights
from knowable.errors import KnowableError, ShapeError, StrategyError

INDEX = pd.bdate_range("2020-01-01", periods=60)
RNG = np.random.default_rng(0)
PRICES = pd.DataFrame(100 * np.exp(np.cumsum(RNG.normal(0, 0.01, (60, 3)), axis=0)), INDEX, list("ABC"))
MARKET = kn.Market.from_frames(close=PRICES, open=PRICES)


def weights_from(make, market=MARKET):
    class Own(kn.Strategy):
        def weights(self, m):
            return make(m)

    return target_weights(Own(), market)


def in_pandas(m):
    close = m.close.frame()
    up = (close > close.rolling(5).mean()).astype(float).where(close.rolling(5).mean().notna())
    return up / 3


def in_polars(m):
    close = pl.from_pandas(m.close.frame().rename_axis("time").reset_index())
    columns = []
    for name in m.assets:
        mean = pl.col(name).rolling_mean(5)
        up = pl.when(pl.col(name) > mean).then(1 / 3).otherwise(0.0)
        columns.append(pl.when(mean.is_null()).then(None).otherwise(up).alias(name))
    return close.select("time", *columns)


def test_pandas_numpy_and_polars_give_the_same_weights() -> None:
    expected = in_pandas(MARKET).to_numpy()
    assert np.isnan(expected[:4]).all()
    for make in (in_pandas, lambda m: in_pandas(m).to_numpy(), in_polars, lambda m: in_polars(m).drop("time")):
        np.testing.assert_array_equal(weights_from(make), expected)


def test_the_columns_of_a_polars_frame_may_come_in_any_order_and_of_any_number_type() -> None:
    def make(m):
        ones = pl.Series([1] * m.n_bars, dtype=pl.Int8)
        flags = pl.Series([True] * m.n_bars)
        small = pl.Series([0.5] * m.n_bars, dtype=pl.Float32)
        return pl.DataFrame({"C": small, "A": ones, "B": flags})

    np.testing.assert_array_equal(weights_from(make), np.tile([1.0, 1.0, 0.5], (60, 1)))


def test_a_backtest_of_a_polars_strategy_is_that_of_the_pandas_one() -> None:
    class Pandas(kn.Strategy):
        def weights(self, m):
            return in_pandas(m)

    class Polars(kn.Strategy):
        def weights(self, m):
            return in_polars(m)

    one, other = kn.backtest(Pandas(), MARKET), kn.backtest(Polars(), MARKET)
    assert one.equity.equals(other.equity)
    assert len(one.orders) > 0


@pytest.mark.parametrize("label", ["dates", "zone", "naive"])
def test_a_column_of_times_is_held_against_the_markets_labels(label) -> None:
    market = MARKET
    if label == "zone":
        there = PRICES.tz_localize("America/New_York")
        market = kn.Market.from_frames(close=there, open=there)

    def make(m, shift=0):
        frame = pl.DataFrame({name: [0.1] * m.n_bars for name in m.assets})
        times = pl.Series(list(m.index.shift(shift, freq="D") if shift else m.index))
        if label == "dates":
            times = times.dt.date()
        return frame.with_columns(day=times)

    assert (weights_from(make, market) == 0.1).all()
    with pytest.raises(ShapeError, match="returned other times than the market's: row 0 is 2020-01-02"):
        weights_from(lambda m: make(m, 1), market)


FULL = {name: [0.1] * 60 for name in "ABC"}
MISTAKES = {
    "a lazy frame": (lambda: pl.DataFrame(FULL).lazy(), StrategyError, "a polars LazyFrame.*Call .collect"),
    "a series": (lambda: pl.Series([0.1] * 60), StrategyError, "a polars Series.\nReturn a polars DataFrame with"),
    "a column too few": (lambda: pl.DataFrame(FULL).drop("B"), ShapeError, r"assets, first \['B'\]"),
    "a column too many": (lambda: pl.DataFrame({**FULL, "D": [1] * 60}), ShapeError, r"assets, first \['D'\]"),
    "two times": (
        lambda: pl.DataFrame({**FULL, "t": list(INDEX), "u": list(INDEX)}), ShapeError, r"assets, first \['u'\]",
    ),
    "a row too few": (lambda: pl.DataFrame(FULL)[1:], ShapeError, "59 rows; the market has 60 bars"),
    "text": (lambda: pl.DataFrame({**FULL, "B": ["x"] * 60}), StrategyError, "of 'B' has dtype String; numbers are"),
    "an infinity": (lambda: pl.DataFrame({**FULL, "B": [np.inf] * 60}), StrategyError, "'B' is infinite"),
    "a zone": (
        lambda: pl.DataFrame({**FULL, "t": list(INDEX.tz_localize("UTC"))}), ShapeError, "are with a time zone",
    ),
    "shuffled": (
        lambda: pl.DataFrame({**FULL, "t": list(INDEX)})[::-1], ShapeError, "row 0 is 2020-03-24 .*Sort by time",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_polars_frame_that_is_no_weights_is_refused_kindly(mistake) -> None:
    make, kind, text = MISTAKES[mistake]
    with pytest.raises(kind, match=f"(?s){text}") as caught:
        weights_from(lambda m: make())
    assert isinstance(caught.value, KnowableError)
    assert "in Own()" in str(caught.value) or "Own().weights" in str(caught.value)


@pytest.mark.parametrize("mistake", [name for name in MISTAKES if name != "an infinity"])
def test_a_polars_frame_that_is_no_feature_of_on_bar_is_refused_kindly(mistake) -> None:
    make, kind, text = MISTAKES[mistake]
    with pytest.raises(kind, match=f"(?s){text}") as caught:
        play(make)
    assert "features['own']" in str(caught.value)
    assert "Plays()" in str(caught.value)


def play(make) -> kn.Result:
    class Plays(kn.Strategy):
        def features(self, m):
            return {"own": make()}

        def on_bar(self, bar, account):
            account.target(bar.own)

    return kn.backtest(Plays(), MARKET)


NO_NUMBERS = {
    "complex numbers": np.full((60, 3), 0.1 + 0j),
    "times": np.full((60, 3), np.datetime64("2020-01-01", "ns")),
    "durations": np.full((60, 3), np.timedelta64(1, "D")),
    "texts": np.full((60, 3), "0.1"),
    "text objects": np.full((60, 3), "0.1", dtype=object),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_numpy_would_read_as_numbers_and_is_none_is_refused(kind) -> None:
    panel = NO_NUMBERS[kind]
    for frame in (panel, pd.DataFrame(panel, INDEX, list("ABC"))):
        with pytest.raises(StrategyError, match=r"`weights` returned values of dtype .*; numbers are needed, in Own"):
            weights_from(lambda m, frame=frame: frame)
        with pytest.raises(StrategyError, match=r"`features\['own'\]` returned values of dtype .*; numbers are needed"):
            play(lambda frame=frame: frame)


def test_missing_values_of_nullable_dtypes_are_nan() -> None:
    plain = pd.DataFrame(np.where(np.eye(60, 3) > 0, np.nan, 0.1), INDEX, list("ABC"))
    for frame in (plain.astype("Float64"), plain.astype(object).where(plain.notna(), None)):
        np.testing.assert_array_equal(weights_from(lambda m, frame=frame: frame), plain)
    assert play(lambda: plain.astype("Float64")).equity.equals(play(lambda: plain).equity)


def test_missing_values_of_pandas_own_types_and_masked_arrays_are_no_opinion() -> None:
    expected = in_pandas(MARKET).to_numpy()
    np.testing.assert_array_equal(weights_from(lambda m: in_pandas(m).convert_dtypes()), expected)
    np.testing.assert_array_equal(weights_from(lambda m: in_pandas(m).astype("Float32")), expected.astype("float32"))
    whole = np.where(np.isnan(expected), np.nan, 1.0)
    np.testing.assert_array_equal(
        weights_from(lambda m: (in_pandas(m) >= 0).astype("Int8").where(in_pandas(m).notna())), whole
    )
    filled = np.where(np.isnan(expected), 9.0, expected)
    np.testing.assert_array_equal(weights_from(lambda _: np.ma.masked_array(filled, filled == 9.0)), expected)


def test_columns_that_are_there_twice_are_named() -> None:
    with pytest.raises(ShapeError, match=r"columns that are there twice, first \['A'\]"):
        weights_from(lambda m: pd.concat([in_pandas(m), in_pandas(m)[["A"]]], axis=1))
