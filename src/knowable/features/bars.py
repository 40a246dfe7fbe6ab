"""Bars as a stepper takes them: rows of numbers in the order of its assets, checked and never repaired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market import UNIVERSE
from knowable.errors import DataError, InputError, ShapeError, shown, unknown_name

__all__ = ["panel_of", "rows_of"]

_Rows = npt.NDArray[np.float64]


def rows_of(name: str, bar: Mapping[str, Any], assets: tuple[str, ...]) -> _Rows:
    """(1, n_assets) a field of one bar, read-only.

    Raises: UnknownNameError, ShapeError, DataError, InputError.
    """
    given = _given(name, bar)
    rows = _numbers(name, given, assets)
    if rows.shape not in ((len(assets),), (1, len(assets))) and not (rows.ndim == 0 and len(assets) == 1):
        raise ShapeError(
            f"Field {name!r} has shape {np.shape(given)}; the stepper needs {len(assets)} assets a bar, for 1 bar."
        )
    return _checked(name, rows.reshape(1, len(assets)), assets)


def panel_of(name: str, panels: Mapping[str, Any], assets: tuple[str, ...]) -> _Rows:
    """(n_bars, n_assets) a field of many bars, read-only.

    Raises: UnknownNameError, ShapeError, DataError, InputError.
    """
    given = _given(name, panels)
    rows = _numbers(name, given, assets)
    if rows.ndim == 1 and len(assets) == 1:
        rows = rows.reshape(-1, 1)
    if rows.ndim != 2 or rows.shape[1] != len(assets):
        raise ShapeError(
            f"Field {name!r} has shape {np.shape(given)}; the stepper needs (n_bars, n_assets), with {len(assets)} "
            "assets a bar."
        )
    return _checked(name, rows, assets)


def _given(name: str, bar: Mapping[str, Any]) -> Any:
    if not isinstance(bar, Mapping):
        raise InputError(
            f"A bar, or a history, is a dict of fields, {{{name!r}: ...}}, but a {type(bar).__name__} came: "
            f"{shown(bar)}."
        )
    if name not in bar:
        raise unknown_name("field", name, bar, where="the bar")
    return bar[name]


def _numbers(name: str, given: Any, assets: tuple[str, ...]) -> _Rows:
    labels = None
    if isinstance(given, pd.DataFrame):
        labels = given.columns
    elif isinstance(given, pd.Series) and len(given) == len(assets) > 1:
        labels = given.index
    if labels is not None and not isinstance(labels, pd.RangeIndex) and list(labels) != list(assets):
        raise ShapeError(
            f"Field {name!r} is labelled {shown(list(labels))}, but the stepper's assets are {shown(list(assets))}: "
            "put it into that order, row.reindex(stepper.assets)."
        )
    if isinstance(given, np.ma.MaskedArray):
        raise InputError(f"Field {name!r} is a masked array; what is missing must be NaN: array.filled(np.nan).")
    try:
        if np.iscomplexobj(given):
            raise TypeError("complex numbers are none of the real ones")  # noqa: TRY301 - numpy would only warn
        return np.ascontiguousarray(given, dtype=np.float64).reshape(np.shape(given))
    except (TypeError, ValueError) as error:
        raise InputError(f"Field {name!r} must hold a number for each asset, not {shown(given)}: {error}.") from None


def _checked(name: str, rows: _Rows, assets: tuple[str, ...]) -> _Rows:
    if name == UNIVERSE:
        bad = ~((rows == 0.0) | (rows == 1.0))
        if bad.any():
            row, column = (int(k) for k in np.argwhere(bad)[0])
            raise DataError(
                f"`universe` of {assets[column]!r} must be 1 (a member on that bar) or 0, but it is "
                f"{rows[row, column]:g} in row {row} of what came."
            )
    rows = rows.view()
    rows.flags.writeable = False
    return rows
