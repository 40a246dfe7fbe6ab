"""What decides a fit is content: the estimator's class, code and parameters; chance, threads and luck do not."""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import sys
import threading

import numpy as np
import pandas as pd
import pytest

import knowable as kn
from knowable.errors import InputError, ModelError, UnknownNameError
from knowable.features import NeedsValue, asked, symbol
from knowable.features.models.cache import KEPT
from knowable.features.models.content import content_text
from knowable.features.models.estimator import estimator_of
from knowable.features.models.jobs import fit_and_predict
from knowable.testing.model_oracle import LeastSquares

INDEX = pd.date_range("2020-01-01", periods=60, freq="D")
RNG = np.random.default_rng(0)
CLOSE = pd.DataFrame(100 * np.exp(np.cumsum(RNG.normal(0, 0.02, (60, 3)), axis=0)), INDEX, list("ABC"))
M = kn.Market.from_frames(close=CLOSE)


def model_of(estimator, **options):
    label = kn.label(M.close / M.close.lag(2) - 1, ahead=2)
    features = [M.close / M.close.lag(1) - 1, M.close / M.close.mean(5) - 1]
    return kn.model(estimator, features, label, **{"train": None, "refit": 20, "min_bars": 5, **options})


class Plain:
    """Without parameters of its own."""

    scale = 1.0

    def __init__(self, **held):
        self.__dict__.update(held)

    def fit(self, x, y):
        self.mean = scaled(float(y.mean()))

    def predict(self, x):
        return np.full(len(x), self.mean * self.scale)


def scaled(value):
    return value * FACTOR


FACTOR = 1.0


def test_equal_content_is_one_expression_and_other_content_is_another() -> None:
    one = model_of(LeastSquares())
    assert model_of(LeastSquares(1.0)).node is one.node
    assert model_of(LeastSquares(2.0)).node is not one.node
    assert model_of(LeastSquares(), purge=1).node is not one.node
    assert model_of(LeastSquares(), min_bars=6).node is not one.node
    assert model_of(LeastSquares(), train="1y").node is not one.node
    assert model_of(LeastSquares(), workers=2, cache=True).node is one.node


def test_code_that_an_estimator_uses_is_part_of_its_content(monkeypatch) -> None:
    before = content_text(Plain())
    assert content_text(Plain()) == before
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    changed = content_text(Plain())
    assert changed != before
    monkeypatch.setitem(globals(), "scaled", lambda value: value + FACTOR)
    assert content_text(Plain()) not in (before, changed)
    monkeypatch.undo()
    assert content_text(Plain()) == before
    monkeypatch.setattr(Plain, "scale", 3.0)
    assert content_text(Plain()) != before


VALUES = [
    0, 0.0, -0.0, 1, 1.0, True, None, "1", b"1", 1j, (1,), [1], {1}, {"a": 1}, {"a": 1.0}, np.arange(3), np.arange(3.0),
    np.arange(3, dtype=">i8"), np.float32(1), np.array([1, None]), len, np.log1p, np.mean, functools.partial(max, 1),
    functools.partial(max, 2), np.random.RandomState(0), np.random.RandomState(1), np.random.default_rng(0),
    np.random.default_rng(1), Plain(a=1), Plain(a=2), Plain(a=Plain()), LeastSquares, Plain(a=1).fit, random.Random(1),
    lambda x: x, lambda x: x + 1, pd.Series([1.0, 2.0]), pd.Series([1.0, 3.0]),
]  # fmt: skip


def test_different_values_have_different_content_and_copies_the_same() -> None:
    texts = [content_text(value) for value in VALUES]
    assert len(set(texts)) == len(texts)
    assert [content_text(copy.deepcopy(value)) for value in VALUES] == texts


def test_a_value_that_holds_itself_has_content_too() -> None:
    ring = Plain()
    ring.held = [ring]
    assert content_text(ring) == content_text(copy.deepcopy(ring))


def test_what_cannot_be_told_or_copied_is_refused() -> None:
    with pytest.raises(InputError, match="`estimator` Plain.. cannot be copied: TypeError"):
        model_of(Plain(lock=threading.Lock()))

    class Opaque(Plain):
        def __deepcopy__(self, memo):
            return self

    with pytest.raises(InputError, match="holds cannot be told: TypeError: cannot pickle"):
        model_of(Opaque(lock=threading.Lock()))


def test_a_later_change_of_the_users_estimator_changes_nothing() -> None:
    given = LeastSquares()
    feature = model_of(given)
    given.weight = 100.0
    KEPT.clear()
    assert feature.values().tobytes() == model_of(LeastSquares()).values().tobytes()


def test_a_fitted_estimator_of_ones_own_is_never_changed() -> None:
    given = Plain()
    model_of(given).values()
    assert not hasattr(given, "mean")


class Chance:
    """Draws from the global generators."""

    def fit(self, x, y):
        self.drawn = np.random.rand() + random.random()  # noqa: NPY002

    def predict(self, x):
        return np.random.rand(len(x)) + self.drawn  # noqa: NPY002


