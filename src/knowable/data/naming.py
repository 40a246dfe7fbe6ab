"""`Naming`: the part of a store that knows which permanent entity bore which ticker when."""

from __future__ import annotations

from collections.abc import Sequence

from knowable.calendars import calendar as calendar_of
from knowable.data.base import StoreBase, check_names
from knowable.data.corporate.identity import OPEN, Names, standing_names
from knowable.data.times import instant, span_bound
from knowable.errors import InputError

__all__ = ["Naming"]


class Naming(StoreBase):
    """Tickers to permanent ids and back, at a moment and as known at another."""

    def identify(
        self, dataset: str, names: Sequence[str], *, at: object, as_of: object = None, version: int | str | None = None
    ) -> list[str]:
        """The permanent ids of tickers at a moment.

        Args:
            dataset: of intervals whose entity is the permanent id, with the key or text field ``ticker``; a ticker is
                borne from event_time until `end`, and an open interval also ends where the entity's next one begins.
            names: tickers.
            at: the moment at which they are borne; a date means that session, or that UTC day.
            as_of: intervals known after this moment are not seen; None sees all.
            version: of the dataset, or a snapshot's name; the newest when None.

        Returns: an entity for each name, in their order.

        Raises: UnknownNameError if nobody ever bore a name (the nearest is offered) or nobody did at that moment (who
            did is told); InputError if several entities bear it then.
        """
        return self._names(dataset, as_of, version).identify(check_names(names, "names"), self._at(dataset, at))

    def names(
        self,
        dataset: str,
        entities: Sequence[str],
        *,
        at: object,
        as_of: object = None,
        version: int | str | None = None,
    ) -> list[str]:
        """The tickers that permanent ids bear at a moment, such as ``store.names("tickers", market.assets, at=day)``.

        Args:
            dataset: see `identify`.
            entities: permanent ids.
            at: the moment; a date means that session, or that UTC day.
            as_of: intervals known after this moment are not seen; None sees all.
            version: of the dataset, or a snapshot's name; the newest when None.

        Returns: a ticker for each entity, in their order; the one begun last where it bears several.

        Raises: UnknownNameError if an entity bears none then, saying which it bore when.
        """
        return self._names(dataset, as_of, version).names_of(check_names(entities), self._at(dataset, at))

    def _names(self, dataset: str, as_of: object, version: int | str | None) -> Names:
        held = self._load(self._dataset(dataset, version), version)
        moment = OPEN if as_of is None else instant(as_of, "as_of")
        return standing_names(held.facts, held.schema, dataset, as_of=moment, pin=held.pin)

    def _at(self, dataset: str, at: object) -> int:
        name = self._dataset(dataset).schema.calendar
        moment = span_bound(at, "at", calendar_of(name) if name is not None else None, end=True)
        if moment is None:
            raise InputError("`at` must be a date or a moment, but it is None: a ticker names an entity for a while.")
        return moment
