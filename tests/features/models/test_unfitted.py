"""A model that can predict nothing says so, and why: a table of missing values and no word would be unkind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import knowable as kn
from knowable.errors import DataError, InputError
from knowable.features.models.schedule import span_of
from knowable.features.models.unfitted import most_bars, why_unfitted
from knowable.testing.model_oracle import LeastSquares

RNG = np.random.default_rng(5)


def market(n_bars=120, freq="B", start="2020-01-01", **fields):
    index = pd.date_range(start, periods=n_bars, freq=freq)
    close = pd.DataFrame(100 * np.exp(np.cumsum(RNG.normal(0, 0.01, (n_bars, 6)), axis=0)), index, list("ABCDEF"))
    return kn.Market.from_frames(close=close, **fields)


class Silent(LeastSquares):
    """Has no opinion, ever."""

    def predict(self, x):
        return np.full(len(x), np.nan)


def predicted(m, window=5, estimator=None, **options):
    label = kn.label(m.close / m.close.lag(5) - 1, ahead=5)
    return kn.model(estimator or LeastSquares(), [m.close / m.close.lag(window) - 1], label, **options)


class Ranked(kn.Strategy):
    window = kn.Int(1, 200, default=5)

    def weights(self, m):
        return (predicted(m, self.window).rank() <= 2) / 2


def test_a_market_too_short_to_fit_is_told_with_the_count_of_bars_that_could_train() -> None:
    # features from row 30 on, labels known up to row 39 of 45 bars: rows 30 to 39 can train
    m = market(45)
    said = (
        "LeastSquares() predicts nothing: 10 of 45 bars have all features and a label known by the last one; "
        "a fit needs 20 (min_bars). A longer market or shorter windows help."
    )
    assert why_unfitted(predicted(m, 30)) == said
    assert why_unfitted(predicted(m, 30).rank() + 1) == said
    assert said in kn.backtest(Ranked(window=30), m, fill="next_close").warnings
    with pytest.raises(DataError, match=r"cannot be analysed: LeastSquares\(\) predicts nothing: 10 of 45"):
        predicted(m, 30).analyse(m)


def test_a_model_that_predicts_is_no_cause_for_words() -> None:
    m = market()
    assert why_unfitted(predicted(m)) is None
    assert why_unfitted(m.close) is None
    assert not any("predicts nothing" in each for each in kn.backtest(Ranked(), m, fill="next_close").warnings)


def test_an_estimator_without_opinions_and_a_rhythm_without_ends_are_told_too() -> None:
    m = market()
    assert "110 of 120 bars" in str(why_unfitted(predicted(m, estimator=Silent())))
    told = str(why_unfitted(predicted(m, refit="1y")))
    assert "a fit needs 20 (min_bars) within train='3y', at a bar of refit='year_end'" in told


def test_members_alone_count_as_those_who_train() -> None:
    m = market()
    index = m.index.tz_localize(None)
    inside = pd.DataFrame(False, index, m.assets)
    inside.iloc[50:60, 2] = True
    close = m.close.frame().set_axis(index)
    few = kn.Market.from_frames(close=close, universe=inside)
    assert "10 of 120 bars" in str(why_unfitted(predicted(few)))


@pytest.mark.parametrize(
    ("train", "wanted"),
    [("20d", 15), ("4w", 20), ("30d", 22), ("1mo", 23), ("3y", None), (30, 30), (None, None)],
)
def test_a_span_holds_at_most_the_days_of_the_week_that_trade(train, wanted) -> None:
    assert most_bars(span_of(train), market(120)) == wanted


def test_bars_within_a_day_count_each() -> None:
    assert most_bars(span_of("2w"), market(24 * 30, "h")) == 14 * 24
    assert most_bars(span_of("2w"), market(24 * 5, "h")) is None  # who knows what the other days hold


@given(n_days=st.integers(2, 60), start=st.dates(pd.Timestamp("2019-01-01").date(), pd.Timestamp("2020-12-31").date()))
def test_no_window_of_the_calendar_holds_more_than_is_said(n_days, start) -> None:
    m = market(100, "B", start)
    days = m.days.astype("int64")
    held = max(int(np.searchsorted(days, day, "right") - np.searchsorted(days, day - n_days, "right")) for day in days)
    most = most_bars(span_of(f"{n_days}d"), m)
    assert most is not None
    assert held <= most <= held + 2


def test_a_span_of_the_calendar_too_short_for_a_fit_is_refused_on_a_market_that_shows_it() -> None:
    with pytest.raises(InputError, match=r"train='20d' \(at most 15 bars of this market\), ahead=5, .*never be a fit"):
        predicted(market(), train="20d")
    assert np.isnan(predicted(market(10), train="20d").values()).all()  # a market that was cut says no more
    assert np.isfinite(predicted(market(), train="20d", min_bars=8).values()).any()
