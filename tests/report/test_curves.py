"""Thinning, drawdown and the monthly table against hand tables, slow Python and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.report.curves import drawdown, monthly_returns, same_start, thin

VALUES = st.floats(-1e6, 1e6) | st.just(float("nan"))


def curve(pairs):
    return pd.Series({pd.Timestamp(day): value for day, value in pairs})


@given(arrays(np.float64, st.tuples(st.integers(1, 400), st.integers(1, 2)), elements=VALUES), st.integers(12, 60))
def test_thinning_keeps_ends_and_extremes_of_every_column(values, limit):
    rows = thin(values, limit)
    assert rows[0] == 0
    assert rows[-1] == len(values) - 1
    assert (np.diff(rows) > 0).all()
    assert len(rows) <= max(limit, 2 + 2 * values.shape[1])
    for column in values.T:
        if np.isfinite(column).any():
            assert np.nanmax(column[rows]) == np.nanmax(column)
            assert np.nanmin(column[rows]) == np.nanmin(column)


def test_short_curve_is_not_thinned():
    assert thin(np.arange(5.0)[:, None], 5).tolist() == [0, 1, 2, 3, 4]


def test_thinning_keeps_one_bad_minute_in_a_million():
    values = np.linspace(1.0, 2.0, 1_000_000)
    values[654_321] = -7.0
    rows = thin(values[:, None], 5_000)
    assert 654_321 in rows
    assert len(rows) <= 5_000


def test_thinning_keeps_a_gap_of_nan():
    values = np.ones(10_000)
    values[3_000:6_000] = np.nan
    rows = thin(values[:, None], 100)
    assert np.isnan(values[rows]).sum() >= 10


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0.01, 1e6) | st.just(float("nan"))))
def test_drawdown_equals_slow_python(equity):
    peak, expected = None, []
    for value in equity:
        if np.isnan(value):
            expected.append(np.nan)
            continue
        peak = value if peak is None else max(peak, value)
        expected.append(value / peak - 1.0)
    np.testing.assert_allclose(drawdown(equity), expected, rtol=0, atol=1e-15)


def test_drawdown_of_nothing_above_zero_is_absent():
    assert np.isnan(drawdown(np.array([0.0, -1.0, np.nan]))).all()


def test_monthly_table_equals_a_hand_table():
    equity = curve(
        [
            ("2019-11-15", 100.0),  # the first value: November counts from here
            ("2019-11-29", 110.0),  # +10 %
            ("2019-12-16", 50.0),
            ("2019-12-31", 99.0),  # -10 %
            ("2020-02-28", 118.8),  # January has no bar; +20 % over December
            ("2020-03-31", float("nan")),  # not known: March stays blank
            ("2021-01-29", 118.8),  # 0 %
        ]
    )
    table = monthly_returns(equity)
    assert table.index.tolist() == [2019, 2020, 2021]
    expected = np.full((3, 13), np.nan)
    expected[0, 10], expected[0, 11], expected[0, 12] = 0.10, -0.10, -0.01
    expected[1, 1], expected[1, 12] = 0.20, 0.20
    expected[2, 0], expected[2, 12] = 0.0, 0.0
    np.testing.assert_allclose(table.to_numpy(), expected, atol=1e-12)


@given(arrays(np.float64, st.integers(2, 200), elements=st.floats(1.0, 1e4)))
def test_years_compound_to_the_whole_span(values):
    equity = pd.Series(values, index=pd.date_range("2020-01-10", periods=len(values), freq="7D"))
    total = float((1.0 + monthly_returns(equity)["year"]).prod())
    assert total == pytest.approx(values[-1] / values[0], rel=1e-9)


def test_months_follow_the_zone_of_the_labels():
    index = pd.DatetimeIndex(["2020-01-31 12:00", "2020-02-01 02:00"], tz="UTC")
    equity = pd.Series([100.0, 110.0], index=index)
    assert monthly_returns(equity).loc[2020, 2] == pytest.approx(0.1)
    there = monthly_returns(equity.tz_convert("America/New_York"))
    assert there.loc[2020, 1] == pytest.approx(0.1)
    assert np.isnan(there.loc[2020, 2])


def test_a_year_without_known_value_is_blank_and_nothing_known_is_no_row():
    equity = curve([("2018-12-31", 10.0), ("2019-06-28", float("nan")), ("2020-01-31", 11.0)])
    assert monthly_returns(equity).loc[2019].isna().all()
    assert monthly_returns(equity * np.nan).empty


def test_a_month_that_starts_at_nothing_has_no_return():
    equity = curve([("2020-01-31", 10.0), ("2020-02-28", 0.0), ("2020-03-31", 5.0)])
    table = monthly_returns(equity)
    assert table.loc[2020, 2] == -1.0
    assert np.isnan(table.loc[2020, 3])
    assert np.isnan(table.loc[2020, "year"])


def test_benchmark_starts_where_equity_starts():
    equity = np.array([np.nan, 100.0, 120.0])
    assert same_start(np.array([3.0, 4.0, 5.0]), equity).tolist() == [75.0, 100.0, 125.0]
    lost = np.full(3, np.nan)
    assert same_start(lost, equity) is lost
