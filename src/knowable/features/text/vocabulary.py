"""What a text may call: the functions of the language and the rows of the operator table, and nothing else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from knowable.errors import InputError, UnknownNameError
from knowable.features.apply import apply, rebalanced
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
    return MappingProxyType(found | {op.name: _of_row(op) for op in rows if not op.variadic})


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
    """An operator that has no function in this room, such as `members` or those that kn.portfolio composes: called by
    its row, switches off and limits left out by default.
    """
    inputs = [f"x{k}" for k in range(1, op.arity + 1)]
    kind, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature(
        [inspect.Parameter(name, kind) for name in inputs]
        + [inspect.Parameter(name, kind, default=_default(name)) for name in op.settings[:1]]
        + [inspect.Parameter(name, by_name, default=_default(name)) for name in op.settings[1:]]
        + [inspect.Parameter("every", by_name, default=1 if op.clock == "ends" else None)] * (op.start is not None)
    )

    def call(*given: Any, **named: Any) -> Any:
        arguments = signature.bind(*given, **named)
        arguments.apply_defaults()
        values = dict(arguments.arguments)
        operands = [values.pop(name) for name in inputs]
        if op.clock == "ends":
            return rebalanced(op.name, *operands, **values)
        return apply(op.name, *operands, **values)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _default(setting: str) -> Any:
    """False or None where the setting may be that, and a text then leaves it out."""
    for value in (False, None):
        try:
            if SETTINGS[setting](value, lambda: setting) is value:
                return value
        except (InputError, UnknownNameError):
            pass
    return inspect.Parameter.empty
