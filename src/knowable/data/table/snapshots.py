"""Named snapshots and pins: which versions somebody relies on, each a sealed page that retention reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from knowable.data.names import check_dataset_name
from knowable.data.table.location import Location
from knowable.data.table.pages import seal, unseal
from knowable.errors import ConflictError, InputError, StoreError, shown, unknown_name

__all__ = [
    "Pin",
    "Snapshot",
    "drop_pin",
    "drop_snapshot",
    "find_snapshot",
    "pins",
    "resolve_versions",
    "save_pin",
    "save_snapshot",
    "snapshots",
    "version_in",
]

_SNAPSHOTS = ".snapshots"
_PINS = ".pins"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-?\d{2}-?\d{2}T\d")
_REMEDY = "Restore it from a copy, or delete it if you know that nobody relies on it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The versions of some datasets under a name.

    Attributes:
        name: such as ``"2026-q1"``.
        versions: dataset -> version.
        tables: dataset -> id of its table, so that a dataset made anew under the same name is told apart.
        created_at: UTC.
        note: a sentence for people.
    """

    name: str
    versions: Mapping[str, int]
    tables: Mapping[str, str]
    created_at: pd.Timestamp
    note: str = ""

    def __repr__(self) -> str:
        held = [f"{name} {version}" for name, version in sorted(self.versions.items())]
        names = ", ".join(held[:8]) + (f" and {len(held) - 8} more" if len(held) > 8 else "")
        return f"Snapshot {self.name!r} of {self.created_at:%Y-%m-%d %H:%M}Z: {names}" + (
            f"\n  {self.note[:200]}" if self.note else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One version of one dataset that somebody relies on, such as a run.

    Attributes:
        dataset: name.
        version: of the dataset.
        table: id of its table.
        by: who relies on it.
        pinned_at: UTC.
    """

    dataset: str
    version: int
    table: str
    by: str
    pinned_at: pd.Timestamp


def save_snapshot(root: Location, snapshot: Snapshot) -> Snapshot:
    """Write a snapshot that does not exist yet.

    Raises: InputError for a name outside the allow-list; StoreError if the name is taken by other versions.
    """
    _check_name(snapshot.name)
    if not isinstance(snapshot.note, str):
        raise InputError(f"`note` must be a sentence for people, but it is {shown(snapshot.note)}.")
    if not snapshot.versions:
        raise InputError(
            f"Snapshot {snapshot.name!r} would name nothing: the store has no datasets, or none was chosen."
        )
    page = {
        "name": snapshot.name,
        "versions": dict(snapshot.versions),
        "tables": dict(snapshot.tables),
        "created_at": snapshot.created_at.isoformat(),
        "note": snapshot.note,
    }
    try:
        root.child(_SNAPSHOTS).write(f"{snapshot.name}.json", seal(page), new=True)
    except ConflictError:
        held = find_snapshot(root, snapshot.name)
        if held is not None and (held.versions, held.tables) == (snapshot.versions, snapshot.tables):
            return held
        raise StoreError(
            f"There is a snapshot {snapshot.name!r} already, of other versions; a snapshot does not change.\n"
            f"Choose another name, or drop it first: store.drop_snapshot({snapshot.name!r})."
        ) from None
    return snapshot


def snapshots(root: Location) -> tuple[Snapshot, ...]:
    """All snapshots, oldest first. Raises: StoreError if one is damaged."""
    found = [_snapshot(page) for page in _pages(root.child(_SNAPSHOTS))]
    return tuple(sorted(found, key=lambda item: (item.created_at, item.name)))


def find_snapshot(root: Location, name: object) -> Snapshot | None:
    """The snapshot of a name, None where there is none. Raises: StoreError if it is damaged."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    folder, page = root.child(_SNAPSHOTS), f"{name}.json"
    return _snapshot(_page(folder, page)) if folder.exists(page) else None


def version_in(root: Location, version: int | str | None, dataset: str) -> tuple[int | None, str | None]:
    """What ``version=`` means for a dataset: as it came, or what the snapshot of that name says.

    Returns: the version, and the id its table must have (None: any).

    Raises: UnknownNameError for a snapshot, or a dataset in it, that is not there.
    """
    if not isinstance(version, str):
        return version, None
    held = find_snapshot(root, version)
    if held is None:
        raise unknown_name("snapshot", version, [item.name for item in snapshots(root)])
    if dataset not in held.versions:
        raise unknown_name("dataset", dataset, held.versions, where=f"snapshot {version!r}")
    return held.versions[dataset], held.tables[dataset]


def resolve_versions(version: object, names: Sequence[str]) -> dict[str, int | str | None]:
    """What a user means by ``version=`` where several datasets are read: a number is of the first of them, a mapping
    says it for each, a snapshot's name is for all.

    Returns: dataset -> version for `Dataset.open`, None for the newest. Raises: UnknownNameError.
    """
    if isinstance(version, Mapping):
        for name in version:
            if name not in names:
                raise unknown_name("dataset", name, names, where="version")
        return {name: version.get(name) for name in names}
    if isinstance(version, str):
        return dict.fromkeys(names, version)
    return {**dict.fromkeys(names), names[0]: version}  # type: ignore[dict-item]  # judged where it is opened


def drop_snapshot(root: Location, name: object) -> None:
    """Forget a snapshot; the versions stay until retention. Raises: UnknownNameError."""
    folder = root.child(_SNAPSHOTS)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not folder.exists(f"{name}.json"):
        known = [page.removesuffix(".json") for page in folder.names() if _is_page(page)]
        raise unknown_name("snapshot", name, known)
    folder.delete(f"{name}.json")


def save_pin(root: Location, pin: Pin) -> None:
    """Write a pin; the same pin again changes nothing."""
    _check_by(pin.by)
    page = {
        "dataset": pin.dataset,
        "version": pin.version,
        "table": pin.table,
        "by": pin.by,
        "pinned_at": pin.pinned_at.isoformat(),
    }
    folder, name = root.child(_PINS, check_dataset_name(pin.dataset)), _pin_name(pin.version, pin.by)
    if not folder.exists(name):
        try:
            folder.write(name, seal(page), new=True)
        except ConflictError:
            return  # another process wrote the same pin at the same moment


def drop_pin(root: Location, dataset: str, version: int, by: str) -> None:
    """Forget a pin. Raises: UnknownNameError if there is none; InputError."""
    _check_by(by)
    folder, name = root.child(_PINS, check_dataset_name(dataset)), _pin_name(version, by)
    if not folder.exists(name):
        known = [f"version {pin.version} by {pin.by}" for pin in pins(root, dataset)]
        raise unknown_name("pin", f"version {version} by {by}", known, where=f"dataset {dataset!r}")
    folder.delete(name)


def pins(root: Location, dataset: str) -> tuple[Pin, ...]:
    """The pins of a dataset, by version. Raises: StoreError if one is damaged."""
    folder = root.child(_PINS, check_dataset_name(dataset))
    found = []
    for page in _pages(folder):
        moment = pd.Timestamp(page.pop("pinned_at"))
        found.append(Pin(**page, pinned_at=moment))
    return tuple(sorted(found, key=lambda pin: (pin.version, pin.by)))


def _check_by(by: object) -> None:
    if not isinstance(by, str) or not by or len(by) > 500:
        raise InputError(f"`by` says who relies on the version, such as 'run ...', but it is {shown(by)}.")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise InputError(
            f"{shown(name)} cannot be the name of a snapshot: 1 to 64 letters, digits, '.', '_' or '-' of ASCII are "
            "allowed, the first a letter, digit or '_', such as '2026-q1'."
        )
    if _MOMENT.match(name):
        raise InputError(f"{name!r} cannot be the name of a snapshot, because it reads as a moment in time.")


def _snapshot(page: dict[str, Any]) -> Snapshot:
    moment = pd.Timestamp(page.pop("created_at"))
    return Snapshot(**page, created_at=moment)


def _pages(folder: Location) -> Iterator[dict[str, Any]]:
    """The pages in a folder, without those that are forgotten while they are read."""
    for name in folder.names():
        if _is_page(name):
            try:
                yield _page(folder, name)
            except StoreError:
                if folder.exists(name):
                    raise


def _page(folder: Location, name: str) -> dict[str, Any]:
    return unseal(folder.read(name), f"{folder.uri}/{name}", remedy=_REMEDY)


def _pin_name(version: int, by: str) -> str:
    return f"{version}-{hashlib.sha256(by.encode()).hexdigest()[:24]}.json"


def _is_page(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
