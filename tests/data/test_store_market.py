"""From a store to a market: what each row had seen, what the fills use, and when the decision falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import DataError, InputError, UnknownNameError

DAYS = ["2016-03-01", "2016-03-02", "2016-03-03", "2016-03-04", "2016-03-07"]


def bars(entity: str, known: str, closes: list[float], days: list[str] = DAYS) -> pd.DataFrame:
    """Daily closes known at that hour of the next day."""
    dates = pd.to_datetime(days)
    return pd.DataFrame(
        {
            "entity": entity,
            "event_time": days,
            "known_time": (dates + pd.Timedelta(known)).tz_localize("UTC"),
            "close": closes,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    made.create("facts", Schema.facts(fields={"eps": "USD/share", "close": "USD"}))
    return made


def test_a_bar_revised_after_its_decision_shows_the_old_value_and_fills_use_the_new(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    revision = bars("AAA", "30h", [20.0], ["2016-03-02"])  # known the next morning
    store.append("bars", revision)
    at_the_close = store.market("bars")
    np.testing.assert_array_equal(at_the_close.panel("close")[:, 0], [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(at_the_close.final_panel("close")[:, 0], [1, 20, 3, 4, 5])
    overnight = store.market("bars", decide="before_next_open")
    np.testing.assert_array_equal(overnight.panel("close")[:, 0], [1, 20, 3, 4, 5])


def test_unrevised_bars_share_their_panels(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    market = store.market("bars")
    assert market.final is market.panels or market.final["close"] is market.panels["close"]
    assert set(market.panels) == {"close"}, "fields that were never supplied are absent"


def test_the_market_is_dated_by_its_bars_and_pinned(store: Store) -> None:
    store.append("bars", bars("BBB", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    store.append("bars", bars("AAA", "21h", [1.0, 2.0], DAYS[1:3]))
    market = store.market("bars", start="2016-03-02", end="2016-03-04")
    assert market.assets == ("AAA", "BBB")
    assert [str(t) for t in market.index] == [f"2016-03-0{d} 21:00:00+00:00" for d in (2, 3, 4)]
    np.testing.assert_array_equal(market.panel("close"), [[1, 2], [2, 3], [np.nan, 4]])
    assert market.calendar == "XNYS"
    assert market.pins[0]["dataset"] == "bars"
    assert market.pins[0]["version"] == "2"
    assert store.market("bars", entities=["BBB", "AAA"]).assets == ("BBB", "AAA")
    assert store.market("bars", version=1).assets == ("BBB",)


def test_bars_that_arrive_overnight_need_a_later_decision(store: Store) -> None:
    store.append("bars", bars("AAA", "36h", [1.0, 2.0, 3.0, 4.0, 5.0]))  # noon UTC of the next day
    with pytest.raises(DataError, match=r"5 of 5 bars.*0 days 15:00:00") as caught:
        store.market("bars")
    assert "decide='before_next_open'" in str(caught.value)
    market = store.market("bars", decide="before_next_open")
    np.testing.assert_array_equal(market.panel("close")[:, 0], [1, 2, 3, 4, 5])
    opens = pd.to_datetime(
        ["2016-03-02T14:30Z", "2016-03-03T14:30Z", "2016-03-04T14:30Z", "2016-03-07T14:30Z", "2016-03-08T14:30Z"]
    )
    np.testing.assert_array_equal(market.decision_times, opens.as_unit("ns").asi8 - 1)
    later = store.market("bars", decide="16h")
    np.testing.assert_array_equal(later.panel("close")[:, 0], [1, 2, 3, 4, 5])


def test_a_few_late_bars_are_missing_and_counted(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0], DAYS[:4]))
    store.append("bars", bars("AAA", "36h", [5.0], DAYS[4:]))
    market = store.market("bars")
    assert np.isnan(market.panel("close")[4, 0])
    assert market.final_panel("close")[4, 0] == 5.0
    assert "1 of 5 bars" in market.notes[0]


def test_a_decision_may_not_fall_into_the_next_bar(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    with pytest.raises(InputError, match="the next bar has begun"):
        store.market("bars", decide="18h")
    with pytest.raises(UnknownNameError, match="Did you mean 'bar_end'"):
        store.market("bars", decide="bars_end")
    store.create("free", Schema.bars())
    hours = pd.date_range("2016-03-01", periods=3, freq="h", tz="UTC")
    frame = pd.DataFrame({"entity": "AAA", "event_time": hours, "known_time": hours, "close": 1.0})
    store.append("free", frame)
    with pytest.raises(InputError, match="needs one bar a session of an exchange"):
        store.market("free", decide="before_next_open")
    assert store.market("free", decide="30min").n_bars == 3


def test_facts_beside_the_bars_are_as_known_at_each_decision(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    store.append("bars", bars("BBB", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    facts = pd.DataFrame(
        {
            "entity": ["AAA", "AAA", "AAA"],
            "event_time": pd.to_datetime(["2015-12-31", "2015-12-31", "2015-09-30"], utc=True),
            "known_time": pd.to_datetime(["2016-03-02T20:00", "2016-03-03T22:00", "2016-03-04T12:00"], utc=True),
            "eps": [1.0, 1.1, 0.9],
            "close": [7.0, 8.0, 9.0],
        }
    )
    store.append("facts", facts)
    market = store.market("bars", also=["facts"])
    nan = np.nan
    np.testing.assert_array_equal(market.panel("eps"), [[nan, nan], [1, nan], [1, nan], [1.1, nan], [1.1, nan]])
    np.testing.assert_array_equal(market.panel("facts_close")[:, 0], [nan, 7, 7, 8, 8])
    np.testing.assert_array_equal(market.panel("close")[:, 0], [1, 2, 3, 4, 5])
    assert [pin["dataset"] for pin in market.pins] == ["bars", "facts"]


def test_facts_about_something_else_are_refused_with_a_remedy(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    when = pd.Timestamp("2016-01-31", tz="UTC")
    store.append("facts", pd.DataFrame({"entity": ["GDP"], "event_time": [when], "known_time": [when], "eps": [1.0]}))
    with pytest.raises(DataError, match="concern none of the 1 assets"):
        store.market("bars", also=["facts"])
    with pytest.raises(InputError, match="takes datasets of facts"):
        store.market("bars", also=["bars"])
    with pytest.raises(InputError, match="needs a dataset of bars"):
        store.market("facts")


def test_an_empty_span_says_what_there_is(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    with pytest.raises(DataError, match="from 2016-03-01 to 2016-03-07"):
        store.market("bars", start="2020-01-01")
    with pytest.raises(InputError, match="start <= end"):
        store.market("bars", start="2016-03-04", end="2016-03-02")
    with pytest.raises(UnknownNameError, match="Did you mean 'AAA'"):
        store.market("bars", entities=["AAAA"])


def test_bars_known_later_never_change_an_earlier_row(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    before = store.market("bars").panel("close")
    store.append("bars", bars("AAA", "40h", [9.0, 9.0, 9.0], DAYS[:3]))
    after = store.market("bars")
    assert after.panel("close").tobytes() == before.tobytes()
    assert after.final_panel("close")[0, 0] == 9.0


def test_a_second_call_maps_the_same_market_and_a_damaged_one_is_built_again(store: Store) -> None:
    store.append("bars", bars("AAA", "21h", [1.0, 2.0, 3.0, 4.0, 5.0]))
    first = store.market("bars")
    again = Store(store.folder).market("bars")
    assert again.fingerprint == first.fingerprint
    for path in (store.folder / ".cache" / "markets").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    mended = Store(store.folder).market("bars")
    np.testing.assert_array_equal(mended.panel("close")[:, 0], [1, 2, 3, 4, 5])


def test_round_the_clock_days_end_at_midnight(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("coins", Schema.bars(calendar="24/7"))
    frame = pd.DataFrame({"entity": "BTC", "event_time": ["2016-03-05", "2016-03-06"], "close": [400.0, 410.0]})
    store.append("coins", frame, known_lag="0s")
    market = store.market("coins", start="2016-03-05", end="2016-03-06")
    assert [str(t) for t in market.index] == ["2016-03-06 00:00:00+00:00", "2016-03-07 00:00:00+00:00"]
    assert store.market("coins", start="2016-03-06").n_bars == 1
