"""Parameters: ranges, checks, and the map to the unit interval."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowable.errors import ParameterError
from knowable.params import Choice, Float, Int


def test_defaults_are_the_middle_geometric_on_a_log_scale() -> None:
    assert Float(0, 1).default == 0.5
    assert Float(1, 100, log=True).default == pytest.approx(10)
    assert Int(1, 5).default == 3
    assert Int(1, 100, log=True).default == 10
    assert Choice(["a", "b"]).default == "a"


@given(st.integers(-50, 50), st.integers(1, 60), st.integers(1, 7), st.floats(0, 1))
def test_an_int_from_the_unit_interval_is_in_range_and_on_its_step(low: int, width: int, step: int, u: float) -> None:
    param = Int(low, low + width, step=step)
    value = param.from_unit(u)
    assert low <= value <= low + width
    assert (value - low) % step == 0
    assert param.from_unit(param.to_unit(value)) == value


@given(st.floats(0, 1))
def test_float_maps_there_and_back_on_both_scales(u: float) -> None:
    for param in (Float(-2, 3), Float(0.01, 10, log=True)):
        assert param.to_unit(param.from_unit(u)) == pytest.approx(u, abs=1e-12)


def test_choices_share_the_unit_interval_evenly() -> None:
    param = Choice(["a", "b", "c", "d"])
    assert [param.from_unit(u) for u in (0, 0.24, 0.26, 0.99, 1)] == ["a", "a", "b", "d", "d"]
    assert [param.from_unit(param.to_unit(o)) for o in param.options] == list(param.options)


def test_counts_of_values() -> None:
    assert Int(1, 10, step=3).n_values == 4
    assert Float(0, 1, step=0.1).n_values == 11
    assert math.isinf(Float(0, 1).n_values)


@pytest.mark.parametrize(
    ("param", "value", "text"),
    [
        (Int(20, 252), 300, "`20 <= lookback <= 252` must hold, but lookback=300, in Momentum."),
        (Int(20, 252), "fast", "`lookback` must be a whole number in [20, 252], but lookback='fast' is of type str"),
        (Int(20, 252), 20.5, "`lookback` must be a whole number in [20, 252], but lookback=20.5 is of type float"),
        (Int(20, 252), True, "lookback=True is of type bool"),
        (Float(0, 1), math.nan, "`lookback` must be finite in [0, 1], but lookback=nan, in Momentum."),
        (Float(0, 1), None, "`lookback` must be a number in [0, 1], but lookback=None is of type NoneType"),
        (Choice(["a", "b"]), "c", "`lookback` must be one of 'a', 'b', but lookback='c', in Momentum."),
    ],
)
def test_a_wrong_value_is_told_with_its_range(param: Int | Float | Choice, value: object, text: str) -> None:
    with pytest.raises(ParameterError) as caught:
        param.check(value, "lookback", "Momentum")
    assert text in str(caught.value)


def test_a_whole_float_is_taken_as_an_int_and_a_choice_keeps_its_type() -> None:
    assert Int(1, 9).check(3.0, "n") == 3
    assert Choice([1, True]).check(True, "c") is True
    assert Choice([1, True]).to_unit(True) == 0.75
    with pytest.raises(ParameterError):
        Choice([1, 2]).check(1.0, "c")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Int(5, 5),
        lambda: Float(0, 1, log=True),
        lambda: Float(0, 1, step=2),
        lambda: Int(1, 5, default=9),
        lambda: Choice([]),
        lambda: Choice("ab"),
        lambda: Choice(["a", "a"]),
        lambda: Choice([object()]),
        lambda: Float(0, math.inf),
    ],
)
def test_a_malformed_parameter_is_refused_when_declared(make: object) -> None:
    with pytest.raises(ParameterError):
        make()  # type: ignore[operator]
