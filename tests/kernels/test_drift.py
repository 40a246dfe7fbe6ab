"""Held weights, bands and turnover: a table by hand, and a slow account of cash and shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels.capping import spread_cap_kernel
from knowable.kernels.drift import (
    band_kernel,
    drift_kernel,
    drift_state,
    earning_deviation_kernel,
    earning_state,
    turnover_kernel,
)

NAN = np.nan


def run(kernel, weights, prices, limit, ends=None, members=None):
    weights, prices = np.array(weights, float), np.array(prices, float)
    out = np.empty(weights.shape)
    ends = np.ones((len(weights), 1)) if ends is None else np.array(ends, float)[:, None]
    members = np.ones(weights.shape) if members is None else np.array(members, float)
    kernel(weights, prices, members, ends, limit, drift_state(weights.shape[1]), out)
    return out


def test_a_hand_table_of_drift():
    held = np.array([0.5, 0.25, 0.0])
    drift_kernel(np.array([[0.2, -0.2, 5.0]]), 0, 1, held)  # 0.6, 0.2 and cash of 0.25 make 1.05
    np.testing.assert_allclose(held, [0.6 / 1.05, 0.2 / 1.05, 0.0], rtol=1e-15)


def test_a_hand_table_of_a_band():
    weights = [[0.5, 0.5]] * 4 + [[0.0, 0.5]]
    prices = [[10, 10], [11, 10], [15, 10], [15, 10], [15, 10]]
    # 5.5 against 5: 0.524, inside; then 7.5 against 5: 0.6 and 0.4, both out; then exact; then out of the first
    expected = [[0.5, 0.5], [NAN, NAN], [0.5, 0.5], [NAN, NAN], [0.0, NAN]]
    np.testing.assert_array_equal(run(band_kernel, weights, prices, 0.05), expected)


def test_a_target_of_nothing_is_traded_whatever_the_band():
    np.testing.assert_array_equal(run(band_kernel, [[0.3], [0.0], [0.0]], [[1], [1], [1]], 0.2), [[0.3], [0.0], [NAN]])
    np.testing.assert_array_equal(run(band_kernel, [[0.1], [0.3]], [[1], [1]], 0.2), [[NAN], [0.3]])


def test_bands_look_only_where_periods_end_and_prices_move_meanwhile():
    weights, prices = [[0.5]] * 4, [[10], [20], [30], [31]]
    np.testing.assert_array_equal(
        run(band_kernel, weights, prices, 0.1, ends=[1, 0, 2, 0]), [[0.5], [NAN], [0.5], [NAN]]
    )


def test_a_hand_table_of_turnover():
    weights, prices = [[0.6, 0.4], [0.6, 0.4], [NAN, 0.0]], [[1, 1], [1, 1], [1, 1]]
    expected = [[0.3, 0.2], [0.6, 0.4], [NAN, 0.0]]
    np.testing.assert_allclose(run(turnover_kernel, weights, prices, 0.5), expected, rtol=1e-15)


def test_a_gap_in_prices_counts_when_it_ends():
    held = run(turnover_kernel, [[0.5], [NAN], [0.0]], [[10], [NAN], [20]], 0.6)
    # 10 of 20 has become 20 of 30: two thirds, of which 0.6 may be sold
    np.testing.assert_allclose(held[[0, 2], 0], [0.5, 2 / 3 - 0.6], rtol=1e-14)


def test_who_is_no_member_is_sold_at_once_and_takes_none_of_the_turnover():
    weights, prices, members = [[0.5, 0.5], [0.0, 1.0], [0.0, 1.0]], [[1, 1]] * 3, [[1, 1], [0, 1], [0, 1]]
    held = run(turnover_kernel, weights, prices, 0.2, members=members)
    np.testing.assert_allclose(held, [[0.1, 0.1], [0.0, 0.3], [0.0, 0.5]], rtol=1e-14)


def slow(weights, prices, members, band=None, turnover=None):
    """An account of shares and cash, traded at the row's last known price."""
    n_bars, n_assets = weights.shape
    shares, cash, known, out = np.zeros(n_assets), 1.0, np.full(n_assets, NAN), np.full(weights.shape, NAN)
    for t in range(n_bars):
        known = np.where(np.isnan(prices[t]), known, prices[t])
        price = np.where(np.isnan(known), 1.0, known)  # without a first price it cannot have been bought before
        equity = cash + shares @ price
        cash += (shares * price)[members[t] == 0].sum()
        shares[members[t] == 0], out[t, members[t] == 0] = 0.0, 0.0
        held = shares * price / equity
        asked = ~np.isnan(weights[t]) & (members[t] > 0)
        gap = np.where(asked, weights[t] - held, 0.0)
        if band is not None:
            trade = asked & ((abs(gap) > band) | ((weights[t] == 0) & (shares != 0)))
            target = weights[t]
        else:
            trade, target = asked, held + gap * min(1.0, turnover / max(abs(gap).sum(), 1e-300))
        for j in np.flatnonzero(trade):
            out[t, j] = target[j]
            wanted = target[j] * equity / price[j]
            cash -= (wanted - shares[j]) * price[j]
            shares[j] = wanted
    return out


