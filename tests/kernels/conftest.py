"""What kernel tests share."""

import numpy as np
import pytest


@pytest.fixture
def gappy():
    """Prices of six assets over 700 bars with gaps: one begins late, one ends early, one has no price at all."""
    rng = np.random.default_rng(11)
    x = 100 * np.exp(rng.normal(scale=0.02, size=(700, 6)).cumsum(axis=0))
    x[rng.random(x.shape) < 0.05] = np.nan
    x[:90, 2] = np.nan
    x[400:, 3] = np.nan
    x[:, 5] = np.nan
    return x
