"""What a market's actions, currencies and contracts do to an account, in tables worked by hand."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.backtest.result import Result
from knowable.backtest.settings import Settings
from knowable.backtest.simulate import score, simulate
from knowable.data.market import Market
from knowable.data.market_actions import MarketActions
from knowable.errors import DataError, InputError, UnknownNameError
from knowable.metrics.definitions import METRICS

DAYS = pd.bdate_range("2020-01-01", periods=8)
nan = np.nan


class Bought(kn.Strategy):
    """Hold from the first bar on, decided once."""

    size = kn.Float(0.0, 9.0, default=0.5)

    def weights(self, m):
        return m.close * 0.0 + self.size


def explained(result: Result, *, marked: bool = True) -> None:
    """Equity is cash and positions; tables that never look at equity or cash add up to their changes."""
    money = result.prices.get("money", 1.0)
    worth = (result.positions * np.nan_to_num(pd.DataFrame(result.prices["close"] * money).ffill())).to_numpy()
    paid = result.prices["funded"] if "funded" in result.prices else np.ones_like(worth)
    size = 1e-9 * (1.0 + np.abs(worth).sum(axis=1) + np.abs(result.equity))
    assert not marked or (np.abs(result.equity - result.cash - (worth * paid).sum(axis=1)) < size).all()
    for table, whole in ((result.attribution, result.equity), (result.cash_flows, result.cash)):
        change = np.diff(whole.to_numpy(), prepend=result.settings.cash)
        assert (np.abs(table.sum(axis=1) - change) < size).all()
    total = result.contributions["net"].sum() + result.attribution["interest"].sum()
    total -= result.attribution["margin_interest"].abs().sum()
    assert total == pytest.approx(result.equity.iloc[-1] - result.settings.cash, abs=float(size.max()))


def frame(columns: dict[str, list[float]]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=DAYS[:n], dtype=float)


def quoted(close: dict[str, list[float]], **fields: dict[str, list[float]]) -> Market:
    prices = frame(close)
    given = {name: frame(values) for name, values in fields.items()}
    return Market.from_frames(close=prices, open=given.pop("open", prices), missing="allow", **given)


def with_actions(market: Market, *rows: dict) -> Market:
    """The market as a store gives it: raw prices beside, and actions as rows."""
    plain = {"ratio": nan, "amount": nan, "currency": None, "successor": -1, "successor_id": None, "known_time": 0}
    last = {j: int(np.flatnonzero(~np.isnan(market.final["close"][:, j]))[-1]) for j in range(market.n_assets)}
    full = [
        {**plain, "asset": 0, "last_row": last[row.get("asset", 0)], "event_time": int(market.times[row["row"]]), **row}
        for row in rows
    ]
    raw = {f"raw_{name}": values for name, values in market.panels.items() if name in ("open", "high", "low", "close")}
    return Market.build(
        times=market.times,
        assets=market.assets,
        panels={**market.panels, **raw},
        actions=MarketActions.of(full),
        adjust="total_return",
    )


def test_an_asset_in_euro_is_bought_at_the_last_rate_known_and_valued_at_the_bars_own():
    """5 shares at 100 euro at 1.00 are 500; the rate is 1.10, 1.20, 1.25 after. Sold at 121 euro, at 1.20."""
    market = quoted({"SAP": [100, 100, 110, 121, 121]})
    rates = pd.DataFrame({"EUR": [1.0, 1.1, 1.2, 1.25, 1.3]}, index=market.index)
    market = market.with_currencies({"SAP": "EUR"}, rates=rates, base="USD")
    weights = np.array([[0.5], [nan], [0.0], [nan], [nan]])
    result = simulate(weights, np.ones(5, bool), market, Settings(cash=1000.0))
    assert result.equity.tolist() == pytest.approx([1000, 500 + 550, 500 + 660, 500 + 5 * 121 * 1.2, 1226])
    assert result.orders["price"].tolist() == pytest.approx([100.0, 121.0])
    trade = result.trades.iloc[0]
    assert (trade["entry_price"], trade["exit_price"], trade["pnl"]) == pytest.approx((100.0, 121.0, 226.0))
    assert trade["mfe"] == pytest.approx(0.21)
    explained(result)
    [figures] = score([weights], np.ones(5, bool), market, Settings(cash=1000.0)).metrics
    assert dict(zip(METRICS, figures.tolist(), strict=True)) == pytest.approx(dict(result.metrics), nan_ok=True)


def test_where_an_asset_has_no_price_its_last_one_counts_at_the_rate_of_the_bar():
    """5 shares at 100 euro at 1.00; then Frankfurt is shut for two bars, and the euro goes on to 1.20 and 1.25; on the
    second of them the shares are split into 10 at 50.
    """
    market = quoted({"SAP": [100, 100, nan, nan, 55]}, open={"SAP": [100, 100, nan, nan, 55]})
    rates = pd.DataFrame({"EUR": [1.0, 1.1, 1.2, 1.25, 1.3]}, index=market.index)
    market = market.with_currencies({"SAP": "EUR"}, rates=rates, base="USD")
    market = with_actions(market, {"row": 3, "type": "split", "ratio": 2.0})

    class Signals(kn.Strategy):
        def signals(self, m):
            return kn.Signals(entry=m.close > 0.0, size=0.5)

    class Bars(kn.Strategy):
        def on_bar(self, bar, account):
            if bar.row == 0:
                account.target(0, 0.5)

    for strategy in (Bought(), Signals(), Bars()):
        result = kn.backtest(strategy, market, cash=1000.0)
        assert result.equity.tolist() == pytest.approx([1000, 500 + 550, 500 + 600, 500 + 625, 500 + 10 * 55 * 1.3])
        assert result.attribution["gain"].tolist() == pytest.approx([0, 50, 50, 25, 90])
        explained(result, marked=False)  # the last quote of before a split is not what a share is worth after it
    weights = np.full((5, 1), 0.5)
    later = simulate(weights, np.ones(5, bool), market, Settings(cash=1000.0), start=2)  # sized at 100 x 1.2
    assert later.equity.tolist() == pytest.approx([1000, 1000, 1000 + 500 / 120 * 2 * 55 * (1.3 - 1.25)])


def test_a_dividend_in_euro_is_paid_at_the_last_rate_known():
    market = quoted({"SAP": [100, 100, 95, 95]}, fx={"SAP": [1.0, 1.1, 1.2, 1.2]})
    market = with_actions(market, {"row": 2, "type": "dividend", "amount": 5.0})
    result = kn.backtest(Bought(), market, cash=1000.0)
    assert result.flows[["amount", "cash"]].to_numpy().tolist() == pytest.approx(np.array([[5.0, 5 * 5.0 * 1.1]]))
    assert result.equity.iloc[-1] == pytest.approx(500 + 27.5 + 5 * 95 * 1.2)
    explained(result)


def test_prices_stay_quotes_for_features_whatever_the_currency():
    market = quoted({"SAP": [100, 100, 110]})
    rates = pd.DataFrame({"EUR": [1.0, 1.1, 1.2]}, index=market.index)
    other = market.with_currencies({"SAP": "EUR"}, rates=rates, base="USD")
    assert other.panel("close") is market.panel("close")
    assert other.fx.frame()["SAP"].tolist() == [1.0, 1.1, 1.2]


def test_currencies_that_cannot_be_known_are_refused():
    market = quoted({"SAP": [100, 100, 110], "IBM": [50, 50, 50]})
    rates = pd.DataFrame({"EUR": [1.0, nan, 1.2]}, index=market.index)
    with pytest.raises(UnknownNameError, match="currency 'EURO'"):
        market.with_currencies({"SAP": "EURO"}, rates=rates, base="USD")
    with pytest.raises(UnknownNameError, match="asset 'SAB'"):
        market.with_currencies({"SAB": "EUR"}, rates=rates, base="USD")
    with pytest.raises(DataError, match=r"`rates` of 'EUR' .* 'SAP' has a price, but it is nan"):
        market.with_currencies({"SAP": "EUR"}, rates=rates, base="USD")
    with pytest.raises(DataError, match="2 rows, the market 3 bars"):
        market.with_currencies({"SAP": "EUR"}, rates=rates.iloc[:2], base="USD")
    with pytest.raises(InputError, match=r"`currencies` maps assets .* it is 'EUR'"):
        market.with_currencies("EUR", rates=rates.ffill(), base="USD")
    once = market.with_currencies(pd.Series({"SAP": "EUR"}), rates=rates.ffill(), base="USD")
    assert once.fx.frame().to_numpy().tolist() == [[1.0, 1.0], [1.0, 1.0], [1.2, 1.0]]
    with pytest.raises(InputError, match="has currencies already"):
        once.with_currencies({"IBM": "EUR"}, rates=rates.ffill(), base="USD")


def test_a_dividend_in_a_third_currency_is_worth_what_the_rates_say():
    """On 5 shares: 6 francs at 0.8 dollars, 1 dollar, 2 of its own euro at 1.25; then a yen of unknown worth."""
    market = quoted({"SAP": [100, 100, 95, 95, 95, 95]})
    paid = zip((2, 3, 4, 5), (6.0, 1.0, 2.0, 1.0), ("CHF", "USD", "EUR", "JPY"), strict=True)
    market = with_actions(
        market, *({"row": t, "type": "dividend", "amount": a, "currency": c, "foreign": 1} for t, a, c in paid)
    )
    rates = pd.DataFrame({"EUR": [1.25] * 6, "CHF": [1.0, 0.8, nan, 9, 9, 9]}, index=market.index)
    market = market.with_currencies({"SAP": "EUR"}, rates=rates, base="USD")
    result = kn.backtest(Bought(), market, cash=1250.0)
    assert result.flows["cash"].tolist() == pytest.approx([5 * 6 * 0.8, 5 * 1.0, 5 * 2 * 1.25])
    assert result.flows["amount"].tolist() == pytest.approx([6 * 0.8 / 1.25, 1 / 1.25, 2.0])
    assert any("its amount is in JPY" in said for said in result.warnings)


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("fx", [1.0, nan, 1.0], "a rate above 0 wherever"),
        ("fx", [1.0, -1.0, 1.0], "is -1 at"),
        ("multiplier", [50.0, 0.0, 50.0], "a number above 0"),
        ("multiplier", [50.0, 50.0, 25.0], "Another contract is another asset"),
        ("funded", [1.0, 0.5, 1.0], "settled daily"),
        ("funded", [1.0, 0.0, 0.0], "the same on all bars"),
        ("roll", [nan, nan, 10.5], "a difference of prices in points"),
        ("roll", [nan, -10.0, nan], "a difference of prices in points"),
    ],
)
def test_fields_of_money_are_checked_where_they_enter(field, values, words):
    with pytest.raises(DataError, match=words):
        quoted({"A": [10, 10, 10]}, **{field: {"A": values}})


def test_a_multiplier_may_be_a_number_or_one_for_each_asset():
    prices = frame({"ES": [10, 11, 12], "KO": [5, 6, 7]})
    for given in ({"ES": 50}, pd.Series({"ES": 50.0, "KO": 1.0})):
        market = Market.from_frames(close=prices, multiplier=given, funded={"ES": 0})
        assert market.multiplier.frame().to_numpy().tolist() == [[50.0, 1.0]] * 3
        assert market.funded.frame().to_numpy().tolist() == [[0.0, 1.0]] * 3
    assert Market.from_frames(close=prices, multiplier=5).multiplier.frame().to_numpy().tolist() == [[5.0, 5.0]] * 3
    assert Market.from_frames(close=prices["ES"], funded=0).funded.frame().to_numpy().tolist() == [[0.0]] * 3
    with pytest.raises(UnknownNameError, match="asset 'NQ' in multiplier="):
        Market.from_frames(close=prices, multiplier={"NQ": 20})
    with pytest.raises(InputError, match="`funded` of 'ES' must be a number, but it is 'no'"):
        Market.from_frames(close=prices, funded={"ES": "no"})


def test_a_future_of_50_a_point_is_not_paid_for_and_rolls_without_gain():
    """Equity 10,000, weight 5: a contract at 100 is 5,000, so 10 are asked for. 2 points up, a roll 3 dearer, 1 up.

    Each of the roll's legs costs half a spread of 10 bps and 2.5 a contract.
    """
    market = quoted(
        {"ES": [100, 100, 102, 106, 106]}, open={"ES": [100, 100, 101, 105, 106]}, multiplier={"ES": [50.0] * 5},
        funded={"ES": [0.0] * 5}, roll={"ES": [nan, nan, nan, 3.0, nan]},
    )  # fmt: skip
    costs = kn.Costs(half_spread_bps=10, fee_per_share=2.5)
    result = kn.backtest(Bought(size=5.0), market, cash=10_000.0, max_leverage=5.0, costs=costs)
    entry = 10 * 100 * 50 * 0.001 + 25
    roll = 10 * 50 * (102 + 105) * 0.001 + 50
    gains = np.cumsum([0, 0, 1000, 500, 0])  # 2 points, then 4 of which 3 are the roll
    want = 10_000 + gains - np.array([0, entry, entry, entry + roll, entry + roll])
    assert result.equity.tolist() == pytest.approx(want.tolist())
    assert result.cash.tolist() == pytest.approx(want.tolist())
    assert result.positions["ES"].tolist() == [0, 10, 10, 10, 10]
    assert result.orders["price"].tolist() == pytest.approx([100.1])
    assert result.flows[["kind", "amount", "cash"]].iloc[0].tolist() == ["roll", 3.0, pytest.approx(-roll)]
    assert result.cash_flows["settled"].sum() == pytest.approx(want[-1] - 10_000 + 75)
    traded = np.array([0, 10 * 100 * 50, 0, 10 * (102 + 105) * 50, 0])
    assert result.turnover.tolist() == pytest.approx((traded / want).tolist())
    explained(result)


def test_a_perpetual_on_a_clock_without_days_off_pays_funding_every_eight_hours():
    """2 coins at 100: 200 x 0.01 % at 8, 16 and 24 o'clock of the last close; longs receive where it is below 0."""
    hours = pd.date_range("2021-01-02 01:00", periods=30, freq="h", tz="UTC")
    price = pd.DataFrame({"BTC": 100.0 + np.arange(30.0)}, index=hours)
    rate = pd.DataFrame({"BTC": np.where(hours.hour % 8 == 0, 1e-4, nan)}, index=hours)
    rate.iloc[23] = -2e-4
    market = Market.from_frames(
        close=price, open=price, calendar="24/7", funding=rate, funded=pd.DataFrame({"BTC": np.zeros(30)}, index=hours)
    )

    weights = np.full((30, 1), nan)
    weights[0] = 0.2
    result = simulate(weights, np.ones(30, bool), market, Settings(cash=1000.0))
    paid = result.attribution["funding"]
    assert paid[paid != 0.0].tolist() == pytest.approx([-2 * 106 * 1e-4, -2 * 114 * 1e-4, 2 * 122 * 2e-4])
    assert [each.hour for each in paid.index[paid != 0.0]] == [8, 16, 0]
    assert result.equity.iloc[-1] == pytest.approx(1000 + 2 * 28 + paid.sum())
    assert result.flows["kind"].tolist() == ["funding"] * 3
    explained(result)


