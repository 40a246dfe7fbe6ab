"""An expression read from its text: our own grammar, so that a text of a file can name functions and no more."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from knowable.data.market import Market
from knowable.errors import InputError, KnowableError, UnknownNameError, shown, unknown_name
from knowable.features.apply import apply
from knowable.features.feature import Feature
from knowable.features.functions.elsewhere import SYNONYMS
from knowable.features.node import field, topological
from knowable.features.text.arithmetic import combined
from knowable.features.text.grammar import COMPARISON, LEVELS, MOST_NESTED, MOST_NODES
from knowable.features.text.tokens import RESERVED, Token, pointed, tokens
from knowable.features.text.vocabulary import usage, vocabulary

__all__ = ["read"]

_INSTEAD = {
    "and": "`and` is written &, with comparisons in parentheses.",
    "or": "`or` is written |, with comparisons in parentheses.",
    "not": "`not x` is written ~x.",
    "if": "`a if c else b` is written where(c, a, b).",
    "is": "Missing values are found by isnan(x).",
    ".": "Methods are written as functions, mean(x, 5) for x.mean(5).",
    "=": "Equality is written ==; a part is named at the beginning of a line.",
    "true": "It is written True.",
    "false": "It is written False.",
}


def read(text: str, market: Market) -> Feature:
    """The expression of a text, on a market.

    Args:
        text: what `write` wrote, or a person: lines ``name = part``, then the expression.
        market: its fields are the names that stand for themselves.

    Raises: InputError with line, column and what was expected; UnknownNameError for a field, function or setting that
        does not exist. Whatever a function of the language says of its arguments is passed on with their place.
    """
    if not isinstance(text, str):
        raise InputError(f"An expression is read from text, but got {shown(text)} of type {type(text).__name__}.")
    return _Reader(text, market).read()


class _Reader:
    """Precedence climbing over the tokens; each way down is counted, so that no text can exhaust the stack."""

    def __init__(self, text: str, market: Market) -> None:
        self.text, self.market = text, market
        self.tokens = tokens(text)
        self.place = 0
        self.nested = 0
        self.n_made = 0
        self.parts: dict[str, Any] = {}
        self.fields: set[str] = set()

    @property
    def token(self) -> Token:
        return self.tokens[self.place]

    def read(self) -> Feature:
        while True:
            while self.token.kind == "newline":
                self.place += 1
            begin = self.token
            named = begin.kind == "name" and self.tokens[self.place + 1].text == "="
            if named:
                self.part()
                continue
            if begin.kind == "end":
                last = " The last line has only named a part." if self.parts else ""
                raise self.wrong(f"The text has no expression.{last}", begin)
            value = self.expression()
            self.rest(begin)
            return self.whole(value, begin)

    def whole(self, value: Any, begin: Token) -> Feature:
        if type(value) is not Feature:
            raise self.wrong(f"An expression uses fields of the market, but this is {shown(value)} alone.", begin)
        n_nodes = len(topological(value.node))
        if n_nodes > MOST_NODES:
            raise InputError(f"The expression has {n_nodes:,} nodes; at most {MOST_NODES:,} can be read.")
        return value

    def rest(self, begin: Token) -> None:
        """After the expression nothing may follow but empty lines."""
        self.line_ends()
        while self.token.kind == "newline":
            self.place += 1
        if self.token.kind != "end":
            raise self.wrong(
                "Only the last line is the expression; this one must name its value, as in `x1 = close / open`,\n"
                "or go on inside parentheses.",
                begin,
            )

    def part(self) -> None:
        name = self.token
        if name.text in RESERVED:
            raise self.wrong(f"`{name.text}` is a value and cannot name a part.", name)
        if name.text in self.parts:
            raise self.wrong(f"`{name.text}` names another part above; choose another name.", name)
        self.place += 2
        value = self.expression()
        if name.text in self.fields:
            raise self.wrong(f"`{name.text}` is used as a field of the market; choose another name.", name)
        self.line_ends()
        self.parts[name.text] = value

    def line_ends(self) -> None:
        if self.token.kind not in ("newline", "end"):
            raise self.wrong(f"Expected an operator or the end of the line, but {_said(self.token)}", self.token)

    def expression(self, least: int = COMPARISON) -> Any:
        """Operators that bind at least so strongly, from the left."""
        self.enter()
        left = self.unary()
        while (level := self.binary()) >= least:
            sign = self.take()
            right = self.expression(level + 1)
            left = self.combine(sign, left, right)
            if level == COMPARISON and self.binary() == COMPARISON:
                raise self.wrong(
                    "Comparisons do not chain: write (a < b) & (b < c) for a < b < c, or put the first into "
                    "parentheses.",
                    self.token,
                )
        self.nested -= 1
        return left

    def binary(self) -> int:
        """How strongly the operator at hand binds; 0 if there is none."""
        return LEVELS.get(self.token.text, 0) if self.token.kind == "sign" else 0

    def unary(self) -> Any:
        signs: list[Token] = []
        while self.token.kind == "sign" and self.token.text in ("-", "+", "~"):
            signs.append(self.take())
        value = self.atom()
        if self.token.text == "**":
            sign = self.take()
            self.enter()
            value = self.combine(sign, value, self.unary())
            self.nested -= 1
        for sign in reversed(signs):
            value = self.signed(sign, value)
        return value

    def atom(self) -> Any:
        token = self.token
        if token.kind == "sign" and token.text == "(":
            self.place += 1
            value = self.expression()
            self.close(token)
            return value
        self.place += 1
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "string":
            return self.string(token)
        if token.kind == "quoted":
            return self.field(token, token.text[1:-1])
        if token.kind == "name":
            if token.text in RESERVED:
                return RESERVED[token.text]
            if self.token.kind == "sign" and self.token.text == "(":
                return self.call(token)
            if token.text in self.parts:
                return self.parts[token.text]
            return self.field(token, token.text)
        raise self.wrong(f"Expected a number, a field, a function or '(', but {_said(token)}", token)

    def field(self, token: Token, name: str) -> Feature:
        if name not in self.market.panels:
            if name in _INSTEAD:
                raise self.wrong(_INSTEAD[name], token)
            if name in vocabulary():
                raise self.wrong(f"{name!r} is a function: {usage(name, vocabulary()[name])}.", token)
            known = [*self.market.panels, *self.parts]
            raise self.wrong(str(unknown_name("field", name, known, where="the market")), token, UnknownNameError)
        self.fields.add(name)
        return Feature(field(name), self.market)

    def string(self, token: Token) -> str:
        try:
            return str(json.loads(token.text))
        except ValueError:
            raise self.wrong(f"{shown(token.text)} is no text as JSON writes it.", token) from None

    def call(self, name: Token) -> Any:
        function = vocabulary().get(name.text)
        if function is None:
            ours = SYNONYMS.get(name.text.lower())
            message = str(unknown_name("function", name.text, vocabulary()))
            message = message if ours is None else f"Unknown function {name.text!r}. Did you mean {ours!r}?"
            raise self.wrong(message, name, UnknownNameError)
        self.place += 1
        operands, settings = self.arguments(name, function)
        try:
            inspect.signature(function).bind(*operands, **settings)
        except TypeError as error:
            raise self.wrong(f"{usage(name.text, function)} does not take this: {error}.", name) from None
        made = self.made(name, lambda: function(*operands, **settings))
        return self.chosen(name, made) if isinstance(made, tuple) else made

    def arguments(self, name: Token, function: Callable[..., Any]) -> tuple[list[Any], dict[str, Any]]:
        opening = self.tokens[self.place - 1]
        operands: list[Any] = []
        settings: dict[str, Any] = {}
        while self.token.text != ")":
            token = self.token
            if token.kind == "name" and self.tokens[self.place + 1].text == "=":
                self.place += 2
                if token.text in settings:
                    raise self.wrong(f"`{token.text}` is given twice.", token)
                known = inspect.signature(function).parameters
                if token.text not in known:
                    message = str(unknown_name("setting", token.text, known, where=usage(name.text, function)))
                    raise self.wrong(message, token, UnknownNameError)
                settings[token.text] = self.expression()
            else:
                if settings:
                    raise self.wrong("An argument without a name cannot follow one with a name.", token)
                operands.append(self.expression())
            if self.token.text != ",":
                break
            self.place += 1
        self.close(opening)
        return operands, settings

    def chosen(self, name: Token, made: tuple[Any, ...]) -> Any:
        """One of several results, such as ``bollinger(close, 20).upper``."""
        names: tuple[str, ...] = getattr(type(made), "_fields", ())
        if self.token.text != ".":
            raise self.wrong(f"{name.text} gives {', '.join(names)}: write {name.text}(...).{names[0]}.", name)
        self.place += 1
        token = self.take()
        if token.text not in names:
            message = str(unknown_name("result", token.text, names, where=name.text))
            raise self.wrong(message, token, UnknownNameError)
        return made[names.index(token.text)]

    def combine(self, sign: Token, left: Any, right: Any) -> Any:
        if type(left) is Feature or type(right) is Feature:
            return self.made(sign, lambda: apply(sign.text, left, right))
        return self.made(sign, lambda: combined(sign.text, left, right))

    def signed(self, sign: Token, value: Any) -> Any:
        if sign.text == "+" and type(value) is Feature:
            return value
        if type(value) is Feature:
            return self.made(sign, lambda: apply("neg", value) if sign.text == "-" else apply("==", value, 0.0))
        return self.made(sign, lambda: combined(sign.text, value))

    def made(self, token: Token, make: Callable[[], Any]) -> Any:
        """What a function gives; its errors are told with their place."""
        self.n_made += 1
        if self.n_made > MOST_NODES:
            raise self.wrong(f"The expression has more than {MOST_NODES:,} operations.", token)
        try:
            return make()
        except KnowableError as error:
            raise self.wrong(str(error), token, type(error)) from error
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise self.wrong(f"{token.text} cannot be computed of these: {error}.", token) from error

    def close(self, opening: Token) -> None:
        token = self.token
        if token.kind == "sign" and token.text == ")":
            self.place += 1
            return
        if token.kind == "end":
            raise self.wrong("This '(' is never closed.", opening)
        raise self.wrong(f"Expected an operator, ',' or ')', but {_said(token)}", token)

    def take(self) -> Token:
        self.place += 1
        return self.tokens[self.place - 1]

    def enter(self) -> None:
        self.nested += 1
        if self.nested > MOST_NESTED:
            raise self.wrong(
                f"The expression is nested more than {MOST_NESTED} deep; name inner parts on lines of their own: "
                "x1 = ...",
                self.token,
            )

    def wrong(self, message: str, token: Token, kind: type[KnowableError] = InputError) -> KnowableError:
        return pointed(kind, message, self.text, token.at, len(token.text))


def _number(text: str) -> int | float:
    """An int where it is written as one and fits into 64 bits, else the nearest float."""
    digits = text.replace("_", "")
    return int(digits) if digits.isdecimal() and len(digits) <= 18 else float(digits)


def _said(token: Token) -> str:
    """What came, and how it is written instead."""
    if token.kind in ("newline", "end"):
        return "the end of the " + ("line came." if token.kind == "newline" else "text came.")
    return f"{shown(token.text)} came." + (f" {_INSTEAD[token.text]}" if token.text in _INSTEAD else "")
