"""Markets for the backtest tests."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numba
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
def vbt():
    """Vectorbt, imported by the process that uses it: two seconds.

    It keeps no compiled code, so its loops run as the Python they are written in: 3 s, compiling anew takes 30.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports use what its dependencies have deprecated
        before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, "VECTORBT_COMPILED" not in os.environ
        import vectorbt

        numba.config.DISABLE_JIT = before
    vectorbt.settings.numba["check_func_type"] = False  # it asks whether what it calls is compiled
    return vectorbt


@pytest.fixture(scope="session")
def index_market(sp500) -> Market:
    return Market.from_frames(**{name: sp500[[name]].set_axis(["GSPC"], axis=1) for name in sp500.columns})
