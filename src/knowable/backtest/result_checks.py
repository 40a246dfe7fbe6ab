"""Whether what was read from a folder can be a result.

A checksum says that a file is what was written, not who wrote it. Tables index by the record and a kernel writes where
it says, so that numbers outside their range are refused before anything is made of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from knowable.backtest.reasons import REASONS
from knowable.backtest.record import LedgerRecord
from knowable.kernels import account as codes
from knowable.metrics.definitions import METRICS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_fields", "check_files", "check_tables", "is_file_name"]

Array = npt.NDArray[Any]


def is_file_name(name: object, part: str) -> bool:
    """Whether a file of a result that holds `part` may bear that name."""
    return isinstance(name, str) and re.fullmatch(rf"{part}-[0-9a-f]+\.arrow", name) is not None


def check_files(files: Any, parts: tuple[str, ...]) -> None:
    """Check what a page says of its files. Raises: ValueError."""
    _hold(isinstance(files, dict) and set(files) == set(parts), "files are named otherwise")
    for part, file in files.items():
        _hold(
            isinstance(file, dict) and is_file_name(file.get("name"), part), f"the file of its {part} has no such name"
        )
        _hold(type(file.get("bytes")) is int and type(file.get("crc32")) is int, f"the file of its {part} has no sizes")


def check_tables(tables: Mapping[str, pa.Table], n_assets: int) -> None:
    """Check types and lengths before a value is looked at: Arrow trusts them, and ends the process where they lie.

    Raises: ValueError.
    """
    import pyarrow as pa

    bars, prices, orders = (tables[name] for name in ("bars", "prices", "orders"))
    number = pa.float64()
    _hold(isinstance(bars.schema.field("label").type, pa.TimestampType), "its labels are no times")
    wanted = {"time": pa.timestamp("ns", "UTC"), "day": pa.date32(), "equity": number, "return": number}
    wanted["flows"] = pa.list_(number, codes.N_BAR_COLUMNS)
    _hold(all(bars.schema.field(name).type == kind for name, kind in wanted.items()), "its bars are of other types")
    _hold(all(kind == pa.list_(number, n_assets) for kind in prices.schema.types), "its prices are of other types")
    _hold(all(kind in (number, pa.int32()) for kind in orders.schema.types), "its orders are of other types")
    for table in tables.values():
        _hold(
            all(0 <= len(chunk) <= table.nbytes for column in table.columns for chunk in column.chunks), "a length lies"
        )
        table.validate(full=True)


def check_fields(fields: Mapping[str, Any]) -> None:
    """Check the fields of a `Result`, of which settings have been checked already. Raises: ValueError."""
    _hold(isinstance(fields["name"], str), "its name is no text")
    _hold(all(isinstance(each, str) for each in fields["warnings"]), "a warning is no text")
    _hold(all(isinstance(value, str) for pin in fields["pins"] for value in pin.values()), "a pin is no text")
    metrics = fields["metrics"]
    numbers = all(isinstance(value, float) for value in metrics.values())
    _hold(tuple(metrics) == METRICS and numbers, "its metrics are others, or no numbers")
    year = fields["bars_per_year"]
    _hold(isinstance(year, float) and 0.0 < year < np.inf, "its bars a year are no number above 0")
    assets = fields["assets"]
    _hold(all(isinstance(each, str) for each in assets), "the name of an asset is no text")
    _hold(len(set(assets)) == len(assets) >= 1, "two assets have one name, or there is none")
    _check_bars(fields)
    _check_record(fields["record"], len(fields["index"]), len(assets))
    volumes = fields["volumes"]
    _hold(volumes is None or volumes.shape == (len(fields["record"].orders),), "volumes are not those of its orders")


def _check_bars(fields: Mapping[str, Any]) -> None:
    n_bars = len(fields["index"])
    _hold(n_bars >= 1, "it has no bars")
    _hold((np.diff(fields["times"]) > 0).all(), "its bars are not in order of time")
    _hold((np.diff(fields["days"].astype(np.int64)) >= 0).all(), "its days fall")
    _hold("close" in fields["prices"], "it has no closes")


def _check_record(record: LedgerRecord, n_bars: int, n_assets: int) -> None:
    _hold(type(record.n_fills) is int and type(record.liquidated_at) is int, "a count is no whole number")
    _hold(-1 <= record.liquidated_at < n_bars, "it was liquidated on none of its bars")
    _hold(record.activity.shape == (4,), "its activity is not of four numbers")
    orders = record.orders
    _check_range("asset", orders[:, codes.ORDER_ASSET], 0, n_assets)
    _check_range("bar", orders[:, codes.ORDER_DECIDED], -1, n_bars)
    _check_range("bar", orders[:, codes.ORDER_FILLED], -1, n_bars)
    _check_range("reason", orders[:, codes.ORDER_REASON], 0, len(REASONS))
    size = orders[:, codes.ORDER_SIZE]
    _hold(np.isfinite(size).all(), "the size of an order is no number")
    _hold((orders[size != 0.0, codes.ORDER_FILLED] >= 0.0).all(), "an order was filled on no bar")


def _check_range(what: str, values: Array, least: int, end: int) -> None:
    with np.errstate(invalid="ignore"):
        good = (values >= least) & (values < end) & (np.floor(values) == values)
    _hold(good.all(), f"an order is of another {what} than there is")


def _hold(right: Any, otherwise: str) -> None:
    if not right:
        raise ValueError(otherwise)
