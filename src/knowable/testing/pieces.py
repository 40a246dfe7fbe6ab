"""A resumable kernel over all rows, in the pieces a test wants: the law is that the pieces do not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from knowable.testing.exact import Panel

__all__ = ["in_pieces"]


def in_pieces(kernel: Callable[..., Any], *panels: Panel, state: Any, cuts: Iterable[int] = ()) -> Panel:
    """What a kernel writes, called once for each piece of rows; the pieces are C-ordered and read-only.

    Args:
        kernel: called as ``kernel(*pieces, state, out)``.
        panels: (n_bars, n_assets) each.
        state: before the first row; the kernel leaves in it what it had after the last.
        cuts: rows at which a piece begins, in any order, more than once too (a piece without a row); those after the
            last row count as there.

    Returns: (n_bars, n_assets).
    """
    n = len(panels[0])
    out = np.empty(panels[0].shape)
    with np.errstate(all="ignore"):  # as the drivers do; compiled code does not warn anyway
        for first, last in pairwise([0, *sorted(min(cut, n) for cut in cuts), n]):
            pieces = [np.ascontiguousarray(panel[first:last]) for panel in panels]
            for piece in pieces:
                piece.flags.writeable = False
            kernel(*pieces, state, out[first:last])
    return out
