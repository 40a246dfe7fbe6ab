"""Forward adjustment on real captures, held against the vendor's own adjusted closes.

The day after an ex-date the vendor's feed shows the bar before it once more, its `adj_close` lowered for the action:
``close[t] / adj_close[t - 1]`` is the vendor's total return over the ex-date, an independent witness. It comes out of
``close[t] / (close[t-1] - D)``; ours is ``(close[t] + D) / close[t-1]``. With y = D / close[t-1] and
r = close[t] / close[t-1] they differ by ``y (1 - r - y) / (1 - y)``, and so the two must agree to that.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.data.market import Market
from knowable.data.schema import Schema
from knowable.data.store import Store

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("KNOWABLE_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data" / "us-equities-2015-2017"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared data are not at {DATA}; set KNOWABLE_SHARED")

# As the companies announced them, dollars a share at the time; the splits show as jumps in the raw prices.
DIVIDENDS = {
    "AAPL": {"2015-05-07": 0.52, "2015-08-06": 0.52, "2015-11-05": 0.52, "2016-02-04": 0.52, "2016-05-05": 0.57,
             "2016-08-04": 0.57, "2016-11-03": 0.57, "2017-02-09": 0.57},
    "JNJ": {"2015-05-21": 0.75, "2015-08-21": 0.75, "2015-11-20": 0.75, "2016-02-19": 0.75, "2016-05-20": 0.80,
            "2016-08-19": 0.80, "2016-11-18": 0.80, "2017-02-24": 0.80},
    "CHD": {"2015-05-14": 0.335, "2015-08-07": 0.335, "2015-11-06": 0.335, "2016-02-11": 0.355, "2016-05-12": 0.355,
            "2016-08-11": 0.355, "2016-11-14": 0.1775, "2017-02-16": 0.19},
}  # fmt: skip
SPLITS = {
    "CHD": ("2016-09-02", 2.0),
    "CTRP": ("2015-12-02", 2.0),
    "ACLS": ("2016-07-01", 0.25),
    "BXC": ("2016-06-14", 0.1),
}
NAMES = sorted({*DIVIDENDS, *SPLITS})


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    rows = pd.read_parquet(DATA / "prices.parquet")
    return rows[rows["symbol"].isin(NAMES)].drop_duplicates().sort_values(["symbol", "date", "captured_at"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, raw: pd.DataFrame) -> Store:
    made = Store(tmp_path_factory.mktemp("store"))
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD", fields={"adj_close": "USD/share"}))
    columns = {"symbol": "entity", "date": "event_time", "captured_at": "known_time"}
    made.append("bars", raw, columns=columns, tz="UTC")
    made.create("actions", Schema.actions(calendar="XNYS", known_basis="assumed_lag"))
    deeds = [(s, day, "dividend", np.nan, d) for s, held in DIVIDENDS.items() for day, d in held.items()]
    deeds += [(s, day, "split", ratio, np.nan) for s, (day, ratio) in SPLITS.items()]
    frame = pd.DataFrame(deeds, columns=["entity", "event_time", "type", "ratio", "amount"]).assign(currency="USD")
    frame["known_time"] = pd.to_datetime(frame["event_time"]).dt.tz_localize("UTC") - pd.Timedelta("10D")
    assert made.append("actions", frame).accepted == len(deeds)
    return made


@pytest.fixture(scope="module")
def market(store: Store) -> Market:
    return store.market("bars", start="2015-04-01", end="2017-03-31", decide="before_next_open", actions="actions")


def test_each_ex_date_has_the_return_the_vendors_adjusted_close_says(market: Market, raw: pd.DataFrame) -> None:
    days = pd.Index(market.index.strftime("%Y-%m-%d"))
    ours, plain = market.final_panel("close"), market.final_panel("raw_close")
    witnesses = 0
    deeds = [(s, day, d, 1.0) for s, held in DIVIDENDS.items() for day, d in held.items()]
    deeds += [(s, day, 0.0, ratio) for s, (day, ratio) in SPLITS.items()]
    for symbol, day, amount, ratio in deeds:
        t, j = days.get_loc(day), market.assets.index(symbol)
        bar = raw[(raw["symbol"] == symbol) & (raw["date"] == days[t - 1])].iloc[-1]
        assert bar["adj_close"] != bar["close"], f"no witness for {symbol} on {day}"
        vendor = plain[t, j] / bar["adj_close"]
        y, r = amount / plain[t - 1, j], ratio * plain[t, j] / plain[t - 1, j]
        difference = y * (1 - r - y) / (1 - y)
        assert abs(difference) < 1e-3
        assert ours[t, j] / ours[t - 1, j] == pytest.approx(vendor + difference, abs=3e-5)
        assert ours[t, j] / ours[t - 1, j] == pytest.approx((ratio * plain[t, j] + amount) / plain[t - 1, j], rel=1e-14)
        witnesses += 1
    assert witnesses == 28


def test_other_days_have_the_raw_return(market: Market) -> None:
    ours, plain = market.final_panel("close"), market.final_panel("raw_close")
    quiet = np.diff(market.final_panel("return_factor"), axis=0) == 0
    there = quiet & ~np.isnan(plain[1:]) & ~np.isnan(plain[:-1])
    assert (~quiet).sum() == 28
    np.testing.assert_allclose((ours[1:] / ours[:-1])[there], (plain[1:] / plain[:-1])[there], rtol=1e-14)


def test_the_jumps_of_splits_are_gone(market: Market) -> None:
    days = pd.Index(market.index.strftime("%Y-%m-%d"))
    for symbol, (day, _) in SPLITS.items():
        t, j = days.get_loc(day), market.assets.index(symbol)
        before, on = market.final_panel("raw_close")[t - 1 : t + 1, j]
        assert not 0.55 < on / before < 1.9
        before, on = market.final_panel("close")[t - 1 : t + 1, j]
        assert 0.94 < on / before < 1.06


def test_a_market_of_then_has_the_same_rows_to_the_bit(store: Store, market: Market) -> None:
    """No action or bar after its last day has a part in the market of the first year."""
    first = store.market(
        "bars", start="2015-04-01", end="2016-03-31", decide="before_next_open", actions="actions",
        entities=market.assets,
    )  # fmt: skip
    for name in first.panels:
        assert market.panel(name)[: first.n_bars].tobytes() == first.panel(name).tobytes(), name
    assert len(first.actions) < len(market.actions) == 28


def test_dollars_traded_are_the_same_in_adjusted_shares(market: Market) -> None:
    ours = market.panel("close") * market.panel("volume")
    plain = market.panel("raw_close") * market.panel("raw_volume")
    np.testing.assert_allclose(ours, plain, rtol=1e-14)