def test_the_global_generators_start_from_the_content_and_are_put_back() -> None:
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    wanted = np.random.rand(), random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    one = model_of(Chance()).values()
    assert (np.random.rand(), random.random()) == wanted  # noqa: NPY002
    KEPT.clear()
    assert model_of(Chance()).values().tobytes() == one.tobytes()
    assert np.unique(one[20:]).size == 3


class Luck:
    """Draws from a generator that nobody seeds."""

    def fit(self, x, y):
        self.drawn = np.random.default_rng().random()

    def predict(self, x):
        return np.full(len(x), self.drawn)


def test_an_estimator_that_does_not_repeat_itself_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        model_of(Luck()).values()
    assert str(caught.value).startswith("Two fits of Luck() to the same rows differ: they predict 0.")
    assert "Draw random numbers from a fixed seed inside fit" in str(caught.value)


class Counts:
    """Predicts how often it was asked."""

    def fit(self, x, y):
        self.n = 0

    def predict(self, x):
        self.n += 1
        return np.full(len(x), float(self.n))


def test_an_estimator_whose_predictions_depend_on_earlier_ones_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"they predict 1.0 and 5.0 .*\n.*\n.*predict must leave the estimator as it is"
    ):
        model_of(Counts()).values()


class OneClass(Plain):
    """As a classifier of scikit-learn that was shown one class."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)

    def predict_proba(self, x):
        return np.full((len(x), len(self.classes_)), 1.0 / len(self.classes_))


def test_a_probability_of_the_only_class_is_no_prediction() -> None:
    def probability(known):
        label = kn.label(known, ahead=2)
        return kn.model(OneClass(), [M.close], label, train=None, refit=20, method="predict_proba").values()

    with pytest.raises(ModelError, match=r"labels that trained it were 0.0, with the fit made at row 40.\nLengthen"):
        probability(M.close < 0)
    assert np.nanmax(probability(M.close > M.close.lag(1))) == 0.5


class Threads:
    """Looks how many threads numerical libraries may use, and joblib's jobs."""

    def fit(self, x, y):
        self.most = self.counted()

    def counted(self):
        from threadpoolctl import threadpool_info

        jobs = sys.modules["joblib"].effective_n_jobs(-1) if "joblib" in sys.modules else 1
        return max([each["num_threads"] for each in threadpool_info()] + [jobs])

    def predict(self, x):
        return np.full(len(x), max(self.most, self.counted()))


def test_fits_and_predictions_run_on_one_thread() -> None:
    with contextlib.suppress(ImportError):
        import joblib  # noqa: F401
    assert np.nanmax(model_of(Threads()).values()) == 1


def test_a_fit_that_loads_a_library_is_made_again_on_one_thread(monkeypatch) -> None:
    loaded, seen = [], []

    class Libraries:
        def __init__(self):
            self.lib_controllers = list(loaded)

        def limit(self, limits):
            assert limits == 1
            return contextlib.nullcontext()

    class Loads:
        def fit(self, x, y):
            seen.append(len(loaded))
            loaded[:] = ["blas"]

        def predict(self, x):
            return x[:, 0]

    monkeypatch.setattr("threadpoolctl.ThreadpoolController", Libraries)
    fit_and_predict(estimator_of(Loads(), "predict"), np.ones((3, 1)), np.ones(3), [np.ones((1, 1))], "here")
    assert seen == [0, 1]


def fails(how):
    class Fails:
        def fit(self, x, y):
            if how == "fit":
                raise ValueError("no\nway")
            if how == "ours":
                raise kn.KnowableError("said already")

        def predict(self, x):
            if how == "predict":
                raise RuntimeError("gone")
            return {
                "few": x[:-1, 0],
                "wide": x,
                "text": ["a"] * len(x),
                "none": None,
                "complex": x[:, 0] * 1j,
                "digits": ["1"] * len(x),
            }[how]

        def __repr__(self):
            return "Fails()"

    return Fails()


