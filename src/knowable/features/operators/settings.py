"""What a setting may be: a window, a lag, a switch. Each check names the setting, what came and where."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from knowable.calendars import PERIODS, STARTS, rule_of
from knowable.errors import InputError, shown, unknown_name
from knowable.features.models.spec import ModelSpec
from knowable.kernels.clock import WAYS
from knowable.kernels.covariance import ESTIMATORS

__all__ = ["SETTINGS", "check_of"]

_MOST_BUCKETS = 1_000_000


def _window(value: Any, where: Callable[[], str]) -> int:
    return _whole("window", value, 1, where)


def _lag(value: Any, where: Callable[[], str]) -> int:
    whole = _as_whole("n", value, where)
    if whole < 0:
        raise InputError(
            f"`n >= 0` must hold, but n={whole}, in {where()}.\n"
            "A feature cannot look ahead: row t uses rows up to t only, so no negative lag exists.\n"
            f"For a past value write lag({-whole}). To set a signal against a later return, lag the signal\n"
            f"instead: signal.lag({-whole}) beside close / close.lag({-whole}) - 1."
        )
    return whole


def _span(value: Any, where: Callable[[], str]) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 1:
        raise InputError(f"`span >= 1` must hold for a finite number, but span={shown(value)}, in {where()}.")
    return float(value)


def _switch(name: str) -> Callable[[Any, Callable[[], str]], bool]:
    def check(value: Any, where: Callable[[], str]) -> bool:
        if not isinstance(value, bool | np.bool_):
            raise InputError(f"`{name}` must be True or False, but {name}={shown(value)}, in {where()}.")
        return bool(value)

    return check


def _choice(name: str, choices: tuple[str, ...]) -> Callable[[Any, Callable[[], str]], str]:
    def check(value: Any, where: Callable[[], str]) -> str:
        if not isinstance(value, str) or value not in choices:
            raise unknown_name(name, value, choices, where=where())
        return value

    return check


def _number(name: str, *, above: float, least: float, none: bool) -> Callable[[Any, Callable[[], str]], float | None]:
    """A finite number > `above` and >= `least`; None too if `none`."""

    def check(value: Any, where: Callable[[], str]) -> float | None:
        if none and value is None:
            return None
        fits = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not (float(value) > above and float(value) >= least):
            bound = (
                f"{name} >= {least:g}" if least > -math.inf else f"{name} > {above:g}" if above > -math.inf else name
            )
            leave = ", or be None" if none else ""
            raise InputError(
                f"`{bound}` must hold for a finite number{leave}, but {name}={shown(value)}, in {where()}."
            )
        return float(value)

    return check


def _positive(name: str, *, none: bool = True) -> Callable[[Any, Callable[[], str]], float | None]:
    return _number(name, above=0.0, least=-math.inf, none=none)


def _every(value: Any, where: Callable[[], str]) -> int | str:
    if isinstance(value, bool | np.bool_ | float | np.floating):
        raise InputError(
            f"`every` must be a word such as 'month_end', a whole number of bars, or dates, but every={shown(value)}, "
            f"in {where()}."
        )
    if isinstance(value, str) and value[:1].isalpha() and value not in (*PERIODS, *STARTS):
        raise unknown_name("period", value, (*PERIODS, *STARTS), where=where())
    if hasattr(type(value), "__index__"):
        return _whole("every", value, 1, where)
    try:
        return str(rule_of(value, "every"))
    except InputError as error:
        raise InputError(f"{error}\nIn {where()}.") from None


def _how(value: Any, where: Callable[[], str]) -> str:
    if not isinstance(value, str) or value not in WAYS:
        raise unknown_name("way to make one value of a period", value, WAYS, where=where())
    return value


def _share(value: Any, where: Callable[[], str]) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0.0 <= float(value) <= 1.0:
        raise InputError(f"`0 <= q <= 1` must hold for a number, but q={shown(value)}, in {where()}.")
    return float(value)


def _limit(value: Any, where: Callable[[], str]) -> int | None:
    return None if value is None else _whole("limit", value, 0, where)


def _model(value: Any, where: Callable[[], str]) -> ModelSpec:
    if not isinstance(value, ModelSpec):
        raise InputError(f"A model is made by kn.model, but its setting is {shown(value)}, in {where()}.")
    return value


def _buckets(value: Any, where: Callable[[], str]) -> int:
    whole = _whole("n", value, 1, where, "buckets")
    if whole > _MOST_BUCKETS:
        raise InputError(f"`n <= {_MOST_BUCKETS:,}` must hold, but n={whole:,}, in {where()}.")
    return whole


def _places(value: Any, where: Callable[[], str]) -> int:
    return _whole("n", value, 1, where, "assets")


def _tail(value: Any, where: Callable[[], str]) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0.0 <= float(value) <= 0.5:
        raise InputError(f"`0 <= share <= 0.5` must hold for a number, but share={shown(value)}, in {where()}.")
    return float(value)


def _total(value: Any, where: Callable[[], str]) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0.0 < float(value) < math.inf:
        raise InputError(f"`total > 0` must hold for a finite number, but total={shown(value)}, in {where()}.")
    return float(value)


def _whole(name: str, value: Any, low: int, where: Callable[[], str], of: str = "bars") -> int:
    whole = _as_whole(name, value, where, of)
    if whole < low:
        raise InputError(f"`{name} >= {low}` must hold, but {name}={whole}, in {where()}.")
    return whole


def _as_whole(name: str, value: Any, where: Callable[[], str], of: str = "bars") -> int:
    if isinstance(value, bool | np.bool_) or not hasattr(type(value), "__index__"):
        raise InputError(
            f"`{name}` must be a whole number of {of}, but {name}={shown(value)} is of type "
            f"{type(value).__name__}, in {where()}."
        )
    whole = operator.index(value)
    if whole > 2**62:
        raise InputError(f"`{name} < 2**62` must hold, but {name}={whole}, in {where()}.")
    return whole


# each takes a value and where it stands, as text made only for an error
SETTINGS: dict[str, Callable[[Any, Callable[[], str]], Any]] = {
    "window": _window,
    "n": _lag,
    "span": _span,
    "descending": _switch("descending"),
    "every": _every,
    "how": _how,
    "q": _share,
    "limit": _limit,
    "model": _model,
    "share": _tail,
    "total": _total,
    # of portfolios
    "band": _number("band", above=-math.inf, least=0.0, none=False),
    "covariance": _choice("covariance", ESTIMATORS),
    "risk_aversion": _positive("risk_aversion", none=False),
    "long_only": _switch("long_only"),
    "max_weight": _positive("max_weight"),
    "max_group": _positive("max_group"),
    "turnover": _positive("turnover"),
    "gross": _positive("gross"),
    "net": _number("net", above=-math.inf, least=-math.inf, none=True),
    "infeasible": _choice("infeasible", ("error", "keep")),
}

# where an operator means something else by a name
_OWN = {("quantile", "n"): _buckets, ("top", "n"): _places, ("bottom", "n"): _places}


def check_of(op: str, name: str) -> Callable[[Any, Callable[[], str]], int | float | bool | str | None]:
    """The check of an operator's setting."""
    return _OWN.get((op, name)) or SETTINGS[name]
