"""Costs as one number, by asset and by bar; what cannot be is refused with the reason."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.backtest.costs import Costs
from knowable.errors import InputError, UnknownNameError

BARS = pd.date_range("2024-01-01", periods=60, freq="D")
NAMES = ["A", "B", "C"]


def frames():
    rng = np.random.default_rng(3)
    close = pd.DataFrame(100 * np.exp(rng.normal(0, 0.02, (60, 3)).cumsum(axis=0)), BARS, NAMES)
    volume = pd.DataFrame(rng.uniform(1e3, 1e4, (60, 3)), BARS, NAMES)
    return {"close": close, "open": close * 1.001, "volume": volume}


class Turns(kn.Strategy):
    """A weight for each asset that changes every ten bars, one of them short."""

    def weights(self, m):
        """Fixed numbers."""
        rows = np.arange(m.n_bars)[:, None] // 10
        return np.where(rows % 2 == 0, [0.3, -0.2, 0.1], [-0.1, 0.3, 0.2])


AMOUNTS = {
    "fee_bps": 12.0, "fee_per_share": 0.02, "fee_min": 3.0, "half_spread_bps": 4.0, "slippage_bps": 3.0,
    "impact": 0.05, "borrow_bps_year": 250.0,
}  # fmt: skip


@pytest.mark.parametrize("name", AMOUNTS)
def test_one_number_a_number_for_each_asset_and_a_field_of_it_are_the_same(name):
    amount, given = AMOUNTS[name], frames()
    market = kn.Market.from_frames(**given, paid=given["close"] * 0.0 + amount)
    one, by_asset, by_bar = (
        kn.backtest(Turns(), market, costs=kn.Costs(**{name: each}))
        for each in (amount, dict.fromkeys(NAMES, amount), "paid")
    )
    assert by_asset.equity.equals(one.equity)
    assert by_bar.equity.equals(one.equity)
    column = {"half_spread_bps": "spread", "slippage_bps": "slippage", "impact": "impact", "borrow_bps_year": "borrow"}
    assert (one.costs.sum() > 0.0).to_dict() == {each: each == column.get(name, "fees") for each in one.costs.columns}


def test_a_cost_of_one_asset_and_of_one_bar_is_paid_there_only():
    given = frames()
    paid = given["close"] * 0.0
    paid.iloc[11] = 50.0  # the fills of the second decision
    market = kn.Market.from_frames(**given, paid=paid)
    by_asset = kn.backtest(Turns(), market, costs=kn.Costs(fee_bps={"A": 10, "B": 0, "C": 0}))
    assert ((by_asset.orders["fee"] > 0.0) == (by_asset.orders["asset"] == "A")).all()
    by_bar = kn.backtest(Turns(), market, costs=kn.Costs(fee_bps="paid"))
    assert by_bar.costs["fees"].to_numpy().nonzero()[0].tolist() == [11]


def test_a_sweep_sees_costs_by_bar_as_a_backtest_does():
    given = frames()
    market = kn.Market.from_frames(**given, paid=given["volume"] * 1e-3)
    costs = kn.Costs(half_spread_bps="paid", impact=0.1, cash_rate=0.03, borrow_bps_year={"A": 1, "B": 2, "C": 3})
    account = {"costs": costs, "volume_limit": 0.05, "maintenance_margin": 0.1}

    class Sized(Turns):
        """Of a size."""

        size = kn.Float(0.1, 1.0)

        def weights(self, m):
            """Scaled."""
            return self.size * Turns.weights(self, m)

    table = kn.sweep(Sized, market, grid={"size": [0.2, 0.9]}, **account)
    for row in table.to_dict("records"):
        alone = kn.backtest(Sized(size=row["size"]), market, **account)
        assert row["sharpe"] == alone.metrics["sharpe"]
    assert alone.orders["reason"].eq("volume limit").any()


UNITS = {
    "Costs(fee_bps=0.001) is next to nothing. It counts hundredths of a per cent: what is 0.001 as a fraction is 10.": (
        {"fee_bps": 0.001}
    ),
    "Costs(cash_rate=5) is 500 % a year. It is a fraction a year: 0.05 for five per cent.": {"cash_rate": 5},
    "Costs(slippage_bps=...) of 'B', 500, is 5 % of a fill.": {"slippage_bps": {"A": 3, "B": 500, "C": 0}},
    "Costs(borrow_bps_year='holes'), at most 0.4, is next to nothing.": {"borrow_bps_year": "holes"},
    "Fees, spread, slippage and impact were ": {"fee_per_share": 50},
}


@pytest.mark.parametrize("says", UNITS)
def test_a_cost_that_is_hardly_meant_so_is_told_and_taken(says):
    given = frames()
    holes = given["close"] * 0.0 + np.linspace(0.0, 0.4, len(given["close"]))[:, None]
    market = kn.Market.from_frames(**given, holes=holes)
    (said,) = [each for each in kn.backtest(Turns(), market, costs=kn.Costs(**UNITS[says])).warnings if says in each]
    assert said


def test_costs_that_markets_have_are_not_remarked_on():
    """A large future's fee, a currency's spread, a central bank's rate in a bad year, a share hard to borrow."""
    for costs in (
        kn.Costs(fee_bps=0.03, half_spread_bps=0.1, slippage_bps=0.0),
        kn.Costs(fee_bps={"A": 0.0, "B": 100, "C": 60}, borrow_bps_year=9000, cash_rate=0.5, margin_rate=0.5),
        kn.Costs(cash_rate=-0.0075, borrow_bps_year=25, half_spread_bps=150),
    ):
        said = kn.backtest(Turns(), kn.Market.from_frames(**frames()), costs=costs).warnings
        assert not [each for each in said if "Costs(" in each or "Fees, " in each]


