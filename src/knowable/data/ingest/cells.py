"""Cells in: a column as it came becomes numbers, truths or texts, and each cell that is none is pointed at."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.arrays import one_array
from knowable.errors import DataError
from knowable.kernels.ingest import INFINITE, MISSING, values_kernel

__all__ = ["LONGEST_TEXT", "Numbers", "Texts", "parse_bools", "parse_numbers", "parse_texts", "parse_whole"]

Mask = npt.NDArray[np.bool_]
TINIEST = float(np.finfo(np.float64).tiny)
LONGEST_TEXT = 4096  # bytes of UTF-8
LARGEST_WHOLE = 2.0**53  # the last whole number up to which a double holds every one
_TRUTHS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
_USUAL = r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# C0 and C1 controls, and the marks that turn the order of what a person reads
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A parsed column of numbers or truths.

    Attributes:
        cells: (n_rows,) float64, NaN where null or unreadable.
        unreadable: (n_rows,) the cell is no number (or no truth).
        not_finite: (n_rows,) the cell says NaN or infinity.
        not_whole: (n_rows,) the cell is no whole number up to 2**53; None where it need not be.
        found: what there is among the cells, as `values_kernel` tells; what there is not need not be looked for.
    """

    cells: npt.NDArray[np.float64]
    unreadable: Mask
    not_finite: Mask
    not_whole: Mask | None = None
    found: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A parsed column of texts.

    Attributes:
        cells: (n_rows,) Arrow strings as they came.
        too_long: (n_rows,) more than `LONGEST_TEXT` bytes.
        control: (n_rows,) holds control characters or marks that turn the reading order.
    """

    cells: pa.Array
    too_long: Mask
    control: Mask


def parse_numbers(column: pa.ChunkedArray, name: str, where: str) -> Numbers:
    """Numbers of any Arrow type, or text.

    Args:
        column: as it came.
        name: of the column, for messages.
        where: a place for messages.

    Raises: DataError if the type can hold no numbers.
    """
    column = _plain(column)
    kind = column.type
    missing = _nulls(column)
    none = np.zeros(len(column), dtype=bool)
    if _is_text(kind):
        try:
            parsed = column.cast(pa.float64())
        except pa.ArrowInvalid:
            return _coerced(column, missing)
    elif pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        parsed = column.cast(pa.float64(), safe=False)
    elif pa.types.is_boolean(kind):
        parsed = column.cast(pa.int8()).cast(pa.float64())
    else:
        raise DataError(f"`{name}` must hold numbers, but its type is {kind}{where}.")
    values = _doubles(parsed)
    found = int(values_kernel(values, TINIEST))
    odd = ~np.isfinite(values) & ~missing if found & (MISSING | INFINITE) else none
    return Numbers(cells=values, unreadable=none, not_finite=odd, found=found)


def parse_whole(column: pa.ChunkedArray, name: str, where: str) -> Numbers:
    """Whole numbers up to 2**53, so that a double holds each as it came. Arguments and errors as `parse_numbers`."""
    found = parse_numbers(column, name, where)
    sized = np.where(np.isfinite(found.cells), found.cells, 0.0)
    odd = (sized != np.floor(sized)) | (np.abs(sized) > LARGEST_WHOLE)
    for row in np.flatnonzero(np.abs(sized) == LARGEST_WHOLE):  # its neighbour rounds to it; the cell itself decides
        odd[row] |= not _is(column[int(row)].as_py(), int(sized[row]))
    return replace(found, not_whole=odd & ~found.unreadable)


def parse_bools(column: pa.ChunkedArray, name: str, where: str) -> Numbers:
    """Truths as 1.0 and 0.0: of bool type, the numbers 1 and 0, or true/false, yes/no, 1/0 as text of any case.

    Raises: DataError if the type can hold no truths.
    """
    column = _plain(column)
    if _is_text(column.type):
        coded = _coded(column)
        known = [_TRUTHS.get(text.strip().lower(), np.nan) for text in coded.dictionary.to_pylist()]
        codes = pc.fill_null(coded.indices, len(known)).to_numpy(zero_copy_only=False)
        values = np.array([*known, np.nan])[codes]
        none = np.zeros(len(values), dtype=bool)
        return Numbers(cells=values, unreadable=np.isnan(values) & ~_nulls(column), not_finite=none)
    found = parse_numbers(column, name, where)
    odd = np.isfinite(found.cells) & (found.cells != 0) & (found.cells != 1)
    return Numbers(cells=found.cells, unreadable=odd, not_finite=found.not_finite)


def parse_texts(column: pa.ChunkedArray, name: str, where: str) -> Texts:
    """Texts, or whole numbers that serve as names; nothing else is turned into text behind the user's back.

    Raises: DataError if the type is neither.
    """
    column = _plain(column)
    if not (_is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"`{name}` must hold text, but its type is {column.type}{where}. Convert it to text first.")
    coded = _coded(column.cast(pa.string()))
    texts = coded.dictionary.to_pylist()
    long = np.array([len(text) > LONGEST_TEXT or len(text.encode()) > LONGEST_TEXT for text in texts] + [False])
    control = np.array([_CONTROL.search(text) is not None for text in texts] + [False])
    codes = pc.fill_null(coded.indices, len(texts)).to_numpy(zero_copy_only=False)
    return Texts(cells=coded.dictionary.take(coded.indices), too_long=long[codes], control=control[codes])


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _doubles(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """(n_rows,) read-only, NaN where null; without a copy where nothing is."""
    whole = one_array(column)
    whole = pc.fill_null(whole, np.nan) if whole.null_count else whole
    values: npt.NDArray[np.float64] = whole.to_numpy(zero_copy_only=False)
    values.flags.writeable = False
    return values


def _nulls(column: pa.ChunkedArray) -> Mask:
    if not column.null_count:
        return np.zeros(len(column), dtype=bool)
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False)).astype(bool)


def _coded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return one_array(column.cast(pa.string())).dictionary_encode()


def _coerced(column: pa.ChunkedArray, missing: Mask) -> Numbers:
    coerced = pd.to_numeric(column.to_pandas().astype(object), errors="coerce").to_numpy(np.float64, copy=True)
    # pandas may be one unit in the last place off; a good cell is read the same whatever its neighbours are
    usual = pc.fill_null(pc.match_substring_regex(column, _USUAL), False).to_numpy(zero_copy_only=False).astype(bool)
    coerced[usual] = column.filter(pa.array(usual)).cast(pa.float64()).to_numpy()
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    nan = pc.fill_null(pc.is_in(texts, pa.array(["nan", "-nan"])), False).to_numpy(zero_copy_only=False).astype(bool)
    bad = np.isnan(coerced) & ~missing & ~nan
    return Numbers(cells=coerced, unreadable=bad, not_finite=(nan | np.isinf(coerced)) & ~bad)


def _is(cell: object, whole: int) -> bool:
    """Whether a cell says exactly this number."""
    try:
        return Decimal(str(cell).strip()) == whole
    except InvalidOperation:
        return False
