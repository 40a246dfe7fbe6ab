"""`Cleaning`: the part of a store that doubts its data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.base import StoreBase
from knowable.data.quality.clean import CleaningReport, clean, read_flags
from knowable.data.quality.measure import measure
from knowable.data.quality.report import QualityReport
from knowable.data.quality.rules import Rule
from knowable.data.table import delta
from knowable.data.table.dataset import schema_of
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

    def quality(self, name: str, *, version: int | None = None, as_of: object = None) -> QualityReport:
        """How good a dataset is: by field, entity, month and rule; what is missing, stale, restated, late, doubted.

        Args:
            name: of the dataset.
            version: of it; the newest when None. Refused rows and verdicts are the newest always: they have no
                version, only a known time.
            as_of: look at what was known by this moment; all when None.

        Returns: a report that shows itself; ``.frame(by="field" | "entity" | "month" | "rule")``, ``.write(path)``.

        Raises: UnknownNameError, InputError, StoreError.
        """
        dataset = self._dataset(name)
        table = dataset.open(version)
        until = None if as_of is None else instant(as_of, "as_of")
        flags = read_flags(dataset, known_until=until)
        refused = delta.scan(dataset.refused())
        if until is not None:
            moment = pa.scalar(until // 1000, pa.int64()).cast(refused.schema.field("known_time").type)
            refused = refused.filter(pc.fill_null(pc.less_equal(refused["known_time"], moment), True))
        refused = refused.filter(pc.is_null(refused["mends"]))
        return QualityReport(
            dataset=name,
            version=table.version,
            as_of=None if until is None else pd.Timestamp(until, tz="UTC"),
            kind=dataset.schema.kind,
            measures=measure(delta.scan(table, known_until=until), schema_of(table), flags, refused),
        )
