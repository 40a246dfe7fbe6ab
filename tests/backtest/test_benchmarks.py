"""A benchmark in every form: on the same index, aligned, an asset, the assets held, another result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.data.market_actions import MarketActions
from knowable.errors import InputError, ShapeError, UnknownNameError

from .results_made import by_weights

NAN = np.nan
DAYS = pd.bdate_range("2024-01-01", periods=5)  # a Monday to a Friday
CLOSE = pd.DataFrame({"A": [10.0, 11, 12, 12, 15], "B": [20.0, NAN, 30, 25, 20], "C": [NAN, NAN, 5, 6, 7]}, DAYS)


def result(close: pd.DataFrame = CLOSE, **options: object) -> kn.Result:
    wanted = np.where(np.isnan(close), 0.0, 0.3) * np.linspace(0.5, 1.0, len(close))[:, None]
    calendar = options.pop("calendar", None)
    market = kn.Market.from_frames(close=close, missing="allow", calendar=calendar)
    return kn.backtest(by_weights(wanted), market, fill="next_close", **options)


def growth(given: object, own: kn.Result | None = None) -> list[float]:
    """The benchmark as the chart has it, over its first value."""
    own = result() if own is None else own
    drawn = own.plot(given).data[1].y
    return [float(value / drawn[0]) for value in drawn]


def test_assets_bought_in_equal_parts_and_held_by_hand():
    """C has no price on the first bar and is not bought; B stands at its last price where it has none."""
    assert growth("buy_and_hold") == pytest.approx([1, (1.1 + 1) / 2, (1.2 + 1.5) / 2, (1.2 + 1.25) / 2, (1.5 + 1) / 2])


def test_a_later_start_holds_what_has_had_a_price_by_then():
    """From the second bar on B counts at the close of the first."""
    own = result(start=DAYS[1])
    assert growth("buy_and_hold", own) == pytest.approx(
        [1, (12 / 11 + 1.5) / 2, (12 / 11 + 1.25) / 2, (15 / 11 + 1) / 2]
    )
    assert growth("B", own) == pytest.approx([1, 1.5, 1.25, 1.0])


def test_holding_alone_is_what_a_backtest_of_it_makes():
    prices = CLOSE[["A"]]
    market = kn.Market.from_frames(close=prices)
    own = kn.backtest(by_weights(np.full((5, 1), 1.0)), market, fill="close")
    table = own.compare("buy_and_hold")
    np.testing.assert_allclose(table["result"]["total_return"], 0.5, rtol=1e-12)
    np.testing.assert_allclose(table["benchmark"]["total_return"], 0.5, rtol=1e-12)


@pytest.mark.parametrize("given", ["A", "buy_and_hold", CLOSE["A"]])
def test_every_method_takes_every_form(given, tmp_path):
    own = result()
    path = own.report(tmp_path / "r.html", benchmark=given)
    assert "Benchmark" in path.read_text(encoding="utf-8")
    whole = growth(given)[-1] - 1
    assert own.compare(given)["benchmark"]["total_return"] == pytest.approx(whole)
    assert own.stats(given).benchmark["total_return"] == pytest.approx(whole)


def test_another_result_counts_from_its_cash():
    own, other = result(), result(cash=5_000.0, costs=kn.Costs(fee_bps=50))
    for found in (own.stats(other).benchmark, own.compare(other)["benchmark"]):
        assert found["total_return"] == other.metrics["total_return"]
        assert found["sharpe"] == other.metrics["sharpe"]
    assert own.stats(own)["beta"] == pytest.approx(1.0)


def test_another_index_is_aligned_by_day_or_time():
    want = [1.0, 1.1, 1.2, 1.2, 1.5]
    series = CLOSE["A"]
    weekend = pd.concat([pd.Series([9.0], [DAYS[0] - pd.Timedelta("2D")]), series, pd.Series([99.0], ["2024-02-01"])])
    weekend.index = pd.to_datetime(weekend.index)
    assert growth(weekend) == pytest.approx(want)
    assert growth(series.set_axis(DAYS.tz_localize("UTC"))) == pytest.approx(want)
    assert growth(series.iloc[::-1]) == pytest.approx(want), "unsorted"
    closes = (DAYS + pd.Timedelta("21h")).tz_localize("UTC")
    assert growth(series.set_axis(closes)) == pytest.approx(want), "dates without a calendar: that day's close"
    sessions = result(
        CLOSE.set_axis(pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"])),
        calendar="XNYS",
    )
    closes = pd.DatetimeIndex(sessions.times.view("datetime64[ns]")).tz_localize("UTC")
    dates = series.set_axis(sessions.index.tz_localize(None).normalize())
    for given in (dates, series.set_axis(closes), series.set_axis(closes - pd.Timedelta("1h"))):
        assert growth(given, sessions) == pytest.approx(want)


def test_bars_of_weeks_take_the_last_day_of_each():
    days = pd.bdate_range("2024-01-01", periods=20)
    daily = pd.Series(np.arange(1.0, 21.0), days)
    weekly = result(pd.DataFrame({"A": [1.0, 2, 3]}, pd.DatetimeIndex(["2024-01-14", "2024-01-21", "2024-01-28"])))
    assert growth(daily, weekly) == pytest.approx([1, 1.5, 2.0])


def test_a_slower_series_stands_for_its_own_period_and_no_longer():
    days = pd.bdate_range("2024-01-31", periods=120)
    own = result(pd.DataFrame({"A": np.arange(1.0, 121)}, days))
    monthly = pd.Series(np.arange(1.0, 8), pd.date_range("2024-01-31", periods=7, freq="BME"))
    want = [float(monthly[:day].iloc[-1]) for day in days]
    assert growth(monthly, own) == pytest.approx(want)
    with pytest.raises(ShapeError, match=r"(?s)of its period.*ffill"):
        growth(monthly.drop(monthly.index[3]), own)


def test_a_bar_without_a_value_of_its_own_is_refused():
    series = CLOSE["A"]
    with pytest.raises(ShapeError, match=r"(?s)none of the day of 2024-01-03.*1 of 5 bars.*ffill"):
        growth(series.drop(DAYS[2]))
    assert growth(series.drop(DAYS[2]).resample("D").ffill()) == pytest.approx([1, 1.1, 1.1, 1.2, 1.5]), "the remedy"
    with pytest.raises(ShapeError, match="no value by 2024-01-01"):
        growth(series.iloc[1:])
    with pytest.raises(ShapeError, match="ends 2024-01-04, but the last bar is 2024-01-05"):
        growth(series.iloc[:-1])
    with pytest.raises(ShapeError, match="ends 2023-01-05, but the last bar is 2024-01-05"):
        growth(series.set_axis(DAYS - pd.Timedelta("365D")))


def test_a_days_value_is_not_known_within_the_day():
    hours = pd.date_range("2024-01-01 10:00", periods=4, freq="h")
    own = result(pd.DataFrame({"A": [1.0, 2, 3, 4]}, hours))
    with pytest.raises(ShapeError, match="several bars a day"):
        growth(pd.Series([1.0], pd.DatetimeIndex(["2024-01-01"])), own)
    minutes = pd.Series(np.arange(1.0, 500), pd.date_range("2024-01-01 09:01", periods=499, freq="min"))
    assert growth(minutes, own) == pytest.approx([1, 2, 3, 4]), "60 minutes by the first bar"


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("AA", UnknownNameError, "Unknown benchmark 'AA'.*Did you mean 'A'"),
        ("C", ShapeError, "'C' has no price by 2024-01-01"),
        ([1.0], InputError, "must be a Series of prices with a DatetimeIndex, but it is a list"),
        (pd.Series([1.0] * 5), InputError, "a Series without one"),
        (CLOSE["A"].astype(str), InputError, "must hold prices above 0"),
        (CLOSE["A"] * -1, InputError, "finite and above 0, but 2024-01-01 .* is -10"),
        (CLOSE["B"], InputError, "finite and above 0, but 2024-01-02 .* is nan"),
        (pd.concat([CLOSE["A"], CLOSE["A"]]), InputError, "two values for 2024-01-01"),
    ],
)
def test_what_cannot_be_compared_with_is_refused(given, error, text):
    for use in (result().stats, result().compare, result().plot):
        with pytest.raises(error, match=text):
            use(given)


def test_a_loaded_result_has_the_same_benchmarks(tmp_path):
    own = result(start=DAYS[1])
    loaded = kn.Result.load(own.save(tmp_path))
    for given in ("buy_and_hold", "B", CLOSE["A"]):
        pd.testing.assert_frame_equal(own.compare(given), loaded.compare(given), check_exact=True)
    assert repr(own.stats(loaded)) == repr(loaded.stats(own))


def test_a_holder_of_a_benchmark_has_its_splits_and_dividends():
    """Raw 10, 11, then 6 after two for one and 5.5 after a dividend of 0.6; as a holder saw it 10, 11, 12, 12.2."""
    raw, whole = np.array([[10.0], [11.0], [6.0], [5.5]]), np.array([[10.0], [11.0], [12.0], [12.2]])
    plain = {"currency": None, "successor": -1, "successor_id": None, "known_time": 0, "asset": 0, "last_row": 3}
    times = DAYS[:4].as_unit("ns").asi8
    rows = [
        {**plain, "row": 2, "type": "split", "ratio": 2.0, "amount": NAN, "event_time": int(times[2])},
        {**plain, "row": 3, "type": "dividend", "ratio": NAN, "amount": 0.6, "event_time": int(times[3])},
    ]
    market = kn.Market.build(
        times=times,
        assets=("A",),
        panels={"close": whole, "raw_close": raw},
        actions=MarketActions.of(rows),
        adjust="total_return",
    )
    own = kn.backtest(by_weights(np.ones((4, 1))), market, fill="close")
    assert own.equity.to_numpy() / own.equity.iloc[0] == pytest.approx([1, 1.1, 1.2, 1.22], rel=1e-6)
    for given in ("A", "buy_and_hold"):
        assert growth(given, own) == pytest.approx([1, 1.1, 1.2, 1.22])


def test_a_ruined_benchmark_is_told():
    own = result()
    record = replace(own.record, equity=own.record.equity * np.array([1, 1, 0, 0, 0]))
    with pytest.raises(InputError, match="above 0"):
        own.stats(replace(own, record=record))
