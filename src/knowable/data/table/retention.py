"""Retention: data files that no kept version needs are removed, and a note says which versions went with them.

What is kept: the newest version, versions young enough, and every version that a snapshot or a pin names. A note is
written before a file goes, and pins are looked at once more after it; whoever pins a version looks at the notes after
its pin is written. So of a retention and a pin that meet, at least one sees the other, and no pinned version is lost.
"""

from __future__ import annotations

import bisect
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from knowable.data.schema import lag_ns
from knowable.data.table import delta
from knowable.data.table.location import Location
from knowable.data.table.log import Commit, Life, lives, read_commit
from knowable.data.table.pages import seal, unseal
from knowable.errors import ConflictError, InputError, StoreError, shown

__all__ = ["Retention", "dropped", "refuse_dropped", "retain_versions"]

_NOTES = ".retention"
_ABANDONED_NS = 7 * 86_400_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What a retention did, or would do.

    Attributes:
        dataset: name.
        kept: versions that are kept, ascending; none that an earlier retention dropped.
        dropped: versions that can no longer be read, ascending, those of earlier retentions not among them.
        files: data files removed.
        orphans: files removed that no version ever had: what writers that were killed left, at least a week ago.
        freed_bytes: their size.
        dry_run: whether nothing was done.
    """

    dataset: str
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    files: tuple[str, ...]
    orphans: tuple[str, ...] = ()
    freed_bytes: int
    dry_run: bool

    def __repr__(self) -> str:
        would = "would free" if self.dry_run else "freed"
        n_files = len(self.files) + len(self.orphans)
        if not n_files:
            return f"Retention of {self.dataset!r}: there is nothing to remove; {len(self.kept):,} versions are kept."
        left = f" ({len(self.orphans):,} of them left by writers that were killed)" if self.orphans else ""
        return (
            f"Retention of {self.dataset!r} {would} {self.freed_bytes:,} bytes in {n_files:,} files{left}. "
            f"Versions that can no longer be read: {_spans(self.dropped)}. Kept: {_spans(self.kept)}."
        )


def retain_versions(
    where: Location,
    notes: Location,
    name: str,
    *,
    keep: str | int,
    pinned: Callable[[], Mapping[int, str]],
    now: pd.Timestamp,
    dry_run: bool,
) -> Retention:
    """Remove the files that no kept version needs.

    Args:
        where: the table.
        notes: folder of the dataset, where the notes lie.
        name: of the dataset.
        keep: how many of the newest versions, or how long a version is kept after a newer one took its place.
        pinned: version -> who relies on it; asked twice.
        now: the time.
        dry_run: say what would be removed, and remove nothing.

    Raises: InputError; ConflictError if a version was pinned while it was about to go; StoreError if log, pins or notes
        are damaged: then nothing is removed.
    """
    newest = delta.open_table(where, None, name)
    commits = {version: read_commit(where, version, name) for version in range(newest.version + 1)}
    # a version that came since, and was pinned at once, has no file that was gone before it
    named = {version for version in pinned() if version <= newest.version}
    pages = _pages(notes)
    earlier = dropped(notes)  # read after them, so what replaces these pages says all they say
    kept = (_kept(commits, keep, now) - earlier.keys()) | {newest.version} | named
    files = lives(commits)
    there = set(where.names())
    ordered = sorted(kept)
    going = {path: life for path, life in files.items() if path in there and not _needed(life, ordered)}
    _held_against_tables(where, name, ordered, commits, going)
    orphans = _orphans(where, files, now)
    gone = {version for life in going.values() for version in range(life.born, life.gone or 0)}
    done = Retention(
        dataset=name,
        kept=tuple(ordered),
        dropped=tuple(sorted(gone - earlier.keys())),
        files=tuple(sorted(going)),
        orphans=tuple(orphans),
        freed_bytes=sum(life.size for life in going.values()) + sum(orphans.values()),
        dry_run=dry_run,
    )
    if dry_run:
        return done
    for path in orphans:
        where.delete(path)
    if not going:
        return done
    folder, note = notes.child(_NOTES), f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}.json"
    folder.write(note, seal({"spans": _joined({**dict.fromkeys(gone, now), **earlier})}), new=True)
    late = sorted(gone & pinned().keys())
    if late:
        folder.delete(note)
        raise ConflictError(
            f"Version {late[0]} of {name!r} was pinned ({pinned()[late[0]]}) while retention was about to drop it. "
            "Nothing was removed; repeat the retention."
        )
    for path in done.files:
        where.delete(path)
    for page in pages:  # the new note says what they said
        folder.delete(page)
    return done


def dropped(notes: Location) -> dict[int, pd.Timestamp]:
    """Versions that retention dropped, and when. Args: notes: folder of the dataset. Raises: StoreError."""
    found: dict[int, pd.Timestamp] = {}
    folder = notes.child(_NOTES)
    for name in _pages(notes):
        page = unseal(folder.read(name), f"{folder.uri}/{name}", remedy="Restore it from a copy, or delete it.")
        for first, last, at in page["spans"]:
            moment = pd.Timestamp(at)
            found |= {version: min(moment, found.get(version, moment)) for version in range(first, last + 1)}
    return found


def refuse_dropped(notes: Location, name: str, version: int) -> None:
    """Raises: StoreError if retention dropped this version."""
    gone = dropped(notes)
    if isinstance(version, int) and version in gone:
        later = next(v for v in range(version + 1, max(gone) + 2) if v not in gone)
        raise StoreError(
            f"Version {version} of dataset {name!r} was dropped by retention at {gone[version]:%Y-%m-%d %H:%M}Z: some "
            f"of its files are gone.\nThe next version that can be read is {later}. Versions that must last are "
            "named by a snapshot (store.snapshot) or a pin (store.pin)."
        )


def _orphans(where: Location, files: Mapping[str, Life], now: pd.Timestamp) -> dict[str, int]:
    """Data files in no entry of the log, name -> bytes; young ones may be of a writer that is about to commit."""
    old = where.abandoned(now.value - _ABANDONED_NS)
    lost = [name for name in old if name not in files and (name.startswith(".part-") or name.endswith(".parquet"))]
    return {name: where.size(name) for name in lost}


def _pages(notes: Location) -> list[str]:
    return [name for name in notes.child(_NOTES).names() if name.endswith(".json") and not name.startswith(".")]


def _joined(moments: Mapping[int, pd.Timestamp]) -> list[list[object]]:
    """Versions that follow one another and went at one moment, as first, last and moment."""
    spans: list[list[Any]] = []
    for version in sorted(moments):
        at = moments[version].isoformat()
        if spans and spans[-1][1] == version - 1 and spans[-1][2] == at:
            spans[-1][1] = version
        else:
            spans.append([version, version, at])
    return spans


def _kept(commits: Mapping[int, Commit], keep: object, now: pd.Timestamp) -> set[int]:
    """Versions young enough. One is as old as the time since a newer one took its place."""
    if isinstance(keep, int) and not isinstance(keep, bool):
        if keep < 1:
            raise InputError(f"`keep >= 1` must hold where it counts versions, but keep={keep}.")
        return set(sorted(commits)[-keep:])
    if not isinstance(keep, str):
        raise InputError(f"`keep` is a number of versions or an age such as '30d', but it is {shown(keep)}.")
    oldest = now.value // 1_000_000 - lag_ns(keep) // 1_000_000
    return {version for version in commits if version + 1 not in commits or commits[version + 1].at >= oldest}


def _needed(life: Life, kept: list[int]) -> bool:
    """Whether a kept version lies in the life of a file."""
    at = bisect.bisect_left(kept, life.born)
    return at < len(kept) and (life.gone is None or kept[at] < life.gone)


def _held_against_tables(
    where: Location, name: str, kept: list[int], commits: Mapping[int, Commit], going: Mapping[str, Life]
) -> None:
    """Open the kept versions and see that none of them names a file that is going.

    Versions between which nothing was removed need no more than the last of them, so only that one is opened.

    Raises: StoreError: a log entry does not say what the tables say.
    """
    for version, following in zip(kept, [*kept[1:], None], strict=True):
        if following is not None and not any(commits[k].removed for k in range(version + 1, following + 1)):
            continue
        named = set(delta.open_table(where, version, name).files["path"].to_pylist())
        if named & going.keys():
            raise StoreError(
                f"The log of dataset {name!r} contradicts itself: version {version} needs {min(named & going.keys())}, "
                "which an entry of the log calls removed. Nothing was removed."
            )


def _spans(versions: Iterable[int]) -> str:
    spans: list[list[int]] = []
    for version in versions:
        if spans and spans[-1][1] == version - 1:
            spans[-1][1] = version
        else:
            spans.append([version, version])
    named = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    return ", ".join(named[:12]) + (", ..." if len(named) > 12 else "") or "none"
