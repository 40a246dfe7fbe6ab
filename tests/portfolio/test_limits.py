"""Inverse volatility, target volatility, caps, bands and calendars beside pandas, and as a strategy meets them."""

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable import portfolio as p
from knowable.errors import InputError, KnowableError, UnknownNameError

MISTAKES = {
    "`band >= 0` must hold for a finite number, but band=-1, in drift_band(close > 0, close, ...).": (
        lambda m: p.drift_band(m.close > 0, m.close, band=-1)
    ),
    "`price` must be prices, such as m.close, but it is the returns close / lag(close, 1) - 1, in risk_parity": (
        lambda m: p.risk_parity(m.close.returns(), 60)
    ),
    "`band <= 1` must hold, but band=2, in drift_band(": lambda m: p.drift_band(m.close > 0, m.close, band=2),
    "turnover=0, in limit_turnover(close > 0, close, ...).": (
        lambda m: p.limit_turnover(m.close > 0, m.close, turnover=0)
    ),
    "'monthend' in rebalance(close > 0, ...). Did you mean 'month_end'?": lambda m: p.rebalance(
        m.close > 0, "monthend"
    ),
    "risk_aversion=0, in mean_variance(lag(close, 5), close, ...).": (
        lambda m: p.mean_variance(m.close.lag(5), m.close, 60, risk_aversion=0)
    ),
    "Unknown covariance 'ledoit' in mean_variance(close, ...).": (
        lambda m: p.mean_variance(None, m.close, 60, net=1.0, covariance="ledoit")
    ),
    "max_weight=20 and gross=1, in mean_variance. It is a fraction of equity": (
        lambda m: p.mean_variance(m.close, m.close, 60, max_weight=20)
    ),
    "Unknown covariance 'sampl' in risk_parity(close, ...).": lambda m: p.risk_parity(m.close, 60, covariance="sampl"),
    "volatility=15, in target_volatility(close > 0, close, ...). It is a fraction a year": (
        lambda m: p.target_volatility(m.close > 0, m.close, volatility=15, window=60)
    ),
    "Unknown period 'monthend' in inverse_volatility(close, ...).": (
        lambda m: p.inverse_volatility(m.close, 60, every="monthend")
    ),
}


@pytest.mark.parametrize("says", MISTAKES)
def test_an_error_shows_the_call_as_it_was_written(market, says):
    with pytest.raises(KnowableError) as caught:
        MISTAKES[says](market)
    assert says in str(caught.value)


def test_inverse_volatility_agrees_with_pandas(prices, market):
    calm = 1 / prices.pct_change().rolling(30).std()
    expected = calm.div(calm.sum(axis=1, min_count=1), axis=0)
    pd.testing.assert_frame_equal(
        p.inverse_volatility(market.close, 30).frame(), expected, check_names=False, check_freq=False, rtol=1e-9
    )


def test_only_what_is_selected_is_held_and_nothing_where_nothing_is(prices, market):
    high = market.close > market.close.mean(20)
    values = p.inverse_volatility(market.close, 30, of=high).values()
    chosen = (prices > prices.rolling(20).mean()).to_numpy()
    assert np.isnan(values[:30]).all()
    assert (values[30:][~chosen[30:]] == 0).all()
    totals = values[30:].sum(axis=1)
    assert (np.isclose(totals, 1) | (totals == 0)).all()
    none = p.inverse_volatility(market.close, 30, of=market.close < 0).values()
    assert (none[30:] == 0).all()
    assert (p.risk_parity(market.close, 30, of=market.close < 0).values()[30:] == 0).all()
    assert (p.mean_variance(market.close, market.close, 30, of=market.close < 0).values()[30:] == 0).all()


def test_risk_parity_holds_what_its_rebalance_says_and_contributes_equally(prices, market):
    made = p.risk_parity(market.close, 60, covariance="sample", every="month_end").frame()
    returns = prices.pct_change()
    last_of_month = prices.groupby(prices.index.to_period("M")).tail(1).index[:-1]
    changed = made.index[
        (made.diff().abs().sum(axis=1) > 0) | (made.notna().any(axis=1) & made.shift().isna().all(axis=1))
    ]
    assert set(changed) <= set(last_of_month)
    assert len(changed) > 15
    for label in changed:
        window = returns.loc[:label].iloc[-60:]
        weights = made.loc[label].to_numpy()
        parts = weights * (window.cov().to_numpy() @ weights)
        np.testing.assert_allclose(parts, parts.mean(), rtol=1e-9)


