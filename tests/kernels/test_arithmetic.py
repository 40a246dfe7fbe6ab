"""Arithmetic of cells: numpy's values to the bit, and one NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from knowable.kernels import arithmetic

PAIRS = [
    (arithmetic.add_kernel, np.add),
    (arithmetic.subtract_kernel, np.subtract),
    (arithmetic.multiply_kernel, np.multiply),
    (arithmetic.divide_kernel, np.divide),
]
SINGLE = [(arithmetic.negate_kernel, np.negative), (arithmetic.root_kernel, np.sqrt)]
NAMES = [oracle.__name__ for _, oracle in PAIRS]
ODD_NAN = np.array([0xFFF8000000000000, 0x7FF8000000000001, 0xFFF800000000BEEF], np.uint64).view(np.float64)
values = st.floats(width=64) | st.sampled_from([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, *ODD_NAN.tolist()])


@st.composite
def panels(draw, n=2):
    shape = draw(st.tuples(st.integers(0, 9), st.integers(1, 9)))
    return [draw(arrays(np.float64, shape, elements=values)) for _ in range(n)]


def expected(oracle, *inputs):
    with np.errstate(all="ignore"):
        out = oracle(*inputs)
    return np.where(np.isnan(out), np.nan, out)


@pytest.mark.parametrize(("kernel", "oracle"), PAIRS, ids=NAMES)
@given(inputs=panels(), number=values)
def test_panels_and_numbers_give_the_bits_of_numpy_and_one_nan(kernel, oracle, inputs, number):
    scalar = np.array([[number]])
    for a, b in (inputs, (inputs[0], scalar), (scalar, inputs[1])):
        out = np.empty(inputs[0].shape)
        kernel(a, b, out)
        assert out.tobytes() == expected(oracle, a, b).tobytes()


@pytest.mark.parametrize(("kernel", "oracle"), SINGLE, ids=["negative", "sqrt"])
@given(inputs=panels(1))
def test_negation_and_root_give_the_bits_of_numpy_and_one_nan(kernel, oracle, inputs):
    out = np.empty(inputs[0].shape)
    kernel(inputs[0], out)
    assert out.tobytes() == expected(oracle, inputs[0]).tobytes()


@pytest.mark.parametrize(("kernel", "oracle"), PAIRS, ids=NAMES)
def test_two_nans_of_different_bits_give_the_same_wherever_they_stand(kernel, oracle):
    """Numpy keeps the first or the second, by the place in its vector registers."""
    for n in range(1, 70):
        out = np.empty((1, n))
        kernel(np.full((1, n), ODD_NAN[0]), np.full((1, n), ODD_NAN[1]), out)
        assert out.tobytes() == np.full(n, np.nan).tobytes()
