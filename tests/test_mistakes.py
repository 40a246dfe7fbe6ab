"""A newcomer's mistakes: each message says what, where, expected and remedy, in at most twelve lines.

The texts are held here whole, because they are part of the product.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import KnowableError, LookAheadError

INDEX = pd.bdate_range("2020-01-01", periods=120)
PRICES = pd.DataFrame(
    {"A": 100 + np.sin(np.arange(120)), "B": 50 + np.cos(np.arange(120)), "C": 20 + np.sin(np.arange(120) / 9)}, INDEX
)


class Momentum(kn.Strategy):
    """Hold the strongest names."""

    lookback = kn.Int(5, 60, default=20)
    top = kn.Int(1, 3, default=1)

    def weights(self, m):
        strength = m.close / m.close.lag(self.lookback) - 1
        held = strength.rank(descending=True) <= self.top
        return held / held.cross_sum()


def told(make: Callable[[], object]) -> str:
    """The message of the error that `make` raises, with its notes."""
    with pytest.raises(KnowableError) as caught:
        make()
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert len(text.splitlines()) <= 12
    return text


def market(**changed: object) -> kn.Market:
    return kn.Market.from_frames(**{"close": PRICES, "open": PRICES, **changed})


def test_nan_prices() -> None:
    prices = PRICES.copy()
    prices.loc["2020-02-03", "B"] = np.nan
    assert told(lambda: market(close=prices)) == (
        "`close` of 'B' is NaN at 2020-02-03 00:00:00 (row 23), inside its history; 1 such of 360 prices.\n"
        "Mend the source or drop those bars. If there was truly no price, say so with\n"
        "Market.from_frames(..., missing='allow'): orders then wait for the next price."
    )


def test_an_unsorted_index() -> None:
    assert told(lambda: market(close=PRICES.iloc[::-1])) == (
        "`close` is not sorted by time: row 1 is 2020-06-15 00:00:00, after 2020-06-16 00:00:00.\n"
        "Sort it first: frame = frame.sort_index()."
    )


def test_duplicate_timestamps() -> None:
    assert told(lambda: market(close=PRICES.iloc[[0, 1, 1, 2]])) == (
        "`close` has two rows for 2020-01-02 00:00:00 (the second is row 2); 1 such in all.\n"
        "One row a bar is needed. Look at frame[frame.index.duplicated(keep=False)], then keep the right one:\n"
        "frame = frame[~frame.index.duplicated(keep='last')]."
    )


def test_mixed_time_zones() -> None:
    assert told(lambda: market(close=PRICES.tz_localize("America/New_York"))) == (
        "`open` and `close` mix time zones: `open` has none (first row 2020-01-01 00:00:00), "
        "`close` has America/New_York (first row 2020-01-01 00:00:00-05:00).\n"
        "Give both the same: frame.index = frame.index.tz_localize('UTC') or .tz_convert('UTC')."
    )


def test_a_wrong_column() -> None:
    class Typo(Momentum):
        def weights(self, m):
            return m.clsoe.rank()

    text = told(lambda: kn.backtest(Typo(), market()))
    assert text.startswith(
        "Unknown field 'clsoe' in the market. Did you mean 'close'?\nIn Typo(lookback=20, top=1).weights"
    )
    assert "test_mistakes.py, line" in text
    assert "`return m.clsoe.rank()`" in text


def test_a_parameter_out_of_range() -> None:
    assert told(lambda: Momentum(lookback=500)) == (
        "`5 <= lookback <= 60` must hold, but lookback=500, in Momentum.\n"
        "Choose a value in the range, or widen it where the parameter is declared."
    )


def test_a_parameter_of_the_wrong_type() -> None:
    assert told(lambda: Momentum(lookback="20 days")) == (
        "`lookback` must be a whole number in [5, 60], but lookback='20 days' is of type str, in Momentum."
    )


def test_an_unknown_parameter() -> None:
    assert told(lambda: Momentum(loopback=20)) == "Unknown parameter 'loopback' in Momentum. Did you mean 'lookback'?"


def test_a_strategy_that_raises() -> None:
    class Raises(Momentum):
        def weights(self, m):
            prices = {"close": m.close}
            return prices["open"]

    text = told(lambda: kn.backtest(Raises(top=2), market()))
    lines = text.splitlines()
    assert lines[0] == "Raises(lookback=20, top=2).weights raised KeyError: 'open'"
    assert lines[1].startswith("Raised at test_mistakes.py, line ")
    assert lines[1].endswith('`return prices["open"]`.')
    assert lines[2] == "To look closer, call strategy.weights(market) yourself."


def test_look_ahead_by_a_negative_shift_in_pandas() -> None:
    class Peeks(Momentum):
        def weights(self, m):
            close = m.close.frame()
            return (close.shift(-1) > close).astype(float) / 3

    report = kn.check(Peeks(), market())
    assert not report.ok
    finding = report.findings[0]
    assert finding.kind == "look-ahead"
    text = told(report.raise_if_found)
    with pytest.raises(LookAheadError):
        report.raise_if_found()
    assert "look-ahead: A from 2020-01-01 (row 0)" in text
    assert text.endswith("Remedy: `shift(-n)` reads later bars; use lag(n) or shift(n).")


def test_look_ahead_by_a_negative_lag_in_the_language() -> None:
    class Peeks(Momentum):
        def weights(self, m):
            return (m.close.lag(-1) > m.close) / 3

    text = told(lambda: kn.backtest(Peeks(), market()))
    assert "`n >= 0` must hold, but n=-1, in lag(close, -1)" in text
    assert "In Peeks(lookback=20, top=1).weights" in text


def test_shift_on_a_feature() -> None:
    class Shifts(Momentum):
        def weights(self, m):
            return m.close.shift(-1) > m.close

    assert "no negative lag exists" in told(lambda: kn.backtest(Shifts(), market()))


def test_weights_of_the_wrong_shape() -> None:
    class Short(Momentum):
        def weights(self, m):
            return np.zeros((119, 3))

    assert told(lambda: kn.backtest(Short(), market())) == (
        "`weights` returned shape (119, 3); the market needs (n_bars, n_assets) = (120, 3), "
        "in Short(lookback=20, top=1)."
    )


def test_weights_that_are_not_returned() -> None:
    class Forgets(Momentum):
        def weights(self, m):
            m.close.rank()

    assert told(lambda: kn.backtest(Forgets(), market())) == (
        "Forgets(lookback=20, top=1).weights returned a NoneType; "
        "a feature, a DataFrame or an array (n_bars, n_assets) is needed; is a `return` missing?"
    )


def test_weights_above_what_the_account_may_hold() -> None:
    class Greedy(Momentum):
        def weights(self, m):
            return m.close / m.close

    text = told(lambda: kn.backtest(Greedy(), market()))
    assert "`sum of |weights| <= max_leverage` must hold, but on row 0 (2020-01-01 00:00:00) the sum is 3" in text
    assert "leverage_check='scale'" in text


def test_no_open_prices() -> None:
    text = told(lambda: kn.backtest(Momentum(), kn.Market.from_frames(close=PRICES)))
    assert text.startswith("fill='next_open' needs the field 'open', but the market has close only.")
    assert "'next_close'" in text


def test_a_class_instead_of_an_instance_and_a_frame_instead_of_a_market() -> None:
    assert (
        told(lambda: kn.backtest(Momentum, market()))
        == "`strategy` is the class Momentum; make an instance: Momentum()."
    )
    assert "Make one: kn.Market.from_frames(close=frame)" in told(lambda: kn.backtest(Momentum(), PRICES))
    assert told(lambda: kn.sweep(Momentum(), market(), grid={"top": [1]})) == (
        "`strategy` is the instance Momentum(lookback=20, top=1); search needs the class: Momentum."
    )


def test_a_feature_used_as_a_truth_value() -> None:
    class Branch(Momentum):
        def weights(self, m):
            return m.close if m.close > 3 else -m.close

    assert "where(condition, a, b)" in told(lambda: kn.backtest(Branch(), market()))


def test_an_empty_span() -> None:
    text = told(lambda: kn.backtest(Momentum(), market(), start="2021-01-01"))
    assert text == (
        "At least two bars are needed from start=2021-01-01 to end=None, but there are 0; "
        "the market has 2020-01-01 00:00:00 to 2020-06-16 00:00:00."
    )