def test_a_budget_says_how_much_of_the_risk_each_carries(prices, market):
    budget = market.sector + 1
    values = p.risk_parity(market.close, 60, budget=budget, covariance="sample").values()[-1]
    parts = values * (prices.pct_change().iloc[-60:].cov().to_numpy() @ values)
    np.testing.assert_allclose(parts / parts.sum(), (np.arange(12) % 3 + 1) / 24, rtol=1e-9)


def test_target_volatility_is_reached_by_what_the_weights_would_have_earned(prices, market):
    raw = p.inverse_volatility(market.close, 30)
    made = p.target_volatility(raw, market.close, volatility=0.08, window=60, max_leverage=5).frame()
    returns = prices.pct_change()
    for t in (80, 200, 499):
        earned = returns.iloc[t - 59 : t + 1] @ made.iloc[t]
        assert earned.std() * np.sqrt(252) == pytest.approx(0.08, rel=1e-9)
    capped = p.target_volatility(raw, market.close, volatility=5.0, window=60, max_leverage=1.5).frame()
    np.testing.assert_allclose(capped.iloc[60:].abs().sum(axis=1), 1.5, rtol=1e-12)
    assert made.iloc[:60].isna().all(axis=None)


def test_a_flat_portfolio_stays_flat_and_one_without_opinion_has_none(market):
    flat = 0.0 * market.close
    assert (p.target_volatility(flat, market.close, volatility=0.1, window=20).values() == 0).all()
    unsure = market.close / 0 * 0  # NaN everywhere
    assert np.isnan(p.target_volatility(unsure, market.close, volatility=0.1, window=20).values()).all()


def test_caps_of_groups_agree_with_pandas(prices, market):
    raw = p.inverse_volatility(market.close, 30)
    frame, codes = raw.frame(), np.arange(12) % 3
    totals = frame.T.groupby(codes).transform("sum").T
    expected = frame * (0.3 / totals).clip(upper=1)
    made = p.cap_groups(raw, market.sector, 0.3).frame()
    np.testing.assert_allclose(made, expected, rtol=1e-12)
    none = market.close / 0 * 0
    assert p.cap_groups(raw, none, 0.01).values().tobytes() == raw.values().tobytes()


def test_a_cap_leaves_cash_or_spreads(market):
    raw = p.inverse_volatility(market.close, 30)
    most = 0.09
    plain, spread = p.cap(raw, most).frame().iloc[30:], p.cap(raw, most, spread=True).frame().iloc[30:]
    assert plain.max(axis=None) == spread.max(axis=None) == most
    assert (plain.sum(axis=1) < 1).all()
    np.testing.assert_allclose(spread.sum(axis=1), 1, rtol=1e-12)
    by_asset = p.cap(raw, 0.05 + 0.05 * market.sector).frame().iloc[30:]
    assert (by_asset <= 0.05 + 0.05 * (np.arange(12) % 3) + 1e-15).all(axis=None)


def test_a_cap_that_is_a_feature_never_turns_a_weight_and_a_missing_one_gives_no_opinion(market):
    raw, below, missing = p.inverse_volatility(market.close, 30), 0.0 * market.close - 0.1, 0.0 * market.close / 0.0
    for capped in (lambda most: p.cap(raw, most), lambda most: p.cap_groups(raw, market.sector, most)):
        assert (capped(below).values()[30:] == 0.0).all()
        assert np.isnan(capped(missing).values()).all()


def test_the_account_holds_what_a_band_thinks_it_does(market):
    class Banded(kn.Strategy):
        """Equal weights, traded back when they are a point off; some cash, so that buys need not wait for sales."""

        rebalance = "bar"

        def weights(self, m):
            return p.drift_band(0.0 * m.close + 0.8 / 12, m.close, band=0.01)

    result = kn.backtest(Banded(), market, fill="close")
    value = result.positions * market.close.frame()
    held = value.div(result.equity, axis=0)
    asked, off = Banded().weights(market).frame(), (held - 0.8 / 12).abs()
    assert 12 < len(result.orders) < 400
    assert off[asked.notna()].max(axis=None) < 1e-9  # fills at the deciding close, without costs
    assert 0.008 < off[asked.isna()].max(axis=None) <= 0.01 + 1e-9


