"""Cleaning a dataset: judge what is new, then write down verdicts, withdrawals and repairs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.data.ingest.refused import QUARANTINE
from knowable.data.quality.acts import Acts, carry_out
from knowable.data.quality.arrivals import CLEANED, Arrivals, make_arrivals
from knowable.data.quality.clock import expected_labels, usual_spacing
from knowable.data.quality.flags import FLAGS, Docket, flag_rows, make_docket
from knowable.data.quality.judging import Context, judge
from knowable.data.quality.rules import Gap, Rule, check_rules, signature
from knowable.data.schema import Schema, table_schema
from knowable.data.table import delta
from knowable.data.table.dataset import Dataset, schema_of
from knowable.data.table.delta import Table
from knowable.data.table.files import write_files
from knowable.errors import ConflictError, InputError

__all__ = ["CleaningReport", "clean", "read_flags"]

_ROWS_AT_ONCE = 3_000_000  # of whole entities; about half a kilobyte of memory each
_LOOK_BACK = 256  # versions among which the last cleaning is sought; further back, everything is looked at
_TRIES = 20
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningReport:
    """What a cleaning did, or would do.

    Attributes:
        dataset: name.
        judged: version whose rows were judged.
        version: of the dataset after it.
        entities: entities looked at: those with rows since the last cleaning by the same rules.
        rows: statements judged.
        verdicts: the new verdicts, see ``store.flags(dataset)``; those of earlier cleanings are not told again.
        standing: verdicts found again.
        dry_run: whether nothing was written.
        notes: what else is worth knowing.
    """

    dataset: str
    judged: int
    version: int
    entities: int
    rows: int
    verdicts: pa.Table = field(repr=False)
    standing: int = 0
    dry_run: bool = False
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """(rule, what was done) -> new verdicts, most frequent first."""
        pairs = pd.Series(list(zip(self.verdicts["rule"].to_pylist(), self.verdicts["done"].to_pylist(), strict=True)))
        counts = pairs.value_counts(sort=False)
        return {(str(a), str(b)): int(counts[a, b]) for a, b in sorted(counts.index, key=lambda p: (-counts[p], p))}

    def frame(self) -> pd.DataFrame:
        """The new verdicts as a DataFrame, a row a verdict."""
        found: pd.DataFrame = self.verdicts.to_pandas()
        return found

    def __repr__(self) -> str:
        would = "would find" if self.dry_run else "found"
        head = f"CleaningReport: {self.rows:,} rows of {self.entities:,} entities of {self.dataset!r} judged"
        head += f" (version {self.judged}); {would} {self.verdicts.num_rows:,} new verdicts"
        lines = [head + (f", {self.standing:,} known before." if self.standing else ".")]
        first: dict[tuple[str, str], int] = {}
        for k, pair in enumerate(
            zip(self.verdicts["rule"].to_pylist(), self.verdicts["done"].to_pylist(), strict=True)
        ):
            first.setdefault(pair, k)
        for pair, n in list(self.counts.items())[:12]:
            row = self.verdicts.slice(first[pair], 1).to_pylist()[0]
            about = f"{row['entity']} of {row['event_time']:%Y-%m-%d %H:%M}Z"
            lines.append(f"  {n:,} x {pair[0]} ({_DONE[pair[1]]}); first {about}: {row['detail']}")
        if self.version != self.judged:
            lines.append(f"  Version {self.version} holds what was withdrawn or repaired, from when each was known.")
        lines += [f"  Note: {note}" for note in self.notes]
        if self.verdicts.num_rows and not self.dry_run:
            lines.append(f"  All of them: store.flags({self.dataset!r})")
        return "\n".join(lines)


_DONE = {"flag": "flagged", "quarantine": "quarantined", "repair": "repaired", "none": "replaced by then"}


def clean(
    dataset: Dataset,
    rules: Sequence[Rule] | None,
    *,
    dry_run: bool,
    version: int | None,
    find: Callable[[str], Dataset],
) -> CleaningReport:
    """Judge a dataset by rules and do what they say; `Store.clean` says what the arguments mean.

    Args:
        find: a dataset by its name, for rules that ask for actions.

    Raises: InputError, UnknownNameError, StoreError; ConflictError if other writers came first again and again.
    """
    for attempt in range(_TRIES):
        table = dataset.open(version)
        dataset = replace(dataset, schema=schema_of(table))  # a version knows no field that was added later
        chosen = check_rules(rules, dataset.schema, dataset.name)
        if not dry_run and version is not None and table.version != dataset.open().version:
            newest = dataset.open().version
            raise InputError(
                f"Cleaning adds to the newest version of {dataset.name!r}, which is {newest}, not {version}.\n"
                "Leave `version` out, or look at what would be found then with dry_run=True."
            )
        run = _Run(dataset=dataset, table=table, book=_book(dataset), rules=chosen, actions=_actions(chosen, find))
        try:
            return run.report(dry_run=dry_run)
        except ConflictError:  # another writer landed rows: judge again with them
            time.sleep(_PAUSE_S * (1 + attempt % 5))
    raise ConflictError(f"Other writers changed {dataset.name!r} {_TRIES} times while it was cleaned; clean it again.")


def read_flags(dataset: Dataset, *, entities: Sequence[str] | None = None, known_until: int | None = None) -> pa.Table:
    """Verdicts written down so far, as `FLAGS`; none where the dataset was never cleaned.

    Args:
        dataset: whose verdicts.
        entities: about these; all when None.
        known_until: known by this moment, int64 ns UTC.
    """
    book = _book(dataset)
    if book is None:
        return FLAGS.empty_table()
    return delta.scan(book, entities=entities, known_until=known_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What some entities come to: new verdicts, rows to append, rows for the quarantine, and how much was looked at."""

    flags: pa.Table
    rows: pa.Table
    copies: pa.Table
    entities: int
    statements: int
    standing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One attempt at cleaning a version."""

    dataset: Dataset
    table: Table
    book: Table | None
    rules: tuple[Rule, ...]
    actions: Mapping[str, tuple[Table, Arrivals]]

    def report(self, *, dry_run: bool) -> CleaningReport:
        """Judge, and write unless it is a dry run. Raises: ConflictError if the dataset moved on."""
        if not dry_run and self._cleaned_at(self.table.version):
            return self._told(_nothing(self.dataset.schema), self.table.version, dry_run=False)
        spacing = self._spacing()
        found = _joined([_nothing(self.dataset.schema), *(self._judge(some, spacing) for some in self._groups())])
        version = self.table.version if dry_run else self._write(found)
        return self._told(found, version, dry_run=dry_run)

    def _judge(self, entities: list[str] | None, spacing: int | None) -> _Found:
        """Hold some entities against the rules; all when None."""
        every = delta.scan(self.table, entities=entities)
        arrivals = make_arrivals(every, self.dataset.schema)
        asked = {rule.every for rule in self.rules if isinstance(rule, Gap)}
        labels = {every: expected_labels(arrivals, every, spacing) for every in asked}
        context = Context(splits=lambda name: self.actions[name][1], labels=lambda every: labels[every])
        docket = make_docket(arrivals, [judge(rule, arrivals, context) for rule in self.rules])
        recorded = FLAGS.empty_table() if self.book is None else delta.scan(self.book, entities=entities)
        acts = carry_out(docket, arrivals, every, recorded, labels=labels)
        written = set(recorded["id"].to_pylist())
        new = [k for k, name in enumerate(docket.ids) if name not in written]
        batch = pa.array([self._batch] * len(new), pa.string())
        return _Found(
            flags=flag_rows(docket, arrivals, new, acts.done, acts.details).append_column("batch", batch),
            rows=acts.rows,
            copies=_copies(docket, arrivals, acts, self._batch),
            entities=len(set(arrivals.names)),
            statements=arrivals.n_rows,
            standing=len(docket.ids) - len(new),
        )

    def _groups(self) -> list[list[str] | None]:
        """Entities to look at, in groups that fit into memory: no rule looks across them."""
        changed = self._changed()
        if changed is None and self.table.n_rows <= _ROWS_AT_ONCE:
            return [None]
        column = delta.scan(self.table, columns=["entity"], entities=changed)["entity"]
        groups: list[list[str] | None] = []
        room = 0
        for item in sorted(pc.value_counts(column).to_pylist(), key=lambda item: item["values"]):
            if room < item["counts"]:
                groups.append([])
                room = _ROWS_AT_ONCE
            groups[-1].append(item["values"])  # type: ignore[union-attr]
            room -= item["counts"]
        return groups

    def _spacing(self) -> int | None:
        """The usual spacing of the whole dataset, where a rule asks for it."""
        if not any(isinstance(rule, Gap) and rule.every is None for rule in self.rules):
            return None
        columns = ["entity", "event_time", "known_time", "revision", "op", "known_basis", *self.dataset.schema.keys]
        return usual_spacing(delta.scan(self.table, columns=columns), self.dataset.schema)

    def _told(self, found: _Found, version: int, *, dry_run: bool) -> CleaningReport:
        notes = []
        if not dry_run and found.entities == 0:
            notes.append("nothing was added since the last cleaning by these rules; nothing changed")
        order = [(name, "ascending") for name in ("known_time", "entity", "event_time")]
        return CleaningReport(
            dataset=self.dataset.name,
            judged=self.table.version,
            version=version,
            entities=found.entities,
            rows=found.statements,
            verdicts=found.flags.sort_by(order),
            standing=found.standing,
            dry_run=dry_run,
            notes=tuple(notes),
        )

    @property
    def _key(self) -> str:
        """The rules, and the versions of what they ask for."""
        asked = [[name, table.id, table.version] for name, (table, _) in sorted(self.actions.items())]
        page = json.dumps([[signature(rule) for rule in self.rules], asked, self.table.id])
        return hashlib.sha256(page.encode()).hexdigest()[:24]

    @property
    def _batch(self) -> str:
        return _mark(self._key, self.table.version)

    def _cleaned_at(self, version: int) -> bool:
        """Whether these rules have been applied to a version: the flags' log says so by a transaction id."""
        return self.book is not None and delta.committed(self.book, _mark(self._key, version))

    def _changed(self) -> list[str] | None:
        """Entities with rows since the last cleaning by these rules; None: look at all."""
        newest = self.table.version
        for version in range(newest, max(newest - _LOOK_BACK, -1), -1):
            if self._cleaned_at(version):
                before = set(self.dataset.open(version).files["path"].to_pylist())
                fresh = [path not in before for path in self.table.files["path"].to_pylist()]
                some = replace(self.table, files=self.table.files.filter(pa.array(fresh, pa.bool_())))
                rows = delta.scan(some, columns=["entity", "known_basis"])
                rows = rows.filter(pc.not_equal(rows["known_basis"], CLEANED))
                return sorted(pc.unique(rows["entity"]).to_pylist())
        return None

    def _write(self, found: _Found) -> int:
        """Quarantine, then the rows, then the flags: if the process dies in between, the next cleaning completes it."""
        dataset, version = self.dataset, self.table.version
        with delta.locked(dataset.location):
            _set_aside(dataset, found.copies, self._batch)
            if found.rows.num_rows:
                files = write_files(self.table.location, found.rows, dataset.schema.keys)
                note = {"rows": str(found.rows.num_rows), "known_basis": CLEANED}
                version = delta.commit(self.table, files, batch=self._batch, note=note)
            elif dataset.open().version != version:
                raise ConflictError(f"Dataset {dataset.name!r} has moved on.")
            _note(dataset, self.book, found.flags, _mark(self._key, version))
        return version


