"""The store on real captures: dirty rows, two captures a bar, revisions; pandas answers the same questions by force."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("KNOWABLE_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data" / "us-equities-2015-2017"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared data are not at {DATA}; set KNOWABLE_SHARED")

PRICES = {"symbol": "entity", "date": "event_time", "captured_at": "known_time"}
REPORTS = {"symbol": "entity", "end_date": "event_time", "captured_at": "known_time"}
FIELDS = ("revenues", "eps_basic", "net_income", "assets")
MOMENTS = ["2015-05-15T12:01:00Z", "2016-11-10T12:30:00Z"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("store"))
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD", fields={"adj_close": "USD/share"}))
    made.create("reports", Schema.facts(fields=dict.fromkeys(FIELDS, "USD")))
    made.append("bars", DATA / "prices.parquet", columns=PRICES, tz="UTC")
    made.append("reports", DATA / "reports.parquet", columns=REPORTS, tz="UTC")
    return made


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    """The rows that are fit, by rules written again here in pandas; conflicts and duplicates are still in."""
    raw = pd.read_parquet(DATA / "prices.parquet")
    sessions = sorted(set(raw["date"]) - {"2015-04-03", "2015-05-25", "2015-07-03", "2016-01-18", "2016-02-15",
                                          "2016-05-30", "2016-07-04", "date"})  # fmt: skip
    rows = raw[raw["date"].isin(sessions)]
    fit = (rows[["open", "high", "low", "close"]] > 0).all(axis=1)
    fit &= rows[["open", "close"]].ge(rows["low"], axis=0).all(axis=1) & rows[["open", "close"]].le(
        rows["high"], axis=0
    ).all(axis=1)
    rows = rows[fit].drop_duplicates()
    return rows[~rows.duplicated(["symbol", "date", "captured_at"], keep=False)]


@pytest.fixture(scope="module")
def reports() -> pd.DataFrame:
    rows = pd.read_parquet(DATA / "reports.parquet")[["symbol", "end_date", "captured_at", *FIELDS]].drop_duplicates()
    return rows[~rows.duplicated(["symbol", "end_date", "captured_at"], keep=False)]


def test_every_row_is_stored_quarantined_or_a_duplicate(store: Store, prices: pd.DataFrame) -> None:
    stored, refused = store.versions("bars")[-1].rows, store.quarantine("bars")
    assert stored == len(prices)
    rules = pd.Series(refused["rule"].to_pylist()).value_counts().to_dict()
    assert rules == {
        "price_not_positive": 25,
        "no_session": 18,
        "conflicting_duplicate": 6,
        "close_outside_range": 2,
        "header_row": 1,
    }
    assert {763_807} == {r["row"] for r in refused.to_pylist() if r["rule"] == "header_row"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_read_as_of_agrees_with_pandas(store: Store, prices: pd.DataFrame, moment: str) -> None:
    known = prices[prices["captured_at"] <= pd.Timestamp(moment).tz_localize(None)]
    expected = known.sort_values("captured_at").groupby(["symbol", "date"]).last()
    found = store.read("bars", as_of=moment).to_pandas()
    index = [found["entity"], found["event_time"].dt.strftime("%Y-%m-%d")]
    for ours, theirs in (("close", "close"), ("volume", "volume"), ("adj_close", "adj_close")):
        pd.testing.assert_series_equal(
            found[ours].set_axis(pd.MultiIndex.from_arrays(index)),
            expected[theirs],
            check_names=False,
            check_index_type=False,
            check_exact=True,
        )


@pytest.mark.parametrize("field", ["eps_basic", "revenues"])
def test_the_panel_of_reports_agrees_with_pandas_on_a_sample(store: Store, reports: pd.DataFrame, field: str) -> None:
    rng = np.random.default_rng(1)
    names = sorted(rng.choice(reports["symbol"].unique(), 60, replace=False))
    clock = pd.date_range("2015-03-28", "2017-04-01", freq="9D", tz="UTC") + pd.Timedelta("12h5min")
    expected = np.full((len(clock), len(names)), np.nan)
    for t, moment in enumerate(clock.tz_localize(None)):
        known = reports[(reports["captured_at"] <= moment) & reports["symbol"].isin(names)]
        newest = known.sort_values(["end_date", "captured_at"]).groupby("symbol").tail(1).set_index("symbol")[field]
        expected[t] = newest.reindex(names)
    np.testing.assert_array_equal(store.panel("reports", field, clock=clock, entities=names), expected)


def test_a_plain_as_of_join_would_be_wrong_on_these_reports(store: Store, reports: pd.DataFrame) -> None:
    """Restatements of an older quarter do come after the newer one; the last row known is not the newest quarter."""
    clock = pd.date_range("2015-04-01", "2017-04-01", freq="D", tz="UTC")
    names = sorted(reports["symbol"].unique())
    ours = store.panel("reports", "assets", clock=clock, entities=names)
    last_known = reports.sort_values("captured_at").pivot_table(
        index="captured_at", columns="symbol", values="assets", aggfunc="last", dropna=False
    )
    plain = last_known.ffill().reindex(clock.tz_localize(None), method="ffill").reindex(columns=names).to_numpy()
    both = ~np.isnan(ours) & ~np.isnan(plain)
    assert (ours[both] != plain[both]).any()


def test_the_market_shows_each_bar_as_it_was_before_the_next_open(store: Store, prices: pd.DataFrame) -> None:
    names = ["AAPL", "MSFT", "ZX", "CUI", "AAME"]
    market = store.market("bars", start="2015-04-01", end="2017-03-31", decide="before_next_open", entities=names)
    index = market.index.strftime("%Y-%m-%d")
    decided = dict(zip(index, pd.DatetimeIndex(market.decision_times.view("M8[ns]")), strict=True))
    rows = prices[prices["symbol"].isin(names) & prices["date"].isin(index)].sort_values("captured_at")
    seen = rows[rows["captured_at"] <= rows["date"].map(decided)]
    for panel, frame in ((market.panel("close"), seen), (market.final_panel("close"), rows)):
        wide = frame.groupby(["date", "symbol"])["close"].last().unstack().reindex(index=index, columns=names)
        np.testing.assert_array_equal(panel, wide.to_numpy())


def test_delisted_names_stay_and_simply_end(store: Store) -> None:
    market = store.market("bars", start="2015-04-01", end="2017-03-31", decide="before_next_open")
    closes = market.final_panel("close")
    ended = np.isnan(closes[-20:]).all(axis=0)
    assert ended.sum() > 100
    assert not np.isnan(closes[:, ended]).all(axis=0).any()
