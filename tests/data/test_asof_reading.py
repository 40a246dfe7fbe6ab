"""Reading as of a moment: tables, panels, windows, histories and joins against the rules written slowly."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from knowable.calendars import calendar
from knowable.data.asof import load as loading
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import DataError, InputError, UnknownNameError
from knowable.testing.asof_oracle import Fact, current, current_value, last_periods, reduced, standing, stood

ENTITIES = ("A", "B", "C")
FORMS = ("10-K", "10-Q")
SECOND = 1_000_000_000
EPOCH = 1_451_606_400 * SECOND  # 2016-01-01
CLOCK = EPOCH + np.arange(-1, 16, dtype=np.int64) * SECOND
SCHEMA = Schema.facts(
    fields={"x": "USD", "note": Schema.field("text", dtype="string"), "form": Schema.field("text", dtype="string")},
    keys=("form",),
)
SLOW = settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(ENTITIES),
                st.integers(0, 4),
                st.sampled_from(FORMS),
                st.integers(0, 9),
                st.integers(0, 2),
                st.booleans() | st.just(value=False),
            ),
            min_size=1,
            max_size=40,
            unique_by=lambda row: row[:5],
        )
    )
    return [
        Fact(entity=e, event=event, key=key, known=event + lag, revision=r, retract=gone, value=float(k))
        for k, (e, event, key, lag, r, gone) in enumerate(rows)
    ]


def frame(rows: list[Fact]) -> pa.Table:
    times = pa.timestamp("us", "UTC")

    def moments(seconds: list[int]) -> pa.Array:
        return pa.array([EPOCH // 1000 + 1_000_000 * s for s in seconds], pa.int64()).cast(times)

    return pa.table(
        {
            "entity": pa.array([f.entity for f in rows], pa.string()),
            "event_time": moments([f.event for f in rows]),
            "known_time": moments([f.known for f in rows]),
            "revision": pa.array([f.revision for f in rows], pa.int64()),
            "op": pa.array(["retract" if f.retract else "assert" for f in rows], pa.string()),
            "form": pa.array([f.key for f in rows], pa.string()),
            "x": pa.array([None if f.retract else f.value for f in rows], pa.float64()),
            "note": pa.array([None if f.retract else f"n{f.value:g}" for f in rows], pa.string()),
        }
    )


@pytest.fixture(params=["held whole", "read in parts"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small tables are held whole; large ones are read in parts, entity by entity where the sweep needs much."""
    if request.param == "read in parts":
        monkeypatch.setattr(loading, "WHOLE_BYTES", -1)
        monkeypatch.setattr(loading, "GROUP_ROWS", 1)
    return str(request.param)


def stored(rows: list[Fact]) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.create("facts", SCHEMA)
        cut = len(rows) // 2  # two versions, and two data files
        accepted = 0
        for part in (rows[:cut], rows[cut:]):
            accepted += store.append("facts", frame(part), known_basis="vendor").accepted if part else 0
        assume(accepted == len(rows))
        yield store


def seconds(ns: int) -> int:
    return (ns - EPOCH) // SECOND


def of(rows: pa.Table, name: str) -> list[int | None]:
    """A column of times in the oracle's seconds."""
    return [None if t is None else seconds(t * 1000) for t in rows[name].cast(pa.int64()).to_pylist()]


@SLOW
@given(rows=facts(), as_of=st.integers(0, 15), span=st.tuples(st.integers(0, 4), st.integers(0, 4)), some=st.booleans())
def test_read_gives_the_standing_assertions(way: str, rows: list[Fact], as_of: int, span, some: bool) -> None:
    names = sorted({f.entity for f in rows})[: 1 if some else None]
    first, last = min(span), max(span)
    for store in stored(rows):
        found = store.read(
            "facts",
            as_of=EPOCH + as_of * SECOND,
            entities=names if some else None,
            start=pd.Timestamp(EPOCH + first * SECOND, tz="UTC"),
            end=pd.Timestamp(EPOCH + last * SECOND, tz="UTC"),
        )
        keys = sorted({(f.entity, f.event, f.key) for f in rows if f.entity in names and first <= f.event <= last})
        expected = [f for e, event, key in keys if (f := standing(rows, e, event, as_of, key)) is not None]
        assert found["entity"].to_pylist() == [f.entity for f in expected]
        assert found["form"].to_pylist() == [f.key for f in expected]
        assert found["x"].to_pylist() == [f.value for f in expected]
        assert found["note"].to_pylist() == [f"n{f.value:g}" for f in expected]
        assert found["revision"].to_pylist() == [f.revision for f in expected]
        assert (of(found, "event_time"), of(found, "known_time")) == (
            [f.event for f in expected],
            [f.known for f in expected],
        )
        assert set(found["known_basis"].to_pylist()) <= {"vendor"}


