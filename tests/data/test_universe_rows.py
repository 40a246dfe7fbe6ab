"""The rows of a market with a universe are those that somebody of the time had: later members add none to the past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.data.corporate.universe import Largest, SizeRule

HOURS = pd.date_range("2024-01-01T01:00Z", periods=12, freq="h")
HALTED = (2, 3)  # A has no bar in these hours, B has


def store_of(folder: Path, n_hours: int) -> kn.Store:
    """What a store of that hour held: A is large; B is from the eighth hour on, and a member from the ninth."""
    store = kn.Store(folder)
    store.create("bars", kn.Schema.bars(known_lag="0s"))
    store.create("members", kn.Schema.intervals())
    held = [(name, t) for t in range(n_hours) for name in "AB" if name == "B" or t not in HALTED]
    close = [10.0 + t if name == "A" else 1.0 if t < 7 else 90.0 for name, t in held]
    frame = pd.DataFrame({"entity": [name for name, _ in held], "event_time": HOURS[[t for _, t in held]]})
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    store.append("bars", frame.assign(**prices, volume=1.0))
    starts = [("A", 0), *([("B", 8)] if n_hours > 8 else [])]
    since = HOURS[[t for _, t in starts]]
    members = {"entity": [name for name, _ in starts], "event_time": since, "known_time": since, "end": None}
    store.append("members", pd.DataFrame(members))
    return store


@pytest.mark.parametrize("universe", ["members", Largest(n=1, by="close", window=1, every="bar", stale=5)])
def test_a_later_member_changes_no_earlier_row(tmp_path: Path, universe: str | SizeRule) -> None:
    then = store_of(tmp_path / "then", 6).market("bars", universe=universe)
    now = store_of(tmp_path / "now", 12).market("bars", universe=universe)
    assert (then.assets, now.assets) == (("A",), ("A", "B"))
    assert then.times.tolist() == now.times[:6].tolist()
    for name in then.panels:
        np.testing.assert_array_equal(then.panel(name)[:, 0], now.panel(name)[:6, 0], err_msg=name)
    change = [(m.close - m.close.lag(1)).values()[:6, 0] for m in (then, now)]
    np.testing.assert_array_equal(*change)


def test_the_rows_are_those_of_the_span_and_of_the_names_given(tmp_path: Path) -> None:
    store = store_of(tmp_path, 12)
    span = {"start": HOURS[1], "end": HOURS[9]}
    for universe in ("members", Largest(n=1, by="close", window=1, every="bar", stale=5)):
        market = store.market("bars", universe=universe, **span)
        assert market.times.tolist() == HOURS[1:10].as_unit("ns").asi8.tolist()
        alone = store.market("bars", universe=universe, entities=["A"], **span)
        assert alone.times.tolist() == HOURS[[1, 4, 5, 6, 7, 8, 9]].as_unit("ns").asi8.tolist()
