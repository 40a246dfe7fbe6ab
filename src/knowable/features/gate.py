"""Clocks inside expressions: nodes computed from the bars' times, and moving operators that take a value a period.

A gated operator is the operator itself with one more input, its clock: the same kernel runs over the rows that end
periods, and its last output is held on the rows between. There is no second version of anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from knowable.data.market import Market
from knowable.features.node import Node, node
from knowable.features.operators import OPERATORS, SETTINGS, Operator
from knowable.features.operators.base import Growing
from knowable.features.symbols import Symbol
from knowable.kernels.clock import end_rows_kernel, hold_kernel

__all__ = [
    "GateState",
    "arrays_of",
    "clock_panel",
    "clock_rows",
    "day_node",
    "ends_node",
    "gated",
    "layout_of",
    "run_operator",
    "start_operator",
]

_CLOCK_VERSION = 2  # of the state of clocks; raise it when that changes
_Panel = npt.NDArray[np.float64]


class GateState(NamedTuple):
    """What a gated operator carries."""

    inner: Any  # the operator's own state
    previous: _Panel  # (n_inputs, n_assets) the inputs at the row before, which may turn out to have ended a period
    held: _Panel  # (n_assets,) the last output


def ends_node(every: Any, where: Callable[[], str]) -> Node | None:
    """The clock that ``every=...`` means; None for every bar.

    Raises: InputError; UnknownNameError, offering the nearest period; NeedsValue for a symbol, since another clock
    makes another expression.
    """
    if type(every) is Symbol:
        bool(every)
    if every is None or (isinstance(every, str) and every == "bar"):
        return None
    checked = SETTINGS["every"](every, where)
    return None if checked == 1 else node("ends", (), (checked,))


def day_node() -> Node:
    """The day of each bar, as a number."""
    return node("day")


def gated(op: Operator, inputs: tuple[Node, ...]) -> bool:
    """Whether an operator with these inputs works on the rows that end periods only."""
    return op.clock is None and inputs[-1].op == "ends"


def clock_panel(clock: Node, market: Market) -> _Panel:
    """(n_bars, 1) what a clock node says on every bar of a market."""
    return clock_rows(clock, market.clock, market.times, market.clock.start())


def clock_rows(each: Node, clock: Any, times: npt.NDArray[np.int64], state: Any) -> _Panel:
    """(n, 1) what a clock node says at some times, `clock` being a market's; the state of ``ends`` is moved on."""
    rows: _Panel = clock.day_numbers(times) if each.op == "day" else clock.ends(times, each.settings[0], state)
    return rows


def start_operator(op: Operator, inputs: tuple[Node, ...], n_assets: int, settings: tuple[Any, ...]) -> Any:
    """The state before the first row; None if the operator has no memory."""
    if op.start is None:
        return None
    inner = op.start(n_assets, *settings)
    if not gated(op, inputs):
        return inner
    return GateState(inner, np.full((len(inputs) - 1, n_assets), np.nan), np.full(n_assets, np.nan))


def arrays_of(state: Any) -> tuple[npt.NDArray[Any], ...]:
    """The arrays of a state, always in the same order."""
    if isinstance(state, Growing):
        return tuple(state.arrays())
    return (*state.inner, state.previous, state.held) if type(state) is GateState else tuple(state)


def layout_of(each: Node, state: Any) -> list[Any]:
    """What a state's arrays are: operator, version of its state, names; one of another layout cannot be restored."""
    version = OPERATORS[each.op].version if each.op in OPERATORS else _CLOCK_VERSION
    names = (*state.inner._fields, "previous", "held") if type(state) is GateState else state._fields
    return [each.op, version, *names]


def run_operator(op: Operator, inputs: list[Any], settings: tuple[Any, ...], state: Any, out: _Panel) -> None:
    """Compute rows of one operator into `out`, from the state it carries; lock `out`."""
    if state is None:
        op.apply(*inputs, *settings, out)
    elif type(state) is GateState:
        _run_gated(op, inputs, settings, state, out)
    else:
        op.apply(*inputs, *settings, state, out)
    out.flags.writeable = False


def _run_gated(op: Operator, inputs: list[Any], settings: tuple[Any, ...], state: GateState, out: _Panel) -> None:
    """Run the operator over the rows that end periods, and hold its last output on the others."""
    *panels, ends = inputs
    rows = np.empty(2 * len(out), np.int64)
    rows = rows[: end_rows_kernel(ends, rows)]
    chosen = []
    for panel, previous in zip(panels, state.previous, strict=True):
        whole = np.broadcast_to(panel, out.shape)
        picked = np.ascontiguousarray(whole[rows])
        if len(rows) and rows[0] < 0:
            picked[0] = previous
        picked.flags.writeable = False
        chosen.append(picked)
        previous[:] = whole[-1] if len(out) else previous
    values = np.empty((len(rows), out.shape[1]))
    if len(rows):
        op.apply(*chosen, *settings, state.inner, values)
    hold_kernel(ends, values, state.held, out)
