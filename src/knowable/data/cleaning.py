"""`Cleaning`: the part of a store that doubts its data."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from knowable.data.base import StoreBase
from knowable.data.quality.clean import CleaningReport, clean, read_flags
from knowable.data.quality.rules import Rule
from knowable.data.times import instant

__all__ = ["Cleaning"]


class Cleaning(StoreBase):
    """Judge datasets by rules, and say how good they are."""

    def clean(
        self, name: str, rules: Sequence[Rule] | None = None, *, dry_run: bool = False, version: int | None = None
    ) -> CleaningReport:
        """Judge a dataset by rules; flag, withdraw or repair what they doubt, from the moment that was knowable.

        A rule judges each statement by what was known when it arrived. What it does is known from the last of its
        evidence on: an as-of read before that moment still shows what a live system saw. No row is changed or
        removed: a quarantined statement is retracted and copied into the quarantine, a repaired one is retracted and
        stated anew with known_basis ``"repaired"``. Cleaning again changes nothing; only entities with new rows are
        looked at.

        Args:
            name: of the dataset.
            rules: of `knowable.data.quality.rules`, such as ``[Jump(confirm="back", do="quarantine")]``; the default
                ones of its kind when None, which only flag. Of several that would act on one statement the first
                does: the one known first, then the one listed first.
            dry_run: tell what would be found, and write nothing.
            version: judge this one; with dry_run=False only the newest can be.

        Returns: the new verdicts, each with its evidence's known time.

        Raises: UnknownNameError for a dataset or field; InputError for rules without sense; StoreError; ConflictError.
        """
        return clean(self._dataset(name), rules, dry_run=dry_run, version=version, find=self._dataset)

    def flags(self, name: str, *, as_of: object = None, entities: Sequence[str] | None = None) -> pa.Table:
        """Verdicts that cleaning wrote down: rule, done, entity, times, field, value, expected, detail.

        Args:
            name: of the dataset.
            as_of: verdicts known by this moment; all when None.
            entities: about these; all when None.

        Returns: columns as `knowable.data.quality.flags.FLAGS`, by known_time, entity and event_time.

        Raises: UnknownNameError, InputError, StoreError.
        """
        until = None if as_of is None else instant(as_of, "as_of")
        rows = read_flags(self._dataset(name), entities=entities, known_until=until)
        return rows.sort_by([("known_time", "ascending"), ("entity", "ascending"), ("event_time", "ascending")])
