"""The grammar of an expression's text, which is Python's for what it has, and its limits.

::

    text       := (name "=" expression newline)* expression
    expression := comparison of | of & of + - of * / of unary, each binding more than the one before
    unary      := ("-" | "+" | "~")* power
    power      := atom ["**" unary]
    atom       := number | "text" | True | False | None | field | `any field` | part | call | "(" expression ")"
    call       := function "(" [argument ("," argument)* [","]] ")" ["." name]
    argument   := [setting "="] expression

A comparison does not chain. ``#`` begins a comment; lines go on inside parentheses.
"""

from __future__ import annotations

__all__ = ["ATOM", "COMPARISON", "LEVELS", "MOST_NESTED", "MOST_NODES", "POWER", "UNARY"]

COMPARISON = 1
UNARY = 6
POWER = 7
ATOM = 9
LEVELS = {"==": 1, "!=": 1, "<": 1, "<=": 1, ">": 1, ">=": 1, "|": 2, "&": 3, "+": 4, "-": 4, "*": 5, "/": 5}
LEVELS |= {"//": 5, "%": 5, "neg": UNARY, "**": POWER}  # // and % are of open parameters only, which no text has

MOST_NODES = 10_000
MOST_NESTED = 64  # five calls of the reader each: well within what Python's stack has left for it
