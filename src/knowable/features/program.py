"""`Program`: an expression put in order, evaluated over all bars of a market: the batch driver."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from knowable.data.market import Market
from knowable.errors import InputError, UnsolvedError, shown
from knowable.features.feature import Feature
from knowable.features.gate import clock_panel, run_operator, start_operator
from knowable.features.memo import Memo
from knowable.features.node import CLOCKS, Node, scalar_value, topological
from knowable.features.operators import OPERATORS, SETTINGS, Operator
from knowable.features.operators.settings import check_of

__all__ = ["Program", "constant", "evaluate"]

_Panel: TypeAlias = npt.NDArray[np.float64]
_NO_PARAMS: Mapping[str, Any] = {}
_BLOCK_BYTES = 1 << 18
_COUNTS = (SETTINGS["window"], SETTINGS["n"])


class _Step:
    """One node of a program, with positions in place of references."""

    __slots__ = ("checks", "inputs", "kept", "node", "op", "panel", "place", "reads", "scalars", "serial", "subset")

    def __init__(self, node: Node, place: int, places: Mapping[Node, int], subset: int) -> None:
        self.node = node
        self.serial = node.serial
        self.place = place
        given = node.scalar or node.op == "field" or node.op in CLOCKS
        self.op: Operator | None = None if given else OPERATORS[node.op]
        self.inputs = tuple(places[each] for each in node.inputs)
        # the position of each setting's scalar node, -1 for a plain value
        self.scalars = tuple(places[each] if type(each) is Node else -1 for each in node.settings)
        self.kept = self.op is not None or node.op in CLOCKS  # a memo keeps its panel
        self.reads = node.scalar or any(each >= 0 for each in self.scalars)  # numbers of this parameter set
        self.checks = tuple(check_of(self.op.name, name) for name in self.op.settings) if self.op else ()
        self.subset = subset
        self.panel = constant(node.settings[0]) if node.op == "number" else None

    def settings(self, numbers: list[Any]) -> tuple[Any, ...]:
        """The settings with symbols replaced. Raises: InputError if one is out of range."""
        settings = self.node.settings
        if not settings or not self.node.symbols:
            return settings
        values = []
        for setting, place, check in zip(settings, self.scalars, self.checks, strict=True):
            if place < 0:
                values.append(setting)
            else:
                value = numbers[place]
                if type(value) is not int or value <= 0 or check not in _COUNTS:  # a short way for most
                    value = check(value, self._where)
                values.append(value)
        return tuple(values)

    def _where(self) -> str:
        return repr(self.node)


class Program:
    """An expression in order of computation. Immutable; threads may evaluate one at the same time.

    Attributes:
        node: the expression.
        symbols: names that `evaluate` needs values for.
    """

    __slots__ = ("_fixed_ids", "_last_use", "_moving", "_own", "_scalars", "_steps", "_subsets", "node", "symbols")

    def __init__(self, root: Node) -> None:
        self.node = root
        self.symbols = root.symbols
        order = topological(root)
        places = {each: place for place, each in enumerate(order)}
        subsets: dict[frozenset[str], int] = {}
        for each in order:
            subsets.setdefault(each.symbols, len(subsets))
        self._subsets = tuple(tuple(sorted(names)) for names in subsets)
        self._steps = tuple(_Step(each, places[each], places, subsets[each.symbols]) for each in order)
        self._scalars = tuple(step for step in self._steps if step.node.scalar) if root.symbols else ()
        self._moving = tuple(step for step in self._steps if step.node.symbols)
        self._last_use = {below: step.place for step in self._steps for below in step.inputs}
        self._own = _own_steps(self._steps) if root.symbols else ()
        self._fixed_ids: tuple[Any, list[Any]] = (None, [])

    @classmethod
    def of(cls, expression: Feature | Node) -> Self:
        """The program of a feature, or of a node made elsewhere."""
        if type(expression) is Feature:
            return cls(expression.node)
        if type(expression) is Node and not expression.scalar:
            return cls(expression)
        raise InputError(f"A program is made of a feature, but got {shown(expression)}.")

    def evaluate(
        self,
        market: Market,
        params: Mapping[str, Any] = _NO_PARAMS,
        memo: Memo | None = None,
        *,
        keep_result: bool = True,
        out: _Panel | None = None,
    ) -> _Panel:
        """The values on every bar.

        Args:
            market: where the fields come from.
            params: a number for each of `symbols`; others are ignored.
            memo: results kept between calls, of this market.
            keep_result: whether the memo keeps the result itself too, beside what it is made of. Trials differ in it,
                so keeping it drives out what they share, and fills cold memory where warm would do.
            out: with `memo`, where a result that is not kept is computed, (n_bars, n_assets); it is locked then.

        Returns: (n_bars, n_assets) float64, read-only; never a copy of a field. It is `out` only if it was computed
        there: a field, or a result that was kept already, is returned as it is.
        Raises: InputError if a symbol has no value or a window comes out of range; UnknownNameError on an absent field;
        UnsolvedError if a portfolio asks for what cannot be.
        """
        try:
            if memo is None:
                return self._evaluate_alone(market, self._numbers(params))
            memo.bind(market)
            return self._evaluate_with(memo, market, params, keep_result=keep_result or not self.symbols, out=out)
        except UnsolvedError as error:
            raise error.at(error.row, market.index[error.row]) from None

    def _numbers(self, params: Mapping[str, Any]) -> list[Any]:
        """The value of each scalar node, at its place."""
        numbers: list[Any] = [None] * len(self._steps)
        values: dict[Node, Any] = {}
        for step in self._scalars:
            numbers[step.place] = values[step.node] = scalar_value(step.node, values, params)
        return numbers

    def _evaluate_alone(self, market: Market, numbers: list[Any]) -> _Panel:
        """Compute each node once, and let go of a panel after its last use."""
        values: list[Any] = [None] * len(self._steps)
        shape = market.shape
        with np.errstate(all="ignore"):
            for step in self._steps:
                values[step.place] = _value(step, values, numbers, market, shape)
                for below in step.inputs:
                    if self._last_use[below] == step.place:
                        values[below] = None
        result: _Panel = values[-1]
        return result

    def _evaluate_with(
        self, memo: Memo, market: Market, params: Mapping[str, Any], *, keep_result: bool, out: _Panel | None
    ) -> _Panel:
        """Go down from the root as far as results are missing, then compute those."""
        steps, root, shape = self._steps, len(self._steps) - 1, market.shape
        own = self._own if not keep_result and 8 * shape[0] * shape[1] > _BLOCK_BYTES else ()
        table, chosen = memo.ids, self._chosen(params)
        values: list[Any] = [None] * len(steps)
        missing: list[int] = []
        seen = {root}
        stack = [root]
        unknown = False  # whether anything is to be computed that the memo keeps
        while stack:
            place = stack.pop()
            step = steps[place]
            if step.kept and (keep_result or place != root) and step not in own:
                known = table.get((step.serial, chosen[step.subset]))
                value = None if known is None else memo.find(known)
                if value is not None:
                    values[place] = value
                    continue
                unknown = True
            missing.append(place)
            for below in step.inputs:
                if below not in seen:
                    seen.add(below)
                    stack.append(below)
        numbers = self._numbers(params) if unknown or any(steps[place].reads for place in missing) else []
        ids = self._ids(memo, chosen, numbers) if unknown else []
        missing.sort()
        with np.errstate(all="ignore"):
            for place in missing:
                step = steps[place]
                if step in own:
                    continue
                if not step.kept:
                    values[place] = _value(step, values, numbers, market, shape)
                elif place == root and not keep_result:
                    values[place] = _compute(step, values, numbers, shape, out)
                elif step.op is None:
                    values[place] = memo.obtain(ids[place], partial(clock_panel, step.node, market))
                else:
                    values[place] = memo.obtain(ids[place], partial(_compute, step, values, numbers, shape))
            if own:
                values[root] = _in_blocks(own, values, numbers, np.empty(shape) if out is None else out)
        result: _Panel = values[root]
        return result

    def _chosen(self, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """For each set of symbols that some node hangs on, their values as part of a key."""
        part = {name: _key_part(params.get(name)) for name in self.symbols}
        return [tuple([part[name] for name in names]) for names in self._subsets]

    def _ids(self, memo: Memo, chosen: list[tuple[Any, ...]], numbers: list[Any]) -> list[Any]:
        """The memo's number of each node's structure with concrete values.

        It is looked up by (node, values of its symbols); only what is new there is interned by structure, so that
        mean(close, fast) at fast=20 and mean(close, slow) at slow=20 are one. A plain number's id is the text of its
        bits, which no structure's number can equal.
        """
        table, fixed = self._fixed_ids
        if table is memo.ids:
            ids, open_steps = fixed.copy(), self._moving
        else:
            ids, table, open_steps = [None] * len(self._steps), memo.ids, self._steps
        for step in open_steps:
            place, node = step.place, step.node
            if node.scalar:
                value = step.panel[0, 0] if step.panel is not None else numbers[place]
                ids[place] = float(value).hex()
                continue
            key = (step.serial, chosen[step.subset])
            known = table.get(key)
            if known is None:
                known = memo.intern((node.op, tuple([ids[below] for below in step.inputs]), step.settings(numbers)))
                table[key] = known
            ids[place] = known
        if self._fixed_ids[0] is not table:
            self._fixed_ids = (table, [None if each.node.symbols else ids[each.place] for each in self._steps])
        return ids


def evaluate(feature: Feature, market: Market | None = None) -> _Panel:
    """The feature's values on its own market, or on another that has the same fields."""
    return Program.of(feature).evaluate(feature.market if market is None else market)


