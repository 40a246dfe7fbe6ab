"""Corporate actions in a market: hand-worked tables, a holder followed bar by bar, and what was known when."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import knowable as kn
from knowable.calendars import calendar
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import InputError, UnknownNameError
from knowable.experiments.benchmark import benchmark_path
from knowable.testing.actions_oracle import Deed, holder

DAYS = ["2016-03-01", "2016-03-02", "2016-03-03", "2016-03-04", "2016-03-07"]
NAN = np.nan


def bars(entity: str, closes: list[float], days: list[str] = DAYS) -> pd.DataFrame:
    known = pd.to_datetime(days).tz_localize("UTC") + pd.Timedelta("21h")
    close = np.array(closes)
    return pd.DataFrame(
        {
            "entity": entity, "event_time": days, "known_time": known, "open": close, "high": close * 1.25,
            "low": close * 0.5, "close": close, "volume": 1000.0,
        }
    )  # fmt: skip


def deed(entity: str, day: str, kind: str, known: str = "2016-02-01", **values: object) -> dict[str, object]:
    moment = pd.Timestamp(known, tz="UTC")
    return {"entity": entity, "event_time": day, "type": kind, "known_time": moment, **values}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    made.create("actions", Schema.actions(calendar="XNYS"))
    return made


def told(store: Store, *deeds: dict[str, object]) -> None:
    report = store.append("actions", pd.DataFrame(list(deeds)))
    assert report.quarantined == 0, report


def closes(store: Store, **options: object) -> list[float]:
    return store.market("bars", actions="actions", **options).panel("close")[:, 0].tolist()


def test_a_split_and_a_dividend_by_hand(store: Store) -> None:
    """100, then 2:1 and 51, then 1 a share and 50, then 55: one share is 1, 2, 2.04 and 2.04 shares."""
    store.append("bars", bars("AAA", [100.0, 51.0, 50.0, 55.0, 55.0]))
    told(store, deed("AAA", "2016-03-02", "split", ratio=2.0), deed("AAA", "2016-03-03", "dividend", amount=1.0))
    market = store.market("bars", actions="actions")
    assert market.panel("return_factor")[:, 0].tolist() == [1.0, 2.0, 2.04, 2.04, 2.04]
    assert market.panel("split_factor")[:, 0].tolist() == [1.0, 2.0, 2.0, 2.0, 2.0]
    assert market.panel("close")[:, 0].tolist() == [100.0, 102.0, 102.0, 2.04 * 55, 2.04 * 55]
    assert market.panel("high")[:, 0].tolist() == [125.0, 127.5, 127.5, 2.04 * 68.75, 2.04 * 68.75]
    assert market.panel("volume")[:, 0].tolist() == [1000.0, 500.0, 1000 / 2.04, 1000 / 2.04, 1000 / 2.04]
    assert market.panel("raw_close")[:, 0].tolist() == [100.0, 51.0, 50.0, 55.0, 55.0]
    assert market.final is market.panels
    assert closes(store, adjust="split") == [100.0, 102.0, 100.0, 110.0, 110.0]
    plain = store.market("bars", actions="actions", adjust="none")
    assert plain.panel("close")[:, 0].tolist() == [100.0, 51.0, 50.0, 55.0, 55.0]
    assert plain.panel("return_factor")[:, 0].tolist() == [1.0, 2.0, 2.04, 2.04, 2.04]
    assert [pin["dataset"] for pin in market.pins] == ["bars", "actions"]
    assert "adjusted forward" in market.notes[0]
    assert plain.notes == ()


def test_a_buy_and_hold_has_the_shares_and_the_cash_that_a_holder_has(store: Store) -> None:
    """10 shares at 100; 20 by two for one; 1 dollar a share is 20, which stays cash; 20 x 55 + 20.

    The adjusted series would have it reinvested at 50: 1,000 x 1.02 x 55 / 50 = 1,122, what 20 earned by 10 % more.
    """
    store.append("bars", bars("AAA", [100.0, 100.0, 50.0, 50.0, 55.0]))
    told(store, deed("AAA", "2016-03-03", "split", ratio=2.0), deed("AAA", "2016-03-04", "dividend", amount=1.0))

    class Hold(kn.Strategy):
        def weights(self, m):
            return m.close * 0 + 1.0

    market = store.market("bars", actions="actions")
    result = kn.backtest(Hold(), market, cash=1000.0)
    assert result.equity.tolist() == pytest.approx([1000.0, 1000.0, 1000.0, 1020.0, 1120.0])
    assert result.positions["AAA"].tolist() == [0.0, 10.0, 20.0, 20.0, 20.0]
    assert result.flows[["kind", "shares", "amount", "cash"]].to_numpy().tolist() == [
        ["split", 10.0, 2.0, 0.0], ["dividend", 0.0, 1.0, 20.0]]  # fmt: skip
    assert result.attribution["dividends"].tolist() == [0.0, 0.0, 0.0, 20.0, 0.0]
    assert result.attribution["gain"].tolist() == pytest.approx([0.0, 0.0, 0.0, 0.0, 100.0])
    assert len(result.orders) == 1
    benchmark = benchmark_path(market, market.index, 1000.0, None)
    assert benchmark.iloc[-1] == pytest.approx(1122.0)
    assert any("adjusted forward" in text for text in result.warnings)


def test_a_split_learned_late_changes_what_is_seen_only_from_then_and_fills_are_right(store: Store) -> None:
    store.append("bars", bars("AAA", [100.0, 50.0, 50.0, 60.0, 60.0]))
    told(store, deed("AAA", "2016-03-02", "split", known="2016-03-04T12:00", ratio=2.0))
    market = store.market("bars", actions="actions")
    assert market.panel("close")[:, 0].tolist() == [100.0, 50.0, 50.0, 120.0, 120.0]
    assert market.final_panel("close")[:, 0].tolist() == [100.0, 100.0, 100.0, 120.0, 120.0]
    assert market.decision_close()[:, 0].tolist() == [100.0, 50.0, 50.0, 60.0, 60.0]
    late = next(text for text in market.notes if "became known after" in text)
    assert "split of 'AAA', 2016-03-02, 2 bars late" in late

    class Hold(kn.Strategy):
        def weights(self, m):
            return m.close * 0 + 0.5

    result = kn.backtest(Hold(), market, cash=1000.0, size_at="decision")
    bought = result.orders.iloc[0]
    assert bought["size"] * bought["price"] == pytest.approx(500.0)
    again = kn.backtest(Hold(), market, cash=1000.0, start="2016-03-02")  # decided while the split was not known
    assert again.orders.iloc[0]["size"] * again.orders.iloc[0]["price"] == pytest.approx(500.0)


def test_corrections_and_withdrawals_are_seen_when_they_are_known(store: Store) -> None:
    store.append("bars", bars("AAA", [100.0, 50.0, 50.0, 50.0, 50.0]))
    told(store, deed("AAA", "2016-03-02", "split", ratio=3.0))
    told(store, deed("AAA", "2016-03-02", "split", known="2016-03-03T12:00", ratio=2.0))
    told(store, deed("AAA", "2016-03-02", "split", known="2016-03-04T12:00", op="retract"))
    # the retraction withdraws the correction, so the first statement stands again
    market = store.market("bars", actions="actions")
    assert market.panel("split_factor")[:, 0].tolist() == [1.0, 3.0, 2.0, 3.0, 3.0]
    assert market.final_panel("split_factor")[:, 0].tolist() == [1.0, 3.0, 3.0, 3.0, 3.0]


def test_the_table_of_actions_has_rows_for_the_ledger(store: Store, tmp_path: Path) -> None:
    store.append("bars", bars("AAA", [100.0, 50.0, 50.0, 60.0, 60.0]))
    store.append("bars", bars("BBB", [10.0, 10.0, 10.0], DAYS[:3]))
    told(
        store,
        deed("AAA", "2016-03-02", "split", ratio=2.0),
        deed("BBB", "2016-03-04", "delisting", amount=3.5, currency="USD"),
        deed("BBB", "2016-03-03", "merger", ratio=0.1, successor="AAA"),
        deed("AAA", "2016-03-01", "dividend", amount=1.0),  # in the first price already
        deed("AAA", "2016-04-01", "dividend", amount=1.0),  # after the last bar
        deed("CCC", "2016-03-02", "dividend", amount=1.0),  # no asset of the market
    )
    market = store.market("bars", actions="actions")
    table = market.actions.frame()
    assert table["type"].tolist() == ["split", "merger", "delisting"]
    assert table["row"].tolist() == [1, 2, 3]
    assert [market.assets[j] for j in table["asset"]] == ["AAA", "BBB", "BBB"]
    assert table["last_row"].tolist() == [4, 2, 2]
    assert table["successor"].tolist() == [-1, 0, -1]
    assert table["amount"].iloc[2] == 3.5
    assert table["event_time"].iloc[0] == pd.Timestamp("2016-03-02T14:30Z")  # the session's open
    with pytest.raises(ValueError, match="read-only"):
        market.actions.row[0] = 9
    back = kn.Market.load(market.save(tmp_path / "m"))
    for other in (back, pickle.loads(pickle.dumps(market))):
        pd.testing.assert_frame_equal(other.actions.frame(), table)
        assert other.fingerprint == market.fingerprint
        assert not other.actions.ratio.flags.writeable
        assert other.adjust == "total_return"
    assert market.until(2).actions.type == ("split",)
    other = store.market("bars", actions="actions", adjust="none")
    assert other.fingerprint != market.fingerprint
    assert np.isnan(market.final_panel("close")[3:, 1]).all(), "a delisted name stays and simply ends"


def test_a_spin_off_is_worth_what_the_new_shares_close_at_or_the_amount_given(store: Store) -> None:
    store.append("bars", bars("AAA", [100.0, 80.0, 80.0, 80.0, 80.0]))
    store.append("bars", bars("NEW", [40.0, 40.0, 40.0, 40.0], DAYS[1:]))
    told(store, deed("AAA", "2016-03-02", "spinoff", ratio=0.5, successor="NEW"))
    market = store.market("bars", actions="actions")
    assert market.panel("close")[:, 0].tolist() == [100.0, 100.0, 100.0, 100.0, 100.0]
    alone = store.market("bars", actions="actions", entities=["AAA"])
    assert alone.panel("close")[1, 0] == 80.0
    assert "1 distributions are not in the total return (first: spinoff of 'AAA'" in alone.notes[-1]


def test_a_dividend_in_another_currency_is_left_out_and_told(store: Store) -> None:
    store.append("bars", bars("AAA", [100.0, 80.0, 80.0, 80.0, 80.0]))
    told(store, deed("AAA", "2016-03-02", "dividend", amount=5.0, currency="EUR"))
    market = store.market("bars", actions="actions")
    assert (market.panel("return_factor") == 1.0).all()
    assert "paid in EUR" in market.notes[-1]


def test_another_version_of_the_actions_gives_the_market_of_then(store: Store) -> None:
    store.append("bars", bars("AAA", [100.0, 50.0, 50.0, 50.0, 50.0]))
    told(store, deed("AAA", "2016-03-02", "split", ratio=2.0))
    told(store, deed("AAA", "2016-03-04", "split", ratio=3.0))
    assert closes(store) == [100.0, 100.0, 100.0, 300.0, 300.0]
    assert closes(store, version={"actions": 1}) == [100.0, 100.0, 100.0, 100.0, 100.0]
    assert closes(store) == [100.0, 100.0, 100.0, 300.0, 300.0]
    with pytest.raises(UnknownNameError, match="Did you mean 'actions'"):
        closes(store, version={"action": 1})


def test_a_snapshot_names_the_versions_of_all_datasets(store: Store) -> None:
    store.append("bars", bars("AAA", [100.0, 50.0, 50.0, 50.0, 50.0]))
    told(store, deed("AAA", "2016-03-02", "split", ratio=2.0))
    store.snapshot("then")
    told(store, deed("AAA", "2016-03-04", "split", ratio=3.0))
    store.append("bars", bars("BBB", [1.0, 1.0, 1.0, 1.0, 1.0]))
    market = store.market("bars", actions="actions", version="then")
    assert market.assets == ("AAA",)
    assert market.panel("close")[:, 0].tolist() == [100.0, 100.0, 100.0, 100.0, 100.0]
    assert [pin["version"] for pin in market.pins] == ["1", "1"]


def test_wrong_ways_of_asking_are_told(store: Store) -> None:
    store.append("bars", bars("AAA", [100.0, 50.0, 50.0, 50.0, 50.0]))
    told(store, deed("AAA", "2016-03-02", "split", ratio=2.0))
    with pytest.raises(InputError, match="needs the corporate actions"):
        store.market("bars", adjust="split")
    with pytest.raises(UnknownNameError, match="Did you mean 'total_return'"):
        store.market("bars", actions="actions", adjust="totalreturn")
    with pytest.raises(InputError, match="`actions` takes a dataset of actions, but 'bars' holds bars"):
        store.market("bars", actions="bars")
    store.create("odd", Schema.bars(calendar="XNYS", fields={"raw_close": "USD/share"}))
    frame = bars("AAA", [100.0, 50.0, 50.0, 50.0, 50.0]).assign(raw_close=1.0)
    store.append("odd", frame)
    with pytest.raises(InputError, match="a field 'raw_close'"):
        store.market("odd", actions="actions")


def test_two_dividends_of_one_day_are_told_apart_by_a_key(store: Store) -> None:
    """3 and 7 a share on a price of 50 buy a fifth of a share; the special one is mended from 5 to 7 alone."""
    store.create("apart", Schema.actions(keys=["class"], calendar="XNYS"))
    store.append("bars", bars("AAA", [60.0, 50.0, 50.0, 50.0, 50.0]))
    two = [
        deed("AAA", "2016-03-02", "dividend", amount=3.0, **{"class": "regular"}),
        deed("AAA", "2016-03-02", "dividend", amount=5.0, **{"class": "special"}),
        deed("AAA", "2016-03-02", "dividend", amount=7.0, known="2016-02-02", **{"class": "special"}),
    ]
    assert store.append("apart", pd.DataFrame(two)).quarantined == 0
    market = store.market("bars", actions="apart")
    assert market.panel("return_factor")[:, 0].tolist() == pytest.approx([1.0, 1.2, 1.2, 1.2, 1.2])
    assert market.actions.amount.tolist() == [3.0, 7.0]
    refused = store.append("actions", pd.DataFrame(two[:2]).drop(columns="class"))
    assert refused.quarantined == 2
    assert "a key in the schema tells them apart" in str(refused)


@given(st.data())
@settings(max_examples=12, deadline=None)
def test_panels_agree_with_a_holder_followed_by_what_was_known(tmp_path_factory, data: st.DataObject) -> None:
    """Random splits and dividends, some told late, some withdrawn; and no later statement changes an earlier row."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    made = Store(tmp_path_factory.mktemp("s"))
    made.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    made.create("actions", Schema.actions(calendar="XNYS"))
    days = [str(d.date()) for d in pd.bdate_range("2016-03-01", "2016-03-16")]
    price = np.round(rng.uniform(10, 90, (len(days), 2)), 2)
    there = rng.random(price.shape) < 0.85
    there[0] = True
    for j, name in enumerate(("AAA", "BBB")):
        rows = np.flatnonzero(there[:, j])
        made.append("bars", bars(name, price[rows, j].tolist(), [days[k] for k in rows]))
    opens = calendar("XNYS").opens(np.array(days, "M8[D]"))
    deeds, rows = [], []
    for key in {(int(rng.integers(2)), int(rng.integers(len(days))), bool(rng.integers(2))) for _ in range(6)}:
        j, k, split = key
        known = int(opens[k]) + int(rng.integers(-48, 96)) * 3_600_000_000_000
        gone = known + int(rng.integers(1, 72)) * 3_600_000_000_000 if rng.random() < 0.3 else None
        value = float(rng.choice([0.1, 2.0, 1.5])) if split else float(rng.choice([0.25, 1.0]))
        deeds.append(
            Deed(asset=j, ex=int(opens[k]), known=known, withdrawn=gone, ratio=value if split else None,
                 cash=0.0 if split else value)
        )  # fmt: skip
        base = {"entity": "AB"[j] * 3, "event_time": days[k], "type": "split" if split else "dividend"}
        rows.append({**base, "known_time": pd.Timestamp(known, tz="UTC"), "op": "assert",
                     "ratio" if split else "amount": value})  # fmt: skip
        if gone is not None:
            rows.append({**base, "known_time": pd.Timestamp(gone, tz="UTC"), "op": "retract"})
    frame = pd.DataFrame(rows).sort_values("known_time")
    for column in ("ratio", "amount"):
        frame[column] = frame.get(column, NAN)
    told(made, *frame.to_dict("records"))
    market = made.market("bars", actions="actions")
    raw = market.panel("raw_close")
    for t in range(market.n_bars):
        for j in range(2):
            expected = holder(deeds, j, market.times.tolist(), market.decision_times.tolist(), raw.tolist(), t)
            got = market.panel("split_factor")[t, j], market.panel("return_factor")[t, j]
            np.testing.assert_allclose(got, expected, rtol=1e-13)
    cut = int(rng.integers(1, market.n_bars))
    before = Store(tmp_path_factory.mktemp("s"))
    before.create("actions", Schema.actions(calendar="XNYS"))
    before.create("bars", Schema.bars(calendar="XNYS", currency="USD"))
    end = pd.Timestamp(int(market.decision_times[cut - 1]), tz="UTC")
    for j, name in enumerate(("AAA", "BBB")):
        rows = [k for k in np.flatnonzero(there[:, j]) if opens[k] < end.value]
        if rows:
            before.append("bars", bars(name, price[rows, j].tolist(), [days[k] for k in rows]))
    known_then = frame[frame["known_time"] <= end]
    if len(known_then):
        told(before, *known_then.to_dict("records"))
    earlier = before.market("bars", actions="actions")
    for name in market.panels:
        assert market.panel(name)[:cut].tobytes() == earlier.panel(name).tobytes(), name
