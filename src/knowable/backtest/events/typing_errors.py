"""What numba says about an `on_bar` it cannot compile, in words for the one who wrote it.

The plain `on_bar` has been run before and did well, so what is said here is about compiled code alone.
"""

from __future__ import annotations

import linecache
import re
import types
from pathlib import Path

from knowable.backtest.events.account import BarAccount
from knowable.backtest.events.failures import explain_arguments
from knowable.errors import StrategyError, unknown_name
from knowable.strategy import Strategy

__all__ = ["explain_typing"]

_ARGUMENT = re.compile(
    r"TypingError: (got an unexpected keyword argument '\w+')"
    r".*?BoundFunction\(\(<class '[\w.]*?(Account|Bar)Type'>, '(\w+)'",
    flags=re.DOTALL,
)
_NOT_THERE = " that there is not"
_PLAIN = "Or leave out compiled = True: plain Python takes it as it is."
_INTO_FEATURES = "Compute it in features(self, m), as numbers for every bar, and read bar.<name>."

# A part of numba's message -> what is not supported, and what to write instead. The first that fits is said; {0} is
# what its parentheses caught.
_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        r"Cannot resolve setattr: \(Self\(.*?\)\)\.(\w+) =",
        "self.{0} cannot be set",
        "Keep arrays: memory(self, m) returns {{'{0}': np.zeros(m.n_assets)}}, on_bar writes self.{0}[column] = ...",
    ),
    (r"Unknown attribute '(time|assets)' of type Bar\(", "bar.{0} is no number", _INTO_FEATURES),
    (
        r"Unknown attribute '(column)' of type Bar\(",
        "bar.{0} takes a name, and it knows columns only",
        "Write the column itself: bar.close[0].",
    ),
    (r"Unknown attribute '(_\w*)' of type Self\(", "self.{0} begins with an underscore", "Give it another name."),
    (
        r"Untyped global name '(\w+)': Cannot determine Numba type of <class 'function'>",
        "{0} is a plain Python function",
        "Put @numba.njit before its definition.",
    ),
    (
        r"Untyped global name '(super)'",
        "{0}() is not supported",
        "Write what the base class does as a function with @numba.njit, and call it from both.",
    ),
    (
        r"(?:Untyped global name|[Ff]reevar) '?(\w+)'?:? .*?Cannot determine Numba type of <class '",
        "{0} is neither a number nor an array",
        _INTO_FEATURES,
    ),
    (
        r">>> _(?:target|target_shares|order)\(Account, (?:asset=)?(?:Literal\[str\]|unicode_type)",
        "an asset by its name",
        "Give its column: account.target(0, 0.5).",
    ),
    (
        r"BoundFunction\(\(<class '[\w.]*AccountType'>, '(\w+)'\)",
        "account.{0} with these arguments",
        "It takes a column and numbers, levels by their names, or an array (n_assets,) alone.",
    ),
    (
        r"BoundFunction\(\(<class '[\w.]*BarType'>, '(past)'\)",
        "bar.{0} with a name from a variable",
        "Write the name out, as in bar.past('close', 20).",
    ),
    (
        r"Unknown attribute 'open_orders' of type Account",
        "account.open_orders",
        "Keep the numbers that account.order returns; account.n_open(column) counts what rests.",
    ),
    (r"getitem\(Bar\(", "bar[...] with a name", "Read bar.close."),
    (r"Unknown attribute '(\w+)' of type Module\(<module 'pandas'", "a call of pandas, {0}", _INTO_FEATURES),
    (r"Unknown attribute '(default_rng)' of type Module", "a random generator", _INTO_FEATURES),
    (
        r"Exception matching is limited|exception_match",
        "`except` for one kind of exception",
        "Test before instead: if np.isnan(x): ...",
    ),
    (
        r"Cannot unify (.+?) and (.+?) for '(\w+?)(?:\.\d+)?'",
        "a name that holds values of two types, {0} and {1}",
        "Let it hold one type throughout.",
    ),
)


def explain_typing(strategy: Strategy, error: BaseException) -> StrategyError:
    """The StrategyError for a function that numba cannot compile: which line, what is not supported, what to do.

    Args:
        strategy: whose `on_bar` it is.
        error: numba's.
    """
    text = str(error)
    what, remedy = _reason(strategy, text)
    function = strategy.on_bar.__func__  # type: ignore[attr-defined]  # there: it has been compiled
    plain = "" if what.endswith(_NOT_THERE) else _PLAIN
    lines = [f"{strategy!r}.on_bar cannot be compiled: {what}{_place(function.__code__, text)}.", remedy, plain]
    return StrategyError("\n".join(line for line in lines if line))


def _reason(strategy: Strategy, text: str) -> tuple[str, str]:
    argument = _ARGUMENT.search(text)
    if argument:
        kind = "BarAccount" if argument[2] == "Account" else "Bar"
        return "an argument" + _NOT_THERE, explain_arguments(kind, argument[3], argument[1])
    attribute = re.search(r"Unknown attribute '(\w+)' of type Account", text)
    if attribute and not hasattr(BarAccount, attribute[1]):
        known = [each for each in dir(BarAccount) if not each.startswith("_")]
        return "a word" + _NOT_THERE, str(unknown_name("attribute", attribute[1], known, where="the account"))
    own = re.search(r"Unknown attribute '(\w+)' of type Self\(", text)
    if own and callable(getattr(strategy, own[1], None)):
        return f"self.{own[1]} is a method", "Write it as a function with @numba.njit, outside the class."
    for pattern, what, remedy in _REASONS:
        found = re.search(pattern, text, flags=re.DOTALL)
        if found:
            caught = [each or "" for each in found.groups()]
            return what.format(*caught), remedy.format(*caught)
    if own:
        value = getattr(strategy, own[1], None)
        return (
            f"self.{own[1]} is a {type(value).__name__}",
            "Numbers, texts and arrays of numbers can be read from self.",
        )
    return _first_words(text), "numba's documentation lists what it supports: https://numba.readthedocs.io."


def _first_words(text: str) -> str:
    """The first line that says something."""
    said = [line.strip(" -") for line in text.splitlines()]
    said = [line for line in said if line and not line.startswith(("Failed in nopython", "Resolution failure"))]
    function = re.search(r"No implementation of function Function\(<[\w ]*?(?:function )?(\w+)(?: at \w+)?>\)", text)
    if function:
        return f"{function[1]} with these arguments is not supported"
    return said[0].rstrip(".")[:200] if said else "numba does not say why"


def _place(code: types.CodeType, text: str) -> str:
    """Where in the function numba stopped."""
    file = Path(code.co_filename).name
    numbers = {number for _, _, number in code.co_lines() if number is not None}
    pattern = rf'{re.escape(file)}"?(?:, line |:| \()(\d+)'
    line = next((int(found) for found in re.findall(pattern, text) if int(found) in numbers), None)
    if line is None:
        return f", at {file}, line {code.co_firstlineno} and after"
    source = linecache.getline(code.co_filename, line).strip()[:100]
    return f", at {file}, line {line}" + (f": `{source}`" if source else "")
