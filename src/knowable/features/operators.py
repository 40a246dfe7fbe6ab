"""The operator table: what each function is computed by, how its state starts, and what settings it takes.

An operator says nothing about loops. The batch driver (`program`) calls `apply` once over all rows, the step driver
(`stepper`) with one row and the state it carried; both run the same kernel.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from knowable.errors import InputError, shown
from knowable.kernels import cross_section, element, rolling

__all__ = ["OPERATORS", "SETTINGS", "Operator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One row of the table.

    Attributes:
        name: as written, ``mean`` or ``+``.
        apply: called as ``apply(*inputs, *settings, state, out)``, without `state` where `start` is None.
        start: ``start(n_assets, *settings)`` gives the state before the first row; None if it has no memory.
        first: ``first(*settings)``: rows needed for the first value; a batch of fewer is all NaN and needs no state.
        settings: names of the settings, keys of SETTINGS.
        across: whether an asset's value depends on the row's other assets; such an operator sees members only.
    """

    name: str
    apply: Callable[..., Any]
    start: Callable[..., Any] | None = None
    first: Callable[..., int] | None = None
    settings: tuple[str, ...] = ()
    across: bool = False


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


def _switch(value: Any, where: Callable[[], str]) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"`descending` must be True or False, but descending={shown(value)}, in {where()}.")
    return bool(value)


def _whole(name: str, value: Any, low: int, where: Callable[[], str]) -> int:
    whole = _as_whole(name, value, where)
    if whole < low:
        raise InputError(f"`{name} >= {low}` must hold, but {name}={whole}, in {where()}.")
    return whole


def _as_whole(name: str, value: Any, where: Callable[[], str]) -> int:
    if isinstance(value, bool | np.bool_) or not hasattr(type(value), "__index__"):
        raise InputError(
            f"`{name}` must be a whole number of bars, but {name}={shown(value)} is of type "
            f"{type(value).__name__}, in {where()}."
        )
    whole = operator.index(value)
    if whole > 2**62:
        raise InputError(f"`{name} < 2**62` must hold, but {name}={whole}, in {where()}.")
    return whole


# each takes a value and where it stands, as text made only for an error
SETTINGS: dict[str, Callable[[Any, Callable[[], str]], int | float | bool]] = {
    "window": _window,
    "n": _lag,
    "span": _span,
    "descending": _switch,
}


def _lagged(x: Any, n: int, state: Any, out: Any) -> None:
    if n == 0:  # only from a symbol; a lag of 0 that is known when built is the feature itself
        out[:] = x
    else:
        rolling.lag_kernel(x, state, out)


_NAN = np.full((1, 1), np.nan)
_NAN.flags.writeable = False


def _compare(name: str, less: float, equal: float, greater: float) -> Operator:
    kernel = element.compare_kernel
    return Operator(name=name, apply=lambda a, b, out: kernel(a, b, less, equal, greater, out))


def _moving(name: str, apply: Callable[..., Any], start: Callable[[int, int], Any]) -> Operator:
    return Operator(
        name=name,
        apply=apply,
        start=lambda n_assets, window: start(window, n_assets),
        first=lambda window: window,
        settings=("window",),
    )


_ALL = (
    # numpy's, because IEEE leaves them no choice of bits and they need no compilation
    Operator(name="+", apply=np.add),
    Operator(name="-", apply=np.subtract),
    Operator(name="*", apply=np.multiply),
    Operator(name="/", apply=np.divide),
    Operator(name="neg", apply=np.negative),
    Operator(name="abs", apply=np.absolute),
    Operator(name="sqrt", apply=np.sqrt),
    Operator(name="sign", apply=np.sign),
    # ours, because NaN must stay NaN, or because numpy's bits depend on the processor
    Operator(name="**", apply=element.power_kernel),
    Operator(name="exp", apply=element.exp_kernel),
    Operator(name="log", apply=element.log_kernel),
    Operator(name="log1p", apply=element.log1p_kernel),
    Operator(name="isnan", apply=element.isnan_kernel),
    Operator(name="where", apply=element.where_kernel),
    Operator(name="minimum", apply=lambda a, b, out: element.lower_kernel(a, b, 1.0, out)),
    Operator(name="maximum", apply=lambda a, b, out: element.lower_kernel(a, b, -1.0, out)),
    Operator(name="&", apply=lambda a, b, out: element.logic_kernel(a, b, 0.0, out)),
    Operator(name="|", apply=lambda a, b, out: element.logic_kernel(a, b, 1.0, out)),
    _compare("<", 1.0, 0.0, 0.0),
    _compare("<=", 1.0, 1.0, 0.0),
    _compare(">", 0.0, 0.0, 1.0),
    _compare(">=", 0.0, 1.0, 1.0),
    _compare("==", 0.0, 1.0, 0.0),
    _compare("!=", 1.0, 0.0, 1.0),
    _moving("sum", lambda x, _, state, out: rolling.sum_kernel(x, 1.0, state, out), rolling.sum_state),
    _moving("mean", lambda x, window, state, out: rolling.sum_kernel(x, float(window), state, out), rolling.sum_state),
    _moving("std", lambda x, _, state, out: rolling.deviation_kernel(x, state, out), rolling.deviation_state),
    _moving("min", lambda x, _, state, out: rolling.extreme_kernel(x, 1.0, state, out), rolling.extreme_state),
    _moving("max", lambda x, _, state, out: rolling.extreme_kernel(x, -1.0, state, out), rolling.extreme_state),
    Operator(
        name="ewm",
        apply=lambda x, span, state, out: rolling.ewm_kernel(x, 2.0 / (span + 1.0), state, out),
        start=lambda n_assets, _: rolling.ewm_state(n_assets),
        settings=("span",),
    ),
    Operator(
        name="lag",
        apply=_lagged,
        start=lambda n_assets, n: rolling.lag_state(n, n_assets),
        first=lambda n: n + 1,
        settings=("n",),
    ),
    # x where the universe holds the asset, NaN elsewhere: put before every operator across assets
    Operator(name="members", apply=lambda x, universe, out: element.where_kernel(universe, x, _NAN, out)),
    Operator(name="rank", apply=cross_section.rank_kernel, settings=("descending",), across=True),
    Operator(name="zscore", apply=lambda x, out: cross_section.center_kernel(x, True, out), across=True),
    Operator(name="demean", apply=lambda x, out: cross_section.center_kernel(x, False, out), across=True),
    Operator(name="cross_sum", apply=cross_section.cross_sum_kernel, across=True),
)

OPERATORS: dict[str, Operator] = {each.name: each for each in _ALL}