@SLOW
@given(rows=facts(), tolerance=st.none() | st.integers(0, 6), form=st.none() | st.sampled_from(FORMS))
def test_panels_show_what_was_current(way: str, rows: list[Fact], tolerance: int | None, form: str | None) -> None:
    heard = [f for f in rows if form in (None, f.key)]
    for store in stored(rows):
        names = [*sorted({f.entity for f in rows}), "Z"]
        found = store.panel(
            "facts",
            "x",
            clock=CLOCK,
            entities=names,
            tolerance=None if tolerance is None else f"{tolerance}s",
            keys=None if form is None else {"form": form},
        )
        expected = [[current_value(heard, e, seconds(int(t)), tolerance) for e in names] for t in CLOCK]
        np.testing.assert_array_equal(found, expected)
        again = store.panel(
            "facts",
            "x",
            clock=CLOCK,
            entities=names[::-1],
            tolerance=None if tolerance is None else f"{tolerance}s",
            keys=None if form is None else {"form": form},
        )
        assert np.ascontiguousarray(again[:, ::-1]).tobytes() == found.tobytes()


@SLOW
@given(
    rows=facts(),
    k=st.integers(1, 4),
    within=st.none() | st.integers(0, 4),
    how=st.sampled_from([None, "sum", "mean", "min", "max", "first", "last"]),
)
def test_windows_show_the_last_periods(way: str, rows: list[Fact], k: int, within: int | None, how: str | None) -> None:
    for store in stored(rows):
        names = sorted({f.entity for f in rows})
        found = store.window("facts", "x", k, clock=CLOCK, reduce=how, within=None if within is None else f"{within}s")
        slow = [[last_periods(rows, e, seconds(int(t)), k, within) for e in names] for t in CLOCK]
        expected = slow if how is None else [[reduced(values, how) for values in line] for line in slow]
        np.testing.assert_array_equal(found, expected)
        assert not found.flags.writeable


@SLOW
@given(rows=facts())
def test_histories_tell_from_when_until_when_each_value_stood(way: str, rows: list[Fact]) -> None:
    asked = rows[0]
    heard = [f for f in rows if (f.entity, f.event, f.key) == (asked.entity, asked.event, asked.key)]
    for store in stored(rows):
        found = store.history(
            "facts", asked.entity, EPOCH + asked.event * SECOND, keys={"form": asked.key}, fields=["x", "note"]
        )
        assert found.column_names == [
            "form", "known_time", "revision", "op", "known_basis", "x", "note", "stood_from", "stood_until",
        ]  # fmt: skip
        stood_from, stood_until = of(found, "stood_from"), of(found, "stood_until")
        told = list(zip(found["x"].to_pylist(), stood_from, stood_until, strict=True))
        spells = stood(rows, asked.entity, asked.event, asked.key)
        by_time = sorted((s for s in told if s[1] is not None), key=lambda s: s[1])
        assert by_time == [(f.value, since, until) for f, since, until in spells]
        silent = [row for row in zip(found["op"].to_pylist(), of(found, "known_time"), stood_from, strict=True)
                  if row[2] is None]  # fmt: skip
        shown = {f.value for f, _, _ in spells}
        assert sorted(silent) == sorted(
            ("retract" if f.retract else "assert", f.known, None) for f in heard if f.retract or f.value not in shown
        )
        order = [max(known, since or known) if again else known for known, since, again in _again(found)]
        assert order == sorted(order)


def _again(found: pa.Table) -> list[tuple[int, int | None, bool]]:
    seen: set[float] = set()
    rows = []
    for x, known, since in zip(found["x"].to_pylist(), of(found, "known_time"), of(found, "stood_from"), strict=True):
        rows.append((known, since, x is not None and x in seen))
        seen.add(x)
    return rows


