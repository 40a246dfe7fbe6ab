import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowable.errors import InputError
from knowable.runs import canonical_json, trial_key

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def same(a, b):
    """Equal in type and bits, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


@given(values)
def test_json_reads_back_to_the_same_types_and_bits(value):
    assert same(json.loads(canonical_json(value)), value)


@given(st.dictionaries(st.text(), scalars, max_size=6), st.randoms())
def test_the_order_of_a_mapping_does_not_matter(mapping, random):
    items = list(mapping.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(mapping)
    assert trial_key(params=dict(items), code="c") == trial_key(code="c", params=mapping)


@given(values, values)
def test_different_values_have_different_keys(a, b):
    assert (trial_key(p=a) == trial_key(p=b)) == same(a, b)


@pytest.mark.parametrize(
    ("numpy_value", "python_value"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.1), 0.10000000149011612),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        ((1, 2), [1, 2]),
    ],
)
def test_a_numpy_scalar_is_the_python_number_it_equals(numpy_value, python_value):
    assert trial_key(p=numpy_value) == trial_key(p=python_value)


def test_numbers_that_are_equal_but_not_the_same_differ():
    keys = {trial_key(p=value) for value in (1, 1.0, True, "1", 0.0, -0.0, None, [1], 0.1 + 0.2, 0.3)}
    assert len(keys) == 10


def test_a_key_has_the_value_it_had_in_the_first_release():
    assert trial_key(code="abc", params={"lookback": 20, "scale": 0.1}, seed=7) == "4dd570cd44e40e3dd8e75b6b30380867"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, r"`value\.a\[1\]` must be finite"),
        (-math.inf, "must be finite"),
        (np.float64("nan"), "must be finite"),
        ({1, 2}, "of type set"),
        (b"x", "of type bytes"),
        (np.zeros(2), "of type ndarray"),
        (np.datetime64("2020-01-01"), "no single spelling"),
        (1j, "of type complex"),
        ({1: 2}, "keys must be text"),
    ],
)
def test_what_has_no_single_spelling_is_refused_naming_the_place(value, said):
    with pytest.raises(InputError, match=said):
        canonical_json({"a": [0, value]})


def test_values_without_end_are_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(InputError, match="nested deeper"):
        canonical_json(loop)


def test_a_key_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one part"):
        trial_key()