def test_settings_survive_a_trip_through_json():
    import json
    from dataclasses import asdict

    from knowable.backtest.settings import Settings

    costs = kn.Costs(fee_bps={"A": 1.0, "B": 2.0}, half_spread_bps="spread", impact=0.1, cash_rate=-0.01)
    account = Settings(costs=costs, volume_limit=0.1, maintenance_margin=0.25)
    assert Settings.from_plain(json.loads(json.dumps(asdict(account)))) == account


@pytest.mark.parametrize(
    ("costs", "error", "says"),
    [
        (lambda: kn.Costs(fee_bps=frames()["close"]), InputError, r"a field of the market:\nmarket = Market.from_fr"),
        (lambda: kn.Costs(fee_bps={"A": 1, "B": -1}), InputError, r"`fee_bps >= 0` must hold, but fee_bps=-1 for 'B'"),
        (lambda: kn.Costs(margin_rate=-0.1), InputError, "`margin_rate >= 0` must hold"),
        (lambda: kn.Costs(cash_rate={"A": 1}), InputError, "finite number or the name of a field"),
        (lambda: kn.Costs(fee_bps=10_000), InputError, "`fee_bps < 10000` must hold.* A sale would bring nothing"),
        (lambda: kn.Costs(margin_rate=500), InputError, "`margin_rate < 100` must hold.* 0.05 for five per cent"),
    ],
)
def test_what_cannot_be_a_cost_is_refused(costs, error, says):
    with pytest.raises(error, match=says):
        costs()


@pytest.mark.parametrize(
    ("account", "error", "says"),
    [
        ({"costs": kn.Costs(fee_bps={"A": 1})}, InputError, "has no number for 2 of 3 assets: B, C"),
        ({"costs": kn.Costs(fee_bps={"A": 1, "b": 1})}, UnknownNameError, "Unknown asset 'b' in Costs"),
        ({"costs": kn.Costs(fee_bps="clos")}, UnknownNameError, "Did you mean 'close'"),
        ({"costs": kn.Costs(half_spread_bps="holes")}, InputError, "but it is nan for 'B' at 2024-01-06"),
        ({"volume_limit": 0.0}, InputError, "`volume_limit > 0` must hold"),
        ({"volume_limit": 10}, InputError, "`volume_limit <= 1` must hold.* 0.1 for ten per cent"),
        ({"maintenance_margin": 1.0}, InputError, "`0 <= maintenance_margin < 1` must hold"),
        ({"preset": "vectorbt", "volume_limit": 0.1}, InputError, "has no volume_limit"),
        ({"preset": "vectorbt", "costs": kn.Costs(fee_bps="close")}, InputError, "one number each"),
    ],
)
def test_costs_that_do_not_fit_the_market_or_the_preset_are_refused(account, error, says):
    given = frames()
    holes = given["close"] * 0.0
    holes.loc["2024-01-06", "B"] = np.nan
    with pytest.raises(error, match=says):
        kn.backtest(Turns(), kn.Market.from_frames(**given, holes=holes), **account)


