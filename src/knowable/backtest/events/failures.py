"""What a user is told when a method of an event-driven strategy goes wrong: which, on which bar, at which line."""

from __future__ import annotations

from typing import Any, NoReturn

import pandas as pd

from knowable.backtest.weights import place_of
from knowable.errors import KnowableError, StrategyError, shown
from knowable.strategy import Strategy

__all__ = ["explain_call_failure", "note_call", "refuse_returned"]


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
    return StrategyError(f"{strategy!r}.{call} raised {text}\nRaised{bar}{place_of(error)}.")


def refuse_returned(strategy: Strategy, returned: Any, when: pd.Timestamp) -> NoReturn:
    """Raise StrategyError for an `on_bar` that returns something."""
    raise StrategyError(
        f"{strategy!r}.on_bar returned {shown(returned)} on bar {when}; it returns nothing.\n"
        "Ask for what to hold by account.target(asset, weight), account.target_shares(...) or account.order(...)."
    )
