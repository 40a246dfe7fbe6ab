"""A newcomer's mistakes with labels and models: each message says what, where and the remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError, KnowableError, StrategyError, UnknownAttributeError
from knowable.testing.model_oracle import LeastSquares

INDEX = pd.bdate_range("2020-01-01", periods=60)
CLOSE = pd.DataFrame({"A": 100 + np.sin(np.arange(60)), "B": 50 + np.cos(np.arange(60))}, INDEX)
M = kn.Market.from_frames(close=CLOSE, open=CLOSE)
OTHER = kn.Market.from_frames(close=CLOSE * 2)
RET = M.close / M.close.lag(5) - 1
LABEL = kn.label(RET, ahead=5)
WHY = (
    "A label holds what is known only 5 bars later, so it can train a model and do nothing else: "
    "kn.model(estimator, features, label).\n"
    "Transform the feature first and make the label of that: kn.label(x.rank(), ahead=5)."
)
SELF = "`label(close / lag(close, 5) - 1, ahead=5)`"


def told(make):
    with pytest.raises(KnowableError) as caught:
        make()
    text = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert len(text.splitlines()) <= 12
    return text


MISUSES = {
    "arithmetic": [
        lambda: LABEL + 1, lambda: 1 - LABEL, lambda: -LABEL, lambda: LABEL * 2, lambda: LABEL**2, lambda: ~LABEL,
        lambda: abs(LABEL), lambda: LABEL & LABEL, lambda: LABEL + RET, lambda: LABEL / np.float64(2),
    ],
    "comparison": [lambda: LABEL > 0, lambda: LABEL == LABEL, lambda: LABEL != 1],
    "truth value": [lambda: bool(LABEL), lambda: LABEL or 1],
    "values to read": [
        lambda: np.asarray(LABEL), lambda: list(LABEL), lambda: LABEL[0], lambda: len(LABEL), lambda: float(LABEL),
        lambda: np.log(LABEL), lambda: np.float64(2) * LABEL,
    ],
}  # fmt: skip


@pytest.mark.parametrize(("what", "make"), [(what, make) for what, makes in MISUSES.items() for make in makes])
def test_a_label_can_do_nothing_and_says_why(what, make) -> None:
    assert told(make) == f"{SELF} has no {what}.\n{WHY}"


def test_a_label_cannot_enter_an_expression() -> None:
    assert told(lambda: RET + LABEL) == f"{SELF} cannot be used in `+`.\n{WHY}"
    assert told(lambda: RET > LABEL) == f"{SELF} cannot be used in `>`.\n{WHY}"
    assert told(lambda: kn.features.rank(LABEL)) == f"{SELF} cannot be used in `rank`.\n{WHY}"
    assert told(lambda: kn.features.where(LABEL, 1, 0)) == f"{SELF} cannot be used in `where`.\n{WHY}"
    with pytest.raises(UnknownAttributeError, match=r"has no 'rank'\.\nA label holds what is known only 5 bars later"):
        LABEL.rank()
    assert not hasattr(LABEL, "values")


def test_a_label_cannot_be_returned_as_weights() -> None:
    class Cheat(kn.Strategy):
        def weights(self, m):
            return kn.label(m.close, ahead=5)

    text = told(lambda: kn.backtest(Cheat(), M))
    assert text.startswith("`label(close, ahead=5)` came from Cheat().weights, where it cannot go.\n" + WHY[:60])


def test_a_label_is_made_of_a_feature_and_looks_forward_by_whole_bars() -> None:
    assert told(lambda: kn.label(CLOSE, 5)).startswith("`feature` must be a feature, such as market.close")
    assert "is a label already" in told(lambda: kn.label(LABEL, 5))
    assert told(lambda: kn.label(RET, "5")) == (
        "`ahead` must be a whole number of bars, but ahead='5' is of type str, "
        "in label(close / lag(close, 5) - 1, ...)."
    )
    assert told(lambda: kn.label(RET, -5)) == (
        "`ahead >= 1` must hold, but ahead=-5, in label(close / lag(close, 5) - 1, ...).\n"
        "Write ahead=5: a label looks forward by itself."
    )
    assert "What is known on the row itself is a feature; there is nothing to predict." in told(
        lambda: kn.label(RET, 0)
    )


def model(estimator=None, features=None, label=None, **options):
    given = (LeastSquares(), [RET], LABEL)
    chosen = (usual if own is None else own for own, usual in zip((estimator, features, label), given, strict=True))
    return kn.model(*chosen, **options)


MISTAKES = {
    "a class": (lambda: model(LeastSquares), "is the class LeastSquares; give an estimator made from it: LeastSquares"),
    "no estimator": (
        lambda: model(3),
        "`estimator` must have fit(X, y) and predict(X), but 3 of type int has no 'fit'",
    ),
    "a feature for the estimator": (lambda: model(M.close), "but the feature `close` of type Feature has no 'fit'"),
    "one feature": (lambda: model(features=M.close), "must be a list of features, but it is the feature `close`"),
    "a table": (lambda: model(features=[M.close, CLOSE]), "`features[1]` must be a feature, such as market.close.mean"),
    "text": (lambda: model(features="close"), "`features` must be a list of features, but it is 'close' of type str"),
    "none at all": (lambda: kn.model(LeastSquares(), [], LABEL), "`features` is empty; a model needs at least one"),
    "a label among features": (lambda: model(features=[M.close, LABEL]), "`features[1]` is a label."),
    "a feature as label": (lambda: model(label=M.close), "`label` is the feature `close`, whose row t is known at row"),
    "a table as label": (lambda: model(label=CLOSE.shift(-5)), "`label` must be made by kn.label(feature, ahead=...)"),
    "another market": (lambda: model(features=[OTHER.close]), "Features of two different markets cannot meet"),
    "months": (lambda: model(train="3m"), "`train` must be a positive length, but train='3m'. Months are \"mo\"."),
    "years as a number": (lambda: model(train=3.0), "`train` must be a positive length, but train=3.0."),
    "an odd rhythm": (lambda: model(refit="2mo"), "`refit` of the calendar is one of '1d', '1w', '1mo', '3mo', '1y'"),
    "no length": (lambda: model(refit=0), "`refit` must be a positive length, but refit=0."),
    "purge as text": (lambda: model(purge="5"), "`purge` must be a whole number, but purge='5' is of type str"),
    "negative purge": (lambda: model(purge=-1), "`purge >= 0` must hold, but purge=-1, in kn.model."),
    "negative embargo": (lambda: model(embargo=-1), "`embargo >= 0` must hold, but embargo=-1, in kn.model."),
    "part of a bar": (lambda: model(embargo=1.5), "`embargo` must be a whole number, but embargo=1.5 is of type float"),
    "no bars": (lambda: model(min_bars=0), "`min_bars >= 1` must hold, but min_bars=0, in kn.model."),
    "too short": (lambda: model(train=24), "there would never be a fit.\nLengthen `train`, or lower `min_bars`."),
    "too few days": (lambda: model(train="4w"), "but train='4w' (at most 20 bars of this market), ahead="),
    "workers": (lambda: model(workers=-1), "`workers >= 0` must hold, but workers=-1, in kn.model."),
    "cache": (lambda: model(cache=1), "`cache` must be True, False or a folder, but it is 1, in kn.model."),
    "as text": (lambda: model().text(), "An expression with a model in it has no text"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told(mistake) -> None:
    make, text = MISTAKES[mistake]
    assert text in told(make)


def test_an_unfitted_model_in_a_strategy_is_pointed_to_ours() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")

    class Unfitted(kn.Strategy):
        def weights(self, m):
            return linear.Ridge().predict(m.close.values())

    with pytest.raises(StrategyError) as caught:
        kn.backtest(Unfitted(), M)
    assert "raised NotFittedError: This Ridge instance is not fitted yet" in str(caught.value)
    assert "kn.model(estimator, features, kn.label(feature, ahead=21))" in str(caught.value)


def test_a_model_says_what_it_is() -> None:
    m = kn.Market.from_frames(close=CLOSE, universe=CLOSE > 0)
    made = kn.model(LeastSquares(), [m.close.rank(), m.close], kn.label(m.close, 3), refit=10, purge=2)
    assert repr(made) == (
        "model(LeastSquares(), [rank(members(close, universe)), close], label(close, ahead=3), train='3y', refit=10, "
        "purge=2, embargo=0, min_bars=20)"
    )
    assert made.fields == ("close", "universe")
    with pytest.raises(InputError, match="has no text"):
        (made + 1).text()