def test_impact_and_limits_need_volume_and_say_so():
    given = frames()
    del given["volume"]
    for account in ({"volume_limit": 0.1}, {"costs": kn.Costs(impact=0.1)}):
        with pytest.raises(InputError, match="needs the volume of each bar"):
            kn.backtest(Turns(), kn.Market.from_frames(**given), **account)


def test_a_night_without_a_price_is_paid_for_at_the_last_rate():
    given = frames()
    given["close"].iloc[5:8, 1] = np.nan  # short since the second bar
    given["open"].iloc[5:8, 1] = np.nan
    rate = given["close"] * 0.0 + 365.0
    ending = rate.copy()
    ending.iloc[7, 1] = 730.0  # what is there counts, price or not
    by_gap, by_bar, by_number = (
        kn.backtest(
            Turns(), kn.Market.from_frames(**given, rate=panel, missing="allow"), costs=kn.Costs(borrow_bps_year=cost)
        )
        for panel, cost in ((rate, "rate"), (ending, "rate"), (rate, 365.0))
    )
    assert by_gap.costs["borrow"].tolist() == by_number.costs["borrow"].tolist()
    expected = by_number.costs["borrow"].to_numpy().copy()
    expected[7] *= 2
    assert by_bar.costs["borrow"].to_numpy()[:8] == pytest.approx(expected[:8], rel=1e-12)


def test_a_buy_that_waits_for_the_cash_of_a_limited_sale_is_told_as_volume_not_as_cash():
    given = frames()
    given["volume"]["A"] = 100.0

    class Switch(kn.Strategy):
        """From A to B."""

        def weights(self, m):
            """All in one, then all in the other."""
            return np.where(np.arange(m.n_bars)[:, None] < 20, [0.9, 0.0, 0.0], [0.0, 0.9, 0.0])

    told = kn.backtest(Switch(), kn.Market.from_frames(**given), cash=50_000.0, volume_limit=0.5).warnings
    assert "2 of 3 orders met the volume limit and waited for later bars" in " ".join(told)
    assert "cash was short" not in " ".join(told)


def test_what_each_asset_paid_to_borrow_over_a_gap_adds_up():
    given = frames()
    for name in ("open", "close"):
        given[name].iloc[5:8, 1] = np.nan
    rate = given["close"] * 0.0 + 365.0
    market = kn.Market.from_frames(**given, rate=rate, missing="allow")
    result = kn.backtest(Turns(), market, costs=kn.Costs(borrow_bps_year="rate"))
    assert result.contributions["net"].sum() == pytest.approx(result.equity.iloc[-1] - 1_000_000, rel=1e-9)


def test_costs_by_asset_stay_as_they_are_and_can_be_hashed():
    costs = Costs(fee_bps={"A": 1, "B": 2}, half_spread_bps=1)
    assert hash(costs) == hash(Costs(fee_bps={"B": 2, "A": 1}, half_spread_bps=1))
    assert pickle.loads(pickle.dumps(costs)) == copy.deepcopy(costs) == costs
    assert Costs.from_plain(json.loads(json.dumps(dataclasses.asdict(costs)))) == costs
    with pytest.raises(TypeError, match="Costs do not change"):
        costs.fee_bps["A"] = -5.0
    with pytest.raises(TypeError, match="Costs do not change"):
        costs.fee_bps.update(A=-5.0)
