"""Functions of each cell alone: comparison, logic, choice, powers, logarithms.

Operands are (n_bars, n_assets), or (1, 1) for a number. NaN in, NaN out, in comparisons and logic too: what is not
known is neither true nor false. True is 1.0, false 0.0.

Signs and absolute values are numpy's own; sums, products and the like are in `arithmetic`. The rest is here, because
numpy's vector code for them is chosen by processor and by alignment: the last bit of a logarithm, or the sign of
min(0.0, -0.0), could differ between machines, or between a batch and a single row. A NaN that comes out is np.nan's:
the C library gives NaNs of either sign.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "compare_kernel",
    "exp_kernel",
    "isnan_kernel",
    "log1p_kernel",
    "log_kernel",
    "logic_kernel",
    "lower_kernel",
    "power_kernel",
    "where_kernel",
]


@njit(cache=True, nogil=True, error_model="numpy")
def compare_kernel(a, b, less, equal, greater, out):
    """`less`, `equal` or `greater` as a is to b; NaN beside NaN. (1, 0, 0) is a < b, (1, 1, 0) a <= b, and so on."""
    left, right, target = a.reshape(a.size), b.reshape(b.size), out.reshape(out.size)
    if right.size == 1:
        v = right[0]
        for i in range(target.size):
            u = left[i]
            answer = less if u < v else (greater if u > v else equal)
            target[i] = answer if u == u and v == v else np.nan
    else:
        for i in range(target.size):
            u, v = left[i], right[i]
            answer = less if u < v else (greater if u > v else equal)
            target[i] = answer if u == u and v == v else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def logic_kernel(a, b, one, out):
    """Whether both are true (one=0.0) or at least one is (one=1.0); not zero is true; NaN beside NaN."""
    left, right, target = a.reshape(a.size), b.reshape(b.size), out.reshape(out.size)
    step = 0 if right.size == 1 else 1
    for i in range(target.size):
        u, v = left[i], right[i * step]
        answer = (1.0 if v != 0.0 else one) if u != 0.0 else (one if v != 0.0 else 0.0)
        target[i] = answer if u == u and v == v else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def lower_kernel(a, b, sign, out):
    """The lower (sign 1.0) or higher (sign -1.0) of both; NaN beside NaN."""
    left, right, target = a.reshape(a.size), b.reshape(b.size), out.reshape(out.size)
    step = 0 if right.size == 1 else 1
    for i in range(target.size):
        u, v = sign * left[i], sign * right[i * step]
        target[i] = sign * (u if u <= v or u != u else v)


@njit(cache=True, nogil=True, error_model="numpy")
def where_kernel(condition, a, b, out):
    """Take a where the condition is not zero, b where it is zero, NaN where it is NaN."""
    test, target = condition.reshape(condition.size), out.reshape(out.size)
    yes, no = a.reshape(a.size), b.reshape(b.size)
    step_test, step_yes, step_no = min(test.size - 1, 1), min(yes.size - 1, 1), min(no.size - 1, 1)
    for i in range(target.size):
        u, v, w = test[i * step_test], yes[i * step_yes], no[i * step_no]
        target[i] = (v if u != 0.0 else w) if u == u else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def power_kernel(a, b, out):
    """Power, a to the b; NaN in gives NaN, also NaN ** 0 and 1 ** NaN. A square is one product."""
    base, exponent, target = a.reshape(a.size), b.reshape(b.size), out.reshape(out.size)
    step_base, step_exponent = min(base.size - 1, 1), min(exponent.size - 1, 1)
    if exponent.size == 1 and exponent[0] == 2.0:
        for i in range(target.size):
            made = base[i * step_base] * base[i * step_base]
            target[i] = made if made == made else np.nan
    else:
        for i in range(target.size):
            u, v = base[i * step_base], exponent[i * step_exponent]
            made = u * u if v == 2.0 else u**v  # cell by cell too: one cell of a panel looks like a number
            target[i] = made if made == made and u == u and v == v else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def log_kernel(a, out):
    """Natural logarithm; log(0) is -inf, of a negative number NaN."""
    source, target = a.reshape(a.size), out.reshape(out.size)
    for i in range(target.size):
        target[i] = np.log(source[i]) if source[i] >= 0.0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def log1p_kernel(a, out):
    """log(1 + a), accurate near zero."""
    source, target = a.reshape(a.size), out.reshape(out.size)
    for i in range(target.size):
        target[i] = np.log1p(source[i]) if source[i] >= -1.0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def exp_kernel(a, out):
    """Exponential function, e to the power a."""
    source, target = a.reshape(a.size), out.reshape(out.size)
    for i in range(target.size):
        target[i] = np.exp(source[i])


@njit(cache=True, nogil=True, error_model="numpy")
def isnan_kernel(a, out):
    """1.0 where a is NaN, else 0.0; the one function that answers for a NaN."""
    source, target = a.reshape(a.size), out.reshape(out.size)
    for i in range(target.size):
        target[i] = 1.0 if source[i] != source[i] else 0.0
