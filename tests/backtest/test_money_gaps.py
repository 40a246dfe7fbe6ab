"""Where something is missing: a rate, a close through a roll, an extreme of a bar. Tables worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.backtest.test_money import DAYS, Bought, frame, quoted, with_actions

import knowable as kn
from knowable.backtest.settings import Settings
from knowable.backtest.simulate import simulate

nan = np.nan


def test_a_dividend_before_the_first_rate_of_its_currency_is_nothing_to_who_holds_nothing():
    """A column begins with its currency on the ex-date itself, when the rate of the bar before is not known."""
    market = quoted({"A": [10, 10, 10, 10], "B": [nan, 20, 20, 20]}, fx={"A": [1] * 4, "B": [nan, 1.1, 1.1, 1.1]})
    market = with_actions(market, {"row": 1, "asset": 1, "type": "dividend", "amount": 1.0})
    result = kn.backtest(Bought(size=0.25), market, cash=1000.0)
    assert result.equity.tolist() == [1000.0] * 4
    assert result.cash_flows["dividends"].sum() == 0.0


def test_the_account_of_a_later_start_counts_a_future_at_its_new_contract():
    """No close from before the roll to after the start: 100 of the old contract are 103 of the new, and weight 1 is
    1000 / 103 contracts."""
    close = {"ES": [100, 100, nan, nan, 103, 104]}
    roll = {"ES": [nan, nan, 3, nan, nan, nan]}
    market = quoted(close, open=close, roll=roll, funded={"ES": [0] * 6})
    for start in (1, 2, 3):
        result = simulate(np.ones((6, 1)), np.arange(6) == 3, market, Settings(cash=1000.0), start=start)
        assert result.orders["size"].tolist() == [pytest.approx(1000 / 103)]


def test_a_close_that_stands_goes_through_a_roll_and_a_split_as_the_ledger_books_them():
    """100, no close on the bar that rolls by 4 and splits in two, which is known as 52; the euro stands at 1."""
    close = {"ES": [100, 100, nan, 52, 52]}
    money = {"roll": {"ES": [nan, nan, 4, nan, nan]}, "funded": {"ES": [0] * 5}, "fx": {"ES": [1] * 5}}
    market = with_actions(quoted(close, **money), {"row": 2, "type": "split", "ratio": 2.0})
    result = simulate(np.ones((5, 1)), np.arange(5) == 0, market, Settings(cash=1000.0))
    assert result.positions["ES"].tolist() == [0, 10, 20, 20, 20]
    assert result.equity.tolist() == [1000.0] * 5


@pytest.mark.parametrize("revised", [False, True])
def test_an_account_that_owes_more_than_it_has_buys_nothing_and_sells_nothing_instead(revised):
    """Ten of A short at 100; at 250 the account is worth -500, of which a half in B, bought at once at its close, would
    be a sale of five."""
    market = quoted({"A": [100, 100, 250, 250], "B": [50, 50, 50, 50]})
    if revised:
        seen = market.panel("close").copy()
        seen[1, 1] = 49.0
        market = market.with_panels({**market.panels, "close": seen}, dict(market.panels))
    weights = np.array([[-1.0, 0.0], [nan, nan], [0.0, 0.5], [nan, nan]])
    result = simulate(weights, np.ones(4, bool), market, Settings(cash=1000.0, fill="close"))
    assert set(result.orders.loc[result.orders["size"] > 0, "asset"]) == {"A"}
    assert result.positions["B"].tolist() == [0.0] * 4


class Long(kn.Strategy):
    """In on the first bar, out ten per cent below."""

    def signals(self, m):
        return kn.Signals(entry=np.arange(m.n_bars)[:, None] == 0, stop=0.1, size=1.0)


@pytest.mark.parametrize("intrabar", ["pessimistic", "ohlc", "olhc"])
def test_a_bar_without_its_low_has_been_at_its_close(intrabar):
    """Bought at 100; the third bar opens at 100 and closes at 85: it was at 90 on the way."""
    prices = {"open": [100, 100, 100, 85], "high": [100, 100, 100, 85], "low": [100, 100, nan, 85]}
    prices["close"] = [100, 100, 85, 85]
    market = kn.Market.from_frames(**{k: frame({"A": v}) for k, v in prices.items()}, missing="allow")
    result = kn.backtest(Long(), market, cash=1000.0, intrabar=intrabar)
    assert result.orders["price"].tolist() == [100.0, 90.0]
    assert result.orders["fill_time"].tolist() == [DAYS[1], DAYS[2]]


def test_a_bar_without_its_close_does_not_end_at_that_of_the_bar_before():
    """Bought at 100 euro; 105 is the best, and 94.5 the trailing stop, raised to 99 on the way to the high of 110, then
    the bar ends nowhere: not at the close of the bar before, which counts as 98 at the rate of its end."""
    prices = {"open": [100, 100, 104], "high": [100, 105, 110], "low": [100, 100, 104], "close": [100, 100, nan]}
    prices = {k: [*v, 104] for k, v in prices.items()}
    market = kn.Market.from_frames(**{k: frame({"A": v, "B": v}) for k, v in prices.items()}, missing="allow")
    rates = pd.DataFrame({"EUR": [1.0, 1.0, 0.98, 1.0]}, index=market.index)
    market = market.with_currencies({"A": "EUR", "B": "EUR"}, rates=rates, base="USD")

    class Trails(kn.Strategy):
        def signals(self, m):
            entry = (np.arange(m.n_bars)[:, None] == 0) & np.array([True, False])
            return kn.Signals(entry=entry, trail=0.1, size=1.0)

    result = kn.backtest(Trails(), market, cash=1000.0, intrabar="olhc")
    assert result.orders["reason"].tolist() == ["filled"]