def test_a_trade_through_a_split_is_told_in_shares_of_after_it():
    """50 at 10, 100 at 5 after the split, high of 6.5, sold at 6: 100 won; at most 30 % up, never down."""
    market = with_actions(
        quoted({"A": [10, 10, 11, 6, 6, 6]}, open={"A": [10, 10, 10, 6, 6, 6]}, high={"A": [10, 11, 11, 6.5, 6, 6]},
               low={"A": [10, 10, 10, 6, 6, 6]}),
        {"row": 3, "type": "split", "ratio": 2.0},
    )  # fmt: skip
    weights = np.array([[0.5], [nan], [nan], [0.0], [nan], [nan]])
    result = simulate(weights, np.ones(6, bool), market, Settings(cash=1000.0))
    trade = result.trades.iloc[0]
    assert trade[["size", "entry_price", "exit_price", "pnl"]].tolist() == [100.0, 5.0, 6.0, 100.0]
    assert (trade["mae"], trade["mfe"]) == pytest.approx((0.0, 0.3))
    assert result.orders["size"].tolist() == [50.0, 100.0]
    explained(result)


def test_a_merger_and_a_spin_off_leave_tables_that_add_up():
    market = with_actions(
        quoted({"A": [25, 25, 25, nan, nan, nan], "B": [40, 40, 40, 44, 44, 42], "C": [nan, nan, nan, nan, 4, 5]}),
        {"row": 3, "type": "merger", "ratio": 0.5, "amount": 3.0, "successor": 1},
        {"row": 4, "type": "spinoff", "asset": 1, "ratio": 1.0, "successor": 2},
    )
    weights = np.full((6, 3), nan)
    weights[0] = [0.5, 0.0, 0.0]
    result = simulate(weights, np.ones(6, bool), market, Settings(cash=1000.0))
    assert result.equity.tolist() == [1000, 1000, 1000, 560 + 440, 560 + 440 + 40, 560 + 420 + 50]
    assert result.flows[["asset", "kind", "shares", "cash"]].to_numpy().tolist() == [
        ["A", "merger", -20.0, 60.0], ["B", "merger", 10.0, 0.0], ["C", "spin-off", 10.0, 0.0]]  # fmt: skip
    assert result.trades[["asset", "size", "entry_price", "exit_price", "pnl"]].iloc[0].tolist() == [
        "A",
        20,
        25,
        23,
        -40,
    ]
    explained(result)