@SLOW
@given(
    rows=facts(),
    asked=st.lists(st.tuples(st.sampled_from([*ENTITIES, "Z", None]), st.none() | st.integers(-1, 15)), min_size=1),
    tolerance=st.none() | st.integers(0, 6),
    as_of=st.none() | st.integers(0, 15),
)
def test_rows_join_what_was_known_at_their_own_moment(
    way: str, rows: list[Fact], asked, tolerance: int | None, as_of: int | None
) -> None:
    assume({e for e, _ in asked} & {f.entity for f in rows})
    left = pa.table(
        {
            "who": pa.array([e for e, _ in asked], pa.string()),
            "traded": pa.array(
                [None if t is None else EPOCH // 1000 + t * 1_000_000 for _, t in asked], pa.int64()
            ).cast(pa.timestamp("us", "UTC")),
            "x": pa.array(range(len(asked))),
        }
    )
    for store in stored(rows):
        found = store.join(
            left,
            "facts",
            on="who",
            at="traded",
            tolerance=None if tolerance is None else f"{tolerance}s",
            as_of=None if as_of is None else EPOCH + as_of * SECOND,
        )
        assert found.column_names[:3] == ["who", "traded", "x"]
        assert found["x"].to_pylist() == list(range(len(asked)))
        answers = [
            None if e is None or t is None else current(rows, e, t if as_of is None else min(t, as_of), tolerance)
            for e, t in asked
        ]
        assert found["facts_x"].to_pylist() == [None if f is None else f.value for f in answers]
        assert found["note"].to_pylist() == [None if f is None else f"n{f.value:g}" for f in answers]
        assert found["form"].to_pylist() == [None if f is None else f.key for f in answers]
        assert of(found, "facts_event_time") == [None if f is None else f.event for f in answers]
        assert of(found, "facts_known_time") == [None if f is None else f.known for f in answers]


def eps(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["entity", "event_time", "known_time", "eps"])
    for name in ("event_time", "known_time"):
        made[name] = pd.to_datetime(made[name], utc=True)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    made.create("reports", Schema.facts(fields={"eps": "USD/share"}))
    made.append(
        "reports",
        eps(
            ("A", "2016-03-31", "2016-04-20", 1.0),
            ("A", "2016-06-30", "2016-07-20", 2.0),
            ("A", "2016-09-30", "2016-10-20", 3.0),
            ("A", "2016-03-31", "2016-11-01", 1.5),  # restated after three quarters were out
            ("A", "2016-12-31", "2017-01-20", 4.0),
            ("B", "2016-03-31", "2016-04-20", 7.0),
            ("B", "2016-12-31", "2017-01-20", 8.0),
        ),
    )
    made.append("reports", eps(("A", "2016-09-30", "2017-02-01", np.nan)).assign(op="retract"))
    return made


def days(*texts: str) -> pd.DatetimeIndex:
    return pd.to_datetime(list(texts), utc=True)


def test_trailing_sums_follow_restatement_and_withdrawal(store: Store) -> None:
    clock = days("2016-10-19", "2016-10-20", "2016-11-01", "2017-01-20", "2017-02-01")
    nan = np.nan
    found = store.window("reports", "eps", 3, clock=clock, entities=["A", "B"], reduce="sum")
    np.testing.assert_array_equal(found, [[nan, nan], [6, nan], [6.5, nan], [9, nan], [7.5, nan]])
    last = store.window("reports", "eps", 2, clock=clock, entities=["B", "A"], within="200d")
    np.testing.assert_array_equal(last[3], [[nan, nan], [3, 4]])  # B's two reports lie nine months apart
    np.testing.assert_array_equal(last[4], [[nan, nan], [2, 4]])  # June stands beside December: 184 days
    np.testing.assert_array_equal(
        store.window("reports", "eps", 2, clock=clock, entities=["A"], within="183d")[4], [[nan, nan]]
    )


def test_an_old_value_is_no_value(store: Store) -> None:
    clock = days("2016-04-20", "2016-07-01", "2016-09-27", "2016-09-28")
    found = store.panel("reports", "eps", clock=clock, entities=["B"], tolerance="180d")
    np.testing.assert_array_equal(found[:, 0], [7, 7, 7, np.nan])  # 31 March and 180 days is 27 September


def test_a_history_shows_what_stood_and_what_stands_again(store: Store) -> None:
    store.append("reports", eps(("A", "2016-03-31", "2017-03-01", np.nan)).assign(op="retract"))
    found = store.history("reports", "A", "2016-03-31T00:00Z").to_pandas()
    assert found["op"].tolist() == ["assert", "assert", "retract", "assert"]
    assert found["eps"].fillna(0).tolist() == [1.0, 1.5, 0.0, 1.0]
    assert [f"{t:%Y-%m-%d}" if t == t else None for t in found["stood_from"]] == [
        "2016-04-20", "2016-11-01", None, "2017-03-01",
    ]  # fmt: skip
    assert [f"{t:%Y-%m-%d}" if t == t else None for t in found["stood_until"]] == [
        "2016-11-01", "2017-03-01", None, None,
    ]  # fmt: skip


def test_a_history_of_nothing_names_what_there_is(store: Store) -> None:
    with pytest.raises(
        UnknownNameError, match=r"event_time '2016-04-01T00:00Z'.*near that: 2016-03-31T00:00:00Z, 2016-06"
    ):
        store.history("reports", "A", "2016-04-01T00:00Z")
    with pytest.raises(UnknownNameError, match="Unknown entity 'C'"):
        store.history("reports", "C", "2016-03-31T00:00Z")
    with pytest.raises(InputError, match="no time zone"):
        store.history("reports", "A", "2016-03-31")


def test_a_join_takes_datasets_frames_and_text(store: Store) -> None:
    store.create("trades", Schema.events(fields={"desk": Schema.field("text", dtype="string"), "eps": "USD/share"}))
    made = eps(("A", "2016-10-01", "2016-10-20", 0.1), ("A", "2016-11-02", "2016-11-02", 0.2),
               ("Z", "2016-11-02", "2016-11-02", 0.3)).assign(desk="north")  # fmt: skip
    store.append("trades", made)
    found = store.join("trades", "reports")
    assert found["eps"].to_pylist() == [0.1, 0.2, 0.3]
    assert found["reports_eps"].to_pylist() == [3.0, 3.0, None]
    assert store.join("trades", "reports", at="event_time")["reports_eps"].to_pylist() == [2.0, 3.0, None]
    assert store.join("trades", "reports", as_of="2016-10-31T00:00Z")["reports_eps"].to_pylist() == [3.0]
    asked = pd.DataFrame({"entity": ["A", "B"], "when": ["2016-05-01T12:00Z", "2016-05-01T12:00Z"]})
    back = store.join(asked, "trades", at="when", fields=["desk"])
    assert back["desk"].to_pylist() == [None, None]
    assert store.join(asked, "reports", at="when")["eps"].to_pylist() == [1.0, 7.0]
    late = asked.assign(when="2017-02-02T00:00Z")
    assert store.join(late, "reports", at="when")["eps"].to_pylist() == [4.0, 8.0]
    assert store.window("reports", "eps", 2, clock=days("2017-02-02"), reduce="first", version=1)[0].tolist() == [3, 7]
    assert store.window("reports", "eps", 2, clock=days("2017-02-02"), reduce="first")[0].tolist() == [2, 7]
    with pytest.raises(UnknownNameError, match="Unknown entity 'A'"):
        store.join(late, "reports", at="when", version=0)  # nothing was stored then


def test_a_join_says_what_is_wrong_with_its_rows(store: Store) -> None:
    rows = pd.DataFrame({"entity": ["A"], "known_time": pd.to_datetime(["2016-05-01"]), "n": [1]})
    with pytest.raises(DataError, match="known_time` of the left rows has no time zone"):
        store.join(rows, "reports")
    rows["known_time"] = rows["known_time"].dt.tz_localize("UTC")
    with pytest.raises(UnknownNameError, match="Unknown column 'when' in the left rows"):
        store.join(rows, "reports", at="when")
    with pytest.raises(InputError, match="`on` must name a column of entity names, but 'n' holds int64"):
        store.join(rows, "reports", on="n")
    with pytest.raises(UnknownNameError, match="Unknown entity 'AA' in dataset 'reports'"):
        store.join(rows.assign(entity="AA"), "reports")
    with pytest.raises(InputError, match="does not say of which dataset"):
        store.join("bars", "reports", version=1)
    with pytest.raises(InputError, match="`left` must be the name of a dataset"):
        store.join([1, 2], "reports")


def test_text_and_times_are_read_and_joined_but_are_no_panel(tmp_path: Path) -> None:
    made = Store(tmp_path)
    fields = {
        "rating": Schema.field("text", dtype="string"),
        "review": Schema.field("time", dtype="timestamp"),
        "junk": Schema.field("", dtype="bool"),
    }
    made.create("ratings", Schema.facts(fields=fields))
    rows = eps(("A", "2016-03-31", "2016-04-20", 0.0), ("A", "2016-06-30", "2016-07-20", 0.0)).drop(columns="eps")
    rows = rows.assign(rating=["BBB", "BB"], review=days("2017-01-01", "2017-02-01"), junk=[False, True])
    made.append("ratings", rows)
    assert made.read("ratings")["rating"].to_pylist() == ["BBB", "BB"]
    clock = days("2016-05-01", "2016-08-01")
    np.testing.assert_array_equal(made.panel("ratings", "junk", clock=clock)[:, 0], [0.0, 1.0])
    for name in ("rating", "review"):
        with pytest.raises(
            InputError, match=rf"'{name}' of dataset 'ratings' holds .* a panel holds numbers \(here: junk"
        ):
            made.panel("ratings", name, clock=clock)
    asked = pa.table(
        {"entity": ["A", "A"], "known_time": pa.array(clock.tz_localize(None)).cast(pa.timestamp("ns", "UTC"))}
    )
    found = made.join(asked, "ratings", fields=["rating", "review"])
    assert found["rating"].to_pylist() == ["BBB", "BB"]
    assert [f"{t:%Y-%m-%d}" for t in found["review"].to_pylist()] == ["2017-01-01", "2017-02-01"]


def minute_bars(names: tuple[str, ...], start: str, end: str, seed: int = 0) -> pd.DataFrame:
    """Synthetic minute bars, each known a second after its end, one in fifty corrected seven minutes later."""
    rng = np.random.default_rng(seed)
    ends = calendar("XNYS").bars("1min", start, end)
    rows = []
    for name in names:
        close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, len(ends))))
        rows.append(pd.DataFrame({"entity": name, "event_time": ends, "known_time": ends + SECOND, "close": close}))
        fixed = np.flatnonzero(rng.random(len(ends)) < 0.02)
        rows.append(
            pd.DataFrame(
                {
                    "entity": name,
                    "event_time": ends[fixed],
                    "known_time": ends[fixed] + 420 * SECOND,
                    "close": close[fixed] * 1.001,
                }
            )
        )
    made = pd.concat(rows, ignore_index=True)
    for name in ("event_time", "known_time"):
        made[name] = pd.to_datetime(made[name], utc=True)
    return made


