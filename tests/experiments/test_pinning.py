"""A run pins what it read: retention keeps it, and a moved or foreign store is a remark, never a failure."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.data.market import Market
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.experiments.pinning import pin_sources


class Hold(kn.Strategy):
    """Hold all that rose."""

    lookback = kn.Int(1, 5, default=2)

    def weights(self, m: Market) -> object:
        rose = m.close > m.close.lag(self.lookback)
        return rose / rose.cross_sum()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("bars", Schema.bars(currency="USD", known_basis="vendor"))
    for first in (0, 20):
        made.append("bars", bars(first, 20))
    return made


def bars(first: int, n: int) -> pd.DataFrame:
    times = pd.date_range("2016-01-04T21:00Z", periods=first + n)[first:]
    rng = np.random.default_rng(first)
    close = rng.uniform(9, 11, n)
    return pd.DataFrame(
        {
            "entity": "A",
            "event_time": times,
            "known_time": times,
            "open": close,
            "high": close,
            "low": close,
            "close": close,
        }
    )


def test_a_run_pins_the_versions_it_read_and_retention_keeps_them(store: Store, tmp_path: Path) -> None:
    market = store.market("bars")
    run = kn.optimize(Hold, market, trials=2, runs_dir=tmp_path / "runs", sampler="random", progress=False)
    assert [(pin.version, pin.by) for pin in store.pins("bars")] == [(2, f"run {run.name}")]
    assert not any("not pinned" in warning for warning in run.warnings)
    store.append("bars", bars(40, 5))
    store.compact("bars")
    store.append("bars", bars(45, 5))
    assert 2 in store.retain("bars", keep=1).kept
    again = Store(store.folder).market("bars", version=2)
    assert again.fingerprint == market.fingerprint
    assert pin_sources(again, run.folder) == []
    assert len(store.pins("bars")) == 1, "resuming a run pins nothing twice"


def test_what_cannot_be_pinned_is_a_remark(store: Store, tmp_path: Path) -> None:
    market = store.market("bars")
    shutil.rmtree(store.folder / "bars")
    assert "the dataset is not there any more" in pin_sources(market, tmp_path / "run")[0]
    store.create("bars", Schema.bars(currency="USD"))
    for first in (0, 20, 40):
        store.append("bars", bars(first, 20))
    assert "made anew" in pin_sources(market, tmp_path / "run")[0]
    assert store.pins("bars") == ()
    shutil.rmtree(store.folder)
    assert "the store is not there any more" in pin_sources(market, tmp_path / "run")[0]
    assert not store.folder.exists()


def test_a_market_of_frames_has_nothing_to_pin(tmp_path: Path) -> None:
    close = pd.DataFrame({"A": [1.0, 2.0, 3.0]}, index=pd.date_range("2016-01-04", periods=3))
    assert pin_sources(Market.from_frames(close=close), tmp_path) == []
