"""A stepper's state as bytes: a header in JSON, the raw arrays, and a SHA-256 over both; never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from knowable.errors import StoreError
from knowable.features.gate import arrays_of
from knowable.features.operators.base import Growing

__all__ = ["fits", "pack", "take_over", "unpack"]

_MAGIC = b"knowable-stepper-2\n"
_HASH_BYTES = 32
_HEADER: Mapping[str, type] = {
    "expression": str, "digest": str, "assets": list, "clock": list, "n_bars": int, "states": list, "arrays": list,
}  # fmt: skip


def pack(header: Mapping[str, Any], arrays: Iterable[npt.NDArray[Any]]) -> bytes:
    """The bytes of a state; the header is completed by type and shape of each array."""
    held = list(arrays)
    page = {**header, "arrays": [[array.dtype.str, list(array.shape)] for array in held]}
    head = json.dumps(page).encode()
    body = _MAGIC + len(head).to_bytes(8, "little") + head + b"".join(array.tobytes() for array in held)
    return body + hashlib.sha256(body).digest()


def unpack(state: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and raw arrays. Raises: StoreError if the bytes are no state, damaged, or of another release."""
    if not isinstance(state, bytes | bytearray | memoryview):
        raise StoreError(f"A stepper state is bytes, but a {type(state).__name__} came.")
    whole = bytes(state)
    head_at = len(_MAGIC) + 8
    if not whole.startswith(_MAGIC) or len(whole) < head_at + _HASH_BYTES:
        raise StoreError(f"These {len(whole)} bytes are no stepper state, or one of another release.")
    if hashlib.sha256(whole[:-_HASH_BYTES]).digest() != whole[-_HASH_BYTES:]:
        raise StoreError(f"The stepper state of {len(whole)} bytes is damaged: its checksum does not hold.")
    head_end = head_at + int.from_bytes(whole[len(_MAGIC) : head_at], "little")
    body = whole[head_end:-_HASH_BYTES]
    try:
        header = json.loads(whole[head_at:head_end])
        kinds = {name: type(header[name]) for name in _HEADER}
        size = sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in header["arrays"])
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"The header of the stepper state does not read: {error!r}.") from error
    if kinds != _HEADER or size != len(body):
        raise StoreError("The header of the stepper state does not fit what follows it.")
    return header, body


def fits(layout: Sequence[Sequence[Any]], states: Sequence[Any]) -> bool:
    """Whether stored arrays, as a header describes them, can be taken over by these states."""
    held = [(array, isinstance(each, Growing)) for each in states for array in arrays_of(each)]
    return len(layout) == len(held) and all(
        array.dtype.str == kind and (array.ndim == len(shape) if grows else list(array.shape) == shape)
        for (kind, shape), (array, grows) in zip(layout, held, strict=True)
    )


def take_over(states: Sequence[Any], layout: Sequence[Sequence[Any]], body: bytes) -> None:
    """Put stored arrays, one after the other in `body`, into states that they fit."""
    at, place = 0, 0
    for each in states:
        taken = []
        mine = arrays_of(each)
        for kind, shape in layout[place : place + len(mine)]:
            array = np.frombuffer(body, kind, int(np.prod(shape)), at).reshape(shape)
            taken.append(array)
            at += array.nbytes
        place += len(mine)
        if isinstance(each, Growing):
            each.restore(taken)
        else:
            for old, new in zip(mine, taken, strict=True):
                old[...] = new
