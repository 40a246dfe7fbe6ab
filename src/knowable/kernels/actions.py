"""What happens to what is held without anybody trading: splits, distributions, delistings, mergers, funding, rolls."""

from __future__ import annotations

from numba import njit

from knowable.kernels.account import ACTION_ROW, BAR, HELPER, NEXT_ACTION

__all__ = ["book_action", "rows_to_action"]

_FAR = 1 << 60


@njit(**HELPER)
def rows_to_action(actions, account):
    """Rows from the one at hand to the next action; a large number where none is left."""
    k = int(account[NEXT_ACTION])
    return int(actions[k, ACTION_ROW] - account[BAR]) if k < actions.shape[0] else _FAR


@njit(**HELPER)
def book_action(t, feed, rules, assets, account, book, orders_out):  # noqa: ARG001
    """Book the next action; its row is at hand."""
    account[NEXT_ACTION] += 1.0
