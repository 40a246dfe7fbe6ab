"""Arguments of a wrong type or value: each is refused in words that name it; and what a store shows is short."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import knowable  # noqa: F401 - fields of a market become features
import knowable as kn
from knowable.data.quality.rules import Bounds
from knowable.data.schema import Schema, lag_ns
from knowable.data.store import Store
from knowable.errors import DataError, InputError, KnowableError, StoreError, UnknownNameError

CLOCK = ["2016-03-02T00:00Z"]
NAIVE = pd.DataFrame({"entity": ["A"], "known_time": [pd.Timestamp("2016-03-05")]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create("facts", Schema.facts(fields={"eps": "USD/share", "sales": "USD"}))
    made.append("facts", facts())
    return made


def facts(**changes: Any) -> pd.DataFrame:
    held = {"entity": ["A"], "event_time": ["2016-03-01T00:00Z"], "known_time": ["2016-03-01T12:00Z"], "eps": [1.5]}
    return pd.DataFrame({**held, **changes})


CALLS: dict[str, tuple[Callable[[Store], object], type[KnowableError], str]] = {
    "columns 5": (lambda s: s.append("facts", facts(), columns=5), InputError, "`columns` maps the vendor's columns"),
    "columns list": (lambda s: s.append("facts", facts(), columns=["eps"]), InputError, "`columns` maps the vendor's"),
    "columns typo": (
        lambda s: s.append("facts", facts(turnover=[1.0]), columns={"turnover": "sale"}),
        UnknownNameError,
        "Unknown column 'sale' in `columns` .'turnover'.. Did you mean 'sales'",
    ),
    "tz": (lambda s: s.append("facts", facts(), tz="New York"), InputError, "`tz` must name a time zone"),
    "as_of 2016": (lambda s: s.read("facts", as_of=2016), InputError, "is the number 2016, which counts nanoseconds"),
    "as_of date": (lambda s: s.read("facts", as_of=20160301), InputError, "is the number 20160301, which counts"),
    "as_of seconds": (lambda s: s.read("facts", as_of=1_456_790_400), InputError, "counts nanoseconds since 1970"),
    "start": (lambda s: s.read("facts", start=2015), InputError, "`start` is the number 2015"),
    "version": (lambda s: s.read("facts", version=[1]), StoreError, r"has no version \[1\]"),
    "entities": (lambda s: s.read("facts", entities=5), InputError, "`entities` must be a list of names, but it is 5"),
    "rows": (lambda s: list(s.read_batches("facts", rows="x")), InputError, "`rows >= 1` must hold, but rows='x'"),
    "rows 1.5": (lambda s: list(s.read_batches("facts", rows=1.5)), InputError, "`rows >= 1` must hold, but rows=1.5"),
    "clock": (lambda s: s.panel("facts", "eps", clock=5), InputError, "`clock` must be a list of moments, but it is 5"),
    "clock ints": (lambda s: s.panel("facts", "eps", clock=[2016]), InputError, "`clock` is the number 2016"),
    "tolerance": (
        lambda s: s.panel("facts", "eps", clock=CLOCK, tolerance=5),
        InputError,
        "`tolerance` must be a span",
    ),
    "window": (lambda s: s.window("facts", "eps", 10**10, clock=CLOCK), InputError, "take 74 GiB; ask for fewer"),
    "join": (lambda s: s.join(NAIVE, "facts"), DataError, "has no time zone.\nSay it first, such as .*tz_localize"),
    "poll": (lambda s: list(s.follow("facts", poll=5)), InputError, "5 is not a lag"),
    "stop": (lambda s: list(s.follow("facts", stop=5)), InputError, "`stop` must be an event"),
    "keep": (
        lambda s: s.retain("facts", keep="-1d"),
        InputError,
        "A lag must be 0 or more, such as '1d', but it is '-",
    ),
    "page": (lambda s: s.quality("facts").write(5), InputError, "`path` must name a file, such as .*, but it is 5"),
    "bound": (lambda s: Bounds(field="eps", low=float("nan")), InputError, "`low` of Bounds must be a number"),
    "case": (lambda s: s.evolve("facts", add={"EPS": "USD"}), InputError, "'EPS' differs from 'eps'.*by case alone"),
    "cases": (lambda s: Schema.facts(fields={"a": "1", "A": "1"}), InputError, "'a' and 'A' differ by case alone"),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_argument_is_named(store: Store, case: str) -> None:
    call, kind, told = CALLS[case]
    with pytest.raises(kind, match=f"(?s){told}") as said:
        call(store)
    assert str(said.value).count("\n") < 12
    assert store.read("facts")["eps"].to_pylist() == [1.5]


def test_a_market_names_the_datasets_beside_it_in_a_list(store: Store) -> None:
    store.create("bars", Schema.bars(calendar="XNYS", known_lag="0s"))
    store.append("bars", pd.DataFrame({"entity": ["A"], "event_time": ["2016-03-01"], "close": [1.0]}))
    with pytest.raises(InputError, match="`also` must be a list of datasets, but it is 5"):
        store.market("bars", also=5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`author` of feature 'twice' must be text, but it is 5"):
        store.register("twice", kn.Store(store.folder).market("bars").close * 2, author=5)  # type: ignore[arg-type]


def test_a_number_is_no_lag_and_a_span_of_time_is_one() -> None:
    for number in (5, 1.5, True, 0):
        with pytest.raises(InputError, match="is not a lag"):
            lag_ns(number)
    assert lag_ns("1d") == lag_ns(dt.timedelta(days=1)) == 86_400 * 10**9


def test_nanoseconds_of_a_real_moment_are_a_moment(store: Store) -> None:
    moment = pd.Timestamp("2016-03-01T12:00Z").value
    assert store.read("facts", as_of=moment).num_rows == 1
    assert store.read("facts", as_of=moment - 1).num_rows == 0
    assert store.panel("facts", "eps", clock=[moment - 1, moment])[1, 0] == 1.5


def test_what_a_store_gives_shows_itself_in_a_few_lines(store: Store) -> None:
    store.snapshot("held", note="what the paper used")
    tail = store.tail("facts")
    tail.panel(CLOCK)
    (update,) = store.follow("facts", timeout="0s")
    assert repr(store.schema("facts")) == "Schema of facts\n  eps: float64 in 'USD/share'\n  sales: float64 in 'USD'"
    assert repr(tail) == "Tail(1 entities of eps, sales; version 1, asked up to 2016-03-02 00:00Z)"
    assert repr(update).endswith("Z: 1 rows)")
    assert repr(store.snapshots()[0]).endswith(": facts 1\n  what the paper used")
    wide = Schema.facts(fields={f"f{n}": "1" for n in range(500)}, keys=("form",), announced_ahead=True)
    assert repr(wide).startswith("Schema of facts, keys=('form',), announced_ahead=True\n  form: string")
    assert len(repr(wide)) < 1000
