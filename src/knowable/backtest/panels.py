"""From what a strategy returns, in whatever form, to a panel of numbers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.polars_frames import from_polars, is_polars
from knowable.data.market import Market
from knowable.errors import ShapeError, StrategyError, shown
from knowable.features import Feature
from knowable.features.models.label import Label
from knowable.strategy import Strategy

__all__ = ["as_panel", "float_panel", "frame_panel"]

Panel: TypeAlias = npt.NDArray[np.float64]

_NO_NUMBERS = (str, bytes, np.datetime64, np.timedelta64)  # which a conversion would read as numbers


def as_panel(
    value: Any, where: str, strategy: Strategy, market: Market, *, keep_bool: bool = False
) -> npt.NDArray[Any]:
    """A feature, DataFrame, polars DataFrame or array as (n_bars, n_assets) float64, in C order, read-only.

    Args:
        value: what came.
        where: its place in what the strategy returned, for messages.
        strategy: which.
        market: whose shape, index and columns it must have.
        keep_bool: leave truths what they are, to spare a panel eight times as large.

    Raises: StrategyError for what is none of these or holds no numbers; ShapeError for other shapes or labels.
    """
    if isinstance(value, Feature):
        found = value.values()
    elif isinstance(value, pd.DataFrame):
        found = frame_panel(value, where, strategy, market)
    elif isinstance(value, np.ndarray):
        found = value
    elif is_polars(value):
        found = from_polars(value, strategy, market, where)
    elif isinstance(value, Label):
        raise StrategyError(value.refusal(f"came in {where} of {strategy!r}, where it cannot go"))
    else:
        raise StrategyError(
            f"`{where}` is {shown(value)}, a {type(value).__name__}; a feature, a DataFrame or an array "
            f"(n_bars, n_assets) is needed, in {strategy!r}."
        )
    if found.shape != market.shape:
        raise ShapeError(
            f"`{where}` has shape {found.shape}; the market needs (n_bars, n_assets) = {market.shape}, in {strategy!r}."
        )
    if keep_bool and found.dtype == np.bool_ and not isinstance(found, np.ma.MaskedArray):
        panel = np.ascontiguousarray(found).view()
    else:
        panel = float_panel(found, where, strategy).view()
    panel.flags.writeable = False
    return panel


def frame_panel(frame: pd.DataFrame, what: str, strategy: Strategy, market: Market) -> Panel:
    """A DataFrame's values in the market's order of assets. Raises: ShapeError if index or columns are others.

    Args:
        frame: (n_bars, n_assets).
        what: came back from the strategy, for the message.
        strategy: which.
        market: whose index and columns it must have.
    """
    columns = [str(column) for column in frame.columns]
    if sorted(columns) != sorted(market.assets):
        odd = sorted(set(columns).symmetric_difference(market.assets))
        twice = [column for k, column in enumerate(columns) if column in columns[:k]]
        how = f"differ from the market's assets, first {odd[:1]}" if odd else f"are there twice, first {twice[:1]}"
        raise ShapeError(
            f"`{what}` returned columns that {how}, in {strategy!r}.\n"
            "Build them from market.close.frame(), which has the right columns."
        )
    if len(frame) == market.n_bars and not frame.index.equals(market.index):
        odd_row = int(np.argmax(np.asarray(frame.index != market.index)))
        raise ShapeError(
            f"`{what}` returned another index than the market's: row {odd_row} is {frame.index[odd_row]}, "
            f"the market has {market.index[odd_row]}, in {strategy!r}.\n"
            "Build them from market.close.frame(), which has the right index."
        )
    ordered = frame.set_axis(columns, axis=1)[list(market.assets)]
    if all(pd.api.types.is_numeric_dtype(kind) for kind in ordered.dtypes):  # pd.NA of nullable ones becomes NaN
        kind = None if all(isinstance(each, np.dtype) for each in ordered.dtypes) else np.float64
        return np.asarray(ordered.to_numpy(dtype=kind))
    return np.asarray(ordered.to_numpy())


def float_panel(panel: npt.NDArray[Any], what: str, strategy: Strategy) -> Panel:
    """The same numbers as float64, in C order. Raises: StrategyError for texts, times and complex numbers.

    Args:
        panel: any array; one of objects may hold numbers and None, what a masked one hides is NaN.
        what: came back from the strategy, for the message.
        strategy: which.
    """
    if isinstance(panel, np.ma.MaskedArray) and panel.dtype.kind in "fiub":
        panel = np.asarray(np.ma.filled(panel.astype(np.float64), np.nan))
    odd = panel.dtype.kind not in "fiubO" or (
        panel.dtype.kind == "O" and any(isinstance(each, _NO_NUMBERS) for each in panel.flat)
    )
    try:
        made = None if odd else np.ascontiguousarray(panel, dtype=np.float64)
    except (TypeError, ValueError):
        made = None
    if made is None:
        raise StrategyError(f"`{what}` returned values of dtype {panel.dtype}; numbers are needed, in {strategy!r}.")
    return made
