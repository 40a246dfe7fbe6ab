"""`model`: the predictions of an estimator that is fitted as time goes by, as a feature."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from knowable.data.market import UNIVERSE, Market
from knowable.errors import InputError, shown
from knowable.features.apply import common_market
from knowable.features.feature import Feature
from knowable.features.models.cache import user_folder
from knowable.features.models.estimator import estimator_of
from knowable.features.models.jobs import Means, use
from knowable.features.models.label import Label
from knowable.features.models.schedule import refit_of, span_of
from knowable.features.models.spec import ModelSpec
from knowable.features.models.unfitted import most_bars
from knowable.features.node import Node, field, node, number

__all__ = ["model"]


def model(
    estimator: Any,
    features: Sequence[Feature],
    label: Label,
    *,
    train: str | int | None = "3y",
    refit: str | int | None = "1mo",
    purge: int | None = None,
    embargo: int | None = None,
    min_bars: int = 20,
    method: str = "predict",
    workers: int = 0,
    cache: bool | str | Path = False,
) -> Feature:
    """Predictions of a model that is fitted again and again as time goes by, each time to what was known by then.

    At a bar s at which a fit is due, the training rows are all cells (t, asset) with ``t + ahead + purge + embargo <=
    s`` in the span `train` that ends with s: their labels were known by s. Cells with a missing or infinite feature or
    label are left out, and, where the market has a universe, those of assets that were no members on bar t. The fit
    predicts bar s and all bars until the next fit.

    Args:
        estimator: anything with ``fit(X, y)`` and ``predict(X)``: of scikit-learn, LightGBM, a class of your own. Each
            fit gets a fresh copy. X is (n_rows, n_features) float64, bar by bar; y is (n_rows,) float64.
        features: the columns of X, in order.
        label: what is learnt, from `kn.label`.
        train: how far back training rows reach: bars (``756``, ``"756b"``), a span of the calendar (``"3y"``,
            ``"18mo"``, ``"26w"``, ``"90d"``), or None for all that came before.
        refit: when it is fitted: at the ends of ``"1d"``, ``"1w"``, ``"1mo"``, ``"3mo"`` or ``"1y"`` (or by the names
            of `Strategy.rebalance`, such as ``"month_end"``), or on the bar after where only that shows the end (see
            docs/clocks.md); on every n-th bar, counted from the market's first; or None: once, as soon as there is
            enough.
        purge: bars left out before the fit beyond the label's own `ahead`, which is always left out; None for 0.
        embargo: further bars left out at the same place, against serial correlation, as in `walk_forward`; None for 0.
            (An embargo after a test, as cross-validation has it, has nothing to remove: training never follows a test.)
        min_bars: bars with training rows that a fit needs; without as many the last one goes on.
        method: what predicts: ``"predict"``, ``"predict_proba"`` (of the last class), ``"decision_function"``.
        workers: processes that share fits where making them takes more than some seconds; 0: this one alone. Inside a
            run the run's own workers fit.
        cache: keep predictions on disk too, for other sessions and processes: True for the user's cache folder, or a
            folder. In memory they are kept anyway, by the content of estimator and rows.

    Returns: a feature (n_bars, n_assets) in the label's unit: rank it, lag it, combine it, let parameters stand in the
        features below it. NaN before the first fit, and where a feature is missing or infinite.
    Known at: row t uses rows <= t. The same bits for batch and stepper: bars are predicted one by one; fits run on one
        thread (``n_jobs`` is set to 1), from seeded generators; an unset ``random_state`` gets a number drawn from the
        estimator's content, which the feature's text shows. A first fit is made twice to see that it repeats itself.
    Raises: InputError, naming the argument. ModelError, on evaluation, if fit or predict raises, gives something else
        than a number a row, or does not repeat itself.
    Source: López de Prado, Advances in Financial Machine Learning, 2018, ch. 7 (purging and embargo).
    """
    nodes, made = _inputs(features, label), estimator_of(estimator, method)
    spec = ModelSpec(
        estimator=made,
        n_features=len(features),
        ahead=label.ahead,
        train=span_of(train),
        refit=refit_of(refit),
        purge=_whole("purge", 0 if purge is None else purge, 0),
        embargo=_whole("embargo", 0 if embargo is None else embargo, 0),
        min_bars=_whole("min_bars", min_bars, 1),
    )
    market = common_market("model", [*features, label.feature])
    _check_room(spec, market)
    clock = (
        number(0.0) if spec.refit.rule is None else node("ends", (), (spec.refit.rule,)),
        node("day") if spec.dated else number(0.0),
        field(UNIVERSE) if UNIVERSE in market.panels else number(1.0),
    )
    use(spec.digest, Means(workers=_whole("workers", workers, 0), folder=_folder(cache)))
    return Feature(node("model", (*clock, *nodes), (spec,)), market)


def _inputs(features: Any, label: Any) -> list[Node]:
    """The nodes of the label's feature and of the features. Raises: InputError."""
    if issubclass(type(label), Feature):
        raise InputError(
            f"`label` is the feature `{label!r}`, whose row t is known at row t; there is nothing to predict.\n"
            "Say how far ahead its value is to be learnt: kn.label(feature, ahead=21)."
        )
    if type(label) is not Label:
        raise InputError(f"`label` must be made by kn.label(feature, ahead=...), but it is {shown(label)}.")
    if not isinstance(features, list | tuple):
        what = f"the feature `{features!r}`" if issubclass(type(features), Feature) else shown(features)
        raise InputError(
            f"`features` must be a list of features, but it is {what} of type {type(features).__name__}.\n"
            "Write them in brackets: [market.close / market.close.lag(21) - 1, ...]."
        )
    if not features:
        raise InputError("`features` is empty; a model needs at least one feature to predict from.")
    for k, each in enumerate(features):
        if type(each) is Label:
            raise InputError(f"`features[{k}]` is a label. {each.refusal('looks forward')}")
        if not issubclass(type(each), Feature):
            raise InputError(
                f"`features[{k}]` must be a feature, such as market.close.mean(20), but it is {shown(each)} of type "
                f"{type(each).__name__}.\nPut a table of your own into the market as a field: "
                "Market.from_frames(close=..., mine=frame), and use market.mine."
            )
    return [label.node, *(each.node for each in features)]


