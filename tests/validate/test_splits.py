"""Walk-forward and combinatorial cuts against hand tables and laws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowable.errors import InputError
from knowable.validate.splits import cpcv, cpcv_paths, walk_forward


def rows(pair: tuple[int, int]) -> list[int]:
    return list(range(*pair))


def test_walk_forward_gives_the_worked_example() -> None:
    folds = walk_forward(12, train=4, test=2, purge=1)
    assert [(rows(f.train), rows(f.test)) for f in folds] == [
        ([0, 1, 2, 3], [5, 6]),
        ([2, 3, 4, 5], [7, 8]),
        ([4, 5, 6, 7], [9, 10]),
    ]
    assert [f.number for f in folds] == [0, 1, 2]


def test_embargo_widens_the_gap_as_purge_does_and_anchoring_keeps_the_first_bar() -> None:
    folds = walk_forward(12, train="4b", test="2b", purge=1, embargo=1, anchored=True)
    assert [(f.train, f.test) for f in folds] == [((0, 4), (6, 8)), ((0, 6), (8, 10)), ((0, 8), (10, 12))]


@given(
    n=st.integers(1, 300),
    train=st.integers(1, 60),
    test=st.integers(1, 60),
    purge=st.integers(0, 5),
    embargo=st.integers(0, 5),
    anchored=st.booleans(),
)
def test_folds_never_overlap_keep_the_gap_and_test_ranges_follow_on(n, train, test, purge, embargo, anchored) -> None:
    folds = walk_forward(n, train, test, purge, embargo, anchored=anchored, min_folds=0)
    assert len(folds) == max(0, (n - train - purge - embargo) // test)
    for fold in folds:
        assert fold.test[0] - fold.train[1] == purge + embargo
        assert fold.test[1] - fold.test[0] == test
        assert fold.test[1] <= n
        assert fold.train[0] == (0 if anchored else fold.train[1] - train)
    for before, after in itertools.pairwise(folds):
        assert after.test[0] == before.test[1]


def business_days(start: str, end: str, hour: int = 21) -> pd.DatetimeIndex:
    return pd.bdate_range(start, end, tz="UTC") + pd.Timedelta(hours=hour)


def test_calendar_lengths_cut_on_calendar_boundaries() -> None:
    index = business_days("2010-01-04", "2016-12-30")
    folds = walk_forward(index, train="3y", test="1y")
    spans = [(str(index[a].date()), str(index[b - 1].date())) for f in folds for a, b in (f.train, f.test)]
    assert spans == [
        ("2010-01-04", "2013-01-03"),
        ("2013-01-04", "2014-01-03"),
        ("2011-01-04", "2014-01-03"),
        ("2014-01-06", "2015-01-02"),
        ("2012-01-04", "2015-01-02"),
        ("2015-01-05", "2016-01-01"),
    ]  # the next test would end on 2017-01-04; the data end on 2016-12-30, three trading days short


def test_a_last_test_that_ends_with_the_data_counts_although_its_end_date_has_no_bar() -> None:
    index = business_days("2015-04-01", "2017-03-31")
    folds = walk_forward(index, train="1y", test="3mo", purge=2)
    assert len(folds) == 4
    assert folds[-1].test[1] == len(index)
    assert all(f.test[0] - f.train[1] == 2 for f in folds)
    assert [str(index[f.train[1]].date()) for f in folds] == ["2016-04-01", "2016-07-01", "2016-10-03", "2017-01-02"]


def test_calendar_test_ranges_follow_on_through_daylight_saving_and_month_ends() -> None:
    index = pd.bdate_range("2011-01-31 16:00", "2014-12-31 16:00", tz="America/New_York").tz_convert("UTC")
    folds = walk_forward(index, train="6mo", test="1mo", purge=3, embargo=1)
    assert folds
    for before, after in itertools.pairwise(folds):
        assert after.test[0] == before.test[1]
        assert 15 <= after.test[1] - after.test[0] <= 27


def test_labels_may_be_nanoseconds_or_datetime64() -> None:
    index = business_days("2015-04-01", "2017-03-31")
    expected = walk_forward(index, "1y", "6mo")
    assert walk_forward(index.as_unit("ns").asi8, "1y", "6mo") == expected
    assert walk_forward(index.tz_localize(None).to_numpy(), "1y", "6mo") == expected
    assert walk_forward(index, 252, 126) == walk_forward(len(index), "252b", "126b")


def test_too_short_a_history_says_how_many_folds_fit_and_what_came() -> None:
    index = business_days("2015-04-01", "2017-03-31")
    with pytest.raises(
        InputError, match=r"0 folds of train='3y', test='1y'.*523 bars, 2015-04-01 to 2017-03-31"
    ) as info:
        walk_forward(index, "3y", "1y")
    assert "shorter `train`" in str(info.value)
    with pytest.raises(InputError, match=r"1 fold of train=100.*at least 2"):
        walk_forward(150, 100, 50, min_folds=2)
    with pytest.raises(InputError, match="0 folds"):
        walk_forward(index[:1], "1y", "1y")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"train": "3m", "test": "1y"}, 'Months are "mo"'),
        ({"train": "three years", "test": "1y"}, "`train` must be a positive length"),
        ({"train": 0, "test": 5}, "`train` must be a positive length"),
        ({"train": True, "test": 5}, "`train` must be a positive length"),
        ({"train": 10.0, "test": 5}, "`train` must be a positive length"),
        ({"train": "1y", "test": 5}, "both be bars or both calendar"),
        ({"train": 5, "test": 5, "purge": -1}, "`purge >= 0`"),
        ({"train": 5, "test": 5, "embargo": 0.5}, "`embargo >= 0`"),
        ({"train": "1y", "test": "1y"}, "Pass market.index"),
    ],
)
def test_malformed_lengths_are_named(kwargs, message) -> None:
    with pytest.raises(InputError, match=message):
        walk_forward(100, **kwargs)


def test_unsorted_or_float_labels_are_refused() -> None:
    index = business_days("2015-04-01", "2017-03-31")
    with pytest.raises(InputError, match="strictly increasing"):
        walk_forward(index[::-1], "1y", "3mo")
    with pytest.raises(InputError, match="dtype float64"):
        walk_forward(np.arange(100.0), 10, 5)


def test_a_hole_in_the_data_that_empties_a_range_is_named() -> None:
    index = business_days("2010-01-01", "2014-12-31")
    index = index[(index.year != 2012)]
    with pytest.raises(InputError, match="no bar in its test range"):
        walk_forward(index, "1y", "1mo")


def test_cpcv_gives_the_worked_example() -> None:
    splits = cpcv(12, folds=3, test_folds=2, purge=1, embargo=1)
    assert [s.train.tolist() for s in splits] == [[10, 11], [6], [0, 1, 2]]
    assert [s.test for s in splits] == [((0, 4), (4, 8)), ((0, 4), (8, 12)), ((4, 8), (8, 12))]
    assert len(cpcv_paths(3, 2)) == 2
    assert not splits[0].train.flags.writeable


@given(n=st.integers(20, 120), folds=st.integers(2, 7), data=st.data())
def test_cpcv_keeps_training_rows_clear_of_every_test_row(n, folds, data) -> None:
    test_folds = data.draw(st.integers(1, folds - 1))
    purge, embargo = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    try:
        splits = cpcv(n, folds, test_folds, purge, embargo)
    except InputError:
        assert n // folds <= 2 * purge + embargo  # only then can a training block vanish
        return
    assert len(splits) == math.comb(folds, test_folds)
    for split in splits:
        tested = {row for pair in split.test for row in rows(pair)}
        slow = [
            row
            for row in range(n)
            if row not in tested
            and not any(row + k in tested for k in range(1, purge + 1))
            and not any(row - k in tested for k in range(1, purge + embargo + 1))
        ]
        assert split.train.tolist() == slow


@given(folds=st.integers(2, 8), data=st.data())
def test_cpcv_paths_use_each_test_block_of_each_split_once(folds, data) -> None:
    test_folds = data.draw(st.integers(1, folds - 1))
    paths = cpcv_paths(folds, test_folds)
    splits = cpcv(10 * folds, folds, test_folds)
    used = [(path[block], block) for path in paths for block in range(folds)]
    served = [(s.number, block) for s in splits for block in s.test_blocks]
    assert sorted(used) == sorted(served)
    assert len(paths) * folds == math.comb(folds, test_folds) * test_folds


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((12, 1, 1), "2 <= folds"),
        ((3, 4, 1), "2 <= folds"),
        ((12, 3, 3), "1 <= test_folds < folds"),
        ((12, 3, 1, -1), "`purge >= 0`"),
        ((12, 3, 2, 8), "keeps no training row"),
    ],
)
def test_impossible_cpcv_is_refused(args, message) -> None:
    with pytest.raises(InputError, match=message):
        cpcv(*args)
