"""Slower clocks inside expressions: which bar ends a period, what is held until the next, and nothing unfinished."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable import features as f
from knowable.calendars import calendar
from knowable.data.market import Market
from knowable.errors import DataError, InputError, ShapeError, UnknownNameError
from knowable.features.operators import OPERATORS
from knowable.kernels.clock import WAYS
from knowable.params import Int
from knowable.testing.clock_markets import EVERY, KINDS, clocked_market
from knowable.testing.clock_oracle import SlowClock
from knowable.testing.expression_oracle import slow_values
from knowable.testing.random_expressions import random_application, seeded

SAMPLE = Path(__file__).parents[2] / "data-samples" / "sp500-level.csv.gz"
NAN = np.nan
DAY_NS = 86_400_000_000_000
markets = st.builds(
    clocked_market,
    st.sampled_from(KINDS),
    start=st.integers(0, 40),
    n_rows=st.integers(1, 40),
    n_kept=st.integers(1, 40),
    missing=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32 - 1),
)
everies = st.sampled_from(EVERY)


EXPRESSIONS = [
    lambda x, every, n: x.mean(n, every=every),
    lambda x, every, n: x.std(n + 1, every=every).demean(),
    lambda x, every, n: x.max(2).lag(n - 1, every=every) - x.ewm(n, every=every),
    lambda x, every, n: x.resample(every, "sum").min(n, every=every),
    lambda x, every, n: (x.delta(n, every=every) > 0).days_since(),
    *[lambda x, every, n, how=how: x.resample(every, how) + 0 * n for how in WAYS],
]
everything = pytest.mark.parametrize("build", EXPRESSIONS)


@everything
@settings(max_examples=40)
@given(market=markets, every=everies, n=st.integers(1, 4), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_any_chunking_and_a_restart_give_the_bits_of_the_batch(build, market, every, n, cuts):
    feature = build(market.x, every, n)
    stepper, pieces, x = feature.stepper(), [], market.panels["x"]
    for a, b in pairwise([0, *sorted(min(cut, market.n_bars) for cut in cuts), market.n_bars]):
        stepper, state = feature.stepper(), stepper.state()
        stepper.restore(state)
        pieces.append(stepper.feed({"x": x[a:b]}, market.times[a:b]))
    whole = feature.values()
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    one_by_one = feature.stepper()
    rows = [one_by_one.step({"x": x[t], "time": market.times[t]}) for t in range(market.n_bars)]
    assert np.array(rows).tobytes() == whole.tobytes()


@everything
@settings(max_examples=40)
@given(market=markets, every=everies, n=st.integers(1, 4), cut=st.integers(1, 40))
def test_rows_that_come_later_never_change_past_bits(build, market, every, n, cut):
    cut = min(cut, market.n_bars)
    feature = build(market.x, every, n)
    assert f.evaluate(feature, market.until(cut)).tobytes() == feature.values()[:cut].tobytes()


@everything
@settings(max_examples=40)
@given(market=markets, every=everies, n=st.integers(1, 4))
def test_agrees_with_the_rows_that_end_periods_computed_slowly_and_spread(build, market, every, n):
    feature = build(market.x, every, n)
    expected = slow_values(feature.node, market.panels, SlowClock(market))
    np.testing.assert_allclose(feature.values(), expected, rtol=1e-9, atol=1e-12)


REMEMBERING = [op.name for op in OPERATORS.values() if op.start is not None and op.clock is None and op.name != "model"]


@pytest.mark.parametrize("op", REMEMBERING)
@settings(max_examples=20)
@given(market=markets, every=everies, seed=st.integers(0, 2**32 - 1))
def test_any_operator_with_a_memory_is_the_same_on_a_market_of_the_rows_that_end_periods(op, market, every, seed):
    """Bit for bit: the kernel of a slower clock is the kernel, on a market that has no other rows."""
    both = market.with_panels({"x": market.panels["x"], "y": np.roll(market.panels["x"], 1, axis=1)})
    plain = random_application(seeded(seed), op, both).node
    plain = f.node.node(op, tuple(each for each in plain.inputs if each.op != "ends"), plain.settings)
    slow = f.node.node(op, (*plain.inputs, f.node.node("ends", (), (every,))), plain.settings)
    told = SlowClock(both).shown(every)
    rows = [row for at_once in told for row in at_once]
    expected = np.full((both.n_bars, 2), NAN)
    if rows:
        ends = Market.build(
            times=np.arange(1, len(rows) + 1) * DAY_NS,
            assets=both.assets,
            panels={name: panel[rows] for name, panel in both.panels.items()},
        )
        n_known = np.cumsum([len(at_once) for at_once in told])
        values = f.Program.of(plain).evaluate(ends)
        expected[n_known > 0] = values[n_known[n_known > 0] - 1]
    assert f.Program.of(slow).evaluate(both).tobytes() == expected.tobytes()


def market_of(x, index, name=None):
    frame = pd.DataFrame({"A": np.asarray(x, float)}, index=index)
    return Market.from_frames(close=frame, calendar=name, missing="allow", mine=frame)


def column(feature):
    return feature.values()[:, 0].tolist()


SESSIONS = pd.DatetimeIndex(calendar("XNYS").sessions("2021-03-29", "2021-04-12"))  # 2 April 2021 was Good Friday


def test_a_week_that_good_friday_cuts_short_ends_on_thursday_for_who_knows_the_calendar():
    m = market_of(range(1, 11), SESSIONS, "XNYS")
    # Mon 29 .. Thu 1, Mon 5 .. Fri 9, Mon 12
    assert column(f.isnan(m.close.resample("week_end"))) == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert column(m.close.resample("week_end"))[3:] == [4, 4, 4, 4, 4, 9, 9]
    assert column(m.close.resample("week_end", "mean"))[3:] == [2.5, 2.5, 2.5, 2.5, 2.5, 7, 7]
    assert column(m.close.resample("month_end", "first"))[2:] == [1] * 8  # 31 March


def test_without_a_calendar_the_same_week_is_seen_to_have_ended_on_monday():
    m = market_of(range(1, 11), SESSIONS)
    assert column(f.isnan(m.close.resample("week_end"))) == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    # a weekend was skipped by then, so that the next Friday is known to end its week
    assert column(m.close.resample("week_end"))[4:] == [4, 4, 4, 4, 9, 9]
    # 31 March is followed by 1 April whatever comes
    assert column(m.close.resample("month_end"))[2:] == [3] * 8


@pytest.mark.parametrize("cut", range(1, 10))
def test_an_end_that_shows_late_shows_across_a_restart_too(cut):
    m = market_of(np.arange(1, 11) ** 2, SESSIONS)
    feature = (
        m.close.mean(1, every="month_end") + m.close.resample("week_end", "sum") - m.close.lag(0, every="week_end")
    )
    first = feature.stepper()
    pieces = [first.feed({"close": m.panels["close"][:cut]}, SESSIONS[:cut])]
    second = feature.stepper()
    second.restore(first.state())
    pieces.append(second.feed({"close": m.panels["close"][cut:]}, SESSIONS[cut:]))
    assert np.concatenate(pieces).tobytes() == feature.values().tobytes()


def test_where_weekends_have_bars_weeks_end_on_sunday():
    m = market_of(range(1, 15), pd.date_range("2021-03-29", periods=14))
    assert column(m.close.resample("week_end"))[6:] == [7] * 7 + [14]
    assert np.isnan(column(m.close.resample("week_end"))[:6]).all()


def test_a_bar_that_is_missing_at_the_close_is_no_reason_to_lose_the_day():
    times = calendar("XNYS").bars("195min", "2021-03-31", "2021-04-05")
    times = np.delete(times, 3)  # the bar that would have ended at the close of 1 April
    x = np.arange(1.0, len(times) + 1)[:, None]  # 31 March: 1 2; 1 April: 3; 5 April: 4 5
    m = Market.build(times=times, assets=("A",), panels={"x": x}, calendar="XNYS")
    np.testing.assert_array_equal(column(m.x.resample("day_end")), [NAN, 2, 2, 3, 5])
    np.testing.assert_array_equal(column(m.x.resample("week_end", "sum")), [NAN, NAN, NAN, 6, 6])
    np.testing.assert_array_equal(column(m.x.lag(1, every="day_end")), [NAN, NAN, NAN, 2, 3])


@pytest.mark.parametrize("first_hour", [10, 16])
def test_a_first_day_of_a_single_bar_is_no_reason_to_take_bars_for_days(first_hour):
    """Without a calendar; the bar at ten of the second day is a day after it, and does not end its day."""
    days = pd.bdate_range("2021-01-04", periods=4)
    index = [days[0] + pd.Timedelta(hours=first_hour)]
    index += [day + pd.Timedelta(hours=hour) for day in days[1:] for hour in (10, 13, 16)]
    close = Market.from_frames(close=pd.DataFrame({"A": np.arange(1.0, 11.0)}, pd.DatetimeIndex(index))).close
    assert close.resample("day_end").values()[1:, 0].tolist() == [1] * 3 + [4] * 3 + [7] * 3
    assert close.sum(2, every="day_end").values()[4:, 0].tolist() == [5] * 3 + [11] * 3


def test_every_n_bars_counts_as_rebalancing_does():
    m = market_of(range(1, 9), pd.date_range("2021-01-04", periods=8))
    np.testing.assert_array_equal(column(m.close.resample(3, "sum")), [1, 1, 1, 9, 9, 9, 18, 18])
    np.testing.assert_array_equal(column(m.close.mean(2, every=3)), [NAN, NAN, NAN, 2.5, 2.5, 2.5, 5.5, 5.5])
    assert m.close.mean(2, every=1).node is m.close.mean(2).node is m.close.mean(2, every="bar").node


def test_a_period_skips_what_is_missing_and_one_without_a_value_has_none():
    x = [NAN, 2, NAN, 4, NAN, NAN, NAN, 8, NAN]
    frame = pd.DataFrame({"A": x}, pd.date_range("2021-01-04", periods=9))
    m = Market.from_frames(close=frame.fillna(1), mine=frame)  # periods end with the rows 0, 3, 6
    expected = {
        "last": [4, NAN],
        "first": [2, NAN],
        "min": [2, NAN],
        "max": [4, NAN],
        "sum": [6, NAN],
        "mean": [3, NAN],
    }
    for how, (second, third) in expected.items():
        found = column(m.mine.resample(3, how))
        np.testing.assert_array_equal(found, [NAN] * 3 + [second] * 3 + [third] * 3, err_msg=how)


def test_infinities_and_long_sums_follow_ieee_and_lose_nothing():
    x = np.concatenate([[1e16], np.ones(98), [-1e16], [np.inf], np.ones(99)])
    m = Market.build(times=np.arange(1, 201) * DAY_NS, assets=("A",), panels={"x": x[:, None]})
    assert m.x.resample(99, "sum").values()[99, 0] == 98 - 1e16 + (1.0 - 1.0)  # rows 1 to 99
    assert m.x.resample(199, "sum").values()[199, 0] == np.inf
    y = np.concatenate([[0.0, 1e16], np.ones(97), [-1e16]])[:, None]
    m = Market.build(times=np.arange(1, 101) * DAY_NS, assets=("A",), panels={"x": y})
    assert m.x.resample(99, "sum").values()[99, 0] == 97.0


def test_days_go_by_the_calendar_and_stand_at_0_while_it_is_true():
    m = market_of([5, 1, 1, 7, 1, NAN, 1, 1, 1, 6], SESSIONS, "XNYS")
    found = column((m.close > 4).days_since())
    assert found == [0, 1, 2, 0, 4, 5, 6, 7, 8, 0]  # from Thursday 1 April to Monday 5 April are 4 days
    assert np.isnan(column((m.close > 6).days_since())[:3]).all()


def test_days_without_a_calendar_are_those_of_the_labels_in_their_zone():
    index = pd.DatetimeIndex(["2021-03-26 20:00", "2021-03-26 23:00", "2021-03-27 01:00"], tz="America/New_York")
    m = market_of([2, 1, 1], index)
    feature = (m.close == 2).days_since()
    assert column(feature) == [0, 0, 1]
    for times in (m.times, index, index.tz_localize(None), index.tz_convert("UTC")):
        assert feature.stepper().feed(m.panels, times)[:, 0].tolist() == [0, 0, 1]


def test_a_lag_of_0_periods_is_the_value_at_the_end_of_the_last_and_delta_goes_from_there():
    m = market_of(range(1, 11), SESSIONS, "XNYS")
    assert column(m.close.lag(0, every="week_end"))[3:] == [4, 4, 4, 4, 4, 9, 9]
    assert column(m.close.delta(1, every="week_end"))[8:] == [5, 5]
    assert m.close.lag(0).node is m.close.node


def test_minute_bars_have_the_mean_of_days_through_winter_time_and_an_early_close():
    """Against pandas, with the closing times of New York written out: 16:00, and 13:00 on 25 November 2016."""
    times = calendar("XNYS").bars("1min", "2016-11-01", "2016-11-30")
    index = pd.DatetimeIndex(times.view("datetime64[ns]")).tz_localize("UTC").tz_convert("America/New_York")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(100 * np.exp(rng.normal(scale=1e-3, size=(len(index), 2)).cumsum(0)), index, ["A", "B"])
    m = Market.from_frames(close=frame, calendar="XNYS")
    at_close = np.where(index.date == pd.Timestamp("2016-11-25").date(), "13:00", "16:00")
    closing = frame[index.strftime("%H:%M") == at_close]
    assert len(closing) == 21  # sessions of November 2016
    expected = closing.rolling(5).mean().reindex(index, method="ffill")
    np.testing.assert_allclose(m.close.mean(5, every="day_end").values(), expected, rtol=1e-12)
    days = frame.groupby(index.date)
    expected = days.max().set_axis(closing.index).reindex(index, method="ffill")
    np.testing.assert_array_equal(m.close.resample("day_end", "max").values(), expected)
    live = m.close.mean(5, every="day_end").stepper()
    tail = live.feed({"close": m.panels["close"][:7_000]}, index[:7_000])[-1:]
    rows = [live.step({"close": m.panels["close"][t], "time": index[t]}) for t in range(7_000, len(index))]
    assert np.concatenate([tail, rows]).tobytes() == m.close.mean(5, every="day_end").values()[6_999:].tobytes()


@pytest.mark.parametrize(
    ("every", "rule"), [("week_end", "W"), ("month_end", "M"), ("quarter_end", "Q"), ("year_end", "Y")]
)
def test_real_prices_agree_with_pandas_by_period(every, rule):
    prices = pd.read_csv(SAMPLE, parse_dates=["event_time"], index_col="event_time")["close"]
    prices = prices["2000":"2009"].to_frame("SP500")
    m = Market.from_frames(close=prices, calendar="XNYS")
    periods = prices.groupby(prices.index.to_period(rule))
    ends = periods.tail(1).index  # the last session of each; that of 2009 included, as 2010 begins after it
    for how in ("last", "first", "min", "max", "sum", "mean"):
        expected = periods.agg(how).set_axis(ends).reindex(prices.index, method="ffill")
        np.testing.assert_allclose(m.close.resample(every, how).values(), expected, rtol=1e-12, err_msg=how)
    for name in ("mean", "std", "min", "max", "sum"):
        expected = getattr(periods.last().set_axis(ends).rolling(4), name)().reindex(prices.index, method="ffill")
        np.testing.assert_allclose(getattr(m.close, name)(4, every=every).values(), expected, rtol=1e-9, err_msg=name)
    expected = periods.last().set_axis(ends).ewm(span=6).mean().reindex(prices.index, method="ffill")
    np.testing.assert_allclose(m.close.ewm(6, every=every).values(), expected, rtol=1e-12)


def test_the_text_says_the_clock():
    m = market_of(range(1, 11), SESSIONS, "XNYS")
    texts = {
        'mean(close, 10, every="week_end")': m.close.mean(10, every="week_end"),
        "lag(close, 0, every=5)": m.close.lag(0, every=np.int64(5)),
        'resample(close, how="sum", every="month_end") / 2': m.close.resample("month_end", "sum") / 2,
        "days_since(close > 3)": f.days_since(m.close > 3),
    }
    for text, feature in texts.items():
        assert repr(feature) == feature.text() == text
        assert m.expression(text).node is feature.node
        assert feature.fields == ("close",)
    assert m.close.mean(10, every="week_end").node is not m.close.mean(10, every="month_end").node
    assert len({f.node.digest(each.node) for each in texts.values()}) == len(texts)


@pytest.mark.parametrize(
    "text",
    [
        'rank(close, every="week_end")',
        'days_since(close, every="week_end")',
        "resample(close)",
        "resample(close, 1)",
        'resample(close, 5, how="median")',
        'mean(close, 2, every="weekly")',
        "mean(close, 2, every=0)",
        "mean(close, 2, every=True)",
        "mean(close, 2, every=close)",
        "mean(close, 2, every=ends)",
        'ends("week_end")',
        "day()",
    ],
)
def test_a_clock_where_none_belongs_is_no_expression(text):
    m = market_of(range(1, 11), SESSIONS, "XNYS")
    with pytest.raises((InputError, UnknownNameError), match="In the expression's text, line 1"):
        m.expression(text)


def test_symbols_bind_inside_and_a_clock_is_no_symbol():
    m = market_of(np.arange(1, 41) ** 2, pd.bdate_range("2021-01-04", periods=40))
    n = f.symbol("n", Int(1, 9))
    open_ = m.close.mean(n, every="week_end") - m.close.lag(n - 1, every="week_end")
    program, memo = f.Program.of(open_), f.Memo(10**6)
    for value in (1, 3, 2, 3):
        shut = m.close.mean(value, every="week_end") - m.close.lag(value - 1, every="week_end")
        assert f.bind(open_.node, {"n": value}) is shut.node
        assert program.evaluate(m, {"n": value}).tobytes() == shut.values().tobytes()
        assert program.evaluate(m, {"n": value}, memo).tobytes() == shut.values().tobytes()
    assert memo.n_computed == 1 + 3 * 3  # the clock once, then three results a value
    with pytest.raises(f.NeedsValue):
        m.close.mean(3, every=n)
    with pytest.raises(
        InputError, match=r'`window >= 1` must hold, but window=0, in mean\(close, n, every="week_end"\)'
    ):
        f.Program.of(m.close.mean(n, every="week_end")).evaluate(m, {"n": 0})


def test_a_wrong_period_is_told():
    m = market_of(range(1, 11), SESSIONS, "XNYS")
    with pytest.raises(UnknownNameError, match="Unknown period 'weekend' .* Did you mean 'week_end'"):
        m.close.mean(3, every="weekend")
    with pytest.raises(InputError, match="`every >= 1` must hold, but every=0"):
        m.close.mean(3, every=0)
    for wrong in (2.5, True, ["week_end"]):
        with pytest.raises(InputError, match="`every` must be"):
            m.close.std(3, every=wrong)
    for wrong in (None, "bar", 1):
        with pytest.raises(InputError, match="`every` must be slower than the bars"):
            m.close.resample(wrong)
    with pytest.raises(UnknownNameError, match="'median' in resample.* Did you mean 'mean'"):
        m.close.resample("week_end", "median")
    with pytest.raises(InputError, match="needs a feature"):
        f.days_since(3)


def test_a_stepper_with_a_clock_needs_times_in_order():
    m = market_of(range(1, 11), SESSIONS, "XNYS")
    stepper = m.close.mean(1, every="week_end").stepper()
    assert stepper.timed
    assert not m.close.mean(1).stepper().timed
    with pytest.raises(InputError, match=r"uses a clock, so it needs to know when bars end: step\(\{..., 'time'"):
        stepper.step({"close": [1.0]})
    stepper.step({"close": [1.0], "time": "2021-03-29"})  # a date, as the market labels its bars
    state = stepper.state()
    with pytest.raises(InputError, match="one that ends at 2021-03-29 20:00:00 came after 2021-03-29 20:00:00"):
        stepper.step({"close": [1.0], "time": pd.Timestamp("2021-03-29T20:00Z")})
    with pytest.raises(DataError, match="2021-04-02 is a Friday, no session of XNYS"):
        stepper.step({"close": [1.0], "time": "2021-04-02"})
    with pytest.raises(InputError, match="must be a date or a moment"):
        stepper.step({"close": [1.0], "time": "soon"})
    with pytest.raises(InputError, match="one of .* is none"):
        stepper.step({"close": [1.0], "time": None})
    with pytest.raises(InputError, match="need times with a zone"):
        stepper.step({"close": [1.0], "time": "2021-03-30T16:00"})
    with pytest.raises(ShapeError, match=r"`times` has shape \(1,\)"):
        stepper.feed({"close": [[1.0], [2.0]]}, ["2021-03-30"])
    assert stepper.state() == state
    assert stepper.step({"close": [2.0], "time": SESSIONS[3]})[0] == 2.0


def test_a_field_called_time_and_a_clock_do_not_go_together():
    m = market_of(range(1, 11), SESSIONS, "XNYS").with_panels({"time": np.ones((10, 1))})
    assert m.time.mean(2).stepper().step({"time": [1.0]}).shape == (1,)
    with pytest.raises(InputError, match="rename the field"):
        m.time.mean(2, every=3).stepper()
