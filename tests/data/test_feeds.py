"""A feed's habits: columns, zones, and days of publication, per append or once in the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import DataError, InputError, UnknownNameError

VENDOR = {"ticker": "entity", "period": "event_time", "published": "known_time", "EPS": "eps"}
NEW_YORK = "16:30 America/New_York"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    plain = Schema.facts(fields={"eps": "USD/share"})
    made.create("plain", plain)
    made.create("feed", plain.mapped(VENDOR, tz="America/New_York", known_at=NEW_YORK))
    made.create("lagged", Schema.facts(fields={"eps": "USD/share"}, known_lag="45d"))
    return made


def vendor(**cells: Any) -> pd.DataFrame:
    row = {"ticker": ["AAA", "BBB"], "period": "2016-03-31", "published": ["2016-01-15", "2016-07-15"], "EPS": 1.0}
    return pd.DataFrame({**row, "period": "2015-12-31", **cells})


def known(store: Store, name: str) -> list[str]:
    return [str(moment) for moment in store.read(name)["known_time"].to_pylist()]


def test_days_of_publication_get_their_time_of_day_in_winter_and_summer(store: Store) -> None:
    report = store.append("plain", vendor(), columns=VENDOR, tz="UTC", known_at=NEW_YORK)
    assert known(store, "plain") == ["2016-01-15 21:30:00+00:00", "2016-07-15 20:30:00+00:00"]
    assert report.known_basis == "vendor"  # the day is stated, its hour declared: nobody observed it
    assert store.read("plain")["known_basis"].to_pylist() == ["vendor", "vendor"]
    assert "end of its day" not in repr(report)


def test_without_a_time_of_day_a_day_counts_from_its_end(store: Store) -> None:
    report = store.append("plain", vendor(), columns=VENDOR, tz="America/New_York")
    assert known(store, "plain") == ["2016-01-16 05:00:00+00:00", "2016-07-16 04:00:00+00:00"]
    assert "end of its day" in repr(report)


def test_a_basis_that_is_said_stands(store: Store) -> None:
    store.append("plain", vendor(), columns=VENDOR, tz="UTC", known_at=NEW_YORK, known_basis="observed")
    assert store.read("plain")["known_basis"].to_pylist() == ["observed", "observed"]


def test_times_of_their_own_and_a_declared_time_of_day_exclude_each_other(store: Store) -> None:
    for stated in (["2016-01-15T10:00", "2016-07-15"], ["2016-01-15T10:00Z", "2016-07-15T10:00Z"]):
        with pytest.raises(InputError, match="`known_time` has times of its own"):
            store.append("plain", vendor(published=stated), columns=VENDOR, tz="UTC", known_at=NEW_YORK)


@pytest.mark.parametrize("other", [{"known_lag": "1d"}, {"known_time": "2016-01-01T00:00Z"}])
def test_one_way_of_saying_when_rows_were_known_is_enough(store: Store, other: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Give one of known_lag=, known_time= and known_at="):
        store.append("plain", vendor(), columns=VENDOR, tz="UTC", known_at=NEW_YORK, **other)


@pytest.mark.parametrize("text", ["16:30", "noon UTC", "24:00 UTC", "16:30 Mars/Olympus", 1630])
def test_a_time_of_day_needs_a_zone(store: Store, text: Any) -> None:
    with pytest.raises(InputError, match="a time of day and a zone|must name a time zone"):
        store.append("plain", vendor(), columns=VENDOR, tz="UTC", known_at=text)


def test_a_time_of_day_needs_days_of_publication(store: Store) -> None:
    frame = vendor().drop(columns="published")
    mapping = {name: ours for name, ours in VENDOR.items() if name != "published"}
    with pytest.raises(DataError, match="Column `known_time` is missing"):
        store.append("plain", frame, columns=mapping, tz="UTC", known_at=NEW_YORK)


def test_an_hour_that_the_zone_skips_that_day_is_an_error(store: Store) -> None:
    frame = vendor(published=["2016-01-15", "2016-03-13"])
    with pytest.raises(DataError, match="skips or has twice"):
        store.append("plain", frame, columns=VENDOR, tz="UTC", known_at="02:30 America/New_York")


def test_a_feed_declared_in_the_schema_needs_no_words_at_the_append(store: Store) -> None:
    store.append("plain", vendor(), columns=VENDOR, tz="America/New_York", known_at=NEW_YORK)
    store.append("feed", vendor())
    assert store.read("feed").equals(store.read("plain"))


def test_true_times_of_publication_need_no_declared_ones(store: Store) -> None:
    store.append("feed", vendor(published=["2016-01-15T10:00", "2016-07-15T10:00"]))
    assert known(store, "feed") == ["2016-01-15 15:00:00+00:00", "2016-07-15 14:00:00+00:00"]
    assert store.read("feed")["known_basis"].to_pylist() == ["observed", "observed"]


def test_our_own_names_are_said_by_an_empty_mapping(store: Store) -> None:
    ours = vendor().rename(columns=VENDOR)
    with pytest.raises(UnknownNameError, match=r"Unknown column 'ticker'.*\n.*columns=\{\}"):
        store.append("feed", ours)
    assert store.append("feed", ours, columns={}).accepted == 2


def test_a_refused_row_of_a_declared_feed_is_mended_in_the_vendors_words(store: Store) -> None:
    store.append("feed", vendor(EPS=[1.0, float("inf")]))
    rows = store.quarantined_rows("feed")
    assert {"ticker", "published", "EPS"} <= set(rows.columns)
    store.mend("feed", rows.assign(EPS=2.5))
    assert store.read("feed")["eps"].to_pylist() == [1.0, 2.5]
    assert known(store, "feed") == ["2016-01-15 21:30:00+00:00", "2016-07-15 20:30:00+00:00"]


def test_a_schemas_lag_gives_way_to_stated_times_and_a_said_basis_stands(store: Store) -> None:
    """Rows that state their times are held to their own basis: too late is too late, whatever the schema's lag."""
    ours = vendor(published=["2016-02-01T00:00Z"] * 2).rename(columns=VENDOR)
    assert store.append("lagged", ours.drop(columns="known_time"), tz="UTC").known_basis == "assumed_lag"
    early = store.append("lagged", ours, tz="UTC")
    assert (early.known_basis, dict(early.rules)) == ("observed", {"earlier_than_stored": 2})
    filled = store.append("lagged", ours, tz="UTC", known_basis="vendor")
    assert (filled.accepted, filled.known_basis) == (2, "vendor")


@pytest.mark.parametrize("workers", [0, 1])
def test_files_that_differ_in_whether_they_state_their_times_keep_their_own_basis(
    store: Store, tmp_path: Path, workers: int
) -> None:
    stated, bare = tmp_path / "stated.csv", tmp_path / "bare.csv"
    stated.write_text("entity,event_time,known_time,eps\nAAA,2015-12-31,2016-01-15T10:00Z,1\n")
    bare.write_text("entity,event_time,eps\nBBB,2015-12-31,2\n")
    report = store.append("lagged", [stated, bare], tz="UTC", workers=workers)
    assert report.known_basis == "assumed_lag, observed"
    assert store.read("lagged")["known_basis"].to_pylist() == ["observed", "assumed_lag"]
