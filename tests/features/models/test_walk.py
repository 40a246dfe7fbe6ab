"""Predictions of models fitted as time goes by: against a slow walk forward, and the laws of every operator."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import knowable as kn
from knowable import features as f
from knowable.features.models.cache import KEPT
from knowable.testing.model_oracle import LeastSquares, slow_walk

SESSIONS = exchange_calendars.get_calendar("XNYS", start="2014-01-01", end="2019-12-31").sessions
MONTH_ENDS = set(SESSIONS.to_series().groupby(SESSIONS.to_period("M")).max())
WEEK_ENDS = set(SESSIONS.to_series().groupby(SESSIONS.to_period("W-SUN")).max())
QUARTER_ENDS = set(SESSIONS.to_series().groupby(SESSIONS.to_period("Q")).max())


def prices(n_bars=300, n_assets=4, seed=0, gaps=0.03):
    """Prices of which some are missing, on sessions of XNYS."""
    rng = np.random.default_rng(seed)
    index = SESSIONS[SESSIONS >= "2015-03-10"][:n_bars]
    made = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (n_bars, n_assets)), axis=0))
    made[rng.random(made.shape) < gaps] = np.nan
    return pd.DataFrame(made, index, [f"A{j}" for j in range(n_assets)])


def market(frame, **fields):
    return kn.Market.from_frames(close=frame, calendar="XNYS", missing="allow", **fields)


def parts(m, ahead=5):
    x = [m.close / m.close.lag(1) - 1, m.close / m.close.mean(7) - 1]
    return x, kn.label(m.close / m.close.lag(ahead) - 1, ahead=ahead)


def model_of(m, ahead=5, **options):
    x, label = parts(m, ahead)
    return kn.model(LeastSquares(), x, label, **options)


def expected(m, ahead=5, members=None, **options):
    x, label = parts(m, ahead)
    frames = [each.frame() for each in x]
    return slow_walk(LeastSquares, frames, label.feature.frame(), ahead=ahead, members=members, **options)


def rows_of(m, days):
    return {k for k, day in enumerate(m.index) if day in days}


CASES = {
    "monthly, a year": ({"train": "1y", "refit": "1mo"}, {"train": pd.DateOffset(years=1)}, MONTH_ENDS),
    "monthly, three months": ({"train": "3mo", "refit": "month_end"}, {"train": pd.DateOffset(months=3)}, MONTH_ENDS),
    "quarterly, 20 weeks": ({"train": "20w", "refit": "3mo"}, {"train": pd.DateOffset(weeks=20)}, QUARTER_ENDS),
    "weekly, 90 days": ({"train": "90d", "refit": "1w"}, {"train": pd.DateOffset(days=90)}, WEEK_ENDS),
    "weekly, all, purged": (
        {"train": None, "refit": "1w", "purge": 3, "embargo": 4}, {"train": None, "gap": 7}, WEEK_ENDS,
    ),
    "every 17 bars, 80 bars": ({"train": 80, "refit": 17}, {"train": 80}, 17),
    "every 10 bars, 60 bars, purged": ({"train": "60b", "refit": "10b", "purge": 2}, {"train": 60, "gap": 2}, 10),
    "every day, many needed": ({"train": None, "refit": "1d", "min_bars": 150}, {"train": None, "min_bars": 150}, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_a_walk_forward_written_slowly_in_pandas(case) -> None:
    options, slow, when = CASES[case]
    m = market(prices())
    rows = rows_of(m, when) if isinstance(when, set) else set(range(0, m.n_bars, when))
    found = model_of(m, **options).frame()
    wanted = expected(m, fit_rows=rows, **{"min_bars": 20, **slow})
    assert 30 < wanted.notna().any(axis=1).sum() < 295
    np.testing.assert_allclose(found.to_numpy(), wanted.to_numpy(), rtol=1e-9, atol=1e-9)


def test_without_a_rhythm_it_is_fitted_once_as_soon_as_there_is_enough() -> None:
    m = market(prices(gaps=0.0))
    found = model_of(m, train=None, refit=None, min_bars=30)
    # the mean of 7 is there from row 6 on, and the label of row 6 + 29 is known at row 35 + 5
    wanted = expected(m, fit_rows={40}, train=None, min_bars=30)
    np.testing.assert_allclose(found.values(), wanted.to_numpy(), rtol=1e-9, atol=1e-9)
    assert np.isnan(found.values()[:40]).all()
    assert np.isfinite(found.values()[40:]).all()


def test_only_members_train_and_all_are_predicted() -> None:
    frame = prices(gaps=0.0)
    rng = np.random.default_rng(5)
    members = pd.DataFrame(rng.random(frame.shape) < 0.6, frame.index, frame.columns)
    m = market(frame, universe=members)
    found = model_of(m, train=100, refit=20).values()
    wanted = expected(m, fit_rows=set(range(0, 300, 20)), train=100, min_bars=20, members=members)
    np.testing.assert_allclose(found, wanted.to_numpy(), rtol=1e-9, atol=1e-9)
    assert np.isfinite(found[40:]).all()
    without = model_of(market(frame), train=100, refit=20).values()
    assert not np.isclose(without[40:], found[40:]).all()


class Mean:
    """Predicts the mean of the labels it was trained with."""

    def fit(self, x, y):
        self.mean = y.mean()

    def predict(self, x):
        return np.full((len(x), 1), self.mean)


def test_a_fit_by_hand() -> None:
    index = pd.date_range("2020-01-01", periods=8, freq="D")
    close = pd.DataFrame({"A": [1.0, 2, 3, 4, 5, 6, 7, 8], "B": [10.0, 20, 30, 40, 50, 60, 70, 80]}, index)
    m = kn.Market.from_frames(close=close)
    found = kn.model(Mean(), [m.close], kn.label(m.close, ahead=2), train=5, refit=3, min_bars=1).values()
    # at row 3: rows 0 and 1 train, labels 3, 4 and 30, 40; at row 6: rows 2 to 4 of those after row 1, labels 5 to 7
    one, two = (3 + 4 + 30 + 40) / 4, (5 + 6 + 7 + 50 + 60 + 70) / 6
    by_hand = [np.nan] * 3 + [one] * 3 + [two] * 2
    np.testing.assert_array_equal(found, np.column_stack([by_hand, by_hand]))


@pytest.mark.parametrize(("purge", "embargo", "newest"), [(None, None, 24), (3, None, 21), (None, 2, 22), (3, 2, 19)])
def test_a_fit_is_trained_by_rows_whose_label_was_known_and_no_later_one(purge, embargo, newest) -> None:
    seen = {}

    class Spy:
        def fit(self, x, y):
            seen["x"], seen["y"], seen["place"] = x.copy(), y.copy(), x.ctypes.data

        def predict(self, x):
            return x[:, 0]

    index = pd.date_range("2020-01-01", periods=40, freq="D")
    number = pd.DataFrame({"A": np.arange(40.0), "B": np.arange(40.0)}, index)
    m = kn.Market.from_frames(close=number + 1, number=number)
    KEPT.clear()
    options = {"train": 15 + newest % 2, "refit": 30, "min_bars": 1, "purge": purge, "embargo": embargo}
    kn.model(Spy(), [m.number, -m.number], kn.label(m.number, ahead=6), **options).values()
    assert seen["x"][-1].tolist() == [newest, -newest]
    assert seen["y"][-1] == newest + 6
    assert seen["x"][0, 0] == 31 - options["train"]
    np.testing.assert_array_equal(seen["x"][:, 0], np.repeat(np.arange(seen["x"][0, 0], newest + 1), 2))
    assert seen["place"] % 64 == 0


def test_a_missing_or_infinite_feature_or_label_trains_nothing_and_predicts_nothing() -> None:
    frame = prices(120, 3, gaps=0.0)
    x, y = 1 / frame.pct_change(), 1 / frame.pct_change().abs()
    x.iloc[50, 0], x.iloc[51, 1], x.iloc[100, 2] = np.nan, 0.0, -0.0
    y.iloc[60, 0], y.iloc[61, 1] = 0.0, np.nan
    m = market(frame, x=x, y=y)
    label = kn.label(1 / m.y, ahead=2)
    found = kn.model(LeastSquares(), [1 / m.x], label, train=None, refit=30, min_bars=5).values()
    wanted = slow_walk(LeastSquares, [1 / x], 1 / y, ahead=2, fit_rows={30, 60, 90}, train=None, min_bars=5)
    np.testing.assert_allclose(found, wanted.to_numpy(), rtol=1e-9, atol=1e-9)
    assert np.argwhere(np.isnan(found[30:])).tolist() == [[20, 0], [21, 1], [70, 2]]


@st.composite
def cases(draw, most_bars=80):
    """A small market with gaps and perhaps a universe, and a model on it, perhaps within a longer expression."""
    n_bars, n_assets = draw(st.integers(30, most_bars)), draw(st.integers(1, 3))
    frame = prices(n_bars, n_assets, draw(st.integers(0, 10**6)), draw(st.sampled_from([0.0, 0.1])))
    fields = {}
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 10**6)))
        fields["universe"] = pd.DataFrame(rng.random(frame.shape) < 0.7, frame.index, frame.columns)
    m = market(frame, **fields)
    predicted = model_of(
        m,
        ahead=draw(st.integers(1, 6)),
        train=draw(st.sampled_from([None, 30, "1mo", "40d", "2mo"])),
        refit=draw(st.sampled_from([None, 1, 7, "1w", "1mo"])),
        purge=draw(st.sampled_from([None, 0, 3])),
        embargo=draw(st.sampled_from([None, 2])),
        min_bars=draw(st.sampled_from([1, 5])),
    )
    whole = draw(
        st.sampled_from(
            [
                lambda x: x, lambda x: x.rank(), lambda x: x.lag(2).mean(3) - x,
                lambda x: kn.model(LeastSquares(), [x, m.close.delta(2)], kn.label(x, 2), train=None, min_bars=2),
            ]
        )
    )  # fmt: skip
    return m, whole(predicted)


def fed(stepper, m, first, last):
    panels = {name: panel[first:last] for name, panel in m.panels.items()}
    return stepper.feed(panels, m.times[first:last])


law = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])


@given(case=cases(), cuts=st.lists(st.integers(0, 80), max_size=4))
@law
def test_any_chunking_gives_the_bits_of_the_batch(case, cuts) -> None:
    m, feature = case
    batch = feature.values()
    KEPT.clear()
    stepper, edges = feature.stepper(), [0, *sorted(min(cut, m.n_bars) for cut in cuts), m.n_bars]
    pieces = [fed(stepper, m, first, last) for first, last in pairwise(edges)]
    assert np.concatenate(pieces).tobytes() == batch.tobytes()


@given(case=cases(most_bars=45), stop=st.integers(0, 45))
@law
def test_bar_by_bar_with_a_restart_in_between_gives_the_bits_of_the_batch(case, stop) -> None:
    m, feature = case
    batch = feature.values()
    KEPT.clear()
    stepper, rows = feature.stepper(), []
    for t in range(m.n_bars):
        if t == stop:
            fresh = feature.stepper()
            fresh.restore(stepper.state())
            assert fresh.state() == stepper.state()
            stepper = fresh
        bar = {name: panel[t] for name, panel in m.panels.items()}
        rows.append(stepper.step({**bar, "time": m.times[t]}))
    assert np.array(rows).tobytes() == batch.tobytes()


@given(case=cases(), cut=st.integers(1, 80), seed=st.integers(0, 2**32 - 1))
@law
def test_later_rows_never_change_earlier_bits(case, cut, seed) -> None:
    m, feature = case
    cut = min(cut, m.n_bars)
    batch = feature.values()[:cut].tobytes()
    assert f.evaluate(feature, m.until(cut)).tobytes() == batch
    rng = np.random.default_rng(seed)
    other = {name: panel.copy() for name, panel in m.panels.items()}
    other["close"][cut:] = rng.random((m.n_bars - cut, m.n_assets)) * 1000
    if "universe" in other:
        other["universe"][cut:] = rng.random((m.n_bars - cut, m.n_assets)) < 0.5
    KEPT.clear()
    assert f.evaluate(feature, m.with_panels(other))[:cut].tobytes() == batch


def test_a_state_holds_what_later_fits_need_and_no_more() -> None:
    m = market(prices(300, 4, gaps=0.0))
    feature = model_of(m, train=60, refit=10)
    stepper = feature.stepper()
    sizes = []
    for t in range(300):
        stepper.step({"close": m.panels["close"][t]})
        sizes.append(len(stepper.state()))
    assert max(sizes[100:]) == max(sizes[200:])
    assert max(sizes[100:]) - min(sizes[100:]) <= 10 * 4 * (8 * 3 + 1) + 10 * 8 + 100


HERE = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
import importlib.util
spec = importlib.util.spec_from_file_location("walk", {file!r})
walk = importlib.util.module_from_spec(spec)
spec.loader.exec_module(walk)
m = walk.market(walk.prices(160, 3))
feature = walk.model_of(m, train="3mo", refit="1mo")
stepper = feature.stepper()
stepper.restore(open({state!r}, "rb").read())
sys.stdout.buffer.write(walk.fed(stepper, m, 101, 160).tobytes())
"""


