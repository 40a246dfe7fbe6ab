"""Overfitting statistics against worked numbers, a slow oracle, laws, and Monte-Carlo gates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowable.errors import InputError, ShapeError
from knowable.validate.overfitting import (
    Track,
    deflated_sharpe,
    expected_max_sharpe,
    min_track_record,
    pbo,
    pbo_from_moments,
    psr,
)
from knowable.validate.trials import (
    block_moments,
    effective_trials,
    effective_trials_from_moments,
    sharpes_from_moments,
)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, shape)


# --- worked numbers -------------------------------------------------------------------------------------------


def test_deflated_sharpe_gives_the_worked_example() -> None:
    track = Track(sharpe=2.5 / math.sqrt(250), n_observations=1250, skewness=-3, kurtosis=10)
    variance = 0.5 / 250
    assert expected_max_sharpe(100, variance) == pytest.approx(0.1131720019, abs=1e-10)
    assert deflated_sharpe(track, 100, variance) == pytest.approx(0.9003968345, abs=1e-9)


def test_probabilistic_sharpe_gives_the_worked_example() -> None:
    track = Track(sharpe=0.458, n_observations=24, skewness=-2.448, kurtosis=10.164)
    assert psr(track) == pytest.approx(0.9133610839, abs=1e-9)
    assert psr(track, 0.1) == pytest.approx(0.8564312381, abs=1e-9)


@pytest.mark.parametrize(("bars_per_year", "years"), [(252, 2.73098), (52, 2.82883), (12, 3.23980)])
def test_minimum_track_record_gives_the_worked_example(bars_per_year, years) -> None:
    track = Track(sharpe=2 / math.sqrt(bars_per_year), n_observations=100)
    bars = min_track_record(track, 1 / math.sqrt(bars_per_year), alpha=0.05)
    assert bars / bars_per_year == pytest.approx(years, abs=5e-6)


@pytest.mark.parametrize(("n_trials", "height"), [(10, 1.574598), (100, 2.530603), (1000, 3.255122)])
def test_expected_maximum_gives_the_worked_example(n_trials, height) -> None:
    assert expected_max_sharpe(n_trials) == pytest.approx(height, abs=5e-7)


def test_pbo_is_one_when_the_edge_changes_sides_at_half_time() -> None:
    e = 0.01 * np.where(np.arange(80) % 2, -1.0, 1.0)
    d = np.where(np.arange(80) < 40, 0.005, -0.005)
    result = pbo(np.column_stack([e + d, e - d]), blocks=2)
    assert result.probability == 1.0
    assert result.loss_probability == 1.0
    assert result.logits == pytest.approx([math.log(0.5)] * 2)


def test_pbo_is_zero_when_one_trial_is_always_better() -> None:
    e = 0.01 * np.where(np.arange(80) % 2, -1.0, 1.0)
    result = pbo(np.column_stack([e + 0.005, e - 0.005]), blocks=4)
    assert float(result) == 0.0
    assert len(result.logits) == 6


# --- Sharpe ratios --------------------------------------------------------------------------------------------


def test_a_track_measured_from_returns_equals_the_moments_of_pandas() -> None:
    returns = pd.Series(np.random.default_rng(4).standard_t(6, 500) * 0.01 + 0.001)
    track = Track.from_returns(returns)
    assert track.sharpe == pytest.approx(returns.mean() / returns.std())
    n = len(returns)
    biased = returns.skew() * (n - 2) / math.sqrt(n * (n - 1))  # pandas corrects for bias; undo it
    assert track.skewness == pytest.approx(biased)
    assert track.kurtosis == pytest.approx(np.mean(((returns - returns.mean()) / returns.std(ddof=0)) ** 4))


@given(
    sharpe=st.floats(-0.5, 0.5),
    n=st.integers(30, 5000),
    skewness=st.floats(-2, 2),
    tail=st.floats(0, 20),
    b=st.floats(-1, 1),
)
def test_psr_rises_with_the_sharpe_and_minimum_length_is_where_it_reaches_significance(
    sharpe, n, skewness, tail, b
) -> None:
    track = Track(sharpe=sharpe, n_observations=n, skewness=skewness, kurtosis=1.5 + skewness**2 + tail)
    p = psr(track, b)
    assert 0 <= p <= 1
    assert psr(track, b - 0.01) >= p
    bars = min_track_record(track, b, alpha=0.05)
    if sharpe <= b:
        assert bars == math.inf
    elif 2 <= bars < 1e9:
        at = Track(sharpe=sharpe, n_observations=bars, skewness=skewness, kurtosis=track.kurtosis)
        assert psr(at, b) == pytest.approx(0.95)


@given(n=st.floats(1, 1e7), variance=st.floats(0, 1))
def test_expected_maximum_rises_with_trials_and_scales_with_their_spread(n, variance) -> None:
    height = expected_max_sharpe(n, variance)
    assert 0 <= height <= expected_max_sharpe(n * 1.5, variance)
    assert height == pytest.approx(math.sqrt(variance) * expected_max_sharpe(n))
    assert expected_max_sharpe(1, variance) == 0


def test_expected_maximum_agrees_with_simulated_maxima() -> None:
    draws = np.random.default_rng(0).normal(size=(20_000, 100)).max(axis=1)
    assert expected_max_sharpe(100) == pytest.approx(draws.mean(), abs=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Track(sharpe=float("nan"), n_observations=100), "`sharpe` must be a finite number"),
        (lambda: Track(sharpe=0.1, n_observations=1), "n_observations >= 2"),
        (lambda: Track(sharpe=0.1, n_observations=100, kurtosis=0.0), "add 3 to an excess kurtosis"),
        (lambda: Track.from_returns(noise(0, 29)), "At least 30 returns are needed, but there are 29"),
        (lambda: Track.from_returns(noise(0, 100, 2)), r"one series \(n_bars,\), but its shape is \(100, 2\)"),
        (lambda: Track.from_returns(np.r_[np.nan, noise(0, 50)]), r"return 0 is nan.\nA first return is often NaN"),
        (lambda: Track.from_returns(np.full(50, 0.001)), "must vary, but all 50 are 0.001"),
        (lambda: Track.from_returns(np.zeros(50)), "must vary"),
        (lambda: expected_max_sharpe(0), "n_trials >= 1"),
        (lambda: expected_max_sharpe(10, -1.0), "variance >= 0"),
        (lambda: min_track_record(Track(sharpe=0.1, n_observations=100), alpha=0.9), "alpha <= 0.5"),
        (lambda: psr(Track(sharpe=0.1, n_observations=100), math.inf), "`benchmark` must be a finite number"),
        (lambda: psr(Track(sharpe=2.0, n_observations=100, skewness=1.0, kurtosis=2.0)), "no sampling error"),
    ],
)
def test_bad_sharpe_inputs_are_named(call, message) -> None:
    with pytest.raises((InputError, ShapeError), match=message):
        call()


# --- probability of overfitting -------------------------------------------------------------------------------


def slow_pbo(returns: np.ndarray, blocks: int) -> tuple[float, list[float]]:
    """The definition, word for word, on rows and not on moments."""
    n_bars, n_trials = returns.shape
    parts = [range((i * n_bars) // blocks, ((i + 1) * n_bars) // blocks) for i in range(blocks)]
    overfit, logits = [], []
    for half in itertools.combinations(range(blocks), blocks // 2):
        inside = [row for i in half for row in parts[i]]
        outside = [row for i in range(blocks) if i not in half for row in parts[i]]
        scores = []
        for rows in (inside, outside):
            part = pd.DataFrame(returns[rows])
            scores.append((part.mean() / part.std()).where(part.std() > 1e-9, 0.0).round(9))
        best = scores[0] == scores[0].max()
        rank = scores[1].rank()[best]
        omega = rank / (n_trials + 1)
        overfit.append((omega <= 0.5).mean())
        logits.append(np.log(omega / (1 - omega)).mean())
    return float(np.mean(overfit)), logits


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_bars=st.integers(30, 90),
    n_trials=st.integers(2, 9),
    blocks=st.sampled_from([2, 4, 6, 8]),
    copies=st.integers(0, 3),
    idle=st.booleans(),
)
def test_pbo_agrees_with_the_definition_written_slowly(seed, n_bars, n_trials, blocks, copies, idle) -> None:
    returns = noise(seed, n_bars, n_trials)
    if idle:
        returns[: n_bars // 2, 0] = 0.0  # flat in the first half: no Sharpe ratio there
    returns = np.column_stack([returns, *(returns[:, k % n_trials] for k in range(copies))])
    result = pbo(returns, blocks)
    probability, logits = slow_pbo(returns, blocks)
    assert result.probability == pytest.approx(probability, abs=1e-12)
    assert sorted(result.logits) == pytest.approx(sorted(logits), abs=1e-9)
    assert result.n_trials == returns.shape[1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n_bars=st.integers(32, 200), blocks=st.sampled_from([2, 4, 8, 10]))
def test_pbo_from_moments_has_the_same_bits_as_from_returns(seed, n_bars, blocks) -> None:
    returns = noise(seed, n_bars, 12)
    one, other = pbo(returns, blocks), pbo_from_moments(block_moments(returns, blocks))
    assert one.probability == other.probability
    assert one.logits.tobytes() == other.logits.tobytes()
    assert one.scores.tobytes() == other.scores.tobytes()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.25, 2.0, 1024.0]))
def test_order_of_trials_and_leverage_leave_pbo_alone(seed, scale) -> None:
    returns = noise(seed, 64, 7)
    returns = np.column_stack([returns, returns[:, 3]])
    order = np.random.default_rng(seed).permutation(8)
    base = pbo(returns, 8)
    shuffled = pbo(returns[:, order] * scale, 8)
    assert shuffled.probability == base.probability
    assert shuffled.logits == pytest.approx(base.logits, abs=1e-12)


def test_equal_trials_share_ranks_so_that_a_family_of_copies_has_no_winner() -> None:
    returns = np.repeat(noise(1, 60, 1), 5, axis=1)
    result = pbo(returns, 4)
    assert np.all(result.logits == 0.0)
    assert result.probability == 1.0  # exactly in the middle counts as overfit


def test_pbo_of_noise_is_one_half_on_average() -> None:
    values = [pbo(noise(seed, 128, 20), 8).probability for seed in range(200)]
    # sd of a single value is about 0.23, so the mean of 200 has 0.016
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)


def test_pbo_has_power_for_a_planted_edge() -> None:
    values = []
    for seed in range(30):
        returns = noise(seed, 512, 50)
        returns[:, 17] += 0.0025  # a Sharpe ratio of 4 a year among noise
        values.append(pbo(returns, 8).probability)
    assert np.mean(values) < 0.05


def test_ten_thousand_trials_fit_in_little_memory() -> None:
    moments = block_moments(noise(0, 64, 10_000), 8)
    result = pbo_from_moments(moments)
    assert len(result.logits) == 70
    assert result.n_trials == 10_000


def test_kernel_agrees_with_itself_run_as_plain_python() -> None:
    from knowable.kernels import cscv

    moments = block_moments(noise(2, 60, 6), 4)
    counts, sums, squares = (np.ascontiguousarray(moments[:, :, k].T) for k in range(3))
    halves = np.array([[0, 1], [0, 2], [0, 3]])
    fast, slow = np.empty((6, 4)), np.empty((6, 4))
    cscv.cscv_kernel(np.ascontiguousarray(counts[:, 0]), sums, squares, halves, fast)
    python = {name: getattr(cscv, name) for name in ("half_sharpes_kernel", "judge_kernel")}
    try:
        for name, kernel in python.items():
            setattr(cscv, name, getattr(kernel, "py_func", kernel))
        getattr(cscv.cscv_kernel, "py_func", cscv.cscv_kernel)(counts[:, 0], sums, squares, halves, slow)
    finally:
        for name, kernel in python.items():
            setattr(cscv, name, kernel)
    assert fast == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pbo(noise(0, 50, 60)), r"(?s)more trials than bars.*may be transposed.*n_bars=50"),
        (lambda: pbo(noise(0, 60, 50), n_bars=50), r"must have n_bars=50 rows, but its shape is \(60, 50\)"),
        (lambda: pbo(noise(0, 20, 5)), "At least 30 bars of returns are needed, but there are 20"),
        (lambda: pbo(noise(0, 100)), r"\(n_bars, n_trials\), but its shape is \(100,\)"),
        (lambda: pbo(noise(0, 100, 5), blocks=7), "even number from 2 to 20, but blocks=7"),
        (lambda: pbo(noise(0, 100, 5), blocks=22), "even number from 2 to 20"),
        (lambda: pbo(noise(0, 31, 5), blocks=16), "n_bars >= 2 \\* blocks"),
        (lambda: pbo(noise(0, 100, 1)), "At least two trials"),
        (lambda: pbo(np.c_[noise(0, 100, 2), np.zeros(100)]), "1 of 3 do not, the first being trial 2"),
        (lambda: pbo(np.c_[noise(0, 100, 2), np.full(100, 0.001)]), "1 of 3 do not"),
        (lambda: pbo(np.c_[noise(0, 100, 2), np.full(100, np.nan)]), "trial 2 has nan at bar 0"),
        (lambda: pbo_from_moments(np.zeros((3, 16, 2))), r"\(n_trials, n_blocks, 3\)"),
        (lambda: pbo_from_moments(np.full((3, 16, 3), np.inf)), "trial 0, block 0 are not"),
        (
            lambda: pbo_from_moments(np.swapaxes(block_moments(noise(0, 97, 4), 4), 0, 1)),
            "Every trial must cover the same bars",
        ),
        (lambda: pbo(noise(0, 100, 5), constant="ignore"), '"raise" or "drop"'),
    ],
)
def test_bad_returns_are_named(call, message) -> None:
    with pytest.raises((InputError, ShapeError), match=message):
        call()


def test_a_transposed_frame_is_recognised_by_its_time_labels() -> None:
    index = pd.date_range("2020-01-01", periods=100, tz="UTC")
    frame = pd.DataFrame(noise(0, 100, 200), index=index)
    assert pbo(frame, 4).n_trials == 200
    with pytest.raises(ShapeError, match="transposed"):
        pbo(frame.T, 4)


def test_trials_that_never_trade_are_left_out_only_when_asked() -> None:
    returns = np.column_stack([noise(0, 100, 4), np.zeros(100)])
    result = pbo(returns, 4, constant="drop")
    assert result.probability == pbo(returns[:, :4], 4).probability
    assert (result.n_trials, result.n_left_out) == (4, 1)
    assert "1 left out" in repr(result)


# --- what trials leave behind ---------------------------------------------------------------------------------


def test_sharpes_from_moments_equal_those_of_the_returns() -> None:
    returns = np.column_stack([noise(3, 101, 5), np.zeros(101)])
    expected = pd.DataFrame(returns[:, :5]).mean() / pd.DataFrame(returns[:, :5]).std()
    found = sharpes_from_moments(block_moments(returns))
    assert found[:5] == pytest.approx(expected.to_numpy(), rel=1e-12)
    assert np.isnan(found[5])


@pytest.mark.parametrize("clusters", [1, 2, 4, 8])
@pytest.mark.parametrize("common", [0.0, 3.0])
def test_clusters_of_copies_count_once_each_whatever_they_share(clusters, common) -> None:
    rng = np.random.default_rng(clusters)
    base = rng.normal(size=(1000, clusters))[:, np.arange(200) % clusters]
    returns = base + common * rng.normal(size=(1000, 1))
    assert effective_trials(returns) == pytest.approx(clusters, rel=0.05)
    blocks = [
        effective_trials_from_moments(block_moments(rng.normal(size=(320, clusters))[:, np.arange(200) % clusters]))
        for _ in range(40)
    ]
    assert np.median(blocks) == pytest.approx(clusters, rel=0.25)


def test_independent_trials_count_in_full() -> None:
    returns = noise(9, 600, 400)
    assert effective_trials(returns) == pytest.approx(400, rel=0.02)
    assert effective_trials_from_moments(block_moments(returns)) == pytest.approx(400, rel=0.3)
    assert effective_trials(noise(9, 600, 1)) == 1.0


def test_effective_trials_need_eight_blocks() -> None:
    with pytest.raises(InputError, match="n_blocks >= 8"):
        effective_trials_from_moments(block_moments(noise(0, 100, 4), 4))


# --- Monte-Carlo gates ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_psr_p_values_are_uniform_under_the_null(shape) -> None:
    rng = np.random.default_rng(11)
    n = 4000
    draws = rng.normal(size=(n, 500)) if shape == "normal" else rng.gamma(4.0, size=(n, 500)) - 4.0
    p = np.sort([1 - psr(Track.from_returns(row * 0.01)) for row in draws])
    distance = np.abs(p - (np.arange(n) + 0.5) / n).max()
    assert distance < 1.63 / math.sqrt(n)  # Kolmogorov-Smirnov at 1 %


@pytest.mark.slow
def test_deflated_sharpe_of_the_best_of_many_noise_trials_is_seldom_significant() -> None:
    hits = 0
    for seed in range(300):
        returns = noise(seed, 500, 50)
        sharpes = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
        best = Track.from_returns(returns[:, sharpes.argmax()])
        assert psr(best) > 0.8  # undeflated, the winner of noise always looks good
        hits += deflated_sharpe(best, 50, float(sharpes.var(ddof=1))) > 0.95
    assert hits / 300 < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("likeness", [0.5, 0.9, 0.99])
def test_effective_and_full_number_of_trials_bracket_the_maximum_of_a_smooth_family(likeness) -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(60):
        z = rng.normal(size=(400, 150))
        for j in range(1, 150):  # neighbours on a grid of parameters resemble each other
            z[:, j] = likeness * z[:, j - 1] + math.sqrt(1 - likeness**2) * z[:, j]
        sharpes = z.mean(axis=0) / z.std(axis=0, ddof=1)
        variance = float(sharpes.var(ddof=1))
        low = expected_max_sharpe(effective_trials(z), variance)
        found.append((low, sharpes.max() - sharpes.mean(), expected_max_sharpe(150, variance)))
    low, height, high = np.mean(found, axis=0)
    assert low < height < high