def test_minute_bars_are_read_as_they_were_known(store: Store, way: str) -> None:
    """Pandas, once a clock time and entity: the newest bar known, as last corrected by then."""
    rows = minute_bars(("A", "B", "C"), "2016-11-23", "2016-11-25")  # the 24th is a holiday, the 25th ends at 13:00
    store.append("bars", rows)
    names = ["C", "A"]
    found = store.panel("bars", "close", clock="5min", start="2016-11-23", end="2016-11-25", entities=names)
    clock = calendar("XNYS").bars("5min", "2016-11-23", "2016-11-25")
    assert len(clock) == 78 + 42
    expected = np.full(found.shape, np.nan)
    for (t, moment), (j, name) in itertools.product(enumerate(pd.to_datetime(clock, utc=True)), enumerate(names)):
        known = rows[(rows["entity"] == name) & (rows["known_time"] <= moment)]
        if len(known):
            expected[t, j] = known.sort_values(["event_time", "known_time"])["close"].iloc[-1]
    np.testing.assert_array_equal(found, expected)
    days_end = store.panel("bars", "close", clock="session", start="2016-11-23", end="2016-11-25", entities=names)
    np.testing.assert_array_equal(days_end, expected[[77, 119]])


def test_only_what_is_asked_for_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and columns that leave the table's files where a table is too large to be held whole."""
    rows = minute_bars(("A", "B", "C", "D"), "2016-11-21", "2016-12-09")
    store.append("bars", rows)
    monkeypatch.setattr(loading, "WHOLE_BYTES", -1)
    seen: list[pa.Table] = []

    def scan(*args: object, real=loading.delta.scan, **options: object) -> pa.Table:
        seen.append(real(*args, **options))
        return seen[-1]

    monkeypatch.setattr(loading.delta, "scan", scan)
    store.panel("bars", "close", clock="5min", start="2016-11-21", end="2016-11-21", entities=["B"])
    (names, part) = seen  # the names of all entities, once for a version
    assert names.column_names == ["entity"]
    assert part.column_names == ["entity", "event_time", "known_time", "revision", "op", "close"]
    assert part["entity"].unique().to_pylist() == ["B"]
    assert part.num_rows < 420  # of 390 bars and their corrections, those known by the last time asked for
    seen.clear()
    store.read("bars", entities=["C"], fields=["volume"], start="2016-11-22", end="2016-11-22")
    (part,) = seen
    assert "close" not in part.column_names
    assert 390 <= part.num_rows < 420
    seen.clear()
    store.panel("bars", "close", clock="5min", start="2016-11-21", end="2016-11-21", entities=["B"])
    assert seen == []


