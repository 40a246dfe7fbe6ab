"""Sessions and rebalance rows, against dates that anyone can look up."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from knowable.calendars import calendar, index_bars_per_year, period_ends, rule_of
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


def test_bars_a_year_do_not_hang_on_what_else_was_asked_for() -> None:
    """Sessions of 2022 to 2024 number 251, 250 and 252; most other years have 252 or 253."""
    nyse = calendar("XNYS")
    nyse.sessions("1998-01-01", "2030-01-31")
    assert nyse.bars_per_year(nyse.closes(nyse.sessions("2023-03-01", "2023-03-31"))) == 251


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


RULES = ["week_end", "month_end", "quarter_end", "year_end", 3, "bar", None, "monday", "friday", "month_start"]
RULES += ["quarter_start", ["2019-12-25", "2020-01-18"], "2019-07-04, 2019-11-01"]


@pytest.mark.parametrize("rule", RULES)
def test_rebalance_rows_of_a_prefix_are_a_prefix(rule: object) -> None:
    nyse = calendar("XNYS")
    sessions = nyse.sessions("2019-06-03", "2020-06-30")
    times = nyse.closes(sessions)
    whole = period_ends(times, sessions, rule, "XNYS")
    for cut in (1, 5, 20, 143, 145, 200):
        part = period_ends(times[:cut], sessions[:cut], rule, "XNYS")
        assert part.tolist() == whole[:cut].tolist()


def chosen(rule: object, first: str, last: str) -> list[str]:
    """The sessions of XNYS on which a rule rebalances."""
    sessions = calendar("XNYS").sessions(first, last)
    return sessions[period_ends(calendar("XNYS").closes(sessions), sessions, rule, "XNYS")].astype(str).tolist()


def test_a_week_day_that_is_a_holiday_gives_way_to_the_session_before_it() -> None:
    # Friday 2 April 2021 was Good Friday, Monday 31 May Memorial Day
    assert chosen("friday", "2021-03-22", "2021-04-12") == ["2021-03-26", "2021-04-01", "2021-04-09"]
    assert chosen("monday", "2021-05-20", "2021-06-09") == ["2021-05-24", "2021-05-28", "2021-06-07"]
    assert chosen("sunday", "2021-05-20", "2021-06-09") == chosen("week_end", "2021-05-20", "2021-06-09")


def test_periods_begin_on_their_first_sessions_and_the_markets_first_begins_one() -> None:
    assert chosen("month_start", "2021-03-22", "2021-06-09") == ["2021-03-22", "2021-04-01", "2021-05-03", "2021-06-01"]
    assert chosen("week_start", "2021-05-26", "2021-06-09") == ["2021-05-26", "2021-06-01", "2021-06-07"]
    assert chosen("year_start", "2020-12-30", "2021-01-06") == ["2020-12-30", "2021-01-04"]


@pytest.mark.parametrize(
    "dates",
    [
        ["2021-05-31", "2021-04-02", "2021-04-04", "2030-01-01"],
        "2021-04-02 2021-04-04 2021-05-31",
        " 2021-04-02, 2021-05-31 ",
        pd.DatetimeIndex(["2021-04-02", "2021-05-31"]),
        {dt.date(2021, 4, 2), dt.date(2021, 5, 31)},
        np.array(["2021-04-02", "2021-05-31"], "datetime64[D]"),
    ],
)
def test_dates_mean_the_last_session_up_to_each(dates: object) -> None:
    assert chosen(dates, "2021-03-22", "2021-06-09") == ["2021-04-01", "2021-05-28"]


def test_dates_have_one_form() -> None:
    assert rule_of(["2021-05-31", "2021-04-02", "2021-04-02"]) == "2021-04-02 2021-05-31"
    assert rule_of("2021-04-02,2021-05-31") == "2021-04-02 2021-05-31"
    assert (rule_of(None), rule_of(np.int64(5)), rule_of("friday")) == (None, 5, "friday")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (["2021-13-01"], "`rebalance` must be a date or a moment, but it is '2021-13-01'"),
        (["2021-04-02T10:00Z"], "takes dates of sessions, without a time and a zone"),
        ([], "`rebalance` has no dates"),
        (2.5, "must be a word such as 'month_end', a whole number of bars, or dates, but it is 2.5"),
        (True, "must be a word such as 'month_end'"),
    ],
)
def test_rules_that_are_none_are_told(rule: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rule_of(rule)


def test_a_row_within_the_last_session_of_a_month_does_not_end_it() -> None:
    nyse = calendar("XNYS")
    times = nyse.bars("1h", "2016-11-25", "2016-11-30")  # an early close, a weekend, three sessions
    found = nyse.session_dates(times)
    whole = period_ends(times, found, "month_end", "XNYS")
    assert np.flatnonzero(whole).tolist() == [len(times) - 1]
    for rule in ("day_end", "week_end", "month_end"):
        expected = period_ends(times, found, rule, "XNYS")
        for cut in range(1, len(times)):
            assert period_ends(times[:cut], found[:cut], rule, "XNYS").tolist() == expected[:cut].tolist()
    assert times[period_ends(times, found, "day_end", "XNYS")].tolist() == nyse.closes(np.unique(found)).tolist()


def test_without_a_calendar_the_last_of_many_rows_a_day_ends_nothing() -> None:
    hours = np.arange("2016-11-25T01", "2016-12-01T00", dtype="datetime64[h]").astype("datetime64[ns]")
    whole = period_ends(hours.astype(np.int64), hours.astype("datetime64[D]"), "week_end", None)
    for cut in (15, 40, 90, 130):
        part = period_ends(hours[:cut].astype(np.int64), hours[:cut].astype("datetime64[D]"), "week_end", None)
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


def moments(*texts: str) -> list[int]:
    return np.array(texts, "datetime64[ns]").astype(np.int64).tolist()


def test_bars_of_half_an_hour_end_early_on_the_day_after_thanksgiving() -> None:
    found = calendar("XNYS").bars("30min", "2016-11-24", "2016-11-25")  # the 24th is a holiday; the 25th ends at 13:00
    assert found.tolist() == moments(
        "2016-11-25T15:00", "2016-11-25T15:30", "2016-11-25T16:00", "2016-11-25T16:30", "2016-11-25T17:00",
        "2016-11-25T17:30", "2016-11-25T18:00",
    )  # fmt: skip


def test_bars_follow_the_exchange_through_daylight_saving() -> None:
    found = calendar("XNYS").bars("1h", "2016-03-11", "2016-03-14")  # a Friday in winter time, a Monday in summer time
    assert found.tolist() == moments(
        "2016-03-11T15:30", "2016-03-11T16:30", "2016-03-11T17:30", "2016-03-11T18:30", "2016-03-11T19:30",
        "2016-03-11T20:30", "2016-03-11T21:00",  # 9:30 to 16:00 is no whole number of hours: the last bar is short
        "2016-03-14T14:30", "2016-03-14T15:30", "2016-03-14T16:30", "2016-03-14T17:30", "2016-03-14T18:30",
        "2016-03-14T19:30", "2016-03-14T20:00",
    )  # fmt: skip


def test_bars_stop_for_lunch_in_hong_kong() -> None:
    found = calendar("XHKG").bars("1h", "2021-03-02", "2021-03-02")  # 9:30 to 12:00 and 13:00 to 16:00, UTC+8
    assert found.tolist() == moments(
        "2021-03-02T02:30", "2021-03-02T03:30", "2021-03-02T04:00",
        "2021-03-02T06:00", "2021-03-02T07:00", "2021-03-02T08:00",
    )  # fmt: skip


def test_bars_round_the_clock_leave_no_gap() -> None:
    found = calendar("24/7").bars("5min", "2020-02-28", "2020-03-01")
    assert len(found) == 3 * 288
    assert found[[0, -1]].tolist() == moments("2020-02-28T00:05", "2020-03-02T00:00")
    assert set(np.diff(found).tolist()) == {300 * 10**9}


def test_bars_between_moments_include_both() -> None:
    nyse = calendar("XNYS")
    found = nyse.bars("30min", "2016-11-23T20:30Z", "2016-11-25T15:00-00:00")
    assert found.tolist() == moments("2016-11-23T20:30", "2016-11-23T21:00", "2016-11-25T15:00")
    assert nyse.bars("session", "2016-11-23", "2016-11-25").tolist() == moments("2016-11-23T21:00", "2016-11-25T18:00")
    assert nyse.bars("1min", "2016-11-24", "2016-11-24").size == 0


@pytest.mark.parametrize("name", ["XNYS", "XHKG", "XTKS", "24/7", "CMES"])
@pytest.mark.parametrize("step", ["7min", "1h", "1D"])
def test_each_bar_belongs_to_its_session_and_each_session_ends_with_one(name: str, step: str) -> None:
    venue = calendar(name)
    sessions = venue.sessions("2019-10-20", "2019-11-20")
    bars = venue.bars(step, "2019-10-20", "2019-11-20")
    assert (np.diff(bars) > 0).all()
    assert set(venue.closes(sessions).tolist()) <= set(bars.tolist())
    assert set(venue.session_dates(bars).tolist()) == set(sessions.tolist())


def test_bars_a_year_are_right_for_bars_within_the_day() -> None:
    nyse, always = calendar("XNYS"), calendar("24/7")
    assert nyse.bars_per_year(nyse.bars("1min", "2019-01-01", "2019-12-31")) == 252 * 390
    assert nyse.bars_per_year(nyse.bars("1h", "2019-01-01", "2019-12-31")) == 252 * 7
    assert nyse.bars_per_year(nyse.bars("5min", "2019-06-03", "2019-06-14")) == 252 * 78
    assert always.bars_per_year(always.bars("1min", "2019-01-01", "2019-02-28")) == 365 * 1440
    assert (
        calendar("XHKG").bars_per_year(calendar("XHKG").bars("5min", "2019-03-01", "2019-12-31")) == 247 * 66
    )  # 246, 246 and 249 sessions


@pytest.mark.parametrize("step", ["nonsense", "0min", "2D", "-5min", 5])
def test_a_length_that_no_bar_has_is_refused(step: object) -> None:
    with pytest.raises(InputError, match="no length of a bar"):
        calendar("XNYS").bars(step, "2019-01-02", "2019-01-03")  # type: ignore[arg-type]


def test_a_naive_moment_is_no_bound_of_bars() -> None:
    with pytest.raises(InputError, match=r"no time zone.*'2019-01-02T10:00Z'"):
        calendar("XNYS").bars("1min", "2019-01-02T10:00", "2019-01-03")
