"""What a result derives from its fills: exposure, excursions of trades, its chart; by hand tables and laws."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import ShapeError, UnknownNameError

DAYS = pd.bdate_range("2024-01-01", periods=6)
#              0    1    2    3    4    5
OPEN = [100, 100, 104, 108, 100, 96]
HIGH = [101, 106, 112, 110, 101, 97]
LOW = [99, 97, 103, 99, 94, 95]
CLOSE = [100, 104, 108, 100, 96, 96]


def market(*, with_range: bool = True) -> kn.Market:
    fields = {"open": OPEN, "close": CLOSE} | ({"high": HIGH, "low": LOW} if with_range else {})
    return kn.Market.from_frames(**{n: pd.DataFrame({"A": np.array(v, float)}, index=DAYS) for n, v in fields.items()})


def held(weights: list[float]) -> kn.Strategy:
    class Held(kn.Strategy):
        def weights(self, m):
            return np.array(weights)[:, None]

    return Held()


def test_excursions_of_a_long_and_a_short_trade_by_hand():
    """Decided on bar 0, in at the open of 1; decided on 3, turned round at the open of 4; out is bar 5's open."""
    result = kn.backtest(held([0.5, 0.5, 0.5, -0.5, 0.0, 0.0]), market(), size_at="fill")
    long, short = result.trades.to_dict("records")
    assert (long["entry_price"], long["exit_price"], long["bars"]) == (100, 100, 3)
    assert long["mae"] == pytest.approx(-0.03), "the low of bar 1; the low of bar 4 comes after its open"
    assert long["mfe"] == pytest.approx(0.12)
    assert (short["entry_price"], short["exit_price"], short["bars"]) == (100, 96, 1)
    assert short["mae"] == pytest.approx(-0.01)
    assert short["mfe"] == pytest.approx(0.06)


def test_an_entry_at_the_close_has_no_part_in_its_bar():
    result = kn.backtest(held([0.5, 0.5, 0.0, 0.0, 0.0, 0.0]), market(), fill="next_close")
    (trade,) = result.trades.to_dict("records")
    assert (trade["entry_price"], trade["exit_price"]) == (104, 100)
    assert trade["mae"] == pytest.approx(99 / 104 - 1)
    assert trade["mfe"] == pytest.approx(112 / 104 - 1)
    closes = kn.backtest(held([0.5, 0.5, 0.0, 0.0, 0.0, 0.0]), market(with_range=False), fill="next_close")
    assert closes.trades["mfe"].iloc[0] == pytest.approx(108 / 104 - 1), "without highs, by closes"


def random_result(seed: int = 0) -> kn.Result:
    rng = np.random.default_rng(seed)
    index = pd.bdate_range("2020-01-01", periods=200)
    close = pd.DataFrame(100 * np.exp(rng.normal(0, 0.02, (200, 3)).cumsum(0)), index=index, columns=list("ABC"))
    close = close.mask(rng.random(close.shape) < 0.05)
    wanted = rng.choice([-0.3, 0.0, 0.3], (200, 3))

    class Random(kn.Strategy):
        def weights(self, m):
            return wanted

    market = kn.Market.from_frames(close=close, missing="allow")
    return kn.backtest(Random(), market, fill="next_close", costs=kn.Costs(fee_bps=5))


def test_equity_is_cash_and_positions_and_exposure_says_their_parts():
    result = random_result()
    closes = pd.DataFrame(result.prices["close"], result.index, result.positions.columns).ffill().fillna(0.0)
    value = result.positions * closes
    np.testing.assert_allclose(result.cash + value.sum(axis=1), result.equity, rtol=1e-12)
    exposure = result.exposure
    np.testing.assert_allclose(exposure["net"], value.sum(axis=1) / result.equity, atol=1e-12)
    np.testing.assert_allclose(exposure["gross"], value.abs().sum(axis=1) / result.equity, atol=1e-12)
    assert (exposure["short"] <= 0).all()
    assert (exposure["long"] >= 0).all()
    np.testing.assert_allclose(exposure["long"] - exposure["short"], exposure["gross"], atol=1e-12)


def test_positions_are_the_sums_of_the_fills():
    result = random_result(1)
    filled = result.fills
    assert 0 < len(filled) == result.record.n_fills < len(result.orders)
    signed = filled["size"].where(filled["side"] == "buy", -filled["size"])
    table = signed.groupby([filled["fill_time"], filled["asset"]]).sum().unstack().reindex(result.index).fillna(0.0)
    np.testing.assert_allclose(result.positions, table.cumsum()[list("ABC")], atol=1e-9)