def _actions(rules: Sequence[Rule], find: Callable[[str], Dataset]) -> dict[str, tuple[Table, Arrivals]]:
    """The datasets of actions that the rules name."""
    found: dict[str, tuple[Table, Arrivals]] = {}
    for rule in rules:
        name = getattr(rule, "actions", None)
        if name is not None and name not in found:
            dataset = find(name)
            if dataset.schema.kind != "actions":
                raise InputError(
                    f"`actions` must name a dataset of corporate actions, but {name!r} holds {dataset.schema.kind}."
                )
            table = dataset.open()
            found[name] = (table, make_arrivals(delta.scan(table), dataset.schema))
    return found


def _book(dataset: Dataset) -> Table | None:
    """The table of verdicts; None where the dataset was never cleaned."""
    where = dataset.location.child("flags")
    return delta.open_table(where, None, f"{dataset.name}/flags") if delta.is_table(where) else None


def _mark(key: str, version: int) -> str:
    return f"knowable-clean-{key}-{version}"


def _note(dataset: Dataset, book: Table | None, flags: pa.Table, mark: str) -> None:
    """Write verdicts down, and that the version is clean by these rules.

    Raises: ConflictError if another cleaning wrote since the book was read; it may have told the same.
    """
    if book is None:
        where = dataset.location.child("flags")
        delta.create_table(where, FLAGS, description=f"verdicts on {dataset.name}")
        book = delta.open_table(where, 0, f"{dataset.name}/flags")
    files = write_files(book.location, flags) if flags.num_rows else []
    delta.commit(book, files, batch=mark, note={"rows": str(flags.num_rows)})


