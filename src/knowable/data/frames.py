"""DataFrames at the edge: checked, aligned and turned into panels. Nothing is repaired silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.errors import DataError, ShapeError, shown

__all__ = ["Panel", "check_universe", "frames_to_panels"]

Panel: TypeAlias = npt.NDArray[np.float64]

_FIELD_WORDS = frozenset({"open", "high", "low", "close", "adj close", "volume"})
_PRICES = ("open", "high", "low", "close", "vwap")


def frames_to_panels(
    frames: Mapping[str, pd.DataFrame | pd.Series], *, allow_missing: bool = False
) -> tuple[pd.DatetimeIndex, tuple[str, ...], dict[str, Panel]]:
    """Check frames of one market against each other and against what prices can be.

    Args:
        frames: field -> (n_bars, n_assets) frame; ``close`` rules index and columns. A Series is one asset.
        allow_missing: take NaN prices between an asset's first and last one.

    Returns: the index as given, the asset names, and field -> (n_bars, n_assets) read-only float64.

    Raises: DataError, ShapeError; each names the field, the asset and the first row.
    """
    if "close" not in frames:
        raise ShapeError("`close` is needed: Market.from_frames(close=frame), a row a bar and a column an asset.")
    tables = {name: _table(name, frame) for name, frame in frames.items()}
    ruling = tables["close"]
    index = _index("close", ruling.index)
    for name, table in tables.items():
        if name != "close":
            _same_rows(name, _index(name, table.index), index)
            _same_columns(name, table.columns, ruling.columns)
    assets = tuple(str(column) for column in ruling.columns)
    panels = {
        name: _values(name, table if table.columns.equals(ruling.columns) else table[ruling.columns], index)
        for name, table in tables.items()
    }
    _check_values(panels, index, assets)
    if not allow_missing:
        _refuse_gaps(panels, index, assets)
    return index, assets, panels


def check_universe(panel: Panel, index: pd.DatetimeIndex, assets: tuple[str, ...]) -> None:
    """A panel of membership holds 1 and 0 only. Raises: DataError naming the first other cell."""
    bad = ~((panel == 0.0) | (panel == 1.0))
    if bad.any():
        row, column = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise DataError(
            f"`universe` of {assets[column]!r} must be 1 (a member on that bar) or 0, but it is "
            f"{panel[row, column]:g} at {index[row]} (row {row}); {int(bad.sum())} such in all.\n"
            "Turn it into yes and no first, such as frame > 0 or frame.notna(); or give the field another name."
        )


def _table(name: str, frame: pd.DataFrame | pd.Series) -> pd.DataFrame:
    if isinstance(frame, pd.Series):
        frame = frame.to_frame(name=frame.name if frame.name is not None and frame.name != name else "asset")
    if not isinstance(frame, pd.DataFrame):
        kind = f"{type(frame).__module__.partition('.')[0]}.{type(frame).__qualname__}"
        remedy = " Turn it into one: frame.to_pandas()." if hasattr(frame, "to_pandas") else ""
        raise ShapeError(
            f"`{name}` must be a pandas DataFrame, a row a bar and a column an asset, but it is a {kind}.{remedy}"
        )
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise ShapeError(f"`{name}` is empty: shape {frame.shape}; at least one bar and one asset are needed.")
    if isinstance(frame.columns, pd.MultiIndex):
        raise ShapeError(
            f"`{name}` has columns of {frame.columns.nlevels} levels; one level of asset names is needed.\n"
            "Pick one field first, such as data['Close']."
        )
    words = sorted({str(c).lower() for c in frame.columns} & _FIELD_WORDS)
    if len(words) > 1:
        raise ShapeError(
            f"`{name}` has the fields {', '.join(words)} as columns, which would become assets.\n"
            "Pass each field by itself: Market.from_frames(close=frame[['Close']], open=frame[['Open']], ...),\n"
            "all with the same column name, such as .set_axis(['SPY'], axis=1)."
        )
    named = pd.Index([str(column) for column in frame.columns])
    if named.has_duplicates:
        twice = named[named.duplicated()][0]
        raise ShapeError(f"`{name}` has the asset {twice!r} in more than one column.")
    return frame


def _index(name: str, index: pd.Index) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex):
        raise _explain_index(name, index)
    if index.hasnans:
        raise DataError(f"`{name}` has no time in row {int(np.argmax(index.isna()))}; every bar needs one.")
    nanos = index.asi8
    steps = np.diff(nanos)
    if (steps == 0).any() or (index.has_duplicates):
        at = int(np.argmax(index.duplicated()))
        raise DataError(
            f"`{name}` has two rows for {index[at]} (the second is row {at}); "
            f"{int(index.duplicated().sum())} such in all.\n"
            "One row a bar is needed. Look at frame[frame.index.duplicated(keep=False)], then keep the right one:\n"
            "frame = frame[~frame.index.duplicated(keep='last')]."
        )
    if (steps < 0).any():
        at = int(np.argmax(steps < 0)) + 1
        raise DataError(
            f"`{name}` is not sorted by time: row {at} is {index[at]}, after {index[at - 1]}.\n"
            "Sort it first: frame = frame.sort_index()."
        )
    plain = index.copy()
    plain.freq = None  # type: ignore[misc]  # a frequency would not survive a cut or a file
    return plain


def _explain_index(name: str, index: pd.Index) -> DataError:
    zones = [getattr(label, "tzinfo", None) for label in index[:100_000] if hasattr(label, "year")]
    if zones and len({str(zone) for zone in zones}) > 1:
        first = next(i for i, zone in enumerate(zones) if str(zone) != str(zones[0]))
        return DataError(
            f"`{name}` mixes time zones in its index: row 0 is {index[0]}, row {first} is {index[first]}.\n"
            "One time zone is needed: frame.index = pd.to_datetime(frame.index, utc=True)."
        )
    if isinstance(index, pd.PeriodIndex):
        return DataError(
            f"`{name}` has a PeriodIndex; times are needed: frame.index = frame.index.to_timestamp(how='end')."
        )
    return DataError(
        f"`{name}` needs a DatetimeIndex, but its index is a {type(index).__name__} of {index.dtype} "
        f"(first: {shown(index[0])}).\n"
        "Make one first: frame.index = pd.to_datetime(frame.index)."
    )


def _same_rows(name: str, index: pd.DatetimeIndex, ruling: pd.DatetimeIndex) -> None:
    if str(index.tz) != str(ruling.tz):
        raise DataError(
            f"`{name}` and `close` mix time zones: `{name}` has {index.tz or 'none'} (first row {index[0]}), "
            f"`close` has {ruling.tz or 'none'} (first row {ruling[0]}).\n"
            "Give both the same: frame.index = frame.index.tz_localize('UTC') or .tz_convert('UTC')."
        )
    if len(index) == len(ruling) and bool((index == ruling).all()):
        return
    odd = index.symmetric_difference(ruling)
    where = "`close`" if len(odd) and odd[0] in ruling else f"`{name}`"
    first = f"; {odd[0]} is only in {where}" if len(odd) else ""
    raise ShapeError(
        f"`{name}` has {len(index)} rows, `close` has {len(ruling)}{first}.\n"
        f"Frames need the same rows: {name} = {name}.reindex(close.index)."
    )


def _same_columns(name: str, columns: pd.Index, ruling: pd.Index) -> None:
    odd = columns[:0] if columns.equals(ruling) else columns.symmetric_difference(ruling)
    if len(odd):
        where = "`close`" if odd[0] in ruling else f"`{name}`"
        raise ShapeError(
            f"`{name}` and `close` differ in their assets: {odd[0]!r} is only in {where}.\n"
            f"Frames need the same columns: {name} = {name}.reindex(columns=close.columns)."
        )


def _values(name: str, table: pd.DataFrame, index: pd.DatetimeIndex) -> Panel:
    for column in table.columns:
        dtype = table[column].dtype
        if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
            bad = pd.to_numeric(table[column], errors="coerce").isna() & table[column].notna()
            names = bad.any() and bad.sum() == table[column].notna().sum()
            at = int(np.argmax(bad.to_numpy())) if bad.any() else 0
            raise DataError(
                f"`{name}` of {column!r} must be numbers, but its dtype is {dtype} "
                f"({shown(table[column].iloc[at])} at {index[at]}).\n"
                + (
                    "Where they are names, of sectors say, give each a number: "
                    f"{name}.apply(lambda column: column.map({{{table[column].iloc[at]!r}: 1.0, ...}}))."
                    if names
                    else "Mend that cell, or read the column with pd.to_numeric."
                )
            )
    panel = np.array(table.to_numpy(dtype=np.float64, na_value=np.nan), order="C", copy=True)
    panel.flags.writeable = False
    return panel


def _check_values(panels: dict[str, Panel], index: pd.DatetimeIndex, assets: tuple[str, ...]) -> None:
    for name, what, bad in _impossible(panels):
        if bad.any():
            row, column = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
            value = panels[name][row, column]
            raise DataError(
                f"`{name}` of {assets[column]!r} {what} at {index[row]} (row {row}): {value:g}; "
                f"{int(bad.sum())} such in all.\n"
                "Mend the source, or set such cells to NaN, which means not known that bar."
            )
    empty = np.isnan(panels["close"]).all(axis=0)
    if empty.any():
        raise DataError(
            f"`close` of {assets[int(np.argmax(empty))]!r} is NaN in all {len(index)} rows "
            f"({int(empty.sum())} such of {len(assets)} assets).\n"
            "Drop it, or look at how the frame was joined: frame = frame.dropna(axis=1, how='all')."
        )


def _refuse_gaps(panels: dict[str, Panel], index: pd.DatetimeIndex, assets: tuple[str, ...]) -> None:
    """NaN before the first price and after the last is a life span; inside it is more often an accident."""
    for name in _PRICES:
        if name not in panels:
            continue
        known = ~np.isnan(panels[name])
        alive = np.logical_or.accumulate(known, axis=0) & np.logical_or.accumulate(known[::-1], axis=0)[::-1]
        gaps = alive & ~known
        if gaps.any():
            row, column = (int(k) for k in np.unravel_index(int(np.argmax(gaps)), gaps.shape))
            raise DataError(
                f"`{name}` of {assets[column]!r} is NaN at {index[row]} (row {row}), inside its history; "
                f"{int(gaps.sum())} such of {gaps.size} prices.\n"
                "Mend the source or drop those bars. If there was truly no price, say so with\n"
                "Market.from_frames(..., missing='allow'): orders then wait for the next price."
            )


def _impossible(panels: dict[str, Panel]) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Each rule a value can break: field, what to say, and where it is broken."""
    for name, panel in panels.items():
        yield name, "is infinite", np.isinf(panel)
        if name in _PRICES:
            yield name, "is not a positive price", panel <= 0
    if "volume" in panels:
        yield "volume", "is negative", panels["volume"] < 0
    if "high" in panels and "low" in panels:
        yield "high", "is below low", panels["high"] < panels["low"]
    for name in ("open", "close"):
        if name in panels and "high" in panels:
            yield name, "is above high", panels[name] > panels["high"]
        if name in panels and "low" in panels:
            yield name, "is below low", panels[name] < panels["low"]
