"""Sealed pages: small JSON files that carry the checksum of what they say, so that a flipped bit never counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from knowable.errors import StoreError

__all__ = ["seal", "unseal"]


def seal(page: Mapping[str, Any]) -> bytes:
    """The page as JSON with the SHA-256 of its contents."""
    return (json.dumps({"sha256": _sum(page), "page": dict(page)}, indent=1, ensure_ascii=False) + "\n").encode()


def unseal(data: bytes, where: str, *, remedy: str) -> dict[str, Any]:
    """Read what `seal` wrote.

    Raises: StoreError naming the file if a byte is not as it was written.
    """
    try:
        held = json.loads(data)
        page = held["page"]
        whole = isinstance(page, dict) and held["sha256"] == _sum(page)
    except (ValueError, TypeError, KeyError, UnicodeDecodeError):
        whole = False
    if not whole:
        raise StoreError(f"{where} is damaged: its checksum does not match what it says. {remedy}")
    return dict(page)


def _sum(page: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page, sort_keys=True).encode()).hexdigest()
