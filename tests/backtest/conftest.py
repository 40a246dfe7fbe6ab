"""Markets for the backtest tests."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from knowable.data.market import Market

SAMPLES = Path(__file__).parents[2] / "data-samples"


@pytest.fixture(scope="session")
def sp500() -> pd.DataFrame:
    """The S&P 500 index, daily, 1999 to 2018: columns open, high, low, close, volume."""
    table = pd.read_csv(SAMPLES / "sp500-ohlcv.csv.gz", parse_dates=["event_time"])
    return table.set_index("event_time").drop(columns="entity")


@pytest.fixture(scope="session")
def large_caps() -> pd.DataFrame:
    """Closes of 20 large US companies, a column each."""
    table = pd.read_csv(SAMPLES / "us-large-caps.csv.gz", parse_dates=["event_time"])
    return table.pivot_table(index="event_time", columns="entity", values="close").dropna()


@pytest.fixture(scope="session")
def index_market(sp500) -> Market:
    return Market.from_frames(**{name: sp500[[name]].set_axis(["GSPC"], axis=1) for name in sp500.columns})
