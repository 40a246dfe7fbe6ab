"""Functions of a bar's assets the slow way: each row by itself, by counting and in exact fractions.

A row is the list of those that take part, so none of these knows about NaN; `_each_row` leaves it out and puts it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from knowable.testing import rolling_oracle as slow
from knowable.testing.exact import Panel, root_of, to_float, total_of

__all__ = ["CROSS", "GROUPED"]

_Row = list[float]
_OWN = Fraction(1, 10**10)  # what keeps less of its spread is taken for a combination of the others


def _pct_rank(x: Panel, descending: bool = False) -> Panel:
    count: Panel = (x == x).sum(axis=1, keepdims=True)
    return slow.rank(x, descending) / count


def _quantile(x: Panel, n: int) -> Panel:
    """Each value's middle place among the row's, from 0 to n; on a cut, of both buckets the nearer to the middle."""

    def bucket(row: _Row) -> _Row:
        made = []
        for value in row:
            below, same = sum(other < value for other in row), row.count(value)
            place = Fraction(n) * (below + Fraction(same, 2)) / len(row)
            around = {math.floor(place) + 1, math.ceil(place)}
            made.append(float(min(around, key=lambda k: (abs(2 * k - n - 1), -k))))
        return made

    return _each_row(x, bucket)


def _top(x: Panel, n: int) -> Panel:
    return _each_row(x, lambda row: [float(sum(other > value for other in row) < n) for value in row])


def _bottom(x: Panel, n: int) -> Panel:
    return _each_row(x, lambda row: [float(sum(other < value for other in row) < n) for value in row])


def _scale(x: Panel, total: float = 1.0) -> Panel:
    def scaled(row: _Row) -> _Row:
        size = total_of(abs(value) for value in row)
        return [to_float(Fraction(value) * Fraction(total) / size) if size else math.nan for value in row]

    return _each_row(x, scaled)


def _winsorize(x: Panel, share: float = 0.05) -> Panel:
    def pulled(row: _Row) -> _Row:
        low, high = (_interpolated(row, part) for part in (Fraction(share), 1 - Fraction(share)))
        return [float(max(min(Fraction(value), high), low)) for value in row]

    return _each_row(x, pulled)


def _interpolated(row: _Row, part: Fraction) -> Fraction:
    """Hyndman and Fan's seventh definition of a sample quantile."""
    ordered = [Fraction(value) for value in sorted(row)]
    place = part * (len(row) - 1)
    i = min(math.floor(place), len(row) - 1)
    return ordered[i] + (place - i) * (ordered[min(i + 1, len(row) - 1)] - ordered[i])


def _neutralize(x: Panel, *by: Panel) -> Panel:
    """Residuals by exact Gram-Schmidt; what is nothing but rounding counts as nothing, as documented."""
    out = np.full(x.shape, np.nan)
    taking = np.logical_and.reduce([np.isfinite(each) for each in (x, *by)])
    for t, part in enumerate(taking):
        n = int(part.sum())
        basis: list[list[Fraction]] = []
        for each in by:
            column = [Fraction(value) for value in each[t, part].tolist()]
            centered = _less_mean(column)
            own = _less_projections(centered, basis)
            enough = n > len(basis) + 1 and _varies(column, centered)
            if enough and _dot(own, own) > _OWN**2 * _dot(centered, centered):
                basis.append(own)
        if n > len(basis) + 1:
            column = [Fraction(value) for value in x[t, part].tolist()]
            centered = _less_mean(column)
            left = _less_projections(centered, basis)
            size = root_of(_dot(centered, centered)) + max(abs(float(value)) for value in column)
            explained = not _varies(column, centered) or not _dot(left, left) > _OWN**2 * _dot(centered, centered)
            out[t, part] = [0.0 if explained or abs(each) <= 1e-14 * size else to_float(each) for each in left]
    return out


def _varies(column: list[Fraction], centered: list[Fraction]) -> bool:
    """Whether its spread is more than the rounding of its values."""
    return _dot(centered, centered) > _OWN**2 * len(column) * max(abs(value) for value in column) ** 2


def _less_mean(column: list[Fraction]) -> list[Fraction]:
    return [value - total_of(column) / len(column) for value in column]


def _less_projections(column: list[Fraction], basis: list[list[Fraction]]) -> list[Fraction]:
    for each in basis:
        part = _dot(column, each) / _dot(each, each)
        column = [value - part * other for value, other in zip(column, each, strict=True)]
    return column


def _dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
    return total_of(u * v for u, v in zip(a, b, strict=True))


def _cross_mean(x: Panel) -> Panel:
    return _everywhere(x, lambda row: to_float(total_of(row) / len(row)) if row else math.nan)


def _cross_count(x: Panel) -> Panel:
    return _everywhere(x, lambda row: float(len(row)))


def _each_row(x: Panel, function: Callable[[_Row], _Row]) -> Panel:
    out = np.full(x.shape, np.nan)
    for t, row in enumerate(x):
        known = row == row
        if known.any():
            out[t, known] = function(row[known].tolist())
    return out


def _everywhere(x: Panel, function: Callable[[_Row], float]) -> Panel:
    out = np.empty(x.shape)
    for t, row in enumerate(x):
        out[t] = function(row[row == row].tolist())
    return out


def _grouped(function: Callable[..., Panel]) -> Callable[..., Panel]:
    """A function of a whole row, done for each group of it as if there were no others."""

    def by_group(x: Panel, groups: Panel, *settings: object) -> Panel:
        out = np.full(x.shape, np.nan)
        for t, codes in enumerate(groups):
            for code in set(codes[codes == codes].tolist()):
                here = codes == code
                out[t, here] = function(x[[t]][:, here], *settings)[0]
        return out

    return by_group


CROSS: dict[str, Callable[..., Panel]] = {
    "rank": slow.rank,
    "pct_rank": _pct_rank,
    "quantile": _quantile,
    "top": _top,
    "bottom": _bottom,
    "zscore": slow.zscore,
    "demean": slow.demean,
    "scale": _scale,
    "winsorize": _winsorize,
    "neutralize": _neutralize,
    "cross_sum": slow.cross_sum,
    "cross_mean": _cross_mean,
    "cross_count": _cross_count,
}
GROUPED: dict[str, Callable[..., Panel]] = {
    "group_rank": _grouped(slow.rank),
    "group_zscore": _grouped(slow.zscore),
    "group_neutralize": _grouped(slow.demean),
    "group_sum": _grouped(slow.cross_sum),
    "group_mean": _grouped(_cross_mean),
    "group_count": _grouped(_cross_count),
}
