"""Uses of the bar and the account that can mean nothing, found in the text of an `on_bar` before it runs.

Python takes most of them without a word: a method that is compared equals nothing, one that stands alone does nothing.
Compiled code and plain are told alike, also on lines that a run would not have reached.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import weakref
from collections.abc import Iterator
from pathlib import Path

from knowable.backtest.events.account import BarAccount
from knowable.backtest.events.bar import Bar
from knowable.backtest.events.failures import explain_arguments
from knowable.errors import StrategyError
from knowable.strategy import Strategy

__all__ = ["refuse_misuse"]

_ARRAYS = ("positions", "weights")
_looked: weakref.WeakKeyDictionary[types.FunctionType, str] = weakref.WeakKeyDictionary()


def refuse_misuse(strategy: Strategy) -> None:
    """Raise StrategyError where `on_bar` uses a method without calling it, calls what is none, or names no level."""
    function = getattr(strategy.on_bar, "__func__", None)  # type: ignore[attr-defined]  # there: `is_event_driven`
    if not isinstance(function, types.FunctionType):
        return
    if function not in _looked:
        _looked[function] = _first_of(function)
    if _looked[function]:
        raise StrategyError(f"{strategy!r}.on_bar: {_looked[function]}")


def _first_of(function: types.FunctionType) -> str:
    """What is wrong first, and where; empty if nothing is, or its text is not to be had."""
    try:
        lines, start = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return ""
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef):
        return ""
    owners: dict[str, type] = dict(zip([each.arg for each in body.args.args[1:3]], (Bar, BarAccount), strict=False))
    for node in ast.walk(body):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            owners.pop(node.id, None)  # the name stands for something else from somewhere on
    line, said = min(_wrong(body, owners), default=(0, ""))
    if not said:
        return ""
    source = lines[line - 1].strip()[:100]
    place = f"{Path(function.__code__.co_filename).name}, line {start + line - 1}: `{source}`"
    return f"{said}\nAt {place}."


def _wrong(body: ast.FunctionDef, owners: dict[str, type]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(body):
        for used in _used_as_values(node):
            named = _method_of(used, owners)
            if named is not None:
                yield used.lineno, f"{named[0]} is a method and does nothing until it is called: write {named[1]}."
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            said = _wrong_call(node, node.func, owners)
            if said:
                yield node.lineno, said


def _used_as_values(node: ast.AST) -> list[ast.expr]:
    """What a node compares, counts with, takes for true, looks into, or lets stand alone."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        return [] if any(isinstance(each, ast.Is | ast.IsNot) for each in node.ops) else sides
    if isinstance(node, ast.BoolOp):
        return list(node.values)
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        return [node.test]
    return [node.value] if isinstance(node, ast.Expr | ast.Subscript) else []


def _method_of(node: ast.expr, owners: dict[str, type]) -> tuple[str, str] | None:
    """(account.n_open, account.n_open(asset)) where the node is a method of the bar or the account."""
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return None
    owner = owners.get(node.value.id)
    method = None if owner is None or node.attr.startswith("_") else getattr(owner, node.attr, None)
    if not isinstance(method, types.FunctionType):
        return None
    taken = list(inspect.signature(method).parameters.values())[1:]
    words = ", ".join(each.name for each in taken if each.kind is not each.KEYWORD_ONLY)
    name = f"{node.value.id}.{node.attr}"
    return name, f"{name}({words})"


def _wrong_call(node: ast.Call, called: ast.Attribute, owners: dict[str, type]) -> str:
    owner = owners.get(called.value.id) if isinstance(called.value, ast.Name) else None
    if owner is None or called.attr.startswith("_"):
        return ""
    member, name = getattr(owner, called.attr, None), ast.unparse(called)
    if isinstance(member, property):
        how = f"{name}[column]" if called.attr in _ARRAYS else name
        return f"{name} is no method: read it without brackets, as {how}."
    starred = any(isinstance(each, ast.Starred) for each in node.args)
    if member is BarAccount.order and len(node.args) > 2 and not starred:
        what = f"takes from 2 to 3 positional arguments but {len(node.args) + 1} were given"
        return explain_arguments("BarAccount", "order", what)
    return ""
