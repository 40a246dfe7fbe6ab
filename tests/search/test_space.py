"""The space and the first design."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from knowable.errors import InputError, ParameterError, UnknownNameError
from knowable.params import Choice, Float, Int
from knowable.search import Optimizer, Space
from knowable.search.design import DIRECTIONS, SobolSequence, n_first

SPACE = Space(
    {
        "x": Float(-3, 5),
        "rate": Float(1e-5, 10, log=True),
        "n": Int(1, 500, log=True),
        "even": Int(2, 20, step=2),
        "step": Float(0.1, 1.0, step=0.3),
        "logstep": Float(0.1, 1.0, step=0.1, log=True),
        "kind": Choice(["a", 1, 1.0, True, None]),
    }
)


@given(st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_snapping_lands_on_points_that_stand_for_parameter_sets(unit):
    snapped = SPACE.snap(np.array([unit]))[0]
    params = SPACE.from_unit(snapped)
    again = SPACE.to_unit(params)
    np.testing.assert_allclose(again, snapped, atol=1e-12)
    back = SPACE.from_unit(again)
    for name, value in params.items():
        if name in ("x", "rate"):  # continuous: there and back costs the last bit of a logarithm
            assert math.isclose(back[name], value, rel_tol=1e-13, abs_tol=1e-13)
        else:
            assert repr(back[name]) == repr(value)
    assert repr(SPACE.check(params)) == repr(params)


def test_snapping_reaches_every_value():
    units = np.linspace(0, 1, 20_001)[:, None] * np.ones(7)
    snapped = SPACE.snap(units)
    for k, param in enumerate(SPACE.params.values()):
        if math.isfinite(param.n_values):
            assert len(np.unique(snapped[:, k])) == param.n_values


def test_a_space_counts_its_parameter_sets_and_walks_each_once():
    space = Space({"n": Int(1, 4), "kind": Choice(["a", "b", "c"]), "step": Float(0, 1, step=0.5)})
    assert space.n_values == 36
    points = {repr(space.from_unit(unit)) for unit in space.points_from(17)}
    assert len(points) == 36
    assert SPACE.n_values == math.inf


@pytest.mark.parametrize("params", [{}, None, [Float(0, 1)], {"x": 3}, {3: Float(0, 1)}])
def test_a_space_of_anything_but_named_parameters_is_refused(params):
    with pytest.raises(InputError, match="params"):
        Space(params)


def test_checking_names_the_parameter_that_is_wrong_missing_or_unknown():
    space = Space({"window": Int(2, 9)})
    with pytest.raises(ParameterError, match="window"):
        space.check({"window": 10})
    with pytest.raises(UnknownNameError, match="Did you mean 'window'"):
        space.check({"windw": 3})
    with pytest.raises(InputError, match="missing"):
        space.check({})


@pytest.mark.parametrize("n_dims", [1, 2, 7, 40])
def test_bare_sobol_points_agree_with_scipy(n_dims):
    ours = np.array([SobolSequence(n_dims).point(k) for k in range(128)])
    theirs = qmc.Sobol(n_dims, scramble=False, bits=30).random(128)
    np.testing.assert_array_equal(ours, theirs)


def test_scrambled_sobol_points_keep_one_point_in_each_cell():
    sequence = SobolSequence(5, np.random.default_rng(1))
    points = np.array([sequence.point(k) for k in range(64)])
    for column in points.T:
        assert sorted((column * 64).astype(int)) == list(range(64))
    cells = {(int(8 * a), int(8 * b)) for a, b in points[:, :2]}
    assert len(cells) == 64


def test_dimensions_beyond_the_table_are_filled_and_reproducible():
    first, second = (SobolSequence(len(DIRECTIONS) + 3, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first.point(5), second.point(5))
    assert not np.array_equal(first.point(5)[-3:], first.point(6)[-3:])


def test_the_default_then_sobol_points_until_a_model_has_enough():
    optimizer = Optimizer(Space({f"x{k}": Float(0, 1) for k in range(8)}), seed=2)
    assert n_first(8) == 10
    assert n_first(2) == 8
    for _ in range(12):
        trial = optimizer.ask()[0]
        optimizer.tell(trial, trial.params["x0"])
    sources = [trial.source for trial in optimizer.trials]
    assert sources[:10] == ["default"] + ["sobol"] * 9
    assert "sobol" not in sources[10:]


def test_more_workers_than_first_points_get_sobol_points_too():
    optimizer = Optimizer(Space({"x": Float(0, 1), "y": Float(0, 1)}), seed=2)
    assert {trial.source for trial in optimizer.ask(100)[1:]} == {"sobol"}
