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


class Learner:
    """Predicts the mean it was fitted to; of one row only, if told so."""

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Learner:
        self.mean = labels.mean()
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.full(self.rows or len(features), self.mean)


class Nothing:
    """Neither learns nor predicts."""

    def __repr__(self) -> str:
        return "Nothing()"


def on_the_way_to_a_model(m: kn.Market) -> dict[str, tuple[Callable[[], object], str]]:
    """Mistake -> (who makes it, what is said), from an idea over its analysis to a model."""
    past, learnt = [m.close.lag(1)], kn.label(m.close, ahead=5)
    return {
        "a wrong field": (lambda: m.clsoe, "Unknown field 'clsoe' in the market. Did you mean 'close'?"),
        "a wrong method": (
            lambda: m.close.zscroe().rank(),
            "Unknown attribute 'zscroe' in a feature. Did you mean 'zscore'?",
        ),
        "a wrong function in a text": (
            lambda: m.expression("rnk(close / lag(close, 126) - 1)"),
            (
                "Unknown function 'rnk'. Did you mean 'rank'?\n"
                "In the expression's text, line 1, column 1:\n"
                "  rnk(close / lag(close, 126) - 1)\n"
                "  ^^^"
            ),
        ),
        "a text for a window": (
            lambda: m.close.mean("20"),
            "`window` must be a whole number of bars, but window='20' is of type str, in mean(close, '20').",
        ),
        "an array of another shape": (
            lambda: m.close + np.zeros((3, 3)),
            (
                "A feature combines with features and numbers, but got a ndarray of shape (3, 3), in `+` of close, the "
                "ndarray.\n"
                "Put it into the market as a field, Market.from_frames(close=..., mine=frame), and use market.mine;\n"
                "or leave the expression language: work on x.frame() and return a DataFrame from weights."
            ),
        ),
        "horizons as text": (
            lambda: m.close.analyse(horizons="5"),
            "`horizons` is a list of whole bars, such as (1, 5, 21), but it is '5'.",
        ),
        "an analysis of too few assets": (
            m.close.analyse,
            (
                "`close` cannot be analysed: no bar has values and returns of 5 assets, the most is 3.\n"
                "A longer market, a shorter window or min_assets= help."
            ),
        ),
        "a label that looks back": (
            lambda: kn.label(m.close, ahead=-5),
            (
                "`ahead >= 1` must hold, but ahead=-5, in label(close, ...).\n"
                "Write ahead=5: a label looks forward by itself."
            ),
        ),
        "a label used as a feature": (
            lambda: learnt + 1,
            (
                "`label(close, ahead=5)` has no arithmetic.\n"
                "A label holds what is known only 5 bars later, so it can train a model and do nothing else: "
                "kn.model(estimator, features, label).\n"
                "Transform the feature first and make the label of that: kn.label(x.rank(), ahead=5)."
            ),
        ),
        "a feature used as a label": (
            lambda: kn.model(Learner(), past, m.close),
            (
                "`label` is the feature `close`, whose row t is known at row t; there is nothing to predict.\n"
                "Say how far ahead its value is to be learnt: kn.label(feature, ahead=21)."
            ),
        ),
        "one feature without brackets": (
            lambda: kn.model(Learner(), m.close, learnt),
            (
                "`features` must be a list of features, but it is the feature `close` of type Feature.\n"
                "Write them in brackets: [market.close / market.close.lag(21) - 1, ...]."
            ),
        ),
        "a class for an estimator": (
            lambda: kn.model(Learner, past, learnt),
            "`estimator` is the class Learner; give an estimator made from it: Learner(...).",
        ),
        "a model that cannot be fitted": (
            lambda: kn.model(Nothing(), past, learnt),
            (
                "`estimator` must have fit(X, y) and predict(X), but Nothing() of type Nothing has no 'fit'.\n"
                "Anything with both serves: an estimator of scikit-learn or LightGBM, or a class of your own."
            ),
        ),
        "a span in words": (
            lambda: kn.model(Learner(), past, learnt, train="3 yrs"),
            (
                "`train` must be a positive length, but train='3 yrs'.\n"
                'Write whole bars (252 or "252b") or a length of the calendar such as "3y", "6mo", "2w", "10d".'
            ),
        ),
        "a past too short to fit": (
            lambda: kn.model(Learner(), past, learnt, train=10),
            (
                "`train - ahead - purge - embargo >= min_bars` must hold, but train=10, ahead=5, purge=0, embargo=0, "
                "min_bars=20: there would never be a fit.\n"
                "Lengthen `train`, or lower `min_bars`."
            ),
        ),
    }


@pytest.mark.parametrize("mistake", on_the_way_to_a_model(kn.Market.from_frames(close=PRICES)))
def test_mistakes_on_the_way_from_an_idea_to_a_model(mistake: str) -> None:
    make, text = on_the_way_to_a_model(market())[mistake]
    assert told(make) == text


def test_a_model_that_predicts_one_row_of_three() -> None:
    class Predicted(kn.Strategy):
        def weights(self, m):
            learnt = kn.label(m.close, ahead=5)
            return kn.model(Learner(rows=1), [m.close.lag(1)], learnt, train=60, refit=20, min_bars=5)

    text = told(lambda: kn.backtest(Predicted(), market()))
    assert "must give a number for each of 3 rows, but gave array(" in text
    assert "of shape (1,) and dtype float64, with the fit made at row 20." in text
