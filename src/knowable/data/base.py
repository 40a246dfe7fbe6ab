"""What every part of a store shares: where it lives, how a dataset is opened and kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from knowable.calendars import calendar as calendar_of
from knowable.data.asof.assemble import Loaded
from knowable.data.asof.facts import Facts, make_facts
from knowable.data.table import delta
from knowable.data.table.dataset import Dataset, dataset_names, open_dataset
from knowable.data.times import span_bound
from knowable.errors import InputError, StoreError, shown, unknown_name

__all__ = ["StoreBase", "check_fields", "check_names", "check_span"]

_KEPT = 4  # dataset versions kept in memory


class StoreBase:
    """The folder of a store and the dataset versions held in memory; the parts of `Store` add the verbs."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"A store cannot live in {self.folder}: {error.strerror}.") from error
        self._facts: OrderedDict[tuple[str, str, int], Facts] = OrderedDict()
        self._lock = threading.Lock()

    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets, sorted."""
        return dataset_names(self.folder)

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r}: {', '.join(self.datasets()) or 'no datasets yet'})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder,)

    @property
    def _cache(self) -> Path:
        return self.folder / ".cache"

    def _dataset(self, name: object) -> Dataset:
        """The dataset of a name. Raises: UnknownNameError."""
        return open_dataset(self.folder, name)

    def _load(self, dataset: Dataset, version: int | None, table: Any = None) -> Loaded:
        """A version in memory, sorted for the sweep; the last few are kept."""
        table = dataset.open(version) if table is None else table
        key = (dataset.name, delta.table_id(table), int(table.version()))
        with self._lock:
            facts = self._facts.get(key)
            if facts is not None:
                self._facts.move_to_end(key)
        if facts is None:
            facts = make_facts(delta.load(dataset.observations, table), keys=dataset.schema.keys)
            with self._lock:
                self._facts[key] = facts
                while len(self._facts) > _KEPT:
                    self._facts.popitem(last=False)
        pin = {"dataset": dataset.name, "version": str(key[2]), "table": key[1]}
        return Loaded(name=dataset.name, schema=dataset.schema, facts=facts, pin=pin)


def check_fields(dataset: Dataset, fields: Sequence[str] | None) -> list[str]:
    """The fields asked for, all when None. Raises: UnknownNameError, offering the nearest."""
    if fields is None:
        return list(dataset.schema.fields)
    for name in check_names(fields, "fields"):
        if name not in dataset.schema.fields:
            raise unknown_name("field", name, dataset.schema.fields, where=f"dataset {dataset.name!r}")
    return list(fields)


def check_names(values: Sequence[str], what: str = "entities") -> list[str]:
    """A list of names, none twice. Raises: InputError if it is one text or holds something else."""
    if isinstance(values, str):
        raise InputError(f"`{what}` must be a list of names, but it is the text {shown(values)}; write [{values!r}].")
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
    first, last = span_bound(start, "start", sessions, end=False), span_bound(end, "end", sessions, end=True)
    if first is not None and last is not None and first > last:
        raise InputError(f"`start <= end` must hold, but start={shown(start)}, end={shown(end)}.")
    return first, last
