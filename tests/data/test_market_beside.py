"""What stands beside the bars of a market, what of a large table is read for one, and clocks within the day."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.data.asof import load as loading
from knowable.data.asof.beside import Trailing
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.data.table import delta
from knowable.errors import DataError, InputError, UnknownNameError

DAYS = ["2016-03-01", "2016-03-02", "2016-03-03", "2016-03-04"]
NAN = np.nan


def rows(*found: tuple[object, ...], fields: tuple[str, ...] = ()) -> pd.DataFrame:
    frame = pd.DataFrame(list(found), columns=["entity", "event_time", "known_time", *fields])
    for name in ("event_time", "known_time"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    for entity in ("AAA", "BBB"):
        known = [f"{day}T21:00" for day in DAYS]
        frame = rows(*((entity, k, k, 10.0) for k in known), fields=("close",))
        made.append("bars", frame)
    return made


def test_a_trailing_sum_counts_a_restated_quarter_as_restated(store: Store) -> None:
    """1 + 2 + 3 + 4 = 10 by the first evening; the second quarter is restated to 5 on the third day: 13."""
    store.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    store.append(
        "facts",
        rows(
            ("AAA", "2015-03-31", "2015-05-01", 1.0),
            ("AAA", "2015-06-30", "2015-08-01", 2.0),
            ("AAA", "2015-09-30", "2015-11-01", 3.0),
            ("AAA", "2015-12-31", "2016-03-01T20:00", 4.0),
            ("AAA", "2015-06-30", "2016-03-03T12:00", 5.0),
            fields=("eps",),
        ),
    )
    ttm = Trailing("facts", "eps", k=4, name="eps_ttm")
    market = store.market("bars", also=["facts", ttm, Trailing("facts", "eps", k=2, reduce="max")])
    np.testing.assert_array_equal(market.panel("eps_ttm"), [[10, NAN], [10, NAN], [13, NAN], [13, NAN]])
    np.testing.assert_array_equal(market.panel("eps_max2")[:, 0], [4, 4, 4, 4])
    np.testing.assert_array_equal(market.panel("eps")[:, 0], [4, 4, 4, 4])
    assert [pin["dataset"] for pin in market.pins] == ["bars", "facts"]
    short = store.market(
        "bars", also=[{"dataset": "facts", "field": "eps", "k": 4, "within": "200d", "name": "eps_ttm"}]
    )
    assert np.isnan(short.panel("eps_ttm")).all()


def test_events_are_counted_on_the_bar_that_saw_them(store: Store) -> None:
    store.create("ratings", Schema.events(fields={"grade": "1"}))
    store.append(
        "ratings",
        rows(
            ("AAA", "2016-02-01", "2016-02-01", 1.0),
            ("AAA", "2016-03-02T12:00", "2016-03-02T12:00", 2.0),
            ("AAA", "2016-03-02T13:00", "2016-03-02T13:00", 3.0),
            ("BBB", "2016-03-03T22:00", "2016-03-03T22:00", 4.0),  # after the close: the next bar
            fields=("grade",),
        ),
    )
    market = store.market("bars", also=["ratings"])
    np.testing.assert_array_equal(market.panel("n_ratings"), [[NAN, NAN], [2, 0], [0, 0], [0, 1]])
    np.testing.assert_array_equal(market.panel("grade"), [[NAN, NAN], [3, NAN], [NAN, NAN], [NAN, 4]])


def test_intervals_say_who_is_in_as_known(store: Store) -> None:
    store.create("index", Schema.intervals(calendar="XNYS"))
    frame = rows(("AAA", "2016-03-02T14:30", "2016-03-02T22:00"), ("BBB", "2016-03-01T14:30", "2016-02-01"))
    store.append("index", frame.assign(end=[None, "2016-03-03T14:30Z"]))
    market = store.market("bars", also=["index"])
    np.testing.assert_array_equal(market.panel("in_index"), [[0, 1], [0, 1], [1, 0], [1, 0]])


def test_what_cannot_stand_beside_bars_is_told(store: Store) -> None:
    store.create("estimates", Schema.facts(fields={"eps": "USD/share"}, keys=["broker"]))
    one = rows(("AAA", "2015-12-31", "2016-01-01", 1.0), fields=("eps",))
    store.append("estimates", one.assign(broker="x"))
    with pytest.raises(InputError, match="told apart by broker"):
        store.market("bars", also=["estimates"])
    store.create("facts", Schema.facts(fields={"eps": "USD/share"}))
    store.append("facts", one)
    with pytest.raises(InputError, match=r"`k >= 1` periods must hold in Trailing, but k=0"):
        Trailing("facts", "eps", k=0)
    with pytest.raises(UnknownNameError, match="Did you mean 'sum'"):
        Trailing("facts", "eps", k=4, reduce="summ")
    with pytest.raises(UnknownNameError, match="Unknown number field 'esp'"):
        store.market("bars", also=[Trailing("facts", "esp", k=4)])
    with pytest.raises(InputError, match="Two panels of the market would be called 'facts_eps_sum4'"):
        store.market("bars", also=[Trailing("facts", "eps", k=4)] * 3)
    with pytest.raises(InputError, match="Trailing takes a dataset of facts"):
        store.market("bars", also=[Trailing("bars", "close", k=4)])
    with pytest.raises(UnknownNameError, match="Unknown dataset 'fact'"):
        store.market("bars", also=[Trailing("fact", "eps", k=4)])


@pytest.fixture
def minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two sessions of half-hour bars of four assets, and nothing small enough to be held whole."""
    monkeypatch.setattr(loading, "WHOLE_BYTES", 0)
    made = Store(tmp_path / "minutes")
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    ends = [pd.Timestamp(f"{day}T15:00Z") + k * pd.Timedelta("30min") for day in DAYS[:2] for k in range(13)]
    for j, entity in enumerate(("AAA", "BBB", "CCC", "DDD")):
        close = 100.0 + j + np.arange(26.0)
        close[13:] /= 2 if entity == "BBB" else 1
        frame = pd.DataFrame({"entity": entity, "event_time": ends, "known_time": ends, "close": close})
        made.append("bars", frame)
    made.create("actions", Schema.actions(calendar="XNYS"))
    split = rows(("BBB", "2016-03-02T14:30", "2016-02-01"))
    made.append("actions", split.assign(type="split", ratio=2.0))
    return made


