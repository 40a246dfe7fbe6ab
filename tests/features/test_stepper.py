"""The live driver: rows in, rows out, a state on disk."""

import numpy as np
import pandas as pd
import pytest

from knowable.data.market import Market
from knowable.errors import ShapeError, StoreError, UnknownNameError

INDEX = pd.date_range("2020-01-01", periods=300, freq="D")


@pytest.fixture
def m():
    rng = np.random.default_rng(0)
    made = {
        name: pd.DataFrame(rng.random((300, 3)) + 1, index=INDEX, columns=list("ABC")) for name in ("close", "volume")
    }
    return Market.from_frames(**made)


@pytest.fixture
def feature(m):
    ratio = m.close.mean(20) / m.close.ewm(7) - m.close.lag(3).std(5)
    return ratio.rank() * m.volume.max(30) + m.volume.min(4).sum(6) - 1 / (2 + m.close)


def bar(m, t):
    return {name: panel[t] for name, panel in m.panels.items()}


def test_history_in_one_call_and_then_bar_by_bar(m, feature):
    stepper = feature.stepper(m)
    early = stepper.feed({name: panel[:250] for name, panel in m.panels.items()})
    late = [stepper.step(bar(m, t)) for t in range(250, 300)]
    assert np.vstack([early, late]).tobytes() == feature.values().tobytes()
    assert stepper.n_bars == 300
    assert stepper.fields == ("close", "volume")


def test_two_steppers_do_not_share_state(m, feature):
    one, two = feature.stepper(m), feature.stepper(m)
    one.feed(m.panels)
    assert two.feed(m.panels).tobytes() == feature.values().tobytes()


def test_a_row_may_be_a_list_and_further_fields_are_ignored(m):
    stepper = (m.close + 1).stepper(m)
    row = stepper.step({"close": [1, 2.5, np.nan], "open": "not a row"})
    np.testing.assert_array_equal(row, [2, 3.5, np.nan])
    assert not row.flags.writeable


def test_state_is_the_same_bytes_after_a_restore(m, feature):
    stepper = feature.stepper(m)
    stepper.feed({name: panel[:77] for name, panel in m.panels.items()})
    state = stepper.state()
    fresh = feature.stepper(m)
    fresh.restore(state)
    assert fresh.state() == state
    assert fresh.n_bars == 77
    assert fresh.step(bar(m, 77)).tobytes() == stepper.step(bar(m, 77)).tobytes()


def test_a_wrong_bar_is_refused_and_changes_nothing(m, feature):
    stepper = feature.stepper(m)
    stepper.step(bar(m, 0))
    state = stepper.state()
    with pytest.raises(UnknownNameError, match="Unknown field 'volume' in the bar. Did you mean 'volum'"):
        stepper.step({"close": m.panels["close"][1], "volum": m.panels["volume"][1]})
    with pytest.raises(ShapeError, match=r"'volume' has shape \(2,\); the stepper needs 3 assets a bar, for 1 bar\."):
        stepper.step({"close": m.panels["close"][1], "volume": [1, 2]})
    with pytest.raises(ShapeError, match="for 5 bars"):
        stepper.feed({"close": m.panels["close"][:5], "volume": m.panels["volume"][:4]})
    assert stepper.state() == state


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(m, feature):
    stepper = feature.stepper(m)
    stepper.feed(m.panels)
    state = stepper.state()
    fresh = feature.stepper(m)
    untouched = fresh.state()
    flipped = bytearray(state)
    flipped[len(flipped) // 2] ^= 1
    for bad, text in (
        (bytes(flipped), "damaged"),
        (state[:-1], "damaged"),
        (state[:40], "no stepper state"),
        (b"", "no stepper state"),
        (b"\x80\x04pickle", "no stepper state"),
        (m.close.mean(20).stepper(m).state(), "of another expression"),
    ):
        with pytest.raises(StoreError, match=text):
            fresh.restore(bad)
    assert fresh.state() == untouched
    two = Market.from_frames(close=m.close.frame()[["A", "B"]], volume=m.volume.frame()[["A", "B"]])
    with pytest.raises(StoreError, match="of another assets"):
        feature.stepper(two).restore(state)


def test_a_stepper_of_an_absent_field_is_refused(m):
    only_close = Market.from_frames(close=m.close.frame())
    with pytest.raises(UnknownNameError, match="Unknown field 'volume'"):
        m.volume.stepper(only_close)
