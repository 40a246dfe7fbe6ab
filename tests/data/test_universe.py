"""Membership in a store: intervals as they were known, rules over bars, and the market that comes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import knowable as kn
from knowable.data.asof import load
from knowable.data.asof.facts import make_facts
from knowable.data.corporate.membership import make_members
from knowable.data.corporate.universe import AtLeast, Largest
from knowable.data.market import Market
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import DataError, InputError, UnknownNameError
from knowable.testing.universe_oracle import Interval, is_member

DAYS = pd.bdate_range("2016-01-04", "2016-04-29")
DAYS = DAYS[~DAYS.isin(pd.to_datetime(["2016-01-18", "2016-02-15", "2016-03-25"]))]
NAMES = ("AAA", "BBB", "CCC", "DDD")


def bars(names: tuple[str, ...] = NAMES, seed: int = 3) -> pd.DataFrame:
    """Closes and volumes of four months, known at the close; DDD is listed in March, BBB ends on 10 March."""
    rng = np.random.default_rng(seed)
    frames = []
    for k, name in enumerate(names):
        days = DAYS[DAYS >= "2016-03-01"] if name == "DDD" else DAYS[DAYS <= "2016-03-10"] if name == "BBB" else DAYS
        close = 20 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days))))
        volume = rng.integers(1, 1_000 * (1 + k), len(days)).astype(float)
        frames.append(pd.DataFrame({"entity": name, "event_time": days, "close": close, "volume": volume}))
    return pd.concat(frames)


def memberships(rows: list[tuple[str, str, str, str, str | None]]) -> pd.DataFrame:
    """Rows of (index, entity, start, known, end), times in UTC."""
    frame = pd.DataFrame(rows, columns=["index", "entity", "event_time", "known_time", "end"])
    for name in ("event_time", "known_time", "end"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def members(market: Market) -> pd.DataFrame:
    return pd.DataFrame(market.panel("universe"), market.index, list(market.assets))


MEMBERS = [
    ("X", "AAA", "2016-01-01", "2015-12-20", None),
    ("X", "BBB", "2016-01-01", "2015-12-20", None),
    ("X", "BBB", "2016-01-01", "2016-03-14", "2016-03-11"),  # told on Monday that it left on Friday
    ("X", "DDD", "2016-04-01", "2016-03-20", None),  # announced ahead
    ("X", "EEE", "2016-02-01", "2016-01-15", None),  # without bars
    ("Y", "CCC", "2016-01-01", "2015-12-20", None),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("universe"))
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD", known_lag="0s", known_basis="assumed_lag"))
    made.append("bars", bars())
    made.create("members", Schema.intervals(keys=("index",)))
    assert made.append("members", memberships(MEMBERS)).accepted == len(MEMBERS)
    made.create("caps", Schema.facts(fields={"cap": "USD"}))
    when = pd.to_datetime(["2016-01-01"] * 4, utc=True)
    made.append(
        "caps", pd.DataFrame({"entity": NAMES, "event_time": when, "known_time": when, "cap": [4.0, 3.0, 2.0, 1.0]})
    )
    return made


def test_members_are_as_known_at_each_time(store: Store) -> None:
    clock = pd.to_datetime(["2015-12-31", "2016-01-01", "2016-03-11", "2016-03-14", "2016-04-01"], utc=True)
    found = store.members("members", clock=clock, key="X", entities=["BBB", "DDD", "AAA", "EEE", "ZZZ"])
    assert found.dtype == bool
    assert not found.flags.writeable
    assert found.astype(int).tolist() == [
        [0, 0, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 0, 1, 1, 0],  # gone, but nobody had said so
        [0, 0, 1, 1, 0],
        [0, 1, 1, 1, 0],
    ]
    assert store.members("members", clock=clock, key={"index": "Y"}).tolist() == [[False], *[[True]] * 4]
    assert store.members("members", clock=clock, key="X").shape == (5, 4)


def test_a_retracted_membership_never_was_from_then_on(store: Store, tmp_path: Path) -> None:
    made = Store(tmp_path)
    made.create("members", Schema.intervals(keys=("index",)))
    made.append("members", memberships(MEMBERS[:1]))
    gone = memberships([("X", "AAA", "2016-01-01", "2016-02-01", None)]).assign(op="retract")
    made.append("members", gone)
    clock = pd.to_datetime(["2016-01-31", "2016-02-01"], utc=True)
    assert made.members("members", clock=clock).tolist() == [[True], [False]]
    assert made.members("members", clock=clock, version=1).tolist() == [[True], [True]]


def test_what_cannot_be_read_as_members_says_what_to_do(store: Store) -> None:
    clock = pd.to_datetime(["2016-01-01"], utc=True)
    with pytest.raises(InputError, match=r"holds 2 values of 'index'.*\nSay which is meant: key='X'"):
        store.members("members", clock=clock)
    with pytest.raises(UnknownNameError, match="'Z'"):
        store.members("members", clock=clock, key="Z")
    with pytest.raises(UnknownNameError, match="'indx'.*Did you mean 'index'"):
        store.members("members", clock=clock, key={"indx": "X"})
    with pytest.raises(UnknownNameError, match="'AAB'.*Did you mean 'AAA'"):
        store.members("members", clock=clock, key="X", entities=["AAB"])
    with pytest.raises(InputError, match="holds bars"):
        store.members("bars", clock=clock)
    with pytest.raises(InputError, match="`key` must be a text"):
        store.members("members", clock=clock, key=5)  # type: ignore[arg-type]


def test_a_market_within_an_index_has_all_who_ever_were_members(store: Store) -> None:
    market = store.market("bars", start="2016-02-01", universe=("members", "X"))
    assert market.assets == ("AAA", "BBB", "DDD")
    frame = members(market)
    when = market.index
    assert frame["AAA"].eq(1).all()
    assert frame["BBB"].tolist() == (when < "2016-03-14").astype(float).tolist()
    assert frame["DDD"].tolist() == (when >= "2016-04-01").astype(float).tolist()
    assert market.pins[-1]["dataset"] == "members"
    assert market.pins[-1]["version"] == "1"
    (note,) = [note for note in market.notes if note.startswith("Universe: ")]
    assert note.startswith("Universe: members of members, X (1 more have no bars in bars); on average ")
    assert store.market("bars", universe=("members", {"index": "Y"})).assets == ("CCC",)
    again = Store(store.folder).market("bars", start="2016-02-01", universe=("members", "X"))
    assert again.fingerprint == market.fingerprint
    assert again.notes == market.notes


def test_entities_narrow_the_pool(store: Store) -> None:
    market = store.market("bars", universe=("members", "X"), entities=["DDD", "CCC", "AAA"])
    assert market.assets == ("DDD", "AAA")
    market = store.market("bars", universe=Largest(n=1, window=5), entities=["CCC", "BBB"])
    assert set(market.assets) <= {"BBB", "CCC"}


def test_a_version_of_the_members_can_be_pinned(store: Store, tmp_path: Path) -> None:
    made = Store(tmp_path)
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD", known_lag="0s", known_basis="assumed_lag"))
    made.append("bars", bars())
    made.create("members", Schema.intervals())
    made.append("members", memberships(MEMBERS[:1]).drop(columns="index"))
    made.append("members", memberships(MEMBERS[1:2]).drop(columns="index"))
    assert made.market("bars", universe="members").assets == ("AAA", "BBB")
    assert made.market("bars", universe="members", version={"members": 1}).assets == ("AAA",)


def test_a_universe_that_is_none_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="must be a dataset of intervals"):
        store.market("bars", universe=["AAA"])  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Did you mean 'members'"):
        store.market("bars", universe="member")
    with pytest.raises(InputError, match="holds facts"):
        store.market("bars", universe="caps")
    with pytest.raises(InputError, match="A market needs a dataset of bars"):
        store.market("caps", universe=Largest(n=1))
    with pytest.raises(UnknownNameError, match="Did you mean 'AAA'"):
        store.market("bars", universe=("members", "X"), entities=["AAAA", "BBB"])
    with pytest.raises(DataError, match="was a member on any bar"):
        store.market("bars", universe=("members", "X"), entities=["CCC"])
    with pytest.raises(DataError, match=r"Nobody is ever chosen(.|\n)*82 known bars"):
        store.market("bars", universe=Largest(n=2, window=500))
    with pytest.raises(UnknownNameError, match="Did you mean 'volume'"):
        store.market("bars", universe=Largest(n=2, by="volum"))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"n": 0}, "`n >= 1`"),
        ({"n": 2.5}, "`n >= 1`"),
        ({"window": 0}, "`window >= 1`"),
        ({"hold": -1}, "`hold >= 0`"),
        ({"stale": True}, "`stale >= 0`"),
        ({"min_history": 0}, "`min_history >= 1`"),
        ({"min_price": float("nan")}, "`min_price` must be a finite"),
        ({"by": 3}, "`by` must name a field"),
        ({"every": "monthend"}, "Did you mean 'month_end'"),
    ],
)
def test_rules_out_of_range_are_refused(values, match) -> None:
    with pytest.raises((InputError, UnknownNameError), match=match):
        Largest(**values)


def test_at_least_refuses_a_stay_above_its_level() -> None:
    with pytest.raises(InputError, match="`stay <= level`"):
        AtLeast(level=5, stay=6)
    assert str(AtLeast(level=1e6)) == "at least 1,000,000 by dollar volume over 60 bars, chosen at each month end"
    assert str(Largest(n=500)) == "the 500 largest by dollar volume over 60 bars, chosen at each month end"


def test_the_largest_are_chosen_from_what_was_known_at_each_month_end(store: Store) -> None:
    """By hand: dollar volume of the last five bars at the end of January, February, March."""
    rule = Largest(n=2, window=5)
    market = store.market("bars", start="2016-02-01", universe=rule)
    table = bars().assign(dollars=lambda t: t["close"] * t["volume"])
    expected: dict[str, list[str]] = {}
    for end in ("2016-01-29", "2016-02-29", "2016-03-31"):
        past = table[table["event_time"] <= end]
        size = past.groupby("entity").tail(5).groupby("entity")["dollars"].mean()
        alive = past.groupby("entity")["event_time"].max() > pd.Timestamp(end) - pd.Timedelta("8D")
        expected[end] = sorted(size[alive].nlargest(2).index)
    frame = members(market)
    for begin, last, end in (
        ("2016-02-01", "2016-02-26", "2016-01-29"),  # the row of the month's end has the new members already
        ("2016-02-29", "2016-03-30", "2016-02-29"),
        ("2016-03-31", "2016-04-28", "2016-03-31"),
    ):
        month = frame[(frame.index >= begin) & (frame.index < pd.Timestamp(last, tz="UTC") + pd.Timedelta("1D"))]
        chosen = [name for name in frame.columns if month[name].iloc[0]]
        assert chosen == expected[end]
        still = [name for name in chosen if name != "BBB"]
        assert month[still].eq(1).all().all()
    assert set(market.assets) == {name for names in expected.values() for name in names} | set(
        frame.columns[frame.iloc[-1] == 1]
    )


def test_a_universe_does_not_hang_on_where_the_market_begins(store: Store) -> None:
    rule = Largest(n=2, window=20, hold=1)
    whole = members(store.market("bars", universe=rule))
    later = members(store.market("bars", start="2016-03-07", universe=rule))
    pd.testing.assert_frame_equal(later, whole.loc[later.index, later.columns])
    rest = [name for name in whole if name not in later]
    assert not whole.loc[later.index, rest].to_numpy().any()


def test_a_universe_does_not_hang_on_where_the_market_ends(store: Store) -> None:
    rule = AtLeast(level=5_000, window=10, every="week_end")
    whole = members(store.market("bars", universe=rule))
    for end in ("2016-02-10", "2016-03-11", "2016-04-04"):
        cut = members(store.market("bars", end=end, universe=rule))
        pd.testing.assert_frame_equal(cut, whole.loc[cut.index, cut.columns])
        assert not whole.loc[cut.index, [name for name in whole if name not in cut]].to_numpy().any()


@pytest.mark.parametrize(
    "universe", [AtLeast(level=500, window=5, every=7), Largest(n=2, window=5), ("members", {"index": "X"})]
)
def test_the_recipe_of_a_market_makes_it_again_from_plain_text(store: Store, universe: object) -> None:
    market = store.market("bars", universe=universe)
    recipe = json.loads(json.dumps(dict(market.recipe)))
    assert store.market(**recipe).fingerprint == market.fingerprint
    assert store.market(**recipe).notes == market.notes
    assert dict(Largest(n=1, window=2).on(market).recipe) == {}, "no store knows how that one was made"


@pytest.mark.parametrize("universe", [Largest(n=2, window=5), ("members", "X"), Largest(n=1, by="cap", window=3)])
def test_tables_too_large_to_hold_whole_give_the_same_market(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, universe: object
) -> None:
    asked = {"start": "2016-02-01", "end": "2016-04-20", "also": ["caps"], "universe": universe}
    held = store.market("bars", **asked)
    copy = tmp_path / "store"
    shutil.copytree(store.folder, copy, ignore=shutil.ignore_patterns(".cache"))
    monkeypatch.setattr(load, "WHOLE_BYTES", 0)
    parts = Store(copy).market("bars", **asked)
    assert parts.fingerprint == held.fingerprint
    assert parts.notes == held.notes


@pytest.mark.parametrize("by", ["close", "dollar_volume"])
def test_a_split_changes_nobody_s_size(tmp_path: Path, by: str) -> None:
    """Rules go by prices as traded; where only adjusted ones are at hand, by the raw ones beside them."""
    made = Store(tmp_path)
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD", known_lag="0s", known_basis="assumed_lag"))
    made.append("bars", bars())
    made.create("actions", Schema.actions(calendar="XNYS"))
    split = {"entity": "CCC", "event_time": "2016-02-10", "known_time": "2016-02-01", "type": "split", "ratio": 20.0}
    made.append("actions", pd.DataFrame([split]), tz="UTC")
    rule = Largest(n=2, window=5, by=by)
    plain = made.market("bars", universe=rule)
    market = made.market("bars", universe=rule, actions="actions")
    column = market.assets.index("CCC")
    assert market.panel("close")[-1, column] == 20 * plain.panel("close")[-1, column]
    np.testing.assert_array_equal(market.panel("universe"), plain.panel("universe"))
    assert [pin["dataset"] for pin in market.pins] == ["bars", "actions"]
    everybody = made.market("bars", actions="actions")
    chosen = pd.DataFrame(rule.members(everybody), everybody.index, list(everybody.assets))
    assert not chosen.drop(columns=list(market.assets)).to_numpy().any()
    np.testing.assert_array_equal(chosen[list(market.assets)], plain.panel("universe"))


def test_a_feature_of_the_library_sees_the_members_of_its_universe(tmp_path: Path) -> None:
    made = kn.Store(tmp_path)
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD", known_lag="0s", known_basis="assumed_lag"))
    table = bars()
    made.append("bars", table[table["event_time"] < "2016-04-11"])
    market = made.market("bars", universe=Largest(n=2, window=5))
    made.register("place", market.close.delta(3).rank(), market=market, note="Place among the two largest.")
    made.append("bars", table[table["event_time"] >= "2016-04-11"])
    made.refresh("place")
    whole = made.market("bars", universe=Largest(n=2, window=5))
    stored = made.panel("place", "place", clock=whole.decision_times, entities=whole.assets)
    np.testing.assert_array_equal(stored, whole.close.delta(3).rank().values())


def test_a_rule_may_choose_by_a_fact(store: Store) -> None:
    market = store.market("bars", also=["caps"], universe=Largest(n=1, by="cap", window=3))
    assert market.assets == ("AAA",)
    with pytest.raises(UnknownNameError, match="'cap'"):
        store.market("bars", universe=Largest(n=1, by="cap", window=3))


def test_facts_about_none_of_a_universe_s_members_are_missing_and_noted(store: Store, tmp_path: Path) -> None:
    for name in ("bars", "members", "caps"):
        shutil.copytree(store.folder / name, tmp_path / "copy" / name)
    copy = Store(tmp_path / "copy")
    copy.create("odd", Schema.facts(fields={"z": "1"}))
    when = pd.Timestamp("2016-01-01", tz="UTC")
    copy.append("odd", pd.DataFrame({"entity": ["CCC"], "event_time": [when], "known_time": [when], "z": [1.0]}))
    market = copy.market("bars", also=["odd"], universe=("members", "X"))
    assert "CCC" not in market.assets
    assert np.isnan(market.panel("z")).all()
    assert any("'odd' concerns none of the assets" in note for note in market.notes)
    with pytest.raises(DataError, match="concern none of the 1 assets"):
        copy.market("bars", also=["odd"], entities=["AAA"])
    with pytest.raises(DataError, match="concern none"):
        copy.market("bars", also=["odd"], entities=["AAA", "BBB"], universe=Largest(n=1, by="z", window=3))


def test_a_rule_works_on_a_market_without_a_store() -> None:
    table = bars()
    wide = {name: table.pivot_table(index="event_time", columns="entity", values=name) for name in ("close", "volume")}
    plain = Market.from_frames(**wide, calendar="XNYS")
    rule = Largest(n=2, window=5)
    market = rule.on(plain)
    assert "Universe: the 2 largest by dollar volume over 5 bars" in market.notes[0]
    np.testing.assert_array_equal(market.panel("universe"), rule.members(plain))
    for cut in (15, 40, 41, 42, 60):
        np.testing.assert_array_equal(rule.members(plain.until(cut)), rule.members(plain)[:cut])
    with pytest.raises(UnknownNameError, match="'volume'"):
        rule.on(Market.from_frames(close=wide["close"], calendar="XNYS"))


@st.composite
def rows_of_two_lists(draw: st.DrawFn) -> list[Interval]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from("AB"),
                st.sampled_from("XY"),
                st.integers(0, 3),
                st.integers(0, 9),
                st.none() | st.integers(1, 6),
                st.booleans() | st.just(value=False),
            ),
            max_size=25,
            unique_by=lambda row: row[:4],
        )
    )
    return [
        Interval(entity=e, key=key, start=s, end=None if n is None else s + n, known=k, retract=gone)
        for e, key, s, k, n, gone in rows
    ]


@given(rows_of_two_lists(), st.randoms(use_true_random=False))
def test_stored_rows_give_the_members_of_the_rule(rows, random) -> None:
    rows = random.sample(rows, len(rows))
    micro = pa.timestamp("us", "UTC")

    def times(values: list[int | None]) -> pa.Array:
        return pa.array([None if v is None else v * 1_000_000 for v in values], pa.int64()).cast(micro)

    table = pa.table(
        {
            "entity": pa.array([r.entity for r in rows], pa.string()),
            "event_time": times([r.start for r in rows]),
            "known_time": times([r.known for r in rows]),
            "revision": pa.array([0] * len(rows), pa.int64()),
            "op": pa.array(["retract" if r.retract else "assert" for r in rows], pa.string()),
            "index": pa.array([r.key for r in rows], pa.string()),
            "end": times([r.end for r in rows]),
        }
    )
    schema = Schema.intervals(keys=("index",))
    facts = make_facts(table, keys=schema.keys)
    clock = np.arange(-1, 14, dtype=np.int64)
    for key in {r.key for r in rows}:
        found = make_members(facts, schema, key, "lists").panel(clock * 1_000_000_000, ["A", "B"])
        assert found.tolist() == [[is_member(rows, name, int(t), key) for name in "AB"] for t in clock]