def test_a_turnover_limit_builds_a_portfolio_by_and_by(market):
    made = p.limit_turnover(0.0 * market.close + 1 / 12, market.close, turnover=0.25).values()
    np.testing.assert_allclose(made[:4].sum(axis=1), [0.25, 0.5, 0.75, 1.0], atol=0.01)
    monthly = p.limit_turnover(0.0 * market.close + 1 / 12, market.close, turnover=0.25, every="month_end").values()
    assert np.isfinite(monthly).all(axis=1).sum() == np.isfinite(monthly).any(axis=1).sum() == 23


@pytest.mark.parametrize("every", ["friday", "month_start", 7, ["2022-03-15", "2022-06-20"], "2022-03-15 2022-06-20"])
def test_calendars_of_a_strategy_and_of_a_feature_trade_on_the_same_bars(every, market):
    calm = p.inverse_volatility(market.close, 30)

    class ByRule(kn.Strategy):
        """The strategy's own calendar."""

        rebalance = every

        def weights(self, m):
            return calm

    class ByFeature(kn.Strategy):
        """The same within the weights."""

        def weights(self, m):
            return p.rebalance(calm, every)

    one, other = (kn.backtest(each(), market, fill="next_close") for each in (ByRule, ByFeature))
    assert len(one.orders) > 12
    assert one.orders["fill_time"].tolist() == other.orders["fill_time"].tolist()
    assert one.equity.tolist() == other.equity.tolist()
    if isinstance(every, list):
        assert sorted(set(one.orders["decision_time"].dt.strftime("%Y-%m-%d"))) == ["2022-03-15", "2022-06-17"]


def test_dates_serve_a_sweep(market):
    class Dated(kn.Strategy):
        """Trades on two days."""

        window = kn.Int(10, 60)
        rebalance = ("2022-03-15", "2022-06-20")

        def weights(self, m):
            return p.inverse_volatility(m.close, self.window)

    table = kn.sweep(Dated, market, grid={"window": [20, 30]}, fill="next_close")
    alone = kn.backtest(Dated(window=30), market, fill="next_close")
    assert table.set_index("window").loc[30, "total_return"] == alone.metrics["total_return"]


def test_wrong_arguments_say_what_is_expected(market):
    close, w = market.close, p.inverse_volatility(market.close, 30)
    for call, message in [
        (lambda: p.inverse_volatility(close, 1), "`window >= 2` returns are needed for a deviation, but window=1"),
        (lambda: p.inverse_volatility(close.frame(), 20), "`inverse_volatility` needs a feature, such as market.close"),
        (lambda: p.inverse_volatility(close, 20, of="all"), "`of` says on each bar which assets may be held"),
        (lambda: p.target_volatility(w, close, volatility=-1, window=20), "`volatility > 0` must hold"),
        (lambda: p.target_volatility(w, close, volatility=0.1, window=20, max_leverage=0), "`max_leverage > 0` must"),
        (lambda: p.target_volatility(w, close, volatility=0.1, window=20, bars_per_year="d"), "`bars_per_year > 0`"),
        (lambda: p.cap(w, 0), "`max_weight > 0` must hold for a finite number, but max_weight=0, in cap"),
        (lambda: p.cap(w, 0.1, spread="yes"), "`spread` must be True or False"),
        (lambda: p.cap(w, w, spread=True), "the cap must be one number"),
        (lambda: p.cap_groups(w, {"AAPL": 1}, 0.2), "`groups` must be a feature that holds a number for each group"),
        (
            lambda: p.drift_band(w, close, band=-0.1),
            "`band >= 0` must hold for a finite number, but band=-0.1, in drift_band",
        ),
        (lambda: p.limit_turnover(w, close, turnover=0), "`turnover > 0` must hold"),
        (lambda: p.rebalance(w, 2.5), "`every` must be a word such as 'month_end', a whole number of bars, or dates"),
    ]:
        with pytest.raises(InputError, match=message.replace("(", r"\(")):
            call()
    with pytest.raises(AttributeError, match="Unknown function 'inverse_vol' in kn.portfolio. Did you mean 'inverse_v"):
        p.inverse_vol(close, 30)
    with pytest.raises(UnknownNameError, match="Did you mean 'friday'"):
        p.rebalance(w, "fryday")
