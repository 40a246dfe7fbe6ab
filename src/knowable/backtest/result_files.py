"""A result on disk: arrays as Arrow files, the rest as one JSON page that names them and their checksums.

The page is written last and in one step, so that a reader sees the whole result or, until then, what was there before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import struct
import tempfile
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.backtest.arrow_files import read_arrow
from knowable.backtest.record import LedgerRecord
from knowable.backtest.result_checks import check_fields, check_files, check_tables, is_file_name
from knowable.backtest.settings import Settings
from knowable.errors import DataError, InputError, KnowableError, shown
from knowable.kernels import account as codes

if TYPE_CHECKING:
    import pyarrow as pa

    from knowable.backtest.result import Result

__all__ = ["load_fields", "save_result"]

Array: TypeAlias = npt.NDArray[Any]

_KIND, _FORMAT = "knowable result", 1
_PAGE = "result.json"
_PARTS = ("bars", "prices", "orders")
_ORDER_COLUMNS = (
    "asset", "decided", "filled", "wanted", "size", "reference", "price", "fee", "reason",
)  # fmt: skip
_REMEDY = "Copy it again from where it is whole, or run the backtest again and save it."


def save_result(result: Result, folder: str | Path) -> Path:
    """Write a result. Arguments, errors and what is kept as `Result.save`."""
    target = _target(folder)
    try:
        page = _page_of(result)
    except RecursionError as error:
        raise InputError("The parameters are nested too deep, or within themselves, to be saved.") from error
    tables = {"bars": _bars(result), "prices": _prices(result), "orders": _orders(result)}
    before = _old_files(target)
    token = uuid.uuid4().hex[:12]
    written: list[Path] = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            written.append(target / f"{name}-{token}.arrow")
            page["files"][name] = _write(table, written[-1])
        page["sha256"] = _seal(page)
        _replace(target / _PAGE, json.dumps(page, indent=1, allow_nan=False))
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(
                f"The result cannot be saved in {str(target)!r}: {error.strerror or error}.\n"
                "Give another folder, or make room there; nothing was changed."
            ) from error
        raise
    for path in before:
        path.unlink(missing_ok=True)
    return target


def load_fields(folder: str | Path) -> dict[str, Any]:
    """The fields of the `Result` saved in a folder. Errors as `Result.load`."""
    if not isinstance(folder, str | Path):
        raise InputError(f"`folder` must name a folder, such as 'results/momentum', but it is {shown(folder)}.")
    path = Path(folder)
    page, tables = _whole(path)
    try:
        found = _fields(page, tables)
        check_fields(found)
    except KnowableError as error:
        raise DataError(f"{path / _PAGE} holds what no result has: {error}\n{_REMEDY}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, NotImplementedError) as error:
        raise _odd(path, error) from error
    return found


def _whole(path: Path) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """The page and its tables, of one and the same save."""
    while True:
        page = _page(path)
        try:
            return page, {name: _read(path, page["files"][name], name) for name in _PARTS}
        except DataError:
            if _page(path) == page:
                raise  # else somebody saved there meanwhile, and the files of this page are gone


def _odd(place: Path, error: Exception) -> DataError:
    return DataError(f"{place} is not as this release writes results: {error or type(error).__name__}.\n{_REMEDY}")


def _target(folder: str | Path) -> Path:
    """The folder to write to, if it is absent, empty or a result's. Raises: InputError."""
    if not isinstance(folder, str | Path) or not str(folder) or "\0" in str(folder):
        raise InputError(f"`folder` must name a folder, such as 'results/momentum', but it is {shown(folder)}.")
    target = Path(folder)
    if target.is_dir():
        found = sorted(each.name for each in target.iterdir())
        if _PAGE in found:
            if _is_ours(target / _PAGE):
                return target
        elif all(any(is_file_name(name, part) for part in _PARTS) for name in found):
            return target  # empty, or what a killed save left
        listed = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise InputError(
            f"The folder {str(target)!r} holds something else than a result: {listed}.\n"
            f"Name a folder of its own, such as {str(target / 'result')!r}."
        )
    if target.exists():
        raise InputError(f"{str(target)!r} is a file; a result needs a folder, such as {str(target) + '-result'!r}.")
    return target


def _is_ours(path: Path) -> bool:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))).get("kind") == _KIND
    except (OSError, ValueError, TypeError):
        return False


def _old_files(target: Path) -> list[Path]:
    """The files of the result that stands there now."""
    try:
        return [target / file["name"] for file in _page(target)["files"].values()]
    except KnowableError:
        return []