def _key_part(value: Any) -> Any:
    """A symbol's value as part of a key; 2, 2.0 and True, or 0.0 and -0.0, must not be taken for one another."""
    if type(value) is int:
        return value
    return (value,) if type(value) is float and value else repr(value)


def _own_steps(steps: tuple[_Step, ...]) -> tuple[_Step, ...]:
    """The last steps that hang on every symbol and have no memory: no other parameter set asks for what they make.

    None where that is the last one alone, which makes nothing that another reads.
    """
    root = steps[-1]
    readers: dict[int, list[_Step]] = {}
    for step in steps:
        for below in step.inputs:
            readers.setdefault(below, []).append(step)
    own: list[_Step] = []
    for step in reversed(steps):
        alone = step.op is not None and step.op.start is None and step.node.symbols == root.node.symbols
        if alone and all(reader in own for reader in readers.get(step.place, ())):
            own.append(step)
    return tuple(reversed(own)) if len(own) > 1 else ()


def _in_blocks(own: tuple[_Step, ...], values: list[Any], numbers: list[Any], out: _Panel) -> _Panel:
    """Run steps without memory over a block of rows at a time, so that what one hands to the next is still in cache.

    A comparison, a sum across and a quotient of 500 assets x 2,500 bars: 4.0 ms instead of 6.2.
    """
    n_bars, n_assets = out.shape
    n_rows = max(1, _BLOCK_BYTES // (8 * n_assets))
    root = own[-1].place
    given = [step.settings(numbers) for step in own]
    made = {step.place: np.empty((min(n_rows, n_bars), n_assets)) for step in own[:-1]}
    for at in range(0, n_bars, n_rows):
        rows = slice(at, min(at + n_rows, n_bars))
        here: dict[int, _Panel] = {}
        for step, settings in zip(own, given, strict=True):
            if step.op is None:
                raise AssertionError(step.node)
            place = step.place
            inputs = [here[k] if k in here else _rows_of(values[k], rows) for k in step.inputs]
            here[place] = out[rows] if place == root else made[place][: rows.stop - at]
            run_operator(step.op, inputs, settings, None, here[place])
    out.flags.writeable = False
    return out


def _rows_of(panel: _Panel, rows: slice) -> _Panel:
    return panel if len(panel) == 1 else panel[rows]


def _value(step: _Step, values: list[Any], numbers: list[Any], market: Market, shape: tuple[int, int]) -> _Panel:
    """The panel of a step, or the (1, 1) panel of a number."""
    if step.op is not None:
        return _compute(step, values, numbers, shape)
    if step.panel is not None:
        return step.panel
    if step.node.op == "field":
        return np.asarray(market.panel(str(step.node.settings[0])))  # a memory map becomes a plain array, uncopied
    if step.node.op in CLOCKS:
        return clock_panel(step.node, market)
    return constant(numbers[step.place])


def constant(value: Any) -> _Panel:
    """A number as the (1, 1) read-only panel that kernels take."""
    made = np.array(((float(value),),))
    made.flags.writeable = False
    return made


def _compute(
    step: _Step, values: list[Any], numbers: list[Any], shape: tuple[int, int], out: _Panel | None = None
) -> _Panel:
    op = step.op
    if op is None:
        raise AssertionError(step.node)
    settings = step.settings(numbers)
    if op.first is not None and op.first(*settings) > shape[0]:
        blank = np.empty(shape) if out is None else out
        blank.fill(np.nan)
        blank.flags.writeable = False
        return blank
    if op.enough is not None:
        settings = op.enough(shape[0], *settings)
    state = start_operator(op, step.node.inputs, shape[1], settings)
    out = np.empty(shape) if out is None else out
    run_operator(op, [values[below] for below in step.inputs], settings, state, out)
    return out
