"""Tickers and permanent ids: who bore which name when, as known, and rows of a vendor that knows tickers only."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.data.corporate.identity import OPEN, Bearer, make_names
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import InputError, UnknownNameError

# FB becomes META on 2022-06-09; the ticker META had been another company's until 2021; FB is then reused.
TICKERS = [
    ("id-facebook", "2012-05-18", "2022-06-09", "FB"),
    ("id-facebook", "2022-06-09", None, "META"),
    ("id-metacorp", "2015-01-02", "2021-03-01", "META"),
    ("id-proshares", "2023-03-01", None, "FB"),
]


def tickers(rows: list[tuple[str, str, str | None, str]], known: str = "2010-01-01") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["entity", "event_time", "end", "ticker"])
    frame["known_time"] = pd.Timestamp(known, tz="UTC")
    return frame


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("tickers", Schema.intervals(keys=["ticker"], calendar="XNYS"))
    made.append("tickers", tickers(TICKERS))
    return made


def test_a_ticker_names_who_bore_it_at_that_moment(store: Store) -> None:
    assert store.identify("tickers", ["FB", "META"], at="2020-06-01") == ["id-facebook", "id-metacorp"]
    assert store.identify("tickers", ["META"], at="2022-06-09") == ["id-facebook"]
    assert store.identify("tickers", ["FB"], at="2022-06-08") == ["id-facebook"]
    assert store.identify("tickers", ["FB"], at="2024-01-02") == ["id-proshares"]
    assert store.identify("tickers", ["FB"], at="2022-06-09T13:29Z") == ["id-facebook"], "until the session opens"
    assert store.names("tickers", ["id-facebook", "id-metacorp"], at="2021-02-26") == ["FB", "META"]
    assert store.names("tickers", ["id-facebook"], at="2022-06-11") == ["META"], "a Saturday: the session before it"


def test_an_unknown_ticker_offers_the_nearest_and_an_old_one_says_whose_it_was(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="Unknown ticker 'METAA' in dataset 'tickers'. Did you mean 'META'?"):
        store.identify("tickers", ["METAA"], at="2020-06-01")
    with pytest.raises(UnknownNameError) as caught:
        store.identify("tickers", ["FB"], at="2022-12-01")
    assert str(caught.value).splitlines()[0] == (
        "Nobody bears the ticker 'FB' on 2022-12-01 in dataset 'tickers'; it named id-facebook (2012-05-18 to "
        "2022-06-09), id-proshares (2023-03-01 to now)."
    )
    with pytest.raises(UnknownNameError, match=r"bears no name on 2022-01-03 .* it bore META \(2015-01-02 to 2021-03"):
        store.names("tickers", ["id-metacorp"], at="2022-01-03")
    with pytest.raises(InputError, match="`at` must be a date or a moment"):
        store.identify("tickers", ["FB"], at=None)


def test_a_ticker_of_two_entities_at_once_is_told(store: Store) -> None:
    store.append("tickers", tickers([("id-other", "2020-01-02", None, "FB")], known="2020-01-02"))
    assert store.identify("tickers", ["FB"], at="2020-06-01", as_of="2019-12-31T00:00Z") == ["id-facebook"]
    with pytest.raises(InputError, match=r"names 2 entities on 2020-06-01 .* id-facebook \(.*id-other"):
        store.identify("tickers", ["FB"], at="2020-06-01")


def test_a_ticker_change_is_seen_when_it_is_known(store: Store) -> None:
    store.append("tickers", tickers([("id-new", "2024-01-02", None, "NEW")], known="2024-01-03T12:00"))
    with pytest.raises(UnknownNameError, match="Unknown ticker 'NEW'"):
        store.identify("tickers", ["NEW"], at="2024-01-02", as_of="2024-01-02T22:00Z")
    assert store.identify("tickers", ["NEW"], at="2024-01-02") == ["id-new"]


def test_an_open_interval_ends_where_the_entitys_next_one_begins(tmp_path: Path) -> None:
    made = Store(tmp_path)
    made.create("tickers", Schema.intervals(fields={"ticker": Schema.field("text", dtype="string")}))
    rows = [("a", "2010-01-01", None, "OLD"), ("a", "2015-01-01", None, "NEW"), ("b", "2016-01-01", None, "OLD")]
    made.append("tickers", tickers(rows), tz="UTC")
    assert made.identify("tickers", ["OLD"], at="2014-12-31") == ["a"]
    assert made.identify("tickers", ["OLD", "NEW"], at="2017-01-01") == ["b", "a"]
    with pytest.raises(UnknownNameError, match=r"it named a \(2010-01-01 to 2015-01-01\), b \(2016-01-01 to now\)"):
        made.identify("tickers", ["OLD"], at="2015-06-01")


def test_names_need_a_dataset_of_tickers(store: Store) -> None:
    store.create("members", Schema.intervals(keys=["index"]))
    with pytest.raises(InputError, match=r"need a dataset of intervals with the key or text field 'ticker'"):
        store.identify("members", ["FB"], at="2020-06-01")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(1, 9) | st.none(),
                          st.sampled_from(["X", "Y"])), max_size=7, unique_by=lambda r: (r[0], r[1])),
       st.lists(st.tuples(st.sampled_from(["X", "Y", "Z", None]), st.integers(-1, 20)), min_size=1,
                max_size=20))  # fmt: skip
@settings(max_examples=2 * settings().max_examples, deadline=None)
def test_mapping_rows_agrees_with_looking_each_one_up(
    said: list[tuple[str, int, int | None, str]], asked: list[tuple[str | None, int]]
) -> None:
    """The oracle: an interval runs to its end or to the entity's next start, and is looked through one by one."""
    when = pa.timestamp("us", "UTC")
    rows = pa.table(
        {
            "entity": pa.array([e for e, _, _, _ in said], pa.string()),
            "event_time": pa.array([s for _, s, _, _ in said], when),
            "end": pa.array([None if n is None else s + n for _, s, n, _ in said], when),
            "ticker": pa.array([t for _, _, _, t in said], pa.string()),
        }
    )
    names = make_names(rows, Schema.intervals(keys=["ticker"]), "tickers")
    words, times = pa.array([w for w, _ in asked], pa.string()), np.array([t * 1000 for _, t in asked], np.int64)
    got = names.mapped(words, times)
    for k, (word, t) in enumerate(asked):
        held = set()
        for entity, start, length, ticker in said:
            starts = [s for e, s, _, _ in said if e == entity and s > start]
            end = start + length if length is not None else min(starts, default=OPEN)
            if ticker == word and start <= t < end:
                held.add(entity)
        assert bool(got.unknown[k]) == (word is not None and not held)
        assert bool(got.ambiguous[k]) == (len(held) > 1)
        assert got.entity[k].as_py() == (held.pop() if len(held) == 1 else word)