def test_an_intraday_market_is_adjusted_at_the_first_bar_of_the_ex_date(minutes: Store) -> None:
    market = minutes.market("bars", actions="actions", entities=["BBB", "AAA"])
    assert market.shape == (26, 2)
    assert market.bars_per_year == 252 * 13
    np.testing.assert_array_equal(market.panel("close")[:, 0], 101.0 + np.arange(26.0))
    np.testing.assert_array_equal(market.panel("split_factor")[:, 0], np.repeat([1.0, 2.0], 13))
    assert market.actions.row.tolist() == [13]


def test_only_the_rows_of_its_span_and_assets_are_read(minutes: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = minutes.market("bars")
    counted: list[int] = []
    plain = delta.scan

    def counting(*args: object, **options: object) -> object:
        found = plain(*args, **options)
        counted.append(found.num_rows)
        return found

    monkeypatch.setattr(delta, "scan", counting)
    part = Store(minutes.folder).market("bars", start="2016-03-02", entities=["CCC", "BBB"])
    assert max(counted) == 26
    np.testing.assert_array_equal(part.panel("close"), whole.panel("close")[13:, [2, 1]])


def test_an_asset_without_bars_in_the_span_is_a_column_of_nan_and_an_unknown_one_an_error(minutes: Store) -> None:
    late = pd.Timestamp("2016-03-03T15:00Z")
    minutes.append("bars", pd.DataFrame({"entity": ["EEE"], "event_time": late, "known_time": late, "close": 1.0}))
    market = minutes.market("bars", end="2016-03-02", entities=["EEE", "AAA"])
    assert np.isnan(market.panel("close")[:, 0]).all()
    with pytest.raises(UnknownNameError, match="Did you mean 'EEE'"):
        minutes.market("bars", entities=["EEF"])
    with pytest.raises(DataError, match=r"it has 105 rows from 2016-03-01 to 2016-03-03"):
        minutes.market("bars", start="2017-01-03")
