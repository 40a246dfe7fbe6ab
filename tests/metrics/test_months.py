"""Returns by month against hand tables and laws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.metrics import months


def curve(pairs):
    return pd.Series({pd.Timestamp(day): value for day, value in pairs})


def monthly_returns(equity: pd.Series, initial: float | None = None) -> pd.DataFrame:
    days = equity.index.tz_localize(None).to_numpy().astype("datetime64[D]")
    return months.monthly_returns(equity.to_numpy(dtype=float), days, initial)


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


def test_the_first_month_and_year_count_from_what_was_before():
    table = monthly_returns(curve([("2020-01-31", 110.0), ("2020-02-28", 121.0)]), 100.0)
    np.testing.assert_allclose(table.loc[2020, [1, 2, "year"]].astype(float), [0.1, 0.1, 0.21])
