"""A run's result on disk: JSON and Parquet that any tool can read, written all or nothing."""

from __future__ import annotations

import json
import math
import os
import shutil
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from knowable.errors import RunError
from knowable.experiments.run import Run
from knowable.experiments.spec import RunSpec
from knowable.report.page import Doubt

__all__ = ["load_outcome", "read_bounded", "save_outcome"]

_FREE_BYTES, _MOST_SWELL = 1 << 28, 200  # tables of a run are packed to a fifth; columns of one value to nothing
_TABLES = ("trials", "folds", "orders", "trades")


def save_outcome(run: Run) -> Path:
    """Write the result beside the run's journal and return its folder."""
    target = run.folder / "outcome"
    part = run.folder / f".outcome.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    part.mkdir()
    try:
        for name in _TABLES:
            _spelt(getattr(run, name), run.parameters).to_parquet(part / f"{name}.parquet")
        pd.DataFrame({"equity": run.equity, "benchmark": run.benchmark}).to_parquet(part / "equity.parquet")
        page = {
            "best": run.best,
            "parameters": list(run.parameters),
            "metrics": _plain(run.metrics),
            "benchmark_metrics": _plain(run.benchmark_metrics),
            "doubts": [_plain(asdict(doubt)) for doubt in run.doubts],
            "warnings": list(run.warnings),
            "reason": run.reason,
        }
        (part / "outcome.json").write_text(json.dumps(page, indent=1), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def load_outcome(folder: Path, spec: RunSpec) -> Run:
    """Read what `save_outcome` wrote. Raises: RunError if it is absent or damaged."""
    source = folder / "outcome"
    try:
        page = json.loads((source / "outcome.json").read_text(encoding="utf-8"))
        names = tuple(page["parameters"])
        tables: dict[str, Any] = {name: _read(source / f"{name}.parquet", names) for name in _TABLES}
        paths = read_bounded(source / "equity.parquet")
        return Run(
            name=folder.name,
            folder=folder,
            spec=spec,
            best=page["best"],
            parameters=names,
            equity=paths["equity"],
            benchmark=paths["benchmark"],
            metrics=_floats(page["metrics"]),
            benchmark_metrics=_floats(page["benchmark_metrics"]),
            doubts=tuple(Doubt(**{**d, "value": _float(d["value"])}) for d in page["doubts"]),
            warnings=tuple(page["warnings"]),
            reason=page["reason"],
            **tables,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"The result of {folder.name} cannot be read: {error}\n"
            f"Its trials are safe in the journal; kn.resume({str(folder)!r}) makes the result again."
        ) from error


def _spelt(table: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """Parameters as JSON text: a choice may hold text beside numbers, which no column of a file does."""
    held = [name for name in names if name in table.columns]
    return table.assign(**{name: [json.dumps(_item(value)) for value in table[name]] for name in held})


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def read_bounded(path: Path) -> pd.DataFrame:
    """A Parquet file of ours as a table, refused before anything is made room for where it would swell out of reason.

    Raises: ValueError; OSError and Arrow's errors from reading.
    """
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        told, groups = file.metadata, range(file.metadata.num_row_groups)
        packed = sum(told.row_group(k).total_byte_size for k in groups)
        rows = max(told.num_rows, sum(told.row_group(k).num_rows for k in groups))
        needed, size = max(8 * rows * told.num_columns, packed), path.stat().st_size
        if needed > _FREE_BYTES + _MOST_SWELL * size:
            raise ValueError(f"{path.name} of {size:,} bytes says that it holds {needed:,}")
    return pd.read_parquet(path)


def _read(path: Path, names: tuple[str, ...]) -> pd.DataFrame:
    table = read_bounded(path)
    held = [name for name in names if name in table.columns]
    return table.assign(**{name: pd.Series([json.loads(text) for text in table[name]]) for name in held})


def _plain(values: Any) -> dict[str, Any]:
    """Mapping with NaN as None, which JSON has."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _float(value: float | None) -> float:
    return math.nan if value is None else value


def _floats(values: dict[str, Any]) -> dict[str, float]:
    return {name: _float(value) for name, value in values.items()}
