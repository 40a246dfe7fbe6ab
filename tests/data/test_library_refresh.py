"""A feature refreshed row by row has the values that computing all of it anew gives, whatever came meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable import features as f
from knowable.data.asof.beside import Trailing
from knowable.errors import InputError

DAYS = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"]


def bars(*days: str, names: str = "AB", known: str | None = None, **fields: float) -> pd.DataFrame:
    """Prices that differ by day and name; `known` at 21:00 UTC of a day, or at the close."""
    rows = [
        {"entity": name, "event_time": day, "close": 10.0 + DAYS.index(day) ** 2 + j * (DAYS.index(day) + 1)}
        for day in days
        for j, name in enumerate(names)
    ]
    frame = pd.DataFrame(rows).assign(volume=100.0, **fields)
    frame["known_time"] = [f"{known or day}T21:00Z" for day in frame["event_time"]]
    return frame.assign(open=frame["close"], high=frame["close"], low=frame["close"])


def store_of(folder: Path, **fields: str) -> kn.Store:
    store = kn.Store(folder)
    store.create("stocks", kn.Schema.bars(calendar="XNYS", known_basis="vendor", fields=fields))
    return store


def assert_as_computed_anew(store: kn.Store, name: str) -> None:
    record = store.feature(name)
    market = store.market(**record.recipe)
    expected = market.expression(record.text).values()
    found = store.panel(name, name, clock=market.decision_times, entities=market.assets)
    np.testing.assert_array_equal(found, expected)


def test_a_window_over_facts_is_an_input(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.create("reports", kn.Schema.facts(fields={"eps": "USD"}, known_lag="30d"))
    ends = ["2023-06-30T00:00Z", "2023-09-30T00:00Z"]
    store.append("reports", pd.DataFrame({"entity": ["A", "A"], "event_time": ends, "eps": [1.0, 2.0]}))
    store.append("stocks", bars(*DAYS[:3]))
    market = store.market("stocks", also=[Trailing("reports", "eps", k=2)])
    store.register("yield_", market.eps_sum2 / market.close)
    store.refresh("yield_")
    store.append("stocks", bars(DAYS[3]))
    assert store.refresh("yield_").accepted == 1
    assert_as_computed_anew(store, "yield_")


def test_events_are_counted_on_the_first_new_bar_too(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.create("news", kn.Schema.events(fields={"tone": "1"}, known_lag="0s"))
    store.append("news", pd.DataFrame({"entity": ["A"], "event_time": ["2024-01-03T15:00Z"], "tone": [1.0]}))
    store.append("stocks", bars(*DAYS[:3]))
    market = store.market("stocks", also=["news"])
    store.register("heard", market.n_news * market.close)
    store.refresh("heard")
    store.append("news", pd.DataFrame({"entity": ["B"], "event_time": ["2024-01-05T15:00Z"], "tone": [1.0]}))
    store.append("stocks", bars(DAYS[3]))
    store.refresh("heard")
    assert_as_computed_anew(store, "heard")
    assert store.read("heard", entities=["B"])["heard"].to_pylist()[-1] == 10.0 + 9 + 4


def test_a_session_that_arrives_late_as_a_whole_is_a_row_that_windows_count(tmp_path: Path) -> None:
    """Nobody knew of it in time, so that its row is empty; what lags by one bar is missing on the next."""
    store = store_of(tmp_path)
    store.append("stocks", bars(*DAYS[:2], DAYS[3]))
    market = store.market("stocks")
    store.register("change", market.close - market.close.lag(1))
    store.refresh("change")
    store.append("stocks", bars(DAYS[2], known="2024-01-08"))
    store.append("stocks", bars(DAYS[4]))
    store.refresh("change")
    assert_as_computed_anew(store, "change")


def test_a_name_of_which_only_late_rows_are_known_is_a_column_that_cross_sections_count(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.append("stocks", bars(*DAYS[:4]))
    market = store.market("stocks")
    store.register("share", kn.features.where(market.close.lag(1) > 0, market.close, 1.0).demean())
    store.refresh("share")
    store.append("stocks", bars(DAYS[1], names="C", known="2024-01-08"))
    store.append("stocks", bars(DAYS[4]))
    store.refresh("share")
    assert_as_computed_anew(store, "share")


def test_a_field_that_no_new_bar_has_is_missing_there(tmp_path: Path) -> None:
    store = store_of(tmp_path, interest="1")
    store.append("stocks", bars(*DAYS[:3], interest=2.0))
    store.register("held", store.market("stocks").interest * 1.0)
    store.refresh("held")
    store.append("stocks", bars(DAYS[3]))
    store.refresh("held")
    assert_as_computed_anew(store, "held")


def test_a_field_of_facts_keeps_its_name_where_the_bars_lack_values_of_theirs(tmp_path: Path) -> None:
    """The names of a market hang on schemas alone: ``interest`` never means the bars' here and the facts' there."""
    store = store_of(tmp_path, interest="1")
    store.create("facts", kn.Schema.facts(fields={"interest": "1"}, known_lag="0s"))
    store.append(
        "facts", pd.DataFrame({"entity": ["A", "B"], "event_time": ["2023-12-01T00:00Z"] * 2, "interest": [7.0, 8.0]})
    )
    store.append("stocks", bars(*DAYS[:3], interest=2.0))
    store.append("stocks", bars(DAYS[3]))
    late = store.market("stocks", also=["facts"], start=DAYS[3])
    assert "interest" not in late.panels
    assert late.panel("facts_interest").tolist() == [[7.0, 8.0]]


def test_values_of_a_name_that_the_next_version_leaves_out_stand_no_longer(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.append("stocks", bars(*DAYS[:2]))
    store.register("place", store.market("stocks").close.rank())
    version = store.versions("place")[-1].version
    store.register("place", store.market("stocks", entities=["A"]).close.rank())
    assert store.read("place", entities=["B"])["place"].to_pylist() == [None, None]
    assert store.read("place", entities=["B"], version=version)["place"].to_pylist() == [2.0, 2.0]
    versions = store.versions("place")
    store.register("place", store.market("stocks", entities=["A"]).close.rank())
    assert store.versions("place") == versions


def test_a_feature_decided_at_another_time_needs_another_name(tmp_path: Path) -> None:
    """Its values would be known at other moments, and those that stand would hide them until then."""
    store = store_of(tmp_path)
    store.append("stocks", bars(*DAYS[:3]))
    store.register("place", store.market("stocks", decide="before_next_open").close.rank())
    with pytest.raises(InputError, match="decide='before_next_open'"):
        store.register("place", store.market("stocks").close.rank())


def test_registering_again_names_the_inputs_its_values_now_come_from(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.append("stocks", bars(*DAYS[:2]))
    store.register("place", store.market("stocks").close.rank())
    store.append("stocks", bars(DAYS[2]))
    store.register("place", store.market("stocks").close.rank())
    assert store.feature("place").pins == ({"dataset": "stocks", "version": "2"},)
    assert store.feature("place").version == 1


def test_a_feature_of_a_feature_is_taken_up_in_whatever_order_they_are_refreshed(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.append("stocks", bars(*DAYS[:2]))
    store.register("mean2", store.market("stocks", decide="before_next_open").close.mean(2))
    market = store.market("stocks", decide="before_next_open", also=["mean2"])
    store.register("gap", market.close - market.mean2)
    for day in DAYS[2:]:
        store.append("stocks", bars(day))
        for name in ("gap", "mean2", "gap"):
            store.refresh(name)
        assert_as_computed_anew(store, "mean2")
        assert_as_computed_anew(store, "gap")


def test_a_slower_clock_goes_on_where_it_stood(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    store.append("stocks", bars(*DAYS[:3]))
    market = store.market("stocks")
    made = market.close.resample("week_end", "mean") + market.close.lag(1, every=2)
    store.register("slow", f.where(f.isnan(made), (market.close > 11).days_since(), made))
    for day in DAYS[3:]:
        store.append("stocks", bars(day))
        assert store.refresh("slow").accepted > 0
        assert_as_computed_anew(store, "slow")