def test_a_delisting_without_a_value_takes_the_setting_and_comes_after_the_last_price():
    market = with_actions(quoted({"A": [10, 10, 8, nan], "B": [1, 1, 1, 1]}), {"row": 2, "type": "delisting"})
    weights = np.full((4, 2), nan)
    weights[0] = [0.5, 0.0]
    for left, value in ((0.0, 8.0), (-0.3, 5.6), (-1.0, 0.0)):
        result = simulate(weights, np.ones(4, bool), market, Settings(cash=1000.0, delisting_return=left))
        assert result.equity.tolist() == pytest.approx([1000, 1000, 900, 500 + 50 * value])
        order = result.orders.iloc[-1]
        assert (order["reason"], order["size"], order["price"]) == ("delisted", 50.0, pytest.approx(value))
        explained(result)
    with pytest.raises(InputError, match="delisting_return >= -1"):
        Settings(delisting_return=-1.5)


def test_what_is_held_after_its_prices_have_ended_is_said():
    close = {"A": [10, 11, nan, nan, nan, nan, nan, nan], "B": [1.0] * 8}
    sold = {"A": [0.5, 0.0, nan, nan, nan, nan, nan, nan], "B": [0.5] + [nan] * 7}
    gone = {"row": 2, "type": "delisting", "amount": 9.0}
    for market, weights, told in (
        (
            quoted(close),
            np.full((8, 2), 0.5),
            "1 of 2 positions at the last bar .* 'A', its last close is of 2020-01-02",
        ),
        (with_actions(quoted(close), gone), np.full((8, 2), 0.5), None),
        (quoted({**close, "A": [10, 11, nan, 12, 13, nan, nan, nan]}), np.full((8, 2), 0.5), None),
        (quoted(close).until(5), np.full((5, 2), 0.5), None),
        (quoted({**close, "A": [10, 11, 12, *[nan] * 5]}), frame(sold).to_numpy(), None),
    ):
        said = simulate(weights, np.ones(len(weights), bool), market, Settings(cash=1000.0)).warnings
        found = [text for text in said if "have no price any more" in text]
        assert bool(found) == (told is not None), said
        assert told is None or re.search(told, found[0])