FAILURES = {
    "fit": r"^Fails\(\).fit raised ValueError: no\nFitted at row 20 to 45 rows and 2 features, none of them missing.$",
    "predict": r"^Fails\(\).predict raised RuntimeError: gone\nCalled with the fit made at row 20 with 3 rows.$",
    "few": r"^Fails\(\).predict must give a number for each of 3 rows, but gave array.* of shape \(2,\) and dtype",
    "wide": r"of shape \(3, 2\) and dtype float64, with",
    "text": r"but gave \['a', 'a', 'a'\] of shape \(3,\) and dtype <U1, with",
    "digits": r"but gave \['1', '1', '1'\] of shape \(3,\) and dtype <U1, with",
    "complex": r"of shape \(3,\) and dtype complex128, with",
    "none": r"but gave None of shape \(\) and dtype float64, with",
    "ours": "^said already$",
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_of_the_estimator_says_where_and_with_what(how) -> None:
    kind = kn.KnowableError if how == "ours" else ModelError
    with pytest.raises(kind, match=FAILURES[how]):
        model_of(fails(how)).values()


def test_a_dated_model_names_the_day_of_the_fit_that_failed() -> None:
    with pytest.raises(ModelError, match="Fitted at 2020-01-31 to "):
        model_of(fails("fit"), refit="1mo").values()


def test_a_parameter_without_a_value_asks_for_it() -> None:
    class Held(kn.Strategy):
        weight = kn.Float(0.0, 1.0)

    weight = symbol("weight", Held.parameters["weight"])
    for make in (
        lambda: LeastSquares(weight), lambda: Plain(a=[weight]), lambda: Plain(a={"b": weight}), lambda: weight,
    ):  # fmt: skip
        with pytest.raises(NeedsValue):
            model_of(make())
    assert asked(weight)
    for name in ("train", "refit", "purge", "embargo", "min_bars", "workers"):
        with pytest.raises(NeedsValue):
            model_of(LeastSquares(), **{name: symbol("weight", Held.parameters["weight"])})


def test_an_unknown_method_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Unknown method 'predict_probab' in kn.model. Did you mean 'predict_p"):
        model_of(LeastSquares(), method="predict_probab")
    with pytest.raises(
        InputError, match=r"must have fit\(X, y\) and predict_proba\(X\), but .* has no 'predict_proba'"
    ):
        model_of(LeastSquares(), method="predict_proba")


# scikit-learn's own


def test_estimators_of_scikit_learn_agree_with_themselves_fitted_by_hand() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    x = np.stack([f.frame().to_numpy() for f in (M.close / M.close.lag(1) - 1, M.close / M.close.mean(5) - 1)], axis=2)
    y = (CLOSE.shift(-2) / CLOSE - 1).to_numpy()
    rows, labels = x[4:19].reshape(-1, 2), y[4:19].reshape(-1)
    wanted = linear.Ridge(0.1).fit(rows, labels).predict(x[20:40].reshape(-1, 2)).reshape(20, 3)
    np.testing.assert_allclose(model_of(linear.Ridge(0.1)).values()[20:40], wanted, rtol=1e-9)

    up = kn.label(M.close > M.close.lag(2), ahead=2)
    features = [M.close / M.close.lag(1) - 1, M.close / M.close.mean(5) - 1]
    found = {}
    for method in ("predict", "predict_proba", "decision_function"):
        made = kn.model(linear.LogisticRegression(), features, up, train=None, refit=20, min_bars=5, method=method)
        found[method] = made.values()[20:40]
    by_hand = linear.LogisticRegression().fit(rows, labels > 0)
    seen = x[20:40].reshape(-1, 2)
    np.testing.assert_array_equal(found["predict"].ravel(), by_hand.predict(seen))
    np.testing.assert_allclose(found["predict_proba"].ravel(), by_hand.predict_proba(seen)[:, 1], rtol=1e-9)
    np.testing.assert_allclose(found["decision_function"].ravel(), by_hand.decision_function(seen), rtol=1e-9)


def test_threads_and_unset_random_states_are_set_and_the_text_says_so() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble", reason="scikit-learn is not installed")
    pipeline = pytest.importorskip("sklearn.pipeline", reason="scikit-learn is not installed")
    given = pipeline.make_pipeline(ensemble.ExtraTreesRegressor(5, n_jobs=2))
    one = estimator_of(given, "predict")
    params = one.prototype.get_params()
    assert params["extratreesregressor__n_jobs"] is None
    assert params["extratreesregressor__random_state"] == one.seed > 0
    assert f"random_state={one.seed}" in one.text
    assert given.get_params()["extratreesregressor__random_state"] is None
    feature = model_of(given)
    assert f"random_state={one.seed}" in repr(feature)
    values = feature.values()
    KEPT.clear()
    assert model_of(pipeline.make_pipeline(ensemble.ExtraTreesRegressor(5))).values().tobytes() == values.tobytes()
    seeded = model_of(pipeline.make_pipeline(ensemble.ExtraTreesRegressor(5, random_state=7)))
    assert seeded.values().tobytes() != values.tobytes()


def test_another_librarys_estimator_gets_one_job_too() -> None:
    class Boosted(LeastSquares):
        def __init__(self, n_jobs=None, inner=None):
            self.n_jobs, self.inner = n_jobs, inner

        def get_params(self, deep=True):
            below = self.inner.get_params() if deep and self.inner is not None else {}
            return {"n_jobs": self.n_jobs, "inner": self.inner, **{f"inner__{k}": v for k, v in below.items()}}

        def set_params(self, **given):
            for name, value in given.items():
                where, _, last = name.rpartition("__")
                setattr(self.inner if where else self, last, value)

    made = estimator_of(Boosted(-1, Boosted(4)), "predict").prototype
    assert (made.n_jobs, made.inner.n_jobs) == (1, 1)


def test_a_fitted_estimator_of_scikit_learn_is_fitted_afresh() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    fitted = linear.LinearRegression().fit(np.eye(2) * 1e9, np.ones(2))
    assert model_of(fitted).node is model_of(linear.LinearRegression()).node
    assert np.isnan(model_of(fitted).values()[:20]).all()
