"""Cell-wise kernels: what NaN does, numbers beside panels, and the same bits in any batch."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import element

NAN = np.nan
values = st.one_of(st.floats(-1e3, 1e3), st.sampled_from([NAN, np.inf, -np.inf, 0.0, -0.0, 1.0]))
panels = arrays(np.float64, (7, 3), elements=values, fill=values)

COMPARISONS = {
    "<": ((1.0, 0.0, 0.0), lambda a, b: a < b),
    "<=": ((1.0, 1.0, 0.0), lambda a, b: a <= b),
    ">": ((0.0, 0.0, 1.0), lambda a, b: a > b),
    ">=": ((0.0, 1.0, 1.0), lambda a, b: a >= b),
    "==": ((0.0, 1.0, 0.0), lambda a, b: a == b),
    "!=": ((1.0, 0.0, 1.0), lambda a, b: a != b),
}


def locked(x):
    x = np.array(x, dtype=float, ndmin=2)
    x.flags.writeable = False
    return x


def run(kernel, *inputs, settings=()):
    inputs = [locked(each) for each in inputs]
    out = np.empty(max((each.shape for each in inputs), key=math.prod))
    with np.errstate(all="ignore"):  # as the drivers do; compiled code does not warn anyway
        kernel(*inputs, *settings, out)
    return out


def expected_cells(function, *inputs):
    inputs = np.broadcast_arrays(*[locked(each) for each in inputs])
    out = np.empty(inputs[0].shape)
    for place in np.ndindex(out.shape):
        cell = [float(each[place]) for each in inputs]
        out[place] = NAN if any(map(math.isnan, cell)) else float(function(*cell))
    return out


@pytest.mark.parametrize("sign", COMPARISONS)
@given(a=panels, b=panels, c=values)
def test_comparison_is_nan_beside_nan_and_python_elsewhere(sign, a, b, c):
    settings, python = COMPARISONS[sign]
    for right in (b, c):
        got = run(element.compare_kernel, a, right, settings=settings)
        np.testing.assert_array_equal(got, expected_cells(python, a, right))


@given(a=panels, b=panels, c=values)
def test_logic_is_nan_beside_nan_and_python_elsewhere(a, b, c):
    for right in (b, c):
        both = run(element.logic_kernel, a, right, settings=(0.0,))
        either = run(element.logic_kernel, a, right, settings=(1.0,))
        np.testing.assert_array_equal(both, expected_cells(lambda u, v: u != 0 and v != 0, a, right))
        np.testing.assert_array_equal(either, expected_cells(lambda u, v: u != 0 or v != 0, a, right))


@given(a=panels, b=panels, c=values)
def test_lower_and_higher_are_nan_beside_nan(a, b, c):
    for right in (b, c):
        np.testing.assert_array_equal(run(element.lower_kernel, a, right, settings=(1.0,)), np.minimum(a, right))
        np.testing.assert_array_equal(run(element.lower_kernel, a, right, settings=(-1.0,)), np.maximum(a, right))


@given(condition=panels, a=panels, b=panels, c=values, d=values)
def test_where_chooses_and_an_unknown_condition_is_unknown(condition, a, b, c, d):
    for yes, no in ((a, b), (a, c), (c, b), (c, d)):
        expected = np.where(np.isnan(condition), NAN, np.where(condition != 0, yes, no))
        np.testing.assert_array_equal(run(element.where_kernel, condition, yes, no), expected)
    for test in (0.0, 1.0, NAN):
        expected = np.full(a.shape, NAN) if math.isnan(test) else (a if test else b)
        np.testing.assert_array_equal(run(element.where_kernel, test, a, b), expected)


def test_power_hand_table():
    base = [2.0, -2.0, NAN, 1.0, 0.0, 4.0, -1.0]
    np.testing.assert_array_equal(run(element.power_kernel, base, 2.0), [[4, 4, NAN, 1, 0, 16, 1]])
    np.testing.assert_array_equal(run(element.power_kernel, base, 0.0), [[1, 1, NAN, 1, 1, 1, 1]])
    np.testing.assert_array_equal(run(element.power_kernel, base, -1.0), [[0.5, -0.5, NAN, 1, np.inf, 0.25, -1]])
    np.testing.assert_array_equal(run(element.power_kernel, 2.0, base), [[4, 0.25, NAN, 2, 1, 16, 0.5]])
    np.testing.assert_array_equal(run(element.power_kernel, 1.0, [NAN, 3.0]), [[NAN, 1]])
    np.testing.assert_array_equal(run(element.power_kernel, [-8.0, 9.0], [1 / 3, 0.5]), [[NAN, 3]])


def test_logarithms_and_exponentials_hand_table():
    np.testing.assert_allclose(run(element.log_kernel, [1.0, math.e, 0.0, -1.0, NAN]), [[0, 1, -np.inf, NAN, NAN]])
    np.testing.assert_allclose(run(element.log1p_kernel, [0.0, 1e-20, -1.0, NAN]), [[0, 1e-20, -np.inf, NAN]])
    np.testing.assert_allclose(run(element.exp_kernel, [0.0, 1.0, -np.inf, 1e4, NAN]), [[1, math.e, 0, np.inf, NAN]])
    np.testing.assert_array_equal(run(element.isnan_kernel, [NAN, 0.0, np.inf]), [[1, 0, 0]])


@pytest.mark.parametrize("name", ["log", "log1p", "exp"])
def test_a_cell_has_the_same_bits_alone_and_in_a_batch(name):
    x = np.random.default_rng(1).random((257, 3)) * 3
    kernel = getattr(element, f"{name}_kernel")
    alone = b"".join(run(kernel, value).tobytes() for value in x.reshape(-1))
    assert run(kernel, x).tobytes() == alone
    np.testing.assert_allclose(run(kernel, x), getattr(np, name)(x), rtol=1e-15, atol=1e-15)


def test_a_square_has_the_same_bits_in_a_panel_and_in_a_row_of_one_asset():
    """A stepper with one asset hands in a single exponent, which must not be taken for a number's quicker way."""
    x = np.exp(np.random.default_rng(0).normal(scale=3.0, size=(20_000, 1)))
    two, whole, row = np.full(x.shape, 2.0), np.empty(x.shape), np.empty((1, 1))
    element.power_kernel(x, two, whole)
    np.testing.assert_array_equal(whole, x * x)
    for t in range(2_000):
        element.power_kernel(x[t : t + 1], two[t : t + 1], row)
        assert row[0, 0] == whole[t, 0]
