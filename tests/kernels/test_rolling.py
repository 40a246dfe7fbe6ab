"""Moving kernels against exact fractions, pandas, hand tables and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import rolling
from knowable.testing import rolling_oracle as slow
from knowable.testing.pieces import in_pieces

NAN = np.nan


def run(name, x, window, cuts=()):
    """One kernel over x, in the pieces that `cuts` make."""
    state, call = {
        "sum": (rolling.sum_state, lambda x, s, out: rolling.sum_kernel(x, 1.0, s, out)),
        "mean": (rolling.sum_state, lambda x, s, out: rolling.sum_kernel(x, float(window), s, out)),
        "std": (rolling.deviation_state, rolling.deviation_kernel),
        "min": (rolling.extreme_state, lambda x, s, out: rolling.extreme_kernel(x, 1.0, s, out)),
        "max": (rolling.extreme_state, lambda x, s, out: rolling.extreme_kernel(x, -1.0, s, out)),
        "lag": (rolling.lag_state, rolling.lag_kernel),
        "ewm": (lambda _, n: rolling.ewm_state(n), lambda x, s, out: rolling.ewm_kernel(x, 2 / (window + 1), s, out)),
    }[name]
    return in_pieces(call, x, state=state(window, x.shape[1]), cuts=cuts)


ORACLES = {
    "sum": slow.moving_sum, "mean": slow.moving_mean, "std": slow.moving_std, "min": slow.moving_min,
    "max": slow.moving_max, "lag": slow.lag, "ewm": slow.ewm,
}  # fmt: skip

ordinary = st.floats(-1e6, 1e6, allow_subnormal=False)
nasty = st.one_of(
    ordinary,
    st.sampled_from([NAN, np.inf, -np.inf, 1e300, -1e300, 1e17, -1e17, 0.0, -0.0, 0.1, 1e-9, 1e9 + 1e-3, 1e9]),
)


@st.composite
def panels(draw, values=nasty):
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 3)))
    return draw(arrays(np.float64, shape, elements=values, fill=values))


windows = st.integers(1, 12)
cuts = st.lists(st.integers(0, 40), max_size=8)


@pytest.mark.parametrize("name", ORACLES)
@given(x=panels(), window=windows, cuts=cuts)
def test_any_chunking_gives_the_same_bits(name, x, window, cuts):
    whole = run(name, x, window)
    assert whole.tobytes() == run(name, x, window, cuts).tobytes()
    assert whole.tobytes() == run(name, x, window, range(len(x))).tobytes()


@pytest.mark.parametrize("name", ORACLES)
@given(x=panels(), window=windows, cuts=cuts)
def test_an_asset_alone_has_the_bits_that_it_has_beside_others(name, x, window, cuts):
    together = run(name, np.concatenate([x, x[::-1]], axis=1), window)
    for j in range(x.shape[1]):
        assert run(name, x[:, j : j + 1].copy(), window, cuts).tobytes() == together[:, j : j + 1].tobytes()


@pytest.mark.parametrize("name", ["min", "max", "lag"])
@given(x=panels(), window=windows)
def test_selection_agrees_exactly_with_each_window_by_itself(name, x, window):
    np.testing.assert_array_equal(run(name, x, window), ORACLES[name](x, window))


@pytest.mark.parametrize("name", ["sum", "mean"])
@given(x=panels(), window=windows)
def test_sums_agree_with_exact_fractions_while_nan_infinity_and_1e300_come_and_go(name, x, window):
    got, expected = run(name, x, window), ORACLES[name](x, window)
    sizes = slow.moving_sum(np.abs(x), window)
    assume(not np.any(sizes[np.isfinite(sizes)] > 1e308))
    with np.errstate(invalid="ignore"):
        close = np.abs(got - expected) <= 1e-12 * np.abs(expected) + 1e-27 * sizes
    alike = (got == expected) | (np.isnan(got) & np.isnan(expected)) | close
    assert alike.all()


@given(x=panels(st.one_of(ordinary, st.sampled_from([NAN, 1e17, -1e17, 1e100, 1e9, 1e9 + 1e-3, 0.1]))), window=windows)
def test_deviation_agrees_with_exact_fractions_on_adversarial_data(x, window):
    got, expected = run("std", x, window), ORACLES["std"](x, window)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-150)
    assert not (got < 0).any()


@given(x=panels(), window=st.integers(2, 12))
def test_deviation_is_nan_exactly_where_the_window_is_not_full_of_finite_values(x, window):
    assume(np.all(np.abs(x[np.isfinite(x)]) < 1e150))
    np.testing.assert_array_equal(np.isnan(run("std", x, window)), np.isnan(slow.moving_std(x, window)))


@given(value=st.floats(-1e300, 1e300), window=st.integers(2, 40))
def test_deviation_of_a_constant_is_exactly_zero_and_its_mean_exact(value, window):
    x = np.full((100, 1), value)
    assert (run("std", x, window)[window - 1 :] == 0.0).all()
    assert (run("ewm", x, window) == value).all()
    np.testing.assert_allclose(run("mean", x, window)[window - 1 :], value, rtol=3e-16)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e8, 1e12])
def test_deviation_keeps_its_digits_at_any_level(level):
    noise = np.random.default_rng(3).integers(-8, 9, size=(400, 2)) / 8.0
    x = level + noise
    np.testing.assert_allclose(run("std", x, 20), run("std", x - level, 20), rtol=1e-12)
    np.testing.assert_allclose(run("std", x, 20), slow.moving_std(x, 20), rtol=1e-12)


def test_a_million_bars_do_not_drift():
    x = np.random.default_rng(5).normal(size=(1_000_000, 1)) * 1e3 + 0.1
    tail = x[-50:]
    np.testing.assert_allclose(run("mean", x, 50)[-1], tail.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(run("std", x, 50)[-1], tail.std(axis=0, ddof=1), rtol=1e-12)


@given(x=panels(st.one_of(ordinary, st.sampled_from([NAN, np.inf]))), span=st.floats(1, 30))
def test_exponential_mean_agrees_with_its_definition(x, span):
    got, expected = run("ewm", x, span), slow.ewm(x, span)
    scale = np.nanmax(np.abs(np.where(np.isfinite(x), x, 0)), initial=1.0)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("name", ["sum", "mean", "std", "min", "max"])
@pytest.mark.parametrize("window", [2, 5, 63])
def test_agrees_with_pandas_rolling_on_prices_with_gaps(gappy, name, window):
    expected = getattr(pd.DataFrame(gappy).rolling(window), name)().to_numpy()
    np.testing.assert_allclose(run(name, gappy, window), expected, rtol=1e-9)


@pytest.mark.parametrize("span", [1, 2.5, 20, 250])
def test_agrees_with_pandas_ewm_of_default_settings_on_prices_with_gaps(gappy, span):
    expected = pd.DataFrame(gappy).ewm(span=span).mean().to_numpy()
    np.testing.assert_allclose(run("ewm", gappy, span), expected, rtol=1e-11)


def test_agrees_with_polars_rolling():
    pl = pytest.importorskip("polars", reason="polars is an extra of the tests")
    x = np.random.default_rng(2).normal(size=(300, 1))
    series = pl.Series(x[:, 0])
    for name in ("sum", "mean", "std", "min", "max"):
        expected = getattr(series, f"rolling_{name}")(7).to_numpy()
        np.testing.assert_allclose(run(name, x, 7)[:, 0], expected, rtol=1e-9, atol=1e-12)


def test_hand_table():
    x = np.array([[1.0], [2.0], [4.0], [NAN], [3.0], [3.0], [5.0]])
    expected = {
        "sum": [NAN, 3, 6, NAN, NAN, 6, 8],
        "mean": [NAN, 1.5, 3, NAN, NAN, 3, 4],
        "std": [NAN, 0.5**0.5, 2**0.5, NAN, NAN, 0, 2**0.5],
        "min": [NAN, 1, 2, NAN, NAN, 3, 3],
        "max": [NAN, 2, 4, NAN, NAN, 3, 5],
        "lag": [NAN, NAN, 1, 2, 4, NAN, 3],
    }
    for name, column in expected.items():
        np.testing.assert_allclose(run(name, x, 2)[:, 0], column, rtol=1e-15, err_msg=name)
    # span 3: alpha 1/2; after the gap the old mean weighs a quarter of what it did, against 1
    ewm = run("ewm", x[:5], 3)[:, 0]
    third = (4 + 2 / 2 + 1 / 4) / 1.75
    np.testing.assert_allclose(ewm, [1, 5 / 3, third, third, (3 + third * 1.75 / 4) / (1 + 1.75 / 4)], rtol=1e-15)


def test_inputs_may_be_read_only_and_are_not_changed(gappy):
    before = gappy.tobytes()
    for name in ORACLES:
        run(name, gappy, 5)
    assert gappy.tobytes() == before


@pytest.mark.parametrize("name", [name for name in ORACLES if name != "ewm"])
def test_a_window_longer_than_the_data_gives_nan(name):
    assert np.isnan(run(name, np.ones((5, 2)), 6)).all()
