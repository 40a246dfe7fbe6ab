"""The library of features: registered once, found by others, read as data, refreshed as the inputs grow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError, ShapeError, StoreError, UnknownNameError

ROOT = Path(__file__).parents[2]
STOCKS = ROOT / "data-samples" / "us-large-caps.csv.gz"
NAMES = ["AAPL", "GE", "KO", "MSFT"]


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    frame = pd.read_csv(STOCKS)
    return frame[frame["entity"].isin(NAMES) & frame["event_time"].between("2018-01-01", "2018-12-31")]


def store_with(folder: Path, frame: pd.DataFrame) -> kn.Store:
    store = kn.Store(folder)
    store.create("stocks", kn.Schema.bars(calendar="XNYS", currency="USD", known_lag="0s"))
    store.append("stocks", frame)
    return store


def momentum(market: kn.Market) -> kn.features.Feature:
    return (market.close / market.close.lag(20) - 1).rank(descending=True)


def stored_panel(store: kn.Store, name: str, market: kn.Market) -> np.ndarray:
    return store.panel(name, name, clock=market.decision_times, entities=market.assets)


def test_a_registered_feature_is_found_with_its_lineage(tmp_path: Path, bars: pd.DataFrame) -> None:
    store = store_with(tmp_path, bars)
    store.register("momentum", momentum(store.market("stocks")), note="Rank of a month's return.", author="Ada")
    (found,) = kn.Store(tmp_path).features()
    assert (found.name, found.version, found.author, found.note) == ("momentum", 1, "Ada", "Rank of a month's return.")
    assert found.text == "rank(close / lag(close, 20) - 1, descending=True)"
    assert found.fields == ("close",)
    assert found.pins == ({"dataset": "stocks", "version": "1"},)
    assert "from stocks (version 1); fields close" in repr(found)


def test_its_panel_is_a_field_of_a_market_with_the_bits_of_the_expression(tmp_path: Path, bars: pd.DataFrame) -> None:
    store = store_with(tmp_path, bars)
    market = store.market("stocks")
    store.register("momentum", momentum(market))
    beside = store.market("stocks", also=["momentum"])
    assert beside.panel("momentum").tobytes() == momentum(market).values().tobytes()
    again = beside.expression(store.feature("momentum").text)
    np.testing.assert_array_equal(again.values(), beside.momentum.values())


def test_a_gap_ends_a_value(tmp_path: Path, bars: pd.DataFrame) -> None:
    """A name that stops trading has no feature from then on; its last value does not stand for ever."""
    store = store_with(tmp_path, bars[(bars["entity"] != "GE") | (bars["event_time"] < "2018-06-01")])
    market = store.market("stocks")
    expected = market.close.mean(5).values()
    assert np.isnan(expected[-1, 1])
    store.register("average", market.close.mean(5))
    np.testing.assert_array_equal(stored_panel(store, "average", market), expected)


def test_registering_the_same_again_changes_nothing(tmp_path: Path, bars: pd.DataFrame) -> None:
    store = store_with(tmp_path, bars)
    first = store.register("momentum", momentum(store.market("stocks")))
    before = store.versions("momentum")
    assert store.register("momentum", momentum(store.market("stocks"))) == first
    assert store.versions("momentum") == before


def test_a_changed_definition_is_the_next_version_and_a_pinned_one_keeps_its_values(
    tmp_path: Path, bars: pd.DataFrame
) -> None:
    store = store_with(tmp_path, bars)
    market = store.market("stocks")
    store.register("average", market.close.mean(5))
    pinned = store.versions("average")[-1].version
    assert store.register("average", market.close.mean(9)).version == 2
    np.testing.assert_array_equal(stored_panel(store, "average", market), market.close.mean(9).values())
    old = store.panel("average", "average", clock=market.decision_times, entities=market.assets, version=pinned)
    np.testing.assert_array_equal(old, market.close.mean(5).values())


def test_refreshing_day_by_day_equals_registering_at_the_end(tmp_path: Path, bars: pd.DataFrame) -> None:
    days = sorted(bars["event_time"].unique())
    store = store_with(tmp_path / "grown", bars[bars["event_time"] <= days[60]])
    store.register("momentum", momentum(store.market("stocks")))
    for at in (61, 62, 90, 91):
        store.append("stocks", bars[bars["event_time"] <= days[at]])
        report = store.refresh("momentum")
        assert report.accepted > 0
        assert store.refresh("momentum").accepted == 0
    whole = store_with(tmp_path / "whole", bars[bars["event_time"] <= days[91]])
    whole.register("momentum", momentum(whole.market("stocks")))
    market = whole.market("stocks")
    assert stored_panel(store, "momentum", market).tobytes() == stored_panel(whole, "momentum", market).tobytes()


def test_history_that_arrives_late_is_taken_up_as_a_revision(tmp_path: Path, bars: pd.DataFrame) -> None:
    store = store_with(tmp_path, bars[bars["entity"] != "KO"])
    store.register("momentum", momentum(store.market("stocks")))
    store.append("stocks", bars[bars["entity"] == "KO"])
    store.refresh("momentum")
    market = store.market("stocks")
    np.testing.assert_array_equal(stored_panel(store, "momentum", market), momentum(market).values())
    assert {row["revision"] for row in store.read("momentum").to_pylist()} == {0, 1}


def spread(market: kn.Market) -> pd.DataFrame:
    close = market.close.frame()
    return close - close.shift(3)


def test_a_function_is_known_by_its_code_and_refreshed_with_it(tmp_path: Path, bars: pd.DataFrame) -> None:
    store = store_with(tmp_path, bars[bars["event_time"] < "2018-06-01"])
    made = store.register("spread", spread, market=store.market("stocks"))
    assert made.kind == "function"
    assert made.text.endswith("spread")
    store.append("stocks", bars)
    with pytest.raises(InputError, match="compute="):
        store.refresh("spread")
    with pytest.raises(InputError, match="next version"):
        store.refresh("spread", compute=momentum)
    store.refresh("spread", compute=spread)
    market = store.market("stocks")
    np.testing.assert_array_equal(stored_panel(store, "spread", market), spread(market).to_numpy())


def test_mistakes_are_told_kindly(tmp_path: Path, bars: pd.DataFrame) -> None:
    store = store_with(tmp_path, bars)
    market = store.market("stocks")
    loose = kn.Market.from_frames(close=market.close.frame())
    with pytest.raises(InputError, match="store.market"):
        store.register("momentum", loose.close.lag(1))
    with pytest.raises(InputError, match="is a dataset of this store already"):
        store.register("stocks", market.close.lag(1))
    with pytest.raises(InputError, match="cannot be a field name"):
        store.register("../x", market.close.lag(1))
    with pytest.raises(ShapeError, match="shape"):
        store.register("wrong", lambda m: np.zeros(3), market=market)
    assert store.features() == ()
    store.register("momentum", momentum(market))
    with pytest.raises(UnknownNameError, match="momentum"):
        store.feature("momentun")


def test_an_infinite_value_is_stored_as_missing(tmp_path: Path, bars: pd.DataFrame) -> None:
    store = store_with(tmp_path, bars)
    market = store.market("stocks")
    infinite = market.close.frame() > 50
    store.register("odd", kn.features.where(market.close > 50, 1 / (market.close - market.close), market.close))
    expected = market.close.frame().mask(infinite).to_numpy()
    np.testing.assert_array_equal(stored_panel(store, "odd", market), expected)
    assert store.quarantine("odd").num_rows == 0


@pytest.mark.parametrize("hurt", ["gone", "flipped", "cut"])
def test_the_carried_state_is_only_a_convenience(tmp_path: Path, bars: pd.DataFrame, hurt: str) -> None:
    days = sorted(bars["event_time"].unique())
    store = store_with(tmp_path, bars[bars["event_time"] <= days[60]])
    store.register("trend", store.market("stocks").close.ewm(15))
    store.append("stocks", bars[bars["event_time"] <= days[80]])
    store.refresh("trend")
    (file,) = (tmp_path / ".cache" / "features").iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(b"" if hurt == "gone" else data if hurt == "flipped" else data[: len(data) // 2])
    store.append("stocks", bars)
    store.refresh("trend")
    market = store.market("stocks")
    assert stored_panel(store, "trend", market).tobytes() == market.close.ewm(15).values().tobytes()


def test_a_new_name_and_a_facts_dataset_beside_are_taken_up(tmp_path: Path, bars: pd.DataFrame) -> None:
    days = sorted(bars["event_time"].unique())
    store = store_with(tmp_path, bars[(bars["event_time"] <= days[60]) & (bars["entity"] != "MSFT")])
    store.create("shares", kn.Schema.facts(fields={"count": "shares"}, calendar="XNYS", known_lag="1d"))
    counts = bars[["entity", "event_time"]].assign(count=range(1, len(bars) + 1))
    store.append("shares", counts[counts["event_time"] <= days[50]])
    market = store.market("stocks", also=["shares"])
    store.register("size", (market.close * market.count).zscore())
    later = bars["event_time"] > days[60]
    store.append("stocks", bars[later])
    store.append("shares", counts[counts["event_time"] > days[50]])
    store.refresh("size")
    again = store.market("stocks", also=["shares"])
    expected = (again.close * again.count).zscore().values()
    np.testing.assert_array_equal(stored_panel(store, "size", again), expected)


def test_a_damaged_text_in_the_store_is_the_stores_fault_and_not_the_readers(
    tmp_path: Path, bars: pd.DataFrame
) -> None:
    store = store_with(tmp_path, bars)
    made = store.register("momentum", momentum(store.market("stocks")))
    for text, what in (
        ("rank(close / lag(close, 20) - ", "Expected a number"),
        ("ranc(close)", "Unknown function 'ranc'"),
    ):
        store._keep(replace(made, text=text))
        store.append("stocks", bars[bars["event_time"] < "2018-02-01"].assign(close=1.0, revision=1))
        with pytest.raises(StoreError, match=f"text of feature 'momentum', version 1, is damaged .*{what}"):
            store.refresh("momentum")


def test_a_long_expression_is_kept_whole_and_shown_short(tmp_path: Path, bars: pd.DataFrame) -> None:
    store = store_with(tmp_path, bars)
    market = store.market("stocks")
    strength = market.close / market.close.lag(20) - 1
    for window in range(2, 30):
        strength = (strength.rank() + strength.mean(window)) / (1 + strength.std(window))
    found = store.register("blend", strength)
    assert market.expression(found.text).node is strength.node
    assert found.text.count("\n") > 20
    assert len(repr(found).splitlines()) == 3
    assert len(repr(found)) < 600
