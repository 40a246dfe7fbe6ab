"""An expression evaluated cell by cell in plain Python, straight from its definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from knowable.errors import InputError
from knowable.features.node import CLOCKS, Node, topological
from knowable.features.operators import OPERATORS
from knowable.testing import moments_oracle, order_oracle, pairs_oracle, path_oracle
from knowable.testing import rolling_oracle as slow
from knowable.testing.clock_oracle import SlowClock, gated, slow_days_since, slow_resample
from knowable.testing.cross_oracle import CROSS, GROUPED
from knowable.testing.exact import Panel

__all__ = ["check_oracles", "slow_step", "slow_values"]


def slow_values(node: Node, panels: Mapping[str, Panel], clock: SlowClock | None = None) -> Panel:
    """The values of an expression without symbols; where there is a universe, rows are crossed by its members only.

    `clock` is needed where the expression uses one.
    """
    values: dict[Node, Panel] = {}
    for each in topological(node):
        if each.op not in CLOCKS:
            inputs = [values[below] for below in each.inputs if below.op not in CLOCKS]
            values[each] = slow_step(each, inputs, panels, clock)
    return values[node]


def slow_step(node: Node, inputs: list[Panel], panels: Mapping[str, Panel], clock: SlowClock | None = None) -> Panel:
    """The values of one node, given those of its operands (its clock left out)."""
    shape = next(iter(panels.values())).shape
    if node.op == "field":
        return panels[str(node.settings[0])]
    if node.op == "number":
        return np.full(shape, node.settings[0])
    if clock is not None and node.inputs[-1].op in CLOCKS:
        return _clocked(node, inputs, clock)
    if OPERATORS[node.op].across and "universe" in panels:
        inputs = [np.where(panels["universe"] == 1.0, inputs[0], np.nan), *inputs[1:]]
    if node.op in _WHOLE:
        return _WHOLE[node.op](*inputs, *node.settings)
    out = np.empty(shape)
    for place in np.ndindex(shape):
        out[place] = _cell(node.op, [float(each[place]) for each in inputs])
    return out


def check_oracles() -> None:
    """Raises: InputError, naming the operators of the table that have no oracle here."""
    known = {*_WHOLE, *_CELLS, *_CLOCKED, "isnan", "mask", "members", "where"}
    bare = [name for name, each in OPERATORS.items() if name not in known and each.drawn and not each.coded]
    if bare:
        raise InputError(
            f"No slow oracle for {', '.join(bare)}: write one straight from the definition and register it in "
            f"{__name__}, in _WHOLE or _CELLS."
        )


def _clocked(node: Node, inputs: list[Panel], clock: SlowClock) -> Panel:
    if node.op == "days_since":
        return slow_days_since(clock, *inputs)
    every: Any = node.inputs[-1].settings[0]
    if node.op == "resample":
        return slow_resample(clock, every, inputs[0], str(node.settings[0]))
    return gated(clock, every, inputs, lambda *rows: _WHOLE[node.op](*rows, *node.settings))


_CLOCKED = ("resample", "days_since")
_WHOLE: dict[str, Callable[..., Panel]] = {
    "sum": slow.moving_sum,
    "mean": slow.moving_mean,
    "std": slow.moving_std,
    "min": slow.moving_min,
    "max": slow.moving_max,
    "ewm": slow.ewm,
    "lag": slow.lag,
    "argmin": order_oracle.moving_argmin,
    "argmax": order_oracle.moving_argmax,
    "ts_rank": order_oracle.moving_rank,
    "ts_quantile": order_oracle.moving_quantile,
    "median": order_oracle.moving_median,
    "decay_linear": path_oracle.decay_linear,
    "product": path_oracle.moving_product,
    "count": path_oracle.moving_count,
    "bars_since": path_oracle.bars_since,
    "ffill": path_oracle.ffill,
    **CROSS,
    **GROUPED,
    "var": moments_oracle.moving_var,
    "skew": moments_oracle.moving_skew,
    "ts_zscore": moments_oracle.moving_zscore,
    "ewm_std": moments_oracle.ewm_std,
    "cov": pairs_oracle.moving_cov,
    "corr": pairs_oracle.moving_corr,
    "beta": pairs_oracle.moving_beta,
    "resid": pairs_oracle.moving_resid,
    "r2": pairs_oracle.moving_r2,
    "expanding_sum": moments_oracle.expanding_sum,
    "expanding_mean": moments_oracle.expanding_mean,
    "expanding_std": moments_oracle.expanding_std,
    "expanding_min": moments_oracle.expanding_min,
    "expanding_max": moments_oracle.expanding_max,
    "expanding_count": moments_oracle.expanding_count,
    "rank": slow.rank,
    "zscore": slow.zscore,
    "demean": slow.demean,
    "cross_sum": slow.cross_sum,
}


def _cell(op: str, given: list[float]) -> float:
    if op == "isnan":
        return float(math.isnan(given[0]))
    if op == "members":
        return given[0]  # who is seen is settled above, where a row is crossed; nothing else may hide anybody
    if op == "where":
        condition, a, b = given
        return math.nan if math.isnan(condition) else (a if condition else b)
    if op == "mask":
        return given[0] if given[1] and not math.isnan(given[1]) else math.nan
    if any(map(math.isnan, given)):
        return math.nan
    try:
        return float(_CELLS[op](*given))
    except (ValueError, OverflowError, ZeroDivisionError):
        return _edge(op, given)


def _edge(op: str, given: list[float]) -> float:
    """Where Python raises and IEEE has an answer."""
    with np.errstate(all="ignore"):
        if op == "/":
            return float(np.float64(given[0]) / np.float64(given[1]))
        if op == "**":
            return float(np.float64(given[0]) ** np.float64(given[1]))
        return float(getattr(np, op)(np.float64(given[0])))


_CELLS: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": math.pow,
    "neg": lambda a: -a,
    "abs": abs,
    "sqrt": math.sqrt,
    "sign": lambda a: (a > 0) - (a < 0),
    "exp": math.exp,
    "log": math.log,
    "log1p": math.log1p,
    "minimum": min,
    "maximum": max,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "&": lambda a, b: a != 0 and b != 0,
    "|": lambda a, b: a != 0 or b != 0,
}
