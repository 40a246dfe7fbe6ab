"""What the experiment tests share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import knowable as kn


@pytest.fixture(scope="session")
def strategies() -> ModuleType:
    """The strategies beside these tests, imported as a user's file is."""
    name = "strategies_here"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def market() -> kn.Market:
    """Four synthetic assets of 700 bars with trends, open and close."""
    rng = np.random.default_rng(11)
    steps = rng.normal(0.0003, 0.012, (700, 4)) + 0.004 * np.sin(np.arange(700) / 40)[:, None] * [1, -1, 0.5, 0]
    close = pd.DataFrame(50 * np.exp(np.cumsum(steps, axis=0)), columns=list("ABCD"))
    close.index = pd.bdate_range("2015-01-01", periods=700)
    opens = close.shift(1).fillna(50.0) * np.exp(rng.normal(0, 0.003, close.shape))
    return kn.Market.from_frames(close=close, open=opens)
