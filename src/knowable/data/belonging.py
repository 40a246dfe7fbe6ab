"""`Belonging`: the part of a store that says who was a member of what, as known at the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from knowable.data.base import StoreBase, check_names
from knowable.data.corporate.membership import Flags, make_members
from knowable.data.times import instants
from knowable.errors import unknown_name

__all__ = ["Belonging"]


class Belonging(StoreBase):
    """Members of an index or another list, from a dataset of intervals."""

    def members(
        self,
        name: str,
        *,
        clock: Iterable[Any],
        entities: Sequence[str] | None = None,
        key: str | Mapping[str, str] | None = None,
        version: int | str | None = None,
    ) -> Flags:
        """Who was a member at each time, as was known then.

        A removal that was announced after it took effect shows from its announcement on; an addition announced ahead
        shows from its start.

        Args:
            name: dataset of intervals.
            clock: (n_times,) ascending moments: int64 ns UTC, datetime64 (taken as UTC) or zoned times.
            entities: columns; all with an interval of that key, sorted, when None. A name without one is no member.
            key: value of the dataset's key, such as ``"SP500"``, or a mapping where it has several keys. Needed where
                the dataset holds more than one.
            version: of the dataset, or a snapshot's name; the newest when None.

        Returns: (n_times, n_entities) bool, read-only. True at row t where any interval that stands, of the rows with
            known_time <= clock[t], holds: event_time <= clock[t] < end.

        Raises: UnknownNameError (dataset, key, or no entity known at all), InputError, StoreError.
        """
        dataset = self._dataset(name)
        times = instants(clock, "clock")
        held = make_members(self._load(dataset, version).facts, dataset.schema, key, name)
        names = held.names if entities is None else check_names(entities)
        if names and not set(names) & set(held.names):
            raise unknown_name("entity", names[0], held.names, where=f"dataset {name!r}")
        return held.panel(times, names)
