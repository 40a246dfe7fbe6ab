"""Whatever is done to a store, in any order: its answers are those of a few lists in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import StoreError
from knowable.testing.store_oracle import Row, StoreOracle, same_values

NAMES = ["A", "B", "C"]
START = pd.Timestamp("2016-01-04", tz="UTC")
MANY = 1_000


def moment(hours: int) -> pd.Timestamp:
    return START + pd.Timedelta(hours=hours)


def hours(column: pa.ChunkedArray) -> list[int | None]:
    found = column.cast(pa.int64()).to_pylist()
    first = START.value // 1000
    return [None if value is None else (value - first) // 3_600_000_000 for value in found]


values = st.one_of(st.none(), st.integers(0, 3).map(float))
batches = st.lists(
    st.builds(
        Row,
        entity=st.sampled_from(NAMES),
        event=st.integers(0, 3),
        known=st.integers(3, 9),
        revision=st.integers(0, 1),
        retract=st.sampled_from([False, False, False, True]),
        values=st.fixed_dictionaries({"x": values, "y": values, "z": values}).map(lambda held: tuple(held.items())),
    ),
    min_size=1,
    max_size=6,
)
places = st.integers(0, MANY)


def frame_of(rows: Sequence[Row], fields: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "entity": [row.entity for row in rows],
            "event_time": [moment(row.event) for row in rows],
            "known_time": [moment(row.known) for row in rows],
            "revision": [row.revision for row in rows],
            "op": ["retract" if row.retract else "assert" for row in rows],
            **{name: pd.array([row.get(name) for row in rows], dtype="Float64") for name in fields},
        }
    )


class StoreMachine(RuleBasedStateMachine):
    """The store and the oracle, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="knowable-"))
        self.snapshots: dict[str, int] = {}
        self.gone: set[int] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @initialize(basis=st.sampled_from(["observed", "vendor"]), first=st.lists(batches, min_size=3, max_size=4))
    def create(self, basis: str, first: list[list[Row]]) -> None:
        self.store = Store(self.folder / "store")
        self.store.create("facts", Schema.facts(fields={"x": "1"}, known_basis=basis))
        self.oracle = StoreOracle(fields=("x",), observed=basis == "observed")
        for batch in first:
            self.append(batch)

    @rule(batch=batches)
    def append(self, batch: list[Row]) -> None:
        """New rows, corrections, withdrawals, duplicates and conflicts, as chance has it."""
        fields = self.oracle.fields
        kept = [
            Row(
                entity=row.entity,
                event=row.event,
                known=row.known,
                revision=row.revision,
                retract=row.retract,
                values=tuple((name, value) for name, value in row.values if name in fields),
            )
            for row in batch
        ]
        report = self.store.append("facts", frame_of(kept, fields))
        if report.already_stored:
            assert not self.oracle.judge(kept).accepted, "the very batch was there; nothing of it can be new"
            return
        verdict = self.oracle.append(kept)
        assert report.accepted == len(verdict.accepted)
        assert report.duplicates == verdict.duplicates
        assert report.rules.get("conflicting_duplicate", 0) == verdict.conflicting
        assert report.rules.get("earlier_than_stored", 0) == verdict.early
        assert report.version == self.oracle.version

    @precondition(lambda self: len(self.oracle.fields) < 3)
    @rule()
    def evolve(self) -> None:
        name = "xyz"[len(self.oracle.fields)]
        version = self.store.evolve("facts", add={name: "1"})
        while self.oracle.version < version - 1:  # an evolution may take two steps; the first shows nothing yet
            self.oracle.touch()
        self.oracle.evolve(name)

    @rule(target_rows=st.sampled_from([2, 5, 1_000]), everything=st.booleans())
    def compact(self, target_rows: int, everything: bool) -> None:
        done = self.store.compact("facts", target_rows=target_rows, everything=everything)
        if done.files_before:
            self.oracle.touch()
        assert done.version == self.oracle.version
        self.agree(done.version, None, None)

    @rule(name=st.sampled_from(["s", "t"]))
    def snapshot(self, name: str) -> None:
        if name in self.snapshots:
            self.store.drop_snapshot(name)
        made = self.store.snapshot(name)
        self.snapshots[name] = self.oracle.version
        assert made.versions == {"facts": self.oracle.version}

    @rule(keep=st.integers(1, 4), dry_run=st.booleans())
    def retain(self, keep: int, dry_run: bool) -> None:
        done = self.store.retain("facts", keep=keep, dry_run=dry_run)
        everything = range(self.oracle.version + 1)
        kept = ({*everything[-keep:]} - self.gone) | {*self.snapshots.values()}
        assert set(done.kept) == kept
        assert not set(done.dropped) & kept
        assert not set(done.dropped) & self.gone
        if not dry_run:
            self.gone |= set(done.dropped)
            for version in sorted(kept):
                self.agree(version, None, None)

    @rule()
    def open_again(self) -> None:
        self.store = Store(self.store.folder)

    @rule(place=places, as_of=st.one_of(st.none(), st.integers(2, 10)), some=st.booleans())
    def read(self, place: int, as_of: int | None, some: bool) -> None:
        version = self.version_at(place)
        names = sorted({row.entity for row in self.oracle.rows[: self.oracle.sizes[version]]})[:2] if some else None
        if version in self.gone:
            with pytest.raises(StoreError, match="dropped by retention"):
                self.store.read("facts", version=version)
        else:
            self.agree(version, as_of, names)

    def agree(self, version: int, as_of: int | None, names: Sequence[str] | None) -> None:
        """Hold what stands at a version, as of a moment, against the oracle."""
        fields = self.oracle.schemas[version]
        assert tuple(self.store.schema("facts", version=version).fields) == fields
        standing = self.oracle.standing(version, float("inf") if as_of is None else as_of)
        if names:
            standing = {period: row for period, row in standing.items() if row.entity in names}
        moment_ = None if as_of is None else moment(as_of)
        found = self.store.read("facts", version=version, as_of=moment_, entities=names or None)
        assert list(zip(found["entity"].to_pylist(), hours(found["event_time"]), strict=True)) == list(standing)
        assert hours(found["known_time"]) == [row.known for row in standing.values()]
        for name in fields:
            assert found[name].to_pylist() == [row.get(name) for row in standing.values()]

    @rule(place=places, clock=st.lists(st.integers(2, 10), max_size=5).map(sorted))
    def panel(self, place: int, clock: list[int]) -> None:
        version = self.version_at(place)
        present = {row.entity for row in self.oracle.rows[: self.oracle.sizes[version]]}
        if not present:
            return
        how = {"clock": [moment(k) for k in clock], "entities": NAMES, "version": version}
        if version in self.gone:
            with pytest.raises(StoreError, match="dropped by retention"):
                self.store.panel("facts", "x", **how)
            return
        for name in self.oracle.schemas[version]:
            found = self.store.panel("facts", name, **how)
            assert same_values(found.tolist(), self.oracle.panel(name, clock, NAMES, version))

    @rule(first=places, last=places, as_of=st.integers(3, 10))
    def diff(self, first: int, last: int, as_of: int) -> None:
        before, after = self.version_at(first), self.version_at(last)
        if {before, after} & self.gone:
            return
        fields = self.oracle.schemas[self.oracle.version]
        found = self.store.diff("facts", before, {"version": after, "as_of": moment(as_of)}, fields=fields)
        plain = zip(
            found["entity"].to_pylist(),
            hours(found["event_time"]),
            *(found[name].to_pylist() for name in ("change", "field", "before", "after")),
            hours(found["known_time"]),
            strict=True,
        )
        assert list(plain) == self.oracle.diff((before, float("inf")), (after, as_of), fields)

    @rule(place=places)
    def follow(self, place: int) -> None:
        version = self.version_at(place)
        found: list[tuple[str, int | None, int | None]] = []
        try:
            for update in self.store.follow("facts", version, timeout="0s"):
                assert self.oracle.sizes[update.version] - self.oracle.sizes[update.version - 1] == update.rows.num_rows
                rows = update.rows
                found += zip(
                    rows["entity"].to_pylist(), hours(rows["event_time"]), hours(rows["known_time"]), strict=True
                )
        except StoreError as error:
            assert self.gone, str(error)  # noqa: PT017 - allowed where retention removed rows
            return
        expected = self.oracle.rows[self.oracle.sizes[version] :]
        assert sorted(found) == sorted((row.entity, row.event, row.known) for row in expected)

    def version_at(self, place: int) -> int:
        """Old and new versions alike, and those of snapshots more often."""
        named = sorted(self.snapshots.values())
        if named and place % 3 == 0:
            return named[place % len(named)]
        return place % (self.oracle.version + 1)


@pytest.mark.parametrize(
    ("examples", "steps"), [(10, 15), pytest.param(100, 50, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])]
)
def test_whatever_happens_a_store_answers_as_its_oracle_does(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.generate, Phase.shrink] if examples > 20 else [Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