def _copies(docket: Docket, arrivals: Arrivals, acts: Acts, batch: str) -> pa.Table:
    """Withdrawn statements as rows of the quarantine; each has the id of its verdict."""
    places = acts.withdrawn
    told = flag_rows(docket, arrivals, places, acts.done, acts.details)
    rows = arrivals.table.take(pa.array(arrivals.order[docket.row[list(places)]], pa.int64()))
    cells = rows.drop_columns(["known_basis"]).to_pylist()
    how = [json.dumps({"known": {"basis": basis, "at": None}}) for basis in rows["known_basis"].to_pylist()]
    held = {
        **{name: told[name] for name in ("id", "rule", "detail", "entity", "event_time", "known_time")},
        "batch": pa.array([batch] * len(places), pa.string()),
        "raw": pa.array([json.dumps(cell, default=str, ensure_ascii=False) for cell in cells], pa.string()),
        "how": pa.array(how, pa.string()),
    }
    columns = [held.get(item.name, pa.nulls(len(places), item.type)) for item in QUARANTINE]
    return pa.table(columns, schema=QUARANTINE)


def _set_aside(dataset: Dataset, copies: pa.Table, batch: str) -> None:
    """Put withdrawn statements into the quarantine, each once."""
    if not copies.num_rows:
        return
    table = dataset.refused()
    new = copies.filter(pc.invert(pc.is_in(copies["id"], delta.scan(table, columns=["id"])["id"])))
    if new.num_rows:
        note = {"rows": str(new.num_rows)}
        delta.commit(table, write_files(table.location, new), batch=batch, note=note)


def _nothing(schema: Schema) -> _Found:
    rows = table_schema(schema).empty_table()
    copies = QUARANTINE.empty_table()
    return _Found(flags=FLAGS.empty_table(), rows=rows, copies=copies, entities=0, statements=0, standing=0)


def _joined(parts: Sequence[_Found]) -> _Found:
    flags, rows, copies = (
        pa.concat_tables([getattr(part, name) for part in parts]) for name in ("flags", "rows", "copies")
    )
    entities, statements, standing = (
        sum(getattr(part, name) for part in parts) for name in ("entities", "statements", "standing")
    )
    return _Found(flags=flags, rows=rows, copies=copies, entities=entities, statements=statements, standing=standing)
