"""Functions of each cell alone."""

from __future__ import annotations

import numpy as np

from knowable.features.operators.base import Operator
from knowable.kernels import arithmetic, element

__all__ = ["ELEMENT"]

_NAN = np.full((1, 1), np.nan)
_NAN.flags.writeable = False


def _compare(name: str, less: float, equal: float, greater: float) -> Operator:
    kernel = element.compare_kernel
    return Operator(name=name, apply=lambda a, b, out: kernel(a, b, less, equal, greater, out), arity=2)


ELEMENT = (
    # numpy's, because IEEE leaves them no choice of bits and they need no compilation
    Operator(name="abs", apply=np.absolute),
    Operator(name="sign", apply=np.sign),
    # ours, because NaN must stay NaN, and the one NaN there is, or because numpy's bits depend on the processor
    Operator(name="+", apply=arithmetic.add_kernel, arity=2),
    Operator(name="-", apply=arithmetic.subtract_kernel, arity=2),
    Operator(name="*", apply=arithmetic.multiply_kernel, arity=2),
    Operator(name="/", apply=arithmetic.divide_kernel, arity=2),
    Operator(name="neg", apply=arithmetic.negate_kernel),
    Operator(name="sqrt", apply=arithmetic.root_kernel),
    Operator(name="**", apply=element.power_kernel, arity=2),
    Operator(name="exp", apply=element.exp_kernel),
    Operator(name="log", apply=element.log_kernel),
    Operator(name="log1p", apply=element.log1p_kernel),
    Operator(name="isnan", apply=element.isnan_kernel),
    Operator(name="where", apply=element.where_kernel, arity=3),
    Operator(name="minimum", apply=lambda a, b, out: element.lower_kernel(a, b, 1.0, out), arity=2),
    Operator(name="maximum", apply=lambda a, b, out: element.lower_kernel(a, b, -1.0, out), arity=2),
    Operator(name="&", apply=lambda a, b, out: element.logic_kernel(a, b, 0.0, out), arity=2),
    Operator(name="|", apply=lambda a, b, out: element.logic_kernel(a, b, 1.0, out), arity=2),
    _compare("<", 1.0, 0.0, 0.0),
    _compare("<=", 1.0, 1.0, 0.0),
    _compare(">", 0.0, 0.0, 1.0),
    _compare(">=", 0.0, 1.0, 1.0),
    _compare("==", 0.0, 1.0, 0.0),
    _compare("!=", 1.0, 0.0, 1.0),
    # x where the universe holds the asset, NaN elsewhere: put before every operator across assets
    Operator(name="members", apply=lambda x, universe, out: element.where_kernel(universe, x, _NAN, out), arity=2),
)
