"""Covariance, correlation and regression of moving windows against exact fractions, pandas, numpy and laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from knowable.kernels import pairs
from knowable.testing import pairs_oracle as slow
from knowable.testing.pieces import in_pieces

NAN = np.nan
KERNELS = {
    "cov": pairs.covariance_kernel, "corr": pairs.correlation_kernel, "beta": pairs.beta_kernel,
    "resid": pairs.residual_kernel, "r2": pairs.determination_kernel,
}  # fmt: skip
ORACLES = {
    "cov": slow.moving_cov, "corr": slow.moving_corr, "beta": slow.moving_beta, "resid": slow.moving_resid,
    "r2": slow.moving_r2,
}  # fmt: skip


def run(name, x, y, window, cuts=()):
    """One kernel over both, in the pieces that `cuts` make."""
    return in_pieces(KERNELS[name], x, y, state=pairs.pair_state(window, x.shape[1]), cuts=cuts)


ordinary = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))  # squares of what is smaller may be lost
nasty = st.one_of(
    ordinary,
    st.sampled_from([NAN, np.inf, -np.inf, 1e300, -1e300, 1e17, -1e17, 0.0, -0.0, 0.1, 1e-9, 1e9 + 1e-3, 1e9]),
)
large = st.one_of(ordinary, st.sampled_from([NAN, np.inf, 1e17, -1e17, 1e60, 1e9, 1e9 + 1e-3, 0.1]))


@st.composite
def both(draw, values=nasty):
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 3)))
    panel = arrays(np.float64, shape, elements=values, fill=values)
    return draw(panel), draw(panel)


windows = st.integers(1, 12)


def spreads(x, y, window):
    """The scale that errors of covariance, slope and residual are measured by."""
    with np.errstate(all="ignore"):
        sx, sy = slow.moving_cov(x, x, window) ** 0.5, slow.moving_cov(y, y, window) ** 0.5
        return {"cov": sx * sy, "corr": 1.0, "r2": 1.0, "beta": sx / sy, "resid": sx}


@pytest.mark.parametrize("name", KERNELS)
@given(xy=both(), window=windows, cuts=st.lists(st.integers(0, 40), max_size=8))
@settings(max_examples=50)
def test_any_chunking_gives_the_same_bits(name, xy, window, cuts):
    whole = run(name, *xy, window)
    assert whole.tobytes() == run(name, *xy, window, cuts).tobytes()
    assert whole.tobytes() == run(name, *xy, window, range(len(whole))).tobytes()


@pytest.mark.parametrize("name", KERNELS)
def test_the_bits_of_an_asset_do_not_depend_on_how_many_stand_beside_it(name):
    x, y = np.random.default_rng(1).normal(size=(2, 120, 37))
    x[x > 2], x[x < -2.5], y[y > 2], y[y < -2.5] = NAN, np.inf, -NAN, -np.inf
    together = run(name, x, y, 7)
    assert only_nan(together)
    for j in (0, 1, 17, 35, 36):
        alone = [np.ascontiguousarray(each[:, [j]]) for each in (x, y)]
        assert run(name, *alone, 7).tobytes() == together[:, [j]].tobytes()


@pytest.mark.parametrize("name", KERNELS)
@given(xy=both(large), window=windows)
@settings(max_examples=50)
def test_agrees_with_exact_fractions_on_adversarial_data(name, xy, window):
    got, expected = run(name, *xy, window), ORACLES[name](*xy, window)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    known = ~np.isnan(expected)
    error, scale = np.abs(got - expected), np.broadcast_to(spreads(*xy, window)[name], got.shape)
    assert (error[known] <= 1e-9 * scale[known]).all(), (got, expected)


powers = st.sampled_from([-300, -160, -100, 0, 100, 160, 300])
extreme = st.builds(lambda x, k: x * 10.0**k, st.floats(-9.0, 9.0), powers)


@pytest.mark.parametrize("name", ["corr", "r2", "beta"])
@given(xy=both(extreme), window=windows)
@settings(max_examples=50)
def test_a_score_is_right_or_missing_where_squares_leave_the_range_of_a_double(name, xy, window):
    got, expected = run(name, *xy, window), ORACLES[name](*xy, window)
    known = np.isfinite(got) & np.isfinite(expected)
    error, scale = np.abs(got[known] - expected[known]), np.broadcast_to(spreads(*xy, window)[name], got.shape)[known]
    fits = np.isfinite(scale) & (scale > 1e-250)
    assert (error[fits] <= 1e-7 * scale[fits]).all(), (got, expected)


@given(xy=both(large), window=windows)
def test_correlation_stays_within_its_bounds_and_is_the_same_bits_both_ways(xy, window):
    x, y = xy
    got = run("corr", x, y, window)
    assert not (np.abs(got) > 1.0).any()
    assert got.tobytes() == run("corr", y, x, window).tobytes()
    assert run("cov", x, y, window).tobytes() == run("cov", y, x, window).tobytes()
    share = run("r2", x, y, window)
    assert not ((share < 0) | (share > 1)).any()
    np.testing.assert_allclose(share, got**2, rtol=1e-12, atol=1e-300)


@given(xy=both(st.one_of(ordinary, st.just(NAN))), window=st.integers(2, 12))
def test_an_input_and_itself_correlate_wholly_with_slope_one_and_nothing_left(xy, window):
    x, _ = xy
    got, scale = run("corr", x, x, window), np.nanmax(np.abs(x), initial=1.0)
    known = ~np.isnan(got)
    np.testing.assert_array_equal(got[known], 1.0)
    np.testing.assert_array_equal(run("corr", x, -x, window)[known], -1.0)
    np.testing.assert_array_equal(run("beta", x, x, window)[known], 1.0)
    np.testing.assert_allclose(run("resid", x, x, window)[known], 0.0, atol=1e-14 * scale)


@given(xy=both(st.one_of(ordinary, st.just(NAN))))
def test_a_line_through_two_points_explains_all(xy):
    left, share, score = (run(name, *xy, 2) for name in ("resid", "r2", "corr"))
    assert (left[~np.isnan(left)] == 0.0).all()
    assert (share[~np.isnan(share)] == 1.0).all()
    assert (np.abs(score[~np.isnan(score)]) == 1.0).all()


@given(x=arrays(np.float64, (40, 1), elements=ordinary), slope=st.floats(1e-3, 1e3), window=st.integers(2, 12))
def test_what_a_line_explains_but_for_the_rounding_of_its_values_is_explained_wholly(x, slope, window):
    y = slope * x + 3.0
    spread, largest = slope**2 * slow.moving_cov(x, x, window), slope * np.abs(x).max() + 3.0
    told = spread > 1e-6 * largest**2  # elsewhere the rounding of y is no longer small beside what varies
    np.testing.assert_array_equal(run("corr", x, y, window)[told], 1.0)
    np.testing.assert_array_equal(run("r2", y, x, window)[told], 1.0)
    np.testing.assert_allclose(run("beta", y, x, window)[told], slope, rtol=1e-9)
    np.testing.assert_allclose(run("resid", y, x, window)[told], 0.0, atol=1e-9 * slope * np.abs(x).max())


@given(value=st.floats(-1e150, 1e150), window=st.integers(2, 30))
def test_a_constant_correlates_with_nothing(value, window):
    x, y = np.full((70, 1), value), np.random.default_rng(0).normal(size=(70, 1))
    assert (run("cov", x, y, window)[window - 1 :] == 0.0).all()
    for name in ("corr", "r2"):
        assert np.isnan(run(name, x, y, window)).all()
        assert np.isnan(run(name, y, x, window)).all()
    assert np.isnan(run("beta", y, x, window)).all()
    assert np.isnan(run("resid", y, x, window)).all()
    assert (run("beta", x, y, window)[window - 1 :] == 0.0).all()
    assert (run("resid", x, y, window)[window - 1 :] == 0.0).all()


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("bad", [NAN, np.inf, -np.inf, 1e300])
def test_what_is_missing_in_either_input_spoils_its_windows_and_no_others(name, bad):
    x, y = np.random.default_rng(8).normal(size=(2, 60, 2))
    clean = run(name, x, y, 5)
    x[13, 0], y[27, 1] = bad, bad
    got = run(name, x, y, 5)
    if bad != 1e300:
        assert np.isnan(got[13:18, 0]).all()
        assert np.isnan(got[27:32, 1]).all()
    for j, first in ((0, 13), (1, 27)):
        assert got[4:first, j].tobytes() == clean[4:first, j].tobytes()
        np.testing.assert_allclose(got[first + 5 :, j], clean[first + 5 :, j], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("level", [0.0, 1e8, 1e12])
def test_digits_are_kept_at_any_level(name, level):
    x, y = np.random.default_rng(3).integers(-8, 9, size=(2, 400, 2)) / 8.0
    np.testing.assert_allclose(run(name, level + x, y - level, 20), run(name, x, y, 20), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_holds_at_a_level_of_1e8_with_noise_of_1e_3(name):
    x, y = 1e8 + np.random.default_rng(4).normal(scale=1e-3, size=(2, 90, 2))
    np.testing.assert_allclose(run(name, x, y, 20), ORACLES[name](x, y, 20), rtol=1e-9, atol=1e-15)


def test_correlation_does_not_depend_on_the_units_however_small_or_large():
    x, y = np.random.default_rng(6).normal(size=(2, 50, 2))
    plain = run("corr", x, y, 9)
    for a, b in ((2.0**-300, 2.0**-300), (2.0**300, 2.0**300), (2.0**-300, 2.0**300)):
        assert run("corr", a * x, b * y, 9).tobytes() == plain.tobytes()
        np.testing.assert_allclose(run("r2", a * x, b * y, 9), plain**2, rtol=1e-12)


def test_a_million_bars_do_not_drift():
    x, y = np.random.default_rng(5).normal(size=(2, 1_000_000, 1)) * 1e3 + 0.1
    a, b = x[-50:, 0], y[-50:, 0]
    line = stats.linregress(a, b)
    np.testing.assert_allclose(run("corr", x, y, 50)[-1], line.rvalue, rtol=1e-11)
    np.testing.assert_allclose(run("beta", y, x, 50)[-1], line.slope, rtol=1e-11)
    np.testing.assert_allclose(run("resid", y, x, 50)[-1], b[-1] - line.intercept - line.slope * a[-1], rtol=1e-11)


@pytest.fixture
def gappy():
    rng = np.random.default_rng(11)
    both = 100 * np.exp(rng.normal(scale=0.02, size=(2, 700, 6)).cumsum(axis=1))
    both[rng.random(both.shape) < 0.03] = NAN
    both[0, :90, 2] = NAN
    both[1, 400:, 3] = NAN
    return both


@pytest.mark.parametrize("window", [2, 5, 63])
def test_agrees_with_pandas_rolling_on_prices_with_gaps(gappy, window):
    x, y = gappy
    rolling, other = pd.DataFrame(x).rolling(window), pd.DataFrame(y)
    np.testing.assert_allclose(run("cov", x, y, window), rolling.cov(other).to_numpy(), atol=1e-8)
    np.testing.assert_allclose(run("corr", x, y, window), rolling.corr(other).to_numpy(), atol=1e-8)


def test_agrees_with_least_squares_of_numpy_window_by_window(gappy):
    x, y = gappy[:, :150]
    for t in range(9, 150):
        for j in range(6):
            a, b = x[t - 9 : t + 1, j], y[t - 9 : t + 1, j]
            if np.isnan(a + b).any():
                continue
            (slope, level), (left,), *_ = np.linalg.lstsq(np.column_stack([a, np.ones(10)]), b, rcond=None)
            got = {name: run(name, y[t - 9 : t + 1], x[t - 9 : t + 1], 10)[-1, j] for name in ("beta", "resid", "r2")}
            np.testing.assert_allclose(got["beta"], slope, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(got["resid"], b[-1] - level - slope * a[-1], rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(got["r2"], 1 - left / ((b - b.mean()) ** 2).sum(), rtol=1e-7, atol=1e-9)


def only_nan(values):
    return set(values[np.isnan(values)].view(np.uint64).tolist()) <= {np.array(NAN).view(np.uint64).item()}


def test_hand_table():
    x = np.array([[1.0], [2.0], [3.0], [NAN], [5.0], [6.0], [9.0], [9.0], [9.0]])
    y = np.array([[2.0], [4.0], [9.0], [1.0], [1.0], [7.0], [4.0], [NAN], [1.0]])
    # rows 0 to 2: x -1 0 1 off 2, y -3 -1 4 off 5, products 7, squares 2 and 26; rows 4 to 6: x -5 -2 7 thirds off
    # 20 / 3, y -3 3 0 off 4, products (15 - 6) / 3, squares 78 / 9 and 18
    expected = {
        "cov": [7 / 2, 3 / 2],
        "corr": [7 / 52**0.5, 3 / (78 / 9 * 18) ** 0.5],
        "beta": [7 / 2, 3 / (78 / 9)],
        "resid": [4 - 7 / 2, 0 - 27 / 78 * 7 / 3],
        "r2": [49 / 52, 9 / (78 / 9 * 18)],
    }
    for name, (early, late) in expected.items():
        given_ = (y, x) if name in ("beta", "resid", "r2") else (x, y)
        column = [NAN, NAN, early, NAN, NAN, NAN, late, NAN, NAN]
        np.testing.assert_allclose(run(name, *given_, 3)[:, 0], column, rtol=1e-14, err_msg=name)


def test_inputs_may_be_read_only_and_are_not_changed(gappy):
    before = gappy.tobytes()
    for name in KERNELS:
        run(name, *gappy, 5)
    assert gappy.tobytes() == before


@pytest.mark.parametrize("name", KERNELS)
def test_a_window_longer_than_the_data_or_of_one_gives_nan(name):
    x, y = np.random.default_rng(0).normal(size=(2, 5, 2))
    assert np.isnan(run(name, x, y, 6)).all()
    assert np.isnan(run(name, x, y, 1)).all()