def test_a_table_larger_than_memory_is_read_in_pieces(store: Store, way: str) -> None:
    store.append("bars", minute_bars(("A", "B", "C", "D", "E"), "2016-11-25", "2016-11-25"))
    asked = {"as_of": "2016-11-25T17:00Z", "fields": ["close"], "start": "2016-11-25T15:00Z"}
    pieces = list(store.read_batches("bars", rows=500, **asked))
    assert len(pieces) == 3
    assert pa.concat_tables(pieces).equals(store.read("bars", **asked))
    (few,) = store.read_batches("bars", entities=["D", "B"], **asked)
    assert few.equals(store.read("bars", entities=["B", "D"], **asked))
    with pytest.raises(InputError, match="rows >= 1"):
        next(store.read_batches("bars", rows=0))


def test_a_clock_in_words_needs_a_calendar_and_a_span(store: Store) -> None:
    with pytest.raises(InputError, match="needs a calendar, but dataset 'reports' has none"):
        store.panel("reports", "eps", clock="5min", start="2016-01-04", end="2016-01-05")
    with pytest.raises(InputError, match="needs start= and end="):
        store.panel("bars", "close", clock="5min", start="2016-01-04")
    with pytest.raises(InputError, match="go with a clock in words"):
        store.panel("reports", "eps", clock=days("2016-05-01"), start="2016-01-04")
    with pytest.raises(InputError, match="`tolerance` must be a span of time"):
        store.panel("reports", "eps", clock=days("2016-05-01"), tolerance="a while")
    with pytest.raises(InputError, match="`k >= 1` periods"):
        store.window("reports", "eps", 0, clock=days("2016-05-01"))
    with pytest.raises(UnknownNameError, match="Did you mean 'mean'"):
        store.window("reports", "eps", 2, clock=days("2016-05-01"), reduce="means")


