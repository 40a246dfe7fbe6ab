"""The first suggestions: scrambled Sobol points, spread evenly over the cube before any result is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from knowable.search.history import History
from knowable.search.space import Floats

__all__ = ["SobolSequence", "first_points", "n_first"]

BITS = 30

# Primitive polynomials (all coefficients as bits) and initial direction numbers of the first 40 dimensions.
# Source: Joe and Kuo, Constructing Sobol sequences with better two-dimensional projections (2008), new-joe-kuo-6.
DIRECTIONS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (1, (1,)), (3, (1,)), (7, (1, 3)), (11, (1, 3, 1)), (13, (1, 1, 1)), (19, (1, 1, 3, 3)), (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)), (41, (1, 1, 5, 5, 5)), (47, (1, 1, 7, 11, 19)), (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)), (61, (1, 3, 5, 5, 31)), (67, (1, 3, 3, 9, 7, 49)), (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)), (103, (1, 1, 1, 15, 7, 5)), (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)), (131, (1, 3, 7, 11, 23, 15, 103)), (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)), (145, (1, 3, 5, 9, 1, 25, 53)), (157, (1, 3, 1, 13, 9, 35, 107)),
    (167, (1, 3, 1, 5, 27, 61, 31)), (171, (1, 1, 5, 11, 19, 41, 61)), (185, (1, 3, 5, 3, 3, 13, 69)),
    (191, (1, 1, 7, 13, 1, 19, 1)), (193, (1, 3, 7, 5, 13, 19, 59)), (203, (1, 1, 3, 9, 25, 29, 41)),
    (211, (1, 3, 5, 13, 23, 1, 55)), (213, (1, 3, 7, 3, 13, 59, 17)), (229, (1, 3, 1, 3, 5, 53, 69)),
    (239, (1, 1, 5, 5, 23, 33, 13)), (241, (1, 1, 7, 7, 1, 61, 123)), (247, (1, 1, 7, 9, 13, 61, 49)),
    (253, (1, 3, 3, 5, 3, 55, 33)), (285, (1, 3, 1, 15, 31, 13, 49, 245)), (299, (1, 3, 5, 15, 31, 59, 63, 97)),
    (301, (1, 3, 1, 11, 11, 11, 77, 249)),
)  # fmt: skip


class SobolSequence:
    """A Sobol sequence under a random linear scramble and a digital shift; any point of it can be asked for.

    `scipy.stats.qmc` has the same, but importing it costs a second, and it must be walked from the start.

    Args:
        n_dims: beyond 40, further dimensions are plain uniform draws.
        rng: of the scramble; None: the bare sequence.
    """

    __slots__ = ("_columns", "_n_dims", "_shift", "_tail_seed")

    def __init__(self, n_dims: int, rng: np.random.Generator | None = None) -> None:
        self._n_dims = n_dims
        n_sobol = min(n_dims, len(DIRECTIONS))
        self._columns = np.stack([_columns(*DIRECTIONS[k]) for k in range(n_sobol)])
        self._shift = np.zeros(n_sobol, np.int64)
        self._tail_seed = 0
        if rng is not None:
            self._columns = np.stack([_scrambled(column, rng) for column in self._columns])
            self._shift = rng.integers(0, 1 << BITS, n_sobol)
            self._tail_seed = int(rng.integers(0, 1 << BITS))

    def point(self, index: int) -> Floats:
        """(n_dims,) point `index` (>= 0) of the sequence, in [0, 1)."""
        gray, bits = index ^ (index >> 1), self._shift.copy()
        for bit in range(gray.bit_length()):
            if gray >> bit & 1:
                bits ^= self._columns[:, bit % BITS]
        point = np.empty(self._n_dims)
        point[: len(bits)] = bits / (1 << BITS)
        if self._n_dims > len(bits):
            tail = np.random.default_rng((self._tail_seed, index, 1))
            point[len(bits) :] = tail.random(self._n_dims - len(bits))
        return point


def n_first(n_dims: int) -> int:
    """How many suggestions (the default included) are spread out before a model is asked."""
    return max(8, n_dims + 2)


def first_points(history: History, number: int) -> Floats:
    """Point of the scrambled Sobol sequence for suggestion `number` (>= 1)."""
    sequence = history.memo.get("sobol")
    if sequence is None:
        rng = np.random.default_rng((history.seed, 0, 2))
        sequence = history.memo["sobol"] = SobolSequence(history.space.n_dims, rng)
    point: Floats = sequence.point(number - 1)
    return point


def _columns(polynomial: int, initial: tuple[int, ...]) -> NDArray[np.int64]:
    """(BITS,) direction numbers, the binary point before bit BITS - 1."""
    degree = polynomial.bit_length() - 1
    if degree == 0:
        return np.array([1 << (BITS - 1 - k) for k in range(BITS)])
    numbers = list(initial)
    for k in range(degree, BITS):
        new = numbers[k - degree] ^ (numbers[k - degree] << degree)
        for j in range(1, degree):
            if polynomial >> (degree - j) & 1:
                new ^= numbers[k - j] << j
        numbers.append(new)
    return np.array([number << (BITS - 1 - k) for k, number in enumerate(numbers)])


def _scrambled(columns: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Multiply each column by a random lower-triangular binary matrix with a unit diagonal (Matoušek 1998)."""
    rows = rng.integers(0, 1 << BITS, BITS)
    mixed = np.zeros(BITS, np.int64)
    for bit in range(BITS):  # bit 0: the most significant digit
        mask = ((int(rows[bit]) << (BITS - bit)) & ((1 << BITS) - 1)) | (1 << (BITS - 1 - bit))
        parity = np.array([(int(column) & mask).bit_count() & 1 for column in columns])
        mixed |= parity << (BITS - 1 - bit)
    return mixed
