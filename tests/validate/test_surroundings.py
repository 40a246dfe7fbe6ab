"""What a strategy's code reaches besides its market: found by name, put back before each run, altered after a cut."""

from __future__ import annotations

import functools
import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest

import knowable as kn
from knowable.data.market import Market
from knowable.strategy import Strategy
from knowable.testing.zoo.base import frame, zoo_market
from knowable.validate.memory import Memory
from knowable.validate.outside import Outside, altered
from knowable.validate.reach import reach_of

MARKET = zoo_market(0, n_bars=100, n_assets=3)
LOG = logging.getLogger("zoo")
TABLE = frame(MARKET)
BOX = {"list": [1, 2], "array": np.zeros(3), "box": SimpleNamespace(level=1.0), "names": {"a"}}
NOT_NAMED = {"never": "read"}
count = 0


@functools.cache
def slow(n: int) -> int:
    return n + helper(n)


def helper(n: int, *, scale: int = 2, kept: list[int] = []) -> int:  # noqa: B006 - the classic
    kept.append(n)
    return n * scale


class Reaches(Strategy):
    """Touches everything it can."""

    seen: list[int] = []  # noqa: RUF012

    def weights(self, m: Market):
        global count, made_later  # noqa: PLW0603
        count += 1
        made_later = count
        type(self).latest = m.n_bars
        self.seen.append(m.n_bars)
        BOX["list"].append(slow(3))
        BOX["array"][0] = 7.0
        BOX["box"].level = 2.0
        BOX["names"].add("b")
        BOX["new"] = TABLE
        slow.note = "kept on a function"
        LOG.debug("asked")
        return np.zeros(m.shape)


def test_what_code_names_is_found_through_its_helpers_and_nothing_else() -> None:
    reach = reach_of(Reaches())
    names = {place.name for place in reach.places}
    assert {"the global `BOX`", "the global `TABLE`", "`Reaches.seen`", "the default `kept`"} <= names
    assert not any("NOT_NAMED" in name for name in names)
    assert {function.__name__ for function in reach.functions} == {"weights", "slow", "helper"}
    assert reach.caches == [slow]
    assert {"count", "made_later", "latest"} <= reach.stored
    assert "def helper" in reach.source()


def test_all_that_was_kept_is_named_and_put_back_in_place() -> None:
    lists, array, box, names = BOX["list"], BOX["array"], BOX["box"], BOX["names"]
    memory = Memory(reach_of(Reaches()))
    assert memory.alive
    assert memory.changed() == []
    for _ in range(2):
        Reaches().weights(MARKET)
        changed = set(memory.changed())
        assert {"the global `BOX`", "`Reaches.seen`", "the default `kept`", "the cache of `slow`"} <= changed
        assert {"the global `count`", "the global `made_later`", "`Reaches.latest`"} <= changed
        memory.restore()
        assert memory.changed() == []
    assert (BOX["list"], BOX["array"].tolist(), BOX["box"].level, BOX["names"]) == ([1, 2], [0.0] * 3, 1.0, {"a"})
    assert BOX["list"] is lists
    assert BOX["array"] is array
    assert BOX["box"] is box
    assert BOX["names"] is names
    assert "new" not in BOX
    assert count == 0
    assert "made_later" not in globals()
    assert not hasattr(Reaches, "latest")
    assert Reaches.seen == []
    assert helper.__kwdefaults__["kept"] == []
    assert slow.cache_info().currsize == 0


def test_a_check_leaves_what_code_keeps_as_it_found_it() -> None:
    BOX["list"].append(99)
    report = kn.check(Reaches(), MARKET, cuts=[50], fresh=False)
    assert report.ok
    assert any("keeps" in note for note in report.notes)
    assert BOX["list"] == [1, 2, 99]
    assert count == 0
    BOX["list"].pop()


def test_constants_and_loggers_are_no_memory() -> None:
    class Plain(Strategy):
        window = 5
        names = ("a", "b")

        def weights(self, m: Market):
            LOG.debug("asked")
            return np.full(m.shape, 0.1 / self.window)

    assert not Memory(reach_of(Plain())).alive


@pytest.mark.parametrize(
    "value",
    [
        TABLE,
        TABLE["A0"],
        TABLE.tz_localize("America/New_York"),
        TABLE.stack(),
        TABLE.reset_index(names="day"),
        TABLE.reset_index(drop=True),
        TABLE.to_numpy(),
        TABLE["A0"].to_numpy(),
        MARKET,
        MARKET.close,
        pl.DataFrame(TABLE.reset_index(names="day")),
        pl.DataFrame({"x": TABLE["A0"].to_numpy()}),
        {"in": [TABLE]},
        (1, TABLE),
    ],
    ids=lambda v: type(v).__name__,
)
def test_rows_after_a_cut_are_others_and_rows_before_it_are_not(value) -> None:
    cut = 60
    rng = np.random.default_rng(0)
    other = altered(value, MARKET, cut, rng)
    assert other is not value
    assert type(other) is type(value)
    before, after = numbers(value), numbers(other)
    n = len(before) * cut // MARKET.n_bars
    np.testing.assert_array_equal(before[:n], after[:n])
    assert (before[n:] != after[n:]).mean() > 0.9
    assert altered(value, MARKET, MARKET.n_bars, rng) is value  # nothing lies after the last bar


def numbers(value) -> np.ndarray:
    if isinstance(value, dict):
        return numbers(value["in"])
    if isinstance(value, list | tuple):
        return numbers(value[-1])
    if isinstance(value, Market):
        return value.panel("close")
    if isinstance(value, kn.features.Feature):
        return value.values()
    if isinstance(value, pl.DataFrame):
        return value.select(pl.selectors.float()).to_numpy()
    if isinstance(value, pd.DataFrame):
        return value.select_dtypes("float").to_numpy()
    return np.asarray(value)


