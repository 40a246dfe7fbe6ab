"""An expression as text: the whole of it, which reads back as the very same node, or short for people and errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from knowable.errors import InputError
from knowable.features.node import CLOCKS, Node, Setting, topological
from knowable.features.operators import OPERATORS
from knowable.features.text.grammar import ATOM, COMPARISON, LEVELS, MOST_NODES, POWER, UNARY
from knowable.features.text.tokens import MOST_CHARACTERS, is_plain_name
from knowable.features.text.vocabulary import by_place

__all__ = ["short", "write"]

_SPARED = 40  # characters a name must save; what is shared and shorter is written out each time
_NESTING = 30  # parts nested deeper get a name; the reader takes over twice as many levels
_SHORT = 300


class _Part(NamedTuple):
    """The text of a node, how strongly it binds, and how deep the reader must go into it."""

    text: str
    level: int = ATOM
    nesting: int = 0


def write(root: Node) -> str:
    """The whole text of an expression, for `read`.

    Parts that are used more than once and would make the text long, or are nested very deep, get a name on a line of
    their own before the line of the expression::

        x1 = close / lag(close, 126) - 1
        rank(x1) * (x1 > 0) + zscore(x1)

    Floats are written so that they read back to the bit.

    Raises: InputError if a parameter is left open, there is a model in it, or it has more than 10,000 nodes.
    """
    if root.symbols:
        raise InputError(
            f"`{root!r}` has no value for {', '.join(sorted(root.symbols))}; an expression's text needs numbers."
        )
    order = topological(root)
    if len(order) > MOST_NODES:
        raise InputError(f"The expression has {len(order):,} nodes; at most {MOST_NODES:,} can be written as text.")
    if any(each.op in OPERATORS and OPERATORS[each.op].coded for each in order):
        raise InputError(
            "An expression with a model in it has no text: its estimator is Python code, which no text holds.\n"
            "Keep the strategy's file, or store the predictions themselves as data."
        )
    uses = Counter(below for each in order for below in each.inputs)
    names = _free_names(order)
    lines: list[str] = []
    parts: dict[Node, _Part] = {}
    open_uses = uses.copy()
    for each in order:
        part = _part(each, parts)
        for below in each.inputs:
            open_uses[below] -= 1
            if not open_uses[below]:
                parts.pop(below, None)  # a long chain would otherwise be kept at each of its lengths
        spared = (uses[each] - 1) * len(part.text)
        if each is not root and each.inputs and (spared > _SPARED or part.nesting > _NESTING):
            name = next(names)
            lines.append(f"{name} = {part.text}")
            part = _Part(name)
        parts[each] = part
    text = "\n".join([*lines, parts[root].text])
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"The expression's text would have {len(text):,} characters; at most {MOST_CHARACTERS:,}.")
    return text


def short(root: Node, limit: int = _SHORT) -> str:
    """One line for people, with all parts written out, cut in the middle where it is longer than `limit`."""
    parts: dict[Node, _Part] = {}
    for each in topological(root):
        part = _part(each, parts)
        if len(part.text) > limit:
            half = (limit - 5) // 2
            part = _Part(f"{part.text[:half]} ... {part.text[-half:]}", part.level)
        parts[each] = part
    return parts[root].text


def _free_names(order: list[Node]) -> Iterator[str]:
    taken = {each.settings[0] for each in order if each.op == "field"}
    return (name for k in range(1, len(order) + 1 + len(taken)) if (name := f"x{k}") not in taken)


def _part(each: Node, parts: Mapping[Node, _Part]) -> _Part:
    if each.op == "number":
        return _number(each.settings[0])
    if each.op in CLOCKS:
        return _Part(f"{each.op}({', '.join(map(_setting, each.settings))})")  # shown alone; users say every=...
    if each.op in ("field", "symbol"):
        name = str(each.settings[0])
        return _Part(name if is_plain_name(name) or each.op == "symbol" else _quoted(name))
    if each.op == "model":
        spec: Any = each.settings[0]
        return _Part(spec.written([parts[below].text for below in each.inputs]))
    given = [parts[below] for below in each.inputs if below.op not in CLOCKS]
    level = LEVELS.get(each.op, ATOM)
    if level == ATOM:
        return _Part(
            f"{each.op}({', '.join([*(part.text for part in given), *_settings(each, parts)])})",
            nesting=1 + max((part.nesting for part in given), default=0),
        )
    if len(given) == 1:
        only = _within(given[0], UNARY)
        return _Part(f"-{only.text}", UNARY, only.nesting)
    chains = level not in (COMPARISON, POWER)  # a - b - c is (a - b) - c, but a < b < c is nothing, a ** b ** c another
    left = _within(given[0], level if chains else level + 1)
    right = _within(given[1], UNARY if level == POWER else level + 1)
    return _Part(f"{left.text} {each.op} {right.text}", level, max(left.nesting, right.nesting + 1))


def _within(part: _Part, level: int) -> _Part:
    return part if part.level >= level else _Part(f"({part.text})", ATOM, part.nesting + 1)


def _number(value: Setting) -> _Part:
    text = repr(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 and text != "-0.0":
        text = str(int(value))
    return _Part(text, UNARY if text.startswith("-") else ATOM)


def _quoted(name: str) -> str:
    if "`" in name or not name.isprintable() or not name:
        raise InputError(f"The field {name!r} cannot stand in a text; rename it.")
    return f"`{name}`"


def _settings(each: Node, parts: Mapping[Node, _Part]) -> Iterator[str]:
    """The first as it is, further ones, switches and texts by name, the clock at last; a switch that is off, or
    None, is left out.
    """
    names = OPERATORS[each.op].settings if each.settings else ()  # a scalar's operator is not of the table
    for place, (name, item) in enumerate(zip(names, each.settings, strict=True)):
        if item is False or item is None:
            continue
        text = parts[item].text if type(item) is Node else _setting(item)
        yield text if place == 0 and not isinstance(item, bool | str) and by_place(each.op) else f"{name}={text}"
    for below in each.inputs:
        if below.op == "ends":
            yield f"every={_setting(below.settings[0])}"


def _setting(item: Setting) -> str:
    return json.dumps(item) if isinstance(item, str) else repr(item)
