"""Cuts of a history into what a search may see and what it is judged on.

Rows are bar positions and every range is half-open. `walk_forward` judges each piece of time by parameters chosen
before it; `cpcv` tries every choice of test blocks and recombines them into many paths.
"""

from __future__ import annotations

import itertools
import math
import numbers
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from knowable.errors import InputError, shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CpcvSplit", "Fold", "cpcv", "cpcv_paths", "walk_forward"]

Rows: TypeAlias = tuple[int, int]

_UNITS = {"y": "years", "mo": "months", "w": "weeks", "d": "days", "h": "hours"}
_FORM = 'Write whole bars (252 or "252b") or a calendar length such as "3y", "6mo", "2w", "10d", "12h".'


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One walk-forward cut: choose on `train`, judge on `test`.

    Args:
        number: position among the folds, from 0.
        train: ``(first, last + 1)`` bar positions a search may see.
        test: ``(first, last + 1)`` bar positions the choice is judged on; always after `train`.
    """

    number: int
    train: Rows
    test: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class CpcvSplit:
    """One combinatorial cut.

    Args:
        number: position among the splits, from 0.
        train: bar positions to fit on, read-only int64, ascending, purged and embargoed.
        test: one ``(first, last + 1)`` range a test block, in time order.
        test_blocks: which of the blocks are the test ones.
    """

    number: int
    train: np.ndarray
    test: tuple[Rows, ...]
    test_blocks: tuple[int, ...]


def walk_forward(
    index: pd.DatetimeIndex | np.ndarray | int,
    train: str | int,
    test: str | int,
    purge: int = 0,
    embargo: int = 0,
    *,
    anchored: bool = False,
    min_folds: int = 1,
) -> list[Fold]:
    """Rolling folds whose test ranges follow one another without gap or overlap.

    Args:
        index: bar labels (DatetimeIndex, datetime64 array, or int64 nanoseconds UTC), strictly increasing; or just the
            number of bars when both lengths are in bars.
        train: length of the training range: bars (``252``, ``"252b"``) or calendar (``"3y"``, ``"6mo"``, ``"10d"``).
        test: length of the test range, of the same kind as `train`; also the step from fold to fold.
        purge: bars left out between train and test, because the outcome of a decision there reaches into the test.
        embargo: further bars left out at the same place, against serial correlation. The gap is ``purge + embargo``.
        anchored: train from the first bar on, growing, instead of a window that rolls.
        min_folds: fewer folds than this are an error.

    Returns: folds in time order. In bars, the last incomplete test is left out. By calendar, boundaries are counted
    from midnight of the first bar's day, so each falls on the same day of the month; the gap is taken from the start
    of the test; the last test is complete if what it misses is no longer than the longest step between two bars.

    Raises: InputError when lengths are malformed or mixed, the index is not increasing, or the data are too short
    (the message says how many folds fit).
    Source: Pardo, The Evaluation and Optimization of Trading Strategies, 2008, ch. 11.
    """
    gap = _count("purge", purge) + _count("embargo", embargo)
    lengths = {"train": _length("train", train), "test": _length("test", test)}
    units = {unit == "b" for _, unit in lengths.values()}
    if len(units) == 2:
        raise InputError(
            f"`train` and `test` must both be bars or both calendar lengths, but train={train!r}, "
            f"test={test!r}.\n{_FORM}"
        )
    if units == {True}:
        n_bars = index if isinstance(index, numbers.Integral) else len(_labels(index))
        folds = _by_bars(int(n_bars), lengths["train"][0], lengths["test"][0], gap, anchored)
        span = f"{n_bars} bars"
    else:
        labels = _labels(index)
        folds = _by_calendar(labels, lengths["train"], lengths["test"], gap, anchored)
        span = f"{len(labels)} bars, {labels[0]:%Y-%m-%d} to {labels[-1]:%Y-%m-%d}" if len(labels) else "0 bars"
    if len(folds) < min_folds:
        raise InputError(
            f"{_folds(len(folds))} of train={train!r}, test={test!r} with a gap of {gap} "
            f"bars (purge + embargo) fit into the data ({span}); at least {min_folds} must.\n"
            "Give a longer history, or a shorter `train` or `test`."
        )
    return folds


def cpcv(n_bars: int, folds: int, test_folds: int, purge: int = 0, embargo: int = 0) -> list[CpcvSplit]:
    """Combinatorial purged cross-validation: each choice of `test_folds` out of `folds` blocks is the test once.

    Args:
        n_bars: rows to split; the blocks are as even as whole rows allow.
        folds: number of blocks, >= 2.
        test_folds: how many of them are tests, ``1 <= test_folds < folds``.
        purge: training bars dropped on both sides of each run of test blocks.
        embargo: training bars dropped after each run of test blocks, beyond the purge.

    Returns: ``C(folds, test_folds)`` splits, in the order of `itertools.combinations`.
    Raises: InputError on impossible counts or when a split keeps no training row.
    Source: López de Prado, Advances in Financial Machine Learning, 2018, ch. 12.
    """
    purge, embargo = _count("purge", purge), _count("embargo", embargo)
    n_bars = _count("n_bars", n_bars)
    if not 2 <= folds <= n_bars:
        raise InputError(f"`2 <= folds <= n_bars` must hold, but folds={folds}, n_bars={n_bars}.")
    if not 1 <= test_folds < folds:
        raise InputError(f"`1 <= test_folds < folds` must hold, but test_folds={test_folds}, folds={folds}.")
    edges = [(k * n_bars) // folds for k in range(folds + 1)]
    splits = []
    for number, chosen in enumerate(itertools.combinations(range(folds), test_folds)):
        keep = np.ones(n_bars, dtype=np.bool_)
        for block in chosen:
            first, last = edges[block], edges[block + 1]
            keep[max(first - purge, 0) : last] = False
            if block + 1 not in chosen:
                keep[last : last + purge + embargo] = False
        train = np.flatnonzero(keep).astype(np.int64)
        if train.size == 0:
            raise InputError(
                f"Split {number} (test blocks {chosen}) keeps no training row: n_bars={n_bars}, folds={folds}, "
                f"purge={purge}, embargo={embargo}.\nUse fewer folds, or a smaller purge or embargo."
            )
        train.setflags(write=False)
        test = tuple((edges[block], edges[block + 1]) for block in chosen)
        splits.append(CpcvSplit(number=number, train=train, test=test, test_blocks=chosen))
    return splits


def cpcv_paths(folds: int, test_folds: int) -> list[tuple[int, ...]]:
    """Which split serves each block of each out-of-sample path.

    Args:
        folds: number of blocks. test_folds: how many are tests in a split.

    Returns: ``test_folds / folds * C(folds, test_folds)`` paths; entry `b` of a path is the number of the split whose
    test of block `b` the path uses. Each (split, test block) pair is used exactly once.
    """
    serving: list[list[int]] = [[] for _ in range(folds)]
    for number, chosen in enumerate(itertools.combinations(range(folds), test_folds)):
        for block in chosen:
            serving[block].append(number)
    n_paths = math.comb(folds, test_folds) * test_folds // folds
    return [tuple(serving[block][path] for block in range(folds)) for path in range(n_paths)]


def _by_bars(n_bars: int, train: int, test: int, gap: int, anchored: bool) -> list[Fold]:
    folds: list[Fold] = []
    end = train
    while end + gap + test <= n_bars:
        start = 0 if anchored else end - train
        folds.append(Fold(number=len(folds), train=(start, end), test=(end + gap, end + gap + test)))
        end += test
    return folds


def _by_calendar(
    labels: pd.DatetimeIndex, train: tuple[int, str], test: tuple[int, str], gap: int, anchored: bool
) -> list[Fold]:
    if len(labels) < 2:
        return []
    origin = labels[0].normalize()
    complete_until = labels[-1] + (labels[1:] - labels[:-1]).max()
    folds: list[Fold] = []
    for number in itertools.count():
        # Multiples are counted from the origin: adding a month at a time would walk 31 Jan to 28 Feb to 28 Mar.
        begin = _later(origin, (number * test[0], test[1]))
        middle = _later(begin, train)
        finish = _later(_later(origin, ((number + 1) * test[0], test[1])), train)
        if finish > complete_until:
            return folds
        start, end, stop = (int(labels.searchsorted(when)) for when in (begin, middle, finish))
        train_rows = (0 if anchored else start, end)
        test_rows = (end + gap, min(stop + gap, len(labels)))
        for name, (first, last) in (("train", train_rows), ("test", test_rows)):
            if last <= first:
                raise InputError(
                    f"Fold {number} has no bar in its {name} range: train {begin:%Y-%m-%d} to {middle:%Y-%m-%d}, test "
                    f"to {finish:%Y-%m-%d}, gap {gap} bars.\nGive longer lengths, or fill the hole in the data."
                )
        folds.append(Fold(number=number, train=train_rows, test=test_rows))
    return folds  # pragma: no cover - the loop above always returns


def _later(when: pd.Timestamp, length: tuple[int, str]) -> pd.Timestamp:
    import pandas as pd

    n, unit = length
    offset: Any = pd.DateOffset(**{_UNITS[unit]: n})  # type: ignore[arg-type]
    later: pd.Timestamp = when + offset
    return later


def _labels(index: Any) -> pd.DatetimeIndex:
    import pandas as pd

    if isinstance(index, numbers.Integral) or not hasattr(index, "__len__"):
        raise InputError(
            f"`index` must hold the bar labels when lengths are by calendar, but index={shown(index)}.\n"
            "Pass market.index, or give `train` and `test` in bars."
        )
    array = index if isinstance(index, pd.DatetimeIndex) else np.asarray(index)
    if not isinstance(array, pd.DatetimeIndex):
        if array.dtype.kind not in "iM" or array.ndim != 1:
            raise InputError(
                "`index` must be a DatetimeIndex, a datetime64 array or int64 nanoseconds, but it has "
                f"dtype {array.dtype} and shape {array.shape}."
            )
        array = pd.DatetimeIndex(array, tz="UTC") if array.dtype.kind == "i" else pd.DatetimeIndex(array)
    if array.hasnans or not (array.is_monotonic_increasing and array.is_unique):
        raise InputError("`index` must be strictly increasing without missing labels; sort it and drop duplicates.")
    return array


def _length(name: str, value: object) -> tuple[int, str]:
    text = f"{value}b" if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value
    match = re.fullmatch(r"\s*(\d{1,6})\s*([a-z]+)\s*", text) if isinstance(text, str) else None
    if match and match[2] in (*_UNITS, "b") and int(match[1]) > 0:
        return int(match[1]), match[2]
    hint = ' Months are "mo".' if match and match[2] in {"m", "mon", "month", "months", "M"} else ""
    raise InputError(f"`{name}` must be a positive length, but {name}={shown(value)}.{hint}\n{_FORM}")


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise InputError(f"`{name} >= 0` must hold in whole bars, but {name}={shown(value)}.")
    return int(value)


def _folds(n: int) -> str:
    return "1 fold" if n == 1 else f"{n} folds"
