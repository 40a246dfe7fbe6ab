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
_SPAN = (pd.Timestamp("2015-03-27", tz="UTC").value, pd.Timestamp("2017-04-05", tz="UTC").value)
MOMENTS = pd.to_datetime(np.sort(np.random.default_rng(50).integers(*_SPAN, 50)), utc=True)


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


def test_reads_as_of_fifty_random_instants_agree_with_pandas(store: Store, prices: pd.DataFrame) -> None:
    """Brute force from the raw file: of the rows captured by then, the last one of each symbol and date."""
    rows = prices.assign(period=prices.groupby(["symbol", "date"]).ngroup()).sort_values("captured_at")
    period, captured = rows["period"].to_numpy(), rows["captured_at"].to_numpy().astype("datetime64[us]")
    symbol = rows["symbol"].to_numpy(object)
    date = rows["date"].to_numpy().astype("datetime64[D]")
    values = {name: rows[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "volume", "adj_close")}
    for moment in MOMENTS:
        last = np.full(period.max() + 1, -1)
        known = np.flatnonzero(captured <= np.datetime64(moment.tz_localize(None)))
        last[period[known]] = known  # of several captures of one date the later one is written later
        shown = last[last >= 0]
        found = store.read("bars", as_of=moment)
        assert (found["entity"].to_pandas().to_numpy(object) == symbol[shown]).all()
        dates = found["event_time"].to_numpy().astype("datetime64[D]")  # a session of New York ends on its own UTC day
        np.testing.assert_array_equal(dates, date[shown])
        np.testing.assert_array_equal(found["known_time"].to_numpy().astype("datetime64[us]"), captured[shown])
        for field, value in values.items():
            np.testing.assert_array_equal(found[field].to_numpy(), value[shown])


def test_reads_of_a_few_names_and_weeks_agree_with_the_whole(store: Store) -> None:
    rng = np.random.default_rng(51)
    names = sorted(set(store.read("bars", as_of=MOMENTS[25], fields=[])["entity"].to_pylist()))
    for moment in MOMENTS[10::20]:
        some = sorted(rng.choice(names, 5, replace=False))
        start, end = str((moment - pd.Timedelta("60D")).date()), str((moment - pd.Timedelta("20D")).date())
        whole = store.read("bars", as_of=moment).to_pandas()
        day = whole["event_time"].dt.strftime("%Y-%m-%d")
        expected = whole[whole["entity"].isin(some) & (day >= start) & (day <= end)].reset_index(drop=True)
        found = store.read("bars", as_of=moment, entities=some, start=start, end=end).to_pandas()
        pd.testing.assert_frame_equal(found, expected)


def test_trailing_sums_of_four_reports_agree_with_pandas(store: Store, reports: pd.DataFrame) -> None:
    rng = np.random.default_rng(2)
    names = sorted(rng.choice(reports["symbol"].unique(), 40, replace=False))
    clock = MOMENTS[::4]
    expected = np.full((len(clock), len(names)), np.nan)
    spans = np.full((len(clock), len(names)), np.nan)
    for t, moment in enumerate(clock.tz_localize(None)):
        known = reports[(reports["captured_at"] <= moment) & reports["symbol"].isin(names)]
        latest = known.sort_values("captured_at").drop_duplicates(["symbol", "end_date"], keep="last")
        for name, rows in latest.sort_values("end_date").groupby("symbol"):
            if len(rows) >= 4:
                last = rows.tail(4)
                j = names.index(name)
                expected[t, j] = np.add.accumulate(last["revenues"].to_numpy())[-1]
                ends = pd.to_datetime(last["end_date"])
                spans[t, j] = (ends.iloc[-1] - ends.iloc[0]).days
    found = store.window("reports", "revenues", 4, clock=clock, entities=names, reduce="sum")
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(found).sum() > 50
    year = store.window("reports", "revenues", 4, clock=clock, entities=names, reduce="sum", within="300d")
    np.testing.assert_array_equal(year, np.where(spans <= 300, expected, np.nan))
    assert np.isnan(year).sum() > np.isnan(found).sum(), "some fours have a gap"


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
