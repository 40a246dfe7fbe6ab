"""What a schema may say: kinds, typed fields, keys, and the page it becomes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowable.data.fields import Field
from knowable.data.names import RESERVED
from knowable.data.schema import ACTIONS, Schema, table_schema
from knowable.errors import InputError, StoreError, UnknownNameError

EVERY_KIND = {
    "bars": Schema.bars(calendar="XNYS", currency="USD", fields={"trades": Schema.field("1", dtype="int64", low=0)}),
    "facts": Schema.facts(fields={"eps": "USD/share", "audited": Schema.field("1", dtype="bool")}, keys=["segment"]),
    "events": Schema.events(fields={"headline": Schema.field("text", dtype="string")}, keys=["source"]),
    "bare events": Schema.events(),
    "intervals": Schema.intervals(fields={"weight": Schema.field("1", low=0, high=1)}, keys=["index"]),
    "actions": Schema.actions(calendar="XNYS"),
    "mapped": Schema.facts(fields={"eps": "USD/share"}).mapped(
        {"ticker": "entity", "EPS": "eps"}, tz="UTC", known_at="16:30 America/New_York"
    ),
}


@pytest.mark.parametrize("name", EVERY_KIND)
def test_a_schema_is_the_same_after_its_json_page(name: str) -> None:
    schema = EVERY_KIND[name]
    again = Schema.from_json(schema.to_json(), "page")
    assert again == schema
    assert table_schema(again) == table_schema(schema)


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name not in RESERVED)
numbers = st.none() | st.floats(-1e9, 1e9)


@st.composite
def any_field(draw: st.DrawFn) -> Field:
    dtype = draw(st.sampled_from(["float64", "int64", "bool", "string", "timestamp"]))
    bounds: list[float | None] = [None, None]
    if dtype in ("float64", "int64"):
        bounds = [draw(numbers), draw(numbers)]
        if None not in bounds:
            bounds.sort()  # type: ignore[type-var]
    return Field(
        unit=draw(st.text(max_size=5)),
        dtype=dtype,
        low=bounds[0],
        high=bounds[1],
        currency=draw(st.none() | st.just("USD")),
        description=draw(st.text(max_size=9)),
    )


@given(st.dictionaries(names, any_field(), min_size=1, max_size=5), st.text(max_size=9))
def test_any_schema_is_the_same_after_its_json_page(fields: dict[str, Field], description: str) -> None:
    schema = Schema.facts(fields=fields, description=description)
    assert Schema.from_json(schema.to_json(), "page") == schema


def test_a_plain_text_is_the_unit_of_a_float_field() -> None:
    schema = Schema.facts(fields={"eps": "USD/share"})
    assert schema.fields["eps"] == Field(unit="USD/share") == Schema.field("USD/share")
    assert schema.fields["eps"].dtype == "float64"


def test_numeric_fields_are_those_a_panel_can_hold() -> None:
    fields = {dtype: Schema.field("x", dtype=dtype) for dtype in ("float64", "int64", "bool", "string", "timestamp")}
    assert Schema.facts(fields=fields).numeric == ("float64", "int64", "bool")
    assert Schema.bars(fields=fields).numeric == ("open", "high", "low", "close", "volume", "float64", "int64", "bool")
    assert EVERY_KIND["actions"].numeric == ("ratio", "amount")


def test_the_table_holds_integers_as_doubles_so_that_they_widen_without_a_rewrite() -> None:
    fields = {dtype: Schema.field("x", dtype=dtype) for dtype in ("float64", "int64", "bool", "string", "timestamp")}
    types = {column.name: column.type for column in table_schema(Schema.facts(fields=fields))}
    assert [types[name] for name in fields] == [
        pa.float64(),
        pa.float64(),
        pa.bool_(),
        pa.string(),
        pa.timestamp("us", "UTC"),
    ]


def test_keys_are_text_fields_and_need_no_declaration() -> None:
    schema = Schema.events(fields={"score": "1"}, keys=["source"])
    assert schema.keys == ("source",)
    assert list(schema.fields) == ["source", "score"]
    assert schema.fields["source"].dtype == "string"
    assert EVERY_KIND["actions"].keys == ("type",)


def test_intervals_always_have_an_end_and_may_be_known_ahead() -> None:
    schema = EVERY_KIND["intervals"]
    assert schema.fields["end"].dtype == "timestamp"
    assert schema.announced_ahead
    assert (schema.labels_open, EVERY_KIND["actions"].labels_open, EVERY_KIND["bars"].labels_open) == (
        True,
        True,
        False,
    )


def test_actions_know_their_types() -> None:
    assert ACTIONS == ("split", "dividend", "delisting", "ticker_change", "merger", "spinoff")
    assert EVERY_KIND["actions"].announced_ahead


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Schema.field("x", dtype="int"), UnknownNameError, "Did you mean 'int64'"),
        (lambda: Schema.field(7), InputError, "unit of a field must be text"),
        (lambda: Schema.field("x", low=2, high=1), InputError, "low <= high"),
        (lambda: Schema.field("x", low=float("nan")), InputError, "finite number"),
        (lambda: Schema.field("x", low=True), InputError, "finite number"),
        (lambda: Schema.field("x", dtype="string", low=0), InputError, "bounds numbers only"),
        (lambda: Schema.facts(fields={}), InputError, "maps each field to its unit"),
        (lambda: Schema.facts(fields=["eps"]), InputError, "maps each field to its unit"),
        (lambda: Schema.facts(fields={"eps": 3}), InputError, "Field 'eps' must be a unit"),
        (lambda: Schema.facts(fields={"entity": "x"}), InputError, "a store uses that column itself"),
        (lambda: Schema.events(keys="source"), InputError, "must be a list of field names"),
        (lambda: Schema.events(keys=["a", "a"]), InputError, "'a' twice"),
        (lambda: Schema.events(fields={"n": "1"}, keys=["n"]), InputError, "Key 'n' must be a string field"),
        (lambda: Schema.intervals(fields={"end": "x"}), InputError, "`end` is a field of every schema of intervals"),
        (lambda: Schema.bars().mapped({"symbol": "entty"}), UnknownNameError, "Did you mean 'entity'"),
        (lambda: Schema.bars().mapped({"a": "close", "b": "close"}), InputError, "two columns to 'close'"),
        (lambda: Schema.bars().mapped(tz="Mars/Olympus"), InputError, "must name a time zone"),
        (lambda: Schema.bars().mapped(known_at="16:30"), InputError, "a time of day and a zone"),
        (lambda: Schema.bars().mapped(known_at="25:30 UTC"), InputError, "a time of day and a zone"),
        (lambda: Schema.bars().mapped(known_at="16:30 Nowhere"), InputError, "must name a time zone"),
        (lambda: Schema(kind="fact", fields={"x": "1"}), UnknownNameError, "Did you mean 'facts'"),
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_page_of_the_first_format_is_still_read() -> None:
    page = {"format": 1, "kind": "facts", "fields": {"eps": "USD/share"}, "calendar": None, "currency": None,
            "known_basis": "vendor", "known_lag": "1d", "partial": False, "announced_ahead": False,
            "description": "old"}  # fmt: skip
    expected = Schema.facts(fields={"eps": "USD/share"}, known_basis="vendor", known_lag="1d", description="old")
    assert Schema.from_json(json.dumps(page), "page") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"kind": "facts"}', "is damaged"),
        ('{"format": 3}', "has format 3; this release reads 1 to 2. Update knowable"),
        ('{"format": 2, "kind": "facts", "fields": 5}', "is damaged"),
        ('{"format": 2, "kind": "facts", "fields": {"eps": {"unit": "x", "colour": 1}}}', "is damaged"),
        ('{"format": 2, "kind": "facts", "fields": {"eps": "x"}, "speed": 1}', "is damaged"),
    ],
)
def test_a_damaged_or_newer_page_is_a_store_error(text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Schema.from_json(text, "page")


def test_the_page_shows_every_part_of_a_field() -> None:
    page = json.loads(EVERY_KIND["intervals"].to_json())
    assert page["fields"]["weight"] == asdict(Field(unit="1", low=0.0, high=1.0))
