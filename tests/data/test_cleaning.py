"""Cleaning a store: what it writes, since when that was known, and that it never disturbs what was known before."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import knowable.data.quality.clean as cleaning
from knowable.data.quality.rules import Bounds, Conflict, Gap, Jump, Rule, SplitLike, Stale
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import ConflictError, InputError, UnknownNameError

DAYS = [str(day.date()) for day in pd.bdate_range("2016-03-01", periods=41) if day.day != 25 or day.month != 3]
SPIKE = 30  # place of the bad day
NEXT = f"{DAYS[SPIKE + 2]}T12:00Z"  # when the day after the bad one is captured
BACK = Jump(confirm="back", do="quarantine")


def bars(closes: Sequence[float], entity: str = "A", days: Sequence[str] = DAYS) -> pd.DataFrame:
    """Bars captured at noon of the next weekday."""
    close = np.array(closes)
    captured = (pd.to_datetime(list(days)) + pd.offsets.BDay(1) + pd.Timedelta("12h")).tz_localize("UTC")
    prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    return pd.DataFrame({"entity": entity, "event_time": days, "known_time": captured, **prices, "volume": 100.0})


def calm(seed: int = 1, n: int = 40) -> np.ndarray:
    return np.round(50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.004, n))), 2)


def spiked(factor: float = 10.0) -> np.ndarray:
    closes = calm()
    closes[SPIKE] = round(closes[SPIKE] * factor, 2)
    return closes


def made(folder: Path, *frames: pd.DataFrame) -> Store:
    store = Store(folder)
    store.create("bars", Schema.bars(calendar="XNYS", currency="USD", fields={"vwap": "USD/share"}))
    for frame in frames:
        store.append("bars", frame)
    return store


def closes(store: Store, as_of: str | None = None, version: int | None = None, entity: str = "A") -> dict[str, float]:
    table = store.read("bars", as_of=as_of, version=version, entities=[entity])
    days = table["event_time"].to_pandas().dt.strftime("%Y-%m-%d")
    return dict(zip(days, table["close"].to_pylist(), strict=True))


def test_a_spike_is_withdrawn_from_the_moment_the_next_row_showed_it(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked()))
    report = store.clean("bars", [BACK])
    assert report.counts == {("jump:close", "quarantine"): 1}
    assert (report.judged, report.version) == (1, 2)
    before = f"{DAYS[SPIKE + 2]}T11:59Z"
    assert closes(store, before)[DAYS[SPIKE]] == spiked()[SPIKE], "a live system saw it"
    assert DAYS[SPIKE] not in closes(store, NEXT)
    assert closes(store, NEXT)[DAYS[SPIKE + 1]] == spiked()[SPIKE + 1]
    assert DAYS[SPIKE] in closes(store, version=1), "a pinned version is as it was"


def test_a_panel_falls_back_to_the_row_before_once_the_spike_is_withdrawn(tmp_path: Path) -> None:
    rows = bars(spiked())
    store = made(tmp_path, rows)
    last = rows.iloc[SPIKE]["known_time"]
    store.clean("bars", [Jump(do="quarantine")])  # known with the row itself
    panel = store.panel("bars", "close", clock=[last - pd.Timedelta("1s"), last])
    assert panel[:, 0].tolist() == [spiked()[SPIKE - 1]] * 2


def test_each_verdict_is_written_with_its_evidence_and_the_row_goes_to_quarantine(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked()))
    store.clean("bars", [BACK])
    (flag,) = store.flags("bars").to_pylist()
    assert (flag["rule"], flag["done"], flag["entity"], flag["field"]) == ("jump:close", "quarantine", "A", "close")
    assert flag["value"] == spiked()[SPIKE]
    assert flag["expected"] == pytest.approx(spiked()[SPIKE - 1])
    assert flag["known_time"] == pd.Timestamp(NEXT)
    assert flag["stated_time"] == bars(spiked()).iloc[SPIKE]["known_time"]
    assert flag["detail"].startswith("close moved from")
    assert flag["detail"].endswith("; the next row is back")
    assert store.flags("bars", as_of=f"{DAYS[SPIKE + 2]}T11:00Z").num_rows == 0
    assert store.flags("bars", as_of=NEXT).num_rows == 1
    assert store.flags("bars", entities=["B"]).num_rows == 0
    (row,) = store.quarantine("bars").to_pylist()
    assert (row["id"], row["rule"], row["entity"]) == (flag["id"], "jump:close", "A")
    assert str(spiked()[SPIKE]) in row["raw"]


def test_cleaning_twice_is_cleaning_once(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked()))
    for rules in (None, [BACK], [BACK, Stale(repeats=2)]):
        first = store.clean("bars", rules)
        state = store.read("bars"), store.flags("bars"), store.quarantine("bars")
        again = store.clean("bars", rules)
        assert (again.verdicts.num_rows, again.version, again.entities) == (0, first.version, 0)
        assert "nothing was added since the last cleaning by these rules" in repr(again)
        assert state == (store.read("bars"), store.flags("bars"), store.quarantine("bars"))
    assert Store(tmp_path).clean("bars", [BACK]).verdicts.num_rows == 0, "another process knows it, too"


def test_a_dry_run_tells_the_same_and_writes_nothing(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked()))
    told = store.clean("bars", [BACK], dry_run=True)
    assert store.flags("bars").num_rows == 0
    assert store.versions("bars")[-1].version == 1
    done = store.clean("bars", [BACK])
    assert told.frame().drop(columns="batch").equals(done.frame().drop(columns="batch"))
    assert "would find 1 new verdicts" in repr(told)
    assert store.clean("bars", [BACK], dry_run=True, version=1).judged == 1
    with pytest.raises(InputError, match="Cleaning adds to the newest version of 'bars', which is 2, not 1"):
        store.clean("bars", [BACK], version=1)


def test_a_row_in_the_wrong_unit_is_scaled_with_all_prices_of_its_bar(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked(100.0)).assign(vwap=spiked(100.0)))
    report = store.clean("bars", [Jump(confirm="back", do="repair", replace="scale")])
    assert report.counts == {("jump:close", "repair"): 1}
    row = store.read("bars", entities=["A"]).to_pandas().iloc[SPIKE]
    expected = calm()[SPIKE]
    assert row[["open", "close", "vwap"]].tolist() == pytest.approx([expected] * 3)
    assert row["high"] == pytest.approx(1.01 * expected)
    assert (row["volume"], row["known_basis"]) == (100.0, "repaired")
    assert row["known_time"] == pd.Timestamp(NEXT)
    assert closes(store, f"{DAYS[SPIKE + 2]}T11:59Z")[DAYS[SPIKE]] == spiked(100.0)[SPIKE]


def test_a_spike_of_no_recognised_factor_is_flagged_and_not_scaled(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked(1.31)))
    report = store.clean("bars", [Jump(confirm="back", do="repair", replace="scale")])
    assert report.counts == {("jump:close", "flag"): 1}
    assert "; no factor is recognised" in repr(report)
    assert report.version == 1


def test_a_repair_by_the_row_before_takes_the_last_sound_one(tmp_path: Path) -> None:
    prices = calm()
    prices[10:12] = 9_999.0
    store = made(tmp_path, bars(prices))
    store.clean("bars", [Bounds(field="close", high=1_000, do="repair", replace="previous")])
    found = closes(store)
    assert found[DAYS[10]] == found[DAYS[11]] == prices[9]
    first = bars(calm())
    first.loc[0, ["open", "high", "low", "close"]] = [9_999.0, 9_999.0, 9_999.0, 9_999.0]
    other = made(tmp_path / "other", first)
    report = other.clean("bars", [Bounds(field="close", high=1_000, do="repair", replace="previous")])
    assert report.frame()["detail"].tolist() == ["close=9999 is above 1000; no sound row stands before it"]


def test_a_fact_may_be_replaced_by_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("facts", Schema.facts(fields={"eps": "USD/share", "revenues": "USD"}))
    frame = pd.DataFrame({"entity": "A", "event_time": ["2016-03-31", "2016-06-30"], "eps": [1.0, 500.0]})
    frame = frame.assign(revenues=[5.0, 6.0], known_time=["2016-05-01T12:00Z", "2016-08-01T12:00Z"])
    store.append("facts", frame, tz="UTC")
    store.clean("facts", [Bounds(field="eps", high=100, do="repair", replace="missing")])
    table = store.read("facts").to_pydict()
    assert (table["eps"], table["revenues"]) == ([1.0, None], [5.0, 6.0])
    assert store.read("facts", as_of="2016-07-01T00:00Z")["eps"].to_pylist() == [1.0]


def test_a_gap_may_be_filled_by_the_row_before_from_when_it_showed(tmp_path: Path) -> None:
    rows = bars(calm()).drop([20, 21])
    store = made(tmp_path, rows)
    report = store.clean("bars", [Gap(do="repair", replace="previous")])
    holiday = closes(store)
    assert holiday[DAYS[20]] == holiday[DAYS[21]] == calm()[19]
    assert report.frame()[["expected", "done"]].to_numpy().tolist()[0] == [2.0, "repair"]
    assert DAYS[20] not in closes(store, f"{DAYS[23]}T11:59Z"), "the hole shows once the next bar is there"
    late = bars(calm()).iloc[[20]].assign(known_time=pd.Timestamp("2016-06-01T12:00Z"))
    store.append("bars", late)
    assert closes(store)[DAYS[20]] == calm()[20], "a bar that comes late after all is current"
    assert store.clean("bars", [Gap(do="repair", replace="previous")]).verdicts.num_rows == 0


def test_the_first_known_of_two_verdicts_acts_and_the_other_is_flagged(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked()))
    store.clean("bars", [BACK, Bounds(field="close", high=100, do="repair", replace="previous")])
    done = {row["rule"]: row["done"] for row in store.flags("bars").to_pylist()}
    assert done == {"bounds:close": "repair", "jump:close": "flag"}
    assert closes(store)[DAYS[SPIKE]] == calm()[SPIKE - 1]


def test_of_two_captures_that_disagree_the_later_may_be_withdrawn(tmp_path: Path) -> None:
    rows = bars(calm())
    again = bars(calm() * np.where(np.arange(40) == 7, 1.2, 1.0)).assign(
        known_time=lambda f: f["known_time"] + pd.Timedelta("1D")
    )
    store = made(tmp_path, rows, again)
    store.clean("bars", [Conflict(limit=0.05, do="quarantine")])
    (flag,) = store.flags("bars").to_pylist()
    assert (flag["value"], flag["expected"]) == (pytest.approx(calm()[7] * 1.2), calm()[7])
    assert closes(store)[DAYS[7]] == calm()[7]


def test_a_statement_corrected_before_the_verdict_is_not_withdrawn(tmp_path: Path) -> None:
    rows = bars(spiked())
    mended = bars(calm()).iloc[[SPIKE]].assign(known_time=rows.iloc[SPIKE]["known_time"] + pd.Timedelta("2h"))
    store = made(tmp_path, rows, mended)
    assert store.clean("bars", [BACK]).verdicts.num_rows == 0, "what the next row confirms is the correction"
    assert closes(store)[DAYS[SPIKE]] == calm()[SPIKE]


def test_a_source_that_withdraws_what_cleaning_withdrew_does_not_take_the_row_beneath(tmp_path: Path) -> None:
    good, bad = bars(calm()), bars(spiked()).iloc[[SPIKE]]
    bad = bad.assign(known_time=lambda f: f["known_time"] + pd.Timedelta("1h"))
    store = made(tmp_path, good, bad)
    rule = Conflict(limit=0.05, do="quarantine")
    store.clean("bars", [rule])
    assert closes(store)[DAYS[SPIKE]] == calm()[SPIKE]
    back = bad.assign(known_time=lambda f: f["known_time"] + pd.Timedelta("30D"), op="retract")
    store.append("bars", back)
    assert DAYS[SPIKE] not in closes(store), "until cleaning looks at it"
    store.clean("bars", [rule])
    assert closes(store)[DAYS[SPIKE]] == calm()[SPIKE]


def test_rows_of_cleaning_do_not_make_later_captures_look_too_early(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked()))
    store.clean("bars", [BACK])  # the withdrawal is known two days after the bar was captured
    second = bars(calm()).iloc[[SPIKE]].assign(known_time=pd.Timestamp(f"{DAYS[SPIKE + 1]}T18:00Z"))
    report = store.append("bars", second)
    assert (report.accepted, report.quarantined) == (1, 0)


def test_nobody_may_append_rows_as_if_cleaning_had_written_them(tmp_path: Path) -> None:
    store = made(tmp_path)
    with pytest.raises(UnknownNameError, match="known_basis"):
        store.append("bars", bars(calm()), known_basis="repaired")
    with pytest.raises(UnknownNameError, match="known_basis"):
        Schema.bars(known_basis="repaired")


def splits(store: Store, ex_date: str, announced: str, ratio: float) -> None:
    store.create("actions", Schema.actions(calendar="XNYS"))
    store.append(
        "actions",
        pd.DataFrame({"entity": ["A"], "event_time": [ex_date], "known_time": [announced], "type": ["split"],
                      "ratio": [ratio]}),
    )  # fmt: skip


def test_a_split_is_found_unless_a_dataset_of_actions_knew_it_by_then(tmp_path: Path) -> None:
    halved = np.where(np.arange(40) < SPIKE, calm(), calm() / 2)
    rule = SplitLike(confirm="stays", actions="actions")
    for folder, announced, expected in (("a", "2016-02-01T12:00Z", 0), ("b", "2016-06-01T12:00Z", 1)):
        store = made(tmp_path / folder, bars(halved))
        splits(store, DAYS[SPIKE], announced, 2.0)
        report = store.clean("bars", [rule, Jump(actions="actions")])
        assert report.counts.get(("split_like:close", "flag"), 0) == expected
        assert report.counts.get(("jump:close", "flag"), 0) == expected
    assert "near a split of 2:1, and none is known; the next row stays" in repr(report)
    store = made(tmp_path / "c", bars(halved))
    with pytest.raises(UnknownNameError, match="actions"):
        store.clean("bars", [rule])
    with pytest.raises(InputError, match="must name a dataset of corporate actions, but 'bars' holds bars"):
        store.clean("bars", [SplitLike(actions="bars")])


def test_only_entities_with_new_rows_are_looked_at_again(tmp_path: Path) -> None:
    half = 20
    frames = [bars(calm(k)[:half], name, DAYS[:half]) for k, name in enumerate("ABC")]
    store = made(tmp_path, pd.concat(frames))
    assert store.clean("bars").entities == 3
    store.append("bars", bars(calm(1)[half:], "B", DAYS[half:]))
    report = store.clean("bars")
    assert (report.entities, report.rows) == (1, 40)


def test_rows_told_apart_by_further_keys_are_judged_and_withdrawn_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create("actions", Schema.actions(calendar="XNYS"))
    frame = pd.DataFrame({"entity": "A", "event_time": DAYS[3], "known_time": "2016-03-01T12:00Z"}, index=[0, 1])
    store.append("actions", frame.assign(type=["split", "dividend"], ratio=[5000.0, None], amount=[None, 0.5]))
    report = store.clean("actions", [Bounds(field="ratio", high=200, do="quarantine")])
    assert report.counts == {("bounds:ratio", "quarantine"): 1}
    assert store.flags("actions")["keys"].to_pylist() == ['["split"]']
    assert store.read("actions")["type"].to_pylist() == ["dividend"]
    assert store.clean("actions", [Bounds(field="ratio", high=200, do="quarantine")]).verdicts.num_rows == 0


def test_a_version_from_before_a_field_was_added_can_be_looked_at(tmp_path: Path) -> None:
    store = made(tmp_path, bars(spiked()))
    store.evolve("bars", add={"trades": Schema.field("count", high=5)})
    store.append("bars", bars(calm(), "B").assign(trades=9.0), known_basis="vendor")
    assert store.clean("bars", [BACK], dry_run=True, version=1).verdicts.num_rows == 1
    rule = Bounds(field="trades", high=5)
    with pytest.raises(UnknownNameError, match="Unknown field 'trades'"):
        store.clean("bars", [rule], dry_run=True, version=1)
    assert store.clean("bars", [rule.__class__(field="trades", high=10)]).verdicts.num_rows == 0
    assert store.quality("bars", version=1).frame("field")["field"].tolist()[-1] == "vwap"


def random_feed(seed: int) -> list[pd.DataFrame]:
    """What is captured each week: bars, second captures, corrections, withdrawals; with spikes, repeats and holes."""
    rng = np.random.default_rng(seed)
    frames = []
    for name in "AB":
        prices = calm(seed * 7 + ord(name))
        prices[rng.integers(22, 38, 2)] *= rng.choice([10.0, 0.1, 2.0, 1.3], 2)
        at = int(rng.integers(5, 18))
        prices[at : at + 4] = prices[at]
        rows = bars(prices, name)
        extra = rows.iloc[rng.integers(0, 40, 8)].copy()
        extra["known_time"] += pd.to_timedelta(rng.integers(1, 200, 8), unit="h")
        factor = rng.choice([1.0, 1.0, 1.15], 8)
        extra[["open", "high", "low", "close"]] = extra[["open", "high", "low", "close"]].mul(factor, axis=0)
        gone = rows.iloc[rng.integers(0, 40, 2)].assign(op="retract")
        gone["known_time"] += pd.to_timedelta(rng.integers(201, 400, 2), unit="h")
        frames += [rows.drop(rng.integers(1, 39, 3)).assign(op="assert"), extra.assign(op="assert"), gone]
    every = pd.concat(frames).drop_duplicates(["entity", "event_time", "known_time"])
    every = every.sort_values("known_time", kind="stable")
    weeks = every["known_time"].dt.isocalendar().week
    return [part for _, part in every.groupby(weeks)]


ALL: list[Rule] = [
    Jump(confirm="back", do="repair", replace="scale"),
    Conflict(limit=0.05, do="quarantine"),
    Stale(repeats=4, do="quarantine"),
    SplitLike(do="quarantine"),
    Gap(do="repair", replace="previous"),
    Jump(limit=8),
]


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 13))])
def test_cleaning_each_week_gives_what_cleaning_at_the_end_gives(tmp_path: Path, seed: int) -> None:
    """The law that makes cleaning honest: a live system that cleaned as it went saw what a clean replay shows."""
    live, late = made(tmp_path / "live"), made(tmp_path / "late")
    feed = random_feed(seed)
    for part in feed:
        live.append("bars", part)
        live.clean("bars", ALL)
        late.append("bars", part)
    late.clean("bars", ALL)
    columns = ["rule", "entity", "event_time", "known_time", "stated_time", "done", "detail", "id"]
    ours, theirs = (store.flags("bars").to_pandas()[columns].sort_values("id") for store in (live, late))
    pd.testing.assert_frame_equal(ours.reset_index(drop=True), theirs.reset_index(drop=True))
    assert set(ours["done"]) >= {"flag", "quarantine", "repair"}
    moments = sorted(pd.concat(feed)["known_time"].unique())
    fields = ["entity", "event_time", "close", "high"]
    for moment in [*moments[::9], moments[-1]]:
        left, right = (store.read("bars", as_of=moment).select(fields) for store in (live, late))
        assert left.equals(right)
    assert live.quarantine("bars").num_rows == late.quarantine("bars").num_rows > 0


@pytest.mark.parametrize("step", ["_set_aside", "commit", "_note"])
def test_a_cleaning_that_dies_between_its_tables_is_completed_by_the_next(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = made(tmp_path / "whole", bars(spiked())), made(tmp_path / "broken", bars(spiked()))
    whole.clean("bars", [BACK])

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cleaning.delta if step == "commit" else cleaning, step, dies)
        with pytest.raises(KeyboardInterrupt):
            broken.clean("bars", [BACK])
    broken.clean("bars", [BACK])
    assert broken.read("bars").equals(whole.read("bars"))
    drop = ["batch"]
    assert broken.flags("bars").drop_columns(drop).equals(whole.flags("bars").drop_columns(drop))
    assert broken.quarantine("bars").drop_columns(drop).equals(whole.quarantine("bars").drop_columns(drop))
    assert broken.clean("bars", [BACK]).verdicts.num_rows == 0


def test_cleanings_and_appends_at_once_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    made(tmp_path, bars(spiked()))
    failed: list[BaseException] = []

    def work(k: int) -> None:
        store = Store(tmp_path)
        try:
            for turn in range(3):
                if k:
                    with contextlib.suppress(ConflictError):
                        store.clean("bars", [BACK])
                else:
                    store.append("bars", bars(spiked(), f"E{turn}"))
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    store = Store(tmp_path)
    store.clean("bars", [BACK])
    flags = store.flags("bars")
    assert sorted(flags["entity"].to_pylist()) == ["A", "E0", "E1", "E2"]
    assert store.quarantine("bars").num_rows == 4
    one = made(tmp_path / "one", bars(spiked()))
    one.clean("bars", [BACK])
    assert store.read("bars").num_rows == 4 * one.read("bars").num_rows


def test_cleaning_entities_in_groups_gives_what_cleaning_all_at_once_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [bars(spiked() if name in "BD" else calm(k), name) for k, name in enumerate("ABCDE")]
    whole, parts = made(tmp_path / "whole", *frames), made(tmp_path / "parts", *frames)
    whole.clean("bars", ALL)
    monkeypatch.setattr(cleaning, "_ROWS_AT_ONCE", 100)
    report = parts.clean("bars", ALL)
    assert (report.entities, report.rows) == (5, 200)
    assert parts.read("bars").equals(whole.read("bars"))
    assert parts.flags("bars").drop_columns("batch").equals(whole.flags("bars").drop_columns("batch"))
    assert parts.quarantine("bars").num_rows == whole.quarantine("bars").num_rows > 0