@pytest.mark.parametrize(
    "value",
    [
        3.0,
        "close",
        pd.DatetimeIndex(MARKET.index),
        np.zeros(7),
        np.zeros((100, 9)),
        pd.Series([1.0, 2.0]),
        frame(zoo_market(0, n_bars=40)),
        pl.DataFrame({"x": [1.0]}),
        pl.Series([1.0]),
        np.array(["a"] * 100),
        Market,
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_has_no_later_rows_is_left_alone(value) -> None:
    assert altered(value, MARKET, 60, np.random.default_rng(0)) is value


def test_a_table_with_other_columns_keeps_their_kinds_and_its_times() -> None:
    table = pd.DataFrame({"x": np.arange(100.0) + 0.5, "code": 7, "name": "a", "on": MARKET.index}, index=MARKET.index)
    other = altered(table, MARKET, 60, np.random.default_rng(0))
    assert other.dtypes.tolist() == table.dtypes.tolist()
    pd.testing.assert_frame_equal(other[["code", "name", "on"]], table[["code", "name", "on"]])
    assert other.index.equals(table.index)
    assert (other["x"][60:] != table["x"][60:]).all()


@pytest.mark.parametrize("where", ["global", "class", "instance", "closure", "default", "object"])
def test_a_leak_through_data_of_its_own_is_found_wherever_they_stand(where: str) -> None:
    report = kn.check(peeking(where), MARKET, cuts=[40, 70], fresh=False)
    assert report.kinds == ("look-ahead",)
    assert report.reach == 1
    assert {f.asset for f in report.findings} == set(MARKET.assets)
    assert "with outside data for bars after" in repr(report)
    assert "hand those data to the market" in report.remedy
    assert [f.kind for f in report.suspicions][:1] == ["outside"]
    assert Outside(reach_of(peeking(where)), MARKET).names != []


def peeking(where: str) -> Strategy:
    closed = TABLE.copy()

    class Global(Strategy):
        def weights(self, m: Market):
            return (TABLE.shift(-1) / TABLE - 1).reindex(m.index)

    class OfClass(Strategy):
        table = closed

        def weights(self, m: Market):
            return (self.table.shift(-1) / self.table - 1).reindex(m.index)

    class Instance(Strategy):
        def weights(self, m: Market):
            return (self.table.shift(-1) / self.table - 1).reindex(m.index)

    class Closure(Strategy):
        def weights(self, m: Market):
            return (closed.shift(-1) / closed - 1).reindex(m.index)

    class Default(Strategy):
        def weights(self, m: Market, table: pd.DataFrame = closed):
            return (table.shift(-1) / table - 1).reindex(m.index)

    class Holder:
        def __init__(self) -> None:
            self.tables = {"close": closed}

    holder = Holder()

    class OfObject(Strategy):
        def weights(self, m: Market):
            table = holder.tables["close"]
            return (table.shift(-1) / table - 1).reindex(m.index)

    every = {"global": Global, "class": OfClass, "closure": Closure, "default": Default, "object": OfObject}
    if where in every:
        return every[where]()
    made = Instance()
    made.table = closed
    return made


def test_what_it_reads_from_files_is_said_to_be_unchecked() -> None:
    class Reads(Strategy):
        def weights(self, m: Market):
            if m.n_bars < 0:
                return pd.read_csv("prices.csv")
            return np.zeros(m.shape)

    class Opens(Strategy):
        def weights(self, m: Market):
            return open("x") if m.n_bars < 0 else m.open * 0.0  # noqa: PTH123

    class Honest(Strategy):
        def weights(self, m: Market):
            return m.open * 0.0

    for strategy, name in ((Reads(), "`read_csv`"), (Opens(), "`open`")):
        report = kn.check(strategy, MARKET, cuts=[50])
        assert report.ok
        assert [f.kind for f in report.suspicions] == ["outside"]
        assert name in repr(report)
    assert kn.check(Honest(), MARKET, cuts=[50]).suspicions == ()


def test_outside_data_are_put_back_also_when_the_strategy_raises() -> None:
    held = TABLE

    class Raises(Strategy):
        calls = 0

        def weights(self, m: Market):
            if TABLE is not held:
                raise RuntimeError("no")
            return TABLE.reindex(m.index) * 0.0

    kn.check(Raises(), MARKET, cuts=[50], fresh=False)
    assert TABLE is held


LOADED: dict[str, pd.DataFrame] = {}
TIMES_LOADED: list[int] = []


@functools.cache
def slow_table() -> pd.DataFrame:
    TIMES_LOADED.append(1)
    return TABLE.copy()


class LoadsLate(Strategy):
    """Loads a table when it is first asked, and looks ahead in it."""

    ahead = kn.Int(0, 1, default=0)

    def weights(self, m: Market):
        if "table" not in LOADED:
            LOADED["table"] = slow_table()
        table = LOADED["table"]
        return (table.shift(-self.ahead) / table.shift(1) - 1).reindex(m.index).fillna(0.0)


def test_a_table_that_is_loaded_once_is_not_loaded_for_every_run_and_is_altered_all_the_same() -> None:
    TIMES_LOADED.clear()
    report = kn.check(LoadsLate(), MARKET, fresh=False)
    assert report.ok
    assert "which changed nothing" in report.notes[0]
    assert len(TIMES_LOADED) <= 1 + 2  # at first, and afresh for two comparisons
    assert {f.kind for f in report.suspicions} >= {"outside"}
    assert LOADED == {}
    assert kn.check(LoadsLate(ahead=1), MARKET, fresh=False).kinds == ("look-ahead",)
