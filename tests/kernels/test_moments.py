"""Variance, z-score, skewness, exponential deviation against exact fractions, pandas, scipy, hand tables and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from knowable.kernels import moments
from knowable.testing import moments_oracle as slow
from knowable.testing.pieces import in_pieces

NAN = np.nan


def run(name, x, window, cuts=()):
    """One kernel over x, in the pieces that `cuts` make; for `ewm_std` the window is the span."""
    state, call = {
        "var": (moments.spread_state, moments.variance_kernel),
        "ts_zscore": (moments.spread_state, moments.score_kernel),
        "skew": (moments.skew_state, moments.skew_kernel),
        "ewm_std": (
            lambda _, n: moments.ewm_deviation_state(n),
            lambda x, s, out: moments.ewm_deviation_kernel(x, (window - 1) / (window + 1), s, out),
        ),
    }[name]
    return in_pieces(call, x, state=state(window, x.shape[1]), cuts=cuts)


ORACLES = {
    "var": slow.moving_var, "ts_zscore": slow.moving_zscore, "skew": slow.moving_skew, "ewm_std": slow.ewm_std,
}  # fmt: skip
WINDOWED = ["var", "ts_zscore", "skew"]

ordinary = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))  # squares of what is smaller may be lost
nasty = st.one_of(
    ordinary,
    st.sampled_from([NAN, np.inf, -np.inf, 1e300, -1e300, 1e17, -1e17, 0.0, -0.0, 0.1, 1e-9, 1e9 + 1e-3, 1e9]),
)
large = st.one_of(ordinary, st.sampled_from([NAN, 1e17, -1e17, 1e60, 1e9, 1e9 + 1e-3, 0.1]))


@st.composite
def panels(draw, values=nasty, most=40):
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, 3)))
    return draw(arrays(np.float64, shape, elements=values, fill=values))


windows = st.integers(1, 12)
cuts = st.lists(st.integers(0, 40), max_size=8)


@pytest.mark.parametrize("name", ORACLES)
@given(x=panels(), window=windows, cuts=cuts)
@settings(max_examples=50)
def test_any_chunking_gives_the_same_bits(name, x, window, cuts):
    whole = run(name, x, window)
    assert whole.tobytes() == run(name, x, window, cuts).tobytes()
    assert whole.tobytes() == run(name, x, window, range(len(x))).tobytes()


@pytest.mark.parametrize("name", ORACLES)
def test_the_bits_of_an_asset_do_not_depend_on_how_many_stand_beside_it(name):
    x = np.random.default_rng(1).normal(size=(120, 37))
    x[x > 2], x[x < -2], x[50:70, ::3] = NAN, np.inf, -NAN
    together = run(name, x, 7)
    assert only_nan(together)
    for j in (0, 1, 17, 35, 36):
        assert run(name, np.ascontiguousarray(x[:, [j]]), 7).tobytes() == together[:, [j]].tobytes()


@given(x=panels(large), window=windows)
def test_variance_agrees_with_exact_fractions_on_adversarial_data(x, window):
    got, expected = run("var", x, window), slow.moving_var(x, window)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-300)
    assert not (got < 0).any()


@pytest.mark.parametrize("name", ["ts_zscore", "skew"])
@given(x=panels(large), window=windows)
@settings(max_examples=50)
def test_scores_agree_with_exact_fractions_on_adversarial_data(name, x, window):
    np.testing.assert_allclose(run(name, x, window), ORACLES[name](x, window), rtol=1e-9, atol=1e-9)


powers = st.sampled_from([-300, -160, -100, 0, 100, 160, 300])
extreme = st.builds(lambda x, k: x * 10.0**k, st.floats(-9.0, 9.0), powers)


@pytest.mark.parametrize("name", ["ts_zscore", "skew"])
@given(x=panels(extreme, most=20), window=windows)
@settings(max_examples=50)
def test_a_score_is_right_or_missing_where_squares_leave_the_range_of_a_double(name, x, window):
    got, expected = run(name, x, window), ORACLES[name](x, window)
    known = ~np.isnan(got)
    np.testing.assert_allclose(got[known], expected[known], rtol=1e-7, atol=1e-7)


@given(x=panels(st.one_of(ordinary, st.sampled_from([NAN, np.inf, 1e9, 1e9 + 1e-3])), most=25), span=st.floats(1, 30))
def test_exponential_deviation_agrees_with_its_definition(x, span):
    scale = np.nanmax(np.abs(np.where(np.isfinite(x), x, 0)), initial=1.0)
    np.testing.assert_allclose(run("ewm_std", x, span), slow.ewm_std(x, span), rtol=1e-9, atol=1e-15 * scale)


@pytest.mark.parametrize("name", WINDOWED)
@given(x=panels(), window=st.integers(3, 12))
@settings(max_examples=50)
def test_nan_exactly_where_the_window_is_not_full_of_finite_values_or_has_no_spread(name, x, window):
    assume(np.all(np.abs(x[np.isfinite(x)]) < 1e100))
    np.testing.assert_array_equal(np.isnan(run(name, x, window)), np.isnan(ORACLES[name](x, window)))


@pytest.mark.parametrize("name", WINDOWED)
def test_what_is_missing_infinite_or_huge_is_forgotten_when_it_leaves(name):
    x = np.random.default_rng(8).normal(size=(60, 4))
    for k, bad in enumerate((NAN, np.inf, 1e300, -1e300)):
        x[11 + k, k] = bad
    got = run(name, x, 5)
    for j in range(4):
        np.testing.assert_allclose(got[16 + j :, j], run(name, x[12 + j :], 5)[4:, j], rtol=1e-12, atol=1e-12)


@given(value=st.floats(-1e150, 1e150), window=st.integers(3, 40))
def test_a_constant_has_no_variance_and_neither_score_nor_skewness(value, window):
    x = np.full((100, 1), value)
    assert (run("var", x, window)[window - 1 :] == 0.0).all()
    assert (run("ewm_std", x, window)[1:] == 0.0).all()
    assert np.isnan(run("ts_zscore", x, window)).all()
    assert np.isnan(run("skew", x, window)).all()


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("level", [0.0, 1.0, 1e8, 1e12])
def test_every_moment_keeps_its_digits_at_any_level(name, level):
    noise = np.random.default_rng(3).integers(-8, 9, size=(400, 2)) / 8.0
    np.testing.assert_allclose(run(name, level + noise, 20), run(name, noise, 20), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ORACLES)
def test_every_moment_holds_at_a_level_of_1e8_with_noise_of_1e_3(name):
    x = 1e8 + np.random.default_rng(4).normal(scale=1e-3, size=(90, 2))
    np.testing.assert_allclose(run(name, x, 20), ORACLES[name](x, 20), rtol=1e-9, atol=1e-12)


def test_a_million_bars_do_not_drift():
    x = np.random.default_rng(5).normal(size=(1_000_000, 1)) * 1e3 + 0.1
    tail = x[-50:, 0]
    np.testing.assert_allclose(run("var", x, 50)[-1], tail.var(ddof=1), rtol=1e-12)
    np.testing.assert_allclose(run("skew", x, 50)[-1], stats.skew(tail, bias=False), rtol=1e-9)
    late = pd.Series(x[-2_000:, 0]).ewm(span=50).std().iloc[-1]
    np.testing.assert_allclose(run("ewm_std", x, 50)[-1], late, rtol=1e-9)


@pytest.mark.parametrize("window", [3, 5, 63])
def test_agrees_with_pandas_rolling_on_prices_with_gaps(gappy, window):
    rolling = pd.DataFrame(gappy).rolling(window)
    np.testing.assert_allclose(run("var", gappy, window), rolling.var().to_numpy(), rtol=1e-8)
    np.testing.assert_allclose(run("skew", gappy, window), rolling.skew().to_numpy(), atol=1e-7)
    score = ((gappy - rolling.mean()) / rolling.std()).to_numpy()
    np.testing.assert_allclose(run("ts_zscore", gappy, window), score, atol=1e-8)


@pytest.mark.parametrize("span", [1, 2.5, 20, 250])
def test_agrees_with_pandas_ewm_std_of_default_settings_on_prices_with_gaps(gappy, span):
    expected = pd.DataFrame(gappy).ewm(span=span).std().to_numpy()
    np.testing.assert_allclose(run("ewm_std", gappy, span), expected, rtol=1e-9, atol=1e-11)


def test_skewness_agrees_with_scipy():
    x = np.random.default_rng(2).exponential(size=(80, 1))
    expected = [stats.skew(x[t - 9 : t + 1, 0], bias=False) for t in range(9, 80)]
    np.testing.assert_allclose(run("skew", x, 10)[9:, 0], expected, rtol=1e-11)


def only_nan(values):
    return set(values[np.isnan(values)].view(np.uint64).tolist()) <= {np.array(NAN).view(np.uint64).item()}


def test_hand_table():
    x = np.array([[1.0], [2.0], [6.0], [NAN], [3.0], [3.0], [0.0]])
    np.testing.assert_allclose(run("var", x, 3)[:, 0], [NAN, NAN, 7, NAN, NAN, NAN, 3], rtol=1e-15)
    np.testing.assert_allclose(
        run("ts_zscore", x, 3)[:, 0], [NAN, NAN, 3 / 7**0.5, NAN, NAN, NAN, -2 / 3**0.5], rtol=1e-15
    )
    # 1, 2, 6 lie -2, -1, 3 off their mean: 3 sqrt 2 times 18 over 14 to the 1.5; 3, 3, 0 lie 1, 1, -2
    skewed = [18 * 18**0.5 / 14**1.5, -6 * 18**0.5 / 6**1.5]
    np.testing.assert_allclose(run("skew", x, 3)[:, 0], [NAN, NAN, skewed[0], NAN, NAN, NAN, skewed[1]], rtol=1e-14)
    # span 3: weights 1/2 a bar. 1 and 2: squares 1/3, weight 3/2, less 5/4 over it; then held, while the weight ages
    two = (1 / 3 / (3 / 2 - 5 / 4 / (3 / 2))) ** 0.5
    three = run("ewm_std", np.array([[1.0], [2.0], [NAN], [2.0]]), 3)[:, 0]
    last = np.array([1 / 8, 1 / 4, 1.0])
    mean = (last * [1, 2, 2]).sum() / last.sum()
    squares = (last * (np.array([1, 2, 2]) - mean) ** 2).sum()
    held = (squares / (last.sum() - (last**2).sum() / last.sum())) ** 0.5
    np.testing.assert_allclose(three, [NAN, two, two, held], rtol=1e-14)


def test_inputs_may_be_read_only_and_are_not_changed(gappy):
    before = gappy.tobytes()
    for name in ORACLES:
        run(name, gappy, 5)
    assert gappy.tobytes() == before


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_longer_than_the_data_or_too_short_gives_nan(name):
    x = np.random.default_rng(0).normal(size=(5, 2))
    assert np.isnan(run(name, x, 6)).all()
    assert np.isnan(run(name, x, 1)).all()
    assert np.isnan(run("skew", x, 2)).all()
