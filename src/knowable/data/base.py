"""What every part of a store shares: where it lives, how a dataset is opened and kept in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from knowable.calendars import calendar as calendar_of
from knowable.data.asof.assemble import Loaded
from knowable.data.asof.cache import CACHE_BYTES
from knowable.data.asof.load import whole
from knowable.data.asof.memory import Memory
from knowable.data.table.dataset import Dataset, dataset_names, open_dataset, schema_of
from knowable.data.table.location import Location
from knowable.data.times import span_bound
from knowable.errors import InputError, StoreError, UnknownNameError, shown, unknown_name

__all__ = ["StoreBase", "check_fields", "check_names", "check_span"]


class StoreBase:
    """The folder of a store and the dataset versions held in memory; the parts of `Store` add the verbs."""

    def __init__(
        self,
        where: str | Path | Location,
        storage_options: Mapping[str, str] | None = None,
        cache: str | Path | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.location = Location.of(where, storage_options)
        if self.location.path is not None:
            try:
                self.location.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"A store cannot live in {shown(self.location.uri, 200)}: {error.strerror}."
                ) from error
        self._given_cache = None if cache is None else Path(cache)
        self._cache_bytes = cache_bytes
        self._memory = Memory()

    @property
    def folder(self) -> Path:
        """Folder of the store. Raises: InputError if it is at a URL."""
        if self.location.path is None:
            raise InputError(f"{self.location} is no folder; use store.location.")
        return self.location.path

    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets, sorted."""
        return dataset_names(self.location)

    def __repr__(self) -> str:
        try:
            held = ", ".join(self.datasets()) or "no datasets yet"
        except StoreError:
            held = "not within reach"
        return f"Store({self.location.uri!r}: {held})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.location, None, self._given_cache, self._cache_bytes)

    @property
    def _cache(self) -> Path:
        if self._given_cache is not None:
            return self._given_cache
        return _user_cache(self.location.uri) if self.location.path is None else self.location.path / ".cache"

    def _dataset(self, name: object, version: int | str | None = None) -> Dataset:
        """The dataset of a name, with its schema as of a version. Raises: UnknownNameError, StoreError."""
        return open_dataset(self.location, name, version)

    def _load(self, dataset: Dataset, version: int | str | None, table: Any = None) -> Loaded:
        """A version in memory, sorted for the sweep; the last few are kept."""
        table = dataset.open(version) if table is None else table
        facts = self._memory.get((table.id, table.version), lambda: whole(table, dataset.schema))
        pin = {"dataset": dataset.name, "version": str(table.version), "table": table.id}
        return Loaded(name=dataset.name, schema=dataset.schema, facts=facts, pin=pin)


def _user_cache(uri: str) -> Path:
    """Where one user of this machine keeps the panels of a store that is elsewhere."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    base = Path(home) if home else Path.home() / ".cache"
    return base / "knowable" / hashlib.sha256(uri.encode()).hexdigest()[:24]


def check_fields(dataset: Dataset, fields: Sequence[str] | None) -> list[str]:
    """The fields asked for, all when None. Raises: UnknownNameError, offering the nearest."""
    if fields is None:
        return list(dataset.schema.fields)
    for name in check_names(fields, "fields"):
        if name not in dataset.schema.fields:
            raise _unknown_field(dataset, name)
    return list(fields)


def _unknown_field(dataset: Dataset, name: str) -> UnknownNameError:
    """The error for a field that a version does not have: a newer one may."""
    newest = dataset.open()
    if name not in schema_of(newest).fields:
        return unknown_name("field", name, dataset.schema.fields, where=f"dataset {dataset.name!r}")
    low, high = 0, newest.version  # fields are never dropped, so the first version that has it can be halved to
    while low < high:
        middle = (low + high) // 2
        try:
            has_it = name in schema_of(dataset.open(middle)).fields
        except StoreError:  # forgotten since
            has_it = False
        low, high = (low, middle) if has_it else (middle + 1, high)
    return UnknownNameError(
        f"Field {name!r} of dataset {dataset.name!r} came with version {low}, but an older one is read.\n"
        f"Read version {low} or a newer one, where rows from before have null, or leave the field out."
    )


def check_names(values: Sequence[str], what: str = "entities") -> list[str]:
    """A list of names, none twice. Raises: InputError if it is one text or holds something else."""
    if isinstance(values, str):
        raise InputError(f"`{what}` must be a list of names, but it is the text {shown(values)}; write [{values!r}].")
    if not isinstance(values, Iterable):
        raise InputError(f"`{what}` must be a list of names, but it is {shown(values)}.")
    names = list(values)
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"`{what}` must be a list of names, but it holds {shown(name)}.")
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise InputError(f"`{what}` names {min(twice)!r} twice.")
    return names


def check_span(dataset: Dataset, start: object, end: object) -> tuple[int | None, int | None]:
    """First and last event time in ns UTC, both included, None where open. Raises: InputError."""
    name = dataset.schema.calendar
    sessions = calendar_of(name) if name is not None else None
    first = span_bound(start, "start", sessions, end=False, opens=dataset.schema.labels_open)
    last = span_bound(end, "end", sessions, end=True)
    if first is not None and last is not None and first > last:
        raise InputError(f"`start <= end` must hold, but start={shown(start)}, end={shown(end)}.")
    return first, last
