"""What a feature carries from one refresh to the next: the state of its scan, in a file that can always be rebuilt."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Carried", "load_carried", "save_carried"]

_FORMAT = 1
_HASH_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Where a feature stood after its last bar.

    Attributes:
        assets: columns, in order.
        last: end of the last bar it has seen, ns UTC.
        until: moment of the decision on that bar, ns UTC.
        rows: dataset -> its rows that were known by `until`; another number means that the past was changed.
        row: (n_assets,) values of the last bar; None where missing.
        state: of the stepper.
    """

    assets: tuple[str, ...]
    last: int
    until: int
    rows: Mapping[str, int]
    row: tuple[float | None, ...]
    state: bytes


def save_carried(folder: Path, key: str, carried: Carried) -> None:
    """Write it, whole or not at all. Where the disk refuses nothing is kept: the next refresh computes everything."""
    head = json.dumps(
        {"format": _FORMAT, **{name: value for name, value in asdict(carried).items() if name != "state"}}
    ).encode()
    body = len(head).to_bytes(8, "little") + head + carried.state
    part = folder / f".{key}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(body + hashlib.sha256(body).digest())
            part.replace(folder / f"{key}.state")
        finally:
            part.unlink(missing_ok=True)


def load_carried(folder: Path, key: str) -> Carried | None:
    """Read what `save_carried` wrote; None if there is nothing, or it is damaged or of another release."""
    try:
        data = (folder / f"{key}.state").read_bytes()
    except OSError:
        return None
    body = data[:-_HASH_BYTES]
    if len(data) < 8 + _HASH_BYTES or hashlib.sha256(body).digest() != data[-_HASH_BYTES:]:
        return None
    end = 8 + int.from_bytes(body[:8], "little")
    page = json.loads(body[8:end])
    if page.pop("format", None) != _FORMAT:
        return None
    return Carried(
        assets=tuple(page["assets"]),
        last=page["last"],
        until=page["until"],
        rows=page["rows"],
        row=tuple(page["row"]),
        state=body[end:],
    )
