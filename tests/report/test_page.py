"""What a page refuses, and how it says so."""

import pickle

import numpy as np
import pandas as pd
import pytest

from knowable.errors import InputError, ShapeError, UnknownNameError
from knowable.report import Doubt, Page


def test_benchmark_of_other_length_is_refused_with_both_lengths(make_walk):
    with pytest.raises(ShapeError, match=r"`benchmark` has 9 rows; it needs the 10 rows of `equity`.*reindex"):
        Page(title="t", equity=make_walk(10), benchmark=make_walk(9))


def test_benchmark_of_other_days_is_refused_naming_the_first(make_walk):
    other = make_walk(10)
    other.index = other.index[:-1].append(pd.DatetimeIndex(["2030-01-01"]))
    with pytest.raises(ShapeError, match=r"first differ in row 9: 2030-01-01"):
        Page(title="t", equity=make_walk(10), benchmark=other)


@pytest.mark.parametrize(
    ("equity", "error", "words"),
    [
        ([1.0, 2.0], InputError, "must be a pandas Series, but a list came"),
        (pd.Series([1.0, 2.0]), ShapeError, "needs a DatetimeIndex, but its index is a RangeIndex"),
        (pd.Series([], index=pd.DatetimeIndex([]), dtype=float), ShapeError, "has no rows"),
        (pd.Series([1.0, 2.0], index=pd.to_datetime(["2020-01-02", "2020-01-01"])), ShapeError, "strictly increasing"),
        (pd.Series([1.0, 2.0], index=pd.to_datetime(["2020-01-02", "2020-01-02"])), ShapeError, "strictly increasing"),
        (pd.Series(["a"], index=pd.to_datetime(["2020-01-02"])), InputError, "must hold numbers"),
        (pd.Series([np.inf], index=pd.to_datetime(["2020-01-02"])), InputError, "infinite"),
    ],
)
def test_equity_that_is_no_curve_is_refused(equity, error, words):
    with pytest.raises(error, match=words):
        Page(title="t", equity=equity)


def test_unknown_parameter_column_offers_the_nearest(make_page):
    with pytest.raises(UnknownNameError, match="Did you mean 'lookback'"):
        make_page(parameters=("lookbak",))
    with pytest.raises(UnknownNameError, match="Did you mean 'sharpe'"):
        make_page(objective="sharp")


def test_other_wrong_kinds_are_refused(make_page):
    with pytest.raises(InputError, match="`warnings` must be a tuple of sentences"):
        make_page(warnings="one sentence")
    with pytest.raises(InputError, match=r"`metrics\['sharpe'\]` must be a number, but 'high' came"):
        make_page(metrics={"sharpe": "high"})
    with pytest.raises(InputError, match="`trades` must be a DataFrame or None, but a list came"):
        make_page(trades=[])
    with pytest.raises(InputError, match="`level` must be one of good, caution, bad"):
        Doubt(name="n", value=0.0, shown="0", sentence="s", level="terrible")


def test_a_page_pickles(make_page):
    page = make_page()
    again = pickle.loads(pickle.dumps(page))
    assert again.title == page.title
    pd.testing.assert_series_equal(again.equity, page.equity)
