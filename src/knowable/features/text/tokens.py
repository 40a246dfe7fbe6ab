"""The words of an expression's text, each with its place, and the caret that shows one in an error."""

from __future__ import annotations

import re
from typing import NamedTuple

from knowable.errors import InputError, KnowableError, shown

__all__ = ["MOST_CHARACTERS", "RESERVED", "Token", "is_plain_name", "pointed", "tokens"]

MOST_CHARACTERS = 500_000
RESERVED = {"nan": float("nan"), "inf": float("inf"), "True": True, "False": False, "None": None}

_WIDTH = 72  # of the piece of a line that an error shows
_WORD = re.compile(
    r"""
      (?P<space>[ \t\r\f]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<number>(?:[0-9]+(?:_[0-9]+)*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[^\W\d]\w*)
    | (?P<quoted>`[^`\n]+`)
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<sign>\*\*|<=|>=|==|!=|[-+*/<>&|~(),=.])
    """,
    re.VERBOSE,
)
_INSTEAD = {
    "^": "A power is written **.",
    "%": "There is no remainder in expressions.",
    "'": 'Texts are written in double quotes, "like this".',
    '"': 'The text has no closing " on its line.',
    "`": "The name has no closing ` on its line.",
    "[": "A past value is written lag(x, n).",
    ";": "Each part stands on a line of its own.",
    "!": "Not is written ~x, and not equal is written !=.",
    "\\": "An expression may go on over several lines inside parentheses.",
}


class Token(NamedTuple):
    """A word: ``number``, ``name``, ``quoted``, ``string``, ``sign``, ``newline`` or ``end``."""

    kind: str
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """All words of a text, the end included; line breaks inside parentheses and comments are left out.

    Raises: InputError if it is too long, or a character belongs to no word.
    """
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"The text has {len(text):,} characters; an expression has at most {MOST_CHARACTERS:,}.")
    found: list[Token] = []
    at, inside = 0, 0
    while at < len(text):
        match = _WORD.match(text, at)
        kind = "" if match is None else str(match.lastgroup)
        word = text[at] if match is None else match.group()
        if match is None or (kind == "name" and not word.isidentifier()):
            hint = _INSTEAD.get(word, "")
            raise pointed(InputError, f"{shown(word)} is no part of an expression. {hint}".rstrip(), text, at)
        if word in ("(", ")"):
            inside = max(inside + (1 if word == "(" else -1), 0)
        if not (kind == "space" or (kind == "newline" and inside)):
            found.append(Token(kind, word, at))
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def is_plain_name(name: str) -> bool:
    """Whether a field's name stands as it is; others stand in backquotes."""
    match = _WORD.fullmatch(name)
    return match is not None and match.lastgroup == "name" and name.isidentifier() and name not in RESERVED


def pointed(kind: type[KnowableError], message: str, text: str, at: int, length: int = 1) -> KnowableError:
    """An error with the line it happened in and carets under the words."""
    first = text.rfind("\n", 0, at) + 1
    last = text.find("\n", at)
    line = text[first : len(text) if last < 0 else last]
    column = at - first
    begin = max(0, min(column - _WIDTH // 2, len(line) - _WIDTH))
    piece = "".join(each if each.isprintable() else " " for each in line[begin : begin + _WIDTH])
    before, after = "... " if begin else "", " ..." if begin + _WIDTH < len(line) else ""
    carets = "^" * max(1, min(length, len(line) - column, begin + _WIDTH - column))
    place = f"line {text.count(chr(10), 0, at) + 1}, column {column + 1}"
    return kind(
        f"{message}\nIn the expression's text, {place}:\n"
        f"  {before}{piece}{after}\n  {' ' * (len(before) + column - begin)}{carets}"
    )
