"""What a user is told when a method of an event-driven strategy goes wrong: which, on which bar, at which line."""

from __future__ import annotations

import inspect
import re
from typing import Any, NoReturn

import pandas as pd

from knowable.backtest.events.account import BarAccount
from knowable.backtest.events.bar import Bar
from knowable.backtest.weights import place_of
from knowable.errors import KnowableError, StrategyError, shown, unknown_name
from knowable.strategy import Strategy

__all__ = ["explain_arguments", "explain_call_failure", "note_call", "refuse_returned"]

_BY_COLUMN = (
    '\nArrays of the bar and of the account are by column: bar.close[bar.column("AAPL")], or a loop over '
    "enumerate(bar.assets)."
)
# How numpy's words begin -> what to do about them here: an index that is a text, an array for a number, a locked one.
_NUMPY = {
    "IndexError: only integers, slices": _BY_COLUMN,
    "ValueError: The truth value of an array": _BY_COLUMN,
    "ValueError: assignment destination is read-only": (
        "\nWhat the bar and the account show is read-only. Ask for a position, account.target_shares(asset, shares); "
        "change a copy of an array."
    ),
}
_OURS = {"BarAccount": ("account", BarAccount), "Bar": ("bar", Bar)}


def note_call(error: KnowableError, strategy: Strategy, call: str, when: pd.Timestamp | None = None) -> None:
    """Add to one of our errors whose method raised it, on which bar and at which line.

    Args:
        error: what it raised.
        strategy: whose code it was.
        call: the method, such as ``"on_bar"``.
        when: label of the bar; None where there is none.
    """
    bar = "" if when is None else f" on bar {when}"
    error.add_note(f"In {strategy!r}.{call}{bar}{place_of(error)}.")


def explain_call_failure(
    strategy: Strategy, error: BaseException, call: str, when: pd.Timestamp | None = None
) -> StrategyError:
    """The StrategyError for an exception in the user's code. Arguments as in `note_call`."""
    bar = "" if when is None else f" on bar {when}"
    text = f"{type(error).__name__}: {error}".splitlines()[0][:300].encode("utf-8", "replace").decode()
    called = re.match(r"TypeError: (BarAccount|Bar)\.(\w+)\(\) (?=got|takes|missing)(.*)", text)
    if called:
        wrong = explain_arguments(called[1], called[2], called[3])
        return StrategyError(f"{wrong}\nIn {strategy!r}.{call}{bar}{place_of(error)}.")
    remedy = next((said for begins, said in _NUMPY.items() if text.startswith(begins)), "")
    return StrategyError(f"{strategy!r}.{call} raised {text}\nRaised{bar}{place_of(error)}.{remedy}")


def explain_arguments(kind: str, method: str, what: str) -> str:
    """What to say where a method of the bar or the account was called with arguments that it does not have.

    Args:
        kind: ``"Bar"`` or ``"BarAccount"``.
        method: its method.
        what: Python's words after the method's name.
    """
    name, owner = _OURS[kind]
    taken = list(inspect.signature(getattr(owner, method)).parameters.values())[1:]
    unknown = re.search(r"unexpected keyword argument '(\w+)'", what)
    if unknown:
        return str(unknown_name("argument", unknown[1], [each.name for each in taken], where=f"{name}.{method}"))
    words = [f"{each.name}=..." if each.kind is each.KEYWORD_ONLY else each.name for each in taken]
    return f"{name}.{method} {what}; it is {name}.{method}({', '.join(words)})."


def refuse_returned(strategy: Strategy, returned: Any, when: pd.Timestamp) -> NoReturn:
    """Raise StrategyError for an `on_bar` that returns something."""
    raise StrategyError(
        f"{strategy!r}.on_bar returned {shown(returned)} on bar {when}; it returns nothing.\n"
        "Ask for what to hold by account.target(asset, weight), account.target_shares(...) or account.order(...)."
    )
