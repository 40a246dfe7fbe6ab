"""One strategy on minute bars with windows of days, facts of days and facts of quarters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.calendars import calendar
from knowable.features import days_since, where

NAMES = ["AAA", "BBB", "CCC"]
TIMES = calendar("XNYS").bars("1min", "2016-11-03", "2016-11-28")  # summer time ends on the 6th; the 25th closes early
INDEX = pd.DatetimeIndex(TIMES.view("datetime64[ns]")).tz_localize("UTC")
LOCAL = INDEX.tz_convert("America/New_York")


class ThreeClocks(kn.Strategy):
    """Hold what trades above its mean of days and earns enough, unless it swung much yesterday or was just reported."""

    window = kn.Int(2, 5, default=3)
    every = kn.Choice(["day_end", "week_end"], default="day_end")

    def weights(self, m):
        rising = m.close > m.close.mean(self.window, every="day_end")
        calm = m.close.resample(self.every, "max") / m.close.resample(self.every, "min") < 1.08
        settled = days_since(m.eps != m.eps.lag(1)) >= 2
        held = rising & calm & settled & (m.shorts < 0.5) & (m.eps / m.close > 0.01)
        return where(held, 1 / 3, 0)


def table(rows: list[tuple[object, ...]], field: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["entity", "event_time", "known_time", field])


def minute_closes() -> pd.DataFrame:
    steps = np.random.default_rng(4).normal(scale=1.5e-3, size=(len(TIMES), 3))
    return pd.DataFrame(100 * np.exp(steps.cumsum(0)), INDEX, NAMES).round(4)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> kn.Market:
    store = kn.Store(tmp_path_factory.mktemp("store"))
    store.create("minutes", kn.Schema.bars(calendar="XNYS", known_basis="assumed_lag", known_lag="0s"))
    store.create("reports", kn.Schema.facts(fields={"eps": "USD/share"}))
    store.create("lent", kn.Schema.facts(fields={"shorts": "1"}))
    close = minute_closes().rename_axis("event_time")
    bars = close.reset_index().melt("event_time", var_name="entity", value_name="close")
    store.append("minutes", bars.assign(open=bars["close"], high=bars["close"], low=bars["close"], volume=100.0))
    quarter, reported = "2016-09-30T00:00Z", "2016-11-09T12:00Z"
    eps = [(name, "2016-06-30T00:00Z", "2016-08-01T12:00Z", 1.5) for name in NAMES]
    eps += [
        ("AAA", quarter, reported, 2.5),
        ("BBB", quarter, reported, 0.5),
        ("BBB", quarter, "2016-11-17T17:30Z", 2.0),
    ]
    store.append("reports", table(eps, "eps"))
    sessions = calendar("XNYS").sessions("2016-11-01", "2016-11-28")
    shorts = [
        (name, f"{day}T00:00Z", f"{day}T23:00Z", 0.1 * ((k + j) % 7))  # published each evening, for the day
        for k, day in enumerate(sessions)
        for j, name in enumerate(NAMES)
    ]
    store.append("lent", table(shorts, "shorts"))
    return store.market("minutes", also=["reports", "lent"])


def by_pandas(market: kn.Market, window: int) -> pd.DataFrame:
    """The same weights with a day's values put at the minute it closes, and facts read row by row."""
    close, day = minute_closes(), LOCAL.date
    at_close = LOCAL.strftime("%H:%M") == np.where(LOCAL.strftime("%m-%d") == "11-25", "13:00", "16:00")
    closing = close[at_close]
    known = closing.rolling(window).mean().reindex(INDEX, method="ffill")
    swing = (close.groupby(day).max() / close.groupby(day).min()).set_axis(closing.index).reindex(INDEX, method="ffill")
    eps = pd.DataFrame(1.5, INDEX, NAMES)
    eps.loc[INDEX >= "2016-11-09T12:00Z", ["AAA", "BBB"]] = 2.5, 0.5
    eps.loc[INDEX >= "2016-11-17T17:30Z", "BBB"] = 2.0
    changed = (eps != eps.shift()).iloc[1:].reindex(INDEX, fill_value=False)
    midnight = LOCAL.normalize().tz_localize(None)
    seen = changed.apply(lambda flags: pd.Series(midnight.where(flags), INDEX).ffill())
    age = seen.apply(lambda last: (midnight - last).dt.days)
    held = (close > known) & (swing < 1.08) & (age >= 2) & (market.shorts.frame() < 0.5) & (eps / close > 0.01)
    unknown = known.isna() | swing.isna() | age.isna() | market.shorts.frame().isna()
    return (held / 3).mask(unknown)


def test_minutes_days_and_quarters_meet_in_one_strategy(market: kn.Market) -> None:
    assert market.shape == (len(TIMES), 3)
    expected = by_pandas(market, 4)
    np.testing.assert_array_equal(ThreeClocks(window=4).weights(market).values(), expected)
    assert min((expected > 0).sum().sum(), (expected == 0).sum().sum(), expected["BBB"].isna().sum()) > 500
    first_close = market.index[389]
    shorts = market.shorts.frame().loc[:first_close, "AAA"]
    assert shorts.to_numpy() == pytest.approx(0.1)  # of 2 November, published that evening, all through the 3rd


def test_no_look_ahead_is_found_in_it(market: kn.Market) -> None:
    for every in ("day_end", "week_end"):
        report = kn.check(ThreeClocks(every=every), market, cuts=6, seed=1)
        assert report.ok, report


def test_it_trades_and_a_sweep_over_windows_and_clocks_is_one_backtest_each(market: kn.Market) -> None:
    found = kn.sweep(ThreeClocks, market, grid={"window": [2, 4], "every": ["day_end", "week_end"]})
    assert len(found) == 4
    for row in found.to_dict("records"):
        alone = kn.backtest(ThreeClocks(window=row["window"], every=row["every"]), market)
        assert row["total_return"] == alone.metrics["total_return"]
        assert alone.metrics["n_trades"] > 0


def test_rebalancing_at_the_end_of_each_day_fills_on_the_next_morning(market: kn.Market) -> None:
    class Daily(ThreeClocks):
        rebalance = "day_end"

    orders = kn.backtest(Daily(), market).orders
    decided = pd.DatetimeIndex(orders["decision_time"]).tz_convert("America/New_York")
    assert len(orders) > 0
    assert set(decided.strftime("%H:%M")) <= {"16:00", "13:00"}