def test_keys_are_chosen_by_name(tmp_path: Path) -> None:
    made = Store(tmp_path)
    made.create("facts", SCHEMA)
    base = {"entity": "A", "event_time": days("2016-12-31")[0]}
    made.append(
        "facts",
        pd.DataFrame(
            [
                {**base, "known_time": days("2017-02-01")[0], "form": "10-K", "x": 10.0},
                {**base, "known_time": days("2017-01-20")[0], "form": "10-Q", "x": 3.0},
            ]
        ),
    )
    clock = days("2017-01-21", "2017-02-02")
    assert made.panel("facts", "x", clock=clock)[:, 0].tolist() == [3.0, 10.0]  # the one known last
    assert made.panel("facts", "x", clock=clock, keys={"form": "10-Q"})[:, 0].tolist() == [3.0, 3.0]
    assert made.read("facts")["form"].to_pylist() == ["10-K", "10-Q"]
    assert made.read("facts", keys={"form": "10-Q"})["x"].to_pylist() == [3.0]
    assert made.read("facts", fields=["x"]).column_names[:3] == ["entity", "event_time", "form"]
    assert made.history("facts", "A", "2016-12-31T00:00Z")["form"].to_pylist() == ["10-Q", "10-K"]
    with pytest.raises(UnknownNameError, match="Unknown key 'from'"):
        made.read("facts", keys={"from": "10-Q"})


def test_a_clock_and_a_window_of_more_years_than_a_difference_holds(tmp_path: Path) -> None:
    """Times run from 1678 to 2261; two of them may lie more nanoseconds apart than 64 bits count."""
    store = Store(tmp_path)
    store.create("facts", Schema.facts(fields={"x": "1"}, known_lag="0s"))
    ends = ["1700-01-01T00:00Z", "2255-01-01T00:00Z"]
    store.append("facts", pd.DataFrame({"entity": "A", "event_time": ends, "x": [1.0, 2.0]}))
    clock = [pd.Timestamp(end) for end in ends]
    assert store.panel("facts", "x", clock=clock).tolist() == [[1.0], [2.0]]
    assert store.window("facts", "x", 2, clock=clock, reduce="sum")[:, 0].tolist()[1] == 3.0
    assert np.isnan(store.window("facts", "x", 2, clock=clock, reduce="sum", within="1000d")).all()