def test_names_travel_to_another_process() -> None:
    rows = pa.table(
        {
            "entity": ["a"],
            "event_time": pa.array([0], pa.timestamp("us", "UTC")),
            "end": pa.array([None], pa.timestamp("us", "UTC")),
            "ticker": ["X"],
        }
    )
    names = make_names(rows, Schema.intervals(keys=["ticker"]), "tickers", {"version": "1"})
    back = pickle.loads(pickle.dumps(names))
    assert (back.by_name, back.by_entity, back.pin) == (names.by_name, names.by_entity, names.pin)


def test_a_bearer_reads_as_a_span() -> None:
    assert str(Bearer(entity="a", name="X", start=0, end=OPEN)) == "a (1970-01-01 to now)"


def prices(ticker: str, days: list[str], close: float) -> pd.DataFrame:
    known = pd.to_datetime(days).tz_localize("UTC") + pd.Timedelta("22h")
    return pd.DataFrame({"symbol": ticker, "date": days, "known_time": known, "close": close})


COLUMNS = {"symbol": "entity", "date": "event_time"}


def test_a_vendors_tickers_become_ids_and_a_reused_one_is_not_joined(store: Store) -> None:
    store.create("bars", Schema.bars(calendar="XNYS"))
    vendor = pd.concat(
        [
            prices("META", ["2021-02-25", "2021-02-26"], 1.0),  # the other company's, until it gave it up
            prices("FB", ["2022-06-07", "2022-06-08"], 2.0),
            prices("META", ["2022-06-09", "2022-06-10"], 3.0),
            prices("FB", ["2022-12-01"], 4.0),  # nobody's
            prices("FB", ["2023-03-01"], 5.0),
        ]
    )
    report = store.append("bars", vendor, columns=COLUMNS, identifiers="tickers")
    assert (report.accepted, report.quarantined) == (7, 1)
    read = store.read("bars").to_pandas().groupby("entity")["close"].apply(list).to_dict()
    assert read == {"id-metacorp": [1.0, 1.0], "id-facebook": [2.0, 2.0, 3.0, 3.0], "id-proshares": [5.0]}
    (refused,) = store.quarantine("bars").to_pylist()
    assert (refused["rule"], refused["entity"]) == ("unknown_identifier", "FB")
    market = store.market("bars", start="2022-06-07", end="2022-06-10", decide="before_next_open")
    assert market.assets == ("id-facebook",)
    assert store.names("tickers", market.assets, at="2022-06-08") == ["FB"]


def test_appending_again_changes_nothing_until_the_ticker_is_told(store: Store) -> None:
    store.create("bars", Schema.bars(calendar="XNYS"))
    vendor = pd.concat([prices("FB", ["2022-06-07"], 2.0), prices("NEW", ["2022-06-07"], 9.0)])
    first = store.append("bars", vendor, columns=COLUMNS, identifiers="tickers")
    assert (first.accepted, first.rules) == (1, {"unknown_identifier": 1})
    assert store.append("bars", vendor, columns=COLUMNS, identifiers="tickers").already_stored
    store.append("tickers", tickers([("id-new", "2022-01-03", None, "NEW")]))
    again = store.append("bars", vendor, columns=COLUMNS, identifiers="tickers")
    assert (again.accepted, again.duplicates, again.quarantined) == (1, 1, 0)
    assert set(store.read("bars")["entity"].to_pylist()) == {"id-facebook", "id-new"}


def test_a_ticker_of_two_entities_is_quarantined_not_guessed(store: Store) -> None:
    store.create("bars", Schema.bars(calendar="XNYS"))
    store.append("tickers", tickers([("id-other", "2020-01-02", None, "FB")], known="2020-01-02"))
    report = store.append("bars", prices("FB", ["2020-06-01"], 2.0), columns=COLUMNS, identifiers="tickers")
    assert (report.accepted, report.rules) == (0, {"ambiguous_identifier": 1})


def test_files_by_ticker_that_are_taken_in_pieces_and_mended_rows_find_their_entities(
    store: Store, tmp_path: Path
) -> None:
    store.create("bars", Schema.bars(calendar="XNYS"))
    for name, frame in {"one": prices("FB", ["2022-06-07"], 2.0), "two": prices("FBB", ["2022-06-08"], 3.0)}.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    report = store.append("bars", [tmp_path / "one.csv", tmp_path / "two.csv"], columns=COLUMNS, identifiers="tickers")
    assert (report.accepted, report.rules) == (1, {"unknown_identifier": 1})
    rows = store.quarantined_rows("bars")
    assert store.mend("bars", rows.assign(symbol="FB")).accepted == 1
    assert store.read("bars")["entity"].to_pylist() == ["id-facebook", "id-facebook"]