def _page_of(result: Result) -> dict[str, Any]:
    index, record = result.index, result.record
    return {
        "kind": _KIND,
        "format": _FORMAT,
        "name": result.name,
        "params": {name: _plain(value, f"params[{name!r}]") for name, value in result.params.items()},
        "settings": _plain(asdict(result.settings), "settings"),
        "metrics": {name: _plain(float(value), name) for name, value in result.metrics.items()},
        "warnings": list(result.warnings),
        "assets": list(result.assets),
        "bars_per_year": _plain(float(result.bars_per_year), "bars_per_year"),
        "pins": [{str(name): str(value) for name, value in pin.items()} for pin in result.pins],
        "index": {"name": _plain(index.name, "index.name"), "unit": index.unit, "freq": index.freqstr},
        "activity": [_plain(float(value), "activity") for value in record.activity],
        "n_fills": record.n_fills,
        "liquidated_at": record.liquidated_at,
        "files": {},
    }


def _plain(value: Any, where: str) -> Any:
    """A value as JSON has it; numbers that JSON has not are {"float": "nan"}. Raises: InputError naming the place."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, list):
        return [_plain(each, f"{where}[{k}]") for k, each in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) and set(value) != {"float"}:
        return {str(key): _plain(each, f"{where}[{key!r}]") for key, each in value.items()}
    raise InputError(
        f"`{where}` is {shown(value)}, a {type(value).__name__}, which a saved result cannot hold.\n"
        "It holds text, numbers, True, False, None, and lists and dicts of them."
    )


def _made(value: Any) -> Any:
    """What `_plain` was given."""
    if isinstance(value, list):
        return [_made(each) for each in value]
    if isinstance(value, dict):
        return float(value["float"]) if set(value) == {"float"} else {key: _made(each) for key, each in value.items()}
    return value


def _bars(result: Result) -> pa.Table:
    import pyarrow as pa

    record = result.record
    columns = {
        "label": pa.array(result.index.asi8, pa.timestamp(result.index.unit, result.index.tz)),
        "time": pa.array(result.times, pa.timestamp("ns", "UTC")),
        "day": pa.array(result.days.astype("datetime64[D]").astype(np.int32), pa.date32()),
        "equity": pa.array(record.equity),
        "return": pa.array(result.bar_returns),
        "flows": _rows(record.bars),
    }
    return pa.table(columns)


def _prices(result: Result) -> pa.Table:
    import pyarrow as pa

    table = pa.table({name: _rows(panel) for name, panel in result.prices.items()})
    return table.replace_schema_metadata({"marks": json.dumps([float(each).hex() for each in result.marks])})


def _orders(result: Result) -> pa.Table:
    import pyarrow as pa

    columns = {name: _column(result.record.orders[:, k]) for k, name in enumerate(_ORDER_COLUMNS)}
    if result.volumes is not None:
        columns["volume"] = pa.array(np.ascontiguousarray(result.volumes))
    return pa.table(columns)


def _column(values: Array) -> pa.Array:
    """Whole numbers take half the room; both come back to the bit."""
    import pyarrow as pa

    values = np.ascontiguousarray(values)
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int32)
    same = np.array_equal(whole.astype(np.float64).view(np.uint64), values.view(np.uint64))
    return pa.array(whole if same else values)


def _rows(panel: Array) -> pa.Array:
    """(n_rows, n_columns) as a list of fixed size a row; no value is copied where it lies in one piece."""
    import pyarrow as pa

    flat = np.ascontiguousarray(panel, dtype=np.float64).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), panel.shape[1])


def _write(table: pa.Table, path: Path) -> dict[str, Any]:
    import pyarrow as pa

    with path.open("xb") as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())
    return {"name": path.name, "bytes": path.stat().st_size, "crc32": _crc(path)}


def _replace(path: Path, text: str) -> None:
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".result-", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)  # mkstemp makes files nobody else may read
        Path(part).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(part).unlink()
        raise


def _page(folder: Path) -> dict[str, Any]:
    """The page of a saved result, checked. Raises: InputError if there is none or of a newer release; DataError."""
    path = folder / _PAGE
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError) as error:
        if isinstance(error, ValueError | RecursionError) and path.is_file():
            raise DataError(f"{path} is damaged: {shown(error)}.\n{_REMEDY}") from error
        held = sorted(each.name for each in folder.iterdir())[:5] if folder.is_dir() else []
        there = "holds " + ", ".join(held) if held else "is empty" if folder.is_dir() else "is no folder"
        raise InputError(
            f"There is no saved result in {str(folder)!r}: it has no {_PAGE}; it {there}.\n"
            "Give the folder that result.save(folder) wrote."
        ) from error
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    if not isinstance(page, dict) or page.get("kind") != _KIND:
        raise InputError(f"{str(path)!r} is no saved result.\nGive the folder that result.save(folder) wrote.")
    found = page.get("format")
    if found != _FORMAT:
        raise InputError(
            f"{str(folder)!r} has format {shown(found)} of saved results; this release reads {_FORMAT}.\n"
            "Load it with the release of Knowable that wrote it, or a newer one."
        )
    seal = page.pop("sha256", None)
    if seal != _seal(page):
        raise DataError(f"{path} is damaged: its contents do not match their hash.\n{_REMEDY}")
    try:
        check_files(page.get("files"), _PARTS)
    except ValueError as error:
        raise _odd(path, error) from error
    return page


def _read(folder: Path, file: Mapping[str, Any], part: str) -> pa.Table:
    """Read one file and check its size and bytes. Raises: DataError."""
    import pyarrow as pa

    path = folder / file["name"]
    try:
        return read_arrow(path, file["bytes"], file["crc32"])
    except FileNotFoundError:
        raise DataError(f"The {part} of the result are absent: there is no file {path}.\n{_REMEDY}") from None
    except (OSError, MemoryError, pa.ArrowException, struct.error) as error:
        raise DataError(f"{path} cannot be read: {shown(error)}.\n{_REMEDY}") from error
    except ValueError as error:
        raise DataError(f"{path} {error}.\n{_REMEDY}") from error


def _fields(page: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    check_tables(tables, len(page["assets"]))
    bars, prices, orders = (tables[name].combine_chunks() for name in _PARTS)
    flows, n_bars, n_assets = _panel(bars["flows"]), bars.num_rows, len(page["assets"])
    panels = {name: _panel(prices[name]) for name in prices.column_names}
    marks = np.array([float.fromhex(each) for each in json.loads(prices.schema.metadata[b"marks"])])
    shapes = {flows.shape == (n_bars, codes.N_BAR_COLUMNS), marks.shape == (n_assets,)}
    if shapes | {panel.shape == (n_bars, n_assets) for panel in panels.values()} != {True}:
        raise ValueError("arrays of other shapes")
    columns = [_numbers(orders[name]).astype(np.float64) for name in _ORDER_COLUMNS]
    record = LedgerRecord(
        equity=_numbers(bars["equity"]),
        bars=flows,
        orders=np.ascontiguousarray(np.column_stack(columns)),
        activity=np.array(_made(page["activity"]), dtype=np.float64),
        n_fills=page["n_fills"],
        liquidated_at=page["liquidated_at"],
    )
    return {
        "name": page["name"],
        "params": MappingProxyType(_made(page["params"])),
        "settings": Settings.from_plain(_made(page["settings"])),
        "metrics": MappingProxyType(_made(page["metrics"])),
        "warnings": tuple(page["warnings"]),
        "index": _index(bars["label"], page["index"]),
        "times": _numbers(bars["time"].cast("int64")),
        "days": _numbers(bars["day"].cast("int32")).astype("datetime64[D]"),
        "assets": tuple(page["assets"]),
        "bars_per_year": _made(page["bars_per_year"]),
        "pins": tuple(MappingProxyType(pin) for pin in page["pins"]),
        "prices": panels,
        "marks": marks,
        "volumes": _numbers(orders["volume"]) if "volume" in orders.column_names else None,
        "record": record,
        "bar_returns": _numbers(bars["return"]),
    }


def _panel(column: pa.ChunkedArray) -> Array:
    rows = _piece(column)
    return np.asarray(rows.flatten().to_numpy(zero_copy_only=True)).reshape(len(rows), rows.type.list_size)


def _numbers(column: pa.ChunkedArray) -> Array:
    return np.asarray(_piece(column).to_numpy(zero_copy_only=True))


def _piece(column: pa.ChunkedArray) -> Any:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _index(labels: pa.ChunkedArray, told: Mapping[str, Any]) -> pd.DatetimeIndex:
    """Labels as they were; a frequency comes back where its name says all of it."""
    index = pd.DatetimeIndex(_numbers(labels.cast("int64")).view(f"datetime64[{told['unit']}]"), name=told["name"])
    if labels.type.tz is not None:
        index = index.tz_localize("UTC").tz_convert(labels.type.tz)
    if told["freq"] is not None:
        with contextlib.suppress(ValueError):
            index = pd.DatetimeIndex(index, freq=told["freq"])
    return index


def _crc(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found = zlib.crc32(piece, found)
    return found


def _seal(page: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()