def _check_room(spec: ModelSpec, market: Market) -> None:
    """Raises: InputError where no span of `train` could hold what a fit needs."""
    most = most_bars(spec.train, market)
    if most is not None and most - spec.reach < spec.min_bars:
        train = spec.train.n if spec.train.unit == "b" else f"{spec.train} (at most {most} bars of this market)"
        raise InputError(
            f"`train - ahead - purge - embargo >= min_bars` must hold, but train={train}, ahead={spec.ahead}, "
            f"purge={spec.purge}, embargo={spec.embargo}, min_bars={spec.min_bars}: there would never be a fit.\n"
            "Lengthen `train`, or lower `min_bars`."
        )


def _whole(name: str, value: Any, low: int) -> int:
    if isinstance(value, bool | np.bool_) or not hasattr(type(value), "__index__"):
        raise InputError(
            f"`{name}` must be a whole number, but {name}={shown(value)} is of type {type(value).__name__}, in "
            "kn.model."
        )
    whole = operator.index(value)
    if whole < low:
        raise InputError(f"`{name} >= {low}` must hold, but {name}={whole}, in kn.model.")
    return whole


def _folder(cache: Any) -> Path | None:
    if isinstance(cache, bool):
        return user_folder() if cache else None
    if isinstance(cache, str | Path):
        return Path(cache)
    raise InputError(f"`cache` must be True, False or a folder, but it is {shown(cache)}, in kn.model.")
