"""Real prices with what goes wrong with them: gaps, a late start, an early end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from knowable.data.market import Market

SAMPLES = Path(__file__).parents[2] / "data-samples"


@pytest.fixture(scope="session")
def prices() -> pd.DataFrame:
    """Closes of 12 large US companies over 500 sessions."""
    table = pd.read_csv(SAMPLES / "us-large-caps.csv.gz", parse_dates=["event_time"])
    return table.pivot_table(index="event_time", columns="entity", values="close").dropna().iloc[-500:, :12]


@pytest.fixture(scope="session")
def market(prices) -> Market:
    """All of them whole, with sectors."""
    sector = prices * 0 + np.arange(12) % 3
    return Market.from_frames(close=prices, sector=sector, calendar="XNYS")


@pytest.fixture(scope="session")
def gappy(prices) -> Market:
    """The same with gaps, one that begins late, one that ends early, and a universe some leave and join."""
    rng = np.random.default_rng(4)
    close = prices.mask(rng.random(prices.shape) < 0.001)
    close.iloc[:200, 2] = np.nan
    close.iloc[300:, 5] = np.nan
    universe = pd.DataFrame(1.0, index=prices.index, columns=prices.columns)
    universe.iloc[250:350, 7] = 0.0
    universe.iloc[:100, 8] = 0.0
    sector = prices * 0 + np.arange(12) % 3
    return Market.from_frames(close=close, sector=sector, universe=universe, calendar="XNYS", missing="allow")