@st.composite
def panels(draw):
    shape = (draw(st.integers(1, 25)), draw(st.integers(1, 4)))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    weights = np.repeat(rng.dirichlet(np.ones(shape[1] + 1), (shape[0] + 4) // 5)[:, :-1], 5, axis=0)[: shape[0]]
    weights = np.where(rng.random(shape) < 0.1, NAN, np.where(rng.random(shape) < 0.1, 0.0, weights))
    prices = 10 * np.exp(rng.normal(scale=0.05, size=shape).cumsum(axis=0))
    prices[1:][rng.random((shape[0] - 1, shape[1])) < 0.1] = NAN
    members = (rng.random(shape) > draw(st.sampled_from([0.0, 0.1]))).astype(float)
    return weights, prices, members


@given(panels(), st.sampled_from([0.0123, 0.051]))
def test_a_band_agrees_with_an_account_of_shares(case, band):
    made = run(band_kernel, *case[:2], band, members=case[2])
    np.testing.assert_allclose(made, slow(*case, band=band), rtol=1e-9, atol=1e-12)


@given(panels(), st.sampled_from([0.03, 0.2, 5.0]))
def test_turnover_agrees_with_an_account_of_shares(case, turnover):
    made = run(turnover_kernel, *case[:2], turnover, members=case[2])
    np.testing.assert_allclose(made, slow(*case, turnover=turnover), rtol=1e-9, atol=1e-12)


@given(panels(), st.integers(2, 8))
def test_the_deviation_is_numpys_of_what_the_weights_would_have_earned(case, window):
    weights, prices, _ = case
    returns = np.nan_to_num(prices) / 100 - 0.1
    out = np.empty(weights.shape)
    earning_deviation_kernel(weights, returns, earning_state(window, weights.shape[1]), out)
    for t in range(len(weights)):
        past = returns[max(0, t + 1 - window) : t + 1] @ np.nan_to_num(weights[t])
        expected = past.std(ddof=1) if len(past) == window else NAN
        np.testing.assert_allclose(out[t], expected, rtol=1e-9, atol=1e-16)


def test_the_deviation_misses_where_an_asset_with_a_weight_lacks_a_return():
    weights, returns = np.array([[0.5, 0.0]] * 4), np.array([[0.1, NAN], [0.2, 0.1], [NAN, 0.2], [0.1, 0.3]])
    out = np.empty((4, 2))
    earning_deviation_kernel(weights, returns, earning_state(2, 2), out)
    assert out[1, 0] == pytest.approx(np.std([0.05, 0.1], ddof=1))
    assert np.isnan(out[[0, 2, 3]]).all()


def test_a_hand_table_of_a_cap_that_spreads():
    x = np.array(
        [
            [0.6, 0.4, 5e-324],
            [0.6, 0.3, 0.1],
            [0.5, 0.3, 0.2],
            [-0.7, 0.2, NAN],
            [0.1, 0.1, 0.0],
            [0.9, 0.0, 0.0],
            [np.inf, 1, 0],
        ]
    )
    out = np.empty(x.shape)
    spread_cap_kernel(x, 0.4, out)
    # dust stays dust; 0.2 of 0.6 goes to 0.3 and 0.1 as 3 to 1: 0.45, which is over the cap too,
    # so the last takes the rest
    expected = [
        [0.4, 0.4, 0.0],
        [0.4, 0.4, 0.2],
        [0.4, 0.36, 0.24],
        [-0.4, 0.4, NAN],
        [0.1, 0.1, 0.0],
        [0.4, 0, 0],
        [NAN, NAN, NAN],
    ]
    np.testing.assert_allclose(out, expected, rtol=1e-14, atol=1e-300)


@given(
    arrays(np.float64, (3, 6), elements=st.floats(-1, 1).map(lambda x: x if abs(x) > 1e-8 else 0.0)),  # no dust
    st.floats(0.01, 0.5),
)
def test_a_cap_that_spreads_keeps_signs_and_the_sum_if_it_can(x, most):
    out = np.empty(x.shape)
    spread_cap_kernel(x, most, out)
    assert (abs(out) <= most).all()
    assert (np.sign(out) == np.sign(x)).all()
    room = most * (x != 0).sum(axis=1)
    np.testing.assert_allclose(abs(out).sum(axis=1), np.minimum(abs(x).sum(axis=1), room), rtol=1e-9, atol=1e-300)
