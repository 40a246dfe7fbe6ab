"""Who bore which name when: tickers are names that permanent entities bear for a while."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from knowable.calendars import Nanos
from knowable.data.asof.facts import Facts
from knowable.data.schema import Schema
from knowable.errors import InputError, UnknownNameError, unknown_name

__all__ = ["Bearer", "Mapped", "Names", "make_names", "standing_names"]

NAME = "ticker"
OPEN = int(np.iinfo(np.int64).max)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """An entity that bore a name from `start` until `end`, in ns UTC, the end excluded."""

    entity: str
    name: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.entity} ({_day(self.start)} to {'now' if self.end == OPEN else _day(self.end)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """Entities for names at moments.

    Attributes:
        entity: (n_rows,) text; the name itself where it is unknown or ambiguous.
        unknown: (n_rows,) nobody bore the name then.
        ambiguous: (n_rows,) several did.
    """

    entity: pa.Array
    unknown: Mask
    ambiguous: Mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Names:
    """The standing intervals of a dataset of names.

    Attributes:
        dataset: its name, for messages.
        by_name: name -> who bore it, by start.
        by_entity: entity -> the names it bore, by start.
        pin: dataset, version and table they were read from.
    """

    dataset: str
    by_name: Mapping[str, tuple[Bearer, ...]]
    by_entity: Mapping[str, tuple[Bearer, ...]]
    pin: Mapping[str, str] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return _names, (self.dataset, dict(self.by_name), dict(self.by_entity), dict(self.pin))

    def identify(self, names: Sequence[str], at: int) -> list[str]:
        """The entity that bears each name at a moment.

        Raises: UnknownNameError if nobody ever bore it, offering the nearest, or nobody did then, saying who did when;
            InputError if several did.
        """
        return [self._one(name, at) for name in names]

    def names_of(self, entities: Sequence[str], at: int) -> list[str]:
        """The name each entity bears at a moment, the one begun last where it bears several.

        Raises: UnknownNameError if it never had one, offering the nearest, or had none then, saying which it had when.
        """
        found = []
        for entity in entities:
            if entity not in self.by_entity:
                raise unknown_name("entity", entity, self.by_entity, where=f"dataset {self.dataset!r}")
            held = [item for item in self.by_entity[entity] if item.start <= at < item.end]
            if not held:
                had = _listed(f"{b.name} ({str(b).partition(' (')[2]}" for b in self.by_entity[entity])
                raise UnknownNameError(
                    f"Entity {entity!r} bears no name on {_day(at)} in dataset {self.dataset!r}; it bore {had}."
                )
            found.append(held[-1].name)
        return found

    def mapped(self, names: pa.Array, times: Nanos) -> Mapped:
        """The entity that bore each name at its own moment; a name reused later is another entity's then.

        Args:
            names: (n_rows,) text, null where missing; those are left to others to judge.
            times: (n_rows,) int64 ns UTC.
        """
        coded = names.dictionary_encode()
        words = coded.dictionary.to_pylist()
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        entities: list[str] = sorted(self.by_entity)
        place = {entity: k for k, entity in enumerate(entities)}
        found = np.full(len(codes), -1, dtype=np.int64)
        ambiguous = np.zeros(len(codes), dtype=np.bool_)
        order = np.argsort(codes, kind="stable")
        edges = np.searchsorted(codes[order], np.arange(len(words) + 1))
        for k, word in enumerate(words):
            rows = order[edges[k] : edges[k + 1]]
            when = times[rows]
            for bearer in self.by_name.get(word, ()):
                inside = (when >= bearer.start) & (when < bearer.end)
                hit = rows[inside]
                ambiguous[hit] |= (found[hit] >= 0) & (found[hit] != place[bearer.entity])
                found[hit] = place[bearer.entity]
        unknown = (found < 0) & (codes >= 0)
        known = (found >= 0) & ~ambiguous
        ids = pa.array(entities, pa.string()).take(pa.array(np.where(known, found, 0), mask=~known))
        entity = pc.if_else(pa.array(known), ids, names.cast(pa.string()))
        return Mapped(entity=entity, unknown=unknown, ambiguous=ambiguous)

    def _one(self, name: str, at: int) -> str:
        bearers = self.by_name.get(name)
        if bearers is None:
            raise unknown_name(NAME, name, self.by_name, where=f"dataset {self.dataset!r}")
        held = [item for item in bearers if item.start <= at < item.end]
        if not held:
            raise UnknownNameError(
                f"Nobody bears the {NAME} {name!r} on {_day(at)} in dataset {self.dataset!r}; it named "
                f"{_listed(map(str, bearers))}.\nGive a time at which it was borne: at=."
            )
        if len({item.entity for item in held}) > 1:
            raise InputError(
                f"The {NAME} {name!r} names {len(held)} entities on {_day(at)} in dataset {self.dataset!r}: "
                f"{_listed(map(str, held))}.\nClose the interval that ended: append it again with its end."
            )
        return held[-1].entity


def _names(dataset: str, by_name: Any, by_entity: Any, pin: Any) -> Names:
    return Names(dataset=dataset, by_name=MappingProxyType(by_name), by_entity=MappingProxyType(by_entity), pin=pin)


def standing_names(
    facts: Facts, schema: Schema, dataset: str, *, as_of: int = OPEN, pin: Mapping[str, str] | None = None
) -> Names:
    """The names that stand as of a moment in ns UTC. Raises: InputError, as `make_names`."""
    _check_schema(schema, dataset)
    rows = facts.take(facts.standing(as_of), ["entity", "event_time", "end", NAME])
    return make_names(rows, schema, dataset, pin)


def make_names(rows: pa.Table, schema: Schema, dataset: str, pin: Mapping[str, str] | None = None) -> Names:
    """Names from standing intervals: entity, event_time (start), `end` (excluded, null while open), ``ticker``.

    An entity's open interval ends where its next one begins, closed by the vendor or not: a ticker change told without
    the end of the old ticker still frees it.

    Args:
        rows: of the dataset, one a period.
        schema: of kind intervals, with a string field or key ``ticker``.
        dataset: its name, for messages.
        pin: what the rows were read from.

    Raises: InputError if the dataset holds something else.
    """
    _check_schema(schema, dataset)
    starts = (rows["event_time"].cast(pa.int64()).to_numpy() * 1000).tolist()
    ends = rows["end"].cast(pa.int64()).to_pylist()
    columns = zip(rows["entity"].to_pylist(), rows[NAME].to_pylist(), starts, ends, strict=True)
    said = sorted((e, start, OPEN if end is None else end * 1000, name) for e, name, start, end in columns if name)
    begun: dict[str, list[int]] = {}
    for entity, start, _, _ in said:
        begun.setdefault(entity, []).append(start)
    by_name: dict[str, list[Bearer]] = {}
    by_entity: dict[str, list[Bearer]] = {}
    for entity, start, end, name in said:
        following = bisect.bisect_right(begun[entity], start)
        replaced = end == OPEN and following < len(begun[entity])
        until = begun[entity][following] if replaced else end
        bearer = Bearer(entity=entity, name=name, start=start, end=until)
        by_name.setdefault(name, []).append(bearer)
        by_entity.setdefault(entity, []).append(bearer)
    return Names(dataset=dataset, by_name=_frozen(by_name), by_entity=_frozen(by_entity), pin=pin or {})


def _check_schema(schema: Schema, dataset: str) -> None:
    if schema.kind != "intervals" or NAME not in schema.fields or schema.fields[NAME].dtype != "string":
        raise InputError(
            f"Names need a dataset of intervals with the key or text field {NAME!r}, but {dataset!r} holds "
            f"{schema.kind} of {', '.join(schema.fields)}.\nMake one: Schema.intervals(keys=['{NAME}'], calendar=...)."
        )


def _frozen(groups: dict[str, list[Bearer]]) -> Mapping[str, tuple[Bearer, ...]]:
    return MappingProxyType({key: tuple(sorted(held, key=lambda b: b.start)) for key, held in groups.items()})


def _listed(items: Iterable[str]) -> str:
    held = list(items)
    return ", ".join(held[:6]) + (f" and {len(held) - 6} more" if len(held) > 6 else "")


def _day(ns: Any) -> str:
    return f"{pd.Timestamp(int(ns)):%Y-%m-%d}"
