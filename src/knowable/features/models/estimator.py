"""A user's estimator as content: a copy that is never fitted itself, and a hash of all that decides its fits."""

from __future__ import annotations

import copy
import hashlib
import importlib
import inspect
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from knowable.errors import InputError, shown, unknown_name
from knowable.features.models.content import content_text
from knowable.features.symbols import Expression, Symbol

__all__ = ["METHODS", "Estimator", "estimator_of"]

METHODS = ("predict", "predict_proba", "decision_function")
_LONGEST = 120


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimator:
    """An estimator to make fits of.

    Attributes:
        prototype: a copy of the user's, unfitted where it says how it was made (`get_params`).
        method: what gives its predictions.
        text: its repr, with the parameters as they are set here.
        digest: hash of its class, its parameters, the code it uses and the versions of installed packages.
        seed: what random numbers start from, drawn from the content.
    """

    prototype: Any
    method: str
    text: str
    digest: str
    seed: int

    def fresh(self) -> Any:
        """One to be fitted."""
        return _copied(self.prototype)


def estimator_of(given: Any, method: str) -> Estimator:
    """Take over what a user gave, and check that it can be fitted.

    Parameters called ``n_jobs`` are set to one job, because the order in which threads add up decides the last bits of
    a forest. An unset ``random_state``, also of a part of a pipeline, gets a number drawn from the content.

    Raises: InputError if it is a class, has no `fit` or no `method`, or cannot be copied; UnknownNameError for another
    method than METHODS.
    """
    if type(given) is Symbol:
        bool(given)  # raises NeedsValue
    if method not in METHODS:
        raise unknown_name("method", method, METHODS, where="kn.model")
    _check(given, method)
    try:
        prototype = _copied(given)
    except Exception as error:
        raise InputError(
            f"`estimator` {_text(given)} cannot be copied: {type(error).__name__}: {error}\n"
            "Each fit takes a fresh copy; make open files, locks and generators inside fit."
        ) from error
    params = _params(prototype)
    _set(prototype, {name: _one_job({"": prototype, **params}, name) for name in params if _last(name) == "n_jobs"})
    head = f"{method}\n{sys.version_info[:2]}\nnumpy {np.__version__}\n"
    first = hashlib.sha256((head + content_text(prototype)).encode("utf-8", "replace")).hexdigest()
    seed = int(first[:8], 16) >> 1
    _set(prototype, dict.fromkeys((k for k, v in params.items() if _last(k) == "random_state" and v is None), seed))
    return Estimator(prototype=prototype, method=method, text=_text(prototype), digest=first, seed=seed)


def _check(given: Any, method: str) -> None:
    if inspect.isclass(given):
        raise InputError(
            f"`estimator` is the class {given.__name__}; give an estimator made from it: {given.__name__}(...)."
        )
    what = f"the feature `{given!r}`" if issubclass(type(given), Expression) else shown(given)
    for name in ("fit", method):
        if not callable(getattr(type(given), name, None)) and not callable(_attribute(given, name)):
            raise InputError(
                f"`estimator` must have fit(X, y) and {method}(X), but {what} of type {type(given).__name__} has no "
                f"{name!r}.\nAnything with both serves: an estimator of scikit-learn or LightGBM, or a class of your "
                "own."
            )


def _attribute(given: Any, name: str) -> Any:
    try:
        return getattr(given, name, None)
    except Exception:  # noqa: BLE001 - objects of other libraries say no in their own ways
        return None


def _copied(given: Any) -> Any:
    """A copy to be fitted: made anew from its parameters where it has `get_params`, else as deep as it goes."""
    if not callable(getattr(given, "get_params", None)):
        return copy.deepcopy(given)
    if "sklearn" in sys.modules:
        clone: Any = importlib.import_module("sklearn.base").clone
        return clone(given)
    return type(given)(**{name: copy.deepcopy(value) for name, value in given.get_params(deep=False).items()})


def _params(given: Any) -> dict[str, Any]:
    if not callable(getattr(given, "set_params", None)) or not callable(getattr(given, "get_params", None)):
        return {}
    params: dict[str, Any] = given.get_params(deep=True)
    return params


def _one_job(params: dict[str, Any], name: str) -> int | None:
    """What means one job: 1, or None to scikit-learn, which warns of 1 where jobs are of no use."""
    owner = params.get(name.rpartition("__")[0])
    return None if type(owner).__module__.startswith("sklearn.") else 1


def _set(given: Any, params: dict[str, Any]) -> None:
    if params:
        given.set_params(**params)


def _text(given: Any) -> str:
    """Its repr, without an address."""
    text = shown(given, _LONGEST)
    return f"{type(given).__name__}()" if " at 0x" in text else text


def _last(name: str) -> str:
    return name.rpartition("__")[2]
