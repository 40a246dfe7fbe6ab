"""A schema grows while stored rows stay as they are; old versions keep the schema of then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import InputError, StoreError, UnknownNameError

T0 = pd.Timestamp("2016-03-01T00:00Z")
DAY = pd.Timedelta("1D")
SHARES = Schema.field("shares", dtype="int64", low=0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("facts", Schema.facts(fields={"eps": "USD/share", "shares": SHARES}))
    put(made, 0, eps=1.0, shares=10)
    return made


def put(store: Store, day: int, entity: str = "AAA", **cells: Any) -> int:
    row = {"entity": entity, "event_time": T0 + day * DAY, "known_time": T0 + (day + 1) * DAY, **cells}
    report = store.append("facts", pd.DataFrame([row]))
    assert report.accepted == 1, report
    return int(report.version)


def test_an_added_field_is_null_in_the_rows_that_were_there(store: Store) -> None:
    files = sorted(Path(str(store.table_path("facts"))).glob("*.parquet"))
    version = store.evolve("facts", add={"sales": "USD", "audited": Schema.field("1", dtype="bool")})
    assert sorted(Path(str(store.table_path("facts"))).glob("*.parquet")) == files  # nothing was rewritten
    assert store.schema("facts").fields["sales"].unit == "USD"
    put(store, 1, eps=2.0, sales=5.0, audited=True)
    rows = store.read("facts").to_pylist()
    assert [(row["eps"], row["shares"], row["sales"], row["audited"]) for row in rows] == [
        (1.0, 10.0, None, None),
        (2.0, None, 5.0, True),
    ]
    assert version < store.versions("facts")[-1].version
    assert store.panel("facts", "sales", clock=[T0 + DAY, T0 + 2 * DAY]).tolist()[1] == [5.0]


def test_a_version_pinned_before_shows_the_schema_and_the_rows_of_then(store: Store) -> None:
    before, old = store.versions("facts")[-1].version, store.schema("facts")
    rows = store.read("facts", version=before)
    store.evolve("facts", add={"sales": "USD"}, widen={"shares": "float64"})
    put(store, 1, sales=5.0, shares=0.5)
    assert store.schema("facts", version=before) == old
    assert store.read("facts", version=before).equals(rows)


def test_a_field_asked_of_a_version_before_it_says_when_it_came(store: Store) -> None:
    before = store.versions("facts")[-1].version
    came = store.evolve("facts", add={"sales": "USD"})
    put(store, 1, sales=5.0)
    with pytest.raises(UnknownNameError, match=f"'sales' of dataset 'facts' came with version {came}"):
        store.read("facts", fields=["sales"], version=before)
    with pytest.raises(UnknownNameError, match=f"came with version {came}"):
        store.panel("facts", "sales", clock=[T0], version=before)
    assert store.read("facts", fields=["sales"], version=came)["sales"].to_pylist() == [None]
    with pytest.raises(UnknownNameError, match="Did you mean 'sales'"):
        store.read("facts", fields=["slaes"])


def test_an_int64_widens_to_float64_and_takes_fractions_from_then_on(store: Store) -> None:
    frame = pd.DataFrame([{"entity": "B", "event_time": T0, "known_time": T0 + DAY, "shares": 0.5}])
    assert dict(store.append("facts", frame).rules) == {"not_whole": 1}
    store.evolve("facts", widen={"shares": "float64"})
    assert store.append("facts", frame).accepted == 1  # the same batch, judged by the schema of now
    assert store.read("facts")["shares"].to_pylist() == [10.0, 0.5]
    assert store.schema("facts").fields["shares"].low == 0


def test_bounds_may_widen(store: Store) -> None:
    store.evolve("facts", widen={"shares": Schema.field("shares", dtype="int64")})
    assert store.schema("facts").fields["shares"].low is None
    put(store, 1, shares=-3)


def test_evolving_again_in_the_same_words_changes_nothing(store: Store) -> None:
    first = store.evolve("facts", add={"sales": "USD"}, widen={"shares": "float64"})
    assert store.evolve("facts", add={"sales": "USD"}, widen={"shares": "float64"}) == first
    assert store.evolve("facts") == first


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"widen": {"eps": "int64"}}, InputError, "float64 and cannot become int64.*\n.*Add a field beside it"),
        ({"widen": {"shares": "string"}}, InputError, "cannot become string"),
        ({"widen": {"eps": Schema.field("USD/share", low=0)}}, InputError, r"cannot narrow from \[-inf, inf\] to \[0"),
        ({"widen": {"eps": Schema.field("EUR/share")}}, InputError, "stored values cannot become 'EUR/share'"),
        ({"widen": {"epz": "float64"}}, UnknownNameError, "Did you mean 'eps'"),
        ({"widen": {"shares": "float"}}, UnknownNameError, "Did you mean 'float64'"),
        ({"widen": ["shares"]}, InputError, "`widen` maps fields"),
        ({"add": {"eps": "EUR"}}, InputError, "exists already: float64 in 'USD/share'"),
        ({"add": {"known_time": "time"}}, InputError, "a store uses that column itself"),
        ({"add": {"sales": 5}}, InputError, "must be a unit"),
        ({"add": "sales"}, InputError, "`add` maps fields"),
    ],
)
def test_what_would_change_stored_values_is_refused_with_a_remedy(
    store: Store, call: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = store.versions("facts")[-1].version
    with pytest.raises(error, match=message):
        store.evolve("facts", **call)
    assert store.versions("facts")[-1].version == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eps": "USD/share"}, "field 'shares', which the other lacks. A field is never dropped"),
        ({"eps": "USD/share", "shares": SHARES, "sales": "USD"}, r"store.evolve\('facts', add=\{'sales': ...\}\)"),
        ({"eps": "USD/share", "shares": "shares"}, r"store.evolve\('facts', widen=\{'shares': ...\}\)"),
    ],
)
def test_creating_a_dataset_again_with_another_schema_says_what_would_make_it_so(
    store: Store, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        store.create("facts", Schema.facts(fields=fields))


def test_appends_from_before_are_judged_by_the_schema_of_now(store: Store) -> None:
    """A file that was appended before its new field was declared is looked at again, not waved through."""
    row = {"entity": "B", "event_time": T0, "known_time": T0 + DAY, "eps": 1.0}
    assert store.append("facts", pd.DataFrame([row])).accepted == 1
    assert store.append("facts", pd.DataFrame([row])).already_stored
    store.evolve("facts", add={"sales": "USD"})
    again = store.append("facts", pd.DataFrame([row]))
    assert (again.accepted, again.duplicates, again.quarantined) == (0, 1, 0)
    revised = store.append("facts", pd.DataFrame([{**row, "sales": 7.0, "revision": 1}]))
    assert revised.accepted == 1
    assert store.read("facts", entities=["B"])["sales"].to_pylist() == [7.0]


def test_other_engines_see_the_table_grow(store: Store) -> None:
    store.evolve("facts", add={"note": Schema.field("text", dtype="string"), "final": Schema.field("1", dtype="bool")})
    put(store, 1, eps=2.0, note="up", final=True)
    arrow = deltalake.DeltaTable(str(store.table_path("facts"))).to_pyarrow_table()
    table = duckdb.from_arrow(arrow).order("event_time").project("eps, note, final")
    assert table.fetchall() == [(1.0, None, None), (2.0, "up", True)]
    frame = pl.read_delta(str(store.table_path("facts"))).sort("event_time")
    assert frame.select("eps", "note", "final").rows() == [(1.0, None, None), (2.0, "up", True)]


def test_compaction_after_growth_changes_no_answer(store: Store) -> None:
    store.evolve("facts", add={"sales": "USD"}, widen={"shares": "float64"})
    for day in range(1, 6):
        put(store, day, eps=float(day), sales=day / 2, shares=day / 4)
    before = store.read("facts")
    store.compact("facts")
    assert store.read("facts").equals(before)
    assert store.schema("facts").fields["sales"].unit == "USD"


def test_growth_and_appends_at_one_time_all_land(store: Store) -> None:
    def grow(k: int) -> None:
        Store(store.folder).evolve("facts", add={f"field_{k}": "1"})

    def fill(k: int) -> None:
        row = {"entity": f"E{k}", "event_time": T0, "known_time": T0 + DAY, "eps": float(k)}
        assert Store(store.folder).append("facts", pd.DataFrame([row])).accepted == 1

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(act, k) for k in range(8) for act in (grow, fill)]:
            done.result()
    assert {f"field_{k}" for k in range(8)} < set(store.schema("facts").fields)
    assert store.read("facts")["entity"].to_pylist() == ["AAA", *(f"E{k}" for k in range(8))]


def test_a_growth_that_was_cut_off_after_its_columns_is_completed_by_repeating_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(deltalake.table.TableAlterer, "set_table_properties", die)
        with pytest.raises(StoreError):
            store.evolve("facts", add={"sales": "USD"})
    assert "sales" not in store.schema("facts").fields
    assert store.read("facts").num_rows == 1
    with pytest.raises(InputError, match="from a call that was cut off"):
        store.evolve("facts", add={"sales": Schema.field("text", dtype="string")})
    store.evolve("facts", add={"sales": "USD"})
    put(store, 1, sales=2.0)
    assert store.read("facts")["sales"].to_pylist() == [None, 2.0]


def die(*_: Any, **__: Any) -> None:
    raise OSError("disk full")


TYPES: dict[str, list[Any]] = {
    "float64": [0.5, -2.0],
    "int64": [3, -7],
    "bool": [True, False],
    "string": ["up", "down"],
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcdef"), st.sampled_from(sorted(TYPES))),
        st.tuples(st.just("widen"), st.sampled_from("abcdef"), st.just("float64")),
        st.tuples(st.just("append"), st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), st.integers(0, 1)),
    ),
    min_size=3,
    max_size=9,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_any_growth_reads_as_a_naive_list_of_versions_does(steps: list[Any], tmp_path_factory: Any) -> None:
    """The model: for each version a dict of types and a list of rows, copied and never changed."""
    store = Store(tmp_path_factory.mktemp("grown"))
    store.create("facts", Schema.facts(fields={"base": "1"}))
    model: dict[int, tuple[dict[str, str], list[dict[str, Any]]]] = {0: ({"base": "float64"}, [])}
    for number, (what, first, second) in enumerate(steps):
        newest = max(model)
        types, rows = dict(model[newest][0]), list(model[newest][1])
        if what == "add" and first not in types:
            version = store.evolve("facts", add={first: Schema.field("1", dtype=second)})
            types[first] = second
        elif what == "widen" and types.get(first) == "int64":
            version = store.evolve("facts", widen={first: second})
            types[first] = second
        elif what == "append":
            cells = {name: TYPES[types[name]][second] for name in first if name in types}
            row = {"entity": f"E{number}", "event_time": T0, "known_time": T0 + DAY, "base": 1.0, **cells}
            version = int(store.append("facts", pd.DataFrame([row])).version)
            rows.append(row)
        else:
            continue
        for between in range(newest + 1, version):
            model[between] = model[newest]
        model[version] = (types, rows)
    for version, (types, rows) in model.items():
        schema = store.schema("facts", version=version)
        assert {name: held.dtype for name, held in schema.fields.items()} == types
        found = store.read("facts", version=version)
        assert found.column_names[-len(types) :] == list(types)
        expected = [tuple(row.get(name) for name in ("entity", *types)) for row in rows]
        assert [tuple(row[name] for name in ("entity", *types)) for row in found.to_pylist()] == expected
