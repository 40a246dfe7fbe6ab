"""Sessions and rebalance rows, against dates that anyone can look up."""

import numpy as np
import pytest

from knowable.calendars import calendar, index_bars_per_year, period_ends
from knowable.errors import DataError, InputError, UnknownNameError


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def test_closes_know_daylight_saving_and_early_closes() -> None:
    closes = calendar("XNYS").closes(days("2016-03-11", "2016-03-14", "2016-11-25")).astype("datetime64[ns]")
    expected = ["2016-03-11T21:00", "2016-03-14T20:00", "2016-11-25T18:00"]  # winter, summer, day after Thanksgiving
    assert closes.tolist() == np.array(expected, "datetime64[ns]").tolist()


def test_round_the_clock_days_end_at_the_next_midnight() -> None:
    closes = calendar("24/7").closes(days("2019-03-02")).astype("datetime64[ns]")
    assert closes.tolist() == np.array(["2019-03-03T00:00"], "datetime64[ns]").tolist()


def test_a_date_without_a_session_names_the_one_before() -> None:
    with pytest.raises(
        DataError, match="2019-03-02 is a Saturday, no session of XNYS; the previous session is 2019-03-01"
    ):
        calendar("XNYS").closes(days("2019-03-01", "2019-03-02"))


def test_an_unknown_calendar_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'XNYS'"):
        calendar("XNYSE")


def test_bars_a_year_come_from_the_calendar() -> None:
    nyse, always = calendar("XNYS"), calendar("24/7")
    assert nyse.bars_per_year(nyse.closes(nyse.sessions("2010-01-01", "2012-12-31"))) == 252
    assert always.bars_per_year(always.closes(always.sessions("2010-01-01", "2012-12-31"))) == 365
    hourly = (
        np.arange("2020-01-01T01", "2020-02-01T00", dtype="datetime64[h]").astype("datetime64[ns]").astype(np.int64)
    )
    assert always.bars_per_year(hourly) == 365 * 24


def test_without_a_calendar_bars_a_year_are_measured() -> None:
    daily = np.arange("2018-01-01", "2020-01-01", dtype="datetime64[D]").astype("datetime64[ns]").astype(np.int64)
    assert index_bars_per_year(daily) == 365
    assert index_bars_per_year(daily[:1]) == 1


def test_month_ends_are_the_last_sessions_of_their_months() -> None:
    nyse = calendar("XNYS")
    sessions = nyse.sessions("2021-05-03", "2021-08-30")
    found = sessions[period_ends(nyse.closes(sessions), sessions, "month_end", "XNYS")]
    assert found.tolist() == days("2021-05-28", "2021-06-30", "2021-07-30").tolist()  # 31 May 2021 was Memorial Day


def test_the_last_row_is_a_month_end_only_if_the_calendar_says_so() -> None:
    nyse = calendar("XNYS")
    cut = nyse.sessions("2021-05-03", "2021-05-28")
    assert period_ends(nyse.closes(cut), cut, "month_end", "XNYS")[-1]
    early = cut[:-1]
    assert not period_ends(nyse.closes(early), early, "month_end", "XNYS")[-1]


@pytest.mark.parametrize("rule", ["week_end", "month_end", "quarter_end", "year_end", 3, "bar", None])
def test_rebalance_rows_of_a_prefix_are_a_prefix(rule: str | int | None) -> None:
    nyse = calendar("XNYS")
    sessions = nyse.sessions("2019-06-03", "2020-06-30")
    times = nyse.closes(sessions)
    whole = period_ends(times, sessions, rule, "XNYS")
    for cut in (1, 5, 20, 143, 145, 200):
        part = period_ends(times[:cut], sessions[:cut], rule, "XNYS")
        assert part.tolist() == whole[:cut].tolist()


def test_an_unknown_rule_and_a_wrong_number_are_told() -> None:
    times = np.arange(3, dtype=np.int64)
    with pytest.raises(UnknownNameError, match="Did you mean 'month_end'"):
        period_ends(times, days("2020-01-01", "2020-01-02", "2020-01-03"), "monthend", None)
    with pytest.raises(InputError, match="rebalance >= 1"):
        period_ends(times, days("2020-01-01", "2020-01-02", "2020-01-03"), 0, None)


def test_weekly_and_monthly_bars_of_an_exchange_are_not_annualised_as_daily() -> None:
    nyse = calendar("XNYS")
    sessions = nyse.sessions("2010-01-04", "2019-12-31")
    times = nyse.closes(sessions)
    for rule, expected in (("week_end", 52), ("month_end", 12)):
        ends = period_ends(times, sessions, rule, "XNYS")
        assert nyse.bars_per_year(times[ends]) == expected
