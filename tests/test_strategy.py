"""The strategy contract."""

import pytest

import knowable as kn
from knowable.errors import ParameterError, StrategyError, UnknownNameError
from knowable.strategy import check_strategy, check_strategy_class, is_event_driven


class Base(kn.Strategy):
    lookback = kn.Int(20, 252, default=126)
    kind = kn.Choice(["long", "short"])


class Child(Base):
    top = kn.Int(3, 10, default=5)
    kind = "long"  # a parameter fixed by a subclass is one no more


def test_parameters_are_found_in_order_and_inherited() -> None:
    assert list(Base.parameters) == ["lookback", "kind"]
    assert list(Child.parameters) == ["lookback", "top"]
    assert Child().params == {"lookback": 126, "top": 5}
    assert Child().kind == "long"


def test_an_instance_holds_values_and_the_class_holds_ranges() -> None:
    made = Child(lookback=60)
    assert made.lookback == 60
    assert Child.lookback == kn.Int(20, 252, default=126)
    assert repr(made) == "Child(lookback=60, top=5)"


def test_an_unknown_parameter_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Unknown parameter 'lookbak' in Child. Did you mean 'lookback'?"):
        Child(lookbak=60)


def test_a_value_out_of_range_names_strategy_and_range() -> None:
    with pytest.raises(ParameterError, match="`20 <= lookback <= 252` must hold, but lookback=5, in Child"):
        Child(lookback=5)


def test_a_made_strategy_does_not_change() -> None:
    with pytest.raises(ParameterError, match=r"Make another: Child\(lookback=30\)"):
        Child().lookback = 30  # type: ignore[misc]


def test_a_parameter_given_as_a_bare_class_is_told() -> None:
    with pytest.raises(ParameterError, match="give its range: window = kn.Int"):
        type("Wrong", (kn.Strategy,), {"window": kn.Int})


def test_a_parameter_may_not_take_a_name_of_the_contract() -> None:
    with pytest.raises(ParameterError, match="cannot be called 'rebalance'"):
        type("Wrong", (kn.Strategy,), {"rebalance": kn.Int(1, 5)})


def test_a_strategy_without_weights_says_what_to_add() -> None:
    with pytest.raises(StrategyError, match="Base defines no weights"):
        Base().weights(None)


def test_class_and_instance_mixed_up_are_told_apart() -> None:
    with pytest.raises(StrategyError, match=r"make an instance: Base\(\)"):
        check_strategy(Base)
    with pytest.raises(StrategyError, match="search needs the class: Base"):
        check_strategy_class(Base())
    with pytest.raises(StrategyError, match="a subclass of kn.Strategy, but it is 3, a int"):
        check_strategy_class(3)


def test_a_strategy_has_one_way_to_decide() -> None:
    def weights(self, m):
        return m.close

    def on_bar(self, bar, account):
        account.target(0, 1.0)

    with pytest.raises(StrategyError, match="Both has both weights.* and on_bar.*\n.*make two strategies"):
        type("Both", (kn.Strategy,), {"weights": weights, "on_bar": on_bar})
    weighing = type("Weighing", (kn.Strategy,), {"weights": weights})
    with pytest.raises(StrategyError, match="Heir has both weights.* its own or a base class's"):
        type("Heir", (weighing,), {"on_bar": on_bar})
    assert not is_event_driven(weighing)
    deciding = type("Deciding", (kn.Strategy,), {"on_bar": on_bar})
    assert is_event_driven(deciding)
    assert is_event_driven(deciding())
    with pytest.raises(StrategyError, match=r"Deciding decides bar by bar.*it has no weights"):
        deciding().weights(None)


def test_only_a_strategy_that_decides_bar_by_bar_can_be_compiled() -> None:
    with pytest.raises(StrategyError, match="compiled = True, which is for on_bar"):
        type("Wrong", (kn.Strategy,), {"compiled": True, "weights": lambda self, m: m.close})
    with pytest.raises(StrategyError, match="`compiled` of Wrong must be True or False, but it is 'yes'"):
        type("Wrong", (kn.Strategy,), {"compiled": "yes", "on_bar": lambda self, bar, account: None})


def test_an_on_bar_that_would_run_nothing_when_called_is_refused() -> None:
    async def later(self, bar, account):
        pass

    def piecewise(self, bar, account):
        yield 1

    for function in (later, piecewise):
        with pytest.raises(StrategyError, match="must be a plain method, without `async` and `yield`"):
            type("Odd", (kn.Strategy,), {"on_bar": function})
