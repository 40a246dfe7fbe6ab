"""Order and path of an asset's past as a user meets them: beside pandas on real prices, with symbols, as text."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable import features as f
from knowable.data.market import Market
from knowable.errors import InputError
from knowable.params import Float, Int
from knowable.testing.expression_oracle import slow_values

SAMPLE = Path(__file__).parents[2] / "data-samples" / "us-large-caps.csv.gz"
NAN = np.nan


@pytest.fixture(scope="module")
def prices():
    table = pd.read_csv(SAMPLE, parse_dates=["event_time"])
    frame = table.pivot_table(index="event_time", columns="entity", values="close").iloc[-600:, :6]
    rng = np.random.default_rng(4)
    return frame.mask(rng.random(frame.shape) < 0.004).mask(np.arange(600)[:, None] < np.array([0, 0, 0, 0, 0, 90]))


@pytest.fixture(scope="module")
def market(prices):
    return Market.from_frames(close=prices.ffill().bfill(), mine=prices)


def check(feature, expected, rtol=1e-9):
    np.testing.assert_allclose(feature.values(), np.asarray(expected), rtol=rtol)


@pytest.mark.parametrize("window", [2, 20, 60])
def test_real_prices_agree_with_pandas(market, prices, window):
    x, rolling = market.mine, prices.rolling(window)
    check(x.ts_rank(window), rolling.rank())
    check(x.median(window), rolling.median())
    check(x.ts_quantile(window, 0.9), rolling.quantile(0.9))
    check(x.argmax(window), rolling.apply(np.argmax, raw=True))
    check(x.argmin(window), rolling.apply(np.argmin, raw=True))
    check(x.count(window), prices.rolling(window, min_periods=0).count())
    check(x.ffill(window), prices.ffill(limit=window))
    weights = np.arange(1.0, window + 1)
    check(x.decay_linear(window), rolling.apply(lambda w: w @ weights / weights.sum(), raw=True))
    growth = 1 + x.returns()
    check(growth.product(window), (1 + prices.pct_change(fill_method=None)).rolling(window).apply(np.prod, raw=True))


def test_compositions_agree_with_pandas(market, prices):
    x = market.mine
    check(x.returns(), prices.pct_change(fill_method=None), rtol=1e-7)
    check(x.returns(5), prices.pct_change(5, fill_method=None), rtol=1e-7)
    check(x.ffill(), prices.ffill())
    check(x.fill(7), prices.fillna(7))
    check(x.fill(market.close), prices.ffill().bfill())
    change = prices.pct_change(fill_method=None)
    check(x.returns().signed_power(0.5), np.sign(change) * change.abs() ** 0.5, rtol=1e-7)


def test_a_product_of_returns_is_the_return_over_the_window(market):
    over_ten = (1 + market.close.returns()).product(10) - 1
    np.testing.assert_allclose(over_ten.values(), market.close.returns(10).values(), atol=1e-12)


def test_bars_since_a_high_is_how_far_back_the_maximum_stands(market):
    x = market.close
    high = x.bars_since().values(), (x >= x.max(30)).bars_since().values(), (29 - x.argmax(30)).values()
    assert (high[0] == 0).all()
    fresh = high[1] < 30  # the last high may have left the window; the first of equal ones is further back
    assert (high[1][fresh] <= high[2][fresh]).all()
    assert (high[1] == high[2])[fresh].mean() > 0.95


def test_windows_over_a_slower_clock_count_its_periods(market):
    weekly = market.close.ts_rank(5, every="week_end")
    ends = ~np.isnan(market.close.resample("week_end").values()[:, 0])
    assert weekly.text() == 'ts_rank(close, 5, every="week_end")'
    assert set(np.unique(weekly.values()[ends][40:])) <= set(np.arange(1, 5.5, 0.5))
    held = market.close.resample("month_end").values()
    assert market.close.ffill(every="month_end").values()[60:].tobytes() == held[60:].tobytes()


TEXTS = [
    "argmin(close, 10)",
    "ts_quantile(close, 20, q=0.9)",
    "median(close, 20)",
    "ffill(mine)",
    "ffill(mine, 3)",
    "count(mine, 20)",
    "bars_since(close > mine)",
    "close / lag(close, 1) - 1",
    "where(isnan(mine), 0, mine)",
    "sign(close) * abs(close) ** 0.5",
]


def test_texts_read_as_people_write_them(market):
    x, mine = market.close, market.mine
    features = [
        x.argmin(10), x.ts_quantile(20, 0.9), x.median(20), mine.ffill(), mine.ffill(3), mine.count(20),
        f.bars_since(x > mine), x.returns(), mine.fill(0), x.signed_power(0.5),
    ]  # fmt: skip
    assert [feature.text() for feature in features] == TEXTS
    for text, feature in zip(TEXTS, features, strict=True):
        assert market.expression(text).node is feature.node
    assert market.expression("ffill(mine, None)").node is mine.ffill().node
    assert market.expression("returns(close, n=5)").node is x.returns(5).node


def test_open_settings_bind_to_the_values_that_would_have_been_written(market):
    q, limit, window = f.symbol("q", Float(0, 1)), f.symbol("limit", Int(0, 9)), f.symbol("window", Int(1, 300))
    mine = market.mine
    feature = mine.ffill(limit).ts_quantile(window, q) + mine.count(window)
    program, memo = f.Program.of(feature), f.Memo(10**8)
    for given in (
        {"q": 0.25, "limit": 2, "window": 5},
        {"q": 1, "limit": 0, "window": 7},
        {"q": 0, "limit": 1, "window": 1},
    ):
        shut = mine.ffill(given["limit"]).ts_quantile(given["window"], given["q"]) + mine.count(given["window"])
        assert program.evaluate(market, given).tobytes() == shut.values().tobytes()
        assert program.evaluate(market, given, memo).tobytes() == shut.values().tobytes()
    for wrong in ({"q": 2}, {"q": -0.5}, {"q": 1.0001}):
        with pytest.raises(InputError, match="`0 <= q <= 1` must hold"):
            program.evaluate(market, {"limit": 1, "window": 3, **wrong})


def test_infinities_are_ordered_and_forgotten():
    x = np.array([[1.0], [np.inf], [2.0], [-np.inf], [3.0], [5.0], [4.0]])
    m = Market.build(times=np.arange(1, 8) * 86_400 * 10**9, assets=("A",), panels={"x": x})
    for feature in (
        m.x.ts_rank(2),
        m.x.argmax(2),
        m.x.median(2),
        m.x.ts_quantile(3, 0.2),
        m.x.decay_linear(2),
        m.x.product(2),
    ):
        np.testing.assert_allclose(feature.values(), slow_values(feature.node, m.panels), rtol=1e-15)
        assert np.isfinite(feature.values()[-1]).all()
    np.testing.assert_array_equal(m.x.median(2).values()[:, 0], [NAN, np.inf, np.inf, -np.inf, -np.inf, 4, 4.5])