def test_another_process_goes_on_from_a_stored_state_with_the_bits_of_the_batch(tmp_path) -> None:
    m = market(prices(160, 3))
    feature = model_of(m, train="3mo", refit="1mo")
    stepper = feature.stepper()
    fed(stepper, m, 0, 101)
    (tmp_path / "state").write_bytes(stepper.state())
    code = HERE.format(tests=str(tmp_path), file=__file__, state=str(tmp_path / "state"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == feature.values()[101:].tobytes()


def test_assets_in_another_order_give_the_same_predictions_in_that_order() -> None:
    frame = prices()
    names = list(frame.columns[::-1])
    one, other = (model_of(market(each), train="6mo").frame() for each in (frame, frame[names]))
    np.testing.assert_allclose(one[names].to_numpy(), other.to_numpy(), rtol=1e-9, atol=1e-12)


def test_inputs_are_not_changed() -> None:
    m = market(prices())
    before = m.panels["close"].tobytes()
    assert not model_of(m).values().flags.writeable
    assert m.panels["close"].tobytes() == before


def test_a_market_without_a_calendar_is_fitted_at_the_latest_on_the_first_bar_of_a_period() -> None:
    index = pd.date_range("2020-01-01", periods=400, freq="6h")
    close = pd.DataFrame({"A": np.random.default_rng(0).random(400) + 1}, index)
    m = kn.Market.from_frames(close=close)
    found = kn.model(Mean(), [m.close], kn.label(m.close, ahead=1), refit="1mo", train=None, min_bars=2).frame()
    first = found["A"].first_valid_index()
    assert first == pd.Timestamp("2020-02-01 00:00")
    assert found["A"].loc[first] == pytest.approx(close["A"].loc["2020-01-01 06:00":first].mean())
