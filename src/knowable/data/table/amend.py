"""Amending a dataset: its schema grows, and rows that were refused are mended or dismissed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from knowable.data.corporate.identity import Names
from knowable.data.evolution import evolved
from knowable.data.fields import Field
from knowable.data.ingest.batch import Known, known_of, make_batch
from knowable.data.ingest.judge import IngestReport, judge
from knowable.data.ingest.mend import ID, Mend, check_ids, dismissed, mends, settled
from knowable.data.ingest.source import from_memory
from knowable.data.ingest.tally import Tally, add, make_report, tally
from knowable.data.schema import table_schema
from knowable.data.table import delta
from knowable.data.table.dataset import SCHEMA, Dataset, schema_of
from knowable.errors import ConflictError, InputError, shown

__all__ = ["dismiss_rows", "evolve_dataset", "mend_rows"]

_TRIES = 50
_PAUSE_S = 0.01


def evolve_dataset(
    dataset: Dataset, add: Mapping[str, Field | str] | None, widen: Mapping[str, Field | str] | None
) -> int:
    """Let the schema grow; `Store.evolve` says how. Another writer's growth meanwhile is grown further.

    Returns: the version that has the new schema.
    """
    for _ in range(_TRIES):
        with delta.locked(dataset.location):
            table = dataset.open()
            schema = schema_of(table)
            new = evolved(schema, add, widen, dataset.name)
            if new == schema:
                return table.version
            columns = table_schema(new)
            for held in table.schema:
                if held.name in columns.names and columns.field(held.name).type != held.type:
                    raise InputError(
                        f"The table of dataset {dataset.name!r} has a column {held.name!r} of {held.type} from a call "
                        "that was cut off. Repeat that call, or choose another name for the field."
                    )
            missing = [column for column in columns if column.name not in table.schema.names]
            try:
                return delta.evolve(table, missing, {SCHEMA: new.to_json()})
            except ConflictError:
                pass
        time.sleep(_PAUSE_S)
    raise ConflictError(f"Other writers changed dataset {dataset.name!r} {_TRIES} times meanwhile; repeat the call.")


def mend_rows(
    dataset: Dataset, frame: object, given: Mapping[str, Any], names_of: Callable[[str], Names]
) -> IngestReport:
    """Judge corrected rows as any others, store the good ones, and record whose refusal that settles.

    Repeating it changes nothing: rows that are stored are duplicates, and an id is settled once. A process that dies
    between the two tables leaves the id open, and repeating the mend completes it.

    Args:
        dataset: of the rows.
        frame: the corrected rows.
        given: arguments of the append that take the place of those the rows were refused under; None where not.
        names_of: who bore which name when, by the name of a dataset of identifiers.
    """
    parts = mends(frame, delta.scan(dataset.refused()), dataset.name)
    found = [_mend(dataset, part, given, names_of) for part in parts]
    refused = add(item for item, _ in found)
    n_bad = sum(refused.rules.values())
    notes = [f"{n_bad:,} rows still break a rule; they stay in the quarantine as they were"] if n_bad else []
    told = [report for _, report in found]
    return make_report(
        dataset.name,
        refused,
        accepted=sum(report.accepted for report in told),
        duplicates=sum(report.duplicates for report in told),
        version=max(report.version for report in told),
        basis=", ".join(dict.fromkeys(report.known_basis for report in told)),
        notes=[*notes, *dict.fromkeys(note for report in told for note in report.notes)],
    )


def dismiss_rows(dataset: Dataset, ids: object, note: str) -> int:
    """Record that nobody will mend some rows; `Store.dismiss` says how. Returns: how many were open until now."""
    if not isinstance(note, str) or not note.strip():
        raise InputError(f"`note` must say why nobody will mend the rows, but it is {shown(note)}.")
    names = ids[ID].tolist() if isinstance(ids, pd.DataFrame) and ID in ids.columns else ids
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InputError(
            f"`ids` must be rows of store.quarantined_rows({dataset.name!r}), or a list of their ids, but it is "
            f"{shown(ids)}."
        )
    rows = delta.scan(dataset.refused())
    known = check_ids(names, rows, dataset.name)
    batch = f"knowable-dismiss-{_digest([sorted(known), note])}"
    records = dismissed(known, rows, note=note, batch=batch)
    dataset.refuse(records, batch)
    return len(records)


def _mend(
    dataset: Dataset, part: Mend, given: Mapping[str, Any], names_of: Callable[[str], Names]
) -> tuple[Tally, IngestReport]:
    """Mend the rows that are read in one way. Returns: those that were refused again, and the report."""
    source = from_memory(part.frame)
    columns = part.columns if given["columns"] is None else given["columns"]
    tz = part.tz if given["tz"] is None else given["tz"]
    known = known_of(source, dataset.schema, columns, _known(dataset, part, columns, given))
    identifiers = part.identifiers if given["identifiers"] is None else given["identifiers"]
    names = None if identifiers is None else names_of(identifiers)
    pin = None if names is None else dict(names.pin)
    batch_id = f"knowable-mend-{_digest([source.digest, part.ids, columns, tz, str(known), pin])}"
    batch = make_batch(source, dataset.schema, columns=columns, tz=tz, known=known, habits=part.habits, names=names)
    judged = judge(batch, dataset.schema, batch_id)
    done = dataset.land(judged, batch_id, batch.basis, keep_refused=False)
    if done is None:  # landed before: settled once more, what landed is a duplicate, and what was refused is told again
        done = dataset.land(judged, f"{batch_id}+", batch.basis, keep_refused=False)
    landed, version = done if done is not None else (judged, dataset.open().version)
    still = landed.bad["row"].to_pylist()
    records = settled(still, part.ids, delta.scan(dataset.refused()), batch=batch_id, version=version)
    dataset.refuse(records, batch_id)
    refused = tally(landed.bad)
    return refused, make_report(
        dataset.name,
        refused,
        accepted=landed.clean.num_rows,
        duplicates=landed.duplicates,
        version=version,
        basis=batch.basis,
        notes=landed.notes,
    )


def _known(dataset: Dataset, part: Mend, columns: Mapping[str, str], given: Mapping[str, Any]) -> Known:
    """How the corrected rows came to be known: as the user says, else as before, else as the schema says."""
    basis = given["known_basis"]
    held = part.known
    stated = any(columns.get(name, name) == "known_time" for name in part.frame.columns)
    declared = held is not None and (held.lag_ns is not None or held.instant_ns is not None)
    said = [given[name] for name in ("known_lag", "known_time", "known_at")]
    if held is None or (stated and declared) or any(item is not None for item in said):
        return dataset.known(said[0], said[1], basis, said[2])
    return held if basis is None else replace(held, basis=basis, given=True)


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:40]