def test_what_was_against_a_trade_is_no_gain_and_its_end_lies_between():
    trades = random_result(2).trades
    assert len(trades) > 50
    assert (trades["mae"] <= 0).all()
    assert (trades["mfe"] >= 0).all()
    way = np.sign(trades["size"]) * (trades["exit_price"] / trades["entry_price"] - 1)
    assert (way >= trades["mae"] - 1e-12).all()
    assert (way <= trades["mfe"] + 1e-12).all()


def test_a_name_that_a_result_has_not_is_told_with_what_to_ask_instead():
    result = random_result()
    for name, says in (
        ("ordres", "Did you mean 'orders'"),
        ("sharpe", r"result.metrics\['sharpe'\]"),
        ("omega", r"result.stats\(\)\['omega'\]"),
        ("beta", r"result.stats\(benchmark\)\['beta'\]"),
        ("benchmark", "give one to stats, compare, plot or report"),
    ):
        with pytest.raises(AttributeError, match=says):
            getattr(result, name)
    assert copy.copy(result).metrics == result.metrics
    with pytest.raises(UnknownNameError, match=r"(?s)takes no `benchmark`.*result.stats\('buy_and_hold'\)"):
        kn.backtest(object(), None, benchmark="A")


def test_what_other_results_have_is_told_where_it_is_here():
    for name, says in (
        ("pnl", "result.trades['pnl'] by trade"),
        ("weights", "result.exposure what they are of equity"),
    ):
        with pytest.raises(AttributeError, match=f"A result has no '{name}': ") as caught:
            getattr(random_result(), name)
        assert says in str(caught.value)


def test_a_name_that_a_mapping_of_a_result_has_not_is_told_with_the_nearest():
    result = random_result()
    for ask, says in (
        (lambda: result.metrics["shrpe"], "Unknown metric 'shrpe' in the result. Did you mean 'sharpe'?"),
        (lambda: result.metrics["alpha"], "'alpha' is no metric; the figure is result.stats(benchmark)['alpha']."),
        (
            lambda: result.metrics["ulcer_index"],
            "'ulcer_index' is no metric; the figure is result.stats()['ulcer_index'].",
        ),
        (lambda: result.stats()["shrpe"], "Unknown figure 'shrpe'. Did you mean 'sharpe'?"),
        (lambda: result.params["lokback"], "Unknown parameter 'lokback' in Random. There are none yet."),
    ):
        with pytest.raises(KeyError) as caught:
            ask()
        assert str(caught.value) == says
        assert isinstance(caught.value, UnknownNameError)
    assert result.metrics.get("shrpe") is None
    assert "shrpe" not in result.metrics
    assert copy.copy(result).metrics == dict(result.metrics)
    assert result.metrics | {"mine": 1.0} == {"mine": 1.0} | result.metrics == {**result.metrics.copy(), "mine": 1.0}
    with pytest.raises(TypeError):
        result.metrics["sharpe"] = 3.0


def test_a_chart_shows_the_account_and_an_assets_fills():
    result = random_result()
    plain = result.plot()
    assert [trace.name for trace in plain.data] == ["Strategy", "Below the peak", "Gross", "Net"]
    np.testing.assert_allclose(plain.data[0].y, result.equity)
    with_asset = result.plot(result, asset="B")
    names = [trace.name for trace in with_asset.data]
    assert names == ["Strategy", "Benchmark", "Below the peak", "Gross", "Net", "B", "Bought", "Sold"]
    bought = with_asset.data[names.index("Bought")]
    orders = result.orders[
        (result.orders["asset"] == "B") & (result.orders["side"] == "buy") & (result.orders["size"] > 0)
    ]
    np.testing.assert_allclose(bought.y, orders["price"])
    assert list(bought.x) == orders["fill_time"].dt.strftime("%Y-%m-%d").tolist()
    domains = [with_asset.layout[axis].domain for axis in ("yaxis", "yaxis2", "yaxis3", "yaxis4")]
    assert all(low[0] > high[1] for low, high in itertools.pairwise(domains)), "none covers another"
    with pytest.raises(UnknownNameError, match="no asset 'D'|'D'"):
        result.plot(asset="D")
    with pytest.raises(ShapeError, match="no value by"):
        result.plot(result.equity.iloc[1:])
