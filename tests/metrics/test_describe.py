"""The public face of the metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from knowable.errors import InputError, ShapeError
from knowable.kernels import statistics as codes
from knowable.metrics import DEFINITIONS, METRICS, describe


def test_every_metric_has_a_definition_and_stands_where_the_kernel_puts_it():
    assert tuple(DEFINITIONS) == METRICS
    assert len(METRICS) == codes.N_FIGURES
    for at, name in enumerate(METRICS):
        assert getattr(codes, name.upper()) == at


def test_what_needs_trades_is_nan_without_them():
    got = describe([100.0, 101.0, 99.0], 252.0)
    assert all(math.isnan(got[name]) for name in ("turnover", "n_trades", "exposure", "win_rate"))
    assert got["total_return"] == pytest.approx(-0.01)


@pytest.mark.parametrize(
    ("equity", "options", "error", "says"),
    [
        ([1.0, math.nan], {}, InputError, "bar 1 of 2 is nan"),
        ([1.0, math.inf], {}, InputError, "finite"),
        ([], {}, ShapeError, "n_bars >= 1"),
        (np.ones((2, 2)), {}, ShapeError, r"\(2, 2\)"),
        ([0.0, 1.0], {}, InputError, "initial > 0"),
        ([1.0, 2.0], {"initial": -1.0}, InputError, "initial > 0"),
        ([1.0, 2.0], {"bars_per_year": 0.0}, InputError, "bars_per_year > 0"),
    ],
)
def test_bad_input_is_named(equity, options, error, says):
    with pytest.raises(error, match=says):
        describe(equity, options.pop("bars_per_year", 252.0), **options)
