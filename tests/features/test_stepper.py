"""The live driver: rows in, rows out, a state on disk."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from knowable.data.market import Market
from knowable.errors import DataError, InputError, ShapeError, StoreError, UnknownNameError
from knowable.features.operators import OPERATORS
from knowable.features.state import pack, unpack

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
    with pytest.raises(ShapeError, match="'volume' has 4 bars, but 'close' has 5"):
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
    with pytest.raises(StoreError, match="of other assets: it has .'C'. beside"):
        feature.stepper(two).restore(state)


def test_a_stepper_of_an_absent_field_is_refused(m):
    only_close = Market.from_frames(close=m.close.frame())
    with pytest.raises(UnknownNameError, match="Unknown field 'volume'"):
        m.volume.stepper(only_close)


def test_feeding_goes_on_after_a_restore_in_any_pieces(m, feature):
    whole, stepper, at, rows = feature.values(), feature.stepper(m), 0, []
    for to in (0, 1, 7, 7, 90, 91, 200, 300):
        fresh = feature.stepper(m)
        fresh.restore(stepper.state())
        rows.append(fresh.feed({name: panel[at:to] for name, panel in m.panels.items()}))
        stepper, at = fresh, to
    assert np.vstack(rows).tobytes() == whole.tobytes()
    assert stepper.n_bars == 300


def test_assets_in_another_order_are_named_and_refused(m, feature):
    state = feature.stepper(m).state()
    turned = Market.from_frames(close=m.close.frame()[["B", "A", "C"]], volume=m.volume.frame()[["B", "A", "C"]])
    with pytest.raises(StoreError, match="another order: 'A' stands at place 0, where the stepper has 'B'"):
        feature.stepper(turned).restore(state)


def test_labels_of_a_row_are_held_against_the_assets(m):
    stepper = m.close.mean(2).stepper()
    row = pd.Series([1.0, 2.0, 3.0], index=list("ABC"))
    stepper.step({"close": row})
    stepper.feed({"close": pd.DataFrame([[1.0, 2.0, 3.0]], columns=list("ABC"))})
    state = stepper.state()
    for wrong in (row[["B", "A", "C"]], row.rename({"C": "D"})):
        with pytest.raises(ShapeError, match="'close' is labelled .* but the stepper's assets are"):
            stepper.step({"close": wrong})
        with pytest.raises(ShapeError, match="reindex"):
            stepper.feed({"close": wrong.to_frame().T})
    assert stepper.state() == state


@pytest.mark.parametrize(
    ("rows", "kind", "text"),
    [
        ([1, 2], ShapeError, r"shape \(2,\); the stepper needs 3 assets"),
        ([[1], [2], [3]], ShapeError, r"shape \(3, 1\)"),
        (5.0, ShapeError, r"shape \(\)"),
        (["a", "b", "c"], InputError, "a number for each asset"),
        ({"A": 1.0, "B": 2.0, "C": 3.0}, InputError, "a number for each asset"),
        (np.array([1.0, 2.0, 3.0j]), InputError, "complex numbers"),
        (np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]), InputError, "masked array; what is missing must be NaN"),
    ],
)
def test_a_row_that_is_none_is_refused_and_changes_nothing(m, rows, kind, text):
    stepper = m.close.mean(2).stepper()
    stepper.step({"close": [1, 2, None]})
    state = stepper.state()
    with pytest.raises(kind, match=text):
        stepper.step({"close": rows})
    assert stepper.state() == state


@pytest.mark.parametrize("given", [None, [1, 2, 3], pd.Series([1.0, 2, 3], ["A", "B", "C"]), np.ones((4, 3)), 5])
def test_a_row_in_the_place_of_a_bar_is_told_what_a_bar_is(m, given):
    stepper = m.close.mean(2).stepper()
    for take in (stepper.step, stepper.feed):
        with pytest.raises(InputError, match=r"is a dict of fields, \{'close': \.\.\.\}, but a \w+ came"):
            take(given)
    assert stepper.n_bars == 0


@pytest.mark.parametrize("rows", [[1.0, 2.0, 3.0], [[1.0, 2.0]], [[[1.0, 2.0, 3.0]]], 5.0, [[1, 2, 3], [4, 5]]])
def test_panels_that_only_have_the_right_number_of_values_are_refused(m, rows):
    stepper = m.close.mean(2).stepper()
    with pytest.raises(InputError, match="'close'"):
        stepper.feed({"close": rows})
    with pytest.raises(InputError, match="'close'"):
        stepper.feed({"close": np.ones((3, 4)).reshape(6, 2)})
    assert stepper.n_bars == 0


def test_a_row_of_a_field_alone_is_the_steppers_own(m):
    """A feed that fills one array with bar after bar must not change what was given out."""
    stepper, buffer = m.close.stepper(), np.array([1.0, 2.0, 3.0])
    row = stepper.step({"close": buffer})
    buffer[:] = 9
    assert row.tolist() == [1, 2, 3]
    assert not row.flags.writeable


def test_a_universe_of_a_bar_is_yes_or_no(m):
    within = m.with_universe(np.ones(m.shape), "all")
    stepper = within.close.rank().stepper()
    assert stepper.step({"close": [1, 2, 3], "universe": [True, False, True]}).tolist()[::2] == [1, 2]
    for wrong in ([1, 0, 0.5], [1, 0, np.nan]):
        with pytest.raises(DataError, match="`universe` of 'C' must be 1"):
            stepper.step({"close": [1, 2, 3], "universe": wrong})
    assert stepper.n_bars == 1


def test_after_an_interruption_in_the_middle_of_a_bar_only_a_restore_helps(m, feature, monkeypatch):
    from knowable.features import stepper as module

    stepper = feature.stepper(m)
    stepper.step(bar(m, 0))
    state = stepper.state()
    calls = []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 5:
            raise KeyboardInterrupt
        run_operator(*given)

    run_operator = module.run_operator
    with monkeypatch.context() as patch:
        patch.setattr(module, "run_operator", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stepper.step(bar(m, 1))
    for act in (lambda: stepper.step(bar(m, 1)), lambda: stepper.feed(m.panels), stepper.state):
        with pytest.raises(StoreError, match="interrupted in the middle of a bar"):
            act()
    stepper.restore(state)
    assert stepper.step(bar(m, 1)).tobytes() == feature.values()[1].tobytes()


def test_a_state_of_another_version_of_an_operator_is_refused(m, feature, monkeypatch):
    state = feature.stepper(m).state()
    monkeypatch.setitem(OPERATORS, "ewm", replace(OPERATORS["ewm"], version=2))
    with pytest.raises(StoreError, match="another layout, so another release stored it"):
        feature.stepper(m).restore(state)


def test_a_state_of_another_clock_is_refused():
    days = pd.bdate_range("2021-03-01", periods=5)
    frame = pd.DataFrame(1.0, index=days, columns=["A"])
    plain, exchange = Market.from_frames(close=frame), Market.from_frames(close=frame, calendar="XNYS")
    state = plain.close.mean(2, every="week_end").stepper().state()
    with pytest.raises(StoreError, match="calendar and zone .None, 'None'.; this stepper's has .'XNYS'"):
        exchange.close.mean(2, every="week_end").stepper().restore(state)
    exchange.close.mean(2).stepper().restore(plain.close.mean(2).stepper().state())  # no clock, no matter


def test_a_window_beyond_all_memory_is_named(m):
    with pytest.raises(InputError, match=r"`mean\(close, 1000000000000000\)` carries more bars than fit"):
        m.close.mean(10**15).stepper()
    assert np.isnan(m.close.mean(10**15).values()).all()


def test_a_forged_header_with_a_right_checksum_is_refused(m, feature):
    stepper = feature.stepper(m)
    header, body = unpack(stepper.state())
    arrays = [np.frombuffer(body, np.uint8)]
    header.pop("arrays")
    for change in ({"n_bars": "1"}, {"states": None}, {"assets": {}}, {}):
        with pytest.raises(StoreError, match="header|layout"):
            stepper.restore(pack({**header, **change}, arrays))
    with pytest.raises(StoreError, match="does not read"):
        stepper.restore(pack({}, arrays))
    with pytest.raises(StoreError, match="is bytes, but a str came"):
        stepper.restore("state")


def test_feeding_a_history_keeps_no_more_panels_than_the_batch():
    wide = Market.build(
        times=np.arange(1, 2_001) * 86_400_000_000_000, assets=tuple("ABCDE"), panels={"close": np.ones((2_000, 5))}
    )
    x = wide.close
    for k in range(60):
        x = x + k
    tracemalloc.start()
    x.stepper().feed(wide.panels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2_000 * 5 * 8
