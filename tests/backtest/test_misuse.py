"""Words of the bar and the account used as what they are not: Python takes most of it without a word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError, KnowableError, StrategyError

BARS = pd.DataFrame({"A": 100 + np.sin(np.arange(20.0)), "B": 50 + np.cos(np.arange(20.0))})
BARS.index = pd.bdate_range("2024-01-01", periods=20)


@pytest.fixture
def market() -> kn.Market:
    return kn.Market.from_frames(close=BARS, open=BARS, high=BARS + 1, low=BARS - 1)


def compares(self, bar, account):
    if account.n_open == 0:
        account.target(0, 0.5)


def takes_for_true(self, bar, account):
    if bar.row > 3 and not account.n_open:
        account.target(0, 0.5)


def stands_alone(self, bar, account):
    account.cancel_all  # noqa: B018


def compares_a_target(self, bar, account):
    while account.target != 0.5:
        account.target(0, 0.5)


def looks_into(self, bar, account):
    return bar.past["close"].mean()


def calls_an_array(self, bar, account):
    if account.positions(0) == 0:
        account.target(0, 0.5)


def calls_a_number(self, b, a):
    a.target(0, 0.5 * a.equity())


def places_a_level(self, bar, account):
    if bar.row > 1000:  # no run comes here
        account.order(0, 10, 95.0)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("on_bar", "says"),
    [
        (compares, "account.n_open is a method and does nothing until it is called: write account.n_open(asset)."),
        (takes_for_true, "account.n_open is a method"),
        (stands_alone, "write account.cancel_all(asset)."),
        (compares_a_target, "write account.target(asset, weight)."),
        (looks_into, "write bar.past(name, n_bars)."),
        (calls_an_array, "account.positions is no method: read it without brackets, as account.positions[column]."),
        (calls_a_number, "a.equity is no method: read it without brackets, as a.equity."),
        (places_a_level, "4 were given; it is account.order(asset, shares, limit=..., stop=..., trail=..., day=..."),
    ],
)
def test_what_means_nothing_is_told_before_a_bar_is_seen(market, on_bar, says, compiled) -> None:
    made = type("Made", (kn.Strategy,), {"on_bar": on_bar, "compiled": compiled})
    with pytest.raises(StrategyError) as caught:
        kn.backtest(made(), market)
    first, second = str(caught.value).split("\n")
    assert first.startswith("Made().on_bar: ")
    assert says in first
    assert second.startswith("At test_misuse.py, line ")


def test_a_method_that_a_helper_compares_says_so_too(market) -> None:
    def is_free(account):
        return account.n_open == 0

    class Made(kn.Strategy):
        def on_bar(self, bar, account):
            if is_free(account):
                account.target(0, 0.5)

    with pytest.raises(InputError, match=r"account.n_open is a method: call it, as in account.n_open\(asset\)"):
        kn.backtest(Made(), market)


def hands_a_method_on(self, bar, account):
    order = account.order
    if bar.row == 1:
        order(0, 5, limit=60.0)
        order(1, 5, limit=20.0)


def counts(self, bar, account):
    if bar.row == 1:
        account.order(0, 5, limit=60.0)
        account.order(1, 5, limit=20.0)
        account.order(1, 5, limit=30.0)
    n = 0 if bar.row < 1 else 3
    if account.n_open() != n or account.n_open(1) != n * 2 // 3:
        raise ValueError


def test_handing_a_method_on_is_nobodys_mistake(market) -> None:
    result = kn.backtest(type("Made", (kn.Strategy,), {"on_bar": hands_a_method_on})(), market)
    assert list(result.orders["reason"]) == ["still resting"] * 2


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_rests_is_counted_for_an_asset_and_for_all(market, compiled) -> None:
    result = kn.backtest(type("Made", (kn.Strategy,), {"on_bar": counts, "compiled": compiled})(), market)
    assert list(result.orders["reason"]) == ["still resting"] * 3


def brackets_by_fractions(self, bar, account):
    account.order(0, 10, stop_loss=0.05)


def a_goal_by_a_fraction(self, bar, account):
    account.order(0, 10, take_profit=0.1)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("on_bar", "says"),
    [
        (brackets_by_fractions, r"`stop_loss` is a price, but stop_loss=0.05 is less than 2% of .* 'A', 100, in"),
        (a_goal_by_a_fraction, r"A part of the price is take_profit=1.05 \* price"),
    ],
)
def test_a_fraction_given_for_a_price_is_told(market, on_bar, says, compiled) -> None:
    """It was never met, or at once, so that a position had no stop, or was sold on every bar."""
    made = type("Made", (kn.Strategy,), {"on_bar": on_bar, "compiled": compiled})
    with pytest.raises(InputError, match=says):
        kn.backtest(made(), market)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda bar, account: bar.date, "Unknown field or feature 'date' in the bar. Known: assets, close, column,"),
        (lambda bar, account: account.buy(0, 5), "The account has no 'buy': account.order(asset, shares)."),
        (lambda bar, account: account.cancel(account.order(0, 1)), "but None came: an order without a level is"),
        (lambda bar, account: bar.close > 5 or None, "Arrays of the bar and of the account are by column"),
        (lambda bar, account: bar.close.__setitem__(0, 5.0), "What the bar and the account show is read-only."),
        (lambda bar, account: account.target(0, 50), "A weight is a fraction of equity: 0.5 for fifty per cent."),
    ],
)
def test_what_others_call_it_and_what_numpy_says_is_told_in_our_words(market, ask, says) -> None:
    made = type("Made", (kn.Strategy,), {"on_bar": lambda self, bar, account: (ask(bar, account), None)[1]})
    with pytest.raises(KnowableError) as caught:
        kn.backtest(made(), market)
    assert says in str(caught.value)


def test_a_strategy_is_told_what_it_meant_to_define(market) -> None:
    with pytest.raises(StrategyError, match=r"is handed the bar first: def on_bar\(self, bar, account\)"):
        type("Swapped", (kn.Strategy,), {"on_bar": lambda self, account, bar: None})
    for wrong, meant in (("onbar", "on_bar"), ("weight", "weights"), ("signal", "signals")):
        made = type("Misspelt", (kn.Strategy,), {wrong: lambda self, *given: None})
        with pytest.raises(StrategyError, match=f"but '{wrong}'. Did you mean '{meant}'"):
            kn.backtest(made(), market)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda market: kn.Costs(fee=5), "Unknown argument 'fee' in Costs."),
        (lambda market: kn.Costs(slipage_bps=5), "Did you mean 'slippage_bps'?"),
        (lambda market: kn.Costs(5), "Costs takes each value by its name, as in Costs(fee_bps=...), but 5 came"),
        (
            lambda market: kn.Signals(entries=market.close),
            "Unknown argument 'entries' in Signals. Did you mean 'entry'?",
        ),
        (
            lambda market: kn.backtest(None, market, commission=0.001),
            "kn.backtest takes no `commission`; what trading costs goes into `costs`: costs=kn.Costs(fee_bps=...).",
        ),
    ],
)
def test_a_value_by_a_wrong_name_or_none_is_told_with_the_nearest(market, make, says) -> None:
    with pytest.raises(KnowableError) as caught:
        make(market)
    assert says in str(caught.value)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_price_that_a_merging_of_shares_left_far_below_is_no_fraction(market, compiled) -> None:
    """Ten shares merged into one, twice: what was a stop near 49 is far from 4,900, and a price all the same."""

    class Stale(kn.Strategy):
        def on_bar(self, bar, account):
            account.order(0, 1, limit=2.0)

    Stale.compiled = compiled
    far = market.with_panels({name: panel * 49.0 for name, panel in market.panels.items()})
    assert len(kn.backtest(Stale(), far).orders) > 0