def test_what_cannot_be_booked_is_said():
    market = with_actions(
        quoted({"A": [25, 25, 25, nan], "B": [40, 40, 40, 44]}),
        {"row": 3, "type": "merger", "ratio": 0.5, "amount": 3.0, "successor_id": "ZZZ"},
        {"row": 2, "type": "spinoff", "asset": 1, "ratio": 1.0, "successor_id": "YYY"},
        {"row": 1, "type": "dividend", "amount": 1.0, "currency": "EUR", "foreign": 1},
    )
    result = kn.backtest(Bought(size=0.5), market, cash=1000.0)
    told = next(text for text in result.warnings if "Not booked" in text)
    assert "1 dividend, 1 spinoff, 1 merger" in told
    assert "its amount is in EUR" in told
    assert result.flows["cash"].tolist() == [500.0]  # all of A at its last price
    worse = kn.backtest(Bought(size=0.5), market, cash=1000.0, delisting_return=-0.3)
    assert worse.flows["cash"].tolist() == [500.0]  # a takeover is no bankruptcy


def test_the_account_of_a_later_start_counts_in_shares_of_that_time():
    """The split is on a bar without a close; what was known before it is 10, and 5 after it."""
    close = {"A": [10, 10, nan, 5, 5, 5]}
    market = with_actions(quoted(close), {"row": 2, "type": "split", "ratio": 2.0})
    weights = np.full((6, 1), 0.5)
    for start in (0, 2, 3):
        result = simulate(weights, np.ones(6, bool), market, Settings(cash=1000.0), start=start)
        assert result.positions["A"].iloc[-1] == 100.0
        assert result.equity.tolist() == [1000.0] * (6 - start)
        explained(result, marked=False)  # a close of before the split is not what a share is worth on its bar


