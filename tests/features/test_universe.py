"""Where a market has a universe, rows are crossed by members only, and windows see everything."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable import features as f
from knowable.data.market import Market
from knowable.errors import DataError, UnknownNameError

NAN = np.nan
INDEX = pd.date_range("2020-01-01", periods=4, freq="D")
CLOSE = pd.DataFrame([[1.0, 2.0, 4.0], [1.0, 3.0, 9.0], [2.0, 4.0, 8.0], [5.0, 4.0, 3.0]], INDEX, list("ABC"))
MEMBERS = pd.DataFrame([[1, 1, 0], [1, 0, 1], [0, 0, 0], [1, 1, 1]], INDEX, list("ABC")).astype(bool)


@pytest.fixture
def m() -> Market:
    return Market.from_frames(close=CLOSE, universe=MEMBERS)


@pytest.mark.parametrize(
    ("cross", "expected"),
    [
        (lambda x: x.rank(), [[1, 2, NAN], [1, NAN, 2], [NAN, NAN, NAN], [3, 2, 1]]),
        (lambda x: x.rank(descending=True), [[2, 1, NAN], [2, NAN, 1], [NAN, NAN, NAN], [1, 2, 3]]),
        (lambda x: x.demean(), [[-0.5, 0.5, NAN], [-4, NAN, 4], [NAN, NAN, NAN], [1, 0, -1]]),
        (lambda x: x.cross_sum(), [[3, 3, 3], [10, 10, 10], [NAN, NAN, NAN], [12, 12, 12]]),
        (lambda x: x.zscore(), [[-(0.5**0.5), 0.5**0.5, NAN], [-(0.5**0.5), NAN, 0.5**0.5], [NAN] * 3, [1, 0, -1]]),
    ],
)
def test_cross_sections_see_members_only(m, cross, expected) -> None:
    np.testing.assert_allclose(cross(m.close).values(), expected, rtol=1e-15)


def test_a_newcomer_has_its_past(m) -> None:
    """C enters on the second bar; its change since the first is known, though it was no member then."""
    np.testing.assert_array_equal(m.close.delta(1).values()[1], [0, 1, 5])
    np.testing.assert_array_equal(m.close.mean(2).values()[1], [1, 2.5, 6.5])
    np.testing.assert_array_equal(m.close.delta(1).rank().values()[1], [1, NAN, 2])


def test_a_lag_of_a_rank_is_the_rank_among_the_members_of_then(m) -> None:
    np.testing.assert_array_equal(m.close.rank().lag(1).values()[1:], m.close.rank().values()[:-1])


def test_a_universe_of_everything_changes_no_bit() -> None:
    plain = Market.from_frames(close=CLOSE)
    everything = Market.from_frames(close=CLOSE, universe=MEMBERS | True)
    for cross in (f.rank, f.zscore, f.demean, f.cross_sum):
        x = cross(everything.close.delta(1) / everything.close)
        y = cross(plain.close.delta(1) / plain.close)
        assert x.values().tobytes() == y.values().tobytes()


def test_the_expression_says_that_it_sees_members(m) -> None:
    assert repr(m.close.lag(1).rank()) == "rank(members(lag(close, 1), universe))"
    assert repr(m.close.mean(2)) == "mean(close, 2)"
    assert m.close.rank().stepper().fields == ("close", "universe")


def test_a_text_that_names_members_needs_a_universe(m) -> None:
    plain = Market.from_frames(close=CLOSE)
    with pytest.raises(UnknownNameError, match="universe"):
        plain.expression(m.close.rank().text())


def test_a_universe_holds_yes_and_no_only() -> None:
    for value, text in ((0.5, "0.5"), (NAN, "nan"), (2.0, "2")):
        wrong = MEMBERS.astype(float)
        wrong.iloc[2, 1] = value
        with pytest.raises(DataError, match=f"`universe` of 'B' must be 1 .* or 0, but it is {text} at 2020-01-03"):
            Market.from_frames(close=CLOSE, universe=wrong)
    with pytest.raises(DataError, match="must be 1"):
        Market.from_frames(close=CLOSE).with_universe(CLOSE.to_numpy(), "prices")


def test_the_market_says_how_many_are_members(m) -> None:
    assert m.notes == ("Universe: the panel given; on average 1.8 of 3 assets are members.",)
    again = m.with_universe(np.ones(m.shape, bool), "all")
    assert again.notes == ("Universe: all; on average 3.0 of 3 assets are members.",)
    assert again.fingerprint != m.fingerprint
    assert kn.Market.from_frames(close=CLOSE).notes == ()
