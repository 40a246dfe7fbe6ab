"""An expression as text for storage: a list of nodes in JSON, read back by the operator table and never evaluated."""

from __future__ import annotations

import json
import math
from typing import Any

from knowable.errors import InputError, KnowableError, StoreError, shown
from knowable.features.gate import takes
from knowable.features.node import CLOCKS, SCALAR_OPS, Node, Setting, field, node, number, topological
from knowable.features.operators import OPERATORS, SETTINGS

__all__ = ["dump", "load"]

_FORMAT = 1
_MOST_NODES = 10_000


def dump(root: Node) -> str:
    """The expression as one line of JSON: ``[op, [inputs], [settings]]`` for each node, inputs before their users.

    Raises: InputError if a parameter is left open, or it has more than 10,000 nodes.
    """
    if root.symbols:
        raise InputError(
            f"`{root!r}` has no value for {', '.join(sorted(root.symbols))}; a stored feature needs numbers."
        )
    order = topological(root)
    if len(order) > _MOST_NODES:
        raise InputError(f"The expression has {len(order):,} nodes; at most {_MOST_NODES:,} can be stored.")
    place = {each: k for k, each in enumerate(order)}
    rows = [
        [each.op, [place[below] for below in each.inputs], [_plain(item) for item in each.settings]] for each in order
    ]
    return json.dumps({"format": _FORMAT, "nodes": rows})


def load(text: str) -> Node:
    """Read what `dump` wrote; every name and number is held against the operator table.

    Raises: StoreError if the text is damaged, of a newer release, or names an operator this release does not have.
    """
    try:
        page = json.loads(text)
        version, rows = page["format"], page["nodes"]
        if version != _FORMAT:
            raise StoreError(f"The stored expression has format {shown(version)}; this release reads {_FORMAT}.")
        if not isinstance(rows, list) or not 1 <= len(rows) <= _MOST_NODES:
            raise StoreError(f"The stored expression has no whole list of at most {_MOST_NODES:,} nodes.")
        made: list[Node] = []
        for op, inputs, settings in rows:
            made.append(_node(op, [made[_place(k, len(made))] for k in inputs], settings))
    except (KeyError, TypeError, ValueError, IndexError, InputError, RecursionError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"The stored expression is damaged: {error!r:.200}") from error
    except KnowableError as error:
        raise StoreError(f"The stored expression is damaged: {error}") from error
    if made[-1].scalar or made[-1].op in CLOCKS:
        raise StoreError(f"The stored expression is damaged: it ends in {made[-1]!r}, which is no feature.")
    return made[-1]


def _plain(item: Setting) -> Any:
    if type(item) is Node:
        raise InputError(f"`{item!r}` has no value; a stored feature needs numbers.")
    return item.hex() if isinstance(item, float) else item


def _number(value: Any) -> Any:
    """A setting as it was: floats are stored in hexadecimal, beside texts."""
    return float.fromhex(value) if isinstance(value, str) and "0x" in value else value


def _place(k: Any, n_made: int) -> int:
    if type(k) is not int or not 0 <= k < n_made:
        raise StoreError(
            f"The stored expression is damaged: a node uses node {shown(k)}, but {n_made} stand before it."
        )
    return k


def _node(op: Any, inputs: list[Node], settings: list[Any]) -> Node:
    if op == "field":
        (name,) = settings
        if inputs or not isinstance(name, str) or not name.isidentifier():
            raise StoreError(f"The stored expression is damaged: {shown(name)} is no field.")
        return field(name)
    if op == "number":
        (value,) = settings
        plain = float.fromhex(value) if isinstance(value, str) else value
        if inputs or isinstance(plain, bool) or not isinstance(plain, int | float) or math.isnan(plain):
            raise StoreError(f"The stored expression is damaged: {shown(value)} is no number.")
        return number(plain)
    if op in CLOCKS:
        if inputs or len(settings) != (op == "ends") or (settings and SETTINGS["every"](settings[0], str) == 1):
            raise StoreError(f"The stored expression is damaged: {op} with {len(inputs)} inputs and {shown(settings)}.")
        return node(op, (), tuple(settings))
    if op not in OPERATORS:
        known = " (a number is written out)" if op in SCALAR_OPS else ""
        raise StoreError(f"The stored expression uses {shown(op)}, which this release does not have{known}.")
    names = OPERATORS[op].settings
    if len(settings) != len(names) or not takes(OPERATORS[op], tuple(inputs)) or all(each.scalar for each in inputs):
        raise StoreError(f"The stored expression is damaged: {op} with {len(inputs)} inputs and {shown(settings)}.")
    checked = tuple(
        SETTINGS[name](_number(value), lambda: f"a stored {op}") for name, value in zip(names, settings, strict=True)
    )
    return node(op, tuple(inputs), checked)