def test_weights_signals_and_bars_hold_the_same_through_actions():
    market = with_actions(
        quoted({"A": [10, 10, 11, 6, 6, 5]}, high={"A": [10, 10, 11, 6, 6, 5]}, low={"A": [10, 10, 11, 6, 6, 5]}),
        {"row": 3, "type": "split", "ratio": 2.0}, {"row": 4, "type": "dividend", "amount": 0.5},
    )  # fmt: skip

    class Signals(kn.Strategy):
        def signals(self, m):
            return kn.Signals(entry=m.close == 10.0, size=0.5, stop=0.3)

    class Bars(kn.Strategy):
        def on_bar(self, bar, account):
            if bar.close[0] == 10.0 and account.positions[0] == 0.0:
                account.target(0, 0.5)

    class Weights(kn.Strategy):
        def weights(self, m):
            return (m.close > 0) * 0.5

    want = [1000.0, 1000.0, 1050.0, 1100.0, 1150.0, 1050.0]
    for strategy in (Signals(), Bars(), Weights()):
        result = kn.backtest(strategy, market, cash=1000.0)
        assert result.equity.tolist() == want, strategy
        assert result.positions["A"].tolist() == [0, 50, 50, 100, 100, 100]
        explained(result)


def test_an_order_that_rests_follows_a_split_and_ends_with_a_delisting():
    """10 to be bought at 9 are 20 at 4.5 after two for one; what rests for the other ends with it."""
    close = {"A": [10, 10, 5, 5, 4], "B": [20, 20, 20, nan, nan]}
    market = with_actions(
        quoted(close, open=close, high=close, low={"A": [10, 10, 5, 4.6, 4], "B": [20, 20, 20, nan, nan]}),
        {"row": 2, "type": "split", "ratio": 2.0}, {"row": 3, "type": "delisting", "asset": 1, "amount": 15.0},
    )  # fmt: skip

    class Rests(kn.Strategy):
        def on_bar(self, bar, account):
            if bar.close[0] == 10.0 and not account.open_orders:
                account.order("A", 10, limit=9.0)
                account.order("B", 5, limit=12.0)

    result = kn.backtest(Rests(), market, cash=1000.0)
    assert result.positions["A"].tolist() == [0, 0, 0, 0, 20]
    assert result.cash.iloc[-1] == 1000.0 - 20 * 4.0  # it opened below the limit
    assert sorted(result.orders[["asset", "reason", "size"]].to_numpy().tolist()) == [
        ["A", "limit order", 20.0], ["B", "delisted", 0.0]]  # fmt: skip
    explained(result)
