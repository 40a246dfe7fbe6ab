"""A market on disk: one mapped array a panel, and a JSON page that names them, checks them and is checked itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from knowable.data.market_actions import MarketActions
from knowable.errors import KnowableError, StoreError

__all__ = ["cached_market", "load_market", "save_market"]

_FORMAT = 2  # 1: no corporate actions, no seal on the page; still read, for runs begun under it
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
        arrays = {"times": market.times, "decision_times": market.decision_times}
        groups = {
            "panels": _places("panels", market.panels, arrays),
            "final": None if market.final is market.panels else _places("final", market.final, arrays),
        }
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
            **groups,
            "actions": market.actions.page(),
            "adjust": market.adjust,
            "sums": sums,
        }
        page["sha256"] = _page_sum(page)
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
    page = _page(folder)
    arrays = {name: _read(folder / f"{name}.npy", checksum) for name, checksum in page["sums"].items()}
    panels = {name: arrays[file] for name, file in page["panels"].items()}
    final = None if page["final"] is None else {name: arrays[file] for name, file in page["final"].items()}
    labels = pd.DatetimeIndex(np.array(page["labels"], dtype="datetime64[ns]")).as_unit(page["unit"])
    held = MappingProxyType(panels)
    return {
        "times": arrays["times"],
        "decision_times": arrays["decision_times"],
        "index": labels if page["zone"] is None else labels.tz_localize("UTC").tz_convert(page["zone"]),
        "assets": tuple(page["assets"]),
        "panels": held,
        "final": held if final is None else MappingProxyType(final),
        "calendar": page["calendar"],
        "bars_per_year": page["bars_per_year"],
        "pins": tuple(page["pins"]),
        "notes": tuple(page["notes"]),
        "actions": MarketActions.from_page(page["actions"]),
        "adjust": page["adjust"],
        "_hash": [page["fingerprint"]],
    }


def _page(folder: Path) -> dict[str, Any]:
    """The page of a saved market, checked. Raises: StoreError."""
    remedy = "Delete the folder; it is rebuilt from its source."
    try:
        page: dict[str, Any] = json.loads((folder / _PAGE).read_text(encoding="utf-8"))
        seal, found = page.pop("sha256", None), page.get("format")
    except FileNotFoundError:
        raise StoreError(f"There is no saved market in {folder}.") from None
    except (ValueError, AttributeError) as error:
        raise StoreError(f"{folder / _PAGE} is damaged: {error}. {remedy}") from error
    if found == 1 and isinstance(seal, dict):  # the page had no seal; a hash stood for each file
        final = {name: f"final-{n}" for n, name in enumerate(page["final"])}
        panels = {name: f"panels-{n}" for n, name in enumerate(page["panels"])}
        page |= {"panels": panels, "final": final or None, "sums": seal, "adjust": "none"}
        return {**page, "actions": MarketActions.of().page()}
    if found != _FORMAT:
        raise StoreError(f"{folder} has market format {found}; this release reads 1 to {_FORMAT}. {remedy}")
    if seal != _page_sum(page):
        raise StoreError(f"{folder / _PAGE} is damaged: its contents do not match their hash. {remedy}")
    return page


def cached_market(folder: Path, build: Callable[[], Any], load: Callable[[Path], Any]) -> Any:
    """The market saved in a folder, or a built one that is then saved there.

    A damaged folder is deleted and built again. Where the disk refuses, the market is returned without being kept.
    """
    if folder.is_dir():
        try:
            return load(folder)
        except (KnowableError, OSError, KeyError, TypeError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
    market = build()
    with contextlib.suppress(OSError):
        save_market(market, folder)
    return market


def _places(group: str, panels: Mapping[str, npt.NDArray[Any]], arrays: dict[str, npt.NDArray[Any]]) -> dict[str, str]:
    """The file of each panel; panels that are one array share one."""
    held = {id(array): file for file, array in arrays.items()}
    places = {}
    for n, (name, values) in enumerate(panels.items()):
        places[name] = held.setdefault(id(values), f"{group}-{n}")
        arrays[places[name]] = values
    return places


def _write(path: Path, array: npt.NDArray[Any]) -> int:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return _crc(array)


def _read(path: Path, checksum: int | str) -> npt.NDArray[Any]:
    """Map an array and check its shape, type and bytes.

    CRC-32 (a number) runs at 2 GB/s and misses no single flipped bit; BLAKE2 of the file (a text) is of format 1.
    """
    remedy = "Delete its folder; it is rebuilt from its source."
    try:
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header is Python text, and its parser raises many kinds
        raise StoreError(f"{path} is damaged: {error}. {remedy}") from error
    if (_crc(mapped) if isinstance(checksum, int) else _digest(path)) != checksum:
        raise StoreError(f"{path} is damaged: its contents do not match their checksum. {remedy}")
    return mapped


def _crc(array: npt.NDArray[Any]) -> int:
    head = zlib.crc32(f"{array.dtype.str} {array.shape} {array.flags.c_contiguous}".encode())
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, head)


def _page_sum(page: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
