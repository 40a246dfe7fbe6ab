"""A market on disk: one mapped array a panel, and a JSON page that names and hashes them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.errors import StoreError

__all__ = ["load_market", "save_market"]

_FORMAT = 1
_PAGE = "market.json"


def save_market(market: Any, folder: Path) -> Path:
    """Write into a folder beside `folder` and rename it there, so that a reader sees all of it or nothing."""
    if folder.exists():
        with contextlib.suppress(StoreError, KeyError):
            load_market(folder)
            return folder
        shutil.rmtree(folder)  # damaged: written again
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    part.mkdir()
    try:
        groups = {"panels": market.panels, "final": {} if market.final is market.panels else market.final}
        arrays = {"times": market.times, "decision_times": market.decision_times}
        for group, panels in groups.items():
            for n, values in enumerate(panels.values()):
                arrays[f"{group}-{n}"] = values
        sums = {name: _write(part / f"{name}.npy", array) for name, array in arrays.items()}
        page = {
            "format": _FORMAT,
            "fingerprint": market.fingerprint,
            "assets": list(market.assets),
            "calendar": market.calendar,
            "bars_per_year": market.bars_per_year,
            "pins": [dict(pin) for pin in market.pins],
            "notes": list(market.notes),
            "unit": market.index.unit,
            "zone": None if market.index.tz is None else str(market.index.tz),
            "labels": market.index.as_unit("ns").asi8.tolist(),
            "panels": list(groups["panels"]),
            "final": list(groups["final"]),
            "sha256": sums,
        }
        with (part / _PAGE).open("w", encoding="utf-8") as file:
            json.dump(page, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            part.rename(folder)
        except OSError:
            if not (folder / _PAGE).exists():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def load_market(folder: Path) -> dict[str, Any]:
    """Map the arrays of a saved market, check each against its hash, and return what makes the market again."""
    try:
        page = json.loads((folder / _PAGE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"There is no saved market in {folder}.") from None
    except ValueError as error:
        raise StoreError(
            f"{folder / _PAGE} is damaged: {error}. Delete the folder; it is rebuilt from its source."
        ) from error
    if page.get("format") != _FORMAT:
        raise StoreError(f"{folder} has market format {page.get('format')}; this release reads {_FORMAT}.")
    arrays = {name: _read(folder / f"{name}.npy", digest) for name, digest in page["sha256"].items()}
    panels = {name: arrays[f"panels-{n}"] for n, name in enumerate(page["panels"])}
    final = {name: arrays[f"final-{n}"] for n, name in enumerate(page["final"])}
    labels = pd.DatetimeIndex(np.array(page["labels"], dtype="datetime64[ns]")).as_unit(page["unit"])
    held = MappingProxyType(panels)
    return {
        "times": arrays["times"],
        "decision_times": arrays["decision_times"],
        "index": labels if page["zone"] is None else labels.tz_localize("UTC").tz_convert(page["zone"]),
        "assets": tuple(page["assets"]),
        "panels": held,
        "final": MappingProxyType(final) if final else held,
        "calendar": page["calendar"],
        "bars_per_year": page["bars_per_year"],
        "pins": tuple(page["pins"]),
        "notes": tuple(page["notes"]),
        "_hash": [page["fingerprint"]],
    }


def _write(path: Path, array: npt.NDArray[Any]) -> str:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return _digest(path)


def _read(path: Path, digest: str) -> npt.NDArray[Any]:
    remedy = "Delete its folder; it is rebuilt from its source."
    try:
        if _digest(path) != digest:
            raise StoreError(f"{path} is damaged: its contents do not match their hash. {remedy}")
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}. {remedy}") from error
    return mapped


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
