"""`Following`: the part of a store for those who live with it: rows as they land, and a state that grows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from knowable.data.asof.tail import Tail
from knowable.data.base import StoreBase, check_fields, check_names
from knowable.data.schema import lag_ns
from knowable.data.table.delta import open_table, scan
from knowable.data.table.feed import Feed, Update, updates
from knowable.errors import InputError, shown

__all__ = ["Following"]


class Following(StoreBase):
    """Follow a dataset while others write it."""

    def follow(
        self,
        name: str,
        from_version: int = 0,
        *,
        fields: Sequence[str] | None = None,
        entities: Sequence[str] | None = None,
        poll: str = "200ms",
        until: int | None = None,
        timeout: str | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[Update]:
        """The rows of each commit after a version, once each, in the order of the versions; then wait for more.

        A compaction brings no rows and gives no update; after a field was added, updates have it. Whoever stores the
        `version` of the last update handled goes on from there after a crash: ``follow(name, from_version=version)``.

        Args:
            name: of the dataset.
            from_version: commits after this version; 0 for all.
            fields: to read; those of the schema at each commit when None.
            entities: to read; all when None. A commit without rows of them gives no update.
            poll: how often to look for a new commit; one look costs the same whatever the length of the log.
            until: end after this version.
            timeout: end when nothing came for so long, such as ``"0s"`` to take what there is.
            stop: end soon after this event is set.

        Yields: `Update`: version, committed_at, and `rows`: entity, event_time, known_time, revision, op, known_basis
            and the fields, sorted by known_time, revision, entity, event_time.

        Raises: UnknownNameError, InputError at once; StoreError if rows of a commit are damaged, or retention removed
            them: then read a version that is kept, and follow from there.
        """
        dataset = self._dataset(name)
        wanted = None if fields is None else check_fields(dataset, fields)
        names = None if entities is None else check_names(entities)
        if until is not None and (isinstance(until, bool) or not isinstance(until, int)):
            raise InputError(f"`until` is a version, a whole number, but it is {until!r}.")
        if stop is not None and not (hasattr(stop, "is_set") and hasattr(stop, "wait")):
            raise InputError(f"`stop` must be an event, such as threading.Event(), but it is {shown(stop)}.")
        table = open_table(dataset.observations, from_version, name)  # rows after a dropped version may well be there
        return updates(
            Feed(dataset, table, fields=wanted, entities=names),
            poll=lag_ns(poll) / 1e9,
            until=until,
            timeout=None if timeout is None else lag_ns(timeout) / 1e9,
            stop=threading.Event() if stop is None else stop,
        )

    def tail(
        self,
        name: str,
        *,
        fields: Sequence[str] | None = None,
        entities: Sequence[str] | None = None,
        version: int | str | None = None,
    ) -> Tail:
        """A dataset in memory that takes in new commits and gives the panel rows of new times as they come.

        It is the sweep of `panel`, kept between calls: rows for times after the last cost what is new. They have the
        bits `panel` gives at the version reached, unless a row came late: known before a time already asked for, but
        committed after. Such rows count from then on, and `Tail.late` says how many there were.

        Args:
            name: of the dataset.
            fields: number fields to give; all of them when None.
            entities: columns; None: all known at the start, sorted.
            version: to begin with, or a snapshot's name; the newest when None.

        Raises: UnknownNameError, InputError, StoreError.
        """
        dataset = self._dataset(name, version)
        keys = dataset.schema.keys
        wanted = list(dataset.schema.numeric) if fields is None else check_fields(dataset, fields)
        for item in wanted:
            if item not in dataset.schema.numeric:
                kind = dataset.schema.fields[item].dtype
                raise InputError(f"A tail gives numbers, but {item!r} of {name!r} is no number: its dtype is {kind!r}.")
        names = None if entities is None else check_names(entities)
        table = dataset.open(version)
        columns = ["entity", "event_time", "known_time", "revision", "op", *keys, *wanted]
        rows = scan(table, columns=columns, entities=names)
        columns_of = sorted(rows["entity"].unique().to_pylist()) if names is None else names
        feed = Feed(dataset, table, fields=[*keys, *wanted], entities=columns_of)
        return Tail(fields=wanted, entities=columns_of, keys=keys, version=table.version, rows=rows, feed=feed.take)
