"""The conformity kit on every sampler, and one written by a stranger."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import norm

from knowable.errors import InputError
from knowable.params import Float, Int
from knowable.search import GaussianProcess, Grid, Optimizer, Parzen, Proposal, Random, Sampler, Space
from knowable.search.parzen import _log_density
from knowable.testing.problems import HARTMANN6, MIXED, Problem
from knowable.testing.sampler_kit import SamplerKit


class TestAuto(SamplerKit):
    def sampler(self):
        return "auto"


class TestGaussianProcess(SamplerKit):
    def sampler(self):
        return GaussianProcess()


class TestGaussianProcessOnASubset(SamplerKit):
    def sampler(self):
        return GaussianProcess(most=12)


class TestParzen(SamplerKit):
    def sampler(self):
        return Parzen()


class TestRandom(SamplerKit):
    def sampler(self):
        return Random()


class TestGrid(SamplerKit):
    def sampler(self):
        return Grid()


class Stubborn(Sampler):
    """A stranger's sampler that always wants the same corner."""

    def propose(self, history, number, rng):
        return Proposal(unit=np.ones(history.space.n_dims), source="stubborn")


class TestStubborn(SamplerKit):
    def sampler(self):
        return Stubborn()

    def test_another_seed_gives_other_trials(self):
        """The corner is the same; only what stands in for its repetitions differs."""


def best_of(problem: Problem, sampler: str, seed: int, n_trials: int) -> float:
    optimizer = Optimizer(Space(problem.params), seed=seed, sampler=sampler)
    for _ in range(0, n_trials, 8):
        for trial in optimizer.ask(8):
            optimizer.tell(trial, problem.value(trial.params))
    return optimizer.best.value


@pytest.mark.parametrize("sampler", ["gp", "parzen"])
@pytest.mark.parametrize("problem", [HARTMANN6, MIXED], ids=lambda p: p.name)
def test_learning_beats_the_median_of_random_search_by_half_the_way_to_the_optimum(problem, sampler):
    random = np.median([best_of(problem, "random", seed, 80) for seed in range(15)])
    learned = np.median([best_of(problem, sampler, seed, 80) for seed in range(3)])
    assert learned < (random + problem.optimum) / 2


def test_maximizing_is_minimizing_the_negative():
    down = Optimizer(Space(HARTMANN6.params), seed=4)
    up = Optimizer(Space(HARTMANN6.params), seed=4, direction="maximize")
    for _ in range(4):
        for a, b in zip(down.ask(8), up.ask(8), strict=True):
            assert a.params == b.params
            down.tell(a, HARTMANN6.value(a.params))
            up.tell(b, -HARTMANN6.value(b.params))
    assert up.best.number == down.best.number
    assert up.best.value == -down.best.value


def test_a_grid_of_any_prefix_covers_both_ends_of_each_axis():
    optimizer = Optimizer(Space({"x": Float(0, 1, default=0.37), "n": Int(0, 99)}), sampler="grid")
    trials = optimizer.ask(60)[1:]
    for name, low, high in (("x", 0, 1), ("n", 0, 99)):
        values = [trial.params[name] for trial in trials]
        assert min(values) <= low + 0.1 * (high - low)
        assert max(values) >= high - 0.1 * (high - low)


def test_a_grid_refines_a_continuous_axis_once_its_levels_are_spent():
    optimizer = Optimizer(Space({"x": Float(0, 1, default=0.5)}), sampler=Grid(levels=3))
    values = [trial.params["x"] for trial in optimizer.ask(9)]
    assert sorted(values[:3]) == [0, 0.5, 1]
    assert sorted(values[:5]) == [0, 0.25, 0.5, 0.75, 1]
    assert sorted(values) == [k / 8 for k in range(9)]


def test_a_grid_of_a_trillion_points_costs_no_memory():
    space = Space({name: Int(1, 10_000) for name in "abc"})
    assert space.n_values == 10**12
    assert len(Optimizer(space, sampler="grid").ask(50)) == 50


@pytest.mark.parametrize("levels", [1, 2.5, True, "3"])
def test_a_grid_refuses_levels_that_are_no_whole_number_from_two(levels):
    with pytest.raises(InputError, match="levels >= 2"):
        Grid(levels=levels)


@pytest.mark.parametrize(
    "wrong", [{"hedge": -0.1}, {"explore": 0.9}, {"hedge": float("nan")}, {"most": 3}, {"most": 9.5}]
)
def test_shares_and_sizes_of_the_process_are_checked(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        GaussianProcess(**wrong)


@pytest.mark.parametrize("unit", [np.array([np.nan]), np.zeros(3), [0.5], None])
def test_a_proposal_that_is_no_point_of_the_space_is_refused_by_the_name_of_its_sampler(unit):
    class Broken(Sampler):
        def propose(self, history, number, rng):
            return Proposal(unit=unit, source="broken")

    optimizer = Optimizer(Space({"x": Float(0, 1)}), sampler=Broken())
    optimizer.ask()
    with pytest.raises(InputError, match="Broken"):
        optimizer.ask()


def test_failures_steer_the_search_away_from_where_they_happen():
    space = Space({"x": Float(0, 1, default=0.1), "y": Float(0, 1, default=0.1)})
    optimizer = Optimizer(space, seed=1, sampler=GaussianProcess(hedge=0.0))
    late_failures = 0
    for group in range(10):
        for trial in optimizer.ask(8):
            x, y = trial.params["x"], trial.params["y"]
            failed = x > 0.55  # the slope leads into the failing half
            late_failures += failed and group >= 5
            optimizer.tell(trial, None if failed else -x + (y - 0.4) ** 2)
    assert optimizer.best.value < -0.5
    assert late_failures <= 20


def test_parzen_densities_agree_with_the_mixture_written_out():
    rng = np.random.default_rng(0)
    at, centres = rng.random((6, 3)), rng.random((5, 3))
    at[:, 2], centres[:, 2] = (rng.integers(0, 3, 6) + 0.5) / 3, (rng.integers(0, 3, 5) + 0.5) / 3
    widths, stay = np.array([0.1, 0.2, 1.0]), 1 - 1 / (1 + 5**0.5)
    got = _log_density(at, centres, widths, np.array([False, False, True]), np.array([np.inf, np.inf, 3.0]))
    for point, density in zip(at, np.exp(got), strict=True):
        total = 1.0  # the uniform component
        for centre in centres:
            kernel = 3 * (stay * (point[2] == centre[2]) + (1 - stay) / 3)
            for k in range(2):
                inside = norm.cdf(1, centre[k], widths[k]) - norm.cdf(0, centre[k], widths[k])
                kernel *= norm.pdf(point[k], centre[k], widths[k]) / inside
            total += kernel
        assert density == pytest.approx(total / 6)


SCRIPT = """
from knowable.search import Optimizer, Space
from knowable.testing.problems import MIXED
optimizer = Optimizer(Space(MIXED.params), seed=3)
for _ in range(18):
    for trial in optimizer.ask(8):
        optimizer.tell(trial, MIXED.value(trial.params) if trial.number % 9 else None)
print(optimizer.rows())
"""


@pytest.mark.slow
def test_the_number_of_threads_does_not_change_a_bit_of_any_trial():
    outputs = set()
    for threads in ("1", "4"):
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={**os.environ, **limits}, capture_output=True, text=True, check=True
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
