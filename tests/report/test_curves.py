"""Thinning and drawdown against hand tables, slow Python and laws."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.report.curves import drawdown, same_start, thin

VALUES = st.floats(-1e6, 1e6) | st.just(float("nan"))


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


def test_benchmark_starts_where_equity_starts():
    equity = np.array([np.nan, 100.0, 120.0])
    assert same_start(np.array([3.0, 4.0, 5.0]), equity).tolist() == [75.0, 100.0, 125.0]
    lost = np.full(3, np.nan)
    assert same_start(lost, equity) is lost
