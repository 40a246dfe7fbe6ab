"""What a text may call: the functions of the language and the rows of the operator table, and nothing else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from knowable.errors import InputError
from knowable.features.apply import apply
from knowable.features.operators import OPERATORS, SETTINGS, Operator
from knowable.features.text.grammar import LEVELS

__all__ = ["by_place", "usage", "vocabulary"]

_ROOM = "knowable.features.functions."


@functools.cache
def vocabulary() -> Mapping[str, Callable[..., Any]]:
    """Name -> function: all that knowable.features exports, and operators that only the language itself uses."""
    from knowable import features  # the room's own list of what is public, complete once it is imported

    public = {name: getattr(features, name) for name in features.__all__}
    found = {
        name: value
        for name, value in public.items()
        if inspect.isfunction(value) and value.__module__.startswith(_ROOM)
    }
    rows = (op for name, op in OPERATORS.items() if name not in found and name not in LEVELS)
    return MappingProxyType(found | {op.name: _of_row(op) for op in rows if op.start is None and not op.variadic})


@functools.cache
def by_place(op: str) -> bool:
    """Whether an operator's first setting may stand after its inputs without its name, in the function's own order."""
    row = OPERATORS[op]
    parameters = [] if row.variadic else list(inspect.signature(vocabulary()[op]).parameters)
    return bool(row.settings) and parameters[row.arity : row.arity + 1] == [row.settings[0]]


def usage(name: str, function: Callable[..., Any]) -> str:
    """How it is called, as an error shows it: ``rank(x, descending=False)``."""
    parts = []
    for each in inspect.signature(function).parameters.values():
        default = "" if each.default is inspect.Parameter.empty else f"={each.default!r}"
        parts.append(f"{'*' if each.kind is inspect.Parameter.VAR_POSITIONAL else ''}{each.name}{default}")
    return f"{name}({', '.join(parts)})"


def _of_row(op: Operator) -> Callable[..., Any]:
    """An operator that has no function of its own, such as `members`: called by its row, switches off by default."""
    inputs = [f"x{k}" for k in range(1, op.arity + 1)]
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    signature = inspect.Signature(
        [inspect.Parameter(name, kind) for name in inputs]
        + [inspect.Parameter(name, kind, default=False if _is_switch(name) else empty) for name in op.settings]
    )

    def call(*given: Any, **named: Any) -> Any:
        arguments = signature.bind(*given, **named)
        arguments.apply_defaults()
        values = dict(arguments.arguments)
        return apply(op.name, *(values.pop(name) for name in inputs), **values)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _is_switch(setting: str) -> bool:
    try:
        return SETTINGS[setting](False, lambda: setting) is False
    except InputError:
        return False
