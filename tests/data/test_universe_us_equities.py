"""Universes on real captures: the largest by dollar volume against pandas, and what survivors alone would have said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.data.corporate.universe import Largest
from knowable.data.market import Market
from knowable.data.schema import Schema
from knowable.data.store import Store

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("KNOWABLE_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data" / "us-equities-2015-2017"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared data are not at {DATA}; set KNOWABLE_SHARED")

COLUMNS = {"symbol": "entity", "date": "event_time", "captured_at": "known_time"}
RULE = Largest(n=100, by="dollar_volume", window=60, every="month_end", min_price=5.0)
SPAN = {"start": "2015-07-01", "end": "2017-03-31", "decide": "before_next_open"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("store"))
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    made.append("bars", DATA / "prices.parquet", columns=COLUMNS, tz="UTC")
    return made


@pytest.fixture(scope="module")
def market(store: Store) -> Market:
    return store.market("bars", universe=RULE, **SPAN)


@pytest.fixture(scope="module")
def brute(market: Market) -> pd.DataFrame:
    """Members on each session from the raw file by pandas: day -> names, over the market's days and assets."""
    raw = pd.read_parquet(DATA / "prices.parquet").drop(columns="adj_close")
    raw = raw.astype({"symbol": "category", "date": "category"})
    fit = (raw[["open", "high", "low", "close"]] > 0).all(axis=1)
    for name in ("open", "close"):
        fit &= raw[name].between(raw["low"], raw["high"])
    rows = raw[fit].drop_duplicates()
    rows = rows[~rows.duplicated(["symbol", "date", "captured_at"], keep=False)]
    days = [day for day in sorted(set(rows["date"])) if _is_session(day)]
    following = [*days[1:], "2017-04-03"]
    opens = pd.to_datetime(following).tz_localize("America/New_York") + pd.Timedelta("9h30min")
    decided = dict(zip(days, opens.tz_convert("UTC").tz_localize(None), strict=True))
    rows = rows[rows["date"].isin(days)]
    seen = rows[rows["captured_at"] < rows["date"].map(decided).astype("datetime64[ns]")].sort_values(
        "captured_at", kind="stable"
    )
    wide = seen.groupby(["date", "symbol"], observed=True).last()[["close", "volume"]].unstack().reindex(days)
    dollars, price = wide["close"] * wide["volume"], wide["close"].ffill()
    size = dollars.apply(lambda column: column.dropna().rolling(60).mean().reindex(days)).ffill()
    held: set[str] = set()
    out = {}
    last_known = dollars.notna().mul(np.arange(len(days)), axis=0).where(dollars.notna()).ffill()
    for t, day in enumerate(days):
        silent = t - last_known.iloc[t]
        held &= set(silent.index[silent <= 5])
        if following[t][:7] != day[:7]:
            fit = size.iloc[t].notna() & (silent <= 5) & (price.iloc[t] >= 5)
            held = set(size.iloc[t][fit].nlargest(100).index)
        out[day] = set(held)
    index = market.index.strftime("%Y-%m-%d")
    return pd.DataFrame([[name in out[day] for name in market.assets] for day in index], index, list(market.assets))


def _is_session(day: str) -> bool:
    holidays = {"2015-04-03", "2015-05-25", "2015-07-03", "2015-09-07", "2015-11-26", "2015-12-25", "2016-01-01",
                "2016-01-18", "2016-02-15", "2016-03-25", "2016-05-30", "2016-07-04", "2016-09-05", "2016-11-24",
                "2016-12-26", "2017-01-02", "2017-01-16", "2017-02-20"}  # fmt: skip
    return day != "date" and day not in holidays and pd.Timestamp(day).day_of_week < 5


def test_the_largest_hundred_at_each_month_end_are_those_pandas_finds(market: Market, brute: pd.DataFrame) -> None:
    found = pd.DataFrame(market.panel("universe"), market.index, list(market.assets))
    assert (found.sum(axis=1) <= 100).all()
    assert (found.sum(axis=1) >= 97).all(), "names that end leave, and their places stay empty until the next choice"
    np.testing.assert_array_equal(found.to_numpy() == 1, brute.to_numpy())
    assert brute.to_numpy().any(axis=0).all(), "each asset of the market was a member at some time"


def test_delisted_members_leave_when_their_bars_stop(market: Market) -> None:
    members, closes = market.panel("universe"), market.panel("close")
    gone = np.isnan(closes[-20:]).all(axis=0)
    assert gone.sum() >= 3
    for j in np.flatnonzero(gone):
        last_bar = np.flatnonzero(~np.isnan(closes[:, j]))[-1]
        assert not members[last_bar + 6 :, j].any()


class Equal(kn.Strategy):
    """Hold all there is, equally, and rebalance each month."""

    rebalance = "month_end"

    def weights(self, m):
        held = m.close > 0
        return 0.99 * held / held.cross_sum()


def test_survivors_alone_tell_another_story(store: Store, market: Market) -> None:
    """The names of the last month, held from the first: a list that nobody had. The largest then, held then: one that
    all had. Prices are as traded, with their splits, in both."""
    honest = kn.backtest(Equal(), market, fill="next_open", max_leverage=1.0, leverage_check="scale")
    last = [name for name, held in zip(market.assets, market.panel("universe")[-1], strict=True) if held]
    hindsight = store.market("bars", entities=last, **SPAN)
    survivors = kn.backtest(Equal(), hindsight, fill="next_open", leverage_check="scale")
    dead = set(market.assets) - set(hindsight.assets)
    assert len(dead) >= 30, "many of those who were large then are not large now"
    assert set(honest.trades["asset"]) & dead
    assert not set(survivors.orders["asset"]) & dead
    assert abs(honest.metrics["total_return"] - survivors.metrics["total_return"]) > 0.01


def test_only_members_are_ever_bought(market: Market) -> None:
    result = kn.backtest(Equal(), market, fill="next_open", leverage_check="scale")
    members = market.universe.frame()
    bought = result.orders[result.orders["side"] == "buy"]
    assert len(bought) > 500
    at = members.index.get_indexer(bought["decision_time"])
    assert members.to_numpy()[at, members.columns.get_indexer(bought["asset"])].all()


def test_the_strategy_is_free_of_look_ahead(market: Market) -> None:
    assert kn.check(Equal(), market, cuts=3).ok
