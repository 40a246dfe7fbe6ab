"""Why each order is in the list, and how a run ended: expected outcomes, each with its sentence."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from knowable.kernels import account

__all__ = ["BOOKED", "REASONS", "Ending", "Reason"]


class Reason(StrEnum):
    """Why an order is in `Result.orders`; `sentence` says it in full."""

    sentence: str

    FILLED = "filled", "Filled in full at the first price after the decision."
    LATE = (
        "filled late",
        "Filled, but it had to wait: the first bar after the decision had no price, or too little volume.",
    )
    CUT = (
        "cut to cash",
        "Filled in part: cash was short, so all buys of the bar shrank by the same share, or a resting order was cut.",
    )
    NO_CASH = "no cash", "Not filled: no cash was left, or not enough for its fee or one lot."
    NO_PRICE = "no price", "Not filled, or not the rest of it: no price, or no volume, came before the last bar."
    LAST_BAR = "last bar", "Not filled: it was decided on the last bar, and there is no next one."
    REPLACED = (
        "replaced",
        "Not filled, or not the rest of it: a newer decision, a stop or a target came before a price or enough volume.",
    )
    ROUNDED = "rounded to zero", "No order: the target is less than one lot."
    LIQUIDATED = "liquidated", "Forced: equity had fallen to nothing, or to the maintenance margin."
    CANCELLED = "cancelled", "Not filled: the account was liquidated while it was pending."
    TOO_DEAR = "fee too high", "Not filled: the fee is more than the sale brings, and cash does not cover the rest."
    STOPPED = "stop", "Filled at the stop of the position, or at the open where that was already past it."
    TARGET_REACHED = "target", "Filled at the target of the position, or at the open where that was already past it."
    TRAILED = "trailing stop", "Filled at the trailing stop, or at the open where that was already past it."
    LIMITED = "volume limit", "Filled in part: that was all of the bar's volume that it might be; the rest waited."
    DELISTED = "delisted", "Closed at its delisting value, without costs; or not filled, for it trades no more."
    MERGED = "merger", "Exchanged for what its buyer gave; or not filled, for it trades no more."
    SPLIT = "split", "The number of shares changed by a split."
    DIVIDEND = "dividend", "Cash for each share held; shorts owe it."
    SPUN_OFF = "spin-off", "Shares of another asset for those held."
    PAID_FUNDING = "funding", "Paid or received on a perpetual for its funding rate."
    ROLLED = "roll", "A future moved to its next contract, which costs a trade out of one and into the other."
    LIMIT_ORDER = "limit order", "Filled at its limit, or at a better price that it found."
    STOP_ORDER = "stop order", "Filled at its stop, or at the price it found where that was already past it."
    AT_OPEN = "at the open", "The market order of a bracket, filled at the open."
    EXPIRED = "expired", "Not filled, or not the rest of it: it was good for one session, and that was over."
    WITHDRAWN = "cancelled by strategy", "Not filled, or not the rest of it: the strategy cancelled it."
    PAIRED = "one cancels other", "Not filled: its other half was, or the position it would have reduced is gone."
    NO_LEVERAGE = "no leverage", "Not filled: a short, or a larger one, would pass max_leverage."
    NO_MEMBER = "not in universe", "Not filled: the asset is not, or no longer, a member of the universe."
    NOT_REACHED = "still resting", "Not filled, or not the rest of it, by the last bar."
    NEVER_PRICED = "never priced", "Not sized: the asset had no close by the last bar."

    def __new__(cls, word: str, sentence: str) -> Self:
        """A reason reads as its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member


# Position is the kernel's code.
REASONS: tuple[Reason, ...] = tuple(
    reason for _, reason in sorted((int(getattr(account, reason.name)), reason) for reason in Reason)
)

# What an action books on its bar, which is no order; an order that such an action ended has no bar.
BOOKED = (account.MERGED, account.SPLIT, account.DIVIDEND, account.SPUN_OFF, account.PAID_FUNDING, account.ROLLED)


class Ending(StrEnum):
    """How a run ended; `sentence` says it in full."""

    sentence: str

    COMPLETED = "completed", "The run reached its last bar."
    LIQUIDATED = (
        "liquidated",
        "Equity fell to nothing or the maintenance margin: orders were cancelled, positions closed, no more traded.",
    )

    def __new__(cls, word: str, sentence: str) -> Self:
        """An ending reads as its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member
